//! Leases from their arrival to their results.

use std::{error::Error, num::NonZeroU64, sync::Arc, time::Instant};

use tidemill_exec::OutputBody;
use tidemill_net::{
    blobs::{BlobError, FetchError},
    wire::{Lease, MAX_WORDS_BYTES, ReturnReason, TaskResult},
};
use tidemill_types::{BlobId, LeaseId, TaskId, one_line};

use super::{Done, NO_ROOM_PAUSE, Owner};
use crate::{
    attempt::{Attempt, LeaseError},
    event::{Ending, Event},
    inputs::InputError,
    pay::book::Admission,
    queue::Dropped,
    room::Fetched,
    run::{Ended, LargeOutput, Ran},
    session::{Link, words},
};

impl Owner {
    /// Takes leases in. What is wrong with them altogether is the coordinator's breach of the protocol.
    pub(super) fn take(&mut self, leases: Vec<Lease>) -> Result<(), String> {
        // A result that was sent may have freed its lease over there already.
        let open = self.queue.len() + self.reports.unsent();
        let most = self.setting.credits as usize;
        if open + leases.len() > most {
            return Err(format!("{} leases on top of {open}, where {most} are allowed", leases.len()));
        }
        for lease in leases {
            if self.queue.holds(lease.id) || self.reports.holds(lease.id) {
                return Err(format!("lease {} was given twice", lease.id));
            }
            self.take_one(lease);
        }
        Ok(())
    }

    fn take_one(&mut self, lease: Lease) {
        let id = lease.id;
        if self.draining {
            return self.give_back(ReturnReason::Draining, id);
        }
        if self.no_room.is_some() {
            return self.give_back(ReturnReason::NoRoom, id);
        }
        let engine = self.setting.offer.engine(lease.engine);
        let Some(rates) = engine.filter(|engine| engine.kind == lease.spec.kind).map(|engine| engine.rates)
        else {
            let (index, kind) = (lease.engine, lease.spec.kind);
            return self.distrust(id, &LeaseError::OtherEngine { index, kind });
        };
        let is_unverified = match self.admit(&lease, &rates) {
            Admission::Take => false,
            // The word of the ledger is like one more blob that is missing.
            Admission::Wait => true,
            Admission::Refuse(reason) => return self.give_back(reason.reason(), id),
            Admission::OtherRates => return self.distrust(id, &LeaseError::OtherRates),
        };
        if let Err(error) = self.queue_up(lease, is_unverified) {
            self.lease_left(id);
            match error {
                Some(error) => self.distrust(id, &*error),
                None => self.give_back(ReturnReason::NoRoom, id),
            }
        }
    }

    /// Queues a lease. An error is what cannot be right about it, or nothing where it never fits.
    fn queue_up(&mut self, lease: Lease, is_unverified: bool) -> Result<(), Option<Box<dyn Error>>> {
        let attempt = Arc::new(Attempt::new(lease).map_err(|error| Some(error.into()))?);
        if !self.queue.fits(&attempt) {
            return Err(None);
        }
        let missing = self.wants.need(attempt.id, &attempt.blobs).map_err(|error| Some(error.into()))?;
        self.queue.add(attempt, missing + usize::from(is_unverified));
        Ok(())
    }

    /// A lease that contradicts itself or its blobs: nothing of it is signed.
    fn distrust(&mut self, lease: LeaseId, error: &dyn std::error::Error) {
        let reason = words(error);
        tracing::warn!(%lease, reason, "a lease cannot be right");
        self.give_back(fetch_reason(&reason), lease);
    }

    /// A lease goes back with the next message. Those with the same reason go together.
    pub(super) fn give_back(&mut self, reason: ReturnReason, lease: LeaseId) {
        match self.returns.last_mut() {
            Some((last, leases)) if *last == reason => leases.push(lease),
            _ => self.returns.push((reason, vec![lease])),
        }
    }

