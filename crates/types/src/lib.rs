//! The vocabulary that every part of Tidemill shares.
//!
//! This crate owns the identifiers, the units, the limits, the specification of a task, what became of
//! it, and the format of what it leaves behind. It does no I/O and knows no clock: whatever is here
//! means the same on every machine.

mod acceptance;
mod archive;
mod assurance;
mod comparison;
mod content;
mod escrow;
mod evidence;
mod id;
mod limits;
pub mod merkle;
mod money;
mod node;
mod offer;
mod outcome;
mod path;
mod price;
mod principal;
mod receipt;
mod reliance;
mod result;
mod signing;
mod task;
mod text;
mod units;

pub use acceptance::{Acceptance, Basis};
pub use archive::{Archive, ArchiveBuilder, ArchiveEntry, ArchiveError, MAX_INDEX_BYTES};
pub use assurance::{Assurance, AssuranceError};
pub use comparison::{Comparison, Numbers, Tolerance, ToleranceError};
pub use content::{Content, Segment};
pub use escrow::{EscrowContract, EscrowId, EscrowTerms, Mandate, Release, Signable, Signed, Voucher};
pub use evidence::{Evidence, EvidenceError, Finding, MAX_EVIDENCE_BYTES, ResultFlaw, Side, SignedResult};
pub use id::{BlobId, BlobRef, BlobSource, ByteRange, IdError, SpecHash};
pub use limits::{LimitError, Limits, MAX_MODEL_BYTES, MAX_PROGRAM_BYTES};
pub use money::{Amount, Coin, MoneyError};
pub use node::{Address, JobId, LeaseId, NameError, NodeId, Stage, TaskId, TaskNumber};
pub use offer::{
    Capacity, Engine, EngineId, EngineIndex, MAX_ENGINES, MAX_MODEL_NAME_BYTES, MAX_MODELS, Needs, Offer,
    ServedModel,
};
pub use outcome::{Failure, Outcome, Tokens, TrapKind, Usage, Weight};
pub use path::{GuestPath, PathError};
pub use price::{Billable, Metered, RateCard, RateError, TokenRate, WorkRate, input_bytes};
pub use principal::Principal;
pub use receipt::{MAX_RECEIPT_BYTES, Receipt, ReceiptError};
pub use reliance::Reliance;
pub use result::{Chain, Claim, ClaimError, ClaimedOutput, Leaf, Terms, WorkTerms};
pub use signing::{
    BatchTerms, KeyBinding, LeafError, ResultKey, ResultKeyError, Signature65, SignatureError, SignedLeaf,
    binding_message, verify_batch, verify_result_side,
};
pub use task::{CLAIMS_FILE, FloatClass, InputSpec, ProgramKind, Seed, TaskSpec};
pub use text::{causes, columns, fitting, is_steering, lines, one_line};
pub use units::{ByteSize, Fuel, Millis, UnitError};
