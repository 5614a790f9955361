//! What has run of a job that ends before its tasks are done: paid in proportion, so that nobody has work done up to its last
//! moment and cancels.

use tidemill_sched::{LeaseEnd, Micros};
use tidemill_store::JobEnd;
use tidemill_types::{Amount, Fuel, JobId, LeaseId, Metered, Millis, NodeId, Usage};

use crate::{core::Core, event::Now};

/// What is taken for the rate of a machine of which no work was accepted yet, at most: below what most have. It could say
/// that it is as fast as it likes.
const UNPROVEN_FUEL_PER_S: u64 = 1 << 28;

/// No machine is taken to be faster.
const MOST_FUEL_PER_S: u64 = 1 << 33;

impl Core {
    /// A provider says for how long attempts have run.
    pub(in crate::core) fn running(&mut self, node: NodeId, running: &[(LeaseId, Millis)], now: Now) {
        for (lease, ran) in running {
            if let Some(held) = self.leases.get_mut(lease).filter(|held| held.node == node) {
                held.ran = Some((Micros::millis(ran.0), now.mono));
            }
        }
    }

    /// A job ends by other means than being done: what runs of it is ended, and paid as far as it has run. No lease is paid
    /// more than is held back for it, which is the most that the requester would have paid.
    pub(in crate::core) fn pay_running(&mut self, id: JobId, end: &JobEnd, now: Now) {
        let Some(job) = self.jobs.get(&id).filter(|job| job.money.is_some() && *end != JobEnd::Done) else {
            return;
        };
        let open = job.open.values().flat_map(|open| &open.leases).chain(&job.tried);
        let mut paid: Vec<_> =
            open.filter_map(|lease| Some((*lease, Some(self.worth_so_far(*lease, now)?)))).collect();
        paid.sort_unstable_by_key(|(lease, _)| *lease);
        self.revoke_for(&paid, LeaseEnd::Superseded, now);
    }

    /// What a lease has come to so far, by how long its provider says that it has run and what its engine does in that time;
    /// nothing where it has not run.
    fn worth_so_far(&self, lease: LeaseId, now: Now) -> Option<Amount> {
        let held = self.leases.get(&lease)?;
        let bill = held.bill.as_ref()?;
        let provider = self.providers.get(&held.node)?;
        let given = now.mono.since(held.given);
        let (ran, claimed) = match (&held.fetching, held.ran) {
            // It is done, and its output is on its way.
            (Some(pending), _) => (given, pending.usage().fuel),
            (None, Some((ran, at))) => {
                let since = if provider.session.is_some() { now.mono.since(at) } else { Micros(0) };
                (ran.plus(since).min(given), Fuel(u64::MAX))
            }
            (None, None) => return None,
        };
        let capacity = provider.engine(held.engine).map_or(0, |engine| engine.capacity.single_fuel_per_s);
        let observed = self.sched.observed_rate(held.at()).map(|rate| rate.min(MOST_FUEL_PER_S));
        let rate = observed.unwrap_or_else(|| capacity.min(UNPROVEN_FUEL_PER_S));
        let burnt = u128::from(ran.0) * u128::from(rate) / 1_000_000;
        let fuel = Fuel(u64::try_from(burnt).unwrap_or(u64::MAX).min(claimed.0));
        let work = Metered::of(held.work.kind, &Usage { fuel, ..Usage::default() });
        Some(self.price_of(held.task, bill, work, 0))
    }
}
