//! An example for each rule.

use tidemill_types::{ByteSize, Fuel};

use super::*;
use crate::{IdleReason, Unfit, Waiting};

fn any(placements: &[Placement], at: u32) -> u32 {
    let of = placements.iter().filter(|placement| placement.at.node == node(at));
    of.map(|placement| u32::try_from(placement.work.count()).unwrap()).sum()
}

#[test]
fn tasks_of_unknown_length_get_one_for_each_slot_and_one() {
    let mut bench = Bench::new();
    bench.join(1, offer(4), 1_000);
    bench.job(1, job(), 10_000_000);
    let (placements, leases) = bench.place();
    assert_eq!(placements.len(), 1, "one message");
    assert_eq!(leases.len(), 5);
    assert_eq!(placements[0].expected, None);
    assert!(bench.place().0.is_empty());
}

#[test]
fn a_program_that_ran_before_is_a_guess_at_what_another_job_of_it_takes() {
    let job = || Job { map: Class { shared: vec![(blob(7), 1)], ..class(100) }, ..job() };
    let mut bench = Bench::new();
    bench.known_job(1, job(), 1, ms(1));
    bench.join(1, offer(2), 10_000);
    // Many jobs of one task each queue up to the horizon, as one job of many does.
    for number in 2..400 {
        bench.job(number, job(), 1);
    }
    assert!((240..=400).contains(&bench.place().1.len()));
    // One new job of many tasks shows first what its own take.
    let mut bench = Bench::new();
    bench.known_job(1, job(), 0, ms(1));
    bench.join(1, offer(2), 10_000);
    bench.job(2, job(), 1_000_000);
    let (placements, leases) = bench.place();
    assert_eq!((leases.len(), placements[0].expected), (3, None));
}

#[test]
fn an_empty_task_that_was_held_up_says_nothing_of_its_machine() {
    let mut bench = Bench::new();
    bench.join(1, offer(1), 10);
    bench.job(1, job(), 1);
    let leases = bench.place().1;
    bench.now = bench.now.plus(ms(50));
    let end = LeaseEnd::Done { wall: ms(50), work: Metered::Fuel(Fuel(1)) };
    bench.scheduler.ended(leases[0], end, bench.now);
    assert_eq!(bench.scheduler.observed_rate(only(node(1))), None);
}

#[test]
fn short_tasks_flow_in_batches_up_to_the_horizon() {
    let mut bench = Bench::new();
    bench.known_job(1, job(), 10_000_000, ms(1));
    bench.join(1, offer(2), 10_000);
    let (placements, leases) = bench.place();
    assert_eq!(placements.len(), 1);
    // 250 ms of 1 ms tasks in two slots; each starts within the horizon.
    assert!((490..=510).contains(&leases.len()), "{}", leases.len());
    let expected = placements[0].expected.expect("the length is known");
    assert!(expected.since(bench.now) <= ms(252), "{expected}");
    assert!(bench.place().0.is_empty());
}

#[test]
fn credits_bound_what_a_provider_holds() {
    let mut bench = Bench::new();
    bench.known_job(1, job(), 1_000_000, Micros(100));
    bench.join(1, offer(2), 300);
    assert_eq!(bench.place().1.len(), 300);
    bench.scheduler.set_credits(node(1), 0);
    assert_eq!(bench.scheduler.idle_reason(node(1), bench.now), IdleReason::Unfit(Unfit::NoCredits));
    assert!(bench.place().0.is_empty());
}

#[test]
fn long_tasks_do_not_queue_before_a_slot_is_nearly_free() {
    let mut bench = Bench::new();
    bench.known_job(1, job(), 100, ms(10_000));
    bench.join(1, offer(2), 100);
    assert_eq!(bench.place().1.len(), 2);
    bench.now = bench.now.plus(ms(5_000));
    assert!(bench.place().0.is_empty());
    bench.now = bench.now.plus(ms(4_900));
    assert_eq!(bench.place().1.len(), 2, "the next ones are there before the slots are free");
}

#[test]
fn a_short_task_goes_where_no_long_one_is_before_it() {
    let mut bench = Bench::new();
    bench.known_job(1, job(), 0, ms(10_000));
    bench.known_job(2, job(), 1, ms(1));
    bench.join(1, offer(1), 100);
    bench.join(2, offer(1), 100);
    bench.lease(task(1, 1), 1);
    let (placements, _) = bench.place();
    assert_eq!(any(&placements, 2), 1);
    assert_eq!(any(&placements, 1), 0);
}

