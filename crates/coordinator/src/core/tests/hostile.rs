//! Peers that break the rules: each is cut off, or ignored where it does no harm, and the job goes on elsewhere.

use tidemill_net::wire::{
    Bounded, FromProvider, Lease, MAX_CREDITS, OutputBody, ResultBatch, ReturnReason, TaskResult, ToProvider,
};
use tidemill_store::JobEnd;
use tidemill_types::{ByteSize, Claim, ClaimedOutput, Fuel, LeaseId, Outcome, Signature65, TaskNumber};

use super::{
    peer::{LARGE, Peer, archive, failed, held, held_of},
    world::{World, cut_off, job_id, job_spec, leases_to},
};
use crate::event::{Effect, Event, FetchProblem};

/// A world in which a peer has two leases of a job with a reduce.
fn world() -> (World, Peer, Vec<Lease>) {
    let mut world = World::new();
    let limits = "args = [\"{index}\"]\n[limits]\noutput = \"1 MiB\"\nfuel = \"1 G\"\n[reduce]\nfan_in = 8\n";
    let spec = job_spec("tasks.range = { from = 1, to = 12 }", limits);
    world.submit(job_id(1), &spec);
    let peer = Peer::joined(1, &mut world);
    let leases = leases_to(&world.settle(), peer.session);
    assert!(leases.len() >= 2);
    (world, peer, leases)
}

/// Others do the job.
fn completes(mut world: World) {
    let (mut two, mut three) = (Peer::joined(2, &mut world), Peer::joined(3, &mut world));
    world.finish(&mut [&mut two, &mut three]);
    assert_eq!(world.record(job_id(1)).ended.map(|ended| ended.end), Some(JobEnd::Done));
}

/// Has the peer say this, which ends its session.
#[track_caller]
fn is_cut_off(mut world: World, peer: &Peer, message: FromProvider, why: &str) {
    peer.say(&mut world, message);
    let effects = world.settle();
    let reason = cut_off(&effects, peer.session()).expect("the peer is cut off");
    assert!(reason.contains(why), "{reason}");
    assert!(world.core.leases.is_empty(), "others get what it had");
    completes(world);
}

/// Has the peer send a result that is wrong and signed all the same.
#[track_caller]
fn result_is_refused(change: impl FnOnce(&mut Peer, &[Lease]) -> Vec<TaskResult>, why: &str) {
    let (world, mut peer, leases) = world();
    let results = change(&mut peer, &leases);
    let batch = peer.batch(results);
    is_cut_off(world, &peer, batch, why);
}

/// A batch that was right before this change.
fn changed(mut batch: ResultBatch, change: impl FnOnce(&mut ResultBatch)) -> FromProvider {
    change(&mut batch);
    FromProvider::Results(batch)
}

#[test]
fn a_signature_that_is_not_the_result_key_s() {
    let (world, mut peer, leases) = world();
    let results = vec![peer.done(&leases[0])];
    let batch = peer.sign(1, results);
    let message = changed(batch, |batch| batch.signature = Signature65([1; 65]));
    is_cut_off(world, &peer, message, "not signed by its result key");
}

#[test]
fn a_signature_of_another_node_s_key() {
    let (world, mut peer, leases) = world();
    let results = vec![peer.done(&leases[0])];
    let mut other = Peer::of(1, 2);
    let message = other.batch(results);
    is_cut_off(world, &peer, message, "not signed by its result key");
}

#[test]
fn a_signature_over_another_sequence_or_other_results() {
    let (world, mut peer, leases) = world();
    let results = vec![peer.done(&leases[0])];
    let batch = peer.sign(1, results);
    let message = changed(batch, |batch| batch.sequence = 2);
    is_cut_off(world, &peer, message, "not signed by its result key");
}

#[test]
fn a_lease_that_was_never_issued() {
    let forged = |peer: &mut Peer, leases: &[Lease]| {
        let lease = Lease { id: LeaseId(1_000_000), ..leases[0].clone() };
        vec![peer.done(&lease)]
    };
    result_is_refused(forged, "never given");
}

#[test]
fn a_seal_that_is_wrong() {
    let forged =
        |peer: &mut Peer, leases: &[Lease]| vec![peer.done(&Lease { seal: [0; 16], ..leases[0].clone() })];
    result_is_refused(forged, "never given");
}

