//! Jobs for the tests of pages.

use tidemill_net::wire::{JobCost, Reliability, Unjudged};
use tidemill_types::{Amount, EscrowId, JobId, Millis, NodeId, Principal, Usage};

use super::*;

/// A job in a phase.
pub fn report(phase: JobPhase) -> JobReport {
    let done = if phase == JobPhase::Done { 100 } else { 68 };
    JobReport {
        job: JobId([7; 16]),
        requester: Principal::Node(NodeId([2; 32])),
        name: "poster".to_owned(),
        ended_ms: phase.is_ended().then_some(90_000),
        phase,
        submitted_ms: 60_000,
        tasks: 100,
        map_tasks: 99,
        done,
        leased: 8,
        lost_attempts: 1,
        usage: Usage::default(),
        contributions: vec![Contribution {
            node: NodeId([1; 32]),
            name: "mill".to_owned(),
            tasks: done,
            busy: Millis(1_500),
            fuel: 1,
            unjudged: Unjudged::default(),
            lost_attempts: 0,
            checks: 2,
            contradicted: 0,
            earned: Amount::ZERO,
        }],
        stuck: None,
        cost: None,
        reliability: Reliability { results: 70, unchecked: done, ..Reliability::default() },
    }
}

fn page(job: JobReport) -> String {
    let grid = Arc::new(Grid::new(job.tasks));
    View { job, grid, output: None, now_ms: 94_000 }.content().into_string()
}

#[test]
fn a_job_that_runs_says_how_far_it_is_and_can_be_cancelled() {
    let page = page(report(JobPhase::Running));
    for words in
        ["68 %", "68 of 100 tasks accepted", "Running for", "34 s", "2.0 tasks/s", "about 16 s", "Cancel job"]
    {
        assert!(page.contains(words), "{words}: {page}");
    }
    assert!(page.contains("nobody is paid"), "{page}");
}

#[test]
fn a_job_that_ended_says_why_and_cannot_be_cancelled() {
    let page = page(report(JobPhase::Deadline));
    assert!(page.contains("The deadline passed") && page.contains("deadline = "), "{page}");
    assert!(!page.contains("Cancel job") && page.contains("was not done"), "{page}");
}

#[test]
fn money_and_liars_are_never_hidden() {
    let mut job = report(JobPhase::Running);
    job.cost = Some(JobCost {
        escrow: EscrowId([9; 32]),
        earned: Amount::tide(2),
        reserved: Amount::tide(1),
        left: Amount::tide(5),
    });
    job.contributions[0].contradicted = 3;
    let page = page(job);
    assert!(page.contains("25 % earned, 12 % held back"), "{page}");
    assert!(page.contains("mill contradicts the accepted answer") && page.contains("3 wrong"), "{page}");
}

#[test]
fn pages_have_no_style_and_no_script_inside() {
    for phase in [JobPhase::Running, JobPhase::Done] {
        let page = page(report(phase));
        assert!(
            !page.contains(" style=") && !page.contains("<script") && !page.contains(" onclick"),
            "{page}"
        );
    }
}
