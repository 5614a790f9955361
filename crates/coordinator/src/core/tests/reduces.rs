//! Reduce tasks: where they go, and what they are made from.

use std::sync::Arc;

use tidemill_job::JobSpec;
use tidemill_types::{TaskId, TaskNumber};

use super::{
    peer::{LARGE, Peer, archive},
    world::{World, job_id, job_spec, leases_to},
};
use crate::event::Effect;

/// A job whose reduce has two parts.
fn two_parts() -> Arc<JobSpec> {
    job_spec("tasks.range = { from = 0, to = 2 }", "args = [\"{index}\"]\n[reduce]\nfan_in = 2\n")
}

/// The reduce of [`two_parts`].
const REDUCE: TaskId = TaskId { job: job_id(1), task: TaskNumber(2) };

/// A peer does all of the map, its outputs having files of so many bytes. Gives what is then to be done.
fn map_is_done(world: &mut World, peer: &mut Peer, spec: &Arc<JobSpec>, lens: [usize; 2]) -> Vec<Effect> {
    world.submit(job_id(1), spec);
    let leases = leases_to(&world.settle(), peer.session);
    assert_eq!(leases.len(), 2);
    let results = leases.iter().zip(lens).map(|(lease, len)| peer.done_with(lease, archive(&vec![7; len])));
    let results: Vec<_> = results.collect();
    let message = peer.batch(results);
    peer.say(world, message);
    for effect in world.settle() {
        world.obey(effect, &mut [peer]);
    }
    world.settle()
}

#[test]
fn a_reduce_is_known_to_be_near_who_keeps_its_parts() {
    let (mut world, spec) = (World::new(), two_parts());
    let mut peer = Peer::joined(1, &mut world);
    map_is_done(&mut world, &mut peer, &spec, [LARGE, 40]);
    let assembled = world.assemble(&spec, REDUCE).expect("its parts are done");
    assert_eq!(assembled.made_by, [(peer.node, LARGE as u64)], "the small one travels with the lease");
    assert_eq!(assembled.inline.iter().filter(|inline| inline.is_some()).count(), 1);
}
