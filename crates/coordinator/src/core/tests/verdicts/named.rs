//! Machines that a job alone trusts, and those who contradict them.

use tidemill_net::wire::{Decision, Unpaid};
use tidemill_store::JobEnd;
use tidemill_types::{Amount, TaskId, TaskNumber};

use super::{
    Does::{self, Lies, Right},
    Peer, Scene, World, among_strangers, job_id, tasks,
};
use crate::core::{Fate, fate};

const TASKS: u64 = 24;

/// A paid job that trusts the third of these peers alone.
fn scene(peers: &[Does]) -> Scene {
    let mut world = World::with(among_strangers(true, &[]), &[]);
    let named = format!("assurance = 1000\ntrusted = [\"{}\"]", Peer::new(3).operator());
    let spec = tasks(TASKS, &named);
    world.fund_and_submit(job_id(1), &spec);
    Scene::with(world, spec, peers)
}

/// How many results of a peer are paid, and how many are not since they contradict a verdict.
fn told(scene: &Scene, number: u8) -> (usize, usize) {
    let of_it = || scene.decisions.values().filter(|(of, _)| *of == number).map(|(_, decision)| decision);
    let paid = of_it().filter(|decision| matches!(decision, Decision::Paid(amount) if !amount.is_zero()));
    let unpaid = of_it().filter(|decision| **decision == Decision::Unpaid(Unpaid::Contradicted));
    (paid.count(), unpaid.count())
}

fn run(scene: &mut Scene) {
    assert_eq!(scene.run(), JobEnd::Done);
    (0..40).for_each(|_| scene.step());
}

#[test]
fn a_stranger_that_contradicts_the_job_s_own_machine_is_paid_a_few_times_and_no_more() {
    let mut scene = scene(&[Lies, Right, Right]);
    run(&mut scene);
    scene.world.check_outputs(job_id(1), &scene.spec.clone());
    let (paid, unpaid) = told(&scene, 1);
    assert!(paid <= 3 && unpaid > 0, "{paid} lies are paid, {unpaid} are not");
    let (paid, unpaid) = told(&scene, 2);
    assert!(paid > 0 && unpaid == 0);
    assert_eq!((scene.lies_of(1), scene.lies_of(2)), (0, 0), "its word is good for its own job alone");
}

#[test]
fn a_requester_whose_own_machine_lies_has_no_work_for_nothing() {
    let mut scene = scene(&[Right, Right, Lies]);
    run(&mut scene);
    for number in [1, 2] {
        let (paid, unpaid) = told(&scene, number);
        assert!(paid > 0 && unpaid == 0, "{number}: {unpaid} right results are not paid");
    }
}

#[test]
fn where_no_third_is_there_pay_is_withheld() {
    let mut scene = scene(&[Lies, Lies, Right]);
    // The second is not there.
    let (second, _) = scene.peers.remove(1);
    second.say(&mut scene.world, tidemill_net::wire::FromProvider::Bye);
    run(&mut scene);
    scene.world.check_outputs(job_id(1), &scene.spec.clone());
    let (paid, unpaid) = told(&scene, 1);
    assert!(paid <= 3 && unpaid > 0, "{paid} lies are paid, {unpaid} are not");
}

#[test]
fn what_was_paid_by_courtesy_is_paid_after_a_restart() {
    let mut scene = scene(&[Lies, Right, Right]);
    let disputed =
        |scene: &Scene| -> u32 { scene.world.core.jobs.values().flat_map(|job| job.disputed.values()).sum() };
    for _ in 0..1_000 {
        scene.step();
        if disputed(&scene) > 0 {
            break;
        }
    }
    scene.world.settle();
    let spent =
        |scene: &Scene| -> Amount { scene.world.core.jobs[&job_id(1)].money.expect("it is paid").spent };
    let before = (spent(&scene), disputed(&scene));
    assert!(before.1 > 0);
    scene.world.crash();
    assert_eq!((spent(&scene), disputed(&scene)), before, "the job may not cost more than before");
    // What a provider is told that asks again is what it was told.
    let mut lies = 0;
    for task in (0..TASKS).map(TaskNumber) {
        let id = TaskId { job: job_id(1), task };
        let Some(done) = scene.world.store.task(id).expect("the store can be read") else { continue };
        for said in scene.world.store.opinions(id).expect("the store can be read") {
            // A lie that two others contradict has a verdict of its own, and is not paid by courtesy.
            let is_lie = said.counts_as() != done.result.output;
            lies += u32::from(is_lie && matches!(fate(task, &said, true, None), Fate::Paid(_)));
        }
    }
    assert_eq!(lies, before.1);
}