#[test]
fn memory_of_running_leases_must_leave_room() {
    let mut bench = Bench::new();
    bench.known_job(1, Job { map: class(1_000), ..job() }, 100, ms(1_000));
    bench.join(1, with(&[Engine { memory: ByteSize::mib(2_500), ..engine(8) }]), 100);
    bench.join(2, with(&[Engine { memory: ByteSize::mib(999), ..engine(8) }]), 100);
    let (placements, leases) = bench.place();
    assert_eq!(any(&placements, 2), 0);
    assert_eq!(leases.len(), 2, "two fit at once, a third would wait for a second");
    assert!(matches!(
        bench.scheduler.idle_reason(node(2), bench.now),
        IdleReason::Unfit(Unfit::Memory { .. })
    ));
}

#[test]
fn what_a_provider_cannot_run_it_does_not_get() {
    let mut bench = Bench::new();
    bench.job(1, job(), 100);
    let version = ProgramKind::Wasm.version();
    bench.join(1, with(&[]), 9);
    bench.join(2, with(&[Engine { floats: vec![FloatClass::Canonical], ..engine(1) }]), 9);
    bench.join(3, with(&[Engine { exec_version: version + 1, ..engine(1) }]), 9);
    bench.join(4, offer(0), 9);
    assert!(bench.place().0.is_empty());
    let reasons = [1, 2, 3, 4].map(|at| bench.scheduler.idle_reason(node(at), bench.now));
    let together = bench.scheduler.idle_reasons(bench.now);
    assert_eq!(reasons, [1, 2, 3, 4].map(|at| together.of(node(at))));
    assert_eq!(
        reasons,
        [
            IdleReason::Unfit(Unfit::Kind(ProgramKind::Wasm)),
            IdleReason::Unfit(Unfit::Floats(FloatClass::Native)),
            IdleReason::Unfit(Unfit::ExecVersion { needs: version, offers: version + 1 }),
            IdleReason::Unfit(Unfit::NoSlots),
        ]
    );
}

#[test]
fn excluded_operators_do_not_get_a_single() {
    let mut bench = Bench::new();
    bench.job(1, job(), 0);
    bench.join(1, offer(4), 9);
    bench.scheduler.add_single(Single { exclude: vec![operator(1)], ..single(task(1, 7)) });
    assert!(bench.place().0.is_empty());
    assert_eq!(
        bench.scheduler.idle_reason(node(1), bench.now),
        IdleReason::Unfit(Unfit::Excluded(operator(1)))
    );
    bench.join(2, offer(1), 9);
    let (placements, _) = bench.place();
    assert_eq!(placements[0].work, Work::Single(task(1, 7)));
    assert_eq!(placements[0].at.node, node(2));
    assert!(bench.place().0.is_empty());
}

#[test]
fn singles_come_before_the_rest_of_their_job() {
    let mut bench = Bench::new();
    bench.job(1, job(), 100);
    bench.join(1, offer(1), 1);
    bench.scheduler.add_single(single(task(1, 7)));
    assert_eq!(bench.place().0[0].work, Work::Single(task(1, 7)));
}

#[test]
fn a_reduce_goes_to_its_inputs() {
    let mut bench = Bench::new();
    bench.job(1, Job { reduce: Some(class(100)), ..job() }, 0);
    bench.join(1, offer(1), 9);
    bench.join(2, offer(1), 9);
    let inputs = vec![(node(1), 1 << 20), (node(2), 50 << 20)];
    bench.scheduler.add_single(Single {
        stage: Stage::Reduce,
        inputs,
        bytes: 60 << 20,
        ..single(task(1, 7))
    });
    assert_eq!(bench.place().0[0].at.node, node(2));
}

#[test]
fn the_job_limit_holds() {
    let mut bench = Bench::new();
    bench.known_job(1, Job { most_running: Some(3), ..job() }, 100, ms(1));
    bench.join(1, offer(8), 100);
    let (_, leases) = bench.place();
    assert_eq!(leases.len(), 3);
    assert!(bench.place().0.is_empty());
    bench.join(2, offer(8), 100);
    assert_eq!(bench.scheduler.idle_reason(node(2), bench.now), IdleReason::Waiting(Waiting::JobLimit(3)));
    bench.done(leases[0], ms(1));
    assert_eq!(bench.place().1.len(), 1);
}

