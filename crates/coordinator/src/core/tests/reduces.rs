//! Reduce tasks: where they go, and what they are made from.

use std::{fs, sync::Arc};

use tidemill_job::JobSpec;
use tidemill_store::Change;
use tidemill_types::{SpecHash, TaskId, TaskNumber};

use super::{
    peer::{LARGE, Peer, archive},
    world::{World, job_id, job_spec, leases_to},
};
use crate::{
    assemble::{self, AssembleError, Made},
    core::Step,
    event::Effect,
    parts::Parts,
};

/// A job whose reduce has two parts.
fn two_parts() -> Arc<JobSpec> {
    job_spec("tasks.range = { from = 0, to = 2 }", "args = [\"{index}\"]\n[reduce]\nfan_in = 2\n")
}

/// The reduce of [`two_parts`].
const REDUCE: TaskId = TaskId { job: job_id(1), task: TaskNumber(2) };

/// A peer does all of the map, its outputs having files of so many bytes. What becomes durable goes through `damaged`.
/// Gives what is then to be done.
fn map_is_done(
    world: &mut World,
    peer: &mut Peer,
    spec: &Arc<JobSpec>,
    lens: [usize; 2],
    damaged: impl FnOnce(Step) -> Step,
) -> Vec<Effect> {
    world.submit(job_id(1), spec);
    let leases = leases_to(&world.settle(), peer.session);
    assert_eq!(leases.len(), 2);
    let results = leases.iter().zip(lens).map(|(lease, len)| peer.done_with(lease, archive(&vec![7; len])));
    let results: Vec<_> = results.collect();
    let message = peer.batch(results);
    peer.say(world, message);
    let step = damaged(world.take_step());
    for effect in world.commit(step) {
        world.obey(effect, &mut [&mut *peer]);
    }
    world.settle()
}

#[test]
fn a_reduce_is_known_to_be_near_who_keeps_its_parts() {
    let (mut world, spec) = (World::new(), two_parts());
    let mut peer = Peer::joined(1, &mut world);
    map_is_done(&mut world, &mut peer, &spec, [LARGE, 40], |step| step);
    let assembled = world.assemble(&spec, REDUCE).expect("its parts are done");
    assert_eq!(assembled.made_by, [(peer.node, LARGE as u64)], "the small one travels with the lease");
    assert_eq!(assembled.inline.iter().filter(|inline| inline.is_some()).count(), 1);
}

#[test]
fn a_damaged_part_makes_no_reduce() {
    let (mut world, spec) = (World::new(), two_parts());
    let mut peer = Peer::joined(1, &mut world);
    let damaged = |mut step: Step| {
        for change in &mut step.changes {
            if let Change::Finished { task, output: Some(bytes), .. } = change
                && task.task == TaskNumber(1)
            {
                *bytes.last_mut().expect("it has a file") ^= 1;
            }
        }
        step
    };
    map_is_done(&mut world, &mut peer, &spec, [40, 40], damaged);
    let said = world.assemble(&spec, REDUCE).expect_err("a part is damaged");
    assert_eq!(said.lost(), None, "nobody else has what the store had");
    let said = said.to_string();
    assert!(said.contains("of task 1 is damaged"), "{said}");
}

#[test]
fn a_part_that_is_damaged_in_its_file_is_noticed_unless_it_is_known_what_was_in_it() {
    let (mut world, spec) = (World::new(), two_parts());
    let mut peer = Peer::joined(1, &mut world);
    map_is_done(&mut world, &mut peer, &spec, [LARGE, 40], |step| step);
    let done = world.store.task(TaskId { job: job_id(1), task: TaskNumber(0) });
    let output = done.expect("the store can be read").expect("the task is done").result.output;
    let known = Parts::default();
    let make = |world: &World| assemble::make(&world.store, &spec, REDUCE, &known, |blob| world.lend(blob));
    let right = spec_hash(make(&world));
    let mut bytes = fs::read(world.blob_file(output)).expect("the blob is there");
    *bytes.last_mut().expect("it has a file") ^= 1;
    fs::write(world.blob_file(output), bytes).expect("the blob can be written");
    assert_eq!(spec_hash(make(&world)), right, "whoever fetches the file finds out");
    let said = world.assemble(&spec, REDUCE).expect_err("it is read anew");
    assert_eq!(said.lost(), Some(output));
    let said = said.to_string();
    assert!(said.contains("of task 0 is damaged"), "{said}");
}

/// Which task was made.
fn spec_hash(made: Result<Made, AssembleError>) -> SpecHash {
    match made.unwrap_or_else(|error| panic!("{error}")) {
        Made::Ready(assembled) => assembled.bound.spec.hash(),
        Made::Pack(..) => panic!("there is one small part"),
    }
}
