//! What a job asks for of its results, and what that means in a network, before it is submitted.

use tidemill_job::JobSpec;
use tidemill_net::wire::NetworkTerms;
use tidemill_types::{Amount, Assurance, Comparison, Reliance};
use tidemill_verify::{Model, strangers_to_agree};

use crate::words::plural;

/// How many results of each task are made: at least, and at most while nobody contradicts another.
pub fn results_each(reliance: Reliance, terms: &NetworkTerms) -> (u32, u32) {
    match reliance {
        Reliance::Trusted | Reliance::Unverified => (1, 1),
        _ if terms.trusts_everybody => (1, 1),
        Reliance::Replicated { quorum, most } => (quorum, most),
        Reliance::Assured(assurance) => {
            let least = if assurance.needs_agreement() { 2 } else { 1 };
            // However little is asked for, somebody of whom nothing is known is checked.
            (least, strangers_to_agree(&Model::default(), assurance).max(2))
        }
    }
}

/// What a person should know, a line each.
pub fn lines(spec: &JobSpec, terms: &NetworkTerms) -> Vec<String> {
    let are_named = !spec.trusted().is_empty();
    let mut lines = said(*spec.reliance(), are_named, terms);
    let is_compared = matches!(spec.reliance(), Reliance::Assured(_) | Reliance::Replicated { .. });
    let is_compared = is_compared && !terms.trusts_everybody;
    if *spec.comparison() != Comparison::Exact {
        lines.push(match is_compared {
            true => format!("  outputs count as the same {}", spec.comparison()),
            false => "  outputs are compared with none, so `compare` has no effect".to_owned(),
        });
    }
    let is_assured = matches!(spec.reliance(), Reliance::Assured(_)) && !terms.trusts_everybody;
    let gain = Some(spec.outside_gain()).filter(|gain| !gain.is_zero());
    match terms.money {
        Some(_) if is_assured => lines.push(stakes(gain, terms)),
        None if gain.is_some() => {
            lines.push(
                "  this network is free and nobody has a stake in it, so `outside_gain` has no effect"
                    .to_owned(),
            );
        }
        _ if gain.is_some() => {
            lines.push("  how often results are checked does not depend on stakes here, so `outside_gain` has no effect".to_owned());
        }
        _ => {}
    }
    lines
}

/// What makes a job that nobody can decide one that can be decided.
pub const WAYS: &str = "ask for less with `assurance` or `replicate` under [policy], trust an operator with `trusted` there or \
                        `tidemill serve --trust`, or have more operators join";

/// Why nobody who is here can decide anything of a job, so that its results would be paid for nothing. A network that is
/// empty is waited for, and nothing is known of it.
pub fn undecidable(spec: &JobSpec, terms: &NetworkTerms) -> Option<String> {
    nobody_decides(*spec.reliance(), !spec.trusted().is_empty(), terms)
}

fn nobody_decides(reliance: Reliance, are_named: bool, terms: &NetworkTerms) -> Option<String> {
    let stage = terms.stages.iter().min_by_key(|stage| stage.operators)?;
    if terms.trusts_everybody || are_named || stage.operators == 0 || stage.trusted > 0 {
        return None;
    }
    let here = plural(stage.operators.into(), "operator");
    match reliance {
        Reliance::Replicated { quorum, .. } if stage.operators < quorum => Some(format!(
            "no task would be decided: the job asks for {quorum} equal results of each task, each by another operator, \
             and only {here} here could run it"
        )),
        Reliance::Assured(assurance) => {
            let (_, most) = results_each(reliance, terms);
            let is_enough = stage.agreed_one_in >= u64::from(assurance.results());
            (stage.operators < most && !is_enough).then(|| {
                format!(
                    "no task would be decided: if the {here} here that could run it all agree, 1 of {} results may \
                     still be wrong, with as few results as they have on record, and the job asks for {assurance}",
                    stage.agreed_one_in
                )
            })
        }
        _ => None,
    }
}

