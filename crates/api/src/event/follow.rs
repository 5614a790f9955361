//! What `tidemill logs JOB TASK --follow` tells.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A line of `tidemill logs --follow`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum FollowLine {
    /// No attempt is under way.
    Waiting,
    /// An attempt is followed from now on, and what came of an earlier one is void.
    Attempt {
        /// Its number among those that were followed, from 1.
        attempt: u32,
        /// The provider that runs it.
        node: String,
        /// Its lease.
        lease: u64,
    },
    /// A piece of what it writes.
    Chunk {
        /// Always true: nobody has checked it.
        provisional: bool,
        /// Of which attempt.
        attempt: u32,
        /// The number of the piece.
        number: u64,
        /// Where it begins in all that the attempt writes, in bytes.
        offset: u64,
        /// Bytes that were dropped between the piece before and this one.
        dropped_bytes: u64,
        /// The piece; bytes that are not UTF-8 are replaced.
        text: String,
    },
    /// The connection to the coordinator was lost.
    Lost,
    /// The accepted result.
    Result {
        /// Always false.
        provisional: bool,
        /// The hash of the task's output.
        output: String,
        /// The length of its standard output; null where it wrote nothing there.
        stdout_bytes: Option<u64>,
        /// Its standard output; null where it is longer than a MiB.
        text: Option<String>,
    },
}
