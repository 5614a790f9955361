//! What is asked of a sender, and what became of it.

use std::{fmt, time::Duration};

use alloy::{
    primitives::{Address, B256, Bytes},
    rpc::types::TransactionReceipt,
};
use serde::{Deserialize, Serialize};
use tidemill_types::Coin;

/// Names a transaction that was submitted, in the sender that it was submitted to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct TxId(pub u64);

/// A transaction to be made, once, whatever it takes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Intent {
    /// Whom to send to; none makes a contract.
    pub to: Option<Address>,
    /// How much of the chain's coin goes with it.
    pub value: Coin,
    /// The call, or the code that makes a contract.
    pub data: Bytes,
    /// How much gas it may use. Without this it is estimated, right before the transaction is signed.
    pub gas_limit: Option<u64>,
    /// What a person calls it.
    pub label: String,
    /// What tells it from others: of intents with one key only the first is carried out, so that a program that was
    /// killed can submit again what it may have submitted before.
    pub key: Option<String>,
}

/// What a transaction pays for a unit of gas, in wei.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Fees {
    /// EIP-1559: a tip, and the most that tip and base fee may be together. The tip is never above the cap.
    Dynamic {
        /// The most that whoever makes the block gets.
        tip: u128,
        /// The most that is paid.
        cap: u128,
    },
    /// One price, on chains without a base fee.
    Legacy {
        /// What is paid.
        price: u128,
    },
}

/// A transaction in a block.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Receipt {
    /// The transaction's hash.
    pub hash: B256,
    /// The block's number.
    pub block_number: u64,
    /// The block's hash.
    pub block_hash: B256,
    /// Whether it did what it should; otherwise it was reverted, and only its gas is paid.
    pub success: bool,
    /// The gas it used.
    pub gas_used: u64,
    /// What was paid for a unit of gas, in wei.
    pub gas_price: u128,
    /// The contract that it made.
    pub contract: Option<Address>,
}

/// The end of a transaction.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It is in a block and did what it should.
    Succeeded(Receipt),
    /// It is in a block, and failed there.
    Reverted {
        /// Where.
        receipt: Receipt,
        /// Why, as the contract says; a sentence of our own where it says nothing.
        reason: String,
    },
    /// It is in no block and never will be.
    Dropped(DropReason),
}

/// Why a transaction was not made.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum DropReason {
    /// Whoever submitted it took it back.
    Cancelled,
    /// The node refused it in a way that trying again does not change: it would be reverted, for one.
    Refused {
        /// What the node said.
        reason: String,
    },
    /// It was there to close a gap between nonces, and something else closed it.
    Unneeded,
}

/// Where a transaction is on its way.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Status {
    /// Which one.
    pub id: TxId,
    /// What a person calls it.
    pub label: String,
    /// How far it is.
    pub phase: Phase,
}

/// How far a transaction is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Phase {
    /// It waits for its turn.
    Queued,
    /// It was signed and broadcast, or is about to be.
    Sent {
        /// Its place among the account's transactions.
        nonce: u64,
        /// How often it was signed: more than once when its fees were raised.
        variants: usize,
        /// The fees of the last one.
        fees: Fees,
    },
    /// It is in a block that may still be replaced by another.
    Mined(Receipt),
    /// It has ended.
    Ended(Outcome),
}

