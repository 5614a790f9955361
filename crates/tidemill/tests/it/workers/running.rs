//! Programs that are hard on their worker, and workers that die.

use std::{fs, num::NonZeroU64, sync::mpsc::channel, thread, time::Instant};

use rustix::process::Signal;
use tidemill_exec::{Cancel, Chunks, Control, Executor, Follow, OutputBody, Piece};
use tidemill_types::{ByteSize, Failure, Fuel, Limits, Millis, Outcome, Weight};

use super::{endless, failure, limited, pool, task};
use crate::{
    heavy::heavy,
    processes::{Worker, signal},
    puppet::{LARGE_BYTES, echo, puppet},
    support::{LIMIT, SOON, wait_for},
};

/// A behaviour of the puppet, the limit that it is to meet, and how it then fails.
type Hostile = (&'static str, fn(&mut Limits), Failure);

#[test]
fn each_hostile_program_meets_its_own_limit() {
    let pool = pool();
    let mib = ByteSize::mib;
    let hostile: [Hostile; 9] = [
        ("endless", |l| l.fuel = Fuel(1_000_000), Failure::Fuel { limit: Fuel(1_000_000) }),
        ("endless", |l| l.wall_time = Millis(200), Failure::WallTime { limit: Millis(200) }),
        // The puppet grows by 16 pages at a time.
        (
            "bomb",
            |l| l.memory = ByteSize::mib(8),
            Failure::Memory { wanted: ByteSize(132 << 16), limit: mib(8) },
        ),
        ("table", |l| l.table_elements = 1_000, Failure::Table { wanted: 1_001, limit: 1_000 }),
        ("deep", |l| l.stack = ByteSize::kib(64), Failure::Stack { limit: ByteSize::kib(64) }),
        ("deep", |l| l.stack = ByteSize::mib(16), Failure::Stack { limit: mib(16) }),
        ("flood", |l| l.log = ByteSize::kib(10), Failure::Log { limit: ByteSize::kib(10) }),
        ("spill", |l| l.output = ByteSize::mib(1), Failure::Output { limit: mib(1) }),
        ("crowd", |l| l.files = 1_000, Failure::Files { limit: 1_000 }),
    ];
    for (behaviour, change, expected) in hostile {
        let failure = pool.failure(&limited(&[behaviour], change));
        assert_eq!(failure, expected, "{behaviour}");
        assert_eq!(pool.stdout(&["quick", behaviour]), echo(&["quick", behaviour]));
    }
    // None of them took its worker with it.
    assert_eq!(pool.workers().len(), 2, "one for compiling, one for running");
    pool.sanity_check_that_it_goes_on();
}

#[test]
fn programs_that_fail_are_quoted() {
    let pool = pool();
    let failure = pool.failure(&task(&["exit"]));
    assert!(matches!(&failure, Failure::Exit { code: 1, stderr } if !stderr.is_empty()), "{failure:?}");
    let failure = pool.failure(&task(&["trap"]));
    assert!(
        matches!(&failure, Failure::Trap { backtrace, .. } if backtrace[..2] == ["inner", "outer"]),
        "{failure:?}"
    );
    pool.sanity_check_that_it_goes_on();
}

/// The task never ends by itself. Each follow begins with the first byte, whenever it begins.
#[test]
fn a_task_is_followed_while_it_runs() {
    let pool = pool();
    let task = limited(&["tell", "me"], |limits| limits.fuel = Fuel(1 << 60));
    let (follow, cancel) = (Follow::default(), Cancel::default());
    let (sender, pieces) = channel();
    let chunks = Chunks::to(&follow, move |piece: Piece<'_>| {
        let _ = sender.send((piece.follow.get(), piece.offset, piece.bytes.to_vec()));
    });
    let control = Control { cancel: cancel.clone(), chunks, draft: None };
    thread::scope(|scope| {
        let run = scope.spawn(|| pool.pool.run(&task, &control));
        for number in [1, 2] {
            follow.begin(NonZeroU64::new(number).expect("it is not zero"));
            let piece = pieces.recv_timeout(LIMIT).expect("a piece of its output");
            assert_eq!(piece, (number, 0, echo(&["tell", "me"])));
        }
        cancel.cancel();
        assert_eq!(failure(run.join().expect("no panic")), Failure::Cancelled);
    });
    pool.sanity_check_that_it_goes_on();
}

/// More than a socket holds is written at once: the task ends as it would alone, and what is seen of it is a part of it.
#[test]
fn a_task_that_writes_much_does_not_wait_for_who_follows() {
    let pool = pool();
    let (follow, (sender, pieces)) = (Follow::default(), channel());
    let chunks = Chunks::to(&follow, move |piece: Piece<'_>| {
        let _ = sender.send((piece.offset, piece.bytes.len() as u64));
    });
    follow.begin(NonZeroU64::MIN);
    let limit = ByteSize::mib(8);
    let task = limited(&["spill"], |limits| limits.output = limit);
    let report = pool.pool.run(&task, &Control { chunks, ..Control::default() });
    assert_eq!(failure(report), Failure::Output { limit });
    let mut end = 0;
    for (offset, len) in pieces.try_iter() {
        assert!(offset >= end, "a piece comes twice");
        end = offset + len;
    }
    assert!(end <= limit.0, "more is seen than was written");
    assert_eq!(pool.stdout(&["quick"]), echo(&["quick"]));
}

