//! The leases that are held and have not ended, and which of them may start.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use tidemill_types::{EngineIndex, LeaseId};

use crate::attempt::Attempt;

/// What the owner of the machine allows an engine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    /// Attempts that may be started at once.
    pub(crate) starts: usize,
    /// Memory for all of them together, in bytes.
    pub(crate) memory: u64,
}

/// Leases from their arrival until they have run.
///
/// Of the leases of an engine the lowest number starts first. A lease whose blobs are missing holds nobody up; one that is
/// ready and does not fit into the memory that is left does, since otherwise small tasks could keep a large one out for
/// ever. No engine waits for another.
#[derive(Debug)]
pub(crate) struct Queue {
    lanes: Vec<Lane>,
    leases: BTreeMap<LeaseId, Held>,
    /// Cancelled while they ran: nobody waits for them, and they take up room until they end.
    ending: BTreeMap<LeaseId, Ending>,
    storing: usize,
    bytes: usize,
}

/// What one engine has to do.
#[derive(Debug)]
struct Lane {
    room: Room,
    ready: BTreeSet<LeaseId>,
    running: usize,
    memory: u64,
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
    /// A queue for engines that have this much room, by their indices.
    pub(crate) fn new(rooms: impl IntoIterator<Item = Room>) -> Self {
        let lane = |room| Lane { room, ready: BTreeSet::new(), running: 0, memory: 0 };
        Self {
            lanes: rooms.into_iter().map(lane).collect(),
            leases: BTreeMap::new(),
            ending: BTreeMap::new(),
            storing: 0,
            bytes: 0,
        }
    }

    /// Takes a lease in that [`Self::fits`] and waits for so many blobs.
    pub(crate) fn add(&mut self, attempt: Arc<Attempt>, missing: usize) {
        let id = attempt.id;
        self.bytes += attempt.bytes;
        let state = if missing > 0 { State::Waiting(missing) } else { State::Ready };
        if state == State::Ready {
            self.lanes[attempt.engine.place()].ready.insert(id);
        }
        let before = self.leases.insert(id, Held { attempt, state });
        debug_assert!(before.is_none(), "{id} was held already");
    }

    /// Whether it could ever start: its engine is there, and has the memory.
    pub(crate) fn fits(&self, attempt: &Attempt) -> bool {
        let lane = self.lanes.get(attempt.engine.place());
        lane.is_some_and(|lane| attempt.spec.limits.memory.0 <= lane.room.memory)
    }

    pub(crate) fn holds(&self, lease: LeaseId) -> bool {
        self.leases.contains_key(&lease) || self.ending.contains_key(&lease)
    }

    /// One of the blobs that a lease waits for has arrived.
    pub(crate) fn arrived(&mut self, lease: LeaseId) {
        let Some(held) = self.leases.get_mut(&lease) else { return };
        let State::Waiting(missing) = &mut held.state else { return };
        *missing -= 1;
        if *missing == 0 {
            held.state = State::Ready;
            self.lanes[held.attempt.engine.place()].ready.insert(lease);
        }
    }

    /// The next attempt that may start; it is taken to have.
    pub(crate) fn start(&mut self) -> Option<Arc<Attempt>> {
        let Self { lanes, leases, .. } = self;
        lanes.iter_mut().find_map(|lane| lane.start(leases))
    }

    /// An attempt that was started has not begun after all, and waits again.
    pub(crate) fn not_begun(&mut self, lease: LeaseId) {
        let Some(held) = self.leases.get_mut(&lease) else { return self.free(lease) };
        if held.state == State::Running {
            held.state = State::Ready;
            let lane = &mut self.lanes[held.attempt.engine.place()];
            lane.ready.insert(lease);
            lane.free(held.attempt.spec.limits.memory.0);
        }
    }

    /// An attempt has run: its slot and its memory are free. Gives it unless it was dropped meanwhile; it stays held
    /// until [`Self::done`].
    pub(crate) fn ran(&mut self, lease: LeaseId) -> Option<Arc<Attempt>> {
        let Some(held) = self.leases.get_mut(&lease) else {
            self.free(lease);
            return None;
        };
        if held.state == State::Running {
            held.state = State::Storing;
            self.lanes[held.attempt.engine.place()].free(held.attempt.spec.limits.memory.0);
            self.storing += 1;
        }
        Some(held.attempt.clone())
    }

