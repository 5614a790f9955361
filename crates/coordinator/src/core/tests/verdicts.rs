//! Which results are believed, whom else is asked, and what becomes of those who lie.

mod bills;
mod classes;
mod comparing;
mod ends;
mod evidence;
mod holding;
mod known;
mod named;
mod records;
mod stakes;
mod unjudged;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use tidemill_job::JobSpec;
use tidemill_net::wire::{Decision, Unpaid};
use tidemill_store::{Change, DoneRecord, JobEnd, ReputationKey};
use tidemill_types::{Amount, Basis, LeaseId, ProgramKind, TaskId, TaskNumber};
use tidemill_verify::{Model, Record};

use super::{
    peer::{Peer, archive, failed},
    world::{UNDECIDED_MS, World, among_strangers, job_id, job_spec},
};
use crate::{
    core::{CoreConfig, Step},
    event::{Effect, Network},
};

/// What a peer does with a lease.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Does {
    /// What it should.
    Right,
    /// A wrong output, the same for every task and another than that of others.
    Lies,
    /// It says that the program fails.
    Fails,
    /// A wrong output, which all say who do so.
    Colludes,
    /// The right output, and a bill for all the fuel that the task may burn.
    Overbills,
}

struct Scene {
    world: World,
    peers: Vec<(Peer, Does)>,
    spec: Arc<JobSpec>,
    /// How many leases were given.
    leases: u64,
    doubted: u64,
    undone: u64,
    decisions: BTreeMap<LeaseId, (u8, Decision)>,
}

impl Scene {
    fn of(mut world: World, spec: Arc<JobSpec>, peers: &[Does]) -> Self {
        world.submit(job_id(1), &spec);
        Self::with(world, spec, peers)
    }

    /// One whose job is there.
    fn with(mut world: World, spec: Arc<JobSpec>, peers: &[Does]) -> Self {
        let peers =
            (1..).zip(peers).map(|(number, does)| (Peer::joined(number, &mut world), *does)).collect();
        Self { world, peers, spec, leases: 0, doubted: 0, undone: 0, decisions: BTreeMap::new() }
    }

    /// Everybody does what there is to do, until the job ends.
    fn run(&mut self) -> JobEnd {
        for _ in 0..4_000 {
            self.step();
            if let Some(ended) = self.world.record(job_id(1)).ended {
                self.world.check_store();
                return ended.end;
            }
        }
        panic!("the job does not end");
    }

    fn step(&mut self) {
        let step = self.world.take_step();
        self.carry_out(step);
    }

    /// Commits a step, does what the core wants done, and has everybody do what they have.
    fn carry_out(&mut self, step: Step) {
        for change in &step.changes {
            self.doubted += u64::from(matches!(change, Change::Reopened { .. }));
            self.undone += u64::from(matches!(change, Change::Undone { .. }));
        }
        for effect in self.world.commit(step) {
            let of = |session| {
                self.peers
                    .iter()
                    .find(|(peer, _)| peer.session == Some(session))
                    .map(|(peer, _)| peer.node.0[0])
            };
            if let Effect::Pay { session, decisions, .. } = &effect {
                let number = of(*session).expect("the session is a peer's");
                let told = decisions.iter().map(|(lease, decision)| (*lease, (number, *decision)));
                self.decisions.extend(told);
            }
            let mut all: Vec<&mut Peer> = self.peers.iter_mut().map(|(peer, _)| peer).collect();
            self.world.obey(effect, &mut all);
        }
        self.world.wait(50);
        for (peer, does) in &mut self.peers {
            let leases = std::mem::take(&mut peer.leases);
            self.leases += leases.len() as u64;
            let results: Vec<_> = leases
                .iter()
                .map(|lease| match does {
                    Does::Right => peer.done(lease),
                    Does::Lies => peer.done_with(lease, archive(&[b'x', peer.node.0[0]])),
                    Does::Colludes => peer.done_with(lease, archive(b"xx")),
                    Does::Fails => peer.failure(lease, failed(7)),
                    Does::Overbills => peer.done_for(lease, lease.spec.limits.fuel),
                })
                .collect();
            if !results.is_empty() {
                let message = peer.batch(results);
                peer.say(&mut self.world, message);
            } else {
                peer.say(
                    &mut self.world,
                    tidemill_net::wire::FromProvider::Heartbeat { running: 0, waiting: 0 },
                );
            }
        }
    }

