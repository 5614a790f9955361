//! `eth_call`, `eth_estimateGas`, and the state of past blocks.

use alloy::primitives::{Address, B256, Bytes, U256};
use serde_json::json;
use tidemill_devnet::{Genesis, Options, ServeOptions, dev_addresses};

use crate::code;
use crate::node::{BEGIN, Node, Tx, quantity, transfer};

fn words(first: u8) -> Bytes {
    [B256::with_last_byte(first), B256::repeat_byte(2)].concat().into()
}

#[test]
fn the_state_of_recent_blocks_can_be_asked_for() {
    let options = Options { history_blocks: 8, ..Options::default() };
    let node = Node::with(Genesis::dev(BEGIN), options, ServeOptions::default());
    let contract = node.deploy(0, &code::store());
    for nonce in 1..=20 {
        let write = Tx { nonce, to: contract.into(), input: words(nonce as u8), ..Tx::default() };
        assert_eq!(node.execute(&write.sign(0))["status"], "0x1");
    }
    // Block 1 has the deployment, block n + 1 wrote n.
    let head = node.number();
    assert_eq!(head, 21);
    for number in head - 7..=head {
        let tag = format!("{number:#x}");
        let expected = B256::from(U256::from(number - 1));
        assert_eq!(node.ask("eth_call", json!([{"to": contract}, tag])), json!(expected));
        assert_eq!(node.ask("eth_getStorageAt", json!([contract, "0x0", tag])), json!(expected));
        let hash = node.ask("eth_getBlockByNumber", json!([tag, false]))["hash"].clone();
        assert_eq!(node.ask("eth_call", json!([{"to": contract}, {"blockHash": hash}])), json!(expected));
    }
    for tag in ["latest", "pending", "safe", "finalized"] {
        assert_eq!(quantity(&node.ask("eth_call", json!([{"to": contract}, tag]))), 20, "{tag}");
    }
    let (code, message) = node.refusal("eth_call", json!([{"to": contract}, "0x5"]));
    assert_eq!(code, -32000);
    assert!(message.contains("state at block 5 is not kept: only that of blocks 13 and later"), "{message}");
    assert_eq!(node.refusal("eth_getBalance", json!([contract, "0x16"])).1, "header not found");
    // What is in blocks is there for ever.
    assert_eq!(node.ask("eth_getBlockByNumber", json!(["earliest", false]))["number"], "0x0");
    node.stop();
}

#[test]
fn reverts_carry_their_data_and_say_their_reason() {
    let node = Node::dev();
    let contract = node.deploy(0, &code::echo_revert());
    let custom = Bytes::from_static(&[0xde, 0xad, 0xbe, 0xef]);
    for (data, message) in [
        (code::solidity_error("not enough"), "execution reverted: not enough"),
        (custom, "execution reverted"),
        (Bytes::new(), "execution reverted"),
    ] {
        for method in ["eth_call", "eth_estimateGas"] {
            let answer = crate::http::call(node.address(), method, json!([{"to": contract, "input": data}]));
            assert_eq!(answer["error"], json!({"code": 3, "message": message, "data": data}), "{method}");
        }
    }
    node.stop();
}

#[test]
fn an_estimate_is_just_enough() {
    let node = Node::dev();
    let contract = node.deploy(0, &code::store());
    let call = json!({"to": contract, "input": words(9), "from": tidemill_devnet::dev_addresses()[0]});
    let gas = quantity(&node.ask("eth_estimateGas", json!([call])));
    let with = |nonce, gas| Tx { nonce, gas, to: contract.into(), input: words(9), ..Tx::default() }.sign(0);
    assert_eq!(node.execute(&with(1, gas - 1))["status"], "0x0");
    assert_eq!(node.execute(&with(2, gas))["status"], "0x1");
    node.stop();
}

