//! What is done after each wake: all that has become possible, in one go.

use std::time::{Duration, Instant};

use tidemill_net::{
    frame::FrameError,
    wire::{FromProvider, MAX_CREDITS, ResultBatch, ReturnReason},
};
use tidemill_types::{BatchTerms, merkle};

use super::{Done, KEEP_UNUSED, MOST_RESULT_BYTES, Owner, PIECES_EVERY, SWEEP, leases::fetch_reason};
use crate::{
    attempt::Need,
    event::{Ending, Event},
    idle::Standing,
    report::Due,
    run::Start,
    session::Link,
};

impl Owner {
    /// Does all that can be done now. An ending is that all is done for ever.
    pub(super) fn act(&mut self, link: &mut Option<Box<Link>>) -> Option<Ending> {
        let now = Instant::now();
        self.keep_time(link, now);
        if let Some(link) = link.as_deref() {
            self.fetch(link);
        }
        self.see_to_pay(now);
        self.start();
        let spoken = match link.as_deref_mut() {
            Some(link) => self.speak(link, now),
            None => Ok(()),
        };
        if let Err(error) = spoken {
            self.lost(link, crate::session::words(&error));
        }
        self.note_idleness(link.is_some(), now);
        let is_told = self.has_told(link.as_deref());
        let is_paid_off = self.is_paid_off(self.has_drained(), is_told, link.is_some(), now);
        is_paid_off.then_some(Ending::Drained)
    }

    fn keep_time(&mut self, link: &mut Option<Box<Link>>, now: Instant) {
        if self.no_room.as_ref().is_some_and(|(until, _)| now >= *until) {
            self.no_room = None;
        }
        if !self.reads
            && let Some(link) = link
        {
            // Nothing was read, so nothing was missed: its heartbeats may lie there.
            link.heard = now;
            self.coordinator_heard(now);
        }
        if link.as_ref().is_some_and(|link| now >= link.silence()) {
            self.lost(link, "the coordinator says nothing any more".to_owned());
        }
        if link.is_none() && !self.link.dialing {
            if self.link.forsaken.is_some_and(|at| now >= at) {
                self.link.forsaken = None;
                self.give_up_waiting(None);
            }
            if self.link.retry.is_some_and(|at| now >= at) {
                self.dial();
            }
        }
        if now >= self.next_sweep {
            self.next_sweep = now + SWEEP;
            self.release_unused(KEEP_UNUSED, now);
        }
    }

    /// Lets inputs go that nobody needed for so long. Whether there were any.
    pub(super) fn release_unused(&mut self, for_so_long: Duration, now: Instant) -> bool {
        let unused = self.wants.forget_unused(for_so_long, now);
        if unused.is_empty() {
            return false;
        }
        // Their pins are taken out of the books now: a lease that needs one again gets a pin of its own.
        let released = self.room.release(&unused);
        self.chores.spawn(async move {
            released.await;
            Done::Forgotten
        });
        true
    }

    fn fetch(&mut self, link: &Link) {
        while let Some(need) = self.wants.next() {
            let (room, connection) = (self.room.clone(), link.blobs.clone());
            self.chores.spawn(async move {
                let result = room.fetch(&connection, need).await;
                let broken = result.is_err() && connection.close_reason().is_some();
                Done::Fetched { blob: need.blob, result, broken }
            });
        }
    }

    /// Starts what may start. Results that are not settled take up credits too: a coordinator that settles nothing is
    /// worked for no longer, and no more is kept for it than it may lease.
    fn start(&mut self) {
        let most = self.setting.credits as usize;
        if self.pay_stop().is_some() {
            return;
        }
        // Results that are settled and not decided are among the one or the other.
        let ended = |owner: &Self| owner.reports.len().max(owner.undecided_count());
        let has_room = |owner: &Self| {
            owner.reports.bytes() < MOST_RESULT_BYTES
                && ended(owner) + owner.queue.storing() + owner.queue.running() < most
        };
        while has_room(self) {
            let Some(attempt) = self.queue.start() else { return };
            let lent = |need: &Need| Some((need.blob.id, self.wants.lent(need.blob.id)?.clone()));
            let places = attempt.blobs.iter().filter_map(lent).collect();
            self.runners.start(Start { attempt, places });
        }
    }

    /// How many leases it would hold now.
    pub(super) fn credits(&self) -> u32 {
        let is_stopped = self.draining || self.no_room.is_some() || self.pay_stop().is_some();
        if is_stopped { 0 } else { self.setting.credits }
    }

    fn speak(&mut self, link: &mut Link, now: Instant) -> Result<(), FrameError> {
        let credits = self.credits();
        if credits != self.told_credits {
            self.told_credits = credits;
            link.push(&FromProvider::Credits(credits))?;
        }
        if let Some(rate) = self.bandwidth.news(now) {
            self.setting.offer.down_bytes_per_s = rate;
            link.push(&FromProvider::Offer(self.setting.offer.clone()))?;
        }
        self.speak_of_returns(link)?;
        self.speak_of_releases(link)?;
        while link.has_room() && self.reports.due(now, self.is_quiet()) == Due::Now {
            self.speak_of_results(link, now)?;
        }
        if now >= link.next_beat {
            link.next_beat = now + link.beat;
            let (running, waiting) = self.load();
            link.push(&FromProvider::Heartbeat { running, waiting })?;
            if running > 0 {
                self.say(Event::Working { running, waiting, done: self.done });
            }
        }
        self.speak_of_pieces(link, now)
    }

