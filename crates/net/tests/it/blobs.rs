//! A folder of blobs: what goes in, what holds it, what makes way.

use std::{
    fs,
    sync::{Arc, Mutex},
};

use tidemill_net::blobs::{BlobError, BlobRef, Blobs, FileMode, Pin};
use tidemill_types::{BlobId, Content, Segment};

use crate::support::{bytes, folder, open, open_cache, options, pin};

const KIB: usize = 1 << 10;
const AMPLE: u64 = 1 << 30;

async fn import(blobs: &Blobs, len: usize, seed: u8, pin: &Pin) -> BlobRef {
    blobs.import_bytes(bytes(len, seed), pin).await.expect("room")
}

#[tokio::test]
async fn blobs_of_every_length_lie_in_one_piece_in_a_file() {
    let (blobs, _folder) = folder(AMPLE).await;
    let pin = pin("job/1");
    for len in [0, 1, 1024, 16 * KIB - 1, 16 * KIB, 16 * KIB + 1, 100_000, 1 << 20, (1 << 20) + 1, 3 << 20] {
        let content = bytes(len, 1);
        let blob = blobs.import_bytes(content.clone(), &pin).await.expect("room");
        assert_eq!(blob, BlobRef { id: BlobId::of(&content), len: len as u64 });
        assert_eq!(blobs.has(blob.id), Some(len as u64));
        let lent = blobs.lend(blob.id).await.expect("here");
        let file = fs::read(lent.path()).expect("a file");
        assert_eq!(file[lent.offset() as usize..][..lent.len() as usize], content);
        assert_eq!(lent.read().expect("a file"), content);
        assert_eq!(blobs.read(blob.id, len as u64).await.expect("here"), content);
    }
    let error = blobs.read(BlobId::of(&bytes(1024, 1)), 1023).await.expect_err("too long");
    assert!(matches!(error, BlobError::TooLong { len: 1024, max: 1023, .. }), "{error}");
    assert!(matches!(blobs.read(BlobId::of(b"other"), 9).await, Err(BlobError::NotHere(_))));
}

#[tokio::test]
async fn a_file_is_copied_or_stays_where_it_is() {
    let (blobs, root) = folder(AMPLE).await;
    let pin = pin("job/1");
    let content = bytes(200_000, 1);
    let path = root.path().join("input");
    fs::write(&path, &content).expect("written");

    let linked = blobs.import_file(&path, FileMode::Reference, &pin).await.expect("a file");
    assert_eq!(linked.id, BlobId::of(&content));
    let lent = blobs.lend(linked.id).await.expect("here");
    assert_eq!((lent.path(), lent.offset()), (&*path.canonicalize().expect("there"), 0));
    assert!(blobs.usage().used < 2000, "only the tree counts: {:?}", blobs.usage());

    fs::write(&path, b"something else").expect("written");
    let error = blobs.lend(linked.id).await.expect_err("its owner changed it");
    assert!(matches!(error, BlobError::NotHere(_)), "{error}");
    assert_eq!(blobs.has(linked.id), None);
    let before = blobs.usage().used;
    assert!(before < 1000, "no more than the records of pins: {before}");

    fs::write(&path, &content).expect("written");
    let copied = blobs.import_file(&path, FileMode::Copy, &pin).await.expect("a file");
    fs::remove_file(&path).expect("removed");
    assert_eq!(copied, linked);
    assert_eq!(blobs.read(copied.id, AMPLE).await.expect("a copy"), content);

    let missing = blobs.import_file(&path, FileMode::Copy, &pin).await.expect_err("gone");
    assert!(matches!(missing, BlobError::Source { .. }), "{missing}");
    let folder = blobs.import_file(root.path(), FileMode::Copy, &pin).await.expect_err("a folder");
    assert!(matches!(folder, BlobError::NotAFile(_)), "{folder}");
}

#[tokio::test]
async fn whoever_imports_a_file_is_told_how_much_was_read() {
    let (blobs, root) = folder(AMPLE).await;
    for (seed, len) in [1, 100_000, 5 << 20].into_iter().enumerate() {
        let path = root.path().join("input");
        fs::write(&path, bytes(len, seed as u8)).expect("written");
        for mode in [FileMode::Reference, FileMode::Copy] {
            let told = Arc::new(Mutex::new(Vec::new()));
            let tell = told.clone();
            let progress = move |read| tell.lock().expect("no panic").push(read);
            blobs.import_file_with(&path, mode, &pin("a"), progress).await.expect("a file");
            let told = told.lock().expect("no panic");
            assert!(told.is_sorted() && told.last() == Some(&(len as u64)), "{mode:?}: {told:?}");
            assert!(len < 4 << 20 || told.len() > 1, "{mode:?}: it is told on the way");
        }
    }
}

