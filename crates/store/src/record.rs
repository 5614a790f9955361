//! What the store holds. Most rows on disk are these records as they are; what is encoded
//! here may only change together with [`crate::schema::VERSION`].

use serde::{Deserialize, Serialize};
use tidemill_types::{
    Address, BlobId, ByteSize, Failure, JobId, LeaseId, NodeId, SpecHash, TaskId, TaskNumber, Usage,
};

/// How many failed attempts of one task are kept. Enough to see a pattern and to know which operators tried;
/// the number of all failures is kept besides.
pub const MAX_ATTEMPTS_KEPT: usize = 16;

/// An instant: milliseconds since 1970, as the coordinator's clock told it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug, Serialize, Deserialize)]
pub struct UnixMillis(pub u64);

/// A signed batch of results: a number that its coordinator never uses twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct BatchId(pub u64);

/// A job, without its specification.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct JobRecord {
    /// Its name among all jobs.
    pub job: JobId,
    /// Who submitted it.
    pub owner: NodeId,
    /// Its name for people.
    pub name: String,
    /// When it was submitted.
    pub submitted: UnixMillis,
    /// How many of its tasks are of the map.
    pub map_count: u64,
    /// How many tasks it has.
    pub task_count: u64,
    /// How many of them are done.
    pub done: u64,
    /// How it ended, if it has.
    pub ended: Option<Ended>,
}

/// That a job ended.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Ended {
    /// In which way.
    pub end: JobEnd,
    /// When.
    pub at: UnixMillis,
    /// What it came to, in the coordinator's own encoding.
    pub summary: Vec<u8>,
}

/// The ways in which a job ends.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum JobEnd {
    /// All its tasks are done.
    Done,
    /// It cannot be done.
    Failed {
        /// The task that decided it, whose [`crate::Store::attempts`] say more.
        task: TaskNumber,
        /// Why.
        failure: Failure,
        /// How many attempts at that task failed.
        attempts: u32,
    },
    /// Its requester gave it up.
    Cancelled,
    /// Its deadline passed first.
    Deadline,
}

/// An attempt at a task that was given to a provider and has not ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LeaseRecord {
    /// Its number.
    pub id: LeaseId,
    /// Of which task.
    pub task: TaskId,
    /// Who has it.
    pub provider: NodeId,
    /// On whose account.
    pub operator: Address,
    /// When it was given.
    pub at: UnixMillis,
    /// What was asked for, in the coordinator's own encoding.
    pub work: Vec<u8>,
}

/// That a task is done: the result that was accepted.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct DoneRecord {
    /// The lease that it answers.
    pub lease: LeaseId,
    /// Who did it.
    pub provider: NodeId,
    /// On whose account.
    pub operator: Address,
    /// What it is a result of.
    pub spec: SpecHash,
    /// Its output.
    pub output: BlobId,
    /// The output's length.
    pub output_len: ByteSize,
    /// What it used, as signed.
    pub usage: Usage,
    /// The hardware class of the machine that did it, as signed.
    pub hardware_class: Option<String>,
    /// How long the provider says it took, in microseconds.
    pub wall_us: u64,
    /// When it was accepted.
    pub at: UnixMillis,
    /// How many leases the task took, this one included.
    pub attempts: u32,
    /// The batch whose signature covers it.
    pub batch: BatchId,
    /// Its place among the batch's leaves.
    pub leaf: u32,
}

/// What a task wrote to standard error.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LogRecord {
    /// The text, or the end of it.
    pub bytes: Vec<u8>,
    /// How many bytes came before that and are not kept.
    pub omitted: u64,
}

/// An attempt that failed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AttemptRecord {
    /// Its lease.
    pub lease: LeaseId,
    /// Who tried.
    pub provider: NodeId,
    /// On whose account.
    pub operator: Address,
    /// What happened.
    pub failure: Failure,
    /// When it was reported.
    pub at: UnixMillis,
}

/// The failed attempts at one task.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct FailedTask {
    /// How many attempts failed.
    pub failures: u32,
    /// The last of them, oldest first: at most [`MAX_ATTEMPTS_KEPT`]. Those that are evidence against the
    /// task stay longer than those that were circumstance.
    pub kept: Vec<AttemptRecord>,
}

/// A batch of results under one signature.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct BatchRecord {
    /// Who sent it.
    pub provider: NodeId,
    /// Whose key signed it.
    pub signer: Address,
    /// The root of its Merkle tree.
    pub root: [u8; 32],
    /// The provider's own number for it.
    pub sequence: u64,
    /// The signature over the root, in the coordinator's own encoding.
    pub signature: Vec<u8>,
    /// The hash of each leaf, in order.
    pub leaves: Vec<[u8; 32]>,
}

/// What a coordinator needs at its start.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Recovered {
    /// All jobs, ended ones too, in the order of their ids.
    pub jobs: Vec<JobRecord>,
    /// The leases that had not ended, by job, task and number.
    pub leases: Vec<LeaseRecord>,
    /// The first lease number that was never used.
    pub next_lease: LeaseId,
    /// The first batch number that was never used.
    pub next_batch: BatchId,
    /// The batches that were not closed.
    pub open_batches: Vec<BatchId>,
    /// Jobs that were removed and whose rows are not all swept yet; their ids are still taken.
    pub removing: Vec<JobId>,
}
