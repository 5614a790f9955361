//! What a ledger begins with.

use std::collections::BTreeMap;

use alloy::primitives::{Address, B256, Bytes, U256};
use serde::{Deserialize, Serialize};

use crate::chain::{Rules, TxError};
use crate::dev::{DEV_CHAIN_ID, dev_addresses};

/// A block's gas, least and most: contracts are deployed within 30 million, and one block's work stays well
/// under a second.
const LEAST_GAS_LIMIT: u64 = 30_000_000;
const MOST_GAS_LIMIT: u64 = 60_000_000;

/// Wallets keep chain ids in floating-point numbers and derive signatures' `v` from them: MetaMask takes none
/// above this.
const MAX_CHAIN_ID: u64 = 4_503_599_627_370_476;

/// What a ledger is made of. It never changes afterwards.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Genesis {
    /// Part of everything that is signed for this ledger. See [`draw_chain_id`].
    pub chain_id: u64,
    /// Of block 0, in seconds since 1970.
    pub timestamp: u64,
    /// Of every block: 30 to 60 million.
    pub gas_limit: u64,
    /// The base fee of blocks 0 and 1; from there on EIP-1559 moves it.
    pub base_fee_wei: u64,
    /// Who receives the tips.
    pub coinbase: Address,
    /// The accounts of block 0.
    pub alloc: BTreeMap<Address, GenesisAccount>,
    /// Signed transactions (EIP-2718) for this chain id, which make block 1. All must succeed.
    #[serde(default)]
    pub transactions: Vec<Bytes>,
    /// A ledger for development: its accounts' keys are known to everybody, its time can be moved, and it is
    /// served on loopback alone.
    #[serde(default)]
    pub dev: bool,
}

/// An account of block 0.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GenesisAccount {
    /// In wei.
    pub balance: U256,
    /// Of its next transaction.
    #[serde(default)]
    pub nonce: u64,
    /// Runtime code; empty for an account of a key.
    #[serde(default)]
    pub code: Bytes,
    /// Slots that are not zero.
    #[serde(default)]
    pub storage: BTreeMap<B256, B256>,
}

/// Why no ledger can be made of a [`Genesis`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GenesisError {
    /// Zero, or more than wallets take.
    #[error("chain id {0} is not between 1 and {MAX_CHAIN_ID}; `draw_chain_id` gives a good one")]
    ChainId(u64),
    /// Outside of what this node makes blocks for.
    #[error("gas limit {0} is not between {LEAST_GAS_LIMIT} and {MOST_GAS_LIMIT}")]
    GasLimit(u64),
    /// With less, EIP-1559 could never raise it.
    #[error("base fee {0} wei is under 7 wei, from where it could not rise")]
    BaseFee(u64),
    /// A transaction that no pool would take.
    #[error("transaction {index} of the genesis is refused")]
    Transaction {
        /// Its place in the list.
        index: usize,
        /// Why.
        source: TxError,
    },
    /// A transaction that no block would take, or too many for one.
    #[error("transaction {index} of the genesis does not go into block 1: {reason}")]
    LeftOut {
        /// Its place in the list.
        index: usize,
        /// Why.
        reason: String,
    },
    /// A deployment that reverted would leave a ledger that looks made and is not.
    #[error("transaction {index} of the genesis failed when it was executed")]
    Failed {
        /// Its place in the list.
        index: usize,
    },
}

impl Genesis {
    /// No accounts, 30 million gas, a base fee of 1 gwei.
    pub fn new(chain_id: u64, timestamp: u64) -> Genesis {
        Genesis {
            chain_id,
            timestamp,
            gas_limit: 30_000_000,
            base_fee_wei: 1_000_000_000,
            coinbase: Address::ZERO,
            alloc: BTreeMap::new(),
            transactions: Vec::new(),
            dev: false,
        }
    }

    /// A ledger for development: chain 31337, and 10,000 coins for each of the ten well-known accounts.
    pub fn dev(timestamp: u64) -> Genesis {
        let coins = U256::from(10_000) * U256::from(10).pow(U256::from(18));
        let genesis = Genesis { dev: true, ..Genesis::new(DEV_CHAIN_ID, timestamp) };
        dev_addresses().into_iter().fold(genesis, |genesis, address| genesis.fund(address, coins))
    }

    /// Gives an account a balance at the beginning.
    pub fn fund(mut self, address: Address, balance_wei: U256) -> Genesis {
        self.alloc.entry(address).or_default().balance = balance_wei;
        self
    }

    pub(crate) fn check(&self) -> Result<(), GenesisError> {
        if !(1..=MAX_CHAIN_ID).contains(&self.chain_id) {
            return Err(GenesisError::ChainId(self.chain_id));
        }
        if !(LEAST_GAS_LIMIT..=MOST_GAS_LIMIT).contains(&self.gas_limit) {
            return Err(GenesisError::GasLimit(self.gas_limit));
        }
        // The step is base fee ÷ 8, but at least 1 when it rises; under 7 it could not fall either.
        if self.base_fee_wei < 7 {
            return Err(GenesisError::BaseFee(self.base_fee_wei));
        }
        Ok(())
    }

    pub(crate) fn rules(&self) -> Rules {
        let Genesis { chain_id, gas_limit, coinbase, dev, .. } = *self;
        Rules { chain_id, gas_limit, coinbase, code_may_send: dev }
    }
}

/// A chain id that no other ledger is likely to have, so that what is signed for one is void on the others.
///
/// # Panics
///
/// If the operating system has no randomness to give.
pub fn draw_chain_id() -> u64 {
    let mut bytes = [0u8; 8];
    getrandom::fill(&mut bytes).expect("the operating system gives randomness");
    // Above every id in public lists, and with room below the limit of wallets.
    const LEAST: u64 = 1 << 40;
    LEAST + u64::from_le_bytes(bytes) % (MAX_CHAIN_ID - LEAST)
}
