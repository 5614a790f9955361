//! What a coordinator asks to be made durable, and what of it makes no sense.

use tidemill_types::{
    Address, Amount, BlobId, Chain, Claim, EscrowId, Finding, JobId, LeaseId, Principal, TaskId, TaskSpec,
    Terms,
};

use crate::{
    AttemptRecord, BatchId, BatchRecord, DoneRecord, EscrowRecord, FailureProof, JobEnd, JobPayRecord,
    LeaseRecord, LogRecord, OpinionRecord, PayeeRecord, ReputationKey, UnixMillis,
};

/// One step of a coordinator's state. The steps of a commit are applied in order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// A job was accepted.
    JobSubmitted {
        /// Its id, which no other job here has or is still being removed under.
        job: JobId,
        /// Who submitted it.
        owner: Principal,
        /// When.
        at: UnixMillis,
        /// Its name for people.
        name: String,
        /// How many of its tasks are of the map.
        map_count: u64,
        /// How many tasks it has.
        task_count: u64,
        /// All of it, in the coordinator's own encoding.
        spec: Vec<u8>,
        /// What pays for it.
        pay: Option<JobPayRecord>,
    },
    /// A job ended; its leases end with it.
    JobEnded {
        /// The job, which has not ended before.
        job: JobId,
        /// In which way. `Done` only when all its tasks are.
        end: JobEnd,
        /// When.
        at: UnixMillis,
        /// What it came to, in the coordinator's own encoding.
        summary: Vec<u8>,
    },
    /// A job that ended is to be forgotten. It is gone for readers at once; [`crate::Store::sweep`] then
    /// deletes its tasks' rows in slices, since a large job's would make a transaction too large.
    JobRemoved {
        /// The job.
        job: JobId,
    },
    /// A task of a running job was given to a provider.
    Leased(LeaseRecord),
    /// A lease ended without a result. Nothing happens when it ended already.
    LeaseEnded {
        /// Its task.
        task: TaskId,
        /// Its number.
        lease: LeaseId,
    },
    /// A result came that does not decide its task alone, and its lease ends.
    Opinion {
        /// The task of a running job: one that is done where the record says that its answer was known, else one that is
        /// not.
        task: TaskId,
        /// The result.
        record: OpinionRecord,
        /// The output itself, where it is small and the first of its kind.
        output: Option<Vec<u8>>,
        /// What the task wrote to standard error, of the first of its kind.
        log: Option<LogRecord>,
    },
    /// It is known which output an opinion counts as.
    Compared {
        /// The task of a running job.
        task: TaskId,
        /// The lease whose opinion it is.
        lease: LeaseId,
        /// The output.
        answer: BlobId,
    },
    /// An opinion is paid, whatever became of its task, and nothing is held back for it any more.
    Paid {
        /// The task of a running job.
        task: TaskId,
        /// The lease whose opinion it is.
        lease: LeaseId,
        /// How much, before fees.
        amount: Amount,
    },
    /// A task that is done is so no longer: its result is one opinion among others from now on, as are those that agreed
    /// with it, all of them paid, with nothing held back. All leases of it end.
    Reopened {
        /// The task of a running job.
        task: TaskId,
        /// The odds that the result is wrong if nobody else is asked, in billionths, as they are seen now.
        error_ppb: u32,
    },
    /// All that is known of a task is of no use, since what it was made from was wrong. Its leases stay, but for those that
    /// somebody was tried with.
    Undone {
        /// The task of a running job.
        task: TaskId,
        /// What was paid for work on it, which stays spent.
        paid: Amount,
    },
    /// Somebody gave a wrong result while a job runs: what it was believed is to be looked at again.
    Suspect {
        /// The job, which runs.
        job: JobId,
        /// The account.
        operator: Address,
    },
    /// What is known of somebody's results, in the place of what was.
    Reputation {
        /// Whose.
        key: ReputationKey,
        /// In the coordinator's own encoding.
        record: Vec<u8>,
    },
    /// A result was accepted: the task of a running job is done, and all leases of it end.
    Finished {
        /// The task, which was not done before.
        task: TaskId,
        /// The result, which may be an opinion that came before.
        record: DoneRecord,
        /// The output itself, where it is small and did not come with an opinion.
        output: Option<Vec<u8>>,
        /// What the task wrote to standard error, if anything.
        log: Option<LogRecord>,
    },
    /// An attempt failed, and its lease ends. A task that is done and a job that ended may have late ones.
    AttemptFailed {
        /// The task.
        task: TaskId,
        /// The attempt.
        record: AttemptRecord,
    },
    /// A result contradicts the accepted one of its task: both are kept with their signatures, past the removal of their job.
    /// Nothing is kept that proves nothing, nor more than [`crate::MAX_EVIDENCE_OF_JOB`] and its like allow.
    Evidence(Box<NewEvidence>),
    /// A signed batch came in. It is kept while it is open, and after that while a result refers to it.
    Batch {
        /// A number that no batch had before.
        id: BatchId,
        /// The batch.
        record: BatchRecord,
    },
    /// No more results of a batch will be accepted: best in the commit that brings it, once it is known.
    /// Nothing happens when it is closed already.
    BatchClosed {
        /// The batch.
        id: BatchId,
    },
    /// An escrow as it is now, in the place of what it was.
    Escrow(EscrowRecord),
    /// A payee of an escrow as it is now.
    Payee {
        /// The escrow.
        escrow: EscrowId,
        /// The payee.
        record: PayeeRecord,
    },
}

