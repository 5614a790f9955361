//! A provider in simulated time: it obeys the protocol, and has its troubles.

use std::collections::{BTreeMap, VecDeque};

use tidemill_net::wire::{FromProvider, Lease, ReturnReason, TaskResult, ToProvider};
use tidemill_types::{Failure, Fuel, JobId, LeaseId, Outcome, Release, Signable, Signed, TaskNumber};

use super::{exit, ledger, rng::Rng};
use crate::{
    core::tests::{
        peer::{FUEL, Peer, archive, broke, held, held_of},
        world::{LEASE_MS, World},
    },
    event::Event,
};

/// Among the arguments of a task it has the task fail, wherever it runs.
pub const POISON: &str = "poison";

/// How a poisoned task fails.
pub fn poison() -> Failure {
    exit(3)
}

/// What a liar says of a task.
pub fn lie() -> Failure {
    exit(66)
}

pub struct Provider {
    /// Its leases there are those that wait.
    pub peer: Peer,
    pub lies: bool,
    /// One in so many of its outputs is wrong.
    pub wrong: Option<u64>,
    /// One in so many of its bills is for more work than it did.
    pub overbills: Option<u64>,
    /// Whether others give the same wrong outputs.
    pub colludes: bool,
    pub inbox: VecDeque<ToProvider>,
    /// What it has said since it was looked at last.
    pub said: Vec<Event>,
    running: Vec<(u64, Lease)>,
    unsent: Vec<TaskResult>,
    /// It does nothing until then.
    frozen_until: u64,
    /// Without a session: when it dials again.
    dials_at: u64,
    next_beat: u64,
    /// How many milliseconds its shortest task takes.
    pace: u64,
    /// The task of each lease that it ever had.
    jobs: BTreeMap<LeaseId, (JobId, TaskNumber)>,
    /// Releases that it has not sent yet.
    releases: Vec<Signed<Release>>,
}

impl Provider {
    pub fn new(number: u8, rng: &mut Rng) -> Self {
        // Some have an operator in common.
        let operator = if number > 2 && rng.one_in(4) { 2 } else { number };
        let mut peer = Peer::of(number, operator);
        peer.slots = 1 + rng.below(3) as u32;
        peer.credits = peer.slots * (1 + rng.below(3) as u32);
        Self {
            peer,
            lies: false,
            wrong: None,
            overbills: None,
            colludes: false,
            inbox: VecDeque::new(),
            said: Vec::new(),
            running: Vec::new(),
            unsent: Vec::new(),
            frozen_until: 0,
            dials_at: rng.below(5_000),
            next_beat: 0,
            pace: if rng.one_in(4) { 2_000 } else { 20 },
            jobs: BTreeMap::new(),
            releases: Vec::new(),
        }
    }

    /// Its connection is gone: what was sent and not settled will be sent again.
    pub fn lose_session(&mut self, now: u64, rng: &mut Rng) {
        self.peer.session = None;
        self.inbox.clear();
        self.said.clear();
        let sent = std::mem::take(&mut self.peer.sent);
        self.unsent.splice(0..0, sent.into_values().flatten());
        let longest = if rng.one_in(4) { 2 * LEASE_MS } else { 1_000 };
        self.dials_at = now + rng.below(longest);
    }

    /// Its process dies, and with it all that it knew.
    fn die(&mut self, now: u64, rng: &mut Rng) {
        self.lose_session(now, rng);
        self.peer.leases.clear();
        self.running.clear();
        self.unsent.clear();
    }

    pub fn turn(&mut self, now: u64, calm: bool, rng: &mut Rng, world: &mut World) {
        if calm {
            self.frozen_until = 0;
            self.dials_at = self.dials_at.min(now);
            self.lies = false;
        } else {
            self.suffer(now, rng);
        }
        if now < self.frozen_until {
            return;
        }
        self.work(now, calm, rng);
        match self.peer.session {
            None if now >= self.dials_at => self.dial(world),
            None => {}
            // So that results come late, for leases whose end it could have heard of.
            Some(_) if rng.one_in(3) => {
                self.speak(now, calm, rng);
                self.listen(world);
            }
            Some(_) => {
                self.listen(world);
                self.speak(now, calm, rng);
            }
        }
    }

