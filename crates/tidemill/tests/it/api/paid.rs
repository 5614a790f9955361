//! Keys with money of their own.

use super::*;

#[test]
fn a_key_pays_for_what_it_asks_until_its_money_is_used_up() {
    let place = Place::at_home("home");
    place.write("parrot.wasm", parrot());
    place.tidemill(&["models", "add", "parrot", "parrot.wasm"]).code(0);
    let mut network = Node::start(&place, &["up", "--providers", "1", "--api", "127.0.0.1:0"]);
    let listening = network.until("listening");
    let client = Client::new(listening["api"].as_str().expect("it has an API"));
    assert_eq!(client.post("/chat/completions", &chat("Hello")).status, 401, "who asks has to bring money");

    let key = |more: &[&str]| {
        let args = [&["api-key", "new", "--json"], more].concat();
        let made = place.tidemill(&args).code(0).json();
        (client.with_key(made["key"].as_str().expect("a key")), made)
    };
    let (poor, made) = key(&[]);
    assert!(made["escrow"].is_null());
    poor_until(&poor, "this API key has no money");
    // A task may cost more than that by its limits.
    let (scant, _) = key(&["--budget", "0.0001 TIDE", "--account", "treasury"]);
    poor_until(&scant, "left");

    let (rich, made) = key(&["--budget", "5 TIDE", "--account", "treasury"]);
    rich.until_ready();
    let answer = rich.post("/chat/completions", &chat("Hello"));
    assert_eq!(answer.status, 200, "{answer:?}");
    let id = receipt(&answer);
    let told = rich.get(&format!("/receipts/{id}")).json();
    let price: u128 = told["price_wei"].as_str().expect("a price").parse().expect("a number");
    assert!(price > 0, "{told}");
    let escrow = made["escrow"].as_str().expect("it has one");
    let listed = list(&place, &["api-key", "list", "--json"]);
    assert!(listed.iter().any(|key| key["id"] == made["id"] && key["escrow"] == escrow), "{listed:?}");
    network.terminate();
    network.ends_with(0);
}

/// Asks until the model is read; then there is no money.
#[track_caller]
fn poor_until(client: &Client, reason: &str) {
    let answer = crate::support::wait_for("the model", || {
        let answer = client.post("/chat/completions", &chat("Hello"));
        (answer.status != 503).then_some(answer)
    });
    let error = answer.json()["error"].clone();
    assert_eq!((answer.status, &error["code"]), (402, &"insufficient_quota".into()), "{answer:?}");
    assert!(error["message"].as_str().is_some_and(|message| message.contains(reason)), "{error}");
}
