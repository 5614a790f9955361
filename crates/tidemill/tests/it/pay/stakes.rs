//! A ledger on which a contract may slash providers, and a coordinator that counts what they have at stake there.

use tidemill_ledger::{
    Address, Bytes, SolCall,
    contracts::{IProviderStaking, ProviderStaking},
    staking::Role,
};

use super::*;
use crate::faults::process::Process;

/// Longer than what the governor decides waits before it counts.
const AFTER_THE_DELAY_S: &str = "3024001";

/// How long stake thaws.
const THE_THAW_S: &str = "2419200";

/// Somebody who may slash, for a part of a provider's own bond in millionths.
fn let_slash(place: &Place, ppm: u32) {
    let witness = Witness::of(place);
    let slasher = Address::repeat_byte(0x51);
    let reach = IProviderStaking::Reach { own: ppm, delegated: 0 };
    let call = ProviderStaking::setSlasherCall { slasher, role: Role::Provider as u8, reach };
    let (call, slasher) = (Bytes::from(call.abi_encode()).to_string(), slasher.to_string());
    let key = foundry::rich().to_bytes().to_string();
    let send =
        |args: &[&str]| witness.cast(&[&["send", &witness.manager], args, &["--private-key", &key]].concat());
    send(&["schedule(address,bytes,uint48)", &witness.staking, &call, "0"]);
    witness.cast(&["rpc", "evm_increaseTime", AFTER_THE_DELAY_S]);
    witness.cast(&["rpc", "evm_mine"]);
    send(&["execute(address,bytes)", &witness.staking, &call]);
    // What becomes more does so once everybody who dislikes it can have left.
    witness.cast(&["rpc", "evm_increaseTime", THE_THAW_S]);
    witness.cast(&["rpc", "evm_mine"]);
    // Of the two numbers the first: that of the own bond.
    let signature = "slasherReach(address,uint8)(uint32,uint32)";
    let reach = witness.number(&[&witness.staking, signature, &slasher, "0"]);
    assert_eq!(reach, u128::from(ppm));
}

#[test]
fn a_coordinator_counts_what_can_be_taken_and_requesters_are_told() {
    let anvil = Anvil::start();
    let place = Place::at_home("home");
    rich(&place, &anvil);
    let_slash(&place, 500_000);
    // Bob's stake is a bond of his own, of which half can be taken.
    json(&place, &[&["wallet", "new", "bob"], &PASSWORD[..]].concat());
    let send = |what: &str| {
        let args = ["wallet", "send", what, "bob", "--account", "rich", "--confirmations", "1"];
        json(&place, &[&args[..], &PASSWORD].concat());
    };
    send("1 ETH");
    send("1000 TIDE");
    let bond = ["bond", "100 TIDE", "--account", "bob", "--confirmations", "1"];
    json(&place, &[&bond[..], &PASSWORD].concat());

    let serve = [
        "serve",
        "--loopback",
        "--directory",
        "coordinator",
        "--ticket-file",
        "ticket",
        "--account",
        "rich",
        "--confirmations",
        "1",
        "--slash-odds",
        "0.5",
    ];
    let mut coordinator = Process::start(&mut place.command(&[&serve[..], &PASSWORD].concat()));
    coordinator.until("listening", |_| true);
    let provide = [
        "provide",
        "--join",
        "ticket",
        "--loopback",
        "--name",
        "bobs",
        "--cpus",
        "1",
        "--assume-fuel-rate",
        "1000000000",
        "--disk",
        "1GiB",
        "--confirmations",
        "1",
    ];
    let mut provider = Process::start(&mut place.command(&provide));
    provider.until("joined", |_| true);

    let told = wait_for("what bob has at stake", || {
        let told = place.tidemill(&["reputation", "bobs", "--join", "ticket", "--json"]).code(0).json();
        let stake = &told["stake"];
        (stake.is_object() && wei(&stake["slashable_wei"]) > 0).then_some(told)
    });
    assert_eq!(wei(&told["stake"]["slashable_wei"]), 50 * TIDE, "{told}");
    assert_eq!(wei(&told["stake"]["at_risk_wei"]), 0);
    // One result in a hundred is looked at, one look in ten is a friend's, and half of the caught are slashed.
    let deterred = wei(&told["stake"]["deterred_wei"]) as f64 / TIDE as f64;
    let odds = 0.01 * 0.9 * 0.5;
    assert!((deterred - 50.0 * odds / (1.0 - odds)).abs() < 1e-6, "{told}");
    let words = place.tidemill(&["reputation", "bobs", "--join", "ticket"]).code(0);
    assert!(words.stdout.contains("would lose 50 TIDE by a wrong result"), "{}", words.stdout);

    place.job(&job("[policy]\noutside_gain = \"2 TIDE\"\n"));
    let submit = ["submit", "job.toml", "--join", "ticket", "--account", "rich", "--confirmations", "1"];
    // One operator of whom nothing is known decides nothing.
    place.tidemill(&[&submit[..], &PASSWORD].concat()).code(2).says(&[
        "no task would be decided",
        "the 1 operator here",
        "--anyway",
    ]);
    place.tidemill(&[&submit[..], &["--anyway"], &PASSWORD].concat()).code(0).says(&[
        "stake: 1 of 1 operator would lose a bond by a wrong result, at least 50 TIDE each",
        "with 2 TIDE for it from outside, if 0.5 of those who are caught are slashed",
    ]);
    provider.stop();
    coordinator.stop();
}
