//! All that placement knows, with one owner.

use std::collections::{BTreeMap, BTreeSet};

use tidemill_types::{BlobId, EngineId, JobId, LeaseId, NodeId};

use crate::{
    ClassId, Micros, Policy, cost,
    history::History,
    lease::Lease,
    provider::{Provider, Site},
    roster::Roster,
    work::JobState,
};

/// Places tasks on providers. Its memory grows with providers, jobs, leases and single tasks, never with
/// the number of waiting tasks of a class.
#[derive(Debug)]
pub struct Scheduler {
    pub(crate) policy: Policy,
    pub(crate) providers: BTreeMap<NodeId, Provider>,
    pub(crate) jobs: BTreeMap<JobId, JobState>,
    pub(crate) leases: BTreeMap<LeaseId, Lease>,
    /// Absent providers without leases, by when they were last heard of.
    pub(crate) absent: BTreeSet<(Micros, NodeId)>,
    pub(crate) history: History,
    pub(crate) roster: Roster,
    /// How often a job was given something, all jobs together.
    pub(crate) turns: u64,
}

impl Scheduler {
    /// A scheduler that knows of nobody and nothing.
    pub fn new(policy: Policy) -> Self {
        Self {
            policy,
            providers: BTreeMap::new(),
            jobs: BTreeMap::new(),
            leases: BTreeMap::new(),
            absent: BTreeSet::new(),
            history: History::default(),
            roster: Roster::default(),
            turns: 0,
        }
    }

    /// The number of leases that have not ended.
    pub fn lease_count(&self) -> usize {
        self.leases.len()
    }

    /// The number of leases that a provider holds.
    pub fn leases_of(&self, node: NodeId) -> usize {
        self.providers.get(&node).map_or(0, Provider::leases)
    }

    /// Fuel a second of one slot of an engine, as observed; none before its first task that says something.
    pub fn observed_rate(&self, at: EngineId) -> Option<u64> {
        let per_us = self.site(at)?.engine.rate.get()?;
        Some((per_us * 1e6) as u64)
    }

    /// What a task of a program burnt in earlier jobs; none where it has not run here.
    pub fn typical_fuel(&self, program: BlobId) -> Option<u64> {
        Some(self.history.get(program)?.fuel.get()? as u64)
    }

    /// An engine that is known.
    pub(crate) fn site(&self, at: EngineId) -> Option<Site<'_>> {
        let provider = self.providers.get(&at.node)?;
        Some(Site { at, provider, engine: provider.engine(at.engine)? })
    }

    /// How long a task of a class takes a slot of an engine; none before one has ended.
    pub(crate) fn length(&self, class: ClassId, site: Site<'_>) -> Option<u64> {
        let Site { at, provider, engine } = site;
        let class = self.jobs.get(&class.job)?.class(class.stage)?;
        let work = cost::work(class, engine.fuel_per_us(&self.policy))?;
        let cold = class.places.get(&at).is_none_or(|place| !place.warm);
        let shared =
            if cold { cost::transfer(provider, cost::missing(class, provider), &self.policy) } else { 0 };
        let own = cost::transfer(provider, class.class.own_bytes, &self.policy);
        Some(work.saturating_add(shared).saturating_add(own))
    }
}
