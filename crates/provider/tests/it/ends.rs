//! How a provider ends, and what it says meanwhile.

use std::{net::IpAddr, time::Duration};

use tidemill_net::{
    opening, probe,
    ticket::{Pass, Ticket},
    wire::{FromProvider, Hello, Incarnation, ReturnReason, Role, ToProvider},
};
use tidemill_provider::{Ending, Event};
use tidemill_types::LeaseId;

use crate::support::{Coordinator, PATIENCE, SPIN, lease, lend, lend_with};

#[tokio::test]
async fn a_drain_gives_back_what_waits_and_ends_what_runs() {
    let coordinator = Coordinator::new().await;
    let spin = coordinator.program(SPIN).await;
    let mut lender = lend(coordinator.ticket().await, 1).await;
    let mut joined = coordinator.join().await;
    // More than are handed to the thread ahead of time.
    joined.lease((1..=20).map(|id| lease(id, spin, &[])).collect()).await;
    // The heartbeat is a minute away, so whether the first runs is asked for by its cancelled end below.
    lender.event(|event| matches!(event, Event::Joined { .. }).then_some(())).await;
    lender.provider.drain();
    assert_eq!(joined.next().await, Some(FromProvider::Credits(0)));
    let mut returned = Vec::new();
    while returned.len() < 19 {
        match joined.next().await {
            Some(FromProvider::Returned { leases, reason: ReturnReason::Draining }) => {
                returned.extend(leases)
            }
            Some(FromProvider::Bye) => break,
            other => panic!("{other:?}"),
        }
    }
    // The leases may have come after the drain had begun: then all of them went back.
    if returned.len() == 19 {
        assert!(!returned.contains(&LeaseId(1)), "the first one runs");
        joined.say(ToProvider::Cancel(vec![LeaseId(1)])).await;
        assert_eq!(joined.next().await, Some(FromProvider::Bye));
    }
    assert_eq!(lender.ending().await, Ending::Drained);
    lender.event(|event| (event == Event::Drained).then_some(())).await;
}

#[tokio::test]
async fn a_drain_without_work_or_coordinator_ends_at_once() {
    let coordinator = Coordinator::new().await;
    let ticket = coordinator.ticket().await;
    coordinator.node.close().await;
    let lender = lend(ticket, 1).await;
    lender.provider.drain();
    assert_eq!(lender.ending().await, Ending::Drained);
}

#[tokio::test]
async fn a_stop_cancels_what_runs_and_says_goodbye() {
    let coordinator = Coordinator::new().await;
    let spin = coordinator.program(SPIN).await;
    let lender = lend(coordinator.ticket().await, 1).await;
    let mut joined = coordinator.join().await;
    joined.lease(vec![lease(1, spin, &[])]).await;
    let (ending, said) = tokio::join!(lender.provider.stop(), joined.next());
    assert_eq!((ending, said), (Ending::Stopped, Some(FromProvider::Bye)));
}

#[tokio::test]
async fn a_refusal_is_the_end() {
    let coordinator = Coordinator::new().await;
    let good = coordinator.ticket().await;
    let wrong =
        Ticket::new(good.node(), good.addresses().to_vec(), Pass::from_bytes([8; 16])).expect("a ticket");
    let mut lender = lend(wrong, 1).await;
    let (mut session, _, hello) = coordinator.hear().await;
    assert!(!good.matches(&hello.pass));
    opening::refuse(&mut session.writer, "this ticket is of another network\u{1b}")
        .await
        .expect("it listens");
    let Ending::Refused { reason } = lender.ending().await else { panic!("it should have been refused") };
    assert!(reason.contains("this ticket is of another network"), "{reason}");
    assert!(!reason.contains('\u{1b}'), "fit for a terminal");
    let said =
        lender.event(|event| if let Event::Refused { reason } = event { Some(reason) } else { None }).await;
    assert_eq!(said, reason);
}

/// Two providers on one key: the second is refused, the first is told, and neither takes the other for itself.
#[tokio::test]
async fn a_copy_ends_and_the_other_one_is_told() {
    let coordinator = Coordinator::new().await;
    let mut first = lend(coordinator.ticket().await, 1).await;
    let mut joined = coordinator.join().await;
    let copy = lend(coordinator.ticket().await, 1).await;
    let (mut session, _, hello) = coordinator.hear().await;
    assert_eq!(session.peer, joined.session.peer, "one node");
    assert!(!incarnation(&hello).succeeds(&incarnation(&joined.hello)));
    assert!(probe::lives(&joined.session.connection, PATIENCE).await);
    opening::refuse_copy(&mut session.writer, "another process is connected: copied directory?")
        .await
        .expect("it listens");
    let from = Some(IpAddr::from([10, 0, 0, 7]));
    joined.say(ToProvider::CopyRefused { from }).await;
    let Ending::Copied { reason } = copy.ending().await else { panic!("it should have been refused") };
    assert!(reason.contains("copied directory?"), "{reason}");
    let told = |event: Event| if let Event::CopyRefused { from } = event { Some(from) } else { None };
    assert_eq!(first.event(told).await, from);
}

#[tokio::test]
async fn a_provider_is_the_same_process_in_all_its_sessions() {
    let coordinator = Coordinator::new().await;
    let _lender = lend(coordinator.ticket().await, 1).await;
    let first = coordinator.join().await;
    first.session.connection.close(0u32.into(), b"a cable was pulled");
    let second = coordinator.join().await;
    assert_eq!(incarnation(&second.hello), incarnation(&first.hello));
}

fn incarnation(hello: &Hello) -> Incarnation {
    let Role::Provider { incarnation, .. } = &hello.role else { panic!("a provider was expected") };
    *incarnation
}

#[tokio::test]
async fn who_earns_nothing_is_told_why() {
    let coordinator = Coordinator::new().await;
    let ticket = coordinator.ticket().await;
    let mut lender = lend_with(ticket, 1, |config| config.idle_report = Duration::from_millis(20)).await;
    let mut reason_with = async |words: &str| {
        lender
            .event(|event| match event {
                Event::Idle { reason, .. } if reason.contains(words) => Some(()),
                _ => None,
            })
            .await;
    };
    reason_with("not connected: the coordinator is being dialed").await;
    let mut joined = coordinator.join().await;
    reason_with("the coordinator has not said why").await;
    joined.say(ToProvider::Heartbeat { idle: Some("no job needs a machine".to_owned()) }).await;
    reason_with("the coordinator says: no job needs a machine").await;
    joined.say(ToProvider::Bye { reason: "it moves house".to_owned() }).await;
    reason_with("not connected: the coordinator ended the session: it moves house").await;
}

#[tokio::test]
async fn the_offer_is_what_its_owner_allows() {
    let coordinator = Coordinator::new().await;
    let lender = lend(coordinator.ticket().await, 3).await;
    let joined = coordinator.join().await;
    let Role::Provider { offer, credits, .. } = &joined.hello.role else { panic!("a provider was expected") };
    assert_eq!(offer, lender.provider.offer());
    assert_eq!((offer.slots(), *credits), (3, 3 * 256));
    assert_eq!(joined.session.peer, lender.provider.id());
}
