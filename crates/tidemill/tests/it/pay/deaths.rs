//! A coordinator that dies while money moves, and comes back: everybody is paid once.

use super::{
    network::{Network, escrow, provide_again},
    *,
};

/// Where a coordinator dies while it promises and pays.
const POINTS: [&str; 4] = ["before-vouchers", "after-vouchers", "before-settlement", "after-settlement"];

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
    stop(network.ledger.expect("it runs"));
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
    let earned = witness.confirms(&json["payment"], &network.treasury, TREASURY);
    witness.shares(&network.place, &["one", "two"], earned, PROTOCOL_PERCENT + 5);
    network.coordinator.stop();
    stop(network.ledger.expect("it runs"));
}

#[test]
fn a_coordinator_dies_wherever_money_moves_and_pays_once() {
    let mut network = Network::start();
    let mut spent = 0;
    let witness = Witness::of(&network.place);
    for point in POINTS {
        network.place.job(&job("").replace("paid", point));
        let paid = network.dies_once(point, point);
        spent += witness.confirms(&paid, &network.treasury, TREASURY - spent);
        // What is spent and is not with providers is the coordinator's, which has not fetched it.
        assert_eq!(witness.tide_of(&witness.staking) + witness.tide_of(&witness.escrow), spent);
        witness.is_all_there(&[&network.treasury, &network.ann]);
    }
    witness.shares(&network.place, &["one", "two"], spent, PROTOCOL_PERCENT + 5);
    let Network { coordinator, ledger, .. } = network;
    coordinator.stop();
    stop(ledger.expect("it runs"));
}

#[test]
fn a_provider_that_is_killed_comes_back_to_what_it_was_promised() {
    let mut network = Network::start();
    network.place.job(
        "name = \"slow\"\n[program]\npath = \"puppet.wasm\"\nargs = [\"slow\", \"{index}\"]\n\
         [tasks]\nrange = { to = 60 }\n",
    );
    let mut run = network.run("out");
    let earned = || received(&network.place, &["--directory", "one"]).0;
    for _ in 0..3 {
        let before = earned();
        run.until("a voucher is on the disk", || (earned() > before).then_some(()));
        // Between any two instructions: some vouchers have come and are not written down.
        network.providers.remove(0).kill();
        network.providers.insert(0, provide_again(&network.place, "one"));
    }
    let json = run.finish().code(0).json();
    let witness = Witness::of(&network.place);
    let earned = witness.confirms(&json["payment"], &network.treasury, TREASURY);
    witness.shares(&network.place, &["one", "two"], earned, PROTOCOL_PERCENT + 5);
    network.coordinator.stop();
    stop(network.ledger.expect("it runs"));
}
