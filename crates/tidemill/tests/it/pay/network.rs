//! A network of processes on the ledger of a home: a coordinator who keeps a part, and two providers.

use super::*;
use crate::{
    faults::{cluster, process::Process},
    ledger::account,
    node::Node,
    support::Running,
};

/// A network whose coordinator is ann, who keeps a part, on the ledger of the place's home.
pub struct Network {
    pub place: Place,
    pub coordinator: Process,
    pub providers: Vec<Process>,
    pub ledger: Option<Node>,
    pub treasury: String,
    pub ann: String,
}

impl Network {
    pub fn start() -> Self {
        let place = Place::at_home("home");
        let ledger = Some(ledger_at(&place, "127.0.0.1:0"));
        let ann = account(&place, "ann");
        json(&place, &["wallet", "send", "1 ETH", "ann", "--account", "treasury"]);
        let coordinator = serve(&place, None);
        let providers = ["one", "two"].map(|name| provide(&place, name)).into();
        let treasury = balance(&place, "treasury")["address"].as_str().expect("an address").to_owned();
        Self { place, coordinator, providers, ledger, treasury, ann }
    }

    pub fn run(&self, out: &str) -> Running {
        let args = ["run", "job.toml", "--out", out, "--join", "ticket", "--account", "treasury", "--json"];
        self.place.start(&args)
    }

    /// Runs `job.toml` while the coordinator dies at a point, and gives what was paid.
    pub fn dies_once(&mut self, point: &str, out: &str) -> Value {
        self.revive(Some(point));
        let mut run = self.run(out);
        let mut deaths = 0;
        wait_for("the end of the job", || {
            if self.coordinator.ended().is_some() {
                deaths += 1;
                self.revive(None);
                // Who asked is killed as well; it takes its job up again, and opens no second escrow.
                if run.ended().is_none() {
                    run.signal(rustix::process::Signal::KILL);
                    wait_for("the end of the run", || run.ended());
                    run = self.run(out);
                }
            }
            run.ended()
        });
        let json = run.finish().code(0).json();
        assert_eq!(deaths, 1, "{point} is not passed");
        json["payment"].clone()
    }

    /// Kills the coordinator, and starts it again to die at a point.
    pub fn revive(&mut self, point: Option<&str>) {
        if self.coordinator.ended().is_none() {
            self.coordinator.signal(rustix::process::Signal::KILL);
        }
        wait_for("its death", || self.coordinator.ended());
        self.coordinator = serve(&self.place, point);
    }
}

/// Starts the ledger at an address. It is in a directory of its own, so that no command of the home starts it.
pub fn ledger_at(place: &Place, address: &str) -> Node {
    let mut node = Node::start(place, &["ledger", "start", "--directory", "ledger", "--listen", address]);
    node.until("listening");
    node
}

fn serve(place: &Place, point: Option<&str>) -> Process {
    let args = [
        "serve",
        "--trust",
        "all",
        "--loopback",
        "--directory",
        "coordinator",
        "--ticket-file",
        "ticket",
        "--account",
        "ann",
        "--fee",
        "5",
        "--lease",
        "1200ms",
        "--heartbeat",
        "200ms",
    ];
    let mut command = place.command(&[&args[..], &PASSWORD].concat());
    if let Some(point) = point {
        command.env("TIDEMILL_FAILPOINT", format!("{point}:1"));
    }
    let mut coordinator = Process::start(&mut command);
    coordinator.until("listening", |_| true);
    coordinator
}

/// Starts a provider that registers itself, once it has been sent coins for that.
fn provide(place: &Place, name: &str) -> Process {
    let mut provider = Process::start(&mut provider(place, name));
    let waits = provider.until("waits_for_coins", |_| true);
    let address = waits["account"].as_str().expect("an address");
    json(place, &["wallet", "send", "0.1 ETH", address, "--account", "treasury"]);
    provider.until("joined", |_| true);
    provider
}

/// Starts a provider that is registered.
pub fn provide_again(place: &Place, name: &str) -> Process {
    let mut provider = Process::start(&mut provider(place, name));
    provider.until("joined", |_| true);
    provider
}

fn provider(place: &Place, name: &str) -> Command {
    place.command(&[&cluster::provider(name, "ticket")[..], &["--collect-after", "1s"]].concat())
}

/// The only escrow of the treasury that is not closed.
pub fn escrow(place: &Place) -> Option<String> {
    let open = escrows(place, &[]);
    Some(open.first()?["escrow"].as_str().expect("a name").to_owned())
}
