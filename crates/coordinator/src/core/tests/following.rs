//! Followed tasks: which attempt is shown, who may see it, and the end.

use tidemill_net::wire::{Refusal, Reply, TaskNews};
use tidemill_types::{NodeId, Principal, TaskId, TaskNumber};

use super::{
    peer::Peer,
    world::{LEASE_MS, World, caller, job_id, leases_to, map_job},
};
use crate::event::{Caller, Effect, Event, Question, SessionId};

const TASK: TaskId = TaskId { job: job_id(1), task: TaskNumber(0) };

/// What followers come to know.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Told {
    Shown(NodeId),
    Hidden,
    Waiting,
    Over,
}

fn told(effects: &[Effect]) -> Vec<Told> {
    let told = |effect: &Effect| match effect {
        Effect::Follow { node, .. } => Some(Told::Shown(*node)),
        Effect::Unfollow { .. } => Some(Told::Hidden),
        Effect::Reply(_, answer) => match &answer.reply {
            Ok(Reply::Followed(TaskNews::Waiting)) => Some(Told::Waiting),
            Ok(Reply::Followed(TaskNews::Over)) => Some(Told::Over),
            _ => None,
        },
        _ => None,
    };
    effects.iter().filter_map(told).collect()
}

fn refusals(effects: &[Effect]) -> Vec<&Refusal> {
    let answers = effects.iter().filter_map(|effect| match effect {
        Effect::Reply(_, answer) => Some(answer),
        _ => None,
    });
    answers.filter_map(|answer| answer.reply.as_ref().err()).collect()
}

fn follow_as(world: &mut World, caller: Caller, task: TaskId) {
    world.tell(Event::Ask { caller, question: Question::Follow(task) });
}

/// Lets these peers do what there is to do until no job runs, and gives what followers come to know.
fn finish(world: &mut World, peers: &mut [&mut Peer]) -> Vec<Told> {
    let mut all = Vec::new();
    for _ in 0..100 {
        let effects = world.settle();
        all.extend(told(&effects));
        effects.into_iter().for_each(|effect| world.obey(effect, peers));
        if world.core.jobs.is_empty() {
            all.extend(told(&world.settle()));
            return all;
        }
        world.wait(200);
        peers.iter_mut().for_each(|peer| peer.do_all(world));
    }
    panic!("the job does not end")
}

#[test]
fn a_follower_is_shown_one_attempt_after_another_and_told_of_the_end() {
    let mut world = World::new();
    world.submit(job_id(1), &map_job(1));
    world.ask(Question::Follow(TASK));
    assert_eq!(told(&world.settle()), [Told::Waiting]);
    assert!(told(&world.settle()).is_empty(), "nothing has changed");

    let one = Peer::joined(1, &mut world);
    let effects = world.settle();
    assert_eq!(told(&effects), [Told::Shown(one.node)]);
    let lease = leases_to(&effects, one.session)[0].id;
    let is_leased = |effect: &Effect| matches!(effect, Effect::ToProvider(..));
    let is_shown = |effect: &Effect| match effect {
        Effect::Follow { session, lease: of, .. } => (*session, *of) == (one.session(), lease),
        _ => false,
    };
    let (leased, shown) = (effects.iter().position(is_leased), effects.iter().position(is_shown));
    assert!(leased.is_some() && leased < shown, "a provider must know a lease before somebody follows it");

    // It is gone, and its lease is another's in the end.
    world.tell(Event::SessionEnded { session: one.session() });
    assert_eq!(told(&world.settle()), [Told::Hidden, Told::Waiting]);
    world.wait(LEASE_MS + 1);
    let mut two = Peer::joined(2, &mut world);
    let expected = [Told::Shown(two.node), Told::Hidden, Told::Over];
    let mut told = finish(&mut world, &mut [&mut two]);
    // A large output is waited for.
    told.retain(|told| *told != Told::Waiting);
    assert_eq!(told, expected);
    assert!(world.core.followed.is_empty());
}

