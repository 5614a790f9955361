//! Evidence outlives its job, and goes when its time is over.

use tidemill_types::{Address, LeaseId, Principal};

use super::{
    disk::Disk,
    fixture::{
        account, closed, ended, evidence, evidence_between, evidence_record, job, opinion, owner, removed,
        said_in, signed_batch, submitted, task,
    },
};
use crate::{
    BatchId, Change, Contradiction, EvidenceRecord, JobEnd, MAX_EVIDENCE_BYTES_OF_OWNER, MAX_EVIDENCE_OF_JOB,
    MAX_EVIDENCE_OF_OPERATOR_IN_JOB, NewEvidence, Store, StoreError, UnixMillis,
};

fn kept(new: NewEvidence) -> Change {
    Change::Evidence(Box::new(new))
}

fn evidence_of(store: &Store, number: u64) -> Vec<EvidenceRecord> {
    store.evidence(task(1, number), LeaseId(0), usize::MAX, |_, _| true).unwrap()
}

/// A job whose task 0 has an opinion of node 2, in the middle of a batch, and one of node 3.
fn begin() -> Vec<Change> {
    let of = task(1, 0);
    vec![
        submitted(1, 300),
        signed_batch(0, 2, of, &[5, 6, 7], b"wrong"),
        signed_batch(1, 3, of, &[8], b"output"),
        opinion(of, 6, 0, 1),
        opinion(of, 8, 1, 0),
        closed(0),
        closed(1),
    ]
}

#[test]
fn evidence_outlives_its_job_and_its_batches() {
    let disk = Disk::default();
    let store = disk.open().unwrap();
    store.commit(&begin()).unwrap();
    let of = task(1, 0);
    let new = evidence_between(said_in(2, (of, 6), b"wrong", (0, 1)), said_in(3, (of, 8), b"output", (1, 0)));
    store.commit(&[kept(new)]).unwrap();
    assert_eq!(store.sanity_check(), Ok(()));
    let records = evidence_of(&store, 0);
    let [record] = &records[..] else { panic!("{records:?}") };
    assert_eq!((record.owner, record.operator, record.until), (owner(1), account(2), UnixMillis(1_006)));
    for (result, number, leaves) in [(&record.evidence.accused, 2, 3), (&record.evidence.accepted, 3, 1)] {
        assert_eq!(result.leaf.check(account(number)), Ok(()));
        assert_eq!(result.leaf.batch.count, leaves);
    }

    store.commit(&[ended(1, JobEnd::Cancelled), removed(1)]).unwrap();
    while store.sweep(1).unwrap() {
        assert_eq!(store.sanity_check(), Ok(()));
    }
    assert_eq!((store.job(job(1)).unwrap(), store.batch(BatchId(0)).unwrap()), (None, None));
    assert_eq!(evidence_of(&store, 0), records);
    // Under the same id another job begins anew.
    store.commit(&[submitted(1, 1)]).unwrap();
    drop(store);
    let store = disk.open().unwrap();
    assert_eq!(evidence_of(&store, 0), records);
    assert_eq!((store.evidence_count(of).unwrap(), store.evidence_count(task(1, 1)).unwrap()), (1, 0));
    assert_eq!(store.sanity_check(), Ok(()));
}

#[test]
fn evidence_goes_when_its_time_is_over_a_slice_at_a_time() {
    let store = Disk::default().open().unwrap();
    store.commit(&begin()).unwrap();
    let all: Vec<Change> = (10..15).map(|lease| kept(evidence(4, task(1, lease), lease))).collect();
    store.commit(&all).unwrap();
    let left = |store: &Store| (10..15).filter(|task| !evidence_of(store, *task).is_empty()).count();
    assert!(!store.forget_evidence(UnixMillis(1_009), 9).unwrap());
    assert_eq!(left(&store), 5);
    assert!(store.forget_evidence(UnixMillis(1_012), 2).unwrap(), "three are over, and two may go at once");
    assert_eq!((left(&store), store.sanity_check()), (3, Ok(())));
    assert!(!store.forget_evidence(UnixMillis(1_012), 2).unwrap());
    assert_eq!((left(&store), store.sanity_check()), (2, Ok(())));
    assert!(!store.forget_evidence(UnixMillis(u64::MAX), 2).unwrap());
    assert_eq!((left(&store), store.sanity_check()), (0, Ok(())));
}

#[test]
fn what_proves_nothing_is_not_kept() {
    let store = Disk::default().open().unwrap();
    store.commit(&begin()).unwrap();
    let of = task(1, 0);
    let right = || said_in(3, (of, 8), b"output", (1, 0));
    // Another leaf of the batch, another claim, another provider.
    for accused in [
        said_in(2, (of, 6), b"wrong", (0, 0)),
        said_in(2, (of, 6), b"something else", (0, 1)),
        said_in(4, (of, 6), b"wrong", (0, 1)),
    ] {
        store.commit(&[kept(evidence_between(accused, right()))]).unwrap();
        assert_eq!(evidence_of(&store, 0), []);
    }
    let refused = |change: Change| match store.commit(&[change]).unwrap_err() {
        StoreError::Contradiction { source, .. } => source,
        other => panic!("{other}"),
    };
    let nowhere = said_in(2, (of, 6), b"wrong", (0, 3));
    let no_leaf = Contradiction::NoLeaf { batch: BatchId(0), leaf: 3 };
    assert_eq!(refused(kept(evidence_between(nowhere, right()))), no_leaf);
    assert_eq!(refused(kept(evidence(4, task(2, 0), 9))), Contradiction::NoJob(job(2)));
    let no_task = Contradiction::NoTask { task: task(1, 300), task_count: 300 };
    assert_eq!(refused(kept(evidence(4, task(1, 300), 9))), no_task);
    assert_eq!(store.sanity_check(), Ok(()));
}