/// What the stakes of providers come to.
fn stakes(outside_gain: Option<Amount>, terms: &NetworkTerms) -> String {
    let Some(odds) = terms.slash_odds_ppm else {
        let so = match outside_gain {
            Some(_) => "what they have bonded says nothing about results, and `outside_gain` has no effect",
            None => "what they have bonded says nothing about results",
        };
        return format!("  stake: no contract of this ledger slashes providers, so {so}");
    };
    let Some(stage) = terms.stages.iter().min_by_key(|stage| stage.staked) else {
        return "  stake: nobody is here who could run it".to_owned();
    };
    let outside = outside_gain.map_or(String::new(), |gain| format!(", with {gain} for it from outside"));
    let odds = f64::from(odds) / 1e6;
    let (staked, operators) = (stage.staked, plural(stage.operators.into(), "operator"));
    let least = terms.stages.iter().filter(|stage| stage.staked > 0).map(|stage| stage.least_stake).min();
    let least = least.map_or(String::new(), |least| format!(", at least {least} each"));
    format!(
        "  stake: {staked} of {operators} would lose a bond by a wrong result{least}; results are checked so often that \
         cheating loses money{outside}, if {odds} of those who are caught are slashed"
    )
}

/// `are_named`: whether the job itself names operators that it trusts.
fn said(reliance: Reliance, are_named: bool, terms: &NetworkTerms) -> Vec<String> {
    let operators = terms.stages.iter().map(|stage| stage.operators).min().unwrap_or(0);
    let nobody_is_trusted = !are_named && terms.stages.iter().all(|stage| stage.trusted == 0);
    let too_few = |needed: u32| nobody_is_trusted && operators < needed;
    let here = match operators {
        1 => "1 operator is here".to_owned(),
        count => format!("{count} operators are here"),
    };
    let (least, most) = results_each(reliance, terms);
    match reliance {
        Reliance::Unverified => vec![
            "results are not verified (assurance = \"none\"): whatever comes first is taken, right or wrong".to_owned(),
        ],
        // One's own machines are all there is.
        _ if terms.trusts_everybody => Vec::new(),
        Reliance::Trusted if nobody_is_trusted => vec![
            "warning: only trusted machines get tasks, and none is here: name operators with `trusted` under [policy], or \
             start the coordinator with `--trust`; until one comes the job waits"
                .to_owned(),
        ],
        Reliance::Trusted => Vec::new(),
        Reliance::Replicated { quorum, .. } => {
            let each = if least == most { format!("{most}") } else { format!("{least} to {most}") };
            let mut lines = vec![format!("results: {each} of each task, of which {quorum} must be equal")];
            if too_few(quorum) {
                lines.push(format!("  warning: {here}: tasks will stay undecided"));
            }
            lines
        }
        Reliance::Assured(assurance) => {
            let mut lines = vec![format!(
                "results: {assurance}; {least} to {most} of each task, by how much is known of its providers"
            )];
            if assurance.needs_agreement() {
                lines.push(format!(
                    "  spot checks bound 1 in {} at best: every result is agreed on, or comes from a trusted machine",
                    Assurance::MOST_BY_SPOT_CHECKS
                ));
            }
            if too_few(most) {
                lines.push(format!(
                    "  warning: {here}, and {} of whom nothing is known must agree: tasks may stay undecided (trust some \
                     with `tidemill serve --trust`, or ask for less)",
                    plural(most.into(), "operator")
                ));
            }
            lines
        }
    }
}

#[cfg(test)]
mod tests {
    use tidemill_net::wire::StageTerms;

    use super::*;

    fn terms(operators: u32, trusted: u32, trusts_everybody: bool) -> NetworkTerms {
        let stage = StageTerms {
            providers: operators,
            operators,
            trusted,
            // Each stranger who agrees makes it ten times as sure, about.
            agreed_one_in: 2 * 10_u64.pow(operators.saturating_sub(1).min(9)),
            staked: 0,
            least_stake: Amount::ZERO,
            highest: None,
            lowest: None,
            typical_fuel: None,
        };
        NetworkTerms { money: None, trusts_everybody, slash_odds_ppm: None, stages: vec![stage] }
    }