#[test]
fn calls_on_another_state() {
    let node = Node::dev();
    let contract = node.deploy(0, &code::store());
    node.execute(&Tx { nonce: 1, to: contract.into(), input: words(9), ..Tx::default() }.sign(0));
    let elsewhere = "0x00000000000000000000000000000000000000aa";
    let code: Bytes = code::store().into();
    let zero = B256::ZERO.to_string();
    let answer = node.ask("eth_call", json!([{"to": elsewhere}, "latest", {elsewhere: {"code": code}}]));
    assert_eq!(quantity(&answer), 0);
    let diff = json!({contract.to_string(): {"stateDiff": {&zero: B256::with_last_byte(5)}}});
    assert_eq!(quantity(&node.ask("eth_call", json!([{"to": contract}, "latest", diff]))), 5);
    let replaced = json!({contract.to_string(): {"state": {}}});
    assert_eq!(quantity(&node.ask("eth_call", json!([{"to": contract}, "latest", replaced]))), 0);
    let rich = json!({elsewhere: {"balance": "0x64"}});
    let pay = json!({"from": elsewhere, "to": "0x00000000000000000000000000000000000000bb", "value": "0x64"});
    assert_eq!(node.ask("eth_call", json!([pay, "latest", rich])), "0x");
    let (code, message) = node.refusal("eth_call", json!([pay, "latest"]));
    assert_eq!(code, -32000);
    assert!(message.starts_with("insufficient funds for gas * price + value"), "{message}");
    node.stop();
}

#[test]
fn access_lists_name_what_is_touched() {
    let node = Node::dev();
    let contract = node.deploy(0, &code::store());
    let list = node.ask("eth_createAccessList", json!([{"to": contract, "input": words(9)}]));
    let expected = json!([{"address": contract, "storageKeys": [B256::ZERO]}]);
    assert_eq!(
        list["accessList"],
        json!(serde_json::from_value::<alloy::rpc::types::AccessList>(expected).unwrap())
    );
    assert!(list.get("error").is_none() && quantity(&list["gasUsed"]) > 21_000);
    node.stop();
}

#[test]
fn a_call_sees_the_block_that_it_is_made_at() {
    let node = Node::dev();
    node.execute(&transfer(0, 1));
    node.ask("evm_increaseTime", json!([1_000_000]));
    // TIMESTAMP PUSH0 MSTORE PUSH1 32 PUSH0 RETURN
    let clock = json!({"data": "0x425f5260205ff3"});
    let latest = quantity(&node.ask("eth_getBlockByNumber", json!(["latest", false]))["timestamp"]);
    assert_eq!(quantity(&node.ask("eth_call", json!([clock, "latest"]))), latest);
    assert!(quantity(&node.ask("eth_call", json!([clock, "pending"]))) >= latest + 1_000_000);
    node.stop();
}

/// The operation's word, returned: OP PUSH0 MSTORE PUSH1 32 PUSH0 RETURN
fn word_of(operation: u8) -> Bytes {
    Bytes::from(vec![operation, 0x5f, 0x52, 0x60, 0x20, 0x5f, 0xf3])
}

