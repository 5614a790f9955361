//! What is over: it is kept for a time, for each requester up to a budget, and takes no memory of the core.

use tidemill_net::wire::{Refusal, Reply};
use tidemill_store::{Change, EscrowStage, JobEnd, UnixMillis};
use tidemill_types::{ByteSize, JobId, Millis};

use super::{
    memory::bytes_of_the_core,
    peer::Peer,
    world::{OWNER, World, config, job_id, map_job},
};
use crate::{
    core::{CoreConfig, Keep},
    event::{Effect, Event, Look, Question},
};

const KEEP_MS: u64 = 60_000;

fn keeping(keep: Keep) -> World {
    World::with(CoreConfig { keep, ..config(false) }, &[])
}

fn kept_for_a_minute() -> World {
    keeping(Keep { time: Millis(KEEP_MS), ..Keep::default() })
}

/// Jobs by their numbers.
fn numbered(number: u32) -> JobId {
    JobId(u128::from(number).to_be_bytes())
}

/// So many jobs come and end, some dozens of them in each commit.
fn end_many(world: &mut World, numbers: std::ops::Range<u32>) {
    let spec = map_job(1);
    for number in numbers {
        world.submit(numbered(number), &spec);
        world.ask(Question::Cancel(numbered(number)));
        if number.is_multiple_of(64) {
            drop(world.settle());
        }
    }
    drop(world.settle());
}

fn refusals(effects: &[Effect]) -> Vec<&Refusal> {
    let refusals = effects.iter().filter_map(|effect| match effect {
        Effect::Reply(_, answer) => answer.reply.as_ref().err(),
        _ => None,
    });
    refusals.collect()
}

fn accepted(effects: &[Effect]) -> usize {
    let is_accepted =
        |effect: &&Effect| matches!(effect, Effect::Reply(_, answer) if answer.reply == Ok(Reply::Submitted));
    effects.iter().filter(is_accepted).count()
}

#[test]
fn a_job_goes_when_its_time_is_over_and_one_that_runs_stays() {
    let mut world = kept_for_a_minute();
    let spec = map_job(4);
    let mut peer = Peer::joined(1, &mut world);
    world.submit(job_id(1), &spec);
    world.finish(&mut [&mut peer]);
    world.tell(Event::SessionEnded { session: peer.session() });
    world.submit(job_id(2), &spec);
    world.settle();

    world.wait(KEEP_MS - 1);
    assert_eq!(world.expire(), []);
    world.wait(10_000);
    assert_eq!(world.expire(), [job_id(1)]);
    let effects = world.settle();
    assert!(effects.iter().any(|effect| matches!(effect, Effect::ReleaseOutputs(job) if *job == job_id(1))));
    assert_eq!(world.expire(), []);
    assert_eq!(world.store.job(job_id(1)).expect("the store can be read"), None);
    assert!(world.record(job_id(2)).ended.is_none());
    while world.store.sweep(1).expect("the store can be swept") {
        world.check_store();
    }
    assert!(world.look(job_id(1), None).is_some(), "its id is free again");
    let holdings = world.store.holdings(OWNER).expect("the store can be read");
    assert_eq!((holdings.jobs, holdings.bytes), (1, world.record(job_id(2)).bytes));
}

/// A process may be killed before the removal is durable, or in the middle of deleting rows: the next one goes on.
#[test]
fn a_sweep_that_is_killed_goes_on() {
    let mut world = kept_for_a_minute();
    let spec = map_job(6);
    let mut peer = Peer::joined(1, &mut world);
    for number in [1, 2] {
        world.submit(job_id(number), &spec);
    }
    world.finish(&mut [&mut peer]);
    world.wait(2 * KEEP_MS);
    assert_eq!(world.expire().len(), 2);
    world.crash();
    assert!(world.look(job_id(1), None).is_none(), "nothing of it was durable");

    assert_eq!(world.expire().len(), 2);
    world.settle();
    assert!(world.store.sweep(3).expect("the store can be swept"), "three rows are not all");
    world.crash();
    assert_eq!(world.expire(), []);
    assert!(world.look(job_id(1), None).is_none(), "its id is taken while there are rows of it");
    while world.store.sweep(3).expect("the store can be swept") {
        world.crash();
    }
    world.check_store();
    assert!(world.look(job_id(1), None).is_some() && world.look(job_id(2), None).is_some());
}

/// The shell finds jobs whose time is over while the core removes them: that is no contradiction.
#[test]
fn what_is_found_twice_is_removed_once() {
    let mut world = kept_for_a_minute();
    end_many(&mut world, 1..4);
    world.wait(2 * KEEP_MS);
    world.remove(numbered(1));
    assert_eq!(world.expire().len(), 3, "the removal is not durable");
    world.expire();
    let step = world.take_step();
    let removed = step.changes.iter().filter(|change| matches!(change, Change::JobRemoved { .. })).count();
    assert_eq!(removed, 3);
    world.commit(step);
    world.check_store();
}

