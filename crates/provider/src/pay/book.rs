//! All that is known of pay, and what is to be done about it. No I/O: what is to be asked, written and sent is given
//! out, and what came of it is told back.

mod account;
mod collecting;
mod leases;
mod promises;
mod sights;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    time::{Duration, Instant},
};

use tidemill_ledger::EscrowView;
use tidemill_types::{Address, Amount, EscrowContract, EscrowId, LeaseId, Release, TaskId};

use self::{account::Account, leases::Waiting};
pub(crate) use self::{
    account::Sight,
    collecting::{Collected, Collection},
    leases::{Admission, Reported},
};
use super::{
    History, NotPaid,
    journal::{Entry, Tally},
};
use crate::event::Event;

/// What the owner of the machine wants, and who is paid.
#[derive(Clone, Debug)]
pub(crate) struct Terms {
    pub(crate) contract: EscrowContract,
    pub(crate) operator: Address,
    pub(crate) max_exposure: Amount,
    pub(crate) min_bond: Amount,
    pub(crate) poll: Duration,
    pub(crate) collect_after: Duration,
    /// Whether there is somebody to send collections.
    pub(crate) may_collect: bool,
}

/// Now, by both clocks that matter.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) at: Instant,
    /// Seconds since 1970.
    pub(crate) unix_s: u64,
}

/// How the network of the session pays.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Session {
    /// There was none yet.
    None,
    /// It does not.
    Free,
    /// By vouchers of this account.
    Pays(Address),
}

/// What is to be asked and sent.
#[derive(Debug, Default)]
pub(crate) struct Errands {
    /// Escrows to look at.
    pub(crate) looks: Vec<EscrowId>,
    /// Whose bond to ask for.
    pub(crate) bond: Option<Address>,
    /// What to collect.
    pub(crate) collection: Option<Collection>,
}

/// Escrows that are looked at in one go: those for which somebody waits need not wait for all others.
const LOOKS: usize = 16;

/// How often the coordinator's bond is asked for.
const BOND_EVERY: Duration = Duration::from_secs(60);

/// A ledger that does not answer is asked again after so long, or sooner where escrows are looked at more often.
const LEDGER_RETRY: Duration = Duration::from_secs(15);

/// While the limit is reached, leases that wait are kept for so long.
const EXPOSED_PATIENCE: Duration = Duration::from_secs(5);

/// A result whose lease was cancelled is waited for so long to be decided.
const CANCELLED_PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(crate) struct Book {
    terms: Terms,
    session: Session,
    accounts: BTreeMap<EscrowId, Account>,
    /// Known from other ledgers, where their vouchers count and here not.
    elsewhere: BTreeSet<EscrowId>,
    /// Coordinators whose vouchers prove a fraud.
    frauds: BTreeSet<Address>,
    /// What coordinators kept for themselves in this life. It stays a part of exposure, or they could go on so.
    kept: BTreeMap<Address, Amount>,
    /// Results that were reported and not decided.
    results: HashMap<LeaseId, Undecided>,
    /// Of those, the ones whose leases were cancelled.
    cancelled: VecDeque<(Instant, LeaseId)>,
    waiting: BTreeMap<LeaseId, Waiting>,
    ledger: Ledger,
    bond: Bond,
    is_looking: bool,
    /// What was collected from while the ledger was being asked: its answer may be older.
    outdated: BTreeSet<EscrowId>,
    collecting: Option<EscrowId>,
    /// When the coordinator was last heard of, or this life began.
    heard: Instant,
    began: Instant,
    exposed: Option<Exposed>,
    /// Whether what waited was given back over what no time mends.
    has_given_up: bool,
    undecided: Amount,
    /// Exposure in accounts, beside the results that are not decided.
    outstanding: Amount,
    unsaved: Vec<Entry>,
    saving: usize,
    journal_fails: bool,
    releases: Vec<Release>,
    news: Vec<Event>,
    /// Escrows that do not pay any more for what has not begun.
    spoilt: Vec<(EscrowId, NotPaid)>,
    /// Whether something was learned that errands may follow from.
    is_stirred: bool,
    next: Option<Instant>,
}

