//! What the results of a task come to that has no verdict, by what is on disk.

use std::collections::{BTreeMap, BTreeSet};

use tidemill_job::JobSpec;
use tidemill_net::wire::Standing;
use tidemill_store::OpinionRecord;
use tidemill_types::{Address, Reliance, TaskNumber};
use tidemill_verify::{Model, Opinion, Verdict, Witness, judge};

use super::{Answer, billionths, comparing::compares_by_class, work_of};

/// The state of the results of an unfinished task; nothing without results. `fails`: whether a provider says that the
/// task fails, which has a weight that is not on disk.
pub(crate) fn standing(
    spec: &JobSpec,
    task: TaskNumber,
    opinions: &[OpinionRecord],
    fails: bool,
) -> Option<Standing> {
    let comparable = largest_class(opinions, compares_by_class(spec, task));
    let answer = |opinion: &OpinionRecord| {
        Answer::Output(opinion.counts_as(), work_of(spec, task, &opinion.result.usage))
    };
    let mut voices: BTreeMap<Answer, BTreeSet<Address>> = BTreeMap::new();
    for opinion in &comparable {
        voices.entry(answer(opinion)).or_default().insert(opinion.result.operator);
    }
    let agreeing = voices.values().map(BTreeSet::len).max()?;
    let odds = match spec.reliance() {
        Reliance::Assured(assurance) if !fails => {
            let weighed: Vec<_> = comparable.iter().map(|opinion| said(opinion, answer(opinion))).collect();
            let (Verdict::Accepted { error_odds, .. } | Verdict::Undecided { error_odds }) =
                judge(&Model::default(), *assurance, &weighed);
            Some(error_odds)
        }
        _ => None,
    };
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    Some(Standing {
        results: count(opinions.len()),
        agreeing: count(agreeing),
        error_ppb: odds.map(billionths),
    })
}

/// The largest group of results that can be compared with each other, whatever their class of hardware or within one.
fn largest_class(opinions: &[OpinionRecord], by_class: bool) -> Vec<&OpinionRecord> {
    let mut classes: BTreeMap<Option<&str>, Vec<&OpinionRecord>> = BTreeMap::new();
    for opinion in opinions {
        let class = opinion.result.hardware_class.as_deref().filter(|_| by_class);
        classes.entry(class).or_default().push(opinion);
    }
    classes.into_values().max_by_key(Vec::len).unwrap_or_default()
}

/// A result as it was weighed when it came: only what the trusted say has no odds.
fn said(opinion: &OpinionRecord, answer: Answer) -> Opinion<Answer> {
    let witness = match opinion.error_ppb {
        0 => Witness::Trusted,
        _ => Witness::Operator(opinion.result.operator),
    };
    Opinion { witness, answer, error_odds: f64::from(opinion.error_ppb) / 1e9 }
}
