//! The making of a block: transactions in, a block and its changes of state out.

use std::sync::Arc;

use alloy::consensus::Header;
use alloy::eips::eip2935::HISTORY_STORAGE_ADDRESS;
use alloy::primitives::{Address, B256, U256, keccak256};
use revm::context::result::{EVMError, ExecutionResult, InvalidTransaction};
use revm::context::{BlockEnv, CfgEnv};
use revm::primitives::hardfork::SpecId;
use revm::{Context, ExecuteCommitEvm, MainBuilder, MainContext};

use super::block::{Block, TxOutcome};
use super::changes::Changes;
use super::draft::Draft;
use super::seal::{Sealing, next_base_fee, seal};
use super::tx::Tx;
use super::world::{NoState, View, history_slot};

/// The fork whose rules hold.
pub(crate) const FORK: SpecId = SpecId::PRAGUE;

/// What does not change from block to block.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    pub chain_id: u64,
    pub gas_limit: u64,
    pub coinbase: Address,
    /// Whether accounts with code may send transactions (against EIP-3607): those that a development client speaks for.
    pub code_may_send: bool,
}

impl Rules {
    pub(crate) fn cfg(&self) -> CfgEnv {
        let mut cfg = CfgEnv::new_with_spec(FORK).with_chain_id(self.chain_id);
        cfg.tx_chain_id_check = true;
        cfg.disable_eip3607 = self.code_may_send;
        cfg
    }
}

/// The block to build on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parent<'a> {
    pub header: &'a Header,
    pub hash: B256,
}

/// A block that is not yet on the disk.
#[derive(Debug)]
pub(crate) struct Built {
    pub block: Block,
    pub changes: Changes,
    /// `changes`, encoded.
    pub encoded: Vec<u8>,
    /// Transactions that cannot be in this block nor in a later one as things are.
    pub rejected: Vec<(B256, Rejected)>,
}

/// Why a transaction of the pool was left out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("transaction left out of the block: {0}")]
pub(crate) struct Rejected(InvalidTransaction);

/// Executes `txs` in their order on the state after `parent`, and makes a block of those that fit.
///
/// A transaction that does not fit into the rest of the gas is passed over, and so are those that it makes
/// impossible: later ones of its sender. `state` must be the view after `parent`, and `timestamp` not before
/// its parent's.
pub(crate) fn build_block(
    rules: &Rules,
    parent: Parent<'_>,
    state: View,
    timestamp: u64,
    txs: impl IntoIterator<Item = Arc<Tx>>,
) -> Result<Built, NoState> {
    let number = parent.header.number + 1;
    let draft = begin(parent, state);
    let base_fee = next_base_fee(parent.header);
    let mix_hash = prevrandao(parent.hash, number);
    let env = environment(rules, number, timestamp, base_fee, mix_hash);
    let mut evm = Context::mainnet()
        .with_db(draft)
        .with_block(env)
        .modify_cfg_chained(|cfg| *cfg = rules.cfg())
        .build_mainnet();

    let (mut included, mut outcomes, mut rejected) = (Vec::new(), Vec::new(), Vec::new());
    let mut gas_used = 0u64;
    for tx in txs {
        if tx.gas_limit() > rules.gas_limit - gas_used {
            continue;
        }
        match evm.transact_commit(tx.env()) {
            Ok(result) => {
                gas_used += result.tx_gas_used();
                outcomes.push(outcome(result, gas_used));
                included.push(tx);
            }
            // One of the same sender was passed over before it; it can be in a later block.
            Err(EVMError::Transaction(InvalidTransaction::NonceTooHigh { .. })) => {}
            Err(EVMError::Transaction(reason)) => rejected.push((tx.hash(), Rejected(reason))),
            Err(EVMError::Database(gone)) => return Err(gone),
            Err(EVMError::Header(_) | EVMError::Custom(_) | EVMError::CustomAny(_)) => {
                let reason = InvalidTransaction::Str("the interpreter gave up on it".into());
                rejected.push((tx.hash(), Rejected(reason)));
            }
        }
    }

    let changes = evm.ctx.journaled_state.database.into_changes()?;
    let encoded = changes.encode();
    let sealing = Sealing { rules, parent, number, timestamp, base_fee, mix_hash, gas_used };
    let block = seal(&sealing, included, outcomes, &encoded);
    Ok(Built { block, changes, encoded, rejected })
}

/// The state in which the block after `parent` begins: with its parent's hash, where EIP-2935 keeps it.
pub(super) fn begin(parent: Parent<'_>, state: View) -> Draft {
    let mut draft = Draft::new(state);
    draft.set_slot(HISTORY_STORAGE_ADDRESS, history_slot(parent.header.number), parent.hash.into());
    draft
}

/// What contracts see of a block.
pub(crate) fn environment(
    rules: &Rules,
    number: u64,
    timestamp: u64,
    base_fee: u64,
    mix_hash: B256,
) -> BlockEnv {
    BlockEnv {
        number: U256::from(number),
        beneficiary: rules.coinbase,
        timestamp: U256::from(timestamp),
        gas_limit: rules.gas_limit,
        basefee: base_fee,
        difficulty: U256::ZERO,
        prevrandao: Some(mix_hash),
        ..BlockEnv::default()
    }
}

/// The block's `prevrandao`. Known to everybody one block ahead: no source of randomness.
pub(crate) fn prevrandao(parent: B256, number: u64) -> B256 {
    let mut seed = b"tidemill prevrandao".to_vec();
    seed.extend_from_slice(parent.as_slice());
    seed.extend_from_slice(&number.to_be_bytes());
    keccak256(seed)
}

fn outcome(result: ExecutionResult, cumulative_gas: u64) -> TxOutcome {
    match result {
        ExecutionResult::Success { logs, .. } => TxOutcome { success: true, cumulative_gas, logs },
        // What was logged before the failure is undone with the rest.
        ExecutionResult::Revert { .. } | ExecutionResult::Halt { .. } => {
            TxOutcome { success: false, cumulative_gas, logs: Vec::new() }
        }
    }
}
