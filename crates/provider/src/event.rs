//! What a provider tells its owner.

use std::time::Duration;

use tidemill_types::{JobId, LeaseId, NodeId, Outcome, TaskNumber};

/// What happened. For people and logs: nothing depends on an event being heard.
#[derive(Clone, PartialEq, Debug)]
pub enum Event {
    /// A coordinator took it in.
    Joined {
        /// The coordinator.
        coordinator: NodeId,
        /// Its program and version, in its own words.
        software: String,
    },
    /// There is no session any more, or none came about. Tasks that run go on.
    Lost {
        /// Why.
        reason: String,
        /// When it is tried again.
        retry_in: Duration,
    },
    /// The coordinator will not have it, and trying again would be of no use.
    Refused {
        /// Why.
        reason: String,
    },
    /// It has no work.
    Idle {
        /// Why, as far as it is known.
        reason: String,
        /// For how long now.
        since: Duration,
    },
    /// A sign of life, with every heartbeat while there is work.
    Working {
        /// Tasks that run.
        running: u32,
        /// Leases that wait for a slot or for blobs.
        waiting: u32,
        /// Results since the start.
        done: u64,
    },
    /// An attempt ended, and its result is on its way.
    TaskDone {
        /// The lease.
        lease: LeaseId,
        /// The job.
        job: JobId,
        /// The task.
        task: TaskNumber,
        /// How it ended.
        outcome: Outcome,
        /// How long it ran.
        wall: Duration,
    },
    /// Leases went back without having been run.
    Returned {
        /// How many.
        leases: usize,
        /// Why.
        reason: String,
    },
    /// There is no room for blobs: no leases are taken for a while.
    NoRoom {
        /// What was tried and how it failed.
        reason: String,
        /// When leases are taken again.
        resume_in: Duration,
    },
    /// It takes no more leases, and ends when those that run have been reported.
    Draining {
        /// Tasks that run.
        running: u32,
        /// Results that the coordinator has not settled.
        unsettled: usize,
    },
    /// All is reported and settled, and the session is over.
    Drained,
}

/// How a provider ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ending {
    /// As asked, with all its work reported.
    Drained,
    /// As asked, at once.
    Stopped,
    /// The coordinator will not have it.
    Refused {
        /// Why.
        reason: String,
    },
    /// It broke, which is a mistake of this program.
    Broke,
}