#[test]
fn blobs_that_are_there_already_decide() {
    let mut bench = Bench::new();
    let shared = vec![(blob(1), 100 << 20)];
    bench.job(1, Job { map: Class { shared: shared.clone(), ..class(100) }, ..job() }, 0);
    bench.join(1, offer(2), 100);
    bench.join(2, offer(2), 100);
    let lease = bench.lease(task(1, 1), 2);
    bench.now = bench.now.plus(ms(10_000));
    bench.done(lease, ms(10));
    // The next job has the same program: 10 s to fetch for one of them.
    bench.scheduler.remove_job(job_id(1));
    bench.job(2, Job { map: Class { shared, ..class(100) }, ..job() }, 1);
    assert_eq!(bench.place().0[0].at.node, node(2));
}

#[test]
fn the_end_of_a_job_is_split_by_rates() {
    let mut bench = Bench::new();
    bench.known_job(1, job(), 110, ms(10));
    let slow = Capacity { single_fuel_per_s: 100_000_000, all_fuel_per_s: 100_000_000 };
    bench.join(1, offer(1), 1_000);
    bench.join(2, with(&[Engine { capacity: slow, ..engine(1) }]), 1_000);
    bench.scheduler.policy.horizon = ms(10_000);
    let (placements, leases) = bench.place();
    assert_eq!(leases.len(), 110);
    let slow = any(&placements, 2);
    assert!((9..=11).contains(&slow), "{slow} of 110 by the one that is ten times slower");
}

#[test]
fn a_last_task_waits_for_the_fast_rather_than_go_to_the_slow() {
    let mut bench = Bench::new();
    bench.known_job(1, job(), 1, ms(1_000));
    bench.join(1, offer(1), 1);
    let slow = Capacity { single_fuel_per_s: 10_000_000, all_fuel_per_s: 10_000_000 };
    bench.join(2, with(&[Engine { capacity: slow, ..engine(1) }]), 9);
    let running = bench.lease(task(1, 1), 1);
    assert!(bench.place().0.is_empty(), "100 s here, 2 s there");
    assert!(matches!(
        bench.scheduler.idle_reason(node(2), bench.now),
        IdleReason::Waiting(Waiting::Outpaced { .. })
    ));
    bench.now = bench.now.plus(ms(1_000));
    bench.done(running, ms(1_000));
    assert_eq!(bench.place().0[0].at.node, node(1));
}

#[test]
fn observed_rates_replace_claimed_ones() {
    let mut bench = Bench::new();
    bench.known_job(1, job(), 0, ms(100));
    let boast = Capacity { single_fuel_per_s: u64::MAX, all_fuel_per_s: u64::MAX };
    bench.join(1, with(&[Engine { capacity: boast, ..engine(1) }]), 9);
    bench.join(2, offer(1), 9);
    bench.scheduler.set_ready(map(1), 1);
    let (placements, leases) = bench.place();
    assert_eq!(placements[0].at.node, node(1), "believed at first");
    bench.now = bench.now.plus(ms(400));
    bench.scheduler.ended(
        leases[0],
        LeaseEnd::Done { wall: ms(400), work: Metered::Fuel(Fuel(100_000_000)) },
        bench.now,
    );
    bench.scheduler.set_ready(map(1), 1);
    assert_eq!(bench.place().0[0].at.node, node(2));
}

#[test]
fn who_fails_gets_less_and_pauses() {
    let mut bench = Bench::new();
    bench.known_job(1, job(), 0, ms(100));
    bench.join(1, offer(1), 9);
    bench.join(2, offer(1), 9);
    for number in 0..3 {
        let lease = bench.lease(task(1, number), 1);
        bench.now = bench.now.plus(ms(10));
        bench.scheduler.ended(lease, LeaseEnd::Failed, bench.now);
    }
    assert!(bench.scheduler.idle_reason(node(1), bench.now).to_string().contains("no task is ready"));
    bench.scheduler.set_ready(map(1), 100);
    assert!(matches!(
        bench.scheduler.idle_reason(node(1), bench.now),
        IdleReason::Waiting(Waiting::Paused(_))
    ));
    assert!(bench.place().0.iter().all(|placement| placement.at.node == node(2)));
    bench.now = bench.now.plus(ms(101));
    let (placements, _) = bench.place();
    assert_eq!(placements[0].at.node, node(1), "it is not left alone for ever");
}

