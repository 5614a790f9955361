//! Damage on the coordinator's disk: what comes again, from whom, and what is done again.

use std::{collections::BTreeMap, fs, sync::Arc};

use tidemill_job::{BlobRef, JobSpec};
use tidemill_net::wire::{FromProvider, JobReport, Lease, MAX_INLINE_OUTPUT_BYTES, Reply, ReturnReason};
use tidemill_store::Change;
use tidemill_types::{Amount, BlobId, LeaseId, NodeId, TaskId, TaskNumber};
use tidemill_verify::Model;

use super::{
    peer::{LARGE, Peer, archive},
    world::{OWNER, World, among_strangers, config, job_id, job_spec, leases_to, map_job},
};
use crate::{
    compare::{CompareError, Comparing, Places},
    core::CoreConfig,
    event::{Effect, Event, FoundLost, Question},
    mending, recovery,
};

/// Enough tasks that some have large outputs.
const TASKS: u64 = 64;

/// So many outputs are damaged in the life of a job.
const MOST_DAMAGED: usize = 12;

fn report(effects: Vec<Effect>) -> JobReport {
    let report = effects.into_iter().find_map(|effect| match effect {
        Effect::Reply(_, answer) => match answer.reply {
            Ok(Reply::Job(report)) => Some(report),
            _ => None,
        },
        _ => None,
    });
    report.expect("the core answers")
}

fn input_damaged(blob: BlobRef) -> Event {
    Event::Damaged { blob, needed_by: vec![job_id(1)], kept_for: Vec::new() }
}

fn output_damaged(blob: BlobRef) -> Event {
    Event::Damaged { blob, needed_by: Vec::new(), kept_for: vec![job_id(1)] }
}

#[test]
fn a_job_whose_input_is_damaged_waits_for_its_requester() {
    let (mut world, spec) = (World::new(), map_job(3));
    let program = spec.blobs()[0];
    world.submit(job_id(1), &spec);
    world.settle();
    world.tell(input_damaged(program));
    let mut peer = Peer::joined(1, &mut world);
    let effects = world.settle();
    assert!(leases_to(&effects, peer.session).is_empty(), "nobody could fetch the program");
    let asked: Vec<_> = effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::FetchInput { owner, blob } => Some((*owner, *blob)),
            _ => None,
        })
        .collect();
    assert_eq!(asked, [(OWNER, program)]);
    world.ask(Question::Job(job_id(1)));
    let stuck = report(world.settle()).stuck.expect("it waits");
    assert!(stuck.contains(&format!("waits for its program {}", program.id)), "{stuck}");

    world.tell(Event::InputBack { blob: program.id });
    let effects = world.settle();
    assert_eq!(leases_to(&effects, peer.session).len(), 3);
    for effect in effects {
        world.obey(effect, &mut [&mut peer]);
    }
    world.finish(&mut [&mut peer]);
    world.check_outputs(job_id(1), &spec);
}

/// An output of a done task that does not travel in messages, and that was not damaged before.
fn large(world: &World, spec: &Arc<JobSpec>, damaged: &BTreeMap<BlobId, Vec<u8>>) -> Option<BlobRef> {
    (0..spec.task_count()).map(TaskNumber).find_map(|task| {
        let done = world.store.task(TaskId { job: job_id(1), task }).expect("the store can be read")?;
        let output = BlobRef { id: done.result.output, len: done.result.output_len.0 };
        let is_new = output.len > MAX_INLINE_OUTPUT_BYTES as u64 && !damaged.contains_key(&output.id);
        is_new.then_some(output)
    })
}