/// What happens while a sender works. Told to whoever listens; nothing depends on it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// A transaction was signed for the first time.
    Signed {
        /// Which one.
        id: TxId,
        /// Its nonce.
        nonce: u64,
        /// Its hash.
        hash: B256,
    },
    /// A transaction was signed again with higher fees.
    Replaced {
        /// Which one.
        id: TxId,
        /// The new hash.
        hash: B256,
        /// The new fees.
        fees: Fees,
    },
    /// A transaction needs higher fees than the settings allow: it waits until the chain is cheaper.
    AtCeiling {
        /// Which one.
        id: TxId,
    },
    /// A transaction cannot go on for a reason that may pass: not enough coin for gas, for one.
    Stalled {
        /// Which one.
        id: TxId,
        /// What the node said.
        reason: String,
    },
    /// A transaction is in a block.
    Mined {
        /// Which one.
        id: TxId,
        /// Where.
        receipt: Receipt,
    },
    /// The block of a transaction was replaced by another that lacks it: it is broadcast again.
    Reorged {
        /// Which one.
        id: TxId,
    },
    /// A transaction has ended: it is as deep as the settings want it, or dropped.
    Ended {
        /// Which one.
        id: TxId,
        /// How.
        outcome: Outcome,
    },
    /// Someone else who has the key used a nonce that a transaction of ours had: it gets another one.
    ForeignNonce {
        /// Which one.
        id: TxId,
        /// The nonce.
        nonce: u64,
        /// The other transaction, where it could be found.
        by: Option<B256>,
    },
    /// Transactions wait for a nonce that nobody sends: it is used up by a transfer of nothing.
    Gap {
        /// The nonce.
        nonce: u64,
    },
    /// The node does not answer. It is asked again, ever more seldom.
    Disconnected {
        /// What went wrong.
        reason: String,
    },
}

/// How a sender works.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// After how many blocks, its own included, a transaction is final. Reorgs of up to one block less are survived.
    pub confirmations: u64,
    /// After so many blocks without it, and after [`Self::bump_after`], a transaction's fees are raised.
    pub bump_after_blocks: u64,
    /// See [`Self::bump_after_blocks`]; chains with quick blocks need both.
    pub bump_after: Duration,
    /// A transaction that is not in a block is broadcast again after this time.
    pub resend_after: Duration,
    /// The most that is ever paid for a unit of gas.
    pub max_fee_per_gas: Coin,
    /// The least tip, for nodes that do not take less.
    pub min_tip: Coin,
    /// How many transactions are on their way at once. Nodes keep 16 of an account for certain.
    pub max_in_flight: usize,
    /// By how much the gas limit exceeds the estimate, in percent.
    pub gas_margin_percent: u64,
    /// How often the chain is looked at while something is on its way.
    pub poll: Duration,
    /// The longest pause before a node that does not answer is asked again.
    pub max_pause: Duration,
}

impl Default for Settings {
    /// For public chains.
    fn default() -> Self {
        Self {
            confirmations: 12,
            bump_after_blocks: 3,
            bump_after: Duration::from_secs(15),
            resend_after: Duration::from_secs(60),
            max_fee_per_gas: Coin::gwei(500),
            min_tip: Coin::from_wei(1_000_000),
            max_in_flight: 16,
            gas_margin_percent: 20,
            poll: Duration::from_secs(2),
            max_pause: Duration::from_secs(60),
        }
    }
}

impl Receipt {
    /// What a node says of a transaction; none where it is in no block yet.
    pub(crate) fn read(receipt: &TransactionReceipt) -> Option<Self> {
        Some(Self {
            hash: receipt.transaction_hash,
            block_number: receipt.block_number?,
            block_hash: receipt.block_hash?,
            success: receipt.status(),
            gas_used: receipt.gas_used,
            gas_price: receipt.effective_gas_price,
            contract: receipt.contract_address,
        })
    }
}

impl Settings {
    /// For chains that have one author of blocks, such as the embedded ledger: nothing there is replaced by another
    /// block, and blocks come as soon as there is something for them.
    pub fn local() -> Self {
        Self {
            confirmations: 1,
            bump_after: Duration::from_secs(5),
            resend_after: Duration::from_secs(5),
            poll: Duration::from_millis(100),
            max_pause: Duration::from_secs(5),
            ..Self::default()
        }
    }
}

impl fmt::Display for TxId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

impl fmt::Display for DropReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cancelled => f.write_str("it was cancelled"),
            Self::Refused { reason } => write!(f, "the node refuses it: {reason}"),
            Self::Unneeded => f.write_str("it was not needed any more"),
        }
    }
}
