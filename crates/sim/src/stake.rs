//! What holders of the liquid token live through: years of deposits and exits, faults, a run, a drained buffer, and those
//! who try to be clever.
//!
//! The model has the parameters of production and computes in integers that are rounded as the contracts round:
//! `stake/pool.rs` is the staking contract, `stake/vault.rs` the liquid stake. Every day its books are checked to the
//! wei, and every exit against the date that it was promised.

mod math;
mod pool;
mod scenario;
#[cfg(test)]
mod tests;
mod vault;
mod wash;
mod world;

use serde::Serialize;

use self::vault::MOST_PROVIDERS;

pub use self::{
    scenario::{Scenario, exit_prices},
    wash::Washed,
    world::{Day, Fared},
};

/// What is simulated.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Plan {
    /// Providers that the liquid token may back.
    pub providers: u32,
    /// How many years of deposits and exits.
    pub years: u32,
    /// What the network pays for work in a year, in millionths of all stake.
    pub yield_ppm: u32,
    /// What chance starts from. The same seed gives the same numbers.
    pub seed: u64,
}

impl Default for Plan {
    fn default() -> Self {
        Self { providers: MOST_PROVIDERS, years: 5, yield_ppm: 80_000, seed: 1 }
    }
}

/// Something that a scenario found out.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// What was measured.
    pub what: String,
    /// The number.
    pub value: f64,
    /// Its unit, such as `TIDE`, `days` or `%`.
    pub unit: &'static str,
}

/// What came of one scenario.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    /// Which.
    pub scenario: Scenario,
    /// What was done, in a sentence.
    pub story: String,
    /// How everybody fared.
    pub fared: Vec<Fared>,
    /// What else was found out.
    pub findings: Vec<Finding>,
    /// Day by day.
    pub days: Vec<Day>,
    /// What should never happen, and did.
    pub broken: Vec<String>,
}

/// Runs one scenario.
pub fn measure(plan: &Plan, scenario: Scenario) -> Measured {
    scenario::run(plan, scenario)
}

/// What trading with oneself for rewards gains or loses, by volume: with the cap by what was burned, and without.
pub fn wash_trades() -> Vec<Washed> {
    wash::measure()
}
