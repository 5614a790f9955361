//! What is decided rather than measured.

use crate::Micros;

/// The numbers that placement goes by.
#[derive(Clone, Debug)]
pub struct Policy {
    /// A lease is given to a provider only if it is predicted to start there within this time. Long enough
    /// that a provider never runs dry between two messages, short enough that a short task waits for little.
    pub horizon: Micros,
    /// A lease is a straggler when it has taken this many times as long as predicted; a copy of one that is
    /// not late must be predicted to be this many times faster.
    pub straggler: u64,
    /// What a lease may be late besides, since delays of the network are no sign of a straggler.
    pub patience: Micros,
    /// Attempts at one task at once, copies included.
    pub most_attempts: u32,
    /// Fuel a second of one task at a provider that measured none.
    pub default_fuel_per_s: u64,
    /// Bytes a second to a provider that measured none.
    pub default_bytes_per_s: u64,
    /// Slots of one provider that are believed.
    pub most_slots: u32,
    /// Credits of one provider that are believed.
    pub most_credits: u32,
    /// Failures in a row, each of a lease made after the one before, that make a provider pause.
    pub failures_before_pause: u32,
    /// The first pause; each further failure doubles it.
    pub first_pause: Micros,
    /// The longest pause.
    pub longest_pause: Micros,
    /// Absent providers without leases of whom what was learnt is kept.
    pub remembered_nodes: usize,
    /// Shared blobs that a provider is remembered to hold after their job is gone.
    pub remembered_blobs: usize,
    /// Programs of which it is remembered what their tasks took.
    pub remembered_programs: usize,
    /// Singles of one job that are looked at in one call; the next call goes on after them.
    pub singles_per_call: usize,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            horizon: Micros::millis(250),
            straggler: 2,
            patience: Micros::millis(100),
            most_attempts: 2,
            default_fuel_per_s: 500_000_000,
            default_bytes_per_s: 10 << 20,
            most_slots: 1_024,
            most_credits: 8_192,
            failures_before_pause: 3,
            first_pause: Micros::millis(100),
            longest_pause: Micros::millis(10_000),
            remembered_nodes: 4_096,
            remembered_blobs: 256,
            remembered_programs: 1_024,
            singles_per_call: 64,
        }
    }
}
