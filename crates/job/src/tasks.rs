//! The tasks of a job on demand, whatever holds the bytes of their inputs: files of this host (a
//! [`crate::Plan`]) or blobs (a [`crate::JobSpec`]).

pub(crate) mod source;

use std::borrow::Cow;

use tidemill_types::{Content, GuestPath, PathError};

use crate::{
    Node, ReduceTree,
    template::{Placeholder, Template},
};
use source::{Cuts, Source};

/// What one task is: all but the program's hash and the limits.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PlannedTask<C = Content> {
    /// What people call it, like `value 7`, `reads.fq` or `part 3 of x.fa`.
    pub label: String,
    /// The program's own name, which it finds before its arguments.
    pub arg0: String,
    /// The arguments, without the program's own name.
    pub args: Vec<String>,
    /// Environment variables, sorted by name.
    pub env: Vec<(String, String)>,
    /// The files below `/in`, sorted by path.
    pub inputs: Vec<(GuestPath, C)>,
}

/// The output of a task that a reduce task takes as one of its parts.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PartOutput<C = Content> {
    /// The files, in any order, each path once.
    pub files: Vec<(GuestPath, C)>,
}

/// Why there is no such reduce task.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ReduceTaskError {
    /// It is a task of the map.
    #[error("task {index} of the map is no reduce task")]
    MapTask {
        /// Its index.
        index: u64,
    },
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
    /// A part's files are not sorted, or one of them occurs twice.
    #[error("the files of part {part} are out of order at {path}")]
    Order {
        /// The part's place within the reduce task.
        part: usize,
        /// The file's path there.
        path: GuestPath,
    },
    /// A part's file does not lie within the part's archive.
    #[error("the file {path} of part {part} is not inside of the part's archive")]
    Outside {
        /// The part's place within the reduce task.
        part: usize,
        /// The file's path there.
        path: GuestPath,
    },
    /// The parts have too many files.
    #[error("the list of the reduce task's inputs takes {found} bytes, and {most} is the most")]
    TooLarge {
        /// The length of the list.
        found: u64,
        /// The most that is allowed.
        most: u64,
    },
}

/// What a program is started with, before the placeholders are filled in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Command<C> {
    /// The program's own name.
    pub(crate) arg0: String,
    pub(crate) args: Vec<Template>,
    pub(crate) env: Vec<(String, Template)>,
    /// The files that all tasks see, sorted by path.
    pub(crate) inputs: Vec<(GuestPath, C)>,
}

/// The tasks of a map.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct MapTasks<C, P> {
    pub(crate) command: Command<C>,
    pub(crate) source: Source<C, P>,
}

/// The tasks of a reduce.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct ReduceTasks<C> {
    pub(crate) command: Command<C>,
    pub(crate) tree: ReduceTree,
}

/// The digits of a part's directory, unless there are more parts: so that the parts' names sort as the
/// parts do.
const PART_DIGITS: usize = 6;

impl<C: Clone, P: Cuts> MapTasks<C, P> {
    /// The task at a place below the source's count.
    pub(crate) fn task(&self, index: u64) -> PlannedTask<P::Piece>
    where
        P::Piece: From<C>,
    {
        let count = self.source.count();
        assert!(index < count, "map task {index} of {count}");
        let item = self.source.item(index);
        let value = |placeholder| match placeholder {
            Placeholder::Index => Cow::Owned(index.to_string()),
            Placeholder::Count => Cow::Owned(count.to_string()),
            own => item.value(own),
        };
        let (args, env) = self.command.fill(value);
        let inputs = self.command.inputs_with(item.input());
        PlannedTask { label: item.label(), arg0: self.command.arg0.clone(), args, env, inputs }
    }
}

impl<C: Clone> ReduceTasks<C> {
    /// Whether a reduce task takes so many parts.
    pub(crate) fn check(&self, level: u32, index: u64, parts: usize) -> Result<(), ReduceTaskError> {
        let node = Node::Reduce { level, index };
        if !self.tree.contains(node) {
            return Err(ReduceTaskError::NoSuchTask { level, index });
        }
        let expected = self.tree.children(node).len();
        if parts != expected {
            return Err(ReduceTaskError::PartCount { expected, found: parts });
        }
        Ok(())
    }

    /// The task at a place of the tree, over the outputs of its children in their order.
    pub(crate) fn task<D: From<C>>(
        &self,
        level: u32,
        index: u64,
        parts: impl ExactSizeIterator<Item = impl IntoIterator<Item = (GuestPath, D)>>,
    ) -> Result<PlannedTask<D>, ReduceTaskError> {
        let count = parts.len();
        self.check(level, index, count)?;
        let is_last = Node::Reduce { level, index } == self.tree.root();
        let value = |placeholder| match placeholder {
            Placeholder::Parts => Cow::Borrowed("/in/parts"),
            Placeholder::Index => Cow::Owned(index.to_string()),
            Placeholder::Level => Cow::Owned(level.to_string()),
            Placeholder::Last => Cow::Owned(is_last.to_string()),
            Placeholder::Count => Cow::Owned(count.to_string()),
            // Whoever made the templates allows no other placeholder in a reduce.
            _ => Cow::Borrowed(""),
        };
        let (args, env) = self.command.fill(value);
        let mut of_parts = Vec::new();
        for (part, files) in parts.enumerate() {
            let directory = part_directory(part, count);
            for (path, content) in files {
                let path =
                    path.within(&directory).map_err(|source| ReduceTaskError::Path { part, source })?;
                of_parts.push((path, content));
            }
        }
        let inputs = self.command.inputs_with(of_parts);
        let arg0 = self.command.arg0.clone();
        Ok(PlannedTask { label: self.label(level, index), arg0, args, env, inputs })
    }

    /// What people call a task of the tree.
    pub(crate) fn label(&self, level: u32, index: u64) -> String {
        match self.tree.levels() {
            1 => "reduce".to_owned(),
            _ if Node::Reduce { level, index } == self.tree.root() => "last reduce".to_owned(),
            _ => format!("reduce {} of {}, level {level}", index + 1, self.tree.width(level)),
        }
    }
}

/// The directory below `/in` of one of so many parts.
pub(crate) fn part_directory(part: usize, count: usize) -> String {
    let digits = PART_DIGITS.max(count.saturating_sub(1).to_string().len());
    format!("parts/{part:0digits$}")
}

impl<C: Clone> Command<C> {
    fn fill<'v>(&self, value: impl Fn(Placeholder) -> Cow<'v, str>) -> (Vec<String>, Vec<(String, String)>) {
        let args = self.args.iter().map(|template| template.render(&value)).collect();
        let env = self.env.iter().map(|(name, template)| (name.clone(), template.render(&value))).collect();
        (args, env)
    }

    fn inputs_with<D: From<C>>(&self, own: impl IntoIterator<Item = (GuestPath, D)>) -> Vec<(GuestPath, D)> {
        let shared = self.inputs.iter().map(|(path, content)| (path.clone(), D::from(content.clone())));
        let mut inputs: Vec<_> = shared.chain(own).collect();
        inputs.sort_by(|(a, _), (b, _)| a.cmp(b));
        inputs
    }
}
