//! Attempts that fail, time that passes, and providers that go: what is believed, and who tries again.

use std::sync::Arc;

use tidemill_job::JobSpec;
use tidemill_net::wire::{FromProvider, HeldLease, Lease, ReturnReason, ToProvider};
use tidemill_store::JobEnd;
use tidemill_types::{Failure, Outcome, TaskId, TaskNumber};

use super::{
    peer::{LARGE, Peer, archive, broke, failed, held},
    world::{LEASE_MS, SECOND_OPINION_MS, World, job_id, job_spec, leases_to, map_job},
};
use crate::event::{Effect, Event, FetchProblem};

/// A world with one job.
fn world_with(spec: &Arc<JobSpec>) -> World {
    let mut world = World::new();
    world.submit(job_id(1), spec);
    world.settle();
    world
}

/// What the peer is given next, while time passes in small steps.
fn next_lease(world: &mut World, peer: &Peer) -> Option<Lease> {
    for _ in 0..20 {
        if let Some(lease) = leases_to(&world.settle(), peer.session).pop() {
            return Some(lease);
        }
        world.wait(50);
        peer.say(world, FromProvider::Heartbeat { running: 0, waiting: 0 });
    }
    None
}

fn fail(world: &mut World, peer: &mut Peer, lease: &Lease, outcome: Outcome) {
    let results = vec![peer.failure(lease, outcome)];
    let message = peer.batch(results);
    peer.say(world, message);
}

fn end(world: &World) -> Option<JobEnd> {
    world.record(job_id(1)).ended.map(|ended| ended.end)
}

fn failure_of(code: u32) -> Failure {
    Failure::Exit { code, stderr: String::new() }
}

#[test]
fn two_operators_with_the_same_evidence_are_believed_at_once() {
    let mut world = world_with(&map_job(1));
    let mut one = Peer::joined(1, &mut world);
    let lease = next_lease(&mut world, &one).expect("it is the only one there");
    fail(&mut world, &mut one, &lease, failed(3));
    let mut two = Peer::joined(2, &mut world);
    let lease = next_lease(&mut world, &two).expect("another operator is asked");
    fail(&mut world, &mut two, &lease, failed(3));
    world.settle();
    let task = TaskNumber(0);
    assert_eq!(end(&world), Some(JobEnd::Failed { task, failure: failure_of(3), attempts: 2 }));
    world.check_store();
}

#[test]
fn two_nodes_of_one_operator_are_one_opinion() {
    let mut world = world_with(&map_job(1));
    let mut one = Peer::joined(1, &mut world);
    let lease = next_lease(&mut world, &one).expect("it is the only one there");
    fail(&mut world, &mut one, &lease, failed(3));
    let mut twin = Peer::of(2, 1);
    twin.join(&mut world, vec![]);
    assert!(next_lease(&mut world, &twin).is_none());
    assert_eq!(end(&world), None);
}

#[test]
fn one_operator_twice_is_one_opinion() {
    let mut world = world_with(&map_job(1));
    let mut one = Peer::joined(1, &mut world);
    let lease = next_lease(&mut world, &one).expect("it is the only one there");
    fail(&mut world, &mut one, &lease, failed(3));
    let mut two = Peer::joined(2, &mut world);
    let lease = next_lease(&mut world, &two).expect("another operator is asked");
    fail(&mut world, &mut two, &lease, broke());
    world.tell(Event::SessionEnded { session: two.session() });
    // Nobody else came, and the last word was a circumstance: whoever is there gets another chance.
    world.wait(SECOND_OPINION_MS);
    let lease = next_lease(&mut world, &one).expect("it is the only one there");
    fail(&mut world, &mut one, &lease, failed(3));
    world.settle();
    assert_eq!(end(&world), None, "it only repeats itself");
    world.wait(SECOND_OPINION_MS);
    world.settle();
    assert!(matches!(end(&world), Some(JobEnd::Failed { attempts: 3, .. })));
}

