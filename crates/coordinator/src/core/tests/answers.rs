//! Answers that are lists, over a store with more than an answer may hold.

use tempfile::TempDir;
use tidemill_net::{
    frame::encoded_len,
    wire::{Answer, JobPhase, JobReport, MAX_FRAME_BYTES, MAX_PAGE, Reply},
};
use tidemill_store::{AttemptRecord, Change, JobEnd, Options, Store, UnixMillis};
use tidemill_types::{Address, Amount, Failure, JobId, LeaseId, NodeId, TaskId, TaskNumber};

use super::world::{OWNER, map_job};
use crate::{core::Summary, session::answers};

/// As much of a log as a failure may have.
const LOG_BYTES: usize = 16 << 10;

fn store() -> (TempDir, Store) {
    let directory = TempDir::new().expect("a temporary directory can be made");
    let store = Store::open(&directory.path().join("state"), Options::default()).expect("the store opens");
    (directory, store)
}

fn job(number: u16) -> JobId {
    let mut id = [0; 16];
    id[..2].copy_from_slice(&number.to_be_bytes());
    JobId(id)
}

fn failure() -> Failure {
    Failure::Exit { code: 1, stderr: "e".repeat(LOG_BYTES) }
}

fn submitted(number: u16, task_count: u64, spec: &[u8]) -> Change {
    Change::JobSubmitted {
        job: job(number),
        owner: OWNER,
        at: UnixMillis(number.into()),
        name: format!("job {number}"),
        map_count: task_count,
        task_count,
        spec: spec.to_vec(),
        pay: None,
    }
}

fn fits_a_frame(reply: &Reply) -> bool {
    let answer = Answer { id: u64::MAX, reply: Ok(reply.clone()) };
    encoded_len(&answer).expect("an answer has an encoding") <= MAX_FRAME_BYTES
}

/// Sixteen attempts at each of a thousand tasks that each wrote all they may are 256 MiB, in one answer that was too long to
/// send.
#[test]
fn tasks_come_in_pages_that_a_frame_holds() {
    let (_directory, store) = store();
    let spec = map_job(100);
    let (count, encoded) = (spec.task_count(), spec.encode());
    store.commit(&[submitted(1, count, &encoded)]).expect("it makes sense");
    for task in (0..count).map(TaskNumber) {
        let failed = |lease| Change::AttemptFailed {
            task: TaskId { job: job(1), task },
            record: AttemptRecord {
                lease: LeaseId(lease),
                provider: NodeId([1; 32]),
                operator: Address([1; 20]),
                failure: failure(),
                price: Amount::ZERO,
                at: UnixMillis(1),
                hardware_class: None,
                proof: None,
            },
        };
        let attempts: Vec<Change> = (0..16).map(failed).collect();
        store.commit(&attempts).expect("they make sense");
    }
    let mut seen = Vec::new();
    while (seen.len() as u64) < count {
        let wanted = (seen.len() as u64..count).map(|task| (TaskNumber(task), Vec::new())).collect();
        let reply = answers::tasks(&store, job(1), &spec, wanted, false).expect("they are answered");
        assert!(fits_a_frame(&reply));
        let Reply::Tasks(page) = reply else { panic!("{reply:?}") };
        assert!(!page.is_empty() && page.iter().all(|report| report.attempts.len() == 16));
        seen.extend(page.iter().map(|report| report.task.0));
    }
    assert_eq!(seen, (0..count).collect::<Vec<_>>());
}

#[test]
fn jobs_come_in_pages_that_a_frame_holds_and_need_no_specification() {
    const JOBS: u16 = 500;
    let (_directory, store) = store();
    let summary = Summary { label: "the task".to_owned(), ..Summary::default() };
    for number in 1..=JOBS {
        let end = JobEnd::Failed { task: TaskNumber(0), failure: failure(), attempts: 1 };
        let at = UnixMillis(number.into());
        let ended = Change::JobEnded { job: job(number), end, at, summary: summary.encode() };
        store.commit(&[submitted(number, 1, b"no specification"), ended]).expect("it makes sense");
    }
    let (mut seen, mut after): (Vec<JobId>, _) = (Vec::new(), None);
    loop {
        let reply =
            answers::jobs(&store, Some(OWNER), after, MAX_PAGE, Vec::new()).expect("they are answered");
        assert!(fits_a_frame(&reply));
        let Reply::Jobs(page) = reply else { panic!("{reply:?}") };
        let Some(last) = page.last() else { break };
        after = Some(last.place());
        let is_labelled = |report: &JobReport| matches!(&report.phase, JobPhase::Failed { label, .. } if label == "the task");
        assert!(page.iter().all(is_labelled));
        seen.extend(page.iter().map(|report| report.job));
    }
    assert_eq!(seen, (1..=JOBS).rev().map(job).collect::<Vec<_>>());
}