#[tokio::test]
async fn content_is_its_segments_one_after_another() {
    let (blobs, root) = folder(AMPLE).await;
    let path = root.path().join("input");
    let file = bytes(100_000, 2);
    fs::write(&path, &file).expect("written");
    let piece = |offset, len| Segment::File { path: path.clone(), offset, len };
    let content = Content {
        segments: vec![
            Segment::Bytes(b"head".to_vec()),
            piece(50_000, 30_000),
            Segment::Bytes(Vec::new()),
            piece(0, 10),
            piece(10, 0),
            Segment::Bytes(b"tail".to_vec()),
        ],
    };
    let expected = [b"head", &file[50_000..80_000], &file[..10], b"tail"].concat();
    let blob = blobs.import_content(&content, &pin("job/1")).await.expect("files");
    assert_eq!(blob, BlobRef { id: BlobId::of(&expected), len: expected.len() as u64 });

    let beyond = Content { segments: vec![piece(99_999, 2), Segment::Bytes(vec![0; 9])] };
    let error = blobs.import_content(&beyond, &pin("job/1")).await.expect_err("shorter than said");
    assert!(matches!(error, BlobError::Changed(_)), "{error}");
    assert_eq!(blobs.usage().reserved, 0);
    assert_eq!(fs::read_dir(root.path().join("drafts")).expect("there").count(), 0);
}

/// Of files; `segments.rs` has what small blobs do.
#[tokio::test]
async fn the_least_recently_used_makes_way_and_pins_hold() {
    const MIB: u64 = 1 << 20;
    let (blobs, _folder) = folder(50 * MIB).await;
    let (keep, passing) = (pin("keep"), pin("passing"));
    let ten = 10 * MIB as usize;
    let kept = import(&blobs, ten, 1, &keep).await;
    let old = import(&blobs, ten, 2, &passing).await;
    let used = import(&blobs, ten, 3, &passing).await;
    let young = import(&blobs, ten, 4, &passing).await;
    blobs.unpin(&passing).await.expect("a disk");
    blobs.lend(old.id).await.expect("here");
    blobs.lend(used.id).await.expect("here");
    assert!((ten as u64..11 * MIB).contains(&blobs.usage().pinned));

    // Less than ten are free; six more must make way. `young` is now the one used longest ago.
    import(&blobs, 15 * MIB as usize, 5, &keep).await;
    assert_eq!(blobs.has(young.id), None);
    assert!(matches!(blobs.lend(young.id).await, Err(BlobError::NotHere(_))));
    for blob in [kept, old, used] {
        assert!(blobs.has(blob.id).is_some());
    }

    let error = blobs.import_bytes(bytes(40 * MIB as usize, 6), &keep).await.expect_err("25 are pinned");
    let BlobError::OverBudget(over) = error else { panic!("{error}") };
    assert_eq!(over.budget, 50 * MIB);
    assert!((25 * MIB..26 * MIB).contains(&over.held), "{over}");
    assert!(blobs.has(old.id).is_some() && blobs.has(used.id).is_some(), "nothing goes in vain");
    assert_eq!(blobs.usage().reserved, 0);

    blobs.unpin(&keep).await.expect("a disk");
    import(&blobs, 40 * MIB as usize, 6, &keep).await;
    assert!(blobs.usage().used <= 50 * MIB);
}

