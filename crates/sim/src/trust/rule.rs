//! How results are judged: by ours, or by the published rules of others.

use serde::Serialize;
use tidemill_verify::{
    Assurance, Course, Evidence, Model, Next, Opinion, Record, Stake, Verdict, Witness, is_chosen, judge,
};

use super::adversary::Answer;
use crate::dice::Dice;

/// More results of one task are not asked for.
const MOST: u32 = 12;

/// Of iExec's rule strangers need more: each weighs two, and their product must pass the trust.
const MOST_OF_IEXEC: u32 = 24;

/// Who judges.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Rule {
    /// Tidemill's own.
    Tidemill {
        /// One wrong result in so many is promised.
        assurance: u32,
    },
    /// iExec's proof of contribution: a worker of score `s` weighs `max(⌊s/3⌋, 3) − 1`, a result weighs the product of its
    /// supporters, and is taken when `G·T > (1 + ΣG)(T − 1)`. A right result that others gave too adds one to the score;
    /// a wrong one takes a third.
    Iexec {
        /// The requester's trust, `T`.
        trust: u32,
    },
    /// BOINC's adaptive replication: who was valid `v ≥ threshold` times in a row is believed alone with odds `1 − 1/v`;
    /// otherwise two must agree. An invalid result starts it over.
    Boinc {
        /// BOINC's own is 10.
        threshold: u32,
    },
    /// Two equal results of everything.
    TwoOfTwo,
}

/// What a rule knows of somebody.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Standing {
    pub(super) record: Record,
    /// iExec's score, or BOINC's run of valid results.
    score: u64,
}

/// A result, as a rule weighs it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Voice {
    pub(super) opinion: Opinion<Answer>,
    /// iExec's weight of who gave it.
    weight: f64,
    /// Whether a check was drawn for it.
    pub(super) chosen: bool,
}

/// What a rule makes of a task's results.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Ruling {
    Accept { answer: Answer, is_unchecked: bool },
    Ask(u32),
    Undecided,
}

impl Rule {
    /// What it is called.
    pub fn name(&self) -> String {
        match self {
            Self::Tidemill { assurance } => format!("Tidemill, 1 in {assurance}"),
            Self::Iexec { trust } => format!("iExec, trust {trust}"),
            Self::Boinc { threshold: 10 } => "BOINC adaptive".to_owned(),
            Self::Boinc { threshold } => format!("BOINC adaptive from {threshold}"),
            Self::TwoOfTwo => "two of two".to_owned(),
        }
    }

    fn assurance(&self) -> Assurance {
        match self {
            Self::Tidemill { assurance } => Assurance::one_in(*assurance).unwrap_or_default(),
            _ => Assurance::DEFAULT,
        }
    }

    /// A result of somebody, as it counts when it comes.
    pub(super) fn voice(
        &self,
        model: &Model,
        standing: &Standing,
        (stake, has_known): (Option<&Stake>, bool),
        witness: Witness,
        answer: Answer,
        dice: &mut Dice,
    ) -> Voice {
        // How often it is checked, how often of these by others, and what it weighs.
        let (rate, others, weight) = match self {
            Self::Tidemill { .. } => {
                let rate = model.check_rate(&standing.record, self.assurance(), stake);
                (rate, model.rates(rate, has_known).others, 1.0)
            }
            Self::Iexec { .. } => (1.0, 1.0, ((standing.score / 3).max(3) - 1) as f64),
            Self::Boinc { threshold } if standing.score >= u64::from(*threshold) => {
                let rate = 1.0 / standing.score as f64;
                (rate, rate, 1.0)
            }
            Self::Boinc { .. } | Self::TwoOfTwo => (1.0, 1.0, 1.0),
        };
        let error_odds = model.error_odds(&standing.record, rate);
        Voice {
            opinion: Opinion { witness, answer, error_odds },
            weight,
            chosen: is_chosen(dice.roll(), others),
        }
    }

    /// How often somebody is given a task whose answer is known, where there is one.
    pub(super) fn known_rate(&self, model: &Model, standing: &Standing, stake: Option<&Stake>) -> f64 {
        match self {
            Self::Tidemill { .. } => {
                model.rates(model.check_rate(&standing.record, self.assurance(), stake), true).known
            }
            Self::Iexec { .. } | Self::Boinc { .. } | Self::TwoOfTwo => 0.0,
        }
    }