    /// The coordinator has no use for a lease any more.
    pub(super) fn cancel(&mut self, lease: LeaseId, now: Instant) {
        if self.drop_lease(lease, now) {
            return;
        }
        self.result_cancelled(lease, now);
        if let Some(settled) = self.reports.forget(lease) {
            self.forget_output(settled.lease, settled.blob);
        }
    }

    /// Somebody follows a lease from now on, or nobody any more. It may have ended by now.
    pub(super) fn follow(&self, lease: LeaseId, follow: Option<NonZeroU64>) {
        match (self.queue.attempt(lease), follow) {
            (Some(attempt), Some(follow)) => attempt.follow.begin(follow),
            (Some(attempt), None) => attempt.follow.end(),
            (None, _) => {}
        }
    }

    /// The session is over, and with it every follow.
    pub(super) fn end_follows(&self) {
        self.queue.attempts().for_each(|attempt| attempt.follow.end());
        self.pieces.clear();
    }

    /// Gives up a lease that has no result. Whether there was one.
    pub(super) fn drop_lease(&mut self, lease: LeaseId, now: Instant) -> bool {
        let Some(dropped) = self.queue.drop_lease(lease) else { return false };
        let (Dropped::Waiting(attempt) | Dropped::Running(attempt) | Dropped::Storing(attempt)) = dropped;
        attempt.cancel.cancel();
        attempt.follow.end();
        self.wants.release(lease, &attempt.blobs, now);
        self.lease_left(lease);
        true
    }

    /// A thread is done with an attempt.
    pub(super) fn attempt_ended(&mut self, Ended { lease, result }: Ended) {
        let now = Instant::now();
        let Some(attempt) = self.queue.ran(lease) else {
            if let Ran::Result(_, Some(LargeOutput { body: OutputBody::File(path), .. })) = result {
                let _ = std::fs::remove_file(path);
            }
            return;
        };
        match result {
            Ran::Result(result, None) => self.report(*result, now),
            Ran::Result(result, Some(output)) => {
                let room = self.room.clone();
                // Kept on the side: it waits for the disk.
                self.chores.spawn(async move {
                    let kept = room.keep(lease, output).await;
                    Done::Kept { result, kept }
                });
            }
            Ran::NoInputs(error) => {
                // This disk may be to blame, and not the coordinator.
                let room = self.room.clone();
                self.chores.spawn(async move {
                    let damaged = room.damaged(&attempt.blobs).await;
                    Done::Rechecked { lease, error, damaged }
                });
            }
            Ran::Cancelled => {
                self.queue.done(lease);
                self.wants.release(lease, &attempt.blobs, now);
                self.give_back(ReturnReason::Cancelled, lease);
            }
        }
    }

    /// A result is complete.
    fn report(&mut self, result: TaskResult, now: Instant) {
        let Some(attempt) = self.queue.done(result.lease) else { return };
        self.wants.release(attempt.id, &attempt.blobs, now);
        self.done += 1;
        if self.events.receiver_count() > 0 {
            self.say(Event::TaskDone {
                lease: attempt.id,
                job: attempt.job,
                task: attempt.task,
                outcome: result.claim.outcome.clone(),
                wall: std::time::Duration::from_micros(result.wall_us),
            });
        }
        self.note_result(&attempt, &result);
        self.reports.add(result, TaskId { job: attempt.job, task: attempt.task }, now);
    }

    fn kept(&mut self, result: Box<TaskResult>, kept: Result<(), BlobError>, now: Instant) {
        let lease = result.lease;
        match kept {
            Ok(()) if self.queue.holds(lease) => self.report(*result, now),
            Ok(()) => self.forget_output(lease, result.claim.output.map(|output| output.id)),
            Err(error) => {
                let reason = words(&error);
                tracing::warn!(%lease, reason, "an output could not be kept");
                self.drop_lease(lease, now);
                if is_no_room(&error) {
                    self.pause(reason, now);
                    self.give_back(ReturnReason::NoRoom, lease);
                } else {
                    self.give_back(fetch_reason(&reason), lease);
                }
            }
        }
    }

