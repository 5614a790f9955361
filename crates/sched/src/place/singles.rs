//! Tasks that are placed one by one.

use std::ops::Bound;

use tidemill_types::JobId;

use crate::{ClassId, Placement, Single, Work, cost::Estimate, filter, work::JobState};

use super::{Placing, Turn};

impl<'a> Placing<'a> {
    /// A job at the begin of a call.
    pub(super) fn turn(&mut self, id: JobId, job: &'a JobState) -> Turn<'a> {
        let most = self.scheduler.policy.singles_per_call;
        let after = job.singles.range(job.cursor..).chain(job.singles.range(..job.cursor));
        let mut singles: Vec<_> = after.take(most).map(|(task, _)| *task).collect();
        if let Some(last) = singles.last().filter(|_| job.singles.len() > most) {
            let next = (Bound::Excluded(last), Bound::Unbounded);
            let next = job.singles.range(next).chain(&job.singles).next();
            self.cursors.extend(next.map(|(task, _)| (id, *task)));
        }
        singles.reverse();
        Turn {
            id,
            job,
            load: job.load,
            room: job.room(),
            singles,
            reduce: Default::default(),
            map: Default::default(),
        }
    }

    /// Places the next single that somebody takes; whether there was one.
    pub(super) fn place_single(&mut self, turn: &mut Turn<'a>) -> bool {
        while let Some(task) = turn.singles.pop() {
            let Some(left) = self.looks.checked_sub(self.seats.len()) else { return false };
            self.looks = left;
            let Some(single) = turn.job.singles.get(&task) else { continue };
            // It was given up while an attempt still runs: that one may yet end well.
            if !single.beside && turn.job.leases_of(task).next().is_some() {
                continue;
            }
            if let Some(load) = self.place_one(turn.job, single) {
                turn.room -= 1;
                turn.load = turn.load.saturating_add(load);
                return true;
            }
        }
        false
    }

    fn place_one(&mut self, job: &JobState, single: &Single) -> Option<u64> {
        let policy = &self.scheduler.policy;
        let class = job.class(single.stage)?;
        let needs = &class.class.needs;
        let memory = needs.memory.0;
        let takes = self.seats.iter().enumerate().filter(|(_, seat)| {
            seat.room > 0
                && seat.lanes.takes(memory, class.fuel.get().is_some())
                && filter::unfit(seat.site, &class.class).is_none()
                && single.is_for(&seat.site.provider.operator)
        });
        let costs = takes.map(|(at, seat)| {
            let own = single.missing(&seat.site.at.node);
            let estimate = Estimate::of(class, seat.site, own, policy, self.now);
            (estimate.total(seat.lanes.next_start(memory)), at, estimate)
        });
        let (total, at, estimate) = costs.min_by_key(|(total, at, _)| (*total, *at))?;
        if estimate.work.is_some() {
            let own = |node: &_| single.missing(node);
            if !self.is_early(class, total) && total > self.finish(class, class.left(), &single.exclude, own)
            {
                return None;
            }
        }
        Some(self.give(at, single.class(), &estimate, memory, Work::Single(single.task)))
    }

    /// Gives a seat one task; what it adds to its job's load.
    pub(super) fn give(
        &mut self,
        index: usize,
        class: ClassId,
        estimate: &Estimate,
        memory: u64,
        work: Work,
    ) -> u64 {
        let seat = &mut self.seats[index];
        let end = seat.lanes.push(memory, estimate.shared, estimate.length());
        seat.room = seat.room.saturating_sub(1);
        let at = seat.site.at;
        let expected = estimate.length().filter(|_| !estimate.guessed).map(|_| self.at(end));
        self.placements.push(Placement { at, class, work, expected });
        self.load(estimate)
    }
}
