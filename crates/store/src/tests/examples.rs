//! The life of jobs, as a coordinator writes it down.

use tidemill_types::{Amount, ByteSize, LeaseId, TaskNumber};

use super::{
    disk::Disk,
    fixture::{
        attempt, batch, batch_record, closed, decided, done, ended, escrow, escrow_id, exit, failed,
        finished, job, known, lease, leased, opinion, owner, removed, submitted, task, too_slow, tried,
    },
};
use crate::{
    BatchId, Change, Contradiction, EscrowRecord, EscrowStage, Holdings, JobEnd, LogRecord,
    MAX_ATTEMPTS_KEPT, Recovered, Store, StoreError, UnixMillis,
};

fn refused(store: &Store, changes: &[Change]) -> (usize, Contradiction) {
    let before = store.recover().unwrap();
    let error = store.commit(changes).unwrap_err();
    assert!(!error.is_retryable());
    assert_eq!(store.recover().unwrap(), before, "nothing of it is applied");
    match error {
        StoreError::Contradiction { position, source } => (position, source),
        other => panic!("{other}"),
    }
}

#[test]
fn a_job_from_submission_to_its_last_trace() {
    let store = Disk::default().open().unwrap();
    store.commit(&[submitted(1, 2), leased(0, task(1, 0)), leased(1, task(1, 1))]).unwrap();
    let recovered = store.recover().unwrap();
    assert_eq!(recovered.leases, [lease(0, task(1, 0)), lease(1, task(1, 1))]);
    assert_eq!(recovered.next_lease, LeaseId(2));

    store
        .commit(&[
            batch(0, 2),
            finished(task(1, 0), 0, 0, 1),
            finished(task(1, 1), 1, 0, 0),
            closed(0),
            ended(1, JobEnd::Done),
        ])
        .unwrap();
    assert_eq!(store.sanity_check(), Ok(()));
    assert_eq!(store.recover().unwrap().leases, []);
    assert_eq!(store.task(task(1, 0)).unwrap(), Some(done(0, 0, 1)));
    assert_eq!(store.tasks(job(1), TaskNumber(1), 9).unwrap(), [(TaskNumber(1), done(1, 0, 0))]);
    assert_eq!(store.output(task(1, 0)).unwrap(), Some(b"output".to_vec()));
    assert_eq!(store.log(task(1, 0)).unwrap(), Some(LogRecord { bytes: b"log".to_vec(), omitted: 7 }));
    assert_eq!(store.batch(BatchId(0)).unwrap(), Some(batch_record(2)));
    let record = store.job(job(1)).unwrap().unwrap();
    assert_eq!((record.done, record.ended.map(|ended| ended.end)), (2, Some(JobEnd::Done)));

    store.commit(&[removed(1)]).unwrap();
    assert_eq!(store.job(job(1)).unwrap(), None);
    assert_eq!(store.jobs(None, None, 9).unwrap(), []);
    assert!(store.look(job(1), owner(1), None).unwrap().is_removing, "its id is still taken");
    while store.sweep(1).unwrap() {
        assert_eq!(store.sanity_check(), Ok(()));
    }
    assert_eq!(store.batch(BatchId(0)).unwrap(), None);
    assert_eq!(store.sanity_check(), Ok(()));
    let nothing = Recovered {
        suspects: Vec::new(),
        reputations: Vec::new(),
        jobs: vec![],
        leases: vec![],
        next_lease: LeaseId(2),
        next_batch: BatchId(1),
        open_batches: vec![],
        escrows: Vec::new(),
    };
    assert_eq!(store.recover().unwrap(), nothing);
    assert!(!store.look(job(1), owner(1), None).unwrap().is_removing);
}

