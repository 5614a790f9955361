//! Blobs between two nodes, over a connection that one of them dialed.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tidemill_net::{
    blobs::{BLOBS_ALPN, BlobError, BlobOptions, BlobRef, Blobs, Condition, FetchError, Lost, Pin},
    endpoint::Connection,
};
use tidemill_types::BlobId;
use tokio::{sync::oneshot, task::JoinHandle, time::timeout};

use crate::support::{PATIENCE, Pair, bytes, folder, open, options, pin};

const AMPLE: u64 = 1 << 30;

fn serve(blobs: &Blobs, connection: &Connection) -> JoinHandle<()> {
    let (blobs, connection) = (blobs.clone(), connection.clone());
    tokio::spawn(async move { blobs.serve(connection, |_, _| true, 4).await })
}

#[tokio::test]
async fn blobs_go_both_ways_over_one_connection() {
    let pair = Pair::new(BLOBS_ALPN).await;
    let ((ours, _a), (theirs, _b)) = (folder(AMPLE).await, folder(AMPLE).await);
    let serving = [serve(&ours, &pair.here), serve(&theirs, &pair.there)];
    for (seed, len) in
        [0, 1, 1024, 16 << 10, (16 << 10) + 1, 1_000_000, (4 << 20) + 77].into_iter().enumerate()
    {
        let (up, down) = (bytes(len, 2 * seed as u8), bytes(len, 2 * seed as u8 + 1));
        let to_them = ours.import_bytes(up.clone(), &pin("mine")).await.expect("room");
        let to_us = theirs.import_bytes(down.clone(), &pin("mine")).await.expect("room");
        let mut seen = Vec::new();
        let (pin_here, pin_there) = (pin("got"), pin("got"));
        let (got, given) = tokio::join!(
            ours.fetch(&pair.here, to_us, &pin_here, |here| seen.push(here)),
            theirs.fetch(&pair.there, to_them, &pin_there, |_| {}),
        );
        got.expect("there");
        given.expect("there");
        assert_eq!(ours.read(to_us.id, AMPLE).await.expect("here"), down);
        assert_eq!(theirs.read(to_them.id, AMPLE).await.expect("there"), up);
        assert!(ours.pinned(&pin("got")).contains(&to_us.id));
        assert!(seen.is_sorted() && seen.last() == Some(&(len as u64)), "{seen:?}");
    }
    assert_eq!(ours.usage().reserved, 0);
    pair.close().await;
    for serving in serving {
        serving.await.expect("no panic");
    }
}

#[tokio::test]
async fn what_is_not_there_or_not_allowed_looks_the_same() {
    let pair = Pair::new(BLOBS_ALPN).await;
    let ((ours, _a), (theirs, _b)) = (folder(AMPLE).await, folder(AMPLE).await);
    let secret = theirs.import_bytes(bytes(50_000, 1), &pin("a")).await.expect("room");
    let public = theirs.import_bytes(bytes(50_000, 2), &pin("a")).await.expect("room");
    let dialer = pair.dialer.id();
    let serving = tokio::spawn({
        let (theirs, there) = (theirs.clone(), pair.there.clone());
        async move { theirs.serve(there, move |node, id| node == dialer && id == public.id, 4).await }
    });
    let absent = BlobRef { id: BlobId::of(b"absent"), len: 6 };
    for blob in [secret, absent] {
        let error = ours.fetch(&pair.here, blob, &pin("a"), |_| {}).await.expect_err("not for us");
        assert!(matches!(error, FetchError::NotThere(id) if id == blob.id), "{error:?}");
        assert!(!error.may_pass());
    }
    ours.fetch(&pair.here, public, &pin("a"), |_| {}).await.expect("allowed");
    pair.close().await;
    serving.await.expect("no panic");
}

