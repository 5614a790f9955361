//! `tidemill exec`: one task, its inputs, its limits and what it says.

use std::{fs, process::Stdio, time::Instant};

use rustix::process::Signal;
use serde_json::Value;

use crate::{
    heavy::heavy,
    puppet::{COMPLAINT, LARGE_BYTES, echo},
    support::{Place, Ran, SOON, wait_for},
};

fn place() -> Place {
    let place = Place::new();
    place.puppet();
    place
}

/// Runs the puppet; `args` are the binary's, then after `--` the puppet's.
fn exec(place: &Place, args: &[&str]) -> Ran {
    place.tidemill(&[&["exec", "puppet.wasm", "--out", "out"], args].concat())
}

/// What the puppet wrote to standard output.
fn stdout(place: &Place) -> Vec<u8> {
    place.tree("out")["stdout"].clone()
}

#[test]
fn arguments_reach_the_program_as_they_are() {
    let place = place();
    exec(&place, &["--", "quick", "--json", "", "a b", "ü", "{index}"]).code(0);
    assert_eq!(stdout(&place), echo(&["quick", "--json", "", "a b", "ü", "{index}"]));
}

#[test]
fn without_a_directory_the_output_is_named_after_the_program() {
    let place = place();
    let ran = place.tidemill(&["exec", "puppet.wasm", "--", "quick"]).code(0);
    assert_eq!(place.tree("out/puppet")["stdout"], echo(&["quick"]));
    assert!(ran.stdout.contains("out/puppet/stdout"), "{}", ran.stdout);
    assert!(ran.stdout.contains("fuel"), "{}", ran.stdout);
}

#[test]
fn a_program_may_be_told_another_name() {
    let place = place();
    exec(&place, &["--arg0", "gunzip", "--", "quick"]).code(0);
    assert_eq!(stdout(&place), b"gunzip\0quick\0");
}

#[test]
fn a_directory_is_an_input_under_its_name_by_whatever_path() {
    let place = place();
    place.write("data/a.txt", "alpha");
    std::fs::create_dir(place.path("empty")).unwrap();
    for path in [".", "../data", "../data/.", "./"] {
        let args =
            ["exec", "../puppet.wasm", "--out", "../out", "--input", path, "--", "copy", "/in/data/a.txt"];
        let mut command = place.command(&args);
        let ran = command.current_dir(place.path("data")).output().expect("the binary starts");
        assert!(ran.status.success(), "{path}: {}", String::from_utf8_lossy(&ran.stderr));
        assert_eq!(stdout(&place), b"alpha", "{path}");
    }
    exec(&place, &["--input", "=data", "--", "quick"]).code(2).says(&["no name", "NAME=PATH"]);
    exec(&place, &["--input", "empty", "--", "quick"]).code(0).says(&["warning", "is empty"]);
}

#[test]
fn only_the_given_environment_is_seen() {
    let place = place();
    exec(&place, &["--env", "A=1", "--env", "EMPTY=", "--env", "B=x=y", "--", "environ"]).code(0);
    assert_eq!(stdout(&place), b"A=1\0EMPTY=\0B=x=y\0");
    let json = exec(&place, &["--json", "--", "environ"]).code(0).json();
    assert_eq!(json["usage"]["output_bytes"], 0);
    exec(&place, &["--env", "A", "--", "environ"]).code(2).says(&["NAME=VALUE"]);
}

#[test]
fn a_file_is_an_input_under_its_own_name() {
    let place = place();
    place.write("data/a.txt", "alpha");
    exec(&place, &["--input", "data/a.txt", "--", "copy", "/in/a.txt"]).code(0);
    assert_eq!(stdout(&place), b"alpha");
}

#[test]
fn a_file_is_an_input_under_another_name() {
    let place = place();
    place.write("data/a.txt", "alpha");
    exec(&place, &["--input", "deep/er/b=data/a.txt", "--", "copy", "/in/deep/er/b"]).code(0);
    assert_eq!(stdout(&place), b"alpha");
}

#[test]
fn a_file_with_an_equals_sign_in_its_name_is_found() {
    let place = place();
    place.write("a=b.txt", "alpha");
    exec(&place, &["--input", "a=b.txt", "--", "copy", "/in/a=b.txt"]).code(0);
    assert_eq!(stdout(&place), b"alpha");
}

#[test]
fn a_directory_is_an_input_with_all_that_is_in_it() {
    let place = place();
    place.write("data/a.txt", "alpha");
    place.write("data/deeper/b.txt", "beta");
    exec(&place, &["--input", "data", "--", "copy", "/in/data/deeper/b.txt"]).code(0);
    assert_eq!(stdout(&place), b"beta");
    exec(&place, &["--input", "other=data", "--", "copy", "/in/other/a.txt"]).code(0);
    assert_eq!(stdout(&place), b"alpha");
}

