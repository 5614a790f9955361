use proptest::{collection::vec, prelude::*};
use tidemill_types::ByteSize;

use super::*;
use crate::{
    attempt::tests::{lease, paid},
    key::tests::key,
};

const FIRST: CoordinatorIndex = CoordinatorIndex(0);
const SECOND: CoordinatorIndex = CoordinatorIndex(1);

/// Everybody may start as much as they like.
const ALL: [usize; 2] = [usize::MAX; 2];

fn attempt(id: u64, mib: u64) -> Arc<Attempt> {
    attempt_on(0, id, mib)
}

fn attempt_on(engine: u8, id: u64, mib: u64) -> Arc<Attempt> {
    let mut lease = lease(id, &[]);
    lease.engine = EngineIndex(engine);
    lease.spec.limits.memory = ByteSize::mib(mib);
    Arc::new(Attempt::new(FIRST, lease).expect("nothing is wrong with it"))
}

fn queue(starts: usize, mib: u64) -> Queue {
    queue_of(&[(starts, mib)])
}

fn queue_of(engines: &[(usize, u64)]) -> Queue {
    Queue::new(
        2,
        engines.iter().map(|(starts, mib)| Room { starts: *starts, memory: mib << 20, is_shared: false }),
    )
}

fn start(queue: &mut Queue) -> Option<u64> {
    queue.start(&ALL).map(|attempt| attempt.key.lease.0)
}

impl Queue {
    /// What must hold whatever happened.
    fn sanity_check(&self) {
        let count =
            |wanted: fn(&State) -> bool| self.leases.values().filter(|held| wanted(&held.state)).count();
        let running = count(|state| *state == State::Running);
        assert_eq!(self.running(), running + self.ending.len());
        for (place, lane) in self.lanes.iter().enumerate() {
            let of = |wanted: State| {
                let its = self.leases.values().filter(move |held| held.attempt.engine.place() == place);
                its.filter(move |held| held.state == wanted)
            };
            let ending = || self.ending.iter().filter(|(_, ending)| ending.engine.place() == place);
            let all = CoordinatorIndex::first(lane.shares.len()).zip(&lane.shares);
            let ready = all.flat_map(|(of, share)| share.ready.iter().map(move |lease| of.lease(*lease)));
            assert!(ready.eq(of(State::Ready).map(|held| held.attempt.key)));
            for (coordinator, share) in CoordinatorIndex::first(lane.shares.len()).zip(&lane.shares) {
                let running =
                    of(State::Running).filter(|held| held.attempt.key.coordinator == coordinator).count();
                let ending = ending().filter(|(key, _)| key.coordinator == coordinator).count();
                assert_eq!(share.running, running + ending);
            }
            assert_eq!(lane.running, lane.shares.iter().map(|share| share.running).sum::<usize>());
            assert!(lane.running <= lane.room.starts);
            let memory = of(State::Running).map(|held| held.attempt.spec.limits.memory.0).sum::<u64>();
            assert_eq!(lane.memory, memory + ending().map(|(_, ending)| ending.memory).sum::<u64>());
            assert!(lane.memory <= lane.room.memory);
        }
        for coordinator in CoordinatorIndex::first(self.tallies.len()) {
            let tally = self.tallies[coordinator.place()];
            let storing = |held: &&Held| held.state == State::Storing;
            assert_eq!(tally.storing, self.held(coordinator).filter(storing).count());
            assert_eq!(tally.held, self.held(coordinator).count());
            let bytes = self.attempts_of(coordinator).map(|attempt| attempt.bytes).sum::<usize>();
            assert_eq!(tally.bytes, bytes);
            assert_eq!(self.waiting_count_of(coordinator), self.waiting(coordinator).len());
        }
        assert_eq!(self.len(), self.tallies.iter().map(|tally| tally.held).sum::<usize>());
    }
}

#[test]
fn the_lowest_number_starts_first() {
    let mut queue = queue(2, 100);
    for id in [5, 3, 9] {
        queue.add(attempt(id, 1), 0);
    }
    assert_eq!((start(&mut queue), start(&mut queue), start(&mut queue)), (Some(3), Some(5), None));
    assert!(queue.ran(key(3)).is_some());
    assert_eq!(start(&mut queue), Some(9));
    queue.sanity_check();
}

