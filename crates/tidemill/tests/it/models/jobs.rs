//! Jobs of the kind `infer`.

use rustix::process::Signal;

use super::*;
use crate::{
    faults::{
        cluster::{counts_once, provider, same, submit},
        process::Process,
    },
    ledger::wei,
    liars::liar::{Liar, Manner},
    node::Node,
    processes::{Worker, signal},
    support::{Place, wait_for},
};

const JOB: &str = "name = \"answers\"\n[program]\nkind = \"infer\"\nmodel = \"tiny.gguf\"\ncreated = 1_700_000_000\n\
                   [tasks]\nsplit = { input = \"requests.jsonl\", by = \"lines\", size = \"600 B\" }\n";

/// A place with a job over so many requests.
fn place(requests: usize, tokens: u32) -> Place {
    let place = Place::at_home("home");
    place.write("tiny.gguf", model(20));
    place.write("requests.jsonl", lines(requests, "tiny", tokens));
    place.write("job.toml", JOB);
    place
}

/// All answers of an output, in the order of the requests.
fn all_answers(place: &Place, out: &str) -> Vec<Value> {
    let tree = place.tree(out);
    let files = tree.iter().filter(|(name, _)| name.ends_with("answers.jsonl"));
    files.flat_map(|(_, text)| answers(text)).collect()
}

/// A provider that holds the model, and another that has to fetch it.
fn lends_models(place: &Place, name: &str, holds: bool) -> Process {
    let mut args = provider(name, "ticket").to_vec();
    args.extend(["--infer", "--model-memory", "2GiB"]);
    if holds {
        args.extend(["--model", "./tiny.gguf"]);
    }
    let mut provider = Process::start(&mut place.command(&args));
    provider.until("joined", |_| true);
    provider
}

#[test]
fn a_paid_network_gives_the_bytes_that_this_machine_does() {
    let place = place(7, 12);
    let here = place.run_job(&["--out", "here", "--json"]).code(0).json();
    let args = ["run", "job.toml", "--out", "there", "--json"];
    let there = place.tidemill(&args).code(0).json();
    same(&place.tree("there"), &place.tree("here"));

    let answers = all_answers(&place, "here");
    let ids: Vec<&str> = answers.iter().map(|answer| answer["custom_id"].as_str().expect("an id")).collect();
    assert_eq!(ids, ["r0", "r1", "r2", "r3", "r4", "r5", "r6"]);
    let sum = |key: &str| {
        answers.iter().map(|one| one["response"]["body"]["usage"][key].as_u64().unwrap()).sum::<u64>()
    };
    for answer in &answers {
        assert!(!text_of(answer).is_empty(), "{answer}");
        assert_eq!(answer["response"]["body"]["created"], 1_700_000_000, "{answer}");
    }
    assert_eq!(here["usage"]["input_tokens"], sum("prompt_tokens"), "{here}");
    assert!(here["usage"]["cached_tokens"].as_u64() > Some(0), "the prompts begin alike: {here}");
    assert_eq!(here["usage"]["fuel"], 0);
    assert_eq!(here["usage"], there["usage"], "whoever runs it bills the same");

    let payment = &there["payment"];
    assert_eq!(payment["stage"], "closed", "{payment}");
    let payees = payment["payees"].as_array().expect("a list");
    assert!(wei(&payment["earned_wei"]) > 0 && !payees.is_empty(), "{payment}");
    assert_eq!(wei(&payment["deposited_wei"]), wei(&payment["earned_wei"]) + wei(&payment["refunded_wei"]));
}