#[tokio::test]
async fn a_false_length_is_refused_before_anything_is_written() {
    let pair = Pair::new(BLOBS_ALPN).await;
    let ((ours, root), (theirs, _b)) = (folder(AMPLE).await, folder(AMPLE).await);
    let serving = serve(&theirs, &pair.there);
    let blob = theirs.import_bytes(bytes(500_000, 1), &pin("a")).await.expect("room");
    for len in [1, 499_999, 500_001, 0] {
        let error =
            ours.fetch(&pair.here, BlobRef { len, ..blob }, &pin("a"), |_| {}).await.expect_err("a lie");
        let refused =
            matches!(error, FetchError::WrongLength { found: 500_000, .. } | FetchError::Corrupt { .. });
        assert!(refused, "{error:?}");
        assert_eq!(ours.usage().used, 0);
    }
    assert_eq!(std::fs::read_dir(root.path().join("partial")).expect("there").count(), 0);
    ours.fetch(&pair.here, blob, &pin("a"), |_| {}).await.expect("the truth");
    let error =
        ours.fetch(&pair.here, BlobRef { len: 1, ..blob }, &pin("a"), |_| {}).await.expect_err("a lie");
    assert!(matches!(error, FetchError::WrongLength { expected: 1, found: 500_000, .. }), "{error:?}");
    pair.close().await;
    serving.await.expect("no panic");
}

#[tokio::test]
async fn false_bytes_are_found_by_whoever_fetches_them() {
    let pair = Pair::new(BLOBS_ALPN).await;
    let (ours, _a) = folder(AMPLE).await;
    // A blob of one group travels as its length and its bytes.
    let (content, there) = (bytes(10_000, 1), pair.there.clone());
    let blob = BlobRef { id: BlobId::of(&content), len: 10_000 };
    let mut rotten = content;
    rotten[7_000] ^= 1;
    let lying = tokio::spawn(async move {
        let (mut send, mut recv) = there.accept_bi().await.expect("it asks");
        let _ = recv.read(&mut [0; 1024]).await;
        let answer = [&10_000u64.to_le_bytes()[..], &rotten].concat();
        send.write_all(&answer).await.expect("it listens");
        let _ = send.finish();
        let _ = send.stopped().await;
    });
    let error = ours.fetch(&pair.here, blob, &pin("a"), |_| {}).await.expect_err("rotten");
    assert!(matches!(error, FetchError::Corrupt { .. }), "{error:?}");
    assert_eq!(ours.has(blob.id), None);
    pair.close().await;
    lying.await.expect("no panic");
}

