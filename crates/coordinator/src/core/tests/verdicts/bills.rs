//! What results are paid for: work that others found too.

use std::{collections::BTreeMap, sync::Arc};

use tidemill_job::JobSpec;
use tidemill_net::wire::{Decision, Unpaid};
use tidemill_store::JobEnd;
use tidemill_types::{Amount, Billable, ByteSize, Fuel, Limits, Metered, RateCard, TaskId, TaskNumber};
use tidemill_verify::Model;

use super::{
    super::peer::{FUEL, LARGE, failed},
    Does::{self, Overbills, Right},
    Peer, Scene, World, among_strangers, job_id, job_spec, tasks,
};
use crate::{
    core::{CoreConfig, Fate, fate},
    event::Effect,
};

/// A paid job among strangers, of whom these are trusted.
fn scene(spec: Arc<JobSpec>, trusted: &[u8], peers: &[Does]) -> Scene {
    let trusted: Vec<_> = trusted.iter().map(|number| Peer::new(*number).operator()).collect();
    let mut world = World::with(among_strangers(true, &trusted), &[]);
    world.fund_and_submit(job_id(1), &spec);
    Scene::with(world, spec, peers)
}

/// The most that the honest work of a task comes to. A bill for all that it may burn is hundreds of times more.
fn honest() -> Amount {
    let moved = ByteSize(LARGE as u64 + 1_000);
    RateCard::default().price(&Billable {
        work: Metered::Fuel(FUEL),
        memory: Limits::default().memory,
        moved,
    })
}

/// What each peer was told of its results, once all was told.
fn told(scene: &mut Scene) -> BTreeMap<u8, Vec<Decision>> {
    (0..40).for_each(|_| scene.step());
    let mut told: BTreeMap<u8, Vec<Decision>> = BTreeMap::new();
    for (number, decision) in scene.decisions.values() {
        told.entry(*number).or_default().push(*decision);
    }
    told
}

fn paid(decisions: &[Decision]) -> Vec<Amount> {
    let paid = decisions.iter().filter_map(|decision| match decision {
        Decision::Paid(amount) => Some(*amount),
        Decision::Unpaid(_) => None,
    });
    paid.collect()
}

#[test]
fn a_bill_for_more_than_the_work_is_contradicted_like_a_wrong_output() {
    let peers = [Overbills, Right, Right, Right, Right, Right, Right];
    let mut scene = scene(tasks(6, "assurance = 100"), &[], &peers);
    assert_eq!(scene.run(), JobEnd::Done);
    scene.world.check_outputs(job_id(1), &scene.spec.clone());
    let told = told(&mut scene);
    assert!(told[&1].contains(&Decision::Unpaid(Unpaid::Contradicted)) && paid(&told[&1]).is_empty());
    for number in 2..=7 {
        let of_it = paid(&told[&number]);
        assert!(!of_it.is_empty() && of_it.iter().all(|amount| *amount <= honest()), "{of_it:?}");
    }
    assert!(scene.lies_of(1) > 0 && (2..=7).all(|number| scene.lies_of(number) == 0));
    let of_tasks = (0..6).map(|task| TaskId { job: job_id(1), task: TaskNumber(task) });
    let kept: usize =
        of_tasks.map(|id| scene.world.store.evidence_count(id).expect("the store can be read")).sum();
    assert!(kept > 0, "the two signed bills are evidence");
}