#[test]
fn a_lease_that_is_another_s() {
    let (mut world, one, leases) = world();
    let mut thief = Peer::joined(4, &mut world);
    let results = vec![thief.done(&leases[0])];
    let message = thief.batch(results);
    thief.say(&mut world, message);
    let reason = cut_off(&world.settle(), thief.session()).expect("the thief is cut off").to_owned();
    assert!(reason.contains("never given"), "{reason}");
    world.tell(Event::SessionEnded { session: one.session() });
    completes(world);
}

#[test]
fn the_result_of_another_task() {
    let swapped = |peer: &mut Peer, leases: &[Lease]| {
        let mixed = Lease { id: leases[0].id, seal: leases[0].seal, ..leases[1].clone() };
        vec![peer.done(&mixed)]
    };
    result_is_refused(swapped, "not of the task that was leased");
}

#[test]
fn a_claim_that_is_not_the_one_in_the_leaf() {
    let changed = |peer: &mut Peer, leases: &[Lease]| {
        let mut result = peer.done(&leases[0]);
        result.claim.usage.fuel = Fuel(1);
        vec![result]
    };
    result_is_refused(changed, "not of the task that was leased");
}

#[test]
fn a_claim_that_contradicts_itself() {
    let done_without = |peer: &mut Peer, leases: &[Lease]| vec![peer.failure(&leases[0], Outcome::Done)];
    result_is_refused(done_without, "contradicts itself");
    let failed_with = |peer: &mut Peer, leases: &[Lease]| {
        let done = peer.done(&leases[0]);
        let claim = Claim { outcome: failed(1), ..done.claim };
        vec![peer.claim(&leases[0], claim, done.output)]
    };
    result_is_refused(failed_with, "contradicts itself");
}

#[test]
fn an_output_that_is_not_the_claimed_one() {
    let other_bytes = |peer: &mut Peer, leases: &[Lease]| {
        let mut result = peer.done_with(&leases[0], archive(b"right"));
        result.output = Some(OutputBody::Inline(archive(b"wrong")));
        vec![result]
    };
    result_is_refused(other_bytes, "another output than it claims");
    let no_archive =
        |peer: &mut Peer, leases: &[Lease]| vec![peer.done_with(&leases[0], b"no archive".to_vec())];
    result_is_refused(no_archive, "brings no output");
    let none = |peer: &mut Peer, leases: &[Lease]| vec![TaskResult { output: None, ..peer.done(&leases[0]) }];
    result_is_refused(none, "none where it claims one");
}

/// A claim of an output of this length that is to be fetched.
fn blob_of(len: u64) -> impl FnOnce(&mut Peer, &[Lease]) -> Vec<TaskResult> {
    move |peer, leases| {
        let done = peer.done(&leases[0]);
        let output = done.claim.output.map(|output| ClaimedOutput { len, ..output });
        let claim = Claim { output, ..done.claim };
        vec![peer.claim(&leases[0], claim, Some(OutputBody::Blob))]
    }
}

#[test]
fn a_large_output_that_is_too_long_or_not_large() {
    result_is_refused(blob_of(1 << 40), "longer output than the task may have");
    result_is_refused(blob_of(100), "should have brought its small output");
}

#[test]
fn usage_beyond_the_limits() {
    let over = |change: fn(&mut Claim)| {
        move |peer: &mut Peer, leases: &[Lease]| {
            let done = peer.done(&leases[0]);
            let mut claim = done.claim;
            change(&mut claim);
            vec![peer.claim(&leases[0], claim, done.output)]
        }
    };
    result_is_refused(over(|claim| claim.usage.fuel = Fuel(u64::MAX)), "more fuel");
    result_is_refused(over(|claim| claim.usage.memory = ByteSize(u64::MAX)), "more memory");
    result_is_refused(over(|claim| claim.usage.output = ByteSize(u64::MAX)), "more output");
    result_is_refused(over(|claim| claim.usage.log = ByteSize(u64::MAX)), "more log");
}

