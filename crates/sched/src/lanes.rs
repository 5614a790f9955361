//! When an engine's slots get free: the prediction that tasks are poured into.

use std::{cmp::Reverse, collections::BinaryHeap};

use crate::{
    Micros, Policy,
    provider::{EngineState, Running},
};

/// The slots of an engine from now on. Times are µs from now.
#[derive(Clone, Debug)]
pub(crate) struct Lanes {
    /// Slots that nothing uses.
    idle: u64,
    /// Memory that nothing uses.
    memory: u64,
    /// When each of the used slots gets free. One whose length is unknown is put at the horizon.
    busy: BinaryHeap<Reverse<u64>>,
    /// Slots in use of which nobody knows for how long.
    unknown: u64,
    /// When the first of the others gets free, what waits left out; none where there is no other.
    first_told: Option<u64>,
    /// Something waits, so nothing new starts before a slot gets free.
    waits: bool,
    horizon: u64,
}

impl Lanes {
    /// Those of an engine.
    pub fn of(engine: &EngineState, policy: &Policy, now: Micros) -> Self {
        let horizon = policy.horizon.0;
        let (mut unknown, mut first_told) = (0, None);
        let mut busy: Vec<u64> = Vec::with_capacity(engine.running.len());
        for running in engine.running.values() {
            busy.push(match running.lease.work {
                Some(work) => {
                    let left = remaining(running, work, now);
                    first_told = Some(first_told.map_or(left, |first: u64| first.min(left)));
                    left
                }
                None => {
                    unknown += 1;
                    horizon
                }
            });
        }
        let waiting = engine.waiting_unknown.saturating_mul(horizon).saturating_add(engine.waiting_work);
        pour(&mut busy, waiting);
        Self {
            idle: u64::from(engine.slots(policy)).saturating_sub(busy.len() as u64),
            memory: engine.memory().saturating_sub(engine.running_memory),
            busy: busy.into_iter().map(Reverse).collect(),
            unknown,
            first_told,
            waits: !engine.waiting.is_empty(),
            horizon,
        }
    }

    /// Whether a task that needs so much memory would start at once.
    pub fn starts_at_once(&self, memory: u64) -> bool {
        self.idle > 0 && !self.waits && memory <= self.memory
    }

    /// When the next task would start.
    pub fn next_start(&self, memory: u64) -> u64 {
        if self.starts_at_once(memory) { 0 } else { self.busy.peek().map_or(0, |Reverse(free)| *free) }
    }

    /// Whether another task may be given: it must start within the horizon. One of unknown length may also
    /// be the first that waits behind others of unknown length.
    pub fn takes(&self, memory: u64, known: bool) -> bool {
        let start = self.next_start(memory);
        start < self.horizon || (!known && start == self.horizon && !self.waits)
    }

    /// Gives it a task that cannot begin before `ready`; when it should be done.
    pub fn push(&mut self, memory: u64, ready: u64, length: Option<u64>) -> u64 {
        let start = if self.starts_at_once(memory) {
            self.idle -= 1;
            self.memory -= memory;
            0
        } else {
            self.waits = true;
            self.busy.pop().map_or(0, |Reverse(free)| free)
        };
        let end = start.max(ready).saturating_add(length.unwrap_or(self.horizon));
        self.busy.push(Reverse(end));
        end
    }

    /// When the first slot of a lease whose end can be told gets free, what waits left out. Of an engine as it is, that is
    /// before anything is given to it.
    pub fn first_told(&self) -> Option<u64> {
        self.first_told
    }

    /// What starts later is not given yet.
    pub fn horizon(&self) -> u64 {
        self.horizon
    }

    /// When the next lease ends; none where nothing runs.
    pub fn next_end(&self) -> Option<u64> {
        self.busy.peek().map(|Reverse(free)| *free)
    }

    /// Slots in use that get free at a time that can be told.
    pub fn told(&self) -> u64 {
        self.busy.len() as u64 - self.unknown
    }

    /// Slots that nothing uses.
    pub fn idle(&self) -> u64 {
        self.idle
    }

    /// Slots in use.
    pub fn busy(&self) -> usize {
        self.busy.len()
    }
}

/// What is left of a lease. One that is late is taken to need as long again as it is late.
fn remaining(running: &Running, work: u64, now: Micros) -> u64 {
    now.since(running.started).0.abs_diff(work)
}

/// Fills the lanes that get free first with `work`, evenly, as water would.
fn pour(busy: &mut [u64], work: u64) {
    if work == 0 || busy.is_empty() {
        return;
    }
    busy.sort_unstable();
    let mut left = work;
    let mut wet = 1;
    while wet < busy.len() {
        let step = (busy[wet] - busy[wet - 1]).saturating_mul(wet as u64);
        if step > left {
            break;
        }
        left -= step;
        wet += 1;
    }
    let level = busy[wet - 1].saturating_add(left / wet as u64);
    busy[..wet].fill(level);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn water_finds_its_level() {
        let mut busy = [10, 0, 4];
        pour(&mut busy, 8);
        assert_eq!(busy, [6, 6, 10]);
        pour(&mut busy, 11);
        assert_eq!(busy, [11, 11, 11]);
        pour(&mut [], 5);
    }
}
