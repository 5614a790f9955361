//! What a provider advertises.

use serde::{Deserialize, Serialize};

use crate::{ByteSize, FloatClass, ProgramKind, RateCard};

/// The classes of hardware within which native floats compare: the pinned feature sets of instruction sets.
pub const HARDWARE_CLASSES: [&str; 2] = ["x86-64-v3", "aarch64"];

/// What a provider lets others use, and how fast it measured it to be.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Offer {
    /// What its owner calls it, for lists.
    pub name: String,
    /// Tasks that run at the same time: cores that its owner gives.
    pub slots: u32,
    /// Memory for all running tasks together.
    pub memory: ByteSize,
    /// Room for blobs.
    pub disk: ByteSize,
    /// Kinds of programs.
    pub kinds: Vec<ProgramKind>,
    /// Float classes.
    pub floats: Vec<FloatClass>,
    /// The hardware class within which native floats compare, if it belongs to one.
    pub hardware_class: Option<String>,
    /// The version of execution; see [`crate::EXEC_VERSION`].
    pub exec_version: u32,
    /// What it measured.
    pub capacity: Capacity,
    /// What it asks, in networks that pay.
    pub rates: RateCard,
}

/// Rates that a provider measured on itself. They are claims: placement starts from them and goes on with
/// what is observed.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Capacity {
    /// Fuel a second of one task alone.
    pub single_fuel_per_s: u64,
    /// Fuel a second of as many tasks as there are slots, together.
    pub all_fuel_per_s: u64,
    /// Bytes a second from its coordinator; 0 when it was not measured.
    pub down_bytes_per_s: u64,
}

/// What a machine must have to be given a task.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Needs {
    /// The sort of program.
    pub kind: ProgramKind,
    /// How floats are compiled.
    pub floats: FloatClass,
    /// Free memory.
    pub memory: ByteSize,
}
