//! What providers have at stake, and how often they are checked for it.

use std::{collections::BTreeMap, sync::Arc};

use tidemill_job::JobSpec;
use tidemill_net::wire::StakeReport;
use tidemill_store::JobEnd;
use tidemill_types::{Amount, Basis};

use super::{Does::Right, Peer, Scene, World, among_strangers, credible, job_id, tasks};
use crate::{core::SeenStakes, event::Event};

const TASKS: u64 = 300;

const STAKE: Amount = Amount::tide(100_000_000);

/// What five have at stake who were right for long: the first very much, the others nothing.
fn first_alone() -> SeenStakes {
    Some(BTreeMap::from([(Peer::new(1).operator(), STAKE)]))
}

/// A coordinator that pays for a job of five who were right for long, once the ledger was looked at.
fn scene(spec: Arc<JobSpec>, seen: SeenStakes) -> Scene {
    let mut world = World::with(among_strangers(true, &[]), &credible(5));
    world.tell(Event::StakesSeen(seen));
    world.fund_and_submit(job_id(1), &spec);
    Scene::with(world, spec, &[Right; 5])
}

/// How many results of each were accepted unchecked, by the numbers of the peers.
fn unchecked(spec: &Arc<JobSpec>, seen: SeenStakes) -> BTreeMap<u8, usize> {
    let mut scene = scene(spec.clone(), seen);
    assert_eq!(scene.run(), JobEnd::Done);
    let mut of_each = BTreeMap::new();
    for record in (0..TASKS).map(|task| scene.done(task)) {
        if record.verdict.basis == Basis::Unchecked {
            *of_each.entry(record.result.provider.0[0]).or_default() += 1;
        }
    }
    of_each
}

#[test]
fn who_would_lose_nothing_by_a_lie_is_always_checked() {
    let spec = tasks(TASKS, "assurance = 1000");
    let of_each = unchecked(&spec, first_alone());
    assert_eq!(of_each.keys().copied().collect::<Vec<_>>(), [1], "{of_each:?}");
    let all: usize = unchecked(&spec, None).values().sum();
    assert!(all > 200, "where no contract slashes the record alone counts: {all}");
}

#[test]
fn what_a_wrong_result_is_worth_outside_is_set_against_the_stake() {
    // Ten times the stake: no rate is enough.
    let spec = tasks(TASKS, "assurance = 1000\noutside_gain = \"1000000000 TIDE\"");
    let dear: usize = unchecked(&spec, first_alone()).values().sum();
    let spec = tasks(TASKS, "assurance = 1000\noutside_gain = \"1 TIDE\"");
    let cheap: usize = unchecked(&spec, first_alone()).values().sum();
    assert!(dear == 0 && cheap > 20, "{dear} and {cheap}");
}

#[test]
fn a_stake_that_is_gone_counts_no_more() {
    let mut scene = scene(tasks(TASKS, "assurance = 1000"), first_alone());
    let first = Peer::new(1).operator();
    let report = |scene: &Scene| scene.world.core.stake_report(first).expect("a contract slashes");
    let StakeReport { slashable, at_risk, deterred } = report(&scene);
    assert_eq!((slashable, at_risk), (STAKE, Amount::ZERO));
    // A hundredth of the results is checked, by a colluding friend one time in ten.
    let odds = 0.01 * 0.9 * 0.9;
    let expected = 1e8 * odds / (1.0 - odds);
    assert!((deterred.wei() as f64 / 1e18 - expected).abs() < 1.0, "{deterred}");
    for effect in scene.world.settle() {
        let mut peers: Vec<&mut Peer> = scene.peers.iter_mut().map(|(peer, _)| peer).collect();
        scene.world.obey(effect, &mut peers);
    }
    assert!(report(&scene).at_risk > Amount::ZERO, "it has leases");
    scene.world.tell(Event::StakesSeen(Some(BTreeMap::from([(first, Amount::ZERO)]))));
    assert_eq!(report(&scene).slashable, Amount::ZERO);
    scene.world.tell(Event::StakesSeen(None));
    assert_eq!(scene.world.core.stake_report(first), None);
    assert_eq!(scene.run(), JobEnd::Done);
    scene.world.tell(Event::StakesSeen(Some(BTreeMap::new())));
    assert_eq!(report(&scene).at_risk, Amount::ZERO, "what has ended puts nothing at risk");
}
