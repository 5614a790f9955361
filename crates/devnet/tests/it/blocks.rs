//! Blocks, transactions and receipts as clients see them.

use alloy::consensus::proofs::{calculate_receipt_root, calculate_transaction_root};
use alloy::consensus::{Header, TxEnvelope};
use alloy::eips::Decodable2718;
use alloy::primitives::{Address, B256, Bloom, Bytes, U256, keccak256};
use alloy::rpc::types::{Block, TransactionReceipt};
use serde_json::json;

use crate::code;
use crate::node::{Node, Tx, quantity, transfer};

#[test]
fn a_transaction_makes_a_block_at_once() {
    let node = Node::dev();
    let receipt = node.execute(&transfer(0, 5));
    assert_eq!((&receipt["status"], &receipt["gasUsed"]), (&json!("0x1"), &json!("0x5208")));
    assert_eq!(node.number(), 1);
    let balance = node.ask("eth_getBalance", json!([Address::repeat_byte(0x11), "latest"]));
    assert_eq!(balance, "0x5");
    let tx = node.ask("eth_getTransactionByHash", json!([receipt["transactionHash"]]));
    assert_eq!(
        (&tx["blockNumber"], &tx["type"], &tx["nonce"]),
        (&json!("0x1"), &json!("0x2"), &json!("0x0"))
    );
    assert_eq!(node.ask("eth_getTransactionByBlockNumberAndIndex", json!(["0x1", "0x0"])), tx);
    assert_eq!(node.ask("eth_getTransactionByBlockHashAndIndex", json!([tx["blockHash"], "0x0"])), tx);
    assert_eq!(node.ask("eth_getBlockTransactionCountByNumber", json!(["latest"])), "0x1");
    assert_eq!(node.ask("eth_getBlockReceipts", json!(["latest"])), json!([receipt]));
    assert_eq!(node.ask("eth_getTransactionReceipt", json!([B256::ZERO])), json!(null));
    assert_eq!(node.ask("eth_getBlockByNumber", json!(["0x2", false])), json!(null));
    node.stop();
}

#[test]
fn hashes_and_roots_are_those_of_ethereum() {
    let node = Node::dev();
    let contract = node.deploy(0, &code::store());
    node.ask("evm_setAutomine", json!([false]));
    let input: Bytes = [B256::repeat_byte(1), B256::repeat_byte(2)].concat().into();
    for nonce in 1..4 {
        node.send(&Tx { nonce, to: contract.into(), input: input.clone(), ..Tx::default() }.sign(0));
    }
    node.send(&Tx { value: U256::from(1), gas: 21_000, ..Tx::default() }.sign(1));
    node.ask("evm_mine", json!([]));

    let block: Block =
        serde_json::from_value(node.ask("eth_getBlockByNumber", json!(["latest", true]))).unwrap();
    let header: Header = block.header.inner.clone();
    assert_eq!(header.hash_slow(), block.header.hash);
    let raws = block.transactions.hashes().map(|hash| {
        let raw = node.ask("eth_getRawTransactionByHash", json!([hash]));
        let raw: Bytes = serde_json::from_value(raw).unwrap();
        assert_eq!(keccak256(&raw), hash);
        TxEnvelope::decode_2718(&mut raw.as_ref()).unwrap()
    });
    let txs: Vec<TxEnvelope> = raws.collect();
    assert_eq!(txs.len(), 4);
    assert_eq!(calculate_transaction_root(&txs), header.transactions_root);
    let receipts = node.ask("eth_getBlockReceipts", json!(["latest"]));
    let receipts: Vec<TransactionReceipt> = serde_json::from_value(receipts).unwrap();
    let inner: Vec<_> =
        receipts.iter().map(|receipt| receipt.inner.clone().into_primitives_receipt()).collect();
    assert_eq!(calculate_receipt_root(&inner), header.receipts_root);
    let last = receipts.last().unwrap();
    assert_eq!(last.inner.cumulative_gas_used(), header.gas_used);
    let indexes: Vec<_> =
        receipts.iter().flat_map(|receipt| receipt.logs()).map(|log| log.log_index).collect();
    assert_eq!(indexes, [Some(0), Some(1), Some(2)], "through the whole block");
    let blooms = inner.iter().fold(Bloom::ZERO, |bloom, receipt| bloom | *receipt.logs_bloom());
    assert_eq!(header.logs_bloom, blooms);
    node.stop();
}

#[test]
fn old_block_hashes_are_where_eip_2935_keeps_them() {
    let node = Node::dev();
    let asker = node.deploy(0, &code::ask_history());
    let opcode = node.deploy(1, &code::block_hash());
    node.ask("anvil_mine", json!(["0x105"]));
    let head = node.number();
    for number in [0, 1, head - 257, head - 256, head - 1] {
        let hash = node.ask("eth_getBlockByNumber", json!([format!("{number:#x}"), false]))["hash"].clone();
        let input = B256::from(U256::from(number));
        let answer = node.ask("eth_call", json!([{"to": asker, "input": input}, "latest"]));
        assert_eq!(answer, hash, "block {number} of {head}");
        let in_reach = head - number <= 256;
        let answer = node.ask("eth_call", json!([{"to": opcode, "input": input}, "latest"]));
        assert_eq!(answer, if in_reach { hash } else { json!(B256::ZERO) }, "block {number} of {head}");
    }
    node.stop();
}

#[test]
fn failed_transactions_pay_and_leave_nothing() {
    let node = Node::dev();
    let contract = node.deploy(0, &code::echo_revert());
    let before = node.ask("eth_getBalance", json!([contract, "latest"]));
    let call = Tx { nonce: 1, to: contract.into(), value: U256::from(7), ..Tx::default() };
    let receipt = node.execute(&call.sign(0));
    assert_eq!((&receipt["status"], &receipt["logs"]), (&json!("0x0"), &json!([])));
    assert!(quantity(&receipt["gasUsed"]) > 21_000);
    assert_eq!(node.ask("eth_getBalance", json!([contract, "latest"])), before);
    assert_eq!(quantity(&node.ask("eth_getTransactionCount", json!([receipt["from"], "latest"]))), 2);
    node.stop();
}

#[test]
fn timestamps_never_go_back() {
    let node = Node::dev();
    let mut times = Vec::new();
    for nonce in 0..4 {
        let receipt = node.execute(&transfer(nonce, 1));
        let block = node.ask("eth_getBlockByNumber", json!([receipt["blockNumber"], false]));
        times.push(quantity(&block["timestamp"]));
    }
    assert!(times.is_sorted(), "{times:?}");
    node.stop();
}
