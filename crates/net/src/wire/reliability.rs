//! What requesters are told about results: how they came to be relied on, and what is known of who gave them.

use std::iter::Sum;

use serde::{Deserialize, Serialize};
use tidemill_types::{
    Acceptance, Address, Amount, BlobId, Comparison, Evidence, Millis, NodeId, ProgramKind, Reliance,
};

use super::{MAX_WORDS_BYTES, OutOfBounds, at_most};

/// The most records of one operator: one for each kind of program and class of hardware.
pub const MAX_RECORDS: usize = 8;

/// The most results of one task that are told of.
pub const MAX_RESULTS_OF_TASK: usize = 256;

/// What the evidence of one answer has together: well below a frame, and more than one piece of it may have.
pub const MAX_ANSWER_EVIDENCE_BYTES: usize = 3 << 20;

/// How a job's results came to be relied on.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Reliability {
    /// What was asked for.
    pub asked: Reliance,
    /// When outputs count as the same.
    pub compared: Comparison,
    /// Results that came, of tasks that are done and of others.
    pub results: u64,
    /// Those of them that somebody was tried with: of tasks whose answer was known.
    pub known: u64,
    /// Tasks whose accepted result is one of a machine that is trusted.
    pub trusted: u64,
    /// Tasks whose result was accepted on the word of a credible provider.
    pub unchecked: u64,
    /// Tasks on whose result several agreed.
    pub agreed: u64,
    /// Tasks whose result was taken as it came, since nothing else was asked for.
    pub unverified: u64,
    /// Tasks that have results of which none is certain enough.
    pub undecided: u64,
}

impl Sum for Unjudged {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |sum, one| Self {
            results: sum.results.saturating_add(one.results),
            busy: Millis(sum.busy.0.saturating_add(one.busy.0)),
            fuel: sum.fuel.saturating_add(one.fuel),
        })
    }
}

impl Reliability {
    /// Results for each of so many tasks that are done; none before one is.
    pub fn redundancy(&self, done: u64) -> Option<f64> {
        (done > 0).then(|| self.results as f64 / done as f64)
    }
}

/// Results that have no verdict: they wait for one, or their job ended first.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Unjudged {
    /// How many.
    pub results: u64,
    /// How long they ran together, as far as that is not counted with accepted results already.
    pub busy: Millis,
    /// Their fuel, as far as that is not counted already.
    pub fuel: u64,
}

/// What the results of a task come to that has no verdict.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Standing {
    /// Its results.
    pub results: u32,
    /// How many operators gave the answer that most of them gave.
    pub agreeing: u32,
    /// The odds that the likeliest answer is wrong, in billionths; none where results are counted and not weighed, or where
    /// the program also failed.
    pub error_ppb: Option<u32>,
}

/// What is known of an operator's results.
#[derive(Clone, PartialEq, Default, Debug, Serialize, Deserialize)]
pub struct ReputationReport {
    /// Whether its results need no check here.
    pub is_trusted: bool,
    /// What it would lose by a wrong result; none where stake says nothing.
    pub stake: Option<StakeReport>,
    /// For each kind and class of hardware; nothing of a stranger.
    pub records: Vec<RecordReport>,
}

/// What stands behind an operator's results.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct StakeReport {
    /// What it would lose of its own bond by one fault.
    pub slashable: Amount,
    /// What it could be paid for the leases that it has.
    pub at_risk: Amount,
    /// As long as no more than this is at risk, cheating loses money even where results are checked least.
    pub deterred: Amount,
}

/// What is known of an operator's results of one kind on one class of hardware.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct RecordReport {
    /// The kind of program.
    pub kind: ProgramKind,
    /// The class of hardware.
    pub hardware_class: Option<String>,
    /// Results since the last wrong one that were checked and right, as they count now.
    pub checked: f64,
    /// Results since then that were accepted unchecked, as they count now.
    pub unchecked: f64,
    /// Results that were found to be wrong, ever.
    pub lies: u32,
    /// Attempts that failed or were late, which says nothing about results.
    pub failed: f64,
    /// What share of the next results is checked at the default assurance.
    pub check_rate: f64,
    /// The odds that its next result is wrong, at that rate.
    pub error_odds: f64,
}

impl ReputationReport {
    /// Whether it is within its bounds.
    pub(super) fn check(&self) -> Result<(), OutOfBounds> {
        let classes = self.records.iter().map(|record| record.hardware_class.as_ref().map_or(0, String::len));
        at_most("a class of hardware", classes.max().unwrap_or(0), MAX_WORDS_BYTES)?;
        at_most("the number of records", self.records.len(), MAX_RECORDS)
    }
}

/// A result of a task.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ResultReport {
    /// By whom.
    pub node: NodeId,
    /// Under which account.
    pub operator: Address,
    /// When it came, in milliseconds since 1970.
    pub at_ms: u64,
    /// Its output; none while it is neither paid for nor part of a verdict, in a job that pays: whoever knew it could have it
    /// for nothing.
    pub output: Option<BlobId>,
    /// Those of the task with the same number have the same output.
    pub answer: u32,
    /// The fuel that it says it burnt.
    pub fuel: u64,
    /// The odds that it is wrong if nobody else is asked, in billionths; none of one that was not weighed.
    pub error_ppb: Option<u32>,
    /// Whether it is the accepted answer; none while there is no verdict.
    pub agrees: Option<bool>,
    /// Whether the verdict was there before, and its provider was tried with the task.
    pub is_trial: bool,
}

/// Evidence as the coordinator keeps it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct KeptEvidence {
    /// The account of the contradicting result.
    pub operator: Address,
    /// When the contradiction was found, in milliseconds since 1970.
    pub at_ms: u64,
    /// Until when the coordinator keeps it.
    pub until_ms: u64,
    /// The two results. Whoever gets them checks them.
    pub evidence: Evidence,
}

/// Why tasks are where they are.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Explanation {
    /// How the job or task stands, in a sentence.
    pub summary: String,
    /// For each provider, why it was or was not chosen, in a sentence.
    pub providers: Vec<(NodeId, String)>,
    /// Of one task, the results that it has.
    pub results: Vec<ResultReport>,
    /// Of one task that is done, why its result was accepted.
    pub verdict: Option<Acceptance>,
    /// Of one task that has results and no verdict, what they come to.
    pub standing: Option<Standing>,
    /// Of one task, how many results there is evidence of that they contradict the accepted one.
    pub evidence: u32,
}
