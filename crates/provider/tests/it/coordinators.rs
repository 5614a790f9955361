//! One provider of two coordinators.

use std::{
    sync::{Arc, Mutex, mpsc},
    time::Duration,
};

use tidemill_exec::Report;
use tidemill_net::{
    blobs::{BlobRef, Pin},
    opening,
    wire::{FromProvider, Lease, ReturnReason, Role, ToProvider},
};
use tidemill_provider::{ConfigError, Ending, Event, Notice, Provider, ProviderConfig, ProviderError};
use tidemill_types::{EngineIndex, Failure, LeaseId, Millis, NodeId};

use crate::{
    following::{TALK, follow, line},
    support::{
        Coordinator, Joined, LARGE, Lender, Made, NOOP, PATIENCE, SPIN, config_in, lease, lend_on, lend_with,
        soon,
    },
};

/// Two coordinators, and a provider that has joined both.
struct Pair {
    coordinators: [Coordinator; 2],
    joined: [Joined; 2],
    lender: Lender,
}

impl Pair {
    async fn new(slots: u32) -> Self {
        Self::with(slots, |_| {}).await
    }

    async fn with(slots: u32, change: impl FnOnce(&mut ProviderConfig)) -> Self {
        let coordinators = [Coordinator::with_key(200).await, Coordinator::with_key(210).await];
        let other = coordinators[1].ticket().await;
        let lender = lend_with(coordinators[0].ticket().await, slots, |config| {
            config.tickets.push(other);
            change(config);
        });
        let lender = lender.await;
        let (one, two) = tokio::join!(coordinators[0].join(), coordinators[1].join());
        Self { coordinators, joined: [one, two], lender }
    }

    fn node(&self, which: usize) -> NodeId {
        self.coordinators[which].node.id()
    }
}

fn credits(joined: &Joined) -> u32 {
    let Role::Provider { credits, .. } = &joined.hello.role else { panic!("a provider was expected") };
    *credits
}

#[tokio::test]
async fn the_same_lease_of_two_coordinators_is_two_and_each_has_its_result() {
    let mut pair = Pair::new(1).await;
    assert_eq!(pair.joined.each_ref().map(credits), [128, 128], "together what the machine can hold");
    for which in [0, 1] {
        // The results are checked to name the coordinator that leased.
        let program = pair.coordinators[which].program(NOOP).await;
        pair.joined[which].lease(vec![lease(1, program, &[]), lease(2, program, &[])]).await;
    }
    for which in [0, 1] {
        let results = pair.joined[which].settle(2).await;
        assert_eq!(results.iter().map(|result| result.lease.0).collect::<Vec<_>>(), [1, 2]);
    }
    let node = pair.node(1);
    let is_its = |notice: Notice| {
        (matches!(notice.event, Event::TaskDone { .. }) && notice.coordinator == Some(node)).then_some(())
    };
    pair.lender.notice(is_its).await;
}

#[tokio::test]
async fn a_session_that_is_lost_leaves_the_other_one_alone() {
    let mut pair = Pair::new(2).await;
    let spin = pair.coordinators[0].program(SPIN).await;
    pair.joined[0].lease(vec![lease(1, spin, &[])]).await;
    pair.joined[0].session.connection.close(0u32.into(), b"a cable was pulled");
    let node = pair.node(0);
    let lost = pair.lender.notice(|notice| match notice.event {
        Event::Lost { .. } => Some(notice.coordinator),
        _ => None,
    });
    assert_eq!(lost.await, Some(node));
    let program = pair.coordinators[1].program(NOOP).await;
    pair.joined[1].lease(vec![lease(1, program, &[])]).await;
    assert_eq!(pair.joined[1].settle(1).await[0].lease, LeaseId(1));
    // What was given back by the one is not said to the other, and the lost one is found again.
    let again = pair.coordinators[0].join().await;
    assert!(again.held().len() <= 1, "its own leases at most");
}

