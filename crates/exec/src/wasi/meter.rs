//! What host calls cost, and when they must stop.
//!
//! Compiled code pays fuel for its own operators; what it asks of the host is paid here, by call and by
//! byte, before the work is done. One unit of fuel is about a nanosecond of compiled code, and the
//! prices below keep host work at least as dear as that, so that no program gets more out of a unit of
//! fuel by leaning on the host.

use std::time::Instant;

use tidemill_types::{Failure, Fuel, Limits};

use super::{Fault, written::Looks};
use crate::cancel::Cancel;

/// Entering and leaving the host.
pub(crate) const CALL: u64 = 200;
/// Looking up one component of a path, or listing one directory entry.
pub(crate) const ENTRY: u64 = 100;
/// Making or removing a node.
pub(crate) const NODE: u64 = 1_000;

/// Fuel between two looks at the wall clock during host calls: about a millisecond's worth.
const FUEL_PER_LOOK: u64 = 1_000_000;

/// When an attempt must stop whatever it is doing.
#[derive(Clone, Debug)]
pub(crate) struct Stop {
    pub(crate) deadline: Instant,
    pub(crate) cancel: Cancel,
    pub(crate) limits: Limits,
    /// Whoever looks on while it runs.
    pub(crate) looks: Looks,
}

impl Stop {
    pub(crate) fn check(&self) -> Result<(), Failure> {
        if self.cancel.is_cancelled() {
            return Err(Failure::Cancelled);
        }
        let now = Instant::now();
        if now >= self.deadline {
            return Err(Failure::WallTime { limit: self.limits.wall_time });
        }
        self.looks.pass(now);
        Ok(())
    }
}

/// The fuel of a running task as host calls see it.
#[derive(Debug)]
pub(crate) struct Meter {
    limit: Fuel,
    /// Fuel left; set from the store when a call begins and written back when it ends.
    pub(crate) left: u64,
    pub(crate) host_calls: u64,
    pub(crate) read: u64,
    /// Fuel burnt since the last look at the wall clock.
    since_look: u64,
    stop: Stop,
}

impl Meter {
    pub(crate) fn new(stop: Stop) -> Self {
        let limit = stop.limits.fuel;
        Self { limit, left: limit.0, host_calls: 0, read: 0, since_look: 0, stop }
    }

    /// Takes over from compiled code, which burnt fuel until only `left` was left. What it burnt counts
    /// towards the next look at the wall clock: giving fuel back to the store at the end of each call
    /// begins the store's own interval anew, so a guest that calls the host often would never yield.
    pub(crate) fn resume(&mut self, left: u64) {
        self.since_look += self.left.saturating_sub(left);
        self.left = left;
    }

    /// Counts a call and takes its price.
    pub(crate) fn enter(&mut self) -> Result<(), Fault> {
        self.host_calls += 1;
        self.charge(CALL)
    }

    /// Takes fuel, or ends the task. Now and then looks whether time is up.
    pub(crate) fn charge(&mut self, amount: u64) -> Result<(), Fault> {
        match self.left.checked_sub(amount) {
            Some(left) => {
                self.left = left;
                self.since_look += amount;
                if self.since_look < FUEL_PER_LOOK {
                    return Ok(());
                }
                self.since_look = 0;
                self.stop.check().map_err(Fault::Stop)
            }
            None => {
                self.left = 0;
                Err(Fault::Stop(Failure::Fuel { limit: self.limit }))
            }
        }
    }

    /// Fuel burnt so far.
    pub(crate) fn used(&self) -> u64 {
        self.limit.0 - self.left
    }
}
