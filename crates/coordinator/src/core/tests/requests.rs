//! Requesters: the same call twice, calls that overtake the disk, and the ends of jobs.

use tidemill_net::wire::{JobPhase, MAX_CALLS_IN_FLIGHT, Refusal, Reply};
use tidemill_store::JobEnd;
use tidemill_types::{NodeId, Principal};

use super::{
    peer::Peer,
    world::{OWNER, World, caller, job_id, job_spec, leases_to, map_job},
};
use crate::event::{Caller, Effect, Event, Question, SessionId};

fn replies(effects: &[Effect]) -> Vec<&Result<Reply, Refusal>> {
    let answers = effects.iter().filter_map(|effect| match effect {
        Effect::Reply(_, answer) => Some(answer),
        _ => None,
    });
    answers.map(|answer| &answer.reply).collect()
}

fn ask_as(world: &mut World, node: NodeId, question: Question) {
    let caller = Caller { session: SessionId(9), principal: Principal::Node(node), node, ..caller(1) };
    world.tell(Event::Ask { caller, question });
}

#[test]
fn a_job_runs_from_its_submission_to_its_end() {
    let mut world = World::new();
    let spec =
        job_spec("tasks.range = { from = 1, to = 40 }", "args = [\"{index}\"]\n[reduce]\nfan_in = 6\n");
    world.submit(job_id(1), &spec);
    let (mut one, mut two) = (Peer::joined(1, &mut world), Peer::joined(2, &mut world));
    world.finish(&mut [&mut one, &mut two]);
    assert_eq!(world.record(job_id(1)).ended.map(|ended| ended.end), Some(JobEnd::Done));
    world.check_outputs(job_id(1), &spec);
    assert!(one.sent.is_empty() && two.sent.is_empty(), "every batch is settled");
}

#[test]
fn the_same_submission_twice_is_one_job() {
    let mut world = World::new();
    let spec = map_job(3);
    world.submit(job_id(1), &spec);
    world.submit(job_id(1), &spec);
    let effects = world.settle();
    assert_eq!(replies(&effects), [&Ok(Reply::Submitted), &Ok(Reply::Submitted)]);

    world.submit(job_id(1), &map_job(4));
    assert_eq!(replies(&world.settle()), [&Err(Refusal::IdTaken)]);
    let mut peer = Peer::joined(1, &mut world);
    world.finish(&mut [&mut peer]);
}

/// A session looks into the store before it tells the core, and sees what was durable then: by the time that the
/// core hears of it, the job may have ended or be gone. The store would take that for a contradiction, and the
/// coordinator would end.
#[test]
fn calls_that_overtake_the_disk_contradict_nothing() {
    let mut world = World::new();
    let spec = map_job(3);
    world.submit(job_id(1), &spec);
    world.ask(Question::Cancel(job_id(1)));
    world.submit(job_id(1), &spec);
    let effects = world.settle();
    assert!(effects.iter().any(|effect| matches!(effect, Effect::SubmitAgain { .. })));

    world.remove(job_id(1));
    world.remove(job_id(1));
    world.submit(job_id(1), &spec);
    let effects = world.settle();
    let refused = [&Ok(Reply::Removed), &Err(Refusal::NoSuchJob), &Err(Refusal::IdTaken)];
    assert_eq!(replies(&effects), refused);
    world.check_store();
}

#[test]
fn ids_of_jobs_that_are_gone_stay_taken_over_a_restart() {
    let mut world = World::new();
    let spec = map_job(3);
    for number in [1, 2] {
        world.submit(job_id(number), &spec);
        world.ask(Question::Cancel(job_id(number)));
    }
    world.remove(job_id(2));
    world.settle();
    world.crash();
    assert!(world.look(job_id(1), None).is_none() && world.look(job_id(2), None).is_none());
    while world.store.sweep(1).expect("the store can be swept") {}
    assert!(world.look(job_id(1), None).is_none() && world.look(job_id(2), None).is_some());
}

