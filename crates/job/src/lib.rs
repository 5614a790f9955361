//! What a requester asks for, and what it comes to.
//!
//! This crate owns the job file ([`JobFile::parse`] with all its [`Mistakes`]), the cutting of large
//! inputs into pieces ([`split`]), the expansion of a job into tasks ([`expand`] to a [`Plan`]), the same job
//! with blobs for files, so that it can travel ([`seal`] to a [`JobSpec`]), the tree of its reduce
//! ([`ReduceTree`]) and the bookkeeping of what may run next ([`Frontier`]). Only [`expand`] touches the
//! file system, and only to read. Running tasks, keeping their outputs and naming them by hash are for
//! others.

mod bounds;
mod file;
mod frontier;
mod mistake;
mod numbering;
mod order;
mod parse;
mod plan;
mod spec;
mod split;
mod tasks;
mod template;
mod tree;

pub use bounds::{MAX_ARG0_BYTES, is_arg0};
pub use file::{
    CompareBy, JobFile, JobName, MAX_FAN_IN, MAX_TASKS, MODEL_ROOM, Matrix, Parameter, Program,
    ProgramSource, RangeTasks, Reduce, Resources, SharedInput, SplitTasks, Tasks,
};
pub use frontier::Frontier;
pub use mistake::{Mistake, Mistakes};
pub use plan::{ExpandError, ExpandErrors, Plan, ReducePlan, UnpackError, expand, expand_within};
pub use spec::{BoundTask, JobSpec, JobSpecError, PartBlob, PartFile, SealError, SingleTask, Wanted, seal};
pub use split::{Compression, Form, Pieces, SplitBy, SplitError, SplitRules, WideText, split};
pub use tasks::{PartOutput, PlannedTask, ReduceTaskError};
pub use template::{Placeholder, Template};
pub use tidemill_types::{BlobRef, BlobSource, ByteRange, Reliance, Stage};
pub use tree::{Node, ReduceTree};
