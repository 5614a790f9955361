//! What would come of a job if it were submitted now.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidemill_types::Amount;

use crate::wei::Wei;

/// What would come of a job in a network, as it is now: who would take its tasks, when, and at what price.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Prospects {
    /// The node of the coordinator.
    pub coordinator: String,
    /// Whether nobody pays there.
    pub free: bool,
    /// How many results of each task are made at least.
    pub least_results_each: u32,
    /// How many at most, while nobody contradicts another.
    pub most_results_each: u32,
    /// Providers that would take a task of the map now.
    pub now: u64,
    /// Providers that would take one once a slot of theirs is free.
    pub later: u64,
    /// Providers that would take none.
    pub never: u64,
    /// The same one by one: those that would take tasks now first, up to 1,000.
    pub providers: Vec<Candidate>,
    /// How long the job would take with all that could run it, in seconds; null where its programs never ran here or nobody
    /// could run them.
    pub likely_s: Option<f64>,
    /// What it would cost; null where nobody pays.
    pub quote: Option<Quote>,
    /// What else one should know, a sentence each.
    pub notes: Vec<String>,
    /// Why no result would be accepted with those who are there; null where some would, or nobody is there yet.
    pub undecidable: Option<String>,
}

/// A provider, as one that might take tasks of the map.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Candidate {
    /// Its node.
    pub node: String,
    /// What its owner calls it.
    pub name: String,
    /// The account that it works for.
    pub operator: String,
    /// When it would take a task.
    pub takes: Takes,
    /// Why not now; null where it would.
    pub why: Option<String>,
    /// Its slots for such tasks.
    pub slots: u64,
    /// How long one task would take it, in seconds; null where the program never ran here.
    pub task_s: Option<f64>,
    /// The most that one task may cost there; null where nobody pays or it would take none.
    #[schemars(with = "Option<Wei>")]
    pub most_each_wei: Option<Amount>,
}

/// When a provider would take a task.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Takes {
    /// At once.
    Now,
    /// Once a slot of it is free.
    Later,
    /// Not as the job and the provider are.
    Never,
}

/// What a job would cost.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Quote {
    /// What it comes to if every task uses all that its limits allow, at the dearest provider.
    #[schemars(with = "Wei")]
    pub most_wei: Amount,
    /// What it comes to if tasks use what those of the same programs did before; null where they never ran.
    #[schemars(with = "Option<Wei>")]
    pub likely_wei: Option<Amount>,
    /// The most that one task may cost.
    #[schemars(with = "Wei")]
    pub each_wei: Amount,
    /// What would be locked for it.
    #[schemars(with = "Wei")]
    pub locked_wei: Amount,
    /// The coordinator's part of what providers earn, in parts per million.
    pub fee_ppm: u32,
}
