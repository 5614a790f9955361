//! What HTTP answers beside what commands print: lists with cursors, and how long something is.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Job, Provider, Task};

/// Some jobs, the newest first.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct JobPage {
    /// The jobs.
    pub data: Vec<Job>,
    /// What to ask for as `after`, to go on; null at the end.
    pub next: Option<String>,
}

/// Some tasks of a job, by their numbers.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct TaskPage {
    /// The tasks.
    pub data: Vec<Task>,
    /// What to ask for as `from`, to go on; null at the end.
    pub next: Option<u64>,
}

/// The providers of a network.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ProviderList {
    /// The providers.
    pub data: Vec<Provider>,
}

/// A file of the output of a job.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct OutputEntry {
    /// The task that made it.
    pub task: u64,
    /// Where it is in the output of that task.
    pub path: String,
    /// Its length in bytes.
    pub bytes: u64,
    /// Where it is downloaded from.
    pub url: String,
}

/// The files of the output of a job that is done.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct OutputListing {
    /// The files, up to 10,000.
    pub data: Vec<OutputEntry>,
    /// The first task whose files are not listed here; null where all are. Ask for it as `from`.
    pub next: Option<u64>,
}

/// What is wrong with a request, as RFC 9457 has it (`application/problem+json`).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// `about:blank`: the status says what sort of problem it is.
    #[serde(rename = "type")]
    pub kind: String,
    /// What the status is called.
    pub title: String,
    /// The status.
    pub status: u16,
    /// What is wrong, in a sentence.
    pub detail: String,
}
