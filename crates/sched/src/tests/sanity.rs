//! What always holds.

use std::collections::{BTreeMap, BTreeSet};

use tidemill_types::LeaseId;

use crate::{Micros, Scheduler, provider::Site};

/// Checks every count against what it counts.
pub(crate) fn sanity_check(scheduler: &Scheduler) {
    let policy = &scheduler.policy;
    let mut held: BTreeSet<LeaseId> = BTreeSet::new();
    for (node, provider) in &scheduler.providers {
        let shares: u32 = provider.engines.iter().map(|engine| engine.credits).sum();
        let has_slots = provider.engines.iter().any(|engine| engine.slots(policy) > 0);
        assert_eq!(shares, if has_slots { provider.credits } else { 0 }, "{node:?}");
        for Site { at, engine, .. } in provider.sites(*node) {
            let memory: u64 = engine.running.values().map(|running| running.lease.memory).sum();
            assert_eq!(engine.running_memory, memory, "{at:?}");
            let work: u64 = engine.waiting.values().filter_map(|lease| lease.work).sum();
            assert_eq!(engine.waiting_work, work, "{at:?}");
            let unknown = engine.waiting.values().filter(|lease| lease.work.is_none()).count();
            assert_eq!(engine.waiting_unknown, unknown as u64, "{at:?}");
            if let Some((_, first)) = engine.waiting.first_key_value() {
                let full = engine.running.len() >= engine.slots(policy) as usize;
                assert!(full || first.memory > engine.memory().saturating_sub(memory), "{at:?} idles");
            }
            for id in engine.running.keys().chain(engine.waiting.keys()) {
                assert!(held.insert(*id), "{id:?} is held twice");
                assert_eq!(scheduler.leases[id].at, at);
            }
        }
        let forgettable = !provider.present && provider.leases() == 0 && provider.since > Micros(0);
        assert_eq!(scheduler.absent.contains(&(provider.since, *node)), forgettable, "{node:?}");
    }
    assert!(held.iter().eq(scheduler.leases.keys()), "every lease is held by its provider");
    assert!(scheduler.absent.len() <= policy.remembered_nodes);

    for (id, job) in &scheduler.jobs {
        let of_job = || scheduler.leases.iter().filter(|(_, lease)| lease.task.job == *id);
        let attempts: BTreeSet<_> = of_job().map(|(lease_id, lease)| (lease.task.task, *lease_id)).collect();
        assert_eq!(job.attempts, attempts);
        assert_eq!(job.load, of_job().map(|(_, lease)| lease.load).sum::<u64>());
        for (stage, class) in job.classes() {
            let singles = job.singles.values().filter(|single| single.stage == stage).count();
            assert_eq!(class.singles, singles as u64);
            let mut places: BTreeMap<_, u32> = BTreeMap::new();
            for (_, lease) in of_job().filter(|(_, lease)| lease.stage == stage) {
                *places.entry(lease.at).or_default() += 1;
            }
            for (at, place) in &class.places {
                assert_eq!(place.leases, places.remove(at).unwrap_or(0), "{at:?}");
                assert!(place.warm || place.leases > 0, "{at:?} is noted for nothing");
            }
            assert!(places.is_empty());
            let copyable = of_job().filter(|(_, lease)| {
                lease.stage == stage && job.leases_of(lease.task.task).count() < policy.most_attempts as usize
            });
            let due = copyable.map(|(lease_id, lease)| {
                let lost = !scheduler.providers[&lease.at.node].present;
                let end = lease.expected.unwrap_or(Micros(u64::MAX)).max(Micros(1));
                (if lost { Micros(0) } else { end }, *lease_id)
            });
            assert_eq!(class.due, due.collect::<BTreeSet<_>>());
        }
        for task in job.attempts.iter().map(|(task, _)| *task) {
            assert!(job.leases_of(task).count() <= policy.most_attempts as usize, "{task:?}");
        }
    }
}
