//! A coordinator that dies while money moves, and comes back: everybody is paid once.

use super::*;
use crate::{faults::process::Process, ledger::account, node::Node, support::Running};

/// Where a coordinator dies while it promises and pays.
const POINTS: [&str; 4] = ["before-vouchers", "after-vouchers", "before-settlement", "after-settlement"];

const PASSWORD: [&str; 2] = ["--password-file", "password"];

/// A network whose coordinator is ann, who keeps a part, on the ledger of the place's home.
struct Network {
    place: Place,
    coordinator: Process,
    _providers: Vec<Process>,
    ledger: Node,
    treasury: String,
    ann: String,
}

impl Network {
    fn start() -> Self {
        let place = Place::at_home("home");
        let ledger = start(&place);
        let ann = account(&place, "ann");
        json(&place, &["wallet", "send", "1 ETH", "ann", "--account", "treasury"]);
        let coordinator = serve(&place, None);
        let providers = ["one", "two"].map(|name| provide(&place, name)).into();
        let treasury = balance(&place, "treasury")["address"].as_str().expect("an address").to_owned();
        Self { place, coordinator, _providers: providers, ledger, treasury, ann }
    }

    fn run(&self, out: &str) -> Running {
        let args = ["run", "job.toml", "--out", out, "--join", "ticket", "--account", "treasury", "--json"];
        self.place.start(&args)
    }

    /// Runs `job.toml` while the coordinator dies at a point, and gives what was paid.
    fn dies_once(&mut self, point: &str, out: &str) -> Value {
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
    fn revive(&mut self, point: Option<&str>) {
        if self.coordinator.ended().is_none() {
            self.coordinator.signal(rustix::process::Signal::KILL);
        }
        wait_for("its death", || self.coordinator.ended());
        self.coordinator = serve(&self.place, point);
    }
}

fn serve(place: &Place, point: Option<&str>) -> Process {
    let args = [
        "serve",
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
    let args = [
        "provide",
        "--join",
        "ticket",
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
        "--collect-after",
        "1s",
    ];
    let refused = place.tidemill(&args).code(1).says(&["has no coins"]);
    let address = refused.stderr.split_whitespace().find(|word| word.starts_with("0x")).expect("an address");
    json(place, &["wallet", "send", "0.1 ETH", address, "--account", "treasury"]);
    let mut provider = Process::start(&mut place.command(&args));
    provider.until("joined", |_| true);
    provider
}

/// The only escrow of the treasury that is not closed.
fn escrow(place: &Place) -> Option<String> {
    let open = escrows(place, &[]);
    Some(open.first()?["escrow"].as_str().expect("a name").to_owned())
}

#[test]
fn providers_collect_from_a_coordinator_that_is_gone() {
    let mut network = Network::start();
    network.place.job(&job(""));
    network.revive(Some("before-settlement"));
    let run = network.run("out");
    wait_for("its death", || network.coordinator.ended());
    drop(run);
    // What the requester locked it knows from the ledger, and what was promised providers know.
    let escrow = escrow(&network.place).expect("it is open");
    json(&network.place, &["escrow", "end", &escrow, "--account", "treasury"]);
    let (earned, net) = wait_for("both to have collected", || {
        let both = ["one", "two"].map(|name| received(&network.place, &["--directory", name]));
        let escrow = escrows(&network.place, &[]).pop().expect("it is not closed");
        let earned = both[0].0 + both[1].0;
        (wei(&escrow["paid_wei"]) == earned).then_some((earned, both[0].1 + both[1].1))
    });
    assert!(earned > 0);
    let witness = Witness::of(&network.place);
    let with_providers = wait_for("what providers know", || {
        let both = ["one", "two"].map(|name| received(&network.place, &["--directory", name]));
        let with_providers = witness.tide_of(&witness.staking);
        (both[0].1 + both[1].1 == with_providers).then_some(with_providers)
    });
    assert!(with_providers >= net && with_providers >= earned * 93 / 100);
    witness.is_all_there(&[&network.treasury, &network.ann]);
    stop(network.ledger);
}

#[test]
fn a_requester_that_wants_everything_back_at_once_pays_what_was_promised() {
    let network = Network::start();
    network.place.job(
        "name = \"slow\"\n[program]\npath = \"puppet.wasm\"\nargs = [\"slow\", \"{index}\"]\n\
         [tasks]\nrange = { to = 200 }\n",
    );
    let mut run = network.run("out");
    run.until("somebody has earned something", || {
        let earned = received(&network.place, &["--directory", "one"]).0;
        (earned > 0).then_some(())
    });
    let escrow = escrow(&network.place).expect("it is open");
    json(&network.place, &["escrow", "end", &escrow, "--account", "treasury"]);
    let json = run.finish().code(1).json();
    let witness = Witness::of(&network.place);
    let earned = witness.confirms(&json["payment"], &network.treasury, SUPPLY);
    witness.shares(&network.place, &["one", "two"], earned, PROTOCOL_PERCENT + 5);
    network.coordinator.stop();
    stop(network.ledger);
}

#[test]
fn a_coordinator_dies_wherever_money_moves_and_pays_once() {
    let mut network = Network::start();
    let mut spent = 0;
    let witness = Witness::of(&network.place);
    for point in POINTS {
        network.place.job(&job("").replace("paid", point));
        let paid = network.dies_once(point, point);
        spent += witness.confirms(&paid, &network.treasury, SUPPLY - spent);
        // What is spent and is not with providers is the coordinator's, which has not fetched it.
        assert_eq!(witness.tide_of(&witness.staking) + witness.tide_of(&witness.escrow), spent);
        witness.is_all_there(&[&network.treasury, &network.ann]);
    }
    witness.shares(&network.place, &["one", "two"], spent, PROTOCOL_PERCENT + 5);
    let Network { coordinator, ledger, .. } = network;
    coordinator.stop();
    stop(ledger);
}
