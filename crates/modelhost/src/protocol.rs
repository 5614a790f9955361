//! What the parent and the worker that holds models say to each other, as frames of `tidemill-exec`.

use std::num::NonZeroU64;

use serde::{Deserialize, Serialize};
use tidemill_types::{BlobId, Failure, Limits, Tokens};

/// Provisional output goes in pieces of at most so many bytes.
pub(crate) const PIECE_BYTES: usize = 16 << 10;

/// A worker whose models all get on says so this often, in seconds.
pub(crate) const ALIVE_S: u64 = 5;

/// What the worker is told.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum ToHost {
    /// First of all: memory for models and texts together, in bytes.
    Begin { memory: u64 },
    /// To answer a task's requests.
    Run(Box<Request>),
    /// The model that was asked for: so many bytes from this offset of the file that comes with this.
    Model { program: BlobId, offset: u64, len: u64 },
    /// It cannot be had by the task that was asked.
    NoModel { program: BlobId },
    /// To show what a task writes, from the beginning, for the follow with this number.
    Follow { task: u64, number: NonZeroU64 },
    /// Nobody waits for a task any more.
    Cancel { task: u64 },
}

/// A task.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Request {
    /// Its number, which no other task of this worker has.
    pub(crate) task: u64,
    /// The model.
    pub(crate) program: BlobId,
    /// What requests may call it.
    pub(crate) names: Vec<String>,
    pub(crate) created_s: u64,
    pub(crate) seed: u64,
    pub(crate) limits: Limits,
    /// The requests, a line each.
    pub(crate) input: String,
    /// The tokens that somebody says the answers have, as [`tidemill_infer::api::Drafts`] reads them; may be empty.
    pub(crate) draft: String,
}

/// What the worker says.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum FromHost {
    /// All goes well.
    Alive,
    /// It needs a model, for this task among others.
    NeedsModel { task: u64, program: BlobId },
    /// Provisional output of a task that is followed.
    Piece { task: u64, follow: NonZeroU64, offset: u64, bytes: Vec<u8> },
    /// A task is done.
    Done { task: u64, answers: String, claims: String, tokens: Tokens, model_bytes: u64 },
    /// A task is not.
    Failed { task: u64, failure: Failure, tokens: Tokens },
}
