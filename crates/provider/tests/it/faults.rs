//! Coordinators that lie or break the protocol, and machines without room.

use std::sync::Arc;

use tidemill_job::BlobRef;
use tidemill_net::wire::{FromProvider, Lease, ReturnReason};
use tidemill_provider::Event;
use tidemill_types::{BlobId, ByteSize, Failure, LeaseId, Outcome};

use crate::support::{Coordinator, Joined, Made, NOOP, SPIN, lease, lend, lend_on, lend_with};

async fn given_back(joined: &mut Joined) -> (Vec<LeaseId>, ReturnReason) {
    match joined.next().await {
        Some(FromProvider::Returned { leases, reason }) => (leases, reason),
        other => panic!("leases should have come back: {other:?}"),
    }
}

#[tokio::test]
async fn a_blob_that_the_coordinator_does_not_have_costs_it_the_lease_alone() {
    let coordinator = Coordinator::new().await;
    let program = coordinator.program(NOOP).await;
    let _lender = lend(coordinator.ticket().await, 1).await;
    let mut joined = coordinator.join().await;
    let missing = BlobRef { id: BlobId::of(b"never imported"), len: 14 };
    let longer = BlobRef { len: program.len + 1, ..program };
    joined.lease(vec![lease(1, missing, &[])]).await;
    assert!(
        matches!(given_back(&mut joined).await, (leases, ReturnReason::Fetch(_)) if leases == [LeaseId(1)])
    );
    joined.lease(vec![lease(2, longer, &[])]).await;
    assert!(
        matches!(given_back(&mut joined).await, (leases, ReturnReason::Fetch(_)) if leases == [LeaseId(2)])
    );
    joined.lease(vec![lease(3, program, &[])]).await;
    assert_eq!(joined.settle(1).await[0].lease, LeaseId(3));
}

/// Says what no coordinator may, and gives why the provider left.
async fn leave_over(break_it: impl Fn(BlobRef) -> Vec<Lease>) -> String {
    let coordinator = Coordinator::new().await;
    let spin = coordinator.program(SPIN).await;
    let mut lender = lend(coordinator.ticket().await, 1).await;
    let mut joined = coordinator.join().await;
    joined.lease(break_it(spin)).await;
    let reason =
        lender.event(|event| if let Event::Lost { reason, .. } = event { Some(reason) } else { None }).await;
    coordinator.join().await;
    reason
}

#[tokio::test]
async fn a_coordinator_that_breaks_the_protocol_is_left_and_dialed_again() {
    let twice = leave_over(|spin| vec![lease(1, spin, &[]), lease(1, spin, &[])]).await;
    assert!(twice.contains("lease 1 was given twice"), "{twice}");
    let many = leave_over(|spin| (0..257).map(|id| lease(id, spin, &[])).collect()).await;
    assert!(many.contains("257 leases on top of 0, where 256 are allowed"), "{many}");
}

#[tokio::test]
async fn without_room_for_blobs_leases_go_back_and_no_more_are_taken() {
    let coordinator = Coordinator::new().await;
    let large = coordinator.keep(&vec![5; 300_000]).await;
    let ticket = coordinator.ticket().await;
    let mut lender = lend_with(ticket, 1, |config| config.disk = ByteSize::kib(100)).await;
    let mut joined = coordinator.join().await;
    joined.lease(vec![lease(1, large, &[])]).await;
    let mut said = [joined.next().await, joined.next().await];
    said.sort_by_key(|message| matches!(message, Some(FromProvider::Returned { .. })));
    let [credits, returned] = said;
    assert_eq!(credits, Some(FromProvider::Credits(0)));
    let expected = FromProvider::Returned { leases: vec![LeaseId(1)], reason: ReturnReason::NoRoom };
    assert_eq!(returned, Some(expected));
    lender.event(|event| matches!(event, Event::NoRoom { .. }).then_some(())).await;
}

#[tokio::test]
async fn a_task_that_never_fits_into_memory_goes_back() {
    let coordinator = Coordinator::new().await;
    let program = coordinator.program(NOOP).await;
    let _lender = lend(coordinator.ticket().await, 1).await;
    let mut joined = coordinator.join().await;
    let mut greedy = lease(1, program, &[]);
    greedy.spec.limits.memory = ByteSize::mib(65);
    joined.lease(vec![greedy]).await;
    assert_eq!(given_back(&mut joined).await, (vec![LeaseId(1)], ReturnReason::NoRoom));
}

#[tokio::test]
async fn a_panic_fails_its_lease_alone() {
    let coordinator = Coordinator::new().await;
    let program = coordinator.program(NOOP).await;
    let executor = Arc::new(Made(|| panic!("a mistake in an executor")));
    let _lender = lend_on(executor, coordinator.ticket().await, 1, |_| {}).await;
    let mut joined = coordinator.join().await;
    joined.lease(vec![lease(1, program, &[]), lease(2, program, &[])]).await;
    for result in joined.settle(2).await {
        assert!(matches!(result.claim.outcome, Outcome::Failed(Failure::Host { .. })));
    }
}
