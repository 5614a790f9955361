//! Why the program stopped.

use std::fmt;

/// A failure the user can act on: what was wrong, and where.
#[derive(Debug)]
pub enum Error {
    /// The command line does not say what to do.
    Usage(String),
    /// A file could not be read or written.
    File {
        /// The path as the guest sees it.
        path: String,
        /// What the system said.
        why: std::io::Error,
    },
    /// The result of a batch cannot be understood or belongs to another option.
    Batch {
        /// The path as the guest sees it.
        path: String,
        /// What is wrong with it.
        what: String,
    },
    /// The simulated price contradicts the closed form.
    Wrong(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Usage(what) | Error::Wrong(what) => write!(f, "{what}"),
            Error::File { path, why } => write!(f, "{path}: {why}"),
            Error::Batch { path, what } => write!(f, "{path}: {what}"),
        }
    }
}

impl std::error::Error for Error {}
