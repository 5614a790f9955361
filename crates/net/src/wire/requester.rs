//! Between a coordinator and a requester.

use serde::{Deserialize, Serialize};
use tidemill_types::{
    Address, Amount, BlobId, BlobRef, ByteSize, EscrowId, Failure, GuestPath, JobId, LeaseId, Millis, Needs,
    NodeId, Offer, Principal, RateCard, Signature65, SpecHash, TaskId, TaskNumber, Usage,
};

use super::{
    Bounded, EscrowReport, Explanation, JobCost, KeptEvidence, MAX_FRAME_BYTES, MAX_RESULTS_OF_TASK, Money,
    OutOfBounds, Refusal, Reliability, ReputationReport, TaskNews, Unjudged, at_most,
};

/// The most calls that one requester may have waiting for an answer.
pub const MAX_CALLS_IN_FLIGHT: usize = 1024;

/// Of these, the most whose answers may be as long as a frame. A coordinator makes no more until one of them has left.
pub const MAX_LONG_ANSWERS: usize = 8;

/// The most entries of one answer.
pub const MAX_PAGE: u32 = 1000;

/// Outputs up to this size travel in the answer to [`Request::Outputs`], larger ones as blobs.
pub const MAX_INLINE_PIECE_BYTES: u64 = 256 << 10;

/// What the outputs of one answer have together, as [`OutputPiece::bytes_in_answer`] counts: well below a frame, and long
/// enough that the way back and forth costs little beside the bytes.
pub const MAX_ANSWER_OUTPUT_BYTES: u64 = 3 << 20;

/// A request with the number that its answers carry.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Call {
    /// Drawn by the requester; in use by one call at a time.
    pub id: u64,
    /// What is asked for.
    pub request: Request,
}

/// What a requester may ask for. Jobs are its own alone; the coordinator's operator, who has the result key of its home, may
/// look at all.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[expect(clippy::large_enum_variant, reason = "there is one at a time")]
pub enum Request {
    /// To run a job. Answered by [`Reply::Submitted`] once the job is durable; asking again with the same id and
    /// job is harmless.
    Submit {
        /// The job's id, drawn by the requester.
        job: JobId,
        /// The job.
        spec: SpecBody,
        /// Whether [`Reply::Ended`] is to follow.
        follow: bool,
        /// What pays for it; nothing in a network that is free.
        pay: Option<JobPay>,
    },
    /// What running something would cost here. Answered by [`Reply::Terms`].
    Terms {
        /// For each stage of a job, what its tasks need, and its program.
        stages: Vec<(Needs, BlobId)>,
    },
    /// How an escrow of this node's stands, and what became of it. Answered by [`Reply::Escrow`].
    Escrow {
        /// Which.
        escrow: EscrowId,
    },
    /// To settle an escrow now that no job uses it, instead of at its deadline. Answered by [`Reply::Escrow`].
    CloseEscrow {
        /// Which.
        escrow: EscrowId,
    },
    /// How jobs stand, the newest first. Answered by [`Reply::Jobs`].
    Jobs {
        /// At most so many.
        limit: u32,
        /// Only those that come after this one in the list.
        after: Option<JobPlace>,
        /// Those of all requesters, which the coordinator's operator alone is told of.
        all: bool,
    },
    /// How a job stands. Answered by [`Reply::Job`].
    Job {
        /// Which.
        job: JobId,
    },
    /// To be told how a job stands whenever that changes: [`Reply::Job`] many times, then [`Reply::Ended`].
    Watch {
        /// Which.
        job: JobId,
    },
    /// To end a job. Answered by [`Reply::Job`].
    Cancel {
        /// Which.
        job: JobId,
    },
    /// To remove a job that has ended, with all that is kept of it. Answered by [`Reply::Removed`].
    Remove {
        /// Which.
        job: JobId,
    },
    /// How a job's tasks stand, by number. Answered by [`Reply::Tasks`].
    Tasks {
        /// Which job.
        job: JobId,
        /// The first task.
        from: TaskNumber,
        /// At most so many.
        limit: u32,
    },
    /// Outputs of finished tasks, by number. Answered by [`Reply::Outputs`].
    Outputs {
        /// Which job.
        job: JobId,
        /// The first task.
        from: TaskNumber,
        /// At most so many.
        limit: u32,
    },
    /// What a task wrote to standard error. Answered by [`Reply::Log`].
    Log {
        /// Which job.
        job: JobId,
        /// Which task.
        task: TaskNumber,
    },
    /// Why a job's tasks, or one of them, are where they are. Answered by [`Reply::Explained`].
    Explain {
        /// Which job.
        job: JobId,
        /// Which task; the job as a whole otherwise.
        task: Option<TaskNumber>,
    },
    /// Who lends what. Answered by [`Reply::Providers`].
    Providers,
    /// What is known of an operator's results. Answered by [`Reply::Reputation`].
    Reputation {
        /// Whose.
        operator: Address,
    },
    /// The results of a task that contradict the accepted one, by lease, also after the job is gone. Its requester and the
    /// coordinator's operator are told of all of them, anybody else of those that its own result key signed. Answered by
    /// [`Reply::Evidence`].
    Evidence {
        /// Which job.
        job: JobId,
        /// Which task.
        task: TaskNumber,
        /// The first lease.
        from: LeaseId,
    },
    /// To see what a task writes while it runs: [`Reply::Followed`] many times, the last of them [`TaskNews::Over`].
    Follow(TaskId),
    /// The output of a task that is done, of the map too. Answered by [`Reply::Outputs`].
    Output(TaskId),
}

