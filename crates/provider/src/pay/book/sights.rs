//! What the ledger says: of escrows, of the coordinator's bond, or nothing at all.

use std::time::{Duration, Instant};

use tidemill_ledger::escrow::Phase;
use tidemill_types::{Address, Amount, EscrowId};

use super::{
    BOND_EVERY, Bond, Book, LEDGER_RETRY, LOOKS, Ledger, Moment, Party,
    account::{Account, Noted, Seen, Sight},
};
use crate::{
    event::Event,
    pay::{
        journal::{Entry, Loss, LossReason},
        voucher,
    },
};

impl Book {
    /// The escrows to look at now: first those that somebody waits for, then those that were not looked at for longest.
    pub(super) fn looks(&mut self, now: Instant) -> Vec<EscrowId> {
        if self.is_looking || !self.may_ask(now) {
            return Vec::new();
        }
        let poll = self.terms.poll;
        let is_due = |account: &Account| {
            let is_old = account.asked_at.is_none_or(|at| now >= at + poll);
            account.is_at_stake() && (is_old || account.is_wanted)
        };
        let mut due: Vec<_> = self.accounts.iter().filter(|(_, account)| is_due(account)).collect();
        due.sort_by_key(|(_, account)| (!account.is_wanted, account.asked_at));
        let looks: Vec<_> = due.into_iter().take(LOOKS).map(|(escrow, _)| *escrow).collect();
        self.is_looking = !looks.is_empty();
        looks
    }

    /// Whose bond to ask for now.
    pub(super) fn asks_bond(&mut self, now: Instant) -> Option<Address> {
        if self.is_asking_bond || self.terms.min_bond.is_zero() || !self.may_ask(now) {
            return None;
        }
        let is_due = |party: &&Party| {
            party.bond.asked_at.is_none_or(|at| now >= at + self.bond_every(party))
                && party.account().is_some()
        };
        // Whoever was not asked for is first.
        let due = self.parties.values().filter(is_due).min_by_key(|party| party.bond.asked_at)?;
        let coordinator = due.account()?;
        self.is_asking_bond = true;
        Some(coordinator)
    }

    /// One that is too small is asked for as often as anything else: somebody may be about to mend it.
    pub(super) fn bond_every(&self, of: &Party) -> Duration {
        match of.bond.amount {
            Some(amount) if amount >= self.terms.min_bond => BOND_EVERY,
            Some(_) | None => self.terms.poll,
        }
    }

    fn may_ask(&self, now: Instant) -> bool {
        match self.ledger {
            Ledger::There => true,
            Ledger::Lost { retry_at } => now >= retry_at,
        }
    }

    /// The ledger has said what it knows of escrows.
    pub(crate) fn seen(&mut self, sights: Vec<(EscrowId, Option<Sight>)>, now: Moment) {
        self.is_looking = false;
        self.answered();
        let outdated = std::mem::take(&mut self.outdated);
        for (escrow, sight) in sights.into_iter().filter(|(escrow, _)| !outdated.contains(escrow)) {
            self.see(escrow, sight, now);
        }
        self.recount();
    }

    fn see(&mut self, escrow: EscrowId, sight: Option<Sight>, now: Moment) {
        self.settle_whose(escrow, sight.as_ref());
        let Some(account) = self.accounts.get_mut(&escrow) else { return };
        account.asked_at = Some(now.at);
        account.is_wanted = false;
        let before =
            std::mem::replace(&mut account.seen, sight.map_or(Seen::Missing { at: now.at }, Seen::Here));
        let is_good = account.pays(escrow, 0, now);
        if account.is_good
            && let Err(reason) = is_good
        {
            self.spoilt.push((escrow, reason));
        }
        account.is_good = is_good.is_ok();
        let Some(sight) = account.sight().copied() else { return };
        let received = (sight.gross, sight.net);
        if account.received != received && account.noted != Noted::No {
            account.received = received;
            let (gross, net) = received;
            self.unsaved.push(Entry::Received { escrow, gross, net });
        }
        if let Some(newest) = account.newest.filter(|_| !account.is_over_issued)
            && let Err(error) = voucher::check_deposit(&newest.body, Some(sight.deposited))
        {
            self.over_issued(&newest, error);
        }
        let doubted = self.accounts.get_mut(&escrow).and_then(|account| account.doubted.take());
        if let Some(doubted) = doubted {
            self.promised(&doubted, None, true);
        }
        // What block a payment of the last moment is in, only a block that stays tells.
        if matches!(sight.view.phase(), Phase::Refundable | Phase::Closed) {
            self.end(escrow, &sight, &before);
        }
    }

