//! Why the program stopped.

use std::fmt;

/// A failure the user can act on: what was wrong, and where.
#[derive(Debug)]
pub enum Error {
    /// The command line does not say what to do.
    Usage(String),
    /// A line of the scene file cannot be understood.
    Scene {
        /// The number of the line, from 1.
        line: usize,
        /// What is wrong with it.
        what: String,
    },
    /// A file could not be read or written.
    File {
        /// The path as the guest sees it.
        path: String,
        /// What the system said.
        why: std::io::Error,
    },
    /// A tile file is damaged, missing or of another picture.
    Tile(String),
    /// The picture could not be encoded.
    Picture(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Usage(what) => write!(f, "{what}"),
            Error::Scene { line, what } => write!(f, "scene line {line}: {what}"),
            Error::File { path, why } => write!(f, "{path}: {why}"),
            Error::Tile(what) => write!(f, "{what}"),
            Error::Picture(what) => write!(f, "the picture cannot be written: {what}"),
        }
    }
}

impl std::error::Error for Error {}
