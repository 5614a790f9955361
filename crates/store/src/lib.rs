//! A coordinator's durable state: its jobs, leases, results, failed attempts, signed batches, and the escrows that pay
//! for them, in one file.
//!
//! The coordinator decides what happens; it hands over [`Change`]s, and [`Store::commit`] makes a whole slice
//! of them durable in one transaction, so that the changes of many events share one wait for the disk. After
//! a kill at any instant, the file holds a prefix of the commits, each one wholly, and all that returned.
//!
//! The store knows no protocol and no clock: job specifications, terms of work and signatures are bytes to
//! it. It does refuse what contradicts what it holds ([`Contradiction`]), and [`Store::sanity_check`] walks
//! through everything and lists what does not fit together.
//!
//! It has no threads. One thread at a time commits, any number read, and neither waits for the other except
//! while the file is opened anew after a failed write.

mod apply;
mod change;
mod check;
mod error;
mod evidence;
mod owners;
mod read;
mod record;
mod schema;
mod store;
mod sweep;
#[cfg(test)]
mod tests;

pub use change::{Change, Contradiction, NewEvidence, Proof, Said};
pub use error::StoreError;
pub use evidence::{
    MAX_EVIDENCE_BYTES_OF_ALL, MAX_EVIDENCE_BYTES_OF_OWNER, MAX_EVIDENCE_OF_JOB, MAX_EVIDENCE_OF_OPERATOR,
    MAX_EVIDENCE_OF_OPERATOR_IN_JOB,
};
pub use record::{
    AttemptRecord, BatchId, BatchRecord, DoneRecord, Ended, EscrowRecord, EscrowStage, EvidenceRecord,
    FailedTask, FailureProof, Found, Holdings, JobEnd, JobPayRecord, JobRecord, LeaseRecord, LogRecord,
    MAX_ATTEMPTS_KEPT, OpinionRecord, PayeeRecord, Recovered, ReputationKey, ResultRecord, SettlementRecord,
    UnixMillis,
};
pub use store::{Options, Store};