#[test]
fn evidence_of_the_only_operator_is_believed_after_a_while() {
    let mut world = world_with(&map_job(1));
    let mut one = Peer::joined(1, &mut world);
    let lease = next_lease(&mut world, &one).expect("it is the only one there");
    fail(&mut world, &mut one, &lease, failed(3));
    world.wait(SECOND_OPINION_MS - 1);
    world.settle();
    assert_eq!(end(&world), None);
    world.wait(1);
    world.settle();
    let task = TaskNumber(0);
    assert_eq!(end(&world), Some(JobEnd::Failed { task, failure: failure_of(3), attempts: 1 }));
}

#[test]
fn who_is_there_and_takes_nothing_is_no_second_opinion() {
    for credits_first in [true, false] {
        let mut world = world_with(&map_job(1));
        let mut one = Peer::joined(1, &mut world);
        let lease = next_lease(&mut world, &one).expect("it is the only one there");
        let mut two = Peer::new(2);
        if credits_first {
            two.credits = 0;
        } else {
            two.slots = 0;
        }
        two.join(&mut world, vec![]);
        fail(&mut world, &mut one, &lease, failed(3));
        world.settle();
        world.wait(SECOND_OPINION_MS);
        world.settle();
        assert!(matches!(end(&world), Some(JobEnd::Failed { .. })));
    }
}

#[test]
fn a_lone_liar_is_overruled() {
    let mut world = world_with(&map_job(4));
    let mut liar = Peer::joined(1, &mut world);
    let lease = next_lease(&mut world, &liar).expect("it is the only one there");
    fail(&mut world, &mut liar, &lease, failed(9));
    let mut honest = Peer::joined(2, &mut world);
    world.finish(&mut [&mut honest]);
    assert_eq!(end(&world), Some(JobEnd::Done));
    let task = TaskId { job: job_id(1), task: lease.task };
    let attempts = world.store.attempts(task).expect("the store can be read");
    assert_eq!(attempts.iter().map(|attempt| &attempt.failure).collect::<Vec<_>>(), [&failure_of(9)]);
}

#[test]
fn evidence_that_never_agrees_ends_the_job() {
    let mut world = world_with(&map_job(1));
    for number in 1..=5 {
        assert_eq!(end(&world), None);
        let mut peer = Peer::joined(number, &mut world);
        let lease = next_lease(&mut world, &peer).expect("each is another operator");
        fail(&mut world, &mut peer, &lease, failed(number.into()));
    }
    world.settle();
    assert!(matches!(end(&world), Some(JobEnd::Failed { attempts: 5, .. })));
}

#[test]
fn circumstances_are_retried_elsewhere_and_their_reasons_kept() {
    let mut world = world_with(&map_job(1));
    for number in 1..=4 {
        assert_eq!(end(&world), None, "three retries are four attempts");
        let mut peer = Peer::joined(number, &mut world);
        let lease = next_lease(&mut world, &peer).expect("it has not failed there");
        fail(&mut world, &mut peer, &lease, broke());
    }
    world.settle();
    assert!(matches!(end(&world), Some(JobEnd::Failed { attempts: 4, .. })));
    let task = TaskId { job: job_id(1), task: TaskNumber(0) };
    assert_eq!(world.store.attempts(task).expect("the store can be read").len(), 4);
}

#[test]
fn a_machine_alone_gets_another_chance_after_a_while() {
    let mut world = world_with(&map_job(1));
    let mut one = Peer::joined(1, &mut world);
    let lease = next_lease(&mut world, &one).expect("it is the only one there");
    fail(&mut world, &mut one, &lease, broke());
    assert!(next_lease(&mut world, &one).is_none());
    world.wait(SECOND_OPINION_MS);
    world.finish(&mut [&mut one]);
    assert_eq!(end(&world), Some(JobEnd::Done));
}

/// A world in which the first peer was silent with the job's only task, so that the second has a copy of it.
fn with_a_copy(retries: u32) -> (World, Peer, Peer, Lease, Lease) {
    let spec = job_spec(&format!("retries = {retries}"), "");
    let mut world = world_with(&spec);
    let one = Peer::joined(1, &mut world);
    let first = next_lease(&mut world, &one).expect("it is the only one there");
    world.tell(Event::SessionEnded { session: one.session() });
    let two = Peer::joined(2, &mut world);
    let copy = next_lease(&mut world, &two).expect("what a lost provider has is copied");
    assert_eq!(first.task, copy.task);
    (world, one, two, first, copy)
}

