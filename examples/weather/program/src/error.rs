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
    /// The result of a member is damaged, or does not fit the others.
    Member(String),
    /// The forecast went wrong: it became unstable, or lost mass.
    Forecast(String),
    /// The picture could not be encoded.
    Picture(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Usage(what) | Error::Member(what) | Error::Forecast(what) | Error::Picture(what) => {
                write!(f, "{what}")
            }
            Error::File { path, why } => write!(f, "{path}: {why}"),
        }
    }
}

impl std::error::Error for Error {}
