//! What several results of one task come to.

use std::collections::{BTreeMap, BTreeSet};

use tidemill_types::Address;

use crate::{Assurance, Model};

/// Who says what the answer to a task is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Witness {
    /// A machine of the requester's or the coordinator's own: what it says is right.
    Trusted,
    /// A provider of this operator. However many it has, they are one witness.
    Operator(Address),
}

/// One result of a task.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Opinion<A> {
    /// Who made it.
    pub witness: Witness,
    /// What it says: results that count as the same are equal.
    pub answer: A,
    /// The odds that it is wrong, if nobody else is asked.
    pub error_odds: f64,
}

/// What several results of one task come to.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Verdict<A> {
    /// This answer is right but for these odds, which are within the bound.
    Accepted {
        /// The answer.
        answer: A,
        /// The odds that it is wrong.
        error_odds: f64,
    },
    /// None is certain enough.
    Undecided {
        /// The odds that even the likeliest answer is wrong.
        error_odds: f64,
    },
}

/// The odds that one of whom nothing is known is right are not believed to be worse than this.
const LEAST_HONEST: f64 = 0.5;

/// Which answer is right, and how certain that is.
///
/// Each answer that was given may be the right one, or none of them is. If an answer is wrong, one of those who gave it
/// lied, the least likely of them at that, and the others said the same because they are of one group; answers that are
/// wrong for different reasons do not agree. If it is right, those who gave it did not lie. By Bayes' rule, with every
/// answer as likely beforehand, that is the weight of each.
pub fn judge<A: Copy + Ord>(model: &Model, assurance: Assurance, opinions: &[Opinion<A>]) -> Verdict<A> {
    let Weights { answers, all_lied } = Weights::of(model, opinions);
    let sum = all_lied + answers.iter().map(|(_, weight)| weight).sum::<f64>();
    let best = answers.iter().enumerate().max_by(|(_, (_, a)), (_, (_, b))| a.total_cmp(b));
    let Some((at, (answer, weight))) = best.filter(|_| sum > 0.0) else {
        return Verdict::Undecided { error_odds: 1.0 };
    };
    // Not one minus the weight: that would lose what is small.
    let others: f64 =
        answers.iter().enumerate().filter(|(other, _)| *other != at).map(|(_, (_, weight))| weight).sum();
    let error_odds = (all_lied + others) / (all_lied + others + weight);
    match error_odds <= assurance.bound() {
        true => Verdict::Accepted { answer: *answer, error_odds },
        false => Verdict::Undecided { error_odds },
    }
}

/// The answers that are likeliest to be right: several only where they are as likely, or where what is certain contradicts
/// itself.
pub fn likeliest<A: Copy + Ord>(model: &Model, opinions: &[Opinion<A>]) -> BTreeSet<A> {
    /// Weights that differ by less differ by how they were rounded.
    const ALIKE: f64 = 1.0 - 1e-9;
    let Weights { answers, .. } = Weights::of(model, opinions);
    let best = answers.iter().map(|(_, weight)| *weight).fold(0.0, f64::max);
    answers.into_iter().filter(|(_, weight)| *weight >= best * ALIKE).map(|(answer, _)| answer).collect()
}

/// How much speaks for each answer, and for none of them.
struct Weights<A> {
    answers: Vec<(A, f64)>,
    all_lied: f64,
}

impl<A: Copy + Ord> Weights<A> {
    fn of(model: &Model, opinions: &[Opinion<A>]) -> Self {
        let mut groups: BTreeMap<A, Vec<&Opinion<A>>> = BTreeMap::new();
        for opinion in opinions {
            groups.entry(opinion.answer).or_default().push(opinion);
        }
        let weighed: Vec<(A, f64, f64)> = groups
            .into_iter()
            .map(|(answer, group)| {
                let (lied, honest) = weigh(model, &group);
                (answer, lied, honest)
            })
            .collect();
        let all_lied: f64 = weighed.iter().map(|(_, lied, _)| lied).product();
        let right = |at: usize| -> f64 {
            let others = weighed.iter().enumerate().filter(|(other, _)| *other != at);
            weighed[at].2 * others.map(|(_, (_, lied, _))| lied).product::<f64>()
        };
        let answers = weighed.iter().enumerate().map(|(at, (answer, ..))| (*answer, right(at))).collect();
        Self { answers, all_lied }
    }
}

/// How likely all who gave an answer lied, and how likely none did.
fn weigh<A>(model: &Model, group: &[&Opinion<A>]) -> (f64, f64) {
    if group.iter().any(|opinion| opinion.witness == Witness::Trusted) {
        return (0.0, 1.0);
    }
    let mut of_each = BTreeMap::new();
    for opinion in group {
        let odds: &mut f64 = of_each.entry(opinion.witness).or_insert(0.0);
        *odds = odds.max(opinion.error_odds);
    }
    let least = of_each.values().copied().fold(1.0, f64::min);
    let lied = of_each.iter().skip(1).fold(least, |lied, _| lied * model.colluding);
    let honest = of_each.values().map(|odds| (1.0 - odds).max(LEAST_HONEST)).product();
    (lied, honest)
}

/// How many strangers must agree before what they say is accepted, if nobody contradicts them.
pub fn strangers_to_agree(model: &Model, assurance: Assurance) -> u32 {
    let stranger = model.error_odds(&crate::Record::default(), 1.0);
    let agree =
        |number: &u8| odds_of_agreement(model, &vec![stranger; usize::from(*number)]) <= assurance.bound();
    (1..=u8::MAX).find(agree).map_or(u32::MAX, u32::from)
}

/// The odds that an answer is wrong which operators give whose results are wrong with these odds, one operator each, if
/// nobody contradicts them.
pub fn odds_of_agreement(model: &Model, each: &[f64]) -> f64 {
    let said = each.iter().zip(0_u64..).map(|(error_odds, number)| {
        let mut address = [0; 20];
        address[..8].copy_from_slice(&number.to_be_bytes());
        Opinion { witness: Witness::Operator(Address(address)), answer: (), error_odds: *error_odds }
    });
    // Which assurance is asked for does not change the odds.
    match judge(model, Assurance::DEFAULT, &said.collect::<Vec<_>>()) {
        Verdict::Accepted { error_odds, .. } | Verdict::Undecided { error_odds } => error_odds,
    }
}
