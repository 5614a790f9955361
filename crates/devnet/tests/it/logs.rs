//! Logs by address, topics and range, and filters that are polled.

use alloy::primitives::{B256, Bytes};
use serde_json::{Value, json};
use tidemill_devnet::{Genesis, Options, ServeOptions};

use crate::code;
use crate::node::{BEGIN, Node, Tx, transfer};

/// Writes `word`, which is then the log's first topic.
fn write(node: &Node, contract: alloy::primitives::Address, nonce: u64, word: u8) -> Value {
    let input: Bytes = [B256::repeat_byte(word), B256::repeat_byte(2)].concat().into();
    node.execute(&Tx { nonce, to: contract.into(), input, ..Tx::default() }.sign(0))
}

#[test]
fn filters_by_address_topics_and_range() {
    let node = Node::dev();
    let (one, two) = (node.deploy(0, &code::store()), node.deploy(1, &code::store()));
    let mut receipts = Vec::new();
    for (nonce, (contract, word)) in [(one, 1), (two, 1), (one, 3), (two, 4)].into_iter().enumerate() {
        receipts.push(write(&node, contract, nonce as u64 + 2, word));
    }
    let topic = B256::repeat_byte;
    let count = |filter: Value| node.ask("eth_getLogs", json!([filter])).as_array().unwrap().len();
    for (filter, expected) in [
        (json!({"fromBlock": "0x0"}), 4),
        (json!({"fromBlock": "0x0", "address": one}), 2),
        (json!({"fromBlock": "0x0", "address": [one, two]}), 4),
        (json!({"fromBlock": "0x0", "topics": [topic(1)]}), 2),
        (json!({"fromBlock": "0x0", "topics": [[topic(3), topic(4)]]}), 2),
        (json!({"fromBlock": "0x0", "topics": [null, B256::with_last_byte(7)]}), 4),
        (json!({"fromBlock": "0x0", "topics": [topic(1), B256::with_last_byte(8)]}), 0),
        (json!({"fromBlock": "0x0", "topics": [null, null, topic(1)]}), 0),
        (json!({"fromBlock": "0x3", "toBlock": "0x4"}), 2),
        (json!({}), 1),
        (json!({"blockHash": receipts[0]["blockHash"]}), 1),
    ] {
        assert_eq!(count(filter.clone()), expected, "{filter}");
    }
    assert_eq!(node.refusal("eth_getLogs", json!([{"fromBlock": "0x4", "toBlock": "0x3"}])).0, -32602);
    assert_eq!(node.refusal("eth_newFilter", json!([{"fromBlock": "0x4", "toBlock": "0x3"}])).0, -32602);
    for range in [json!({"fromBlock": "pending"}), json!({"fromBlock": "0x1", "toBlock": "pending"})] {
        assert_eq!(node.refusal("eth_getLogs", json!([range])).0, -32602);
    }
    assert_eq!(node.refusal("eth_getLogs", json!([{"blockHash": B256::ZERO}])).1, "unknown block");
    // There may be logs later, so none is no answer now.
    for (from, to) in [("0x64", "0x65"), ("0x1", "0x65"), ("0x1", "0xffffffffffffffff")] {
        let range = json!([{"fromBlock": from, "toBlock": to}]);
        let beyond = (-32602, "block range extends beyond current head block".to_owned());
        assert_eq!(node.refusal("eth_getLogs", range.clone()), beyond);
        let filter = node.ask("eth_newFilter", range);
        assert_eq!(
            node.ask("eth_getFilterChanges", json!([filter])),
            json!([]),
            "a filter may wait for them"
        );
        assert_eq!(node.refusal("eth_getFilterLogs", json!([filter])), beyond);
    }
    node.stop();
}

#[test]
fn polled_filters_tell_everything_once() {
    let node = Node::dev();
    let contract = node.deploy(0, &code::store());
    let logs = node.ask("eth_newFilter", json!([{"address": contract}]));
    let blocks = node.ask("eth_newBlockFilter", json!([]));
    let pending = node.ask("eth_newPendingTransactionFilter", json!([]));
    let receipts = [write(&node, contract, 1, 1), write(&node, contract, 2, 2)];
    let poll = |id: &Value| node.ask("eth_getFilterChanges", json!([id]));
    let both = |field: &str| json!([receipts[0][field], receipts[1][field]]);
    assert_eq!(poll(&logs), json!([receipts[0]["logs"][0], receipts[1]["logs"][0]]));
    assert_eq!(poll(&blocks), both("blockHash"));
    assert_eq!(poll(&pending), both("transactionHash"));
    for id in [&logs, &blocks, &pending] {
        assert_eq!(poll(id), json!([]));
    }
    let receipt = write(&node, contract, 3, 3);
    assert_eq!(poll(&logs), receipt["logs"]);
    let all = node.ask("eth_getFilterLogs", json!([logs]));
    assert_eq!(all, receipt["logs"], "from and to are the latest block");
    assert_eq!(node.ask("eth_uninstallFilter", json!([logs])), true);
    assert_eq!(node.ask("eth_uninstallFilter", json!([logs])), false);
    assert_eq!(node.refusal("eth_getFilterChanges", json!([logs])), (-32000, "filter not found".to_string()));
    node.stop();
}

#[test]
fn answers_and_filters_are_bounded() {
    let serve = ServeOptions { max_logs: 2, max_filters: 2, ..ServeOptions::default() };
    let node = Node::with(Genesis::dev(BEGIN), Options::default(), serve);
    let contract = node.deploy(0, &code::store());
    for nonce in 1..4 {
        write(&node, contract, nonce, 1);
    }
    let (code, message) = node.refusal("eth_getLogs", json!([{"fromBlock": "0x0"}]));
    assert_eq!(code, -32005);
    assert!(message.starts_with("query returned more than 2 results"), "{message}");
    node.ask("eth_newBlockFilter", json!([]));
    node.ask("eth_newBlockFilter", json!([]));
    assert_eq!(node.refusal("eth_newBlockFilter", json!([])).0, -32005);
    node.execute(&transfer(4, 1));
    node.stop();
}
