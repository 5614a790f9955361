//! Between a coordinator and a provider.

use std::{net::IpAddr, num::NonZeroU64};

use serde::{Deserialize, Serialize};
use tidemill_types::{
    Amount, BlobRef, BlobSource, Claim, EngineIndex, EscrowId, JobId, LeaseId, Millis, Offer, Outcome,
    RateCard, Release, Signature65, Signed, TaskId, TaskNumber, TaskSpec, Voucher,
};

use super::{
    Bounded, MAX_WORDS_BYTES, OutOfBounds, at_most, check_offer,
    following::{FollowedChunk, check_chunks},
};

/// The most leases that one provider may hold at once.
pub const MAX_CREDITS: u32 = 4096;

/// Outputs up to this size travel in a message, larger ones as blobs. A batch is durable with what is in it, so that
/// such an output costs no file and no stream of its own; eight of them fill the MiB at which a batch is cut.
pub const MAX_INLINE_OUTPUT_BYTES: usize = 128 << 10;

/// So much of a log's end travels in a message. The rest is not kept: logs are for people, who read the end.
pub const MAX_INLINE_LOG_BYTES: usize = 16 << 10;

/// The inputs of one lease that travel in the message have at most so many bytes together.
pub const MAX_LEASE_INLINE_BYTES: usize = 256 << 10;

/// A coordinator puts the inputs of a lease that are in blobs, and no other task's, into the message where they have at
/// most so many bytes together: to ask for so little takes longer than to send it. A hundred such leases take a link of
/// 10 Mbit/s little more than a second, well within what heartbeats may wait for.
pub const MAX_ALONG_BYTES: usize = 16 << 10;

/// The longest draft of a lease. The tokens of 20,000 words of answers fit.
pub const MAX_DRAFT_BYTES: usize = 128 << 10;

/// The longest failure, encoded: what the sandbox says of one is bounded well below.
const MAX_FAILURE_BYTES: usize = 32 << 10;

/// The most results of one batch.
const MAX_RESULTS: usize = 256;

/// The most vouchers, releases or askings for releases of one message.
pub const MAX_VOUCHERS: usize = 256;

/// What a coordinator says to a provider.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum ToProvider {
    /// Attempts to make, in this order.
    Leases(Vec<Lease>),
    /// All results of the batch with this sequence number are durable, or of no use: the provider may forget them
    /// and the blobs that they name.
    Settled {
        /// The batch.
        sequence: u64,
    },
    /// These leases are of no use any more. Results for them are not wanted.
    Cancel(Vec<LeaseId>),
    /// What results are paid, or why they are not, and the vouchers that this comes to.
    Decided {
        /// For each result of a lease that pays, once.
        decisions: Vec<(LeaseId, Decision)>,
        /// One for each escrow in which the provider has earned more since its last voucher.
        vouchers: Vec<Signed<Voucher>>,
    },
    /// These escrows are to end. No lease of them is left: the provider is asked to say that it wants no more.
    ReleaseWanted(Vec<ReleaseAsked>),
    /// The coordinator is there.
    Heartbeat {
        /// Why the provider has no work, when it has none.
        idle: Option<String>,
    },
    /// The coordinator ends the session.
    Bye {
        /// Why.
        reason: String,
    },
    /// A second process with this provider's node key was turned away, since this one lives.
    CopyRefused {
        /// Where it dialed from, as far as that is known.
        from: Option<IpAddr>,
    },
    /// Somebody wants to see what the attempt of a lease writes while it runs, from its first byte. It takes the place of an
    /// earlier follow of the lease. One that the provider does not hold is of no meaning: it may just have ended.
    Follow {
        /// The lease.
        lease: LeaseId,
        /// One that the coordinator has not used before, in an earlier process of it either.
        follow: NonZeroU64,
    },
    /// Nobody follows this lease any more.
    Unfollow {
        /// Which.
        lease: LeaseId,
    },
}

