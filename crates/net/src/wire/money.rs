//! What requesters are told about their money.

use serde::{Deserialize, Serialize};
use tidemill_types::{Address, Amount, EscrowId, NodeId};

/// An escrow as its coordinator knows it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct EscrowReport {
    /// Which one.
    pub escrow: EscrowId,
    /// How far it is.
    pub stage: EscrowStage,
    /// All that was put in, as far as the coordinator counts on it.
    pub deposited: Amount,
    /// What providers have earned, before fees.
    pub earned: Amount,
    /// What leases that are not done may come to.
    pub reserved: Amount,
    /// Jobs that use it.
    pub jobs: u64,
    /// Who earned what.
    pub payees: Vec<PayeeReport>,
    /// The transactions that settled it so far.
    pub settlements: Vec<SettlementReport>,
    /// What it waits for, in a sentence, where it waits.
    pub waits_for: Option<String>,
}

/// How far an escrow is, for its coordinator.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum EscrowStage {
    /// Work goes on, or may come.
    Open,
    /// It is to be settled.
    Settling,
    /// Everybody was paid; what is left goes back once the collect window is over.
    Paid,
    /// It is closed: everybody was paid, and the rest is back.
    Closed,
}

/// What a provider has earned in an escrow.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PayeeReport {
    /// The provider's account.
    pub operator: Address,
    /// Its node that earned last.
    pub node: NodeId,
    /// How much, before fees.
    pub earned: Amount,
    /// What it was paid, before fees.
    pub paid: Amount,
    /// What of that it got.
    pub net: Amount,
    /// Whether it has said that it wants no more.
    pub released: bool,
}

/// A transaction of a settlement.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SettlementReport {
    /// Its hash.
    pub transaction: [u8; 32],
    /// The number of its block.
    pub block: u64,
    /// The gas that it used, for all escrows that it settled.
    pub gas_used: u64,
    /// The price of a unit of gas, in wei.
    pub gas_price_wei: u128,
    /// How many escrows it settled.
    pub escrows: u32,
    /// What went back to the requester of this one.
    pub refunded: Option<Amount>,
}

/// What a job costs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct JobCost {
    /// Which escrow pays.
    pub escrow: EscrowId,
    /// What its accepted results come to, before fees.
    pub earned: Amount,
    /// What leases that are not done may come to.
    pub reserved: Amount,
    /// What the escrow has beside what is earned and reserved, by all of its jobs.
    pub left: Amount,
}
