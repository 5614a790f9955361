//! What only a development ledger does, and where it may be served.

use std::net::SocketAddr;

use alloy::primitives::U256;
use serde_json::json;
use tidemill_devnet::{
    Genesis, Ledger, Mining, Options, ServeError, ServeOptions, dev_addresses, draw_chain_id,
};

use crate::anvil::Anvil;
use crate::http;
use crate::node::{BEGIN, Node, quantity};

#[test]
fn the_accounts_are_those_of_other_development_nodes() {
    let anvil = Anvil::spawn();
    assert_eq!(http::call(anvil.address, "eth_accounts", json!([]))["result"], json!(dev_addresses()));
}

#[test]
fn the_name_is_one_that_development_tools_look_for() {
    let node = Node::dev();
    let name = node.ask("web3_clientVersion", json!([]));
    assert!(name.as_str().unwrap().starts_with("anvil") && name.as_str().unwrap().contains("tidemill/"));
    node.stop();
}

#[test]
fn time_can_be_moved_but_not_back() {
    let node = Node::dev();
    let now =
        |node: &Node| quantity(&node.ask("eth_getBlockByNumber", json!(["latest", false]))["timestamp"]);
    node.ask("evm_mine", json!([]));
    let begin = now(&node);
    assert!(node.ask("evm_increaseTime", json!(["0x3e8"])).as_i64().unwrap() >= 1_000);
    node.ask("evm_mine", json!([]));
    assert!(now(&node) >= begin + 1_000);
    let next = now(&node) + 5_000;
    node.ask("evm_setNextBlockTimestamp", json!([next]));
    node.ask("evm_mine", json!([]));
    assert_eq!(now(&node), next);
    assert_eq!(node.refusal("evm_setNextBlockTimestamp", json!([next - 1])).0, -32602);
    node.ask("evm_mine", json!([{"timestamp": next + 10, "blocks": 3}]));
    assert!((next + 10..next + 60).contains(&now(&node)));
    node.ask("anvil_mine", json!([3, 60]));
    assert!(now(&node) >= next + 130);
    assert_eq!(node.number(), 9);
    node.stop();
}

#[test]
fn an_ordinary_ledger_knows_none_of_it() {
    let genesis = Genesis::new(draw_chain_id(), BEGIN).fund(dev_addresses()[0], U256::from(1_000_000));
    let node = Node::with(genesis, Options::default(), ServeOptions::default());
    for method in [
        "evm_mine",
        "evm_increaseTime",
        "evm_setNextBlockTimestamp",
        "anvil_mine",
        "eth_sendTransaction",
        "evm_setAutomine",
        "evm_snapshot",
        "evm_revert",
        "evm_setIntervalMining",
        "hardhat_setBalance",
        "hardhat_impersonateAccount",
    ] {
        assert_eq!(node.refusal(method, json!([])), (-32601, "Method not found".to_string()), "{method}");
    }
    assert_eq!(node.ask("eth_accounts", json!([])), json!([]));
    assert!(node.ask("web3_clientVersion", json!([])).as_str().unwrap().starts_with("tidemill/"));
    node.stop();
}

#[test]
fn a_development_ledger_stays_on_loopback() {
    let everywhere = SocketAddr::from(([0, 0, 0, 0], 0));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let ledger = Ledger::create(dir.path(), Genesis::dev(BEGIN), Options::default()).unwrap();
    let refused = runtime.block_on(ledger.serve(everywhere, ServeOptions::default()));
    assert!(matches!(refused, Err(ServeError::DevNotLoopback(_))));

    let other = tempfile::tempdir().unwrap();
    let ordinary =
        Ledger::create(other.path(), Genesis::new(draw_chain_id(), BEGIN), Options::default()).unwrap();
    let server = runtime.block_on(ordinary.serve(everywhere, ServeOptions::default())).unwrap();
    runtime.block_on(server.stop());
}

#[test]
fn blocks_by_the_clock() {
    let interval = std::time::Duration::from_millis(20);
    let options = Options { mining: Mining::Interval(interval), ..Options::default() };
    let node = Node::with(Genesis::dev(BEGIN), options, ServeOptions::default());
    let mut client = crate::websocket::Client::connect(node.address());
    client.subscribe(json!(["newHeads"]));
    let first = quantity(&client.notification().1["number"]);
    let hash = node.send(&crate::node::transfer(0, 1));
    while node.ask("eth_getTransactionReceipt", json!([hash])).is_null() {
        client.notification();
    }
    assert!(node.number() > first);
    node.stop();
}

#[test]
fn known_keys_sign_here() {
    let node = Node::dev();
    let accounts = dev_addresses();
    let request = json!([{"from": accounts[1], "to": accounts[2], "value": "0x7"}]);
    let hash = node.ask("eth_sendTransaction", request);
    let mut heads = crate::websocket::Client::connect(node.address());
    heads.subscribe(json!(["newHeads"]));
    while node.ask("eth_getTransactionReceipt", json!([hash])).is_null() {
        heads.notification();
    }
    let tx = node.ask("eth_getTransactionByHash", json!([hash]));
    assert_eq!(
        (&tx["gas"], &tx["value"], &tx["from"]),
        (&json!("0x5208"), &json!("0x7"), &json!(format!("{:?}", accounts[1]).to_lowercase()))
    );
    node.stop();
}