#[test]
fn the_copy_that_is_second_is_superseded() {
    let (mut world, mut one, mut two, first, copy) = with_a_copy(3);
    one.join(&mut world, vec![held(&first)]);
    let results = vec![one.done(&first)];
    let message = one.batch(results);
    one.say(&mut world, message);
    let effects = world.settle();
    assert_eq!(end(&world), Some(JobEnd::Done));
    let cancelled = |effect: &Effect| {
        matches!(effect, Effect::ToProvider(session, ToProvider::Cancel(leases))
            if *session == two.session() && *leases == [copy.id])
    };
    assert!(effects.iter().any(cancelled));

    let results = vec![two.done(&copy)];
    let message = two.batch(results);
    two.say(&mut world, message);
    let effects = world.settle();
    assert!(matches!(effects[..], [Effect::ToProvider(_, ToProvider::Settled { sequence: 1 })]));
    world.check_store();
}

#[test]
fn a_failure_does_not_end_a_job_while_a_copy_runs() {
    let (mut world, mut one, mut two, first, copy) = with_a_copy(0);
    one.join(&mut world, vec![held(&first)]);
    fail(&mut world, &mut one, &first, broke());
    world.settle();
    assert_eq!(end(&world), None);
    let results = vec![two.done(&copy)];
    let message = two.batch(results);
    two.say(&mut world, message);
    world.settle();
    assert_eq!(end(&world), Some(JobEnd::Done));
}

#[test]
fn a_silent_provider_loses_its_leases_and_gets_none_until_it_speaks() {
    let mut world = world_with(&map_job(1));
    let mut one = Peer::joined(1, &mut world);
    next_lease(&mut world, &one).expect("it is the only one there");
    world.wait(LEASE_MS + 1);
    assert!(world.core.leases.is_empty());
    for _ in 0..100 {
        world.wait(200);
        assert!(leases_to(&world.settle(), one.session).is_empty(), "it would lose them at once");
    }
    one.say(&mut world, FromProvider::Heartbeat { running: 0, waiting: 0 });
    world.finish(&mut [&mut one]);
    assert_eq!(end(&world), Some(JobEnd::Done));
}

#[test]
fn a_provider_that_comes_back_keeps_what_it_still_has() {
    let mut world = world_with(&map_job(8));
    let mut one = Peer::joined(1, &mut world);
    one.leases = leases_to(&world.settle(), one.session);
    assert!(one.leases.len() >= 2);
    let lost = one.leases.pop().expect("there are two");
    let holds: Vec<_> = one.leases.iter().map(held).collect();
    one.join(&mut world, holds.clone());
    let effects = world.settle();
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Supersede(_))));
    assert!(world.core.leases.contains_key(&holds[0].lease) && !world.core.leases.contains_key(&lost.id));
    one.leases.extend(leases_to(&effects, one.session));
    world.finish(&mut [&mut one]);
}

/// A peer of a class of hardware, and the leases that it holds.
fn with_leases() -> (World, Peer, Vec<HeldLease>) {
    let mut world = world_with(&map_job(3));
    let mut one = Peer::new(1);
    one.hardware_class = Some("x86-64-v3".to_owned());
    one.join(&mut world, Vec::new());
    one.leases = leases_to(&world.settle(), one.session);
    let holds: Vec<_> = one.leases.iter().map(held).collect();
    (world, one, holds)
}

#[test]
fn leases_outlive_a_restart_and_results_for_them_count() {
    let (mut world, mut one, holds) = with_leases();
    world.crash();
    one.join(&mut world, holds.clone());
    one.do_all(&mut world);
    world.finish(&mut [&mut one]);
    let task = TaskId { job: job_id(1), task: TaskNumber(0) };
    let done = world.store.task(task).expect("the store can be read").expect("the task is done");
    assert_eq!(done.result.lease, holds[0].lease);
}

