//! What is paid when a job ends before its tasks are done.

use std::collections::BTreeMap;

use tidemill_net::wire::{Decision, FromProvider, Lease};
use tidemill_store::{AttemptRecord, Change, ReputationKey};
use tidemill_types::{
    Amount, Billable, Fuel, LeaseId, Metered, Millis, NodeId, ProgramKind, RateCard, Stage, TaskId,
    TaskNumber, Usage,
};
use tidemill_verify::{Evidence, Record};

use super::{
    super::{
        peer::{FUEL, failed},
        world::{leases_to, map_job},
    },
    Peer, World, among_strangers, archive, job_id, tasks,
};
use crate::{
    core::attempt,
    event::{Effect, Question},
};

/// A coordinator that pays, a job of one task among strangers, and so many of them.
fn scene(peers: u8, before: &[Change]) -> (World, Vec<Peer>) {
    let mut world = World::with(among_strangers(true, &[]), before);
    world.fund_and_submit(job_id(1), &tasks(1, "assurance = 1000"));
    let peers = (1..=peers).map(|number| Peer::joined(number, &mut world)).collect();
    (world, peers)
}

/// What each peer is given, once it is given something.
fn leased(world: &mut World, peers: &[Peer]) -> BTreeMap<usize, Lease> {
    let mut leased = BTreeMap::new();
    for _ in 0..200 {
        let effects = world.settle();
        for (at, peer) in peers.iter().enumerate() {
            if let Some(lease) = leases_to(&effects, peer.session).pop() {
                leased.insert(at, lease);
            }
        }
        if leased.len() == peers.len() {
            break;
        }
        world.wait(50);
        peers.iter().for_each(|peer| peer.say(world, FromProvider::Heartbeat { running: 0, waiting: 0 }));
    }
    leased
}

/// Cancels the job, and gives what was decided about which lease.
fn cancelled(world: &mut World) -> BTreeMap<LeaseId, Decision> {
    world.ask(Question::Cancel(job_id(1)));
    let effects = world.settle();
    let decided = effects.iter().filter_map(|effect| match effect {
        Effect::Pay { decisions, .. } => Some(decisions.clone()),
        _ => None,
    });
    let decided = decided.flatten().collect();
    world.check_store();
    decided
}

fn paid(decided: &BTreeMap<LeaseId, Decision>, lease: &Lease) -> Option<Amount> {
    match decided.get(&lease.id) {
        Some(Decision::Paid(amount)) => Some(*amount),
        _ => None,
    }
}

/// What all nodes have earned, by what is durable.
fn earned(world: &World) -> Amount {
    let escrows = world.store.recover().expect("the store can be read").escrows;
    let payees = escrows.iter().flat_map(|(_, payees)| payees);
    payees.map(|payee| payee.earned).fold(Amount::ZERO, Amount::saturating_add)
}

/// A program that prints its answer to standard error and fails had it shown while its job ran, and cost nothing once that was
/// cancelled.
#[test]
fn failures_are_paid_at_any_end_and_told_no_sooner() {
    let (mut world, mut peers) = scene(2, &[]);
    let leases = leased(&mut world, &peers);
    for (at, lease) in &leases {
        let result = peers[*at].failure_after(lease, failed(7), FUEL);
        let message = peers[*at].batch(vec![result]);
        peers[*at].say(&mut world, message);
    }
    world.settle();
    assert!(world.core.jobs.contains_key(&job_id(1)), "two strangers are not believed");
    let id = TaskId { job: job_id(1), task: TaskNumber(0) };
    let attempts: Vec<AttemptRecord> = world.store.attempts(id).expect("the store can be read");
    assert_eq!(attempts.len(), 2);
    assert!(attempts.iter().all(|record| attempt(record, true).failure.is_none()));
    assert!(attempts.iter().all(|record| attempt(record, false).failure.is_some()));

    // What they may be owed is held back over a restart too.
    let owed = attempts.iter().map(|record| record.price).fold(Amount::ZERO, Amount::saturating_add);
    assert!(!owed.is_zero());
    world.crash();
    world.see_escrow();
    assert_eq!(world.core.jobs[&job_id(1)].money.expect("it is paid").reserved, owed);
    cancelled(&mut world);
    assert_eq!(earned(&world), owed);
}