    /// Whether pieces of outputs wait, and nothing that matters more.
    fn has_pieces(&self, link: &Link) -> bool {
        link.writer.waiting() == 0 && !self.pieces.is_empty()
    }

    /// Pieces of outputs are for people: they go now and then, and keep no result waiting.
    fn speak_of_pieces(&mut self, link: &mut Link, now: Instant) -> Result<(), FrameError> {
        if now < self.next_pieces || !self.has_pieces(link) {
            return Ok(());
        }
        self.next_pieces = now + PIECES_EVERY;
        link.push(&FromProvider::Chunks(self.pieces.take()))
    }

    fn speak_of_returns(&mut self, link: &mut Link) -> Result<(), FrameError> {
        if !link.has_room() {
            return Ok(());
        }
        for (reason, leases) in std::mem::take(&mut self.returns) {
            self.say(Event::Returned { leases: leases.len(), reason: reason_words(&reason) });
            for leases in leases.chunks(MAX_CREDITS as usize) {
                link.push(&FromProvider::Returned { leases: leases.to_vec(), reason: reason.clone() })?;
            }
        }
        Ok(())
    }

    fn speak_of_results(&mut self, link: &mut Link, now: Instant) -> Result<(), FrameError> {
        let Some((sequence, results)) = self.reports.batch(now) else { return Ok(()) };
        let leaves: Vec<[u8; 32]> = results.iter().map(|result| result.leaf).collect();
        let terms = BatchTerms {
            root: merkle::root(&leaves),
            count: u32::try_from(leaves.len()).expect("a batch has few results"),
            coordinator: self.setting.ticket.node(),
            provider: self.setting.node.id(),
            sequence,
        };
        let signature = self.setting.key.sign_batch(&link.chain, &terms);
        let batch = ResultBatch { sequence, results: results.to_vec(), signature };
        match link.push(&FromProvider::Results(batch)) {
            Err(FrameError::Oversized { .. }) => {
                if let Some(lease) = self.reports.too_long(sequence, now) {
                    tracing::error!(%lease, "a result is too long for a message");
                    self.result_dropped(lease);
                    self.give_back(fetch_reason("its result is too long for a message"), lease);
                }
                Ok(())
            }
            pushed => pushed,
        }
    }

    /// Whether nothing would join a result that waits for others.
    fn is_quiet(&self) -> bool {
        self.queue.len() == 0
    }

    /// Attempts that run, and leases that wait.
    fn load(&self) -> (u32, u32) {
        let engines = self.queue.running_each().zip(&self.setting.offer.engines);
        let running: usize = engines.map(|(started, engine)| started.min(engine.slots as usize)).sum();
        let waiting = self.queue.waiting_count() + self.queue.running() - running;
        (u32::try_from(running).unwrap_or(u32::MAX), u32::try_from(waiting).unwrap_or(u32::MAX))
    }

    fn note_idleness(&mut self, connected: bool, now: Instant) {
        if self.queue.running() > 0 {
            return self.idle.busy();
        }
        self.idle.idle(now);
        if self.idle.deadline().is_none_or(|at| now < at) {
            return;
        }
        let standing = self.standing(connected);
        if let Some((reason, since)) = self.idle.report(now, &standing) {
            tracing::info!(reason, ?since, "idle");
            self.say(Event::Idle { reason, since });
        }
    }

    fn standing(&self, connected: bool) -> Standing {
        match &self.no_room {
            _ if !connected => Standing::Unconnected(self.link.reason.clone()),
            _ if self.draining => Standing::Draining,
            Some((_, reason)) => Standing::NoRoom(reason.clone()),
            None if self.unverified_count() > 0 => Standing::Unverified(self.unverified_count()),
            None if let Some(stop) = self.pay_stop() => Standing::NotPaid(stop.to_string()),
            None if self.queue.len() > self.queue.storing() => Standing::Fetching(self.queue.len()),
            None if self.reports.len() > 0 => Standing::Unsettled(self.reports.len()),
            None => Standing::Ready,
        }
    }

    /// Whether nothing is left to be done.
    fn has_drained(&self) -> bool {
        self.draining && self.queue.len() == 0 && self.queue.running() == 0 && self.reports.len() == 0
    }

    /// Whether nothing is left to be told. What was returned while there is no session needs no telling, but for what the
    /// coordinator is just being told that it is held.
    fn has_told(&self, link: Option<&Link>) -> bool {
        match link {
            Some(link) => self.returns.is_empty() && link.writer.waiting() == 0,
            None => !self.link.dialing || self.returns.is_empty(),
        }
    }

    /// When there is something to do next if nothing happens before.
    pub(super) fn deadline(&self, link: Option<&Link>) -> Instant {
        let now = Instant::now();
        let mut deadline = self.next_sweep;
        let mut at = |time: Option<Instant>| deadline = time.map_or(deadline, |time| deadline.min(time));
        at(self.idle.deadline());
        at(self.pay_deadline(now));
        at(self.no_room.as_ref().map(|(until, _)| *until));
        match link {
            Some(link) => {
                at(Some(link.next_beat));
                at(self.may_read().then(|| link.silence()));
                at(self.has_pieces(link).then_some(self.next_pieces));
                // Without room it goes on when the writer has sent something.
                match self.reports.due(now, self.is_quiet()) {
                    Due::Now if link.has_room() => at(Some(now)),
                    Due::At(time) => at(Some(time)),
                    Due::Now | Due::Never => {}
                }
            }
            None if !self.link.dialing => {
                at(self.link.retry);
                at(self.link.forsaken);
            }
            None => {}
        }
        deadline
    }
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
