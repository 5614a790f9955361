//! Ledgers and wallets, as a person uses them: the binary alone, on an embedded ledger.

// The ledger's own tests use the rest of it.
#[allow(dead_code)]
#[path = "../../../ledger/tests/it/foundry.rs"]
pub mod foundry;
mod life;

use std::fs;

use serde_json::Value;

use self::foundry::Anvil;
use crate::{node::Node, support::Place};

/// Runs a command that must succeed, and gives the JSON that it prints.
#[track_caller]
pub fn json(place: &Place, args: &[&str]) -> Value {
    let ran = place.tidemill(&[args, &["--json"]].concat()).code(0);
    serde_json::from_str(&ran.stdout).expect("JSON")
}

pub fn start(place: &Place) -> Node {
    let mut node = Node::start(place, &["ledger", "start", "--listen", "127.0.0.1:0"]);
    node.until("listening");
    node
}

/// A ledger with the development keys, and its URL.
fn start_dev(place: &Place) -> (Node, String) {
    let mut node = Node::start(place, &["ledger", "start", "--dev", "--listen", "127.0.0.1:0"]);
    let url = node.until("listening")["url"].as_str().expect("a URL").to_owned();
    (node, url)
}

pub fn stop(mut node: Node) {
    node.terminate();
    node.ends_with(0);
}

/// An account of that name in the home of the place.
pub fn account(place: &Place, name: &str) -> String {
    place.write("password", "of a test\n");
    // One of the usual cost takes a second of a processor each time it is used.
    let made = json(place, &["wallet", "new", name, "--light", "--password-file", "password"]);
    made["address"].as_str().expect("an address").to_owned()
}

/// The one balance that is asked for.
pub fn balance(place: &Place, account: &str) -> Value {
    json(place, &["wallet", "balance", account])[0].clone()
}

pub const TIDE: u128 = 1_000_000_000_000_000_000;

pub fn wei(value: &Value) -> u128 {
    value
        .as_str()
        .and_then(|digits| digits.parse().ok())
        .unwrap_or_else(|| panic!("{value} is no number of wei"))
}

#[test]
fn a_newcomer_stakes_on_an_embedded_ledger() {
    let place = Place::at_home("home");
    let node = start(&place);
    let treasury = balance(&place, "treasury");
    assert_eq!(wei(&treasury["free_wei"]), 599_999_999 * TIDE, "one is the seed of the liquid stake");

    let ann = account(&place, "ann");
    json(&place, &["wallet", "send", "1000 TIDE", "ann", "--account", "treasury"]);
    json(&place, &["wallet", "send", "1 ETH", &ann, "--account", "treasury"]);
    let as_ann = ["--account", "ann", "--password-file", "password"];
    let bond = ["bond", "500 TIDE", "--commission", "7.5", "--max-delegated", "150 TIDE"];
    let bonded = json(&place, &[&bond[..], &as_ann].concat());
    let sent = bonded["transactions"].as_array().expect("a list");
    assert_eq!(sent.len(), 3, "the registration, what may be delegated, and the bond: {bonded}");

    let over = ["delegate", "151 TIDE", "ann", "--account", "treasury"];
    place.tidemill(&over).code(1).says(&["takes only 150 TIDE more of delegations"]);
    json(&place, &["delegate", "100 TIDE", "ann", "--account", "treasury"]);
    let of_ann = balance(&place, &ann);
    assert_eq!(wei(&of_ann["free_wei"]), 500 * TIDE);
    assert_eq!(of_ann["positions"][0]["pool"]["kind"], "provider_bond");
    assert_eq!(wei(&of_ann["positions"][0]["value_wei"]), 500 * TIDE);
    let of_treasury = balance(&place, "treasury");
    assert_eq!(of_treasury["positions"][0]["pool"]["operator"], *ann);

    json(&place, &[&["unbond", "200 TIDE"][..], &as_ann].concat());
    json(&place, &["undelegate", "all", "ann", "--account", "treasury"]);
    let of_ann = balance(&place, "ann");
    assert_eq!(wei(&of_ann["positions"][0]["value_wei"]), 300 * TIDE);
    assert_eq!(wei(&of_ann["thaws"][0]["value_wei"]), 200 * TIDE);
    assert_eq!(of_ann["thaws"][0]["ready"], false);
    let thaws = balance(&place, "treasury")["thaws"].as_array().expect("a list").len();
    assert_eq!(thaws, 1);
    let nothing = place.tidemill(&[&["withdraw"][..], &as_ann].concat()).code(0);
    assert!(nothing.stdout.contains("nothing to withdraw: the next is 200 TIDE"), "{}", nothing.stdout);

    let status = json(&place, &["ledger", "status"]);
    assert_eq!(wei(&status["supply_wei"]), 600_000_000 * TIDE);
    let staking =
        status["contracts"].as_array().expect("a list").iter().find(|one| one["name"] == "ProviderStaking");
    assert_eq!(wei(&staking.expect("it is there")["holds_wei"]), 600 * TIDE);
    stop(node);
}

