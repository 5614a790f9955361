//! Arguments, environment, clock, randomness, waiting and ending.

use std::{
    num::NonZeroU64,
    sync::{Arc, Mutex},
};

use tidemill_exec::{Chunks, Control, Follow, Piece};
use tidemill_types::{Failure, Outcome};

use super::support::{Attempt, command, command_with};

/// Writes `len` bytes at `at` to standard output.
fn print(at: u32, len: u32) -> String {
    format!("(call $check (call $write (i32.const 1) (i32.const {at}) (i32.const {len})))")
}

fn stdout(attempt: &Attempt) -> Vec<u8> {
    match attempt.files().as_slice() {
        [(name, bytes)] if name == "stdout" => bytes.clone(),
        other => panic!("only standard output should be left: {other:?}"),
    }
}

fn number(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(bytes.try_into().expect("eight bytes"))
}

#[test]
fn a_program_succeeds_only_by_exit_code_0() {
    assert_eq!(command("").run().outcome, Outcome::Done);
    assert_eq!(command("(call $proc_exit (i32.const 0)) unreachable").run().outcome, Outcome::Done);
    let log = r#"(data (i32.const 0) "no such scene\n")"#;
    let body =
        "(drop (call $write (i32.const 2) (i32.const 0) (i32.const 14))) (call $proc_exit (i32.const 3))";
    let failing = command_with(log, body);
    assert_eq!(failing.failure(), Failure::Exit { code: 3, stderr: "no such scene".to_owned() });
    assert_eq!(failing.run().log, b"no such scene\n");
}

#[test]
fn a_failed_program_leaves_no_output() {
    let body = format!("{} (call $proc_exit (i32.const 1))", print(0, 10));
    assert!(command(&body).run().output.is_none());
}

/// The program never ends by itself: it is cancelled by whoever sees what it wrote.
#[test]
fn what_a_program_writes_is_seen_while_it_runs() {
    let text = r#"(data (i32.const 0) "line\n")"#;
    let attempt = command_with(text, &format!("{} (loop $l (br $l))", print(0, 5)));
    let (follow, seen) = (Follow::default(), Arc::<Mutex<Vec<_>>>::default());
    let (cancel, to) = (attempt.cancel.clone(), seen.clone());
    let chunks = Chunks::to(&follow, move |piece: Piece<'_>| {
        to.lock().expect("nobody panicked").push((piece.offset, piece.bytes.to_vec()));
        cancel.cancel();
    });
    follow.begin(NonZeroU64::MIN);
    let report = attempt.run_under(&Control { cancel: attempt.cancel.clone(), chunks, draft: None });
    assert_eq!(report.outcome, Outcome::Failed(Failure::Cancelled));
    assert_eq!(*seen.lock().expect("nobody panicked"), [(0, b"line\n".to_vec())]);
}