/// Honest peers do a job while its large outputs are damaged one after another. Gives how many came again and how many
/// tasks were undone. `are_kept`: whether peers have their outputs still.
fn live_through_damage(world: &mut World, spec: &Arc<JobSpec>, are_kept: bool) -> (usize, usize) {
    let (mut one, mut two) = (Peer::joined(1, world), Peer::joined(2, world));
    let (mut back, mut undone_tasks) = (0, 0);
    let mut damaged = BTreeMap::new();
    for _ in 0..2_000 {
        let step = world.take_step();
        let is_undone = |change: &&Change| matches!(change, Change::Undone { .. });
        undone_tasks += step.changes.iter().filter(is_undone).count();
        for effect in world.commit(step) {
            match effect {
                Effect::FindLost { job, from, undone } => {
                    let is_here = |blob| world.blob_file(blob).exists();
                    let found = mending::lost(&world.store, job, from, undone, 2, is_here);
                    world.tell(Event::LostFound(found.expect("the store can be read")));
                }
                Effect::FetchAgain { job, output, from, .. } => {
                    let makers = [&one, &two].into_iter().filter(|peer| from.contains(&peer.node));
                    let bytes = makers.filter(|_| are_kept).find_map(|peer| peer.output(output.id));
                    assert_eq!(bytes.is_some(), are_kept, "whoever made it is asked");
                    if let Some(bytes) = &bytes {
                        world.keep_blob(bytes);
                        back += 1;
                    }
                    world.tell(Event::OutputBack { job, output: output.id, is_here: bytes.is_some() });
                }
                effect => world.obey(effect, &mut [&mut one, &mut two]),
            }
        }
        if world.core.jobs.is_empty() {
            world.settle();
            world.check_store();
            // What nobody needed any more did not come again.
            damaged.values().for_each(|bytes: &Vec<u8>| _ = world.keep_blob(bytes));
            world.check_outputs(job_id(1), spec);
            return (back, undone_tasks);
        }
        if damaged.len() < MOST_DAMAGED
            && let Some(blob) = large(world, spec, &damaged)
        {
            let path = world.blob_file(blob.id);
            damaged.insert(blob.id, fs::read(&path).expect("it was kept"));
            fs::remove_file(path).expect("it was there");
            world.tell(output_damaged(blob));
        }
        world.wait(200);
        one.do_all(world);
        two.do_all(world);
    }
    panic!("the job does not end");
}

fn reduced() -> Arc<JobSpec> {
    let map = format!("retries = 3\ntasks.range = {{ from = 0, to = {TASKS} }}");
    job_spec(&map, "args = [\"{index}\"]\n[reduce]\nfan_in = 4\n")
}

#[test]
fn outputs_that_are_damaged_come_again_from_who_made_them() {
    for spec in [map_job(TASKS), reduced()] {
        let mut world = World::new();
        world.submit(job_id(1), &spec);
        let (back, undone) = live_through_damage(&mut world, &spec, true);
        assert!(back > 0, "some are needed still");
        assert_eq!(undone, 0, "nothing is done again");
    }
}

#[test]
fn tasks_whose_outputs_nobody_has_run_again() {
    for (spec, pays) in [(map_job(TASKS), false), (reduced(), false), (reduced(), true)] {
        let mut world = World::of(pays);
        match pays {
            true => world.fund_and_submit(job_id(1), &spec),
            false => world.submit(job_id(1), &spec),
        }
        let (back, undone) = live_through_damage(&mut world, &spec, false);
        assert_eq!(back, 0);
        assert!(undone > 0, "some are needed still");
    }
}

#[test]
fn a_start_finds_outputs_that_are_not_there() {
    let (mut world, spec) = (World::new(), map_job(TASKS));
    world.submit(job_id(1), &spec);
    let mut peer = Peer::joined(1, &mut world);
    let lost = loop {
        for effect in world.settle() {
            world.obey(effect, &mut [&mut peer]);
        }
        if let Some(output) = large(&world, &spec, &BTreeMap::new()) {
            break output;
        }
        world.wait(200);
        peer.do_all(&mut world);
    };
    world.settle();
    let is_here = |blob| blob != lost.id;
    let taken_up = recovery::take_up(&world.store, config(false), world.now, |_, _| {}, is_here);
    let mut core = taken_up.unwrap_or_else(|error| panic!("{error}"));
    let effects = core.take_step(world.now).effects;
    let is_asked = effects.iter().any(|effect| {
        matches!(effect, Effect::FetchAgain { output, from, .. } if *output == lost && *from == [peer.node])
    });
    assert!(is_asked, "{effects:?}");
}

