//! How a job fails.

use rustix::process::Signal;

use super::{job, place, slow_job};
use crate::{processes::signal, puppet::COMPLAINT};

#[test]
fn a_failing_task_fails_the_job_with_its_own_words() {
    let place = place(&job(&["quick", "exit"]));
    place.run_job(&[]).code(1).says(&["what=exit", "exit code 1", COMPLAINT, "hint: "]);
}

#[test]
fn a_trap_shows_where() {
    let place = place(&job(&["trap"]));
    place.run_job(&[]).code(1).says(&["trapped", "in inner", "called from outer", "hint: "]);
}

#[test]
fn a_limit_of_the_job_file_is_kept() {
    let place = place(&(job(&["endless"]) + "[limits]\nfuel = \"1M\"\n"));
    place.run_job(&[]).code(1).says(&["used up its 1M of fuel", "raise `fuel` under `[limits]`"]);
}

#[test]
fn a_task_that_fails_ends_those_beside_it() {
    let place = place(&job(&["endless", "exit"]));
    place.run_job(&["-j", "2"]).code(1).says(&["what=exit"]);
}

#[test]
fn what_is_no_program_fails_before_the_first_task() {
    let place = place(&job(&["quick"]));
    place.write("puppet.wasm", "#!/bin/sh");
    place.run_job(&[]).code(2).says(&["puppet.wasm", "it is a script", "hint: "]);
}

#[test]
fn all_programs_that_are_none_and_all_files_that_are_missing_are_told_of_at_once() {
    let place =
        place(&(job(&["quick"]) + "[reduce]\npath = \"merge.wasm\"\n[inputs]\na = \"one\"\nb = \"two\"\n"));
    place.run_job(&[]).code(2).says(&[
        "there are 3 mistakes",
        "merge.wasm cannot be read",
        "/one cannot",
        "/two cannot",
    ]);
    for name in ["one", "two", "merge.wasm", "puppet.wasm"] {
        place.write(name, "#!/bin/sh");
    }
    for run in [&["--here", "--dry-run"][..], &["--free"]] {
        let ran = place.tidemill(&[&["run", "job.toml"], run].concat());
        ran.code(2).says(&["puppet.wasm: the program is", "merge.wasm: the program is", "hint: "]);
    }
}

#[test]
fn a_worker_that_dies_is_replaced_and_its_task_made_again() {
    let place = place(&slow_job(4));
    place.run_job(&["--out", "whole"]).code(0);
    let mut running = place.start_job(&["--out", "out", "-j", "1", "--json"]);
    running.until("a task is kept", || place.kept("out").first().cloned());
    let worker = running.worker();
    signal(worker.0, Signal::KILL);
    let ran = running.finish().code(0).says(&["trying again", "worker process ended"]);
    assert_eq!(ran.json()["retries"], 1);
    assert_eq!(ran.json()["done"], 4);
    assert_eq!(place.tree("out"), place.tree("whole"));
}
