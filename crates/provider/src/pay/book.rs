//! All that is known of pay, and what is to be done about it. No I/O: what is to be asked, written and sent is given
//! out, and what came of it is told back.

mod account;
mod collecting;
mod leases;
mod promises;
mod sights;
mod withheld;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    time::{Duration, Instant},
};

use tidemill_ledger::EscrowView;
use tidemill_types::{Address, Amount, EscrowContract, EscrowId, LeaseId, Release, TaskId};

use self::{account::Account, leases::Waiting, withheld::Withheld};
pub(crate) use self::{
    account::Sight,
    collecting::{Collected, Collection},
    leases::{Admission, Reported},
};
use super::{
    History, NotPaid,
    journal::{Entry, Tally},
};
use crate::{
    event::Event,
    key::{CoordinatorIndex, LeaseKey},
};

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

/// How the network of a session pays.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Session {
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

/// How often what decays is counted anew.
const DECAY_EVERY: Duration = Duration::from_secs(600);

/// How often a coordinator's bond is asked for.
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
    /// The coordinators that there was a session with in this life.
    parties: BTreeMap<CoordinatorIndex, Party>,
    accounts: BTreeMap<EscrowId, Account>,
    /// Known from other ledgers, where their vouchers count and here not.
    elsewhere: BTreeSet<EscrowId>,
    /// Coordinators whose vouchers prove a fraud.
    frauds: BTreeSet<Address>,
    /// What coordinators did not pay in full, or kept for themselves.
    withheld: BTreeMap<Address, Withheld>,
    /// Seconds since 1970, when it was looked last.
    clock_s: u64,
    /// When what decays is counted anew.
    decays_at: Instant,
    /// Results that were reported and not decided.
    results: HashMap<LeaseKey, Undecided>,
    /// Of those, the ones whose leases were cancelled.
    cancelled: VecDeque<(Instant, LeaseKey)>,
    waiting: BTreeMap<LeaseKey, Waiting>,
    ledger: Ledger,
    is_looking: bool,
    is_asking_bond: bool,
    /// What was collected from while the ledger was being asked: its answer may be older.
    outdated: BTreeSet<EscrowId>,
    collecting: Option<EscrowId>,
    /// When this life began.
    began: Instant,
    unsaved: Vec<Entry>,
    saving: usize,
    journal_fails: bool,
    releases: Vec<(CoordinatorIndex, Release)>,
    news: Vec<News>,
    /// Escrows that do not pay any more for what has not begun.
    spoilt: Vec<(EscrowId, NotPaid)>,
    /// Whether something was learned that errands may follow from.
    is_stirred: bool,
    next: Option<Instant>,
}

/// What there is between this provider and one coordinator.
#[derive(Debug)]
struct Party {
    session: Session,
    /// When the coordinator was last heard of.
    heard: Instant,
    bond: Bond,
    exposed: Option<Exposed>,
    /// Whether what waited was given back over what no time mends.
    has_given_up: bool,
    /// What its results come to that are not decided, and how many these are.
    undecided: Amount,
    results: usize,
    /// Exposure in the accounts of its escrows, beside those results.
    outstanding: Amount,
}

/// What has happened, and with which coordinator: none where it is all of them, or where there was no session with the
/// one whose escrow it is.
pub(crate) type News = (Option<CoordinatorIndex>, Event);

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
    amount: Option<Amount>,
    asked_at: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Exposed {
    since: Instant,
    /// Whether the leases that waited were given back.
    gave_back: bool,
}

