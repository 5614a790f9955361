//! Blobs in the place of files, and tasks whose inputs are in blobs.

use serde::{Deserialize, Serialize};
use tidemill_types::{BlobId, BlobRef, BlobSource, ByteRange, GuestPath, TaskSpec};

use crate::{ReduceTaskError, tasks::source::Cuts};

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

/// The pieces of a file whose content is a blob.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct BlobPieces {
    pub(crate) file: BlobRef,
    pub(crate) pieces: Vec<Piece>,
}

/// A piece of a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Piece {
    /// The hash of its own bytes.
    pub(crate) content: BlobId,
    /// The range of its first bytes, where the others do not follow on them in the file. Mostly empty.
    pub(crate) head: ByteRange,
    /// The range of its other bytes.
    pub(crate) body: ByteRange,
}

/// An input before it is taken apart: what it is, and where.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BlobInput {
    pub(crate) content: BlobRef,
    pub(crate) source: BlobSource,
}

impl BlobPieces {
    /// The pieces as inputs, in their order.
    pub(crate) fn inputs(&self) -> impl Iterator<Item = BlobInput> {
        self.pieces.iter().map(|piece| piece.of(self.file))
    }
}

impl Cuts for BlobPieces {
    type Piece = BlobInput;

    fn count(&self) -> usize {
        self.pieces.len()
    }

    fn piece(&self, index: usize) -> BlobInput {
        self.pieces[index].of(self.file)
    }
}

impl Piece {
    /// It as an input, given the blob of its file.
    fn of(&self, file: BlobRef) -> BlobInput {
        let Self { content, head, body } = *self;
        // Lengths that no file has are found when the job is checked.
        let len = head.len.saturating_add(body.len);
        let source = BlobSource { blob: file, head, offset: body.offset };
        BlobInput { content: BlobRef { id: content, len }, source }
    }
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
        BlobSource::at(self.archive, file.offset)
    }
}