#[tokio::test]
async fn a_coordinator_that_breaks_the_protocol_is_left_and_the_other_one_is_not() {
    let mut pair = Pair::new(1).await;
    let spin = pair.coordinators[0].program(SPIN).await;
    pair.joined[0].lease(vec![lease(1, spin, &[]), lease(1, spin, &[])]).await;
    let node = pair.node(0);
    let left = pair.lender.notice(|notice| match notice.event {
        Event::Lost { reason, .. } => Some((notice.coordinator, reason)),
        _ => None,
    });
    let (coordinator, reason) = left.await;
    assert_eq!(coordinator, Some(node));
    assert!(reason.contains("given twice"), "{reason}");
    pair.joined[1].say(ToProvider::Heartbeat { idle: None }).await;
    let program = pair.coordinators[1].program(NOOP).await;
    // Whatever of the first one runs on is cancelled by nobody, so the slot is that one's until it is told.
    let mut first = pair.coordinators[0].join().await;
    first.say(ToProvider::Cancel(vec![LeaseId(1)])).await;
    pair.joined[1].lease(vec![lease(7, program, &[])]).await;
    assert_eq!(pair.joined[1].settle(1).await[0].lease, LeaseId(7));
}

#[tokio::test]
async fn more_leases_than_its_share_go_back_to_the_coordinator_that_gave_them() {
    let mut pair = Pair::new(1).await;
    let spin = pair.coordinators[0].program(SPIN).await;
    pair.joined[0].lease((1..=130).map(|id| lease(id, spin, &[])).collect()).await;
    let Some(FromProvider::Returned { leases, reason: ReturnReason::NoRoom }) = pair.joined[0].next().await
    else {
        panic!("what is beyond its share should have come back")
    };
    assert_eq!(leases, [LeaseId(129), LeaseId(130)]);
}

#[tokio::test]
async fn slots_are_shared_while_both_have_work() {
    // Each run ends when it is told to.
    let (end, may_end) = mpsc::channel::<()>();
    let may_end = Mutex::new(may_end);
    let executor = Arc::new(Made(move || {
        // When the test is over, all end.
        let _ = may_end.lock().expect("nobody panics").recv_timeout(PATIENCE);
        Report::not_run(Failure::Exit { code: 1, stderr: String::new() })
    }));
    let coordinators = [Coordinator::with_key(200).await, Coordinator::with_key(210).await];
    let other = coordinators[1].ticket().await;
    let ticket = coordinators[0].ticket().await;
    let mut lender = lend_on(executor, ticket, 1, |config| config.tickets.push(other)).await;
    let beat = Millis(100);
    let (mut one, mut two) =
        tokio::join!(coordinators[0].join_beating(None, beat), coordinators[1].join_beating(None, beat));
    let program = coordinators[0].program(NOOP).await;
    one.lease((1..=20).map(|id| lease(id, program, &[])).collect()).await;
    // All that may wait before the thread is the first one's when the second one's task comes.
    let waiting = |wanted| {
        move |event: Event| match event {
            Event::Working { waiting, .. } if waiting == wanted => Some(()),
            _ => None,
        }
    };
    lender.event(waiting(19)).await;
    let program = coordinators[1].program(NOOP).await;
    two.lease(vec![lease(1, program, &[])]).await;
    lender.event(waiting(20)).await;
    for joined in [&mut one, &mut two] {
        joined.say(ToProvider::Heartbeat { idle: None }).await;
    }
    // The task that runs, the four that wait before the thread, and a few more.
    for _ in 0..8 {
        end.send(()).expect("it waits for this");
    }
    assert_eq!(two.settle(1).await[0].lease, LeaseId(1));
}

#[tokio::test]
async fn outputs_are_given_to_the_coordinator_that_they_are_for() {
    let mut pair = Pair::new(1).await;
    let program = pair.coordinators[0].program(LARGE).await;
    pair.joined[0].lease(vec![lease(1, program, &[])]).await;
    let batch = pair.joined[0].batch().await;
    let output = batch.results[0].claim.output.expect("it is done");
    let pin = Pin::new("stolen").expect("a plain name");
    let wanted = BlobRef { id: output.id, len: output.len };
    let asked = soon(pair.coordinators[1].blobs.fetch(&pair.joined[1].lent, wanted, &pin, |_| {})).await;
    assert!(asked.is_err(), "it is the other one's");
    let bytes = pair.coordinators[0].fetch(&pair.joined[0], &batch.results[0]).await;
    assert_eq!(bytes.len() as u64, output.len);
}