#[test]
fn missing_blobs_hold_nobody_else_up() {
    let mut queue = queue(9, 100);
    queue.add(attempt(1, 1), 2);
    queue.add(attempt(2, 1), 0);
    assert_eq!((start(&mut queue), start(&mut queue)), (Some(2), None));
    queue.arrived(key(1));
    assert_eq!(start(&mut queue), None);
    queue.arrived(key(1));
    assert_eq!(start(&mut queue), Some(1));
    queue.sanity_check();
}

#[test]
fn a_large_task_is_not_overtaken_for_ever() {
    let mut queue = queue(9, 10);
    for (id, mib) in [(1, 4), (2, 8), (3, 4)] {
        queue.add(attempt(id, mib), 0);
    }
    assert_eq!((start(&mut queue), start(&mut queue)), (Some(1), None));
    queue.ran(key(1));
    assert_eq!((start(&mut queue), start(&mut queue)), (Some(2), None));
    assert!(!queue.fits(&attempt(4, 11)));
    queue.sanity_check();
}

#[test]
fn what_is_dropped_while_it_runs_keeps_its_room_until_it_has_ended() {
    let mut queue = queue(1, 10);
    queue.add(attempt(1, 10), 0);
    queue.add(attempt(2, 10), 0);
    assert_eq!(start(&mut queue), Some(1));
    assert!(matches!(queue.drop_lease(key(1)), Some(Dropped::Running(_))));
    assert!(queue.holds(key(1)) && queue.attempts().map(|held| held.key).eq([key(2)]));
    assert_eq!(start(&mut queue), None);
    assert!(queue.ran(key(1)).is_none(), "nobody waits for its result");
    assert_eq!(start(&mut queue), Some(2));
    queue.sanity_check();
}

#[test]
fn what_has_not_begun_goes_back() {
    let mut queue = queue(2, 10);
    queue.add(attempt(1, 1), 0);
    queue.add(attempt(2, 1), 0);
    assert_eq!((start(&mut queue), start(&mut queue)), (Some(1), Some(2)));
    queue.drop_lease(key(2));
    queue.not_begun(key(1));
    queue.not_begun(key(2));
    assert_eq!((queue.running(), queue.waiting(FIRST)), (0, vec![key(1)]));
    queue.sanity_check();
}

#[test]
fn no_engine_waits_for_another() {
    let mut queue = queue_of(&[(1, 10), (1, 4)]);
    for (engine, id, mib) in [(0, 1, 10), (0, 2, 10), (1, 3, 4), (1, 4, 4)] {
        queue.add(attempt_on(engine, id, mib), 0);
    }
    assert_eq!((start(&mut queue), start(&mut queue), start(&mut queue)), (Some(1), Some(3), None));
    assert_eq!(queue.running_each().collect::<Vec<_>>(), [1, 1]);
    queue.ran(key(3));
    assert_eq!((start(&mut queue), start(&mut queue)), (Some(4), None));
    assert!(queue.fits(&attempt_on(0, 5, 10)) && !queue.fits(&attempt_on(1, 5, 10)));
    assert!(!queue.fits(&attempt_on(2, 5, 1)), "there is no such engine");
    queue.sanity_check();
}

/// An attempt of a coordinator that pays this for work.
fn attempt_of(coordinator: CoordinatorIndex, id: u64, pays: Option<u64>) -> Arc<Attempt> {
    let lease = match pays {
        Some(tide) => paid(lease(id, &[]), tide),
        None => lease(id, &[]),
    };
    Arc::new(Attempt::new(coordinator, lease).expect("nothing is wrong with it"))
}

/// The next so many that start, as whose they are.
fn starts(queue: &mut Queue, count: usize, allowed: &[usize]) -> Vec<u8> {
    let next = |_| queue.start(allowed).map(|attempt| attempt.key.coordinator.0);
    (0..count).map_while(next).collect()
}

#[test]
fn slots_are_shared_evenly_and_what_one_leaves_idle_the_other_has() {
    let mut queue = queue(6, 6 * 1024);
    for id in 1..=6 {
        queue.add(attempt_of(FIRST, id, None), 0);
    }
    assert_eq!(starts(&mut queue, 4, &ALL), [0; 4], "the other one has no work");
    for id in 1..=6 {
        queue.add(attempt_of(SECOND, id, None), 0);
    }
    assert_eq!(starts(&mut queue, 9, &ALL), [1, 1], "no more may be started at once");
    queue.ran(key(1));
    queue.ran(key(2));
    assert_eq!(starts(&mut queue, 9, &ALL), [0, 1], "each has three");
    queue.ran(SECOND.lease(LeaseId(1)));
    assert_eq!(starts(&mut queue, 9, &ALL), [1]);
    queue.sanity_check();
}