    fn done(&self, task: u64) -> DoneRecord {
        let id = TaskId { job: job_id(1), task: TaskNumber(task) };
        self.world.store.task(id).expect("the store can be read").expect("the task is done")
    }

    /// The results of tasks that are not decided.
    fn said(&self) -> BTreeSet<LeaseId> {
        let jobs = self.world.core.jobs.values();
        let said = jobs.flat_map(|job| job.open.values()).flat_map(|open| &open.opinions);
        said.map(|given| given.result.lease).collect()
    }

    /// How often a peer's results were found to be wrong.
    fn lies_of(&self, number: u8) -> u32 {
        let operator = Peer::new(number).operator();
        let known = self.world.core.reputations.of(operator, self.world.now);
        known.iter().map(|(_, record)| record.lies()).sum()
    }
}

fn among(trusted: &[u8]) -> World {
    let trusted: Vec<_> = trusted.iter().map(|number| Peer::new(*number).operator()).collect();
    World::with(among_strangers(false, &trusted), &[])
}

fn tasks(count: u64, policy: &str) -> Arc<JobSpec> {
    job_spec(
        &format!("retries = 3\ntasks.range = {{ from = 0, to = {count} }}"),
        &format!("args = [\"{{index}}\"]\n[policy]\n{policy}\n"),
    )
}

use Does::{Fails, Lies, Right};

#[test]
fn six_strangers_must_agree_before_the_first_result_is_believed() {
    let mut scene = Scene::of(among(&[]), tasks(1, "assurance = 1000"), &[Right; 7]);
    assert_eq!(scene.run(), JobEnd::Done);
    scene.world.check_outputs(job_id(1), &scene.spec.clone());
    let verdict = scene.done(0).verdict;
    assert_eq!((verdict.basis, verdict.results, verdict.agreeing), (Basis::Agreed, 6, 6));
    assert!(verdict.error_ppb.is_some_and(|ppb| ppb > 0 && ppb <= 1_000_000), "{verdict:?}");
    assert_eq!(scene.leases, 6, "nobody else was asked");
}

#[test]
fn who_proves_right_is_asked_less_of() {
    let mut scene = Scene::of(among(&[]), tasks(60, "assurance = 100"), &[Right; 6]);
    assert_eq!(scene.run(), JobEnd::Done);
    // Tasks are given out in an order of the coordinator's own.
    let mut done: Vec<DoneRecord> = (0..60).map(|task| scene.done(task)).collect();
    done.sort_by_key(|done| done.result.at);
    let (first, last) = (done[0].verdict, done[59].verdict);
    assert!(first.results >= 4 && last.results < first.results, "{first:?}, {last:?}");
    assert!(scene.leases < 4 * 60, "{} results of 60 tasks", scene.leases);
}

#[test]
fn two_strangers_alone_decide_nothing_and_nothing_is_returned_as_right() {
    let mut scene = Scene::of(among(&[]), tasks(3, "assurance = 1000"), &[Right; 2]);
    assert_eq!(scene.run(), JobEnd::Undecided { tasks: 3, first: TaskNumber(0) });
    assert!(scene.world.now.mono.0 >= UNDECIDED_MS * 1000, "somebody could still have come");
    assert_eq!(scene.world.record(job_id(1)).done, 0);
    assert_eq!((scene.lies_of(1), scene.lies_of(2)), (0, 0));
}

#[test]
fn a_machine_that_is_trusted_decides_and_the_liar_is_named() {
    let mut scene = Scene::of(among(&[2]), tasks(12, "assurance = 1000"), &[Lies, Right, Right]);
    assert_eq!(scene.run(), JobEnd::Done);
    scene.world.check_outputs(job_id(1), &scene.spec.clone());
    let trusted = (0..12).filter(|task| scene.done(*task).verdict.basis == Basis::Trusted).count();
    assert_eq!(trusted, 12, "two strangers cannot agree on anything that is sure enough");
    assert!(scene.lies_of(1) > 0);
    assert_eq!((scene.lies_of(2), scene.lies_of(3)), (0, 0));
}

