//! The bounds of what a job may say: the same for a job file and for a job that came over the network.

use std::{collections::BTreeSet, ops::Bound};

use tidemill_types::Millis;

/// The most times that a task may be tried again.
pub(crate) const MAX_RETRIES: u32 = 100;

/// A year: no job is meant to take longer, and a slip of the unit shows.
pub(crate) const MAX_DEADLINE: Millis = Millis(365 * 86_400_000);

/// The most tasks at a time that a job may ask for.
pub(crate) const MAX_PARALLEL: u32 = 1_000_000;

/// The most results that a job may ask of each task.
pub(crate) const MAX_REPLICAS: u32 = 100;

/// The most operators that a job may trust.
pub(crate) const MAX_TRUSTED: usize = 100;

/// The most arguments of a program.
pub(crate) const MAX_ARGS: usize = 1024;

/// The most environment variables of a program.
pub(crate) const MAX_ENV: usize = 1024;

/// The longest argument or value of a variable, and with it the longest name of one.
pub(crate) const MAX_TEXT_BYTES: usize = 32 << 10;

/// The most placeholders of one program's arguments and environment together. What each of them stands
/// for is at most a few KiB, so this bounds what one task's arguments can grow to.
pub(crate) const MAX_PLACEHOLDERS: usize = 1024;

/// The most parameters of a matrix.
pub(crate) const MAX_PARAMETERS: usize = 64;

/// The longest text of one value of a matrix: it is an argument, not data.
pub(crate) const MAX_VALUE_BYTES: usize = 1024;

/// The directory below `/in` in which a reduce finds its parts.
pub(crate) const PARTS: &str = "parts";

/// Whether a matrix's parameter may have this name.
pub(crate) fn is_parameter_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.len() <= 64
        && name.chars().all(allowed)
        && !matches!(name, "index" | "count")
}

/// Whether an environment variable may have this name.
pub(crate) fn is_variable_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= MAX_TEXT_BYTES && !name.contains(['=', '\0'])
}

/// The first of `paths` that is inside of the directory `path`.
pub(crate) fn first_below<'p>(paths: &BTreeSet<&'p str>, path: &str) -> Option<&'p str> {
    let directory = format!("{path}/");
    let from = (Bound::Included(directory.as_str()), Bound::Unbounded);
    paths.range::<str, _>(from).next().filter(|next| next.starts_with(&directory)).copied()
}

/// The name that a program finds before its arguments, unless the job file says another: what a file is called on
/// someone's disk must not change a task.
pub(crate) const PROGRAM_NAME: &str = "program";

/// The longest name of a program, in bytes: as long as a file's may be.
pub const MAX_ARG0_BYTES: usize = 255;

/// Whether a text can be a program's own name. Zero bytes end texts in C.
pub fn is_arg0(text: &str) -> bool {
    !text.is_empty() && text.len() <= MAX_ARG0_BYTES && !text.contains('\0')
}