/// The start of a coordinator and the budget of a requester read what is running and a sum, however much is over.
#[test]
fn what_is_over_is_not_read_at_the_start_and_counts_for_its_owner() {
    let store = Disk::default().open().unwrap();
    let at = |number: u8, at| Change::JobEnded {
        job: job(number),
        end: JobEnd::Cancelled,
        at: UnixMillis(at),
        summary: vec![0; 10],
    };
    store.commit(&[submitted(1, 1), submitted(2, 1), submitted(3, 1)]).unwrap();
    store.commit(&[batch(0, 1), finished(task(2, 0), 0, 0, 0), closed(0), at(2, 500), at(1, 600)]).unwrap();
    let running: Vec<_> = store.recover().unwrap().jobs.iter().map(|record| record.job).collect();
    assert_eq!(running, [job(3)]);
    // Three specifications of 100 bytes, two summaries of 10, an output of 6 and a log of 3.
    let holdings = |jobs, bytes| Holdings { jobs, bytes: ByteSize(bytes) };
    assert_eq!(store.holdings(owner(1)).unwrap(), holdings(3, 329));
    assert_eq!(store.holdings(owner(2)).unwrap(), Holdings::default());

    assert_eq!(store.ended_until(UnixMillis(499), 9).unwrap(), []);
    assert_eq!(store.ended_until(UnixMillis(500), 9).unwrap(), [job(2)]);
    assert_eq!(store.ended_until(UnixMillis(600), 9).unwrap(), [job(2), job(1)]);
    assert_eq!(store.ended_until(UnixMillis(600), 1).unwrap(), [job(2)]);

    store.commit(&[removed(2)]).unwrap();
    assert_eq!(store.holdings(owner(1)).unwrap(), holdings(2, 210));
    assert_eq!(store.ended_until(UnixMillis(600), 9).unwrap(), [job(1)]);
    assert_eq!(store.sanity_check(), Ok(()));
}

#[test]
fn a_closed_escrow_is_looked_up_and_not_recovered() {
    let store = Disk::default().open().unwrap();
    let paid_by = |number| store.look(job(1), owner(1), Some(escrow_id(number))).unwrap().is_escrow_closed;
    store.commit(&[Change::Escrow(escrow(1)), Change::Escrow(escrow(2))]).unwrap();
    assert!(!paid_by(1) && !paid_by(2) && !paid_by(3));
    store.commit(&[Change::Escrow(EscrowRecord { stage: EscrowStage::Closed, ..escrow(1) })]).unwrap();
    assert!(paid_by(1) && !paid_by(2));
    let open: Vec<_> = store.recover().unwrap().escrows.iter().map(|(record, _)| record.id).collect();
    assert_eq!(open, [escrow_id(2)]);
    assert_eq!(store.sanity_check(), Ok(()));
}

#[test]
fn a_result_ends_all_leases_of_its_task_and_the_end_of_a_job_all_of_the_job() {
    let store = Disk::default().open().unwrap();
    let tasks = [task(1, 0), task(1, 0), task(1, 1), task(2, 0), task(2, 1)];
    let leases = (0..).zip(tasks).map(|(id, task)| leased(id, task));
    store.commit(&[submitted(1, 2), submitted(2, 2)].into_iter().chain(leases).collect::<Vec<_>>()).unwrap();
    let ids = || store.recover().unwrap().leases.iter().map(|lease| lease.id.0).collect::<Vec<_>>();
    store.commit(&[batch(0, 1), finished(task(1, 0), 1, 0, 0)]).unwrap();
    assert_eq!(ids(), [2, 3, 4]);
    store.commit(&[Change::LeaseEnded { task: task(2, 0), lease: LeaseId(3) }]).unwrap();
    assert_eq!(ids(), [2, 4]);
    store.commit(&[ended(2, JobEnd::Cancelled)]).unwrap();
    assert_eq!(ids(), [2]);
    store.commit(&[failed(task(1, 1), 2)]).unwrap();
    assert_eq!(ids(), [] as [u64; 0]);
    assert_eq!(store.sanity_check(), Ok(()));
}

#[test]
fn a_second_result_of_a_task_is_refused() {
    let store = Disk::default().open().unwrap();
    store.commit(&[submitted(1, 3), batch(0, 4), finished(task(1, 0), 0, 0, 0)]).unwrap();
    let twice = [leased(7, task(1, 1)), finished(task(1, 0), 1, 0, 1)];
    assert_eq!(refused(&store, &twice), (1, Contradiction::TaskDone(task(1, 0))));
    let twice = [finished(task(1, 1), 1, 0, 1), finished(task(1, 1), 1, 0, 1)];
    assert_eq!(refused(&store, &twice), (1, Contradiction::TaskDone(task(1, 1))));
    store.commit(&twice[..1]).unwrap();
    assert_eq!(store.sanity_check(), Ok(()));
}

