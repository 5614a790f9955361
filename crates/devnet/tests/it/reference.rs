//! The same requests to anvil and to the embedded ledger get the same answers.
//!
//! What must differ does: hashes of blocks (their state's commitment is of another kind), times, versions. Those
//! fields are left out before comparing, and the words of errors are compared without regard to case.

use std::net::SocketAddr;

use alloy::primitives::{Address, B256, Bytes, TxKind, U256};
use serde_json::{Value, json};

use crate::anvil::Anvil;
use crate::code;
use crate::http;
use crate::node::{Node, Tx};

/// A request of the script.
struct Step {
    name: &'static str,
    method: &'static str,
    params: Value,
}

fn step(name: &'static str, method: &'static str, params: Value) -> Step {
    Step { name, method, params }
}

/// Deploy, call, send, logs, replacement, revert.
fn script() -> Vec<Step> {
    let signers = tidemill_devnet::dev_addresses();
    let (first, second, stranger) = (signers[0], signers[1], Address::repeat_byte(0x77));
    let (store, reverter, forever) = (first.create(0), first.create(1), first.create(2));
    let deploy = |nonce, runtime: &[u8]| {
        Tx { nonce, to: TxKind::Create, input: code::init(runtime), ..Tx::default() }.sign(0)
    };
    let words: Bytes = [B256::repeat_byte(1), B256::repeat_byte(2)].concat().into();
    let write = Tx { nonce: 3, to: store.into(), input: words.clone(), ..Tx::default() }.sign(0);
    let error = code::solidity_error("not today");
    let panic: Bytes = [&[0x4e, 0x48, 0x7b, 0x71][..], &B256::with_last_byte(0x11)[..]].concat().into();
    let pay = |nonce, cap: u128, tip: u128| Tx {
        nonce,
        cap,
        tip,
        gas: 21_000,
        value: U256::from(9),
        to: stranger.into(),
        ..Tx::default()
    };
    let gwei = 1_000_000_000;
    let hash = |raw: &Bytes| alloy::primitives::keccak256(raw);
    let failing = Tx { nonce: 4, to: reverter.into(), input: error.clone(), ..Tx::default() }.sign(0);
    let cheap = pay(5, 20 * gwei, gwei).sign(0);
    let dear = pay(5, 30 * gwei, 2 * gwei).sign(0);
    let topic = B256::with_last_byte(7);
    vec![
        step("chain id", "eth_chainId", json!([])),
        step("network", "net_version", json!([])),
        step("listening", "net_listening", json!([])),
        step("syncing", "eth_syncing", json!([])),
        step("accounts", "eth_accounts", json!([])),
        step("hash", "web3_sha3", json!(["0x68656c6c6f"])),
        step("balance at first", "eth_getBalance", json!([first, "latest"])),
        step("genesis", "eth_getBlockByNumber", json!(["0x0", false])),
        step("fee at first", "eth_gasPrice", json!([])),
        step("tip", "eth_maxPriorityFeePerGas", json!([])),
        step(
            "estimate a deployment",
            "eth_estimateGas",
            json!([{"from": first, "data": code::init(&code::store())}]),
        ),
        step("deploy", "eth_sendRawTransaction", json!([deploy(0, &code::store())])),
        step("its receipt", "eth_getTransactionReceipt", json!([hash(&deploy(0, &code::store()))])),
        step("deploy the second", "eth_sendRawTransaction", json!([deploy(1, &code::echo_revert())])),
        step("deploy the third", "eth_sendRawTransaction", json!([deploy(2, &code::forever())])),
        step("code", "eth_getCode", json!([store, "latest"])),
        step("no code", "eth_getCode", json!([stranger, "latest"])),
        step("estimate a call", "eth_estimateGas", json!([{"from": first, "to": store, "data": words}])),
        step(
            "estimate a transfer",
            "eth_estimateGas",
            json!([{"from": first, "to": stranger, "value": "0x1"}]),
        ),
        step("write", "eth_sendRawTransaction", json!([write])),
        step("write's receipt", "eth_getTransactionReceipt", json!([hash(&write)])),
        step("write's transaction", "eth_getTransactionByHash", json!([hash(&write)])),
        step("write's block", "eth_getBlockByNumber", json!(["latest", false])),
        step("write's block, full", "eth_getBlockByNumber", json!(["0x4", true])),
        step("write's receipts", "eth_getBlockReceipts", json!(["0x4"])),
        step("count", "eth_getBlockTransactionCountByNumber", json!(["0x4"])),
        step("by index", "eth_getTransactionByBlockNumberAndIndex", json!(["0x4", "0x0"])),
        step("read", "eth_call", json!([{"to": store}, "latest"])),
        step("read before", "eth_call", json!([{"to": store}, "0x3"])),
        step("slot", "eth_getStorageAt", json!([store, "0x0", "latest"])),
        step("slot before", "eth_getStorageAt", json!([store, "0x0", "0x3"])),
        step("nonce", "eth_getTransactionCount", json!([first, "latest"])),
        step("nonce before", "eth_getTransactionCount", json!([first, "0x2"])),
        step("logs", "eth_getLogs", json!([{"fromBlock": "0x0", "toBlock": "latest", "address": store}])),
        step("logs by topic", "eth_getLogs", json!([{"fromBlock": "0x0", "topics": [null, topic]}])),
        step(
            "logs by topics",
            "eth_getLogs",
            json!([{"fromBlock": "0x0", "topics": [[B256::repeat_byte(9), B256::repeat_byte(1)]]}]),
        ),
        step("no logs", "eth_getLogs", json!([{"fromBlock": "0x0", "topics": [topic]}])),
        step(
            "overridden",
            "eth_call",
            json!([{"to": store}, "latest", {store.to_string(): {"stateDiff": {B256::ZERO.to_string(): B256::repeat_byte(5)}}}]),
        ),
        step("revert with reason", "eth_call", json!([{"to": reverter, "data": error}, "latest"])),
        step("revert with panic", "eth_call", json!([{"to": reverter, "data": panic}, "latest"])),
        step("revert with nothing", "eth_call", json!([{"to": reverter}, "latest"])),
        step("estimate a revert", "eth_estimateGas", json!([{"to": reverter, "data": error}])),
        step("send a revert", "eth_sendRawTransaction", json!([failing])),
        step("revert's receipt", "eth_getTransactionReceipt", json!([hash(&failing)])),
        step("no more blocks", "evm_setAutomine", json!([false])),
        step("cheap", "eth_sendRawTransaction", json!([cheap])),
        step("known", "eth_sendRawTransaction", json!([cheap])),
        step("waiting", "eth_getTransactionByHash", json!([hash(&cheap)])),
        step("no receipt", "eth_getTransactionReceipt", json!([hash(&cheap)])),
        step("pending nonce", "eth_getTransactionCount", json!([first, "pending"])),
        step("latest nonce", "eth_getTransactionCount", json!([first, "latest"])),
        step("underpriced", "eth_sendRawTransaction", json!([pay(5, 21 * gwei, gwei).sign(0)])),
        step("dear", "eth_sendRawTransaction", json!([dear])),
        step("mine", "evm_mine", json!([])),
        step("the dear one", "eth_getTransactionReceipt", json!([hash(&dear)])),
        step("the cheap one", "eth_getTransactionByHash", json!([hash(&cheap)])),
        step("more blocks", "evm_setAutomine", json!([true])),
        step("balance", "eth_getBalance", json!([stranger, "latest"])),
        step("balance of the sender", "eth_getBalance", json!([first, "latest"])),
        step("nonce too low", "eth_sendRawTransaction", json!([pay(0, 20 * gwei, gwei).sign(0)])),
        step(
            "too poor",
            "eth_sendRawTransaction",
            json!([Tx { value: U256::from(10).pow(U256::from(24)), gas: 21_000, ..Tx::default() }.sign(1)]),
        ),
        step(
            "too little gas",
            "eth_sendRawTransaction",
            json!([Tx { gas: 20_999, ..Tx::default() }.sign(1)]),
        ),
        step(
            "too low a fee",
            "eth_sendRawTransaction",
            json!([Tx { cap: 1, tip: 0, ..Tx::default() }.sign(1)]),
        ),
        step("another chain", "eth_sendRawTransaction", json!([Tx { chain_id: 1, ..Tx::default() }.sign(1)])),
        step("no transaction", "eth_sendRawTransaction", json!(["0x02c0"])),
        step("no such method", "eth_noSuchMethod", json!([])),
        step("bad parameters", "eth_getBalance", json!(["0x12"])),
        step(
            "sent by the node",
            "eth_sendTransaction",
            json!([{"from": second, "to": stranger, "value": "0x3", "gas": "0x5208"}]),
        ),
        step("balance after it", "eth_getBalance", json!([stranger, "latest"])),
        step(
            "unknown account",
            "eth_sendTransaction",
            json!([{"from": stranger, "to": first, "value": "0x3"}]),
        ),
        step("fees", "eth_feeHistory", json!(["0x3", "latest", [25.0, 75.0]])),
        step("future block", "eth_getBlockByNumber", json!(["0xffff", false])),
        step("future state", "eth_getBalance", json!([first, "0xffff"])),
        step("no filter", "eth_getFilterChanges", json!(["0x1234"])),
        step("no receipt", "eth_getTransactionReceipt", json!([B256::ZERO])),
        step("out of gas", "eth_call", json!([{"to": forever, "gas": "0x186a0"}, "latest"])),
        step(
            "too poor to call",
            "eth_call",
            json!([{"from": stranger, "to": first, "value": "0xffffffffff"}, "latest"]),
        ),
    ]
}