/// A result that waits for its decision.
#[derive(Clone, Copy, Debug)]
struct Undecided {
    reported: Reported,
    is_cancelled: bool,
}

#[derive(Debug)]
enum Ledger {
    /// It answered, or was not asked yet.
    There,
    Lost {
        retry_at: Instant,
    },
}

#[derive(Debug, Default)]
struct Bond {
    of: Option<Address>,
    amount: Option<Amount>,
    asked_at: Option<Instant>,
    is_asking: bool,
}

#[derive(Clone, Copy, Debug)]
struct Exposed {
    since: Instant,
    /// Whether the leases that waited were given back.
    gave_back: bool,
}

impl Moment {
    /// The chain's time: that of its newest block, unless it has made none for a while. A transaction that is sent now
    /// will be in a block of now.
    pub(super) fn on_chain(&self, view: &EscrowView) -> u64 {
        view.now_s.max(self.unix_s)
    }
}

impl Book {
    /// Takes up what an earlier life left.
    pub(crate) fn new(terms: Terms, history: &History, now: Instant) -> Self {
        let mut book = Self {
            terms,
            session: Session::None,
            accounts: BTreeMap::new(),
            elsewhere: BTreeSet::new(),
            frauds: BTreeSet::new(),
            kept: BTreeMap::new(),
            results: HashMap::new(),
            cancelled: VecDeque::new(),
            waiting: BTreeMap::new(),
            ledger: Ledger::There,
            bond: Bond::default(),
            is_looking: false,
            outdated: BTreeSet::new(),
            collecting: None,
            heard: now,
            began: now,
            exposed: None,
            has_given_up: false,
            undecided: Amount::ZERO,
            outstanding: Amount::ZERO,
            unsaved: Vec::new(),
            saving: 0,
            journal_fails: false,
            releases: Vec::new(),
            news: Vec::new(),
            spoilt: Vec::new(),
            is_stirred: true,
            next: None,
        };
        for (escrow, known) in &history.escrows {
            if known.contract != book.terms.contract {
                book.elsewhere.insert(*escrow);
                continue;
            }
            if !known.evidence.is_empty() {
                book.frauds.insert(known.coordinator);
            }
            if !known.ended {
                book.accounts.insert(*escrow, Account::recall(known));
            }
        }
        book
    }

    /// There is a session with a coordinator.
    pub(crate) fn joined(&mut self, session: Session, now: Instant) {
        self.session = session;
        self.heard = now;
        if let Session::Pays(account) = session {
            // A bond may have gone while nobody asked.
            let amount = self.bond.amount.filter(|_| self.bond.of == Some(account));
            self.bond = Bond { of: Some(account), amount, asked_at: None, is_asking: self.bond.is_asking };
        }
        self.recount();
    }

    /// The coordinator was heard of.
    pub(crate) fn heard(&mut self, now: Instant) {
        self.heard = now;
    }

    /// Whether the session's network pays.
    pub(crate) fn is_paid(&self) -> bool {
        matches!(self.session, Session::Pays(_))
    }

    /// The account of the session's coordinator.
    fn coordinator(&self) -> Option<Address> {
        match self.session {
            Session::Pays(account) => Some(account),
            Session::None | Session::Free => None,
        }
    }

    /// What the coordinator could keep for itself: work that was reported and is not covered by vouchers on the disk,
    /// and vouchers that the ledger does not confirm to be worth anything.
    pub(crate) fn exposure(&self) -> Amount {
        self.undecided.saturating_add(self.outstanding)
    }