/// Does what is to be done but for looking for lost outputs and fetching them, which is given back.
fn settle_but_mending(world: &mut World, peers: &mut [&mut Peer]) -> Vec<Effect> {
    let mut mending = Vec::new();
    loop {
        let effects = world.settle();
        if effects.is_empty() {
            return mending;
        }
        for effect in effects {
            match effect {
                Effect::FindLost { .. } | Effect::FetchAgain { .. } | Effect::MendEnded { .. } => {
                    mending.push(effect);
                }
                effect => world.obey(effect, peers),
            }
        }
    }
}

/// Looks into the store for what these effects want to be found.
fn find(world: &mut World, effects: &[Effect], is_here: impl Fn(BlobId) -> bool) {
    for effect in effects {
        if let Effect::FindLost { job, from, undone } = effect {
            let found = mending::lost(&world.store, *job, *from, *undone, 100, &is_here);
            world.tell(Event::LostFound(found.expect("the store can be read")));
        }
    }
}

/// From whom an output is fetched again.
fn asked(effects: &[Effect]) -> Vec<Vec<NodeId>> {
    let asked = effects.iter().filter_map(|effect| match effect {
        Effect::FetchAgain { from, .. } => Some(from.clone()),
        _ => None,
    });
    asked.collect()
}

/// A peer with one lease.
fn with_one_lease(number: u8, world: &mut World) -> (Peer, Lease) {
    let mut peer = Peer::new(number);
    peer.credits = 1;
    peer.join(world, vec![]);
    settle_but_mending(world, &mut [&mut peer]);
    let lease = peer.leases.pop().expect("it has one");
    (peer, lease)
}

fn strikes(world: &World, peer: &Peer) -> u32 {
    world.core.providers[&peer.node].strikes
}

#[test]
fn only_who_could_not_fetch_what_is_damaged_may_give_it_back() {
    let (mut world, spec) = (World::new(), map_job(20));
    world.submit(job_id(1), &spec);
    let (peer, _) = with_one_lease(1, &mut world);
    let give_back = |world: &mut World, lease: LeaseId, reason| {
        peer.say(world, FromProvider::Returned { leases: vec![lease], reason });
    };
    let fetch = || ReturnReason::Fetch("it did not arrive".to_owned());
    let lease_of = |world: &World| *world.core.providers[&peer.node].leases.first().expect("it has one");
    // The job's outputs say nothing about what its map reads.
    let output = BlobRef { id: BlobId::of(b"an output"), len: LARGE as u64 };
    world.tell(output_damaged(output));
    let lease = lease_of(&world);
    give_back(&mut world, lease, fetch());
    assert_eq!(strikes(&world, &peer), 1);
    world.settle();
    world.tell(input_damaged(spec.blobs()[0]));
    let lease = lease_of(&world);
    give_back(&mut world, lease, fetch());
    assert_eq!(strikes(&world, &peer), 1, "nobody could fetch the program");
    assert!(leases_to(&world.settle(), peer.session).is_empty(), "and nobody is given it meanwhile");

    world.tell(Event::InputBack { blob: spec.blobs()[0].id });
    world.settle();
    world.tell(input_damaged(spec.blobs()[0]));
    let lease = lease_of(&world);
    give_back(&mut world, lease, ReturnReason::NoRoom);
    assert_eq!(strikes(&world, &peer), 2, "its room is no matter of the program's");
}

#[test]
fn a_job_does_not_end_while_a_lost_output_is_looked_for() {
    let (mut world, spec) = (World::new(), map_job(2));
    world.submit(job_id(1), &spec);
    let (mut one, lease) = with_one_lease(1, &mut world);
    let (mut two, last) = with_one_lease(2, &mut world);
    let bytes = archive(&vec![7; LARGE]);
    let results = vec![one.done_with(&lease, bytes.clone())];
    let message = one.batch(results);
    one.say(&mut world, message);
    settle_but_mending(&mut world, &mut [&mut one, &mut two]);
    let output = BlobRef { id: BlobId::of(&bytes), len: bytes.len() as u64 };
    world.tell(output_damaged(output));
    // Damaged once more while it is looked for: that is another look, and not two at once.
    world.tell(output_damaged(output));
    let results = vec![two.done(&last)];
    let message = two.batch(results);
    two.say(&mut world, message);
    let effects = settle_but_mending(&mut world, &mut [&mut one, &mut two]);
    assert!(matches!(effects[..], [Effect::FindLost { .. }]), "{effects:?}");
    assert!(world.core.jobs[&job_id(1)].frontier.is_done());
    find(&mut world, &effects, |blob| blob != output.id);
    let effects = settle_but_mending(&mut world, &mut [&mut one, &mut two]);
    assert_eq!(asked(&effects), [vec![one.node]]);
    assert!(effects.iter().any(|effect| matches!(effect, Effect::FindLost { .. })), "{effects:?}");
    world.tell(Event::OutputBack { job: job_id(1), output: output.id, is_here: true });
    assert!(world.core.jobs.contains_key(&job_id(1)), "it is still looked for others");
    find(&mut world, &effects, |_| true);
    assert!(world.core.jobs.is_empty());

    // From now on nobody makes it again.
    world.settle();
    world.tell(output_damaged(output));
    let effects = world.settle();
    assert!(matches!(effects[..], [Effect::MendEnded { output: blob, .. }] if blob == output), "{effects:?}");
}

