//! What the core is told, and what it wants done.

mod question;

use std::{net::IpAddr, sync::Arc};

use tidemill_job::{BlobRef, BoundTask, JobSpec};
use tidemill_ledger::{EscrowView, settlement::Closing};
use tidemill_net::{
    addresses::Scope,
    wire::{
        Answer, Decision, Explanation, FromProvider, HeldLease, JobPlace, JobReport, OutputBody, TaskResult,
        ToProvider,
    },
};
use tidemill_sched::Micros;
use tidemill_store::{DoneRecord, Holdings};
use tidemill_types::{
    Address, Amount, BlobId, ByteSize, EscrowId, JobId, KeyBinding, LeaseId, Millis, NodeId, Offer,
    Principal, TaskId, TaskNumber, Voucher,
};

pub use self::question::Question;
use crate::core::{Funding, SeenStakes, Settled};

/// One connection of a peer, for as long as it lasts: a node that comes back has another one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SessionId(pub u64);

/// What time it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Now {
    /// Since the coordinator began, without the time that the process did not run.
    pub mono: Micros,
    /// Milliseconds since 1970, for people.
    pub unix_ms: u64,
}

/// A call of a requester: where its answers go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Caller {
    /// The session.
    pub session: SessionId,
    /// Whose jobs it asks about and brings.
    pub principal: Principal,
    /// The requester's node, which has the blobs of its jobs.
    pub node: NodeId,
    /// The address of its result key, which providers of the same home sign with.
    pub signer: Address,
    /// The call's number there.
    pub call: u64,
    /// Whether it has shown the result key of the coordinator's operator.
    pub is_operator: bool,
}

impl Caller {
    /// Whether it may look at a job of this requester's.
    pub fn may_see(&self, owner: Principal) -> bool {
        self.is_operator || owner == self.principal
    }
}

/// What a session saw in the store of a job that it brings, whose id is free there or that of a job that runs.
#[derive(Clone, Copy, Default, Debug)]
pub struct Look {
    /// How many ends of jobs, removals and closings of escrows were durable before it, as [`Effect::Past`] tells.
    pub past: u64,
    /// What is kept for the requester.
    pub holdings: Holdings,
    /// Whether the escrow that is to pay is closed.
    pub is_escrow_closed: bool,
}

