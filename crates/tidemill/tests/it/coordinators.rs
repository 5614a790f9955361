//! One provider that works for two coordinators.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::{
    network::job,
    node::Node,
    support::{Place, Ran, wait_for},
};

const TICKETS: [&str; 2] = ["ticket-1", "ticket-2"];

/// Two coordinators, and the one provider that both have.
struct Pair {
    place: Place,
    coordinators: [Node; 2],
    /// What the coordinators are called in events.
    names: [String; 2],
    provider: Node,
}

impl Pair {
    fn start(cpus: &str) -> Self {
        let place = Place::new();
        let directories = ["coordinator-1", "coordinator-2"];
        let [one, two] = [0, 1].map(|at| Node::serve_as(&place, directories[at], TICKETS[at]));
        let names = TICKETS.map(|ticket| name(&place, ticket));
        let mut provider = Node::provide_to(&place, "provider", &TICKETS, cpus);
        let mut joined = [(); 2].map(|()| coordinator(&provider.until("joined")));
        joined.sort();
        let mut expected = names.clone();
        expected.sort();
        assert_eq!(joined, expected, "each is joined once");
        Self { place, coordinators: [one, two], names, provider }
    }
}

/// The coordinator that a ticket is of.
fn name(place: &Place, ticket: &str) -> String {
    let text = std::fs::read_to_string(place.path(ticket)).expect("a ticket");
    text.parse::<tidemill_net::ticket::Ticket>().expect("a ticket").node().to_string()
}

/// The coordinator that an event is about.
fn coordinator(event: &Value) -> String {
    event["coordinator"].as_str().unwrap_or_else(|| panic!("no coordinator in {event}")).to_owned()
}

/// Runs a command for the network of a ticket.
fn ask(place: &Place, ticket: &str, args: &[&str]) -> Ran {
    place.tidemill(&[args, &["--join", ticket]].concat())
}

/// Submits a job to the network of a ticket.
fn submit(place: &Place, ticket: &str, name: &str, behaviours: &[&str]) {
    place.job(&job(name, behaviours));
    ask(place, ticket, &["submit", "job.toml"]).code(0);
}

/// Waits until a job is done.
fn done(place: &Place, ticket: &str, name: &str) {
    ask(place, ticket, &["status", name, "--watch"]).code(0);
    let status = ask(place, ticket, &["status", name, "--json"]).code(0).json();
    assert_eq!(status["phase"], "done", "{status}");
}

#[test]
fn two_coordinators_share_a_provider() {
    let mut pair = Pair::start("2");
    let tasks = ["slow", "mumble", "large"];
    for ticket in TICKETS {
        submit(&pair.place, ticket, "shared", &tasks);
    }
    for ticket in TICKETS {
        done(&pair.place, ticket, "shared");
        ask(&pair.place, ticket, &["fetch", "shared", "--out", &format!("out-{ticket}")]).code(0);
    }
    let outputs = TICKETS.map(|ticket| {
        let mut files = pair.place.tree(&format!("out-{ticket}"));
        files.retain(|path, _| path.starts_with("tasks/"));
        files
    });
    assert_eq!(outputs[0].len(), tasks.len());
    assert!(outputs[0] == outputs[1], "the same tasks give the same bytes");
    let mut of_each: BTreeMap<String, usize> = BTreeMap::new();
    for _ in 0..2 * tasks.len() {
        *of_each.entry(coordinator(&pair.provider.until("task"))).or_default() += 1;
    }
    assert_eq!(pair.names.clone().map(|name| of_each[&name]), [tasks.len(); 2], "{of_each:?}");

    pair.provider.terminate();
    pair.provider.until("drained");
    pair.provider.ends_with(0);
    for coordinator in &mut pair.coordinators {
        coordinator.terminate();
        coordinator.ends_with(0);
    }
}

#[test]
fn a_coordinator_that_is_killed_leaves_the_job_of_the_other_one_going() {
    let Pair { place, coordinators: [first, _second], names, mut provider } = Pair::start("2");
    submit(&place, TICKETS[0], "endless", &["endless"]);
    wait_for("the endless task to run", || {
        let list = ask(&place, TICKETS[0], &["status", "--json"]).code(0).stdout;
        list.contains("\"running\": 1").then_some(())
    });
    submit(&place, TICKETS[1], "others", &["slow", "quick", "mumble"]);
    first.kill();
    done(&place, TICKETS[1], "others");

    // The one that was killed is back, and has its provider again; the task that went on is held by it still.
    let _first = Node::serve_as(&place, "coordinator-1", TICKETS[0]);
    let lost = provider.until("lost");
    assert_eq!(coordinator(&lost), names[0], "{lost}");
    assert_eq!(coordinator(&provider.until("joined")), names[0]);
    ask(&place, TICKETS[0], &["cancel", "endless"]).code(0);
    submit(&place, TICKETS[0], "again", &["quick"]);
    done(&place, TICKETS[0], "again");

    provider.terminate();
    provider.until("drained");
    provider.ends_with(0);
}

#[test]
fn the_same_network_twice_is_refused() {
    let place = Place::new();
    let _coordinator = Node::serve(&place);
    let twice = ["provide", "--free", "--loopback", "--directory", "one", "--own-keys"];
    let measured = ["--join", "ticket", "--join", "ticket", "--assume-fuel-rate", "1000000000"];
    place
        .tidemill(&[&twice[..], &measured].concat())
        .code(2)
        .says(&["two tickets are of the same coordinator"]);
}
