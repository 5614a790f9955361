//! What people are told.

use tidemill_types::ByteSize;

use super::*;

#[test]
fn every_provider_is_explained_the_best_first() {
    let mut bench = Bench::new();
    let shared = vec![(blob(1), 3 << 20)];
    bench.known_job(1, Job { map: Class { shared, ..class(100) }, ..job() }, 10, ms(100));
    bench.join(1, offer(2), 9);
    bench.join(2, with(&[Engine { memory: ByteSize::mib(64), ..engine(2) }]), 9);
    bench.join(3, offer(1), 9);
    bench.known_job(2, job(), 0, ms(1_200));
    bench.lease(task(2, 1), 3);
    let words = bench.scheduler.explain(map(1), None, bench.now);
    let words: Vec<_> =
        words.iter().map(ToString::to_string).filter(|line| !line.contains("session")).collect();
    assert_eq!(
        words,
        [
            "node 00000000: a slot is free; 3 MiB to fetch at 10 MiB/s; work 100.0 ms; 90.0 % end well; cost 444.4 ms",
            "node 00000000: 1 slot busy, too long to queue: 1.2 s; a slot gets free in 1.2 s; 3 MiB to fetch at 10 MiB/s; work 100.0 ms; 90.0 % end well; cost 1.4 s",
            "node 00000000: offers 64 MiB of memory, where a task needs 100 MiB",
        ]
    );
    assert!(bench.scheduler.explain(map(9), None, bench.now).is_empty());
}

#[test]
fn a_task_that_somebody_has_waits_for_nobody_else_unless_more_results_are_wanted() {
    let mut bench = Bench::new();
    bench.known_job(1, job(), 10, ms(1_200));
    bench.join(1, offer(1), 9);
    bench.join(2, offer(1), 9);
    bench.lease(task(1, 7), 1);
    bench.lease(task(1, 8), 2);
    let words = |bench: &Bench| {
        let candidates = bench.scheduler.explain(map(1), Some(TaskNumber(7)), bench.now);
        let of = |number| candidates.iter().find(|candidate| candidate.node == node(number));
        [of(1), of(2)].map(|candidate| candidate.map(|of| of.verdict.to_string()).unwrap_or_default())
    };
    let [holder, other] = words(&bench);
    assert_eq!(holder, "has the task");
    assert!(other.starts_with("an attempt of the task runs already"), "{other}");
    bench.scheduler.add_single(Single { beside: true, ..single(task(1, 7)) });
    let [holder, other] = words(&bench);
    assert_eq!(holder, "has the task");
    assert!(other.starts_with("1 slot busy, too long to queue"), "{other}");
}

#[test]
fn an_idle_provider_is_told_why() {
    let mut bench = Bench::new();
    let reason = |bench: &Bench| bench.scheduler.idle_reason(node(1), bench.now).to_string();
    assert_eq!(reason(&bench), "this provider never had a session here");
    bench.join(1, with(&[Engine { memory: ByteSize::mib(64), ..engine(1) }]), 9);
    assert_eq!(reason(&bench), "there are no jobs");
    bench.job(1, job(), 0);
    assert_eq!(reason(&bench), "no task is ready: each is done, leased or waits for others");
    bench.scheduler.set_ready(map(1), 1);
    assert_eq!(reason(&bench), "this provider offers 64 MiB of memory, where a task needs 100 MiB");
    bench.join(1, offer(1), 9);
    assert_eq!(reason(&bench), "this provider is about to be given work");
    bench.place();
    assert_eq!(reason(&bench), "this provider has work: 1 lease");
}
