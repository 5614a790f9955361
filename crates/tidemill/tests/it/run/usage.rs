//! What is refused before anything runs, and what a run can be asked for besides.

use serde_json::json;

use super::{job, names, place, slow_job};
use crate::{puppet::COMPLAINT, support::Place};

#[test]
fn mistakes_are_said_all_at_once_each_with_its_place() {
    let place = place(
        "name = \"Puppets\"\nretires = 2\n\n[program]\npath = \"puppet.wasm\"\n\n[limits]\nmemory = \"8 GiB\"\n",
    );
    let ran = place.run_job(&["--json"]).code(2).says(&[
        "3 mistakes",
        "job.toml:1:8: ",
        "job.toml:2:1: unknown key `retires`",
        "did you mean `retries`?",
        "job.toml:8:10: ",
        "hint: ",
    ]);
    assert_eq!(ran.stdout, "");
}

#[test]
fn a_job_file_that_is_not_utf_8_says_what_it_is() {
    let place = place(&job(&["quick"]));
    let utf16: Vec<u8> = job(&["quick"]).encode_utf16().flat_map(u16::to_le_bytes).collect();
    place.write("job.toml", &utf16);
    let ran = place.run_job(&[]).code(2).says(&[
        "there is 1 mistake",
        "the file is UTF-16 text",
        "save it as UTF-8",
    ]);
    assert!(!ran.stderr.contains("not TOML"), "{}", ran.stderr);
    place.write("job.toml", [&[0xff, 0xfe][..], &utf16].concat());
    place.run_job(&[]).code(2).says(&["job.toml is UTF-16 text", "save it as UTF-8"]);
    place.write("job.toml", b"\x1f\x8b\x08\x00");
    place.run_job(&[]).code(2).says(&["job.toml is compressed (gzip)", "unpack it first"]);
    place.write("job.toml", b"name = \"\xe4\"");
    place.run_job(&[]).code(2).says(&["job.toml is not UTF-8 text", "index 8"]);
}

#[test]
fn policy_is_refused_until_it_is_honoured() {
    let place = place(&(job(&["quick"]) + "[policy]\nregions = [\"eu\"]\n"));
    place.run_job(&[]).code(2).says(&["not supported yet"]);
}

#[test]
fn what_is_missing_is_named() {
    let place = place(&job(&["quick"]));
    place.tidemill(&["run", "nowhere.toml"]).code(2).says(&["nowhere.toml"]);
    place.write("job.toml", job(&["quick"]).replace("puppet.wasm", "nothing.wasm"));
    place.run_job(&[]).code(2).says(&["nothing.wasm"]);
    let pattern = "name = \"a\"\n[program]\npath = \"puppet.wasm\"\n[tasks]\nfiles = \"data/*.txt\"\n";
    place.write("job.toml", pattern);
    place.run_job(&[]).code(2).says(&["data/*.txt"]);
    place.write("data/b.csv", "");
    place.run_job(&[]).code(2).says(&["data/*.txt"]);
    place.write("job.toml", job(&["quick"]) + "[inputs]\n\"a\" = \"lost.txt\"\n");
    place.run_job(&[]).code(2).says(&["lost.txt"]);
    place.write("job.toml", job(&["quick"]) + "[reduce]\npath = \"lost.wasm\"\n");
    place.run_job(&[]).code(2).says(&["lost.wasm"]);
}

#[test]
fn arguments_that_cannot_be_are_refused() {
    let place = place(&job(&["quick"]));
    place.run_job(&["-j", "0"]).code(2);
    place.run_job(&["--nonsense"]).code(2).says(&["--nonsense"]);
    place.tidemill(&["run"]).code(2).says(&["JOB.TOML"]);
    place.tidemill(&[] as &[&str]).code(2).says(&["Usage"]);
}

