//! A coordinator that notices soon who is gone, its providers, and what a job has to come to there.

use std::{collections::BTreeMap, path::Path, process::Command};

use serde_json::Value;
use tidemill_store::{Options, Store};

use super::process::Process;
use crate::support::{Place, wait_for};

/// How a coordinator is started: in `coordinator`, with leases of little more than a second.
pub const SERVE: [&str; 15] = [
    "serve",
    "--free",
    "--trust",
    "all",
    "--loopback",
    "--directory",
    "coordinator",
    // Of the small disks of some tests the usual one would leave nothing.
    "--disk-reserve",
    "1MiB",
    "--ticket-file",
    "ticket",
    "--lease",
    "1200ms",
    "--heartbeat",
    "200ms",
];

/// A job of so many tasks of some tenths of a second each.
pub fn slow_job(tasks: u32) -> String {
    format!(
        "name = \"slow\"\n[program]\npath = \"puppet.wasm\"\nargs = [\"slow\", \"{{index}}\"]\n\
         [tasks]\nrange = {{ to = {tasks} }}\n"
    )
}

/// A job of so many tasks for each of these behaviours of the puppet.
pub fn mixed_job(behaviours: &[&str], each: u32) -> String {
    let numbers: Vec<u32> = (0..each).collect();
    format!(
        "name = \"mixed\"\n[program]\npath = \"puppet.wasm\"\nargs = [\"{{what}}\", \"{{n}}\"]\n\
         [tasks.matrix]\nwhat = {behaviours:?}\nn = {numbers:?}\n"
    )
}

/// Starts a coordinator.
pub fn serve(place: &Place) -> Process {
    serve_by(&mut place.command(&SERVE))
}

/// Starts a coordinator by this command, whose arguments are [`SERVE`].
pub fn serve_by(command: &mut Command) -> Process {
    let mut coordinator = Process::start(command);
    coordinator.until("listening", |_| true);
    coordinator
}

/// The arguments of a provider with one core and a directory of this name, which joins by the ticket in a file.
pub fn provider<'a>(name: &'a str, ticket: &'a str) -> [&'a str; 15] {
    [
        "provide",
        "--join",
        ticket,
        "--loopback",
        "--directory",
        name,
        "--name",
        name,
        "--own-keys",
        "--cpus",
        "1",
        "--assume-fuel-rate",
        "1000000000",
        "--disk",
        "1GiB",
    ]
}

/// Starts a provider, and waits until it has joined.
pub fn provide(place: &Place, name: &str) -> Process {
    let mut provider = Process::start(&mut place.command(&provider(name, "ticket")));
    provider.until("joined", |_| true);
    provider
}

/// Submits `job.toml`; gives the id.
pub fn submit(place: &Place) -> String {
    place.tidemill(&["submit", "job.toml", "--join", "ticket"]).code(0).stdout.trim().to_owned()
}

/// How a job stands.
pub fn status(place: &Place, job: &str) -> Value {
    place.tidemill(&["status", job, "--json", "--join", "ticket"]).code(0).json()
}

/// Waits until this is so of a job.
pub fn until_status(place: &Place, job: &str, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    wait_for(what, || Some(status(place, job)).filter(&is_so))
}

/// Waits until leases of a job were taken back from their provider.
pub fn until_leases_are_lost(place: &Place, job: &str) {
    until_status(place, job, "leases that are lost", |status| status["lost_attempts"].as_u64() > Some(0));
}

/// Waits for the end of a job, and requires what has to be so of every job, whatever happened meanwhile: each task
/// is counted once, and the bytes are those of a run without a network.
#[track_caller]
pub fn ends_well(place: &Place, job: &str) -> Value {
    place.tidemill(&["status", job, "--watch", "--join", "ticket"]).code(0);
    let status = counts_once(place, job);
    place.tidemill(&["fetch", job, "--out", "there", "--join", "ticket"]).code(0);
    place.run_job(&["--out", "here"]).code(0);
    same(&place.tree("there"), &place.tree("here"));
    status
}

/// Requires that a job is done and that each of its tasks is counted once.
#[track_caller]
pub fn counts_once(place: &Place, job: &str) -> Value {
    let status = status(place, job);
    assert_eq!(status["phase"], "done", "{status}");
    assert_eq!(status["done"], status["tasks"], "{status}");
    let providers = status["providers"].as_array().expect("a list");
    let by_all: u64 = providers.iter().filter_map(|one| one["tasks"].as_u64()).sum();
    assert_eq!(Some(by_all), status["tasks"].as_u64(), "{status}");
    status
}

/// Requires the same files with the same bytes.
#[track_caller]
pub fn same(there: &BTreeMap<String, Vec<u8>>, here: &BTreeMap<String, Vec<u8>>) {
    assert!(!here.is_empty(), "there is no output");
    assert_eq!(there.keys().collect::<Vec<_>>(), here.keys().collect::<Vec<_>>());
    assert!(there == here, "the network gives other bytes");
}

/// Checks the state of a coordinator that has ended.
#[track_caller]
pub fn state_is_sane(directory: &Path) {
    let store = Store::open(&directory.join("state"), Options::default()).expect("the state can be opened");
    if let Err(wrong) = store.sanity_check() {
        panic!("the state is not sound:\n{}", wrong.join("\n"));
    }
}