#[test]
fn a_lease_is_of_the_hardware_that_it_was_given_to() {
    let (mut world, mut one, holds) = with_leases();
    assert!(!holds.is_empty());
    one.join(&mut world, holds.clone());
    world.settle();
    assert!(holds.iter().all(|held| world.is_live(held.lease)), "it came back as it was");
    one.hardware_class = Some("aarch64".to_owned());
    one.join(&mut world, holds.clone());
    world.settle();
    assert!(holds.iter().all(|held| !world.is_live(held.lease)), "its results would be of another class");
}

/// A task whose output does not travel in the message, and a peer that has sent its result.
fn with_a_large_output() -> (World, Peer, Lease) {
    let mut world = world_with(&map_job(1));
    let mut one = Peer::joined(1, &mut world);
    let lease = next_lease(&mut world, &one).expect("it is the only one there");
    let results = vec![one.done_with(&lease, archive(&[1; LARGE]))];
    let message = one.batch(results);
    one.say(&mut world, message);
    let effects = world.settle();
    assert!(effects.iter().any(|effect| matches!(effect, Effect::FetchOutput { .. })));
    assert!(!settles(&effects), "the provider has to keep it until it is here");
    (world, one, lease)
}

fn settles(effects: &[Effect]) -> bool {
    effects.iter().any(|effect| matches!(effect, Effect::ToProvider(_, ToProvider::Settled { .. })))
}

#[test]
fn a_large_output_counts_once_it_is_here() {
    let (mut world, one, lease) = with_a_large_output();
    world.tell(Event::OutputFetched { session: one.session(), lease: lease.id, result: Ok(()) });
    assert!(settles(&world.settle()));
    assert_eq!(end(&world), Some(JobEnd::Done));
    world.check_store();
}

#[test]
fn releases_are_asked_for_in_the_step_in_which_a_job_leaves_its_escrow() {
    let mut world = World::of(true);
    world.submit_paid(job_id(1), &map_job(1), true);
    let mut one = Peer::joined(1, &mut world);
    let lease = next_lease(&mut world, &one).expect("it is the only one there");
    let results = vec![one.done(&lease)];
    let message = one.batch(results);
    one.say(&mut world, message);
    let effects = world.settle();
    assert_eq!(end(&world), Some(JobEnd::Done));
    let asks = |effect: &Effect| matches!(effect, Effect::ToProvider(_, ToProvider::ReleaseWanted(_)));
    assert!(effects.iter().any(asks), "without a tick");
}

#[test]
fn an_output_that_cannot_be_had_is_made_again() {
    for problem in [FetchProblem::Provider("a".to_owned()), FetchProblem::Here("b".to_owned())] {
        let (mut world, mut one, lease) = with_a_large_output();
        world.tell(Event::OutputFetched { session: one.session(), lease: lease.id, result: Err(problem) });
        let effects = world.settle();
        assert!(settles(&effects));
        one.leases = leases_to(&effects, one.session);
        world.finish(&mut [&mut one]);
        assert_eq!(end(&world), Some(JobEnd::Done));
    }
}

#[test]
fn what_arrives_of_an_earlier_session_is_not_mixed_up() {
    let (mut world, mut one, lease) = with_a_large_output();
    let old = one.session();
    one.join(&mut world, vec![held(&lease)]);
    world.tell(Event::OutputFetched { session: old, lease: lease.id, result: Ok(()) });
    world.settle();
    assert_eq!(end(&world), None, "its batch is closed; the result comes in another one");
    let results = one.sent.remove(&1).expect("it was not settled");
    let message = one.batch(results);
    one.say(&mut world, message);
    let problem = Err(FetchProblem::Provider("its session is over".to_owned()));
    world.tell(Event::OutputFetched { session: old, lease: lease.id, result: problem });
    assert!(world.core.leases.contains_key(&lease.id), "the new session's fetch goes on");
    world.tell(Event::OutputFetched { session: one.session(), lease: lease.id, result: Ok(()) });
    assert!(settles(&world.settle()));
    assert_eq!(end(&world), Some(JobEnd::Done));
    world.check_store();
}

