//! Signed results that contradict each other.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Evidence that was written to files. `tidemill evidence JOB TASK` prints it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct WrittenEvidence {
    /// The job's id.
    pub job_id: String,
    /// The task's number.
    pub task: u64,
    /// The files.
    pub evidence: Vec<EvidenceFile>,
}

/// One file of evidence.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct EvidenceFile {
    /// The file. Bytes of the path that are not UTF-8 are replaced.
    pub file: String,
    /// The account of the contradicting result.
    pub operator: String,
    /// When the contradiction was found, in milliseconds since 1970.
    pub at_ms: u64,
    /// Until when the coordinator keeps it, in milliseconds since 1970.
    pub kept_until_ms: u64,
    /// What the result contradicts.
    pub finding: Finding,
    /// The contradicting result.
    pub accused: EvidenceSide,
    /// The accepted result.
    pub accepted: EvidenceSide,
    /// The same for people.
    pub words: String,
}

/// What a result contradicts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Finding {
    /// A verdict.
    Verdict,
    /// The answer of a known-answer task.
    KnownAnswer,
}

impl From<tidemill_types::Finding> for Finding {
    fn from(finding: tidemill_types::Finding) -> Self {
        match finding {
            tidemill_types::Finding::Verdict => Self::Verdict,
            tidemill_types::Finding::KnownAnswer => Self::KnownAnswer,
        }
    }
}

/// One of two results that contradict each other.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct EvidenceSide {
    /// The lease that it is of.
    pub lease: u64,
    /// The node that it came from.
    pub node: String,
    /// The hash of its output; null where the attempt failed.
    pub output: Option<String>,
}

/// A file of evidence that is valid. `tidemill evidence check` prints it; of a file that is not it prints nothing.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct CheckedEvidence {
    /// Always true.
    pub valid: bool,
    /// The job's id.
    pub job_id: String,
    /// The task's number.
    pub task: u64,
    /// The node of the contradicting result.
    pub node: String,
    /// The account that signed it.
    pub result_key: String,
    /// The node of the accepted result.
    pub accepted_node: String,
    /// The account that signed that.
    pub accepted_result_key: String,
    /// The same for people.
    pub words: String,
}
