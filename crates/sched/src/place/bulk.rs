//! Equivalent tasks, placed in batches.

use std::{cmp::Reverse, collections::BinaryHeap};

use tidemill_types::Stage;

use crate::{ClassId, Placement, Work, cost::Estimate, filter, work::ClassState};

use super::{Placing, Turn};

/// The most tasks that go to one provider before another is considered.
const MOST_AT_ONCE: u64 = 64;

/// The providers that a class's next batch may go to.
#[derive(Default)]
pub(super) struct Candidates {
    by_cost: Option<BinaryHeap<Reverse<(u64, usize)>>>,
    /// Estimates, and the placement so far, by seat.
    at: Vec<Option<(Estimate, Option<usize>)>>,
    placed: u64,
    /// When the others have done all that is left; worked out only when it is asked for.
    finish: Option<u64>,
}

impl<'a> Placing<'a> {
    /// Places one batch of a class; whether there was somebody for it.
    pub(super) fn place_bulk(&mut self, turn: &mut Turn<'a>, stage: Stage) -> bool {
        let Some(class) = turn.job.class(stage) else { return false };
        let candidates = if stage == Stage::Map { &mut turn.map } else { &mut turn.reduce };
        let ready = class.ready.saturating_sub(candidates.placed).min(turn.room);
        if ready == 0 {
            return false;
        }
        let mut by_cost = candidates.by_cost.take().unwrap_or_else(|| self.find(class, &mut candidates.at));
        let placed =
            self.place_batch(class, candidates, &mut by_cost, ready, ClassId { job: turn.id, stage });
        candidates.by_cost = Some(by_cost);
        if let Some((count, load)) = placed {
            candidates.placed += count;
            turn.room -= count;
            turn.load = turn.load.saturating_add(load);
        }
        placed.is_some()
    }

    /// The tasks placed, and what they add to the job's load.
    fn place_batch(
        &mut self,
        class: &ClassState,
        candidates: &mut Candidates,
        by_cost: &mut BinaryHeap<Reverse<(u64, usize)>>,
        ready: u64,
        id: ClassId,
    ) -> Option<(u64, u64)> {
        let memory = class.class.needs.memory.0;
        while let Some(Reverse((_, at))) = by_cost.pop() {
            let (estimate, placement) = candidates.at[at]?;
            let length = estimate.length();
            let seat = &mut self.seats[at];
            if seat.room == 0 || !seat.lanes.takes(memory, length.is_some()) {
                continue;
            }
            // Its queue may have grown since its cost was worked out.
            let total = estimate.total(seat.lanes.next_start(memory));
            if by_cost.peek().is_some_and(|Reverse(next)| *next < (total, at)) {
                by_cost.push(Reverse((total, at)));
                continue;
            }
            if length.is_some() && self.is_outpaced(class, candidates, total) {
                by_cost.clear();
                return None;
            }
            let share = ready / (4 * (by_cost.len() as u64 + 1));
            let mut most = self.batch(length, share).min(ready).min(u64::from(self.seats[at].room));
            if class.is_guess() {
                let seat = &self.seats[at];
                let here = placement.map_or(0, |at: usize| self.placements[at].work.count());
                most = most.min((seat.slots + 1).saturating_sub(class.leases_at(&seat.site.at) + here));
                if most == 0 {
                    continue;
                }
            }
            let (mut count, mut end) = (0, 0);
            while count < most {
                let lanes = &self.seats[at].lanes;
                let total = estimate.total(lanes.next_start(memory));
                if !lanes.takes(memory, length.is_some())
                    || (count > 0 && length.is_some() && self.is_outpaced(class, candidates, total))
                {
                    break;
                }
                end = end.max(self.seats[at].lanes.push(memory, estimate.shared, length));
                count += 1;
            }
            let seat = &mut self.seats[at];
            let room = u32::try_from(count).unwrap_or(u32::MAX);
            seat.room = seat.room.saturating_sub(room);
            let engine = seat.site.at;
            by_cost.push(Reverse((estimate.total(seat.lanes.next_start(memory)), at)));
            let expected = length.filter(|_| !estimate.guessed).map(|_| self.at(end));
            let placement = placement.unwrap_or_else(|| {
                self.placements.push(Placement { at: engine, class: id, work: Work::Any(0), expected });
                self.placements.len() - 1
            });
            candidates.at[at] = Some((estimate, Some(placement)));
            let placement = &mut self.placements[placement];
            placement.expected = placement.expected.max(expected);
            if let Work::Any(placed) = &mut placement.work {
                *placed += room;
            }
            return Some((count, count.saturating_mul(self.load(&estimate))));
        }
        None
    }

    /// Everybody that takes a task of the class now, by cost.
    fn find(
        &self,
        class: &ClassState,
        at: &mut Vec<Option<(Estimate, Option<usize>)>>,
    ) -> BinaryHeap<Reverse<(u64, usize)>> {
        let policy = &self.scheduler.policy;
        let needs = &class.class.needs;
        at.resize(self.seats.len(), None);
        let mut by_cost = Vec::new();
        for (index, seat) in self.seats.iter().enumerate() {
            // Less is asked of unknown lengths, so this drops nobody too early.
            if seat.room == 0 || !seat.lanes.takes(needs.memory.0, false) {
                continue;
            }
            if filter::unfit(seat.site, &class.class).is_some() {
                continue;
            }
            let estimate = Estimate::of(class, seat.site, class.class.own_bytes, policy, self.now);
            at[index] = Some((estimate, None));
            by_cost.push(Reverse((estimate.total(seat.lanes.next_start(needs.memory.0)), index)));
        }
        by_cost.into()
    }

    /// Whether the others have done all that is left of a class before a task of that cost is done.
    fn is_outpaced(&mut self, class: &ClassState, candidates: &mut Candidates, total: u64) -> bool {
        if self.is_early(class, total) {
            return false;
        }
        let left = class.left().saturating_sub(candidates.placed);
        let finish = match candidates.finish {
            Some(finish) => finish,
            None => *candidates.finish.insert(self.finish(class, left, &[], |_| class.class.own_bytes)),
        };
        total > finish
    }

    /// How many tasks go to one provider before another is considered: few when little is left, so that it
    /// is spread, and little work, so that jobs take turns.
    fn batch(&self, length: Option<u64>, share: u64) -> u64 {
        let Some(length) = length else { return 1 };
        let turn = self.scheduler.policy.horizon.0 / 4 / length.max(1);
        share.min(turn).clamp(1, MOST_AT_ONCE)
    }
}
