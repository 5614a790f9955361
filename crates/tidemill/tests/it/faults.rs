//! Jobs that go on whatever fails: providers, the network, disks, and the coordinator itself.

mod cable;
pub mod cluster;
mod crashes;
mod damage;
mod disk;
pub mod process;

use rustix::process::Signal;

use self::{
    cable::Cable,
    cluster::{
        SERVE, counts_once, ends_well, mixed_job, provide, provider, serve, serve_by, slow_job,
        state_is_sane, submit, until_leases_are_lost,
    },
    disk::{Filler, with_disk},
    process::Process,
};
use crate::support::{Place, deep};

/// A place with this job, and a coordinator.
fn with_job(text: &str) -> (Place, Process) {
    let place = Place::new();
    place.job(text);
    let coordinator = serve(&place);
    (place, coordinator)
}

/// Ends a coordinator, and looks at what it leaves behind.
fn end(place: &Place, coordinator: Process) {
    coordinator.stop();
    state_is_sane(&place.path("coordinator"));
}

#[test]
fn a_provider_that_is_killed_in_mid_task() {
    let (place, coordinator) = with_job(&slow_job(8));
    let (mut one, _two) = (provide(&place, "one"), provide(&place, "two"));
    let job = submit(&place);
    one.until_it_works();
    one.kill();
    let status = ends_well(&place, &job);
    assert!(status["lost_attempts"].as_u64() > Some(0), "{status}");
    end(&place, coordinator);
}

/// What it has done meanwhile comes late, and must not count twice.
#[test]
fn a_provider_that_stands_still_for_longer_than_its_lease() {
    let (place, coordinator) = with_job(&slow_job(10));
    let (mut one, _two) = (provide(&place, "one"), provide(&place, "two"));
    let job = submit(&place);
    one.until_it_works();
    one.signal(Signal::STOP);
    until_leases_are_lost(&place, &job);
    one.signal(Signal::CONT);
    one.until("task", |_| true);
    ends_well(&place, &job);
    // It has told of its late results when it ends in order.
    one.stop();
    counts_once(&place, &job);
    end(&place, coordinator);
}

#[test]
fn a_provider_whose_network_is_gone_for_a_while() {
    let (place, coordinator) = with_job(&slow_job(10));
    let cable = Cable::lay(&place);
    let mut one = Process::start(&mut place.command(&provider("one", "cable")));
    one.until("joined", |_| true);
    let job = submit(&place);
    one.until_it_works();
    cable.pull();
    // Not before: with a second provider the first may have finished its share when the cable goes.
    let _two = provide(&place, "two");
    until_leases_are_lost(&place, &job);
    if deep() {
        one.until("lost", |_| true);
    }
    let before = cable.passed();
    cable.plug_in();
    if deep() {
        one.until("joined", |_| true);
    }
    ends_well(&place, &job);
    assert!(cable.passed() > before, "it does not go by its cable");
    one.stop();
    counts_once(&place, &job);
    end(&place, coordinator);
}

/// The only provider has no room for a task's output: the job waits until there is some.
#[test]
fn a_provider_whose_disk_is_full() {
    let (place, coordinator) = with_job(&mixed_job(&["large"], 3));
    let Some(mut command) = with_disk(&place, "one", 8, &provider("one", "ticket")) else { return };
    let mut one = Process::start(&mut command);
    one.until("joined", |_| true);
    let filler = Filler::fill(&one, &place, "one", 0);
    let job = submit(&place);
    one.until("no_room", |_| true);
    filler.remove();
    ends_well(&place, &job);
    end(&place, coordinator);
}

/// Nothing that was promised is lost, and what waits for room goes on once there is some.
#[test]
fn a_coordinator_whose_disk_is_full() {
    let place = Place::new();
    place.job(&mixed_job(&["large", "slow"], 4));
    let Some(mut command) = with_disk(&place, "coordinator", 32, &SERVE) else { return };
    let mut coordinator = serve_by(&mut command);
    let (mut one, _two) = (provide(&place, "one"), provide(&place, "two"));
    let job = submit(&place);
    one.until_it_works();
    let filler = Filler::fill(&coordinator, &place, "coordinator", 0);
    coordinator.until_it_logs("ERROR");
    filler.remove();
    ends_well(&place, &job);
    coordinator.stop();
}
