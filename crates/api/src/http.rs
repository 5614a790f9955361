//! What HTTP answers beside what commands print: lists with cursors, and how long something is.

use std::collections::BTreeMap;

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
    /// What is wrong with a job file, by line; left out where it is not about one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mistakes: Vec<JobFileMistake>,
}

/// Something that is wrong with a job file.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct JobFileMistake {
    /// The line, counted from 1.
    pub line: u64,
    /// The column, counted from 1, in characters.
    pub column: u64,
    /// What was found there.
    pub found: String,
    /// What is allowed there; empty where `found` says it all.
    pub allowed: String,
}

/// A job whose files were brought before.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JobByHashes {
    /// The text of the job file.
    pub job: String,
    /// The hash of each file that it names, by the file's path beside the job file.
    #[serde(default)]
    pub files: BTreeMap<String, String>,
}

/// Bytes that are kept under their hash.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct KeptBlob {
    /// Their BLAKE3 hash.
    pub hash: String,
    /// How many they are.
    pub bytes: u64,
    /// For how many seconds they are kept after their last use; those that a job needs stay with it.
    pub kept_s: u64,
}