/// Fields that cannot be the same.
const DIFFERENT: [&str; 13] = [
    "hash",
    "parentHash",
    "stateRoot",
    "mixHash",
    "timestamp",
    "blockHash",
    "blockTimestamp",
    "receiptsRoot",
    "extraData",
    "size",
    "totalDifficulty",
    "nonce",
    // There are no blobs on the embedded ledger.
    "blobGasPrice",
];

/// Takes out of an answer what cannot be the same, and evens out how things are written.
fn comparable(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let is_block = fields.contains_key("stateRoot");
            let kept = fields.iter().filter(|(name, value)| {
                let different = DIFFERENT.contains(&name.as_str());
                // Of a transaction, the hash and the nonce must be the same.
                let own = !is_block && ["hash", "nonce"].contains(&name.as_str());
                (!different || own) && !value.is_null()
            });
            kept.map(|(name, value)| (name.clone(), comparable(value)))
                .collect::<serde_json::Map<_, _>>()
                .into()
        }
        Value::Array(items) => items.iter().map(comparable).collect(),
        other => other.clone(),
    }
}

/// Answers that are known to differ, and why that is right.
fn differs(name: &str) -> Option<&'static str> {
    Some(match name {
        "known" => "geth's words are \"already known\"",
        "underpriced" => "anvil takes any higher fee, geth asks for a tenth more",
        "waiting" => "anvil guesses the price of a transaction that waits, geth says its most",
        "no transaction" | "bad parameters" => "what a parser says is its own",
        "future state" => "geth's words are \"header not found\"",
        "out of gas" => "geth's words are \"out of gas\"",
        "unknown account" => "the words are our own",
        "sent by the node" => "each node chooses a fee, so the hashes differ; the balance after it does not",
        _ => return None,
    })
}

