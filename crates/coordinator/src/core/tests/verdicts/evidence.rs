//! What is kept of those who contradict a verdict, and that it proves something.

use std::collections::BTreeSet;

use tidemill_store::{Change, EvidenceRecord, JobEnd, UnixMillis};
use tidemill_types::{Chain, Finding, LeaseId, NodeId, Outcome, TaskId, TaskNumber, binding_message};
use tidemill_verify::Model;

use super::{
    super::{
        peer::{held, node_signature},
        world::KEEP_EVIDENCE_MS,
    },
    Does::{Colludes, Fails, Lies, Right},
    Peer, Scene, World, among, among_strangers, job_id, tasks,
};
use crate::core::CoreConfig;

fn ids(scene: &Scene) -> impl Iterator<Item = TaskId> {
    (0..scene.spec.task_count()).map(|task| TaskId { job: job_id(1), task: TaskNumber(task) })
}

/// All evidence of a scene's job, each piece of which proves what it says.
fn evidence(scene: &Scene) -> Vec<EvidenceRecord> {
    let of = |id| scene.world.store.evidence(id, LeaseId(0), usize::MAX, |_, _| true);
    let records: Vec<_> = ids(scene).flat_map(|id| of(id).expect("the store can be read")).collect();
    for record in &records {
        let signed = |node: NodeId, message: &[u8], signature: &[u8; 64]| {
            let key = Peer::new(node.0[0]).operator();
            *signature == node_signature(node) && message == binding_message(key).as_slice()
        };
        assert_eq!(record.evidence.check(signed), Ok(()), "{}", record.evidence.words());
        assert_eq!(record.evidence.accused.leaf.chain, Chain::default());
        assert_eq!(record.until.0, record.at.0 + KEEP_EVIDENCE_MS);
    }
    records
}

/// Whose results the evidence is against.
fn accused(records: &[EvidenceRecord]) -> BTreeSet<u8> {
    records.iter().map(|record| record.evidence.accused.leaf.terms.provider.0[0]).collect()
}

/// The leases whose results are not what was accepted, by what the store has of them.
fn wrong(scene: &Scene) -> BTreeSet<LeaseId> {
    let mut wrong = BTreeSet::new();
    for id in ids(scene) {
        let done = scene.done(id.task.0).result.output;
        let opinions = scene.world.store.opinions(id).expect("the store can be read");
        wrong.extend(opinions.iter().filter(|said| said.counts_as() != done).map(|said| said.result.lease));
    }
    wrong
}

fn leases(records: &[EvidenceRecord]) -> BTreeSet<LeaseId> {
    records.iter().map(|record| record.evidence.accused.leaf.terms.lease).collect()
}

#[test]
fn a_liar_leaves_evidence_of_every_lie_and_the_honest_leave_none() {
    let mut scene = Scene::of(among(&[2]), tasks(12, "assurance = 1000"), &[Lies, Right, Right]);
    assert_eq!(scene.run(), JobEnd::Done);
    let records = evidence(&scene);
    assert!(!records.is_empty());
    assert_eq!(leases(&records), wrong(&scene));
    assert_eq!(accused(&records), BTreeSet::from([1]));
    assert!(records.iter().all(|record| record.evidence.finding == Finding::Verdict));

    let mut scene = Scene::of(among(&[2]), tasks(12, "assurance = 1000"), &[Right; 3]);
    assert_eq!(scene.run(), JobEnd::Done);
    assert_eq!(evidence(&scene), []);
}

#[test]
fn evidence_outlives_the_job_until_its_time_is_over() {
    let mut scene = Scene::of(among(&[2]), tasks(6, "assurance = 1000"), &[Lies, Right, Right]);
    assert_eq!(scene.run(), JobEnd::Done);
    let records = evidence(&scene);
    scene.world.remove(job_id(1));
    scene.world.settle();
    let store = &scene.world.store;
    while store.sweep(5).expect("it can be swept") {}
    assert_eq!(store.job(job_id(1)).expect("the store can be read"), None);
    assert_eq!(evidence(&scene), records);
    scene.world.crash();
    assert_eq!(evidence(&scene), records);
    let last = records.iter().map(|record| record.until).max().expect("there is some");
    while scene.world.store.forget_evidence(UnixMillis(last.0), 2).expect("it can be swept") {}
    assert_eq!(evidence(&scene), []);
    scene.world.check_store();
}