impl Party {
    /// The coordinator's account, where its network pays.
    fn account(&self) -> Option<Address> {
        match self.session {
            Session::Pays(account) => Some(account),
            Session::Free => None,
        }
    }
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
            parties: BTreeMap::new(),
            accounts: BTreeMap::new(),
            elsewhere: BTreeSet::new(),
            frauds: BTreeSet::new(),
            withheld: BTreeMap::new(),
            clock_s: 0,
            decays_at: now,
            results: HashMap::new(),
            cancelled: VecDeque::new(),
            waiting: BTreeMap::new(),
            ledger: Ledger::There,
            is_looking: false,
            is_asking_bond: false,
            outdated: BTreeSet::new(),
            collecting: None,
            began: now,
            unsaved: Vec::new(),
            saving: 0,
            journal_fails: false,
            releases: Vec::new(),
            news: Vec::new(),
            spoilt: Vec::new(),
            is_stirred: true,
            next: None,
        };
        for (coordinator, withheld) in &history.withheld {
            book.recall_withheld(*coordinator, withheld.refused, withheld.waiting, withheld.at_s);
        }
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
    pub(crate) fn joined(&mut self, with: CoordinatorIndex, session: Session, now: Instant) {
        let new = || Party {
            session,
            heard: now,
            bond: Bond::default(),
            exposed: None,
            has_given_up: false,
            undecided: Amount::ZERO,
            results: 0,
            outstanding: Amount::ZERO,
        };
        let party = self.parties.entry(with).or_insert_with(new);
        // A bond may have gone while nobody asked.
        let amount = party.bond.amount.filter(|_| party.session == session);
        party.bond = Bond { amount, asked_at: None };
        party.session = session;
        party.heard = now;
        self.recount();
    }

    /// A coordinator was heard of.
    pub(crate) fn heard(&mut self, of: CoordinatorIndex, now: Instant) {
        if let Some(party) = self.parties.get_mut(&of) {
            party.heard = now;
        }
    }

    /// Whether a coordinator's network pays.
    pub(crate) fn is_paid(&self, by: CoordinatorIndex) -> bool {
        self.account_of(by).is_some()
    }

    /// Whether it does not, as its coordinator has said.
    pub(crate) fn is_free(&self, of: CoordinatorIndex) -> bool {
        self.parties.get(&of).is_some_and(|party| party.session == Session::Free)
    }

    /// The account of a coordinator.
    fn account_of(&self, coordinator: CoordinatorIndex) -> Option<Address> {
        self.parties.get(&coordinator)?.account()
    }

    /// The coordinators that pay from an account. It should be one.
    fn parties_of(&self, account: Address) -> impl Iterator<Item = (CoordinatorIndex, &Party)> {
        let all = self.parties.iter().map(|(index, party)| (*index, party));
        all.filter(move |(_, party)| party.account() == Some(account))
    }

    /// The coordinator whose escrow this is, if there was a session with it.
    fn coordinator_of(&self, escrow: EscrowId) -> Option<CoordinatorIndex> {
        let account = self.accounts.get(&escrow)?.coordinator;
        self.parties_of(account).next().map(|(index, _)| index)
    }

    /// Tells what happened with an escrow.
    fn tell(&mut self, escrow: EscrowId, event: Event) {
        let of = self.coordinator_of(escrow);
        self.news.push((of, event));
    }

    /// What a coordinator could keep for itself, or has kept lately: work that was reported and is not covered by vouchers on the
    /// disk, vouchers that the ledger does not confirm to be worth anything, and what it has not paid in full.
    pub(crate) fn exposure(&self, to: CoordinatorIndex) -> Amount {
        let Some(party) = self.parties.get(&to) else { return Amount::ZERO };
        let Some(account) = party.account() else { return party.undecided.saturating_add(party.outstanding) };
        // One that goes by two nodes is trusted no further than by one.
        let undecided = self.parties_of(account).map(|(_, party)| party.undecided);
        undecided.fold(party.outstanding, Amount::saturating_add)
    }

    /// Why nothing new is begun for a coordinator, if that is so.
    pub(crate) fn stop(&self, of: CoordinatorIndex) -> Option<NotPaid> {
        let party = self.parties.get(&of)?;
        if self.frauds.contains(&party.account()?) {
            return Some(NotPaid::Fraud);
        }
        if let Some(bond) = party.bond.amount.filter(|bond| *bond < self.terms.min_bond) {
            return Some(NotPaid::Bond { bond, least: self.terms.min_bond });
        }
        let (exposure, limit) = (self.exposure(of), self.terms.max_exposure);
        (exposure >= limit).then_some(NotPaid::Exposed { exposure, limit })
    }

    /// Whether the time has come to give back the leases of a coordinator that wait, and why. Said once for each pause.
    pub(crate) fn gives_back(&mut self, of: CoordinatorIndex, now: Instant) -> Option<NotPaid> {
        self.note_exposure(of, now);
        let stop = self.stop(of);
        let lasting = stop.filter(NotPaid::is_lasting);
        let party = self.parties.get_mut(&of)?;
        if lasting.is_some() != party.has_given_up {
            party.has_given_up = lasting.is_some();
            return lasting;
        }
        let exposed = party.exposed.as_mut()?;
        if exposed.gave_back || now < exposed.since + EXPOSED_PATIENCE {
            return None;
        }
        exposed.gave_back = true;
        stop
    }

    fn note_exposure(&mut self, to: CoordinatorIndex, now: Instant) {
        let (stop, exposure) = (self.stop(to), self.exposure(to));
        let stop = stop.filter(|stop| matches!(stop, NotPaid::Exposed { .. }));
        let Some(party) = self.parties.get_mut(&to) else { return };
        match (stop, party.exposed) {
            (Some(NotPaid::Exposed { exposure, limit }), None) => {
                party.exposed = Some(Exposed { since: now, gave_back: false });
                self.news.push((Some(to), Event::Exposed { amount: exposure, limit }));
            }
            (None, Some(_)) => {
                party.exposed = None;
                self.news.push((Some(to), Event::Secure { amount: exposure }));
            }
            _ => {}
        }
    }

    /// Counts anew what coordinators could keep in accounts.
    fn recount(&mut self) {
        let is_lost = self.is_ledger_lost();
        let of = |account: &Account| {
            let is_doubtful = account.sight().is_none() && (is_lost || account.asked_at.is_some());
            let unsure = if is_doubtful { account.uncollected() } else { Amount::ZERO };
            account.uncovered().saturating_add(unsure)
        };
        let mut outstanding = self.withheld_now();
        for account in self.accounts.values().filter(|account| !account.has_ended) {
            let sum = outstanding.entry(account.coordinator).or_default();
            *sum = sum.saturating_add(of(account));
        }
        for party in self.parties.values_mut() {
            let found = party.account().and_then(|account| outstanding.get(&account));
            party.outstanding = found.copied().unwrap_or_default();
        }
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
        self.clock_s = self.clock_s.max(now.unix_s);
        self.decide_cancelled(now.at);
        if now.at >= self.decays_at && !self.withheld.is_empty() {
            self.decays_at = now.at + DECAY_EVERY;
            self.recount();
        }
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
        let exposed = self.parties.values().filter_map(|party| party.exposed);
        let waiting = exposed.filter(|exposed| !exposed.gave_back);
        let patience = waiting.map(|exposed| exposed.since + EXPOSED_PATIENCE).min();
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
        let wants_bond = !self.terms.min_bond.is_zero() && !self.is_asking_bond;
        let payers = self.parties.values().filter(|party| wants_bond && party.account().is_some());
        let bond = payers.map(|party| ask(party.bond.asked_at, self.bond_every(party))).min();
        let cancelled = self.cancelled.front().map(|(at, _)| *at + CANCELLED_PATIENCE);
        let decays = (!self.withheld.is_empty()).then_some(self.decays_at);
        [look.min(), again, bond, cancelled, decays].into_iter().flatten().min()
    }

    /// What has happened, for people.
    pub(crate) fn news(&mut self) -> Vec<News> {
        std::mem::take(&mut self.news)
    }

    /// Escrows that stopped paying: what waits for them and has not begun is to be given back.
    pub(crate) fn spoilt(&mut self) -> Vec<(EscrowId, NotPaid)> {
        std::mem::take(&mut self.spoilt)
    }

    /// Entries to be written down next, in one go. Until [`Self::stored`] or [`Self::not_stored`] there are no more.
    pub(crate) fn unstored(&mut self, most: usize) -> Option<Vec<Entry>> {
        if self.saving > 0 {
            return None;
        }
        self.note_withheld();
        if self.unsaved.is_empty() {
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
                Entry::Decided(_)
                    | Entry::Voucher(_)
                    | Entry::Earned { .. }
                    | Entry::Received { .. }
                    | Entry::Withheld { .. }
            )
        };
        let half = self.terms.max_exposure.mul_div_floor(1, 2).unwrap_or_default();
        let is_near = self.parties.keys().any(|coordinator| self.exposure(*coordinator) >= half);
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

    /// How many results of a coordinator wait for its decision.
    pub(crate) fn undecided(&self, of: CoordinatorIndex) -> usize {
        self.parties.get(&of).map_or(0, |party| party.results)
    }

    /// How many leases of a coordinator wait for the ledger or the disk.
    pub(crate) fn waiting(&self, of: CoordinatorIndex) -> usize {
        self.waiting.keys().filter(|lease| lease.coordinator == of).count()
    }

    /// The results that wait for a coordinator's decision.
    pub(crate) fn held(&self, by: CoordinatorIndex) -> impl Iterator<Item = (LeaseId, TaskId)> {
        let its = self.results.iter().filter(move |(lease, _)| lease.coordinator == by);
        its.map(|(lease, undecided)| (lease.lease, undecided.reported.task))
    }

    /// What was promised in escrows that have not ended, and not paid.
    #[cfg(test)]
    fn uncollected(&self) -> Amount {
        self.accounts.values().map(Account::uncollected).fold(Amount::ZERO, Amount::saturating_add)
    }

    fn forget_result(&mut self, lease: LeaseKey) -> Option<Undecided> {
        let undecided = self.results.remove(&lease)?;
        if let Some(party) = self.parties.get_mut(&lease.coordinator) {
            party.undecided = party.undecided.saturating_sub(undecided.reported.price);
            party.results -= 1;
        }
        if let Some(account) = self.accounts.get_mut(&undecided.reported.escrow) {
            account.undecided.remove(Tally::one(undecided.reported.price));
        }
        Some(undecided)
    }
}

#[cfg(test)]
mod tests;
