//! Placement: which provider gets which task.
//!
//! [`Scheduler`] is told facts (who is there, what is ready, what was leased, how it ended) and asked
//! [`Scheduler::place`]. It knows no clock, no randomness and no I/O: the same facts in the same order give
//! the same placements. The coordinator's core owns jobs, frontiers and durable leases; here is only what
//! placing needs, and it does not grow with the number of waiting tasks: equivalent tasks are a count
//! ([`Class`]), and only those that need care one by one are known one by one ([`Single`]).
//!
//! What is not fit is left out; of the rest the least predicted cost is taken: time in the queue, missing
//! bytes by measured bandwidth, work by measured rate, by the odds of success. Why a provider was or was not
//! chosen, [`Scheduler::explain`] and [`Scheduler::idle_reason`] say in words.

mod cost;
mod estimate;
mod explain;
mod facts;
mod filter;
mod history;
mod lanes;
mod lease;
mod pace;
mod place;
mod policy;
mod provider;
mod roster;
mod scheduler;
#[cfg(test)]
mod tests;
mod time;
mod work;

pub use cost::Cost;
pub use explain::{Candidate, IdleReason, IdleReasons, Verdict};
pub use filter::{Dearer, Unfit, Waiting};
pub use lease::{LeaseEnd, NewLease};
pub use place::{Placement, Work};
pub use policy::Policy;
pub use scheduler::Scheduler;
pub use time::Micros;
pub use work::{Class, ClassId, Job, Single};
