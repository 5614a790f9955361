//! What development tools do to the chain by hand: changing accounts, speaking for them, going back.

use alloy::primitives::{Address, B256, U256};
use serde_json::{Value, json};
use tidemill_devnet::{Ledger, Mining, Options, ServeOptions, dev_addresses};

use crate::code;
use crate::node::{Node, quantity, transfer};
use crate::websocket::Client;

/// The same ledger, taken up again.
fn restarted(node: Node) -> Node {
    let dir = node.stop();
    let (ledger, recovery) = Ledger::open(dir.path(), Options::default()).unwrap();
    assert_eq!(recovery.dropped_bytes, 0);
    Node::serving(dir, ledger, ServeOptions::default())
}

fn balance(node: &Node, address: Address) -> Value {
    node.ask("eth_getBalance", json!([address, "latest"]))
}

/// Sends in the name of an account without a key here, and gives the receipt.
fn send_as(node: &Node, from: Address, to: Address) -> Value {
    let hash = node.ask("eth_sendTransaction", json!([{"from": from, "to": to, "value": "0x5"}]));
    let mut heads = Client::connect(node.address());
    heads.subscribe(json!(["newHeads"]));
    loop {
        let receipt = node.ask("eth_getTransactionReceipt", json!([hash]));
        if !receipt.is_null() {
            return receipt;
        }
        heads.notification();
    }
}

#[test]
fn accounts_are_changed_at_once_and_for_good() {
    let node = Node::dev();
    let address = Address::repeat_byte(0x77);
    let runtime = code::store();
    for (method, params) in [
        ("hardhat_setBalance", json!([address, "0xde0b6b3a7640000"])),
        ("anvil_setNonce", json!([address, "0x5"])),
        ("hardhat_setCode", json!([address, alloy::primitives::Bytes::from(runtime.clone())])),
        ("hardhat_setStorageAt", json!([address, "0x2", B256::with_last_byte(9)])),
    ] {
        assert_eq!(node.ask(method, params), true, "{method}");
    }
    assert_eq!(node.number(), 4, "each makes a block");
    let check = |node: &Node| {
        assert_eq!(balance(node, address), "0xde0b6b3a7640000");
        assert_eq!(node.ask("eth_getTransactionCount", json!([address, "latest"])), "0x5");
        let code = alloy::primitives::Bytes::from(runtime.clone());
        assert_eq!(node.ask("eth_getCode", json!([address, "latest"])), json!(code));
        let slot = node.ask("eth_getStorageAt", json!([address, "0x2", "latest"]));
        assert_eq!(slot, json!(B256::with_last_byte(9)));
        assert_eq!(node.ask("eth_getBalance", json!([address, "0x0"])), "0x0", "before, it was not there");
    };
    check(&node);
    let node = restarted(node);
    check(&node);

    assert_eq!(node.refusal("hardhat_setNonce", json!([address, "0x4"])).0, -32602);
    assert_eq!(node.refusal("hardhat_setBalance", json!([address])).0, -32602);
    assert_eq!(node.ask("hardhat_setCode", json!([address, "0x"])), true);
    assert_eq!(node.ask("eth_getCode", json!([address, "latest"])), "0x");
    node.stop();
}

#[test]
fn an_edit_does_not_take_the_time_of_the_next_block() {
    let node = Node::dev();
    let next =
        quantity(&node.ask("eth_getBlockByNumber", json!(["latest", false]))["timestamp"]) + 4_000_000_000;
    node.ask("evm_setNextBlockTimestamp", json!([next]));
    node.ask("hardhat_setBalance", json!([Address::repeat_byte(1), "0x1"]));
    node.ask("evm_mine", json!([]));
    assert_eq!(quantity(&node.ask("eth_getBlockByNumber", json!(["latest", false]))["timestamp"]), next);
    node.stop();
}

