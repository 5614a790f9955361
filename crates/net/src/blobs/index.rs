//! Which blobs are here, what holds them, and which go first. Pure: the files follow what is decided here.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap, HashSet},
    path::PathBuf,
    time::{Duration, Instant},
};

use tidemill_types::BlobId;

use super::{disk::Stamp, error::OverBudget, pins::Pin};

/// How often a blob's last use is noted on disk, so that the order survives a restart more or less.
const MARK_EVERY: Duration = Duration::from_secs(60);

/// Where the bytes of a whole blob are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Place {
    /// In the folder.
    Owned,
    /// In a file of its owner, as it was then.
    Linked { path: PathBuf, stamp: Stamp },
}

#[derive(Debug)]
pub(super) struct Entry {
    pub len: u64,
    pub place: Place,
    /// What it takes of the budget.
    bytes: u64,
    used_at: u64,
    marked: Instant,
    pins: u32,
    /// Whether it may not be what its name says: a cache that was opened knows only that a file has the right length.
    pub doubtful: bool,
}

impl Entry {
    /// Whether its last use is to be noted on disk now.
    pub fn wants_mark(&mut self) -> bool {
        let due = self.marked.elapsed() >= MARK_EVERY;
        if due {
            self.marked = Instant::now();
        }
        due
    }
}

/// What makes way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Victim {
    Blob(BlobId),
    Partial(BlobId, u64),
}

/// How full a folder of blobs is, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Usage {
    /// What the folder may hold.
    pub budget: u64,
    /// What it holds.
    pub used: u64,
    /// What of that is pinned.
    pub pinned: u64,
    /// What is set aside for imports and fetches under way.
    pub reserved: u64,
    /// How many whole blobs there are.
    pub blobs: usize,
}

/// A fetch that was broken off.
#[derive(Debug)]
struct Partial {
    len: u64,
    bytes: u64,
    used_at: u64,
}

#[derive(Debug)]
pub(super) struct Index {
    budget: u64,
    used: u64,
    reserved: u64,
    /// Counts uses.
    clock: u64,
    blobs: HashMap<BlobId, Entry>,
    partials: HashMap<BlobId, Partial>,
    pins: HashMap<Pin, HashSet<BlobId>>,
    /// How many pins hold each blob, whether it is here or not.
    held: HashMap<BlobId, u32>,
}

impl Index {
    pub fn new(budget: u64) -> Self {
        Self {
            budget,
            used: 0,
            reserved: 0,
            clock: 0,
            blobs: HashMap::new(),
            partials: HashMap::new(),
            pins: HashMap::new(),
            held: HashMap::new(),
        }
    }

    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    pub fn get(&self, id: BlobId) -> Option<&Entry> {
        self.blobs.get(&id)
    }

    /// Notes a use of the blob.
    pub fn touch(&mut self, id: BlobId) -> Option<&mut Entry> {
        let now = self.tick();
        let entry = self.blobs.get_mut(&id)?;
        entry.used_at = now;
        Some(entry)
    }

    /// Takes in a whole blob that was not here.
    pub fn insert(&mut self, id: BlobId, len: u64, bytes: u64, place: Place) {
        let used_at = self.tick();
        let pins = self.held.get(&id).copied().unwrap_or(0);
        let entry = Entry { len, place, bytes, used_at, marked: Instant::now(), pins, doubtful: false };
        debug_assert!(!self.blobs.contains_key(&id), "a blob is taken in once");
        self.blobs.insert(id, entry);
        self.used += bytes;
    }

    /// Notes that a blob was found, and that nobody has looked at its bytes.
    pub fn doubt(&mut self, id: BlobId) {
        if let Some(entry) = self.blobs.get_mut(&id) {
            entry.doubtful = true;
        }
    }

    /// Notes that a blob is what its name says.
    pub fn trust(&mut self, id: BlobId) {
        if let Some(entry) = self.blobs.get_mut(&id) {
            entry.doubtful = false;
        }
    }

    pub fn forget(&mut self, id: BlobId) {
        if let Some(entry) = self.blobs.remove(&id) {
            self.used -= entry.bytes;
        }
    }

