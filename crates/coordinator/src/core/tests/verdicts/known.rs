//! Tasks whose answer is known, and those who are tried with them.

use tidemill_store::{Change, JobEnd, OpinionRecord};
use tidemill_types::{TaskId, TaskNumber};
use tidemill_verify::Model;

use super::{
    super::peer::held,
    Does::{Colludes, Fails, Lies, Right},
    Peer, Scene, World, among_credible, among_strangers, job_id, job_spec, tasks,
};
use crate::core::CoreConfig;

/// A coordinator that trusts the first peer alone, and tries the others often.
fn often_tried() -> World {
    let model = Model { least_rate: 0.2, ..Model::default() };
    let config = CoreConfig { model, ..among_strangers(false, &[Peer::new(1).operator()]) };
    World::with(config, &[])
}

/// What those said who were tried, and whether they were right.
fn tried(scene: &Scene) -> Vec<OpinionRecord> {
    let tasks = 0..scene.spec.task_count();
    let ids = tasks.map(|task| TaskId { job: job_id(1), task: TaskNumber(task) });
    let opinions = ids.flat_map(|id| scene.world.store.opinions(id).expect("the store can be read"));
    opinions.filter(|opinion| opinion.known.is_some()).collect()
}

#[test]
fn strangers_are_tried_with_what_a_trusted_machine_did() {
    let mut scene = Scene::of(often_tried(), tasks(300, "assurance = 1000"), &[Right; 3]);
    assert_eq!(scene.run(), JobEnd::Done);
    let tried = tried(&scene);
    assert!(tried.len() > 5, "{} were tried", tried.len());
    assert!(tried.iter().all(|opinion| opinion.known == Some(true)));
    let trusted = Peer::new(1).operator();
    assert!(tried.iter().all(|opinion| opinion.result.operator != trusted), "it needs no trying");
    for number in [2, 3] {
        let operator = Peer::new(number).operator();
        let known = scene.world.core.reputations.of(operator, scene.world.now);
        let tried = tried.iter().filter(|opinion| opinion.result.operator == operator).count();
        assert!(known.iter().map(|(_, record)| record.checked()).sum::<f64>() >= tried as f64);
    }
}

#[test]
fn who_is_wrong_about_what_is_known_is_caught_and_nobody_is_asked_again() {
    for does in [Lies, Fails] {
        let mut scene = Scene::of(often_tried(), tasks(400, "assurance = 1000"), &[Right, does, Right]);
        assert_eq!(scene.run(), JobEnd::Done);
        scene.world.check_outputs(job_id(1), &scene.spec.clone());
        assert!(scene.lies_of(2) > 0 && scene.lies_of(3) == 0);
        assert_eq!(scene.doubted, 0, "what a trusted machine did stands");
        let wrong = tried(&scene).iter().filter(|opinion| opinion.known == Some(false)).count();
        assert!(does == Fails || wrong > 0, "no lie was about a known task");
    }
}

#[test]
fn what_two_agreed_on_does_not_stand_against_everybody() {
    // Two of seven credible ones say the same wrong thing of all tasks: where they are asked about the same one, it passes
    // for known.
    let peers = [Colludes, Colludes, Right, Right, Right, Right, Right];
    let mut scene = Scene::of(among_credible(7, 0.3), tasks(1_500, "assurance = 1000"), &peers);
    assert_eq!(scene.run(), JobEnd::Done);
    let again: Vec<u64> = (0..1_500).filter(|task| scene.done(*task).verdict.results > 3).collect();
    assert!(!again.is_empty() && scene.doubted > 0);
    assert!((3..=7).all(|number| scene.lies_of(number) <= 1), "an honest one is believed");
    assert!(scene.lies_of(1) > 0 && scene.lies_of(2) > 0);
}

#[test]
fn a_crash_forgets_nobody_who_is_tried() {
    let mut scene = Scene::of(often_tried(), tasks(400, "assurance = 1000"), &[Right; 3]);
    let in_flight = |scene: &Scene| scene.world.core.jobs.values().map(|job| job.tried.len()).sum::<usize>();
    for _ in 0..1_000 {
        scene.step();
        if in_flight(&scene) > 0 {
            break;
        }
    }
    assert!(in_flight(&scene) > 0, "nobody is tried");
    for effect in scene.world.settle() {
        let mut peers: Vec<&mut Peer> = scene.peers.iter_mut().map(|(peer, _)| peer).collect();
        scene.world.obey(effect, &mut peers);
    }
    let leases = scene.world.store.recover().expect("the store can be read").leases;
    let before = leases.iter().filter(|lease| lease.is_known).count();
    scene.world.crash();
    assert_eq!(in_flight(&scene), before);
    scene.world.check_store();
    for (peer, _) in &mut scene.peers {
        let leases = peer.leases.iter().map(held).collect();
        peer.join(&mut scene.world, leases);
    }
    assert_eq!(scene.run(), JobEnd::Done);
    assert!(tried(&scene).len() >= before, "what they found is taken in");
}

/// Whoever is given a reduce task knows that its parts are done: one of them that came again could only be known.
#[test]
fn nobody_is_tried_with_a_part_of_a_reduce_task_that_may_run() {
    let spec = job_spec(
        "retries = 3\ntasks.range = { from = 0, to = 400 }",
        "args = [\"{index}\"]\n[reduce]\nfan_in = 8\n[policy]\nassurance = 1000\n",
    );
    let mut scene = Scene::of(often_tried(), spec.clone(), &[Right; 3]);
    let tree = spec.tree().expect("there is a reduce");
    let mut tried = 0;
    for _ in 0..4_000 {
        let step = scene.world.take_step();
        for change in &step.changes {
            let Change::Leased(lease) = change else { continue };
            if !lease.is_known {
                continue;
            }
            tried += 1;
            let job = &scene.world.core.jobs[&job_id(1)];
            let parent = tree.parent(job.node(lease.task.task)).expect("a map task has a parent");
            assert!(!job.frontier.has_parts(parent), "task {} is known to be done", lease.task.task.0);
        }
        scene.carry_out(step);
        if scene.world.record(job_id(1)).ended.is_some() {
            break;
        }
    }
    assert_eq!(scene.world.record(job_id(1)).ended.map(|ended| ended.end), Some(JobEnd::Done));
    assert!(tried > 0, "nobody is tried");
}