    /// What the results of a task come to. `recheck`: whether somebody who gave one was caught since.
    pub(super) fn rule(&self, model: &Model, voices: &[Voice], recheck: bool) -> Ruling {
        let Some(first) = voices.first() else { return Ruling::Ask(1) };
        let opinions: Vec<Opinion<Answer>> = voices.iter().map(|voice| voice.opinion).collect();
        let chosen = first.chosen || recheck;
        let course = match *self {
            Self::Tidemill { .. } => Course::Assured { assurance: self.assurance(), most: MOST },
            Self::Iexec { trust } => return iexec(voices, f64::from(trust)),
            Self::Boinc { .. } if !chosen => {
                return Ruling::Accept { answer: first.opinion.answer, is_unchecked: true };
            }
            Self::Boinc { .. } | Self::TwoOfTwo => Course::Replicated { quorum: 2, most: MOST },
        };
        match course.next(model, &opinions, chosen) {
            Next::Accept { answer, is_unchecked, .. } => Ruling::Accept { answer, is_unchecked },
            Next::Ask { more } => Ruling::Ask(more),
            Next::Stuck { .. } => Ruling::Undecided,
        }
    }

    /// Takes in what became of a result.
    pub(super) fn note(&self, model: &Model, standing: &mut Standing, evidence: Evidence, epoch: u64) {
        let is_lie = evidence.is_of_a_lie();
        match self {
            Self::Tidemill { .. } => standing.record.note(evidence, epoch, model.half_life),
            Self::Iexec { .. } if is_lie => standing.score -= standing.score / 3,
            Self::Boinc { .. } if is_lie => standing.score = 0,
            Self::Iexec { .. } | Self::Boinc { .. } if evidence == Evidence::Agreed => standing.score += 1,
            Self::Iexec { .. } | Self::Boinc { .. } | Self::TwoOfTwo => {}
        }
    }

    /// Whether a verdict is certain enough to say something about those who gave the results: as in production, ours is so
    /// from 1 in 100 on.
    pub(super) fn is_telling(&self, model: &Model, voices: &[Voice]) -> bool {
        match self {
            Self::Tidemill { .. } => {
                let opinions: Vec<Opinion<Answer>> = voices.iter().map(|voice| voice.opinion).collect();
                matches!(judge(model, Assurance::LEAST_TELLING, &opinions), Verdict::Accepted { .. })
            }
            _ => true,
        }
    }

    /// Whether what comes after a check was drawn waits for it.
    pub(super) fn holds_back(&self) -> bool {
        matches!(self, Self::Tidemill { .. })
    }

    /// Whether agreement of this share of the providers, who alone could have had the tasks, counts for their records.
    pub(super) fn counts_narrowed(&self, model: &Model, share: f64) -> bool {
        match self {
            Self::Tidemill { .. } => model.tells_within(share),
            Self::Iexec { .. } | Self::Boinc { .. } | Self::TwoOfTwo => true,
        }
    }

    /// Whether one who is caught has its unchecked results of the job that runs looked at again.
    pub(super) fn looks_again(&self) -> bool {
        matches!(self, Self::Tidemill { .. })
    }
}

fn iexec(voices: &[Voice], trust: f64) -> Ruling {
    let mut groups: Vec<(Answer, f64, u32)> = Vec::new();
    for Voice { opinion, weight, .. } in voices {
        match groups.iter_mut().find(|(answer, ..)| *answer == opinion.answer) {
            Some((_, product, count)) => {
                *product *= weight;
                *count += 1;
            }
            None => groups.push((opinion.answer, *weight, 1)),
        }
    }
    let sum: f64 = groups.iter().map(|(_, weight, _)| weight).sum();
    let taken = groups.iter().find(|(_, weight, _)| weight * trust > (1.0 + sum) * (trust - 1.0));
    match taken {
        Some((answer, _, count)) => Ruling::Accept { answer: *answer, is_unchecked: *count == 1 },
        None if voices.len() as u32 >= MOST_OF_IEXEC => Ruling::Undecided,
        None => Ruling::Ask(1),
    }
}