#[test]
fn everybody_who_made_an_output_is_asked_before_its_tasks_run_again() {
    let (mut world, spec) = (World::new(), map_job(3));
    world.submit(job_id(1), &spec);
    let (mut one, first) = with_one_lease(1, &mut world);
    let (mut two, second) = with_one_lease(2, &mut world);
    let bytes = archive(&vec![7; LARGE]);
    for (peer, lease) in [(&mut one, &first), (&mut two, &second)] {
        peer.credits = 0;
        let results = vec![peer.done_with(lease, bytes.clone())];
        let message = peer.batch(results);
        peer.say(&mut world, message);
        peer.say(&mut world, FromProvider::Credits(0));
    }
    settle_but_mending(&mut world, &mut [&mut one, &mut two]);
    let output = BlobRef { id: BlobId::of(&bytes), len: bytes.len() as u64 };
    world.tell(output_damaged(output));
    let effects = settle_but_mending(&mut world, &mut [&mut one, &mut two]);
    find(&mut world, &effects, |blob| blob != output.id);
    let back = || Event::OutputBack { job: job_id(1), output: output.id, is_here: false };
    let mut makers = Vec::new();
    for _ in 0..2 {
        let effects = settle_but_mending(&mut world, &mut [&mut one, &mut two]);
        makers.extend(asked(&effects).concat());
        assert_eq!(world.core.jobs[&job_id(1)].frontier.done_count(), 2, "somebody may have it");
        world.tell(back());
    }
    makers.sort_unstable();
    assert_eq!(makers, [one.node, two.node]);
    assert_eq!(world.core.jobs[&job_id(1)].frontier.done_count(), 0);
    world.settle();
    world.check_store();
}

/// What a job has cost, by this process and by the next one.
fn spent(world: &mut World) -> [Amount; 2] {
    let of = |world: &World| world.core.jobs[&job_id(1)].money.expect("it is paid for").spent;
    let now = of(world);
    world.settle();
    world.crash();
    [now, of(world)]
}

#[test]
fn a_trial_that_is_paid_while_an_output_is_fetched_is_not_forgotten() {
    let model = Model { least_rate: 0.2, ..Model::default() };
    let trusted = [Peer::new(1).operator()];
    let mut world = World::with(CoreConfig { model, ..among_strangers(true, &trusted) }, &[]);
    let head = "retries = 3\ntasks.range = { from = 0, to = 400 }";
    let spec = job_spec(head, "args = [\"{index}\"]\n[policy]\nassurance = 1000\n");
    world.fund_and_submit(job_id(1), &spec);
    let (mut one, mut two) = (Peer::joined(1, &mut world), Peer::joined(2, &mut world));
    for _ in 0..2_000 {
        settle_but_mending(&mut world, &mut [&mut one, &mut two]);
        let job = &world.core.jobs[&job_id(1)];
        let task = |lease: &LeaseId| world.core.leases[lease].task;
        let tried = job.tried.first().map(task);
        if let Some(id) = tried {
            let done = world.store.task(id).expect("the store can be read").expect("it is done");
            let output = done.result.output;
            let lost = mending::lost_output(&world.store, id, done).expect("the store can be read");
            let undone = job.undone;
            one.do_all(&mut world);
            two.do_all(&mut world);
            settle_but_mending(&mut world, &mut [&mut one, &mut two]);
            let (from, outputs) = (TaskNumber(0), vec![lost]);
            world.tell(Event::LostFound(FoundLost { job: id.job, from, undone, outputs, next: None }));
            world.tell(Event::OutputBack { job: id.job, output, is_here: false });
            assert!(!world.core.jobs[&id.job].frontier.is_node_done(spec.node(id.task).expect("a task")));
            let [now, next] = spent(&mut world);
            assert!(now == next && !now.is_zero(), "{now} is {next} after a restart");
            return world.check_store();
        }
        world.wait(200);
        one.do_all(&mut world);
        two.do_all(&mut world);
    }
    panic!("nobody is tried");
}

