//! What is to be done next about one task.

use crate::{Assurance, Model, Opinion, Verdict, Witness, judge};

/// What is to be done next about a task.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Next<A> {
    /// This answer is accepted.
    Accept {
        /// The answer.
        answer: A,
        /// The odds that it is wrong; none where votes were counted and not weighed.
        error_odds: Option<f64>,
        /// Whether nobody else was asked.
        is_unchecked: bool,
    },
    /// So many more results are wanted, of operators that gave none yet.
    Ask {
        /// How many.
        more: u32,
    },
    /// So many were asked, and it is not certain: a machine that is trusted has to decide, or the task stays undecided.
    Stuck {
        /// The odds that the likeliest answer is wrong; none where votes were counted.
        error_odds: Option<f64>,
    },
}

/// How a task's results are judged.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Course {
    /// By credibility, up to so many results.
    Assured {
        /// The job's assurance.
        assurance: Assurance,
        /// More are not asked.
        most: u32,
    },
    /// By so many equal results of different operators out of so many.
    Replicated {
        /// How many must agree.
        quorum: u32,
        /// How many are asked at most.
        most: u32,
    },
    /// What the first says is believed.
    Believed,
}

impl Course {
    /// What is to be done next, with these results. `chosen`: whether the first result was chosen for a check.
    pub fn next<A: Copy + Ord>(&self, model: &Model, opinions: &[Opinion<A>], chosen: bool) -> Next<A> {
        let Some(first) = opinions.first() else { return Next::Ask { more: self.at_first() } };
        match *self {
            Self::Believed => {
                Next::Accept { answer: first.answer, error_odds: Some(first.error_odds), is_unchecked: true }
            }
            Self::Replicated { quorum, most } => replicated(opinions, quorum, most),
            Self::Assured { assurance, most } => {
                if let [only] = opinions
                    && !chosen
                    && only.error_odds <= assurance.bound()
                {
                    return Next::Accept {
                        answer: only.answer,
                        error_odds: Some(only.error_odds),
                        is_unchecked: true,
                    };
                }
                let enough = match opinions {
                    [only] => only.witness == Witness::Trusted,
                    _ => true,
                };
                match judge(model, assurance, opinions) {
                    Verdict::Accepted { answer, error_odds } if enough => {
                        Next::Accept { answer, error_odds: Some(error_odds), is_unchecked: false }
                    }
                    Verdict::Accepted { .. } => Next::Ask { more: 1 },
                    Verdict::Undecided { error_odds } if witnesses(opinions) >= most => {
                        Next::Stuck { error_odds: Some(error_odds) }
                    }
                    Verdict::Undecided { .. } => Next::Ask { more: 1 },
                }
            }
        }
    }

    /// How many results are asked for at once, before there is any.
    fn at_first(&self) -> u32 {
        match self {
            Self::Replicated { quorum, .. } => *quorum,
            Self::Assured { .. } | Self::Believed => 1,
        }
    }
}

fn witnesses<A>(opinions: &[Opinion<A>]) -> u32 {
    let mut witnesses: Vec<Witness> = opinions.iter().map(|opinion| opinion.witness).collect();
    witnesses.sort_unstable();
    witnesses.dedup();
    u32::try_from(witnesses.len()).unwrap_or(u32::MAX)
}

fn replicated<A: Copy + Ord>(opinions: &[Opinion<A>], quorum: u32, most: u32) -> Next<A> {
    let mut voices: Vec<(A, Witness)> =
        opinions.iter().map(|opinion| (opinion.answer, opinion.witness)).collect();
    voices.sort_unstable();
    voices.dedup();
    let trusted = voices.iter().find(|(_, witness)| *witness == Witness::Trusted);
    if let Some((answer, _)) = trusted {
        return Next::Accept { answer: *answer, error_odds: Some(0.0), is_unchecked: false };
    }
    let count = |answer: A| voices.iter().filter(|(other, _)| *other == answer).count() as u32;
    let best = voices.iter().map(|(answer, _)| (count(*answer), *answer)).max();
    let Some((support, answer)) = best else { return Next::Ask { more: quorum } };
    // Who said two things is one witness all the same.
    let asked = witnesses(opinions);
    if support >= quorum {
        Next::Accept { answer, error_odds: None, is_unchecked: false }
    } else if asked + (quorum - support) > most {
        Next::Stuck { error_odds: None }
    } else {
        Next::Ask { more: quorum - support }
    }
}

/// Whether a result is chosen for a check at a rate. Who does not know the key cannot foresee it: `roll` is a keyed hash
/// of the lease, as a number.
pub fn is_chosen(roll: u64, rate: f64) -> bool {
    // As 53 bits, which is what `f64` has.
    ((roll >> 11) as f64) < rate * (1_u64 << 53) as f64
}