/// What pays for a job.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct JobPay {
    /// The escrow. Several jobs may share one.
    pub escrow: EscrowId,
    /// The signature of the escrow's requester under a `Mandate` for this node.
    pub mandate: Signature65,
    /// Providers with any higher rate get no task of the job.
    pub ceiling: RateCard,
    /// The most that the job may cost, before anything else is taken out of the escrow. Without this, what is there.
    pub max_price: Option<Amount>,
    /// Whether to settle the escrow once no job uses it.
    pub close: bool,
}

/// Where a job is in a list that has the newest first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct JobPlace {
    /// When it was submitted, in milliseconds since 1970.
    pub submitted_ms: u64,
    /// Its id.
    pub job: JobId,
}

/// An encoded `JobSpec` of the crate `job`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum SpecBody {
    /// Here.
    Inline(#[serde(with = "serde_bytes")] Vec<u8>),
    /// To be fetched from the requester.
    Blob(BlobRef),
}

/// An answer to a call.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Answer {
    /// The call's number.
    pub id: u64,
    /// What came of it.
    pub reply: Result<Reply, Refusal>,
}

/// What a coordinator answers.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum Reply {
    /// The job is durable.
    Submitted,
    /// A job's programs and inputs are on their way to the coordinator.
    Fetching {
        /// Bytes that are there.
        done: ByteSize,
        /// Bytes in all.
        total: ByteSize,
    },
    /// Jobs. An empty list: there are no more.
    Jobs(Vec<JobReport>),
    /// A job.
    Job(JobReport),
    /// A followed or watched job has ended.
    Ended(JobReport),
    /// A job is gone.
    Removed,
    /// Tasks. An empty list: there are no more.
    Tasks(Vec<TaskReport>),
    /// Outputs. An empty list: there are no more.
    Outputs(Vec<OutputPiece>),
    /// A log.
    Log {
        /// Its end, or all of it.
        #[serde(with = "serde_bytes")]
        bytes: Vec<u8>,
        /// How many bytes before that were not kept.
        omitted: u64,
    },
    /// An explanation.
    Explained(Explanation),
    /// Providers.
    Providers(Vec<ProviderReport>),
    /// What is known of an operator's results.
    Reputation(ReputationReport),
    /// What running something would cost.
    Terms(NetworkTerms),
    /// An escrow.
    Escrow(Box<EscrowReport>),
    /// Evidence. An empty list: there is no more.
    Evidence(Vec<KeptEvidence>),
    /// How the task that is followed fares.
    Followed(TaskNews),
}

/// What running something would cost in a network.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct NetworkTerms {
    /// How it pays; nothing where it is free.
    pub money: Option<Money>,
    /// Whether no result here needs a check, since all machines are of one owner.
    pub trusts_everybody: bool,
    /// How likely the coordinator takes it to be that who is found to be wrong is slashed, in parts per million; none where
    /// no contract of the ledger may slash a provider, so that stake says nothing.
    pub slash_odds_ppm: Option<u32>,
    /// What is known of each stage that was asked for.
    pub stages: Vec<StageTerms>,
}

/// What running tasks of one sort would cost.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct StageTerms {
    /// How many providers could run them now.
    pub providers: u32,
    /// How many operators these are.
    pub operators: u32,
    /// How many of these operators the coordinator trusts: what they say needs no check.
    pub trusted: u32,
    /// An answer on which all of these operators agree is wrong in at most one of so many cases, as far as is known of
    /// them now.
    pub agreed_one_in: u64,
    /// How many of them would lose a bond of their own by a wrong result.
    pub staked: u32,
    /// The least that one of those would lose.
    pub least_stake: Amount,
    /// The highest of each rate among those; none without a provider.
    pub highest: Option<RateCard>,
    /// The lowest of each.
    pub lowest: Option<RateCard>,
    /// What a task of the program burnt in earlier jobs, where it is known.
    pub typical_fuel: Option<u64>,
}

