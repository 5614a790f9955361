//! Pay: what the book of it wants to be asked, written and sent, and what follows for leases.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use tidemill_ledger::{escrow::EscrowError, sender::Sender};
use tidemill_net::{
    frame::FrameError,
    wire::{Decision, FromProvider, Lease, MAX_VOUCHERS, Money, ReleaseAsked, TaskResult},
};
use tidemill_types::{
    Address, Amount, Billable, EscrowId, LeaseId, RateCard, Signable, Signed, TaskId, Voucher,
};
use tokio::time::timeout;

use super::{Done, END_PATIENCE, Owner};
use crate::{
    attempt::Attempt,
    key::{CoordinatorIndex, LeaseKey},
    pay::{
        Config, NotPaid,
        asking::{Asker, CollectError},
        book::{Admission, Book, Collected, Moment, Reported, Session, Sight, Terms},
        journal::{Entry, Journal, JournalError, MOST_ENTRIES},
    },
    queue::Queue,
    session::{OpenLink, words},
};

/// Writes follow one another no sooner than this while results stream in: what is not on the disk yet is a part of
/// exposure, and a disk that is always syncing is of little use to the tasks.
const STORE_PAUSE: Duration = Duration::from_millis(20);

/// A write that failed is tried again after so long.
const STORE_RETRY: Duration = Duration::from_secs(1);

/// At the end, promises of coordinators are waited for so long.
const DRAIN_PATIENCE: Duration = Duration::from_secs(10);

/// The state of pay, and what carries it out.
pub(crate) struct Purse {
    book: Book,
    asker: Arc<Asker>,
    sender: Option<Sender>,
    /// Away while something is being written.
    journal: Option<Box<Journal>>,
    /// After a write that failed, not before this.
    store_at: Option<Instant>,
    /// Until when more is gathered for the next write, unless that hurries.
    gather_until: Option<Instant>,
    /// Since when nothing but pay is left to be done.
    drained: Option<Instant>,
}

/// A chore of pay that is done.
pub(super) enum PayDone {
    Stored { journal: Box<Journal>, entries: Vec<Entry>, result: Result<(), JournalError> },
    Seen(Result<Vec<(EscrowId, Option<Sight>)>, EscrowError>),
    Bonded { of: Address, result: Result<Amount, EscrowError> },
    Collected { escrow: EscrowId, result: Result<Collected, CollectError> },
}

impl Purse {
    pub(crate) fn new(config: Config, journal: Journal) -> Self {
        let Config { escrows, operator, confirmations, sender, .. } = config;
        let terms = Terms {
            contract: escrows.contract(),
            operator,
            max_exposure: config.max_exposure,
            min_bond: config.min_bond,
            poll: config.poll,
            collect_after: config.collect_after,
            may_collect: sender.is_some(),
        };
        let book = Book::new(terms, journal.history(), Instant::now());
        let asker = Arc::new(Asker { escrows, operator, confirmations });
        let journal = Some(Box::new(journal));
        Self { book, asker, sender, journal, store_at: None, gather_until: None, drained: None }
    }

    /// What a session with a network that pays like this is.
    fn session(&self, money: Option<Money>) -> Result<Session, String> {
        let Some(money) = money else { return Ok(Session::Free) };
        let ours = self.asker.escrows.contract();
        if money.contract == ours {
            return Ok(Session::Pays(money.account));
        }
        let (theirs, ours) = (money.contract, ours);
        Err(format!(
            "this network pays by the contract {} on chain {}, and this provider is set up to be paid by {} on chain \
             {}: set it up for that ledger, or join a network of this one",
            theirs.address, theirs.chain_id, ours.address, ours.chain_id
        ))
    }

    fn is_done(&self) -> bool {
        self.book.is_saved() && self.book.is_covered()
    }
}

impl Owner {
    /// Takes up how a coordinator's network pays, if that suits; why not, otherwise.
    pub(super) fn settle_money(
        &mut self,
        with: CoordinatorIndex,
        money: Option<Money>,
        now: Instant,
    ) -> Result<(), String> {
        match (&mut self.pay, money) {
            (None, None) => Ok(()),
            (None, Some(money)) => Err(format!(
                "this network pays in TIDE on chain {}: say on which ledger and to which account this provider is \
                 paid (`tidemill ledger use URL`), or ask for a network that is free",
                money.contract.chain_id
            )),
            (Some(purse), money) => {
                let session = purse.session(money)?;
                purse.book.joined(with, session, now);
                Ok(())
            }
        }
    }

