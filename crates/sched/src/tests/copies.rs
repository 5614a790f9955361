//! Stragglers.

use super::*;

/// One provider runs the last task of a job whose tasks take a second; another idles.
fn last_task() -> (Bench, LeaseId) {
    let mut bench = Bench::new();
    bench.known_job(1, job(), 1, ms(1_000));
    bench.join(1, offer(1), 9);
    let (placements, leases) = bench.place();
    assert_eq!(placements[0].expected, Some(bench.now.plus(ms(1_000))));
    bench.join(2, offer(1), 9);
    (bench, leases[0])
}

#[test]
fn a_late_lease_gets_one_copy() {
    let (mut bench, first) = last_task();
    bench.now = bench.now.plus(ms(1_900));
    assert!(bench.place().0.is_empty(), "not yet twice as long");
    bench.now = bench.now.plus(ms(250));
    let (placements, copies) = bench.place();
    assert!(matches!(placements[0].work, Work::Copy(_)));
    assert_eq!(placements[0].at.node, node(2));
    bench.join(3, offer(1), 9);
    bench.now = bench.now.plus(ms(60_000));
    assert!(bench.place().0.is_empty(), "two attempts are enough");
    bench.done(copies[0], ms(1_000));
    bench.scheduler.ended(first, LeaseEnd::Superseded, bench.now);
    assert!(bench.place().0.is_empty());
}

#[test]
fn a_lease_of_a_lost_provider_is_copied_at_once() {
    let (mut bench, _) = last_task();
    bench.scheduler.lost(node(1), bench.now);
    assert_eq!(bench.place().0[0].at.node, node(2));
}

#[test]
fn a_provider_that_is_back_in_time_needs_no_copy() {
    let (mut bench, _) = last_task();
    bench.scheduler.lost(node(1), bench.now);
    bench.join(1, offer(1), 9);
    assert!(bench.place().0.is_empty());
}

#[test]
fn a_much_faster_provider_gets_a_copy_before_it_is_late() {
    let mut bench = Bench::new();
    bench.known_job(1, job(), 1, ms(1_000));
    let slow = Capacity { single_fuel_per_s: 10_000_000, all_fuel_per_s: 10_000_000 };
    bench.join(1, with(&[Engine { capacity: slow, ..engine(1) }]), 9);
    bench.place();
    bench.join(2, offer(1), 9);
    assert!(matches!(bench.place().0[0].work, Work::Copy(_)));
}

#[test]
fn a_copy_goes_to_another_operator() {
    let (mut bench, _) = last_task();
    bench.scheduler.join(node(2), operator(1), offer(1), 9, bench.now);
    bench.now = bench.now.plus(ms(10_000));
    assert!(bench.place().0.is_empty());
    let excluded = LeaseId(u64::MAX);
    bench.join(3, offer(1), 9);
    bench.scheduler.remove_job(job_id(1));
    bench.known_job(2, job(), 0, ms(10));
    let lease = NewLease {
        id: excluded,
        task: task(2, 1),
        stage: Stage::Map,
        at: only(node(1)),
        operator: operator(1),
        exclude: vec![operator(3)],
        may_copy: true,
        expected: None,
    };
    bench.scheduler.leased(lease, bench.now);
    bench.scheduler.lost(node(1), bench.now);
    assert!(bench.place().0.is_empty(), "the task failed at 3, and 2 is of the same operator as 1");
}

#[test]
fn of_what_is_known_no_copy_is_made() {
    let mut bench = Bench::new();
    bench.join(1, offer(1), 9);
    bench.join(2, offer(1), 9);
    bench.known_job(1, job(), 0, ms(10));
    for (number, may_copy) in [(1, false), (2, true)] {
        let lease = NewLease {
            id: LeaseId(u64::MAX - number),
            task: task(1, number),
            stage: Stage::Map,
            at: only(node(1)),
            operator: operator(1),
            exclude: Vec::new(),
            may_copy,
            expected: None,
        };
        bench.scheduler.leased(lease, bench.now);
    }
    bench.scheduler.lost(node(1), bench.now);
    let (placements, _) = bench.place();
    assert_eq!(
        placements.iter().map(|placement| placement.work).collect::<Vec<_>>(),
        [Work::Copy(task(1, 2))]
    );
}

#[test]
fn nothing_is_copied_while_there_is_work() {
    let (mut bench, _) = last_task();
    bench.known_job(2, job(), 100, ms(1_000));
    bench.now = bench.now.plus(ms(10_000));
    let (placements, _) = bench.place();
    assert!(placements.iter().all(|placement| placement.class == map(2)), "{placements:?}");
}
