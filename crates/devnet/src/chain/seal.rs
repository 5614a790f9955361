//! Headers: what a block's hash is made of.

use std::sync::Arc;

use alloy::consensus::constants::EMPTY_WITHDRAWALS;
use alloy::consensus::proofs::{calculate_receipt_root, ordered_trie_root_with_encoder};
use alloy::consensus::{EMPTY_OMMER_ROOT_HASH, Header, ReceiptEnvelope};
use alloy::eips::eip1559::BaseFeeParams;
use alloy::eips::eip2935::{HISTORY_STORAGE_ADDRESS, HISTORY_STORAGE_CODE};
use alloy::eips::eip7685::EMPTY_REQUESTS_HASH;
use alloy::primitives::{B64, B256, Bloom, Bytes, U256, keccak256};

use super::block::{Block, TxOutcome, receipt};
use super::changes::{Account, Changes, commitment};
use super::execute::{Parent, Rules, prevrandao};
use super::tx::Tx;
use crate::genesis::Genesis;

/// The base fee of the block after `parent`, as EIP-1559 computes it.
pub(crate) fn next_base_fee(parent: &Header) -> u64 {
    // The first block after the genesis has the genesis's base fee, so that its transactions can be signed
    // before it is made.
    if parent.number == 0 {
        return parent.base_fee_per_gas.unwrap_or_default();
    }
    parent.next_block_base_fee(BaseFeeParams::ethereum()).unwrap_or_default()
}

/// What goes into a header beside the transactions.
pub(crate) struct Sealing<'a> {
    pub rules: &'a Rules,
    pub parent: Parent<'a>,
    pub number: u64,
    pub timestamp: u64,
    pub base_fee: u64,
    pub mix_hash: B256,
    pub gas_used: u64,
}

pub(crate) fn seal(
    sealing: &Sealing<'_>,
    txs: Vec<Arc<Tx>>,
    outcomes: Vec<TxOutcome>,
    changes: &[u8],
) -> Block {
    let receipts: Vec<ReceiptEnvelope> =
        txs.iter().zip(&outcomes).map(|(tx, outcome)| receipt(tx, outcome)).collect();
    let logs_bloom = receipts.iter().fold(Bloom::ZERO, |bloom, receipt| bloom | *receipt.logs_bloom());
    let header = Header {
        parent_hash: sealing.parent.hash,
        ommers_hash: EMPTY_OMMER_ROOT_HASH,
        beneficiary: sealing.rules.coinbase,
        state_root: commitment(sealing.parent.header.state_root, changes),
        transactions_root: ordered_trie_root_with_encoder(&txs, |tx, out| out.extend_from_slice(tx.raw())),
        receipts_root: calculate_receipt_root(&receipts),
        logs_bloom,
        difficulty: U256::ZERO,
        number: sealing.number,
        gas_limit: sealing.rules.gas_limit,
        gas_used: sealing.gas_used,
        timestamp: sealing.timestamp,
        extra_data: Bytes::new(),
        mix_hash: sealing.mix_hash,
        nonce: B64::ZERO,
        base_fee_per_gas: Some(sealing.base_fee),
        withdrawals_root: Some(EMPTY_WITHDRAWALS),
        blob_gas_used: Some(0),
        excess_blob_gas: Some(0),
        parent_beacon_block_root: Some(B256::ZERO),
        requests_hash: Some(EMPTY_REQUESTS_HASH),
        ..Header::default()
    };
    let hash = header.hash_slow();
    Block { header, hash, txs, outcomes }
}

/// Block 0, which holds the accounts that the ledger begins with.
pub(crate) fn genesis_block(genesis: &Genesis) -> (Block, Changes) {
    let mut changes = Changes::default();
    let add = |changes: &mut Changes, code: &Bytes| {
        let hash = keccak256(code);
        if !code.is_empty() {
            changes.codes.insert(hash, code.clone());
        }
        hash
    };
    for (address, account) in &genesis.alloc {
        let code_hash = add(&mut changes, &account.code);
        let made = Account { nonce: account.nonce, balance: account.balance, code_hash };
        if !made.is_empty() {
            changes.accounts.insert(*address, Some(made));
        }
        let slots = account.storage.iter().filter(|(_, value)| !value.is_zero());
        changes.slots.extend(slots.map(|(slot, value)| ((*address, (*slot).into()), (*value).into())));
    }
    // EIP-2935: the contract that answers for old block hashes.
    let code_hash = add(&mut changes, &HISTORY_STORAGE_CODE);
    let history = Account { nonce: 1, balance: U256::ZERO, code_hash };
    changes.accounts.insert(HISTORY_STORAGE_ADDRESS, Some(history));

    // Two ledgers with the same accounts differ by their chain id, so their hashes should too.
    let before = Header { extra_data: Bytes::new(), ..Header::default() };
    let rules = genesis.rules();
    let root = keccak256(genesis.chain_id.to_be_bytes());
    let parent = Parent { header: &Header { state_root: root, ..before }, hash: B256::ZERO };
    let sealing = Sealing {
        rules: &rules,
        parent,
        number: 0,
        timestamp: genesis.timestamp,
        base_fee: genesis.base_fee_wei,
        mix_hash: prevrandao(B256::ZERO, 0),
        gas_used: 0,
    };
    (seal(&sealing, Vec::new(), Vec::new(), &changes.encode()), changes)
}
