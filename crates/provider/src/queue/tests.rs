use proptest::{collection::vec, prelude::*};
use tidemill_types::ByteSize;

use super::*;
use crate::attempt::tests::lease;

fn attempt(id: u64, mib: u64) -> Arc<Attempt> {
    attempt_on(0, id, mib)
}

fn attempt_on(engine: u8, id: u64, mib: u64) -> Arc<Attempt> {
    let mut lease = lease(id, &[]);
    lease.engine = EngineIndex(engine);
    lease.spec.limits.memory = ByteSize::mib(mib);
    Arc::new(Attempt::new(lease).expect("nothing is wrong with it"))
}

fn queue(starts: usize, mib: u64) -> Queue {
    queue_of(&[(starts, mib)])
}

fn queue_of(engines: &[(usize, u64)]) -> Queue {
    Queue::new(engines.iter().map(|(starts, mib)| Room { starts: *starts, memory: mib << 20 }))
}

fn start(queue: &mut Queue) -> Option<u64> {
    queue.start().map(|attempt| attempt.id.0)
}

impl Queue {
    /// What must hold whatever happened.
    fn sanity_check(&self) {
        let count =
            |wanted: fn(&State) -> bool| self.leases.values().filter(|held| wanted(&held.state)).count();
        let running = count(|state| *state == State::Running);
        assert_eq!(self.running(), running + self.ending.len());
        assert_eq!(self.storing, count(|state| *state == State::Storing));
        for (place, lane) in self.lanes.iter().enumerate() {
            let of = |wanted: State| {
                let its = self.leases.values().filter(move |held| held.attempt.engine.place() == place);
                its.filter(move |held| held.state == wanted)
            };
            let ending = || self.ending.values().filter(|ending| ending.engine.place() == place);
            assert!(lane.ready.iter().copied().eq(of(State::Ready).map(|held| held.attempt.id)));
            assert_eq!(lane.running, of(State::Running).count() + ending().count());
            assert!(lane.running <= lane.room.starts);
            let memory = of(State::Running).map(|held| held.attempt.spec.limits.memory.0).sum::<u64>();
            assert_eq!(lane.memory, memory + ending().map(|ending| ending.memory).sum::<u64>());
            assert!(lane.memory <= lane.room.memory);
        }
        assert_eq!(self.bytes, self.leases.values().map(|held| held.attempt.bytes).sum::<usize>());
        assert_eq!(self.waiting_count(), self.waiting().len());
    }
}

#[test]
fn the_lowest_number_starts_first() {
    let mut queue = queue(2, 100);
    for id in [5, 3, 9] {
        queue.add(attempt(id, 1), 0);
    }
    assert_eq!((start(&mut queue), start(&mut queue), start(&mut queue)), (Some(3), Some(5), None));
    assert!(queue.ran(LeaseId(3)).is_some());
    assert_eq!(start(&mut queue), Some(9));
    queue.sanity_check();
}

#[test]
fn missing_blobs_hold_nobody_else_up() {
    let mut queue = queue(9, 100);
    queue.add(attempt(1, 1), 2);
    queue.add(attempt(2, 1), 0);
    assert_eq!((start(&mut queue), start(&mut queue)), (Some(2), None));
    queue.arrived(LeaseId(1));
    assert_eq!(start(&mut queue), None);
    queue.arrived(LeaseId(1));
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
    queue.ran(LeaseId(1));
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
    assert!(matches!(queue.drop_lease(LeaseId(1)), Some(Dropped::Running(_))));
    assert!(queue.holds(LeaseId(1)) && queue.attempts().map(|held| held.id).eq([LeaseId(2)]));
    assert_eq!(start(&mut queue), None);
    assert!(queue.ran(LeaseId(1)).is_none(), "nobody waits for its result");
    assert_eq!(start(&mut queue), Some(2));
    queue.sanity_check();
}

#[test]
fn what_has_not_begun_goes_back() {
    let mut queue = queue(2, 10);
    queue.add(attempt(1, 1), 0);
    queue.add(attempt(2, 1), 0);
    assert_eq!((start(&mut queue), start(&mut queue)), (Some(1), Some(2)));
    queue.drop_lease(LeaseId(2));
    queue.not_begun(LeaseId(1));
    queue.not_begun(LeaseId(2));
    assert_eq!((queue.running(), queue.waiting()), (0, vec![LeaseId(1)]));
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
    queue.ran(LeaseId(3));
    assert_eq!((start(&mut queue), start(&mut queue)), (Some(4), None));
    assert!(queue.fits(&attempt_on(0, 5, 10)) && !queue.fits(&attempt_on(1, 5, 10)));
    assert!(!queue.fits(&attempt_on(2, 5, 1)), "there is no such engine");
    queue.sanity_check();
}

proptest! {
    #[test]
    fn whatever_happens_the_books_are_right(steps in vec((0u8..7, 0u64..12, 1u64..6), 1..120)) {
        let mut queue = queue_of(&[(3, 8), (1, 6)]);
        let mut started: Vec<u64> = Vec::new();
        for (what, id, amount) in steps {
            match what {
                0 if !queue.holds(LeaseId(id)) => {
                    queue.add(attempt_on((id % 2) as u8, id, amount), (amount % 3) as usize);
                }
                1 => queue.arrived(LeaseId(id)),
                2 => {
                    let lowest: Vec<_> = queue.lanes.iter().map(|lane| lane.ready.first().copied()).collect();
                    if let Some(attempt) = queue.start() {
                        prop_assert_eq!(Some(attempt.id), lowest[attempt.engine.place()]);
                        started.push(attempt.id.0);
                    }
                }
                3 => { queue.drop_lease(LeaseId(id)); }
                4 if !started.is_empty() => {
                    let id = started.swap_remove(id as usize % started.len());
                    queue.ran(LeaseId(id));
                }
                5 if !started.is_empty() => {
                    let id = started.swap_remove(id as usize % started.len());
                    queue.not_begun(LeaseId(id));
                }
                _ => { queue.done(LeaseId(id)); }
            }
            queue.sanity_check();
        }
        // All that may end does, and then nothing is held.
        for id in started {
            queue.ran(LeaseId(id));
        }
        for id in queue.attempts().map(|held| held.id).collect::<Vec<_>>() {
            queue.drop_lease(id);
        }
        queue.sanity_check();
        prop_assert_eq!((queue.running(), queue.len(), queue.bytes()), (0, 0, 0));
    }
}
