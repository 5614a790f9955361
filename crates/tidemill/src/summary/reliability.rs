//! How a job's results came to be relied on, and those that have no verdict, for people.

use tidemill_net::wire::{JobReport, Reliability, Unjudged};
use tidemill_types::Fuel;
use tidemill_web::told::compared_in_words;

use super::plural;

/// How a job's results came to be relied on, in a line, for people; nothing before a result is there.
pub fn reliability_in_words(report: &JobReport) -> Option<String> {
    let Reliability { asked, compared, results, known, trusted, unchecked, agreed, unverified, undecided } =
        report.reliability;
    if results == 0 {
        return None;
    }
    let each = match report.reliability.redundancy(report.done) {
        Some(redundancy) => format!(", {redundancy:.2} each"),
        None => String::new(),
    };
    let grounds = [
        (trusted, "by trusted machines"),
        (agreed, "by agreement"),
        (unchecked, "unchecked, of credible providers"),
        (unverified, "not verified"),
    ];
    let grounds = grounds.iter().filter(|(tasks, _)| *tasks > 0);
    let words: Vec<String> = grounds.map(|(tasks, how)| format!("{tasks} {how}")).collect();
    let accepted = match words.is_empty() {
        true => String::new(),
        false => format!(": {}", words.join(", ")),
    };
    let undecided = match undecided {
        0 => String::new(),
        tasks => format!("; no verdict on {}", plural(tasks, "task")),
    };
    let tried = match known {
        0 => String::new(),
        known => format!("; {known} of the results of tasks whose answer was known"),
    };
    let compared = match compared_in_words(&compared) {
        Some(how) => format!("; the same {how}"),
        None => String::new(),
    };
    let tasks = match report.done {
        0 => String::new(),
        done => format!(" for {}", plural(done, "task")),
    };
    Some(format!(
        "{}{tasks}{each} (asked for: {asked}{compared}){accepted}{undecided}{tried}",
        plural(results, "result"),
    ))
}

/// The work that has no verdict, in a line, for people; nothing where there is none.
pub fn unjudged_in_words(report: &JobReport) -> Option<String> {
    let Unjudged { results, busy, fuel } = report.unjudged();
    let waits = match (report.phase.is_ended(), results) {
        (_, 0) => return None,
        (false, 1) => "waits for a verdict",
        (false, _) => "wait for a verdict",
        (true, 1) => "was left without a verdict",
        (true, _) => "were left without a verdict",
    };
    let busy = busy.duration().as_secs_f64();
    Some(format!("{} {waits}: {} fuel in {busy:.1} s of running", plural(results, "result"), Fuel(fuel)))
}

/// Odds, as people read them.
pub fn odds_in_words(odds: f64) -> String {
    if odds <= 0.0 { "none".to_owned() } else { format!("1 in {:.0}", 1.0 / odds) }
}

#[cfg(test)]
mod tests {
    use tidemill_net::wire::{Contribution, JobPhase};
    use tidemill_types::{Amount, JobId, Millis, NodeId, Principal, TaskNumber, Usage};

    use super::*;

    fn report(phase: JobPhase, unjudged: Unjudged, reliability: Reliability) -> JobReport {
        let of_one = Contribution {
            node: NodeId([1; 32]),
            name: "mill".to_owned(),
            tasks: 0,
            busy: Millis(0),
            fuel: 0,
            unjudged,
            lost_attempts: 0,
            checks: 0,
            contradicted: 0,
            earned: Amount::ZERO,
        };
        JobReport {
            job: JobId([1; 16]),
            requester: Principal::Node(NodeId([2; 32])),
            name: "kmer".to_owned(),
            phase,
            submitted_ms: 0,
            ended_ms: None,
            tasks: 25,
            map_tasks: 24,
            done: 0,
            leased: 0,
            lost_attempts: 0,
            usage: Usage::default(),
            contributions: vec![of_one.clone(), of_one],
            stuck: None,
            cost: None,
            reliability,
        }
    }

    #[test]
    fn work_without_a_verdict_is_told_while_it_waits_and_after() {
        let unjudged = Unjudged { results: 36, busy: Millis(1_500), fuel: 2_000_000 };
        let words = |phase, unjudged| unjudged_in_words(&report(phase, unjudged, Reliability::default()));
        assert_eq!(
            words(JobPhase::Running, unjudged).as_deref(),
            Some("72 results wait for a verdict: 4M fuel in 3.0 s of running")
        );
        let undecided = JobPhase::Undecided { tasks: 24, first: TaskNumber(0), label: "a".to_owned() };
        assert_eq!(
            words(undecided, unjudged).as_deref(),
            Some("72 results were left without a verdict: 4M fuel in 3.0 s of running")
        );
        assert_eq!(words(JobPhase::Running, Unjudged::default()), None);
        let told = tidemill_web::told::unjudged(unjudged);
        assert_eq!(told, tidemill_api::Unjudged { results: 36, busy_s: 1.5, fuel: 2_000_000 });
    }

    #[test]
    fn results_are_told_of_before_any_task_is_done() {
        let reliability = Reliability { results: 9, undecided: 6, ..Reliability::default() };
        let words = reliability_in_words(&report(JobPhase::Running, Unjudged::default(), reliability));
        assert_eq!(
            words.as_deref(),
            Some("9 results (asked for: at most 1 wrong in 1000); no verdict on 6 tasks")
        );
    }
}
