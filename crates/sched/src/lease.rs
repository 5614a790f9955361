//! Leases: attempts at tasks, as far as placement follows them.

use tidemill_types::{Address, EngineId, LeaseId, Metered, Stage, TaskId};

use crate::{ClassId, Micros};

/// A lease that was made.
#[derive(Clone, Debug)]
pub struct NewLease {
    /// Its number. Providers are taken to start leases in the order of these.
    pub id: LeaseId,
    /// The task.
    pub task: TaskId,
    /// The stage of the task.
    pub stage: Stage,
    /// Whose it is.
    pub at: EngineId,
    /// The provider's operator.
    pub operator: Address,
    /// Operators that must not get a copy of it: those of its failed attempts.
    pub exclude: Vec<Address>,
    /// Whether another attempt at the task is of use when this one is late.
    pub may_copy: bool,
    /// What [`crate::Placement::expected`] said; none for a lease found in the store at a start.
    pub expected: Option<Micros>,
}

/// How a lease ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LeaseEnd {
    /// The task is done.
    Done {
        /// Time that the provider says that the attempt ran.
        wall: Micros,
        /// What it did.
        work: Metered,
    },
    /// The attempt failed in a way that says nothing of the task. It counts against the provider.
    Failed,
    /// The attempt failed, and whether by the task's doing or its machine's is not known before somebody else has tried it.
    Unclear,
    /// The attempt failed as it would everywhere. It counts against nobody.
    Evidence,
    /// The provider gave it back unstarted, or its job was cancelled.
    Returned,
    /// The provider did not answer in time. It counts against it.
    Expired,
    /// Another attempt was faster.
    Superseded,
}

/// A lease that has not ended.
#[derive(Debug)]
pub(crate) struct Lease {
    pub task: TaskId,
    pub stage: Stage,
    pub at: EngineId,
    pub operator: Address,
    pub exclude: Vec<Address>,
    pub may_copy: bool,
    pub leased_at: Micros,
    pub expected: Option<Micros>,
    /// What it adds to its job's load.
    pub load: u64,
}

impl Lease {
    pub fn class(&self) -> ClassId {
        ClassId { job: self.task.job, stage: self.stage }
    }
}