#[test]
fn somebody_is_tried_with_a_task_that_is_done() {
    let store = Disk::default().open().unwrap();
    let opened = task(1, 1);
    store.commit(&[submitted(1, 2), batch(0, 4), finished(task(1, 0), 0, 0, 0)]).unwrap();
    assert_eq!(refused(&store, &[tried(2, opened)]), (0, Contradiction::NotDoneTask(opened)));
    assert_eq!(refused(&store, &[known(opened, 2, 0, 1)]), (0, Contradiction::NotDoneTask(opened)));
    store.commit(&[tried(2, task(1, 0)), tried(3, task(1, 0))]).unwrap();
    assert!(store.recover().unwrap().leases.iter().all(|lease| lease.is_known));
    store.commit(&[known(task(1, 0), 2, 0, 1)]).unwrap();
    let opinions = store.opinions(task(1, 0)).unwrap();
    assert_eq!(opinions.iter().map(|one| (one.known, one.paid)).collect::<Vec<_>>(), [(Some(true), None)]);
    assert_eq!(store.recover().unwrap().leases.iter().map(|lease| lease.id.0).collect::<Vec<_>>(), [3]);
    assert_eq!(store.sanity_check(), Ok(()));
    // If it is looked at again after all, its own result has been paid, and nobody else is tried with it.
    store.commit(&[Change::Reopened { task: task(1, 0), error_ppb: 5 }]).unwrap();
    let opinions = store.opinions(task(1, 0)).unwrap();
    assert_eq!(opinions.iter().map(|one| one.paid).collect::<Vec<_>>(), [Some(Amount::ZERO), None]);
    assert_eq!(store.recover().unwrap().leases, []);
    assert_eq!(store.sanity_check(), Ok(()));
}

#[test]
fn what_an_opinion_was_paid_stays_with_it() {
    let store = Disk::default().open().unwrap();
    let paid =
        |lease, wei| Change::Paid { task: task(1, 0), lease: LeaseId(lease), amount: Amount::from_wei(wei) };
    store.commit(&[submitted(1, 1), batch(0, 4), leased(0, task(1, 0)), leased(1, task(1, 0))]).unwrap();
    let no_opinion = Contradiction::NoOpinion { task: task(1, 0), lease: LeaseId(0) };
    assert_eq!(refused(&store, &[paid(0, 7)]), (0, no_opinion));
    store.commit(&[opinion(task(1, 0), 0, 0, 0), opinion(task(1, 0), 1, 0, 1)]).unwrap();
    store.commit(&[paid(1, 7), decided(task(1, 0), 0, 0, 0), ended(1, JobEnd::Done)]).unwrap();
    let opinions = store.opinions(task(1, 0)).unwrap();
    let rows: Vec<_> = opinions.iter().map(|one| (one.paid, one.bill.is_empty())).collect();
    assert_eq!(rows, [(None, false), (Some(Amount::from_wei(7)), true)]);
    assert_eq!(refused(&store, &[paid(1, 8)]), (0, Contradiction::JobEnded(job(1))));
    assert_eq!(store.sanity_check(), Ok(()));
}

