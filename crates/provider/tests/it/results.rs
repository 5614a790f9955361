//! Tasks that run, and their results.

use std::{fs, path::Path, sync::Arc};

use tidemill_net::wire::{FromProvider, OutputBody, ReturnReason, Source, ToProvider};
use tidemill_types::{Archive, BlobId, BlobSource, ByteRange, ByteSize, Failure, LeaseId, Outcome};

use crate::support::{Coordinator, LARGE, Made, NOOP, SPIN, done, lease, lend, lend_on, lend_with, range};

#[tokio::test]
async fn tasks_run_and_their_results_are_signed() {
    let coordinator = Coordinator::new().await;
    let program = coordinator.program(NOOP).await;
    let lender = lend(coordinator.ticket().await, 2).await;
    let mut joined = coordinator.join().await;
    assert!(joined.held().is_empty());
    joined.lease((0..200).map(|id| lease(id, program, &[])).collect()).await;
    let results = joined.settle(200).await;
    assert!(results.iter().map(|result| result.lease.0).eq(0..200));
    assert!(results.iter().all(|result| result.claim.outcome == Outcome::Done));
    let Some(OutputBody::Inline(output)) = &results[0].output else { panic!("a small output travels along") };
    Archive::parse(output).expect("it is an archive");

    lender.provider.drain();
    assert_eq!(joined.next().await, Some(FromProvider::Credits(0)));
    assert_eq!(joined.next().await, Some(FromProvider::Bye));
    assert_eq!(lender.ending().await, tidemill_provider::Ending::Drained);
}

#[tokio::test]
async fn inputs_come_in_the_lease_and_as_ranges_of_blobs() {
    let coordinator = Coordinator::new().await;
    let program = coordinator.program(NOOP).await;
    let blob = coordinator.keep(&[7; 100_000]).await;
    let _lender = lend(coordinator.ticket().await, 1).await;
    let mut joined = coordinator.join().await;
    let inputs = |first: &'static [u8]| {
        vec![
            (first, Source::Inline(b"here".to_vec())),
            (&[7; 100_000][..], range(blob, 0)),
            (&[7; 500][..], range(blob, 99_500)),
            (&b""[..], range(blob, 0)),
        ]
    };
    joined.lease(vec![lease(1, program, &inputs(b"here"))]).await;
    assert_eq!(joined.settle(1).await[0].claim.outcome, Outcome::Done);

    // What is not what the specification says is never run.
    joined.lease(vec![lease(2, program, &inputs(b"there"[..4].try_into().expect("four bytes")))]).await;
    let Some(FromProvider::Returned { leases, reason: ReturnReason::Fetch(words) }) = joined.next().await
    else {
        panic!("it should have come back")
    };
    assert_eq!(leases, [LeaseId(2)]);
    assert!(words.contains("the coordinator lies"), "{words}");
}

/// Flips a bit of a blob of sevens in whatever file of a folder it is, so far from where it begins.
fn damage(folder: &Path, at: usize) {
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for item in fs::read_dir(folder).expect("there") {
            let path = item.expect("there").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let mut content = fs::read(&path).expect("a file");
            if let Some(start) = content.windows(1000).position(|window| *window == [7; 1000]) {
                content[start + at] ^= 1;
                fs::write(&path, content).expect("written");
                return;
            }
        }
    }
    panic!("the blob is in no file");
}

