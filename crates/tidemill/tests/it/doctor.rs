//! `tidemill doctor`: what it finds on this machine, and what it says where something is wrong.

use std::{fs, os::unix::fs::PermissionsExt};

use serde_json::Value;

use crate::{node::Node, support::Place};

fn check<'a>(report: &'a Value, name: &str) -> &'a Value {
    let checks = report["checks"].as_array().expect("a list");
    checks.iter().find(|check| check["name"] == name).unwrap_or_else(|| panic!("no {name} in {report}"))
}

#[test]
fn what_a_task_needs_works_on_this_machine() {
    let place = Place::at_home("home");
    let report = place.tidemill(&["doctor", "--json"]).json();
    for name in ["home", "address space", "program", "model", "ports", "blobs"] {
        assert_eq!(check(&report, name)["grade"], "good", "{report}");
    }
    for name in ["coordinator", "ledger"] {
        assert_eq!(check(&report, name)["grade"], "skipped", "nothing is configured: {report}");
    }
    assert_eq!(check(&report, "keys")["grade"], "note", "a look makes no keys: {report}");
    assert!(!place.path("home/keys/result.key").exists());
}

#[test]
fn a_key_that_others_may_read_is_a_fault_with_the_command_that_mends_it() {
    let place = Place::at_home("home");
    let keys = place.tidemill(&["keys", "--json"]).code(0).json();
    let path = keys["result_key"].as_str().expect("a path");
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).expect("a file of ours");
    let ran = place.tidemill(&["doctor", "--json", "--bundle", "report.txt"]).code(4);
    let report = ran.json();
    assert_eq!(report["worst"], "fault", "{report}");
    let mend = check(&report, "keys")["mend"].as_str().expect("a command");
    assert!(mend.contains("chmod 600"), "{mend}");
    let secret = fs::read_to_string(path).expect("a key");
    let secret = secret.lines().nth(1).expect("its digits");
    let bundle = fs::read_to_string(place.path("report.txt")).expect("a bundle");
    assert!(bundle.contains("result.key") && bundle.contains("chmod 600"), "{bundle}");
    assert!(!bundle.contains(secret), "the bundle has the key");
}

#[test]
fn a_network_is_asked_who_is_there() {
    let place = Place::at_home("home");
    let _coordinator = Node::serve(&place);
    let report = place.tidemill(&["doctor", "--join", "ticket", "--json"]).json();
    let coordinator = check(&report, "coordinator");
    assert_eq!(coordinator["grade"], "warning", "{report}");
    assert!(coordinator["mend"].as_str().expect("a command").contains("tidemill provide"), "{report}");
    let mut provider = Node::provide(&place, "one");
    provider.until("joined");
    let report = place.tidemill(&["doctor", "--join", "ticket", "--json"]).json();
    let coordinator = check(&report, "coordinator");
    assert_eq!(coordinator["grade"], "good", "{report}");
    assert!(coordinator["found"].as_str().expect("a sentence").contains("1 connected provider"), "{report}");
}