/// What the core is told.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "events are moved once, into a queue: a box would cost each an allocation"
)]
pub enum Event {
    /// A provider has opened a session. What it says has been checked.
    ProviderJoined {
        /// The session.
        session: SessionId,
        /// The provider.
        node: NodeId,
        /// Its result key, and the statements of both of its keys that they belong together.
        binding: KeyBinding,
        /// The account that it works for: where work is free, that of its result key.
        operator: Address,
        /// The network that it comes from, where that says something about whose it is.
        network: Option<Network>,
        /// What it lends.
        offer: Offer,
        /// How many leases it may hold at once.
        credits: u32,
        /// The leases that it holds from an earlier session.
        held: Vec<HeldLease>,
    },
    /// A provider said something within the bounds of the protocol.
    FromProvider {
        /// The session.
        session: SessionId,
        /// What it said.
        message: FromProvider,
    },
    /// A session is over, a provider's or a requester's.
    SessionEnded {
        /// The session.
        session: SessionId,
    },
    /// An output was fetched from a provider, or could not be.
    OutputFetched {
        /// The provider's session.
        session: SessionId,
        /// The lease that it is of.
        lease: LeaseId,
        /// Why it could not be fetched.
        result: Result<(), FetchProblem>,
    },
    /// A reduce task has been made from its parts, or could not be.
    Assembled {
        /// The task.
        task: TaskId,
        /// Which of the job's assemblies.
        number: u64,
        /// The task with where its inputs are.
        result: Result<Assembled, Unmade>,
    },
    /// A blob that jobs may need was found to be damaged, and is not here any more.
    Damaged {
        /// The blob.
        blob: BlobRef,
        /// The running jobs that name it: it is an input or a program of theirs.
        needed_by: Vec<JobId>,
        /// The jobs that had it pinned as an output.
        kept_for: Vec<JobId>,
    },
    /// Some of the outputs of a job were found that are not here any more.
    LostFound(FoundLost),
    /// An input that was damaged is here again.
    InputBack {
        /// Which.
        blob: BlobId,
    },
    /// An output that was damaged is here again, or none of the providers that were asked has it any more.
    OutputBack {
        /// The job.
        job: JobId,
        /// The output.
        output: BlobId,
        /// Whether it is here.
        is_here: bool,
    },
    /// An output that was to be compared is damaged, and the providers that made it have it no more.
    OpinionLost {
        /// The task.
        task: TaskId,
        /// The lease whose result was compared.
        lease: LeaseId,
    },
    /// Some of the results were found that somebody was believed.
    UncheckedFound(FoundUnchecked),
    /// A requester submits a job whose blobs are all there.
    Submit {
        /// Who.
        caller: Caller,
        /// The id that it drew.
        job: JobId,
        /// The job.
        spec: Arc<JobSpec>,
        /// The job as it came.
        encoded: Vec<u8>,
        /// Whether to tell of the end.
        follow: bool,
        /// What pays for it.
        funding: Option<Funding>,
        /// What the store had before.
        look: Look,
    },
    /// Jobs were found in the store whose time to be kept is over.
    Expired {
        /// Which.
        jobs: Vec<JobId>,
        /// As [`Look::past`].
        past: u64,
    },
    /// It was counted how much the store has of an owner's jobs.
    KeptCounted {
        /// The owner.
        owner: Principal,
        /// How much.
        bytes: ByteSize,
    },
    /// The ledger was looked at.
    EscrowSeen {
        /// For this escrow.
        escrow: EscrowId,
        /// What it shows; nothing where it does not know it any more.
        view: Option<EscrowView>,
    },
    /// The ledger was looked at for what providers have at stake.
    StakesSeen(SeenStakes),
    /// It is known which of a task's results another is the same as.
    Compared {
        /// The task.
        task: TaskId,
        /// The lease whose result was compared.
        lease: LeaseId,
        /// The output that it is the same as; nothing where it is none.
        same: Option<BlobId>,
    },
    /// A settlement was made, or could not be.
    EscrowSettled {
        /// Of this escrow.
        escrow: EscrowId,
        /// What came of it; what is in the way otherwise.
        result: Result<Settled, String>,
    },
    /// A requester asks for something that only the core knows.
    Ask {
        /// Who.
        caller: Caller,
        /// What.
        question: Question,
    },
}

impl Event {
    /// About how many bytes it brings, beside what every event has.
    pub fn bytes(&self) -> usize {
        match self {
            Self::FromProvider { message: FromProvider::Results(batch), .. } => {
                let bytes = |result: &TaskResult| {
                    let output = match &result.output {
                        Some(OutputBody::Inline(bytes)) => bytes.len(),
                        Some(OutputBody::Blob) | None => 0,
                    };
                    output + result.log.bytes().len()
                };
                batch.results.iter().map(bytes).sum()
            }
            Self::Submit { encoded, .. } => encoded.len(),
            Self::Assembled { result: Ok(assembled), .. } => {
                assembled.inline.iter().flatten().map(Vec::len).sum()
            }
            _ => 0,
        }
    }
}

/// A part of the internet that is in one hand: the first 24 bits of an address of version 4, or 48 of one of version 6.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Network {
    /// Of version 4.
    V4([u8; 3]),
    /// Of version 6.
    V6([u8; 6]),
}

impl Network {
    /// The network of an address; none of one that is not routed on the internet, which says nothing.
    pub fn of(address: IpAddr) -> Option<Self> {
        let network = match address.to_canonical() {
            IpAddr::V4(v4) => {
                let [a, b, c, _] = v4.octets();
                Self::V4([a, b, c])
            }
            IpAddr::V6(v6) => {
                let [a, b, c, d, e, f, ..] = v6.octets();
                Self::V6([a, b, c, d, e, f])
            }
        };
        (Scope::of(address) == Scope::Global).then_some(network)
    }
}

/// Results of a job that were accepted unchecked, as the store had them.
#[derive(Debug)]
pub struct FoundUnchecked {
    /// The job.
    pub job: JobId,
    /// Whose.
    pub operator: Address,
    /// From which task on was looked.
    pub from: TaskNumber,
    /// How often tasks of the job had been undone when the look began.
    pub undone: u64,
    /// What was found.
    pub results: Vec<(TaskNumber, DoneRecord)>,
    /// Where to go on; nothing where that was all.
    pub next: Option<TaskNumber>,
}

