//! Which blobs are needed, by whom, and which of them to fetch next.

use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, Instant},
};

use tidemill_job::BlobSource;
use tidemill_net::blobs::Lent;
use tidemill_types::{BlobId, BlobRef, LeaseId};

use crate::attempt::Need;

/// The blobs of all leases: each is fetched once, a few at a time, in the order in which they were first needed.
#[derive(Debug)]
pub(crate) struct Wants {
    at_once: usize,
    blobs: HashMap<BlobId, Wanted>,
    next: VecDeque<BlobId>,
    fetching: usize,
    /// What all of them come to.
    bytes: u64,
}

#[derive(Debug)]
struct Wanted {
    len: u64,
    /// Where it is, by the first lease that needed it, if that is in another blob.
    part_of: Option<BlobSource>,
    state: State,
    /// How many leases need it. With none, it stays for a while: the next lease is often of the same job.
    users: usize,
    /// Since when nobody needs it.
    unused: Option<Instant>,
}

#[derive(Debug)]
enum State {
    /// It is not here; these leases wait for it.
    Missing { fetching: bool, waiting: Vec<LeaseId> },
    /// It is here and pinned.
    Here(Lent),
}

/// A lease names a blob with another length than an earlier lease did: one of them lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("blob {id} is said to have {one} bytes, and in another lease {other}")]
pub(crate) struct LengthConflict {
    id: BlobId,
    one: u64,
    other: u64,
}

impl Wants {
    /// Fetches at most so many at once.
    pub(crate) fn new(at_once: usize) -> Self {
        Self { at_once, blobs: HashMap::new(), next: VecDeque::new(), fetching: 0, bytes: 0 }
    }

    /// A lease needs these blobs, each named once. Gives how many are missing.
    pub(crate) fn need(&mut self, lease: LeaseId, needs: &[Need]) -> Result<usize, LengthConflict> {
        for Need { blob, .. } in needs {
            if let Some(known) = self.blobs.get(&blob.id).filter(|known| known.len != blob.len) {
                return Err(LengthConflict { id: blob.id, one: blob.len, other: known.len });
            }
        }
        let mut missing = 0;
        for Need { blob, part_of } in needs {
            let wanted = self.blobs.entry(blob.id).or_insert_with(|| {
                self.next.push_back(blob.id);
                self.bytes = self.bytes.saturating_add(blob.len);
                let state = State::Missing { fetching: false, waiting: Vec::new() };
                Wanted { len: blob.len, part_of: *part_of, state, users: 0, unused: None }
            });
            wanted.users += 1;
            wanted.unused = None;
            if let State::Missing { waiting, .. } = &mut wanted.state {
                waiting.push(lease);
                missing += 1;
            }
        }
        Ok(missing)
    }

    /// How many bytes all of its blobs would come to, with these among them.
    pub(crate) fn bytes_with(&self, needs: &[Need]) -> u64 {
        let new = needs.iter().filter(|need| !self.blobs.contains_key(&need.blob.id));
        new.fold(self.bytes, |sum, need| sum.saturating_add(need.blob.len))
    }

    fn remove(&mut self, id: BlobId) {
        if let Some(wanted) = self.blobs.remove(&id) {
            self.bytes = self.bytes.saturating_sub(wanted.len);
        }
    }

    /// The next blob to fetch; it is taken to be on its way.
    pub(crate) fn next(&mut self) -> Option<Need> {
        while self.fetching < self.at_once {
            let id = self.next.pop_front()?;
            let Some(wanted) = self.blobs.get_mut(&id) else { continue };
            if let State::Missing { fetching, .. } = &mut wanted.state
                && !*fetching
            {
                *fetching = true;
                self.fetching += 1;
                return Some(Need { blob: BlobRef { id, len: wanted.len }, part_of: wanted.part_of });
            }
        }
        None
    }

    /// A blob is here. Gives the leases that waited for it.
    pub(crate) fn arrived(&mut self, id: BlobId, lent: Lent, now: Instant) -> Vec<LeaseId> {
        self.fetching -= 1;
        let Some(wanted) = self.blobs.get_mut(&id) else { return Vec::new() };
        if wanted.users == 0 {
            wanted.unused = Some(now);
        }
        match std::mem::replace(&mut wanted.state, State::Here(lent)) {
            State::Missing { waiting, .. } => waiting,
            State::Here(_) => Vec::new(),
        }
    }

    /// A fetch did not succeed, and is to be tried again.
    pub(crate) fn again(&mut self, id: BlobId) {
        self.fetching -= 1;
        let Some(wanted) = self.blobs.get_mut(&id) else { return };
        if wanted.users == 0 {
            self.remove(id);
        } else if let State::Missing { fetching, .. } = &mut wanted.state {
            *fetching = false;
            self.next.push_front(id);
        }
    }

    /// A blob cannot be had. Gives the leases that wait for it, each of which must be given up.
    pub(crate) fn failed(&mut self, id: BlobId) -> Vec<LeaseId> {
        self.fetching -= 1;
        let Some(Wanted { state: State::Missing { fetching, waiting }, .. }) = self.blobs.get_mut(&id) else {
            return Vec::new();
        };
        *fetching = false;
        // They stay its users until each is released, and with the last of them it is forgotten.
        let leases = waiting.clone();
        if leases.is_empty() {
            self.remove(id);
        }
        leases
    }

    /// A lease needs its blobs no more.
    pub(crate) fn release(&mut self, lease: LeaseId, needs: &[Need], now: Instant) {
        for Need { blob, .. } in needs {
            let Some(wanted) = self.blobs.get_mut(&blob.id) else { continue };
            wanted.users = wanted.users.saturating_sub(1);
            if let State::Missing { waiting, .. } = &mut wanted.state {
                waiting.retain(|waits| *waits != lease);
            }
            if wanted.users > 0 {
                continue;
            }
            match &wanted.state {
                State::Here(_) => wanted.unused = Some(now),
                // What is on its way is let arrive: it counts against the pins then, and goes as others do.
                State::Missing { fetching: true, .. } => {}
                State::Missing { fetching: false, .. } => {
                    self.remove(blob.id);
                }
            }
        }
    }

    /// A blob that was here is damaged, and is fetched again if somebody needs it. A lease that took it to be here finds
    /// out by itself.
    pub(crate) fn lost(&mut self, id: BlobId) {
        let Some(wanted) = self.blobs.get_mut(&id) else { return };
        if matches!(wanted.state, State::Missing { .. }) {
            return;
        }
        if wanted.users == 0 {
            self.remove(id);
        } else {
            wanted.state = State::Missing { fetching: false, waiting: Vec::new() };
            self.next.push_back(id);
        }
    }

    /// Where a blob is that is here.
    pub(crate) fn lent(&self, id: BlobId) -> Option<&Lent> {
        match &self.blobs.get(&id)?.state {
            State::Here(lent) => Some(lent),
            State::Missing { .. } => None,
        }
    }

    /// Forgets the blobs that nobody has needed for so long. Gives them, for their pins to be taken off.
    pub(crate) fn forget_unused(&mut self, for_so_long: Duration, now: Instant) -> Vec<BlobId> {
        let stale = |wanted: &Wanted| {
            wanted.unused.is_some_and(|since| now.saturating_duration_since(since) >= for_so_long)
        };
        let forgotten: Vec<_> =
            self.blobs.iter().filter(|(_, wanted)| stale(wanted)).map(|(id, _)| *id).collect();
        for id in &forgotten {
            self.remove(*id);
        }
        forgotten
    }
}

#[cfg(test)]
mod tests;
