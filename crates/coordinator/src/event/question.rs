//! What the core is asked.

use tidemill_net::wire::JobPlace;
use tidemill_types::{Address, BlobId, EscrowId, JobId, Needs, TaskId, TaskNumber};

/// What only the core knows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Question {
    /// How a running job stands.
    Job(JobId),
    /// To be told whenever that changes.
    Watch(JobId),
    /// To be told what a task writes while it runs.
    Follow(TaskId),
    /// How jobs stand.
    Jobs {
        /// At most so many.
        limit: u32,
        /// Only those that come after this one in the list.
        after: Option<JobPlace>,
        /// Those of all requesters, and not the caller's alone.
        all: bool,
    },
    /// To end a job.
    Cancel(JobId),
    /// To remove a job of the caller's own that has ended.
    Remove {
        /// The job, which the store has as the caller's.
        job: JobId,
        /// As [`super::Look::past`].
        past: u64,
    },
    /// Who has these tasks of a job, and what came of earlier attempts.
    Tasks {
        /// The job.
        job: JobId,
        /// The first task.
        from: TaskNumber,
        /// At most so many.
        limit: u32,
    },
    /// Why tasks are where they are.
    Explain {
        /// The job.
        job: JobId,
        /// The task, or the job as a whole.
        task: Option<TaskNumber>,
    },
    /// Who lends what.
    Providers,
    /// What is known of somebody's results.
    Reputation(Address),
    /// What tasks of these sorts would cost.
    Terms(Vec<(Needs, BlobId)>),
    /// How an escrow of the caller's stands.
    Escrow(EscrowId),
    /// To settle an escrow of the caller's.
    CloseEscrow(EscrowId),
}