    /// Takes in what a broken fetch left.
    pub fn insert_partial(&mut self, id: BlobId, len: u64, bytes: u64) {
        let used_at = self.tick();
        if let Some(old) = self.partials.insert(id, Partial { len, bytes, used_at }) {
            self.used -= old.bytes;
        }
        self.used += bytes;
    }

    /// What a broken fetch left, as the length that the blob should have had. It counts no more.
    pub fn take_partial(&mut self, id: BlobId) -> Option<u64> {
        let partial = self.partials.remove(&id)?;
        self.used -= partial.bytes;
        Some(partial.len)
    }

    /// Sets room aside, and says what must make way for it: the caller removes that. All or nothing.
    pub fn reserve(&mut self, need: u64) -> Result<Vec<Victim>, OverBudget> {
        let free = self.budget.saturating_sub(self.used + self.reserved);
        let mut missing = need.saturating_sub(free);
        let mut victims = Vec::new();
        if missing > 0 {
            let blobs = self.blobs.iter().filter(|(_, entry)| entry.pins == 0);
            let blobs = blobs.map(|(id, entry)| (entry.used_at, *id, entry.bytes, None));
            let partials = self.partials.iter().map(|(id, it)| (it.used_at, *id, it.bytes, Some(it.len)));
            let mut oldest: BinaryHeap<_> = blobs.chain(partials).map(Reverse).collect();
            // A budget that shrank may be exceeded by more than the need.
            missing += (self.used + self.reserved).saturating_sub(self.budget);
            while missing > 0 {
                let Some(Reverse((_, id, bytes, partial))) = oldest.pop() else {
                    let evictable: u64 = victims.iter().map(|(_, bytes)| bytes).sum();
                    let held = self.used + self.reserved - evictable;
                    return Err(OverBudget { need, budget: self.budget, held });
                };
                missing = missing.saturating_sub(bytes);
                victims.push((partial.map_or(Victim::Blob(id), |len| Victim::Partial(id, len)), bytes));
            }
        }
        for (victim, _) in &victims {
            match victim {
                Victim::Blob(id) => self.forget(*id),
                Victim::Partial(id, _) => {
                    self.take_partial(*id);
                }
            }
        }
        self.reserved += need;
        Ok(victims.into_iter().map(|(victim, _)| victim).collect())
    }

    pub fn release(&mut self, bytes: u64) {
        self.reserved -= bytes;
    }

    /// Whether the blob is here, and pinned now.
    pub fn pin(&mut self, pin: &Pin, id: BlobId) -> bool {
        let Some(entry) = self.blobs.get_mut(&id) else { return false };
        if self.pins.entry(pin.clone()).or_default().insert(id) {
            entry.pins += 1;
            *self.held.entry(id).or_default() += 1;
        }
        true
    }

    /// Takes in a pin of an earlier process, whatever of it is still here.
    pub fn restore_pin(&mut self, pin: Pin, held: impl IntoIterator<Item = BlobId>) {
        self.pins.entry(pin.clone()).or_default();
        for id in held {
            self.pin(&pin, id);
        }
    }

    pub fn unpin(&mut self, pin: &Pin) {
        for id in self.pins.remove(pin).into_iter().flatten() {
            if let Some(held) = self.held.get_mut(&id) {
                *held -= 1;
                if *held == 0 {
                    self.held.remove(&id);
                }
            }
            if let Some(entry) = self.blobs.get_mut(&id) {
                entry.pins -= 1;
            }
        }
    }

    pub fn pins(&self) -> Vec<Pin> {
        let mut pins: Vec<_> = self.pins.keys().cloned().collect();
        pins.sort_unstable();
        pins
    }

    pub fn pinned(&self, pin: &Pin) -> Vec<BlobId> {
        let mut held: Vec<_> = self.pins.get(pin).into_iter().flatten().copied().collect();
        held.sort_unstable();
        held
    }

    pub fn usage(&self) -> Usage {
        let pinned = self.blobs.values().filter(|entry| entry.pins > 0).map(|entry| entry.bytes).sum();
        Usage {
            budget: self.budget,
            used: self.used,
            pinned,
            reserved: self.reserved,
            blobs: self.blobs.len(),
        }
    }
}

#[cfg(test)]
mod tests;
