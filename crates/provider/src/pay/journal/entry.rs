//! What is written down about pay.

use serde::{Deserialize, Serialize};
use tidemill_net::wire::Unpaid;
use tidemill_types::{Address, Amount, EscrowContract, EscrowId, JobId, Signed, Voucher};

/// One thing that happened. Variants are added at the end: their places are in files.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum Entry {
    /// Work is taken that an escrow pays for.
    Escrow { escrow: EscrowId, contract: EscrowContract, coordinator: Address },
    /// The coordinator said what results of a job are paid.
    Decided(Decided),
    /// A voucher that was checked. It replaces the one before it.
    Voucher(Signed<Voucher>),
    /// A voucher that proves a fraud: it promises more than the escrow holds, or contradicts another.
    Evidence(Signed<Voucher>),
    /// Our word that no more than this is wanted.
    Released { escrow: EscrowId, amount: Amount },
    /// What the ledger says that the escrow has paid us altogether: what left it, and what of that was ours.
    Received { escrow: EscrowId, gross: Amount, net: Amount },
    /// A voucher was collected by this transaction.
    Collected { escrow: EscrowId, transaction: [u8; 32] },
    /// Collecting failed, so many times more.
    CollectFailed { escrow: EscrowId, times: u32 },
    /// Nothing more comes from the escrow.
    Ended { escrow: EscrowId, loss: Option<Loss> },
    /// What results come to that are paid, where it is more than the decisions that are known.
    Earned { escrow: EscrowId, amount: Amount },
    /// What a coordinator has not paid in full of what was handed in, and what waits for its decisions, as of a second since
    /// 1970. It replaces the one before it.
    Withheld { coordinator: Address, refused: Amount, waiting: Amount, at_s: u64 },
}

/// What the results of one job are paid, as far as it was decided at once.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Decided {
    pub(crate) escrow: EscrowId,
    pub(crate) job: JobId,
    pub(crate) paid: Tally,
    /// What the paid results were paid less than they cost.
    pub(crate) short: Amount,
    pub(crate) unpaid: Vec<(Unpaid, Tally)>,
}

/// Results, and what they come to.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Tally {
    /// How many.
    pub results: u64,
    /// Altogether, before fees.
    pub amount: Amount,
}

/// Pay that was earned and will not come.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Loss {
    /// How much, before fees.
    pub amount: Amount,
    /// Why.
    pub reason: LossReason,
}

/// Why earned pay will not come.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, thiserror::Error)]
pub enum LossReason {
    /// The coordinator said that it pays, and gave no voucher for it.
    #[error("the coordinator gave no voucher for it")]
    NoVoucher,
    /// Nobody collected the voucher in time.
    #[error("the voucher was not collected before the window closed")]
    WindowOver,
    /// The coordinator closed the escrow without paying the voucher.
    #[error("the coordinator closed the escrow without paying it, which is a fraud that the voucher proves")]
    LeftOut,
    /// The escrow had nothing left.
    #[error("the escrow has no money left: its coordinator promised more than it held")]
    NothingLeft,
}

impl Entry {
    /// The escrow that it is about, if it is about one.
    pub(crate) fn escrow(&self) -> Option<EscrowId> {
        Some(match self {
            Self::Withheld { .. } => return None,
            Self::Voucher(signed) | Self::Evidence(signed) => signed.body.escrow,
            Self::Decided(decided) => decided.escrow,
            Self::Escrow { escrow, .. }
            | Self::Released { escrow, .. }
            | Self::Received { escrow, .. }
            | Self::Collected { escrow, .. }
            | Self::CollectFailed { escrow, .. }
            | Self::Ended { escrow, .. }
            | Self::Earned { escrow, .. } => *escrow,
        })
    }
}

impl Tally {
    /// One result.
    pub(crate) fn one(amount: Amount) -> Self {
        Self { results: 1, amount }
    }

    /// Takes in what another one counts.
    pub(crate) fn add(&mut self, other: Self) {
        self.results = self.results.saturating_add(other.results);
        self.amount = self.amount.saturating_add(other.amount);
    }

    /// Takes out what was taken in before.
    pub(crate) fn remove(&mut self, other: Self) {
        self.results = self.results.saturating_sub(other.results);
        self.amount = self.amount.saturating_sub(other.amount);
    }
}
