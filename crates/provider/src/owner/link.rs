//! The session: dialing, what is heard, and its loss.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    time::{Duration, Instant},
};

use tidemill_net::{
    frame::FrameError,
    recall::{Recalls, recalled},
    wire::{Bounded, HeldLease, Role, ToProvider},
};
use tidemill_types::{LeaseId, TaskId, one_line};

use super::{Done, Owner};
use crate::{
    event::{Ending, Event},
    session::{Link, LinkError, dial, words},
};

/// A copy that is started over and over is told of once in so long.
const TELL_OF_COPY: Duration = Duration::from_secs(60);

impl Owner {
    /// Dials in the background.
    pub(super) fn dial(&mut self) {
        // What would have been returned is not held any more, which the coordinator learns from the list.
        self.returns.clear();
        let waiting = self
            .queue
            .attempts()
            .map(|attempt| (attempt.id, TaskId { job: attempt.job, task: attempt.task }));
        let held: BTreeMap<LeaseId, TaskId> =
            waiting.chain(self.reports.held()).chain(self.undecided()).collect();
        let held = held.into_iter().map(|(lease, task)| HeldLease { lease, task }).collect();
        let credits = self.credits();
        self.told_credits = credits;
        let (offer, incarnation) = (self.setting.offer.clone(), self.setting.incarnation);
        let role = Role::Provider { offer, credits, held, incarnation };
        let (node, ticket, room) =
            (self.setting.node.clone(), self.setting.ticket.clone(), self.room.clone());
        let key = self.setting.key.clone();
        self.link.dialing = true;
        self.link.retry = None;
        self.chores.spawn(async move {
            let mut recalls = node.recalls();
            let dialed = loop {
                tokio::select! {
                    dialed = dial(&node, &key, &ticket, role.clone(), room.clone()) => break dialed,
                    // It has just come back, and what was said to it before went nowhere.
                    () = recalled(recalls.as_mut()) => {}
                }
            };
            Done::Dialed(dialed.map(Box::new))
        });
    }

    /// The coordinator was started anew: a session with the process before it is dead.
    pub(super) fn recalled(&mut self, link: &mut Option<Box<Link>>) {
        self.backoff.begin_anew();
        if link.is_some() {
            self.lost(link, "the coordinator was started anew".to_owned());
        } else {
            self.link.retry = self.link.retry.map(|_| Instant::now());
        }
    }

    pub(super) fn dialed(
        &mut self,
        dialed: Result<Box<Link>, LinkError>,
        link: &mut Option<Box<Link>>,
    ) -> Option<Ending> {
        self.link.dialing = false;
        match dialed {
            Ok(new) => {
                if let Err(reason) = self.settle_money(new.money, Instant::now()) {
                    tracing::error!(reason, "this network does not suit");
                    new.cut(&reason);
                    self.say(Event::Refused { reason: reason.clone() });
                    return Some(Ending::Refused { reason });
                }
                let coordinator = self.setting.ticket.node();
                let away = self.link.lost.take().map(|lost| lost.elapsed());
                tracing::info!(coordinator = %coordinator.short(), ?away, "joined");
                self.say(Event::Joined { coordinator, software: new.software.clone() });
                if self.works_for_nothing() {
                    self.say(Event::Free);
                }
                self.link.lease = new.lease;
                self.link.forsaken = None;
                self.idle.told(None);
                // What was heard while it was dialed is the reason why it answered.
                self.recalls.iter_mut().for_each(Recalls::forget);
                *link = Some(new);
                None
            }
            Err(error) if error.may_pass() => {
                self.retry(error.words());
                None
            }
            Err(error) => {
                let reason = error.words();
                tracing::error!(reason, "the coordinator will not have this provider");
                self.say(Event::Refused { reason: reason.clone() });
                Some(match error.is_copy() {
                    true => Ending::Copied { reason },
                    false => Ending::Refused { reason },
                })
            }
        }
    }

    /// The coordinator has turned away a second process with the key of this one.
    fn copy_refused(&mut self, from: Option<IpAddr>, now: Instant) {
        if self.told_of_copy.is_none_or(|told| now.duration_since(told) >= TELL_OF_COPY) {
            self.told_of_copy = Some(now);
            tracing::warn!(?from, "a second provider with this one's key was turned away: copied directory?");
            self.say(Event::CopyRefused { from });
        }
    }

    /// There is no session: it is tried again.
    fn retry(&mut self, reason: String) {
        let mut random = [0; 8];
        // Without randomness all wait equally long, which is no harm.
        let _ = getrandom::fill(&mut random);
        let wait = self.backoff.next(u64::from_le_bytes(random));
        self.link.retry = Some(Instant::now() + wait);
        tracing::info!(reason, retry_in = ?wait, "not connected");
        self.say(Event::Lost { reason: reason.clone(), retry_in: wait });
        self.link.reason = reason;
    }

    /// The session is over. What runs goes on.
    pub(super) fn lost(&mut self, link: &mut Option<Box<Link>>, reason: String) {
        let Some(old) = link.take() else { return };
        let now = Instant::now();
        self.backoff.held(now.duration_since(old.since));
        old.cut(&reason);
        self.reports.lost(now);
        self.end_follows();
        self.forget_releases();
        self.link.forsaken = now.checked_add(self.link.lease);
        self.link.lost = Some(now);
        self.retry(reason);
    }

    /// The coordinator breaks the rules: it is left, and dialed again later.
    fn leave(&mut self, link: &mut Option<Box<Link>>, reason: &str) {
        tracing::warn!(reason, "the coordinator broke the protocol");
        self.lost(link, format!("the coordinator broke the protocol: {reason}"));
    }

    pub(super) fn heard(
        &mut self,
        heard: Result<Option<ToProvider>, FrameError>,
        link: &mut Option<Box<Link>>,
    ) {
        let message = match heard {
            Ok(Some(message)) => message,
            Ok(None) => return self.lost(link, "the coordinator hung up".to_owned()),
            Err(FrameError::Io(error)) => return self.lost(link, words(&error)),
            Err(error) => return self.leave(link, &words(&error)),
        };
        let now = Instant::now();
        if let Some(link) = link {
            link.heard = now;
        }
        self.coordinator_heard(now);
        if let Err(error) = message.check() {
            return self.leave(link, &error.to_string());
        }
        match message {
            ToProvider::Leases(leases) => {
                if let Err(reason) = self.take(leases) {
                    self.leave(link, &reason);
                }
            }
            ToProvider::Settled { sequence } => {
                for settled in self.reports.settled(sequence) {
                    self.forget_output(settled.lease, settled.blob);
                }
            }
            ToProvider::Cancel(leases) => {
                for lease in leases {
                    self.cancel(lease, now);
                }
            }
            ToProvider::Decided { decisions, vouchers } => self.decided(&decisions, &vouchers),
            ToProvider::ReleaseWanted(asked) => self.releases_wanted(&asked),
            ToProvider::Heartbeat { idle } => self.idle.told(idle.map(|reason| one_line(&reason, 300))),
            ToProvider::Follow { lease, follow } => self.follow(lease, Some(follow)),
            ToProvider::Unfollow { lease } => self.follow(lease, None),
            ToProvider::CopyRefused { from } => self.copy_refused(from, now),
            ToProvider::Bye { reason } => {
                let reason = one_line(&reason, 300);
                self.lost(link, format!("the coordinator ended the session: {reason}"));
            }
        }
    }
}
