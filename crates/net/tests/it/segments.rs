//! Small blobs, which share files: what outlives a kill, what makes way, and what damage does.

use std::{
    env, fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use tidemill_net::blobs::{BLOBS_ALPN, BlobError, BlobRef, Blobs, Pin};
use tidemill_types::BlobId;

use crate::support::{Pair, bytes, folder, open, open_cache, pin};

const AMPLE: u64 = 1 << 30;

/// Names the folder for the process to be killed.
const FOLDER: &str = "TIDEMILL_BLOBS_TEST_FOLDER";
const ROUNDS: usize = 8;
/// Little enough that segments are cleaned all the time.
const SMALL_BUDGET: u64 = 400_000;

fn segments(root: &Path) -> Vec<PathBuf> {
    let list = fs::read_dir(root.join("segments")).expect("there");
    let mut paths: Vec<_> = list.map(|item| item.expect("there").path()).collect();
    paths.sort();
    paths
}

/// Flips a bit of the file at a place.
fn flip(path: &Path, at: u64) {
    let mut content = fs::read(path).expect("a file");
    content[at as usize] ^= 1;
    fs::write(path, content).expect("written");
}

#[tokio::test]
async fn many_at_once_share_a_file_and_are_found_again() {
    let root = tempfile::tempdir().expect("a folder");
    let blobs = open(root.path(), AMPLE).await;
    let import = |number: u8| {
        let blobs = blobs.clone();
        tokio::spawn(async move {
            let content = bytes(1000 * usize::from(number), number);
            blobs.import_bytes(content, &pin(&format!("job/{}", number % 3))).await.expect("room")
        })
    };
    let imports: Vec<_> = (0..100).map(import).collect();
    let mut made = Vec::new();
    for import in imports {
        made.push(import.await.expect("no panic"));
    }
    let all = [(&b"one"[..], "d"), (&b"two"[..], "d"), (&b""[..], "e")];
    let all = all.map(|(content, held)| (bytes::Bytes::from_static(content), pin(held)));
    let with = blobs.clone();
    let grouped = tokio::task::spawn_blocking(move || with.append_all(all)).await.expect("no panic");
    made.extend(grouped.expect("room"));
    let too_long = [(bytes::Bytes::from(vec![0; (1 << 20) + 1]), pin("d"))];
    let with = blobs.clone();
    let error = tokio::task::spawn_blocking(move || with.append_all(too_long)).await.expect("no panic");
    assert!(matches!(error, Err(BlobError::TooLong { .. })), "{error:?}");
    blobs.unpin(&pin("job/2")).await.expect("a disk");
    blobs.pin(&pin("again"), made[2].id).await.expect("here");

    assert_eq!(segments(root.path()).len(), 1);
    assert_eq!(fs::read_dir(root.path().join("data")).expect("there").count(), 0);
    let (usage, pins) = (blobs.usage(), blobs.pins());
    drop(blobs);
    let blobs = open(root.path(), AMPLE).await;
    assert_eq!((blobs.usage(), blobs.pins()), (usage, pins));
    assert_eq!(blobs.pinned(&pin("again")), [made[2].id]);
    assert_eq!(blobs.pinned(&pin("d")).len(), 2);
    for (number, blob) in made[..100].iter().enumerate() {
        let content = blobs.read(blob.id, AMPLE).await.expect("here");
        assert_eq!(content, bytes(1000 * number, number as u8));
    }
    blobs.import_bytes(b"more".to_vec(), &pin("f")).await.expect("room");
    assert_eq!(segments(root.path()).len(), 1, "it goes on where it ended");
}

#[tokio::test]
async fn damage_at_rest_is_named_and_mended_by_having_the_blob_again() {
    let root = tempfile::tempdir().expect("a folder");
    let blobs = open(root.path(), AMPLE).await;
    let (here, content) = (pin("here"), bytes(60_000, 1));
    let blob = blobs.import_bytes(content.clone(), &here).await.expect("room");
    let other = blobs.import_bytes(bytes(60_000, 2), &here).await.expect("room");
    let lent = blobs.lend(blob.id).await.expect("as it was");
    flip(lent.path(), lent.offset() + 33_333);

    let error = blobs.lend(blob.id).await.expect_err("damaged");
    assert!(matches!(&error, BlobError::Damaged { id, .. } if *id == blob.id), "{error:?}");
    assert!(error.to_string().contains(&blob.id.to_string()), "{error}");
    assert_eq!((blobs.has(blob.id), blobs.has(other.id)), (None, Some(60_000)));
    assert!(matches!(blobs.read(blob.id, AMPLE).await, Err(BlobError::NotHere(_))));
    blobs.import_bytes(content.clone(), &here).await.expect("room");
    assert_eq!(blobs.read(blob.id, AMPLE).await.expect("mended"), content);

    // Nobody is given wrong bytes, and whoever imports or fetches what is damaged mends it.
    let lent = blobs.lend(blob.id).await.expect("as it was");
    flip(lent.path(), lent.offset());
    let pair = Pair::new(BLOBS_ALPN).await;
    let (theirs, _folder) = folder(AMPLE).await;
    let serving = tokio::spawn({
        let (blobs, there) = (blobs.clone(), pair.there.clone());
        async move { blobs.serve(there, |_, _| true, 4).await }
    });
    theirs.fetch(&pair.here, blob, &here, |_| {}).await.expect_err("damaged there");
    assert_eq!((theirs.has(blob.id), blobs.has(blob.id)), (None, None));
    blobs.import_bytes(content.clone(), &here).await.expect("room");
    theirs.fetch(&pair.here, blob, &here, |_| {}).await.expect("mended there");
    let lent = theirs.lend(blob.id).await.expect("here");
    flip(lent.path(), lent.offset() + 1);
    theirs.fetch(&pair.here, blob, &here, |_| {}).await.expect("fetched again");
    assert_eq!(theirs.read(blob.id, AMPLE).await.expect("right"), content);
    pair.close().await;
    serving.await.expect("no panic");
}

#[tokio::test]
async fn a_folder_opens_with_damage_anywhere_and_has_all_that_is_whole() {
    let root = tempfile::tempdir().expect("a folder");
    let blobs = open(root.path(), AMPLE).await;
    let mut made = Vec::new();
    for number in 0..3u8 {
        made.push(blobs.import_bytes(bytes(100, number), &pin("a")).await.expect("room"));
    }
    let last = blobs.lend(made[2].id).await.expect("here").offset() + 100;
    drop(blobs);
    let [segment] = &segments(root.path())[..] else { panic!("one segment") };
    let whole = fs::read(segment).expect("a file");
    assert_eq!(whole.len() as u64, last);
    // The log's own tests flip every byte; these are a payload, a head, the last byte, and the segment's head.
    for (at, here) in [(48 + 51, 2), (48 + 10, 2), (last - 1, 2), (20, 0)] {
        fs::write(segment, &whole).expect("written");
        flip(segment, at);
        let blobs = open(root.path(), AMPLE).await;
        let mut found = 0;
        for (number, blob) in made.iter().enumerate() {
            match blobs.read(blob.id, AMPLE).await {
                Ok(content) => {
                    assert_eq!(content, bytes(100, number as u8));
                    found += 1;
                }
                Err(BlobError::NotHere(_) | BlobError::Damaged { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
        assert_eq!(found, here, "flipped at {at}");
        let more = blobs.import_bytes(bytes(100, 9), &pin("b")).await.expect("of use as before");
        assert_eq!(blobs.read(more.id, AMPLE).await.expect("here"), bytes(100, 9));
        drop(blobs);
        for path in &segments(root.path())[1..] {
            fs::remove_file(path).expect("there");
        }
    }
}

#[tokio::test]
async fn segments_make_way_and_what_is_pinned_is_copied_on() {
    let root = tempfile::tempdir().expect("a folder");
    let (keep, blobs) = (pin("keep"), open(root.path(), SMALL_BUDGET).await);
    let mut kept = Vec::new();
    // Ten times the budget, of which one in sixteen stays pinned.
    for number in 0..200u8 {
        let passing = pin(&format!("passing/{number}"));
        let blob = blobs.import_bytes(bytes(20_000, number), &passing).await.expect("room");
        if number % 32 == 0 {
            blobs.pin(&keep, blob.id).await.expect("here");
            kept.push((number, blob));
        }
        blobs.unpin(&passing).await.expect("a disk");
        let usage = blobs.usage();
        assert!(usage.used <= SMALL_BUDGET + SMALL_BUDGET / 16, "{usage:?}");
    }
    let on_disk = |root: &Path| -> u64 {
        segments(root).iter().map(|path| fs::metadata(path).expect("there").len()).sum()
    };
    assert_eq!(on_disk(root.path()), blobs.usage().used, "what went is gone");
    let error = blobs.import_bytes(bytes(300_000, 201), &keep).await.expect_err("140,000 are pinned");
    assert!(matches!(error, BlobError::OverBudget(_)), "{error}");
    assert_eq!(blobs.usage().reserved, 0);

    // One that is read stays while it is, wherever it went meanwhile.
    let lent = blobs.lend(kept[0].1.id).await.expect("here");
    for round in 0..2 {
        for (number, blob) in &kept {
            assert_eq!(blobs.read(blob.id, AMPLE).await.expect("pinned"), bytes(20_000, *number), "{round}");
        }
    }
    assert_eq!(lent.read().expect("it stays"), bytes(20_000, 0));
    drop((lent, blobs));
    let blobs = open(root.path(), SMALL_BUDGET).await;
    assert_eq!(blobs.pins(), std::slice::from_ref(&keep), "pins that were taken off do not come back");
    assert_eq!(blobs.pinned(&keep).len(), kept.len());
    blobs.unpin(&keep).await.expect("a disk");
    blobs.import_bytes(bytes(300_000, 201), &keep).await.expect("room now");
    assert!(on_disk(root.path()) <= SMALL_BUDGET + SMALL_BUDGET / 16);
}

#[tokio::test]
async fn a_damaged_segment_is_cleaned_and_loses_no_more_than_what_is_damaged() {
    let root = tempfile::tempdir().expect("a folder");
    let (keep, blobs) = (pin("keep"), open(root.path(), 1_600_000).await);
    let mut made = Vec::new();
    for number in 0..4u8 {
        made.push(blobs.import_bytes(bytes(20_000, number), &keep).await.expect("room"));
    }
    // The head of one record, which does not matter while it is known where the blob is, and the bytes of another.
    for (damaged, by) in [(made[1], -20), (made[2], 20)] {
        let lent = blobs.lend(damaged.id).await.expect("here");
        flip(lent.path(), lent.offset().checked_add_signed(by).expect("within the file"));
    }
    let (before, passing) = (segments(root.path()), pin("passing"));
    for number in 10..100u8 {
        blobs.import_bytes(bytes(30_000, number), &passing).await.expect("room");
        blobs.unpin(&passing).await.expect("a disk");
    }
    assert!(!before[0].exists(), "it was cleaned");
    assert_eq!(blobs.has(made[2].id), None);
    drop(blobs);
    let blobs = open(root.path(), 1_600_000).await;
    assert_eq!(blobs.pins(), std::slice::from_ref(&keep));
    for number in [0, 1, 3] {
        let content = blobs.read(made[number].id, AMPLE).await.expect("it was right");
        assert_eq!(content, bytes(20_000, number as u8));
        assert!(blobs.pinned(&keep).contains(&made[number].id));
    }
}

#[tokio::test]
async fn a_cache_forgets_pins_and_keeps_what_it_has() {
    let root = tempfile::tempdir().expect("a folder");
    let blobs = open_cache(root.path(), SMALL_BUDGET).await;
    let mut made = Vec::new();
    for number in 0..4u8 {
        made.push(blobs.import_bytes(bytes(20_000, number), &pin("a")).await.expect("room"));
    }
    drop(blobs);
    let blobs = open_cache(root.path(), SMALL_BUDGET).await;
    assert_eq!((blobs.pins(), blobs.usage().pinned, blobs.usage().blobs), (Vec::new(), 0, 4));
    blobs.import_bytes(bytes(380_000, 9), &pin("b")).await.expect("all of them may go");
    assert_eq!(made.iter().filter(|blob| blobs.has(blob.id).is_some()).count(), 0);
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_kill() {
    let scratch = tempfile::tempdir().expect("a folder");
    let mut known = Vec::<(u64, BlobId)>::new();
    for round in 0..ROUNDS {
        known.extend(import_until_killed(scratch.path(), 1 + round * 9));
        let blobs = open(scratch.path(), SMALL_BUDGET).await;
        let held = blobs.pinned(&pin("keep"));
        for (number, id) in &known {
            if number % KEPT == 0 {
                assert_eq!(blobs.read(*id, AMPLE).await.expect("acknowledged"), content(*number));
                assert!(held.contains(id), "{number} is pinned");
            }
        }
        // The last ones have not had the time to make way.
        let (number, id) = known.last().expect("it said one at least");
        assert_eq!(blobs.read(*id, AMPLE).await.expect("acknowledged"), content(*number));
    }
}

/// Of so many blobs one stays pinned.
const KEPT: u64 = 50;

/// From nothing to more than a piece of a disk's page cache.
fn content(number: u64) -> Vec<u8> {
    let mut content = bytes((number * 977 % 9000) as usize, 3);
    content.extend_from_slice(&number.to_le_bytes());
    content
}

/// Runs [`child`] until it has said so often that a blob is there. Gives all that it said.
fn import_until_killed(folder: &Path, lines: usize) -> Vec<(u64, BlobId)> {
    let mut child = Command::new(env::current_exe().expect("this one"))
        .args(["--exact", "segments::child", "--nocapture"])
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .spawn()
        .expect("this very program can be started");
    let output = BufReader::new(child.stdout.take().expect("piped")).lines();
    let mut said = output.filter_map(|line| {
        let line = line.expect("text");
        let (number, id) = line.strip_prefix("acknowledged ")?.split_once(' ')?;
        Some((number.parse().ok()?, id.parse().ok()?))
    });
    let mut known: Vec<_> = said.by_ref().take(lines).collect();
    child.kill().expect("it runs");
    // It may have said more before the kill reached it.
    known.extend(said);
    child.wait().expect("it ran");
    known
}

/// Not a test by itself: the process that [`import_until_killed`] starts.
#[tokio::test]
async fn child() {
    let Some(folder) = env::var_os(FOLDER) else { return };
    let blobs = open(Path::new(&folder), SMALL_BUDGET).await;
    println!();
    let (keep, count) = (pin("keep"), pin("count"));
    // After the last of an earlier one that stays.
    let begin = blobs.pinned(&keep).len() as u64 * KEPT + 1;
    for number in begin.. {
        let held = if number.is_multiple_of(KEPT) { &keep } else { &count };
        let blob: BlobRef = import(&blobs, number, held).await;
        println!("acknowledged {number} {}", blob.id);
        if number.is_multiple_of(20) {
            blobs.unpin(&count).await.expect("a disk");
        }
    }
}

async fn import(blobs: &Blobs, number: u64, held: &Pin) -> BlobRef {
    blobs.import_bytes(content(number), held).await.expect("room")
}
