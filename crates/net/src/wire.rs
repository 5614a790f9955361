//! What nodes say to each other in a session: version 8 of the protocol.
//!
//! The dialer opens one stream. The first frame each way is an [`crate::Opening`] with a [`Hello`] and its answer
//! with a [`Welcome`], whose form outlives versions; after that frames are postcard messages: [`FromProvider`] and
//! [`ToProvider`] when the dialer is a provider, [`Call`] and [`Answer`] when it is a requester. Every list and
//! text has a bound here that a receiver checks ([`Bounded`]); a peer that breaks one is cut off.

mod following;
mod money;
mod page;
mod provider;
mod refusal;
mod reliability;
mod requester;

use serde::{Deserialize, Serialize};
use tidemill_types::{
    Address, Chain, EscrowContract, KeyBinding, MAX_ENGINES, MAX_MODEL_NAME_BYTES, MAX_MODELS, Millis, Offer,
};

pub use self::{
    following::{Chunk, FollowedChunk, MAX_CHUNK_BYTES, MAX_CHUNKS, MAX_CHUNKS_BYTES, TaskNews},
    money::{EscrowReport, EscrowStage, JobCost, PayeeReport, SettlementReport},
    page::{MAX_ANSWER_BYTES, Page},
    provider::{
        Decision, DraftOf, FromProvider, HeldLease, Lease, LeasePay, LogBody, MAX_ALONG_BYTES, MAX_CREDITS,
        MAX_DRAFT_BYTES, MAX_INLINE_LOG_BYTES, MAX_INLINE_OUTPUT_BYTES, MAX_LEASE_INLINE_BYTES, MAX_VOUCHERS,
        OutputBody, ReleaseAsked, ResultBatch, ReturnReason, Source, TaskResult, ToProvider, Unpaid,
    },
    refusal::Refusal,
    reliability::{
        Explanation, KeptEvidence, MAX_ANSWER_EVIDENCE_BYTES, MAX_RECORDS, MAX_RESULTS_OF_TASK, RecordReport,
        Reliability, ReputationReport, ResultReport, StakeReport, Standing, Unjudged,
    },
    requester::{
        Answer, Attempt, Call, Contribution, JobPay, JobPhase, JobPlace, JobReport, MAX_ANSWER_OUTPUT_BYTES,
        MAX_CALLS_IN_FLIGHT, MAX_INLINE_PIECE_BYTES, MAX_LONG_ANSWERS, MAX_PAGE, NetworkTerms, OutputPiece,
        ProviderReport, Reply, Request, SpecBody, StageTerms, TaskPhase, TaskReport,
    },
};

/// The name of the session protocol in the handshake of a connection.
pub const SESSION_ALPN: &[u8] = b"tidemill/session/1";

/// The versions of the session protocol that this build speaks: the first and the last.
pub const SESSION_VERSIONS: (u32, u32) = (8, 8);

/// The longest frame of a session. What is longer travels as a blob.
pub const MAX_FRAME_BYTES: usize = 4 << 20;

/// The longest text that a node may say about itself, in bytes.
pub const MAX_WORDS_BYTES: usize = 256;

/// The first words of a dialer.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Hello {
    /// The pass of the ticket that it joins with.
    pub pass: [u8; 16],
    /// Name and version of its program, for logs.
    pub software: String,
    /// Its result key and its node key vouch for each other.
    pub binding: KeyBinding,
    /// What it comes for.
    pub role: Role,
}

/// What a dialer comes for.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Role {
    /// To lend a machine.
    Provider {
        /// What it lends.
        offer: Offer,
        /// How many leases it may hold at once.
        credits: u32,
        /// The leases that it holds from an earlier session, results that were not settled among them.
        held: Vec<HeldLease>,
        /// Which process of its node it is.
        incarnation: Incarnation,
    },
    /// To have jobs run.
    Requester,
}

/// Which process of its node a provider is: it tells a provider that comes back from a second one with the same key.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Incarnation {
    /// Drawn at random when the process starts, and kept in its memory alone: the same in all its sessions.
    pub process: [u8; 16],
    /// The directory that the process has locked, on a machine since its start. A copy of a directory is another place.
    pub place: [u8; 16],
}

impl Incarnation {
    /// Whether this provider may take over the session of an earlier one without a look at whether that one lives. The
    /// same process may, and so may one in the same place: it could not have locked the place before the earlier
    /// process had ended.
    pub fn succeeds(&self, earlier: &Self) -> bool {
        self.process == earlier.process || self.place == earlier.place
    }
}

/// Which process of its node a coordinator is: another one after each start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Process(pub [u8; 16]);

impl Process {
    /// Draws the name of this process.
    ///
    /// # Errors
    /// When the system has no randomness to give.
    pub fn draw() -> std::io::Result<Self> {
        let mut name = [0; 16];
        getrandom::fill(&mut name)?;
        Ok(Self(name))
    }
}

/// The answer of a coordinator that takes the dialer in.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Welcome {
    /// Name and version of its program, for logs.
    pub software: String,
    /// Whoever hears a recall of this process has nothing to come back from.
    pub process: Process,
    /// Its result key and its node key vouch for each other.
    pub binding: KeyBinding,
    /// The ledger that results are signed for.
    pub chain: Chain,
    /// How often each side says that it is there.
    pub heartbeat: Millis,
    /// A provider that was not heard of for so long loses its leases.
    pub lease: Millis,
    /// How work is paid for; a network without this is free: nobody is paid anything.
    pub money: Option<Money>,
}

/// How a network pays.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Money {
    /// The contract that escrows are in.
    pub contract: EscrowContract,
    /// The coordinator's account, which signs vouchers and names it in the terms of escrows.
    pub account: Address,
    /// The coordinator's part of payments, in parts per million.
    pub fee_ppm: u32,
}

