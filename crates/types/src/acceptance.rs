//! Why a result was accepted.

use serde::{Deserialize, Serialize};

/// Why a task's result was accepted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Acceptance {
    /// On what grounds.
    pub basis: Basis,
    /// How many results of the task there were, the accepted one included.
    pub results: u32,
    /// How many of them gave the accepted answer.
    pub agreeing: u32,
    /// The odds that it is wrong, in billionths; nothing where none were worked out.
    pub error_ppb: Option<u32>,
}

/// The grounds on which a result is accepted.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Basis {
    /// It was the first to come, and nothing was asked for.
    Unverified,
    /// It comes from a machine that is trusted.
    Trusted,
    /// Its provider is credible, and no check was drawn for it.
    Unchecked,
    /// Others gave the same, as many as it took.
    Agreed,
}