#[test]
fn who_pays_more_goes_first() {
    let mut queue = queue(4, 4 * 1024);
    for id in 1..=3 {
        queue.add(attempt_of(FIRST, id, Some(1)), 0);
        queue.add(attempt_of(SECOND, id, Some(2)), 0);
    }
    assert_eq!(starts(&mut queue, 9, &ALL), [1, 1, 1, 0]);
    queue.sanity_check();
}

#[test]
fn who_may_start_no_more_holds_nobody_up() {
    let mut queue = queue(4, 4 * 1024);
    for id in 1..=3 {
        queue.add(attempt_of(FIRST, id, Some(2)), 0);
        queue.add(attempt_of(SECOND, id, Some(1)), 0);
    }
    assert_eq!(starts(&mut queue, 2, &[0, 2]), [1, 1]);
    assert_eq!(starts(&mut queue, 9, &[0, 0]), Vec::<u8>::new());
}

#[test]
fn the_leases_of_two_coordinators_are_kept_apart() {
    let mut queue = queue(1, 10 * 1024);
    queue.add(attempt_of(FIRST, 7, None), 0);
    queue.add(attempt_of(SECOND, 7, None), 1);
    assert_eq!((queue.waiting(FIRST), queue.waiting(SECOND)), (vec![key(7)], vec![SECOND.lease(LeaseId(7))]));
    assert!(matches!(queue.drop_lease(key(7)), Some(Dropped::Waiting(_))));
    assert_eq!((queue.len_of(FIRST), queue.len_of(SECOND)), (0, 1));
    queue.arrived(key(7));
    assert_eq!(starts(&mut queue, 1, &ALL), Vec::<u8>::new(), "it was the other one's blob");
    queue.arrived(SECOND.lease(LeaseId(7)));
    assert_eq!(starts(&mut queue, 1, &ALL), [1]);
    queue.sanity_check();
}

proptest! {
    #[test]
    fn whatever_happens_the_books_are_right(steps in vec((0u8..7, 0u64..24, 1u64..6), 1..120)) {
        let mut queue = queue_of(&[(3, 8), (1, 6)]);
        // The same numbers of two coordinators.
        let key = |id: u64| CoordinatorIndex((id % 2) as u8).lease(LeaseId(id / 2));
        let mut started: Vec<LeaseKey> = Vec::new();
        for (what, id, amount) in steps {
            let lease = key(id);
            match what {
                0 if !queue.holds(lease) => {
                    let attempt = Arc::into_inner(attempt_on((id / 2 % 2) as u8, id / 2, amount));
                    let attempt = Attempt { key: lease, ..attempt.expect("there is one of it") };
                    queue.add(Arc::new(attempt), (amount % 3) as usize);
                }
                1 => queue.arrived(lease),
                2 => {
                    let ready = |attempt: &Attempt| {
                        let lane = &queue.lanes[attempt.engine.place()];
                        lane.shares[attempt.key.coordinator.place()].ready.first().copied()
                    };
                    let lowest: Vec<_> =
                        queue.attempts().map(|attempt| (attempt.key, ready(attempt))).collect();
                    if let Some(attempt) = queue.start(&ALL) {
                        let first = lowest.iter().find(|(key, _)| *key == attempt.key);
                        prop_assert_eq!(first.and_then(|(_, first)| *first), Some(attempt.key.lease));
                        started.push(attempt.key);
                    }
                }
                3 => { queue.drop_lease(lease); }
                4 if !started.is_empty() => {
                    queue.ran(started.swap_remove(id as usize % started.len()));
                }
                5 if !started.is_empty() => {
                    queue.not_begun(started.swap_remove(id as usize % started.len()));
                }
                _ => { queue.done(lease); }
            }
            queue.sanity_check();
        }
        // All that may end does, and then nothing is held.
        for lease in started {
            queue.ran(lease);
        }
        for lease in queue.attempts().map(|held| held.key).collect::<Vec<_>>() {
            queue.drop_lease(lease);
        }
        queue.sanity_check();
        let bytes: usize = queue.tallies.iter().map(|tally| tally.bytes).sum();
        prop_assert_eq!((queue.running(), queue.len(), bytes), (0, 0, 0));
    }
}
