//! What can go wrong with the file, and what to do about it.

use std::{io, path::PathBuf, sync::Arc};

use redb::{CommitError, DatabaseError, StorageError, TableError, TransactionError};

use crate::Contradiction;

/// Why the store could not do something.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The directory or a file in it could not be made or opened.
    #[error("cannot open the state in {}", path.display())]
    Open {
        /// The directory or file.
        path: PathBuf,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// Another process has it open.
    #[error(
        "the state in {} is in use: another process has it open; stop that one first, or choose another \
         directory",
        path.display()
    )]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// A newer Tidemill wrote it.
    #[error(
        "the state in {} was written by a newer version of tidemill (format {found}; this one knows \
         {known}): update tidemill",
        path.display()
    )]
    Newer {
        /// The directory.
        path: PathBuf,
        /// The format's version there.
        found: u64,
        /// The version that this program writes.
        known: u64,
    },
    /// An older version wrote it, whose format is not read any more.
    #[error(
        "the state in {} was written by an older version of tidemill (its format is {found}, this one's is {known}): \
         finish its jobs with that version, or move the directory away to begin without them",
        path.display()
    )]
    Older {
        /// The directory.
        path: PathBuf,
        /// The format's version there.
        found: u64,
        /// The version that this program writes.
        known: u64,
    },
    /// The file does not hold what was written to it.
    #[error(
        "the state in {} is damaged ({reason}): restore the directory from a copy, or move it away to \
         begin anew without its jobs",
        path.display()
    )]
    Damaged {
        /// The directory.
        path: PathBuf,
        /// What was found.
        reason: String,
    },
    /// There was no room to write. Nothing of the commit is applied; it can be made again later.
    #[error("the disk that holds {} is full: the work continues when there is room", path.display())]
    DiskFull {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// The file is being opened anew after a failed write: ask again.
    #[error("the state in {} is not to be had just now, since a write to it failed", path.display())]
    Interrupted {
        /// The directory.
        path: PathBuf,
    },
    /// The disk failed otherwise. What the file holds is known only after opening it anew.
    #[error("reading or writing the state in {} failed", path.display())]
    Io {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// A change contradicts what is stored: a bug of the caller. Nothing of the commit is applied.
    #[error("change {position} of a commit makes no sense")]
    Contradiction {
        /// Which of the changes, from 0.
        position: usize,
        /// In what way.
        source: Contradiction,
    },
}

impl StoreError {
    /// Whether the same may succeed later without anyone restarting the program. A commit that failed so is
    /// to be made again with the same changes first; more may follow them.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::DiskFull { .. } | Self::Interrupted { .. })
    }
}

/// An error before it is known whose store it came from.
#[derive(Debug)]
pub(crate) enum Fault {
    Storage(StorageError),
    InUse,
    Damaged(String),
    Newer(u64),
    Older(u64),
    Contradiction { position: usize, source: Contradiction },
}

impl Fault {
    pub(crate) fn at(self, path: PathBuf) -> StoreError {
        match self {
            Self::Storage(StorageError::Io(source)) => from_io(path, source),
            Self::Storage(StorageError::PreviousIo | StorageError::DatabaseClosed) => {
                StoreError::Interrupted { path }
            }
            Self::Storage(other) => StoreError::Damaged { path, reason: other.to_string() },
            Self::InUse => StoreError::InUse { path },
            Self::Damaged(reason) => StoreError::Damaged { path, reason },
            Self::Newer(found) => StoreError::Newer { path, found, known: crate::schema::VERSION },
            Self::Older(found) => StoreError::Older { path, found, known: crate::schema::VERSION },
            Self::Contradiction { position, source } => StoreError::Contradiction { position, source },
        }
    }
}

fn from_io(path: PathBuf, source: io::Error) -> StoreError {
    use io::ErrorKind::{FileTooLarge, InvalidData, QuotaExceeded, StorageFull, UnexpectedEof};
    match source.kind() {
        StorageFull | QuotaExceeded | FileTooLarge => StoreError::DiskFull { path, source: Arc::new(source) },
        InvalidData | UnexpectedEof => StoreError::Damaged { path, reason: source.to_string() },
        _ => StoreError::Io { path, source: Arc::new(source) },
    }
}

impl From<StorageError> for Fault {
    fn from(error: StorageError) -> Self {
        Self::Storage(error)
    }
}

impl From<TableError> for Fault {
    fn from(error: TableError) -> Self {
        match error {
            TableError::Storage(error) => Self::Storage(error),
            other => Self::Damaged(other.to_string()),
        }
    }
}

impl From<TransactionError> for Fault {
    fn from(error: TransactionError) -> Self {
        match error {
            TransactionError::Storage(error) => Self::Storage(error),
            other => Self::Damaged(other.to_string()),
        }
    }
}

impl From<CommitError> for Fault {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Storage(error) => Self::Storage(error),
            other => Self::Damaged(other.to_string()),
        }
    }
}

impl From<DatabaseError> for Fault {
    fn from(error: DatabaseError) -> Self {
        match error {
            DatabaseError::Storage(error) => Self::Storage(error),
            DatabaseError::DatabaseAlreadyOpen => Self::InUse,
            other => Self::Damaged(other.to_string()),
        }
    }
}

impl From<postcard::Error> for Fault {
    fn from(error: postcard::Error) -> Self {
        Self::Damaged(format!("a row cannot be read: {error}"))
    }
}