    /// What may happen to a machine.
    fn suffer(&mut self, now: u64, rng: &mut Rng) {
        match rng.below(4_000) {
            0..8 => self.frozen_until = now + rng.below(2 * LEASE_MS),
            8..16 => self.break_off(now, rng),
            16..20 => {
                let session = self.peer.session;
                self.die(now, rng);
                self.said.extend(session.map(|session| Event::SessionEnded { session }));
            }
            // The old session's end is not noticed before the new one begins, or after.
            20..28 => {
                self.lose_session(now, rng);
                self.dials_at = now;
            }
            28..30 => self.leave(now, rng),
            _ => {}
        }
    }

    fn break_off(&mut self, now: u64, rng: &mut Rng) {
        let session = self.peer.session;
        self.lose_session(now, rng);
        self.said.extend(session.map(|session| Event::SessionEnded { session }));
    }

    /// It gives back what it has not begun, sends what it has, and says goodbye.
    fn leave(&mut self, now: u64, rng: &mut Rng) {
        if self.peer.session.is_none() {
            return;
        }
        let waiting: Vec<LeaseId> = self.peer.leases.drain(..).map(|lease| lease.id).collect();
        self.say(FromProvider::Credits(0));
        self.say(FromProvider::Returned { leases: waiting, reason: ReturnReason::Draining });
        self.say(FromProvider::Bye);
        let said = std::mem::take(&mut self.said);
        self.die(now, rng);
        self.said = said;
    }

    fn say(&mut self, message: FromProvider) {
        let session = self.peer.session();
        self.said.push(Event::FromProvider { session, message });
    }

    fn dial(&mut self, world: &mut World) {
        let session = world.new_session();
        self.peer.session = Some(session);
        self.peer.credits = self.peer.credits.max(self.peer.slots);
        let held = self.peer.leases.iter().map(held);
        let held = held.chain(self.running.iter().map(|(_, lease)| self::held(lease)));
        let unsent = self
            .unsent
            .iter()
            .map(|result| held_of(result.lease, self.jobs[&result.lease].0, self.jobs[&result.lease].1));
        let held = held.chain(unsent).collect();
        self.said.push(self.peer.joining(session, held));
    }

    fn listen(&mut self, world: &World) {
        while let Some(message) = self.inbox.pop_front() {
            match message {
                ToProvider::Leases(leases) => {
                    for lease in leases {
                        assert!(world.was_given(lease.id), "a lease left before it was durable");
                        assert!(!self.holds(lease.id), "a lease comes twice");
                        self.jobs.insert(lease.id, (lease.job, lease.task));
                        self.peer.leases.push(lease);
                    }
                }
                ToProvider::Cancel(leases) => {
                    self.peer.leases.retain(|lease| !leases.contains(&lease.id));
                    self.running.retain(|(_, lease)| !leases.contains(&lease.id));
                    self.unsent.retain(|result| !leases.contains(&result.lease));
                }
                ToProvider::Settled { sequence } => {
                    let results =
                        self.peer.sent.remove(&sequence).expect("only batches that were sent are settled");
                    for result in results {
                        assert!(!world.is_live(result.lease), "a result is forgotten and still waited for");
                    }
                }
                ToProvider::ReleaseWanted(asked) => {
                    // Some do not answer at once.
                    for asked in asked {
                        let release = Release {
                            escrow: asked.escrow,
                            provider: self.peer.operator(),
                            amount: asked.amount,
                        };
                        let signed = release.sign(&ledger::CONTRACT, &self.peer.key).expect("it fits");
                        self.releases.push(signed);
                    }
                }
                ToProvider::Heartbeat { .. }
                | ToProvider::Bye { .. }
                | ToProvider::CopyRefused { .. }
                | ToProvider::Follow { .. }
                | ToProvider::Unfollow { .. }
                | ToProvider::Decided { .. } => {}
            }
        }
    }

