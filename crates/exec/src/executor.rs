//! What every executor is: prepare a program, run tasks under limits, report.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use tidemill_types::{
    BlobId, Content, Failure, FloatClass, Limits, Outcome, ProgramKind, Segment, TaskSpec, Usage,
};

use crate::{cancel::Cancel, control::Control};

/// A program by its name, and where its bytes are. What an executor has prepared before it need not read again, and a
/// large one it may map.
#[derive(Clone, Debug)]
pub struct Program {
    /// The hash of the bytes.
    pub id: BlobId,
    /// What sort of program it is.
    pub kind: ProgramKind,
    /// Where the bytes are.
    pub content: Arc<Content>,
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

    /// Makes ready what running a task needs (checks, compiles, loads, caches), so that it starts at once. That is its
    /// program, and whatever of its inputs is worth keeping: another task with the same ones need not be prepared again.
    ///
    /// # Errors
    /// The [`Failure`] that an attempt at this task would end with.
    fn prepare(&self, task: &Task, cancel: &Cancel) -> Result<Prepared, Failure>;

    /// Runs a task to its end, under the limits of its specification.
    fn run(&self, task: &Task, control: &Control) -> Report;
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
    /// A program whose bytes are in memory.
    pub fn wasm(bytes: impl Into<Vec<u8>>) -> Self {
        let bytes = bytes.into();
        Self::new(BlobId::of(&bytes), ProgramKind::Wasm, Content::bytes(bytes))
    }

    /// A program of this name whose bytes are there.
    pub fn new(id: BlobId, kind: ProgramKind, content: Content) -> Self {
        Self { id, kind, content: Arc::new(content) }
    }

    /// All of its bytes, checked against its name.
    ///
    /// # Errors
    /// [`Failure::Host`] when they cannot be read, or are not the program's: this host's files may have changed since it
    /// was told where they are.
    pub fn read(&self) -> Result<Vec<u8>, Failure> {
        let host = |reason: String| Failure::Host { reason };
        let bytes = read(&self.content)
            .map_err(|error| host(format!("cannot read the program {}: {error}", self.id)))?;
        if BlobId::of(&bytes) == self.id {
            Ok(bytes)
        } else {
            Err(host(format!("the file of the program {} was changed", self.id)))
        }
    }
}

fn read(content: &Content) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    for segment in &content.segments {
        match segment {
            Segment::Bytes(part) => bytes.extend_from_slice(part),
            Segment::File { path, offset, len } => {
                let mut file = File::open(path)?;
                file.seek(SeekFrom::Start(*offset))?;
                if file.take(*len).read_to_end(&mut bytes)? as u64 != *len {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
        }
    }
    Ok(bytes)
}

impl Task {
    /// A task that is no more than its program, to prepare that: without arguments and inputs, under default limits.
    pub fn of(program: Program, floats: FloatClass) -> Self {
        let spec = TaskSpec {
            kind: program.kind,
            program: program.id,
            floats,
            args: Vec::new(),
            env: Vec::new(),
            inputs: Vec::new(),
            limits: Limits::default(),
            seed: 0,
        };
        Self { spec: Arc::new(spec), program, contents: Vec::new() }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_read_from_where_it_is() {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let path = folder.path().join("blobs");
        std::fs::write(&path, "before, program, after").expect("a write");
        let range = |offset, len| Segment::File { path: path.clone(), offset, len };
        let at = |segments| Program::new(BlobId::of(b"program"), ProgramKind::Wasm, Content { segments });
        let whole = at(vec![range(8, 3), Segment::Bytes(b"gr".to_vec()), range(13, 2)]);
        assert_eq!(whole.read().as_deref(), Ok(&b"program"[..]));
        assert_eq!(Program::wasm(*b"program").read().as_deref(), Ok(&b"program"[..]));

        let failed = |program: &Program| match program.read() {
            Err(Failure::Host { reason }) => reason,
            other => panic!("{other:?}"),
        };
        assert!(failed(&at(vec![range(9, 7)])).contains("was changed"), "it is another one");
        assert!(failed(&at(vec![range(8, 70)])).contains("cannot read"), "the file is too short");
        std::fs::remove_file(&path).expect("it is there");
        assert!(failed(&whole).contains("cannot read"));
    }
}
