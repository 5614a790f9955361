//! A job that travels: blobs stand where a [`crate::Plan`] has files, so that whoever holds one can make
//! each task's full specification on demand, without the requester's disk.
//!
//! [`seal`] makes one from a plan, [`JobSpec::decode`] from bytes of a stranger. Both go through one check,
//! so the tasks of a [`JobSpec`] can always be made and are never larger than its bounds say. Where the
//! blobs are and how they get anywhere is for others.

mod blob;
mod check;
mod encoding;
mod error;
mod seal;
mod single;

use tidemill_types::{
    Address, Amount, BlobRef, Comparison, FloatClass, GuestPath, InputSpec, Limits, Millis, Needs,
    ProgramKind, TaskNumber, TaskSpec,
};

pub use blob::{BoundTask, PartBlob, PartFile};
pub use error::{JobSpecError, SealError};
pub use seal::{Wanted, seal};
pub use single::SingleTask;

use crate::{
    Frontier, JobName, Node, PlannedTask, ReduceTaskError, ReduceTree, Reliance, Resources, Stage,
    numbering::Numbering,
    tasks::{
        Command, MapTasks, ReduceTasks, part_directory,
        source::{CutFile, InputFile, Source},
    },
};
use blob::{BlobInput, BlobPieces};

/// A job over blobs. Every one is checked: the promises of its methods hold for any job that was decoded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct JobSpec {
    terms: Terms,
    program: StageProgram,
    map: MapTasks<BlobRef, BlobPieces>,
    reduce: Option<ReduceSpec>,
    numbering: Numbering,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct ReduceSpec {
    program: StageProgram,
    tasks: ReduceTasks<BlobRef>,
}

/// What a job says about all of its tasks.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Terms {
    name: JobName,
    deadline: Option<Millis>,
    retries: u32,
    seed: u64,
    resources: Resources,
    reliance: Reliance,
    trusted: Vec<Address>,
    comparison: Comparison,
    outside_gain: Amount,
}

/// What the tasks of a stage run, and what they may use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct StageProgram {
    kind: ProgramKind,
    program: BlobRef,
    floats: FloatClass,
    limits: Limits,
}

/// All that a job says, before it is checked.
#[derive(Debug)]
struct Draft {
    terms: Terms,
    program: StageProgram,
    map: MapTasks<BlobRef, BlobPieces>,
    reduce: Option<ReduceDraft>,
}

#[derive(Debug)]
struct ReduceDraft {
    program: StageProgram,
    command: Command<BlobRef>,
    fan_in: u64,
}

/// What an input takes in a task's list of inputs beside its path: its hash and its length, the hash and
/// the length of the blob that has it, and its place there.
const INPUT_BYTES: u64 = 100;

impl JobSpec {
    /// The longest encoding: some 1.5 million files or pieces. (Ranges and matrices of any number of
    /// tasks take next to nothing.)
    pub const MAX_BYTES: usize = 64 << 20;

    /// The most bytes that the arguments and the environment of one task have together.
    pub const MAX_TASK_TEXT_BYTES: u64 = 1 << 20;

    /// The most bytes of one task's list of inputs, where each counts 100 bytes and its path: room for the
    /// parts of the widest reduce with a dozen files each.
    pub const MAX_TASK_INPUT_BYTES: u64 = 16 << 20;

    /// Takes a draft that is right. Nothing else makes a job.
    fn new(draft: Draft) -> Result<Self, JobSpecError> {
        let map_count = check::check(&draft)?;
        let Draft { terms, program, map, reduce } = draft;
        let reduce = reduce.map(|ReduceDraft { program, command, fan_in }| ReduceSpec {
            program,
            tasks: ReduceTasks { command, tree: ReduceTree::new(map_count, fan_in) },
        });
        let tree = reduce.as_ref().map(|reduce| reduce.tasks.tree.clone());
        Ok(Self { terms, program, map, reduce, numbering: Numbering::new(map_count, tree) })
    }

    /// The job's name.
    pub fn name(&self) -> &JobName {
        &self.terms.name
    }

    /// The longest that the whole job may take.
    pub fn deadline(&self) -> Option<Millis> {
        self.terms.deadline
    }

    /// How many more attempts a task gets when a machine fails it.
    pub fn retries(&self) -> u32 {
        self.terms.retries
    }

    /// What the randomness of every task derives from.
    pub fn seed(&self) -> u64 {
        self.terms.seed
    }

    /// What a machine needs to be given a task.
    pub fn resources(&self) -> Resources {
        self.terms.resources
    }

    /// How the results come to be relied on.
    pub fn reliance(&self) -> &Reliance {
        &self.terms.reliance
    }

    /// Operators whose results need no check, sorted, each once.
    pub fn trusted(&self) -> &[Address] {
        &self.terms.trusted
    }

    /// When two outputs of a task count as the same.
    pub fn comparison(&self) -> &Comparison {
        &self.terms.comparison
    }

