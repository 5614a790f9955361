//! The leases that are held and have not ended, and which of them may start.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use tidemill_types::{EngineIndex, LeaseId};

use crate::{
    attempt::Attempt,
    key::{CoordinatorIndex, LeaseKey},
    turn::{self, Turn},
};

/// What the owner of the machine allows an engine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    /// Attempts that may be started at once.
    pub(crate) starts: usize,
    /// Memory for all of them together, in bytes; where they share it, for each.
    pub(crate) memory: u64,
    /// See [`tidemill_types::ProgramKind::shares_memory`].
    pub(crate) is_shared: bool,
}

/// Leases from their arrival until they have run.
///
/// On an engine the coordinators take turns ([`turn`]), and of the leases of one the lowest number starts first. A lease
/// whose blobs are missing holds nobody up; one that is ready and does not fit into the memory that is left does, when it
/// is its coordinator's turn, since otherwise small tasks could keep a large one out for ever. No engine waits for another.
#[derive(Debug)]
pub(crate) struct Queue {
    lanes: Vec<Lane>,
    leases: BTreeMap<LeaseKey, Held>,
    /// Cancelled while they ran: nobody waits for them, and they take up room until they end.
    ending: BTreeMap<LeaseKey, Ending>,
    /// What each coordinator has here, by its index.
    tallies: Vec<Tally>,
}

/// What a coordinator has in the queue.
#[derive(Clone, Copy, Default, Debug)]
struct Tally {
    held: usize,
    ending: usize,
    storing: usize,
    bytes: usize,
}

/// What one engine has to do.
#[derive(Debug)]
struct Lane {
    room: Room,
    /// What is each coordinator's, by its index.
    shares: Vec<Share>,
    /// Attempts that were started since the beginning.
    starts: u64,
    running: usize,
    memory: u64,
}

/// What one engine has to do for one coordinator.
#[derive(Clone, Default, Debug)]
struct Share {
    ready: BTreeSet<LeaseId>,
    running: usize,
    /// The engine's count of starts when one of these was started last.
    last: u64,
}

#[derive(Clone, Copy, Debug)]
struct Ending {
    engine: EngineIndex,
    memory: u64,
}

#[derive(Debug)]
struct Held {
    attempt: Arc<Attempt>,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// So many of its blobs are missing.
    Waiting(usize),
    Ready,
    Running,
    /// It has run, and its output is being put away.
    Storing,
}

/// What a lease was doing that is of no use any more.
#[derive(Debug)]
pub(crate) enum Dropped {
    /// Nothing yet.
    Waiting(Arc<Attempt>),
    /// It has been started, and keeps its room until [`Queue::ran`].
    Running(Arc<Attempt>),
    /// Its output is being put away.
    Storing(Arc<Attempt>),
}

impl Queue {
    /// A queue for so many coordinators, and for engines that have this much room, by their indices.
    pub(crate) fn new(coordinators: usize, rooms: impl IntoIterator<Item = Room>) -> Self {
        let lane = |room| Lane {
            room,
            shares: vec![Share::default(); coordinators],
            starts: 0,
            running: 0,
            memory: 0,
        };
        Self {
            lanes: rooms.into_iter().map(lane).collect(),
            leases: BTreeMap::new(),
            ending: BTreeMap::new(),
            tallies: vec![Tally::default(); coordinators],
        }
    }

    /// Takes a lease in that [`Self::fits`] and waits for so many blobs.
    pub(crate) fn add(&mut self, attempt: Arc<Attempt>, missing: usize) {
        let key = attempt.key;
        let tally = &mut self.tallies[key.coordinator.place()];
        tally.held += 1;
        tally.bytes += attempt.bytes;
        let state = if missing > 0 { State::Waiting(missing) } else { State::Ready };
        if state == State::Ready {
            self.lanes[attempt.engine.place()].ready(key);
        }
        let before = self.leases.insert(key, Held { attempt, state });
        debug_assert!(before.is_none(), "{key} was held already");
    }

    /// Whether it could ever start: its engine is there, and has the memory.
    pub(crate) fn fits(&self, attempt: &Attempt) -> bool {
        let lane = self.lanes.get(attempt.engine.place());
        lane.is_some_and(|lane| attempt.spec.limits.memory.0 <= lane.room.memory)
    }

    pub(crate) fn holds(&self, lease: LeaseKey) -> bool {
        self.leases.contains_key(&lease) || self.ending.contains_key(&lease)
    }

