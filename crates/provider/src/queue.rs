//! The leases that are held and have not ended, and which of them may start.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use tidemill_types::LeaseId;

use crate::attempt::Attempt;

/// What the owner of the machine allows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    /// Attempts that may be started at once.
    pub(crate) starts: usize,
    /// Memory for all of them together, in bytes.
    pub(crate) memory: u64,
}

/// Leases from their arrival until they have run.
///
/// The lowest number starts first. A lease whose blobs are missing holds nobody up; one that is ready and does not
/// fit into the memory that is left does, since otherwise small tasks could keep a large one out for ever.
#[derive(Debug)]
pub(crate) struct Queue {
    room: Room,
    leases: BTreeMap<LeaseId, Held>,
    ready: BTreeSet<LeaseId>,
    /// Cancelled while they ran: nobody waits for them, and they take up room until they end.
    ending: BTreeMap<LeaseId, u64>,
    running: usize,
    memory: u64,
    storing: usize,
    bytes: usize,
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
    pub(crate) fn new(room: Room) -> Self {
        Self {
            room,
            leases: BTreeMap::new(),
            ready: BTreeSet::new(),
            ending: BTreeMap::new(),
            running: 0,
            memory: 0,
            storing: 0,
            bytes: 0,
        }
    }

    /// Takes a lease in that waits for so many blobs.
    pub(crate) fn add(&mut self, attempt: Arc<Attempt>, missing: usize) {
        let id = attempt.id;
        self.bytes += attempt.bytes;
        let state = if missing > 0 { State::Waiting(missing) } else { State::Ready };
        if state == State::Ready {
            self.ready.insert(id);
        }
        let before = self.leases.insert(id, Held { attempt, state });
        debug_assert!(before.is_none(), "{id} was held already");
    }

    /// Whether it could ever start.
    pub(crate) fn fits(&self, attempt: &Attempt) -> bool {
        attempt.spec.limits.memory.0 <= self.room.memory
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
            self.ready.insert(lease);
        }
    }

    /// The next attempt that may start; it is taken to have.
    pub(crate) fn start(&mut self) -> Option<Arc<Attempt>> {
        if self.running >= self.room.starts {
            return None;
        }
        let id = *self.ready.first()?;
        let held = self.leases.get_mut(&id).expect("what is ready is held");
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

    /// An attempt that was started has not begun after all, and waits again.
    pub(crate) fn not_begun(&mut self, lease: LeaseId) {
        let Some(held) = self.leases.get_mut(&lease) else { return self.free(lease) };
        if held.state == State::Running {
            held.state = State::Ready;
            self.ready.insert(lease);
            self.running -= 1;
            self.memory -= held.attempt.spec.limits.memory.0;
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
            self.running -= 1;
            self.memory -= held.attempt.spec.limits.memory.0;
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
                self.ready.remove(&lease);
                Dropped::Waiting(attempt)
            }
            State::Running => {
                self.ending.insert(lease, attempt.spec.limits.memory.0);
                Dropped::Running(attempt)
            }
            State::Storing => {
                self.storing -= 1;
                Dropped::Storing(attempt)
            }
        })
    }

    fn free(&mut self, lease: LeaseId) {
        if let Some(memory) = self.ending.remove(&lease) {
            self.running -= 1;
            self.memory -= memory;
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

    /// How many leases somebody waits for.
    pub(crate) fn len(&self) -> usize {
        self.leases.len()
    }

    /// How many have been started and have not ended.
    pub(crate) fn running(&self) -> usize {
        self.running
    }

    /// How many have run, and their outputs are being put away.
    pub(crate) fn storing(&self) -> usize {
        self.storing
    }

    /// How many wait for a slot or for blobs.
    pub(crate) fn waiting_count(&self) -> usize {
        self.leases.len() + self.ending.len() - self.running - self.storing
    }

    /// About how much memory the leases themselves take.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests;