#[test]
fn a_result_does_not_depend_on_being_followed() {
    let attempt = command(&format!("{} (call $expect (i32.const 1) (i32.const 1))", print(0, 100)));
    let follow = Follow::default();
    follow.begin(NonZeroU64::MIN);
    let chunks = Chunks::to(&follow, |_: Piece<'_>| {});
    let followed = attempt.run_under(&Control { cancel: attempt.cancel.clone(), chunks, draft: None });
    let alone = attempt.run();
    assert_eq!(followed.outcome, alone.outcome);
    assert_eq!(followed.usage, alone.usage);
    assert_eq!(followed.output.map(|output| output.id), alone.output.map(|output| output.id));
}

#[test]
fn arguments_and_their_sizes_arrive() {
    let mut attempt =
        command(&format!("(call $check (call $args_sizes_get (i32.const 0) (i32.const 4))) {}", print(0, 8)));
    attempt.spec.args = vec!["prog".into(), "7".into(), String::new()];
    // Three strings, "prog\0" "7\0" "\0".
    assert_eq!(stdout(&attempt), [3, 0, 0, 0, 8, 0, 0, 0]);
}

#[test]
fn the_clock_is_made_of_fuel_and_sleep() {
    let read = |clock: u32, at: u32| {
        format!("(call $check (call $clock_time_get (i32.const {clock}) (i64.const 1) (i32.const {at})))")
    };
    // A relative sleep of an hour on the monotonic clock.
    let sleep = "(i32.store8 (i32.const 108) (i32.const 0)) (i32.store (i32.const 116) (i32.const 1))
        (i64.store (i32.const 124) (i64.const 3600000000000))
        (call $check (call $poll_oneoff (i32.const 100) (i32.const 200) (i32.const 1) (i32.const 300)))
        (call $expect (i32.load (i32.const 300)) (i32.const 1))";
    let body =
        format!("{} {} {} {sleep} {} {}", read(1, 0), read(1, 8), read(0, 24), read(1, 16), print(0, 32));
    let attempt = command(&body);
    let begun = std::time::Instant::now();
    let bytes = stdout(&attempt);
    assert!(begun.elapsed().as_secs() < 60, "sleeping takes no real time");
    let [first, second, after, day] = [0, 8, 16, 24].map(|at| number(&bytes[at..at + 8]));
    assert!(first > 0 && second > first, "{first} {second}");
    assert!(after - second > 3_600_000_000_000 && after - second < 3_600_001_000_000);
    let new_year_2026 = 1_767_225_600_000_000_000;
    assert!(day > new_year_2026 && day < new_year_2026 + 1_000_000);
    assert_eq!(stdout(&attempt), bytes, "the clock is the same run after run");
}

#[test]
fn a_loop_that_waits_for_a_time_ends() {
    let body = "(loop $l
        (call $check (call $clock_time_get (i32.const 1) (i64.const 1) (i32.const 0)))
        (br_if $l (i64.lt_u (i64.load (i32.const 0)) (i64.const 1000000))))";
    assert_eq!(command(body).run().outcome, Outcome::Done);
}

#[test]
fn randomness_comes_from_the_task_alone() {
    let body = format!(
        "(call $check (call $random_get (i32.const 0) (i32.const 10)))
        (call $check (call $random_get (i32.const 10) (i32.const 90))) {}",
        print(0, 100)
    );
    let attempt = command(&body);
    let bytes = stdout(&attempt);
    assert_eq!(stdout(&attempt), bytes);
    let mut distinct = bytes.clone();
    distinct.sort_unstable();
    distinct.dedup();
    assert!(distinct.len() > 50, "{bytes:?}");
    for change in [(|a: &mut Attempt| a.spec.seed = 1) as fn(&mut Attempt), |a| a.spec.args.push("x".into())]
    {
        let mut other = attempt.clone();
        change(&mut other);
        assert_ne!(stdout(&other), bytes);
    }
    let mut roomier = attempt;
    roomier.spec.limits.files += 1;
    assert_eq!(stdout(&roomier), bytes, "limits do not change what is computed");
}

#[test]
fn addresses_outside_of_memory_are_refused() {
    const EFAULT: u32 = 21;
    for call in [
        "(call $random_get (i32.const -1) (i32.const 10))",
        "(call $random_get (i32.const 0) (i32.const -1))",
        "(call $args_sizes_get (i32.const -4) (i32.const 0))",
        "(call $fd_write (i32.const 1) (i32.const -8) (i32.const 2) (i32.const 0))",
        "(call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const -1))",
        "(call $poll_oneoff (i32.const -1) (i32.const 0) (i32.const 1) (i32.const 0))",
        "(call $poll_oneoff (i32.const 0) (i32.const 0) (i32.const 4000) (i32.const 0))",
        "(call $path_open (i32.const 3) (i32.const 0) (i32.const -1) (i32.const 9) (i32.const 0) (i64.const 0)
            (i64.const 0) (i32.const 0) (i32.const 0))",
    ] {
        let body = format!("(call $expect {call} (i32.const {EFAULT}))");
        assert_eq!(command(&body).run().outcome, Outcome::Done, "{call}");
    }
}
