//! Disks that fail: nothing is half applied, nothing that was acknowledged is lost.

use std::io::ErrorKind;

use super::{
    disk::Disk,
    fixture::{batch, finished, job, leased, submitted, task},
};
use crate::{Change, Store, StoreError};

/// How many writes and syncs are let through before a failure. A commit below takes fewer than 30.
const STEPS: std::ops::Range<u64> = 0..70;

/// The commit that brings job `number`: its one task is leased, one of the job before it is done.
fn commit(number: u8) -> Vec<Change> {
    let mut changes = vec![submitted(number, 2), leased(number.into(), task(number, 1))];
    if number > 0 {
        let batch_id = u64::from(number);
        changes.push(batch(batch_id, 1));
        changes.push(finished(task(number - 1, 1), batch_id - 1, batch_id, 0));
    }
    changes
}

/// Checks that the store holds exactly the first so many commits.
fn assert_holds(store: &Store, commits: u8) {
    assert_eq!(store.sanity_check(), Ok(()));
    let recovered = store.recover().unwrap();
    let jobs: Vec<_> = recovered.jobs.iter().map(|record| record.job).collect();
    assert_eq!(jobs, (0..commits).map(job).collect::<Vec<_>>());
    let leased: Vec<_> = recovered.leases.iter().map(|lease| lease.id.0).collect();
    assert_eq!(leased, commits.checked_sub(1).map(u64::from).into_iter().collect::<Vec<_>>());
    for number in 1..commits {
        assert_eq!(
            store.task(task(number - 1, 1)).unwrap().map(|done| done.result.batch.0),
            Some(number.into())
        );
    }
}

#[test]
fn after_a_failure_and_a_loss_of_power_a_prefix_of_the_commits_is_there() {
    for steps in STEPS {
        for chance in 1..4 {
            let disk = Disk::default();
            let store = disk.open().unwrap();
            disk.fail_after(steps, ErrorKind::Other);
            let failed = (0..20).find(|number| store.commit(&commit(*number)).is_err()).unwrap_or(20);
            drop(store);
            disk.lose_power(0x9e37_79b9_7f4a_7c15 ^ (steps * 7 + chance));
            let store = disk.open().unwrap();
            let found = store.recover().unwrap().jobs.len() as u8;
            assert!(found == failed || found == failed + 1, "{found} commits are there, {failed} returned");
            assert_holds(&store, found);
            // It is as usable as ever.
            for number in found..found + 3 {
                store.commit(&commit(number)).unwrap();
            }
            assert_holds(&store, found + 3);
        }
    }
}

#[test]
fn after_the_disk_was_full_the_same_commit_goes_through() {
    for steps in STEPS {
        let disk = Disk::default();
        let store = disk.open().unwrap();
        disk.fail_after(steps, ErrorKind::StorageFull);
        let failed = (0..20).find(|number| match store.commit(&commit(*number)) {
            Ok(()) => false,
            Err(error) => {
                assert!(error.is_retryable(), "{error}");
                assert!(matches!(error, StoreError::DiskFull { .. }), "{error}");
                true
            }
        });
        let failed = failed.expect("70 steps do not suffice for 20 commits");
        assert!(store.commit(&commit(failed)).is_err_and(|error| error.is_retryable()));
        disk.works_again();
        // The caller has gathered more in the meantime.
        store.commit(&[commit(failed), commit(failed + 1)].concat()).unwrap();
        assert_holds(&store, failed + 2);
        store.commit(&commit(failed + 2)).unwrap();
        assert_holds(&store, failed + 3);
        drop(store);
        assert_holds(&disk.open().unwrap(), failed + 3);
    }
}

#[test]
fn a_full_disk_is_met_again_and_again_without_harm() {
    let disk = Disk::default();
    let store = disk.open().unwrap();
    let mut refused = 0;
    for number in 0..12 {
        let mut steps = 0;
        disk.fail_after(steps, ErrorKind::StorageFull);
        while let Err(error) = store.commit(&commit(number)) {
            assert!(error.is_retryable(), "{error}");
            refused += 1;
            steps += 1;
            disk.fail_after(steps, ErrorKind::StorageFull);
        }
        disk.works_again();
        if steps % 2 == 0 {
            assert!(store.sweep(10).is_ok_and(|more| !more));
        }
    }
    assert!(refused > 50, "{refused}");
    assert_holds(&store, 12);
}

#[test]
fn another_failure_of_the_disk_is_final() {
    let disk = Disk::default();
    let store = disk.open().unwrap();
    store.commit(&commit(0)).unwrap();
    disk.fail_after(0, ErrorKind::Other);
    for _ in 0..2 {
        let error = store.commit(&commit(1)).unwrap_err();
        assert!(matches!(error, StoreError::Io { .. }) && !error.is_retryable(), "{error}");
        disk.works_again();
    }
    assert!(matches!(store.recover(), Err(StoreError::Io { .. })));
    drop(store);
    assert_holds(&disk.open().unwrap(), 1);
}