/// Three that say the same wrong thing outnumber one that was right for long, and cost nothing to make.
#[test]
fn without_a_verdict_it_is_credibility_that_is_paid_and_not_heads() {
    let veteran = Peer::new(1);
    let key = ReputationKey { operator: veteran.operator(), kind: ProgramKind::Wasm, hardware_class: None };
    let mut record = Record::default();
    for _ in 0..2_000 {
        record.note(Evidence::Agreed, 0, 1_000);
        record.note_paid(Amount::tide(1), 0, 1_000);
    }
    let record = postcard::to_stdvec(&record).expect("it has an encoding");
    let (mut world, mut peers) = scene(4, &[Change::Reputation { key, record }]);
    // The veteran last: it would be believed alone.
    let mut given = BTreeMap::new();
    for _ in 0..400 {
        let effects = world.settle();
        for (at, peer) in peers.iter_mut().enumerate() {
            for lease in leases_to(&effects, peer.session) {
                let result = match at {
                    0 => peer.done(&lease),
                    _ => peer.done_with(&lease, archive(b"xx")),
                };
                given.insert(at, lease);
                let message = peer.batch(vec![result]);
                peer.say(&mut world, message);
            }
        }
        if given.len() == peers.len() || !world.core.jobs.contains_key(&job_id(1)) {
            break;
        }
        world.wait(50);
        peers
            .iter()
            .for_each(|peer| peer.say(&mut world, FromProvider::Heartbeat { running: 0, waiting: 0 }));
    }
    world.settle();
    assert!(world.core.jobs.contains_key(&job_id(1)) && given.contains_key(&0) && given.len() > 2);
    let decided = cancelled(&mut world);
    assert!(paid(&decided, &given[&0]).is_some_and(|amount| !amount.is_zero()), "{decided:?}");
    assert!(given.iter().filter(|(at, _)| **at > 0).all(|(_, lease)| paid(&decided, lease).is_none()));
}

/// A requester that cancelled just before a result was in had all of its work for nothing.
#[test]
fn what_has_run_is_paid_when_a_job_is_cancelled() {
    let (mut world, peers) = scene(2, &[]);
    let leases = leased(&mut world, &peers);
    let (runs, waits) = (&leases[&0], &leases[&1]);
    world.wait(8_000);
    peers[0].say(&mut world, FromProvider::Running(vec![(runs.id, Millis(8_000))]));
    // Another's lease is not its own to speak of.
    peers[0].say(&mut world, FromProvider::Running(vec![(waits.id, Millis(8_000))]));
    world.wait(2_000);
    let most = world.core.jobs[&job_id(1)].money.expect("it is paid").reserved;
    let decided = cancelled(&mut world);
    let amount = paid(&decided, runs).expect("it has run");
    assert!(!amount.is_zero() && amount < most);
    assert_eq!(paid(&decided, waits), None, "it has not run");
    assert_eq!(earned(&world), amount);
}

#[test]
fn nobody_is_paid_for_more_time_than_there_was_nor_for_a_rate_that_it_claims() {
    let ran = |ms: u64, told: u64| {
        let (mut world, peers) = scene(1, &[]);
        let lease = leased(&mut world, &peers).remove(&0).expect("it is given");
        world.wait(ms);
        peers[0].say(&mut world, FromProvider::Running(vec![(lease.id, Millis(told))]));
        paid(&cancelled(&mut world), &lease).expect("it has run")
    };
    let honest = ran(10_000, 10_000);
    assert_eq!(ran(10_000, u64::MAX / 2_000), honest, "it was given ten seconds ago");
    assert!(ran(10_000, 5_000) < honest);
    // It offers 2^30 a second, of which nothing is proven.
    let at_most = Usage { fuel: Fuel(10 << 28), ..Usage::default() };
    let limits = map_job(1).limits(Stage::Map).copied().expect("it has a map");
    let work = Metered::of(ProgramKind::Wasm, &at_most);
    let moved = u64::from(u16::MAX);
    assert!(honest <= RateCard::default().price(&Billable::new(&limits, moved, work, 0)));
}

#[test]
fn a_lease_that_has_not_ended_is_its_provider_s_alone() {
    let (mut world, peers) = scene(2, &[]);
    let leases = leased(&mut world, &peers);
    let id = leases[&0].id;
    let job = job_id(1);
    let has = |world: &World, node: NodeId| world.store.has_lease(job, node).expect("the store can be read");
    assert!(has(&world, peers[0].node) && has(&world, peers[1].node) && !has(&world, NodeId([77; 32])));
    cancelled(&mut world);
    assert!(!has(&world, peers[0].node), "lease {id} has ended");
}
