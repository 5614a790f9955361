//! What the pool takes, and in which words it refuses.

use alloy::consensus::{SignableTransaction, TxEnvelope, TxLegacy};
use alloy::eips::Encodable2718;
use alloy::network::TxSignerSync;
use alloy::primitives::{Address, Bytes, U256};
use serde_json::json;
use tidemill_devnet::{Genesis, Options, PoolLimits, ServeOptions, dev_addresses, dev_signers};

use crate::node::{BEGIN, Node, Tx, quantity, transfer};

#[test]
fn refusals_have_geths_words() {
    let node = Node::dev();
    node.execute(&transfer(0, 1));
    node.ask("evm_setAutomine", json!([false]));
    let waiting = Tx { nonce: 1, ..Tx::default() };
    node.send(&waiting.sign(0));
    let blob = Bytes::from_static(&[3, 0xc0]);
    let long = Tx { nonce: 2, gas: 30_000_000, input: vec![0; 200_000].into(), ..Tx::default() };
    let ordinary = Tx { nonce: 2, ..Tx::default() };
    for (raw, words) in [
        (transfer(0, 1), "nonce too low"),
        (waiting.sign(0), "already known"),
        (Tx { cap: 10_500_000_000, ..waiting.clone() }.sign(0), "replacement transaction underpriced"),
        (
            Tx { value: U256::from(10).pow(U256::from(24)), ..ordinary.clone() }.sign(0),
            "insufficient funds for gas * price + value",
        ),
        (Tx { gas: 20_000, ..ordinary.clone() }.sign(0), "intrinsic gas too low"),
        (Tx { gas: 40_000_000, ..ordinary.clone() }.sign(0), "exceeds block gas limit"),
        (Tx { cap: 5, tip: 0, ..ordinary.clone() }.sign(0), "max fee per gas less than block base fee"),
        (
            Tx { cap: 5, tip: 6, ..ordinary.clone() }.sign(0),
            "max priority fee per gas higher than max fee per gas",
        ),
        (Tx { chain_id: 5, ..ordinary.clone() }.sign(0), "invalid chain id for signer: have 5 want 31337"),
        (long.sign(0), "oversized data"),
        (blob, "transaction type not supported: this ledger takes no blob transactions"),
        (Bytes::from_static(b"hello"), "failed to decode signed transaction"),
        (unprotected(), "only replay-protected (EIP-155) transactions allowed over RPC"),
    ] {
        let (code, message) = node.refusal("eth_sendRawTransaction", json!([raw]));
        assert_eq!(code, -32000, "{message}");
        assert!(message.starts_with(words), "{message:?} is not {words:?}");
    }
    node.stop();
}

#[test]
fn a_better_offer_replaces_and_only_it_is_mined() {
    let node = Node::dev();
    node.ask("evm_setAutomine", json!([false]));
    let first = node.send(&Tx { value: U256::from(1), ..Tx::default() }.sign(0));
    let better = Tx { value: U256::from(2), cap: 11_000_000_000, tip: 1_100_000_000, ..Tx::default() };
    let second = node.send(&better.sign(0));
    assert_eq!(node.ask("eth_getTransactionByHash", json!([first])), json!(null));
    let waiting = node.ask("eth_getTransactionByHash", json!([second]));
    assert!(waiting["blockHash"].is_null() && waiting["value"] == "0x2");
    node.ask("evm_mine", json!([]));
    assert_eq!(node.ask("eth_getTransactionReceipt", json!([second]))["status"], "0x1");
    assert_eq!(node.ask("eth_getTransactionReceipt", json!([first])), json!(null));
    node.stop();
}

#[test]
fn a_gap_waits_until_it_is_closed() {
    let node = Node::dev();
    let hashes: Vec<_> = [2, 1].map(|nonce| node.send(&transfer(nonce, 1))).into();
    let count = |tag: &str| quantity(&node.ask("eth_getTransactionCount", json!([dev_addresses()[0], tag])));
    assert_eq!((node.number(), count("pending")), (0, 0));
    node.execute(&transfer(0, 1));
    for hash in hashes {
        assert_eq!(node.ask("eth_getTransactionReceipt", json!([hash]))["status"], "0x1");
    }
    assert_eq!((count("latest"), count("pending")), (3, 3));
    node.stop();
}

