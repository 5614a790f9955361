//! What is done after each wake: all that has become possible, in one go.

use std::time::{Duration, Instant};

use tidemill_net::{
    frame::FrameError,
    wire::{FromProvider, MAX_CREDITS, ResultBatch, ReturnReason},
};
use tidemill_types::{BatchTerms, LeaseId, Millis, Offer, merkle};

use super::{Done, KEEP_UNUSED, MOST_RESULT_BYTES, Owner, PIECES_EVERY, SWEEP, leases::fetch_reason};
use crate::{
    attempt::Need,
    credits::Claim,
    event::{Ending, Event},
    idle::Standing,
    key::CoordinatorIndex,
    report::Due,
    run::Start,
    session::{OpenLink, words},
};

impl Owner {
    /// Does all that can be done now. An ending is that all is done for ever.
    pub(super) fn act(&mut self) -> Option<Ending> {
        let now = Instant::now();
        self.divide_credits(now);
        for of in self.everyone() {
            self.keep_time(of, now);
            self.fetch(of);
        }
        if now >= self.next_sweep {
            self.next_sweep = now + SWEEP;
            for of in self.everyone() {
                self.release_unused(of, KEEP_UNUSED, now);
            }
        }
        self.see_to_pay(now);
        self.start();
        for of in self.everyone() {
            // It is away while it is spoken to, so that all else may be looked at meanwhile.
            let Some(mut open) = self.links[of.place()].open.take() else { continue };
            let spoken = self.speak(of, &mut open, now);
            self.links[of.place()].open = Some(open);
            if let Err(error) = spoken {
                self.lost(of, words(&error));
            }
        }
        self.note_idleness(now);
        let is_told = self.links.iter().all(|link| link.has_told());
        let is_paid_off = self.is_paid_off(self.has_drained(), is_told, now);
        is_paid_off.then_some(Ending::Drained)
    }

    /// Divides what the machine can hold by what coordinators pay, as far as that is known.
    fn divide_credits(&mut self, now: Instant) {
        if self.links.len() == 1 {
            return;
        }
        let claim = |of: CoordinatorIndex| match &self.links[of.place()].ending {
            Some(_) => Claim::Nothing,
            None if self.works_for_nothing(of) => Claim::Little,
            None => Claim::Full,
        };
        let claims: Vec<_> = self.everyone().map(claim).collect();
        let open: Vec<_> = self.everyone().map(|of| self.open_leases(of)).collect();
        self.credits.divide(&claims, &open, now);
    }

    /// Leases that a coordinator may take to be here. A result that was sent may have freed its lease over there already.
    pub(super) fn open_leases(&self, of: CoordinatorIndex) -> usize {
        self.machine.queue.len_of(of) + self.links[of.place()].reports.unsent()
    }

    fn keep_time(&mut self, of: CoordinatorIndex, now: Instant) {
        let link = &mut self.links[of.place()];
        if link.no_room.as_ref().is_some_and(|(until, _)| now >= *until) {
            link.no_room = None;
        }
        if !link.reads
            && let Some(open) = &mut link.open
        {
            // Nothing was read, so nothing was missed: its heartbeats may lie there.
            open.heard = now;
            self.coordinator_heard(of, now);
        }
        let link = &self.links[of.place()];
        if link.open.as_ref().is_some_and(|open| now >= open.silence()) {
            self.lost(of, "the coordinator says nothing any more".to_owned());
        }
        let link = &mut self.links[of.place()];
        if link.open.is_none() && !link.away.dialing {
            let is_time_to_dial = link.away.retry.is_some_and(|at| now >= at);
            if link.away.forsaken.is_some_and(|at| now >= at) {
                link.away.forsaken = None;
                self.give_up_waiting(of, None);
            }
            if is_time_to_dial {
                self.dial(of);
            }
        }
    }