#[tokio::test]
async fn damage_to_a_large_blob_is_found_where_it_lies_and_what_was_right_is_kept() {
    let pair = Pair::new(BLOBS_ALPN).await;
    let ((ours, _a), (theirs, _b)) = (folder(AMPLE).await, folder(AMPLE).await);
    let serving = serve(&theirs, &pair.there);
    let content = bytes(2 << 20, 1);
    for at in [1_900_000, 1_950_000] {
        let blob = theirs.import_bytes(content.clone(), &pin("a")).await.expect("room");
        theirs.import_bytes(content.clone(), &pin("b")).await.expect("room");
        let path = theirs.lend(blob.id).await.expect("there").path().to_owned();
        let mut rotten = content.clone();
        rotten[at] ^= 1;
        std::fs::write(&path, &rotten).expect("written");
        let error = ours.fetch(&pair.here, blob, &pin("a"), |_| {}).await.expect_err("rotten");
        assert!(matches!(error, FetchError::Broken { .. }), "{error:?}");
        assert_eq!(ours.has(blob.id), None);
        let lost = timeout(PATIENCE, theirs.lost()).await.expect("it is noticed");
        assert_eq!(lost, [Lost { blob, pins: lost[0].pins.clone() }]);
        let pins: BTreeSet<_> = lost[0].pins.iter().map(Pin::name).collect();
        assert_eq!(pins, BTreeSet::from(["a", "b"]));
        assert_eq!((theirs.has(blob.id), path.exists()), (None, false));
        let error = ours.fetch(&pair.here, blob, &pin("a"), |_| {}).await.expect_err("not there");
        assert!(matches!(error, FetchError::NotThere(_)), "{error:?}");

        theirs.import_bytes(content.clone(), &pin("a")).await.expect("room");
        assert_eq!(theirs.pinned(&pin("b")), [blob.id], "its pins have waited for it");
        let mut first = None;
        ours.fetch(&pair.here, blob, &pin("a"), |here| _ = first.get_or_insert(here)).await.expect("mended");
        assert!(first >= Some(1_000_000), "it went on at {first:?}");
        assert_eq!(ours.read(blob.id, AMPLE).await.expect("here"), content);

        // And when its tree is damaged, or its file is gone.
        let tree = path.with_extension("tree");
        let mut hashes = std::fs::read(&tree).expect("there");
        hashes[70] ^= 1;
        std::fs::write(&tree, hashes).expect("written");
        assert_eq!(theirs.recheck(blob.id).await, Condition::Lost);
        assert_eq!(timeout(PATIENCE, theirs.lost()).await.expect("it is noticed").len(), 1);
        theirs.import_bytes(content.clone(), &pin("a")).await.expect("room");
        assert_eq!(theirs.recheck(blob.id).await, Condition::Right);
        std::fs::remove_file(&path).expect("there");
        let (others, _c) = folder(AMPLE).await;
        let error = others.fetch(&pair.here, blob, &pin("a"), |_| {}).await.expect_err("gone");
        assert!(matches!(error, FetchError::NotThere(_)), "{error:?}");
        assert_eq!(timeout(PATIENCE, theirs.lost()).await.expect("it is noticed").len(), 1);
        // Ours is to be fetched anew in the next round.
        ours.unpin(&pin("a")).await.expect("a disk");
        let lent = ours.lend(blob.id).await.expect("here");
        std::fs::remove_file(lent.path()).expect("there");
        assert_eq!(ours.recheck(blob.id).await, Condition::Lost);
    }
    pair.close().await;
    serving.await.expect("no panic");
}

/// What nobody holds is no loss, and what came again before anybody asked is none either.
#[tokio::test]
async fn only_what_is_held_and_missing_is_told_of() {
    let (blobs, _root) = folder(AMPLE).await;
    let content = bytes(50_000, 1);
    let damage = |id: BlobId| {
        let blobs = blobs.clone();
        async move {
            let lent = blobs.lend(id).await.expect("here");
            let mut file = std::fs::read(lent.path()).expect("there");
            file[lent.offset() as usize + 10] ^= 1;
            std::fs::write(lent.path(), file).expect("written");
            blobs.lend(id).await.expect_err("damaged");
        }
    };
    let blob = blobs.import_bytes(content.clone(), &pin("a")).await.expect("room");
    blobs.unpin(&pin("a")).await.expect("a disk");
    damage(blob.id).await;
    blobs.import_bytes(content.clone(), &pin("a")).await.expect("room");
    damage(blob.id).await;
    blobs.import_bytes(content.clone(), &pin("a")).await.expect("room");
    let other = blobs.import_bytes(bytes(50_000, 2), &pin("b")).await.expect("room");
    damage(other.id).await;
    let lost = timeout(PATIENCE, blobs.lost()).await.expect("it is noticed");
    assert_eq!(lost, [Lost { blob: other, pins: vec![pin("b")] }]);
}

