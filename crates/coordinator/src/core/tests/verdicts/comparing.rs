//! Results that differ a little, and count as the same where the job says so.

use tidemill_store::JobEnd;
use tidemill_types::Basis;

use super::{
    Does::{Colludes, Lies, Right},
    Peer, Scene, World, among, among_credible, among_strangers, job_id, job_spec,
};

/// A job of so many tasks whose outputs differ from machine to machine.
fn noisy(count: u64, policy: &str) -> std::sync::Arc<tidemill_job::JobSpec> {
    job_spec(
        &format!("retries = 3\ntasks.range = {{ from = 0, to = {count} }}"),
        &format!("args = [\"{{index}}\", \"noisy\"]\n[policy]\n{policy}\n"),
    )
}

const COMPARE: &str = "compare = { numbers = \"u8\", absolute = 2 }";

#[test]
fn what_differs_by_little_is_the_same() {
    let spec = noisy(12, &format!("replicate = 5\nquorum = 3\n{COMPARE}"));
    let mut scene = Scene::of(among(&[]), spec.clone(), &[Right, Right, Right, Lies, Right]);
    assert_eq!(scene.run(), JobEnd::Done);
    scene.world.check_outputs(job_id(1), &spec);
    for task in 0..12 {
        let done = scene.done(task);
        assert_eq!((done.verdict.basis, done.verdict.agreeing), (Basis::Agreed, 3));
    }
    // Bytes alone would not have been the same: of each task, three of the four who are right say three things.
    let exact = noisy(2, "replicate = 3\nquorum = 3");
    let mut scene = Scene::of(among(&[]), exact, &[Right, Right, Right]);
    assert!(matches!(scene.run(), JobEnd::Undecided { .. }));
}

#[test]
fn the_word_of_a_job_on_what_is_the_same_says_nothing_of_anybody() {
    // Whoever may say that all outputs are the same could make a liar's reputation.
    let spec = noisy(30, "assurance = 100\ncompare = { numbers = \"u8\", absolute = 254 }");
    let mut scene = Scene::of(among(&[]), spec, &[Colludes, Right, Right, Right, Right, Right]);
    assert_eq!(scene.run(), JobEnd::Done);
    for number in 1..=6 {
        let operator = Peer::new(number).operator();
        let known = scene.world.core.reputations.of(operator, scene.world.now);
        assert!(known.is_empty(), "{known:?}");
    }
}

#[test]
fn a_machine_that_is_trusted_decides_about_what_differs_too() {
    let spec = noisy(10, COMPARE);
    let mut scene = Scene::of(among(&[2]), spec.clone(), &[Lies, Right, Right]);
    assert_eq!(scene.run(), JobEnd::Done);
    scene.world.check_outputs(job_id(1), &spec);
}

#[test]
fn a_crash_forgets_no_comparison() {
    let spec = noisy(6, &format!("replicate = 5\nquorum = 5\n{COMPARE}"));
    let world = World::with(among_strangers(false, &[]), &[]);
    let mut scene = Scene::of(world, spec.clone(), &[Right; 5]);
    for _ in 0..6 {
        scene.step();
        // Comparisons that were begun are forgotten with the process.
        scene.world.settle();
        let said = scene.said();
        scene.world.crash();
        assert_eq!(scene.said(), said);
        for (peer, _) in &mut scene.peers {
            peer.leases.clear();
            peer.sent.clear();
            peer.join(&mut scene.world, vec![]);
        }
    }
    assert_eq!(scene.run(), JobEnd::Done);
    scene.world.check_outputs(job_id(1), &spec);
    let agreeing: Vec<u32> = (0..6).map(|task| scene.done(task).verdict.agreeing).collect();
    // Five operators are the quorum. One whose word was lost with a process may have been asked twice.
    assert!(agreeing.iter().all(|agreeing| (5..=6).contains(agreeing)), "{agreeing:?}");
}

#[test]
fn who_contradicts_a_verdict_of_a_job_is_always_checked_in_it_whatever_its_record() {
    let spec = noisy(400, &format!("assurance = 1000\n{COMPARE}"));
    let mut scene =
        Scene::of(among_credible(6, 0.05), spec.clone(), &[Lies, Right, Right, Right, Right, Right]);
    assert_eq!(scene.run(), JobEnd::Done);
    scene.world.check_outputs(job_id(1), &spec);
    assert!(scene.doubted > 0, "what it was believed is looked at again");
    for done in (0..400).map(|task| scene.done(task)) {
        let is_its = done.result.provider == Peer::new(1).node;
        assert!(!is_its || done.verdict.basis != Basis::Unchecked, "{done:?}");
    }
    // Its record is as it was: a requester could make or ruin it otherwise.
    assert_eq!(scene.lies_of(1), 0);
    let unchecked = (0..400).filter(|task| scene.done(*task).verdict.basis == Basis::Unchecked).count();
    assert!(unchecked > 50, "the others are believed as before: {unchecked}");
}

#[test]
fn a_crash_forgets_nobody_who_contradicted_a_verdict() {
    let spec = noisy(400, &format!("assurance = 1000\n{COMPARE}"));
    let mut scene =
        Scene::of(among_credible(6, 0.05), spec.clone(), &[Lies, Right, Right, Right, Right, Right]);
    let distrusted = |scene: &Scene| {
        scene.world.core.jobs.values().flat_map(|job| job.distrusted.clone()).collect::<Vec<_>>()
    };
    for _ in 0..1_000 {
        scene.step();
        if !distrusted(&scene).is_empty() {
            break;
        }
    }
    scene.world.settle();
    scene.world.crash();
    assert_eq!(distrusted(&scene), [Peer::new(1).operator()]);
    for (peer, _) in &mut scene.peers {
        peer.leases.clear();
        peer.sent.clear();
        peer.join(&mut scene.world, vec![]);
    }
    assert_eq!(scene.run(), JobEnd::Done);
    scene.world.check_outputs(job_id(1), &spec);
}
