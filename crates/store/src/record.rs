//! What the store holds. Most rows on disk are these records as they are; what is encoded
//! here may only change together with [`crate::schema::VERSION`].

use serde::{Deserialize, Serialize};
use tidemill_types::{
    Acceptance, Address, Amount, BatchTerms, BlobId, ByteSize, EscrowContract, EscrowId, Evidence, Failure,
    JobId, KeyBinding, LeaseId, NodeId, Principal, ProgramKind, RateCard, Release, Signature65, Signed,
    SpecHash, TaskId, TaskNumber, Usage,
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
    pub owner: Principal,
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
    /// What pays for it; nothing where work is free.
    pub pay: Option<JobPayRecord>,
    /// What was paid for work that was undone since.
    pub paid_for_undone: Amount,
    /// What is kept of it: its specification and summary, and the outputs and logs of its tasks that are done.
    pub bytes: ByteSize,
}

/// What is kept for one owner of jobs.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Holdings {
    /// How many jobs, running and ended.
    pub jobs: u64,
    /// The sum of [`JobRecord::bytes`] over them.
    pub bytes: ByteSize,
}

/// What is known of a job that is about to come in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Found {
    /// The job that has its id.
    pub job: Option<JobRecord>,
    /// Whether a job of its id was removed and is not swept out yet, so that the id is taken.
    pub is_removing: bool,
    /// What is kept for its owner.
    pub holdings: Holdings,
    /// Whether the escrow that is to pay for it is closed: no job may use that again.
    pub is_escrow_closed: bool,
}

/// What pays for a job.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct JobPayRecord {
    /// The escrow.
    pub escrow: EscrowId,
    /// The highest rates at which its tasks are leased.
    pub ceiling: RateCard,
    /// The most that it may cost.
    pub max_price: Option<Amount>,
}

/// An escrow that pays for jobs.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct EscrowRecord {
    /// Its name on the ledger.
    pub id: EscrowId,
    /// The contract that it is in.
    pub contract: EscrowContract,
    /// Whose money it is.
    pub requester: Address,
    /// The account that signs its vouchers.
    pub coordinator: Address,
    /// Nodes that the requester lets spend it.
    pub nodes: Vec<NodeId>,
    /// All that was put in, as far as the coordinator counts on it.
    pub deposited: Amount,
    /// When it ends by itself, in seconds of the ledger's clock.
    pub ends_s: u64,
    /// Until when its vouchers are paid.
    pub collect_until_s: u64,
    /// The coordinator's part of payments, in parts per million.
    pub fee_ppm: u32,
    /// The protocol's.
    pub protocol_fee_ppm: u32,
    /// The first number that no voucher of it has had.
    pub next_sequence: u64,
    /// The sum of the newest vouchers of all payees.
    pub total: Amount,
    /// Whether to settle it once no job uses it.
    pub close: bool,
    /// How far it is.
    pub stage: EscrowStage,
    /// The transactions that settled it so far, oldest first.
    pub settlements: Vec<SettlementRecord>,
}

/// How far an escrow is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum EscrowStage {
    /// Jobs may use it.
    Open,
    /// It is to be settled: no job uses it any more.
    Settling,
    /// Everybody was paid, and the rest waits for the end of the collect window.
    Paid,
    /// Nothing is left to do.
    Closed,
}

/// A transaction that settled an escrow, or a part of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SettlementRecord {
    /// Its hash.
    pub transaction: [u8; 32],
    /// The number of its block.
    pub block: u64,
    /// The gas that it used, for all escrows that it settled.
    pub gas_used: u64,
    /// The price of a unit of gas, in wei.
    pub gas_price_wei: u128,
    /// How many escrows it settled.
    pub escrows: u32,
    /// What went back to this one's requester.
    pub refunded: Option<Amount>,
}

/// Somebody who has earned something in an escrow.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PayeeRecord {
    /// Its account.
    pub operator: Address,
    /// A node of it.
    pub node: NodeId,
    /// What it has earned altogether, before fees.
    pub earned: Amount,
    /// What its newest voucher says.
    pub vouched: Amount,
    /// The number of that voucher.
    pub sequence: u64,
    /// Its word that it wants no more.
    pub release: Option<Signed<Release>>,
    /// What it was paid, before fees.
    pub paid: Amount,
    /// Whether its release stands in the ledger already, ahead of the close.
    pub acknowledged: bool,
}

/// That a job ended.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Ended {
    /// In which way.
    pub end: JobEnd,
    /// When.
    pub at: UnixMillis,
    /// What it came to, in the coordinator's own encoding.
    #[serde(with = "serde_bytes")]
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
    /// The escrow that paid for it ended first.
    EscrowEnded,
    /// Nobody is left to ask who could say which results of these tasks are right.
    Undecided {
        /// How many tasks.
        tasks: u64,
        /// The first of them.
        first: TaskNumber,
    },
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
    /// Whether its task was done before, and the provider is tried with it.
    pub is_known: bool,
    /// What was asked for, in the coordinator's own encoding.
    pub work: Vec<u8>,
}

