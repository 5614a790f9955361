//! Commands of one home at the same time, and one after another: one ledger, one sender, no job paid twice.

use std::fs;

use rustix::process::Signal;

use super::*;
use crate::{processes, support::Running};

fn start_run(place: &Place, job: &str, out: &str) -> Running {
    place.start(&["run", job, "--out", out, "--providers", "2", "--json"])
}

/// A job of so many tasks that take a part of a second each.
fn slow(name: &str, tasks: u32) -> String {
    format!(
        "name = \"{name}\"\n[program]\npath = \"puppet.wasm\"\nargs = [\"slow\", \"{{index}}\"]\n[tasks]\nrange = {{ to = \
         {tasks} }}\n"
    )
}

/// Whether no process has the ledger of the home.
fn is_ended(place: &Place) -> Option<()> {
    let lock = fs::File::open(place.path("home/ledger/lock")).expect("its lock");
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive).ok()
}

#[test]
fn two_runs_of_a_new_home_share_a_ledger_that_ends_with_the_last() {
    let place = Place::at_home("home");
    place.puppet();
    place.write("short.toml", slow("short", 1));
    place.write("long.toml", slow("long", 12));
    // Each makes the ledger if it is first, and pays from the one account there is.
    let (long, short) = (start_run(&place, "long.toml", "long"), start_run(&place, "short.toml", "short"));
    for run in [short, long] {
        let json = run.finish().code(0).json();
        assert_eq!(json["payment"]["stage"], "closed", "{json}");
    }
    wait_for("the end of the ledger", || is_ended(&place));
    // A command brings it along.
    assert_eq!(escrows(&place, &["--all"]).len(), 2);
    wait_for("its end once more", || is_ended(&place));
    let node = start(&place);
    place
        .tidemill(&["ledger", "start"])
        .code(2)
        .says(&["another tidemill process works in", "while commands of this home use it"]);
    stop(node);
}

#[test]
fn a_ledger_that_is_killed_under_a_run_is_started_again() {
    let place = Place::at_home("home");
    place.job(&slow("slow", 12));
    let mut run = start_run(&place, "job.toml", "out");
    run.until("a job is submitted", || place.path(".out.work/job.json").exists().then_some(()));
    let ledger = processes::child_with(run.id(), "--while-used").expect("it has started the ledger");
    processes::signal(ledger, Signal::KILL);
    let json = run.finish().code(0).json();
    assert_eq!(json["payment"]["stage"], "closed", "{json}");
}

#[test]
fn a_job_that_did_not_come_to_its_place_is_not_paid_again_elsewhere() {
    let place = Place::at_home("home");
    place.job(&slow("slow", 16));
    let mut run = start_run(&place, "job.toml", "one");
    run.until("a job is submitted", || place.path(".one.work/job.json").exists().then_some(()));
    run.until("an escrow is open", || (escrows(&place, &[]).len() == 1).then_some(()));
    run.signal(Signal::KILL);
    run.finish();
    let ran = place.tidemill(&["run", "job.toml", "--out", "two", "--providers", "2"]).code(0);
    ran.says(&["going on with what an earlier run of this job left in", ".one.work"]);
    assert_eq!(escrows(&place, &["--all"]).len(), 1, "one escrow pays for it");
    assert!(place.path("two/tidemill.json").exists());
    assert!(!place.path(".one.work").exists(), "nothing is left");
    // Done is done: who asks once more wants it once more.
    place.tidemill(&["run", "job.toml", "--out", "three", "--providers", "2"]).code(0);
    assert_eq!(escrows(&place, &["--all"]).len(), 2);
}

/// Starts a paid run of `job.toml` into `out`, and kills it once its job is paid for.
fn kill_a_paid_run(place: &Place) {
    let mut run = start_run(place, "job.toml", "out");
    run.until("a job is submitted", || place.path(".out.work/job.json").exists().then_some(()));
    run.until("an escrow is open", || (escrows(place, &[]).len() == 1).then_some(()));
    run.signal(Signal::KILL);
    run.finish();
}

#[test]
fn a_run_without_a_network_leaves_what_a_paid_one_began() {
    let place = Place::at_home("home");
    place.job(&slow("slow", 12));
    kill_a_paid_run(&place);
    let here = place.tidemill(&["run", "job.toml", "--out", "out", "--here"]).code(0);
    here.says(&["keeps a job that an earlier run began in a network"]);
    let run = place.tidemill(&["run", "job.toml", "--out", "out", "--providers", "2", "--json"]).code(0);
    assert_eq!(run.json()["payment"]["stage"], "closed", "{}", run.json());
    assert_eq!(escrows(&place, &["--all"]).len(), 1, "one escrow pays for it");
    assert!(!place.path(".out.work").exists(), "nothing is left");
}

#[test]
fn a_job_that_was_changed_after_a_kill_is_not_finished_as_it_was() {
    let place = Place::at_home("home");
    place.job(&slow("slow", 40));
    kill_a_paid_run(&place);
    place.job(&slow("slow", 1));
    let run = place.tidemill(&["run", "job.toml", "--out", "out", "--providers", "2", "--json"]).code(0);
    let run = run.says(&["its job", "is cancelled, and what it used is paid"]);
    assert_eq!(run.json()["tasks"], 1);
    let all = escrows(&place, &["--all"]);
    assert_eq!(all.len(), 2, "{all:?}");
    assert_eq!(escrows(&place, &[]).len(), 0, "both are settled");
}

#[test]
fn a_run_whose_terminal_is_closed_is_settled() {
    let place = Place::at_home("home");
    place.job(&slow("slow", 40));
    let mut run = start_run(&place, "job.toml", "out");
    run.until("a job is submitted", || place.path(".out.work/job.json").exists().then_some(()));
    run.until("an escrow is open", || (escrows(&place, &[]).len() == 1).then_some(()));
    run.signal(Signal::HUP);
    run.finish().code(130);
    assert_eq!(escrows(&place, &[]).len(), 0, "what was not used came back");
}

#[test]
fn a_command_waits_for_another_that_sends_for_the_same_account() {
    let place = Place::at_home("home");
    let node = start(&place);
    let sends: Vec<Running> = (0..3)
        .map(|_| {
            place.start(&[
                "wallet",
                "send",
                "1 ETH",
                "0x00000000000000000000000000000000000000aa",
                "--account",
                "treasury",
            ])
        })
        .collect();
    for send in sends {
        send.finish().code(0);
    }
    stop(node);
}
