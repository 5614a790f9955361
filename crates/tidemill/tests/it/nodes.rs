//! Coordinators and providers: how they start, find each other, and end.

use std::{collections::BTreeSet, fs, net::SocketAddr, os::unix::fs::PermissionsExt, process::Command};

use rustix::process::Signal;
use serde_json::Value;
use tidemill_net::ticket::{Pass, Ticket};

use crate::{
    node::Node,
    processes,
    support::{Place, wait_for},
};

#[test]
fn keys_are_made_once_and_for_their_owner_alone() {
    let place = Place::at_home("home");
    let first = place.tidemill(&["keys", "--json"]).code(0).json();
    assert_eq!(first["made"], true);
    for key in ["node_key", "result_key"] {
        let path = first[key].as_str().expect("a path");
        assert_eq!(fs::metadata(path).expect("a file").permissions().mode() & 0o777, 0o600, "{path}");
    }
    let second = place.tidemill(&["keys", "--json"]).code(0).json();
    assert_eq!(second["made"], false);
    assert_eq!((&second["node"], &second["address"]), (&first["node"], &first["address"]));
    let printed = place.tidemill(&["keys"]).code(0).stdout;
    assert!(printed.contains(first["address"].as_str().expect("an address")), "{printed}");
}

#[test]
fn a_key_that_others_may_read_is_not_used() {
    let place = Place::at_home("home");
    let keys = place.tidemill(&["keys", "--json"]).code(0).json();
    let path = keys["node_key"].as_str().expect("a path");
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).expect("a file of ours");
    place.tidemill(&["keys"]).code(4).says(&["open to others", "hint: ", "chmod 600"]);
}

#[test]
fn what_is_no_ticket_is_said_to_be_none() {
    let place = Place::at_home("home");
    let provide = |ticket: &str| place.tidemill(&["provide", "--directory", "p", "--join", ticket]).code(2);
    provide("nonsense").says(&["not a ticket", "tidemill1", "hint: "]);
    provide("tidemill1abcdefgh").says(&["damaged"]);
    provide("tidemill27").says(&["newer version"]);
    place.write("file", "tidemill1");
    provide("file").says(&["file: this ticket is damaged"]);
    place.tidemill(&["provide", "--directory", "p"]).code(2).says(&["no network", "--join"]);
}

#[test]
fn a_provider_joins_and_ends_in_order() {
    let place = Place::new();
    let mut coordinator = Node::serve(&place);
    assert!(place.path("ticket").exists());
    let mut provider = Node::provide(&place, "one");
    let offer = provider.until("offer");
    assert_eq!((&offer["name"], &offer["cpus"]), (&"one".into(), &1.into()));
    provider.until("joined");
    provider.terminate();
    provider.until("asked_to_drain");
    provider.until("drained");
    provider.ends_with(0);
    coordinator.terminate();
    coordinator.until("stopped");
    coordinator.ends_with(0);
    assert!(!place.path("ticket").exists(), "nobody can join any more");
}

#[test]
fn a_coordinator_that_starts_again_is_found_again() {
    let place = Place::new();
    let coordinator = Node::serve(&place);
    let ticket = fs::read_to_string(place.path("ticket")).expect("a ticket");
    let mut provider = Node::provide(&place, "one");
    provider.until("joined");
    coordinator.terminate();
    provider.until("lost");
    drop(coordinator);
    let mut coordinator = Node::serve(&place);
    assert_eq!(fs::read_to_string(place.path("ticket")).expect("a ticket"), ticket);
    provider.until("joined");
    coordinator.terminate();
    coordinator.ends_with(0);
}

/// Nobody finds out by silence, which takes seconds: who had a session is told.
#[test]
fn a_coordinator_that_was_killed_calls_its_providers_back() {
    let place = Place::new();
    let coordinator = Node::serve(&place);
    let mut providers = [Node::provide(&place, "one"), Node::provide(&place, "two")];
    for provider in &mut providers {
        provider.until("joined");
    }
    coordinator.kill();
    let mut coordinator = Node::serve(&place);
    for provider in &mut providers {
        let lost = provider.until("lost");
        assert_eq!(lost["reason"], "the coordinator was started anew", "{lost}");
        provider.until("joined");
    }
    wait_for("the coordinator's word on it", || {
        let log = coordinator.stderr();
        let line = log.lines().find(|line| line.contains("the coordinator is there again"))?;
        println!("{line}");
        Some(())
    });
}

