//! What verification holds against those who lie: the production scheduler and the production rules, on many
//! providers over many epochs, beside the published rules of others.

mod adversary;
mod engine;
mod peers;
pub mod plot;
mod rule;
#[cfg(test)]
mod tests;

use serde::Serialize;
use tidemill_verify::{Model, ModelError};

pub use self::{adversary::Adversary, rule::Rule};

/// What is simulated.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Providers, all with one slot and the same speed, but for some adversaries'.
    pub providers: u32,
    /// Epochs, each with one job. Attacks that wait begin in the middle.
    pub epochs: u32,
    /// Tasks of a job for each provider.
    pub tasks_each: u32,
    /// How many times as long as any other result one takes to come that somebody is asked for to check another.
    pub check_waves: u32,
    /// What the rules assume.
    pub model: Model,
    /// What each provider has at stake, in prices of a task; 0 for no stakes.
    pub stake: u32,
    /// What somebody outside gives for a wrong result that is accepted, in prices of a task.
    pub outside_gain: u32,
    /// How likely one who is caught is slashed.
    pub slash_odds: f64,
    /// What chance starts from. The same seed gives the same numbers.
    pub seed: u64,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            providers: 1_000,
            epochs: 200,
            tasks_each: 40,
            check_waves: 3,
            model: Model::default(),
            stake: 2_000,
            outside_gain: 10,
            slash_odds: 0.9,
            seed: 1,
        }
    }
}

impl Plan {
    /// A small one, for a first look and for tests.
    pub fn quick() -> Self {
        Self { providers: 200, epochs: 100, tasks_each: 20, ..Self::default() }
    }

    /// A small network for so long that whoever builds a reputation has one: to compare rules. Nobody has a stake, since
    /// no other rule knows of one.
    pub fn long() -> Self {
        Self { providers: 100, epochs: 300, tasks_each: 40, stake: 0, ..Self::default() }
    }

    /// Checks that it can be run.
    ///
    /// # Errors
    /// [`PlanError`]
    pub fn checked(self) -> Result<Self, PlanError> {
        if self.providers < 20 || self.epochs < 4 || self.tasks_each == 0 || self.check_waves == 0 {
            return Err(PlanError::TooSmall);
        }
        if !(self.slash_odds > 0.0 && self.slash_odds <= 1.0) {
            return Err(PlanError::SlashOdds(self.slash_odds));
        }
        self.model.checked()?;
        Ok(self)
    }
}

/// A plan that makes no sense.
#[derive(Clone, Copy, PartialEq, Debug, thiserror::Error)]
pub enum PlanError {
    /// There is nothing to measure.
    #[error("at least 20 providers, 4 epochs and a task for each are needed")]
    TooSmall,
    /// Odds are between nothing and certainty.
    #[error("the odds of being slashed are between 0 and 1, not {0}")]
    SlashOdds(f64),
    /// The model's parameters make none.
    #[error(transparent)]
    Model(#[from] ModelError),
}

/// What one network came to.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Measured {
    /// Who lied.
    pub adversary: Adversary,
    /// Who judged.
    pub rule: Rule,
    /// Results that were made.
    pub results: u64,
    /// Tasks whose result was accepted.
    pub accepted: u64,
    /// Tasks of which none was.
    pub undecided: u64,
    /// Tasks that were accepted from the first lie on.
    pub accepted_since_first_lie: u64,
    /// Of those, the ones whose result is wrong.
    pub wrong: u64,
    /// Their share.
    pub wrong_share: f64,
    /// The upper end of its Clopper-Pearson interval of 95 %.
    pub wrong_upper_95: f64,
    /// Results for each accepted task.
    pub redundancy: f64,
    /// The same in the last quarter of the epochs.
    pub redundancy_after_warm_up: f64,
    /// How often a liar was caught.
    pub caught: u64,
    /// How often somebody honest was taken for one.
    pub honest_caught: u64,
    /// Results from a liar's first lie until it was caught, both included, in the middle; none where none was caught.
    pub detection_delay: Option<u64>,
    /// What all who lied gained together less what they were slashed, in prices of a task. Pay for right results is not in
    /// it.
    pub profit: f64,
    /// The share of wrong results in the one job that the attack began with.
    pub wrong_share_of_the_target: f64,
}

impl Measured {
    /// Whether so few were wrong as the rule promises; none where it promises nothing.
    pub fn is_held(&self) -> Option<bool> {
        match self.rule {
            Rule::Tidemill { assurance } => Some(self.wrong_upper_95 <= 1.0 / f64::from(assurance)),
            _ => None,
        }
    }
}

/// All adversaries that are measured.
pub fn adversaries() -> Vec<Adversary> {
    use Adversary::{
        Builders, Bursts, Colluders, ColludingBuilders, Friends, Lazy, Liars, None, Sybils, Targeted,
    };
    vec![
        None,
        Liars { share: 0.001, rate: 0.1 },
        Liars { share: 0.01, rate: 0.1 },
        Liars { share: 0.1, rate: 0.1 },
        Liars { share: 0.2, rate: 0.1 },
        Liars { share: 0.2, rate: 0.001 },
        Liars { share: 0.5, rate: 0.1 },
        Builders { share: 0.2, rate: 1.0 },
        Builders { share: 0.2, rate: 0.02 },
        Colluders { share: 0.1, rate: 0.1 },
        Colluders { share: 0.1, rate: 0.01 },
        ColludingBuilders { share: 0.1, rate: 1.0 },
        ColludingBuilders { share: 0.1, rate: 0.02 },
        Sybils { share: 0.2, rate: 0.1 },
        Lazy { share: 0.1, rate: 0.3 },
        Targeted { share: 0.2 },
        Bursts { share: 0.01, rate: 1.0 },
        Bursts { share: 0.01, rate: 0.1 },
        Friends { share: 0.1, rate: 0.02 },
    ]
}

/// Simulates one network. `progress` is called after each epoch.
pub fn measure(plan: &Plan, adversary: Adversary, rule: Rule, progress: impl FnMut()) -> Measured {
    engine::World::new(plan, adversary, rule, plan.seed).run(progress)
}