#[test]
fn a_task_runs_again_whose_output_was_lost_before_it_was_compared() {
    let mut world = World::with(among_strangers(true, &[]), &[]);
    let policy = "replicate = 2\nquorum = 2\ncompare = { numbers = \"u8\", absolute = 2 }";
    let head = "retries = 3\ntasks.range = { from = 0, to = 4 }";
    let spec = job_spec(head, &format!("args = [\"{{index}}\", \"noisy\"]\n[policy]\n{policy}\n"));
    world.fund_and_submit(job_id(1), &spec);
    let (mut one, mut two) = (Peer::joined(1, &mut world), Peer::joined(2, &mut world));
    let compare = loop {
        let mut compare = None;
        for effect in world.settle() {
            match effect {
                Effect::Compare { task, lease, makers, output, .. } => {
                    compare = compare.or(Some((task, lease, makers, output)));
                }
                effect => world.obey(effect, &mut [&mut one, &mut two]),
            }
        }
        if let Some(compare) = compare {
            break compare;
        }
        world.wait(200);
        one.do_all(&mut world);
        two.do_all(&mut world);
    };
    let (task, lease, makers, output) = compare;
    let made: Vec<NodeId> = makers.iter().filter(|(made, _)| *made == output.id).map(|(_, by)| *by).collect();
    assert!(makers.len() == 2 && made.len() == 1, "{makers:?}");
    world.tell(Event::OpinionLost { task, lease });
    assert!(!world.core.jobs[&task.job].open.contains_key(&task.task), "as if nobody had begun it");
    // It is said once more, and has been dealt with.
    world.tell(Event::OpinionLost { task, lease });
    let [now, next] = spent(&mut world);
    assert!(now == next && !now.is_zero(), "{now} is {next} after a restart");
    // Comparisons of other tasks, which nobody here has made, are asked for again.
    world.crash();
    world.see_escrow();
    for peer in [&mut one, &mut two] {
        peer.leases.clear();
        peer.sent.clear();
        peer.join(&mut world, vec![]);
    }
    world.finish(&mut [&mut one, &mut two]);
    world.check_outputs(job_id(1), &spec);
}

#[test]
fn nobody_is_contradicted_by_what_this_disk_made_of_an_output() {
    let world = World::new();
    let policy = "[policy]\nreplicate = 2\nquorum = 2\ncompare = { numbers = \"u8\", absolute = 1 }\n";
    let spec = job_spec("tasks.range = { from = 0, to = 1 }", policy);
    let mut content = vec![7; LARGE];
    let output = world.keep_blob(&archive(&content));
    content[LARGE - 1] = 8;
    let other = world.keep_blob(&archive(&content));
    let lend = |blob| world.lend(blob);
    let places = Places { store: &world.store, executor: None, lend: &lend };
    let task = TaskId { job: job_id(1), task: TaskNumber(0) };
    let comparing = Comparing { spec, task, output };
    assert!(comparing.is_same(other, &places).expect("both are there"));

    content[LARGE - 1] = 200;
    fs::write(world.blob_file(other.id), archive(&content)).expect("a file can be written");
    let is_lost = |error: CompareError| matches!(error, CompareError::Lost(blob) if blob == other.id);
    assert!(is_lost(comparing.is_same(other, &places).expect_err("one is damaged")));
    fs::remove_file(world.blob_file(other.id)).expect("it is there");
    assert!(is_lost(comparing.is_same(other, &places).expect_err("one is gone")));
}