    /// What one wrong result is worth to somebody outside of the network, by the requester's word.
    pub fn outside_gain(&self) -> Amount {
        self.terms.outside_gain
    }

    /// The number of map tasks, at least 1.
    pub fn map_count(&self) -> u64 {
        self.numbering.map_count()
    }

    /// The number of all tasks, map and reduce.
    pub fn task_count(&self) -> u64 {
        self.numbering.total()
    }

    /// The bookkeeping of this job before anything ran.
    pub fn frontier(&self) -> Frontier {
        Frontier::new(self.map_count(), self.tree().cloned())
    }

    /// Which outputs each reduce task takes; none for a job without a reduce.
    pub fn tree(&self) -> Option<&ReduceTree> {
        self.numbering.tree()
    }

    /// The task of a number; none where there is no such task.
    pub fn node(&self, number: TaskNumber) -> Option<Node> {
        self.numbering.node(number.0)
    }

    /// A task's number; none where there is no such task.
    pub fn number(&self, node: Node) -> Option<TaskNumber> {
        self.numbering.number(node).map(TaskNumber)
    }

    /// What people call a task; none where there is no such task.
    pub fn label(&self, node: Node) -> Option<String> {
        self.numbering.number(node)?;
        match node {
            Node::Map(index) => Some(self.map.source.item(index).label()),
            Node::Reduce { level, index } => Some(self.reduce.as_ref()?.tasks.label(level, index)),
        }
    }

    /// The file that a task is for, seen from the job file; none where tasks are not of whole files.
    pub fn file(&self, node: Node) -> Option<&GuestPath> {
        match node {
            Node::Map(index) => self.map.source.file(index),
            Node::Reduce { .. } => None,
        }
    }

    /// What a machine must have for a task of a stage; none for the reduce of a job without one.
    pub fn needs(&self, stage: Stage) -> Option<Needs> {
        let StageProgram { kind, floats, limits, .. } = *self.stage(stage)?;
        // A map task's limit is never above what the job asks for.
        let memory = self.terms.resources.memory.max(limits.memory);
        Some(Needs { kind, floats, memory })
    }

    /// What a task of a stage may use; none for the reduce of a job without one.
    pub fn limits(&self, stage: Stage) -> Option<&Limits> {
        self.stage(stage).map(|stage| &stage.limits)
    }

    /// The program of a stage; none without a reduce.
    pub fn program(&self, stage: Stage) -> Option<BlobRef> {
        self.stage(stage).map(|stage| stage.program)
    }

    /// The blobs that all tasks of a stage read, each once: the program, then the shared inputs.
    pub fn shared(&self, stage: Stage) -> Vec<BlobRef> {
        let (stage, command) = match (stage, &self.reduce) {
            (Stage::Map, _) => (&self.program, &self.map.command),
            (Stage::Reduce, Some(reduce)) => (&reduce.program, &reduce.tasks.command),
            (Stage::Reduce, None) => return Vec::new(),
        };
        let program = stage.program;
        let inputs = command.inputs.iter();
        let mut rest: Vec<_> = inputs.map(|(_, blob)| *blob).filter(|blob| *blob != program).collect();
        rest.sort_unstable();
        rest.dedup();
        [vec![program], rest].concat()
    }

    /// Every blob that the job names, each once, sorted: a file that is cut, and not its pieces. No two of them have the
    /// same id.
    pub fn blobs(&self) -> Vec<BlobRef> {
        let reduce = self.reduce.as_ref().map(|reduce| (&reduce.program, &reduce.tasks.command));
        let stages = [Some((&self.program, &self.map.command)), reduce].into_iter().flatten();
        blobs(&self.terms, stages, &self.map.source)
    }

    /// The bytes of all map tasks' own inputs together. What pieces share counts for each of them.
    pub fn input_bytes(&self) -> u64 {
        own_contents(&self.map.source).map(|content| content.len).fold(0, u64::saturating_add)
    }

    /// The bytes of the inputs that each task of a stage reads beside its own, as often as it names them.
    pub fn common_input_bytes(&self, stage: Stage) -> u64 {
        let command = match stage {
            Stage::Map => Some(&self.map.command),
            Stage::Reduce => self.reduce.as_ref().map(|reduce| &reduce.tasks.command),
        };
        let inputs = command.into_iter().flat_map(|command| &command.inputs);
        inputs.map(|(_, blob)| blob.len).fold(0, u64::saturating_add)
    }

    /// The fewest and the most bytes that a map task reads, the common ones and its own. It takes as long as there are
    /// tasks.
    pub fn map_input_bytes(&self) -> (u64, u64) {
        let common = self.common_input_bytes(Stage::Map);
        let own = || own_contents(&self.map.source).map(|content| content.len);
        let (least, most) = (own().min().unwrap_or(0), own().max().unwrap_or(0));
        (common.saturating_add(least), common.saturating_add(most))
    }

