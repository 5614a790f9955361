//! What goes wrong with blobs.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use tidemill_types::BlobId;

/// The budget has no room, even with all gone that may go.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("no room for {need} bytes: of a budget of {budget}, {held} are pinned or set aside")]
pub struct OverBudget {
    /// What was asked for.
    pub need: u64,
    /// The budget.
    pub budget: u64,
    /// What cannot make way now.
    pub held: u64,
}

/// An operation on a folder of blobs that failed. The folder stays of use.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// Another process has the folder open.
    #[error("{0} is in use by another process")]
    Locked(PathBuf),
    /// The folder's disk failed, or is full.
    #[error("cannot {doing} {path}")]
    Disk {
        /// What was tried.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// A file that should become a blob cannot be read.
    #[error("cannot read {path}")]
    Source {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file that should become a blob is something else.
    #[error("{0} is not a regular file")]
    NotAFile(PathBuf),
    /// A file was changed while it was read.
    #[error("{0} was changed while it was read")]
    Changed(PathBuf),
    /// The budget has no room.
    #[error(transparent)]
    OverBudget(#[from] OverBudget),
    /// The blob is not here.
    #[error("blob {0} is not here")]
    NotHere(BlobId),
    /// The bytes that were kept of the blob are others now. It is not here any more.
    #[error("blob {id} is damaged in {path}, and has to be had again")]
    Damaged {
        /// The blob.
        id: BlobId,
        /// Where it was.
        path: PathBuf,
    },
    /// The blob is longer than its reader allows.
    #[error("blob {id} has {len} bytes; at most {max} are allowed")]
    TooLong {
        /// The blob.
        id: BlobId,
        /// Its length.
        len: u64,
        /// What is allowed.
        max: u64,
    },
    /// The name of a pin is too long, empty, or no plain text.
    #[error("{0:?} cannot be the name of a pin")]
    PinName(String),
}

/// A fetch that failed. What arrived of the blob and was right is kept, unless the disk is full.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The other side does not have the blob, or does not give it to this node.
    #[error("the other side has no blob {0} for this node")]
    NotThere(BlobId),
    /// The blob has another length than it was said to have.
    #[error("blob {id} should have {expected} bytes, and has {found}")]
    WrongLength {
        /// The blob.
        id: BlobId,
        /// The length that it was said to have.
        expected: u64,
        /// The length that its holder gives.
        found: u64,
    },
    /// The other side sent bytes that are not the blob's.
    #[error("the other side sent bytes that do not belong to blob {id}")]
    Corrupt {
        /// The blob.
        id: BlobId,
        /// Where.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The other side kept still.
    #[error("nothing of blob {id} arrived for {waited:?}")]
    Stalled {
        /// The blob.
        id: BlobId,
        /// How long it was waited for.
        waited: Duration,
    },
    /// The connection broke.
    #[error("the connection broke while blob {id} was fetched")]
    Broken {
        /// The blob.
        id: BlobId,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The folder failed, is full, or has no room in its budget.
    #[error(transparent)]
    Blob(#[from] BlobError),
}

impl BlobError {
    pub(crate) fn disk(doing: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Disk { doing, path: path.to_owned(), source }
    }

    /// Whether the disk has no room, which a person must mend.
    pub fn is_disk_full(&self) -> bool {
        matches!(self, Self::Disk { source, .. } if is_disk_full(source))
    }
}

impl FetchError {
    /// Whether the disk has no room, which a person must mend.
    pub fn is_disk_full(&self) -> bool {
        matches!(self, Self::Blob(error) if error.is_disk_full())
    }

    /// Whether another attempt, perhaps over a new connection, may go on where this one ended.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Stalled { .. } | Self::Broken { .. })
    }
}

impl From<OverBudget> for FetchError {
    fn from(error: OverBudget) -> Self {
        Self::Blob(error.into())
    }
}

/// No room on the device, in its quota, or for so long a file.
pub(super) fn is_disk_full(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}