#[test]
fn what_a_contract_or_a_wallet_refuses_is_said_in_words() {
    let place = Place::at_home("home");
    let somebody = "0x0000000000000000000000000000000000000001";
    place.tidemill(&["wallet", "balance", somebody]).code(2).says(&["tidemill ledger start"]);
    let node = start(&place);
    let ann = account(&place, "ann");
    let as_ann = ["--account", "ann", "--password-file", "password"];
    json(&place, &["wallet", "send", "1 ETH", "ann", "--account", "treasury"]);
    let refused = |args: &[&str], code, words: &[&str]| {
        place.tidemill(args).code(code).says(words);
    };
    let poor = [&["bond", "5 TIDE", "--as", "coordinator"][..], &as_ann].concat();
    refused(&poor, 1, &["has 0 TIDE and would need 5 TIDE"]);
    refused(&["delegate", "5 TIDE", &ann, "--account", "treasury"], 1, &["is not registered as a provider"]);
    refused(&[&["unbond", "all"][..], &as_ann].concat(), 2, &["no stake in the provider's bond"]);

    place.write("wrong", "not it");
    let send = ["wallet", "send", "1 TIDE"];
    refused(
        &[&send[..], &["ann", "--account", "ann", "--password-file", "wrong"]].concat(),
        2,
        &["password"],
    );
    refused(&["wallet", "send", "1.5", "ann"], 2, &["unit"]);
    let mut mistyped = ann.clone();
    let last = if mistyped.pop() == Some('0') { '1' } else { '0' };
    mistyped.push(last);
    refused(&[&send[..], &[&mistyped, "--account", "treasury"]].concat(), 2, &["is no address"]);
    refused(&[&send[..], &["bob", "--account", "treasury"]].concat(), 2, &["ann"]);
    refused(&[&send[..], &["ann"]].concat(), 2, &["which account", "--account"]);
    stop(node);
    // Whichever command needs the ledger of its home brings it along, and nobody else's.
    place.tidemill(&["ledger", "status"]).code(0);
    refused(&["ledger", "status", "--ledger", "http://127.0.0.1:1"], 4, &["does not answer"]);
}

#[test]
fn what_an_account_cannot_afford_is_not_written_down() {
    let place = Place::at_home("home");
    let node = start(&place);
    account(&place, "ann");
    let as_ann = ["--account", "ann", "--password-file", "password"];
    json(&place, &["wallet", "send", "1 ETH", "ann", "--account", "treasury"]);
    let send =
        |amount: &str| place.tidemill(&[&["wallet", "send", amount, "treasury"][..], &as_ann].concat());
    send("0.99999999 ETH").code(1).says(&["has 1 ETH, and with its fees this may take 1."]);
    send("1 ETH").code(1).says(&["has 1 ETH, and fees come on top"]);
    for more in [&[][..], &["--cancel"]] {
        let pending = json(&place, &[&["wallet", "pending"][..], &as_ann, more].concat());
        assert_eq!(pending, serde_json::json!({ "pending": [], "ended": [] }));
    }
    // Nothing is in the way of what can be paid.
    send("0.5 ETH").code(0);
    stop(node);
}

#[test]
fn a_password_in_the_environment_is_not_that_of_the_treasury() {
    let place = Place::at_home("home");
    let node = start(&place);
    let somebody = "0x0000000000000000000000000000000000000001";
    let mut command = place.command(&["wallet", "send", "1 TIDE", somebody, "--account", "treasury"]);
    let sent = command.env("TIDEMILL_PASSWORD", "another account's").output().expect("the binary starts");
    assert!(sent.status.success(), "{}", String::from_utf8_lossy(&sent.stderr));
    stop(node);
}

