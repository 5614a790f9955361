//! Machines with several engines.

use std::sync::Arc;

use tidemill_exec::{Executor, Report};
use tidemill_net::wire::{FromProvider, Lease, ReturnReason};
use tidemill_types::{EngineIndex, Failure, LeaseId, Outcome};

use crate::support::{Coordinator, Made, NOOP, engine, lease, lend_on};

/// An executor whose programs all end with this code.
fn ends_with(code: u32) -> Arc<dyn Executor> {
    Arc::new(Made(move || Report::not_run(Failure::Exit { code, stderr: String::new() })))
}

#[tokio::test]
async fn every_lease_runs_on_the_engine_that_it_names() {
    let coordinator = Coordinator::new().await;
    let program = coordinator.program(NOOP).await;
    let ticket = coordinator.ticket().await;
    let lender =
        lend_on(ends_with(1), ticket, 1, |config| config.engines.push(engine(ends_with(2), 2))).await;
    let mut joined = coordinator.join().await;
    let slots: Vec<u32> = lender.provider.offer().engines.iter().map(|engine| engine.slots).collect();
    assert_eq!(slots, [1, 2]);
    let on = |id, engine| Lease { engine: EngineIndex(engine), ..lease(id, program, &[]) };
    joined.lease(vec![on(1, 1), on(2, 0), on(3, 1)]).await;
    let codes = joined.settle(3).await.into_iter().map(|result| match result.claim.outcome {
        Outcome::Failed(Failure::Exit { code, .. }) => code,
        other => panic!("a code was expected: {other:?}"),
    });
    assert_eq!(codes.collect::<Vec<_>>(), [2, 1, 2]);

    joined.lease(vec![on(4, 2)]).await;
    let Some(FromProvider::Returned { leases, reason: ReturnReason::Fetch(words) }) = joined.next().await
    else {
        panic!("the lease should have come back")
    };
    assert_eq!(leases, [LeaseId(4)]);
    assert!(words.contains("engine 2, and this provider has no engine for wasm programs there"), "{words}");
}
