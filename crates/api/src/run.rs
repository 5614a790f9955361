//! What `tidemill run`, `exec` and `submit` print, and the small commands around them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidemill_types::Amount;

use crate::{
    Asked, Contribution, Failure, JobPhase, Output, Payment, Prospects, Reliability, TaskFailure, Usage,
    wei::Wei,
};

/// What a run came to. `tidemill run` prints it, however the run ended.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Run {
    /// The job's name.
    pub job: String,
    /// How it ended.
    pub outcome: Outcome,
    /// Its tasks, those of the reduce included.
    pub tasks: u64,
    /// Tasks that are done.
    pub done: u64,
    /// Tasks that an earlier run had done.
    pub reused: u64,
    /// Attempts that came to nothing.
    pub retries: u64,
    /// How many tasks could run at a time.
    pub parallel: u64,
    /// How long it took, in seconds.
    pub wall_s: f64,
    /// How long its tasks ran, in seconds, added up.
    pub busy_s: f64,
    /// What they used.
    pub usage: Usage,
    /// Where the output is, of a job that is done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<Output>,
    /// The failure that ended it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<TaskFailure>,
    /// How the results came to be relied on; left out without a network.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reliability: Option<Reliability>,
    /// The job's id; left out without a network.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job_id: Option<String>,
    /// The network that it ran in; left out without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<Network>,
    /// Who did what; left out without a network.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub providers: Option<Vec<Contribution>>,
    /// What was paid; left out where work is free, and where an escrow was named that stays open.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payment: Option<Payment>,
}

/// How a run ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Every task is done.
    Done,
    /// A task failed for good.
    Failed,
    /// The person stopped it.
    Interrupted,
    /// The job's deadline passed.
    Deadline,
    /// Another command cancelled the job.
    Cancelled,
    /// The escrow that paid for the job ended.
    #[serde(rename = "escrow ended")]
    EscrowEnded,
    /// No verdict was possible on some tasks.
    Undecided,
    /// The job goes on without the command.
    Running,
}

impl From<JobPhase> for Outcome {
    fn from(phase: JobPhase) -> Self {
        match phase {
            JobPhase::Running => Self::Running,
            JobPhase::Done => Self::Done,
            JobPhase::Failed => Self::Failed,
            JobPhase::Cancelled => Self::Cancelled,
            JobPhase::Deadline => Self::Deadline,
            JobPhase::EscrowEnded => Self::EscrowEnded,
            JobPhase::Undecided => Self::Undecided,
        }
    }
}

/// The network that a job ran in.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Network {
    /// The node of its coordinator.
    pub coordinator: String,
    /// Whether the command started it for this job.
    pub embedded: bool,
}

/// What would run. `tidemill run --dry-run` prints it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct DryRun {
    /// The job's name.
    pub job: String,
    /// Always `dry_run`.
    pub outcome: DryRunOutcome,
    /// Its tasks, those of the reduce included.
    pub tasks: u64,
    /// Its map tasks.
    pub map_tasks: u64,
    /// The bytes of all its inputs.
    pub input_bytes: u64,
    /// What `[policy]` says.
    pub policy: Policy,
    /// The first map task.
    pub first_task: FirstTask,
    /// How many tasks would run at a time; left out in a network.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parallel: Option<u64>,
    /// What would come of it in the network that was asked; left out where none was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<Prospects>,
}

/// What tells a dry run from one that ran.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DryRunOutcome {
    /// Nothing ran.
    DryRun,
}

/// What a job file's `[policy]` says.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Policy {
    /// How sure the results must be.
    pub asked: Asked,
    /// When two outputs count as the same.
    pub compared: String,
    /// The most that the job may cost; null without a bound.
    #[schemars(with = "Option<Wei>")]
    pub max_price_wei: Option<Amount>,
    /// What a wrong result is worth to outsiders.
    #[schemars(with = "Wei")]
    pub outside_gain_wei: Amount,
    /// The accounts of operators that the job trusts.
    pub trusted: Vec<String>,
}

/// A job's first map task.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct FirstTask {
    /// What people call it.
    pub label: String,
    /// Its program's arguments.
    pub args: Vec<String>,
}

/// A job that was submitted. `tidemill submit` prints it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Submitted {
    /// Its id.
    pub job_id: String,
    /// Its name.
    pub job: String,
    /// Its tasks, those of the reduce included.
    pub tasks: u64,
    /// Its map tasks.
    pub map_tasks: u64,
    /// The escrow that pays for it; null in a network that is free.
    pub escrow: Option<String>,
}

/// What one run of a program came to. `tidemill exec` prints it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Exec {
    /// How it ended: `done`, `failed` or `interrupted`.
    pub outcome: Outcome,
    /// The hash of the task's specification.
    pub spec: String,
    /// How long it ran, in seconds.
    pub wall_s: f64,
    /// What it used.
    pub usage: Usage,
    /// What it wrote to standard error. Bytes that are not UTF-8 are replaced.
    pub log: String,
    /// Where its output is; left out where it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<Output>,
    /// How it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
}

/// What a task wrote to standard error. `tidemill logs` prints it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Log {
    /// The job's id.
    pub job_id: String,
    /// The task's number.
    pub task: u64,
    /// What is kept of the log. Bytes that are not UTF-8 are replaced.
    pub log: String,
    /// Bytes before that, which were not kept.
    pub omitted_bytes: u64,
}

/// The network that commands use by default. `tidemill join` prints it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RememberedNetwork {
    /// The node of its coordinator; null where none is remembered any more.
    pub coordinator: Option<String>,
}

/// The keys of a home. `tidemill keys` prints it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Keys {
    /// The node that the home is.
    pub node: String,
    /// The account of its result key.
    pub address: String,
    /// The file with the key of the node.
    pub node_key: String,
    /// The file with the result key.
    pub result_key: String,
    /// Whether a key was made just now.
    pub made: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_are_called_as_phases() {
        use JobPhase::{Cancelled, Deadline, Done, EscrowEnded, Failed, Running, Undecided};
        for phase in [Running, Done, Failed, Cancelled, Deadline, EscrowEnded, Undecided] {
            assert_eq!(serde_json::to_value(Outcome::from(phase)).expect("a word"), phase.word());
        }
    }
}
