//! Accounts, and what they have on a ledger.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidemill_types::{Amount, Coin};

use crate::wei::Wei;

/// An account of a home. `tidemill wallet new`, `import` and `list` print it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Account {
    /// Its name in this home.
    pub name: String,
    /// Its address; null where only its key tells.
    pub address: Option<String>,
    /// The file with its encrypted key. Bytes of the path that are not UTF-8 are replaced.
    pub file: String,
}

/// What an account has on a ledger. `tidemill wallet balance` prints it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Balance {
    /// Its name in this home, or its address where that was given.
    pub name: String,
    /// Its address.
    pub address: String,
    /// Coins of the chain, for the fees of transactions.
    #[schemars(with = "Wei")]
    pub coins_wei: Coin,
    /// TIDE that is not at stake.
    #[schemars(with = "Wei")]
    pub free_wei: Amount,
    /// TIDE that it earned as a provider and can withdraw.
    #[schemars(with = "Wei")]
    pub earned_wei: Amount,
    /// Its bonds and delegations.
    pub positions: Vec<Position>,
    /// Its stake on the way out.
    pub thaws: Vec<Thaw>,
    /// Its stake that moved between providers and answers for both.
    pub moves: Vec<Moved>,
}

/// Shares of a pool of stake.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Position {
    /// The pool.
    pub pool: Pool,
    /// The shares, in decimal.
    #[schemars(with = "Wei")]
    pub shares: String,
    /// What they are worth.
    #[schemars(with = "Wei")]
    pub value_wei: Amount,
}

/// Stake on its way out.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Thaw {
    /// What the ledger calls it.
    pub id: String,
    /// The pool that it comes from.
    pub pool: Pool,
    /// What it is worth after every slash so far.
    #[schemars(with = "Wei")]
    pub value_wei: Amount,
    /// When it can be withdrawn, in seconds since 1970 by the chain's clock.
    pub ends_at_unix_s: u64,
    /// Whether that is over.
    pub ready: bool,
}

/// Stake that moved from one provider to another.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Moved {
    /// What the ledger calls it.
    pub id: String,
    /// The provider that it left, and answers for still.
    pub from: String,
    /// The provider that it is with.
    pub to: String,
    /// What it is worth after every slash so far.
    #[schemars(with = "Wei")]
    pub value_wei: Amount,
    /// When it can be settled, in seconds since 1970 by the chain's clock.
    pub ends_at_unix_s: u64,
    /// Whether it is on its way out.
    pub leaves: bool,
    /// Whether that time is over: `tidemill withdraw` settles it.
    pub ready: bool,
}

/// A pool of stake.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Pool {
    /// An operator's own bond as a provider.
    ProviderBond {
        /// The operator's account.
        operator: String,
    },
    /// An operator's own bond as a coordinator.
    CoordinatorBond {
        /// The operator's account.
        operator: String,
    },
    /// Stake of others behind a provider.
    Delegation {
        /// The provider's account.
        operator: String,
    },
}

/// An account's transactions on their way. `tidemill wallet pending` prints it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct PendingTransactions {
    /// Those that were on their way, the first first.
    pub pending: Vec<PendingTransaction>,
    /// What became of those that `--cancel` took back.
    pub ended: Vec<EndedTransaction>,
}

/// A transaction on its way.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct PendingTransaction {
    /// What it is for.
    pub label: String,
    /// How far it is, in words.
    pub phase: String,
}

/// A transaction that ended.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct EndedTransaction {
    /// What it was for.
    pub label: String,
    /// How it ended, in words.
    pub end: String,
}

/// Whose coordinator a home's key signs vouchers for. `tidemill coordinator-key show` prints it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct CoordinatorKey {
    /// The key's address.
    pub key: String,
    /// The coordinator's account, whose bond answers for what the key signs: the key's own where it is not bound.
    pub coordinator: String,
    /// Whether it is bound to another account now.
    pub bound: bool,
    /// The account that bound it once, and alone may again; null where none did.
    pub belongs_to: Option<String>,
    /// The coordinator's active bond.
    #[schemars(with = "Wei")]
    pub bond_wei: Amount,
}

/// A call that an account elsewhere is to send. `tidemill coordinator-key call` prints it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct CallToSend {
    /// The account that must send it.
    pub from: String,
    /// The contract that it is to.
    pub to: String,
    /// How much of the chain's coin goes with it, in wei.
    #[schemars(with = "Wei")]
    pub value_wei: Coin,
    /// The call, in hexadecimal.
    pub data: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_names_its_kind() {
        let pool = Pool::ProviderBond { operator: "0x1".to_owned() };
        let text = serde_json::to_string(&pool).expect("it is plain data");
        assert_eq!(text, r#"{"kind":"provider_bond","operator":"0x1"}"#);
        assert_eq!(serde_json::from_str::<Pool>(&text).expect("it reads back"), pool);
    }
}