/// One attempt at a task.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Lease {
    /// Its number.
    pub id: LeaseId,
    /// Which of the provider's engines is to run it: one of the kind that `spec` says.
    pub engine: EngineIndex,
    /// Proves to the coordinator, once it has forgotten the lease, that it was given to this provider.
    pub seal: [u8; 16],
    /// The job.
    pub job: JobId,
    /// The task.
    pub task: TaskNumber,
    /// All that determines the result.
    pub spec: TaskSpec,
    /// The length of the program in bytes.
    pub program_len: u64,
    /// Where the bytes of each of `spec.inputs` are, in the same order.
    pub sources: Vec<Source>,
    /// The attempt must have ended after so long.
    pub within: Millis,
    /// What it pays; nothing in a network that is free.
    pub pay: Option<LeasePay>,
    /// What somebody says the output is made of, where the lease is to check that. It may save time, and never changes the
    /// result: most of what the output holds is not in it.
    pub draft: Option<Vec<u8>>,
    /// Where the coordinator takes the draft from when it sends the lease. It does not leave the coordinator: who knows the
    /// output need not compute it.
    #[serde(skip)]
    pub draft_of: Option<DraftOf>,
}

/// A draft that is not read yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DraftOf {
    /// The output that is to be checked.
    pub output: BlobRef,
    /// Where to change it, so that who does not look is found out; mostly nowhere.
    pub change: Option<u64>,
}

/// What a lease pays when its result is accepted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LeasePay {
    /// Out of which escrow.
    pub escrow: EscrowId,
    /// By which rates: the engine's own, or of a lease with a draft [`RateCard::for_check`] of them.
    pub rates: RateCard,
}

/// What a result is paid.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Decision {
    /// So much, before fees. The next voucher holds it.
    Paid(Amount),
    /// Nothing.
    Unpaid(Unpaid),
}

/// Why a result is not paid.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Unpaid {
    /// It came after its lease had ended.
    Late,
    /// Somebody else's result of the task was first.
    Superseded,
    /// The job had ended.
    JobEnded,
    /// The attempt failed by the machine's doing: that says nothing about the task.
    Circumstance,
    /// The program failed, and another answer to the task stands, or was likelier when the job ended.
    Unconfirmed,
    /// The output could not be fetched, or was none.
    NoOutput,
    /// It contradicts the result that was accepted.
    Contradicted,
    /// The job ended before it was certain which result is right, and another was likelier.
    Undecided,
}

/// An asking for a release.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ReleaseAsked {
    /// Of which escrow.
    pub escrow: EscrowId,
    /// What the provider has earned there altogether, as its last voucher says.
    pub amount: Amount,
}

/// A lease that a provider holds from an earlier session.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct HeldLease {
    /// The lease.
    pub lease: LeaseId,
    /// Its task.
    pub task: TaskId,
}

/// Where an input's bytes are.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Source {
    /// Here.
    Inline(#[serde(with = "serde_bytes")] Vec<u8>),
    /// In a blob that the coordinator has.
    Blob(BlobSource),
}

/// What a provider says to its coordinator.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum FromProvider {
    /// How many leases it may hold at once from now on. None: it drains.
    Credits(u32),
    /// What it offers now.
    Offer(Offer),
    /// Attempts that ended.
    Results(ResultBatch),
    /// Leases that it gives back without having run them.
    Returned {
        /// Which.
        leases: Vec<LeaseId>,
        /// Why.
        reason: ReturnReason,
    },
    /// The provider is there.
    Heartbeat {
        /// Attempts that run now.
        running: u32,
        /// Leases that wait for a slot or for blobs.
        waiting: u32,
    },
    /// Its word that it wants no more from these escrows.
    Released(Vec<Signed<Release>>),
    /// It ends the session and holds nothing any more.
    Bye,
    /// What attempts that are followed have written. Sent when nothing else waits; pieces are dropped where more come than
    /// are sent.
    Chunks(Vec<FollowedChunk>),
    /// Which attempts run that are paid, and for how long each has. Said with heartbeats: should a job end, what has run of it
    /// is paid by this.
    Running(Vec<(LeaseId, Millis)>),
}

/// Why a lease comes back.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum ReturnReason {
    /// The provider drains.
    Draining,
    /// Its owner's room for blobs does not hold the inputs, or its disk is full.
    NoRoom,
    /// A blob could not be fetched.
    Fetch(String),
    /// The coordinator asked for the end of it.
    Cancelled,
    /// Why the provider does not count on being paid for it.
    NotPaid(String),
}

/// Results under one signature.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ResultBatch {
    /// The provider's running number of the batch within its life.
    pub sequence: u64,
    /// The results; their leaves, in this order, make the tree.
    pub results: Vec<TaskResult>,
    /// By the provider's result key, over the tree's root.
    pub signature: Signature65,
}