    /// One of the blobs that a lease waits for has arrived.
    pub(crate) fn arrived(&mut self, lease: LeaseKey) {
        let Some(held) = self.leases.get_mut(&lease) else { return };
        let State::Waiting(missing) = &mut held.state else { return };
        *missing -= 1;
        if *missing == 0 {
            held.state = State::Ready;
            self.lanes[held.attempt.engine.place()].ready(lease);
        }
    }

    /// The next attempt that may start, of a coordinator that may start more; it is taken to have. `allowed`: how many
    /// more each coordinator may start, by its index.
    pub(crate) fn start(&mut self, allowed: &[usize]) -> Option<Arc<Attempt>> {
        let Self { lanes, leases, .. } = self;
        lanes.iter_mut().find_map(|lane| lane.start(leases, allowed))
    }

    /// An attempt that was started has not begun after all, and waits again.
    pub(crate) fn not_begun(&mut self, lease: LeaseKey) {
        let Some(held) = self.leases.get_mut(&lease) else { return self.free(lease) };
        if held.state == State::Running {
            held.state = State::Ready;
            let lane = &mut self.lanes[held.attempt.engine.place()];
            lane.ready(lease);
            lane.free(lease.coordinator, held.attempt.spec.limits.memory.0);
        }
    }

    /// An attempt has run: its slot and its memory are free. Gives it unless it was dropped meanwhile; it stays held
    /// until [`Self::done`].
    pub(crate) fn ran(&mut self, lease: LeaseKey) -> Option<Arc<Attempt>> {
        let Some(held) = self.leases.get_mut(&lease) else {
            self.free(lease);
            return None;
        };
        if held.state == State::Running {
            held.state = State::Storing;
            let memory = held.attempt.spec.limits.memory.0;
            self.lanes[held.attempt.engine.place()].free(lease.coordinator, memory);
            self.tallies[lease.coordinator.place()].storing += 1;
        }
        Some(held.attempt.clone())
    }

    /// What ran has been put away. Gives it unless it was dropped meanwhile.
    pub(crate) fn done(&mut self, lease: LeaseKey) -> Option<Arc<Attempt>> {
        if self.leases.get(&lease)?.state != State::Storing {
            return None;
        }
        let held = self.leases.remove(&lease)?;
        let tally = &mut self.tallies[lease.coordinator.place()];
        tally.storing -= 1;
        tally.left(&held.attempt);
        Some(held.attempt)
    }

    /// Gives up a lease, whatever it is doing.
    pub(crate) fn drop_lease(&mut self, lease: LeaseKey) -> Option<Dropped> {
        let Held { attempt, state } = self.leases.remove(&lease)?;
        let tally = &mut self.tallies[lease.coordinator.place()];
        tally.left(&attempt);
        Some(match state {
            State::Waiting(_) => Dropped::Waiting(attempt),
            State::Ready => {
                self.lanes[attempt.engine.place()].unready(lease);
                Dropped::Waiting(attempt)
            }
            State::Running => {
                let (engine, memory) = (attempt.engine, attempt.spec.limits.memory.0);
                self.ending.insert(lease, Ending { engine, memory });
                tally.ending += 1;
                Dropped::Running(attempt)
            }
            State::Storing => {
                tally.storing -= 1;
                Dropped::Storing(attempt)
            }
        })
    }

    fn free(&mut self, lease: LeaseKey) {
        if let Some(Ending { engine, memory }) = self.ending.remove(&lease) {
            self.tallies[lease.coordinator.place()].ending -= 1;
            self.lanes[engine.place()].free(lease.coordinator, memory);
        }
    }

    /// The leases of a coordinator that have not been started.
    pub(crate) fn waiting(&self, of: CoordinatorIndex) -> Vec<LeaseKey> {
        let waits = |attempt: &&Held| matches!(attempt.state, State::Waiting(_) | State::Ready);
        self.held(of).filter(waits).map(|held| held.attempt.key).collect()
    }

    /// The attempts that a coordinator waits for.
    pub(crate) fn attempts_of(&self, of: CoordinatorIndex) -> impl Iterator<Item = &Arc<Attempt>> {
        self.held(of).map(|held| &held.attempt)
    }

    fn held(&self, of: CoordinatorIndex) -> impl Iterator<Item = &Held> {
        let all = of.lease(LeaseId(u64::MIN))..=of.lease(LeaseId(u64::MAX));
        self.leases.range(all).map(|(_, held)| held)
    }

