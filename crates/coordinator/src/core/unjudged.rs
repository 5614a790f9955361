//! Results that have no verdict, as requesters are told of them: those that wait for one, and those that the end of their
//! job left without.

use std::collections::HashMap;

use tidemill_net::wire::Unjudged;
use tidemill_types::{JobId, Millis, NodeId};

use super::{Core, jobs::Job, verdicts::Given};

/// The work of one provider on which there is no verdict.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct UnjudgedWork {
    results: u64,
    busy_us: u64,
    fuel: u64,
}

impl UnjudgedWork {
    /// One result more. What was accepted before it was doubted is counted as done already.
    pub(super) fn add(&mut self, given: &Given) {
        self.results += 1;
        if given.paid.is_none() {
            self.busy_us = self.busy_us.saturating_add(given.result.wall_us);
            self.fuel = self.fuel.saturating_add(given.result.usage.fuel.0);
        }
    }

    /// The same in the words of the protocol.
    pub(super) fn told(&self) -> Unjudged {
        Unjudged { results: self.results, busy: Millis(self.busy_us / 1000), fuel: self.fuel }
    }
}

impl Job {
    /// The results that wait for a verdict.
    fn waiting(&self) -> impl Iterator<Item = &Given> {
        self.open.values().flat_map(|open| &open.opinions)
    }

    /// What each provider has done of it without a verdict.
    pub(super) fn unjudged(&self) -> HashMap<NodeId, UnjudgedWork> {
        let left = self.tallies.iter().filter(|(_, tally)| tally.unjudged.results > 0);
        let mut all: HashMap<NodeId, UnjudgedWork> =
            left.map(|(node, tally)| (*node, tally.unjudged)).collect();
        for given in self.waiting() {
            all.entry(given.result.provider).or_default().add(given);
        }
        all
    }
}

impl Core {
    /// The end of a job leaves a result without a verdict.
    pub(super) fn leave_unjudged(&mut self, job: JobId, given: &Given) {
        if let Some(job) = self.jobs.get_mut(&job) {
            job.tallies.entry(given.result.provider).or_default().unjudged.add(given);
        }
        if let Some(provider) = self.providers.get_mut(&given.result.provider) {
            provider.unjudged += 1;
        }
    }

    /// How many results of each provider have no verdict.
    pub(super) fn results_unjudged(&self) -> HashMap<NodeId, u64> {
        let left = self.providers.iter().filter(|(_, provider)| provider.unjudged > 0);
        let mut all: HashMap<NodeId, u64> = left.map(|(node, provider)| (*node, provider.unjudged)).collect();
        for given in self.jobs.values().flat_map(Job::waiting) {
            *all.entry(given.result.provider).or_default() += 1;
        }
        all
    }
}
