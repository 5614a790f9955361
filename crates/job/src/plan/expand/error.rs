//! What keeps a job file that is right in itself from running here.

use std::{error::Error, fmt, io, path::PathBuf};

use tidemill_types::{GuestPath, PathError, causes};

use crate::{MAX_FAN_IN, MAX_TASKS, SplitError, plan::unpack::UnpackError};

/// The most that are kept: nobody reads more before correcting some.
const MOST_KEPT: usize = 100;

/// All that keeps a job from running here, in the order of the job file's sections. There is always one.
#[derive(Default, Debug)]
pub struct ExpandErrors {
    kept: Vec<ExpandError>,
    omitted: usize,
}

/// Why a job file that is right in itself cannot be run here.
#[derive(Debug, thiserror::Error)]
pub enum ExpandError {
    /// The directory of the job file cannot be found.
    #[error("the directory {} cannot be found", dir.display())]
    Directory {
        /// The directory.
        dir: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A file that the job names is not there or cannot be read.
    #[error("`{key}`: {} cannot be read", path.display())]
    Unreadable {
        /// The key of the job file.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Nobody here knows a model of this name or hash.
    #[error(
        "`program.model`: no model of this machine has the name or hash {model}; give the path of its file, or add it with `tidemill models add`"
    )]
    NoModel {
        /// The name or the hash.
        model: String,
    },
    /// What the job names is elsewhere than beside the job file, where it has to be.
    #[error(
        "`{key}`: {} leads out of the job's directory; bring the file, and name it by its path beside the job file",
        path.display()
    )]
    Outside {
        /// The key of the job file.
        key: &'static str,
        /// The path or pattern.
        path: PathBuf,
    },
    /// What the job names is a directory or something stranger.
    #[error("`{key}`: {} is not a file", path.display())]
    NotFile {
        /// The key of the job file.
        key: &'static str,
        /// What is no file.
        path: PathBuf,
    },
    /// A pattern matches no file.
    #[error("`{key}`: no file matches {pattern:?} in {}", dir.display())]
    NoMatch {
        /// The key of the job file.
        key: &'static str,
        /// The pattern.
        pattern: String,
        /// The directory of the job file.
        dir: PathBuf,
    },
    /// A path is not UTF-8 text, which patterns and a task's paths are.
    #[error("`{key}`: the path {} is not UTF-8; rename it", path.display())]
    NotText {
        /// The key of the job file.
        key: &'static str,
        /// The path.
        path: PathBuf,
    },
    /// A file's name is not one that a task can see.
    #[error("`{key}`: a task cannot see {} under its name; rename it", path.display())]
    Name {
        /// The key of the job file.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with the name.
        #[source]
        source: PathError,
    },
    /// A task's own input and one that all tasks share have the same path.
    #[error("`{key}`: a task sees {} as `/in/{guest}`, where [inputs] puts something else", path.display())]
    Clash {
        /// The key of the job file.
        key: &'static str,
        /// The task's own input.
        path: PathBuf,
        /// The path that both have.
        guest: GuestPath,
    },
    /// A file cannot be cut.
    #[error("`tasks.split`: {} cannot be cut", path.display())]
    Split {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: SplitError,
    },
    /// A compressed file cannot be unpacked.
    #[error("`tasks.split`: {} cannot be unpacked", path.display())]
    Unpack {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: UnpackError,
    },
    /// There is nothing in the files to cut.
    #[error("`tasks.split.input`: the files are empty, so there is no task")]
    NothingToSplit,
    /// There would be more tasks than allowed.
    #[error("`{key}` gives more than {MAX_TASKS} tasks")]
    TooManyTasks {
        /// The key of the job file.
        key: &'static str,
    },
    /// One reduce task would take more parts than allowed.
    #[error(
        "one reduce task would take {parts} parts, and {MAX_FAN_IN} is the most; set `fan_in` in [reduce]"
    )]
    TooManyParts {
        /// The number of map tasks.
        parts: u64,
    },
}

impl ExpandErrors {
    /// How many there are.
    pub fn count(&self) -> usize {
        self.kept.len() + self.omitted
    }

    /// Whether this machine lacks something, and the job file and its inputs may be right.
    pub fn are_of_this_machine(&self) -> bool {
        let is =
            |error: &ExpandError| matches!(error, ExpandError::Unpack { source: UnpackError::Write(_), .. });
        self.kept.iter().any(is)
    }

    /// Adds one.
    pub(super) fn push(&mut self, error: ExpandError) {
        if self.kept.len() < MOST_KEPT {
            self.kept.push(error);
        } else {
            self.omitted += 1;
        }
    }
}

impl From<ExpandError> for ExpandErrors {
    fn from(error: ExpandError) -> Self {
        Self { kept: vec![error], omitted: 0 }
    }
}

impl Error for ExpandErrors {}

impl fmt::Display for ExpandErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.kept.iter().map(|error| causes(error)).collect();
        f.write_str(&lines.join("\n"))?;
        match self.omitted {
            0 => Ok(()),
            omitted => write!(f, "\nand {omitted} more"),
        }
    }
}