    /// An escrow that nothing was done for yet is that of the coordinator whose voucher key the ledger names, whoever named
    /// it here first.
    fn settle_whose(&mut self, escrow: EscrowId, sight: Option<&Sight>) {
        let Some(named) = sight.map(|sight| sight.view.voucher_key) else { return };
        let is_here = self.parties_of(named).next().is_some();
        if let Some(account) = self.accounts.get_mut(&escrow).filter(|account| account.noted == Noted::No)
            && is_here
        {
            account.coordinator = named;
        }
    }

    /// Nothing more comes from an escrow.
    fn end(&mut self, escrow: EscrowId, sight: &Sight, before: &Seen) {
        let Some(account) = self.accounts.get_mut(&escrow).filter(|account| !account.has_ended) else {
            return;
        };
        // A voucher that is being written counts too.
        let promised = account.newest.map_or(Amount::ZERO, |signed| signed.body.amount);
        let owed = promised.max(account.earned());
        let loss = (owed > sight.gross).then(|| Loss {
            amount: owed.saturating_sub(sight.gross),
            reason: if promised <= sight.gross {
                LossReason::NoVoucher
            } else if sight.view.paid >= sight.view.deposited {
                LossReason::NothingLeft
            } else if was_left_out(sight, before) {
                LossReason::LeftOut
            } else {
                LossReason::WindowOver
            },
        });
        account.has_ended = true;
        if account.noted != Noted::No {
            self.unsaved.push(Entry::Ended { escrow, loss });
        }
        let coordinator = account.coordinator;
        if let Some(loss) = loss {
            if loss.reason != LossReason::WindowOver {
                self.withhold(coordinator, loss.amount);
            }
            self.tell(escrow, Event::Loss { escrow, loss });
        }
        let of_it = |(lease, undecided): (&_, &super::Undecided)| {
            (undecided.reported.escrow == escrow).then_some(*lease)
        };
        let results: Vec<_> = self.results.iter().filter_map(of_it).collect();
        for lease in results {
            // They were handed in, and nobody decides them any more.
            if let Some(undecided) = self.forget_result(lease) {
                self.withhold(coordinator, undecided.reported.price);
            }
        }
    }

    /// The ledger has said how much a coordinator has bonded.
    pub(crate) fn bonded(&mut self, coordinator: Address, amount: Amount, now: Instant) {
        self.is_asking_bond = false;
        self.answered();
        for party in self.parties.values_mut().filter(|party| party.account() == Some(coordinator)) {
            party.bond = Bond { amount: Some(amount), asked_at: Some(now) };
        }
        self.is_stirred = true;
    }

    /// The ledger did not answer a question about escrows.
    pub(crate) fn unseen(&mut self, reason: String, now: Instant) {
        self.is_looking = false;
        self.outdated.clear();
        self.lose_ledger(reason, now);
    }

    /// The ledger did not answer a question about the bond.
    pub(crate) fn unbonded(&mut self, reason: String, now: Instant) {
        self.is_asking_bond = false;
        self.lose_ledger(reason, now);
    }

    fn lose_ledger(&mut self, reason: String, now: Instant) {
        if !self.is_ledger_lost() {
            self.news.push((None, Event::LedgerLost { reason }));
        }
        self.ledger = Ledger::Lost { retry_at: now + LEDGER_RETRY.min(self.terms.poll) };
        self.recount();
    }

    fn answered(&mut self) {
        if self.is_ledger_lost() {
            self.ledger = Ledger::There;
            self.news.push((None, Event::LedgerBack));
        }
    }
}

/// Whether an escrow that has ended was closed early without this provider, as nobody can do to one that is enrolled.
fn was_left_out(sight: &Sight, before: &Seen) -> bool {
    let was_open = match before {
        Seen::Here(before) => before.view.collect_until_s > sight.view.now_s,
        Seen::NotYet | Seen::Missing { .. } => true,
    };
    sight.view.closed && !sight.is_enrolled && was_open
}
