//! What is known of one escrow.

use std::time::Instant;

use tidemill_ledger::{EscrowView, escrow::Phase};
use tidemill_types::{Address, Amount, EscrowId, Signed, Voucher};

use super::Moment;
use crate::pay::{EscrowHistory, NotPaid, journal::Tally};

/// An escrow that work is done for, or was.
#[derive(Debug)]
pub(super) struct Account {
    /// Whose vouchers count, by the word of whoever leased.
    pub(super) coordinator: Address,
    pub(super) noted: Noted,
    pub(super) seen: Seen,
    /// When the ledger was last asked about it.
    pub(super) asked_at: Option<Instant>,
    /// Whether somebody waits for the ledger's word on it.
    pub(super) is_wanted: bool,
    /// The newest good voucher. It may not be on the disk yet.
    pub(super) newest: Option<Signed<Voucher>>,
    /// The newest one that is.
    pub(super) durable: Option<Signed<Voucher>>,
    /// One that promises more than the escrow was known to hold: the ledger is asked again before that is believed.
    pub(super) doubted: Option<Signed<Voucher>>,
    /// What results come to that are paid by the coordinator's word: those it has decided, and those of earlier lives that
    /// its vouchers cover.
    pub(super) decided: Amount,
    /// Results that were reported and not decided. Vouchers may cover them already.
    pub(super) undecided: Tally,
    /// What was signed away, or is about to be.
    pub(super) released: Option<Amount>,
    /// What the ledger has paid, as it is written down.
    pub(super) received: (Amount, Amount),
    /// Whether leases of it were taken in this life.
    pub(super) is_used: bool,
    /// Whether it pays for work that begins now, as far as is known.
    pub(super) is_good: bool,
    /// Whether its coordinator was found to have promised too much in it.
    pub(super) is_over_issued: bool,
    pub(super) has_ended: bool,
    pub(super) collecting: Collecting,
}

/// How far collecting is.
#[derive(Debug, Default)]
pub(super) struct Collecting {
    /// How often it failed.
    pub(super) failures: u32,
    /// When it may be tried again.
    pub(super) retry_at: Option<Instant>,
    /// Whether it was said that there is nobody to send it.
    pub(super) was_said: bool,
}

/// Whether the journal knows that there is work for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Noted {
    No,
    Soon,
    Durably,
}

/// What the ledger says of it.
#[derive(Clone, Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "almost every account is `Here`: a box would only add an allocation"
)]
pub(super) enum Seen {
    /// It was not asked, or did not answer.
    NotYet,
    /// It does not know it.
    Missing {
        at: Instant,
    },
    Here(Sight),
}

/// An escrow as the ledger has it, and what it has paid this provider.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Sight {
    /// As of a block that stays.
    pub(crate) view: EscrowView,
    /// What was put in, as of the newest block: nobody is accused over a deposit that is on its way.
    pub(crate) deposited: Amount,
    /// What has left it for this provider.
    pub(crate) gross: Amount,
    /// What of that became the provider's.
    pub(crate) net: Amount,
    /// Whether it cannot be closed early without this provider.
    pub(crate) is_enrolled: bool,
}

impl Account {
    pub(super) fn new(coordinator: Address) -> Self {
        Self {
            coordinator,
            noted: Noted::No,
            seen: Seen::NotYet,
            asked_at: None,
            is_wanted: false,
            newest: None,
            durable: None,
            doubted: None,
            decided: Amount::ZERO,
            undecided: Tally::default(),
            released: None,
            received: (Amount::ZERO, Amount::ZERO),
            is_used: false,
            is_good: true,
            is_over_issued: false,
            has_ended: false,
            collecting: Collecting::default(),
        }
    }

    /// As it was left.
    pub(super) fn recall(known: &EscrowHistory) -> Self {
        Self {
            noted: Noted::Durably,
            newest: known.voucher,
            durable: known.voucher,
            decided: known.earned(),
            released: known.released,
            received: (known.gross, known.net),
            is_over_issued: !known.evidence.is_empty(),
            collecting: Collecting { failures: known.failures, ..Collecting::default() },
            ..Self::new(known.coordinator)
        }
    }

    /// What the ledger says, where it confirms whose escrow it is.
    pub(super) fn sight(&self) -> Option<&Sight> {
        match &self.seen {
            Seen::Here(sight) if sight.view.voucher_key == self.coordinator => Some(sight),
            _ => None,
        }
    }

    /// Who signs its vouchers.
    pub(super) fn signer(&self) -> Address {
        match &self.seen {
            Seen::Here(sight) => sight.view.voucher_key,
            _ => self.coordinator,
        }
    }

    /// What the newest voucher on the disk promises.
    pub(super) fn promised(&self) -> Amount {
        self.durable.map_or(Amount::ZERO, |signed| signed.body.amount)
    }

    /// What the coordinator owes by its own word, decisions and vouchers, altogether.
    pub(super) fn earned(&self) -> Amount {
        self.decided.max(self.promised())
    }

    /// What is promised and not paid.
    pub(super) fn uncollected(&self) -> Amount {
        self.promised().saturating_sub(self.sight().map_or(self.received.0, |sight| sight.gross))
    }

    /// What is owed by the coordinator's own word, and not promised by a voucher.
    pub(super) fn uncovered(&self) -> Amount {
        self.decided.saturating_sub(self.promised())
    }

    /// Whether there is anything to be gained or lost in it.
    pub(super) fn is_at_stake(&self) -> bool {
        let has_work = self.is_used || self.is_wanted || self.undecided.results > 0;
        !self.has_ended && (has_work || self.newest.is_some() || !self.decided.is_zero())
    }

    /// Whether it pays for work that begins now and may take so long, by what the ledger said last. Nothing is known
    /// against one that was not seen.
    pub(super) fn pays(&self, escrow: EscrowId, within_s: u64, now: Moment) -> Result<(), NotPaid> {
        if self.released.is_some() {
            return Err(NotPaid::Released(escrow));
        }
        let view = match &self.seen {
            Seen::NotYet => return Ok(()),
            Seen::Missing { .. } => return Err(NotPaid::Missing(escrow)),
            Seen::Here(sight) => &sight.view,
        };
        if view.voucher_key != self.coordinator {
            let (found, expected) = (view.voucher_key, self.coordinator);
            return Err(NotPaid::OtherCoordinator { escrow, found, expected });
        }
        let now_s = now.on_chain(view);
        let phase = view.phase_at(now_s);
        if phase != Phase::Open {
            return Err(NotPaid::NotOpen { escrow, phase });
        }
        let left_s = view.ends_s.saturating_sub(now_s);
        if left_s < within_s {
            return Err(NotPaid::EndsSoon { escrow, left_s, within_s });
        }
        Ok(())
    }
}
