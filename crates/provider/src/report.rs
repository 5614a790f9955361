//! Results on their way: gathered into batches, and kept until the coordinator says that they are durable.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    time::{Duration, Instant},
};

use tidemill_net::wire::{OutputBody, TaskResult};
use tidemill_types::{BlobId, LeaseId, TaskId};

/// The most results of a batch: a signature takes as long as a short task, and shared by so many it is nothing.
const MOST_RESULTS: usize = 64;

/// About the most bytes of a batch, well below what a frame may have.
const MOST_BYTES: usize = 1 << 20;

/// A result waits for others at most so long, and not at all when none will come.
const PATIENCE: Duration = Duration::from_millis(5);

/// Results that the coordinator has not settled. Sent ones are sent again, in new batches, after a reconnect.
#[derive(Debug)]
pub(crate) struct Reports {
    next_sequence: u64,
    unsent: VecDeque<TaskResult>,
    /// Since when the first of `unsent` waits.
    since: Option<Instant>,
    sent: BTreeMap<u64, Vec<TaskResult>>,
    places: HashMap<LeaseId, Place>,
    /// About how many bytes `unsent` has.
    unsent_bytes: usize,
    /// About how many bytes all results have, the sent ones too.
    bytes: usize,
    /// The most results of a batch from now on: fewer, once one was too long for a frame.
    most: usize,
}

/// Where a lease's result is.
#[derive(Clone, Copy, Debug)]
struct Place {
    task: TaskId,
    /// In this batch, or not sent yet.
    sequence: Option<u64>,
}

/// When a batch should go out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Due {
    Now,
    At(Instant),
    /// There is nothing to send.
    Never,
}

/// What a result leaves to be cleared away once it is settled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Settled {
    pub(crate) lease: LeaseId,
    /// The output that was kept as a blob.
    pub(crate) blob: Option<BlobId>,
}

impl Reports {
    /// Batches are numbered from here.
    pub(crate) fn new(first_sequence: u64) -> Self {
        Self {
            next_sequence: first_sequence,
            unsent: VecDeque::new(),
            since: None,
            sent: BTreeMap::new(),
            places: HashMap::new(),
            unsent_bytes: 0,
            bytes: 0,
            most: MOST_RESULTS,
        }
    }

    pub(crate) fn add(&mut self, result: TaskResult, task: TaskId, now: Instant) {
        self.places.insert(result.lease, Place { task, sequence: None });
        self.unsent_bytes += approximate_bytes(&result);
        self.bytes += approximate_bytes(&result);
        self.unsent.push_back(result);
        self.since.get_or_insert(now);
    }

    /// When the next batch should go out. `quiet`: nothing else runs or waits, so nothing would join it.
    pub(crate) fn due(&self, now: Instant, quiet: bool) -> Due {
        let Some(since) = self.since else { return Due::Never };
        let at = since + PATIENCE;
        let is_full = self.unsent.len() >= self.most || self.unsent_bytes >= MOST_BYTES;
        if quiet || is_full || now >= at { Due::Now } else { Due::At(at) }
    }

    /// Takes the next batch: its number and its results, which stay known here until they are settled.
    pub(crate) fn batch(&mut self, now: Instant) -> Option<(u64, &[TaskResult])> {
        let mut results = Vec::new();
        let mut bytes = 0;
        while let Some(result) = self.unsent.front() {
            bytes += approximate_bytes(result);
            let full = results.len() >= self.most || bytes > MOST_BYTES;
            if full && !results.is_empty() {
                break;
            }
            self.unsent_bytes -= approximate_bytes(result);
            results.extend(self.unsent.pop_front());
        }
        self.since = (!self.unsent.is_empty()).then_some(now);
        if results.is_empty() {
            return None;
        }
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        for result in &results {
            if let Some(place) = self.places.get_mut(&result.lease) {
                place.sequence = Some(sequence);
            }
        }
        let results = self.sent.entry(sequence).or_insert(results);
        Some((sequence, results))
    }

    /// A batch was too long for a frame: its results go out in shorter ones. Gives a result that is too long alone.
    pub(crate) fn too_long(&mut self, sequence: u64, now: Instant) -> Option<LeaseId> {
        let mut results = self.sent.remove(&sequence)?;
        if results.len() == 1 {
            let result = results.pop()?;
            self.bytes -= approximate_bytes(&result);
            self.places.remove(&result.lease);
            return Some(result.lease);
        }
        self.most = results.len().div_ceil(2);
        self.put_back(results, now);
        None
    }

    /// A batch is settled.
    pub(crate) fn settled(&mut self, sequence: u64) -> Vec<Settled> {
        self.most = MOST_RESULTS;
        let results = self.sent.remove(&sequence).unwrap_or_default();
        for result in &results {
            self.bytes -= approximate_bytes(result);
            self.places.remove(&result.lease);
        }
        results.iter().map(left_by).collect()
    }

    /// The result of a lease is of no use any more.
    pub(crate) fn forget(&mut self, lease: LeaseId) -> Option<Settled> {
        let result = match self.places.remove(&lease)?.sequence {
            None => {
                let at = self.unsent.iter().position(|result| result.lease == lease)?;
                let result = self.unsent.remove(at)?;
                self.unsent_bytes -= approximate_bytes(&result);
                if self.unsent.is_empty() {
                    self.since = None;
                }
                result
            }
            Some(sequence) => {
                let results = self.sent.get_mut(&sequence)?;
                let at = results.iter().position(|result| result.lease == lease)?;
                let result = results.remove(at);
                if results.is_empty() {
                    self.sent.remove(&sequence);
                }
                result
            }
        };
        self.bytes -= approximate_bytes(&result);
        Some(left_by(&result))
    }

    /// The session in which they were sent is over: all is to be sent again, in its old order.
    pub(crate) fn lost(&mut self, now: Instant) {
        let sent = std::mem::take(&mut self.sent);
        self.put_back(sent.into_values().flatten().collect(), now);
    }

    fn put_back(&mut self, results: Vec<TaskResult>, now: Instant) {
        for result in results.into_iter().rev() {
            if let Some(place) = self.places.get_mut(&result.lease) {
                place.sequence = None;
            }
            self.unsent_bytes += approximate_bytes(&result);
            self.unsent.push_front(result);
        }
        if !self.unsent.is_empty() {
            self.since.get_or_insert(now);
        }
    }

    pub(crate) fn holds(&self, lease: LeaseId) -> bool {
        self.places.contains_key(&lease)
    }

    /// The leases whose results are not settled.
    pub(crate) fn held(&self) -> impl Iterator<Item = (LeaseId, TaskId)> {
        self.places.iter().map(|(lease, place)| (*lease, place.task))
    }

    /// How many results are not settled.
    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    /// About how many bytes they have.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many of them have not been sent.
    pub(crate) fn unsent(&self) -> usize {
        self.unsent.len()
    }
}

fn left_by(result: &TaskResult) -> Settled {
    let is_blob = matches!(result.output, Some(OutputBody::Blob));
    let blob = result.claim.output.filter(|_| is_blob).map(|output| output.id);
    Settled { lease: result.lease, blob }
}

fn approximate_bytes(result: &TaskResult) -> usize {
    /// Hashes, usage and the like.
    const FIXED: usize = 512;
    let output = match &result.output {
        Some(OutputBody::Inline(bytes)) => bytes.len(),
        Some(OutputBody::Blob) | None => 0,
    };
    FIXED + output + result.log.bytes().len()
}

#[cfg(test)]
mod tests;
