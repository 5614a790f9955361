//! Blobs in the place of files, and tasks whose inputs are in blobs.

use serde::{Deserialize, Serialize};
use tidemill_types::{BlobRef, BlobSource, GuestPath, TaskSpec};

use crate::ReduceTaskError;

/// A task with the blobs that its inputs are in.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct BoundTask {
    /// What people call it.
    pub label: String,
    /// All that determines its result.
    pub spec: TaskSpec,
    /// Where the bytes of each of the specification's inputs are, in the same order.
    pub sources: Vec<BlobSource>,
}

/// The output of a task, as a part of a reduce task.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PartBlob {
    /// The output's archive.
    pub archive: BlobRef,
    /// The archive's files, in its order: sorted by path, each path once.
    pub files: Vec<PartFile>,
}

/// A file in an output's archive.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PartFile {
    /// Its path there.
    pub path: GuestPath,
    /// The hash and the length of its content, which need not be a blob of its own.
    pub content: BlobRef,
    /// Where it begins in the archive, in bytes.
    pub offset: u64,
}

/// An input before it is taken apart: what it is, and where.
#[derive(Clone, Copy, Debug)]
pub(super) struct BlobInput {
    pub(super) content: BlobRef,
    pub(super) source: BlobSource,
}

impl From<BlobRef> for BlobInput {
    fn from(blob: BlobRef) -> Self {
        Self { content: blob, source: BlobSource::whole(blob) }
    }
}

impl PartBlob {
    /// Whether the files are as an archive has them; `part` is its place in the reduce task.
    pub(super) fn check(&self, part: usize) -> Result<(), ReduceTaskError> {
        let unsorted = self.files.windows(2).find(|pair| pair[0].path >= pair[1].path);
        if let Some(pair) = unsorted {
            return Err(ReduceTaskError::Order { part, path: pair[1].path.clone() });
        }
        let outside = |file: &&PartFile| !self.source(file).holds(file.content.len);
        match self.files.iter().find(outside) {
            Some(file) => Err(ReduceTaskError::Outside { part, path: file.path.clone() }),
            None => Ok(()),
        }
    }

    /// The files as inputs, by their paths in the archive.
    pub(super) fn inputs(&self) -> impl Iterator<Item = (GuestPath, BlobInput)> {
        self.files
            .iter()
            .map(|file| (file.path.clone(), BlobInput { content: file.content, source: self.source(file) }))
    }

    fn source(&self, file: &PartFile) -> BlobSource {
        BlobSource { blob: self.archive, offset: file.offset }
    }
}
