//! Connecting to nodes, and to what is none.

use tidemill_ledger::chain::{Chain, ChainError};

use crate::foundry::{Anvil, CHAIN_ID, rich, stranger};

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