#[test]
fn a_batch_that_expires_at_once_is_one_failure() {
    let mut bench = Bench::new();
    bench.known_job(1, job(), 0, ms(1));
    bench.join(1, offer(1), 100);
    let leases: Vec<_> = (0..50).map(|number| bench.lease(task(1, number), 1)).collect();
    bench.now = bench.now.plus(ms(1_000));
    for lease in leases {
        bench.scheduler.ended(lease, LeaseEnd::Expired, bench.now);
    }
    bench.scheduler.set_ready(map(1), 1);
    assert_eq!(bench.place().1.len(), 1);
}

#[test]
fn a_newcomer_of_short_tasks_does_not_wait_for_a_long_job() {
    let mut bench = Bench::new();
    bench.known_job(1, job(), 1_000_000, ms(100));
    bench.join(1, offer(4), 1_000);
    let (_, leases) = bench.place();
    assert!(leases.len() <= 16, "{}", leases.len());
    bench.known_job(2, job(), 1_000, ms(1));
    bench.now = bench.now.plus(ms(100));
    for lease in &leases[..4] {
        bench.done(*lease, ms(100));
    }
    bench.place();
    let newcomer = bench.held(2, 1);
    assert!((196..=204).contains(&newcomer), "{newcomer}: the 50 ms that got free in each slot");
    assert_eq!(bench.held(1, 1), leases.len() - 4, "all of it goes to the one that has nothing");
}

#[test]
fn jobs_share_by_weight() {
    let mut bench = Bench::new();
    bench.known_job(1, job(), 1_000_000, ms(1));
    bench.known_job(2, Job { weight: 3, ..job() }, 1_000_000, ms(5));
    bench.join(1, offer(8), 8_000);
    bench.place();
    let (light, heavy) = (bench.held(1, 1), 5 * bench.held(2, 1));
    let ratio = heavy as f64 / light as f64;
    assert!((2.4..3.6).contains(&ratio), "{light} ms and {heavy} ms");
}

#[test]
fn a_provider_that_comes_back_keeps_what_was_learnt() {
    let mut bench = Bench::new();
    bench.job(1, job(), 0);
    bench.join(1, offer(1), 9);
    let lease = bench.lease(task(1, 1), 1);
    bench.now = bench.now.plus(ms(100));
    bench.scheduler.ended(
        lease,
        LeaseEnd::Done { wall: ms(100), work: Metered::Fuel(Fuel(10_000_000)) },
        bench.now,
    );
    bench.scheduler.lost(node(1), bench.now);
    bench.scheduler.set_ready(map(1), 5);
    assert!(bench.place().0.is_empty());
    bench.join(1, offer(1), 9);
    let rate = bench.scheduler.providers[&node(1)].engines[0].fuel_per_us(&bench.scheduler.policy);
    assert!((90.0..110.0).contains(&rate), "{rate}");
    assert!(!bench.place().0.is_empty());
}

#[test]
fn absent_providers_are_forgotten_when_there_are_too_many() {
    let mut bench = Bench::new();
    bench.scheduler.policy.remembered_nodes = 10;
    for number in 0..100 {
        bench.now = bench.now.plus(ms(1));
        bench.join(number, offer(1), 1);
        bench.scheduler.lost(node(number), bench.now);
    }
    assert_eq!(bench.scheduler.providers.len(), 10);
    sanity_check(&bench.scheduler);
}

#[test]
fn leases_outlive_their_job() {
    let mut bench = Bench::new();
    bench.job(1, job(), 2);
    bench.join(1, offer(1), 9);
    let (_, leases) = bench.place();
    bench.scheduler.remove_job(job_id(1));
    bench.job(2, job(), 1);
    assert!(bench.place().0.is_empty(), "the slot is still taken");
    for lease in leases {
        bench.scheduler.ended(lease, LeaseEnd::Returned, bench.now);
        bench.scheduler.ended(lease, LeaseEnd::Returned, bench.now);
    }
    assert_eq!(bench.place().1.len(), 1);
}

#[test]
fn leases_from_before_a_restart_wait_for_their_provider() {
    let mut bench = Bench::new();
    bench.job(1, job(), 0);
    let lease = bench.lease(task(1, 1), 1);
    sanity_check(&bench.scheduler);
    bench.scheduler.set_ready(map(1), 10);
    bench.join(1, offer(1), 9);
    assert_eq!(bench.place().1.len(), 1, "the slot is taken, one more waits");
    bench.done(lease, ms(1));
    sanity_check(&bench.scheduler);
}

