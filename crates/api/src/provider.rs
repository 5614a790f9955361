//! Providers, and what they lend.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A provider of a network. `tidemill providers` lists them.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Provider {
    /// Its node.
    pub node: String,
    /// The account of its result key.
    pub operator: String,
    /// Its name.
    pub name: String,
    /// Whether it is connected.
    pub connected: bool,
    /// The slots of all its engines.
    pub cpus: u32,
    /// The memory of all its engines.
    pub memory_bytes: u64,
    /// Its room for blobs.
    pub disk_bytes: u64,
    /// The ways in which it runs programs.
    pub engines: Vec<Engine>,
    /// Leases that it holds.
    pub leased: u64,
    /// Its results that were found right since the coordinator started.
    pub accepted: u64,
    /// Its results that have no verdict.
    pub unjudged: u64,
    /// Its attempts that came to nothing since the coordinator started.
    pub lost_attempts: u64,
    /// Why it has no work, where it has none.
    pub idle: Option<String>,
}

/// One way in which a provider runs programs.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Engine {
    /// The kind of programs.
    pub kind: String,
    /// How many tasks it runs at a time.
    pub slots: u32,
    /// Its memory.
    pub memory_bytes: u64,
    /// The classes of floats that it has.
    pub floats: Vec<String>,
    /// The class of machines that it gives equal results with; null where that is any.
    pub hardware_class: Option<String>,
    /// Its version of execution.
    pub exec_version: u32,
    /// Fuel a second of one slot while the others rest, as the provider measured it.
    pub single_fuel_per_s: u64,
    /// Fuel a second of all slots together, as the provider measured it.
    pub all_fuel_per_s: u64,
    /// Fuel a second of one slot, as the coordinator observed it; 0 before the first task.
    pub observed_fuel_per_s: u64,
}
