//! What a core keeps in memory grows with what is leased, not with what waits or is done.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

use tidemill_sched::Micros;
use tidemill_store::{BatchId, Recovered};
use tidemill_types::LeaseId;

use super::{
    peer::{Peer, archive},
    world::{World, caller, config, job_id, job_spec, leases_to},
};
use crate::{
    core::{Core, jobs::MOST_PREPARED},
    event::{Effect, Event, Look, Now, SessionId},
};

/// Counts for each thread the bytes that it has, so that other tests do not count.
struct Counting;

thread_local! {
    static BYTES: Cell<isize> = const { Cell::new(0) };
}

fn count(bytes: isize) {
    // A thread that ends has no counter any more.
    let _ = BYTES.try_with(|counter| counter.set(counter.get() + bytes));
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: the system's allocator does all the work; counting touches a constant-initialised cell without a
// destructor, and so allocates nothing itself.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(at, layout) }
    }
}

/// What a core has in memory whose job has so many map tasks, and how many leases. Its 32 providers have done some
/// thousand tasks, and then have all the leases that they take.
fn bytes_of(tasks: u64) -> (isize, usize) {
    let mut core = new_core();
    submit(&mut core, tasks);
    let mut peers: Vec<Peer> = (1..=32).map(Peer::new).collect();
    for (place, peer) in peers.iter_mut().enumerate() {
        (peer.slots, peer.credits) = (32, 64);
        let session = SessionId(place as u64);
        peer.session = Some(session);
        core.handle(peer.joining(session, vec![]), at(0));
    }
    for round in 0..3 {
        core.place(at(100 * round));
        let effects = core.take_step(at(100 * round)).effects;
        for peer in &mut peers {
            let leases = leases_to(&effects, peer.session);
            let results: Vec<_> = leases.iter().map(|lease| peer.done_with(lease, archive(b"x"))).collect();
            let message = peer.batch(results);
            core.handle(Event::FromProvider { session: peer.session(), message }, at(100 * round));
        }
    }
    core.place(at(400));
    drop(core.take_step(at(400)));
    let (leases, before) = (core.leases.len(), BYTES.get());
    drop(core);
    (before - BYTES.get(), leases)
}

/// The bytes of a world's core; a new one takes its place.
pub fn bytes_of_the_core(world: &mut World) -> isize {
    let core = std::mem::replace(&mut world.core, new_core());
    let before = BYTES.get();
    drop(core);
    before - BYTES.get()
}

/// A core that remembers nothing.
fn new_core() -> Core {
    let recovered = Recovered {
        jobs: vec![],
        leases: vec![],
        next_lease: LeaseId(0),
        next_batch: BatchId(0),
        open_batches: vec![],
        suspects: vec![],
        reputations: vec![],
        escrows: Vec::new(),
    };
    Core::new(config(false), &recovered)
}

fn submit(core: &mut Core, tasks: u64) {
    let spec = job_spec(
        &format!("tasks.range = {{ from = 0, to = {tasks} }}"),
        "args = [\"{index}\"]\n[reduce]\nfan_in = 1000\n",
    );
    let (caller, encoded, look) = (caller(0), spec.encode(), Look::default());
    let (job, follow, funding) = (job_id(1), false, None);
    core.handle(Event::Submit { caller, job, spec, encoded, follow, funding, look }, at(0));
}

fn at(ms: u64) -> Now {
    Now { mono: Micros::millis(ms), unix_ms: ms }
}

#[test]
fn a_job_of_a_million_tasks_needs_hardly_more_than_one_of_ten_thousand() {
    let (small, small_leases) = bytes_of(10_000);
    let (large, large_leases) = bytes_of(1_000_000);
    eprintln!("{small} bytes with {small_leases} leases, {large} bytes with {large_leases}");
    assert_eq!(small_leases, large_leases, "the same work is under way");
    assert!(large * 10 <= small * 13, "{large} bytes are more than 1.3 times {small}");
    // Two bits for each task of the map, and four bytes for each of a thousand times fewer in the reduce.
    assert!(large - small < 990_000 * 3 / 10, "{} bytes for 990000 tasks that wait", large - small);
}

#[test]
fn reduce_tasks_that_nobody_takes_are_not_all_made_from_their_parts() {
    let mut world = World::new();
    let spec =
        job_spec("tasks.range = { from = 0, to = 600 }", "args = [\"{index}\"]\n[reduce]\nfan_in = 2\n");
    world.submit(job_id(1), &spec);
    let mut peer = Peer::new(1);
    (peer.slots, peer.credits) = (64, 256);
    peer.join(&mut world, vec![]);
    let mut unmade = Vec::new();
    while world.core.jobs[&job_id(1)].frontier.done_count() < 600 {
        for effect in world.settle() {
            match effect {
                Effect::Assemble { .. } => unmade.push(effect),
                effect => world.obey(effect, &mut [&mut peer]),
            }
        }
        peer.do_all(&mut world);
        world.wait(50);
    }
    assert_eq!(unmade.len(), MOST_PREPARED);
    for effect in unmade {
        world.obey(effect, &mut [&mut peer]);
    }
    world.finish(&mut [&mut peer]);
    world.check_outputs(job_id(1), &spec);
}