    /// Whether it could be paid, and works for nothing for this coordinator.
    pub(super) fn works_for_nothing(&self, of: CoordinatorIndex) -> bool {
        self.pay.as_ref().is_some_and(|purse| purse.book.is_free(of))
    }

    /// Whether to take a lease for an engine that asks these rates, and whether it waits for the ledger first.
    pub(super) fn admit(&mut self, key: LeaseKey, lease: &Lease, rates: &RateCard) -> Admission {
        match &mut self.pay {
            Some(purse) => purse.book.admit(key, (lease.pay.as_ref(), rates), lease.within, moment()),
            None if lease.pay.is_some() => Admission::Refuse(NotPaid::Free),
            None => Admission::Take,
        }
    }

    /// A lease is not held any more, and has no result.
    pub(super) fn lease_left(&mut self, lease: LeaseKey) {
        if let Some(purse) = &mut self.pay {
            purse.book.left(lease);
        }
    }

    /// A result is about to be reported.
    pub(super) fn note_result(&mut self, attempt: &Attempt, result: &TaskResult) {
        let (Some(purse), Some(pay)) = (&mut self.pay, &attempt.pay) else { return };
        let output = result.claim.output.map_or(0, |output| output.len);
        let billable = Billable::of(&attempt.spec, &result.claim.usage, output);
        let task = TaskId { job: attempt.job, task: attempt.task };
        let reported = Reported { task, escrow: pay.escrow, price: pay.rates.price(&billable) };
        purse.book.reported(attempt.key, reported);
    }

    /// A result was not reported after all.
    pub(super) fn result_dropped(&mut self, lease: LeaseKey) {
        if let Some(purse) = &mut self.pay {
            purse.book.unreported(lease);
        }
    }

    /// A lease was cancelled, and may have had a result.
    pub(super) fn result_cancelled(&mut self, lease: LeaseKey, now: Instant) {
        if let Some(purse) = &mut self.pay {
            purse.book.cancelled(lease, now);
        }
    }

    pub(super) fn decided(
        &mut self,
        by: CoordinatorIndex,
        decisions: &[(LeaseId, Decision)],
        vouchers: &[Signed<Voucher>],
    ) {
        match &mut self.pay {
            Some(purse) if purse.book.is_paid(by) => purse.book.decided(by, decisions, vouchers),
            _ => tracing::debug!("a network that is free speaks of money"),
        }
    }

    pub(super) fn releases_wanted(&mut self, by: CoordinatorIndex, asked: &[ReleaseAsked]) {
        let Some(purse) = &mut self.pay else { return };
        for asked in asked {
            let is_of_it = |attempt: &Arc<Attempt>| attempt.pay.is_some_and(|pay| pay.escrow == asked.escrow);
            purse.book.release_asked(by, *asked, self.machine.queue.attempts_of(by).any(is_of_it));
        }
    }

    /// A coordinator was heard of.
    pub(super) fn coordinator_heard(&mut self, of: CoordinatorIndex, now: Instant) {
        if let Some(purse) = &mut self.pay {
            purse.book.heard(of, now);
        }
    }

    /// Results that wait for a coordinator's decision, settled or not.
    pub(super) fn undecided(&self, by: CoordinatorIndex) -> impl Iterator<Item = (LeaseId, TaskId)> {
        self.pay.iter().flat_map(move |purse| purse.book.held(by))
    }

    pub(super) fn undecided_count(&self, by: CoordinatorIndex) -> usize {
        self.pay.as_ref().map_or(0, |purse| purse.book.undecided(by))
    }

    /// How many leases of a coordinator wait for the ledger.
    pub(super) fn unverified_count(&self, of: CoordinatorIndex) -> usize {
        self.pay.as_ref().map_or(0, |purse| purse.book.waiting(of))
    }

    /// Why nothing new is begun for a coordinator, if that is for want of pay.
    pub(super) fn pay_stop(&self, of: CoordinatorIndex) -> Option<NotPaid> {
        self.pay.as_ref().and_then(|purse| purse.book.stop(of))
    }