    /// The attempts that somebody waits for.
    pub(crate) fn attempts(&self) -> impl Iterator<Item = &Arc<Attempt>> {
        self.leases.values().map(|held| &held.attempt)
    }

    /// The attempt of a lease that somebody waits for.
    pub(crate) fn attempt(&self, lease: LeaseKey) -> Option<&Arc<Attempt>> {
        self.leases.get(&lease).map(|held| &held.attempt)
    }

    /// How many leases somebody waits for.
    pub(crate) fn len(&self) -> usize {
        self.leases.len()
    }

    /// How many of them are a coordinator's.
    pub(crate) fn len_of(&self, of: CoordinatorIndex) -> usize {
        self.tallies[of.place()].held
    }

    /// How many have been started and have not ended.
    pub(crate) fn running(&self) -> usize {
        self.running_each().sum()
    }

    /// The same on each engine.
    pub(crate) fn running_each(&self) -> impl Iterator<Item = usize> {
        self.lanes.iter().map(|lane| lane.running)
    }

    /// The same of one coordinator.
    pub(crate) fn running_each_of(&self, of: CoordinatorIndex) -> impl Iterator<Item = usize> {
        self.lanes.iter().map(move |lane| lane.shares[of.place()].running)
    }

    /// How many of a coordinator's have run, and their outputs are being put away.
    pub(crate) fn storing_of(&self, of: CoordinatorIndex) -> usize {
        self.tallies[of.place()].storing
    }

    /// How many of a coordinator's wait for a slot or for blobs.
    pub(crate) fn waiting_count_of(&self, of: CoordinatorIndex) -> usize {
        let Tally { held, ending, storing, .. } = self.tallies[of.place()];
        held + ending - self.running_each_of(of).sum::<usize>() - storing
    }

    /// About how much memory the leases of a coordinator themselves take.
    pub(crate) fn bytes_of(&self, of: CoordinatorIndex) -> usize {
        self.tallies[of.place()].bytes
    }
}

impl Tally {
    /// A lease is not held any more.
    fn left(&mut self, attempt: &Attempt) {
        self.held -= 1;
        self.bytes -= attempt.bytes;
    }
}

impl Lane {
    /// The next of its attempts that may start; it is taken to have.
    fn start(&mut self, leases: &mut BTreeMap<LeaseKey, Held>, allowed: &[usize]) -> Option<Arc<Attempt>> {
        if self.running >= self.room.starts {
            return None;
        }
        let key = self.next(leases, allowed)?;
        let held = leases.get_mut(&key).expect("what is ready is held");
        let memory = self.memory.checked_add(held.attempt.spec.limits.memory.0)?;
        if memory > self.room.memory && !self.room.is_shared {
            return None;
        }
        held.state = State::Running;
        self.starts += 1;
        self.running += 1;
        self.memory = memory;
        let share = &mut self.shares[key.coordinator.place()];
        share.ready.remove(&key.lease);
        share.running += 1;
        share.last = self.starts;
        Some(held.attempt.clone())
    }

    /// Which of its attempts is next.
    fn next(&self, leases: &BTreeMap<LeaseKey, Held>, allowed: &[usize]) -> Option<LeaseKey> {
        let shares = CoordinatorIndex::first(self.shares.len()).zip(&self.shares).zip(allowed);
        let firsts = shares.map(|((coordinator, share), allowed)| {
            let first = share.ready.first().filter(|_| *allowed > 0)?;
            Some((coordinator.lease(*first), share))
        });
        let firsts: Vec<_> = firsts.collect();
        let turns = firsts.iter().map(|first| {
            let (key, share) = (*first)?;
            Some(Turn { pays: leases[&key].attempt.pays(), running: share.running, last: share.last })
        });
        let place = turn::next(turns)?;
        firsts[place].map(|(key, _)| key)
    }

    /// A lease waits for a slot.
    fn ready(&mut self, lease: LeaseKey) {
        self.shares[lease.coordinator.place()].ready.insert(lease.lease);
    }

    /// It does not any more.
    fn unready(&mut self, lease: LeaseKey) {
        self.shares[lease.coordinator.place()].ready.remove(&lease.lease);
    }

    /// One that held so much memory runs no longer.
    fn free(&mut self, coordinator: CoordinatorIndex, memory: u64) {
        self.shares[coordinator.place()].running -= 1;
        self.running -= 1;
        self.memory -= memory;
    }
}

#[cfg(test)]
mod tests;
