//! A run takes up what an earlier one kept, however that one ended.

use std::{fs, time::Instant};

use rustix::process::Signal;
use serde_json::json;

use super::{job, names, place, slow_job};
use crate::{
    processes::{Worker, signal},
    support::{Place, Running, SOON, wait_for},
};

/// Starts the job and waits until so many tasks are done and kept.
fn start_until_kept(place: &Place, tasks: usize) -> Running {
    let mut running = place.start_job(&["--out", "out", "-j", "2"]);
    running.until("tasks are kept", || (place.kept("out").len() >= tasks).then_some(()));
    running
}

/// Runs the job to its end: what an earlier run had kept is used, and the output is that of a run
/// that nobody stopped.
fn finish_as_if_never_stopped(place: &Place, kept: usize) {
    let json = place.run_job(&["--out", "out", "--json"]).code(0).json();
    assert!(json["reused"].as_u64().unwrap() >= kept as u64, "{json}");
    assert_eq!(json["done"], json["tasks"]);
    place.run_job(&["--out", "whole"]).code(0);
    assert_eq!(place.tree("out"), place.tree("whole"));
    assert_eq!(names(place), ["job.toml", "out", "puppet.wasm", "whole"]);
}

#[test]
fn after_ctrl_c() {
    let place = place(&slow_job(8));
    let running = start_until_kept(&place, 2);
    let workers = Worker::of(running.id());
    assert!(!workers.is_empty());
    let begun = Instant::now();
    running.signal(Signal::INT);
    running.finish().code(130).says(&["of 8 tasks are done and kept", "run it again to go on"]);
    assert!(begun.elapsed() < SOON, "it took {:?}", begun.elapsed());
    assert!(workers.iter().all(|worker| !worker.is_alive()), "a worker is left");
    assert!(!place.path("out").exists());
    finish_as_if_never_stopped(&place, 2);
}

/// The output of earlier runs stays as it is until there is a new one, however a run ends.
#[test]
fn while_an_earlier_output_is_there() {
    let place = place(&job(&["quick"]));
    place.run_job(&["--out", "out"]).code(0);
    let before = place.tree("out");
    place.job(&slow_job(8));
    let running = start_until_kept(&place, 1);
    running.signal(Signal::TERM);
    running.finish().code(130);
    assert_eq!(place.tree("out"), before);
    finish_as_if_never_stopped(&place, 1);
}

#[test]
fn after_being_killed() {
    let place = place(&slow_job(8));
    let running = start_until_kept(&place, 2);
    let workers = Worker::of(running.id());
    assert!(!workers.is_empty());
    running.signal(Signal::KILL);
    assert_eq!(running.finish().status.code(), None);
    wait_for("the workers' end", || workers.iter().all(|worker| !worker.is_alive()).then_some(()));
    // What a run that is killed at another moment may leave.
    place.write(".out.work/.part-AbCdEf", "half an output");
    place.write(".out.work/spool/output-1-1", "another one");
    place.write(".out.new/tasks/0/stdout", "half a job");
    finish_as_if_never_stopped(&place, 2);
}

/// A worker cannot count on its task to end, nor on being told.
#[test]
fn no_worker_outlives_the_binary() {
    let place = place(&job(&["endless"]));
    let mut running = place.start_job(&["--out", "out"]);
    let id = running.id();
    // Compiling takes a fraction of this.
    let busy = |worker: &Worker| worker.ticks() > 50;
    let worker = running.until("a worker is busy", || Worker::of(id).into_iter().find(busy));
    running.signal(Signal::KILL);
    drop(running);
    wait_for("the worker's end", || (!worker.is_alive()).then_some(()));
}

#[test]
fn after_the_deadline() {
    let text = |what: &[&str]| format!("deadline = \"2s\"\n{}", job(what));
    let place = place(&text(&["quick", "mumble", "endless"]));
    place.run_job(&["--out", "out", "-j", "1"]).code(3).says(&[
        "deadline of 2s passed",
        "2 of 3 tasks are done and kept",
        "hint: ",
    ]);
    assert!(!place.path("out").exists());
    place.job(&text(&["quick", "mumble"]));
    finish_as_if_never_stopped(&place, 2);
}

#[test]
fn after_a_task_failed() {
    let place = place(&job(&["quick", "mumble", "exit"]));
    place.run_job(&["--out", "out", "-j", "1"]).code(1);
    place.job(&job(&["quick", "mumble", "large"]));
    finish_as_if_never_stopped(&place, 2);
}

#[test]
fn a_kept_result_that_was_changed_is_made_again() {
    let place = place(&job(&["quick", "mumble", "environ", "large", "exit"]));
    place.run_job(&["--out", "out", "-j", "1"]).code(1);
    let kept = place.kept("out");
    assert_eq!(kept.len(), 4);
    let damages: [fn(&mut Vec<u8>); 3] = [
        |bytes| *bytes.last_mut().unwrap() ^= 1,
        |bytes| bytes.truncate(bytes.len() - 1),
        |bytes| bytes.push(0),
    ];
    for (path, damage) in kept.iter().zip(damages) {
        let mut bytes = fs::read(path).unwrap();
        damage(&mut bytes);
        fs::write(path, bytes).unwrap();
    }
    place.job(&job(&["quick", "mumble", "environ", "large"]));
    let json = place.run_job(&["--out", "out", "--json"]).code(0).json();
    assert_eq!((json["reused"].clone(), json["done"].clone()), (json!(1), json!(4)));
    place.run_job(&["--out", "whole"]).code(0);
    assert_eq!(place.tree("out"), place.tree("whole"));
}

#[test]
fn a_result_for_another_input_is_not_used() {
    let text = |what: &str| {
        format!(
            "name = \"copies\"\n[program]\npath = \"puppet.wasm\"\nargs = [\"{{what}}\", \"/in/a\"]\n\
             [inputs]\na = \"a.txt\"\n[tasks.matrix]\nwhat = {what}\n"
        )
    };
    let place = place(&text(r#"["copy", "exit"]"#));
    place.write("a.txt", "alpha");
    place.run_job(&["--out", "out", "-j", "1"]).code(1);
    assert_eq!(place.kept("out").len(), 1);
    place.write("a.txt", "gamma");
    place.write("job.toml", text(r#"["copy"]"#));
    let json = place.run_job(&["--out", "out", "--json"]).code(0).json();
    assert_eq!(json["reused"], 0);
    assert_eq!(place.tree("out")["tasks/0/stdout"], b"gamma");
}

#[test]
fn a_second_run_into_the_same_directory_is_refused_and_does_no_harm() {
    let text = job(&["slow", "large"]).replace("\"{what}\"", "\"{what}\", \"{n}\"") + "n = [1, 2, 3]\n";
    let place = place(&text);
    let mut running = place.start_job(&["--out", "out", "-j", "1"]);
    running.until("a task is kept", || place.kept("out").first().cloned());
    // Nothing of the first run moves while the second one tries.
    let stopped: Vec<u32> =
        [running.id()].into_iter().chain(Worker::of(running.id()).iter().map(|worker| worker.0)).collect();
    stopped.iter().for_each(|pid| signal(*pid, Signal::STOP));
    let second = place.run_job(&["--out", "out"]);
    stopped.iter().for_each(|pid| signal(*pid, Signal::CONT));
    second.code(2).says(&["another run is using", "hint: "]);
    running.finish().code(0);
    place.run_job(&["--out", "whole"]).code(0);
    assert_eq!(place.tree("out"), place.tree("whole"));
}
