//! Jobs, and what came of them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidemill_types::{Reliance, Weight};

/// A job in a network. `tidemill status`, `cancel`, `remove` and `fetch` print it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Job {
    /// Its id.
    pub job_id: String,
    /// Its name.
    pub job: String,
    /// The node that submitted it.
    pub requester: String,
    /// The escrow that pays for it; left out in a network that is free.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub escrow: Option<String>,
    /// How far it is.
    pub phase: JobPhase,
    /// When it was submitted, in milliseconds since 1970.
    pub submitted_ms: u64,
    /// When it ended, in milliseconds since 1970; left out while it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_ms: Option<u64>,
    /// Its tasks, those of the reduce included.
    pub tasks: u64,
    /// Its map tasks.
    pub map_tasks: u64,
    /// Tasks that are done.
    pub done: u64,
    /// Tasks that providers have.
    pub running: u64,
    /// Attempts that came to nothing.
    pub lost_attempts: u64,
    /// What accepted results used together.
    pub usage: Usage,
    /// What came beside these and has no verdict.
    pub unjudged: Unjudged,
    /// Who did what.
    pub providers: Vec<Contribution>,
    /// How the results came to be relied on.
    pub reliability: Reliability,
    /// Why nothing runs, where nothing does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stuck: Option<String>,
    /// The failure that ended it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<TaskFailure>,
    /// The tasks without a verdict, of a job that ended undecided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub undecided: Option<Undecided>,
    /// Its tasks, with `status --tasks`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task_list: Option<Vec<crate::Task>>,
    /// Where its output was put, by `fetch`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<Output>,
}

/// How far a job is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum JobPhase {
    /// It has not ended.
    Running,
    /// Every task is done.
    Done,
    /// A task failed in a way that every honest machine would see, or too often.
    Failed,
    /// Its requester cancelled it.
    Cancelled,
    /// Its deadline passed.
    Deadline,
    /// The escrow that paid for it ended.
    #[serde(rename = "escrow ended")]
    EscrowEnded,
    /// No verdict was possible on some tasks.
    Undecided,
}

impl JobPhase {
    /// The word for it, as in JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Deadline => "deadline",
            Self::EscrowEnded => "escrow ended",
            Self::Undecided => "undecided",
        }
    }
}

/// What one attempt or a whole job used.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Usage {
    /// Fuel burnt by programs of WebAssembly.
    pub fuel: u64,
    /// Tokens of prompts that models read.
    pub input_tokens: u64,
    /// Those of them that an earlier prompt of the same task begins with as well.
    pub cached_tokens: u64,
    /// Tokens of answers that models wrote.
    pub output_tokens: u64,
    /// The most linear memory that a task held.
    pub memory_peak_bytes: u64,
    /// Read from inputs.
    pub input_read_bytes: u64,
    /// In the files of outputs.
    pub output_bytes: u64,
    /// Written to standard error.
    pub log_bytes: u64,
    /// Calls into the host.
    pub host_calls: u64,
}

impl From<&tidemill_types::Usage> for Usage {
    fn from(usage: &tidemill_types::Usage) -> Self {
        Self {
            fuel: usage.fuel.0,
            input_tokens: usage.tokens.input,
            cached_tokens: usage.tokens.cached,
            output_tokens: usage.tokens.output,
            memory_peak_bytes: usage.memory.0,
            input_read_bytes: usage.read.0,
            output_bytes: usage.output.0,
            log_bytes: usage.log.0,
            host_calls: usage.host_calls,
        }
    }
}

/// Results that have no verdict.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Unjudged {
    /// How many.
    pub results: u64,
    /// How long they ran, in seconds.
    pub busy_s: f64,
    /// The fuel that they burnt.
    pub fuel: u64,
}

/// What one provider did for a job.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Contribution {
    /// Its node.
    pub node: String,
    /// Its name.
    pub name: String,
    /// Tasks whose accepted result is its own.
    pub tasks: u64,
    /// How long these ran, in seconds.
    pub busy_s: f64,
    /// The fuel that they burnt.
    pub fuel: u64,
    /// Its results that have no verdict.
    pub unjudged: Unjudged,
    /// Its attempts that came to nothing.
    pub lost_attempts: u64,
    /// Its results that checked another provider's.
    pub checks: u64,
    /// Its results that contradict an accepted one.
    pub contradicted: u64,
}

/// An output that was put into a directory.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Output {
    /// The output's hash.
    pub id: String,
    /// Where it is. Bytes of the path that are not UTF-8 are replaced.
    pub directory: String,
    /// Its files.
    pub files: Vec<OutputFile>,
}

/// One file of an output.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct OutputFile {
    /// The path below the directory.
    pub path: String,
    /// The length in bytes.
    pub bytes: u64,
}

/// Why an attempt failed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Failure {
    /// What happened.
    pub message: String,
    /// What to do about it.
    pub hint: String,
    /// Whether every honest machine would fail in the same way.
    pub evidence: bool,
    /// The functions on the stack of a program that trapped, the innermost first.
    pub backtrace: Vec<String>,
    /// The end of what it wrote to standard error.
    pub log_end: Option<String>,
}