#[test]
fn a_result_twice_in_one_batch() {
    for content in [10, LARGE] {
        let twice = |peer: &mut Peer, leases: &[Lease]| {
            let result = peer.done_with(&leases[0], archive(&vec![1; content]));
            vec![result.clone(), result]
        };
        result_is_refused(twice, "twice in one batch");
    }
}

#[test]
fn a_batch_twice_while_it_is_not_settled() {
    let (mut world, mut peer, leases) = world();
    let results = vec![peer.done_with(&leases[0], archive(&[1; LARGE]))];
    let message = peer.batch(results);
    peer.say(&mut world, message.clone());
    is_cut_off(world, &peer, message, "comes a second time");
}

#[test]
fn a_result_again_while_its_output_is_fetched() {
    let (mut world, mut peer, leases) = world();
    let results = vec![peer.done_with(&leases[0], archive(&[1; LARGE]))];
    let message = peer.batch(results.clone());
    peer.say(&mut world, message);
    let message = peer.batch(results);
    is_cut_off(world, &peer, message, "comes again");
}

#[test]
fn an_output_that_is_no_archive_once_it_is_here() {
    let (mut world, mut peer, leases) = world();
    let results = vec![peer.done_with(&leases[0], vec![1; LARGE])];
    let message = peer.batch(results);
    peer.say(&mut world, message);
    let result = Err(FetchProblem::NotAnOutput("no magic".to_owned()));
    world.tell(Event::OutputFetched { session: peer.session(), lease: leases[0].id, result });
    let effects = world.settle();
    assert!(cut_off(&effects, peer.session()).is_some());
    completes(world);
}

#[test]
fn one_wrong_result_spoils_its_batch() {
    let (mut world, mut peer, leases) = world();
    let right = peer.done(&leases[0]);
    let wrong = peer.done(&Lease { seal: [0; 16], ..leases[1].clone() });
    let message = peer.batch(vec![right, wrong]);
    peer.say(&mut world, message);
    let effects = world.settle();
    assert!(cut_off(&effects, peer.session()).is_some());
    assert_eq!(world.record(job_id(1)).done, 0);
    completes(world);
}

#[test]
fn a_lease_of_another_given_back() {
    let (mut world, one, leases) = world();
    let thief = Peer::joined(4, &mut world);
    let message = FromProvider::Returned { leases: vec![leases[0].id], reason: ReturnReason::Draining };
    thief.say(&mut world, message);
    assert!(cut_off(&world.settle(), thief.session()).is_some());
    assert!(world.core.leases.contains_key(&leases[0].id), "its holder keeps it");
    world.tell(Event::SessionEnded { session: one.session() });
    completes(world);
}

/// Has the peer say this, which changes nothing.
fn is_ignored(world: &mut World, peer: &Peer, message: FromProvider) -> Vec<Effect> {
    let before = world.core.leases.len();
    peer.say(world, message);
    let effects = world.settle();
    assert_eq!(cut_off(&effects, peer.session()), None);
    assert_eq!(world.core.leases.len(), before);
    effects
}

#[test]
fn late_results_are_settled_and_nothing_else() {
    let (mut world, mut peer, leases) = world();
    let results = vec![peer.done(&leases[0])];
    let message = peer.batch(results.clone());
    peer.say(&mut world, message.clone());
    world.settle();
    assert_eq!(world.record(job_id(1)).done, 1);
    // The batch as it was, and its result in another one.
    let again = peer.batch(results);
    for message in [message, again] {
        let effects = is_ignored(&mut world, &peer, message);
        let settled = effects
            .iter()
            .filter(|effect| matches!(effect, Effect::ToProvider(_, ToProvider::Settled { .. })));
        assert_eq!(settled.count(), 1);
    }
    assert_eq!(world.record(job_id(1)).done, 1);
    world.check_store();
}

#[test]
fn words_in_a_session_that_is_over_are_not_heard() {
    let (mut world, mut peer, leases) = world();
    let old = peer.session();
    peer.join(&mut world, leases.iter().map(held).collect());
    world.settle();
    let results = vec![peer.done(&leases[0])];
    let message = peer.batch(results);
    world.tell(Event::FromProvider { session: old, message });
    assert!(world.core.leases.contains_key(&leases[0].id));
    world.tell(Event::SessionEnded { session: old });
    assert!(
        world.core.providers[&peer.node].session.is_some(),
        "the end of the old one is not that of the new one"
    );
    peer.leases = leases;
    world.finish(&mut [&mut peer]);
}