#[test]
fn a_worker_that_is_killed_fails_its_own_task_alone() {
    let pool = pool();
    assert_eq!(pool.stdout(&["quick"]), echo(&["quick"]));
    let known = pool.workers();
    thread::scope(|scope| {
        let bad = scope.spawn(|| pool.failure(&endless()));
        let victim = busy(&known);
        let good = scope.spawn(|| pool.stdout(&["slow"]));
        pool.new_worker(&known);
        signal(victim.0, Signal::KILL);
        let failure = bad.join().expect("no panic");
        assert!(
            matches!(&failure, Failure::WorkerDied { reason } if reason.contains("signal: 9")),
            "{failure:?}"
        );
        assert_eq!(failure.weight(), Weight::Circumstance);
        assert_eq!(good.join().expect("no panic"), echo(&["slow"]));
    });
    assert_eq!(pool.stdout(&["quick"]), echo(&["quick"]));
    pool.sanity_check_that_it_goes_on();
}

/// The one worker of these that computes. The others may be tidying up after an earlier task.
fn busy(workers: &[Worker]) -> Worker {
    let before: Vec<_> = workers.iter().map(|worker| worker.ticks()).collect();
    let computes = |(worker, before): &(&Worker, &u64)| worker.ticks() > **before + 5;
    wait_for("a busy worker", || workers.iter().zip(&before).find(computes).map(|(worker, _)| *worker))
}

#[test]
fn a_worker_that_is_killed_while_it_waits_is_replaced() {
    let pool = pool();
    assert_eq!(pool.stdout(&["quick"]), echo(&["quick"]));
    for worker in pool.workers() {
        signal(worker.0, Signal::KILL);
    }
    wait_for("their end", || pool.workers().is_empty().then_some(()));
    // Whether a task was lost cannot be known, so it is said; the next one has a new worker.
    for _ in 0..2 {
        if let Outcome::Failed(failure) = pool.run(&task(&["quick"])).outcome {
            assert!(matches!(failure, Failure::WorkerDied { .. }), "{failure:?}");
            assert!(failure.worth_retrying_here());
        }
    }
    let _ = pool.prepare(&heavy(1, 1, 1));
    pool.sanity_check_that_it_goes_on();
}

#[test]
fn cancelling_ends_a_running_task() {
    let pool = pool();
    assert_eq!(pool.prepare(puppet()), Ok(false));
    let known = pool.workers();
    let cancel = Cancel::default();
    thread::scope(|scope| {
        let running = scope.spawn(|| failure(pool.run_until(&endless(), &cancel)));
        let worker = pool.new_worker(&known);
        busy(&[worker]);
        let begun = Instant::now();
        cancel.cancel();
        assert_eq!(running.join().expect("no panic"), Failure::Cancelled);
        assert!(begun.elapsed() < SOON, "it took {:?}", begun.elapsed());
        assert!(!worker.is_alive());
    });
    pool.sanity_check_that_it_goes_on();
}

#[test]
fn a_large_output_is_a_file_in_the_spool() {
    let pool = pool();
    for round in ["1", "2"] {
        let report = pool.run(&task(&["large", round]));
        let body = &report.output.as_ref().expect("an output").body;
        assert!(matches!(body, OutputBody::File(_)), "{body:?}");
        assert_eq!(pool.stdout(&["large", round]), [echo(&["large", round]), vec![0; LARGE_BYTES]].concat());
    }
    let report = pool.run(&task(&["quick"]));
    let body = &report.output.as_ref().expect("an output").body;
    assert!(matches!(body, OutputBody::Bytes(_)), "{body:?}");
    // Four outputs, each still there: they belong to whoever received the reports.
    assert_eq!(fs::read_dir(pool.directory.path().join("spool")).expect("the spool").count(), 4);
    pool.sanity_check_that_it_goes_on();
}

#[test]
fn a_spool_that_is_gone_is_the_hosts_trouble() {
    let pool = pool();
    fs::remove_dir_all(pool.directory.path().join("spool")).expect("the spool");
    let failure = pool.failure(&task(&["large"]));
    assert!(matches!(failure, Failure::Host { .. }), "{failure:?}");
    pool.sanity_check_that_it_goes_on();
}

#[test]
fn tasks_run_at_the_same_time() {
    let pool = pool();
    assert_eq!(pool.prepare(puppet()), Ok(false));
    let known = pool.workers();
    let cancel = Cancel::default();
    thread::scope(|scope| {
        let tasks: Vec<_> =
            (0..4).map(|_| scope.spawn(|| failure(pool.run_until(&endless(), &cancel)))).collect();
        wait_for("four workers", || (pool.workers().len() == known.len() + 4).then_some(()));
        cancel.cancel();
        tasks.into_iter().for_each(|task| assert_eq!(task.join().expect("no panic"), Failure::Cancelled));
    });
    pool.sanity_check_that_it_goes_on();
}

#[test]
fn a_dropped_pool_leaves_no_process() {
    let pool = pool();
    thread::scope(|scope| {
        for number in ["1", "2", "3"] {
            let pool = &pool;
            scope.spawn(move || assert_eq!(pool.stdout(&["quick", number]), echo(&["quick", number])));
        }
    });
    let workers = pool.workers();
    assert!(!workers.is_empty());
    drop(pool);
    assert!(workers.iter().all(|worker| !worker.is_alive()), "a worker is left");
}