#[tokio::test]
async fn a_broken_fetch_goes_on_where_it_ended() {
    const LEN: usize = 24 << 20;
    let ((ours, root), (theirs, _b)) = (folder(AMPLE).await, folder(AMPLE).await);
    let content = bytes(LEN, 1);
    let blob = theirs.import_bytes(content.clone(), &pin("a")).await.expect("room");

    let pair = Pair::new(BLOBS_ALPN).await;
    let serving = serve(&theirs, &pair.there);
    let cut = pair.here.clone();
    let held = pin("a");
    let fetched = ours.fetch(&pair.here, blob, &held, |here| {
        if here >= LEN as u64 / 2 {
            cut.close(0u8.into(), b"cut");
        }
    });
    let error = fetched.await.expect_err("cut");
    assert!(matches!(error, FetchError::Broken { .. }) && error.may_pass(), "{error:?}");
    assert_eq!(ours.has(blob.id), None);
    assert!(ours.usage().used > 0, "what arrived counts");
    pair.close().await;
    serving.await.expect("no panic");

    // Another process, another connection, and a piece that the disk lost.
    drop(ours);
    let (partial, _) = partial_files(root.path());
    let file = std::fs::OpenOptions::new().write(true).open(partial).expect("there");
    std::os::unix::fs::FileExt::write_all_at(&file, &[0; 100], 1_000_000).expect("written");
    let ours = open(root.path(), AMPLE).await;
    assert!(ours.usage().used > 0);
    let pair = Pair::new(BLOBS_ALPN).await;
    let serving = serve(&theirs, &pair.there);
    let mut first = None;
    ours.fetch(&pair.here, blob, &pin("a"), |here| _ = first.get_or_insert(here)).await.expect("there");
    let first = first.expect("told");
    assert!(first > LEN as u64 / 4 && first < LEN as u64, "it went on at {first}");
    assert_eq!(ours.read(blob.id, AMPLE).await.expect("here"), content);
    assert_eq!(std::fs::read_dir(root.path().join("partial")).expect("there").count(), 0);
    pair.close().await;
    serving.await.expect("no panic");
}

fn partial_files(root: &std::path::Path) -> (std::path::PathBuf, std::path::PathBuf) {
    let mut files: Vec<_> = std::fs::read_dir(root.join("partial"))
        .expect("there")
        .map(|file| file.expect("there").path())
        .collect();
    files.sort();
    let [data, tree] = files.try_into().expect("two files");
    (data, tree)
}

#[tokio::test]
async fn a_fetch_that_is_dropped_keeps_what_arrived_and_frees_its_room() {
    let pair = Pair::new(BLOBS_ALPN).await;
    let ((ours, _a), (theirs, _b)) = (folder(AMPLE).await, folder(AMPLE).await);
    let serving = serve(&theirs, &pair.there);
    let blob = theirs.import_bytes(bytes(24 << 20, 1), &pin("a")).await.expect("room");
    let (begun, begins) = oneshot::channel();
    let mut begun = Some(begun);
    let fetch = tokio::spawn({
        let (ours, here) = (ours.clone(), pair.here.clone());
        async move {
            let progress = move |here| {
                if let Some(begun) = begun.take_if(|_| here > 1 << 20) {
                    let _ = begun.send(());
                }
            };
            ours.fetch(&here, blob, &pin("a"), progress).await
        }
    });
    begins.await.expect("it begins");
    fetch.abort();
    let _ = fetch.await;
    // The next fetch waits for its turn, which the writer of the first gives back last.
    let first = Arc::new(AtomicU64::new(u64::MAX));
    let told = first.clone();
    ours.fetch(&pair.here, blob, &pin("a"), move |here| _ = told.fetch_min(here, Ordering::Relaxed))
        .await
        .expect("there");
    assert!(first.load(Ordering::Relaxed) > 0, "it went on");
    assert_eq!((ours.usage().reserved, ours.usage().blobs), (0, 1));
    pair.close().await;
    serving.await.expect("no panic");
}

#[tokio::test]
async fn a_side_that_keeps_still_is_given_up() {
    let pair = Pair::new(BLOBS_ALPN).await;
    let root = tempfile::tempdir().expect("a folder");
    let options = BlobOptions { stall: Duration::from_millis(50), ..options(AMPLE) };
    let ours = Blobs::open(root.path(), options).await.expect("a folder");
    // Nobody serves at the other end.
    let blob = BlobRef { id: BlobId::of(&bytes(10, 1)), len: 10 };
    let error = ours.fetch(&pair.here, blob, &pin("a"), |_| {}).await.expect_err("nobody");
    assert!(matches!(error, FetchError::Stalled { .. }) && error.may_pass(), "{error:?}");
    assert_eq!(ours.usage().reserved, 0);
    pair.close().await;
}

