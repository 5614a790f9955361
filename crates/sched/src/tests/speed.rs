//! What placing costs. Not a test: `cargo test --release -p tidemill-sched speed -- --ignored --nocapture`.

use std::time::Instant;

use super::*;

fn report(what: &str, times: u32, mut act: impl FnMut() -> usize) {
    let start = Instant::now();
    let count: usize = (0..times).map(|_| act()).sum();
    let each = start.elapsed().as_secs_f64() * 1e6 / f64::from(times);
    println!("{what}: {each:.1} µs a call, {} leases a call", count / times as usize);
}

#[test]
#[ignore = "prints timings"]
fn speed() {
    let mut small = Bench::new();
    small.known_job(1, job(), 0, Micros(100));
    small.join(1, offer(2), 500);
    small.join(2, offer(2), 500);
    report("2 providers, nothing ready", 10_000, || small.scheduler.place(small.now).len());
    small.scheduler.set_ready(map(1), 10_000_000);
    let mut leases: Vec<LeaseId> = Vec::new();
    for number in 0..1_000 {
        leases.push(small.lease(task(1, number), 1 + (number % 2) as u32));
    }
    report("2 providers, 10M ready, full", 10_000, || small.scheduler.place(small.now).len());
    let mut at = 0;
    report("2 providers, 10M ready, 20 end and are replaced", 10_000, || {
        small.now = small.now.plus(Micros(1_000));
        for lease in &leases[at..at + 20] {
            small.done(*lease, Micros(100));
        }
        at += 20;
        let placements = small.scheduler.place(small.now);
        let count: u64 = placements.iter().map(|placement| placement.work.count()).sum();
        for placement in &placements {
            for index in 0..placement.work.count() {
                let task = task(1, (small.next << 12) + index);
                leases.push(small.lease_as(task, Stage::Map, placement.at, placement.expected));
            }
        }
        count as usize
    });

    for length in [Micros(1_000), ms(1_000), ms(60_000)] {
        let mut large = Bench::new();
        for number in 0..100 {
            large.known_job(number, job(), 100_000, length);
        }
        for number in 0..1_000 {
            large.join(number, offer(16), 64);
        }
        let start = Instant::now();
        let placements = large.scheduler.place(large.now);
        let count: u64 = placements.iter().map(|placement| placement.work.count()).sum();
        println!("1000 idle providers, 100 jobs of {length}: {:?} for {count} leases", start.elapsed());
        let start = Instant::now();
        let mut leases = Vec::new();
        for placement in &placements {
            for _ in 0..placement.work.count() {
                let task = TaskId { job: placement.class.job, task: TaskNumber(large.next) };
                leases.push(large.lease_as(task, Stage::Map, placement.at, placement.expected));
            }
        }
        println!("  leased: {:.2} µs each", start.elapsed().as_secs_f64() * 1e6 / count as f64);
        report("  full", 100, || large.scheduler.place(large.now).len());
        large.now = large.now.plus(length);
        let start = Instant::now();
        for lease in &leases[..1_000] {
            large.done(*lease, length);
        }
        println!("  ended: {:.2} µs each", start.elapsed().as_secs_f64() * 1e6 / 1_000.0);
        report("  1000 slots free", 100, || large.scheduler.place_and_take_back(large.now));
        for number in 0..100 {
            large.scheduler.set_ready(map(number), 3);
        }
        report("  1000 slots free, each job has 3 tasks left", 100, || {
            large.scheduler.place_and_take_back(large.now)
        });
        for number in 0..100 {
            large.scheduler.set_ready(map(number), 0);
        }
        report("  1000 slots free, nothing ready, copies", 100, || large.scheduler.place(large.now).len());
    }
}

impl Scheduler {
    /// Places, and makes what was placed ready again.
    fn place_and_take_back(&mut self, now: Micros) -> usize {
        let placements = self.place(now);
        let mut count = 0;
        for placement in &placements {
            if let Work::Any(some) = placement.work
                && let Some(class) =
                    self.jobs.get_mut(&placement.class.job).and_then(|job| job.class_mut(Stage::Map))
            {
                class.ready += u64::from(some);
                count += some as usize;
            }
        }
        count
    }
}