/// The output of a task that is done, which is not here any more.
#[derive(Clone, Debug)]
pub struct LostOutput {
    /// The task.
    pub task: TaskNumber,
    /// Its result.
    pub done: DoneRecord,
    /// What was paid for it, and for those that agreed. What was paid for trials with it is the core's to know: it may
    /// grow after this was read.
    pub paid: Amount,
    /// The providers that made it.
    pub from: Vec<NodeId>,
}

/// Outputs of a job that are not here any more, by what the store has of its tasks.
#[derive(Debug)]
pub struct FoundLost {
    /// The job.
    pub job: JobId,
    /// From which task on was looked.
    pub from: TaskNumber,
    /// How often tasks of the job had been undone when the look began.
    pub undone: u64,
    /// What was found.
    pub outputs: Vec<LostOutput>,
    /// Where to go on; nothing where that was all.
    pub next: Option<TaskNumber>,
}

/// Why a reduce task could not be made from its parts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Unmade {
    /// A part of it is damaged, and may come again.
    PartLost,
    /// It cannot be made.
    Failed(String),
}

/// Why an output could not be fetched.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FetchProblem {
    /// The provider did not send it.
    Provider(String),
    /// What it sent is no output.
    NotAnOutput(String),
    /// This coordinator could not take it.
    Here(String),
}

/// A task whose inputs' places are known.
#[derive(Clone, Debug)]
pub struct Assembled {
    /// The task.
    pub bound: Arc<BoundTask>,
    /// For each input, its bytes when they travel with the lease.
    pub inline: Vec<Option<Vec<u8>>>,
    /// How many bytes of the inputs a provider made, as outputs that it keeps: it need not fetch them.
    pub made_by: Vec<(NodeId, u64)>,
}