/// What came of one attempt.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct TaskResult {
    /// The lease.
    pub lease: LeaseId,
    /// The lease's seal.
    pub seal: [u8; 16],
    /// The hash of the leaf. The coordinator makes it again from what it leased and from the claim.
    pub leaf: [u8; 32],
    /// What came of it, as signed.
    pub claim: Claim,
    /// How long it ran, in microseconds. Not signed: nothing is decided by it alone.
    pub wall_us: u64,
    /// The output, where there is one.
    pub output: Option<OutputBody>,
    /// What the program wrote to standard error.
    pub log: LogBody,
}

/// An output's archive.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum OutputBody {
    /// Here.
    Inline(#[serde(with = "serde_bytes")] Vec<u8>),
    /// To be fetched from the provider, under the id and length of the claim.
    Blob,
}

/// A log.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum LogBody {
    /// Here, as a whole.
    Whole(#[serde(with = "serde_bytes")] Vec<u8>),
    /// Its end: the whole is too long to travel.
    End {
        /// The last [`MAX_INLINE_LOG_BYTES`] bytes.
        #[serde(with = "serde_bytes")]
        bytes: Vec<u8>,
        /// How many bytes come before them.
        omitted: u64,
    },
}

impl LogBody {
    /// A log, shortened to its end where it is too long.
    pub fn of(mut log: Vec<u8>) -> Self {
        if log.len() <= MAX_INLINE_LOG_BYTES {
            return Self::Whole(log);
        }
        let omitted = log.len() - MAX_INLINE_LOG_BYTES;
        Self::End { bytes: log.split_off(omitted), omitted: omitted as u64 }
    }

    /// The bytes that are there.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Whole(bytes) | Self::End { bytes, .. } => bytes,
        }
    }
}

impl Bounded for FromProvider {
    fn check(&self) -> Result<(), OutOfBounds> {
        match self {
            Self::Credits(credits) => {
                at_most("the number of credits", *credits as usize, MAX_CREDITS as usize)
            }
            Self::Offer(offer) => check_offer(offer),
            Self::Results(batch) => batch.check(),
            Self::Returned { leases, reason } => {
                at_most("the number of leases", leases.len(), MAX_CREDITS as usize)?;
                let (ReturnReason::Fetch(words) | ReturnReason::NotPaid(words)) = reason else {
                    return Ok(());
                };
                at_most("a reason", words.len(), MAX_WORDS_BYTES)
            }
            Self::Released(releases) => at_most("the number of releases", releases.len(), MAX_VOUCHERS),
            Self::Chunks(chunks) => check_chunks(chunks),
            Self::Running(running) => at_most("the number of leases", running.len(), MAX_CREDITS as usize),
            Self::Heartbeat { .. } | Self::Bye => Ok(()),
        }
    }
}

impl Bounded for ResultBatch {
    fn check(&self) -> Result<(), OutOfBounds> {
        at_most("the number of batches without results", usize::from(self.results.is_empty()), 0)?;
        at_most("the number of results", self.results.len(), MAX_RESULTS)?;
        for result in &self.results {
            if let Some(OutputBody::Inline(bytes)) = &result.output {
                at_most("an output in a message", bytes.len(), MAX_INLINE_OUTPUT_BYTES)?;
            }
            at_most("a log in a message", result.log.bytes().len(), MAX_INLINE_LOG_BYTES)?;
            let class = result.claim.hardware_class.as_ref().map_or(0, String::len);
            at_most("the name of the hardware class", class, MAX_WORDS_BYTES)?;
            if let Outcome::Failed(failure) = &result.claim.outcome {
                let len = postcard::to_stdvec(failure).map_or(usize::MAX, |bytes| bytes.len());
                at_most("a failure", len, MAX_FAILURE_BYTES)?;
            }
        }
        Ok(())
    }
}