    fn holds(&self, id: LeaseId) -> bool {
        self.peer.leases.iter().any(|lease| lease.id == id)
            || self.running.iter().any(|(_, lease)| lease.id == id)
            || self.unsent.iter().any(|result| result.lease == id)
    }

    /// Ends what is due, and begins what there is a slot for.
    fn work(&mut self, now: u64, calm: bool, rng: &mut Rng) {
        let running = std::mem::take(&mut self.running);
        for (ends, lease) in running {
            if ends > now {
                self.running.push((ends, lease));
                continue;
            }
            let result = self.result(&lease, calm, rng);
            self.unsent.push(result);
        }
        while self.running.len() < self.peer.slots as usize && !self.peer.leases.is_empty() {
            let lease = self.peer.leases.remove(0);
            let straggles = !calm && rng.one_in(30);
            let ends = now + self.pace * (1 + rng.below(5)) * if straggles { 20 } else { 1 };
            self.running.push((ends, lease));
        }
    }

    fn result(&mut self, lease: &Lease, calm: bool, rng: &mut Rng) -> TaskResult {
        // The first argument of every program is its name.
        if lease.spec.args.iter().any(|arg| arg == POISON) && lease.spec.args.iter().any(|arg| arg == "0") {
            return self.peer.failure(lease, Outcome::Failed(poison()));
        }
        if self.lies && rng.one_in(4) {
            return self.peer.failure(lease, Outcome::Failed(lie()));
        }
        if !calm && rng.one_in(20) {
            return self.peer.failure(lease, broke());
        }
        if let Some(times) = self.wrong
            && !calm
            && rng.one_in(times)
        {
            // Far enough apart that no tolerance takes two for the same.
            let who = if self.colludes { 0 } else { 16 * self.peer.node.0[0] };
            // Some are large, so that they do not travel in messages.
            let len = if lease.task.0.is_multiple_of(8) { 12_000 } else { 40 };
            let lie = [who, lease.task.0 as u8].into_iter().cycle().take(len).collect::<Vec<u8>>();
            return self.peer.done_with(lease, archive(&lie));
        }
        if let Some(times) = self.overbills
            && !calm
            && rng.one_in(times)
        {
            return self.peer.done_for(lease, Fuel(FUEL.0 * (2 + u64::from(self.peer.node.0[0]))));
        }
        self.peer.done(lease)
    }

    fn speak(&mut self, now: u64, calm: bool, rng: &mut Rng) {
        if !self.unsent.is_empty() && (calm || rng.one_in(3)) {
            let count = 1 + rng.below(self.unsent.len() as u64) as usize;
            let results = self.unsent.drain(..count).collect();
            let message = self.peer.batch(results);
            self.say(message);
        }
        if !self.releases.is_empty() && (calm || rng.one_in(6)) {
            let releases = std::mem::take(&mut self.releases);
            self.say(FromProvider::Released(releases));
        }
        if now >= self.next_beat {
            self.next_beat = now + 1_000;
            self.say(FromProvider::Heartbeat { running: 0, waiting: 0 });
        }
        if calm {
            // It may be the only one that a job is for.
            if self.peer.credits == 0 {
                self.peer.credits = 1;
                self.say(FromProvider::Credits(1));
            }
            return;
        }
        if !self.peer.leases.is_empty() && rng.one_in(100) {
            let lease = self.peer.leases.pop().expect("there is one");
            let reason =
                if rng.one_in(2) { ReturnReason::NoRoom } else { ReturnReason::Fetch("a".to_owned()) };
            self.say(FromProvider::Returned { leases: vec![lease.id], reason });
        }
        if rng.one_in(300) {
            self.peer.credits = rng.below(7) as u32;
            self.say(FromProvider::Credits(self.peer.credits));
        }
        if rng.one_in(300) {
            self.say(FromProvider::Offer(self.peer.offer()));
        }
    }
}