/// How far a job is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum JobPhase {
    /// It runs.
    Running,
    /// Every task is done.
    Done,
    /// A task failed for good.
    Failed {
        /// Which.
        task: TaskNumber,
        /// What people call it.
        label: String,
        /// Why.
        failure: Failure,
        /// How many attempts were made.
        attempts: u32,
    },
    /// Its requester cancelled it.
    Cancelled,
    /// Its deadline passed.
    Deadline,
    /// The escrow that paid for it ended first.
    EscrowEnded,
    /// It is not certain which results of some tasks are right, and nobody is left to ask.
    Undecided {
        /// How many tasks.
        tasks: u64,
        /// The first of them.
        first: TaskNumber,
        /// What people call it.
        label: String,
    },
}

/// A job as its requester sees it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct JobReport {
    /// Its id.
    pub job: JobId,
    /// Who submitted it.
    pub requester: Principal,
    /// Its name.
    pub name: String,
    /// How far it is.
    pub phase: JobPhase,
    /// When it was submitted, in milliseconds since 1970.
    pub submitted_ms: u64,
    /// When it ended.
    pub ended_ms: Option<u64>,
    /// Tasks in all.
    pub tasks: u64,
    /// Of these, tasks of the map.
    pub map_tasks: u64,
    /// Tasks that are done.
    pub done: u64,
    /// Attempts that run or wait at a provider.
    pub leased: u64,
    /// Attempts that came to nothing: failures that are no evidence, expiries, leases given back.
    pub lost_attempts: u64,
    /// What the accepted attempts used.
    pub usage: Usage,
    /// Who did what.
    pub contributions: Vec<Contribution>,
    /// Why nothing is leased, when nothing is and there is something to do.
    pub stuck: Option<String>,
    /// What it costs; nothing in a network that is free.
    pub cost: Option<JobCost>,
    /// How its results came to be relied on.
    pub reliability: Reliability,
}

/// What one provider did for a job.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Contribution {
    /// The provider.
    pub node: NodeId,
    /// What its owner calls it; empty when that is not known any more.
    pub name: String,
    /// Accepted tasks.
    pub tasks: u64,
    /// How long they ran together.
    pub busy: Millis,
    /// Their fuel.
    pub fuel: u64,
    /// Its results that have no verdict.
    pub unjudged: Unjudged,
    /// Attempts that came to nothing.
    pub lost_attempts: u64,
    /// Results of it that agreed with the accepted one of somebody else.
    pub checks: u64,
    /// Results of it that were found to be wrong.
    pub contradicted: u64,
    /// What it has earned by that, before fees.
    pub earned: Amount,
}

/// A task as its requester sees it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct TaskReport {
    /// Its number.
    pub task: TaskNumber,
    /// What people call it.
    pub label: String,
    /// The file that it is for, seen from the job file; none where tasks are not of whole files.
    pub file: Option<GuestPath>,
    /// How far it is.
    pub phase: TaskPhase,
    /// Attempts that came to nothing, as far as they are kept.
    pub attempts: Vec<Attempt>,
}

/// How far a task is.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum TaskPhase {
    /// It waits for a provider, or for its parts.
    Waiting,
    /// Providers have it.
    Leased(Vec<NodeId>),
    /// It is done.
    Done {
        /// By whom.
        node: NodeId,
        /// Under which account.
        operator: Address,
        /// The hash of its specification.
        spec: SpecHash,
        /// Its output.
        output: BlobRef,
        /// What it used.
        usage: Usage,
        /// How long it ran there, in microseconds.
        wall_us: u64,
    },
}

/// An attempt that came to nothing.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Attempt {
    /// By whom.
    pub node: NodeId,
    /// When it ended, in milliseconds since 1970.
    pub at_ms: u64,
    /// Why; none while that is an answer to a task of a job that pays, and nobody has paid for it.
    pub failure: Option<Failure>,
}

/// The output of one task.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct OutputPiece {
    /// The task.
    pub task: TaskNumber,
    /// Its output.
    pub output: BlobRef,
    /// The archive, when it is small; otherwise it is to be fetched as a blob.
    #[serde(with = "serde_bytes")]
    pub inline: Option<Vec<u8>>,
}

