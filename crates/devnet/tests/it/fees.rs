//! EIP-1559's base fee, and what clients are told about fees.

use alloy::primitives::U256;
use serde_json::json;
use tidemill_devnet::{Genesis, Options, ServeOptions};

use crate::code;
use crate::node::{BEGIN, Node, Tx, quantity, transfer};

/// The formula of EIP-1559, as its text has it.
fn next_base_fee(base_fee: u128, gas_used: u128, gas_limit: u128) -> u128 {
    let target = gas_limit / 2;
    if gas_used > target {
        base_fee + (base_fee * (gas_used - target) / target / 8).max(1)
    } else {
        base_fee - base_fee * (target - gas_used) / target / 8
    }
}

#[test]
fn the_base_fee_follows_the_formula() {
    let node = Node::dev();
    let burner = node.deploy(0, &code::forever());
    // Under, over, at the target, and nothing at all.
    for (nonce, gas) in [(1, 5_000_000), (2, 29_000_000), (3, 15_000_000), (4, 30_000_000)] {
        node.execute(&Tx { nonce, gas, to: burner.into(), ..Tx::default() }.sign(0));
        node.ask("evm_mine", json!([]));
    }
    let next = node.ask("eth_baseFee", json!([]));
    let history = node.ask("eth_feeHistory", json!(["0x9", "latest", []]));
    let fees: Vec<u128> =
        history["baseFeePerGas"].as_array().unwrap().iter().map(|fee| quantity(fee).into()).collect();
    assert_eq!(fees.last().copied(), Some(quantity(&next).into()));
    let blocks =
        (1..=9).map(|number| node.ask("eth_getBlockByNumber", json!([format!("{number:#x}"), false])));
    for (index, block) in blocks.enumerate() {
        let gas_used = quantity(&block["gasUsed"]).into();
        assert_eq!(fees[index], quantity(&block["baseFeePerGas"]).into());
        assert_eq!(fees[index + 1], next_base_fee(fees[index], gas_used, 30_000_000));
    }
    node.stop();
}

#[test]
fn the_base_fee_is_burned_and_the_tip_is_paid() {
    let coinbase = alloy::primitives::Address::repeat_byte(0xcb);
    let genesis = Genesis { coinbase, ..Genesis::dev(BEGIN) };
    let node = Node::with(genesis, Options::default(), ServeOptions::default());
    let receipt = node.execute(&transfer(0, 0));
    let price = quantity(&receipt["effectiveGasPrice"]);
    assert_eq!(price, 2_000_000_000, "the genesis's base fee and the tip");
    assert_eq!(quantity(&node.ask("eth_getBalance", json!([coinbase, "latest"]))), 21_000 * 1_000_000_000);
    let balance = node.ask("eth_getBalance", json!([receipt["from"], "latest"]));
    let balance: U256 = serde_json::from_value(balance).unwrap();
    let coins = U256::from(10_000) * U256::from(10).pow(U256::from(18));
    assert_eq!(coins - balance, U256::from(21_000 * price));
    node.stop();
}

#[test]
fn rewards_are_percentiles_of_gas() {
    let node = Node::dev();
    node.ask("evm_setAutomine", json!([false]));
    for (account, tip) in [(0, 1_000_000_000), (1, 2_000_000_000), (2, 3_000_000_000)] {
        node.send(&Tx { tip, gas: 21_000, ..Tx::default() }.sign(account));
    }
    node.ask("evm_mine", json!([]));
    let history = node.ask("eth_feeHistory", json!(["0x1", "latest", [0.0, 50.0, 100.0]]));
    assert_eq!(history["reward"], json!([["0x3b9aca00", "0x77359400", "0xb2d05e00"]]));
    assert_eq!(node.ask("eth_maxPriorityFeePerGas", json!([])), "0x77359400", "the median");
    let block = node.ask("eth_getBlockByNumber", json!(["latest", true]));
    let tips: Vec<_> =
        block["transactions"].as_array().unwrap().iter().map(|tx| &tx["maxPriorityFeePerGas"]).collect();
    assert_eq!(tips, ["0xb2d05e00", "0x77359400", "0x3b9aca00"], "the best first");
    for percentiles in [[50.0, 10.0], [50.0, 50.0]] {
        assert_eq!(node.refusal("eth_feeHistory", json!(["0x1", "latest", percentiles])).0, -32602);
    }
    // The pending block is the one after the head.
    node.send(&Tx { nonce: 1, tip: 5, gas: 21_000, ..Tx::default() }.sign(0));
    let pending = node.ask("eth_feeHistory", json!(["0x1", "pending", [50.0]]));
    let head = quantity(&node.ask("eth_blockNumber", json!([])));
    assert_eq!(quantity(&pending["oldestBlock"]), head + 1);
    assert_eq!(pending["reward"], json!([["0x5"]]));
    assert_eq!(pending["baseFeePerGas"][0], history["baseFeePerGas"][1]);
    let none = node.ask("eth_feeHistory", json!(["0x0", "latest", []]));
    assert_eq!((&none["oldestBlock"], &none["gasUsedRatio"]), (&json!("0x0"), &json!([])));
    node.stop();
}

#[test]
fn a_transaction_that_waits_for_the_base_fee_gets_its_turn() {
    let node = Node::dev();
    let burner = node.deploy(0, &code::forever());
    let base_fee = quantity(&node.ask("eth_feeHistory", json!(["0x1", "latest", []]))["baseFeePerGas"][1]);
    node.ask("evm_setAutomine", json!([false]));
    let waiting = Tx { cap: base_fee.into(), tip: 0, gas: 21_000, ..Tx::default() }.sign(1);
    let hash = node.send(&waiting);
    // A full block goes first, and the base fee rises above what the other pays.
    node.send(&Tx { nonce: 1, gas: 30_000_000, to: burner.into(), ..Tx::default() }.sign(0));
    node.ask("evm_mine", json!([]));
    assert_eq!(node.ask("eth_getTransactionReceipt", json!([hash])), json!(null));
    let mut heads = crate::websocket::Client::connect(node.address());
    heads.subscribe(json!(["newHeads"]));
    node.ask("evm_setAutomine", json!([true]));
    // Nothing else comes, and yet blocks do, until it is in one.
    while node.ask("eth_getTransactionReceipt", json!([hash])).is_null() {
        heads.notification();
    }
    node.stop();
}
