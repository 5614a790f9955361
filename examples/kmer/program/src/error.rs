//! Why the program stopped.

use std::fmt;

/// A failure the user can act on: what was wrong, and where.
#[derive(Debug)]
pub enum Error {
    /// The command line does not say what to do.
    Usage(String),
    /// A sequence file breaks its format.
    Format {
        /// The path as the guest sees it.
        path: String,
        /// The number of the line, from 1.
        line: u64,
        /// What is wrong there.
        what: String,
    },
    /// A file could not be read or written.
    File {
        /// The path as the guest sees it.
        path: String,
        /// What the system said.
        why: std::io::Error,
    },
    /// A run of counted k-mers is damaged or does not belong to the others.
    Run {
        /// The path as the guest sees it.
        path: String,
        /// What is wrong with it.
        what: String,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Usage(what) => write!(f, "{what}"),
            Error::Format { path, line, what } => write!(f, "{path}, line {line}: {what}"),
            Error::File { path, why } => write!(f, "{path}: {why}"),
            Error::Run { path, what } => write!(f, "{path}: {what}"),
        }
    }
}

impl std::error::Error for Error {}
