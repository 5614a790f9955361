//! A job whose inputs are known: how many tasks there are, and each of them on demand.
//!
//! A plan holds what cannot be computed (the files that matched, where they are cut), not the tasks:
//! a million tasks of a range need no memory.

mod expand;
mod matching;
mod unpack;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use tidemill_types::{ByteSize, Content, GuestPath, Limits, Segment};

pub use expand::{ExpandError, ExpandErrors, expand, expand_within};
pub use unpack::UnpackError;
use unpack::UnpackedFile;

use crate::{
    ByteRange, Frontier, PartOutput, Pieces, PlannedTask, ReduceTaskError, ReduceTree,
    tasks::{
        MapTasks, ReduceTasks,
        source::{Cuts, Source},
    },
};

/// A job's tasks. [`expand`] makes it.
#[derive(Clone, Debug)]
pub struct Plan {
    pub(crate) program: ProgramFile,
    pub(crate) map: MapTasks<Content, HostPieces>,
    pub(crate) reduce: Option<ReducePlan>,
    /// The program that compares outputs.
    pub(crate) comparer: Option<ProgramFile>,
}

/// The tasks of a job's reduce.
#[derive(Clone, Debug)]
pub struct ReducePlan {
    pub(crate) program: ProgramFile,
    pub(crate) tasks: ReduceTasks<Content>,
    pub(crate) limits: Limits,
    pub(crate) memory: ByteSize,
}

/// The file of a program.
#[derive(Clone, Debug)]
pub(crate) struct ProgramFile {
    pub(crate) path: PathBuf,
    pub(crate) len: u64,
}

/// The pieces of a file of this host.
#[derive(Clone, Debug)]
pub(crate) struct HostPieces {
    pub(crate) path: PathBuf,
    /// The length of the file.
    pub(crate) len: u64,
    pub(crate) pieces: Pieces,
    /// Where the file was compressed: what it was unpacked to, which is removed with the last plan that needs it.
    pub(crate) _unpacked: Option<Arc<UnpackedFile>>,
}

impl HostPieces {
    /// All of the file.
    pub(crate) fn file(&self) -> Content {
        Content::file(&self.path, self.len)
    }
}

impl Cuts for HostPieces {
    type Piece = Content;

    fn count(&self) -> usize {
        self.pieces.len()
    }

    fn piece(&self, index: usize) -> Content {
        let segment = |range: &ByteRange| Segment::File {
            path: self.path.clone(),
            offset: range.offset,
            len: range.len,
        };
        Content { segments: self.pieces.get(index).iter().map(segment).collect() }
    }
}

impl Plan {
    /// The number of map tasks, at least 1.
    pub fn map_count(&self) -> u64 {
        self.map.source.count()
    }

    /// The number of all tasks, map and reduce.
    pub fn task_count(&self) -> u64 {
        self.map_count() + self.reduce.as_ref().map_or(0, |reduce| reduce.tree().task_count())
    }

    /// The map's program, as an absolute path.
    pub fn map_program(&self) -> &Path {
        &self.program.path
    }

    /// The program that compares outputs, as an absolute path, if the job has one.
    pub fn comparer(&self) -> Option<&Path> {
        self.comparer.as_ref().map(|comparer| comparer.path.as_path())
    }

    /// The reduce, if the job has one.
    pub fn reduce(&self) -> Option<&ReducePlan> {
        self.reduce.as_ref()
    }

    /// The bytes of all map tasks' own inputs together. Files that all tasks share are not counted.
    pub fn total_input_bytes(&self) -> u64 {
        match &self.map.source {
            Source::One | Source::Range(_) | Source::Matrix(_) => 0,
            // Sparse files can be longer together than a number is wide.
            Source::Files(files) => files.iter().map(|file| file.content.len()).fold(0, u64::saturating_add),
            Source::Pieces(files) => {
                files.iter().map(|file| file.pieces.pieces.total_bytes()).fold(0, u64::saturating_add)
            }
        }
    }

    /// The bytes that [`crate::seal`] has read of the map tasks' own inputs: a file that is cut is read as a whole and
    /// piece by piece.
    pub fn sealed_bytes(&self) -> u64 {
        let whole = match &self.map.source {
            Source::Pieces(files) => files.iter().map(|file| file.pieces.len).fold(0, u64::saturating_add),
            _ => 0,
        };
        self.total_input_bytes().saturating_add(whole)
    }

    /// The bookkeeping of this job before anything ran.
    pub fn frontier(&self) -> Frontier {
        Frontier::new(self.map_count(), self.reduce.as_ref().map(|reduce| reduce.tree().clone()))
    }

    /// What people call a map task.
    ///
    /// # Panics
    /// When `index` is not below [`Self::map_count`].
    pub fn map_label(&self, index: u64) -> String {
        self.map.source.item(index).label()
    }

    /// The file that a map task is for, seen from the job file; none where tasks are not of whole files.
    pub fn map_file(&self, index: u64) -> Option<&GuestPath> {
        self.map.source.file(index)
    }

    /// A map task.
    ///
    /// # Panics
    /// When `index` is not below [`Self::map_count`].
    pub fn map_task(&self, index: u64) -> PlannedTask {
        self.map.task(index)
    }
}

impl ReducePlan {
    /// The reduce's program, as an absolute path.
    pub fn program(&self) -> &Path {
        &self.program.path
    }

    /// Which outputs each reduce task takes.
    pub fn tree(&self) -> &ReduceTree {
        &self.tasks.tree
    }

    /// What a reduce task may use.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// What a machine must have free for a reduce task.
    pub fn memory(&self) -> ByteSize {
        self.memory
    }

    /// The task at a place of the tree, over the outputs of its children in their order. It finds them
    /// below `/in/parts/000000`, `/in/parts/000001` and so on; a part without files has no directory.
    ///
    /// # Errors
    /// [`ReduceTaskError`] when the tree has no such task, when it takes another number of parts, and when
    /// a part's path becomes too long.
    pub fn task(&self, level: u32, index: u64, parts: &[PartOutput]) -> Result<PlannedTask, ReduceTaskError> {
        self.tasks.task(level, index, parts.iter().map(|part| part.files.iter().cloned()))
    }
}