#[test]
fn every_type_of_transaction_but_blobs() {
    let node = Node::dev();
    let signer = &dev_signers()[0];
    let mut legacy = TxLegacy {
        chain_id: Some(31337),
        gas_price: 2_000_000_000,
        gas_limit: 21_000,
        to: Address::repeat_byte(1).into(),
        ..TxLegacy::default()
    };
    let signature = signer.sign_transaction_sync(&mut legacy).unwrap();
    let raw: Bytes = TxEnvelope::from(legacy.into_signed(signature)).encoded_2718().into();
    assert_eq!(node.execute(&raw)["type"], "0x0");
    let mut list = alloy::consensus::TxEip2930 {
        chain_id: 31337,
        nonce: 1,
        gas_price: 2_000_000_000,
        gas_limit: 30_000,
        to: Address::repeat_byte(1).into(),
        ..Default::default()
    };
    let signature = signer.sign_transaction_sync(&mut list).unwrap();
    let raw: Bytes = TxEnvelope::from(list.into_signed(signature)).encoded_2718().into();
    assert_eq!(node.execute(&raw)["type"], "0x1");

    // EIP-7702: the second account delegates to a contract, and is one from then on.
    let contract = node.deploy(2, &crate::code::store());
    let authority = &dev_signers()[1];
    let authorization =
        alloy::eips::eip7702::Authorization { chain_id: U256::from(31337), address: contract, nonce: 0 };
    let signed =
        alloy::signers::SignerSync::sign_hash_sync(authority, &authorization.signature_hash()).unwrap();
    let mut set_code = alloy::consensus::TxEip7702 {
        chain_id: 31337,
        nonce: 3,
        gas_limit: 100_000,
        max_fee_per_gas: 10_000_000_000,
        max_priority_fee_per_gas: 1,
        to: Address::repeat_byte(1),
        authorization_list: vec![authorization.into_signed(signed)],
        ..Default::default()
    };
    let signature = signer.sign_transaction_sync(&mut set_code).unwrap();
    let raw: Bytes = TxEnvelope::from(set_code.into_signed(signature)).encoded_2718().into();
    let receipt = node.execute(&raw);
    assert_eq!((&receipt["type"], &receipt["status"]), (&json!("0x4"), &json!("0x1")));
    let code = node.ask("eth_getCode", json!([authority.address(), "latest"]));
    assert_eq!(code, json!(Bytes::from([&[0xef, 0x01, 0x00], contract.as_slice()].concat())));
    // An account that delegates still sends.
    assert_eq!(node.execute(&Tx { nonce: 1, ..Tx::default() }.sign(1))["status"], "0x1");
    node.stop();
}

#[test]
fn a_sender_cannot_fill_the_pool() {
    let pool = PoolLimits { per_sender: 3, ..PoolLimits::default() };
    let node =
        Node::with(Genesis::dev(BEGIN), Options { pool, ..Options::default() }, ServeOptions::default());
    node.ask("evm_setAutomine", json!([false]));
    for nonce in 0..3 {
        node.send(&transfer(nonce, 1));
    }
    let (_, message) = node.refusal("eth_sendRawTransaction", json!([transfer(3, 1)]));
    assert!(message.starts_with("too many transactions of this sender"), "{message}");
    node.send(&Tx { gas: 21_000, ..Tx::default() }.sign(1));
    node.stop();
}

/// A legacy transaction that is signed for every chain.
fn unprotected() -> Bytes {
    let mut tx = TxLegacy {
        gas_limit: 21_000,
        gas_price: 2_000_000_000,
        to: Address::ZERO.into(),
        ..TxLegacy::default()
    };
    let signature = dev_signers()[0].sign_transaction_sync(&mut tx).unwrap();
    TxEnvelope::from(tx.into_signed(signature)).encoded_2718().into()
}