#[tokio::test]
async fn an_input_that_was_damaged_here_is_fetched_again() {
    let coordinator = Coordinator::new().await;
    let program = coordinator.program(NOOP).await;
    let blob = coordinator.keep(&[7; 100_000]).await;
    let lender = lend(coordinator.ticket().await, 1).await;
    let mut joined = coordinator.join().await;
    // So much of it that all of it is fetched.
    let at = |offset: u64| -> Vec<(&'static [u8], Source)> { vec![(&[7; 60_000][..], range(blob, offset))] };
    joined.lease(vec![lease(1, program, &at(0))]).await;
    joined.settle(1).await;
    damage(lender.folder(), 50_100);
    // Nobody lied, and nothing comes back, though some were started before the damage was known, and find it mended.
    joined.lease((2..12).map(|id| lease(id, program, &at(30_000 + id))).collect()).await;
    let results = joined.settle(10).await;
    assert!(results.iter().all(|result| result.claim.outcome == Outcome::Done));
}

#[tokio::test]
async fn a_piece_is_fetched_without_the_rest_of_its_file() {
    let coordinator = Coordinator::new().await;
    let program = coordinator.program(NOOP).await;
    let file: Vec<u8> = (0..3_000_000u32).flat_map(u32::to_le_bytes).collect();
    let blob = coordinator.keep(&file).await;
    // The whole file would find no room.
    let _lender = lend_with(coordinator.ticket().await, 1, |config| config.disk = ByteSize::mib(2)).await;
    let mut joined = coordinator.join().await;
    let piece = |head: ByteRange, offset: usize| {
        let content =
            [&file[head.offset as usize..][..head.len as usize], &file[offset..][..50_000]].concat();
        (content, Source::Blob(BlobSource { blob, head, offset: offset as u64 }))
    };
    let header = ByteRange { offset: 9_000_000, len: 100 };
    let pieces = [piece(header, 1_000_000), piece(ByteRange::default(), 1_040_000)];
    let leases = pieces.iter().zip(1..);
    let leases = leases.map(|((content, source), id)| lease(id, program, &[(&content[..], source.clone())]));
    joined.lease(leases.collect()).await;
    for result in joined.settle(2).await {
        assert_eq!(result.claim.outcome, Outcome::Done);
    }

    // Bytes of the blob, and not those of the piece.
    let (content, _) = piece(header, 2_000_000);
    let (_, elsewhere) = piece(header, 2_000_004);
    joined.lease(vec![lease(3, program, &[(&content[..], elsewhere)])]).await;
    let Some(FromProvider::Returned { leases, reason: ReturnReason::Fetch(words) }) = joined.next().await
    else {
        panic!("it should have come back")
    };
    assert_eq!(leases, [LeaseId(3)]);
    assert!(words.contains(&BlobId::of(&content).to_string()), "{words}");
}

#[tokio::test]
async fn a_failure_is_a_result_too() {
    let coordinator = Coordinator::new().await;
    let program = coordinator.keep(b"\x7fELF").await;
    let _lender = lend(coordinator.ticket().await, 1).await;
    let mut joined = coordinator.join().await;
    joined.lease(vec![lease(1, program, &[])]).await;
    let results = joined.settle(1).await;
    assert!(matches!(results[0].claim.outcome, Outcome::Failed(Failure::NotWasm { .. })));
    assert_eq!(results[0].output, None);
}

#[tokio::test]
async fn a_large_output_is_fetched_from_the_provider() {
    let coordinator = Coordinator::new().await;
    let program = coordinator.program(LARGE).await;
    let _lender = lend(coordinator.ticket().await, 1).await;
    let mut joined = coordinator.join().await;
    joined.lease(vec![lease(1, program, &[])]).await;
    let results = joined.results(1).await;
    assert_eq!(results[0].output, Some(OutputBody::Blob));
    let bytes = coordinator.fetch(&joined, &results[0]).await;
    let archive = Archive::parse(&bytes).expect("it is an archive");
    assert_eq!(archive.data_len(), 128 << 10);
}

#[tokio::test]
async fn spooled_outputs_are_taken_in_and_their_files_removed() {
    let coordinator = Coordinator::new().await;
    let program = coordinator.program(NOOP).await;
    let spool = tempfile::tempdir().expect("a folder");
    for len in [100, 100_000, 200_000] {
        let (bytes, path) = (vec![3; len], spool.path().join(len.to_string()));
        std::fs::write(&path, &bytes).expect("the folder can be written to");
        let (id, at) = (BlobId::of(&bytes), path.clone());
        let executor =
            Arc::new(Made(move || done(id, len as u64, tidemill_exec::OutputBody::File(at.clone()))));
        let _lender = lend_on(executor, coordinator.ticket().await, 1, |_| {}).await;
        let mut joined = coordinator.join().await;
        joined.lease(vec![lease(1, program, &[])]).await;
        let results = joined.results(1).await;
        let found = match &results[0].output {
            Some(OutputBody::Inline(bytes)) => bytes.clone(),
            _ => coordinator.fetch(&joined, &results[0]).await,
        };
        assert_eq!(found, bytes);
        assert!(!path.exists());
    }
}

#[tokio::test]
async fn what_was_not_settled_comes_again_after_a_loss() {
    let coordinator = Coordinator::new().await;
    let program = coordinator.program(NOOP).await;
    let spin = coordinator.program(SPIN).await;
    let lender = lend(coordinator.ticket().await, 2).await;
    let mut first = coordinator.join().await;
    first.lease(vec![lease(1, spin, &[]), lease(2, program, &[]), lease(3, program, &[])]).await;
    let before = first.results(2).await;
    first.session.connection.close(9u32.into(), b"a test");

    let mut second = coordinator.join().await;
    assert_eq!(second.held(), [1, 2, 3], "what runs and what is not settled");
    second.recall(&first);
    let again = second.settle(2).await;
    assert_eq!(again, before);

    // The task that went on through all of it ends when it is cancelled, and makes room.
    second.lease(vec![lease(4, program, &[])]).await;
    second.say(ToProvider::Cancel(vec![LeaseId(1)])).await;
    assert_eq!(second.settle(1).await[0].lease, LeaseId(4));
    lender.provider.drain();
    assert_eq!(second.next().await, Some(FromProvider::Credits(0)));
    assert_eq!(second.next().await, Some(FromProvider::Bye));
}

#[tokio::test]
async fn a_cancelled_task_makes_room_and_has_no_result() {
    let coordinator = Coordinator::new().await;
    let (spin, program) = (coordinator.program(SPIN).await, coordinator.program(NOOP).await);
    let _lender = lend(coordinator.ticket().await, 1).await;
    let mut joined = coordinator.join().await;
    joined.lease(vec![lease(1, spin, &[]), lease(2, spin, &[]), lease(3, program, &[])]).await;
    joined.say(ToProvider::Cancel(vec![LeaseId(1), LeaseId(2), LeaseId(77)])).await;
    let results = joined.settle(1).await;
    assert_eq!(results[0].lease, LeaseId(3));
}
