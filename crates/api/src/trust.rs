//! Why tasks are where they are, and how far results are believed.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidemill_types::Amount;

use crate::{Reliability, wei::Wei};

/// What a coordinator knows of an operator's results. `tidemill reputation` prints it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Reputation {
    /// The operator's account.
    pub operator: String,
    /// Whether its results need no check here.
    pub trusted: bool,
    /// What it would lose by a wrong result; null where stake says nothing.
    pub stake: Option<Stake>,
    /// For each kind of programs and class of hardware; empty of a newcomer.
    pub records: Vec<Record>,
}

/// What stands behind an operator's results.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Stake {
    /// What it would lose of its own bond by one fault.
    #[schemars(with = "Wei")]
    pub slashable_wei: Amount,
    /// What it could be paid for the leases that it has.
    #[schemars(with = "Wei")]
    pub at_risk_wei: Amount,
    /// While no more than this is at risk, cheating loses money even where results are checked least.
    #[schemars(with = "Wei")]
    pub deterred_wei: Amount,
}

/// What is known of an operator's results of one kind on one class of hardware. Old results count less, so counts are
/// fractions.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Record {
    /// The kind of programs.
    pub kind: String,
    /// The class of hardware; null where that is any.
    pub hardware_class: Option<String>,
    /// Results since the last wrong one that were checked and right.
    pub checked: f64,
    /// Results since then that were accepted unchecked.
    pub unchecked: f64,
    /// Both together: the run of correct results.
    pub run: f64,
    /// Results that were found wrong, ever.
    pub lies: u32,
    /// Attempts that failed or were late, which says nothing of results.
    pub failed: f64,
    /// The share of its next results that is checked at the default assurance, from 0 to 1.
    pub check_rate: f64,
    /// The odds that its next result is wrong, at that rate, from 0 to 1.
    pub error_odds: f64,
}

/// Why a job's tasks, or one of them, are where they are. `tidemill explain` prints it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Explanation {
    /// The job's id.
    pub job_id: String,
    /// The task's number; null where the whole job was meant.
    pub task: Option<u64>,
    /// How the job or task stands, in a sentence.
    pub summary: String,
    /// For each provider, why it was or was not chosen.
    pub providers: Vec<NodeReason>,
    /// The results of the task.
    pub results: Vec<TaskResult>,
    /// Why a result was accepted, of a task that is done.
    pub verdict: Option<Verdict>,
    /// What the results come to, of a task without a verdict.
    pub standing: Option<Standing>,
    /// Results of the task that contradict the accepted one and that evidence is kept of.
    pub evidence: u32,
    /// How the job's results came to be relied on.
    pub reliability: Reliability,
}

/// Why a provider was or was not chosen.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct NodeReason {
    /// The provider's node.
    pub node: String,
    /// Why, in a sentence.
    pub why: String,
}

/// One result of a task.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct TaskResult {
    /// The node that it came from.
    pub node: String,
    /// The account that it is for.
    pub operator: String,
    /// When it came, in milliseconds since 1970.
    pub at_ms: u64,
    /// The hash of its output; null while it is neither paid for nor part of a verdict, in a job that pays.
    pub output: Option<String>,
    /// Counts the outputs of the task from 0: results with the same number have the same output.
    pub answer: u32,
    /// The fuel that its provider says it burnt.
    pub fuel: u64,
    /// The odds that it is wrong by itself, from 0 to 1; null where they were not worked out.
    pub error_odds: Option<f64>,
    /// Whether it is the accepted answer; null without a verdict.
    pub agrees: Option<bool>,
    /// Whether the answer was known, and the task planted.
    pub is_trial: bool,
}

/// Why a result was accepted.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Verdict {
    /// On what grounds.
    pub basis: Basis,
    /// The results of the task, the accepted one included.
    pub results: u32,
    /// How many of them give the accepted answer.
    pub agreeing: u32,
    /// The odds that it is wrong, from 0 to 1; null where they were not worked out.
    pub error_odds: Option<f64>,
}

/// The grounds on which a result is accepted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Basis {
    /// It was the first to come, and the job asked for no verification.
    Unverified,
    /// It comes from a trusted machine.
    Trusted,
    /// Its provider's record suffices, and no check was drawn for it.
    Unchecked,
    /// Enough other results are the same.
    Agreed,
}

impl From<&tidemill_types::Acceptance> for Verdict {
    fn from(acceptance: &tidemill_types::Acceptance) -> Self {
        let tidemill_types::Acceptance { basis, results, agreeing, error_ppb } = *acceptance;
        let error_odds = error_ppb.map(|ppb| f64::from(ppb) / 1e9);
        Self { basis: basis.into(), results, agreeing, error_odds }
    }
}

impl From<tidemill_types::Basis> for Basis {
    fn from(basis: tidemill_types::Basis) -> Self {
        match basis {
            tidemill_types::Basis::Unverified => Self::Unverified,
            tidemill_types::Basis::Trusted => Self::Trusted,
            tidemill_types::Basis::Unchecked => Self::Unchecked,
            tidemill_types::Basis::Agreed => Self::Agreed,
        }
    }
}

/// What the results of a task without a verdict come to.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Standing {
    /// Its results.
    pub results: u32,
    /// How many operators gave the commonest answer.
    pub agreeing: u32,
    /// The odds that the likeliest answer is wrong, from 0 to 1; null where results are counted and not weighed.
    pub error_odds: Option<f64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grounds_are_called_as_elsewhere() {
        use tidemill_types::Basis::{Agreed, Trusted, Unchecked, Unverified};
        for basis in [Unverified, Trusted, Unchecked, Agreed] {
            let here = serde_json::to_value(Basis::from(basis)).expect("a word");
            assert_eq!(here, serde_json::to_value(basis).expect("a word"));
        }
    }
}