    fn assured(results: u32) -> Reliance {
        Reliance::Assured(Assurance::one_in(results).expect("it is in bounds"))
    }

    #[test]
    fn a_person_hears_what_the_network_cannot_do() {
        let has = |reliance, terms: &NetworkTerms, words: &str| {
            let lines = said(reliance, false, terms);
            assert!(lines.iter().any(|line| line.contains(words)), "{words}: {lines:?}");
        };
        has(assured(1_000), &terms(5, 0, false), "6 operators of whom nothing is known must agree");
        has(assured(20_000), &terms(50, 0, false), "spot checks bound 1 in 10000");
        has(Reliance::Replicated { quorum: 2, most: 5 }, &terms(1, 0, false), "1 operator is here");
        has(Reliance::Trusted, &terms(5, 0, false), "only trusted machines get tasks");
        has(Reliance::Unverified, &terms(5, 5, true), "not verified");
    }

    #[test]
    fn nothing_is_said_where_nothing_is_amiss() {
        assert_eq!(said(assured(1_000), false, &terms(0, 0, true)), Vec::<String>::new());
        assert_eq!(said(Reliance::Trusted, true, &terms(0, 0, false)), Vec::<String>::new());
        let warns = |reliance, terms: &NetworkTerms| {
            said(reliance, false, terms).iter().any(|line| line.contains("warning"))
        };
        assert!(!warns(assured(1_000), &terms(6, 0, false)));
        assert!(!warns(assured(1_000), &terms(2, 1, false)));
        assert!(!warns(Reliance::Replicated { quorum: 2, most: 5 }, &terms(3, 0, false)));
    }

    #[test]
    fn what_nobody_here_can_decide_is_refused() {
        let why = |reliance, terms: &NetworkTerms| nobody_decides(reliance, false, terms);
        let replicated = Reliance::Replicated { quorum: 3, most: 5 };
        assert!(
            why(replicated, &terms(2, 0, false)).is_some_and(|why| why.contains("only 2 operators here"))
        );
        assert_eq!(why(replicated, &terms(3, 0, false)), None);
        assert!(why(assured(1_000), &terms(3, 0, false)).is_some_and(|why| why.contains("1 of 200 results")));
        assert_eq!(why(assured(1_000), &terms(4, 0, false)), None, "as sure as is asked for");
        assert_eq!(why(assured(1_000), &terms(6, 0, false)), None, "as many as strangers would need");
        for reliance in [replicated, assured(1_000)] {
            assert_eq!(why(reliance, &terms(0, 0, false)), None, "an empty network is waited for");
            assert_eq!(why(reliance, &terms(2, 1, false)), None, "one is trusted");
            assert_eq!(why(reliance, &terms(2, 0, true)), None, "all are");
            assert_eq!(nobody_decides(reliance, true, &terms(2, 0, false)), None, "the job trusts somebody");
        }
    }

    #[test]
    fn stakes_are_told_of() {
        let none = terms(7, 0, false);
        assert!(stakes(None, &none).contains("no contract of this ledger slashes"));
        let mut some = NetworkTerms { slash_odds_ppm: Some(900_000), ..none };
        (some.stages[0].staked, some.stages[0].least_stake) = (5, Amount::tide(100));
        assert_eq!(
            stakes(Some(Amount::tide(2)), &some),
            "  stake: 5 of 7 operators would lose a bond by a wrong result, at least 100 TIDE each; results are checked so \
             often that cheating loses money, with 2 TIDE for it from outside, if 0.9 of those who are caught are slashed"
        );
    }

    #[test]
    fn what_is_trusted_is_made_once() {
        assert_eq!(results_each(assured(1_000), &terms(0, 0, false)), (1, 6));
        assert_eq!(results_each(assured(2), &terms(7, 0, false)), (1, 2));
        assert_eq!(results_each(assured(1_000), &terms(0, 0, true)), (1, 1));
        assert_eq!(results_each(assured(20_000), &terms(9, 0, false)), (2, 8));
        assert_eq!(results_each(Reliance::Trusted, &terms(9, 0, false)), (1, 1));
    }
}
