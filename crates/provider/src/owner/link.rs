//! Sessions: dialing, what is heard, and their loss.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    time::{Duration, Instant},
};

use tidemill_net::{
    frame::FrameError,
    recall::recalled,
    wire::{Bounded, HeldLease, Role, ToProvider},
};
use tidemill_types::{LeaseId, TaskId, one_line};

use super::{Done, Owner};
use crate::{
    event::{Ending, Event},
    key::CoordinatorIndex,
    link::Stir,
    session::{LinkError, OpenLink, dial, words},
};

/// A copy that is started over and over is told of once in so long.
const TELL_OF_COPY: Duration = Duration::from_secs(60);

impl Owner {
    /// Dials a coordinator in the background.
    pub(super) fn dial(&mut self, of: CoordinatorIndex) {
        let (credits, offer) = (self.credits_of(of), self.offer_to(of));
        let waiting = self
            .machine
            .queue
            .attempts_of(of)
            .map(|attempt| (attempt.key.lease, TaskId { job: attempt.job, task: attempt.task }));
        let reported = self.links[of.place()].reports.held();
        let held: BTreeMap<LeaseId, TaskId> = waiting.chain(reported).chain(self.undecided(of)).collect();
        let held = held.into_iter().map(|(lease, task)| HeldLease { lease, task }).collect();
        let incarnation = self.setting.incarnation;
        let role = Role::Provider { offer, credits, held, incarnation };
        let (node, key) = (self.setting.node.clone(), self.setting.key.clone());
        let link = &mut self.links[of.place()];
        // What would have been returned is not held any more, which the coordinator learns from the list.
        link.returns.clear();
        link.told.credits = credits;
        link.away.dialing = true;
        link.away.retry = None;
        let (ticket, room) = (link.ticket.clone(), link.room.clone());
        self.chores.spawn(async move {
            let mut recalls = node.recalls(ticket.node());
            let dialed = loop {
                tokio::select! {
                    dialed = dial(&node, &key, &ticket, role.clone(), room.clone()) => break dialed,
                    // It has just come back, and what was said to it before went nowhere.
                    () = recalled(recalls.as_mut()) => {}
                }
            };
            Done::Dialed { by: of, dialed: dialed.map(Box::new) }
        });
    }

    /// Something happened on a link.
    pub(super) fn stirred(&mut self, of: CoordinatorIndex, stir: Stir) {
        match stir {
            Stir::Heard(heard) => self.heard(of, heard),
            Stir::Flushed(Ok(())) | Stir::Pieces => {}
            Stir::Flushed(Err(error)) => self.lost(of, words(&error)),
            Stir::Closed(reason) => self.lost(of, reason),
            Stir::Recalled => self.recalled(of),
        }
    }

    /// A coordinator was started anew: a session with the process before it is dead.
    fn recalled(&mut self, of: CoordinatorIndex) {
        let link = &mut self.links[of.place()];
        link.backoff.begin_anew();
        if link.open.is_some() {
            self.lost(of, "the coordinator was started anew".to_owned());
        } else {
            link.away.retry = link.away.retry.map(|_| Instant::now());
        }
    }

    pub(super) fn dialed(
        &mut self,
        of: CoordinatorIndex,
        dialed: Result<Box<OpenLink>, LinkError>,
    ) -> Option<Ending> {
        self.links[of.place()].away.dialing = false;
        match dialed {
            Ok(new) => {
                if let Err(reason) = self.settle_money(of, new.money, Instant::now()) {
                    tracing::error!(reason, "this network does not suit");
                    new.cut(&reason);
                    return self.over(of, &reason.clone(), Ending::Refused { reason });
                }
                let link = &mut self.links[of.place()];
                let away = link.away.lost.take().map(|lost| lost.elapsed());
                tracing::info!(coordinator = %link.coordinator().short(), ?away, "joined");
                link.away.lease = new.lease;
                link.away.forsaken = None;
                link.idle_reason = None;
                // What this process said while it was dialed, or says before it knows, is no news.
                link.recalls.iter_mut().for_each(|recalls| recalls.begun(new.process));
                let software = new.software.clone();
                link.open = Some(new);
                self.say_of(of, Event::Joined { software });
                if self.works_for_nothing(of) {
                    self.say_of(of, Event::Free);
                }
                None
            }
            Err(error) if error.may_pass() => {
                self.retry(of, error.words());
                None
            }
            Err(error) => {
                let reason = error.words();
                tracing::error!(reason, "the coordinator will not have this provider");
                let ending = match error.is_copy() {
                    true => Ending::Copied { reason: reason.clone() },
                    false => Ending::Refused { reason: reason.clone() },
                };
                self.over(of, &reason, ending)
            }
        }
    }