/// A result of a task: what a provider signed, and what it costs.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ResultRecord {
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
    /// What it costs, before fees.
    pub price: Amount,
    /// What it used, as signed.
    pub usage: Usage,
    /// The hardware class of the machine that did it, as signed.
    pub hardware_class: Option<String>,
    /// How long the provider says it took, in microseconds.
    pub wall_us: u64,
    /// When it came.
    pub at: UnixMillis,
    /// The batch whose signature covers it.
    pub batch: BatchId,
    /// Its place among the batch's leaves.
    pub leaf: u32,
}

/// That a task is done: the result that was accepted.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct DoneRecord {
    /// The result.
    pub result: ResultRecord,
    /// How many leases the task took, this one included.
    pub attempts: u32,
    /// Why it was accepted.
    pub verdict: Acceptance,
}

/// A result of a task that waits, or waited, for a verdict.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct OpinionRecord {
    /// The result.
    pub result: ResultRecord,
    /// Which output it counts as; none while it has not been compared with those that came before.
    pub answer: Option<BlobId>,
    /// The odds that it is wrong if nobody else is asked, in billionths.
    pub error_ppb: u32,
    /// What it was paid, before fees; none while nothing is decided about its pay, and where it is not paid.
    pub paid: Option<Amount>,
    /// Of one who was tried with a task that was done before: whether this is its answer.
    pub known: Option<bool>,
    /// How it is billed, in the coordinator's own encoding.
    #[serde(with = "serde_bytes")]
    pub bill: Vec<u8>,
}

impl OpinionRecord {
    /// Which output it counts as: its own, while it has not been compared.
    pub fn counts_as(&self) -> BlobId {
        self.answer.unwrap_or(self.result.output)
    }
}

/// Whose results of which kind a reputation is about.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct ReputationKey {
    /// The account.
    pub operator: Address,
    /// The kind of program.
    pub kind: ProgramKind,
    /// The class of hardware, where results depend on it.
    pub hardware_class: Option<String>,
}

/// What a task wrote to standard error.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LogRecord {
    /// The text, or the end of it.
    #[serde(with = "serde_bytes")]
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
    /// What it costs if the job ends by this failure, before fees.
    pub price: Amount,
    /// When it was reported.
    pub at: UnixMillis,
    /// The class of hardware of the machine that tried, as signed.
    pub hardware_class: Option<String>,
    /// What proves that its provider signed it, where every machine would fail alike. A failure refers to no batch, as
    /// results do: few failures are of this sort.
    pub proof: Option<Box<FailureProof>>,
}

/// What proves that a provider signed a failure.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FailureProof {
    /// What failed.
    pub spec: SpecHash,
    /// What the attempt used, as signed.
    pub usage: Usage,
    /// The way from its leaf to the root of its batch.
    pub path: Vec<[u8; 32]>,
    /// The batch.
    pub batch: BatchTerms,
    /// The signature under the batch.
    pub signature: Signature65,
    /// Binds the key that signed to the provider's node.
    pub binding: KeyBinding,
}

/// Evidence that is kept of a result that contradicts the accepted one, whatever becomes of its job.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct EvidenceRecord {
    /// Who submitted the job.
    pub owner: Principal,
    /// The account of the contradicting result.
    pub operator: Address,
    /// When the contradiction was found.
    pub at: UnixMillis,
    /// Until when it is kept.
    pub until: UnixMillis,
    /// The two results.
    pub evidence: Evidence,
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
    /// Binds the key that signed it to the provider's node.
    pub binding: KeyBinding,
    /// The root of its Merkle tree.
    pub root: [u8; 32],
    /// The provider's own number for it.
    pub sequence: u64,
    /// The signature over the root, in the coordinator's own encoding.
    pub signature: Vec<u8>,
    /// The hash of each leaf, in order.
    pub leaves: Vec<[u8; 32]>,
}

/// What a coordinator needs at its start. It does not grow with what is over: jobs that ended, escrows that are closed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Recovered {
    /// The jobs that have not ended, in the order of their ids.
    pub jobs: Vec<JobRecord>,
    /// The leases that had not ended, by job, task and number.
    pub leases: Vec<LeaseRecord>,
    /// Who was found to have given a wrong result while jobs ran that have not ended, by job.
    pub suspects: Vec<(JobId, Address)>,
    /// What is known of everybody's results, in the coordinator's own encoding.
    pub reputations: Vec<(ReputationKey, Vec<u8>)>,
    /// The first lease number that was never used.
    pub next_lease: LeaseId,
    /// The first batch number that was never used.
    pub next_batch: BatchId,
    /// The batches that were not closed.
    pub open_batches: Vec<BatchId>,
    /// The escrows that are not closed, each with its payees.
    pub escrows: Vec<(EscrowRecord, Vec<PayeeRecord>)>,
}