    /// What ran has been put away. Gives it unless it was dropped meanwhile.
    pub(crate) fn done(&mut self, lease: LeaseId) -> Option<Arc<Attempt>> {
        if self.leases.get(&lease)?.state != State::Storing {
            return None;
        }
        let held = self.leases.remove(&lease)?;
        self.storing -= 1;
        self.bytes -= held.attempt.bytes;
        Some(held.attempt)
    }

    /// Gives up a lease, whatever it is doing.
    pub(crate) fn drop_lease(&mut self, lease: LeaseId) -> Option<Dropped> {
        let Held { attempt, state } = self.leases.remove(&lease)?;
        self.bytes -= attempt.bytes;
        Some(match state {
            State::Waiting(_) => Dropped::Waiting(attempt),
            State::Ready => {
                self.lanes[attempt.engine.place()].ready.remove(&lease);
                Dropped::Waiting(attempt)
            }
            State::Running => {
                let (engine, memory) = (attempt.engine, attempt.spec.limits.memory.0);
                self.ending.insert(lease, Ending { engine, memory });
                Dropped::Running(attempt)
            }
            State::Storing => {
                self.storing -= 1;
                Dropped::Storing(attempt)
            }
        })
    }

    fn free(&mut self, lease: LeaseId) {
        if let Some(Ending { engine, memory }) = self.ending.remove(&lease) {
            self.lanes[engine.place()].free(memory);
        }
    }

    /// The leases that have not been started.
    pub(crate) fn waiting(&self) -> Vec<LeaseId> {
        let waits = |held: &Held| matches!(held.state, State::Waiting(_) | State::Ready);
        self.leases.iter().filter(|(_, held)| waits(held)).map(|(id, _)| *id).collect()
    }

    /// The attempts that somebody waits for.
    pub(crate) fn attempts(&self) -> impl Iterator<Item = &Arc<Attempt>> {
        self.leases.values().map(|held| &held.attempt)
    }

    /// The attempt of a lease that somebody waits for.
    pub(crate) fn attempt(&self, lease: LeaseId) -> Option<&Arc<Attempt>> {
        self.leases.get(&lease).map(|held| &held.attempt)
    }

    /// How many leases somebody waits for.
    pub(crate) fn len(&self) -> usize {
        self.leases.len()
    }

    /// How many have been started and have not ended.
    pub(crate) fn running(&self) -> usize {
        self.running_each().sum()
    }

    /// The same on each engine.
    pub(crate) fn running_each(&self) -> impl Iterator<Item = usize> {
        self.lanes.iter().map(|lane| lane.running)
    }

    /// How many have run, and their outputs are being put away.
    pub(crate) fn storing(&self) -> usize {
        self.storing
    }

    /// How many wait for a slot or for blobs.
    pub(crate) fn waiting_count(&self) -> usize {
        self.leases.len() + self.ending.len() - self.running() - self.storing
    }

    /// About how much memory the leases themselves take.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Lane {
    /// The next of its attempts that may start; it is taken to have.
    fn start(&mut self, leases: &mut BTreeMap<LeaseId, Held>) -> Option<Arc<Attempt>> {
        if self.running >= self.room.starts {
            return None;
        }
        let id = *self.ready.first()?;
        let held = leases.get_mut(&id).expect("what is ready is held");
        let memory = self.memory.checked_add(held.attempt.spec.limits.memory.0)?;
        if memory > self.room.memory {
            return None;
        }
        held.state = State::Running;
        self.ready.remove(&id);
        self.running += 1;
        self.memory = memory;
        Some(held.attempt.clone())
    }

    /// One that held so much memory runs no longer.
    fn free(&mut self, memory: u64) {
        self.running -= 1;
        self.memory -= memory;
    }
}

#[cfg(test)]
mod tests;