#[test]
fn only_so_much_is_kept_of_an_account_and_of_a_job() {
    let store = Disk::default().open().unwrap();
    store.commit(&begin()).unwrap();
    let mut lease = 10;
    for number in 4..20 {
        let all = (0..MAX_EVIDENCE_OF_OPERATOR_IN_JOB as u64 + 2).map(|place| {
            lease += 1;
            kept(evidence(number, task(1, place), lease))
        });
        store.commit(&all.collect::<Vec<_>>()).unwrap();
    }
    let count = || (0..300).map(|number| store.evidence_count(task(1, number)).unwrap()).sum::<usize>();
    assert_eq!(count(), MAX_EVIDENCE_OF_JOB);
    let first = (0..300).flat_map(|number| evidence_of(&store, number));
    let first = first.filter(|record| record.operator == account(4));
    assert_eq!(first.count(), MAX_EVIDENCE_OF_OPERATOR_IN_JOB);
    assert_eq!(store.sanity_check(), Ok(()));
    // Another job has room, and what is over makes some.
    store.commit(&[submitted(2, 9), kept(evidence(4, task(2, 0), 900))]).unwrap();
    assert_eq!(store.evidence_count(task(2, 0)).unwrap(), 1);
    while store.forget_evidence(UnixMillis(1_900), 50).unwrap() {}
    store.commit(&[kept(evidence(4, task(1, 0), 901))]).unwrap();
    assert_eq!(count(), 1);
    assert_eq!(store.sanity_check(), Ok(()));
}

#[test]
fn a_task_s_evidence_is_read_by_lease_and_in_parts() {
    let store = Disk::default().open().unwrap();
    store.commit(&begin()).unwrap();
    let new: Vec<NewEvidence> = [20, 30, 40].map(|lease| evidence(4, task(1, 1), lease)).into();
    // A second time it says nothing new.
    for new in new.iter().chain(&new) {
        store.commit(&[kept(new.clone())]).unwrap();
    }
    let records: Vec<EvidenceRecord> = new.iter().map(evidence_record).collect();
    let read = |from, most| store.evidence(task(1, 1), LeaseId(from), most, |_, _| true).unwrap();
    assert_eq!(read(0, usize::MAX), records);
    assert_eq!(read(21, usize::MAX), records[1..]);
    assert_eq!(read(0, 0), records[..1], "one at least");
    assert_eq!(read(41, usize::MAX), []);
}

#[test]
fn a_requester_who_writes_long_tasks_does_not_fill_the_disk() {
    let store = Disk::default().open().unwrap();
    store.commit(&begin()).unwrap();
    // Another requester's, which stays.
    let mut other = submitted(2, 9);
    if let Change::JobSubmitted { owner: of, .. } = &mut other {
        *of = owner(2);
    }
    store.commit(&[other, kept(evidence(4, task(2, 0), 900))]).unwrap();
    let long = 900_000;
    let most = MAX_EVIDENCE_BYTES_OF_OWNER / long;
    for number in 0..most + 4 {
        let mut new = evidence(u8::try_from(4 + number / 10).unwrap(), task(1, number), 1_000 + number);
        new.spec.args = vec!["x".repeat(usize::try_from(long).unwrap())];
        store.commit(&[kept(new)]).unwrap();
    }
    let there: Vec<u64> = (0..most + 4).filter(|number| !evidence_of(&store, *number).is_empty()).collect();
    assert_eq!(there, (there[0]..most + 4).collect::<Vec<_>>(), "the oldest have gone");
    assert!((4..8).contains(&there[0]), "{there:?}");
    assert_eq!(store.evidence_count(task(2, 0)).unwrap(), 1);
    assert_eq!(store.sanity_check(), Ok(()));
    while store.forget_evidence(UnixMillis(u64::MAX), 5).unwrap() {}
    assert_eq!(store.sanity_check(), Ok(()));
}

#[test]
fn evidence_is_read_by_whom_it_is_for() {
    let store = Disk::default().open().unwrap();
    store.commit(&begin()).unwrap();
    store.commit(&[kept(evidence(4, task(1, 1), 20)), kept(evidence(5, task(1, 1), 30))]).unwrap();
    let all = evidence_of(&store, 1);
    let signer = |record: &EvidenceRecord| record.evidence.accused.binding.address;
    let read = |is_wanted: &dyn Fn(Principal, Address) -> bool| {
        store.evidence(task(1, 1), LeaseId(0), usize::MAX, is_wanted).unwrap()
    };
    assert_eq!(read(&|by, _| by == owner(1)), all);
    assert_eq!(read(&|_, by| by == signer(&all[1])), all[1..]);
    assert_eq!(read(&|by, _| by == owner(9)), []);
}
