//! Leases: which are taken, which wait for the ledger, and their results until they are decided.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use tidemill_net::wire::{Decision, LeasePay, Unpaid};
use tidemill_types::{Amount, EscrowId, Millis, RateCard, TaskId};

use super::{
    Book, CANCELLED_PATIENCE, Moment, Undecided,
    account::{Account, Noted, Seen},
};
use crate::{
    key::{CoordinatorIndex, LeaseKey},
    pay::{
        NotPaid,
        journal::{Entry, Tally},
    },
};

/// What the ledger said so short a time ago it is not asked again.
const FRESH: Duration = Duration::from_secs(1);

/// What becomes of a lease.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Admission {
    /// It may begin.
    Take,
    /// The ledger, or the disk, has a word to say first.
    Wait,
    /// It would not be paid.
    Refuse(NotPaid),
    /// It pays by other rates than ours: nothing of it is to be believed.
    OtherRates,
}

/// A lease that waits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waiting {
    pub(super) escrow: EscrowId,
    within_s: u64,
}

/// A result that was reported.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Reported {
    pub(crate) task: TaskId,
    pub(crate) escrow: EscrowId,
    /// What it is to be paid.
    pub(crate) price: Amount,
}

impl Book {
    /// Whether to take a lease that pays like this, for an engine that asks these rates.
    pub(crate) fn admit(
        &mut self,
        lease: LeaseKey,
        (pay, asked): (Option<&LeasePay>, &RateCard),
        within: Millis,
        now: Moment,
    ) -> Admission {
        let of = lease.coordinator;
        let pay = match (pay, self.account_of(of)) {
            (None, None) => return Admission::Take,
            (None, Some(_)) => return Admission::Refuse(NotPaid::NoEscrow),
            (Some(_), None) => return Admission::Refuse(NotPaid::Free),
            (Some(pay), Some(_)) => pay,
        };
        if pay.rates != *asked {
            return Admission::OtherRates;
        }
        let waiting = Waiting { escrow: pay.escrow, within_s: within.0.div_ceil(1000) };
        self.want(pay.escrow, of, now.at);
        match self.verdict(of, waiting, now) {
            Some(Ok(())) => Admission::Take,
            Some(Err(reason)) => {
                self.prune(now.at);
                Admission::Refuse(reason)
            }
            None => {
                self.waiting.insert(lease, waiting);
                self.is_stirred = true;
                Admission::Wait
            }
        }
    }

    /// Sees to it that something is known of an escrow that a coordinator names.
    fn want(&mut self, escrow: EscrowId, by: CoordinatorIndex, now: Instant) {
        let Some(coordinator) = self.account_of(by) else { return };
        if self.elsewhere.contains(&escrow) {
            return;
        }
        let account = self.accounts.entry(escrow).or_insert_with(|| Account::new(coordinator));
        account.is_wanted |= match account.seen {
            Seen::NotYet => true,
            Seen::Missing { at } => now >= at + FRESH,
            Seen::Here(_) => false,
        };
    }

