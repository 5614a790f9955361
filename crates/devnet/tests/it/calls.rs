//! `eth_call`, `eth_estimateGas`, and the state of past blocks.

use alloy::primitives::{B256, Bytes, U256};
use serde_json::json;
use tidemill_devnet::{Genesis, Options, ServeOptions};

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