#[test]
fn what_contradicts_the_store_is_refused() {
    let store = Disk::default().open().unwrap();
    let begin = [submitted(1, 2), batch(0, 1), finished(task(1, 0), 0, 0, 0), leased(4, task(1, 1))];
    store.commit(&begin).unwrap();
    store.commit(&[submitted(2, 1), ended(2, JobEnd::Deadline), batch(1, 1), closed(1)]).unwrap();
    store.commit(&[submitted(3, 1), ended(3, JobEnd::Deadline), removed(3), batch(2, 1)]).unwrap();
    let not_done = Contradiction::NotDone { job: job(1), done: 1, task_count: 2 };
    let no_leaf = |batch, leaf| Contradiction::NoLeaf { batch: BatchId(batch), leaf };
    let cases = [
        (submitted(1, 2), Contradiction::JobExists(job(1))),
        (ended(1, JobEnd::Done), not_done),
        (removed(1), Contradiction::JobRuns(job(1))),
        (ended(2, JobEnd::Cancelled), Contradiction::JobEnded(job(2))),
        (leased(5, task(2, 0)), Contradiction::JobEnded(job(2))),
        (leased(5, task(9, 0)), Contradiction::NoJob(job(9))),
        (leased(5, task(1, 2)), Contradiction::NoTask { task: task(1, 2), task_count: 2 }),
        (leased(5, task(1, 0)), Contradiction::TaskDone(task(1, 0))),
        (leased(4, task(1, 1)), Contradiction::LeaseUsed(LeaseId(4))),
        (failed(task(1, 2), 4), Contradiction::NoTask { task: task(1, 2), task_count: 2 }),
        (failed(task(3, 0), 4), Contradiction::NoJob(job(3))),
        (finished(task(1, 1), 4, 0, 1), no_leaf(0, 1)),
        (finished(task(1, 1), 4, 1, 0), no_leaf(1, 0)),
        (batch(2, 1), Contradiction::BatchUsed(BatchId(2))),
    ];
    for (change, contradiction) in cases {
        assert_eq!(refused(&store, &[change]), (0, contradiction));
    }
    let late = [closed(0), finished(task(1, 1), 4, 0, 0)];
    assert_eq!(refused(&store, &late), (1, Contradiction::BatchClosed(BatchId(0))));
    assert_eq!(refused(&store, &[submitted(3, 1)]), (0, Contradiction::JobExists(job(3))));
    assert!(!store.sweep(10).unwrap());
    store.commit(&[submitted(3, 1)]).unwrap();
    assert_eq!(store.sanity_check(), Ok(()));
}

#[test]
fn of_failed_attempts_the_last_are_kept_and_evidence_before_circumstance() {
    let store = Disk::default().open().unwrap();
    store.commit(&[submitted(1, 2), failed(task(1, 1), 0)]).unwrap();
    for lease in 1..40 {
        let record = attempt(lease, too_slow());
        store.commit(&[Change::AttemptFailed { task: task(1, 1), record }]).unwrap();
    }
    let kept = store.attempts(task(1, 1)).unwrap();
    assert_eq!(kept.len(), MAX_ATTEMPTS_KEPT);
    assert_eq!((kept[0].lease, kept[0].failure.clone()), (LeaseId(0), exit()));
    assert_eq!((kept[1].lease, kept[15].lease), (LeaseId(25), LeaseId(39)));
    let mut failed = Vec::new();
    store.for_each_failed(job(1), |task, row| failed.push((task, row.failures))).unwrap();
    assert_eq!(failed, [(TaskNumber(1), 40)]);
    assert_eq!(store.sanity_check(), Ok(()));
}

#[test]
fn jobs_are_listed_newest_first() {
    let store = Disk::default().open().unwrap();
    for number in 1..6 {
        store.commit(&[submitted(number, 1)]).unwrap();
    }
    let all = store.jobs(None, None, 9).unwrap();
    let after = |owner, after: usize, limit| {
        let after = after.checked_sub(1).map(|place| (all[place].submitted, all[place].job));
        store.jobs(owner, after, limit).unwrap().iter().map(|record| record.job.0[0]).collect::<Vec<_>>()
    };
    let listed = |owner, limit| after(owner, 0, limit);
    for owner in [None, Some(owner(1))] {
        assert_eq!(after(owner, 2, 2), [3, 2]);
        assert_eq!(after(owner, 4, 2), [1]);
        assert!(after(owner, 5, 2).is_empty());
    }
    assert_eq!(listed(None, 3), [5, 4, 3]);
    assert_eq!(listed(Some(owner(1)), 9), [5, 4, 3, 2, 1]);
    assert!(listed(Some(owner(2)), 9).is_empty());
}

#[test]
fn a_reader_may_read_while_another_thread_commits() {
    let store = Disk::default().open().unwrap();
    store.commit(&[submitted(1, 50), batch(0, 50)]).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0..50 {
                store.commit(&[finished(task(1, number), number, 0, number as u32)]).unwrap();
            }
        });
        let mut seen = 0;
        while seen < 50 {
            let done = store.tasks(job(1), TaskNumber(0), 100).unwrap();
            assert!(done.len() >= seen && done.iter().zip(0..).all(|((task, _), number)| task.0 == number));
            seen = done.len();
        }
    });
}