impl From<&tidemill_types::Failure> for Failure {
    fn from(failure: &tidemill_types::Failure) -> Self {
        let backtrace = match failure {
            tidemill_types::Failure::Trap { backtrace, .. } => backtrace.clone(),
            _ => Vec::new(),
        };
        Self {
            message: failure.to_string(),
            hint: failure.hint().to_owned(),
            evidence: failure.weight() == Weight::Evidence,
            backtrace,
            log_end: failure.stderr().map(str::to_owned),
        }
    }
}

/// The failure of a job's task.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct TaskFailure {
    /// What people call the task.
    pub label: String,
    /// How often it was tried.
    pub attempts: u32,
    /// The last failure.
    #[serde(flatten)]
    pub failure: Failure,
}

/// The tasks of a job that ended without a verdict on them.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Undecided {
    /// How many.
    pub tasks: u64,
    /// The number of the first.
    pub first: u64,
    /// What people call the first.
    pub label: String,
}

/// How a job's results came to be relied on.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Reliability {
    /// What the requester asked for.
    pub asked: Asked,
    /// When two outputs count as the same; left out where they must be equal byte for byte.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compared: Option<String>,
    /// Results that came.
    pub results: u64,
    /// Results of known-answer tasks among them.
    pub known: u64,
    /// Results for each task that is done, to the thousandth; left out before one is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redundancy: Option<f64>,
    /// Tasks accepted from trusted machines.
    pub trusted: u64,
    /// Tasks accepted unchecked, on their provider's record.
    pub unchecked: u64,
    /// Tasks accepted because results agree.
    pub agreed: u64,
    /// Tasks accepted without verification, which the job asked for.
    pub unverified: u64,
    /// Tasks that have results and no verdict.
    pub undecided: u64,
}

/// What was asked for, as a job file says it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Asked {
    /// At most one wrong result in so many.
    Assured {
        /// In how many.
        assurance: u32,
    },
    /// Equal results of several operators.
    Replicated {
        /// The most results of a task.
        replicate: u32,
        /// How many of them must be equal.
        quorum: u32,
    },
    /// Neither.
    Word {
        /// Which word.
        assurance: AskedWord,
    },
}

/// Instead of a number of results.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AskedWord {
    /// Only trusted machines get tasks.
    Trusted,
    /// Nothing is checked.
    None,
}

impl From<Reliance> for Asked {
    fn from(reliance: Reliance) -> Self {
        match reliance {
            Reliance::Assured(assurance) => Self::Assured { assurance: assurance.results() },
            Reliance::Replicated { quorum, most } => Self::Replicated { replicate: most, quorum },
            Reliance::Trusted => Self::Word { assurance: AskedWord::Trusted },
            Reliance::Unverified => Self::Word { assurance: AskedWord::None },
        }
    }
}

#[cfg(test)]
mod tests {
    use tidemill_types::Assurance;

    use super::*;

    #[test]
    fn words_are_those_of_json() {
        use JobPhase::{Cancelled, Deadline, Done, EscrowEnded, Failed, Running, Undecided};
        for phase in [Running, Done, Failed, Cancelled, Deadline, EscrowEnded, Undecided] {
            assert_eq!(serde_json::to_value(phase).expect("a word"), phase.word());
        }
    }

    #[test]
    fn what_was_asked_for_reads_as_in_a_job_file() {
        let assured = Reliance::Assured(Assurance::one_in(500).expect("it is in bounds"));
        for (reliance, expected) in [
            (assured, r#"{"assurance":500}"#),
            (Reliance::Replicated { quorum: 2, most: 3 }, r#"{"replicate":3,"quorum":2}"#),
            (Reliance::Trusted, r#"{"assurance":"trusted"}"#),
            (Reliance::Unverified, r#"{"assurance":"none"}"#),
        ] {
            let asked = Asked::from(reliance);
            let text = serde_json::to_string(&asked).expect("it is plain data");
            assert_eq!(text, expected);
            assert_eq!(serde_json::from_str::<Asked>(&text).expect("it reads back"), asked);
        }
    }

    #[test]
    fn a_failure_of_a_task_is_one_flat_object() {
        let failure = Failure {
            message: "it stopped".to_owned(),
            hint: "look".to_owned(),
            evidence: true,
            backtrace: Vec::new(),
            log_end: None,
        };
        let failure = TaskFailure { label: "what=exit".to_owned(), attempts: 2, failure };
        let text = serde_json::to_string(&failure).expect("it is plain data");
        let expected =
            r#"{"label":"what=exit","attempts":2,"message":"it stopped","hint":"look","evidence":true,"#;
        assert_eq!(text, format!(r#"{expected}"backtrace":[],"log_end":null}}"#));
        assert_eq!(serde_json::from_str::<TaskFailure>(&text).expect("it reads back"), failure);
    }
}
