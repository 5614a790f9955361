//! What every executor is: prepare a program, run tasks under limits, report.

use std::{path::PathBuf, sync::Arc, time::Duration};

use tidemill_types::{BlobId, Content, Failure, FloatClass, Outcome, ProgramKind, TaskSpec, Usage};

use crate::cancel::Cancel;

/// A program's bytes with their name.
#[derive(Clone, Debug)]
pub struct Program {
    /// The hash of the bytes.
    pub id: BlobId,
    /// What sort of program it is.
    pub kind: ProgramKind,
    /// The program.
    pub bytes: Arc<[u8]>,
}

/// One attempt at a task: its specification, and where the bytes that the specification names are.
#[derive(Clone, Debug)]
pub struct Task {
    /// All that determines the result.
    pub spec: Arc<TaskSpec>,
    /// The program that `spec.program` names.
    pub program: Program,
    /// The content of each of `spec.inputs`, in the same order. The caller vouches that it has the hash
    /// that the specification says.
    pub contents: Vec<Content>,
}

/// What an executor can run on its host.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Capabilities {
    /// The kind of program.
    pub kind: ProgramKind,
    /// Float classes.
    pub floats: Vec<FloatClass>,
    /// The hardware class within which native floats compare, if this host belongs to one.
    pub hardware_class: Option<String>,
}

/// What preparing a program came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Prepared {
    /// Whether it had been prepared before.
    pub cached: bool,
    /// How long it took.
    pub took: Duration,
}

/// The report of an attempt.
#[derive(Debug)]
pub struct Report {
    /// How it ended.
    pub outcome: Outcome,
    /// What it used, as far as that is the same everywhere.
    pub usage: Usage,
    /// The output, when the outcome is [`Outcome::Done`].
    pub output: Option<Output>,
    /// What the program wrote to standard error.
    pub log: Vec<u8>,
    /// How long it took on this machine.
    pub wall: Duration,
}

/// The output of a task: an archive ([`tidemill_types::Archive`]) with its hash.
#[derive(Debug)]
pub struct Output {
    /// The BLAKE3 hash of the archive.
    pub id: BlobId,
    /// The archive's length in bytes.
    pub len: u64,
    /// Where it is.
    pub body: OutputBody,
}

/// Where an output is.
#[derive(Debug)]
pub enum OutputBody {
    /// In memory: small ones.
    Bytes(Vec<u8>),
    /// In a file of the directory that the executor was given for this, now the receiver's.
    File(PathBuf),
}

/// Runs programs of one kind. Calls block until the work is done, so they belong on threads of
/// their own: what runs here keeps a core or a device busy.
pub trait Executor: Send + Sync {
    /// What this executor can run on this host.
    fn capabilities(&self) -> Capabilities;

    /// Makes a program ready to run (checks, compiles, loads, caches), so that running it starts at once.
    ///
    /// # Errors
    /// The [`Failure`] that an attempt at this program would end with.
    fn prepare(&self, program: &Program, floats: FloatClass, cancel: &Cancel) -> Result<Prepared, Failure>;

    /// Runs a task to its end, under the limits of its specification.
    fn run(&self, task: &Task, cancel: &Cancel) -> Report;
}

/// A report before its output has been hashed and put somewhere: the archive in parts.
#[derive(Debug)]
pub(crate) struct Raw {
    pub(crate) outcome: Outcome,
    pub(crate) usage: Usage,
    pub(crate) output: Vec<Vec<u8>>,
    pub(crate) log: Vec<u8>,
    pub(crate) wall: Duration,
}

impl Raw {
    /// The hash of the output's parts one after another, and their length.
    pub(crate) fn output_id(&self) -> (BlobId, u64) {
        let mut hasher = blake3::Hasher::new();
        for part in &self.output {
            hasher.update(part);
        }
        (BlobId::from_hash(hasher.finalize()), hasher.count())
    }

    /// The report with its output in memory.
    pub(crate) fn into_report(self) -> Report {
        let (id, len) = self.output_id();
        let output = (self.outcome == Outcome::Done).then(|| Output {
            id,
            len,
            body: OutputBody::Bytes(self.output.concat()),
        });
        Report { outcome: self.outcome, usage: self.usage, output, log: self.log, wall: self.wall }
    }
}

impl Program {
    /// A program from its bytes.
    pub fn wasm(bytes: impl Into<Arc<[u8]>>) -> Self {
        let bytes = bytes.into();
        Self { id: BlobId::of(&bytes), kind: ProgramKind::Wasm, bytes }
    }
}

impl Report {
    /// A report of an attempt that never began.
    pub fn not_run(failure: Failure) -> Self {
        Self {
            outcome: Outcome::Failed(failure),
            usage: Usage::default(),
            output: None,
            log: Vec::new(),
            wall: Duration::ZERO,
        }
    }
}