    /// A map task.
    ///
    /// # Panics
    /// When `index` is not below [`Self::map_count`].
    pub fn map_task(&self, index: u64) -> BoundTask {
        self.bind(&self.program, self.map.task(index))
    }

    /// A reduce task over the outputs of its children in the [tree](Self::tree), in their order. It finds
    /// them as [`crate::ReducePlan::task`] says.
    ///
    /// # Errors
    /// [`ReduceTaskError`] when the job has no such reduce task, when it takes another number of parts, and
    /// when the parts' files are not as an archive has them, too many, or their paths become too long.
    pub fn reduce_task(&self, node: Node, parts: &[PartBlob]) -> Result<BoundTask, ReduceTaskError> {
        let (level, index) = match node {
            Node::Map(index) => return Err(ReduceTaskError::MapTask { index }),
            Node::Reduce { level, index } => (level, index),
        };
        let reduce = self.reduce.as_ref().ok_or(ReduceTaskError::NoSuchTask { level, index })?;
        reduce.tasks.check(level, index, parts.len())?;
        let mut bytes = list_bytes(reduce.tasks.command.inputs.iter().map(|(path, _)| path.as_str().len()));
        for (part, blob) in parts.iter().enumerate() {
            blob.check(part)?;
            let directory = part_directory(part, parts.len()).len() + 1;
            let paths = blob.files.iter().map(|file| directory + file.path.as_str().len());
            bytes = bytes.saturating_add(list_bytes(paths));
        }
        if bytes > Self::MAX_TASK_INPUT_BYTES {
            return Err(ReduceTaskError::TooLarge { found: bytes, most: Self::MAX_TASK_INPUT_BYTES });
        }
        let planned = reduce.tasks.task(level, index, parts.iter().map(PartBlob::inputs))?;
        Ok(self.bind(&reduce.program, planned))
    }

    fn stage(&self, stage: Stage) -> Option<&StageProgram> {
        match stage {
            Stage::Map => Some(&self.program),
            Stage::Reduce => self.reduce.as_ref().map(|reduce| &reduce.program),
        }
    }

    fn bind<C: Into<BlobInput>>(&self, stage: &StageProgram, planned: PlannedTask<C>) -> BoundTask {
        let mut inputs = Vec::with_capacity(planned.inputs.len());
        let mut sources = Vec::with_capacity(planned.inputs.len());
        for (path, input) in planned.inputs {
            let BlobInput { content, source } = input.into();
            inputs.push(InputSpec { path, content: content.id, len: content.len });
            sources.push(source);
        }
        let mut args = Vec::with_capacity(1 + planned.args.len());
        args.push(planned.arg0);
        args.extend(planned.args);
        let spec = TaskSpec {
            kind: stage.kind,
            program: stage.program.id,
            floats: stage.floats,
            args,
            env: planned.env,
            inputs,
            limits: stage.limits,
            seed: self.terms.seed,
        };
        BoundTask { label: planned.label, spec, sources }
    }
}

/// What inputs whose paths have these lengths take in a task's list.
fn list_bytes(paths: impl Iterator<Item = usize>) -> u64 {
    paths.map(|len| INPUT_BYTES + len as u64).fold(0, u64::saturating_add)
}

/// The contents of the map tasks' own inputs, as often as they occur: whole files and pieces, by hash and length.
fn own_contents(source: &Source<BlobRef, BlobPieces>) -> impl Iterator<Item = BlobRef> {
    let (files, cut) = files_of(source);
    let pieces = cut.iter().flat_map(|file| file.pieces.inputs().map(|input| input.content));
    files.iter().map(|file| file.content).chain(pieces)
}

/// The files that the map tasks' own inputs are, and those that they are pieces of.
fn files_of(source: &Source<BlobRef, BlobPieces>) -> (&[InputFile<BlobRef>], &[CutFile<BlobPieces>]) {
    match source {
        Source::Files(files) => (files, &[]),
        Source::Pieces(files) => (&[], files),
        Source::One | Source::Range(_) | Source::Matrix(_) => (&[], &[]),
    }
}

/// All blobs of these stages and of the map's inputs, each once, sorted.
fn blobs<'a>(
    terms: &Terms,
    stages: impl Iterator<Item = (&'a StageProgram, &'a Command<BlobRef>)>,
    source: &Source<BlobRef, BlobPieces>,
) -> Vec<BlobRef> {
    let (files, cut) = files_of(source);
    let mut all: Vec<_> = files.iter().map(|file| file.content).collect();
    all.extend(cut.iter().map(|file| file.pieces.file));
    for (program, command) in stages {
        all.push(program.program);
        all.extend(command.inputs.iter().map(|(_, blob)| *blob));
    }
    if let Comparison::Program(program) = terms.comparison {
        all.push(program);
    }
    all.sort_unstable();
    all.dedup();
    all
}
