//! `tidemill run`: where the output goes, how a run ends, and what it leaves for the next.

mod failures;
mod json;
mod output;
mod size;
mod taking_up;
mod usage;

use std::fs;

use serde_json::Value;

use crate::support::Place;

/// A job with one task for each of these behaviours of the puppet.
fn job(behaviours: &[&str]) -> String {
    format!(
        r#"name = "puppets"
[program]
path = "puppet.wasm"
args = ["{{what}}"]
[tasks.matrix]
what = {behaviours:?}
"#
    )
}

/// A job of so many tasks that each take some tenths of a second.
fn slow_job(tasks: u32) -> String {
    format!(
        r#"name = "slow"
[program]
path = "puppet.wasm"
args = ["slow", "{{index}}"]
[tasks]
range = {{ to = {tasks} }}
"#
    )
}

/// A place with a job.
fn place(job: &str) -> Place {
    let place = Place::new();
    place.job(job);
    place
}

/// What is in a place's directory, by name.
fn names(place: &Place) -> Vec<String> {
    let listing = fs::read_dir(place.path("")).unwrap();
    let mut names: Vec<_> =
        listing.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

fn json_of(text: &[u8]) -> Value {
    serde_json::from_slice(text).unwrap()
}
