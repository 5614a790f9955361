//! What can go wrong with a sender, and what to do about it.

use std::{io, path::PathBuf, sync::Arc};

use alloy::primitives::{Address, B256};
use redb::{CommitError, DatabaseError, StorageError, TableError, TransactionError};

use super::TxId;
use crate::chain::ChainError;

/// Why a sender could not do something.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SenderError {
    /// Another process sends for this account.
    #[error(
        "another process sends transactions of this account ({} is in use); stop that one first, or give the two \
         accounts of their own",
        path.display()
    )]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// The directory belongs to another account or another chain.
    #[error(
        "{} holds transactions of {found} and not of {expected}; choose another directory, or move it away if that \
         chain is gone",
        path.display()
    )]
    OtherChain {
        /// The directory.
        path: PathBuf,
        /// What it is for.
        found: Box<Place>,
        /// What was to be opened.
        expected: Box<Place>,
    },
    /// The key of an intent was used for another one.
    #[error("transaction {id} has the key {key:?} already, and it is another one")]
    KeyReused {
        /// The key.
        key: String,
        /// The transaction that has it.
        id: TxId,
    },
    /// There is no such transaction.
    #[error("there is no transaction {0}")]
    Unknown(TxId),
    /// The transaction is in a block already, or never will be.
    #[error("transaction {0} has ended: there is nothing to take back")]
    HasEnded(TxId),
    /// The file does not hold what was written to it.
    #[error(
        "the transactions in {} cannot be read ({reason}); do not send from this account before you know what it \
         sent last",
        path.display()
    )]
    Damaged {
        /// The directory.
        path: PathBuf,
        /// What was found.
        reason: String,
    },
    /// The disk failed, or is full. Nothing that was not durable before is promised.
    #[error("reading or writing the transactions in {} failed", path.display())]
    Disk {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// The chain did not answer.
    #[error("the chain does not answer")]
    Chain(#[source] Arc<ChainError>),
    /// The sender has stopped.
    #[error("the sender of transactions has stopped")]
    Stopped,
}

/// An account on a chain.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub struct Place {
    /// The chain's number.
    pub chain_id: u64,
    /// Its first block, which tells it from another chain of the same number.
    pub genesis: B256,
    /// The account.
    pub account: Address,
}

impl SenderError {
    /// Whether the same may succeed later.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Chain(error) => error.is_retryable(),
            Self::Disk { source, .. } => {
                matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
            }
            Self::InUse { .. } => true,
            _ => false,
        }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} on chain {} (first block {})", self.account, self.chain_id, self.genesis)
    }
}

/// An error of the file before it is known which.
#[derive(Debug)]
pub(crate) enum Fault {
    Disk(io::Error),
    InUse,
    Damaged(String),
}

impl Fault {
    pub(crate) fn at(self, path: PathBuf) -> SenderError {
        match self {
            Self::Disk(source) => SenderError::Disk { path, source: Arc::new(source) },
            Self::InUse => SenderError::InUse { path },
            Self::Damaged(reason) => SenderError::Damaged { path, reason },
        }
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Disk(error)
    }
}

impl From<StorageError> for Fault {
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::Io(error) => Self::Disk(error),
            StorageError::PreviousIo | StorageError::DatabaseClosed => {
                Self::Disk(io::Error::other("an earlier write failed"))
            }
            other => Self::Damaged(other.to_string()),
        }
    }
}

impl From<TableError> for Fault {
    fn from(error: TableError) -> Self {
        match error {
            TableError::Storage(error) => error.into(),
            other => Self::Damaged(other.to_string()),
        }
    }
}

impl From<TransactionError> for Fault {
    fn from(error: TransactionError) -> Self {
        match error {
            TransactionError::Storage(error) => error.into(),
            other => Self::Damaged(other.to_string()),
        }
    }
}

impl From<CommitError> for Fault {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Storage(error) => error.into(),
            other => Self::Damaged(other.to_string()),
        }
    }
}

impl From<DatabaseError> for Fault {
    fn from(error: DatabaseError) -> Self {
        match error {
            DatabaseError::Storage(error) => error.into(),
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