    /// Lets inputs go that no lease of a coordinator needed for so long. Whether there were any.
    pub(super) fn release_unused(
        &mut self,
        of: CoordinatorIndex,
        for_so_long: Duration,
        now: Instant,
    ) -> bool {
        let link = &mut self.links[of.place()];
        let unused = link.wants.forget_unused(for_so_long, now);
        if unused.is_empty() {
            return false;
        }
        // Their pins are taken out of the books now: a lease that needs one again gets a pin of its own.
        let released = link.room.release(&unused);
        self.chores.spawn(async move {
            released.await;
            Done::Forgotten
        });
        true
    }

    /// Fetches what the leases of a coordinator need, from that one.
    fn fetch(&mut self, of: CoordinatorIndex) {
        let link = &mut self.links[of.place()];
        let Some(open) = &link.open else { return };
        while let Some(need) = link.wants.next() {
            let (room, connection) = (link.room.clone(), open.blobs.clone());
            self.chores.spawn(async move {
                let fetched = room.fetch(&connection, need).await;
                let broken = fetched.is_err() && connection.close_reason().is_some();
                Done::Fetched { of, blob: need.blob, fetched, broken }
            });
        }
    }

    /// Starts what may start.
    fn start(&mut self) {
        let mut allowed: Vec<_> = self.everyone().map(|of| self.may_start(of)).collect();
        while let Some(attempt) = self.machine.queue.start(&allowed) {
            let of = attempt.key.coordinator.place();
            allowed[of] -= 1;
            let wants = &self.links[of].wants;
            let lent = |need: &Need| Some((need.blob.id, wants.lent(need.blob.id)?.clone()));
            let places = attempt.blobs.iter().filter_map(lent).collect();
            self.machine.runners.start(Start { attempt, places });
        }
    }

    /// How many more attempts of a coordinator may start. Results that are not settled take up credits too: a coordinator
    /// that settles nothing is worked for no longer, and no more is kept for it than it may lease.
    fn may_start(&self, of: CoordinatorIndex) -> usize {
        let (link, queue) = (&self.links[of.place()], &self.machine.queue);
        if self.pay_stop(of).is_some() || link.reports.bytes() >= MOST_RESULT_BYTES / self.links.len() {
            return 0;
        }
        // Results that are settled and not decided are among the one or the other.
        let ended = link.reports.len().max(self.undecided_count(of));
        let held = ended + queue.storing_of(of) + queue.running_each_of(of).sum::<usize>();
        (self.credits.of(of) as usize).saturating_sub(held)
    }

    /// How many leases of a coordinator it would hold now.
    pub(super) fn credits_of(&self, of: CoordinatorIndex) -> u32 {
        let has_room = self.links[of.place()].no_room.is_none();
        let is_stopped = self.draining || !has_room || self.pay_stop(of).is_some();
        if is_stopped { 0 } else { self.credits.of(of) }
    }

    /// What is offered to a coordinator.
    pub(super) fn offer_to(&self, of: CoordinatorIndex) -> Offer {
        let down_bytes_per_s = self.links[of.place()].told.down_bytes_per_s;
        Offer { down_bytes_per_s, ..self.setting.offer.clone() }
    }

    fn speak(&mut self, of: CoordinatorIndex, open: &mut OpenLink, now: Instant) -> Result<(), FrameError> {
        let credits = self.credits_of(of);
        let link = &mut self.links[of.place()];
        if credits != link.told.credits {
            link.told.credits = credits;
            open.push(&FromProvider::Credits(credits))?;
        }
        if let Some(rate) = link.bandwidth.news(now) {
            link.told.down_bytes_per_s = rate;
            open.push(&FromProvider::Offer(self.offer_to(of)))?;
        }
        self.speak_of_returns(of, open)?;
        self.speak_of_releases(of, open)?;
        while open.has_room() && self.links[of.place()].reports.due(now, self.is_quiet(of)) == Due::Now {
            self.speak_of_results(of, open, now)?;
        }
        if now >= open.next_beat {
            open.next_beat = now + open.beat;
            let (running, waiting) = self.load_of(of);
            open.push(&FromProvider::Heartbeat { running, waiting })?;
            let for_pay = self.running_for_pay(of, now);
            if !for_pay.is_empty() {
                open.push(&FromProvider::Running(for_pay))?;
            }
            let (running, waiting) = self.load();
            if running > 0 {
                self.say(Event::Working { running, waiting, done: self.machine.done });
            }
        }
        self.speak_of_pieces(of, open, now)
    }

