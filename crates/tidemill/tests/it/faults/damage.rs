//! A coordinator whose disk damages what it keeps.

use std::{fs, os::unix::fs::FileExt, path::Path};

use super::{
    cluster::{mixed_job, provide, same, serve, state_is_sane, submit, until_status},
    process::Process,
};
use crate::{
    puppet::puppet,
    support::{Place, wait_for},
};

/// What of the program is looked for in files.
const NEEDLE: usize = 256;

/// Flips a bit of a file that somebody may be writing to.
fn flip(path: &Path, at: usize) {
    let file = fs::OpenOptions::new().read(true).write(true).open(path).expect("a file");
    let mut byte = [0];
    file.read_exact_at(&mut byte, at as u64).expect("a byte");
    file.write_all_at(&[byte[0] ^ 1], at as u64).expect("written");
}

/// Flips a bit of the puppet in the coordinator's blobs, once it is there.
fn damage_program(place: &Place) {
    let segments = place.path("coordinator/blobs/segments");
    let needle = &puppet()[..NEEDLE];
    wait_for("the program at the coordinator", || {
        for item in fs::read_dir(&segments).ok()?.flatten() {
            let content = fs::read(item.path()).expect("a file");
            if let Some(at) = content.windows(NEEDLE).position(|window| window == needle) {
                flip(&item.path(), at + 100);
                return Some(());
            }
        }
        None
    });
}

fn end(place: &Place, coordinator: Process) {
    coordinator.stop();
    state_is_sane(&place.path("coordinator"));
}

#[test]
fn a_damaged_program_comes_again_from_a_requester_that_is_there() {
    let place = Place::new();
    place.job(&mixed_job(&["quick", "mumble"], 4));
    let mut coordinator = serve(&place);
    let run = place.start(&["run", "job.toml", "--out", "there", "--join", "ticket"]);
    damage_program(&place);
    let _provider = provide(&place, "one");
    run.finish().code(0);
    coordinator.until_it_logs("a blob is damaged");
    place.run_job(&["--out", "here"]).code(0);
    same(&place.tree("there"), &place.tree("here"));
    end(&place, coordinator);
}

#[test]
fn a_job_waits_for_a_damaged_program_until_somebody_brings_it() {
    let place = Place::new();
    place.job(&mixed_job(&["quick"], 3));
    let coordinator = serve(&place);
    let job = submit(&place);
    damage_program(&place);
    let _provider = provide(&place, "one");
    until_status(&place, &job, "what it waits for", |status| {
        status["stuck"].as_str().is_some_and(|stuck| stuck.contains("the job waits for its program"))
    });
    // Whoever submits a job of the same program brings it for both.
    let other = submit(&place);
    for job in [&job, &other] {
        place.tidemill(&["status", job, "--watch", "--join", "ticket"]).code(0);
    }
    end(&place, coordinator);
}

/// Flips a bit in each of the large blobs of a coordinator. Gives how many there are.
fn damage_large(folder: &Path) -> usize {
    let mut damaged = 0;
    for item in fs::read_dir(folder).expect("there") {
        let path = item.expect("there").path();
        if path.extension().is_none() {
            flip(&path, fs::metadata(&path).expect("a file").len() as usize / 2);
            damaged += 1;
        }
    }
    damaged
}

#[test]
fn damaged_outputs_come_again_from_the_provider_that_made_them() {
    let place = Place::new();
    place.job(&mixed_job(&["large"], 3));
    let coordinator = serve(&place);
    let _provider = provide(&place, "one");
    let job = submit(&place);
    place.tidemill(&["status", &job, "--watch", "--join", "ticket"]).code(0);
    assert_eq!(damage_large(&place.path("coordinator/blobs/data")), 3);
    place.tidemill(&["fetch", &job, "--out", "there", "--join", "ticket"]).code(0);
    place.run_job(&["--out", "here"]).code(0);
    same(&place.tree("there"), &place.tree("here"));
    end(&place, coordinator);
}