#[test]
fn a_provider_that_lies_about_answers_is_found() {
    let place = place(24, 8);
    place.write("job.toml", format!("{JOB}[policy]\nassurance = 100\n").replace("600 B", "1 B"));
    let _coordinator = Node::serve_with(&place, &["--undecided", "20s"]);
    let honest = ["one", "two", "three", "four", "five"];
    let honest: Vec<Process> = honest.iter().map(|name| lends_models(&place, name, *name == "one")).collect();
    let liar = Liar::join_with(&place, 1, Manner::FlipsABit, host::executor(&place));
    let job = submit(&place);
    place.tidemill(&["status", &job, "--watch", "--join", "ticket"]).code(0);
    let status = counts_once(&place, &job);
    place.tidemill(&["fetch", &job, "--out", "there", "--join", "ticket"]).code(0);
    place.run_job(&["--out", "here"]).code(0);
    same(&place.tree("there"), &place.tree("here"));
    for one in status["providers"].as_array().expect("a list") {
        let is_liar = one["name"] == liar.name.as_str();
        assert_eq!(one["contradicted"].as_u64() > Some(0), is_liar, "{status}");
    }
    assert!(liar.lies() > 0);
    liar.stop();
    honest.into_iter().for_each(Process::stop);
}

#[test]
fn a_worker_that_is_killed_costs_its_attempts_and_no_answer() {
    let place = place(60, 400);
    let right = place.run_job(&["--out", "right", "--json"]).code(0).json();
    assert_eq!(right["retries"], 0);
    let run = place.start_job(&["--out", "killed", "-j", "3", "--json"]);
    wait_for("the first answers", || place.kept("killed").first().cloned());
    let worker =
        Worker::of(run.id()).into_iter().next().expect("the worker that has most of the answers to give");
    signal(worker.0, Signal::KILL);
    let json = run.finish().code(0).json();
    assert!(json["retries"].as_u64() > Some(0), "{json}");
    assert_eq!(json["usage"]["output_tokens"], right["usage"]["output_tokens"]);
    same(&place.tree("killed"), &place.tree("right"));
}

#[test]
fn a_model_that_is_broken_is_refused_by_the_name_of_its_tensor() {
    let place = place(1, 4);
    let mut bytes = model(20);
    // Its last tensor reaches beyond its end.
    bytes.truncate(bytes.len() - 4096);
    place.write("tiny.gguf", bytes);
    place.run_job(&["--out", "out"]).code(1).says(&["the model cannot be used", "tensor \"blk.1."]);
    place.write("tiny.gguf", "no model at all");
    place.run_job(&["--out", "out"]).code(1).says(&["the model cannot be used", "not a GGUF file"]);
}

#[test]
fn requests_that_are_wrong_get_errors_and_change_no_answer() {
    let place = place(3, 8);
    place.run_job(&["--out", "before"]).code(0);
    let mut more = lines(3, "tiny", 8);
    more.push_str("not JSON\n");
    more.push_str(&line(4, "another", "Hello", 4));
    place.write("requests.jsonl", more);
    place.run_job(&["--out", "after"]).code(0);
    let (before, after) = (all_answers(&place, "before"), all_answers(&place, "after"));
    assert_eq!(before, after[..3]);
    assert_eq!(after[3]["error"]["code"], "invalid_json_line", "{}", after[3]);
    assert_eq!(after[4]["response"]["status_code"], 404, "{}", after[4]);
}

#[test]
fn a_task_that_needs_more_tokens_than_it_may_have_fails_the_same_everywhere() {
    let place = place(6, 40);
    place.write("job.toml", format!("{JOB}[limits]\noutput_tokens = 50\n"));
    place.run_job(&["--out", "here"]).code(1).says(&["the task's answers have more than 50 tokens together"]);
    let there = ["run", "job.toml", "--free", "--out", "there"];
    place.tidemill(&there).code(1).says(&["the task's answers have more than 50 tokens together"]);
    place.write("job.toml", format!("{JOB}[limits]\ninput_tokens = 20\n"));
    place.run_job(&["--out", "here"]).code(1).says(&["the task's prompts have more than 20 tokens together"]);
    place.write("job.toml", format!("{JOB}[limits]\nmemory = \"1MiB\"\n"));
    place.run_job(&["--out", "here"]).code(1).says(&["`memory`"]);
}
