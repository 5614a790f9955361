//! What can go wrong with a ledger, and what to do about it.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::genesis::GenesisError;

/// The disk failed, or holds what it should not.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// An operation of the file system.
    #[error("could not {action} {}", path.display())]
    Io {
        /// "open", "write", ...
        action: &'static str,
        /// Of what.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A record that is not as it was written, with whole ones after it. Nothing was changed.
    #[error(
        "{} is corrupt at byte {offset} (block {block}), and records after it are whole; restore the file from a \
         copy: cutting it off there would lose blocks that were final",
        path.display()
    )]
    Corrupt {
        /// The block log.
        path: PathBuf,
        /// Where the bad record begins.
        offset: u64,
        /// The block that should be there.
        block: u64,
    },
    /// A whole record that does not continue the chain before it.
    #[error("{} does not continue the chain at byte {offset} (block {block}): {reason}", path.display())]
    Broken {
        /// The block log.
        path: PathBuf,
        /// Where the record begins.
        offset: u64,
        /// The block that should be there.
        block: u64,
        /// What does not fit.
        reason: &'static str,
    },
}

/// Why no ledger was made.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// Nothing is overwritten.
    #[error("{} holds a ledger already; open it, or choose another directory", .0.display())]
    AlreadyExists(PathBuf),
    /// Blocks without the file that says of which ledger.
    #[error("{} holds a block log without its ledger.json; move it away, or choose another directory", .0.display())]
    Remains(PathBuf),
    /// Another process has it.
    #[error("{} is in use by another process", .0.display())]
    InUse(PathBuf),
    /// It cannot be executed.
    #[error("the genesis is refused")]
    Genesis(#[from] GenesisError),
    /// The disk.
    #[error("the ledger's directory could not be written")]
    Disk(#[from] DiskError),
}

/// Why a ledger was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// No `ledger.json`: there never was one, or its making was interrupted.
    #[error("{} holds no ledger; create one", .0.display())]
    Absent(PathBuf),
    /// Another process has it.
    #[error("{} is in use by another process", .0.display())]
    InUse(PathBuf),
    /// The caller expected another chain.
    #[error("{} holds a ledger with chain id {found}, not {expected}", path.display())]
    WrongChain {
        /// The directory.
        path: PathBuf,
        /// What it holds.
        found: u64,
        /// What was asked for.
        expected: u64,
    },
    /// `ledger.json` is not one that this version wrote.
    #[error("{} cannot be read: {reason}", path.display())]
    Manifest {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The disk.
    #[error("the ledger's directory could not be read")]
    Disk(#[from] DiskError),
}

/// Why a ledger is not served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Everybody knows the keys of a development ledger.
    #[error(
        "a development ledger is served on loopback alone, not on {0}: its accounts' keys are known to everybody"
    )]
    DevNotLoopback(SocketAddr),
    /// The port is taken, or not ours.
    #[error("could not listen on {address}")]
    Bind {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
}

/// The ledger did not stop in order. What is on the disk is whole all the same.
#[derive(Debug, thiserror::Error)]
pub enum StopError {
    /// The thread that makes blocks had stopped before: the disk failed.
    #[error("the ledger had stopped making blocks: {0}")]
    Failed(String),
}

impl DiskError {
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> DiskError {
        move |source| DiskError::Io { action, path: path.to_path_buf(), source }
    }
}