#[test]
fn a_call_may_be_told_another_block_and_other_accounts() {
    let node = Node::dev();
    let other = json!({
        "number": "0x123456", "time": "0x77359400", "gasLimit": "0x1c9c380",
        "feeRecipient": Address::repeat_byte(7), "prevRandao": B256::repeat_byte(8), "baseFeePerGas": "0x9",
    });
    let (number, time, gas_limit, coinbase, randao, base_fee) = (0x43, 0x42, 0x45, 0x41, 0x44, 0x48);
    for (operation, expected) in [
        (number, U256::from(0x123456)),
        (time, U256::from(2_000_000_000)),
        (gas_limit, U256::from(30_000_000)),
        (coinbase, U256::from_be_slice(&[7; 20])),
        (randao, U256::from_be_slice(&[8; 32])),
    ] {
        let call = json!([{"data": word_of(operation)}, "latest", {}, other]);
        assert_eq!(node.ask("eth_call", call), json!(B256::from(expected)), "{operation:#x}");
    }
    // Without a price, a call sees no base fee, whatever it is said to be.
    let priced = json!([
        {"data": word_of(base_fee), "gasPrice": "0x9", "from": dev_addresses()[0]}, "latest", {}, other
    ]);
    assert_eq!(node.ask("eth_call", priced), json!(B256::with_last_byte(9)));

    // At block 9 it jumps over an SLOAD.
    let at_nine = Bytes::from_static(&[0x43, 0x60, 9, 0x14, 0x60, 9, 0x57, 0x5f, 0x54, 0x5b, 0x00]);
    let estimate = |number: &str| {
        let block = json!({"number": number});
        node.ask("eth_estimateGas", json!([{"data": at_nine}, "latest", {}, block]))
    };
    assert_ne!(estimate("0x9"), estimate("0x8"));

    let place = Address::repeat_byte(0x12);
    // PUSH0 SLOAD PUSH0 MSTORE
    let reads = json!({place.to_string(): {"code": "0x5f545f52"}});
    let list = node.ask("eth_createAccessList", json!([{"to": place}, "latest", reads]));
    assert_eq!(list["accessList"][0]["storageKeys"], json!([B256::ZERO]));
    node.stop();
}

#[test]
fn what_a_call_does_not_know_it_refuses() {
    let node = Node::dev();
    let call = json!({"data": "0x"});
    for (method, params) in [
        ("eth_call", json!([call, "latest", {}, {"nonsense": 1}])),
        ("eth_call", json!([call, "latest", {}, {}, {}])),
        ("eth_estimateGas", json!([call, "latest", {}, {"blobBaseFee": "0x1"}])),
        ("eth_createAccessList", json!([call, "latest", {}, {}])),
    ] {
        assert_eq!(node.refusal(method, params.clone()).0, -32602, "{method} {params}");
    }
    node.stop();
}

#[test]
fn the_pending_block_has_what_waits() {
    let node = Node::dev();
    node.execute(&transfer(0, 1));
    node.ask("evm_setAutomine", json!([false]));
    let to = Address::repeat_byte(0x11);
    let hash = node.send(&transfer(1, 5));
    let head = node.ask("eth_getBlockByNumber", json!(["latest", false]));
    for full in [false, true] {
        let pending = node.ask("eth_getBlockByNumber", json!(["pending", full]));
        assert_eq!(quantity(&pending["number"]), quantity(&head["number"]) + 1);
        assert_eq!(pending["parentHash"], head["hash"]);
        let tx = &pending["transactions"][0];
        assert_eq!(if full { &tx["hash"] } else { tx }, &json!(hash));
    }
    assert_eq!(node.ask("eth_getBlockTransactionCountByNumber", json!(["pending"])), "0x1");
    let at = json!(["pending", "0x0"]);
    assert_eq!(node.ask("eth_getTransactionByBlockNumberAndIndex", at)["hash"], json!(hash));
    assert_eq!(node.ask("eth_getBlockReceipts", json!(["pending"]))[0]["transactionHash"], json!(hash));
    let balance = |tag: &str| quantity(&node.ask("eth_getBalance", json!([to, tag])));
    assert_eq!((balance("latest"), balance("pending")), (1, 6));
    assert_eq!(node.ask("eth_getTransactionReceipt", json!([hash])), json!(null), "it is not mined");
    // NUMBER: a call at the pending block is in the same block.
    let number = node.ask("eth_call", json!([{"data": word_of(0x43)}, "pending"]));
    assert_eq!(quantity(&number), quantity(&head["number"]) + 1);
    node.ask("evm_mine", json!([]));
    let empty = node.ask("eth_getBlockByNumber", json!(["pending", false]));
    assert_eq!((quantity(&empty["number"]), &empty["transactions"]), (3, &json!([])));
    assert_eq!((balance("latest"), balance("pending")), (6, 6));
    node.stop();
}