#[tokio::test]
async fn blobs_and_pins_outlive_the_process_and_leftovers_do_not() {
    const LARGE: usize = 2_000_000;
    let root = tempfile::tempdir().expect("a folder");
    let (held, loose) = {
        let blobs = open(root.path(), AMPLE).await;
        assert!(matches!(Blobs::open(root.path(), options(1)).await, Err(BlobError::Locked(_))));
        let held = import(&blobs, LARGE, 1, &pin("job/1")).await;
        let loose = import(&blobs, 20_000, 2, &pin("job/2")).await;
        blobs.unpin(&pin("job/2")).await.expect("a disk");
        (held, loose)
    };
    let (data, tree) = {
        let blob = root.path().join("data").join(held.id.to_string());
        (blob.clone(), blob.with_extension("tree"))
    };
    assert!(data.exists() && tree.exists());
    fs::write(root.path().join("drafts/abc"), b"half").expect("written");
    let orphan = root.path().join("data").join(format!("{}.tree", BlobId::of(b"nothing")));
    fs::write(&orphan, b"half").expect("written");
    let unfinished = root.path().join("data").join(BlobId::of(b"a large one").to_string());
    fs::write(&unfinished, vec![0; 40_000]).expect("written");

    let blobs = open(root.path(), AMPLE).await;
    assert_eq!((blobs.has(held.id), blobs.has(loose.id)), (Some(LARGE as u64), Some(20_000)));
    assert_eq!(blobs.pins(), [pin("job/1")]);
    assert_eq!(blobs.pinned(&pin("job/1")), [held.id]);
    assert_eq!(blobs.usage().blobs, 2);
    assert!(!orphan.exists() && !unfinished.exists());
    assert_eq!(fs::read_dir(root.path().join("drafts")).expect("there").count(), 0);
    let more = import(&blobs, 10, 3, &pin("job/1")).await;
    drop(blobs);

    // A smaller budget than what is there: what is not pinned goes with the next import.
    let blobs = open(root.path(), LARGE as u64 + 20_000).await;
    assert_eq!(blobs.pinned(&pin("job/1")).len(), 2, "{:?}", (held, more));
    import(&blobs, 1000, 4, &pin("job/3")).await;
    assert_eq!((blobs.has(held.id), blobs.has(loose.id)), (Some(LARGE as u64), None));
    assert!(blobs.has(more.id).is_some(), "it was copied on");
}

#[tokio::test]
async fn only_what_is_here_can_be_pinned_and_names_are_plain() {
    let (blobs, _folder) = folder(AMPLE).await;
    assert!(matches!(blobs.pin(&pin("a"), BlobId::of(b"x")).await, Err(BlobError::NotHere(_))));
    for name in ["", "two\nlines", "\u{1b}[2J", &"x".repeat(201)] {
        assert!(matches!(Pin::new(name), Err(BlobError::PinName(_))), "{name:?}");
    }
    let blob = import(&blobs, 10, 1, &pin("a")).await;
    blobs.pin(&pin("b"), blob.id).await.expect("here");
    blobs.pin(&pin("b"), blob.id).await.expect("twice is once");
    blobs.unpin(&pin("a")).await.expect("a disk");
    assert!(blobs.usage().pinned > 0);
    blobs.unpin(&pin("b")).await.expect("a disk");
    blobs.unpin(&pin("never")).await.expect("nothing to do");
    assert_eq!(blobs.usage().pinned, 0);
}

#[tokio::test]
async fn a_cache_is_found_again_without_pins_and_drops_what_is_damaged() {
    const LARGE: usize = 3 << 20;
    let root = tempfile::tempdir().expect("a folder");
    let (right, wrong, wrong_tree, short_tree) = {
        let blobs = open_cache(root.path(), AMPLE).await;
        let mut made = Vec::new();
        for seed in 1..5 {
            made.push(import(&blobs, LARGE, seed, &pin("job/1")).await);
        }
        assert_eq!(blobs.pins(), [pin("job/1")]);
        (made[0], made[1], made[2], made[3])
    };
    // As after a power cut: the right length, and other bytes.
    let data = |blob: BlobRef| root.path().join("data").join(blob.id.to_string());
    let flip = |path: &std::path::Path| {
        let mut bytes = fs::read(path).expect("a file");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(path, bytes).expect("written");
    };
    flip(&data(wrong));
    flip(&data(wrong_tree).with_extension("tree"));

    let blobs = open_cache(root.path(), AMPLE).await;
    assert_eq!((blobs.pins(), blobs.usage().pinned), (Vec::new(), 0));
    assert_eq!(blobs.usage().blobs, 4, "nobody has looked at their bytes");
    assert_eq!(blobs.read(right.id, AMPLE).await.expect("as it was"), bytes(LARGE, 1));
    fs::write(data(short_tree).with_extension("tree"), [0; 100]).expect("written");
    for damaged in [wrong, wrong_tree, short_tree] {
        blobs.read(damaged.id, AMPLE).await.expect_err("damaged");
        assert_eq!(blobs.has(damaged.id), None);
        assert!(!data(damaged).exists());
    }
    assert_eq!(import(&blobs, LARGE, 2, &pin("job/2")).await, wrong, "and it can be had again");
    assert_eq!(blobs.read(wrong.id, AMPLE).await.expect("here"), bytes(LARGE, 2));
}
