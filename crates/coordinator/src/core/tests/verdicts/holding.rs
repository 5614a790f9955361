//! Nothing is accepted on an operator's word while a check of it is open.

use tidemill_net::wire::Decision;
use tidemill_store::JobEnd;
use tidemill_verify::Model;

use super::{
    Does::{self, Lies, Right},
    Peer, Scene, World, among_strangers, archive, credible, job_id, tasks,
};
use crate::{core::CoreConfig, event::Effect};

const TASKS: u64 = 600;

/// How many there are.
const PEERS: u8 = 6;

/// Some who have been right for long, of whom the first has many slots.
fn scene(first: Does) -> Scene {
    let model = Model { least_rate: 0.05, ..Model::default() };
    let mut world = World::with(CoreConfig { model, ..among_strangers(true, &[]) }, &credible(PEERS));
    let spec = tasks(TASKS, "assurance = 1000");
    world.fund_and_submit(job_id(1), &spec);
    let mut peers = Vec::new();
    for number in 1..=PEERS {
        let mut peer = Peer::new(number);
        if number == 1 {
            (peer.slots, peer.credits) = (8, 8);
        }
        peer.join(&mut world, vec![]);
        peers.push((peer, if number == 1 { first } else { Right }));
    }
    Scene { peers, ..Scene::with(world, spec, &[]) }
}

/// Everybody is given what there is to do, and told what was decided.
fn deliver(scene: &mut Scene) {
    let step = scene.world.take_step();
    for effect in scene.world.commit(step) {
        if let Effect::Pay { session, decisions, .. } = &effect {
            let of = scene.peers.iter().find(|(peer, _)| peer.session == Some(*session));
            let number = of.map_or(0, |(peer, _)| peer.node.0[0]);
            let told = decisions.iter().map(|(lease, decision)| (*lease, (number, *decision)));
            scene.decisions.extend(told);
        }
        let mut all: Vec<&mut Peer> = scene.peers.iter_mut().map(|(peer, _)| peer).collect();
        scene.world.obey(effect, &mut all);
    }
    scene.world.wait(5);
}

/// One of them hands in what it has.
fn work(scene: &mut Scene, place: usize) {
    let (peer, does) = &mut scene.peers[place];
    for lease in std::mem::take(&mut peer.leases) {
        let result = match does {
            Lies => peer.done_with(&lease, archive(&[b'x', peer.node.0[0]])),
            _ => peer.done(&lease),
        };
        let message = peer.batch(vec![result]);
        peer.say(&mut scene.world, message);
    }
}

/// How many tasks are done, how many checks of the first are open, and how many results of it wait for them.
fn counts(scene: &Scene) -> (u64, usize, usize) {
    let job = &scene.world.core.jobs[&job_id(1)];
    let turns = job.watched.get(&Peer::new(1).operator());
    let of_first = turns.map_or((0, 0), |turns| (turns.drawn().len(), turns.held().len()));
    (job.frontier.done_count(), of_first.0, of_first.1)
}

/// The first works, and nobody else, until a check is drawn for a result of it; then a little longer. How many of its results
/// were accepted.
fn after_a_check_is_drawn(scene: &mut Scene) -> u64 {
    for _ in 0..TASKS {
        deliver(scene);
        work(scene, 0);
        if counts(scene).1 > 0 {
            break;
        }
    }
    let (done, drawn, _) = counts(scene);
    assert!(drawn > 0, "no check is drawn");
    for _ in 0..5 {
        deliver(scene);
        work(scene, 0);
    }
    let (still, _, held) = counts(scene);
    assert_eq!(still, done, "nothing more is accepted on its word");
    assert!(held > 0, "it has done nothing more");
    done
}

#[test]
fn what_comes_after_a_drawn_check_waits_for_it() {
    let mut scene = scene(Right);
    let done = after_a_check_is_drawn(&mut scene);
    let waited = counts(&scene).2 as u64;
    for _ in 0..400 {
        deliver(&mut scene);
        (1..scene.peers.len()).for_each(|place| work(&mut scene, place));
        if counts(&scene).1 == 0 {
            break;
        }
    }
    let (now_done, drawn, held) = counts(&scene);
    assert_eq!((drawn, held), (0, 0), "its checks are in, and nothing waits");
    assert!(now_done >= done + waited, "what waited is accepted: {now_done}");
    assert_eq!(scene.run(), JobEnd::Done);
    scene.world.check_outputs(job_id(1), &scene.spec.clone());
    // Each was asked of others where a check was drawn, and of nobody else: waiting costs no results.
    assert!(scene.leases < TASKS * 5 / 4, "{} more results", scene.leases);
}

#[test]
fn a_burst_of_lies_is_paid_up_to_the_first_that_is_checked() {
    let mut scene = scene(Lies);
    let done = after_a_check_is_drawn(&mut scene);
    assert_eq!(scene.run(), JobEnd::Done);
    scene.world.check_outputs(job_id(1), &scene.spec.clone());
    (0..40).for_each(|_| scene.step());
    let paid = scene.decisions.values().filter(|(number, decision)| {
        *number == 1 && matches!(decision, Decision::Paid(amount) if !amount.is_zero())
    });
    assert!(paid.count() as u64 <= done, "lies that came after the first check are paid");
    assert!(scene.lies_of(1) > 0);
}

#[test]
fn what_waits_for_too_long_is_checked_itself() {
    let mut scene = scene(Right);
    after_a_check_is_drawn(&mut scene);
    let (_, drawn, held) = counts(&scene);
    let undecided = super::UNDECIDED_MS;
    scene.world.wait(undecided + 1_000);
    assert_eq!(counts(&scene).2, 0, "nothing waits for ever");
    assert!(counts(&scene).1 >= drawn + held);
    assert_eq!(scene.run(), JobEnd::Done);
    scene.world.check_outputs(job_id(1), &scene.spec.clone());
}

#[test]
fn a_crash_accepts_nothing_that_waited() {
    let mut scene = scene(Lies);
    let done = after_a_check_is_drawn(&mut scene);
    deliver(&mut scene);
    scene.world.crash();
    assert_eq!(counts(&scene).0, done);
    scene.world.see_escrow();
    for (peer, _) in &mut scene.peers {
        peer.leases.clear();
        peer.sent.clear();
        peer.join(&mut scene.world, vec![]);
    }
    assert_eq!(scene.run(), JobEnd::Done);
    scene.world.check_outputs(job_id(1), &scene.spec.clone());
    assert!(scene.lies_of(1) > 0);
}
