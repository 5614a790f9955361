//! What builds a record: work that was paid, and that others could have had.

use tidemill_store::{Change, JobEnd, ReputationKey};
use tidemill_types::{Amount, Basis, ProgramKind, RateCard};
use tidemill_verify::Record;

use super::{
    Does::{Colludes, Lies, Right},
    Peer, Scene, World, among_strangers, job_id, tasks,
};

/// A paid job at some ceiling, whose first six peers work for nothing and the others at the usual rates.
fn scene(ceiling: RateCard, others: u8, policy: &str) -> Scene {
    let mut world = World::with(among_strangers(true, &[]), &[]);
    let spec = tasks(6, policy);
    world.submit_at(job_id(1), &spec, ceiling, false);
    let mut peers = Vec::new();
    for number in 1..=6 + others {
        let mut peer = Peer::new(number);
        if number <= 6 {
            peer.rates = RateCard::FREE;
        }
        peer.join(&mut world, vec![]);
        peers.push((peer, Right));
    }
    Scene { peers, ..Scene::with(world, spec, &[]) }
}

/// The sum of the runs of these peers.
fn runs(scene: &Scene, numbers: std::ops::RangeInclusive<u8>) -> f64 {
    let of = |number| {
        let operator = Peer::new(number).operator();
        let known = scene.world.core.reputations.of(operator, scene.world.now);
        known.iter().map(|(_, record)| record.run()).sum::<f64>()
    };
    numbers.map(of).sum()
}

#[test]
fn a_price_that_friends_alone_accept_builds_no_record() {
    let mut narrowed = scene(RateCard::FREE, 24, "assurance = 1000");
    assert_eq!(narrowed.run(), JobEnd::Done);
    assert_eq!(runs(&narrowed, 1..=30), 0.0, "nobody else could have had the tasks");
    let mut open = scene(RateCard::default(), 24, "assurance = 1000");
    assert_eq!(open.run(), JobEnd::Done);
    assert!(runs(&open, 1..=30) > 0.0);
}

#[test]
fn nobody_is_ruined_by_a_price_that_leaves_it_among_liars() {
    let mut scene = scene(RateCard::FREE, 24, "assurance = 100");
    for (place, (_, does)) in scene.peers.iter_mut().enumerate() {
        *does = if place == 0 { Right } else { Colludes };
    }
    scene.run();
    assert_eq!(scene.lies_of(1), 0);
}

/// What is known of so many peers who have been right for long, and were paid so much for it.
fn paid(count: u8, amount: Amount) -> Vec<Change> {
    let mut record = Record::default();
    record.note_accepted(100_000, 0, 512);
    record.note_paid(amount, 0, 512);
    let record = postcard::to_stdvec(&record).expect("plain data always has a postcard encoding");
    let known = |number| Change::Reputation {
        key: ReputationKey {
            operator: Peer::new(number).operator(),
            kind: ProgramKind::Wasm,
            hardware_class: None,
        },
        record: record.clone(),
    };
    (1..=count).map(known).collect()
}

#[test]
fn a_record_of_tasks_that_cost_nothing_says_nothing_of_dear_ones() {
    for (amount, is_believed) in [(Amount::tide(1_000), true), (Amount::from_wei(100_000), false)] {
        let mut world = World::with(among_strangers(true, &[]), &paid(7, amount));
        let spec = tasks(60, "assurance = 1000");
        world.fund_and_submit(job_id(1), &spec);
        let peers = if is_believed { [Right; 7] } else { [Lies, Right, Right, Right, Right, Right, Right] };
        let mut scene = Scene::with(world, spec, &peers);
        assert_eq!(scene.run(), JobEnd::Done);
        scene.world.check_outputs(job_id(1), &scene.spec.clone());
        let unchecked = (0..60).filter(|task| scene.done(*task).verdict.basis == Basis::Unchecked).count();
        assert_eq!(unchecked > 0, is_believed, "{unchecked} of 60 are accepted unchecked");
    }
}