    /// Why nothing new is begun, if that is so.
    pub(crate) fn stop(&self) -> Option<NotPaid> {
        let coordinator = self.coordinator()?;
        if self.frauds.contains(&coordinator) {
            return Some(NotPaid::Fraud);
        }
        if let Some(bond) = self.bond.amount.filter(|bond| *bond < self.terms.min_bond) {
            return Some(NotPaid::Bond { bond, least: self.terms.min_bond });
        }
        let (exposure, limit) = (self.exposure(), self.terms.max_exposure);
        (exposure >= limit).then_some(NotPaid::Exposed { exposure, limit })
    }

    /// Whether the time has come to give back the leases that wait, and why. Said once for each pause.
    pub(crate) fn gives_back(&mut self, now: Instant) -> Option<NotPaid> {
        self.note_exposure(now);
        let stop = self.stop().filter(NotPaid::is_lasting);
        if stop.is_some() != self.has_given_up {
            self.has_given_up = stop.is_some();
            return stop;
        }
        let exposed = self.exposed.as_mut()?;
        if exposed.gave_back || now < exposed.since + EXPOSED_PATIENCE {
            return None;
        }
        exposed.gave_back = true;
        self.stop()
    }

    fn note_exposure(&mut self, now: Instant) {
        let stop = self.stop().filter(|stop| matches!(stop, NotPaid::Exposed { .. }));
        match (stop, self.exposed) {
            (Some(NotPaid::Exposed { exposure, limit }), None) => {
                self.exposed = Some(Exposed { since: now, gave_back: false });
                self.news.push(Event::Exposed { amount: exposure, limit });
            }
            (None, Some(_)) => {
                self.exposed = None;
                self.news.push(Event::Secure { amount: self.exposure() });
            }
            _ => {}
        }
    }

    /// Counts anew what coordinators could keep in accounts.
    fn recount(&mut self) {
        let coordinator = self.coordinator();
        let is_lost = self.is_ledger_lost();
        let of = |account: &Account| {
            let is_doubtful = account.sight().is_none() && (is_lost || account.asked_at.is_some());
            let unsure = if is_doubtful { account.uncollected() } else { Amount::ZERO };
            account.uncovered().saturating_add(unsure)
        };
        let is_ours = |account: &&Account| Some(account.coordinator) == coordinator && !account.has_ended;
        let ours = self.accounts.values().filter(is_ours).map(of).fold(Amount::ZERO, Amount::saturating_add);
        let kept = coordinator.and_then(|coordinator| self.kept.get(&coordinator)).copied();
        self.outstanding = ours.saturating_add(kept.unwrap_or_default());
        self.is_stirred = true;
    }

    fn is_ledger_lost(&self) -> bool {
        matches!(self.ledger, Ledger::Lost { .. })
    }

    /// What is to be asked and sent now. What is given out is taken to be on its way.
    pub(crate) fn errands(&mut self, now: Moment) -> Option<Errands> {
        let is_time = self.next.is_some_and(|next| now.at >= next);
        if !self.is_stirred && !is_time {
            return None;
        }
        self.is_stirred = false;
        self.decide_cancelled(now.at);
        let errands = Errands {
            looks: self.looks(now.at),
            bond: self.asks_bond(now.at),
            collection: self.collects(now),
        };
        self.next = self.next_time(now.at);
        Some(errands)
    }

    /// Nothing is waited for any more but the end of what was released: it is looked at now, whenever that was done last.
    pub(crate) fn look_for_the_end(&mut self) {
        for account in self.accounts.values_mut() {
            account.is_wanted |= account.released.is_some() && !account.has_ended;
        }
        self.is_stirred = true;
    }

    /// When there is something to do if nothing happens before.
    pub(crate) fn deadline(&self, now: Instant) -> Option<Instant> {
        let patience = self.exposed.filter(|exposed| !exposed.gave_back);
        let patience = patience.map(|exposed| exposed.since + EXPOSED_PATIENCE);
        let stirred = self.is_stirred.then_some(now);
        [patience, stirred, self.next].into_iter().flatten().min()
    }