    /// Does all about pay that can be done now.
    pub(super) fn see_to_pay(&mut self, now: Instant) {
        let Some(purse) = &mut self.pay else { return };
        if let Some(errands) = purse.book.errands(moment()) {
            if !errands.looks.is_empty() {
                let looked = purse.asker.clone().look(errands.looks);
                self.chores.spawn(async move { Done::Pay(PayDone::Seen(looked.await)) });
            }
            if let Some(of) = errands.bond {
                let asked = purse.asker.clone().bond(of);
                self.chores.spawn(async move { Done::Pay(PayDone::Bonded { of, result: asked.await }) });
            }
            if let (Some(collection), Some(sender)) = (errands.collection, &purse.sender) {
                let escrow = collection.voucher.body.escrow;
                let collected = purse.asker.clone().collect(sender.clone(), collection);
                self.chores
                    .spawn(async move { Done::Pay(PayDone::Collected { escrow, result: collected.await }) });
            }
            self.reconsider(now);
        }
        self.store(now);
        for of in self.everyone() {
            let Some(purse) = &mut self.pay else { return };
            if let Some(reason) = purse.book.gives_back(of, now) {
                self.give_up_waiting(of, Some(reason.reason()));
            }
        }
        let news = self.pay.as_mut().map(|purse| purse.book.news());
        for (of, event) in news.unwrap_or_default() {
            self.notify(of, event);
        }
    }

    /// What was learned about escrows may free leases that wait for it, or end them.
    fn reconsider(&mut self, now: Instant) {
        let Some(purse) = &mut self.pay else { return };
        let (decided, spoilt) = (purse.book.reconsider(moment()), purse.book.spoilt());
        for (lease, verdict) in decided {
            match verdict {
                Ok(()) => self.machine.queue.arrived(lease),
                Err(reason) => self.refuse_lease(lease, &reason, now),
            }
        }
        for (escrow, reason) in spoilt {
            let is_of_it = |attempt: &&Arc<Attempt>| attempt.pay.is_some_and(|pay| pay.escrow == escrow);
            for of in self.everyone() {
                let its = |queue: &Queue| queue.attempts_of(of).any(|attempt| is_of_it(&attempt));
                if its(&self.machine.queue) {
                    self.refuse_waiting(of, is_of_it, &reason, now);
                }
            }
        }
    }

    /// Gives back the leases of a coordinator that have not begun and are like this.
    fn refuse_waiting(
        &mut self,
        of: CoordinatorIndex,
        is_like_it: impl Fn(&&Arc<Attempt>) -> bool,
        reason: &NotPaid,
        now: Instant,
    ) {
        self.take_back(of);
        let attempts = self.machine.queue.attempts_of(of).filter(is_like_it);
        let leases: Vec<_> = attempts.map(|attempt| attempt.key).collect();
        let waiting = self.machine.queue.waiting(of);
        for lease in leases.into_iter().filter(|lease| waiting.contains(lease)) {
            self.refuse_lease(lease, reason, now);
        }
    }

    fn refuse_lease(&mut self, lease: LeaseKey, reason: &NotPaid, now: Instant) {
        if self.drop_lease(lease, now) {
            self.give_back(reason.reason(), lease);
        }
    }

    /// Writes down what is not yet.
    fn store(&mut self, now: Instant) {
        let Some(purse) = &mut self.pay else { return };
        if purse.journal.is_none() || purse.store_at.is_some_and(|at| now < at) {
            return;
        }
        if purse.gather_until.is_some_and(|until| now < until) && !self.draining && !purse.book.hurries() {
            return;
        }
        let Some(entries) = purse.book.unstored(MOST_ENTRIES) else { return };
        let Some(mut journal) = purse.journal.take() else { return };
        self.chores.spawn_blocking(move || {
            let result = journal.append(&entries);
            Done::Pay(PayDone::Stored { journal, entries, result })
        });
    }

