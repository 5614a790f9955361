//! Stragglers: another attempt at a task that is late, by somebody who has nothing else to do.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use tidemill_types::{JobId, LeaseId, TaskId};

use crate::{
    ClassId, Micros, Scheduler, Work,
    cost::Estimate,
    filter,
    lease::Lease,
    work::{ClassState, JobState},
};

use super::Placing;

/// Leases of a class that are looked at from either end: those that should have ended first, and last.
const MOST_LOOKED_AT: usize = 16;

impl Scheduler {
    /// Whether a copy of a lease of this job may be wanted: a cheap test before the seats are looked at.
    pub(super) fn may_copy(&self, job: &JobState, now: Micros) -> bool {
        self.policy.most_attempts > 1
            && job.classes().any(|(_, class)| {
                class.ready == 0
                    && class.singles == 0
                    && self.copyable(class, now).any(|(_, lease, left)| self.wants_copy(lease, left, now))
            })
    }

    /// The leases of a class that come first for a copy, with the µs that they are predicted to need yet.
    fn copyable<'s>(
        &'s self,
        class: &'s ClassState,
        now: Micros,
    ) -> impl Iterator<Item = (LeaseId, &'s Lease, Option<u64>)> {
        let early = class.due.iter().take(MOST_LOOKED_AT);
        let late = class.due.len().saturating_sub(MOST_LOOKED_AT).min(MOST_LOOKED_AT);
        let late = class.due.iter().rev().take(late);
        early.chain(late).filter_map(move |(due, id)| {
            let lease = self.leases.get(id).filter(|lease| lease.may_copy)?;
            let left =
                if *due == Micros(0) { None } else { self.expected(lease).map(|end| end.since(now).0) };
            Some((*id, lease, left))
        })
    }

    /// When a lease should end, by what is known by now.
    fn expected(&self, lease: &Lease) -> Option<Micros> {
        lease.expected.or_else(|| {
            let length = self.length(lease.class(), self.site(lease.at)?)?;
            Some(lease.leased_at.plus(Micros(length)))
        })
    }

    fn is_lost(&self, lease: &Lease) -> bool {
        self.providers.get(&lease.at.node).is_none_or(|provider| !provider.present)
    }

    /// Whether a lease has taken so much longer than predicted that it may never end.
    fn is_overdue(&self, lease: &Lease, now: Micros) -> bool {
        self.expected(lease).is_some_and(|end| {
            let allowed = end.since(lease.leased_at).0.saturating_mul(self.policy.straggler);
            now > lease.leased_at.plus(Micros(allowed)).plus(self.policy.patience)
        })
    }

    /// Whether a copy might be worth it somewhere.
    fn wants_copy(&self, lease: &Lease, left: Option<u64>, now: Micros) -> bool {
        self.is_lost(lease)
            || left.is_some_and(|left| left > self.policy.patience.0)
            || self.is_overdue(lease, now)
    }
}

impl<'a> Placing<'a> {
    /// Fills slots for which nothing ready was found with copies.
    pub(super) fn place_copies(&mut self) {
        if !self.seats.iter().any(|seat| seat.room > 0 && seat.lanes.starts_at_once(0)) {
            return;
        }
        let scheduler = self.scheduler;
        let mut placed: BTreeMap<JobId, u64> = BTreeMap::new();
        for placement in &self.placements {
            *placed.entry(placement.class.job).or_default() += placement.work.count();
        }
        let jobs = scheduler.jobs.iter().filter(|(_, job)| scheduler.may_copy(job, self.now));
        let mut jobs: Vec<_> = jobs.collect();
        jobs.sort_by_key(|(id, job)| (job.load / u64::from(job.weight), job.served, **id));
        for (id, job) in jobs {
            let mut room = job.room().saturating_sub(placed.get(id).copied().unwrap_or(0));
            for (stage, class) in job.classes() {
                if class.ready == 0 && class.singles == 0 {
                    self.copy_class(ClassId { job: *id, stage }, job, class, &mut room);
                }
            }
        }
    }

    fn copy_class(&mut self, id: ClassId, job: &JobState, class: &ClassState, room: &mut u64) {
        let (scheduler, now) = (self.scheduler, self.now);
        let (policy, needs) = (&scheduler.policy, &class.class.needs);
        let memory = needs.memory.0;
        let idle = self.seats.iter().enumerate().filter(|(_, seat)| {
            seat.room > 0
                && seat.lanes.starts_at_once(memory)
                && filter::unfit(seat.site, &class.class).is_none()
        });
        let mut idle: Vec<(u64, usize, Estimate)> = idle
            .map(|(at, seat)| {
                let estimate = Estimate::of(class, seat.site, class.class.own_bytes, policy, now);
                (estimate.total(0), at, estimate)
            })
            .collect();
        idle.sort_unstable_by_key(|(total, at, _)| (*total, *at));
        let mut wanted: Vec<(Reverse<bool>, Reverse<u64>, LeaseId, &Lease)> = scheduler
            .copyable(class, now)
            .filter(|(_, lease, left)| scheduler.wants_copy(lease, *left, now))
            .map(|(lease_id, lease, left)| {
                let urgent = scheduler.is_lost(lease) || scheduler.is_overdue(lease, now);
                (Reverse(urgent), Reverse(left.unwrap_or(u64::MAX)), lease_id, lease)
            })
            .collect();
        wanted.sort_unstable_by_key(|(urgent, left, lease, _)| (*urgent, *left, *lease));
        let mut copied: BTreeSet<TaskId> = BTreeSet::new();
        for (Reverse(urgent), Reverse(left), _, lease) in wanted {
            if *room == 0 {
                return;
            }
            let task = lease.task;
            if copied.contains(&task) {
                continue;
            }
            let runs_at = |operator| {
                job.leases_of(task.task)
                    .filter_map(|attempt| scheduler.leases.get(&attempt))
                    .any(|attempt| attempt.operator == operator)
            };
            let best = idle.iter().find(|(_, at, _)| {
                let seat = &self.seats[*at];
                let operator = seat.site.provider.operator;
                seat.room > 0
                    && seat.lanes.starts_at_once(memory)
                    && !lease.exclude.contains(&operator)
                    && !runs_at(operator)
            });
            let Some((total, at, estimate)) = best.copied() else { continue };
            let faster = estimate.work.is_some()
                && total.saturating_mul(policy.straggler) < left
                && left.saturating_sub(total) > policy.patience.0;
            if urgent || faster {
                self.give(at, id, &estimate, memory, Work::Copy(task));
                copied.insert(task);
                *room -= 1;
            }
        }
    }
}