#[test]
fn unknown_leases_given_back_and_empty_batches_do_no_harm() {
    let (mut world, mut peer, leases) = world();
    let unknown = FromProvider::Returned { leases: vec![LeaseId(999)], reason: ReturnReason::Cancelled };
    is_ignored(&mut world, &peer, unknown);
    let empty = peer.batch(vec![]);
    is_ignored(&mut world, &peer, empty);
    peer.leases = leases;
    world.finish(&mut [&mut peer]);
}

#[test]
fn who_gives_everything_back_at_once_is_not_asked_for_ever() {
    let (mut world, peer, mut leases) = world();
    for round in 0.. {
        assert!(round < 50, "it would be given the same leases without end");
        let ids: Vec<_> = leases.iter().map(|lease| lease.id).collect();
        peer.say(&mut world, FromProvider::Returned { leases: ids, reason: ReturnReason::Draining });
        leases = leases_to(&world.settle(), peer.session);
        if leases.is_empty() {
            break;
        }
    }
    completes(world);
}

#[test]
fn another_result_key_does_not_inherit_leases() {
    let (mut world, peer, leases) = world();
    let mut renewed = Peer::of(1, 9);
    renewed.join(&mut world, leases.iter().map(held).collect());
    assert!(world.core.leases.is_empty());
    let effects = world.settle();
    let cancelled =
        effects.iter().any(|effect| matches!(effect, Effect::ToProvider(_, ToProvider::Cancel(_))));
    assert!(cancelled && peer.node == renewed.node);
    renewed.leases = leases_to(&effects, renewed.session);
    world.finish(&mut [&mut renewed]);
}

#[test]
fn a_provider_that_holds_more_than_a_message_names() {
    let (mut world, mut peer, _) = world();
    peer.join(
        &mut world,
        (1_000..1_000 + 2 * u64::from(MAX_CREDITS))
            .map(|lease| held_of(LeaseId(lease), job_id(1), TaskNumber(0)))
            .collect(),
    );
    let effects = world.settle();
    let messages: Vec<_> = effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::ToProvider(_, message @ ToProvider::Cancel(_)) => Some(message),
            _ => None,
        })
        .collect();
    assert_eq!(messages.len(), 2);
    assert!(messages.iter().all(|message| message.check().is_ok()));
}

#[test]
fn credits_beyond_the_bound_do_not_reach_the_core() {
    assert!(FromProvider::Credits(MAX_CREDITS).check().is_ok());
    assert!(FromProvider::Credits(MAX_CREDITS + 1).check().is_err());
}

/// What a provider claims of itself goes into predictions, and those into when leases end.
#[test]
fn absurd_claims_of_speed_overflow_nothing() {
    let mut world = World::new();
    let spec = job_spec(
        "tasks.range = { from = 1, to = 30 }",
        "args = [\"{index}\"]\n[limits]\nfuel = \"1000000000 G\"\nwall_time = \"168 h\"\n",
    );
    world.submit(job_id(1), &spec);
    let mut peer = Peer::new(1);
    for rate in [0, 1, u64::MAX] {
        let session = world.new_session();
        peer.session = Some(session);
        let mut joining = peer.joining(session, vec![]);
        if let Event::ProviderJoined { offer, .. } = &mut joining {
            offer.engines[0].capacity.single_fuel_per_s = rate;
            offer.engines[0].capacity.all_fuel_per_s = rate;
            offer.down_bytes_per_s = rate;
        }
        world.tell(joining);
        for _ in 0..3 {
            for lease in leases_to(&world.settle(), peer.session) {
                let done = peer.done(&lease);
                let mut claim = done.claim;
                claim.usage.fuel = lease.spec.limits.fuel;
                let mut result = peer.claim(&lease, claim, done.output);
                result.wall_us = u64::MAX;
                result.output = result.output.filter(|body| matches!(body, OutputBody::Inline(_)));
                if result.output.is_some() {
                    let message = peer.batch(vec![result]);
                    peer.say(&mut world, message);
                }
            }
            world.wait(60);
        }
    }
    world.settle();
    world.check_store();
}