    fn next_time(&self, now: Instant) -> Option<Instant> {
        let retry = match self.ledger {
            Ledger::There => now,
            Ledger::Lost { retry_at } => retry_at,
        };
        let ask = |at: Option<Instant>, every: Duration| at.map_or(now, |at| at + every).max(retry);
        let stakes = self.accounts.values().filter(|account| !self.is_looking && account.is_at_stake());
        let look = stakes.map(|account| match account.is_wanted {
            true => retry,
            false => ask(account.asked_at, self.terms.poll),
        });
        let again = self.accounts.values().filter_map(|account| account.collecting.retry_at);
        let again = again.filter(|at| *at > now).min();
        let wants_bond = !self.terms.min_bond.is_zero() && self.is_paid() && !self.bond.is_asking;
        let bond = wants_bond.then(|| ask(self.bond.asked_at, self.bond_every()));
        let cancelled = self.cancelled.front().map(|(at, _)| *at + CANCELLED_PATIENCE);
        [look.min(), again, bond, cancelled].into_iter().flatten().min()
    }

    /// What has happened, for people.
    pub(crate) fn news(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.news)
    }

    /// Escrows that stopped paying: what waits for them and has not begun is to be given back.
    pub(crate) fn spoilt(&mut self) -> Vec<(EscrowId, NotPaid)> {
        std::mem::take(&mut self.spoilt)
    }

    /// Entries to be written down next, in one go. Until [`Self::stored`] or [`Self::not_stored`] there are no more.
    pub(crate) fn unstored(&mut self, most: usize) -> Option<Vec<Entry>> {
        if self.saving > 0 || self.unsaved.is_empty() {
            return None;
        }
        let count = self.unsaved.len().min(most);
        self.saving = count;
        Some(self.unsaved.drain(..count).collect())
    }

    /// Whether what is to be written down should not wait for more of its kind: somebody waits for it, or hardly any more
    /// work is done before it is there.
    pub(crate) fn hurries(&self) -> bool {
        let waits = |entry: &Entry| {
            !matches!(
                entry,
                Entry::Decided(_) | Entry::Voucher(_) | Entry::Earned { .. } | Entry::Received { .. }
            )
        };
        let is_near = self.exposure() >= self.terms.max_exposure.mul_div_floor(1, 2).unwrap_or_default();
        self.results.is_empty() || is_near || self.unsaved.iter().any(waits)
    }

    /// Whether everything is on the disk.
    pub(crate) fn is_saved(&self) -> bool {
        self.saving == 0 && self.unsaved.is_empty()
    }

    /// Whether every result is decided, every paid one covered, and everything paid that was released.
    pub(crate) fn is_covered(&self) -> bool {
        let is_settled = |account: &Account| account.released.is_none() || account.has_ended;
        self.results.is_empty()
            && self.accounts.values().all(|account| account.uncovered().is_zero() && is_settled(account))
    }

    /// How many results wait for their decision.
    pub(crate) fn undecided(&self) -> usize {
        self.results.len()
    }

    /// How many leases wait for the ledger or the disk.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// The results that wait for their decision.
    pub(crate) fn held(&self) -> impl Iterator<Item = (LeaseId, TaskId)> {
        self.results.iter().map(|(lease, undecided)| (*lease, undecided.reported.task))
    }

    /// What was promised in escrows that have not ended, and not paid.
    #[cfg(test)]
    fn uncollected(&self) -> Amount {
        self.accounts.values().map(Account::uncollected).fold(Amount::ZERO, Amount::saturating_add)
    }

    fn forget_result(&mut self, lease: LeaseId) -> Option<Undecided> {
        let undecided = self.results.remove(&lease)?;
        self.undecided = self.undecided.saturating_sub(undecided.reported.price);
        if let Some(account) = self.accounts.get_mut(&undecided.reported.escrow) {
            account.undecided.remove(Tally::one(undecided.reported.price));
        }
        Some(undecided)
    }
}

#[cfg(test)]
mod tests;