    /// A coordinator will not have this provider. That is the end if no other will.
    fn over(&mut self, of: CoordinatorIndex, reason: &str, ending: Ending) -> Option<Ending> {
        self.say_of(of, Event::Refused { reason: reason.to_owned() });
        let link = &mut self.links[of.place()];
        link.away.reason = reason.to_owned();
        link.away.retry = None;
        link.away.forsaken = None;
        link.ending = Some(ending.clone());
        if self.links.iter().all(|link| link.ending.is_some()) {
            return Some(ending);
        }
        self.abandon(of);
        None
    }

    /// A coordinator has turned away a second process with the key of this one.
    fn copy_refused(&mut self, of: CoordinatorIndex, from: Option<IpAddr>, now: Instant) {
        let told = &mut self.links[of.place()].told.of_copy;
        if told.is_none_or(|told| now.duration_since(told) >= TELL_OF_COPY) {
            *told = Some(now);
            tracing::warn!(?from, "a second provider with this one's key was turned away: copied directory?");
            self.say_of(of, Event::CopyRefused { from });
        }
    }

    /// There is no session: it is tried again.
    fn retry(&mut self, of: CoordinatorIndex, reason: String) {
        let mut random = [0; 8];
        // Without randomness all wait equally long, which is no harm.
        let _ = getrandom::fill(&mut random);
        let link = &mut self.links[of.place()];
        let wait = link.backoff.next(u64::from_le_bytes(random));
        link.away.retry = Some(Instant::now() + wait);
        tracing::info!(coordinator = %link.coordinator().short(), reason, retry_in = ?wait, "not connected");
        link.away.reason = reason.clone();
        self.say_of(of, Event::Lost { reason, retry_in: wait });
    }

    /// A session is over. What runs goes on.
    pub(super) fn lost(&mut self, of: CoordinatorIndex, reason: String) {
        let link = &mut self.links[of.place()];
        let Some(old) = link.open.take() else { return };
        let now = Instant::now();
        link.backoff.held(now.duration_since(old.since));
        old.cut(&reason);
        link.reports.lost(now);
        // Releases that were not sent are asked for again.
        link.releases.clear();
        link.away.forsaken = now.checked_add(link.away.lease);
        link.away.lost = Some(now);
        self.end_follows(of);
        self.retry(of, reason);
    }

    /// A coordinator breaks the rules: it is left, and dialed again later.
    fn leave(&mut self, of: CoordinatorIndex, reason: &str) {
        tracing::warn!(reason, "the coordinator broke the protocol");
        self.lost(of, format!("the coordinator broke the protocol: {reason}"));
    }

    fn heard(&mut self, of: CoordinatorIndex, heard: Result<Option<ToProvider>, FrameError>) {
        let message = match heard {
            Ok(Some(message)) => message,
            Ok(None) => return self.lost(of, "the coordinator hung up".to_owned()),
            Err(FrameError::Io(error)) => return self.lost(of, words(&error)),
            Err(error) => return self.leave(of, &words(&error)),
        };
        let now = Instant::now();
        if let Some(open) = &mut self.links[of.place()].open {
            open.heard = now;
        }
        self.coordinator_heard(of, now);
        if let Err(error) = message.check() {
            return self.leave(of, &error.to_string());
        }
        match message {
            ToProvider::Leases(leases) => {
                if let Err(reason) = self.take(of, leases) {
                    self.leave(of, &reason);
                }
            }
            ToProvider::Settled { sequence } => {
                for settled in self.links[of.place()].reports.settled(sequence) {
                    self.forget_output(of, settled.lease, settled.blob);
                }
            }
            ToProvider::Cancel(leases) => {
                for lease in leases {
                    self.cancel(of.lease(lease), now);
                }
            }
            ToProvider::Decided { decisions, vouchers } => self.decided(of, &decisions, &vouchers),
            ToProvider::ReleaseWanted(asked) => self.releases_wanted(of, &asked),
            ToProvider::Heartbeat { idle } => {
                self.links[of.place()].idle_reason = idle.map(|reason| one_line(&reason, 300));
            }
            ToProvider::Follow { lease, follow } => self.follow(of.lease(lease), Some(follow)),
            ToProvider::Unfollow { lease } => self.follow(of.lease(lease), None),
            ToProvider::CopyRefused { from } => self.copy_refused(of, from, now),
            ToProvider::Bye { reason } => {
                let reason = one_line(&reason, 300);
                self.lost(of, format!("the coordinator ended the session: {reason}"));
            }
        }
    }
}
