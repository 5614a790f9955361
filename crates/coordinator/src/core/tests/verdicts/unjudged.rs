//! What is told of results that have no verdict.

use std::sync::Arc;

use tidemill_job::JobSpec;
use tidemill_net::wire::{ProviderReport, Reply, Standing, Unjudged};
use tidemill_store::{JobEnd, OpinionRecord};
use tidemill_types::{Fuel, TaskId, TaskNumber};

use super::{
    Does::{self, Lies, Right},
    Scene, among, job_id, tasks,
};
use crate::{
    core::{Summary, standing},
    event::{Effect, Question},
};

/// What a result of a peer burns.
const FUEL: u64 = 1_000_000;

fn providers(scene: &mut Scene) -> Vec<ProviderReport> {
    scene.world.ask(Question::Providers);
    let replies = scene.world.settle().into_iter().filter_map(|effect| match effect {
        Effect::Reply(_, answer) => answer.reply.ok(),
        _ => None,
    });
    let told = replies.filter_map(|reply| match reply {
        Reply::Providers(providers) => Some(providers),
        _ => None,
    });
    told.last().expect("the question is answered")
}

fn left(scene: &Scene) -> Vec<(u64, Unjudged)> {
    let ended = scene.world.record(job_id(1)).ended.expect("the job has ended");
    let summary = Summary::decode(&ended.summary).expect("a summary");
    summary.contributions.iter().map(|one| (one.tasks, one.unjudged)).collect()
}

#[test]
fn what_waits_for_a_verdict_and_what_ends_without_one_is_told() {
    let mut scene = Scene::of(among(&[]), tasks(3, "assurance = 1000"), &[Right; 2]);
    while scene.said().len() < 6 {
        scene.step();
    }
    let now = scene.world.now;
    let report = scene.world.core.job_report(job_id(1), &scene.world.core.jobs[&job_id(1)], now);
    assert_eq!((report.done, report.usage.fuel), (0, Fuel(0)), "nothing is accepted");
    let unjudged = report.unjudged();
    assert_eq!((unjudged.results, unjudged.fuel), (6, 6 * FUEL));
    let of_each: Vec<_> = report.contributions.iter().map(|one| (one.tasks, one.unjudged.results)).collect();
    assert_eq!(of_each, [(0, 3), (0, 3)]);
    assert_eq!(providers(&mut scene).iter().map(|one| one.unjudged).collect::<Vec<_>>(), [3, 3]);

    assert_eq!(scene.run(), JobEnd::Undecided { tasks: 3, first: TaskNumber(0) });
    let left = left(&scene);
    assert_eq!(left.iter().map(|(tasks, of)| (*tasks, of.results)).collect::<Vec<_>>(), [(0, 3), (0, 3)]);
    assert_eq!(left.into_iter().map(|(_, of)| of).sum::<Unjudged>(), unjudged);
    assert_eq!(providers(&mut scene).iter().map(|one| one.unjudged).collect::<Vec<_>>(), [3, 3]);
}

#[test]
fn a_crash_forgets_no_result_that_waits() {
    let mut scene = Scene::of(among(&[]), tasks(2, "assurance = 1000"), &[Right; 2]);
    while scene.said().len() < 4 {
        scene.step();
    }
    scene.world.settle();
    scene.world.crash();
    let now = scene.world.now;
    let report = scene.world.core.job_report(job_id(1), &scene.world.core.jobs[&job_id(1)], now);
    assert_eq!((report.unjudged().results, report.unjudged().fuel), (4, 4 * FUEL));
}

#[test]
fn a_verdict_leaves_nothing_unjudged() {
    let mut scene = Scene::of(among(&[2]), tasks(6, "assurance = 1000"), &[Lies, Right, Right]);
    assert_eq!(scene.run(), JobEnd::Done);
    assert!(left(&scene).iter().all(|(_, unjudged)| *unjudged == Unjudged::default()));
    assert!(providers(&mut scene).iter().all(|provider| provider.unjudged == 0));
}

/// The results of a job's only task once there are so many, none of which decides it.
fn said(peers: &[Does], policy: &str, count: usize) -> (Vec<OpinionRecord>, Arc<JobSpec>) {
    let mut scene = Scene::of(among(&[]), tasks(1, policy), peers);
    while scene.said().len() < count {
        scene.step();
    }
    scene.world.settle();
    let id = TaskId { job: job_id(1), task: TaskNumber(0) };
    (scene.world.store.opinions(id).expect("the store can be read"), scene.spec)
}

fn come_to(peers: &[Does], policy: &str, count: usize) -> Standing {
    let (opinions, spec) = said(peers, policy, count);
    standing(&spec, TaskNumber(0), &opinions, false).expect("there are results")
}

#[test]
fn results_without_a_verdict_come_to_odds() {
    let one = come_to(&[Right], "assurance = 1000", 1);
    let two = come_to(&[Right; 2], "assurance = 1000", 2);
    assert_eq!((one.results, one.agreeing, two.results, two.agreeing), (1, 1, 2, 2));
    let odds = |standing: Standing| standing.error_ppb.expect("results are weighed");
    // They were not enough: the odds are worse than 1 in 1000.
    assert!(odds(one) > odds(two) && odds(two) > 1_000_000, "{one:?}, {two:?}");

    let apart = come_to(&[Right, Lies], "assurance = 1000", 2);
    assert_eq!((apart.results, apart.agreeing), (2, 1));
    assert!(odds(apart) >= 500_000_000, "either is as likely: {apart:?}");

    let counted = come_to(&[Right, Lies], "replicate = 3", 2);
    assert_eq!(counted, Standing { results: 2, agreeing: 1, error_ppb: None });

    let (opinions, spec) = said(&[Right; 2], "assurance = 1000", 2);
    let beside_a_failure = standing(&spec, TaskNumber(0), &opinions, true).expect("there are results");
    assert_eq!(beside_a_failure, Standing { error_ppb: None, ..two });
    assert_eq!(standing(&spec, TaskNumber(0), &[], false), None);
}
