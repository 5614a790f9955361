//! `--json`: one object on standard output, however the run ended.

use rustix::process::Signal;
use serde_json::{Value, json};

use super::{job, json_of, place};
use crate::{
    heavy::heavy,
    puppet::{COMPLAINT, echo},
};

/// The names of an object's members.
fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

const ALWAYS: [&str; 10] =
    ["job", "outcome", "tasks", "done", "reused", "retries", "parallel", "wall_s", "busy_s", "usage"];

#[track_caller]
fn has_what_is_always_there(value: &Value) {
    for key in ALWAYS {
        assert!(value.get(key).is_some(), "{key} is missing in {value}");
    }
    let counted = [
        "fuel",
        "input_tokens",
        "cached_tokens",
        "output_tokens",
        "memory_peak_bytes",
        "input_read_bytes",
        "output_bytes",
        "log_bytes",
        "host_calls",
    ];
    assert_eq!(
        keys(&value["usage"]).len(),
        counted.iter().filter(|key| value["usage"][key].is_u64()).count(),
        "{value}"
    );
}

#[test]
fn a_finished_job_names_its_files() {
    let place = place(&job(&["quick"]));
    let value = place.run_job(&["--json", "--out", "out", "-j", "2"]).code(0).json();
    has_what_is_always_there(&value);
    assert_eq!(value["job"], "puppets");
    assert_eq!(value["outcome"], "done");
    let numbers = ["tasks", "done", "reused", "retries", "parallel"].map(|key| value[key].as_u64());
    assert_eq!(numbers, [1, 1, 0, 0, 2].map(Some));
    let bytes = echo(&["quick"]).len();
    assert_eq!(value["output"]["files"], json!([{ "path": "tasks/0/stdout", "bytes": bytes }]));
    assert_eq!(value["output"]["directory"], json!(place.path("out")));
    let manifest = json_of(&place.tree("out")["tidemill.json"]);
    assert_eq!(value["output"]["id"], manifest["output"]);
    assert!(value.get("failure").is_none(), "{value}");
}

#[test]
fn a_failed_job_says_why() {
    let place = place(&(job(&["quick", "exit"]) + "[resources]\nparallel = 1\n"));
    let value = place.run_job(&["--json"]).code(1).json();
    has_what_is_always_there(&value);
    assert_eq!(value["outcome"], "failed");
    assert_eq!(["tasks", "done", "parallel"].map(|key| value[key].as_u64()), [2, 1, 1].map(Some));
    let failure = &value["failure"];
    assert!(failure["label"].as_str().unwrap().contains("what=exit"), "{value}");
    assert_eq!(failure["attempts"], 1);
    assert_eq!(failure["message"], "the program ended with exit code 1");
    assert_eq!(failure["evidence"], true);
    assert_eq!(failure["backtrace"], json!([]));
    assert!(failure["log_end"].as_str().unwrap().contains(COMPLAINT), "{value}");
    assert!(!failure["hint"].as_str().unwrap().is_empty());
    assert!(value.get("output").is_none(), "{value}");
}

#[test]
fn a_program_that_cannot_run_fails_the_job() {
    let place = place(&job(&["quick"]));
    place.write("puppet.wasm", "hello");
    let value = place.run_job(&["--json"]).code(2).json();
    has_what_is_always_there(&value);
    assert_eq!(value["outcome"], "failed");
    assert!(value["failure"]["message"].as_str().unwrap().contains("not a WebAssembly file"), "{value}");
}

#[test]
fn a_passed_deadline_is_an_outcome() {
    let place = place(&format!("deadline = \"1s\"\n{}", job(&["endless"])));
    let value = place.run_job(&["--json"]).code(3).json();
    has_what_is_always_there(&value);
    assert_eq!(value["outcome"], "deadline");
    assert_eq!(value["done"], 0);
}

#[test]
fn a_job_that_is_interrupted_while_it_compiles_is_an_outcome() {
    let place = place(&job(&["quick"]));
    place.write("puppet.wasm", heavy(60, 2_000, 2_000));
    let mut running = place.start_job(&["--json"]);
    running.worker();
    running.signal(Signal::INT);
    let value = running.finish().code(130).json();
    has_what_is_always_there(&value);
    assert_eq!(value["outcome"], "interrupted");
    assert_eq!(value["done"], 0);
}

#[test]
fn an_interrupted_job_is_an_outcome() {
    let place = place(&job(&["endless"]));
    let mut running = place.start_job(&["--json"]);
    running.worker();
    running.signal(Signal::INT);
    let value = running.finish().code(130).json();
    has_what_is_always_there(&value);
    assert_eq!(value["outcome"], "interrupted");
}
