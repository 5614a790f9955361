//! Which blobs are here, what holds them, and which go first. Pure: the files follow what is decided here.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, HashSet},
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use tidemill_types::{BlobId, BlobRef};
use tokio::sync::Notify;

use super::{disk::Stamp, error::OverBudget, log::HEAD_BYTES, pins::Pin, segments::SegmentFile};

/// How often a blob's last use is noted on disk, so that the order survives a restart more or less.
const MARK_EVERY: Duration = Duration::from_secs(60);

/// A segment of which less than one part in so many may go is cleaned last: the rest has to be copied.
const WORTH_CLEANING: u64 = 4;

/// Where the bytes of a whole blob are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Place {
    /// In a file of the folder.
    Owned,
    /// In a segment, among others.
    Packed(Packed),
    /// In a file of its owner, as it was then.
    Linked { path: PathBuf, stamp: Stamp },
}

/// Where in which segment a blob begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Packed {
    pub segment: u64,
    pub offset: u64,
}

#[derive(Debug)]
pub(super) struct Entry {
    pub len: u64,
    pub place: Place,
    /// What it takes on disk. What is packed takes that of its segment, which counts as a whole.
    bytes: u64,
    /// When it was taken in: the same blob may have been lost and be here again.
    pub since: u64,
    used_at: u64,
    marked: Instant,
    pins: u32,
    /// Whether it may not be what its name says: a cache that was opened knows only that a file has the right length.
    pub doubtful: bool,
}

impl Entry {
    /// What it takes of the budget by itself.
    fn counted(&self) -> u64 {
        match self.place {
            Place::Packed(_) => 0,
            Place::Owned | Place::Linked { .. } => self.bytes,
        }
    }

    fn segment(&self) -> Option<u64> {
        match self.place {
            Place::Packed(Packed { segment, .. }) => Some(segment),
            Place::Owned | Place::Linked { .. } => None,
        }
    }

    /// Whether its last use is to be noted on disk now.
    pub fn wants_mark(&mut self) -> bool {
        let due = self.marked.elapsed() >= MARK_EVERY;
        if due {
            self.marked = Instant::now();
        }
        due
    }
}

/// What makes way at once.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Victim {
    Blob(BlobId),
    Partial(BlobId, u64),
}

/// What may make way.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Candidate {
    Now(Victim),
    Segment(u64),
}

/// How room comes about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Room {
    /// It is set aside; the caller removes these.
    Here(Vec<Victim>),
    /// There will be, once this segment has been cleaned: whatever of it is still in the index copied on, and the rest
    /// gone. Nothing is set aside.
    After(u64),
}

