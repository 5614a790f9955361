//! Damage on the coordinator's disk: what comes again, from whom, and what is done again.

use std::{collections::BTreeMap, fs, sync::Arc};

use tidemill_job::{BlobRef, JobSpec};
use tidemill_net::wire::{JobReport, MAX_INLINE_OUTPUT_BYTES, Reply};
use tidemill_store::Change;
use tidemill_types::{BlobId, TaskId, TaskNumber};

use super::{
    peer::Peer,
    world::{OWNER, World, config, job_id, job_spec, leases_to, map_job},
};
use crate::{
    event::{Effect, Event, Question},
    mending, recovery,
};

/// Enough tasks that some have large outputs.
const TASKS: u64 = 64;

/// So many outputs are damaged in the life of a job.
const MOST_DAMAGED: usize = 12;

fn report(effects: Vec<Effect>) -> JobReport {
    let report = effects.into_iter().find_map(|effect| match effect {
        Effect::Reply(_, answer) => match answer.reply {
            Ok(Reply::Job(report)) => Some(report),
            _ => None,
        },
        _ => None,
    });
    report.expect("the core answers")
}

#[test]
fn a_job_whose_input_is_damaged_waits_for_its_requester() {
    let (mut world, spec) = (World::new(), map_job(3));
    let program = spec.blobs()[0];
    world.submit(job_id(1), &spec);
    world.settle();
    world.tell(Event::Damaged { blob: program, jobs: Vec::new() });
    let mut peer = Peer::joined(1, &mut world);
    let effects = world.settle();
    assert!(leases_to(&effects, peer.session).is_empty(), "nobody could fetch the program");
    let asked: Vec<_> = effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::FetchInput { owner, blob } => Some((*owner, *blob)),
            _ => None,
        })
        .collect();
    assert_eq!(asked, [(OWNER, program)]);
    world.ask(Question::Job(job_id(1)));
    let stuck = report(world.settle()).stuck.expect("it waits");
    assert!(stuck.contains(&format!("waits for its program {}", program.id)), "{stuck}");

    world.tell(Event::InputBack { blob: program.id });
    let effects = world.settle();
    assert_eq!(leases_to(&effects, peer.session).len(), 3);
    for effect in effects {
        world.obey(effect, &mut [&mut peer]);
    }
    world.finish(&mut [&mut peer]);
    world.check_outputs(job_id(1), &spec);
}

/// An output of a done task that does not travel in messages, and that was not damaged before.
fn large(world: &World, spec: &Arc<JobSpec>, damaged: &BTreeMap<BlobId, Vec<u8>>) -> Option<BlobRef> {
    (0..spec.task_count()).map(TaskNumber).find_map(|task| {
        let done = world.store.task(TaskId { job: job_id(1), task }).expect("the store can be read")?;
        let output = BlobRef { id: done.result.output, len: done.result.output_len.0 };
        let is_new = output.len > MAX_INLINE_OUTPUT_BYTES as u64 && !damaged.contains_key(&output.id);
        is_new.then_some(output)
    })
}

/// Honest peers do a job while its large outputs are damaged one after another. Gives how many came again and how many
/// tasks were undone. `are_kept`: whether peers have their outputs still.
fn live_through_damage(world: &mut World, spec: &Arc<JobSpec>, are_kept: bool) -> (usize, usize) {
    let (mut one, mut two) = (Peer::joined(1, world), Peer::joined(2, world));
    let (mut back, mut undone_tasks) = (0, 0);
    let mut damaged = BTreeMap::new();
    for _ in 0..2_000 {
        let step = world.take_step();
        let is_undone = |change: &&Change| matches!(change, Change::Undone { .. });
        undone_tasks += step.changes.iter().filter(is_undone).count();
        for effect in world.commit(step) {
            match effect {
                Effect::FindLost { job, from, undone } => {
                    let is_here = |blob| world.blob_file(blob).exists();
                    let found = mending::lost(&world.store, job, from, undone, 2, is_here);
                    world.tell(Event::LostFound(found.expect("the store can be read")));
                }
                Effect::FetchAgain { job, output, from } => {
                    let makers = [&one, &two].into_iter().filter(|peer| from.contains(&peer.node));
                    let bytes = makers.filter(|_| are_kept).find_map(|peer| peer.output(output.id));
                    assert_eq!(bytes.is_some(), are_kept, "whoever made it is asked");
                    if let Some(bytes) = &bytes {
                        world.keep_blob(bytes);
                        back += 1;
                    }
                    world.tell(Event::OutputBack { job, output: output.id, is_here: bytes.is_some() });
                }
                effect => world.obey(effect, &mut [&mut one, &mut two]),
            }
        }
        if world.core.jobs.is_empty() {
            world.settle();
            world.check_store();
            // What nobody needed any more did not come again.
            damaged.values().for_each(|bytes: &Vec<u8>| _ = world.keep_blob(bytes));
            world.check_outputs(job_id(1), spec);
            return (back, undone_tasks);
        }
        if damaged.len() < MOST_DAMAGED
            && let Some(blob) = large(world, spec, &damaged)
        {
            let path = world.blob_file(blob.id);
            damaged.insert(blob.id, fs::read(&path).expect("it was kept"));
            fs::remove_file(path).expect("it was there");
            world.tell(Event::Damaged { blob, jobs: vec![job_id(1)] });
        }
        world.wait(200);
        one.do_all(world);
        two.do_all(world);
    }
    panic!("the job does not end");
}

fn reduced() -> Arc<JobSpec> {
    let map = format!("retries = 3\ntasks.range = {{ from = 0, to = {TASKS} }}");
    job_spec(&map, "args = [\"{index}\"]\n[reduce]\nfan_in = 4\n")
}

#[test]
fn outputs_that_are_damaged_come_again_from_who_made_them() {
    for spec in [map_job(TASKS), reduced()] {
        let mut world = World::new();
        world.submit(job_id(1), &spec);
        let (back, undone) = live_through_damage(&mut world, &spec, true);
        assert!(back > 0, "some are needed still");
        assert_eq!(undone, 0, "nothing is done again");
    }
}

#[test]
fn tasks_whose_outputs_nobody_has_run_again() {
    for (spec, pays) in [(map_job(TASKS), false), (reduced(), false), (reduced(), true)] {
        let mut world = World::of(pays);
        match pays {
            true => world.fund_and_submit(job_id(1), &spec),
            false => world.submit(job_id(1), &spec),
        }
        let (back, undone) = live_through_damage(&mut world, &spec, false);
        assert_eq!(back, 0);
        assert!(undone > 0, "some are needed still");
    }
}

#[test]
fn a_start_finds_outputs_that_are_not_there() {
    let (mut world, spec) = (World::new(), map_job(TASKS));
    world.submit(job_id(1), &spec);
    let mut peer = Peer::joined(1, &mut world);
    let lost = loop {
        for effect in world.settle() {
            world.obey(effect, &mut [&mut peer]);
        }
        if let Some(output) = large(&world, &spec, &BTreeMap::new()) {
            break output;
        }
        world.wait(200);
        peer.do_all(&mut world);
    };
    world.settle();
    let is_here = |blob| blob != lost.id;
    let taken_up = recovery::take_up(&world.store, config(false), world.now, |_, _| {}, is_here);
    let mut core = taken_up.unwrap_or_else(|error| panic!("{error}"));
    let effects = core.take_step(world.now).effects;
    let is_asked = effects.iter().any(|effect| {
        matches!(effect, Effect::FetchAgain { output, from, .. } if *output == lost && *from == [peer.node])
    });
    assert!(is_asked, "{effects:?}");
}
