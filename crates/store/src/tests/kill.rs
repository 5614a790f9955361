//! Kills a process that commits, again and again, and looks at what it leaves.

use std::{
    env,
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
};

use super::fixture::{batch, closed, finished, leased, submitted, task};
use crate::{Options, Store};

/// Names the directory for the process to be killed.
const DIRECTORY: &str = "TIDEMILL_STORE_TEST_DIRECTORY";
const ROUNDS: u64 = 12;

#[test]
fn what_was_committed_survives_a_kill() {
    let scratch = tempfile::tempdir().unwrap();
    let mut known = 0;
    for round in 0..ROUNDS {
        let last = commit_until_killed(scratch.path(), 1 + round * round * 5);
        let store = Store::open(scratch.path(), Options::default()).unwrap();
        let found = store.recover().unwrap().next_lease.0;
        assert!(found > last && last >= known, "{last} was committed, {found} is next, {known} was before");
        assert_eq!(store.sanity_check(), Ok(()));
        let mut done = Vec::new();
        store.for_each_done(task(0, 0).job, |task, _| done.push(task.0)).unwrap();
        assert!(done.into_iter().eq(0..found));
        known = found;
    }
}

/// Runs [`child`] until it has said so many times that it committed. Returns the last number it said.
fn commit_until_killed(directory: &Path, lines: u64) -> u64 {
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["--exact", "tests::kill::child", "--nocapture"])
        .env(DIRECTORY, directory)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let said = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut numbers = said.filter_map(|line| line.unwrap().strip_prefix("committed ")?.parse().ok());
    let last = numbers.by_ref().take(lines as usize).last().unwrap();
    child.kill().unwrap();
    // It may have said more before the kill reached it.
    let last = numbers.last().unwrap_or(last);
    child.wait().unwrap();
    last
}

/// Not a test by itself: the process that [`commit_until_killed`] starts.
#[test]
fn child() {
    let Some(directory) = env::var_os(DIRECTORY) else { return };
    let store = Store::open(Path::new(&directory), Options::default()).unwrap();
    if store.recover().unwrap().jobs.is_empty() {
        store.commit(&[submitted(0, u64::MAX)]).unwrap();
    }
    println!();
    for number in store.recover().unwrap().next_lease.0.. {
        let task = task(0, number);
        let changes =
            [leased(number, task), batch(number, 1), finished(task, number, number, 0), closed(number)];
        store.commit(&changes).unwrap();
        println!("committed {number}");
    }
}
