//! Why work is not taken: it would not be paid, or not surely enough.

use tidemill_ledger::escrow::Phase;
use tidemill_net::wire::{MAX_WORDS_BYTES, ReturnReason};
use tidemill_types::{Address, Amount, EscrowId, one_line};

/// Why a provider does not count on being paid.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum NotPaid {
    #[error("the lease names no escrow, and this network pays")]
    NoEscrow,
    #[error("the lease names an escrow, and this network is free")]
    Free,
    #[error("the ledger knows no escrow {}", .0.short())]
    Missing(EscrowId),
    #[error("the escrow {} is {}", escrow.short(), phase_words(*phase))]
    NotOpen { escrow: EscrowId, phase: Phase },
    #[error("the escrow {} is of the coordinator {found}, and not of {expected}", escrow.short())]
    OtherCoordinator { escrow: EscrowId, found: Address, expected: Address },
    #[error("the escrow {} was on another ledger", .0.short())]
    OtherLedger(EscrowId),
    #[error("the escrow {} ends in {left_s} s, and the task may take {within_s} s", escrow.short())]
    EndsSoon { escrow: EscrowId, left_s: u64, within_s: u64 },
    #[error("no more is wanted from the escrow {}: its release was signed", .0.short())]
    Released(EscrowId),
    #[error("the coordinator's bond is {bond}; at least {least} is wanted")]
    Bond { bond: Amount, least: Amount },
    #[error("vouchers of the coordinator prove a fraud")]
    Fraud,
    #[error("work for {exposure} is not covered by vouchers; the limit is {limit}")]
    Exposed { exposure: Amount, limit: Amount },
    #[error("the journal of payments cannot be written")]
    NoJournal,
}

impl NotPaid {
    /// Whether it is about the coordinator, so that no voucher ends it.
    pub(crate) fn is_lasting(&self) -> bool {
        matches!(self, Self::Fraud | Self::Bond { .. })
    }

    /// The reason as it travels.
    pub(crate) fn reason(&self) -> ReturnReason {
        let mut words = one_line(&self.to_string(), MAX_WORDS_BYTES);
        words.truncate(words.floor_char_boundary(MAX_WORDS_BYTES));
        ReturnReason::NotPaid(words)
    }
}

fn phase_words(phase: Phase) -> &'static str {
    match phase {
        Phase::Open => "open",
        Phase::Collecting => "about to end: only what was promised is paid",
        Phase::Refundable => "over: its rest goes back",
        Phase::Closed => "closed",
    }
}
