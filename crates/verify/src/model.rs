//! The formulas, and what they assume.

use crate::{Assurance, Record, Stake};

/// What is assumed about those who may lie.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Model {
    /// The share of providers, by capacity, that may turn dishonest, each at a moment of its own choice.
    pub dishonest: f64,
    /// The odds that another operator is of the same group as one that lies, and confirms what it says.
    pub colluding: f64,
    /// No provider's results are checked more seldom than this, whatever its record.
    pub least_rate: f64,
    /// For each result that somebody else is asked for too, somebody is tried with so many tasks whose answer is known,
    /// while there are any.
    pub known_share: f64,
    /// After so many epochs what is known counts half.
    pub half_life: u32,
}

/// How often somebody is checked.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Rates {
    /// The share of its results that somebody else is asked for too.
    pub others: f64,
    /// The share of its leases that are of a task whose answer is known.
    pub known: f64,
}

/// A model that makes no sense.
#[derive(Clone, Copy, PartialEq, Debug, thiserror::Error)]
pub enum ModelError {
    /// A share is not between nothing and all.
    #[error("{name} is a share between 0 and 1, not {found}")]
    Share {
        /// Which.
        name: &'static str,
        /// What it was.
        found: f64,
    },
    /// Evidence that never counts is none.
    #[error("a half-life is at least one epoch")]
    HalfLife,
}

/// What is believed of a result of somebody of whom nothing is known.
const OF_A_STRANGER: f64 = 0.5;

impl Default for Model {
    fn default() -> Self {
        Self { dishonest: 0.25, colluding: 0.1, least_rate: 0.01, known_share: 0.25, half_life: 512 }
    }
}

impl Model {
    /// Checks that it makes sense.
    ///
    /// # Errors
    /// [`ModelError`]
    pub fn checked(self) -> Result<Self, ModelError> {
        let shares = [
            ("dishonest", self.dishonest),
            ("colluding", self.colluding),
            ("least_rate", self.least_rate),
            ("known_share", self.known_share),
        ];
        for (name, found) in shares {
            if !(found > 0.0 && found < 1.0) {
                return Err(ModelError::Share { name, found });
            }
        }
        if self.half_life == 0 { Err(ModelError::HalfLife) } else { Ok(self) }
    }

    /// The same where answers come from a part of the network alone, of which a group may have all: among a share of the
    /// operators the odds are so much higher that another one is of the group. Where the share is no larger than a group,
    /// what such operators agree on says no more than the word of one of them.
    pub fn within(self, share: f64) -> Self {
        let colluding = if share > self.colluding { self.colluding / share } else { 1.0 };
        Self { colluding, ..self }
    }

    /// Whether more strangers that agree make an answer of such a part of the network more certain. Two say less than one
    /// where the odds are a half or more that the second is of the group of the first.
    pub fn tells_within(&self, share: f64) -> bool {
        self.within(share).colluding < OF_A_STRANGER
    }

    /// The odds that a result is wrong of somebody whose results are checked at a rate.
    ///
    /// A dishonest provider starts to lie at some result of its run, of which every one is as likely: after `n` right ones
    /// the next is the first lie with odds `dishonest ÷ (n + 1)`. A lie is found with odds `rate × (1 − colluding)`, so
    /// once it has begun as many are accepted on average as that goes into one. The product is the share of results that
    /// are accepted and wrong. Of a stranger it is a half at least.
    pub fn error_odds(&self, record: &Record, rate: f64) -> f64 {
        let run = record.run();
        if run < 1.0 {
            return OF_A_STRANGER;
        }
        let begins = self.dishonest / (run + 1.0);
        (begins / (rate * (1.0 - self.colluding))).min(OF_A_STRANGER)
    }

    /// How often results of somebody must be checked for a job's assurance: the least rate at which
    /// [`Self::error_odds`] are within its bound and, where there is a stake, at which cheating loses money. At a rate of
    /// 1 nothing is accepted unchecked.
    pub fn check_rate(&self, record: &Record, assurance: Assurance, stake: Option<&Stake>) -> f64 {
        let run = record.run();
        if run < 1.0 || assurance.needs_agreement() {
            return 1.0;
        }
        // A little more, so that what is computed from it is within the bound in spite of rounding.
        let of_record =
            self.dishonest / ((run + 1.0) * assurance.bound() * (1.0 - self.colluding)) * (1.0 + 1e-9);
        let of_stake = stake.map_or(0.0, |stake| match stake.deterring_odds() {
            Some(found) => found / (1.0 - self.colluding),
            None => 1.0,
        });
        of_record.max(of_stake).max(self.least_rate).min(1.0)
    }

    /// How [`Self::check_rate`] is kept to: by asking others too, and, where there are tasks whose answer is known, partly
    /// by these.
    ///
    /// A group recognises such a task where one of it gave a result of it before, and [at most two](Self::MOST_KNOWN_BY)
    /// did: a lie about it is found with odds of `(1 − colluding)²` at least, one that others are asked about too with
    /// `1 − colluding`. So `others · (1 + known_share · (1 − colluding))` is the rate of checks by others that finds as
    /// many. Of somebody on whose word alone nothing is accepted all is
    /// asked of others, which says more for its price: it is tried at the least rate.
    pub fn rates(&self, rate: f64, has_known: bool) -> Rates {
        if !has_known {
            return Rates { others: rate, known: 0.0 };
        }
        if rate >= 1.0 {
            return Rates { others: 1.0, known: self.least_rate };
        }
        let others = rate / (1.0 + self.known_share * (1.0 - self.colluding));
        Rates { others, known: others * self.known_share }
    }

    /// Nobody is tried with a task that more than so many operators have given a result of, but for trusted ones.
    pub const MOST_KNOWN_BY: usize = 2;
}
