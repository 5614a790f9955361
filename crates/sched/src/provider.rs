//! A provider, as placement sees it: what it offers, what was learnt of it, what it holds.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use tidemill_types::{Address, BlobId, LeaseId, Offer};

use crate::{
    ClassId, Micros, Policy,
    estimate::{Average, Odds},
};

/// More than any machine does, in fuel a µs: what a claim is cut to before anything was observed.
const MOST_FUEL_PER_US: f64 = 100_000.0;

/// More than any link carries, in bytes a µs.
const MOST_BYTES_PER_US: f64 = 100_000.0;

#[derive(Debug)]
pub(crate) struct Provider {
    pub operator: Address,
    /// What it offers; none for one of whom only leases are known, after a restart.
    pub offer: Option<Offer>,
    pub credits: u32,
    /// It has a session.
    pub present: bool,
    /// When that last changed.
    pub since: Micros,
    /// Fuel a µs of one task.
    pub rate: Average,
    /// Bytes a µs.
    pub bandwidth: Average,
    pub odds: Odds,
    /// Failures since the last success, those of leases made at once counted once.
    pub streak: u32,
    pub failed_at: Micros,
    pub paused_until: Micros,
    /// Leases that run there, as predicted: they start in the order of their numbers, when a slot and
    /// enough memory are free.
    pub running: BTreeMap<LeaseId, Running>,
    pub running_memory: u64,
    /// Leases that it holds besides.
    pub waiting: BTreeMap<LeaseId, Waits>,
    /// Predicted work of those, in µs.
    pub waiting_work: u64,
    /// How many of those are of unknown length.
    pub waiting_unknown: u64,
    pub blobs: Blobs,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Running {
    pub started: Micros,
    pub lease: Waits,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Waits {
    pub class: ClassId,
    pub memory: u64,
    pub work: Option<u64>,
}

/// Shared blobs that a provider is taken to hold, the latest of them.
#[derive(Debug, Default)]
pub(crate) struct Blobs {
    known: BTreeSet<BlobId>,
    order: VecDeque<BlobId>,
}

impl Provider {
    pub fn new(operator: Address) -> Self {
        Self {
            operator,
            offer: None,
            credits: 0,
            present: false,
            since: Micros(0),
            rate: Average::default(),
            bandwidth: Average::default(),
            odds: Odds::default(),
            streak: 0,
            failed_at: Micros(0),
            paused_until: Micros(0),
            running: BTreeMap::new(),
            running_memory: 0,
            waiting: BTreeMap::new(),
            waiting_work: 0,
            waiting_unknown: 0,
            blobs: Blobs::default(),
        }
    }

    pub fn slots(&self, policy: &Policy) -> u32 {
        self.offer.as_ref().map_or(0, |offer| offer.slots.min(policy.most_slots))
    }

    pub fn memory(&self) -> u64 {
        self.offer.as_ref().map_or(0, |offer| offer.memory.0)
    }

    pub fn leases(&self) -> usize {
        self.running.len() + self.waiting.len()
    }

    /// How many leases more it may hold.
    pub fn room(&self) -> u32 {
        let held = u32::try_from(self.leases()).unwrap_or(u32::MAX);
        self.credits.saturating_sub(held)
    }

    /// Fuel a µs of one task: observed, else claimed, else assumed.
    pub fn fuel_per_us(&self, policy: &Policy) -> f64 {
        self.rate.get().unwrap_or_else(|| {
            let capacity = self.offer.as_ref().map(|offer| offer.capacity).unwrap_or_default();
            let slots = u64::from(self.slots(policy)).max(1);
            let claimed = [capacity.all_fuel_per_s / slots, capacity.single_fuel_per_s];
            let per_s = claimed.into_iter().find(|rate| *rate > 0).unwrap_or(policy.default_fuel_per_s);
            (per_s as f64 / 1e6).clamp(1e-3, MOST_FUEL_PER_US)
        })
    }

    /// Bytes a µs to it: observed, else claimed, else assumed.
    pub fn bytes_per_us(&self, policy: &Policy) -> f64 {
        self.bandwidth.get().unwrap_or_else(|| {
            let claimed = self.offer.as_ref().map_or(0, |offer| offer.capacity.down_bytes_per_s);
            let per_s = if claimed == 0 { policy.default_bytes_per_s } else { claimed };
            (per_s as f64 / 1e6).clamp(1e-3, MOST_BYTES_PER_US)
        })
    }

    /// Holds a lease; starts it where that is possible.
    pub fn hold(&mut self, id: LeaseId, lease: Waits, policy: &Policy, now: Micros) {
        self.waiting.insert(id, lease);
        self.count_waiting(lease, true);
        self.start_waiting(policy, now);
    }

    /// A lease of it ended. Gives when it was taken to have started.
    pub fn release(&mut self, id: LeaseId, policy: &Policy, now: Micros) -> Option<Micros> {
        let started = if let Some(running) = self.running.remove(&id) {
            self.running_memory = self.running_memory.saturating_sub(running.lease.memory);
            Some(running.started)
        } else {
            let lease = self.waiting.remove(&id)?;
            self.count_waiting(lease, false);
            None
        };
        self.start_waiting(policy, now);
        started
    }

    /// Starts leases, in their order, as long as a slot and memory are free.
    pub fn start_waiting(&mut self, policy: &Policy, now: Micros) {
        let (slots, memory) = (self.slots(policy) as usize, self.memory());
        while self.running.len() < slots
            && let Some((&id, &lease)) = self.waiting.first_key_value()
            && lease.memory <= memory.saturating_sub(self.running_memory)
        {
            self.waiting.remove(&id);
            self.count_waiting(lease, false);
            self.running_memory += lease.memory;
            self.running.insert(id, Running { started: now, lease });
        }
    }

    /// Leases of a class whose length was unknown should take so long, in µs.
    pub fn predict(&mut self, class: ClassId, length: u64) {
        let unknown = |lease: &&mut Waits| lease.class == class && lease.work.is_none();
        for lease in self.running.values_mut().map(|running| &mut running.lease).filter(unknown) {
            lease.work = Some(length);
        }
        for lease in self.waiting.values_mut().filter(unknown) {
            lease.work = Some(length);
            self.waiting_unknown = self.waiting_unknown.saturating_sub(1);
            self.waiting_work = self.waiting_work.saturating_add(length);
        }
    }

    fn count_waiting(&mut self, lease: Waits, more: bool) {
        let (work, unknown) = lease.work.map_or((0, 1), |work| (work, 0));
        if more {
            self.waiting_work = self.waiting_work.saturating_add(work);
            self.waiting_unknown += unknown;
        } else {
            self.waiting_work = self.waiting_work.saturating_sub(work);
            self.waiting_unknown = self.waiting_unknown.saturating_sub(unknown);
        }
    }

    pub fn succeeded(&mut self) {
        self.odds.observe(true);
        self.streak = 0;
    }

    /// A lease made at `leased_at` failed. A batch that fails at once counts as one failure of the streak.
    pub fn failed(&mut self, leased_at: Micros, policy: &Policy, now: Micros) {
        self.odds.observe(false);
        if self.streak > 0 && leased_at < self.failed_at {
            return;
        }
        self.streak = self.streak.saturating_add(1);
        self.failed_at = now;
        if let Some(doublings) = self.streak.checked_sub(policy.failures_before_pause) {
            let pause = policy.first_pause.0.saturating_mul(1 << doublings.min(32));
            self.paused_until = now.plus(Micros(pause.min(policy.longest_pause.0)));
        }
    }
}

impl Blobs {
    pub fn contains(&self, blob: &BlobId) -> bool {
        self.known.contains(blob)
    }

    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    pub fn add(&mut self, blob: BlobId, most: usize) {
        if self.known.insert(blob) {
            self.order.push_back(blob);
            if self.order.len() > most
                && let Some(old) = self.order.pop_front()
            {
                self.known.remove(&old);
            }
        }
    }
}