    /// What becomes of a lease, if that can be said already.
    fn verdict(
        &mut self,
        of: CoordinatorIndex,
        waiting: Waiting,
        now: Moment,
    ) -> Option<Result<(), NotPaid>> {
        let Waiting { escrow, within_s } = waiting;
        let Some(party) = self.parties.get(&of) else { return Some(Err(NotPaid::Free)) };
        let Some(coordinator) = party.account() else { return Some(Err(NotPaid::Free)) };
        let is_waited_for = party.exposed.is_none_or(|exposed| !exposed.gave_back);
        let is_bond_known = party.bond.amount.is_some();
        if let Some(stop) = self.stop(of).filter(|stop| stop.is_lasting() || !is_waited_for) {
            return Some(Err(stop));
        }
        if self.elsewhere.contains(&escrow) {
            return Some(Err(NotPaid::OtherLedger(escrow)));
        }
        let is_lost = self.is_ledger_lost();
        if !self.terms.min_bond.is_zero() && !is_bond_known && !is_lost {
            return None;
        }
        let Some(account) = self.accounts.get_mut(&escrow) else {
            return Some(Err(NotPaid::Missing(escrow)));
        };
        if account.coordinator != coordinator {
            // Another one has named it first. Whose it is, the ledger says.
            if account.noted == Noted::No && matches!(account.seen, Seen::NotYet) && !is_lost {
                return None;
            }
            let (found, expected) = (account.coordinator, coordinator);
            return Some(Err(NotPaid::OtherCoordinator { escrow, found, expected }));
        }
        if account.is_wanted && !is_lost {
            return None;
        }
        if let Err(reason) = account.pays(escrow, within_s, now) {
            return Some(Err(reason));
        }
        if account.noted == Noted::Durably {
            account.is_used = true;
            return Some(Ok(()));
        }
        if self.journal_fails {
            return Some(Err(NotPaid::NoJournal));
        }
        if account.noted == Noted::No {
            account.noted = Noted::Soon;
            let contract = self.terms.contract;
            self.unsaved.push(Entry::Escrow { escrow, contract, coordinator });
        }
        None
    }

    /// Looks again at the leases that wait. Gives those that need not any more, and what becomes of them.
    pub(crate) fn reconsider(&mut self, now: Moment) -> Vec<(LeaseKey, Result<(), NotPaid>)> {
        let waiting: Vec<_> = self.waiting.iter().map(|(lease, waiting)| (*lease, *waiting)).collect();
        let mut decided = Vec::new();
        for (lease, waiting) in waiting {
            if let Some(verdict) = self.verdict(lease.coordinator, waiting, now) {
                self.waiting.remove(&lease);
                decided.push((lease, verdict));
            }
        }
        self.prune(now.at);
        decided
    }

    /// A lease is not held any more.
    pub(crate) fn left(&mut self, lease: LeaseKey) {
        self.waiting.remove(&lease);
    }

    /// Forgets accounts that nothing came of, and those that have ended.
    fn prune(&mut self, now: Instant) {
        let waiting: BTreeSet<EscrowId> = self.waiting.values().map(|waiting| waiting.escrow).collect();
        self.accounts.retain(|escrow, account| {
            let is_fresh = matches!(account.seen, Seen::Missing { at } if now < at + FRESH);
            let is_new = account.noted == Noted::No && account.undecided.results == 0 && !is_fresh;
            !(account.has_ended || is_new) || waiting.contains(escrow)
        });
    }

    /// A result is about to be reported.
    pub(crate) fn reported(&mut self, lease: LeaseKey, reported: Reported) {
        if let Some(account) = self.accounts.get_mut(&reported.escrow) {
            account.undecided.add(Tally::one(reported.price));
        }
        if let Some(party) = self.parties.get_mut(&lease.coordinator) {
            party.undecided = party.undecided.saturating_add(reported.price);
            party.results += 1;
        }
        self.results.insert(lease, Undecided { reported, is_cancelled: false });
    }

    /// A result was not reported after all.
    pub(crate) fn unreported(&mut self, lease: LeaseKey) {
        self.forget_result(lease);
    }

    /// The coordinator has no use for a lease any more. It may still decide its result, which it may have had before.
    pub(crate) fn cancelled(&mut self, lease: LeaseKey, now: Instant) {
        let Some(undecided) = self.results.get_mut(&lease).filter(|undecided| !undecided.is_cancelled) else {
            return;
        };
        undecided.is_cancelled = true;
        self.cancelled.push_back((now, lease));
        self.is_stirred = true;
    }

    /// Cancelled results that were not decided for so long are not paid.
    pub(super) fn decide_cancelled(&mut self, now: Instant) {
        let mut decisions = Vec::new();
        while let Some((at, lease)) = self.cancelled.front().copied() {
            if now < at + CANCELLED_PATIENCE {
                break;
            }
            self.cancelled.pop_front();
            decisions.push((lease, Decision::Unpaid(Unpaid::Superseded)));
        }
        if !decisions.is_empty() {
            self.decide(decisions.into_iter());
            self.recount();
        }
    }
}