/// What the core wants done, once what it changed before is durable.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "effects are moved once, out of the core: a box would cost each an allocation"
)]
pub enum Effect {
    /// Say something to a provider.
    ToProvider(SessionId, ToProvider),
    /// Answer a call.
    Reply(SessionId, Box<Answer>),
    /// Answer a call with what the store knows: the core knows nothing of that job.
    FromStore(Caller, Question),
    /// Look into the store again for a job that is submitted, and answer with what it knows, or bring the job again: it has
    /// ended meanwhile, or so much has that it is not known whether.
    SubmitAgain {
        /// Who submits it.
        caller: Caller,
        /// The id.
        job: JobId,
        /// The job.
        spec: Arc<JobSpec>,
        /// The job as it came.
        encoded: Vec<u8>,
        /// Whether to tell of the end.
        follow: bool,
        /// What pays for it.
        funding: Option<Funding>,
    },
    /// The same for a job that is to be removed.
    RemoveAgain(Caller, JobId),
    /// So many ends of jobs, removals and closings of escrows are durable since the coordinator began.
    Past(u64),
    /// Answer with this explanation of a job or one of its tasks, and what the store knows of that one's results.
    ExplainedFromStore(Caller, JobId, Option<TaskNumber>, Explanation),
    /// Answer with jobs: these, which run, and those that the store knows to have ended.
    JobsFromStore {
        /// Who asks.
        caller: Caller,
        /// At most so many.
        limit: u32,
        /// Only those that come after this one in the list.
        after: Option<JobPlace>,
        /// Those of all requesters, and not the caller's alone.
        all: bool,
        /// How those of them stand that run.
        running: Vec<JobReport>,
    },
    /// Answer with a job's tasks, by number: who has them is known here, and the rest to the store.
    TasksFromStore {
        /// Who asks.
        caller: Caller,
        /// The job.
        job: JobId,
        /// What the tasks are called by.
        spec: Arc<JobSpec>,
        /// The tasks, and the providers that have each.
        tasks: Vec<(TaskNumber, Vec<NodeId>)>,
    },
    /// Tell callers of an attempt, and from now on of what it writes.
    Follow {
        /// The provider's session.
        session: SessionId,
        /// The provider.
        node: NodeId,
        /// The lease.
        lease: LeaseId,
        /// Who follows it from now on.
        callers: Vec<Caller>,
    },
    /// Tell callers no more of what an attempt writes.
    Unfollow {
        /// Its lease.
        lease: LeaseId,
        /// Who follows it no longer.
        callers: Vec<Caller>,
    },
    /// Tell a watcher how its job stands; nothing is lost when the next report overtakes this one.
    Progress(Caller, Box<JobReport>),
    /// End a session because of what its peer did.
    CutOff {
        /// The session.
        session: SessionId,
        /// Whose it is.
        node: NodeId,
        /// What it did.
        reason: String,
    },
    /// End a session that another one of the same node has taken over.
    Supersede(SessionId),
    /// Fetch an output from a provider, and tell what came of it.
    FetchOutput {
        /// The provider's session.
        session: SessionId,
        /// The lease that it is of.
        lease: LeaseId,
        /// The job, under whose name it is kept.
        job: JobId,
        /// The output.
        output: BlobRef,
        /// Whether a reduce task will be made from it.
        is_part: bool,
    },
    /// Make a reduce task from its parts, and tell what came of it.
    Assemble {
        /// The job.
        spec: Arc<JobSpec>,
        /// The task.
        task: TaskId,
        /// Which of the job's assemblies it is: what came of an earlier one may not be so any more.
        number: u64,
    },
    /// Compare a result of a task with others of it, and tell which it is the same as.
    Compare {
        /// The job, which says how.
        spec: Arc<JobSpec>,
        /// The task, which is not done.
        task: TaskId,
        /// The lease of the result.
        lease: LeaseId,
        /// Its output.
        output: BlobRef,
        /// The outputs of the others, all different.
        with: Vec<BlobRef>,
        /// Who made each of them, should it be damaged here.
        makers: Vec<(BlobId, NodeId)>,
        /// For how long a maker is waited for that is not there.
        patience: Millis,
    },
    /// Look for results of a job that somebody was believed without a check, and tell what is found.
    FindUnchecked {
        /// The job.
        job: JobId,
        /// Whose.
        operator: Address,
        /// From which task on.
        from: TaskNumber,
        /// How often tasks of the job have been undone.
        undone: u64,
    },
    /// Have an input that was damaged here again, from its requester once that is there, and tell when it is.
    FetchInput {
        /// The requester.
        owner: Principal,
        /// The input.
        blob: BlobRef,
    },
    /// Look for tasks of a job that are done and whose outputs are not here, and tell what is found.
    FindLost {
        /// The job.
        job: JobId,
        /// From which task on.
        from: TaskNumber,
        /// How often tasks of the job have been undone.
        undone: u64,
    },
    /// Have an output that was damaged here again, and tell whether anybody has it.
    FetchAgain {
        /// The job, under whose name it is kept.
        job: JobId,
        /// The output.
        output: BlobRef,
        /// The providers that made it.
        from: Vec<NodeId>,
        /// For how long one of them is waited for that is not there.
        patience: Millis,
    },
    /// A job that has ended had this output, which is damaged: have it here again, if anybody has it.
    MendEnded {
        /// The job.
        job: JobId,
        /// The output.
        output: BlobRef,
    },
    /// Count how much the store has of an owner's jobs, and tell.
    CountKept(Principal),
    /// The job's inputs are of no use any more.
    ReleaseInputs(JobId),
    /// The job is gone, and so may be its outputs.
    ReleaseOutputs(JobId),
    /// Tell a provider what its results are paid, and give it vouchers, which are to be signed.
    Pay {
        /// The provider's session.
        session: SessionId,
        /// Of its results.
        decisions: Vec<(LeaseId, Decision)>,
        /// One for each escrow.
        vouchers: Vec<Voucher>,
    },
    /// Tell a provider what became of leases that it holds and that have ended here.
    Reconcile {
        /// The provider's session.
        session: SessionId,
        /// The provider. Of leases that are not its own it learns nothing.
        node: NodeId,
        /// The leases.
        stale: Vec<HeldLease>,
    },
    /// Look at an escrow from now on.
    WatchEscrow(EscrowId),
    /// An escrow needs no looking at any more.
    UnwatchEscrow(EscrowId),
    /// Settle escrows, and tell what came of it.
    Settle(Vec<Closing>),
    /// Answer with what the store knows of an escrow.
    EscrowFromStore(Caller, EscrowId),
}
