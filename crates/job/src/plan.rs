//! A job whose inputs are known: how many tasks there are, and each of them on demand.
//!
//! A plan holds what cannot be computed (the files that matched, where they are cut), not the tasks:
//! a million tasks of a range need no memory.

mod expand;
mod source;

use std::{borrow::Cow, path::Path, path::PathBuf};

use tidemill_types::{ByteSize, Content, GuestPath, Limits, PathError};

pub use expand::{ExpandError, expand};

use crate::{
    Frontier, Node, ReduceTree,
    template::{Placeholder, Template},
};
use source::Source;

/// A job's tasks. [`expand`] makes it.
#[derive(Clone, Debug)]
pub struct Plan {
    command: Command,
    source: Source,
    reduce: Option<ReducePlan>,
}

/// The tasks of a job's reduce.
#[derive(Clone, Debug)]
pub struct ReducePlan {
    command: Command,
    tree: ReduceTree,
    limits: Limits,
    memory: ByteSize,
}

/// What one task is: all but the program's hash and the limits.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PlannedTask {
    /// What people call it, like `value 7`, `reads.fq` or `part 3 of x.fa`.
    pub label: String,
    /// The arguments, without the program's own name.
    pub args: Vec<String>,
    /// Environment variables, sorted by name.
    pub env: Vec<(String, String)>,
    /// The files below `/in`, sorted by path.
    pub inputs: Vec<(GuestPath, Content)>,
}

/// The output of a task that a reduce task takes as one of its parts.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PartOutput {
    /// The files, in any order, each path once.
    pub files: Vec<(GuestPath, Content)>,
}

/// Why there is no such reduce task.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ReduceTaskError {
    /// The job's reduce has no task there.
    #[error("the reduce has no task {index} on level {level}")]
    NoSuchTask {
        /// The level.
        level: u32,
        /// The place within it.
        index: u64,
    },
    /// It takes another number of parts.
    #[error("the reduce task takes {expected} parts and was given {found}")]
    PartCount {
        /// The number of its parts.
        expected: usize,
        /// The number that was given.
        found: usize,
    },
    /// A part's file would be too deep for a path.
    #[error("a file of part {part} has too long a path to be an input")]
    Path {
        /// The part's place within the reduce task.
        part: usize,
        /// What is wrong with the path.
        #[source]
        source: PathError,
    },
}

/// What a program is started with.
#[derive(Clone, Debug)]
struct Command {
    program: PathBuf,
    args: Vec<Template>,
    env: Vec<(String, Template)>,
    /// The files that all tasks see, sorted by path.
    inputs: Vec<(GuestPath, Content)>,
}

/// The digits of a part's directory, unless there are more parts: so that the parts' names sort as the
/// parts do.
const PART_DIGITS: usize = 6;

impl Plan {
    /// The number of map tasks, at least 1.
    pub fn map_count(&self) -> u64 {
        self.source.count()
    }

    /// The number of all tasks, map and reduce.
    pub fn task_count(&self) -> u64 {
        self.map_count() + self.reduce.as_ref().map_or(0, |reduce| reduce.tree.task_count())
    }

    /// The map's program, as an absolute path.
    pub fn map_program(&self) -> &Path {
        &self.command.program
    }

    /// The reduce, if the job has one.
    pub fn reduce(&self) -> Option<&ReducePlan> {
        self.reduce.as_ref()
    }

    /// The bytes of all map tasks' own inputs together. Files that all tasks share are not counted.
    pub fn total_input_bytes(&self) -> u64 {
        self.source.total_bytes()
    }

    /// The bookkeeping of this job before anything ran.
    pub fn frontier(&self) -> Frontier {
        Frontier::new(self.map_count(), self.reduce.as_ref().map(|reduce| reduce.tree.clone()))
    }

    /// A map task.
    ///
    /// # Panics
    /// When `index` is not below [`Self::map_count`].
    pub fn map_task(&self, index: u64) -> PlannedTask {
        let count = self.map_count();
        assert!(index < count, "map task {index} of {count}");
        let item = self.source.item(index);
        let value = |placeholder| match placeholder {
            Placeholder::Index => Cow::Owned(index.to_string()),
            Placeholder::Count => Cow::Owned(count.to_string()),
            own => item.value(own),
        };
        let (args, env) = self.command.fill(value);
        let inputs = self.command.inputs_with(item.input());
        PlannedTask { label: item.label(), args, env, inputs }
    }
}

impl ReducePlan {
    /// The reduce's program, as an absolute path.
    pub fn program(&self) -> &Path {
        &self.command.program
    }

    /// Which outputs each reduce task takes.
    pub fn tree(&self) -> &ReduceTree {
        &self.tree
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
        let node = Node::Reduce { level, index };
        if !self.tree.contains(node) {
            return Err(ReduceTaskError::NoSuchTask { level, index });
        }
        let expected = self.tree.children(node).len();
        if parts.len() != expected {
            return Err(ReduceTaskError::PartCount { expected, found: parts.len() });
        }
        let is_last = node == self.tree.root();
        let value = |placeholder| match placeholder {
            Placeholder::Parts => Cow::Borrowed("/in/parts"),
            Placeholder::Index => Cow::Owned(index.to_string()),
            Placeholder::Level => Cow::Owned(level.to_string()),
            Placeholder::Last => Cow::Owned(is_last.to_string()),
            Placeholder::Count => Cow::Owned(parts.len().to_string()),
            // The parser allows no other placeholder in a reduce.
            _ => Cow::Borrowed(""),
        };
        let (args, env) = self.command.fill(value);

        let digits = PART_DIGITS.max((parts.len() - 1).to_string().len());
        let mut of_parts = Vec::new();
        for (part, output) in parts.iter().enumerate() {
            let directory = format!("parts/{part:0digits$}");
            for (path, content) in &output.files {
                let path =
                    path.within(&directory).map_err(|source| ReduceTaskError::Path { part, source })?;
                of_parts.push((path, content.clone()));
            }
        }
        let label = match self.tree.levels() {
            1 => "reduce".to_owned(),
            _ if is_last => "last reduce".to_owned(),
            _ => format!("reduce {} of {}, level {level}", index + 1, self.tree.width(level)),
        };
        Ok(PlannedTask { label, args, env, inputs: self.command.inputs_with(of_parts) })
    }
}

impl Command {
    fn fill<'v>(&self, value: impl Fn(Placeholder) -> Cow<'v, str>) -> (Vec<String>, Vec<(String, String)>) {
        let args = self.args.iter().map(|template| template.render(&value)).collect();
        let env = self.env.iter().map(|(name, template)| (name.clone(), template.render(&value))).collect();
        (args, env)
    }

    fn inputs_with(&self, own: impl IntoIterator<Item = (GuestPath, Content)>) -> Vec<(GuestPath, Content)> {
        let mut inputs: Vec<_> = self.inputs.iter().cloned().chain(own).collect();
        inputs.sort_by(|(a, _), (b, _)| a.cmp(b));
        inputs
    }
}