#[test]
fn a_running_job_and_the_job_of_another_cannot_be_removed() {
    let mut world = World::new();
    world.submit(job_id(1), &map_job(3));
    world.remove(job_id(1));
    let stranger = NodeId([55; 32]);
    for question in [Question::Job(job_id(1)), Question::Cancel(job_id(1)), Question::Watch(job_id(1))] {
        ask_as(&mut world, stranger, question);
    }
    let effects = world.settle();
    let hidden = &Err(Refusal::NoSuchJob);
    assert_eq!(replies(&effects)[1..], [&Err(Refusal::NotEnded), hidden, hidden, hidden]);

    world.ask(Question::Cancel(job_id(1)));
    ask_as(&mut world, stranger, Question::Remove { job: job_id(1), past: 0 });
    assert_eq!(replies(&world.settle()).last(), Some(&hidden));
}

#[test]
fn the_operator_of_the_coordinator_alone_looks_at_the_jobs_of_all() {
    let mut world = World::new();
    world.submit(job_id(1), &map_job(3));
    let all = || Question::Jobs { limit: 10, after: None, all: true };
    let somebody = NodeId([55; 32]);
    ask_as(&mut world, somebody, all());
    let (principal, node, session) = (Principal::Node(somebody), somebody, SessionId(9));
    let operator = Caller { is_operator: true, principal, node, session, ..caller(1) };
    for question in [all(), Question::Job(job_id(1)), Question::Cancel(job_id(1))] {
        world.tell(Event::Ask { caller: operator, question });
    }
    let effects = world.settle();
    let [_, refused, seen, cancelled] = replies(&effects)[..] else { panic!("{:?}", replies(&effects)) };
    assert_eq!(refused, &Err(Refusal::NotOperator));
    assert!(matches!(seen, Ok(Reply::Job(report)) if report.requester == OWNER), "{seen:?}");
    assert_eq!(cancelled, &Err(Refusal::NoSuchJob), "to look at a job is not to own it");
    let listed = effects.iter().find_map(|effect| match effect {
        Effect::JobsFromStore { all: true, running, .. } => Some(running),
        _ => None,
    });
    assert_eq!(listed.expect("they are listed")[0].requester, OWNER);
}

#[test]
fn a_cancelled_job_takes_its_leases_back() {
    let mut world = World::new();
    world.submit(job_id(1), &map_job(30));
    let peer = Peer::joined(1, &mut world);
    let leased = leases_to(&world.settle(), peer.session);
    assert!(!leased.is_empty());
    world.ask(Question::Cancel(job_id(1)));
    let effects = world.settle();
    let wanted: Vec<_> = leased.iter().map(|lease| lease.id).collect();
    let cancelled = effects.iter().find_map(|effect| match effect {
        Effect::ToProvider(_, tidemill_net::wire::ToProvider::Cancel(leases)) => Some(leases),
        _ => None,
    });
    assert_eq!(cancelled, Some(&wanted));
    assert!(
        replies(&effects).iter().any(|reply| {
            matches!(reply, Ok(Reply::Ended(report)) if report.phase == JobPhase::Cancelled)
        })
    );
    world.check_store();
}

#[test]
fn a_deadline_ends_a_job_before_and_after_a_restart() {
    let deadline = || job_spec("deadline = \"60 s\"\ntasks.range = { from = 1, to = 3 }", "");
    let mut world = World::new();
    world.submit(job_id(1), &deadline());
    world.settle();
    world.wait(59_000);
    assert_eq!(world.core.jobs.len(), 1);
    world.crash();
    world.wait(999);
    assert_eq!(world.core.jobs.len(), 1, "the time before the restart counts, and no more than that");
    world.wait(1);
    world.settle();
    assert_eq!(world.record(job_id(1)).ended.map(|ended| ended.end), Some(JobEnd::Deadline));
}

#[test]
fn who_watches_one_job_without_end_is_refused() {
    let mut world = World::new();
    world.submit(job_id(1), &map_job(3));
    world.settle();
    for _ in 0..=MAX_CALLS_IN_FLIGHT {
        world.core.handle(Event::Ask { caller: caller(5), question: Question::Watch(job_id(1)) }, world.now);
    }
    let effects = world.settle();
    assert!(matches!(replies(&effects).last(), Some(Err(Refusal::Busy { .. }))));
    assert!(world.core.jobs[&job_id(1)].followers.len() <= MAX_CALLS_IN_FLIGHT);
    world.tell(Event::SessionEnded { session: caller(5).session });
    assert!(world.core.jobs[&job_id(1)].followers.is_empty());
    assert_eq!(world.core.jobs[&job_id(1)].owner, OWNER);
}
