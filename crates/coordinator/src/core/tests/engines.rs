//! Providers with several engines.

use tidemill_net::wire::{FromProvider, HeldLease, Lease};
use tidemill_types::{Amount, Engine, EngineIndex, Offer, RateCard, WorkRate};

use super::{
    peer::{Peer, held},
    world::{World, cut_off, job_id, leases_to, map_job},
};
use crate::event::Event;

const FIRST: EngineIndex = EngineIndex(0);
const SECOND: EngineIndex = EngineIndex(1);

/// Two engines of different classes of hardware.
fn two(peer: &Peer) -> Vec<Engine> {
    ["x86-64-v3", "aarch64"]
        .map(|class| Engine { hardware_class: Some(class.to_owned()), ..peer.engine() })
        .to_vec()
}

/// A provider comes with these engines.
fn join(peer: &mut Peer, world: &mut World, engines: Vec<Engine>, held: Vec<HeldLease>) {
    let session = world.new_session();
    peer.session = Some(session);
    let mut joining = peer.joining(session, held);
    if let Event::ProviderJoined { offer, .. } = &mut joining {
        offer.engines = engines;
    }
    world.tell(joining);
}

/// A provider with two engines, and the leases that each of them has.
fn with_two() -> (World, Peer, [Vec<Lease>; 2]) {
    let mut world = World::new();
    world.submit(job_id(1), &map_job(30));
    let mut peer = Peer::new(1);
    let engines = two(&peer);
    join(&mut peer, &mut world, engines, Vec::new());
    let leases = leases_to(&world.settle(), peer.session);
    let of = |engine| leases.iter().filter(|lease| lease.engine == engine).cloned().collect::<Vec<_>>();
    let leases = [of(FIRST), of(SECOND)];
    assert!(leases.iter().all(|leases| leases.len() >= 2), "both have work");
    (world, peer, leases)
}

#[test]
fn a_result_is_of_the_class_of_the_engine_that_was_leased() {
    let (mut world, mut peer, [first, second]) = with_two();
    peer.hardware_class = Some("x86-64-v3".to_owned());
    let mut results = vec![peer.done(&first[0])];
    let wrong = peer.done(&second[1]);
    peer.hardware_class = Some("aarch64".to_owned());
    results.push(peer.done(&second[0]));
    let message = peer.batch(results);
    peer.say(&mut world, message);
    assert_eq!(cut_off(&world.settle(), peer.session()), None);
    assert!(!world.is_live(first[0].id) && !world.is_live(second[0].id));

    let message = peer.batch(vec![wrong]);
    peer.say(&mut world, message);
    let effects = world.settle();
    let reason = cut_off(&effects, peer.session()).expect("the peer is cut off");
    assert!(reason.contains("another class of hardware"), "{reason}");
}

#[test]
fn an_engine_that_is_old_costs_its_provider_no_work_of_the_others() {
    let mut world = World::new();
    world.submit(job_id(1), &map_job(30));
    let mut peer = Peer::new(1);
    let mut engines = two(&peer);
    engines[0].exec_version += 1;
    join(&mut peer, &mut world, engines, Vec::new());
    let leases = leases_to(&world.settle(), peer.session);
    assert!(!leases.is_empty() && leases.iter().all(|lease| lease.engine == SECOND));
}

#[test]
fn a_lease_is_of_the_engine_that_it_was_given_to() {
    let (mut world, mut peer, [first, second]) = with_two();
    let holds: Vec<HeldLease> = first.iter().chain(&second).map(held).collect();
    let mut engines = two(&peer);
    join(&mut peer, &mut world, engines.clone(), holds.clone());
    world.settle();
    assert!(holds.iter().all(|held| world.is_live(held.lease)), "it came back as it was");
    engines[1].hardware_class = Some("x86-64-v3".to_owned());
    join(&mut peer, &mut world, engines.clone(), holds.clone());
    world.settle();
    assert!(first.iter().all(|lease| world.is_live(lease.id)));
    assert!(second.iter().all(|lease| !world.is_live(lease.id)), "this engine is another now");
    engines.clear();
    join(&mut peer, &mut world, engines, holds);
    world.settle();
    assert!(first.iter().all(|lease| !world.is_live(lease.id)), "this engine is gone");
}

#[test]
fn which_engine_has_a_lease_outlives_a_restart() {
    let (mut world, mut peer, [first, second]) = with_two();
    world.crash();
    let mut engines = two(&peer);
    engines.truncate(1);
    join(&mut peer, &mut world, engines, first.iter().chain(&second).map(held).collect());
    world.settle();
    assert!(first.iter().all(|lease| world.is_live(lease.id)));
    assert!(second.iter().all(|lease| !world.is_live(lease.id)), "their engine did not come back");
}

#[test]
fn a_lease_pays_what_its_engine_asks() {
    let mut world = World::of(true);
    world.fund_and_submit(job_id(1), &map_job(30));
    let mut peer = Peer::new(1);
    let mut engines = two(&peer);
    let cheap = RateCard { work: WorkRate::fuel(Amount::from_wei(7)), ..RateCard::default() };
    engines[1].rates = cheap;
    join(&mut peer, &mut world, engines, Vec::new());
    let leases = leases_to(&world.settle(), peer.session);
    for (engine, rates) in [(FIRST, RateCard::default()), (SECOND, cheap)] {
        let mut of_it = leases.iter().filter(|lease| lease.engine == engine).peekable();
        assert!(of_it.peek().is_some());
        assert!(of_it.all(|lease| lease.pay.is_some_and(|pay| pay.rates == rates)));
    }
}

type Change = fn(&mut Offer);

#[test]
fn engines_do_not_change_within_a_session() {
    let cases: [(Change, &str); 3] = [
        (|offer| offer.engines.swap(0, 1), "another class of hardware"),
        (|offer| offer.engines.truncate(1), "other engines"),
        (|offer| offer.engines[1].exec_version += 1, "other engines"),
    ];
    for (change, why) in cases {
        let (mut world, peer, _) = with_two();
        let mut offer = Offer { engines: two(&peer), ..peer.offer() };
        offer.engines[0].slots += 1;
        peer.say(&mut world, FromProvider::Offer(offer.clone()));
        assert_eq!(cut_off(&world.settle(), peer.session()), None, "it may lend more of an engine");
        change(&mut offer);
        peer.say(&mut world, FromProvider::Offer(offer));
        let effects = world.settle();
        let reason = cut_off(&effects, peer.session()).expect("the peer is cut off");
        assert!(reason.contains(why), "{reason}");
    }
}