#[test]
fn the_version_is_the_crates() {
    let version = Place::new().tidemill(&["--version"]).code(0).stdout;
    assert_eq!(version, format!("tidemill {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn help_lists_the_exit_codes() {
    for command in ["run", "exec"] {
        let help = Place::new().tidemill(&[command, "--help"]).code(0).stdout;
        for words in ["Exit codes:", "130  stopped by Ctrl-C", "3    the deadline passed"] {
            assert!(help.contains(words), "{help}");
        }
    }
}

#[test]
fn trouble_of_this_machine_has_its_own_code() {
    let place = Place::at_home("home");
    place.job(&job(&["quick"]));
    place.write("home", "a file where a directory should be");
    place.run_job(&[]).code(4).says(&["home"]);
    assert_eq!(names(&place), ["home", "job.toml", "puppet.wasm"]);
}

#[test]
fn a_dry_run_says_what_would_run_and_leaves_nothing() {
    let place = place(&(slow_job(9) + "[reduce]\nargs = [\"quick\"]\nfan_in = 3\n"));
    let ran = place.run_job(&["--dry-run", "-j", "2"]).code(0);
    for words in ["9 map tasks", "4 reduce tasks", "2 at a time", "slow 0"] {
        assert!(ran.stdout.contains(words), "{}", ran.stdout);
    }
    let json = place.run_job(&["--dry-run", "--json"]).code(0).json();
    assert_eq!(json["outcome"], "dry_run");
    assert_eq!(json["tasks"], 13);
    assert_eq!(json["map_tasks"], 9);
    assert_eq!(json["first_task"]["args"], json!(["slow", "0"]));
    assert_eq!(names(&place), ["job.toml", "puppet.wasm"]);
}

#[test]
fn a_dry_run_says_what_a_network_would_be_asked_for() {
    let policy = "[policy]\nreplicate = 3\nmax_price = \"2 TIDE\"\noutside_gain = \"5 TIDE\"\n\
                  compare = { numbers = \"u8\", absolute = 1 }\n";
    let place = place(&(job(&["quick"]) + policy));
    let ran = place.tidemill(&["run", "job.toml", "--dry-run"]).code(0);
    for words in ["2 equal results of at most 3", "bytes differ by at most 1", "at most 2 TIDE", "5 TIDE"] {
        assert!(ran.stdout.contains(words), "{words}: {}", ran.stdout);
    }
    let json = place.tidemill(&["run", "job.toml", "--dry-run", "--json"]).code(0).json();
    assert_eq!(json["policy"]["asked"], json!({ "replicate": 3, "quorum": 2 }));
    assert_eq!(json["policy"]["outside_gain_wei"], "5000000000000000000");
    let here = place.run_job(&["--dry-run"]).code(0);
    assert!(here.stdout.contains("not checked"), "{}", here.stdout);
    place.write("puppet.wasm", "#!/bin/sh");
    for args in [&["run", "job.toml", "--dry-run"][..], &["run", "job.toml", "--here", "--dry-run"]] {
        place.tidemill(args).code(2).says(&["puppet.wasm", "it is a script", "hint: "]);
    }
    // Before a network is made, or any money is locked.
    place.tidemill(&["run", "job.toml"]).code(2).says(&["it is a script"]);
    assert_eq!(names(&place), ["job.toml", "puppet.wasm"]);
}

#[test]
fn what_no_machine_of_a_network_may_do_is_refused() {
    let place = place(&(job(&["quick"]) + "[policy]\nassurance = \"trusted\"\n"));
    let args = ["run", "job.toml", "--providers", "2", "--strangers"];
    place.tidemill(&args).code(2).says(&["only trusted machines", "hint: "]);
    assert_eq!(names(&place), ["job.toml", "puppet.wasm"]);
}

#[test]
fn logs_go_into_files() {
    let place = place(&(job(&["quick", "mumble", "exit"]) + "[resources]\nparallel = 1\n"));
    place.run_job(&["--logs", "some/logs"]).code(1);
    let logs = place.tree("some/logs");
    let complaint = format!("{COMPLAINT}\n").into_bytes();
    let expected = ["map-000001.log", "map-000002.log"].map(|name| (name.to_owned(), complaint.clone()));
    assert_eq!(logs.into_iter().collect::<Vec<_>>(), expected);
}