#[test]
fn going_back_undoes_what_came_after_and_survives_a_restart() {
    let node = Node::dev();
    node.execute(&transfer(0, 1));
    let before = node.ask("eth_getBlockByNumber", json!(["latest", false]));
    let time = quantity(&before["timestamp"]);
    let rich = balance(&node, dev_addresses()[0]);
    let mut client = Client::connect(node.address());
    client.subscribe(json!(["newHeads"]));
    let filter = node.ask("eth_newBlockFilter", json!([]));

    assert_eq!(node.ask("evm_snapshot", json!([])), "0x1");
    let contract = node.deploy(1, &code::store());
    let lost = client.notification().1["hash"].clone();
    node.ask("evm_increaseTime", json!([1_000_000]));
    node.ask("evm_mine", json!([]));
    client.notification();
    assert_eq!(node.ask("eth_getFilterChanges", json!([filter])).as_array().map(Vec::len), Some(2));
    assert_eq!(node.ask("evm_snapshot", json!([])), "0x2");
    assert_eq!(node.ask("evm_revert", json!(["0x1"])), true);

    assert_eq!(node.ask("eth_getBlockByNumber", json!(["latest", false])), before);
    assert_eq!(balance(&node, dev_addresses()[0]), rich);
    assert_eq!(node.ask("eth_getCode", json!([contract, "latest"])), "0x");
    assert!(node.ask("eth_getBlockByHash", json!([lost, false])).is_null());
    for gone in ["0x1", "0x2", "0x7"] {
        assert_eq!(node.ask("evm_revert", json!([gone])), false, "{gone}");
    }

    // The same again: the code has to be written down again, whoever follows is told of the new blocks.
    let again = node.deploy(1, &code::store());
    assert_eq!(again, contract);
    let head = node.ask("eth_getBlockByNumber", json!(["latest", false]));
    assert!(quantity(&head["timestamp"]) < time + 500_000, "time went back too");
    assert_eq!(client.notification().1["hash"], head["hash"]);
    assert_eq!(node.ask("eth_getFilterChanges", json!([filter])), json!([head["hash"]]));
    let node = restarted(node);
    assert_eq!(node.ask("eth_getBlockByNumber", json!(["latest", false])), head);
    let runtime = alloy::primitives::Bytes::from(code::store());
    assert_eq!(node.ask("eth_getCode", json!([contract, "latest"])), json!(runtime));
    assert_eq!(node.ask("evm_revert", json!(["0x3"])), false, "a restart forgets checkpoints");
    node.stop();
}

#[test]
fn a_checkpoint_holds_longer_than_the_window_of_history() {
    let options = Options { history_blocks: 4, snapshot_every: 3, ..Options::default() };
    let genesis = tidemill_devnet::Genesis::dev(crate::node::BEGIN);
    let node = Node::with(genesis, options, ServeOptions::default());
    node.execute(&transfer(0, 7));
    let receiver = Address::repeat_byte(0x11);
    for _ in 0..3 {
        let checkpoint = node.ask("evm_snapshot", json!([]));
        for nonce in 1..20 {
            node.execute(&transfer(nonce, 1));
        }
        assert_eq!(balance(&node, receiver), "0x1a");
        assert_eq!(node.ask("evm_revert", json!([checkpoint])), true);
        assert_eq!((balance(&node, receiver), node.number()), (json!("0x7"), 1));
    }
    let node = restarted(node);
    assert_eq!((balance(&node, receiver), node.number()), (json!("0x7"), 1));
    node.stop();
}

#[test]
fn clients_speak_for_accounts_even_for_contracts() {
    let node = Node::dev();
    let (whale, receiver) = (Address::repeat_byte(0x3a), Address::repeat_byte(0x3b));
    let contract = node.deploy(0, &code::store());
    for from in [whale, contract] {
        let request = json!([{"from": from, "to": receiver, "value": "0x5", "gas": "0x5208"}]);
        assert!(node.refusal("eth_sendTransaction", request.clone()).1.contains("no key"));
        node.ask("hardhat_setBalance", json!([from, U256::from(10u64.pow(18))]));
        node.ask("hardhat_impersonateAccount", json!([from]));
        let receipt = send_as(&node, from, receiver);
        assert_eq!((&receipt["status"], &receipt["from"]), (&json!("0x1"), &json!(from)));
        assert_eq!(node.ask("hardhat_stopImpersonatingAccount", json!([from])), true);
        assert_eq!(node.ask("hardhat_stopImpersonatingAccount", json!([from])), false);
        assert!(node.refusal("eth_sendTransaction", request).1.contains("no key"));
    }
    assert_eq!(balance(&node, receiver), "0xa");
    let block = node.ask("eth_getBlockByNumber", json!(["latest", true]));
    let node = restarted(node);
    assert_eq!(node.ask("eth_getBlockByNumber", json!(["latest", true])), block, "with its sender");
    node.stop();
}

#[test]
fn blocks_come_at_an_interval_while_one_is_set() {
    let options = Options { mining: Mining::Never, ..Options::default() };
    let genesis = tidemill_devnet::Genesis::dev(crate::node::BEGIN);
    let node = Node::with(genesis, options, ServeOptions::default());
    let mut client = Client::connect(node.address());
    client.subscribe(json!(["newHeads"]));
    assert_eq!(node.ask("evm_setIntervalMining", json!([20])), true);
    assert_eq!(client.notification().1["number"], "0x1");
    assert_eq!(client.notification().1["number"], "0x2");
    // It goes on when transactions make no blocks, and ends when it is set to nothing.
    node.ask("evm_setAutomine", json!([false]));
    client.notification();
    node.ask("evm_setIntervalMining", json!([0]));
    let last = node.number();
    node.ask("evm_mine", json!([]));
    assert_eq!(node.number(), last + 1, "nothing else made a block");
    assert_eq!(node.refusal("anvil_setIntervalMining", json!([1_000_000_000])).0, -32602);
    node.stop();
}
