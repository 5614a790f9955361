//! Classes of hardware, which are their providers' own word.

use std::sync::Arc;

use tidemill_job::JobSpec;
use tidemill_store::{Change, JobEnd, ReputationKey};
use tidemill_types::{Basis, ProgramKind, TaskId, TaskNumber};
use tidemill_verify::{Model, Record};

use super::{
    Does::{self, Colludes, Lies, Right},
    Peer, Scene, World, among, among_strangers, job_id, tasks,
};
use crate::core::CoreConfig;

const ARM: &str = "aarch64";
const X86: &str = "x86-64-v3";

/// A job with providers that say what class they are of.
fn scene(mut world: World, spec: Arc<JobSpec>, peers: &[(&str, Does)]) -> Scene {
    world.submit(job_id(1), &spec);
    let join = |(number, (class, does)): (u8, &(&str, Does))| {
        let mut peer = Peer::new(number);
        peer.hardware_class = Some((*class).to_owned());
        peer.join(&mut world, vec![]);
        (peer, *does)
    };
    let peers = (1..).zip(peers).map(join).collect();
    Scene { peers, ..Scene::with(world, spec, &[]) }
}

/// How many results each of these peers gave that did not decide their task alone.
fn results_of(scene: &Scene, numbers: std::ops::RangeInclusive<u8>) -> usize {
    let ids = (0..scene.spec.task_count()).map(|task| TaskId { job: job_id(1), task: TaskNumber(task) });
    let opinions = ids.flat_map(|id| scene.world.store.opinions(id).expect("the store can be read"));
    opinions.filter(|said| numbers.contains(&said.result.provider.0[0])).count()
}

#[test]
fn six_that_say_they_are_of_another_class_do_not_check_each_other_alone() {
    let peers = [vec![(ARM, Colludes); 6], vec![(X86, Right); 40]].concat();
    let mut scene = scene(among(&[]), tasks(20, "assurance = 1000"), &peers);
    assert_eq!(scene.run(), JobEnd::Done);
    scene.world.check_outputs(job_id(1), &scene.spec.clone());
    assert!(results_of(&scene, 1..=6) > 0, "they had no task");
    for number in 1..=6 {
        let operator = Peer::new(number).operator();
        let known = scene.world.core.reputations.of(operator, scene.world.now);
        assert!(known.is_empty(), "what they say of each other says nothing: {known:?}");
    }
}

#[test]
fn the_same_bytes_of_two_classes_agree() {
    let peers = [vec![(ARM, Right); 3], vec![(X86, Right); 3]].concat();
    let mut scene = scene(among(&[]), tasks(1, "assurance = 1000"), &peers);
    assert_eq!(scene.run(), JobEnd::Done);
    scene.world.check_outputs(job_id(1), &scene.spec.clone());
    let verdict = scene.done(0).verdict;
    assert_eq!((verdict.basis, verdict.results, verdict.agreeing), (Basis::Agreed, 6, 6));
    for number in 1..=6 {
        let operator = Peer::new(number).operator();
        let known = scene.world.core.reputations.of(operator, scene.world.now);
        assert_eq!(known.iter().map(|(_, record)| record.checked()).sum::<f64>(), 1.0);
    }
}

#[test]
fn nobody_is_blamed_by_one_machine_that_says_it_is_of_its_class() {
    // The floats of the first are another class's; the second says that it is of that class too, and is not.
    let peers = [vec![(ARM, Lies), (ARM, Right)], vec![(X86, Right); 8]].concat();
    let mut scene = scene(among(&[]), tasks(10, "assurance = 100"), &peers);
    assert_eq!(scene.run(), JobEnd::Done);
    scene.world.check_outputs(job_id(1), &scene.spec.clone());
    assert!(results_of(&scene, 1..=1) > 0, "it had no task");
    assert_eq!(scene.lies_of(1), 0);
}

#[test]
fn a_class_of_few_is_checked_on_every_task() {
    let mut record = Record::default();
    record.note_accepted(100_000, 0, 512);
    let record = postcard::to_stdvec(&record).expect("plain data always has a postcard encoding");
    let class = |number: u8| if number == 1 { ARM } else { X86 };
    let known = |number: u8| Change::Reputation {
        key: ReputationKey {
            operator: Peer::new(number).operator(),
            kind: ProgramKind::Wasm,
            hardware_class: Some(class(number).to_owned()),
        },
        record: record.clone(),
    };
    let model = Model { least_rate: 0.05, ..Model::default() };
    let config = CoreConfig { model, ..among_strangers(false, &[]) };
    let world = World::with(config, &(1..=12).map(known).collect::<Vec<_>>());
    let peers: Vec<_> = (1..=12).map(|number| (class(number), Right)).collect();
    let mut scene = scene(world, tasks(300, "assurance = 1000"), &peers);
    assert_eq!(scene.run(), JobEnd::Done);
    scene.world.check_outputs(job_id(1), &scene.spec.clone());
    let done: Vec<_> = (0..300).map(|task| scene.done(task)).collect();
    let unchecked = |number: u8| {
        let of_it = done.iter().filter(|done| done.result.provider.0[0] == number);
        of_it.filter(|done| done.verdict.basis == Basis::Unchecked).count()
    };
    assert_eq!(unchecked(1), 0, "nobody of its class could contradict it");
    assert!(results_of(&scene, 1..=1) > 0, "it had no task");
    assert!((2..=12).map(unchecked).sum::<usize>() > 100);
}
