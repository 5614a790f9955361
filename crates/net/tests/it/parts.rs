//! Parts of blobs between two nodes: pieces that travel without the rest of their file.

use tidemill_net::{
    blobs::{BLOBS_ALPN, BlobError, BlobRef, Blobs, FetchError},
    endpoint::Connection,
};
use tidemill_types::{BlobId, BlobSource, ByteRange};
use tokio::task::JoinHandle;

use crate::support::{Pair, bytes, folder, pin};

const AMPLE: u64 = 1 << 30;

fn serve(blobs: &Blobs, connection: &Connection) -> JoinHandle<()> {
    let (blobs, connection) = (blobs.clone(), connection.clone());
    tokio::spawn(async move { blobs.serve(connection, |_, _| true, 4).await })
}

fn range(offset: usize, len: usize) -> ByteRange {
    ByteRange { offset: offset as u64, len: len as u64 }
}

/// A part of a blob of this content: where it is, what it is, and its bytes.
fn part(blob: BlobRef, content: &[u8], head: ByteRange, body: ByteRange) -> (BlobSource, BlobRef, Vec<u8>) {
    let of_range = |range: ByteRange| &content[range.offset as usize..][..range.len as usize];
    let bytes = [of_range(head), of_range(body)].concat();
    let part = BlobRef { id: BlobId::of(&bytes), len: bytes.len() as u64 };
    (BlobSource { blob, head, offset: body.offset }, part, bytes)
}

#[tokio::test]
async fn parts_of_blobs_become_blobs() {
    let pair = Pair::new(BLOBS_ALPN).await;
    let ((ours, _a), (theirs, _b)) = (folder(AMPLE).await, folder(AMPLE).await);
    let serving = serve(&theirs, &pair.there);
    let none = ByteRange::default();
    // One that is in a segment over there, and one that is a file.
    for (seed, len) in [(1, 500_000), (2, (3 << 20) + 77)] {
        let content = bytes(len, seed);
        let blob = theirs.import_bytes(content.clone(), &pin("a")).await.expect("room");
        for (head, body) in [
            (none, range(0, 1)),
            (none, range(len - 1, 1)),
            (none, range(16_383, 2)),
            (none, range(100_000, 200_000)),
            (none, range(len / 3, len / 2)),
            (none, range(0, len - 1)),
            // Those before share bytes with these.
            (range(100_000, 60_000), range(130_000, 100_000)),
            (range(len - 10, 10), range(0, len / 2)),
            (none, range(len, 0)),
            (none, range(0, len)),
        ] {
            let (source, part, expected) = part(blob, &content, head, body);
            let (mut seen, got) = (Vec::new(), pin("got"));
            let fetched = ours.fetch_part(&pair.here, source, part, &got, |here| seen.push(here));
            fetched.await.unwrap_or_else(|error| panic!("{head:?} {body:?}: {error:?}"));
            assert!(seen.is_sorted() && seen.last() == Some(&part.len), "{seen:?}");
            assert_eq!(ours.read(part.id, AMPLE).await.expect("here"), expected);
            assert!(ours.pinned(&got).contains(&part.id));
        }
    }
    assert_eq!(ours.usage().reserved, 0);
    pair.close().await;
    serving.await.expect("no panic");
}

#[tokio::test]
async fn a_part_costs_its_own_bytes_and_a_second_time_nothing() {
    const LEN: usize = 16 << 20;
    let pair = Pair::new(BLOBS_ALPN).await;
    let ((ours, _a), (theirs, _b)) = (folder(AMPLE).await, folder(AMPLE).await);
    let serving = serve(&theirs, &pair.there);
    let content = bytes(LEN, 1);
    let blob = theirs.import_bytes(content.clone(), &pin("a")).await.expect("room");
    let (source, part, _) = part(blob, &content, range(0, 100), range(LEN / 2, 20_000));
    let received = || pair.here.stats().udp_rx.bytes;
    let before = received();
    ours.fetch_part(&pair.here, source, part, &pin("a"), |_| {}).await.expect("there");
    let taken = received() - before;
    assert!(taken < 200_000, "{taken} bytes came for three groups of 16 KiB and their hashes");
    assert!(ours.usage().used < 100_000, "nothing of the rest is kept");

    pair.close().await;
    serving.await.expect("no panic");
    // Nobody is asked for what is here.
    ours.fetch_part(&Pair::new(BLOBS_ALPN).await.here, source, part, &pin("b"), |_| {}).await.expect("here");
}