impl Bounded for ToProvider {
    fn check(&self) -> Result<(), OutOfBounds> {
        match self {
            Self::Leases(leases) => {
                at_most("the number of leases", leases.len(), MAX_CREDITS as usize)?;
                leases.iter().try_for_each(|lease| {
                    at_most("the number of sources", lease.sources.len(), lease.spec.inputs.len())?;
                    at_most("the number of inputs", lease.spec.inputs.len(), lease.sources.len())?;
                    at_most("a draft", lease.draft.as_ref().map_or(0, Vec::len), MAX_DRAFT_BYTES)
                })
            }
            Self::Cancel(leases) => at_most("the number of leases", leases.len(), MAX_CREDITS as usize),
            Self::Heartbeat { idle } => {
                at_most("a reason", idle.as_ref().map_or(0, String::len), 4 * MAX_WORDS_BYTES)
            }
            Self::Decided { decisions, vouchers } => {
                at_most("the number of decisions", decisions.len(), MAX_CREDITS as usize)?;
                at_most("the number of vouchers", vouchers.len(), MAX_VOUCHERS)
            }
            Self::ReleaseWanted(asked) => at_most("the number of releases", asked.len(), MAX_VOUCHERS),
            Self::Bye { reason } => at_most("a reason", reason.len(), 4 * MAX_WORDS_BYTES),
            Self::Settled { .. } | Self::CopyRefused { .. } | Self::Follow { .. } | Self::Unfollow { .. } => {
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tidemill_types::{BlobId, BlobRef, ByteRange, FloatClass, GuestPath, InputSpec, Limits, ProgramKind};

    use super::*;

    /// A lease of a task without inputs.
    fn lease() -> Lease {
        let spec = TaskSpec {
            kind: ProgramKind::Wasm,
            program: BlobId::of(b"program"),
            floats: FloatClass::Native,
            args: vec!["program".to_owned()],
            env: Vec::new(),
            inputs: Vec::new(),
            limits: Limits::default(),
            seed: 0,
        };
        Lease {
            id: LeaseId(1),
            engine: EngineIndex(1),
            seal: [1; 16],
            job: JobId([2; 16]),
            task: TaskNumber(3),
            spec,
            program_len: 7,
            sources: Vec::new(),
            within: Millis(1),
            pay: None,
            draft: Some(b"[[1]]".to_vec()),
            draft_of: None,
        }
    }

    #[test]
    fn sources_travel_as_they_are_and_there_are_as_many_as_inputs() {
        let blob = BlobRef { id: BlobId::of(b"a file"), len: 6 };
        let input = |name: &str| InputSpec {
            path: GuestPath::new(name).expect("a path"),
            content: BlobId::of(name.as_bytes()),
            len: 3,
        };
        let plain = lease();
        let spec = TaskSpec { inputs: vec![input("a"), input("b"), input("c")], ..plain.spec.clone() };
        let sources = vec![
            Source::Inline(vec![0; MAX_ALONG_BYTES]),
            Source::Blob(BlobSource::at(blob, 3)),
            Source::Blob(BlobSource { blob, head: ByteRange { offset: 4, len: 1 }, offset: 1 }),
        ];
        let draft = Some(vec![1; MAX_DRAFT_BYTES]);
        let mut lease = Lease { spec, sources, draft, ..plain };
        let message = ToProvider::Leases(vec![lease.clone()]);
        message.check().expect("it is within bounds");
        let bytes = postcard::to_stdvec(&message).expect("plain data has an encoding");
        assert_eq!(crate::frame::decode::<ToProvider>(&bytes).expect("a message"), message);
        lease.sources.pop();
        ToProvider::Leases(vec![lease.clone()]).check().expect_err("an input is nowhere");
        lease.sources.extend([Source::Inline(vec![]), Source::Inline(vec![])]);
        ToProvider::Leases(vec![lease.clone()]).check().expect_err("there is one source more");
        lease.sources.pop();
        ToProvider::Leases(vec![lease.clone()]).check().expect("it is within bounds again");
        lease.draft = Some(vec![1; MAX_DRAFT_BYTES + 1]);
        ToProvider::Leases(vec![lease]).check().expect_err("the draft is too long");
    }

    #[test]
    fn which_output_a_draft_is_of_stays_here() {
        let output = BlobRef { id: BlobId::of(b"an output"), len: 9 };
        let with = Lease { draft_of: Some(DraftOf { output, change: Some(7) }), ..lease() };
        let bytes = postcard::to_stdvec(&with).expect("plain data has an encoding");
        assert_eq!(bytes, postcard::to_stdvec(&lease()).expect("plain data has an encoding"));
        assert_eq!(postcard::from_bytes::<Lease>(&bytes), Ok(lease()));
    }

    #[test]
    fn a_long_log_travels_as_its_end() {
        assert_eq!(LogBody::of(b"short".to_vec()), LogBody::Whole(b"short".to_vec()));
        let mut log = vec![b'a'; 3];
        log.extend(vec![b'z'; MAX_INLINE_LOG_BYTES]);
        assert_eq!(LogBody::of(log), LogBody::End { bytes: vec![b'z'; MAX_INLINE_LOG_BYTES], omitted: 3 });
    }
}