#[test]
fn a_machine_that_fails_at_everything_pauses_and_others_go_on() {
    let mut world = world_with(&map_job(64));
    let mut bad = Peer::new(1);
    bad.slots = 16;
    bad.credits = 16;
    bad.join(&mut world, vec![]);
    let leases = leases_to(&world.settle(), bad.session);
    assert!(leases.len() > 8);
    let ids: Vec<_> = leases.iter().map(|lease| lease.id).collect();
    bad.say(&mut world, FromProvider::Returned { leases: ids, reason: ReturnReason::NoRoom });
    assert!(leases_to(&world.settle(), bad.session).is_empty());
    let pause = world.core.providers[&bad.node].paused_until.expect("it pauses");
    assert!(pause.0 <= 1_000_000, "one full disk is one reason, however many leases it had");
    let mut good = Peer::joined(2, &mut world);
    world.finish(&mut [&mut good]);
    assert_eq!(end(&world), Some(JobEnd::Done));
}

/// Has a peer break everything that it is given, or do it.
fn work(world: &mut World, peer: &mut Peer, breaks: impl Fn(&Lease) -> bool) -> usize {
    let leases = std::mem::take(&mut peer.leases);
    let results: Vec<_> = leases
        .iter()
        .map(|lease| match breaks(lease) {
            true => peer.failure(lease, broke()),
            false => peer.done(lease),
        })
        .collect();
    let count = results.len();
    let message = match count {
        0 => FromProvider::Heartbeat { running: 0, waiting: 0 },
        _ => peer.batch(results),
    };
    peer.say(world, message);
    count
}

/// Tasks that were made to run out of memory in a millisecond had whoever took them pause, for minutes.
#[test]
fn a_job_whose_tasks_fail_everywhere_hurts_no_other() {
    let mut world = World::new();
    world.submit(job_id(1), &map_job(200));
    world.submit(job_id(2), &map_job(100));
    let mut peers: Vec<Peer> = (1..=3).map(|number| Peer::joined(number, &mut world)).collect();
    let mut broken = 0;
    for _ in 0..400 {
        for effect in world.settle() {
            let mut all: Vec<&mut Peer> = peers.iter_mut().collect();
            world.obey(effect, &mut all);
        }
        for peer in &mut peers {
            let of_it = |lease: &Lease| lease.job == job_id(1);
            broken += peer.leases.iter().filter(|lease| of_it(lease)).count();
            work(&mut world, peer, of_it);
            let provider = &world.core.providers[&peer.node];
            assert_eq!((provider.strikes, provider.paused_until), (0, None), "after {broken} failures");
        }
        if world.record(job_id(2)).ended.is_some() {
            break;
        }
        world.wait(50);
    }
    assert_eq!(world.record(job_id(2)).ended.map(|ended| ended.end), Some(JobEnd::Done));
    assert!(broken >= 3, "{broken} attempts failed");
    let paused = |job: &crate::core::jobs::Job| job.failing.values().any(|failing| failing.streak >= 3);
    assert!(world.core.jobs.get(&job_id(1)).is_none_or(paused), "it is the job that they are spared");
}

#[test]
fn a_machine_that_fails_where_others_succeed_pauses() {
    let mut world = world_with(&map_job(120));
    let mut peers: Vec<Peer> = (1..=2).map(|number| Peer::joined(number, &mut world)).collect();
    let mut paused = false;
    for _ in 0..2_000 {
        for effect in world.settle() {
            let mut all: Vec<&mut Peer> = peers.iter_mut().collect();
            world.obey(effect, &mut all);
        }
        for (at, peer) in peers.iter_mut().enumerate() {
            work(&mut world, peer, |_| at == 0);
        }
        paused |= world.core.providers[&peers[0].node].paused_until.is_some();
        assert_eq!(world.core.providers[&peers[1].node].strikes, 0);
        if end(&world).is_some() {
            break;
        }
        world.wait(200);
    }
    assert_eq!(end(&world), Some(JobEnd::Done));
    assert!(paused || world.core.providers[&peers[0].node].strikes > 0, "nobody else failed");
}