/// Errors are the same if ours says what anvil says, and maybe more; where geth has -32000, anvil has -32003.
fn is_same(theirs: &Value, ours: &Value) -> bool {
    let (Some(message), Some(our_message)) = (theirs["message"].as_str(), ours["message"].as_str()) else {
        return theirs == ours;
    };
    let code = |answer: &Value| if answer["code"] == -32003 { json!(-32000) } else { answer["code"].clone() };
    our_message.starts_with(message) && code(theirs) == code(ours) && theirs["data"] == ours["data"]
}

fn answer(address: SocketAddr, step: &Step) -> Value {
    let answer = http::call(address, step.method, step.params.clone());
    match answer.get("error") {
        Some(error) => json!({
            "code": error["code"],
            "message": error["message"].as_str().unwrap_or_default().to_lowercase(),
            "data": error.get("data"),
        }),
        None => comparable(&answer["result"]),
    }
}

/// Waits until a transaction that was sent is mined: neither node says so in its answer.
fn settle(address: SocketAddr, step: &Step, answer: &Value) {
    while step.method.starts_with("eth_send") && answer.is_string() {
        let receipt = http::call(address, "eth_getTransactionReceipt", json!([answer]));
        if !receipt["result"].is_null() {
            return;
        }
        std::thread::yield_now();
    }
}

#[test]
fn the_same_script_gets_the_same_answers() {
    let anvil = Anvil::spawn();
    let node = Node::dev();
    let (mut wrong, mut is_mining) = (Vec::new(), true);
    for step in script() {
        let (theirs, ours) = (answer(anvil.address, &step), answer(node.address(), &step));
        if step.method == "evm_setAutomine" {
            is_mining = step.params == json!([true]);
        }
        if is_mining {
            settle(anvil.address, &step, &theirs);
            settle(node.address(), &step, &ours);
        }
        if !is_same(&theirs, &ours) && differs(step.name).is_none() {
            wrong.push(format!("{} ({})\n  anvil: {theirs}\n  ours:  {ours}", step.name, step.method));
        }
    }
    node.stop();
    assert!(wrong.is_empty(), "{} answers differ:\n{}", wrong.len(), wrong.join("\n"));
}