#[tokio::test]
async fn a_blob_that_the_budget_does_not_hold_is_not_fetched() {
    let pair = Pair::new(BLOBS_ALPN).await;
    let ((ours, _a), (theirs, _b)) = (folder(1_000_000).await, folder(AMPLE).await);
    let serving = serve(&theirs, &pair.there);
    let held = ours.import_bytes(bytes(600_000, 1), &pin("held")).await.expect("room");
    let blob = theirs.import_bytes(bytes(500_000, 2), &pin("a")).await.expect("room");
    let error = ours.fetch(&pair.here, blob, &pin("a"), |_| {}).await.expect_err("held");
    assert!(matches!(error, FetchError::Blob(BlobError::OverBudget(_))), "{error:?}");
    ours.unpin(&pin("held")).await.expect("a disk");
    ours.fetch(&pair.here, blob, &pin("a"), |_| {}).await.expect("room now");
    assert_eq!((ours.has(held.id), ours.has(blob.id)), (None, Some(500_000)));
    pair.close().await;
    serving.await.expect("no panic");
}

#[tokio::test]
async fn garbage_and_many_requests_do_no_harm() {
    let pair = Pair::new(BLOBS_ALPN).await;
    let ((ours, _a), (theirs, _b)) = (folder(AMPLE).await, folder(AMPLE).await);
    let serving = serve(&theirs, &pair.there);
    for request in [&b""[..], b"\0", b"\x08push", b"\x01observe", &[0xff; 100], &[0; 5000]] {
        let (mut send, mut recv) = pair.here.open_bi().await.expect("a stream");
        send.write_all(request).await.expect("open");
        send.finish().expect("open");
        let answer = tokio::time::timeout(PATIENCE, recv.read_to_end(100)).await.expect("an end");
        assert!(answer.map_or(true, |bytes| bytes.is_empty()), "nothing is given away");
    }
    // Sixteen at once where four are served at once.
    let mut blobs = Vec::new();
    for seed in 0..16 {
        blobs.push(theirs.import_bytes(bytes(300_000, seed), &pin("a")).await.expect("room"));
    }
    let fetches = blobs.iter().map(|blob| {
        let (ours, here, blob) = (ours.clone(), pair.here.clone(), *blob);
        tokio::spawn(async move { ours.fetch(&here, blob, &pin("a"), |_| {}).await })
    });
    for fetch in fetches.collect::<Vec<_>>() {
        fetch.await.expect("no panic").expect("there");
    }
    assert_eq!(ours.usage().blobs, 16);
    pair.close().await;
    serving.await.expect("no panic");
}

/// Prints how fast blobs are: `cargo test --release -p tidemill-net -- --ignored --nocapture fast`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn how_fast_blobs_are() {
    const LEN: usize = 512 << 20;
    let pair = Pair::new(BLOBS_ALPN).await;
    let ((ours, _a), (theirs, _b)) = (folder(AMPLE).await, folder(AMPLE).await);
    let serving = serve(&theirs, &pair.there);
    let content = bytes(LEN, 1);
    let rate = |begun: std::time::Instant| (LEN >> 20) as f64 / begun.elapsed().as_secs_f64();
    let begun = std::time::Instant::now();
    let blob = theirs.import_bytes(content, &pin("a")).await.expect("room");
    println!("import: {:.0} MiB/s", rate(begun));
    let begun = std::time::Instant::now();
    ours.fetch(&pair.here, blob, &pin("a"), |_| {}).await.expect("there");
    println!("fetch: {:.0} MiB/s", rate(begun));
    let begun = std::time::Instant::now();
    for seed in 0..100 {
        ours.import_bytes(bytes(1000, seed), &pin("b")).await.expect("room");
    }
    println!("a small import: {:?}", begun.elapsed() / 100);
    pair.close().await;
    serving.await.expect("no panic");
}