impl OutputPiece {
    /// What an output of this length counts in an answer, at least what it takes there. Both sides count alike, so that a
    /// requester knows where the next answer begins before this one is there.
    pub fn bytes_in_answer(len: u64) -> u64 {
        /// Numbers and hashes.
        const FIXED: u64 = 128;
        FIXED + if len <= MAX_INLINE_PIECE_BYTES { len } else { 0 }
    }
}

/// A provider as the network sees it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ProviderReport {
    /// Its node.
    pub node: NodeId,
    /// The account of its result key.
    pub operator: Address,
    /// What it offers.
    pub offer: Offer,
    /// Whether it is connected.
    pub connected: bool,
    /// Leases that it holds.
    pub leased: u64,
    /// Results of it that were found right since the coordinator began.
    pub accepted: u64,
    /// Results of it that have no verdict: they wait for one, or their jobs ended first since the coordinator began.
    pub unjudged: u64,
    /// Attempts of it that came to nothing since then.
    pub lost_attempts: u64,
    /// Fuel a second of one slot of each of its engines, as observed, in the order of the offer; 0 before the first task.
    pub observed_fuel_per_s: Vec<u64>,
    /// Why it has no work, when it has none.
    pub idle: Option<String>,
}

impl JobPhase {
    /// Whether nothing changes any more.
    pub fn is_ended(&self) -> bool {
        *self != Self::Running
    }
}

impl Request {
    /// Whether its answer may be as long as a frame.
    pub fn has_long_answer(&self) -> bool {
        match self {
            Self::Jobs { .. }
            | Self::Tasks { .. }
            | Self::Outputs { .. }
            | Self::Output(_)
            | Self::Log { .. }
            | Self::Explain { .. }
            | Self::Providers
            | Self::Evidence { .. } => true,
            Self::Submit { .. }
            | Self::Terms { .. }
            | Self::Escrow { .. }
            | Self::CloseEscrow { .. }
            | Self::Job { .. }
            | Self::Watch { .. }
            | Self::Cancel { .. }
            | Self::Remove { .. }
            | Self::Reputation { .. }
            | Self::Follow(_) => false,
        }
    }
}

impl JobReport {
    /// Where it is in a list.
    pub fn place(&self) -> JobPlace {
        JobPlace { submitted_ms: self.submitted_ms, job: self.job }
    }

    /// The results that have no verdict.
    pub fn unjudged(&self) -> Unjudged {
        self.contributions.iter().map(|contribution| contribution.unjudged).sum()
    }
}

/// A job has two stages.
const MAX_STAGES: usize = 2;

/// The longest job that travels in a call.
const MAX_INLINE_SPEC_BYTES: usize = 1 << 20;

impl SpecBody {
    /// Whether an encoded job may travel in the call.
    pub fn fits_inline(encoded: &[u8]) -> bool {
        encoded.len() <= MAX_INLINE_SPEC_BYTES
    }
}

impl Bounded for Call {
    fn check(&self) -> Result<(), OutOfBounds> {
        match &self.request {
            Request::Submit { spec: SpecBody::Inline(bytes), .. } => {
                at_most("a job in a call", bytes.len(), MAX_INLINE_SPEC_BYTES)
            }
            Request::Jobs { limit, .. } | Request::Tasks { limit, .. } | Request::Outputs { limit, .. } => {
                at_most("the number of entries asked for", *limit as usize, MAX_PAGE as usize)
            }
            Request::Terms { stages } => at_most("the number of stages", stages.len(), MAX_STAGES),
            _ => Ok(()),
        }
    }
}

impl Bounded for Answer {
    fn check(&self) -> Result<(), OutOfBounds> {
        let Ok(reply) = &self.reply else { return Ok(()) };
        match reply {
            Reply::Jobs(list) => at_most("the number of jobs", list.len(), MAX_PAGE as usize),
            Reply::Tasks(list) => at_most("the number of tasks", list.len(), MAX_PAGE as usize),
            Reply::Outputs(list) => at_most("the number of outputs", list.len(), MAX_PAGE as usize),
            Reply::Reputation(report) => report.check(),
            Reply::Explained(explanation) => {
                at_most("the number of results", explanation.results.len(), MAX_RESULTS_OF_TASK)
            }
            Reply::Evidence(list) => {
                at_most("the number of pieces of evidence", list.len(), MAX_PAGE as usize)
            }
            Reply::Followed(news) => news.check(),
            Reply::Log { bytes, .. } => at_most("a log", bytes.len(), MAX_FRAME_BYTES),
            Reply::Job(_)
            | Reply::Ended(_)
            | Reply::Submitted
            | Reply::Fetching { .. }
            | Reply::Removed
            | Reply::Providers(_)
            | Reply::Terms(_)
            | Reply::Escrow(_) => Ok(()),
        }
    }
}