#[tokio::test]
async fn nothing_is_kept_of_a_part_whose_blob_is_damaged_there() {
    let pair = Pair::new(BLOBS_ALPN).await;
    let ((ours, root), (theirs, _b)) = (folder(AMPLE).await, folder(AMPLE).await);
    let serving = serve(&theirs, &pair.there);
    let content = bytes(8 << 20, 1);
    let blob = theirs.import_bytes(content.clone(), &pin("a")).await.expect("room");
    let path = theirs.lend(blob.id).await.expect("there").path().to_owned();
    let mut rotten = content.clone();
    rotten[5_000_000] ^= 1;
    std::fs::write(&path, &rotten).expect("written");
    let none = ByteRange::default();
    // In a segment and in a file of its own, here; wrong in the head, and in the rest.
    let (small, large) = (range(4_990_000, 20_000), range(4_000_000, 2 << 20));
    for (head, body) in [(none, small), (none, large), (small, range(0, 10)), (small, range(0, 2 << 20))] {
        let (source, part, _) = part(blob, &content, head, body);
        ours.fetch_part(&pair.here, source, part, &pin("a"), |_| {}).await.expect_err("rotten");
        assert_eq!(ours.has(part.id), None);
    }
    assert_eq!(theirs.has(blob.id), None, "the other side has noticed it");
    assert_eq!(ours.usage().reserved, 0);
    assert_eq!(std::fs::read_dir(root.path().join("drafts")).expect("there").count(), 0);
    pair.close().await;
    serving.await.expect("no panic");
}

#[tokio::test]
async fn what_is_no_part_of_the_blob_is_refused() {
    let pair = Pair::new(BLOBS_ALPN).await;
    let ((ours, _a), (theirs, _b)) = (folder(AMPLE).await, folder(AMPLE).await);
    let serving = serve(&theirs, &pair.there);
    let content = bytes(4 << 20, 1);
    let blob = theirs.import_bytes(content.clone(), &pin("a")).await.expect("room");
    let (none, end) = (ByteRange::default(), 4 << 20);
    for body in [range(1000, 5000), range(1000, 2 << 20)] {
        let (mut source, part, _) = part(blob, &content, none, body);
        // Right bytes of the blob, and others than those of the part.
        source.offset += 1;
        let error = ours.fetch_part(&pair.here, source, part, &pin("a"), |_| {}).await.expect_err("other");
        assert!(matches!(error, FetchError::Corrupt { id, .. } if id == part.id), "{error:?}");
    }
    let somewhere = BlobRef { id: BlobId::of(b"somewhere"), len: 5000 };
    for (head, offset) in
        [(none, end - 4999), (none, u64::MAX), (range(end as usize, 1), 0), (range(0, 5001), 0)]
    {
        let source = BlobSource { blob, head, offset };
        let error = ours.fetch_part(&pair.here, source, somewhere, &pin("a"), |_| {}).await;
        let error = error.expect_err("it goes beyond the end");
        assert!(matches!(error, FetchError::Corrupt { id, .. } if id == somewhere.id), "{error:?}");
    }
    // A length that the blob does not have is refused by the first bytes that arrive.
    let longer = BlobRef { len: blob.len + 1, ..blob };
    let (source, part, _) = part(longer, &content, none, range(1000, 5000));
    let error = ours.fetch_part(&pair.here, source, part, &pin("a"), |_| {}).await.expect_err("a lie");
    assert!(matches!(error, FetchError::WrongLength { .. }), "{error:?}");
    let absent = BlobRef { id: BlobId::of(b"absent"), ..blob };
    let elsewhere = BlobSource { blob: absent, ..source };
    let error = ours.fetch_part(&pair.here, elsewhere, part, &pin("a"), |_| {}).await.expect_err("not there");
    assert!(matches!(error, FetchError::NotThere(id) if id == absent.id), "{error:?}");
    assert_eq!((ours.usage().blobs, ours.usage().reserved), (0, 0));
    pair.close().await;
    serving.await.expect("no panic");
}

#[tokio::test]
async fn ranges_of_what_is_here_are_read_as_they_are() {
    let (blobs, _root) = folder(AMPLE).await;
    for len in [10_000, 3 << 20] {
        let content = bytes(len, 1);
        let blob = blobs.import_bytes(content.clone(), &pin("a")).await.expect("room");
        let read = |ranges: Vec<ByteRange>| {
            let blobs = blobs.clone();
            tokio::task::spawn_blocking(move || blobs.blocking_peek(blob.id, &ranges))
        };
        let found =
            read(vec![range(5, 10), range(0, 0), range(2, 6)]).await.expect("no panic").expect("here");
        assert_eq!(found, [&content[5..15], &content[2..8]].concat());
        let all = read(vec![range(0, len)]).await.expect("no panic").expect("here");
        assert_eq!(all, content);
        let beyond = read(vec![range(len - 1, 2)]).await.expect("no panic");
        assert!(matches!(beyond, Err(BlobError::Disk { .. })), "{beyond:?}");
    }
    let absent = tokio::task::spawn_blocking(move || blobs.blocking_peek(BlobId::of(b"absent"), &[]));
    assert!(matches!(absent.await.expect("no panic"), Err(BlobError::NotHere(_))));
}
