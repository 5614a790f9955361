//! Work that is paid for: vouchers, and what the provider does without them.

mod collecting;
mod exposure;
mod vouchers;

use std::{path::Path, sync::Arc};

use tidemill_job::BlobRef;
use tidemill_net::{
    ticket::Ticket,
    wire::{FromProvider, Lease, ReturnReason},
};
use tidemill_provider::{
    Event, ProviderConfig,
    pay::{Config, History},
};
use tidemill_types::{Amount, ArchiveBuilder, Billable, BlobId, EscrowId, Fuel, Millis, RateCard, Usage};

use crate::{
    money::{World, paid},
    support::{Coordinator, Joined, Lender, Made, NOOP, done, lease, lend_on},
};

/// What every task burns: 0.1 TIDE, by the rates that providers ask by default.
const FUEL: Fuel = Fuel(1_000_000_000_000);

/// A provider that is to be paid, in a network that pays.
struct Scene {
    world: World,
    coordinator: Coordinator,
    program: BlobRef,
    lender: Lender,
    joined: Joined,
}

impl Scene {
    async fn new() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut Config)) -> Self {
        Self::beating(Millis(60_000), change).await
    }

    async fn beating(heartbeat: Millis, change: impl FnOnce(&mut Config)) -> Self {
        let world = World::new().await;
        let coordinator = Coordinator::new().await;
        let program = coordinator.program(NOOP).await;
        let lender = lend_paid(&world, coordinator.ticket().await, change).await;
        let joined = coordinator.join_beating(world.money(), heartbeat).await;
        Self { world, coordinator, program, lender, joined }
    }

    fn lease(&self, id: u64, escrow: EscrowId) -> Lease {
        paid(lease(id, self.program, &[]), escrow)
    }

    /// Leases a task, waits for its result and settles it.
    async fn work(&mut self, id: u64, escrow: EscrowId) -> Amount {
        let lease = self.lease(id, escrow);
        self.joined.lease(vec![lease.clone()]).await;
        let results = self.joined.settle(1).await;
        let output = results[0].claim.output.expect("it is done");
        let usage = Usage { fuel: FUEL, ..Usage::default() };
        RateCard::default().price(&Billable::of(&lease.spec, &usage, output.len))
    }

    /// Why leases came back.
    async fn not_paid(&mut self) -> (Vec<u64>, String) {
        match self.joined.next().await {
            Some(FromProvider::Returned { leases, reason: ReturnReason::NotPaid(words) }) => {
                (leases.iter().map(|lease| lease.0).collect(), words)
            }
            other => panic!("leases should have come back: {other:?}"),
        }
    }

    /// Waits until the voucher of this is on the disk.
    async fn promised(&mut self, total: Amount) {
        let is_it = |event| matches!(event, Event::Paid { total: found, .. } if found == total).then_some(());
        self.lender.event(is_it).await;
    }

    fn history(&self) -> History {
        History::read(&directory(&self.world)).expect("it can be read at any time")
    }
}

/// Where the provider's journal is.
fn directory(world: &World) -> std::path::PathBuf {
    world.folder().join("provider")
}

async fn lend_paid(world: &World, ticket: Ticket, change: impl FnOnce(&mut Config)) -> Lender {
    let mut pay = world.config();
    change(&mut pay);
    lend_in(&directory(world), ticket, Some(pay)).await
}

async fn lend_in(directory: &Path, ticket: Ticket, pay: Option<Config>) -> Lender {
    let (head, _) = ArchiveBuilder::default().finish().expect("no files");
    let id = BlobId::of(&head);
    let executor = Arc::new(Made(move || {
        let mut report = done(id, head.len() as u64, tidemill_exec::OutputBody::Bytes(head.clone()));
        report.usage.fuel = FUEL;
        report
    }));
    let change = |config: &mut ProviderConfig| {
        config.directory = directory.to_owned();
        config.pay = pay;
    };
    lend_on(executor, ticket, 1, change).await
}