    pub(super) fn pay_done(&mut self, done: PayDone, now: Instant) {
        let Some(purse) = &mut self.pay else { return };
        let book = &mut purse.book;
        match done {
            PayDone::Seen(Ok(sights)) => book.seen(sights, moment()),
            PayDone::Seen(Err(error)) => book.unseen(words(&error), now),
            PayDone::Bonded { of, result: Ok(amount) } => book.bonded(of, amount, now),
            PayDone::Bonded { result: Err(error), .. } => book.unbonded(words(&error), now),
            PayDone::Collected { escrow, result: Ok(collected) } => book.collected(escrow, collected),
            PayDone::Collected { escrow, result: Err(error) } => {
                let reason = words(&error);
                tracing::warn!(escrow = %escrow, reason, "a voucher could not be collected");
                book.not_collected(escrow, reason, now);
            }
            PayDone::Stored { journal, entries, result } => {
                purse.journal = Some(journal);
                purse.store_at = None;
                match result {
                    Ok(()) => {
                        purse.gather_until = Some(now + STORE_PAUSE);
                        book.stored(&entries);
                    }
                    Err(error) => {
                        let reason = words(&error);
                        tracing::error!(reason, "payments cannot be written down");
                        purse.store_at = Some(now + STORE_RETRY);
                        book.not_stored(entries, reason);
                    }
                }
                let contract = purse.asker.escrows.contract();
                for (to, release) in purse.book.releases() {
                    match release.sign(&contract, &self.setting.key) {
                        Ok(signed) => self.links[to.place()].releases.push(signed),
                        Err(error) => tracing::warn!(%error, "a release cannot be signed"),
                    }
                }
            }
        }
    }

    /// Says what was waived.
    pub(super) fn speak_of_releases(
        &mut self,
        to: CoordinatorIndex,
        open: &mut OpenLink,
    ) -> Result<(), FrameError> {
        if !open.has_room() {
            return Ok(());
        }
        for releases in std::mem::take(&mut self.links[to.place()].releases).chunks(MAX_VOUCHERS) {
            open.push(&FromProvider::Released(releases.to_vec()))?;
        }
        Ok(())
    }

    /// Whether no promise is waited for any more, the rest being done since some time. A promise may be long in coming:
    /// there may be no verdict on a result yet.
    pub(super) fn is_paid_off(&mut self, is_rest_done: bool, is_told: bool, now: Instant) -> bool {
        let Some(purse) = &mut self.pay else { return is_rest_done && is_told };
        if !is_rest_done {
            purse.drained = None;
            return false;
        }
        let since = match purse.drained {
            Some(since) => since,
            None => {
                purse.book.look_for_the_end();
                *purse.drained.insert(now)
            }
        };
        purse.is_done() && is_told || now >= since + DRAIN_PATIENCE
    }

    /// When there is something to do about pay if nothing happens before.
    pub(super) fn pay_deadline(&self, now: Instant) -> Option<Instant> {
        let purse = self.pay.as_ref()?;
        let drained = purse.drained.map(|since| since + DRAIN_PATIENCE);
        let gathers = purse.journal.is_some() && !purse.book.is_saved();
        let store = purse.store_at.or(purse.gather_until.filter(|_| gathers)).filter(|at| *at > now);
        [purse.book.deadline(now), drained, store].into_iter().flatten().min()
    }

    /// Writes down what is left before the end.
    pub(super) async fn save_the_rest(&mut self) {
        let wait = async {
            while self.pay.as_ref().is_some_and(|purse| purse.journal.is_none()) {
                match self.chores.join_next().await {
                    Some(Ok(Done::Pay(done))) => self.pay_done(done, Instant::now()),
                    Some(_) => {}
                    None => return,
                }
            }
        };
        let _ = timeout(END_PATIENCE, wait).await;
        let Some(purse) = &mut self.pay else { return };
        while let (Some(entries), Some(mut journal)) =
            (purse.book.unstored(MOST_ENTRIES), purse.journal.take())
        {
            let written = tokio::task::spawn_blocking(move || (journal.append(&entries), entries, journal));
            let Ok((result, entries, journal)) = written.await else { return };
            purse.journal = Some(journal);
            match result {
                Ok(()) => purse.book.stored(&entries),
                Err(error) => {
                    tracing::error!(reason = words(&error), "payments could not be written down at the end");
                    return;
                }
            }
        }
        for (of, event) in purse.book.news() {
            self.notify(of, event);
        }
    }
}

fn moment() -> Moment {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Moment { at: Instant::now(), unix_s: since.as_secs() }
}