/// A segment, as the index knows it.
#[derive(Debug)]
struct SegmentEntry {
    file: Arc<SegmentFile>,
    len: u64,
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

/// A blob that was found to be damaged, and is not here any more.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lost {
    /// The blob.
    pub blob: BlobRef,
    /// What holds it, should it come again.
    pub pins: Vec<Pin>,
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
    /// By number, the oldest first.
    segments: BTreeMap<u64, SegmentEntry>,
    pins: HashMap<Pin, HashSet<BlobId>>,
    /// How many pins hold each blob, whether it is here or not.
    held: HashMap<BlobId, u32>,
    /// Blobs that were found to be damaged while a pin held them, and of which nobody was told.
    lost: BTreeSet<BlobRef>,
    /// Told when there are some.
    pub lost_some: Arc<Notify>,
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
            segments: BTreeMap::new(),
            pins: HashMap::new(),
            held: HashMap::new(),
            lost: BTreeSet::new(),
            lost_some: Arc::default(),
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
        let (since, marked) = (used_at, Instant::now());
        let entry = Entry { len, place, bytes, since, used_at, marked, pins, doubtful: false };
        debug_assert!(!self.blobs.contains_key(&id), "a blob is taken in once");
        self.used += entry.counted();
        self.blobs.insert(id, entry);
    }

    /// Takes in a blob of a segment, or notes that it is in another segment now. One that is in a file of its own
    /// stays there.
    pub fn pack(&mut self, id: BlobId, len: u64, bytes: u64, place: Packed) {
        match self.blobs.get_mut(&id) {
            None => self.insert(id, len, bytes, Place::Packed(place)),
            Some(entry) if matches!(entry.place, Place::Packed(_)) => {
                entry.place = Place::Packed(place);
                entry.bytes = bytes;
            }
            Some(_) => {}
        }
    }

    pub fn add_segment(&mut self, number: u64, file: Arc<SegmentFile>, len: u64) {
        self.used += len;
        self.segments.insert(number, SegmentEntry { file, len });
    }

    /// A segment is so long now.
    pub fn resize_segment(&mut self, number: u64, len: u64) {
        if let Some(segment) = self.segments.get_mut(&number) {
            self.used = self.used - segment.len + len;
            segment.len = len;
        }
    }

    /// A segment is gone, with whatever blobs are in it.
    pub fn remove_segment(&mut self, number: u64) -> Option<Arc<SegmentFile>> {
        let segment = self.segments.remove(&number)?;
        self.used -= segment.len;
        self.blobs.retain(|_, entry| entry.segment() != Some(number));
        Some(segment.file)
    }

    pub fn segment(&self, number: u64) -> Option<&Arc<SegmentFile>> {
        self.segments.get(&number).map(|segment| &segment.file)
    }

    /// The blobs of a segment: which, how long, and where in it.
    pub fn packed_in(&self, number: u64) -> Vec<(BlobId, u64, u64)> {
        let packed = self.blobs.iter().filter_map(|(id, entry)| match entry.place {
            Place::Packed(Packed { segment, offset }) if segment == number => Some((*id, entry.len, offset)),
            _ => None,
        });
        packed.collect()
    }

    pub fn is_oldest_segment(&self, number: u64) -> bool {
        self.segments.first_key_value().is_some_and(|(first, _)| *first == number)
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
            self.used -= entry.counted();
        }
    }

    /// Forgets a blob that is damaged. Its pins stay, for when it comes again.
    pub fn lose(&mut self, id: BlobId) {
        let Some(entry) = self.blobs.get(&id) else { return };
        if entry.pins > 0 {
            self.lost.insert(BlobRef { id, len: entry.len });
            self.lost_some.notify_one();
        }
        self.forget(id);
    }

    /// What was lost since the last call, and is not here again.
    pub fn take_lost(&mut self) -> Vec<Lost> {
        let lost = std::mem::take(&mut self.lost).into_iter();
        let missing = lost.filter(|blob| !self.blobs.contains_key(&blob.id));
        let with_pins = missing.map(|blob| {
            let pins = self.pins.iter().filter(|(_, held)| held.contains(&blob.id));
            Lost { blob, pins: pins.map(|(pin, _)| pin.clone()).collect() }
        });
        with_pins.collect()
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

    /// Sets room aside, or says what must make way for it first: of what may, whatever was of no use for longest, but
    /// segments that are needed almost as a whole last. All or nothing. Segments of the number `before`, and newer ones,
    /// stay: they were begun for what the last ones that were given up had to leave, and little of that is loose.
    pub fn reserve(&mut self, need: u64, before: u64) -> Result<Room, OverBudget> {
        let free = self.budget.saturating_sub(self.used + self.reserved);
        let mut missing = need.saturating_sub(free);
        if missing == 0 {
            self.reserved += need;
            return Ok(Room::Here(Vec::new()));
        }
        // A budget that shrank may be exceeded by more than the need.
        missing += (self.used + self.reserved).saturating_sub(self.budget);
        let wanted = missing;
        let mut oldest = self.candidates(before);
        let (mut victims, mut segment, mut evictable, mut at_once) = (Vec::new(), None, 0, 0);
        while missing > 0 {
            let Some(Reverse((_, _, candidate, bytes))) = oldest.pop() else {
                return Err(OverBudget {
                    need,
                    budget: self.budget,
                    held: self.used + self.reserved - evictable,
                });
            };
            missing = missing.saturating_sub(bytes);
            evictable += bytes;
            match candidate {
                Candidate::Now(victim) => {
                    victims.push(victim);
                    at_once += bytes;
                }
                // The one that gives most: one that holds little but pins is copied on almost as it is.
                Candidate::Segment(number) => segment = segment.max(Some((bytes, number))),
            }
        }
        if at_once < wanted
            && let Some((_, number)) = segment
        {
            // Nobody may begin to use what is about to go.
            self.blobs.retain(|_, entry| entry.pins > 0 || entry.segment() != Some(number));
            return Ok(Room::After(number));
        }
        for victim in &victims {
            match victim {
                Victim::Blob(id) => self.forget(*id),
                Victim::Partial(id, _) => _ = self.take_partial(*id),
            }
        }
        self.reserved += need;
        Ok(Room::Here(victims))
    }

    /// The number of the first segment that is not there yet.
    pub fn next_segment(&self) -> u64 {
        self.segments.last_key_value().map_or(0, |(number, _)| number + 1)
    }

    /// What may make way, each with what that gives: whether it is dear, when it was used last, what it is.
    fn candidates(&self, before: u64) -> BinaryHeap<Reverse<(bool, u64, Candidate, u64)>> {
        // For each segment, what of it is pinned, and when the rest was used last.
        let mut segments: HashMap<u64, (u64, u64)> = HashMap::new();
        let mut candidates = BinaryHeap::new();
        for (id, entry) in &self.blobs {
            if let Some(number) = entry.segment() {
                let (pinned, used_at) = segments.entry(number).or_default();
                if entry.pins > 0 {
                    *pinned += entry.bytes;
                } else {
                    *used_at = entry.used_at.max(*used_at);
                }
            } else if entry.pins == 0 {
                let candidate = Candidate::Now(Victim::Blob(*id));
                candidates.push(Reverse((false, entry.used_at, candidate, entry.bytes)));
            }
        }
        for (id, partial) in &self.partials {
            let candidate = Candidate::Now(Victim::Partial(*id, partial.len));
            candidates.push(Reverse((false, partial.used_at, candidate, partial.bytes)));
        }
        for (number, segment) in self.segments.range(..before) {
            let (pinned, used_at) = segments.get(number).copied().unwrap_or_default();
            let gain = segment.len.saturating_sub(HEAD_BYTES + pinned);
            // One that is being read would stay on disk.
            if gain > 0 && Arc::strong_count(&segment.file) == 1 {
                let is_dear = gain < segment.len / WORTH_CLEANING;
                candidates.push(Reverse((is_dear, used_at, Candidate::Segment(*number), gain)));
            }
        }
        candidates
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
    pub fn restore_pin(&mut self, pin: &Pin, held: impl IntoIterator<Item = BlobId>) {
        for id in held {
            self.pin(pin, id);
        }
    }

    pub fn is_pinned_by(&self, pin: &Pin, id: BlobId) -> bool {
        self.pins.get(pin).is_some_and(|held| held.contains(&id))
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

    pub fn pins_of(&self, blob: BlobId) -> Vec<Pin> {
        if !self.held.contains_key(&blob) {
            return Vec::new();
        }
        self.pins.iter().filter(|(_, held)| held.contains(&blob)).map(|(pin, _)| pin.clone()).collect()
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
