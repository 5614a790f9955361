//! What is known of one operator's results of one kind on one class of hardware.

use serde::{Deserialize, Serialize};
use tidemill_types::Amount;

/// What one result said about who made it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum Evidence {
    /// It was accepted unchecked, and its job has ended.
    Accepted,
    /// It agreed with the results of others that were accepted.
    Agreed,
    /// It contradicted the result that was accepted.
    Contradicted,
    /// It was right about a task whose answer was known.
    Known,
    /// It was wrong about one.
    KnownWrong,
    /// A dispute about it ended in its favour.
    DisputeWon,
    /// One ended against it.
    DisputeLost,
    /// Its output was not what its signed result had said.
    Substituted,
    /// The attempt failed by the machine's doing, or was late. It says nothing about whether results are right.
    Failed,
}

impl Evidence {
    /// Whether it proves that a result was wrong.
    pub fn is_of_a_lie(self) -> bool {
        matches!(self, Self::Contradicted | Self::KnownWrong | Self::DisputeLost | Self::Substituted)
    }
}

/// What is known of one operator's results of one kind on one class of hardware.
///
/// What counts is the run of results since the last one that was found to be wrong. Old results count less: after a
/// [half-life](crate::Model::half_life) of epochs, half as much.
#[derive(Clone, Copy, PartialEq, Default, Debug, Serialize, Deserialize)]
pub struct Record {
    /// Results since the last lie that were checked and right, decayed.
    checked: f64,
    /// Results since the last lie that nobody checked, decayed.
    unchecked: f64,
    /// Results that were found to be wrong, ever.
    lies: u32,
    /// What those results were paid, in wei, decayed.
    paid: f64,
    /// Attempts that failed or were late, decayed.
    failed: f64,
    /// The epoch that the counts are as of.
    epoch: u64,
}

impl Record {
    /// Takes in what became of a result in an epoch.
    pub fn note(&mut self, evidence: Evidence, epoch: u64, half_life: u32) {
        self.age(epoch, half_life);
        match evidence {
            Evidence::Accepted => self.unchecked += 1.0,
            Evidence::Agreed | Evidence::Known | Evidence::DisputeWon => self.checked += 1.0,
            Evidence::Failed => self.failed += 1.0,
            Evidence::Contradicted | Evidence::KnownWrong | Evidence::DisputeLost | Evidence::Substituted => {
                self.start_over();
                self.lies = self.lies.saturating_add(1);
            }
        }
    }

    /// What was right so far counts no more: its operator was found to be wrong, if elsewhere.
    pub fn start_over(&mut self) {
        (self.checked, self.unchecked, self.paid) = (0.0, 0.0, 0.0);
    }

    /// Takes in that so many results were accepted unchecked and that their job has ended.
    pub fn note_accepted(&mut self, results: u64, epoch: u64, half_life: u32) {
        self.age(epoch, half_life);
        self.unchecked += results as f64;
    }

    /// Takes in what right results were paid.
    pub fn note_paid(&mut self, amount: Amount, epoch: u64, half_life: u32) {
        self.age(epoch, half_life);
        self.paid += amount.wei() as f64;
    }

    /// What it says about a result of this price: a run counts for no more results of it than what the run was paid comes to.
    /// Whoever was right about a thousand tasks that cost next to nothing has lost as little by that as it could gain by a
    /// lie about one. Where work is free, results count as they are.
    pub fn for_price(self, price: Amount) -> Self {
        let run = self.run();
        if price.is_zero() || run <= 0.0 {
            return self;
        }
        let share = (self.paid / price.wei() as f64 / run).min(1.0);
        Self { checked: self.checked * share, unchecked: self.unchecked * share, ..self }
    }

    /// Lets epochs pass. One before the last that was heard of changes nothing.
    pub fn age(&mut self, epoch: u64, half_life: u32) {
        let Some(passed) = epoch.checked_sub(self.epoch).filter(|passed| *passed > 0) else { return };
        let left = 0.5_f64.powf(passed as f64 / f64::from(half_life.max(1)));
        for count in [&mut self.checked, &mut self.unchecked, &mut self.paid, &mut self.failed] {
            *count *= left;
        }
        self.epoch = epoch;
    }

    /// Results since the last lie, as they count now.
    pub fn run(&self) -> f64 {
        self.checked + self.unchecked
    }

    /// Results since the last wrong one that were checked and right, as they count now.
    pub fn checked(&self) -> f64 {
        self.checked
    }

    /// Results since then that were accepted unchecked, as they count now.
    pub fn unchecked(&self) -> f64 {
        self.unchecked
    }

    /// Attempts that failed or were late, as they count now. It says nothing about results.
    pub fn failed(&self) -> f64 {
        self.failed
    }

    /// How many results were found to be wrong, ever.
    pub fn lies(&self) -> u32 {
        self.lies
    }
}
