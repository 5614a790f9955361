//! A provider, as placement sees it: what its machine and each of its engines offers, what was learnt of them, what
//! they hold.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use tidemill_types::{
    Address, BlobId, ByteSize, Engine, EngineId, EngineIndex, LeaseId, NodeId, Offer, ProgramKind,
    ServedModel,
};

use crate::{
    ClassId, Micros, Policy, Unfit,
    estimate::{Average, Odds},
};

/// More than any machine does, in fuel a µs: what a claim is cut to before anything was observed.
const MOST_FUEL_PER_US: f64 = 100_000.0;

/// More than any link carries, in bytes a µs.
const MOST_BYTES_PER_US: f64 = 100_000.0;

/// A machine: what its engines share, and those.
#[derive(Debug)]
pub(crate) struct Provider {
    pub operator: Address,
    /// What it says of itself; none for one of whom only leases are known, after a restart.
    pub claims: Option<Claims>,
    /// How many leases it may hold, all engines together.
    pub credits: u32,
    /// It has a session.
    pub present: bool,
    /// When that last changed.
    pub since: Micros,
    /// Bytes a µs.
    pub bandwidth: Average,
    pub blobs: Blobs,
    /// By their indices.
    pub engines: Vec<EngineState>,
}

/// What a machine offers besides its engines.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Claims {
    pub disk: ByteSize,
    pub down_bytes_per_s: u64,
}

/// One engine of a machine.
#[derive(Debug, Default)]
pub(crate) struct EngineState {
    /// What it offers; none for one of which only leases are known.
    pub offer: Option<Engine>,
    /// Its share of the machine's credits.
    pub credits: u32,
    /// Fuel a µs of one task.
    pub rate: Average,
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
}

/// An engine with the machine that it is of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Site<'a> {
    pub at: EngineId,
    pub provider: &'a Provider,
    pub engine: &'a EngineState,
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
            claims: None,
            credits: 0,
            present: false,
            since: Micros(0),
            bandwidth: Average::default(),
            blobs: Blobs::default(),
            engines: Vec::new(),
        }
    }

    /// Takes in what it offers. An engine that is like the one that was at its place keeps what was learnt of that; one
    /// that is gone stays while it holds leases.
    pub fn take_offer(&mut self, offer: Offer) {
        let Offer { name: _, disk, down_bytes_per_s, engines } = offer;
        self.claims = Some(Claims { disk, down_bytes_per_s });
        for state in self.engines.iter_mut().skip(engines.len()) {
            state.offer = None;
        }
        if self.engines.len() < engines.len() {
            self.engines.resize_with(engines.len(), EngineState::default);
        }
        for (state, engine) in self.engines.iter_mut().zip(engines) {
            state.take_offer(engine);
        }
        while self.engines.last().is_some_and(|state| state.offer.is_none() && state.leases() == 0) {
            self.engines.pop();
        }
    }

    /// Takes in how many leases it may hold, and splits them among its engines by their slots.
    pub fn set_credits(&mut self, credits: u32) {
        self.credits = credits;
        let slots = |state: &EngineState| state.offer.as_ref().map_or(0, |offer| u64::from(offer.slots));
        let all: u64 = self.engines.iter().map(slots).sum();
        let (mut before, mut given) = (0, 0);
        for state in &mut self.engines {
            before += slots(state);
            // What it and all before it may hold, so that the shares add up to what there is.
            let until = (u64::from(credits) * before).checked_div(all).unwrap_or(0);
            state.credits = u32::try_from(until - given).unwrap_or(u32::MAX);
            given = until;
        }
    }

    /// Whether it is taken to hold a blob: a task has read it there, or it says that it holds it as a model.
    pub fn holds(&self, blob: &BlobId) -> bool {
        self.blobs.contains(blob) || self.models().any(|model| model.blob.id == *blob)
    }

    /// Whether it says that it holds models.
    pub fn offers_models(&self) -> bool {
        self.models().next().is_some()
    }

    fn models(&self) -> impl Iterator<Item = &ServedModel> {
        self.engines.iter().filter_map(|state| state.offer.as_ref()).flat_map(|offer| &offer.models)
    }

    pub fn engine(&self, index: EngineIndex) -> Option<&EngineState> {
        self.engines.get(index.place())
    }

    pub fn engine_mut(&mut self, index: EngineIndex) -> Option<&mut EngineState> {
        self.engines.get_mut(index.place())
    }

    /// The engine of this index, of which nothing was known before where it is not there.
    pub fn engine_or_new(&mut self, index: EngineIndex) -> &mut EngineState {
        let place = index.place();
        if place >= self.engines.len() {
            self.engines.resize_with(place + 1, EngineState::default);
        }
        &mut self.engines[place]
    }

    /// Its engines, with the machine that they are of.
    pub fn sites(&self, node: NodeId) -> impl Iterator<Item = Site<'_>> {
        let numbered = (0..=u8::MAX).map(EngineIndex).zip(&self.engines);
        numbered.map(move |(engine, state)| Site {
            at: EngineId { node, engine },
            provider: self,
            engine: state,
        })
    }

    /// Why it gets no programs of a kind for which it has no engine.
    pub fn without(&self, kind: ProgramKind) -> Unfit {
        if self.present { Unfit::Kind(kind) } else { Unfit::Absent }
    }

    /// Leases that it holds, all engines together.
    pub fn leases(&self) -> usize {
        self.engines.iter().map(EngineState::leases).sum()
    }

    /// How many leases more one of its engines may hold. What other engines hold beyond their shares, after there were
    /// more credits, comes off.
    pub fn room(&self, engine: &EngineState) -> u32 {
        let held = |engine: &EngineState| u32::try_from(engine.leases()).unwrap_or(u32::MAX);
        let beyond = self.engines.iter().map(|other| held(other).saturating_sub(other.credits));
        let beyond = beyond.fold(0, u32::saturating_add);
        engine.credits.saturating_sub(held(engine)).saturating_sub(beyond)
    }

    /// Bytes a µs to it: observed, else claimed, else assumed.
    pub fn bytes_per_us(&self, policy: &Policy) -> f64 {
        self.bandwidth.get().unwrap_or_else(|| {
            let claimed = self.claims.map_or(0, |claims| claims.down_bytes_per_s);
            let per_s = if claimed == 0 { policy.default_bytes_per_s } else { claimed };
            (per_s as f64 / 1e6).clamp(1e-3, MOST_BYTES_PER_US)
        })
    }
}

impl Site<'_> {
    /// Whether the engine is there for this kind of program.
    pub fn runs(&self, kind: ProgramKind) -> bool {
        self.engine.offer.as_ref().is_some_and(|offer| offer.kind == kind)
    }
}

impl EngineState {
    fn take_offer(&mut self, engine: Engine) {
        if self.offer.as_ref().is_some_and(|offer| !offer.is_like(&engine)) {
            // What was learnt of another engine says nothing of this one.
            self.rate = Average::default();
            self.odds = Odds::default();
            self.streak = 0;
            self.paused_until = Micros(0);
        }
        self.offer = Some(engine);
    }

    pub fn slots(&self, policy: &Policy) -> u32 {
        self.offer.as_ref().map_or(0, |offer| offer.slots.min(policy.most_slots))
    }

    pub fn memory(&self) -> u64 {
        // Where tasks share it, each has to fit alone, which is looked at before.
        let memory = |offer: &Engine| if offer.kind.shares_memory() { u64::MAX } else { offer.memory.0 };
        self.offer.as_ref().map_or(0, memory)
    }

    pub fn leases(&self) -> usize {
        self.running.len() + self.waiting.len()
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