#[test]
fn tasks_for_trusted_machines_go_to_no_other() {
    let mut scene = Scene::of(among(&[2]), tasks(8, "assurance = \"trusted\""), &[Lies, Right, Lies]);
    assert_eq!(scene.run(), JobEnd::Done);
    scene.world.check_outputs(job_id(1), &scene.spec.clone());
    assert_eq!(scene.leases, 8);
}

#[test]
fn a_job_may_name_those_that_it_trusts() {
    let named = format!("assurance = \"trusted\"\ntrusted = [\"{}\"]", Peer::new(3).operator());
    let mut scene = Scene::of(among(&[]), tasks(5, &named), &[Lies, Lies, Right]);
    assert_eq!(scene.run(), JobEnd::Done);
    scene.world.check_outputs(job_id(1), &scene.spec.clone());
    assert!((0..5).all(|task| scene.done(task).verdict.basis == Basis::Trusted));
}

#[test]
fn what_is_not_verified_says_so() {
    let mut scene = Scene::of(among(&[]), tasks(4, "assurance = \"none\""), &[Lies]);
    assert_eq!(scene.run(), JobEnd::Done);
    let verdict = scene.done(0).verdict;
    assert_eq!((verdict.basis, verdict.error_ppb), (Basis::Unverified, None));
    assert_eq!(scene.leases, 4);
    let operator = Peer::new(1).operator();
    assert!(
        scene.world.core.reputations.of(operator, scene.world.now).is_empty(),
        "it says nothing of anybody"
    );
}

#[test]
fn votes_are_counted_where_that_is_asked_for() {
    let mut scene = Scene::of(among(&[]), tasks(6, "replicate = 3"), &[Lies, Right, Right, Right]);
    assert_eq!(scene.run(), JobEnd::Done);
    scene.world.check_outputs(job_id(1), &scene.spec.clone());
    for task in 0..6 {
        let verdict = scene.done(task).verdict;
        assert!(verdict.agreeing == 2 && verdict.results <= 3, "{verdict:?}");
    }
    let mut scene = Scene::of(among(&[]), tasks(1, "replicate = 2"), &[Lies, Right]);
    assert!(matches!(scene.run(), JobEnd::Undecided { tasks: 1, .. }), "one says this, the other that");
}

#[test]
fn a_failure_that_one_alone_has_seen_is_no_end() {
    let mut scene =
        Scene::of(among(&[]), tasks(4, "assurance = 100"), &[Fails, Right, Right, Right, Right, Right]);
    assert_eq!(scene.run(), JobEnd::Done);
    scene.world.check_outputs(job_id(1), &scene.spec.clone());
    assert!(scene.lies_of(1) > 0, "what it says of the program is a lie like any other");
}

#[test]
fn a_failure_that_all_see_ends_the_job_and_who_claims_otherwise_lies() {
    let peers = [Lies, Fails, Fails, Fails, Fails, Fails, Fails];
    let mut scene = Scene::of(among(&[]), tasks(1, "assurance = 100"), &peers);
    assert!(matches!(scene.run(), JobEnd::Failed { .. }));
    assert_eq!((scene.lies_of(1), scene.lies_of(2)), (1, 0));
}

#[test]
fn liars_are_paid_for_nothing_and_the_others_for_all() {
    let config = among_strangers(true, &[Peer::new(2).operator()]);
    let world = World::with(config, &[]);
    let mut scene = Scene {
        world,
        peers: Vec::new(),
        spec: tasks(6, ""),
        leases: 0,
        doubted: 0,
        undone: 0,
        decisions: BTreeMap::new(),
    };
    scene.world.fund_and_submit(job_id(1), &scene.spec.clone());
    for (number, does) in [(1, Lies), (2, Right), (3, Right)] {
        scene.peers.push((Peer::joined(number, &mut scene.world), does));
    }
    assert_eq!(scene.run(), JobEnd::Done);
    (0..40).for_each(|_| scene.step());
    let mut paid = 0;
    for (lease, (number, decision)) in &scene.decisions {
        match (number, decision) {
            (1, Decision::Unpaid(Unpaid::Contradicted | Unpaid::Superseded | Unpaid::JobEnded)) => {}
            (2 | 3, Decision::Paid(price)) => {
                assert!(*price > Amount::ZERO);
                paid += 1;
            }
            (2 | 3, Decision::Unpaid(Unpaid::Superseded | Unpaid::JobEnded)) => {}
            other => panic!("{lease}: {other:?}"),
        }
    }
    assert!(paid >= 6);
    assert!(
        scene.decisions.values().any(|(_, decision)| *decision == Decision::Unpaid(Unpaid::Contradicted))
    );
}