#[test]
fn who_comes_later_is_shown_the_same_attempt_and_the_first_not_again() {
    let mut world = World::new();
    world.submit(job_id(1), &map_job(1));
    let one = Peer::joined(1, &mut world);
    world.settle();
    world.ask(Question::Follow(TASK));
    follow_as(&mut world, Caller { session: SessionId(8), ..caller(2) }, TASK);
    let effects = world.settle();
    let sessions: Vec<Vec<SessionId>> = effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Follow { node, callers, .. } if *node == one.node => {
                Some(callers.iter().map(|caller| caller.session).collect())
            }
            _ => None,
        })
        .collect();
    assert_eq!(sessions, [[SessionId(0)], [SessionId(8)]]);
    // Each leaves alone.
    world.tell(Event::SessionEnded { session: SessionId(8) });
    let effects = world.settle();
    let is_its = |effect: &&Effect| match effect {
        Effect::Unfollow { callers, .. } => callers[..] == [Caller { session: SessionId(8), ..caller(2) }],
        _ => false,
    };
    assert_eq!(effects.iter().filter(is_its).count(), 1);
    assert_eq!(told(&effects), [Told::Hidden]);
    assert_eq!(world.core.followed.len(), 1);
    world.tell(Event::SessionEnded { session: SessionId(0) });
    assert_eq!(told(&world.settle()), [Told::Hidden]);
    assert!(world.core.followed.is_empty());
}

#[test]
fn a_provider_that_comes_back_is_shown_from_the_start_again() {
    let mut world = World::new();
    world.submit(job_id(1), &map_job(1));
    let mut one = Peer::joined(1, &mut world);
    let lease = leases_to(&world.settle(), one.session)[0].clone();
    world.ask(Question::Follow(TASK));
    assert_eq!(told(&world.settle()), [Told::Shown(one.node)]);
    one.join(&mut world, vec![super::peer::held(&lease)]);
    assert_eq!(told(&world.settle()), [Told::Hidden, Told::Shown(one.node)]);
}

#[test]
fn the_owner_and_the_operator_alone_follow_a_task() {
    let mut world = World::new();
    world.submit(job_id(1), &map_job(2));
    let node = NodeId([55; 32]);
    let stranger = Caller { node, principal: Principal::Node(node), session: SessionId(9), ..caller(1) };
    follow_as(&mut world, stranger, TASK);
    assert_eq!(refusals(&world.settle()), [&Refusal::NoSuchJob]);
    follow_as(&mut world, Caller { is_operator: true, ..stranger }, TASK);
    assert_eq!(told(&world.settle()), [Told::Waiting]);
    follow_as(&mut world, caller(1), TaskId { task: TaskNumber(2), ..TASK });
    assert_eq!(refusals(&world.settle()), [&Refusal::NoSuchTask]);
    // Of a job that does not run the store knows whose it is.
    follow_as(&mut world, caller(1), TaskId { job: job_id(2), ..TASK });
    let effects = world.settle();
    assert!(matches!(effects[..], [Effect::FromStore(_, Question::Follow(_))]), "{effects:?}");
}

#[test]
fn a_requester_follows_so_many_tasks_and_no_more() {
    let mut world = World::new();
    world.submit(job_id(1), &map_job(100));
    world.settle();
    for number in 0..20 {
        follow_as(&mut world, caller(number), TaskId { task: TaskNumber(number), ..TASK });
    }
    let effects = world.settle();
    assert_eq!(told(&effects), [Told::Waiting; 16]);
    let refused = refusals(&effects);
    assert!(refused.len() == 4 && refused.iter().all(|refusal| refusal.is_retryable()), "{refused:?}");
    // Its session is over, and there is room again.
    world.tell(Event::SessionEnded { session: SessionId(0) });
    follow_as(&mut world, caller(1), TASK);
    assert_eq!(told(&world.settle()), [Told::Waiting]);
}

#[test]
fn a_job_that_is_cancelled_has_no_followers_any_more() {
    let mut world = World::new();
    world.submit(job_id(1), &map_job(1));
    let one = Peer::joined(1, &mut world);
    world.settle();
    world.ask(Question::Follow(TASK));
    assert_eq!(told(&world.settle()), [Told::Shown(one.node)]);
    world.ask(Question::Cancel(job_id(1)));
    assert_eq!(told(&world.settle()), [Told::Hidden, Told::Over]);
    assert!(world.core.followed.is_empty());
}