    pub(super) fn chore_done(&mut self, done: Done, link: &mut Option<Box<Link>>) -> Option<Ending> {
        let now = Instant::now();
        match done {
            Done::Dialed(dialed) => return self.dialed(dialed, link),
            Done::Fetched { blob, result: Ok(Fetched { lent, took }), .. } => {
                if let Some(took) = took {
                    self.bandwidth.observe(blob.len, took);
                }
                for lease in self.wants.arrived(blob.id, lent, now) {
                    self.queue.arrived(lease);
                }
            }
            // The session may be known to be lost a little later than the connection for blobs.
            Done::Fetched { blob, broken: true, .. } => self.wants.again(blob.id),
            Done::Fetched { blob, result: Err(error), .. } => self.fetch_failed(blob, &error, now),
            Done::Kept { result, kept } => self.kept(result, kept, now),
            Done::Forgotten => {}
            Done::Rechecked { lease, error, damaged } => self.rechecked(lease, &error, &damaged, now),
            Done::Pay(done) => self.pay_done(done, now),
        }
        None
    }

    /// A lease could not begin: these of its inputs are damaged here, and are fetched again.
    fn rechecked(&mut self, lease: LeaseId, error: &InputError, damaged: &[BlobId], now: Instant) {
        let attempt = self.queue.done(lease);
        if let Some(attempt) = &attempt {
            self.wants.release(lease, &attempt.blobs, now);
        }
        for id in damaged {
            tracing::warn!(blob = %id, "an input is damaged, and is fetched again");
            self.wants.lost(*id);
        }
        let released = self.room.release(damaged);
        self.chores.spawn(async move {
            released.await;
            Done::Forgotten
        });
        // It may have been cancelled meanwhile.
        let Some(attempt) = attempt else { return };
        if damaged.is_empty() {
            return self.distrust(lease, error);
        }
        match self.wants.need(lease, &attempt.blobs) {
            Ok(missing) => self.queue.add(attempt, missing),
            Err(conflict) => self.distrust(lease, &conflict),
        }
    }

    fn fetch_failed(&mut self, blob: tidemill_job::BlobRef, error: &FetchError, now: Instant) {
        let reason = words(error);
        let is_no_room = matches!(error, FetchError::Blob(error) if is_no_room(error));
        if is_no_room && self.release_unused(std::time::Duration::ZERO, now) {
            // What nobody needs was pinned all the same: with it gone, there may be room.
            return self.wants.again(blob.id);
        }
        tracing::warn!(blob = %blob.id, reason, "a blob could not be fetched");
        let why = if is_no_room { ReturnReason::NoRoom } else { fetch_reason(&reason) };
        for lease in self.wants.failed(blob.id) {
            self.drop_lease(lease, now);
            self.give_back(why.clone(), lease);
        }
        if is_no_room {
            self.pause(reason, now);
        }
    }

    /// Takes no leases for a while, for want of room for blobs.
    fn pause(&mut self, reason: String, now: Instant) {
        if self.no_room.is_none() {
            self.say(Event::NoRoom { reason: reason.clone(), resume_in: NO_ROOM_PAUSE });
        }
        self.no_room = Some((now + NO_ROOM_PAUSE, reason));
    }

    /// Gives back all leases that have not begun.
    pub(super) fn begin_to_drain(&mut self) {
        self.draining = true;
        self.give_up_waiting(Some(ReturnReason::Draining));
        let running = u32::try_from(self.queue.running()).unwrap_or(u32::MAX);
        tracing::info!(running, unsettled = self.reports.len(), "draining");
        self.say(Event::Draining { running, unsettled: self.reports.len() });
    }

    /// Gives up all leases that have not begun, and says so unless they are someone else's already.
    pub(super) fn give_up_waiting(&mut self, reason: Option<ReturnReason>) {
        let now = Instant::now();
        for lease in self.runners.withdraw() {
            self.queue.not_begun(lease);
        }
        for lease in self.queue.waiting() {
            self.drop_lease(lease, now);
            if let Some(reason) = &reason {
                self.give_back(reason.clone(), lease);
            }
        }
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