#[test]
fn known_answers_have_known_work() {
    let model = Model { least_rate: 0.2, ..Model::default() };
    let config = CoreConfig { model, ..among_strangers(false, &[Peer::new(1).operator()]) };
    let spec = tasks(400, "assurance = 1000");
    let mut scene = Scene::of(World::with(config, &[]), spec, &[Right, Overbills, Right]);
    assert_eq!(scene.run(), JobEnd::Done);
    scene.world.check_outputs(job_id(1), &scene.spec.clone());
    let ids = (0..400).map(|task| TaskId { job: job_id(1), task: TaskNumber(task) });
    let opinions = ids.flat_map(|id| scene.world.store.opinions(id).expect("the store can be read"));
    let tried: Vec<_> = opinions.filter_map(|said| Some((said.result.provider.0[0], said.known?))).collect();
    assert!(tried.contains(&(2, false)), "{tried:?}");
    assert!(tried.iter().all(|(number, is_right)| *is_right == (*number != 2)), "{tried:?}");
}

#[test]
fn what_counts_as_the_same_is_paid_by_what_the_others_claim() {
    let policy = "replicate = 3\nquorum = 3\ncompare = { numbers = \"u8\", absolute = 2 }";
    let spec = job_spec(
        "retries = 3\ntasks.range = { from = 0, to = 12 }",
        &format!("args = [\"{{index}}\", \"noisy\"]\n[policy]\n{policy}\n"),
    );
    let mut scene = scene(spec, &[], &[Overbills, Right, Right]);
    assert_eq!(scene.run(), JobEnd::Done);
    let told = told(&mut scene);
    for number in 1..=3 {
        let of_it = paid(&told[&number]);
        assert!(of_it.len() == 12 && of_it.iter().all(|amount| *amount <= honest()), "{number}: {of_it:?}");
        assert!(of_it.iter().all(|amount| !amount.is_zero()));
    }
}

#[test]
fn without_a_verdict_nobody_is_paid_above_the_least_claim() {
    let mut scene = scene(tasks(3, "assurance = 1000"), &[], &[Overbills, Right]);
    assert!(matches!(scene.run(), JobEnd::Undecided { .. }));
    let told = told(&mut scene);
    for number in [1, 2] {
        let of_it = paid(&told[&number]);
        assert!(of_it.len() == 3 && of_it.iter().all(|amount| *amount <= honest()), "{number}: {of_it:?}");
    }
    // What the rows say is what was paid.
    let end = scene.world.record(job_id(1)).ended.expect("the job has ended").end;
    for task in (0..3).map(TaskNumber) {
        let id = TaskId { job: job_id(1), task };
        for opinion in scene.world.store.opinions(id).expect("the store can be read") {
            let (_, decision) = scene.decisions[&opinion.result.lease];
            let Fate::Paid(amount) = fate(task, &opinion, false, Some(&end)) else { panic!("it is paid") };
            assert_eq!(decision, Decision::Paid(amount));
        }
    }
}

#[test]
fn a_failure_that_ends_a_job_is_paid_by_what_the_others_claim() {
    let mut world = World::of(true);
    world.fund_and_submit(job_id(1), &tasks(1, ""));
    let mut peers: Vec<Peer> = (1..=2).map(|number| Peer::joined(number, &mut world)).collect();
    let mut decided = Vec::new();
    for _ in 0..20 {
        for effect in world.settle() {
            if let Effect::Pay { decisions, .. } = &effect {
                decided.extend(decisions.iter().map(|(_, decision)| *decision));
            }
            world.obey(effect, &mut peers.iter_mut().collect::<Vec<_>>());
        }
        for (peer, claim) in peers.iter_mut().zip([Fuel(1_000_000_000_000), FUEL]) {
            let leases = std::mem::take(&mut peer.leases);
            let results: Vec<_> =
                leases.iter().map(|lease| peer.failure_after(lease, failed(7), claim)).collect();
            if !results.is_empty() {
                let message = peer.batch(results);
                peer.say(&mut world, message);
            }
        }
        world.wait(50);
    }
    assert!(matches!(
        world.record(job_id(1)).ended.map(|ended| ended.end),
        Some(JobEnd::Failed { attempts: 2, .. })
    ));
    let amounts = paid(&decided);
    assert!(amounts.len() == 2 && amounts.iter().all(|amount| *amount <= honest()), "{decided:?}");
}
