//! The vocabulary that every part of Tidemill shares.
//!
//! This crate owns the identifiers, the units, the limits, the specification of a task, what became of
//! it, and the format of what it leaves behind. It does no I/O and knows no clock: whatever is here
//! means the same on every machine.

mod archive;
mod content;
mod id;
mod limits;
mod outcome;
mod path;
mod task;
mod text;
mod units;

pub use archive::{Archive, ArchiveBuilder, ArchiveEntry, ArchiveError, MAX_INDEX_BYTES};
pub use content::{Content, Segment};
pub use id::{BlobId, IdError, SpecHash};
pub use limits::{LimitError, Limits};
pub use outcome::{Failure, Outcome, TrapKind, Usage, Weight};
pub use path::{GuestPath, PathError};
pub use task::{EXEC_VERSION, FloatClass, InputSpec, ProgramKind, Seed, TaskSpec};
pub use text::{is_steering, lines, one_line};
pub use units::{ByteSize, Fuel, Millis, UnitError};
