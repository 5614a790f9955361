//! Those who lie, and how.

use std::collections::HashSet;

use serde::Serialize;

use crate::dice::Dice;

/// An answer to a task.
pub(super) type Answer = u32;

/// What an honest machine finds.
pub(super) const RIGHT: Answer = 0;
/// What one colluding group says instead.
const AGREED: Answer = u32::MAX;
/// What all say who hand in something old: they agree without having talked.
const STALE: Answer = u32::MAX - 1;

/// A way to be dishonest. Shares are of the providers, rates of each one's results.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Adversary {
    /// Nobody lies.
    None,
    /// Each by itself, at random, from the first result on.
    Liars {
        /// How many.
        share: f64,
        /// How often.
        rate: f64,
    },
    /// Honest until the attack begins, then each lies by itself.
    Builders {
        /// How many.
        share: f64,
        /// How often, from then on.
        rate: f64,
    },
    /// One group that says the same wrong thing about the same tasks, from the first result on.
    Colluders {
        /// How many.
        share: f64,
        /// How often.
        rate: f64,
    },
    /// Such a group that is honest until the attack begins.
    ColludingBuilders {
        /// How many.
        share: f64,
        /// How often, from then on.
        rate: f64,
    },
    /// Liars who come back under a new name whenever they are caught.
    Sybils {
        /// How many.
        share: f64,
        /// How often.
        rate: f64,
    },
    /// Those who now and then hand in an old answer, all of them the same.
    Lazy {
        /// How many.
        share: f64,
        /// How often.
        rate: f64,
    },
    /// Honest but for one job, the first of the attack, of which each spoils one result.
    Targeted {
        /// How many.
        share: f64,
    },
    /// Builders of reputation with many slots, and several nodes to an operator: each gives many results while a check takes
    /// its time.
    Bursts {
        /// How many nodes.
        share: f64,
        /// How often, once they lie.
        rate: f64,
    },
    /// Liars who have a requester among them, whose jobs go to them alone, at a price that nobody else works for: they agree
    /// with each other about as many tasks of these as of all others.
    Friends {
        /// How many.
        share: f64,
        /// How often.
        rate: f64,
    },
}

/// Slots of a node that lies in bursts.
const SLOTS_OF_A_BURST: u32 = 16;

/// Nodes of an operator whose nodes do.
const NODES_OF_A_BURST: u32 = 5;

impl Adversary {
    /// Which share of the providers it is.
    pub fn share(&self) -> f64 {
        match *self {
            Self::None => 0.0,
            Self::Liars { share, .. }
            | Self::Builders { share, .. }
            | Self::Colluders { share, .. }
            | Self::ColludingBuilders { share, .. }
            | Self::Sybils { share, .. }
            | Self::Lazy { share, .. }
            | Self::Bursts { share, .. }
            | Self::Friends { share, .. }
            | Self::Targeted { share } => share,
        }
    }

    /// Slots of each of its nodes.
    pub(super) fn slots(&self) -> u32 {
        if matches!(self, Self::Bursts { .. }) { SLOTS_OF_A_BURST } else { 1 }
    }

    /// Nodes of each of its operators.
    pub(super) fn nodes(&self) -> u32 {
        if matches!(self, Self::Bursts { .. }) { NODES_OF_A_BURST } else { 1 }
    }

    /// Which share of the capacity is its own.
    fn capacity(&self) -> f64 {
        let own = self.share() * f64::from(self.slots());
        own / (own + (1.0 - self.share()))
    }

    /// What it is called.
    pub fn name(&self) -> &'static str {
        match self {
            Self::None => "nobody",
            Self::Liars { .. } => "liars",
            Self::Builders { .. } => "builders of reputation",
            Self::Colluders { .. } => "a colluding group",
            Self::ColludingBuilders { .. } => "colluding builders",
            Self::Sybils { .. } => "Sybils",
            Self::Lazy { .. } => "the lazy",
            Self::Targeted { .. } => "an attack on one job",
            Self::Bursts { .. } => "bursts from many slots",
            Self::Friends { .. } => "friends of a requester",
        }
    }

    /// How often its members lie once they do; none where that is no rate.
    pub fn rate(&self) -> Option<f64> {
        match *self {
            Self::None | Self::Targeted { .. } => None,
            Self::Liars { rate, .. }
            | Self::Builders { rate, .. }
            | Self::Colluders { rate, .. }
            | Self::ColludingBuilders { rate, .. }
            | Self::Sybils { rate, .. }
            | Self::Lazy { rate, .. }
            | Self::Bursts { rate, .. }
            | Self::Friends { rate, .. } => Some(rate),
        }
    }

    /// Whether it promises to be within what the model assumes: a fifth of the capacity each by itself, a tenth in one
    /// group.
    pub fn is_within_the_model(&self) -> bool {
        match self {
            Self::None => true,
            Self::Colluders { share, .. }
            | Self::ColludingBuilders { share, .. }
            | Self::Lazy { share, .. } => *share <= 0.1,
            _ => self.capacity() <= 0.2,
        }
    }

    /// Whether it waits for the attack to begin.
    fn waits(&self) -> bool {
        matches!(
            self,
            Self::Builders { .. }
                | Self::ColludingBuilders { .. }
                | Self::Targeted { .. }
                | Self::Bursts { .. }
        )
    }
}

/// What the dishonest know together.
#[derive(Debug, Default)]
pub(super) struct Gang {
    /// Tasks that a member has lied about: the others say the same.
    lied: HashSet<u64>,
    /// Tasks that a member was given: who is given one again knows that somebody is being checked.
    seen: HashSet<u64>,
}

/// What one dishonest provider is asked.
pub(super) struct Asked {
    /// Who it is, among all providers.
    pub(super) number: u32,
    /// Which task of which job, as one number.
    pub(super) task: u64,
    /// Whether the attack has begun.
    pub(super) attack: bool,
    /// Whether the job is the one that is attacked alone, and it has not lied in it yet.
    pub(super) is_target: bool,
}

impl Gang {
    /// What a member answers.
    pub(super) fn answer(&mut self, adversary: &Adversary, asked: &Asked, dice: &mut Dice) -> Answer {
        let lies = match adversary.rate() {
            _ if adversary.waits() && !asked.attack => false,
            Some(rate) => dice.hits(rate),
            None => asked.is_target && matches!(adversary, Adversary::Targeted { .. }),
        };
        match adversary {
            Adversary::None => RIGHT,
            Adversary::Colluders { .. } | Adversary::ColludingBuilders { .. } => {
                // Who is given a task that another of the group was given knows it for a check: it confirms a lie, and tells
                // none.
                if self.lied.contains(&asked.task) {
                    AGREED
                } else if !self.seen.insert(asked.task) {
                    RIGHT
                } else if lies {
                    self.lied.insert(asked.task);
                    AGREED
                } else {
                    RIGHT
                }
            }
            Adversary::Lazy { .. } if lies => STALE,
            _ if lies => 1 + asked.number,
            _ => RIGHT,
        }
    }

    /// A job is over.
    pub(super) fn forget(&mut self) {
        self.lied.clear();
        self.seen.clear();
    }
}
