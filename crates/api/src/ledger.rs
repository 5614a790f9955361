//! Ledgers, and the contracts on them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidemill_types::Amount;

use crate::wei::Wei;

/// The ledger that commands use. `tidemill ledger status` prints it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct LedgerStatus {
    /// Where its node is reached.
    pub url: String,
    /// The id of its chain.
    pub chain_id: u64,
    /// The hash of its first block.
    pub genesis: String,
    /// The number of its newest block.
    pub block: u64,
    /// When that was made, in seconds since 1970.
    pub time_unix_s: u64,
    /// All TIDE there is.
    #[schemars(with = "Wei")]
    pub supply_wei: Amount,
    /// How long stake thaws, in seconds.
    pub thaw_period_s: u32,
    /// How many times an own bond may be delegated.
    pub delegation_ratio: u8,
    /// Until when the guardian has closed entries, in seconds since 1970; in the past where they are open.
    pub entries_closed_until_unix_s: u64,
    /// Tidemill's contracts.
    pub contracts: Vec<TokenContract>,
}

/// A contract, and the TIDE that it holds.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct TokenContract {
    /// Its name.
    pub name: String,
    /// Its address.
    pub address: String,
    /// The TIDE that it holds.
    #[schemars(with = "Wei")]
    pub holds_wei: Amount,
}

/// Contracts that were put on a chain. `tidemill ledger deploy` prints it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct DeployedLedger {
    /// The id of the chain.
    pub chain_id: u64,
    /// The file of the address book. Bytes of the path that are not UTF-8 are replaced.
    pub address_book: String,
    /// The contracts.
    pub contracts: Vec<Contract>,
}

/// A contract.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Contract {
    /// Its name.
    pub name: String,
    /// Its address.
    pub address: String,
}

/// The ledger that commands use from now on. `tidemill ledger use` prints it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RememberedLedger {
    /// Where its node is reached.
    pub url: String,
    /// Where the second node is reached that must say the same; null where there is none.
    pub second_url: Option<String>,
    /// The id of its chain.
    pub chain_id: u64,
}
