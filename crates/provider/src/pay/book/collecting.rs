//! Which voucher is to be collected by this provider itself, and when.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use tidemill_ledger::{B256, escrow::Phase};
use tidemill_types::{Address, Amount, EscrowId, Signed, Voucher};

use super::{
    Book, Moment, Party,
    account::{Account, Seen},
};
use crate::{event::Event, pay::journal::Entry};

/// A voucher to be collected.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Collection {
    pub(crate) voucher: Signed<Voucher>,
    /// How often it failed before: another attempt is another transaction.
    pub(crate) attempt: u32,
}

/// What a collection brought.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Collected {
    pub(crate) transaction: B256,
    /// What left the escrow.
    pub(crate) gross: Amount,
    /// What of that became the provider's.
    pub(crate) net: Amount,
}

/// The pause after the first failure; twice as long after each more.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(600);

/// What is wrong where there is nobody to send collections.
const NO_SENDER: &str = "no account is there to send it: collect it by hand";

impl Book {
    /// The voucher to collect now, one at a time: that whose window closes first.
    pub(super) fn collects(&mut self, now: Moment) -> Option<Collection> {
        if self.collecting.is_some() || self.is_ledger_lost() {
            return None;
        }
        let coordinators = self.parties.values().filter_map(Party::account);
        let unsecured: BTreeSet<_> = coordinators.filter_map(|of| self.unsecured(of)).collect();
        let due = self.accounts.iter().filter(|(escrow, account)| {
            let is_ready = account.collecting.retry_at.is_none_or(|at| now.at >= at);
            let is_unsecured = unsecured.contains(*escrow);
            let is_urgent = is_unsecured || self.frauds.contains(&account.coordinator);
            is_ready && self.is_due(account, is_urgent, now)
        });
        let until = |account: &Account| account.sight().map(|sight| sight.view.collect_until_s);
        let due: Vec<_> = due.map(|(escrow, account)| (until(account), *escrow)).collect();
        if !self.terms.may_collect {
            due.iter().for_each(|(_, escrow)| self.say_that_nobody_sends(*escrow));
            return None;
        }
        let (_, escrow) = due.into_iter().min()?;
        let account = self.accounts.get(&escrow)?;
        let (voucher, attempt) = (account.durable?, account.collecting.failures);
        self.collecting = Some(escrow);
        let amount = account.uncollected();
        self.tell(escrow, Event::Collecting { escrow, amount });
        Some(Collection { voucher, attempt })
    }

    /// Whether a voucher is to be collected now. `is_urgent`: it is not waited for the end of the escrow.
    fn is_due(&self, account: &Account, is_urgent: bool, now: Moment) -> bool {
        let Some(sight) = account.sight().filter(|_| !account.has_ended) else { return false };
        let view = &sight.view;
        let left = view.deposited.saturating_sub(view.paid);
        if account.uncollected().min(left).is_zero() {
            return false;
        }
        let now_s = now.on_chain(view);
        match view.phase_at(now_s) {
            Phase::Closed => false,
            Phase::Open => is_urgent,
            // It is tried until a block proves that it is too late.
            Phase::Collecting | Phase::Refundable => {
                let half = view.ends_s + view.collect_until_s.saturating_sub(view.ends_s) / 2;
                let silence = now.at.saturating_duration_since(self.heard_of(account.coordinator));
                is_urgent || silence >= self.terms.collect_after || now_s >= half
            }
        }
    }

    /// When a coordinator was last heard of.
    fn heard_of(&self, coordinator: Address) -> Instant {
        self.parties_of(coordinator).map(|(_, party)| party.heard).max().unwrap_or(self.began)
    }

    /// The largest voucher that an early close could leave out, where those of a coordinator come to too much together.
    fn unsecured(&self, coordinator: Address) -> Option<EscrowId> {
        let at_risk = self.accounts.iter().filter(|(_, account)| {
            let is_open = account.sight().is_some_and(|sight| !sight.is_enrolled);
            account.coordinator == coordinator && is_open && !account.has_ended && account.released.is_none()
        });
        let at_risk: Vec<_> = at_risk.map(|(escrow, account)| (account.uncollected(), *escrow)).collect();
        let sum = at_risk.iter().fold(Amount::ZERO, |sum, (amount, _)| sum.saturating_add(*amount));
        (sum > self.terms.max_exposure).then(|| at_risk.into_iter().max()).flatten().map(|(_, escrow)| escrow)
    }

    fn say_that_nobody_sends(&mut self, escrow: EscrowId) {
        let Some(account) = self.accounts.get_mut(&escrow) else { return };
        if !std::mem::replace(&mut account.collecting.was_said, true) {
            self.tell(escrow, Event::CollectFailed { escrow, reason: NO_SENDER.to_owned() });
        }
    }

    /// A collection is in a block that stays.
    pub(crate) fn collected(&mut self, escrow: EscrowId, collected: Collected) {
        self.collecting = None;
        self.is_stirred = true;
        let Collected { transaction, gross, net } = collected;
        self.unsaved.push(Entry::Collected { escrow, transaction: transaction.0 });
        self.tell(escrow, Event::Collected { escrow, gross, net, transaction });
        if self.is_looking {
            self.outdated.insert(escrow);
        }
        let Some(account) = self.accounts.get_mut(&escrow) else { return };
        // The next look tells more exactly, in case somebody else has paid too.
        account.is_wanted = true;
        account.collecting.retry_at = None;
        let promised = account.promised();
        if let Seen::Here(sight) = &mut account.seen {
            // A look may have seen the payment before its own transaction told of it.
            if sight.gross < promised {
                sight.gross = sight.gross.saturating_add(gross).min(promised);
                sight.net = sight.net.saturating_add(net);
            }
            sight.is_enrolled = true;
            account.received = (sight.gross, sight.net);
            self.unsaved.push(Entry::Received { escrow, gross: sight.gross, net: sight.net });
        }
    }

    /// A collection came to nothing.
    pub(crate) fn not_collected(&mut self, escrow: EscrowId, reason: String, now: Instant) {
        self.collecting = None;
        self.is_stirred = true;
        self.unsaved.push(Entry::CollectFailed { escrow, times: 1 });
        self.tell(escrow, Event::CollectFailed { escrow, reason });
        let Some(account) = self.accounts.get_mut(&escrow) else { return };
        let doublings = account.collecting.failures.min(16);
        account.collecting.failures = account.collecting.failures.saturating_add(1);
        let pause = FIRST_PAUSE.saturating_mul(1 << doublings).min(LONGEST_PAUSE);
        account.collecting.retry_at = Some(now + pause);
        account.is_wanted = true;
    }
}
