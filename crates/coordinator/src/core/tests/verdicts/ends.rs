//! What is paid when a job ends before its tasks are done.

use std::collections::BTreeMap;

use tidemill_net::wire::{Decision, FromProvider, Lease, TaskResult};
use tidemill_store::AttemptRecord;
use tidemill_types::{
    Amount, Billable, Fuel, LeaseId, Metered, Millis, NodeId, ProgramKind, RateCard, Stage, TaskId,
    TaskNumber, Usage,
};

use super::{
    super::{
        peer::{FUEL, failed},
        world::map_job,
    },
    Peer, World, among_strangers, archive, credible, job_id, tasks,
};
use crate::{
    core::attempt,
    event::{Effect, Question},
};

/// A coordinator that pays, a job of so many tasks among strangers, and so many of them, each of which takes one task at a
/// time.
fn scene(count: u64, policy: &str, peers: u8) -> (World, Vec<Peer>) {
    let mut world = World::with(among_strangers(true, &[]), &[]);
    world.fund_and_submit(job_id(1), &tasks(count, policy));
    let peers = (1..=peers).map(|number| single(number, &mut world)).collect();
    (world, peers)
}

fn single(number: u8, world: &mut World) -> Peer {
    let mut peer = Peer::new(number);
    (peer.slots, peer.credits) = (1, 1);
    peer.join(world, vec![]);
    peer
}

/// Carries out what the core wants done.
fn obey(world: &mut World, peers: &mut [Peer]) {
    for effect in world.settle() {
        let mut all: Vec<&mut Peer> = peers.iter_mut().collect();
        world.obey(effect, &mut all);
    }
}

/// The lease of each peer, once each has one. None has waited for so long that the job has ended.
fn leased(world: &mut World, peers: &mut [Peer]) -> Vec<Lease> {
    obey(world, peers);
    let leases: Vec<Lease> = peers.iter().flat_map(|peer| peer.leases.clone()).collect();
    assert_eq!(leases.len(), peers.len());
    leases
}

/// Has each peer give a result for what it is given, one after the other where only the first makes a second one wanted.
fn given(
    world: &mut World,
    peers: &mut [Peer],
    result: impl Fn(&mut Peer, &Lease) -> TaskResult,
) -> Vec<Lease> {
    let mut given = Vec::new();
    for _ in 0..20 {
        obey(world, peers);
        for peer in peers.iter_mut() {
            for lease in std::mem::take(&mut peer.leases) {
                let result = result(peer, &lease);
                let message = peer.batch(vec![result]);
                peer.say(world, message);
                given.push(lease);
            }
        }
        world.wait(50);
    }
    assert_eq!(given.len(), peers.len(), "each has given one");
    assert!(world.core.jobs.contains_key(&job_id(1)), "they decide nothing");
    given
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
    let (mut world, mut peers) = scene(1, "assurance = 1000", 2);
    given(&mut world, &mut peers, |peer, lease| peer.failure_after(lease, failed(7), FUEL));
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
    let mut world = World::with(among_strangers(true, &[]), &credible(1));
    // Sure enough for nobody here.
    world.fund_and_submit(job_id(1), &tasks(1, "assurance = 1_000_000_000"));
    // They come first: the one that was right for long might be believed alone.
    let mut strangers: Vec<Peer> = (2..=4).map(|number| single(number, &mut world)).collect();
    let wrong = given(&mut world, &mut strangers, |peer, lease| peer.done_with(lease, archive(b"xx")));
    let mut veteran = [single(1, &mut world)];
    let right = given(&mut world, &mut veteran, Peer::done);
    let decided = cancelled(&mut world);
    assert!(paid(&decided, &right[0]).is_some_and(|amount| !amount.is_zero()), "{decided:?}");
    assert!(wrong.iter().all(|lease| paid(&decided, lease).is_none()), "{decided:?}");
}

/// A requester that cancelled just before a result was in had all of its work for nothing.
#[test]
fn what_has_run_is_paid_when_a_job_is_cancelled() {
    let (mut world, mut peers) = scene(2, "assurance = 1000", 2);
    let leases = leased(&mut world, &mut peers);
    let (runs, waits) = (&leases[0], &leases[1]);
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
        let (mut world, mut peers) = scene(1, "assurance = 1000", 1);
        let lease = leased(&mut world, &mut peers).remove(0);
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
    let (mut world, mut peers) = scene(2, "assurance = 1000", 2);
    let id = leased(&mut world, &mut peers)[0].id;
    let job = job_id(1);
    let has = |world: &World, node: NodeId| world.store.has_lease(job, node).expect("the store can be read");
    assert!(has(&world, peers[0].node) && has(&world, peers[1].node) && !has(&world, NodeId([77; 32])));
    cancelled(&mut world);
    assert!(!has(&world, peers[0].node), "lease {id} has ended");
}