#[test]
fn a_ledger_that_was_killed_goes_on_and_another_home_finds_it_by_its_url() {
    let place = Place::at_home("home");
    let node = start(&place);
    let ann = account(&place, "ann");
    json(&place, &["wallet", "send", "1000 TIDE", "ann", "--account", "treasury"]);
    let before = json(&place, &["ledger", "status"]);
    node.kill();
    let mut node = Node::start(&place, &["ledger", "start", "--listen", "127.0.0.1:0"]);
    let url = node.until("listening")["url"].as_str().expect("a URL").to_owned();
    let after = json(&place, &["ledger", "status"]);
    for same in ["chain_id", "genesis", "block", "supply_wei", "contracts"] {
        assert_eq!(before[same], after[same], "{same}");
    }

    let elsewhere = Place::at_home("home");
    json(&elsewhere, &["ledger", "use", &url]);
    assert_eq!(wei(&balance(&elsewhere, &ann)["free_wei"]), 1000 * TIDE);

    // An address book of another ledger is not believed.
    let other = Place::at_home("home");
    let other_node = start(&other);
    fs::copy(other.path("home/ledger/address-book.json"), elsewhere.path("book.json")).expect("a copy");
    elsewhere.tidemill(&["ledger", "use", &url, "--book", "book.json"]).code(2).says(&["is a node of chain"]);
    stop(other_node);
    stop(node);
}

#[test]
fn development_ledgers_are_for_this_machine_alone() {
    let place = Place::at_home("home");
    let ran =
        place.tidemill(&["ledger", "start", "--dev", "--listen", "0.0.0.0:0"]).code(2).says(&["loopback"]);
    assert_eq!(ran.stdout, "", "nothing was made before it was refused");
    for (option, value) in [("--allow-origin", "app.example"), ("--allow-host", "http://a")] {
        place.tidemill(&["ledger", "start", "--dev", option, value]).code(2).says(&["is no"]);
    }
}

#[test]
fn contracts_are_deployed_to_another_chain_once() {
    let anvil = Anvil::start();
    let place = Place::at_home("home");
    place.write("password", "of a test");
    place.write("key", foundry::rich().to_bytes().to_string());
    let rich = foundry::rich().address().to_string();
    json(&place, &["wallet", "import", "deployer", "--key-file", "key", "--password-file", "password"]);
    let deploy =
        ["ledger", "deploy", "--rpc", anvil.url(), "--password-file", "password", "--out", "book.json"];
    place.tidemill(&deploy).code(2).says(&["deploy Tide", "--yes"]);
    let done = json(&place, &[&deploy[..], &["--yes"]].concat());
    assert_eq!(done["chain_id"], foundry::CHAIN_ID);
    assert_eq!(
        done["contracts"].as_array().map(Vec::len),
        Some(13),
        "with the libraries that some of them use"
    );
    let status = json(&place, &["ledger", "status"]);
    assert_eq!(wei(&status["supply_wei"]), 600_000_000 * TIDE);

    // Elsewhere the address book is needed, since anvil tells none.
    let elsewhere = Place::at_home("home");
    elsewhere.tidemill(&["ledger", "use", anvil.url()]).code(2).says(&["--book"]);
    fs::copy(place.path("book.json"), elsewhere.path("book.json")).expect("a copy");
    json(&elsewhere, &["ledger", "use", anvil.url(), "--book", "book.json"]);
    assert_eq!(wei(&balance(&elsewhere, &rich)["free_wei"]), 599_999_999 * TIDE);

    // A book with another code is not believed.
    let book = fs::read_to_string(place.path("book.json")).expect("a book");
    let mut book: Value = serde_json::from_str(&book).expect("JSON");
    book["contracts"]["Tide"]["code_hash"] = book["contracts"]["JobEscrow"]["code_hash"].clone();
    elsewhere.write("forged.json", book.to_string());
    elsewhere
        .tidemill(&["ledger", "use", anvil.url(), "--book", "forged.json"])
        .code(2)
        .says(&["not the Tide"]);
}