#[test]
fn inputs_that_cannot_be_are_refused() {
    let place = place();
    place.write("a.txt", "alpha");
    place.write("other/a.txt", "another alpha");
    let refused = |args: &[&str], words: &[&str]| {
        exec(&place, &[args, &["--", "quick"]].concat()).code(2).says(words);
    };
    refused(&["--input", "missing.txt"], &["missing.txt"]);
    refused(&["--input", "../up=a.txt"], &["../up"]);
    refused(&["--input", "a.txt", "--input", "other/a.txt"], &["a.txt"]);
    // A file cannot be a directory too.
    refused(&["--input", "x=a.txt", "--input", "x/y=a.txt"], &["x"]);
}

#[test]
fn each_limit_has_its_own_error_and_a_hint() {
    let place = place();
    for (limit, behaviour, words) in [
        (["--fuel", "1M"], "endless", "used up its 1M of fuel"),
        (["--memory", "2 MiB"], "bomb", "2 MiB are allowed"),
        (["--table-elements", "1000"], "table", "1000 are allowed"),
        (["--stack", "64 KiB"], "deep", "deeper than its stack of 64 KiB"),
        (["--output", "100 KiB"], "spill", "held more than 100 KiB"),
        (["--files", "100"], "crowd", "more than 100 files"),
        (["--log", "10 KiB"], "flood", "wrote more than 10 KiB to standard error"),
        (["--wall-time", "200ms"], "endless", "ran longer than 200ms"),
    ] {
        let args = [&limit[..], &["--json", "--", behaviour]].concat();
        let ran = exec(&place, &args).code(1).says(&["puppet.wasm", words, "\nhint: "]);
        let json = ran.json();
        assert_eq!(json["outcome"], "failed", "{json}");
        assert!(json["failure"]["message"].as_str().unwrap().contains(words), "{json}");
        assert!(json.get("output").is_none(), "{json}");
    }
    assert!(!place.path("out").exists());
}

#[test]
fn limits_that_cannot_be_are_refused() {
    let place = place();
    for args in [["--memory", "5 GiB"], ["--stack", "1 KiB"], ["--fuel", "0"], ["--wall-time", "0s"]] {
        let name = args[0].trim_start_matches("--").replace('-', "_");
        exec(&place, &[&args[..], &["--", "quick"]].concat()).code(2).says(&[&name, "is allowed"]);
    }
    for args in [["--memory", "much"], ["--fuel", "1 KiB"], ["--floats", "exact"], ["--seed", "x"]] {
        exec(&place, &[&args[..], &["--", "quick"]].concat()).code(2).says(&[args[0]]);
    }
}

#[test]
fn a_failing_program_is_quoted() {
    let place = place();
    let ran = exec(&place, &["--", "exit"]).code(1);
    let ran = ran.says(&["puppet.wasm", "exit code 1", COMPLAINT, "hint: "]);
    assert_eq!(ran.stderr.matches(COMPLAINT).count(), 1, "{}", ran.stderr);
    exec(&place, &["--", "trap"]).code(1).says(&["trapped", "in inner", "called from outer", "hint: "]);
}

#[test]
fn canonical_floats_make_nans_canonical() {
    let place = place();
    let canonical = [&0x7fc0_0000_u32.to_le_bytes()[..], &0x7ff8_0000_0000_0000_u64.to_le_bytes()].concat();
    exec(&place, &["--floats", "canonical", "--", "nans"]).code(0);
    assert_eq!(stdout(&place), canonical);
    exec(&place, &["--floats", "native", "--", "nans"]).code(0);
    // The processor's own NaN, which has the sign on x86 alone.
    let sign = if cfg!(target_arch = "x86_64") { 0x80 } else { 0 };
    assert_eq!((stdout(&place)[3] & 0x80, stdout(&place)[11] & 0x80), (sign, sign));
}

#[test]
fn the_result_does_not_depend_on_the_run() {
    let place = place();
    let run = |args: &[&str]| {
        let json = exec(&place, &[args, &["--json", "--", "large", "x"]].concat()).code(0).json();
        (json["spec"].clone(), json["output"]["id"].clone(), json["usage"].clone())
    };
    assert_eq!(run(&[]), run(&[]));
    let (spec, output, usage) = run(&[]);
    let (other_spec, same_output, same_usage) = run(&["--seed", "1"]);
    assert_ne!(spec, other_spec);
    assert_eq!((output, usage), (same_output, same_usage));
}

#[test]
fn json_has_the_usage_and_the_files() {
    let place = place();
    place.write("a.txt", "alpha");
    let json = exec(&place, &["--input", "a.txt", "--json", "--", "copy", "/in/a.txt"]).code(0).json();
    assert_eq!(json["outcome"], "done");
    assert_eq!(json["usage"]["input_read_bytes"], 5);
    assert_eq!(json["usage"]["output_bytes"], 5);
    assert_eq!(json["usage"]["log_bytes"], 0);
    for number in ["fuel", "memory_peak_bytes", "host_calls"] {
        assert!(json["usage"][number].as_u64().unwrap() > 0, "{json}");
    }
    assert!(json["wall_s"].is_number(), "{json}");
    assert_eq!(json["log"], "");
    assert_eq!(json["output"]["files"], serde_json::json!([{ "path": "stdout", "bytes": 5 }]));
    assert_eq!(json["output"]["directory"], Value::from(place.path("out").to_string_lossy()));
    assert!(json.get("failure").is_none(), "{json}");
}