#[test]
fn a_pass_that_is_not_the_coordinators_is_of_no_use() {
    let place = Place::new();
    let _coordinator = Node::serve(&place);
    let text = fs::read_to_string(place.path("ticket")).expect("a ticket");
    let ticket: Ticket = text.parse().expect("a ticket");
    let forged = Ticket::new(ticket.node(), ticket.addresses().to_vec(), Pass::from_bytes([7; 16]));
    place.write("ticket", forged.expect("it has an address").to_string());
    let mut provider = Node::provide(&place, "one");
    provider.ends_with(2);
    let words = provider.stderr();
    assert!(words.contains("does not take this provider in") && words.contains("hint: "), "{words}");
}

#[test]
fn a_pass_is_for_its_role_until_it_is_revoked() {
    let place = Place::new();
    let _coordinator = Node::serve(&place);
    let pass =
        |more: &[&str]| place.tidemill(&[&["pass"][..], more, &["--directory", "coordinator"]].concat());
    for role in ["lend", "submit"] {
        pass(&["new", role, "--role", role, "--ticket-file", &format!("{role}.ticket")]).code(0);
    }
    pass(&["new", "lend"]).code(2).says(&["there is a pass called lend already"]);
    place.tidemill(&["status", "--join", "submit.ticket"]).code(0);
    place.tidemill(&["status", "--join", "lend.ticket"]).says(&["for lending machines alone"]);

    fs::copy(place.path("submit.ticket"), place.path("ticket")).expect("a file can be copied");
    let mut submitter = Node::provide(&place, "one");
    submitter.ends_with(2);
    let words = submitter.stderr();
    assert!(words.contains("for submitting jobs alone"), "{words}");
    fs::copy(place.path("lend.ticket"), place.path("ticket")).expect("a file can be copied");
    let mut lender = Node::provide(&place, "two");
    lender.until("joined");

    pass(&["revoke", "lend"]).code(0);
    lender.until("lost");
    lender.ends_with(2);
    pass(&["revoke", "lend"]).code(2);
    pass(&["list"]).code(0);
    // That of the coordinator's own ticket too: this home knows the new one by itself.
    pass(&["revoke", "default"]).code(0);
    place.tidemill(&["status", "--join", "coordinator/ticket"]).code(0);
    let list: Vec<serde_json::Value> =
        serde_json::from_str(&pass(&["list", "--json"]).code(0).stdout).expect("a list");
    let states: Vec<_> = list.iter().map(|one| one["revoked_s"].is_u64()).collect();
    assert_eq!(states, [true, false, true, false]);
}

#[test]
fn a_directory_is_for_one_process() {
    let place = Place::new();
    let _coordinator = Node::serve(&place);
    place
        .tidemill(&["serve", "--free", "--loopback", "--directory", "coordinator"])
        .code(2)
        .says(&["another tidemill process works in", "--directory"]);
}

/// The two would take turns at one session. Once the first is gone the copy is as good a provider as any.
#[test]
fn a_copy_of_a_directory_is_refused_while_the_first_lives() {
    let place = Place::new();
    let mut coordinator = Node::serve(&place);
    let mut first = Node::provide(&place, "one");
    first.until("joined");
    let copied = Command::new("cp").arg("-a").args([place.path("one"), place.path("two")]).status();
    assert!(copied.expect("there is `cp`").success());
    let mut copy = Node::provide(&place, "two");
    copy.ends_with(2);
    let words = copy.stderr();
    assert!(words.contains("copied directory?") && words.contains("--directory NEW"), "{words}");
    assert_eq!(first.until("copy_refused")["from"], "127.0.0.1");
    let log = coordinator.stderr();
    assert!(log.contains("copied directory?"), "{log}");

    first.kill();
    let mut again = Node::provide(&place, "one");
    again.until("joined");
    again.kill();
    Node::provide(&place, "two").until("joined");
}

#[test]
fn a_port_is_named_once_and_must_be_free() {
    let place = Place::new();
    let serve =
        |args: &[&str]| place.tidemill(&[&["serve", "--free", "--directory", "other"], args].concat());
    serve(&["--bind", "127.0.0.1:4000", "--port", "4001"]).code(2).says(&["4000", "4001"]);
    serve(&["--bind", "localhost"]).code(2).says(&["not an address"]);
    let taken = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port().to_string();
    serve(&["--loopback", "--port", &port]).code(4).says(&["cannot listen", "hint: ", "--port 0"]);
}