#[tokio::test]
async fn each_coordinator_follows_its_own_attempts_alone() {
    let mut pair = Pair::new(1).await;
    let talk = pair.coordinators[0].program(TALK).await;
    pair.joined[0].lease(vec![lease(1, talk, &[])]).await;
    follow(&mut pair.joined[0], 1, 7).await;
    assert_eq!(pair.joined[0].next().await, Some(line(7)));

    // Its attempt has the slot, so that of the other one, with the same number, waits.
    let talk = pair.coordinators[1].program(TALK).await;
    pair.joined[1].lease(vec![lease(1, talk, &[])]).await;
    follow(&mut pair.joined[1], 1, 8).await;
    // A lease for an engine that is not there comes back at once, so the follow was heard before.
    pair.joined[1].lease(vec![Lease { engine: EngineIndex(9), ..lease(2, talk, &[]) }]).await;
    let returned = pair.joined[1].next().await;
    assert!(
        matches!(&returned, Some(FromProvider::Returned { leases, .. }) if *leases == [LeaseId(2)]),
        "{returned:?}"
    );

    // The session of the first one ends, and with it no follow of the other one.
    pair.joined[0].session.connection.close(0u32.into(), b"a cable was pulled");
    let mut first = pair.coordinators[0].join().await;
    assert_eq!(first.held(), [1]);
    first.say(ToProvider::Cancel(vec![LeaseId(1)])).await;
    assert_eq!(pair.joined[1].next().await, Some(line(8)));
}

#[tokio::test]
async fn one_refusal_is_not_the_end_and_two_are() {
    let coordinators = [Coordinator::with_key(200).await, Coordinator::with_key(210).await];
    let other = coordinators[1].ticket().await;
    let mut lender = lend_with(coordinators[0].ticket().await, 1, |config| config.tickets.push(other)).await;
    let (mut session, ..) = coordinators[0].hear().await;
    opening::refuse(&mut session.writer, "not here").await.expect("it listens");
    let refused = |notice: Notice| match notice.event {
        Event::Refused { .. } => Some(notice.coordinator),
        _ => None,
    };
    assert_eq!(lender.notice(refused).await, Some(coordinators[0].node.id()));
    let mut joined = coordinators[1].join().await;
    let program = coordinators[1].program(NOOP).await;
    joined.lease(vec![lease(1, program, &[])]).await;
    joined.settle(1).await;
    joined.say(ToProvider::Bye { reason: "it moves house".to_owned() }).await;
    let (mut session, ..) = coordinators[1].hear().await;
    opening::refuse(&mut session.writer, "nor here").await.expect("it listens");
    let Ending::Refused { reason } = lender.ending().await else { panic!("nobody will have it") };
    assert!(reason.contains("nor here"), "{reason}");
}

#[tokio::test]
async fn a_drain_says_goodbye_to_both() {
    let mut pair = Pair::new(2).await;
    pair.lender.provider.drain();
    for joined in &mut pair.joined {
        joined.credited(0).await;
        assert_eq!(joined.next().await, Some(FromProvider::Bye));
    }
    assert_eq!(pair.lender.ending().await, Ending::Drained);
}

#[tokio::test]
async fn an_idle_report_names_each_coordinator() {
    let mut pair = Pair::with(1, |config| config.idle_report = Duration::from_millis(20)).await;
    for which in [0, 1] {
        let node = pair.node(which);
        let words = format!("no job of number {which}");
        pair.joined[which].say(ToProvider::Heartbeat { idle: Some(words.clone()) }).await;
        pair.lender
            .notice(|notice| match notice.event {
                Event::Idle { reason, .. } if reason.contains(&words) => Some(notice.coordinator),
                _ => None,
            })
            .await
            .filter(|coordinator| *coordinator == node)
            .expect("it is said of the one that said it");
    }
}

#[tokio::test]
async fn the_same_coordinator_cannot_be_joined_twice() {
    let coordinator = Coordinator::new().await;
    let ticket = coordinator.ticket().await;
    let node = ticket.node();
    let folder = tempfile::tempdir().expect("a folder");
    let executor = Arc::new(Made(|| Report::not_run(Failure::Cancelled)));
    let mut config = config_in(folder.path(), executor, ticket.clone(), 1);
    config.tickets.push(ticket);
    let started = Provider::start(config).await;
    assert!(
        matches!(started, Err(ProviderError::Config(ConfigError::SameCoordinator(found))) if found == node)
    );
}
