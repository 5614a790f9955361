//! What is kept of a lie: files that anyone can check, without a network and after the job is gone.

use std::fs;

use serde_json::Value;

use super::{Liar, Manner, Network, Process, mixed_job, submit};
use crate::{faults::cluster::ends_well, support::Place};

const TASKS: u32 = 100;

/// What a coordinator keeps of a task, written into `proof`.
fn evidence(place: &Place, job: &str, task: &str) -> Value {
    let args = ["evidence", job, task, "--join", "ticket", "--out", "proof", "--json"];
    place.tidemill(&args).code(0).json()
}

#[test]
fn a_liar_leaves_evidence_that_anyone_can_check() {
    let network = Network::with(&mixed_job(&["quick"], TASKS), "replicate = 3");
    let place = &network.place;
    let liar = Liar::join(place, 1, Manner::FlipsABit);
    let job = submit(place);
    let status = ends_well(place, &job);
    assert!(liar.lies() > 0, "it has not lied");
    let providers = status["providers"].as_array().expect("a list");
    let of_liar = providers.iter().find(|one| one["name"] == liar.name.as_str()).expect("it has results");

    // Which tasks it had is not known beforehand.
    let explained =
        |task: &String| place.tidemill(&["explain", &job, task, "--join", "ticket", "--json"]).code(0).json();
    let mut tasks = (0..TASKS).map(|task| task.to_string());
    let task = tasks.find(|task| explained(task)["evidence"].as_u64() > Some(0));
    let task = task.expect("there is evidence of some lie");
    let told = place.tidemill(&["explain", &job, &task, "--join", "ticket"]).code(0);
    told.prints(&["the coordinator keeps evidence against 1 result: `tidemill evidence "]);

    let kept = evidence(place, &job, &task);
    let [one] = &kept["evidence"].as_array().expect("a list")[..] else { panic!("{kept}") };
    assert_eq!(one["accused"]["node"], of_liar["node"], "{kept}");
    assert_ne!(one["accepted"]["node"], of_liar["node"], "{kept}");
    assert_eq!(one["finding"], "verdict");
    let kept_ms = one["kept_until_ms"].as_u64().zip(one["at_ms"].as_u64()).map(|(until, at)| until - at);
    assert_eq!(kept_ms, Some(30 * 86_400_000));
    let file = one["file"].as_str().expect("a path");
    let bytes = fs::read(place.path(file)).expect("the file is written");

    // A second time nothing is to be done; what is something else is not overwritten.
    assert_eq!(evidence(place, &job, &task), kept);
    fs::write(place.path(file), "something else").expect("a file");
    place
        .tidemill(&["evidence", &job, &task, "--join", "ticket", "--out", "proof"])
        .code(2)
        .says(&["is there already"]);
    fs::write(place.path(file), &bytes).expect("a file");

    // Honest work leaves none, and the job may go.
    let mut tasks = (0..TASKS).map(|task| task.to_string());
    let honest = tasks.find(|task| explained(task)["evidence"] == 0).expect("most are honest");
    place
        .tidemill(&["evidence", &job, &honest, "--join", "ticket"])
        .code(2)
        .says(&["no evidence is kept", "--keep-evidence"]);
    place.tidemill(&["remove", &job, "--join", "ticket"]).code(0);
    assert_eq!(evidence(place, &job, &task), kept);
    let mut stranger = place.command(&["evidence", &job, &task, "--join", "ticket"]);
    let refused = stranger.env("TIDEMILL_HOME", place.path("stranger")).output().expect("it runs");
    assert_eq!(refused.status.code(), Some(2), "it is told of another's evidence: {refused:?}");

    let Network { place, _coordinator: coordinator, honest, .. } = network;
    liar.stop();
    honest.into_iter().for_each(Process::stop);
    coordinator.kill();
    let node = of_liar["node"].as_str().expect("a node");
    place.tidemill(&["evidence", "check", file]).code(0).prints(&[
        "valid: both results are signed",
        "contradict each other",
        node,
        &job,
    ]);
    for at in [bytes.len() - 1, bytes.len() / 2, 30] {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        fs::write(place.path("changed"), changed).expect("a file");
        place.tidemill(&["evidence", "check", "changed"]).code(1).says(&["changed is no valid evidence"]);
    }
    place.tidemill(&["evidence", "check", "job.toml"]).code(1).says(&["is not evidence of Tidemill"]);
    place.tidemill(&["evidence", "check", "nowhere"]).code(2).says(&["cannot read nowhere"]);
}