/// A message whose lists and texts have bounds.
pub trait Bounded {
    /// Whether every bound holds; what is wrong otherwise.
    ///
    /// # Errors
    /// [`OutOfBounds`] names the first one that does not.
    fn check(&self) -> Result<(), OutOfBounds>;
}

/// A message that breaks a bound of the protocol.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{what} is {found}; at most {most} is allowed")]
pub struct OutOfBounds {
    /// What is too long or too much.
    pub what: &'static str,
    /// How long or how much it is.
    pub found: usize,
    /// The bound.
    pub most: usize,
}

fn at_most(what: &'static str, found: usize, most: usize) -> Result<(), OutOfBounds> {
    if found > most { Err(OutOfBounds { what, found, most }) } else { Ok(()) }
}

impl Bounded for Hello {
    fn check(&self) -> Result<(), OutOfBounds> {
        at_most("the name of the software", self.software.len(), MAX_WORDS_BYTES)?;
        let Role::Provider { offer, credits, held, .. } = &self.role else { return Ok(()) };
        check_offer(offer)?;
        at_most("the number of credits", *credits as usize, MAX_CREDITS as usize)?;
        // Leases that wait, run, or have results that are not settled: never more than twice the credits.
        at_most("the number of leases held", held.len(), 2 * MAX_CREDITS as usize)
    }
}

impl Bounded for Welcome {
    fn check(&self) -> Result<(), OutOfBounds> {
        at_most("the name of the software", self.software.len(), MAX_WORDS_BYTES)
    }
}

/// The most slots of one provider, all engines together.
const MAX_SLOTS: usize = 4096;

fn check_offer(offer: &Offer) -> Result<(), OutOfBounds> {
    at_most("the name of the provider", offer.name.len(), MAX_WORDS_BYTES)?;
    at_most("the number of engines", offer.engines.len(), MAX_ENGINES)?;
    at_most("the number of slots", offer.slots() as usize, MAX_SLOTS)?;
    for engine in &offer.engines {
        at_most("the number of rates that are too high", usize::from(engine.rates.check().is_err()), 0)?;
        at_most("the number of float classes", engine.floats.len(), 16)?;
        let class = engine.hardware_class.as_ref().map_or(0, String::len);
        at_most("the name of the hardware class", class, MAX_WORDS_BYTES)?;
        at_most("the number of models", engine.models.len(), MAX_MODELS)?;
        for model in &engine.models {
            at_most("the name of a model", model.name.len(), MAX_MODEL_NAME_BYTES)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use tidemill_types::{
        Amount, BlobId, BlobRef, ByteSize, Capacity, Engine, FloatClass, MAX_ENGINES, Offer, ProgramKind,
        RateCard, ServedModel, WorkRate,
    };

    use super::{Incarnation, MAX_MODEL_NAME_BYTES, MAX_MODELS, MAX_SLOTS, MAX_WORDS_BYTES, check_offer};

    fn engine(slots: u32) -> Engine {
        Engine {
            kind: ProgramKind::Wasm,
            floats: vec![FloatClass::Canonical],
            hardware_class: None,
            exec_version: ProgramKind::Wasm.version(),
            slots,
            memory: ByteSize::mib(1),
            capacity: Capacity::default(),
            rates: RateCard::default(),
            models: Vec::new(),
        }
    }

    #[test]
    fn every_engine_of_an_offer_is_within_bounds_and_so_are_all_together() {
        let is_fit = |engines: &[Engine]| {
            let engines = engines.to_vec();
            check_offer(&Offer { name: String::new(), disk: ByteSize(0), down_bytes_per_s: 0, engines })
                .is_ok()
        };
        let most = MAX_SLOTS as u32;
        assert!(is_fit(&[engine(most / 2), engine(most - most / 2)]));
        assert!(!is_fit(&[engine(most / 2), engine(most - most / 2 + 1)]));
        assert!(is_fit(&vec![engine(1); MAX_ENGINES]));
        assert!(!is_fit(&vec![engine(1); MAX_ENGINES + 1]));
        let above = WorkRate::fuel(Amount::from_wei(RateCard::MOST.wei() + 1));
        let dear = Engine { rates: RateCard { work: above, ..RateCard::default() }, ..engine(1) };
        assert!(!is_fit(&[engine(1), dear]));
        let model = |name: String| ServedModel { name, blob: BlobRef { id: BlobId::of(b"model"), len: 5 } };
        let with = |count, name: &str| Engine { models: vec![model(name.to_owned()); count], ..engine(1) };
        assert!(is_fit(&[with(MAX_MODELS, &"x".repeat(MAX_MODEL_NAME_BYTES))]));
        assert!(!is_fit(&[with(MAX_MODELS + 1, "x")]));
        assert!(!is_fit(&[with(1, &"x".repeat(MAX_MODEL_NAME_BYTES + 1))]));
        let wordy = Engine { hardware_class: Some("x".repeat(MAX_WORDS_BYTES + 1)), ..engine(1) };
        assert!(!is_fit(&[engine(1), wordy]));
    }

    #[test]
    fn a_provider_that_comes_back_succeeds_itself_and_a_copy_does_not() {
        let first = Incarnation { process: [1; 16], place: [1; 16] };
        let restarted = Incarnation { process: [2; 16], place: [1; 16] };
        let moved = Incarnation { process: [1; 16], place: [2; 16] };
        let copied = Incarnation { process: [2; 16], place: [2; 16] };
        assert!(first.succeeds(&first), "a lost connection");
        assert!(restarted.succeeds(&first), "a process that was killed");
        assert!(moved.succeeds(&first), "a process is itself, whatever it says of its directory");
        assert!(!copied.succeeds(&first));
        assert!(!first.succeeds(&copied));
    }
}
