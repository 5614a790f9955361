//! Tasks of jobs.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Usage;

/// A task. `tidemill status JOB --tasks` lists them.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Task {
    /// Its number.
    pub task: u64,
    /// What people call it.
    pub label: String,
    /// How far it is.
    pub phase: TaskPhase,
    /// Attempts that came to nothing.
    pub failed_attempts: Vec<FailedAttempt>,
    /// The nodes that have it, of a task that is leased.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nodes: Option<Vec<String>>,
    /// The node whose result was accepted, of a task that is done; so are the fields below.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// The account that result is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operator: Option<String>,
    /// The hash of its specification.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spec: Option<String>,
    /// Its output.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<OutputBlob>,
    /// What it used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    /// How long it ran there, in microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wall_us: Option<u64>,
}

/// How far a task is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TaskPhase {
    /// It waits for a provider, or for its parts.
    Waiting,
    /// Providers have it.
    Leased,
    /// Its result is accepted.
    Done,
}

impl TaskPhase {
    /// The word for it, as in JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Leased => "leased",
            Self::Done => "done",
        }
    }
}

/// An attempt that came to nothing.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct FailedAttempt {
    /// The node that made it.
    pub node: String,
    /// When it ended, in milliseconds since 1970.
    pub at_ms: u64,
    /// How it failed.
    pub message: String,
}

/// The output of a task as a blob.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct OutputBlob {
    /// Its hash.
    pub id: String,
    /// Its length in bytes.
    pub bytes: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_of_json() {
        for phase in [TaskPhase::Waiting, TaskPhase::Leased, TaskPhase::Done] {
            assert_eq!(serde_json::to_value(phase).expect("a word"), phase.word());
        }
    }

    #[test]
    fn a_task_that_waits_says_nothing_of_results() {
        let task = Task {
            task: 3,
            label: "tasks/3".to_owned(),
            phase: TaskPhase::Waiting,
            failed_attempts: Vec::new(),
            nodes: None,
            node: None,
            operator: None,
            spec: None,
            output: None,
            usage: None,
            wall_us: None,
        };
        let text = serde_json::to_string(&task).expect("it is plain data");
        assert_eq!(text, r#"{"task":3,"label":"tasks/3","phase":"waiting","failed_attempts":[]}"#);
    }
}
