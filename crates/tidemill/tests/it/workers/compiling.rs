//! Programs that are hard to compile.

use std::{
    thread,
    time::{Duration, Instant},
};

use tidemill_exec::{Cancel, CompileLimits};
use tidemill_types::{ByteSize, Failure, Millis, Weight};

use super::{pool, pool_with, task_of};
use crate::{
    heavy::heavy,
    puppet::puppet,
    support::{SOON, deep},
};

/// Takes minutes: it reaches the default limit.
fn minutes() -> Vec<u8> {
    heavy(60, 2_000, 2_000)
}

/// Takes GiBs: it reaches the default limit.
fn gibs() -> Vec<u8> {
    heavy(1, 3_000, 20_000)
}

#[test]
fn that_takes_minutes_meets_its_limit() {
    let limits = match deep() {
        true => CompileLimits::default(),
        false => CompileLimits { time: Millis(1_000), ..CompileLimits::default() },
    };
    let pool = pool_with(limits);
    let begun = Instant::now();
    let failure = pool.prepare(&minutes()).expect_err("it takes too long");
    assert_eq!(failure, Failure::CompileTime { limit: limits.time });
    assert_eq!(failure.weight(), Weight::Circumstance);
    let most = 10 * limits.time.duration() + Duration::from_secs(20);
    assert!(begun.elapsed() < most, "it took {:?}", begun.elapsed());
    assert!(pool.entries().is_empty(), "{:?}", pool.entries());
    pool.sanity_check_that_it_goes_on();
}

#[test]
fn that_takes_gibs_meets_its_limit() {
    let mib = if deep() { vec![3072] } else { vec![256, 384] };
    for memory in mib.into_iter().map(ByteSize::mib) {
        let pool = pool_with(CompileLimits { memory, ..CompileLimits::default() });
        let failure = pool.prepare(&gibs()).expect_err("it takes too much");
        assert_eq!(failure, Failure::CompileMemory { limit: memory });
        assert_eq!(failure.weight(), Weight::Circumstance);
        assert!(pool.entries().is_empty(), "{:?}", pool.entries());
        pool.sanity_check_that_it_goes_on();
    }
}

#[test]
fn that_is_cancelled_ends() {
    let pool = pool();
    let cancel = Cancel::default();
    thread::scope(|scope| {
        let compiling = scope.spawn(|| pool.prepare_until(&minutes(), &cancel));
        let worker = pool.new_worker(&[]);
        let begun = Instant::now();
        cancel.cancel();
        assert_eq!(compiling.join().expect("no panic"), Err(Failure::Cancelled));
        assert!(begun.elapsed() < SOON, "it took {:?}", begun.elapsed());
        assert!(!worker.is_alive());
    });
    pool.sanity_check_that_it_goes_on();
}

#[test]
fn one_program_does_not_use_up_the_time_of_the_next() {
    let pool = pool_with(CompileLimits { time: Millis(4_000), ..CompileLimits::default() });
    // All are compiled by one worker, and take more than the limit together.
    for loops in 0..4 {
        assert_eq!(pool.prepare(&heavy(1, 700, 1_000 + loops)), Ok(false));
    }
    assert_eq!(pool.workers().len(), 1);
}

#[test]
fn a_running_task_that_needs_a_program_compiled_meets_the_limit_too() {
    let pool = pool_with(CompileLimits { time: Millis(1_000), ..CompileLimits::default() });
    let failure = pool.failure(&task_of(&minutes(), &[]));
    assert!(matches!(failure, Failure::CompileTime { .. }), "{failure:?}");
    pool.sanity_check_that_it_goes_on();
}

#[test]
fn malformed_modules_leave_the_worker_as_it_was() {
    let pool = pool();
    let puppet = puppet();
    assert_eq!(pool.prepare(puppet), Ok(false));
    let workers = pool.workers();
    for len in (0..puppet.len()).step_by(97) {
        pool.prepare(&puppet[..len]).expect_err("it is cut short");
    }
    assert!(matches!(pool.prepare(b"\x7fELF"), Err(Failure::NotWasm { .. })));
    assert_eq!(pool.workers(), workers);
    pool.sanity_check_that_it_goes_on();
}
