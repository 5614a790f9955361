//! How much of a coordinator one requester may have.

use tidemill_net::wire::{JobPhase, Reply};
use tidemill_store::JobEnd;
use tidemill_types::{ByteSize, Failure};

use super::{
    peer::Peer,
    world::{World, config, job_id, map_job},
};
use crate::{
    core::{CoreConfig, Keep},
    event::{Effect, Question},
};

/// A job that makes outputs without end filled the disk for everybody: its own did not count once it had come in.
#[test]
fn a_job_ends_whose_outputs_are_more_than_is_kept_for_its_owner() {
    let spec = map_job(300);
    let bytes = ByteSize(spec.encode().len() as u64 + (1 << 20));
    let keep = Keep { bytes, ..Keep::default() };
    let mut world = World::with(CoreConfig { keep, ..config(false) }, &[]);
    world.submit(job_id(1), &spec);
    let mut peer = Peer::joined(1, &mut world);
    world.finish(&mut [&mut peer]);
    let record = world.record(job_id(1));
    let Some(JobEnd::Failed { failure: Failure::Host { reason }, .. }) =
        record.ended.as_ref().map(|ended| &ended.end)
    else {
        panic!("{record:?}")
    };
    assert!(["tidemill remove", "--keep-bytes"].iter().all(|way| reason.contains(way)), "{reason}");
    assert!(record.bytes > bytes, "it is the store that decides");
    assert!(record.done > 0 && record.done < 300, "{} tasks are done", record.done);
}

/// What was removed counts no more, whatever the core has counted.
#[test]
fn a_job_goes_on_whose_owner_has_made_room() {
    let spec = map_job(60);
    // About 4.6 KB a task, and its specification.
    let alone = {
        let mut world = World::new();
        world.submit(job_id(1), &spec);
        let mut peer = Peer::joined(1, &mut world);
        world.finish(&mut [&mut peer]);
        world.record(job_id(1)).bytes
    };
    let keep = Keep { bytes: ByteSize(alone.0 * 3 / 2), ..Keep::default() };
    let mut world = World::with(CoreConfig { keep, ..config(false) }, &[]);
    let mut peer = Peer::joined(1, &mut world);
    world.submit(job_id(1), &spec);
    world.finish(&mut [&mut peer]);
    world.submit(job_id(2), &spec);
    world.remove(job_id(1));
    world.finish(&mut [&mut peer]);
    assert_eq!(world.record(job_id(2)).ended.map(|ended| ended.end), Some(JobEnd::Done));
    world.ask(Question::Job(job_id(2)));
    let effects = world.settle();
    let is_done = |effect: &Effect| match effect {
        Effect::Reply(_, answer) => {
            !matches!(&answer.reply, Ok(Reply::Job(report)) if report.phase != JobPhase::Done)
        }
        _ => true,
    };
    assert!(effects.iter().all(is_done));
}