#[test]
fn many_jobs_take_turns_on_one_slot() {
    let mut bench = Bench::new();
    for number in 0..10 {
        bench.known_job(number, job(), 1_000_000, ms(1_000 << (number % 3)));
    }
    bench.join(100, offer(1), 1);
    let mut served = std::collections::BTreeMap::new();
    for _ in 0..30 {
        let (placements, leases) = bench.place();
        *served.entry(placements[0].class.job).or_insert(0) += 1;
        bench.now = bench.now.plus(ms(1_000));
        bench.done(leases[0], ms(1_000));
    }
    assert_eq!(served.into_values().collect::<Vec<_>>(), [3; 10]);
}

#[test]
fn a_provider_that_understates_how_long_it_took_is_not_believed() {
    let mut bench = Bench::new();
    bench.known_job(1, job(), 0, ms(1_000));
    bench.join(1, offer(1), 9);
    for number in 0..20 {
        let lease = bench.lease(task(1, number), 1);
        bench.now = bench.now.plus(ms(10_000));
        bench.scheduler.ended(
            lease,
            LeaseEnd::Done { wall: Micros(1), work: Metered::Fuel(Fuel(1_000_000_000)) },
            bench.now,
        );
    }
    let rate = bench.scheduler.providers[&node(1)].engines[0].fuel_per_us(&bench.scheduler.policy);
    assert!(rate < 300.0, "{rate} fuel a µs, where 1000 was claimed and at most 200 believed");
}

#[test]
fn a_measured_transfer_counts_more_than_a_claim() {
    let mut bench = Bench::new();
    bench.job(1, Job { map: Class { own_bytes: 50 << 20, ..class(100) }, ..job() }, 1);
    bench.join(1, Offer { down_bytes_per_s: u64::MAX, ..offer(1) }, 9);
    bench.join(2, offer(1), 9);
    bench.scheduler.fetched(node(1), 1 << 20, ms(1_000));
    assert_eq!(bench.place().0[0].at.node, node(2));
}

#[test]
fn what_is_too_dear_or_not_paid_for_is_not_leased() {
    let mut bench = Bench::new();
    bench.join(1, with(&[Engine { rates: rates(11), ..engine(1) }]), 9);
    bench.join(2, with(&[Engine { rates: rates(10), ..engine(1) }]), 9);
    let paid = Job { map: Class { ceiling: Some(rates(10)), ..class(100) }, ..job() };
    bench.job(1, paid, 5);
    bench.scheduler.set_budget(job_id(1), Some(0));
    assert!(bench.scheduler.place(Micros(0)).is_empty(), "there is no money for a lease");
    let words = bench.scheduler.explain(ClassId { job: job_id(1), stage: Stage::Map }, None, Micros(0));
    let words: Vec<String> = words.iter().map(ToString::to_string).collect();
    assert!(words.iter().any(|line| line.contains("asks 0.000000000000000011 TIDE")), "{words:?}");
    assert!(words.iter().any(|line| line.contains("waits for money")), "{words:?}");
    bench.scheduler.set_budget(job_id(1), Some(1));
    let placed = bench.scheduler.place(Micros(0));
    assert_eq!(
        placed.iter().map(|placement| (placement.at.node, placement.work)).collect::<Vec<_>>(),
        [(node(2), Work::Any(1))]
    );
}

#[test]
fn a_job_that_is_held_is_given_to_nobody() {
    let mut bench = Bench::new();
    bench.join(1, offer(1), 9);
    bench.job(1, job(), 5);
    bench.scheduler.set_held(job_id(1), true);
    assert!(bench.scheduler.place(Micros(0)).is_empty());
    let words = bench.scheduler.explain(ClassId { job: job_id(1), stage: Stage::Map }, None, Micros(0));
    assert!(words[0].to_string().contains("waits for an input"), "{}", words[0]);
    let idle = bench.scheduler.idle_reason(node(1), Micros(0)).to_string();
    assert_eq!(idle, "the job waits for an input that was damaged at the coordinator");
    bench.scheduler.set_held(job_id(1), false);
    assert!(!bench.scheduler.place(Micros(0)).is_empty());
}