#[test]
fn what_is_advertised_comes_first_in_the_ticket() {
    let place = Place::new();
    let advertised = ["--advertise", "203.0.113.7:40000", "--advertise", "[2001:db8::7]"];
    let serve = ["serve", "--free", "--loopback", "--directory", "coordinator"];
    let serve = [&serve[..], &advertised[..]].concat();
    let mut coordinator = Node::start(&place, &serve);
    let first = coordinator.until("listening");
    let addresses: Vec<SocketAddr> =
        first["addresses"].as_array().expect("a list").iter().map(address).collect();
    let [natted, bare, own] = addresses[..] else { panic!("{first}") };
    assert_eq!(natted.to_string(), "203.0.113.7:40000");
    assert_eq!(bare.to_string(), format!("[2001:db8::7]:{}", own.port()));
    assert!(own.ip().is_loopback(), "{first}");
    let ticket: Ticket = first["ticket"].as_str().expect("a text").parse().expect("a ticket");
    assert_eq!(ticket.addresses(), addresses);
    assert_eq!(first["left_out"], Value::Array(Vec::new()));
    coordinator.terminate();
    coordinator.ends_with(0);
    // The port that is kept is the one that is listened on.
    let mut again = Node::start(&place, &serve);
    assert_eq!(again.until("listening")["ticket"], first["ticket"]);

    let wrong =
        |address: &str| place.tidemill(&["serve", "--free", "--directory", "other", "--advertise", address]);
    wrong("host.example").code(2).says(&["addresses and no names"]);
    wrong("0.0.0.0").code(2).says(&["stands for all addresses"]);
}

fn address(text: &Value) -> SocketAddr {
    text.as_str().expect("a text").parse().expect("an address")
}

#[test]
fn a_child_ends_with_its_parent() {
    let place = Place::new();
    let _coordinator = Node::serve(&place);
    let args =
        ["provide", "--free", "--join", "ticket", "--loopback", "--directory", "one", "--parent-stdin"];
    let mut provider = Node::start(&place, &[&args[..], &["--assume-fuel-rate", "1000000000"]].concat());
    provider.until("joined");
    provider.orphan();
    provider.until("stopped");
    provider.ends_with(0);
}

#[test]
fn the_children_of_a_network_are_replaced_and_do_not_outlive_it() {
    let place = Place::new();
    let up = ["up", "--free", "--directory", "up", "--providers", "2", "--ticket-file", "ticket"];
    let mut network = Node::start(&place, &up);
    let listening = network.until("listening");
    assert_eq!(listening["providers"], 2);
    let children = wait_for("two children", || two(children(&place, "up/provider-")));
    let killed = *children.first().expect("two");
    processes::signal(killed, Signal::KILL);
    let children = wait_for("a successor", || {
        two(self::children(&place, "up/provider-")).filter(|children| !children.contains(&killed))
    });
    network.kill();
    wait_for("the end of the children", || {
        self::children(&place, "up/provider-").is_disjoint(&children).then_some(())
    });

    // The next one takes up the state; it ends in order, and its children with it.
    let mut network = Node::start(&place, &up);
    assert_eq!(network.until("listening")["ticket"], listening["ticket"]);
    wait_for("two children", || two(self::children(&place, "up/provider-")));
    network.terminate();
    network.until("stopped");
    network.ends_with(0);
    assert_eq!(self::children(&place, "up/provider-"), BTreeSet::new());
}

fn two(children: BTreeSet<u32>) -> Option<BTreeSet<u32>> {
    (children.len() == 2).then_some(children)
}

/// The processes that were given a directory of this place as an argument.
fn children(place: &Place, directory: &str) -> BTreeSet<u32> {
    let directory = place.path(directory);
    let directory = directory.to_string_lossy();
    let names = fs::read_dir("/proc").into_iter().flatten().flatten().map(|entry| entry.file_name());
    let processes = names.filter_map(|name| name.to_str()?.parse::<u32>().ok());
    let is_given = |pid: &u32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0).any(|word| word.starts_with(directory.as_bytes()))
    };
    processes.filter(is_given).collect()
}
