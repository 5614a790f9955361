//! Connecting to nodes, and to what is none.

use serde_json::{Value, json};
use tidemill_ledger::{
    B256,
    chain::{Chain, ChainError},
};

use crate::{
    fake,
    foundry::{Anvil, CHAIN_ID, rich, stranger},
};

#[tokio::test]
async fn a_node_says_which_chain_it_is_of() {
    let anvil = Anvil::start();
    let chain = Chain::connect(anvil.url(), None).await.expect("it answers");
    assert_eq!(chain.chain_id(), CHAIN_ID);
    assert!(!chain.balance(rich().address()).await.expect("it answers").is_zero());
    assert!(chain.balance(stranger(9)).await.expect("it answers").is_zero());
    let error = Chain::connect(anvil.url(), Some(1)).await.expect_err("it is another chain");
    assert!(matches!(error, ChainError::OtherChain { found: CHAIN_ID, expected: 1, .. }), "{error}");
    assert!(!error.is_retryable());
}

#[tokio::test]
async fn what_is_no_address_is_told_from_a_node_that_is_down() {
    for bad in ["", "8545", "ftp://127.0.0.1", "http://", "ws://127.0.0.1:1"] {
        let error = Chain::connect(bad, None).await.expect_err(bad);
        assert!(matches!(error, ChainError::BadUrl { .. }), "{bad}: {error}");
    }
    // A port that was free a moment ago, and a secret that no error may show.
    let free =
        std::net::TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port");
    let error = Chain::connect(&format!("http://{free}/secret"), None).await.expect_err("nobody listens");
    assert!(error.is_retryable(), "{error}");
    assert!(!format!("{error} {error:?}").contains("secret"), "{error:?}");
}

/// A node of a chain with this head, where account 9 has a thousand coins and as many more as the block's number is.
fn honest(head: u64) -> impl Fn(&str, &Value) -> Value + Send + 'static {
    move |method, parameters| match method {
        "eth_chainId" => json!("0x7"),
        "eth_blockNumber" => json!(format!("{head:#x}")),
        "eth_getBlockByNumber" => block(),
        "eth_getBalance" => {
            let block = parameters[1].as_str().expect("a block").trim_start_matches("0x");
            let number = u64::from_str_radix(block, 16).expect("the number of a block that both have");
            json!(format!("{:#x}", 1_000 + number))
        }
        _ => Value::Null,
    }
}

/// The first block.
fn block() -> Value {
    let zeros = |bytes: usize| format!("0x{}", "00".repeat(bytes));
    json!({
        "hash": zeros(32), "parentHash": zeros(32), "sha3Uncles": zeros(32), "miner": zeros(20),
        "stateRoot": zeros(32), "transactionsRoot": zeros(32), "receiptsRoot": zeros(32),
        "logsBloom": zeros(256), "difficulty": "0x0", "number": "0x0", "gasLimit": "0x1", "gasUsed": "0x0",
        "timestamp": "0x1", "extraData": "0x", "mixHash": zeros(32), "nonce": zeros(8),
        "transactions": [], "uncles": [],
    })
}

/// The same node, with another answer to one method.
fn but(
    honest: impl Fn(&str, &Value) -> Value + Send + 'static,
    lie: (&'static str, Value),
) -> impl Fn(&str, &Value) -> Value + Send + 'static {
    move |method, parameters| if method == lie.0 { lie.1.clone() } else { honest(method, parameters) }
}

#[tokio::test]
async fn an_answer_without_end_is_cut_short() {
    let error = Chain::connect(&fake::endless(), None).await.expect_err("it is no answer");
    assert!(
        matches!(&error, ChainError::Nonsense { reason, .. } if reason.contains("longer than")),
        "{error}"
    );
    assert!(!error.is_retryable());
}

#[tokio::test]
async fn a_chain_without_end_is_not_read() {
    let url = fake::node(but(honest(0), ("eth_blockNumber", json!("0xffffffffffffffff"))));
    let chain = Chain::connect(&url, None).await.expect("it answers");
    let error = chain.head().await.expect_err("there are no such blocks");
    assert!(matches!(error, ChainError::Nonsense { .. }), "{error}");
}

#[tokio::test]
async fn two_nodes_are_asked_about_a_block_that_both_have() {
    let (ahead, behind) = (fake::node(honest(10)), fake::node(honest(9)));
    let chain = Chain::connect_to_two(&ahead, &behind, Some(7)).await.expect("they agree");
    assert_eq!(chain.head().await.expect("they answer"), 9);
    assert_eq!(chain.balance(stranger(9)).await.expect("they answer").wei(), 1_009);
}

#[tokio::test]
async fn a_node_that_contradicts_the_other_is_not_believed() {
    let told = fake::node(but(honest(10), ("eth_getBalance", json!("0xffffff"))));
    let (first, second) = (fake::node(honest(10)), told);
    for (one, other) in [(&first, &second), (&second, &first)] {
        let chain = Chain::connect_to_two(one, other, None).await.expect("they are of one chain");
        let error = chain.balance(stranger(9)).await.expect_err("one of them lies");
        assert!(
            matches!(&error, ChainError::Disagreement(found) if found.method == "eth_getBalance"),
            "{error}"
        );
        let words = error.to_string();
        assert!(words.contains(one.as_str()) && words.contains(other.as_str()), "{words}");
    }
    let stuck = fake::node(honest(1_000));
    let chain = Chain::connect_to_two(&first, &stuck, None).await.expect("they are of one chain");
    let error = chain.head().await.expect_err("one of them is far behind");
    assert!(matches!(error, ChainError::Disagreement(_)), "{error}");
    let elsewhere = fake::node(but(honest(10), ("eth_chainId", json!("0x8"))));
    let error = Chain::connect_to_two(&first, &elsewhere, None).await.expect_err("they are of two chains");
    assert!(matches!(error, ChainError::Disagreement(_)), "{error}");
}

#[tokio::test]
async fn what_one_node_alone_has_seen_has_not_happened() {
    let receipt = json!({
        "transactionHash": B256::repeat_byte(1), "transactionIndex": "0x0", "blockHash": B256::repeat_byte(2),
        "blockNumber": "0x5", "from": stranger(1), "to": stranger(2), "cumulativeGasUsed": "0x1", "gasUsed": "0x1",
        "effectiveGasPrice": "0x1", "contractAddress": null, "logs": [], "status": "0x1", "type": "0x2",
        "logsBloom": format!("0x{}", "00".repeat(256)),
    });
    let invented = fake::node(but(honest(10), ("eth_getTransactionReceipt", receipt.clone())));
    let alone = Chain::connect(&invented, None).await.expect("it answers");
    assert!(alone.receipt(B256::repeat_byte(1)).await.expect("it answers").is_some());
    let other = fake::node(honest(10));
    let chain = Chain::connect_to_two(&invented, &other, None).await.expect("they are of one chain");
    assert_eq!(chain.receipt(B256::repeat_byte(1)).await.expect("they answer"), None);
    let both = fake::node(but(honest(10), ("eth_getTransactionReceipt", receipt)));
    let chain = Chain::connect_to_two(&invented, &both, None).await.expect("they are of one chain");
    assert!(chain.receipt(B256::repeat_byte(1)).await.expect("they answer").is_some());
}