    /// Which paid attempts of a coordinator run, and for how long each has.
    fn running_for_pay(&self, of: CoordinatorIndex, now: Instant) -> Vec<(LeaseId, Millis)> {
        let paid = self.machine.queue.attempts_of(of).filter(|attempt| attempt.pay.is_some());
        let running = paid.filter_map(|attempt| Some((attempt.key.lease, attempt.began.get()?)));
        let told = running.map(|(lease, began)| {
            let ms = now.saturating_duration_since(*began).as_millis();
            (lease, Millis(u64::try_from(ms).unwrap_or(u64::MAX)))
        });
        told.take(MAX_CREDITS as usize).collect()
    }

    /// Pieces of outputs are for people: they go now and then, and keep no result waiting.
    fn speak_of_pieces(
        &mut self,
        of: CoordinatorIndex,
        open: &mut OpenLink,
        now: Instant,
    ) -> Result<(), FrameError> {
        let link = &mut self.links[of.place()];
        if now < link.next_pieces || !link.has_pieces(open) {
            return Ok(());
        }
        link.next_pieces = now + PIECES_EVERY;
        open.push(&FromProvider::Chunks(link.pieces.take()))
    }

    fn speak_of_returns(&mut self, of: CoordinatorIndex, open: &mut OpenLink) -> Result<(), FrameError> {
        if !open.has_room() {
            return Ok(());
        }
        for (reason, leases) in std::mem::take(&mut self.links[of.place()].returns) {
            self.say_of(of, Event::Returned { leases: leases.len(), reason: reason_words(&reason) });
            for leases in leases.chunks(MAX_CREDITS as usize) {
                open.push(&FromProvider::Returned { leases: leases.to_vec(), reason: reason.clone() })?;
            }
        }
        Ok(())
    }

    fn speak_of_results(
        &mut self,
        of: CoordinatorIndex,
        open: &mut OpenLink,
        now: Instant,
    ) -> Result<(), FrameError> {
        let link = &mut self.links[of.place()];
        let coordinator = link.coordinator();
        let Some((sequence, results)) = link.reports.batch(now) else { return Ok(()) };
        let leaves: Vec<[u8; 32]> = results.iter().map(|result| result.leaf).collect();
        let terms = BatchTerms {
            root: merkle::root(&leaves),
            count: u32::try_from(leaves.len()).expect("a batch has few results"),
            coordinator,
            provider: self.setting.node.id(),
            sequence,
        };
        let signature = self.setting.key.sign_batch(&open.chain, &terms);
        let batch = ResultBatch { sequence, results: results.to_vec(), signature };
        match open.push(&FromProvider::Results(batch)) {
            Err(FrameError::Oversized { .. }) => {
                if let Some(lease) = link.reports.too_long(sequence, now) {
                    tracing::error!(%lease, "a result is too long for a message");
                    self.result_dropped(of.lease(lease));
                    self.give_back(fetch_reason("its result is too long for a message"), of.lease(lease));
                }
                Ok(())
            }
            pushed => pushed,
        }
    }

    /// Whether nothing would join a coordinator's result that waits for others.
    fn is_quiet(&self, of: CoordinatorIndex) -> bool {
        self.machine.queue.len_of(of) == 0
    }

    /// Attempts of a coordinator that run, and its leases that wait, as far as the coordinator is concerned: what others
    /// have here is not its business.
    fn load_of(&self, of: CoordinatorIndex) -> (u32, u32) {
        let queue = &self.machine.queue;
        let (running, started) = self.running(queue.running_each_of(of));
        in_numbers(running, queue.waiting_count_of(of) + started - running)
    }

    /// The same of all coordinators together.
    fn load(&self) -> (u32, u32) {
        let queue = &self.machine.queue;
        let (running, started) = self.running(queue.running_each());
        let waiting: usize = self.everyone().map(|of| queue.waiting_count_of(of)).sum();
        in_numbers(running, waiting + started - running)
    }

