//! Where the bytes of an input are on this host.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The content of one input file: its segments one after another. Large inputs stay where they are and
/// are read by offset, so a task's piece of a huge file costs no copy.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
pub struct Content {
    /// The segments, in order. Empty ones are allowed.
    pub segments: Vec<Segment>,
}

/// A run of bytes.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum Segment {
    /// The bytes themselves.
    Bytes(Vec<u8>),
    /// A range of a file of this host.
    File {
        /// The file.
        path: PathBuf,
        /// Where the range begins, in bytes.
        offset: u64,
        /// Its length in bytes.
        len: u64,
    },
}

impl Content {
    /// Content that is held in memory.
    pub fn bytes(bytes: impl Into<Vec<u8>>) -> Self {
        Self { segments: vec![Segment::Bytes(bytes.into())] }
    }

    /// The first `len` bytes of a file.
    pub fn file(path: impl Into<PathBuf>, len: u64) -> Self {
        Self { segments: vec![Segment::File { path: path.into(), offset: 0, len }] }
    }

    /// The length of all segments together.
    pub fn len(&self) -> u64 {
        self.segments.iter().map(Segment::len).sum()
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Segment {
    /// The segment's length in bytes.
    pub fn len(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::File { len, .. } => *len,
        }
    }

    /// Whether the segment has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