/// A session may be late by more than the core remembers.
#[test]
fn who_looked_too_long_ago_looks_again() {
    let mut world = World::new();
    let spec = map_job(1);
    end_many(&mut world, 1..1_000);
    for job in [numbered(1), numbered(5_000)] {
        world.submit_after(Look::default(), job, &spec);
        let effects = world.settle();
        assert!(effects.iter().any(|effect| matches!(effect, Effect::SubmitAgain { .. })));
        assert_eq!(accepted(&effects), 0);
    }
    assert!(world.look(numbered(1), None).is_none(), "its session answers by itself");
    world.submit(numbered(5_000), &spec);
    assert_eq!(accepted(&world.settle()), 1);

    world.ask(Question::Remove { job: numbered(1), past: 0 });
    assert!(world.settle().iter().any(|effect| matches!(effect, Effect::RemoveAgain(..))));
    world.remove(numbered(1));
    world.settle();
    assert_eq!(world.store.job(numbered(1)).expect("the store can be read"), None);
}

#[test]
fn who_has_as_many_jobs_as_are_kept_for_one_is_told_the_ways_out() {
    let mut world = keeping(Keep { jobs: 2, ..Keep::default() });
    let spec = map_job(1);
    for number in 1..=2 {
        world.submit(job_id(number), &spec);
        assert_eq!(accepted(&world.settle()), 1);
    }
    world.submit(job_id(3), &spec);
    let effects = world.settle();
    let [refusal @ Refusal::OverBudget { .. }] = refusals(&effects)[..] else { panic!("{effects:?}") };
    let words = refusal.to_string();
    for way in ["2 jobs are kept", "tidemill remove", "30 days", "--keep-jobs"] {
        assert!(words.contains(way), "{way}: {words}");
    }
    assert!(effects.iter().any(|effect| matches!(effect, Effect::ReleaseInputs(job) if *job == job_id(3))));

    world.ask(Question::Cancel(job_id(1)));
    world.remove(job_id(1));
    world.settle();
    world.submit(job_id(3), &spec);
    assert_eq!(accepted(&world.settle()), 1);
}

#[test]
fn who_has_as_many_bytes_as_are_kept_for_one_may_bring_none() {
    let spec = map_job(1);
    let room = spec.encode().len() as u64 * 3 / 2;
    let mut world = keeping(Keep { bytes: ByteSize(room), time: Millis(90_000), ..Keep::default() });
    world.submit(job_id(1), &spec);
    world.settle();
    world.submit(job_id(2), &spec);
    let effects = world.settle();
    let [refusal @ Refusal::OverBudget { .. }] = refusals(&effects)[..] else { panic!("{effects:?}") };
    let words = refusal.to_string();
    assert!(["tidemill remove", "1.5m", "--keep-bytes"].iter().all(|way| words.contains(way)), "{words}");
}

/// The ends of escrows are in the store too.
#[test]
fn an_escrow_that_the_store_has_as_closed_pays_for_nothing() {
    let mut world = World::of(true);
    world.fund_and_submit(job_id(1), &map_job(1));
    world.settle();
    let mut record = world.store.recover().expect("the store can be read").escrows.remove(0).0;
    record.stage = EscrowStage::Closed;
    let (job, end, at) = (job_id(1), JobEnd::Cancelled, UnixMillis(1));
    let ended = Change::JobEnded { job, end, at, summary: Vec::new() };
    world.store.commit(&[ended, Change::Escrow(record)]).expect("the changes make sense");
    world.crash();
    world.fund_and_submit(job_id(2), &map_job(1));
    let effects = world.settle();
    let [Refusal::Unpaid { reason }] = refusals(&effects)[..] else { panic!("{effects:?}") };
    assert!(reason.contains("the escrow is closed"), "{reason}");
}

/// The bytes of a core after so many jobs have come and ended, and those of one that is started on their store.
fn bytes_after(jobs: u32) -> (isize, isize) {
    let mut world = keeping(Keep { jobs: u64::MAX, bytes: ByteSize(u64::MAX), ..Keep::default() });
    end_many(&mut world, 0..jobs);
    assert!(world.store.recover().expect("the store can be read").jobs.is_empty());
    let then = bytes_of_the_core(&mut world);
    // What was taken out is gone; this is one that knows only the store.
    world.crash();
    (then, bytes_of_the_core(&mut world))
}

#[test]
fn jobs_that_ended_take_no_memory() {
    let (few, many) = (bytes_after(1_000), bytes_after(20_000));
    eprintln!("bytes of the core, and of one started anew: {few:?} after 1,000 jobs, {many:?} after 20,000");
    assert!(many.0 * 10 <= few.0 * 12, "{} bytes are more than 1.2 times {}", many.0, few.0);
    assert_eq!(few.1, many.1);
}

#[test]
#[ignore = "takes minutes: cargo test --release -p tidemill-coordinator a_million_jobs_that_ended -- --ignored --nocapture"]
fn a_million_jobs_that_ended_take_no_memory() {
    let (few, many) = (bytes_after(1_000), bytes_after(1_000_000));
    eprintln!(
        "bytes of the core, and of one started anew: {few:?} after 1,000 jobs, {many:?} after 1,000,000"
    );
    assert!(many.0 * 10 <= few.0 * 12, "{} bytes are more than 1.2 times {}", many.0, few.0);
    assert_eq!(few.1, many.1);
}
