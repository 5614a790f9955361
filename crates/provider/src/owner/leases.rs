//! Leases from their arrival to their results.

use std::{
    error::Error,
    num::NonZeroU64,
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use tidemill_exec::OutputBody;
use tidemill_net::{
    blobs::{BlobError, FetchError},
    wire::{Lease, MAX_WORDS_BYTES, ReturnReason, TaskResult},
};
use tidemill_types::{BlobId, TaskId, one_line};

use super::{Done, NO_ROOM_PAUSE, Owner};
use crate::{
    attempt::{Attempt, LeaseError},
    event::{Ending, Event},
    inputs::InputError,
    key::{CoordinatorIndex, LeaseKey},
    pay::book::Admission,
    queue::Dropped,
    room::Fetched,
    run::{Ended, LargeOutput, Ran},
    session::words,
};

impl Owner {
    /// Takes leases in. What is wrong with them altogether is the coordinator's breach of the protocol.
    pub(super) fn take(&mut self, of: CoordinatorIndex, leases: Vec<Lease>) -> Result<(), String> {
        let open = self.open_leases(of);
        let most = self.credits.total() as usize;
        if open + leases.len() > most {
            return Err(format!("{} leases on top of {open}, where {most} are allowed", leases.len()));
        }
        for lease in leases {
            let is_here = self.machine.queue.holds(of.lease(lease.id));
            if is_here || self.links[of.place()].reports.holds(lease.id) {
                return Err(format!("lease {} was given twice", lease.id));
            }
            self.take_one(of, lease);
        }
        Ok(())
    }

    fn take_one(&mut self, of: CoordinatorIndex, lease: Lease) {
        let id = of.lease(lease.id);
        if self.draining {
            return self.give_back(ReturnReason::Draining, id);
        }
        // A coordinator may be slow to hear that its share was cut, and what it lost is others'.
        let is_beyond = self.open_leases(of) >= self.credits.most(of) as usize;
        if self.links[of.place()].no_room.is_some() || is_beyond {
            return self.give_back(ReturnReason::NoRoom, id);
        }
        let engine = self.setting.offer.engine(lease.engine);
        let Some(rates) = engine.filter(|engine| engine.kind == lease.spec.kind).map(|engine| engine.rates)
        else {
            let (index, kind) = (lease.engine, lease.spec.kind);
            return self.distrust(id, &LeaseError::OtherEngine { index, kind });
        };
        // A check costs less where its draft does.
        let rates = if lease.draft.is_some() { rates.for_check() } else { rates };
        let is_unverified = match self.admit(id, &lease, &rates) {
            Admission::Take => false,
            // The word of the ledger is like one more blob that is missing.
            Admission::Wait => true,
            Admission::Refuse(reason) => return self.give_back(reason.reason(), id),
            Admission::OtherRates => return self.distrust(id, &LeaseError::OtherRates),
        };
        if let Err(error) = self.queue_up(of, lease, is_unverified) {
            self.lease_left(id);
            match error {
                Some(error) => self.distrust(id, &*error),
                None => self.give_back(ReturnReason::NoRoom, id),
            }
        }
    }

    /// Queues a lease. An error is what cannot be right about it, or nothing where it never fits.
    fn queue_up(
        &mut self,
        of: CoordinatorIndex,
        lease: Lease,
        is_unverified: bool,
    ) -> Result<(), Option<Box<dyn Error>>> {
        let attempt = Arc::new(Attempt::new(of, lease).map_err(|error| Some(error.into()))?);
        if !self.machine.queue.fits(&attempt) {
            return Err(None);
        }
        if !self.has_disk_for(&attempt) {
            return Err(None);
        }
        let wants = &mut self.links[of.place()].wants;
        let missing = wants.need(attempt.key.lease, &attempt.blobs).map_err(|error| Some(error.into()))?;
        self.machine.queue.add(attempt, missing + usize::from(is_unverified));
        Ok(())
    }

    /// Whether the blobs of an attempt fit into its coordinator's part of the room for blobs. A single coordinator finds out
    /// by what the disk says.
    fn has_disk_for(&mut self, attempt: &Attempt) -> bool {
        let of = attempt.key.coordinator;
        let part = self.setting.offer.disk.0 / self.links.len() as u64;
        let fits = |owner: &Self| owner.links[of.place()].wants.bytes_with(&attempt.blobs) <= part;
        if self.links.len() == 1 || fits(&*self) {
            return true;
        }
        self.release_unused(of, std::time::Duration::ZERO, Instant::now()) && fits(&*self)
    }

    /// A lease that contradicts itself or its blobs: nothing of it is signed.
    fn distrust(&mut self, lease: LeaseKey, error: &dyn std::error::Error) {
        let reason = words(error);
        tracing::warn!(%lease, reason, "a lease cannot be right");
        self.give_back(fetch_reason(&reason), lease);
    }

    /// A lease goes back with the next message. Those with the same reason go together.
    pub(super) fn give_back(&mut self, reason: ReturnReason, lease: LeaseKey) {
        let returns = &mut self.links[lease.coordinator.place()].returns;
        match returns.last_mut() {
            Some((last, leases)) if *last == reason => leases.push(lease.lease),
            _ => returns.push((reason, vec![lease.lease])),
        }
    }

    /// The coordinator has no use for a lease any more.
    pub(super) fn cancel(&mut self, lease: LeaseKey, now: Instant) {
        if self.drop_lease(lease, now) {
            return;
        }
        self.result_cancelled(lease, now);
        self.forget_result(lease);
    }

    /// A result that was not settled is of no use any more.
    fn forget_result(&mut self, lease: LeaseKey) {
        let of = lease.coordinator;
        if let Some(settled) = self.links[of.place()].reports.forget(lease.lease) {
            self.forget_output(of, settled.lease, settled.blob);
        }
    }

    /// Somebody follows a lease from now on, or nobody any more. It may have ended by now.
    pub(super) fn follow(&self, lease: LeaseKey, follow: Option<NonZeroU64>) {
        match (self.machine.queue.attempt(lease), follow) {
            (Some(attempt), Some(follow)) => attempt.follow.begin(follow),
            (Some(attempt), None) => attempt.follow.end(),
            (None, _) => {}
        }
    }

    /// The session with a coordinator is over, and with it every follow that came from there.
    pub(super) fn end_follows(&self, of: CoordinatorIndex) {
        self.machine.queue.attempts_of(of).for_each(|attempt| attempt.follow.end());
        self.links[of.place()].pieces.clear();
    }

    /// Gives up a lease that has no result. Whether there was one.
    pub(super) fn drop_lease(&mut self, lease: LeaseKey, now: Instant) -> bool {
        let Some(dropped) = self.machine.queue.drop_lease(lease) else { return false };
        let (Dropped::Waiting(attempt) | Dropped::Running(attempt) | Dropped::Storing(attempt)) = dropped;
        attempt.cancel.cancel();
        attempt.follow.end();
        self.release(&attempt, now);
        self.lease_left(lease);
        true
    }

    /// An attempt needs its blobs no more.
    fn release(&mut self, attempt: &Attempt, now: Instant) {
        let LeaseKey { coordinator, lease } = attempt.key;
        self.links[coordinator.place()].wants.release(lease, &attempt.blobs, now);
    }

    /// A thread is done with an attempt.
    pub(super) fn attempt_ended(&mut self, Ended { lease, result }: Ended) {
        let now = Instant::now();
        let Some(attempt) = self.machine.queue.ran(lease) else {
            if let Ran::Result(_, Some(LargeOutput { body: OutputBody::File(path), .. })) = result {
                let _ = std::fs::remove_file(path);
            }
            return;
        };
        let room = &self.links[lease.coordinator.place()].room;
        match result {
            Ran::Result(result, None) => self.report(lease, *result, now),
            Ran::Result(result, Some(output)) => {
                let room = room.clone();
                // Kept on the side: it waits for the disk.
                self.chores.spawn(async move {
                    let kept = room.keep(lease.lease, output).await;
                    Done::Kept { lease, result, kept }
                });
            }
            Ran::NoInputs(error) => {
                // This disk may be to blame, and not the coordinator.
                let room = room.clone();
                self.chores.spawn(async move {
                    let damaged = room.damaged(&attempt.blobs).await;
                    Done::Rechecked { lease, error, damaged }
                });
            }
            Ran::Cancelled => {
                self.machine.queue.done(lease);
                self.release(&attempt, now);
                self.give_back(ReturnReason::Cancelled, lease);
            }
        }
    }

    /// A result is complete.
    fn report(&mut self, lease: LeaseKey, result: TaskResult, now: Instant) {
        let Some(attempt) = self.machine.queue.done(lease) else { return };
        self.release(&attempt, now);
        self.machine.done += 1;
        if self.events.receiver_count() > 0 {
            let event = Event::TaskDone {
                lease: lease.lease,
                job: attempt.job,
                task: attempt.task,
                outcome: result.claim.outcome.clone(),
                wall: std::time::Duration::from_micros(result.wall_us),
            };
            self.say_of(lease.coordinator, event);
        }
        self.note_result(&attempt, &result);
        let task = TaskId { job: attempt.job, task: attempt.task };
        self.links[lease.coordinator.place()].reports.add(result, task, now);
    }

    fn kept(&mut self, lease: LeaseKey, result: Box<TaskResult>, kept: Result<(), BlobError>, now: Instant) {
        let of = lease.coordinator;
        match kept {
            Ok(()) if self.machine.queue.holds(lease) => self.report(lease, *result, now),
            Ok(()) => self.forget_output(of, lease.lease, result.claim.output.map(|output| output.id)),
            Err(error) => {
                let reason = words(&error);
                tracing::warn!(%lease, reason, "an output could not be kept");
                self.drop_lease(lease, now);
                if is_no_room(&error) {
                    self.pause(of, reason, now);
                    self.give_back(ReturnReason::NoRoom, lease);
                } else {
                    self.give_back(fetch_reason(&reason), lease);
                }
            }
        }
    }

    pub(super) fn chore_done(&mut self, done: Done) -> Option<Ending> {
        let now = Instant::now();
        match done {
            Done::Dialed { by, dialed } => return self.dialed(by, dialed),
            Done::Fetched { of, blob, fetched: Ok(Fetched { lent, took }), .. } => {
                let link = &mut self.links[of.place()];
                if let Some(took) = took {
                    link.bandwidth.observe(blob.len, took);
                }
                for lease in link.wants.arrived(blob.id, lent, now) {
                    self.machine.queue.arrived(of.lease(lease));
                }
            }
            // The session may be known to be lost a little later than the connection for blobs.
            Done::Fetched { of, blob, broken: true, .. } => self.links[of.place()].wants.again(blob.id),
            Done::Fetched { of, blob, fetched: Err(error), .. } => self.fetch_failed(of, blob, &error, now),
            Done::Kept { lease, result, kept } => self.kept(lease, result, kept, now),
            Done::Forgotten => {}
            Done::Rechecked { lease, error, damaged } => self.rechecked(lease, &error, &damaged, now),
            Done::Pay(done) => self.pay_done(done, now),
        }
        None
    }

    /// A lease could not begin: these of its inputs are damaged here, and are fetched again.
    fn rechecked(&mut self, lease: LeaseKey, error: &InputError, damaged: &[BlobId], now: Instant) {
        let attempt = self.machine.queue.done(lease);
        if let Some(attempt) = &attempt {
            self.release(attempt, now);
        }
        let link = &mut self.links[lease.coordinator.place()];
        for id in damaged {
            tracing::warn!(blob = %id, "an input is damaged, and is fetched again");
            link.wants.lost(*id);
        }
        let released = link.room.release(damaged);
        self.chores.spawn(async move {
            released.await;
            Done::Forgotten
        });
        // It may have been cancelled meanwhile.
        let Some(attempt) = attempt else { return };
        if self.draining {
            self.lease_left(lease);
            return self.give_back(ReturnReason::Draining, lease);
        }
        // What it read may have been mended since: it was given places when it was started, and others had the damage looked
        // at before its turn came. Whoever still reads wrong bytes in today's places was lied to.
        if damaged.is_empty() && attempt.begun_twice.swap(true, Ordering::Relaxed) {
            self.lease_left(lease);
            return self.distrust(lease, error);
        }
        match link.wants.need(lease.lease, &attempt.blobs) {
            Ok(missing) => self.machine.queue.add(attempt, missing),
            Err(conflict) => self.distrust(lease, &conflict),
        }
    }

    fn fetch_failed(
        &mut self,
        of: CoordinatorIndex,
        blob: tidemill_job::BlobRef,
        error: &FetchError,
        now: Instant,
    ) {
        let reason = words(error);
        let is_no_room = matches!(error, FetchError::Blob(error) if is_no_room(error));
        if is_no_room && self.release_unused(of, std::time::Duration::ZERO, now) {
            // What nobody needs was pinned all the same: with it gone, there may be room.
            return self.links[of.place()].wants.again(blob.id);
        }
        tracing::warn!(blob = %blob.id, reason, "a blob could not be fetched");
        let why = if is_no_room { ReturnReason::NoRoom } else { fetch_reason(&reason) };
        for lease in self.links[of.place()].wants.failed(blob.id) {
            self.drop_lease(of.lease(lease), now);
            self.give_back(why.clone(), of.lease(lease));
        }
        if is_no_room {
            self.pause(of, reason, now);
        }
    }

    /// Takes no leases of a coordinator for a while, for want of room for their blobs.
    fn pause(&mut self, of: CoordinatorIndex, reason: String, now: Instant) {
        if self.links[of.place()].no_room.is_none() {
            self.say_of(of, Event::NoRoom { reason: reason.clone(), resume_in: NO_ROOM_PAUSE });
        }
        self.links[of.place()].no_room = Some((now + NO_ROOM_PAUSE, reason));
    }

    /// Gives back all leases that have not begun.
    pub(super) fn begin_to_drain(&mut self) {
        self.draining = true;
        for of in self.everyone() {
            self.give_up_waiting(of, Some(ReturnReason::Draining));
        }
        let running = u32::try_from(self.machine.queue.running()).unwrap_or(u32::MAX);
        let unsettled: usize = self.links.iter().map(|link| link.reports.len()).sum();
        tracing::info!(running, unsettled, "draining");
        self.say(Event::Draining { running, unsettled });
    }

    /// Gives up all leases of a coordinator that have not begun, and says so unless they are someone else's already.
    pub(super) fn give_up_waiting(&mut self, of: CoordinatorIndex, reason: Option<ReturnReason>) {
        let now = Instant::now();
        self.take_back(of);
        for lease in self.machine.queue.waiting(of) {
            self.drop_lease(lease, now);
            if let Some(reason) = &reason {
                self.give_back(reason.clone(), lease);
            }
        }
    }

    /// Gives up all that there is of a coordinator that will not have this provider.
    pub(super) fn abandon(&mut self, of: CoordinatorIndex) {
        self.give_up_waiting(of, None);
        let now = Instant::now();
        let attempts: Vec<_> = self.machine.queue.attempts_of(of).map(|attempt| attempt.key).collect();
        for lease in attempts {
            self.drop_lease(lease, now);
        }
        let results: Vec<_> =
            self.links[of.place()].reports.held().map(|(lease, _)| of.lease(lease)).collect();
        for lease in results {
            self.result_cancelled(lease, now);
            self.forget_result(lease);
        }
        self.links[of.place()].returns.clear();
    }
}

/// A reason that fits into its message.
pub(super) fn fetch_reason(words: &str) -> ReturnReason {
    let mut words = one_line(words, MAX_WORDS_BYTES);
    words.truncate(words.floor_char_boundary(MAX_WORDS_BYTES));
    ReturnReason::Fetch(words)
}

fn is_no_room(error: &BlobError) -> bool {
    error.is_disk_full() || matches!(error, BlobError::OverBudget(_))
}