#[test]
fn json_has_the_failure() {
    let place = place();
    let json = exec(&place, &["--json", "--", "exit"]).code(1).json();
    assert_eq!(json["outcome"], "failed");
    assert_eq!(json["log"], format!("{COMPLAINT}\n"));
    assert_eq!(json["failure"]["evidence"], true);
    assert!(json["failure"]["log_end"].as_str().unwrap().contains(COMPLAINT), "{json}");
    let json = exec(&place, &["--json", "--", "trap"]).code(1).json();
    assert_eq!(json["failure"]["backtrace"][0], "inner");
    assert_eq!(json["failure"]["backtrace"][1], "outer");
}

#[test]
fn json_has_the_failure_of_a_program_that_cannot_run() {
    let place = place();
    place.write("puppet.wasm", "hello");
    let json = exec(&place, &["--json", "--", "quick"]).code(2).json();
    assert_eq!(json["outcome"], "failed");
    assert!(json["failure"]["message"].as_str().unwrap().contains("not a WebAssembly file"), "{json}");
}

#[test]
fn what_is_no_program_is_refused_with_words() {
    let place = Place::new();
    let compile = |text: &str| wat::parse_str(text).unwrap();
    for (name, bytes, words) in [
        ("elf", b"\x7fELF\x02".to_vec(), "native ELF program"),
        ("empty", Vec::new(), "it is empty"),
        ("text", b"(module)".to_vec(), "WebAssembly text"),
        ("cut", compile("(module (func (export \"_start\")))")[..20].to_vec(), "not a valid module"),
        ("library", compile("(module (memory (export \"memory\") 1))"), "exports no function `_start`"),
        (
            "import",
            compile(
                r#"(module (import "env" "go" (func)) (memory (export "memory") 1) (func (export "_start")))"#,
            ),
            "env.go, which the sandbox does not offer",
        ),
    ] {
        place.write(name, bytes);
        place.tidemill(&["exec", name]).code(2).says(&[words, "hint: "]);
    }
    place.tidemill(&["exec", "missing.wasm"]).code(2).says(&["missing.wasm"]);
}

#[test]
fn ctrl_c_stops_it_while_it_runs_and_while_it_compiles() {
    let place = place();
    place.write("heavy.wasm", heavy(60, 2_000, 2_000));
    for args in [&["puppet.wasm", "--", "endless"][..], &["heavy.wasm"]] {
        let mut running = place.start(&[&["exec"], args].concat());
        let worker = running.worker();
        let begun = Instant::now();
        running.signal(Signal::INT);
        running.finish().code(130).says(&["stopped"]);
        assert!(begun.elapsed() < SOON, "it took {:?}", begun.elapsed());
        assert!(!worker.is_alive());
    }
    assert!(!place.path("out").exists());
}

#[test]
fn an_output_replaces_none_that_is_not_ours() {
    let place = place();
    place.write("out/precious.txt", "mine");
    exec(&place, &["--", "quick"]).code(2).says(&["no output of Tidemill", "hint: "]);
    assert_eq!(place.tree("out").len(), 1);
}

#[test]
fn a_large_output_arrives_whole() {
    let place = place();
    exec(&place, &["--", "large"]).code(0);
    assert_eq!(stdout(&place), [echo(&["large"]), vec![0; LARGE_BYTES]].concat());
}

#[test]
fn a_file_named_like_the_manifest_is_not_lost_in_silence() {
    let place = place();
    let refused = exec(&place, &["--", "save", "out/tidemill.json"]).code(1);
    refused.says(&["a file named tidemill.json", "hint: "]);
    assert!(!place.path("out").exists());
}

#[test]
fn what_a_killed_command_left_the_next_one_sweeps() {
    let place = place();
    let temporary = place.path("temporary");
    fs::create_dir(&temporary).unwrap();
    let left = || fs::read_dir(&temporary).unwrap().count();
    let start = |out: &str, what: &str| {
        let mut command = place.command(&["exec", "puppet.wasm", "--out", out, "--", what]);
        command.env("TMPDIR", &temporary).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().expect("the binary starts")
    };
    let mut lives = start("lives", "endless");
    wait_for("a directory of its own", || (left() == 1).then_some(()));
    let mut killed = start("killed", "endless");
    wait_for("a directory of its own", || (left() == 2).then_some(()));
    killed.kill().unwrap();
    killed.wait().unwrap();
    assert!(left() == 2 && place.path(".killed.lock").exists());
    assert!(start("out", "quick").wait().unwrap().success());
    // What the killed one left is gone, and what the other one uses is not.
    assert!(left() == 1 && place.path(".lives.lock").exists());
    assert!(!place.path(".killed.lock").exists() && !place.path(".killed.new").exists());
    assert_eq!(stdout(&place), echo(&["quick"]));
    lives.kill().unwrap();
    lives.wait().unwrap();
}
