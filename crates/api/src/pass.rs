//! Passes of a coordinator.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A pass. `tidemill pass list` lists them.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Pass {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub role: PassRole,
    /// When it was made, in seconds since 1970.
    pub made_s: u64,
    /// When it was revoked, in seconds since 1970; null while it admits.
    pub revoked_s: Option<u64>,
}

/// What a pass lets its bearer do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PassRole {
    /// Lend machines.
    Lend,
    /// Submit jobs.
    Submit,
    /// Both.
    Both,
}

/// A pass that was made. `tidemill pass new` prints it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct NewPass {
    /// The pass.
    #[serde(flatten)]
    pub pass: Pass,
    /// The ticket that holds it, which is not shown again.
    pub ticket: String,
}
