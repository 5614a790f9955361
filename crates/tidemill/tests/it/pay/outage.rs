//! A ledger that goes away while work is paid for, and comes back.

use super::{
    network::{Network, ledger_at},
    *,
};

/// Where the ledger of the place's home listens.
fn address(place: &Place) -> String {
    let url = json(place, &["ledger", "status"])["url"].as_str().expect("a URL").to_owned();
    url.strip_prefix("http://").expect("it is on this machine").trim_end_matches('/').to_owned()
}

/// Runs a job while its ledger is away for a time. `meanwhile` has its address, and gives it free again.
fn away(meanwhile: impl FnOnce(&mut Network, &str)) {
    let mut network = Network::start();
    let address = address(&network.place);
    network.place.job(
        "name = \"slow\"\n[program]\npath = \"puppet.wasm\"\nargs = [\"slow\", \"{index}\"]\n\
         [tasks]\nrange = { to = 100 }\n",
    );
    let mut run = network.run("out");
    run.until("somebody has earned something", || {
        (received(&network.place, &["--directory", "one"]).0 > 0).then_some(())
    });
    network.ledger.take().expect("it runs").kill();
    meanwhile(&mut network, &address);
    let ledger = ledger_at(&network.place, &address);
    network.providers[0].until("ledger_back", |_| true);

    let json = run.finish().code(0).json();
    let witness = Witness::of(&network.place);
    let earned = witness.confirms(&json["payment"], &network.treasury, TREASURY);
    witness.shares(&network.place, &["one", "two"], earned, PROTOCOL_PERCENT + 5);
    witness.is_all_there(&[&network.treasury, &network.ann]);
    network.coordinator.stop();
    stop(ledger);
}

/// Waits until the first provider has earned something more so many times.
fn work_goes_on(network: &Network, times: u32) {
    let earned = || received(&network.place, &["--directory", "one"]).0;
    for _ in 0..times {
        let before = earned();
        wait_for("work to go on", || (earned() > before).then_some(()));
    }
}

#[test]
fn while_the_ledger_is_away_work_goes_on_and_it_is_settled_once_it_is_back() {
    away(|network, _| {
        network.providers[0].until("ledger_lost", |_| true);
        work_goes_on(network, 1);
    });
}

#[test]
fn another_chain_in_the_place_of_the_ledger_is_not_taken_for_it() {
    away(|network, address| {
        network.providers[0].until("ledger_lost", |_| true);
        let other = Place::at_home("other");
        let node = ledger_at(&other, address);
        network.place.tidemill(&["wallet", "balance", "treasury"]).code(2).says(&["and not of chain"]);
        // Long enough for it to ask several times.
        work_goes_on(network, 4);
        assert!(!network.providers[0].has_told("ledger_back"));
        node.kill();
    });
}
