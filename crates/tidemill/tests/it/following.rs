//! Tasks that are followed while they run, as who follows them sees it.

use std::{
    fs::{self, File},
    process::{Child, Stdio},
};

use crate::{
    faults::cluster::{provide, serve, status, submit},
    node::Node,
    puppet::echo,
    support::{Place, wait_for},
};

/// A job of one task that writes a line now and then.
const JOB: &str = "name = \"talk\"\n[program]\npath = \"puppet.wasm\"\nargs = [\"lines\", \"{index}\"]\n\
                   [tasks]\nrange = { to = 1 }\n";

/// What the task writes in the end.
fn all_it_writes() -> String {
    String::from_utf8(echo(&["lines", "0"]).repeat(20)).expect("it is text")
}

/// Follows the task of a job, for people.
struct Follower {
    child: Child,
    place: Place,
}

impl Follower {
    /// Waits until it follows a task that nobody has.
    fn start(place: Place, job: &str) -> Self {
        let file = |name: &str| Stdio::from(File::create(place.path(name)).expect("a file"));
        let mut command = place.command(&["logs", job, "0", "--follow", "--join", "ticket"]);
        command.stdin(Stdio::null()).stdout(file("printed")).stderr(file("said"));
        let follower = Self { child: command.spawn().expect("the binary starts"), place };
        wait_for("a follower", || follower.said().contains("no attempt is under way").then_some(()));
        follower
    }

    fn said(&self) -> String {
        fs::read_to_string(self.place.path("said")).expect("a file")
    }

    /// Waits for its end; gives its exit code and what it printed.
    fn end(&mut self) -> (Option<i32>, String) {
        let status = wait_for("its end", || self.child.try_wait().expect("a child of ours"));
        (status.code(), fs::read_to_string(self.place.path("printed")).expect("a file"))
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_follower_sees_what_a_task_writes_and_begins_anew_with_another_attempt() {
    let place = Place::new();
    place.job(JOB);
    let coordinator = serve(&place);
    let job = submit(&place);
    let mut follower = Node::start(&place, &["logs", &job, "0", "--follow", "--join", "ticket"]);
    follower.until("waiting");

    let one = provide(&place, "one");
    let first = follower.until("attempt");
    let chunk = follower.until("chunk");
    assert_eq!((&chunk["attempt"], &chunk["number"], &chunk["offset"]), (&1.into(), &0.into(), &0.into()));
    assert_eq!((&chunk["provisional"], &chunk["dropped_bytes"]), (&true.into(), &0.into()));
    assert!(chunk["text"].as_str().is_some_and(|text| text.starts_with("program")), "{chunk}");
    assert_eq!(status(&place, &job)["phase"], "running");
    one.kill();

    let two = provide(&place, "two");
    let second = follower.until("attempt");
    assert_eq!((&first["attempt"], &second["attempt"]), (&1.into(), &2.into()));
    assert_ne!(first["node"], second["node"]);
    let chunk = follower.until("chunk");
    assert_eq!((&chunk["attempt"], &chunk["number"], &chunk["offset"]), (&2.into(), &0.into(), &0.into()));
    let result = follower.until("result");
    assert_eq!((&result["provisional"], &result["text"]), (&false.into(), &all_it_writes().into()));
    follower.ends_with(0);
    two.stop();
    coordinator.stop();
}

#[test]
fn what_is_provisional_is_marked_and_only_the_result_is_printed() {
    let place = Place::new();
    place.job(JOB);
    let coordinator = serve(&place);
    let job = submit(&place);
    let mut follower = Follower::start(place, &job);
    let provider = provide(&follower.place, "one");
    assert_eq!(follower.end(), (Some(0), all_it_writes()));
    let said = follower.said();
    assert!(said.contains("provisional, from provider") && said.contains("~ program"), "{said}");

    // Once it is done there is nothing provisional any more.
    let args = ["logs", job.as_str(), "0", "--follow", "--join", "ticket"];
    let again = follower.place.tidemill(&args).code(0);
    assert_eq!((again.stdout, again.stderr), (all_it_writes(), String::new()));
    provider.stop();
    coordinator.stop();
}

#[test]
fn a_job_that_is_cancelled_ends_what_follows_it() {
    let place = Place::new();
    place.job(JOB);
    let coordinator = serve(&place);
    let job = submit(&place);
    let mut follower = Follower::start(place, &job);
    follower.place.tidemill(&["cancel", job.as_str(), "--join", "ticket"]).code(0);
    assert_eq!(follower.end(), (Some(1), String::new()));
    let said = follower.said();
    assert!(said.contains("was cancelled"), "{said}");
    coordinator.stop();
}