#[test]
fn however_much_is_asked_for_enough_strangers_can_give() {
    let spec = tasks(2, "assurance = 1_000_000_000");
    let mut scene = Scene::of(among(&[]), spec.clone(), &[Right; 15]);
    assert_eq!(scene.run(), JobEnd::Done);
    scene.world.check_outputs(job_id(1), &spec);
}

/// A world in which peers have been right so often that next to nothing is checked.
fn among_credible(count: u8, least_rate: f64) -> World {
    let model = Model { least_rate, ..Model::default() };
    World::with(CoreConfig { model, ..among_strangers(false, &[]) }, &credible(count))
}

/// What is known of so many peers who have been right for long.
fn credible(count: u8) -> Vec<Change> {
    let mut record = Record::default();
    record.note_accepted(100_000, 0, 512);
    record.note_paid(Amount::tide(1_000_000), 0, 512);
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
fn the_credible_are_checked_seldom_but_are_checked() {
    let mut scene = Scene::of(among_credible(4, 0.05), tasks(400, "assurance = 1000"), &[Right; 4]);
    assert_eq!(scene.run(), JobEnd::Done);
    assert!((405..450).contains(&scene.leases), "{} results of 400 tasks", scene.leases);
}

#[test]
fn who_is_caught_has_all_looked_at_again_and_what_was_made_from_it_made_anew() {
    let spec = job_spec(
        "retries = 3\ntasks.range = { from = 0, to = 240 }",
        "args = [\"{index}\"]\n[reduce]\nfan_in = 2\n[policy]\nassurance = 1000\n",
    );
    let mut scene = Scene::of(among_credible(5, 0.05), spec, &[Lies, Right, Right, Right, Right]);
    assert_eq!(scene.run(), JobEnd::Done);
    // Its lies that nobody had checked among them: once it is caught, none of it is believed.
    scene.world.check_outputs(job_id(1), &scene.spec.clone());
    assert!(scene.lies_of(1) > 1);
    assert!(scene.doubted > 0 && scene.undone > 0, "{} doubted, {} undone", scene.doubted, scene.undone);
    assert!((2..=5).all(|number| scene.lies_of(number) == 0));
}

#[test]
fn a_crash_forgets_no_opinion() {
    let mut scene =
        Scene::of(among(&[]), tasks(10, "assurance = 100"), &[Lies, Right, Right, Right, Right, Right]);
    for _ in 0..3 {
        (0..2).for_each(|_| scene.step());
        let effects = scene.world.settle();
        assert!(effects.is_empty() || !scene.said().is_empty());
        let before = scene.said();
        scene.world.crash();
        assert_eq!(scene.said(), before, "what was said is remembered");
        for (peer, _) in &mut scene.peers {
            // What it held is lost with its session: it comes back with nothing.
            peer.leases.clear();
            peer.sent.clear();
            peer.join(&mut scene.world, vec![]);
        }
    }
    assert!(!scene.said().is_empty());
    assert_eq!(scene.run(), JobEnd::Done);
    scene.world.check_outputs(job_id(1), &scene.spec.clone());
    assert!(scene.lies_of(1) > 0);
}

#[test]
fn machines_of_one_network_do_not_check_each_other() {
    let mut world = among(&[]);
    let spec = tasks(2, "replicate = 2");
    world.submit(job_id(1), &spec);
    let network = |last: u8| Network::of(IpAddr::from([198, 51, 100, last]));
    let mut peers = Vec::new();
    for (number, network) in
        [(1, network(1)), (2, network(2)), (3, Network::of(IpAddr::from([203, 0, 113, 1])))]
    {
        let mut peer = Peer::new(number);
        peer.network = network;
        peer.join(&mut world, vec![]);
        peers.push((peer, Right));
    }
    let mut scene = Scene { peers, ..Scene::of(world, spec, &[]) };
    assert_eq!(scene.run(), JobEnd::Done);
    for task in 0..2 {
        let opinions = scene.world.store.opinions(TaskId { job: job_id(1), task: TaskNumber(task) });
        let nodes: Vec<u8> =
            opinions.expect("the store can be read").iter().map(|one| one.result.provider.0[0]).collect();
        assert!(nodes.contains(&3), "{nodes:?} are of one network");
    }
}

#[test]
fn only_addresses_of_the_internet_say_whose_they_are() {
    for local in
        ["127.0.0.1", "10.1.2.3", "192.168.0.9", "169.254.1.1", "100.64.0.1", "::1", "fe80::1", "fd00::1"]
    {
        assert_eq!(Network::of(local.parse().expect("an address")), None, "{local}");
    }
    let of = |text: &str| Network::of(text.parse().expect("an address"));
    assert_eq!(of("198.51.100.7"), of("198.51.100.200"));
    assert_ne!(of("198.51.100.7"), of("198.51.101.7"));
    assert_eq!(of("::ffff:198.51.100.7"), of("198.51.100.9"));
    assert_eq!(of("2001:db8:1:2::3"), of("2001:db8:1:ffff::1"));
    assert_ne!(of("2001:db8:1::1"), of("2001:db8:2::1"));
}

#[test]
fn native_floats_are_compared_within_a_class_of_hardware() {
    let mut world = among(&[]);
    let spec = tasks(3, "replicate = 3");
    world.submit(job_id(1), &spec);
    let mut peers = Vec::new();
    // The first says that it is of a class of its own, where nobody can contradict it.
    for (number, class, does) in [(1, "odd", Lies), (2, "x86", Right), (3, "x86", Right), (4, "x86", Lies)] {
        let mut peer = Peer::new(number);
        peer.hardware_class = Some(class.to_owned());
        peer.join(&mut world, vec![]);
        peers.push((peer, does));
    }
    let mut scene = Scene { peers, ..Scene::of(world, spec, &[]) };
    assert_eq!(scene.run(), JobEnd::Done);
    scene.world.check_outputs(job_id(1), &scene.spec.clone());
    assert_eq!(scene.lies_of(1), 0, "nothing is known of what nobody could compare");
    let accepted = scene.world.core.providers[&Peer::new(1).node].accepted;
    assert_eq!(accepted, 0, "nor does it count for anything");
}

/// A job in which two levels of a reduce and the map are all done by providers that lie at first and are believed: then
/// each is caught in turn.
#[test]
fn doubts_about_parts_of_what_is_doubted_reach_the_top() {
    let spec = job_spec(
        "retries = 3\ntasks.range = { from = 0, to = 64 }",
        "args = [\"{index}\"]\n[reduce]\nfan_in = 2\n[policy]\nassurance = 1000\n",
    );
    let mut doubted = 0;
    for liars in [[1, 2], [2, 3], [3, 4]] {
        let does = |number: u8| if liars.contains(&number) { Lies } else { Right };
        let peers: Vec<Does> = (1..=9).map(does).collect();
        let mut scene = Scene::of(among_credible(9, 0.05), spec.clone(), &peers);
        assert_eq!(scene.run(), JobEnd::Done);
        scene.world.check_outputs(job_id(1), &scene.spec.clone());
        assert!(liars.iter().all(|number| scene.lies_of(*number) > 0));
        doubted += scene.doubted;
    }
    assert!(doubted > 10, "{doubted} results were doubted");
}

#[test]
fn a_requester_cannot_ruin_a_provider_by_its_own_word() {
    let named = format!("assurance = 1000000\ntrusted = [\"{}\"]", Peer::new(3).operator());
    let mut scene = Scene::of(among(&[]), tasks(4, &named), &[Right, Right, Lies]);
    assert_eq!(scene.run(), JobEnd::Done);
    assert_eq!((scene.lies_of(1), scene.lies_of(2)), (0, 0), "its word is good for its own job alone");
}