    /// Of attempts that were started on each engine, how many can be running, and how many there are.
    fn running(&self, started_each: impl Iterator<Item = usize>) -> (usize, usize) {
        let engines = started_each.zip(&self.setting.offer.engines);
        engines.fold((0, 0), |(running, all), (started, engine)| {
            (running + started.min(engine.slots as usize), all + started)
        })
    }

    fn note_idleness(&mut self, now: Instant) {
        if self.machine.queue.running() > 0 {
            self.links.iter_mut().for_each(|link| link.idle_reason = None);
            return self.idle.busy();
        }
        self.idle.idle(now);
        if self.idle.deadline().is_none_or(|at| now < at) {
            return;
        }
        let Some(since) = self.idle.report(now) else { return };
        for of in self.everyone().filter(|of| self.links[of.place()].ending.is_none()) {
            let reason = self.standing(of).reason();
            tracing::info!(coordinator = %self.links[of.place()].coordinator().short(), reason, ?since, "idle");
            self.say_of(of, Event::Idle { reason, since });
        }
    }

    fn standing(&self, of: CoordinatorIndex) -> Standing {
        let (link, queue) = (&self.links[of.place()], &self.machine.queue);
        match &link.no_room {
            _ if link.open.is_none() => Standing::Unconnected(link.away.reason.clone()),
            _ if self.draining => Standing::Draining,
            Some((_, reason)) => Standing::NoRoom(reason.clone()),
            None if self.unverified_count(of) > 0 => Standing::Unverified(self.unverified_count(of)),
            None if let Some(stop) = self.pay_stop(of) => Standing::NotPaid(stop.to_string()),
            None if queue.len_of(of) > queue.storing_of(of) => Standing::Fetching(queue.len_of(of)),
            None if link.reports.len() > 0 => Standing::Unsettled(link.reports.len()),
            None => Standing::Ready(link.idle_reason.clone()),
        }
    }

    /// Whether nothing is left to be done.
    fn has_drained(&self) -> bool {
        let queue = &self.machine.queue;
        let is_settled = self.links.iter().all(|link| link.reports.len() == 0);
        self.draining && queue.len() == 0 && queue.running() == 0 && is_settled
    }

    /// When there is something to do next if nothing happens before.
    pub(super) fn deadline(&self) -> Instant {
        let now = Instant::now();
        let mut deadline = self.next_sweep;
        let mut at = |time: Option<Instant>| deadline = time.map_or(deadline, |time| deadline.min(time));
        at(self.idle.deadline());
        at(self.pay_deadline(now));
        at(self.credits.deadline());
        for of in self.everyone() {
            let link = &self.links[of.place()];
            at(link.no_room.as_ref().map(|(until, _)| *until));
            match &link.open {
                Some(open) => {
                    at(Some(open.next_beat));
                    at(self.may_read(of).then(|| open.silence()));
                    at(link.has_pieces(open).then_some(link.next_pieces));
                    // Without room it goes on when the writer has sent something.
                    match link.reports.due(now, self.is_quiet(of)) {
                        Due::Now if open.has_room() => at(Some(now)),
                        Due::At(time) => at(Some(time)),
                        Due::Now | Due::Never => {}
                    }
                }
                None if !link.away.dialing => {
                    at(link.away.retry);
                    at(link.away.forsaken);
                }
                None => {}
            }
        }
        deadline
    }
}

fn in_numbers(running: usize, waiting: usize) -> (u32, u32) {
    (u32::try_from(running).unwrap_or(u32::MAX), u32::try_from(waiting).unwrap_or(u32::MAX))
}

/// A reason for the owner of the machine.
fn reason_words(reason: &ReturnReason) -> String {
    match reason {
        ReturnReason::Draining => "draining".to_owned(),
        ReturnReason::NoRoom => "there is no room for the blobs or the memory that they need".to_owned(),
        ReturnReason::Fetch(words) | ReturnReason::NotPaid(words) => words.clone(),
        ReturnReason::Cancelled => "cancelled".to_owned(),
    }
}