#[test]
fn a_failure_that_nobody_else_sees_is_evidence_against_who_reports_it() {
    let peers = [Fails, Right, Right, Right, Right, Right];
    let mut scene = Scene::of(among(&[]), tasks(4, "assurance = 100"), &peers);
    assert_eq!(scene.run(), JobEnd::Done);
    let records = evidence(&scene);
    assert_eq!(accused(&records), BTreeSet::from([1]));
    for record in records {
        let outcomes =
            [record.evidence.accused, record.evidence.accepted].map(|side| side.leaf.claim.outcome);
        assert!(matches!(outcomes, [Outcome::Failed(_), Outcome::Done]), "{outcomes:?}");
    }
}

#[test]
fn a_result_of_what_fails_everywhere_is_evidence_against_who_gave_it() {
    let peers = [Lies, Fails, Fails, Fails, Fails, Fails, Fails];
    let mut scene = Scene::of(among(&[]), tasks(1, "assurance = 100"), &peers);
    assert!(matches!(scene.run(), JobEnd::Failed { .. }));
    let records = evidence(&scene);
    assert_eq!((records.len(), accused(&records)), (1, BTreeSet::from([1])));
    let outcome = &records[0].evidence.accepted.leaf.claim.outcome;
    assert!(matches!(outcome, Outcome::Failed(_)), "{outcome:?}");
}

#[test]
fn who_misses_a_known_answer_leaves_evidence_that_says_so() {
    let model = Model { least_rate: 0.2, ..Model::default() };
    let config = CoreConfig { model, ..among_strangers(false, &[Peer::new(1).operator()]) };
    for does in [Lies, Fails] {
        let world = World::with(config.clone(), &[]);
        let mut scene = Scene::of(world, tasks(400, "assurance = 1000"), &[Right, does, Right]);
        // The store keeps the first of an operator alone, so they are counted on their way there.
        let mut missed = 0;
        for _ in 0..4_000 {
            let step = scene.world.take_step();
            let is_missed = |change: &&Change| matches!(change, Change::Evidence(new) if new.finding == Finding::KnownAnswer);
            missed += step.changes.iter().filter(is_missed).count();
            scene.carry_out(step);
            if scene.world.record(job_id(1)).ended.is_some() {
                break;
            }
        }
        let opinions = ids(&scene).flat_map(|id| scene.world.store.opinions(id).expect("it can be read"));
        let wrong = opinions.filter(|opinion| opinion.known == Some(false)).count();
        assert!(does == Fails || (missed > 0 && missed == wrong), "{missed} were missed, {wrong} known");
        assert_eq!(accused(&evidence(&scene)), BTreeSet::from([2]));
    }
}

#[test]
fn what_a_job_itself_says_to_differ_is_no_evidence() {
    let policy = "replicate = 3\ncompare = { numbers = \"u8\", absolute = 2 }";
    let mut scene = Scene::of(among(&[]), tasks(6, policy), &[Lies, Right, Right, Right]);
    assert_eq!(scene.run(), JobEnd::Done);
    assert!(!wrong(&scene).is_empty(), "nothing differed");
    assert_eq!(evidence(&scene), []);
}

#[test]
fn who_outvotes_an_honest_provider_leaves_the_proof_of_its_own_lie() {
    let mut scene = Scene::of(among(&[]), tasks(6, "replicate = 3"), &[Right, Colludes, Colludes]);
    assert_eq!(scene.run(), JobEnd::Done);
    let records = evidence(&scene);
    assert_eq!((accused(&records), leases(&records)), (BTreeSet::from([1]), wrong(&scene)));
    for record in &records {
        let done = scene.done(record.evidence.accused.leaf.terms.task.0).result;
        let accepted = record.evidence.accepted.leaf.claim.output.map(|output| output.id);
        assert_eq!(accepted, Some(done.output));
    }
}

#[test]
fn a_crash_before_the_commit_of_a_verdict_loses_no_evidence() {
    let mut scene = Scene::of(among(&[2]), tasks(12, "assurance = 1000"), &[Lies, Right, Right]);
    let is_lost = (0..1_000).any(|_| {
        let step = scene.world.take_step();
        if step.changes.iter().any(|change| matches!(change, Change::Evidence(_))) {
            return true;
        }
        scene.carry_out(step);
        false
    });
    assert!(is_lost, "there was no evidence to lose");
    let before = evidence(&scene).len();
    assert_eq!(before, 0, "the first verdict against somebody was not committed");
    scene.world.crash();
    for (peer, _) in &mut scene.peers {
        let leases = peer.leases.iter().map(held).collect();
        peer.join(&mut scene.world, leases);
    }
    assert_eq!(scene.run(), JobEnd::Done);
    let records = evidence(&scene);
    assert!(!records.is_empty());
    assert_eq!(leases(&records), wrong(&scene));
}