/// Two results of a task that contradict each other.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewEvidence {
    /// The account of the contradicting one.
    pub operator: Address,
    /// When the contradiction was found.
    pub at: UnixMillis,
    /// Until when it is to be kept.
    pub until: UnixMillis,
    /// The ledger that results are signed for.
    pub chain: Chain,
    /// How it was found.
    pub finding: Finding,
    /// What both were asked to run.
    pub spec: TaskSpec,
    /// The contradicting result, of a task of a job that is there.
    pub accused: Said,
    /// The accepted one.
    pub accepted: Said,
}

/// What a provider signed about a task.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Said {
    /// What was asked.
    pub terms: Terms,
    /// What is claimed to have come of it.
    pub claim: Claim,
    /// Where its signature is.
    pub proof: Proof,
}

/// Where the signature under a result is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Proof {
    /// In a batch that is stored, since a result refers to it.
    Stored {
        /// The batch.
        batch: BatchId,
        /// The result's place among the batch's leaves.
        leaf: u32,
    },
    /// Here.
    Here(Box<FailureProof>),
}

impl Change {
    /// About how many bytes it adds to a commit.
    pub fn bytes(&self) -> usize {
        /// Keys, numbers and hashes.
        const FIXED: usize = 256;
        /// Two results with their paths and signatures, and a specification.
        const EVIDENCE: usize = 4096;
        /// A path and a hash.
        const INPUT: usize = 128;
        let log = |log: &Option<LogRecord>| log.as_ref().map_or(0, |log| log.bytes.len());
        FIXED
            + match self {
                Self::JobSubmitted { spec, .. } => spec.len(),
                Self::JobEnded { summary, .. } => summary.len(),
                Self::Opinion { output, log: said, .. } | Self::Finished { output, log: said, .. } => {
                    output.as_ref().map_or(0, Vec::len) + log(said)
                }
                Self::Batch { record, .. } => 32 * record.leaves.len(),
                Self::Reputation { record, .. } => record.len(),
                Self::Evidence(new) => EVIDENCE + INPUT * new.spec.inputs.len(),
                _ => 0,
            }
    }
}

/// Why a change contradicts what the store holds: a bug of the caller. None of the commit is applied.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Contradiction {
    /// A second result of a task, or a lease of one that is done and whose answer is not said to be known.
    #[error("task {0} is done already")]
    TaskDone(TaskId),
    /// A result that was compared or paid is not there.
    #[error("task {task} has no opinion of lease {lease}")]
    NoOpinion {
        /// The task.
        task: TaskId,
        /// The lease.
        lease: LeaseId,
    },
    /// A task that is to be looked at again, or that somebody is tried with, is not done.
    #[error("task {0} is not done")]
    NotDoneTask(TaskId),
    /// A job's id is taken.
    #[error("job {0} exists already, or is still being removed")]
    JobExists(JobId),
    /// There is no such job.
    #[error("job {0} does not exist")]
    NoJob(JobId),
    /// The job must still run.
    #[error("job {0} has ended")]
    JobEnded(JobId),
    /// The job must have ended.
    #[error("job {0} has not ended")]
    JobRuns(JobId),
    /// A job is no more done than its tasks.
    #[error("job {job} is not done: {done} of its {task_count} tasks are")]
    NotDone {
        /// The job.
        job: JobId,
        /// How many tasks are done.
        done: u64,
        /// How many it has.
        task_count: u64,
    },
    /// The job has fewer tasks.
    #[error("task {task} does not exist: its job has {task_count} tasks")]
    NoTask {
        /// The task.
        task: TaskId,
        /// How many its job has.
        task_count: u64,
    },
    /// The number of a lease was used before.
    #[error("lease {0} was given before")]
    LeaseUsed(LeaseId),
    /// The number of a batch was used before.
    #[error("batch {} was stored before", .0.0)]
    BatchUsed(BatchId),
    /// A result refers to a batch that is not here, or to a leaf that it does not have.
    #[error("batch {} has no leaf {leaf}", batch.0)]
    NoLeaf {
        /// The batch.
        batch: BatchId,
        /// The place asked for.
        leaf: u32,
    },
    /// A result refers to a batch that was closed.
    #[error("batch {} is closed", .0.0)]
    BatchClosed(BatchId),
    /// There is no such escrow.
    #[error("escrow {0} does not exist")]
    NoEscrow(EscrowId),
    /// A number of a voucher would be used again.
    #[error("escrow {escrow} goes back to number {found}, where {least} is the next")]
    SequenceUsed {
        /// The escrow.
        escrow: EscrowId,
        /// The number.
        found: u64,
        /// The first that is free.
        least: u64,
    },
    /// More would be promised than there is.
    #[error("escrow {escrow} has {deposited}, and {total} would be promised")]
    OverIssue {
        /// The escrow.
        escrow: EscrowId,
        /// What would be promised.
        total: Amount,
        /// What there is.
        deposited: Amount,
    },
    /// What somebody has earned or was promised would shrink, or a promise would exceed what was earned.
    #[error("payee {operator} of escrow {escrow} would lose what it has earned")]
    EarningsShrink {
        /// The escrow.
        escrow: EscrowId,
        /// The payee.
        operator: Address,
    },
}
