//! Each limit, reached on purpose: the task ends with that limit's own failure, and the executor goes on.

use std::time::{Duration, Instant};

use tidemill_exec::Cancel;
use tidemill_types::{ByteSize, Failure, Fuel, Millis, TrapKind, Weight};

use super::support::{attempt, binary, command, command_with};

#[test]
fn an_endless_loop_burns_its_fuel() {
    let failure = command("(loop $l (br $l))").limits(|l| l.fuel = Fuel(1_000_000)).failure();
    assert_eq!(failure, Failure::Fuel { limit: Fuel(1_000_000) });
    assert_eq!(failure.weight(), Weight::Evidence);
}

#[test]
fn an_endless_loop_of_host_calls_burns_its_fuel() {
    let body = "(loop $l (drop (call $sched_yield)) (br $l))";
    let report = command(body).limits(|l| l.fuel = Fuel(10_000_000)).run();
    assert!(report.usage.host_calls > 10_000);
    assert_eq!(
        command(body).limits(|l| l.fuel = Fuel(10_000_000)).failure(),
        Failure::Fuel { limit: Fuel(10_000_000) }
    );
}

/// A program with fuel for ever and a wall time of 100 ms is ended by that, and soon.
fn assert_out_of_time(body: &str, soon: Duration) {
    let begun = Instant::now();
    let failure = command(body)
        .limits(|l| {
            l.wall_time = Millis(100);
            l.fuel = Fuel(1 << 60);
        })
        .failure();
    assert_eq!(failure, Failure::WallTime { limit: Millis(100) });
    assert_eq!(failure.weight(), Weight::Circumstance);
    assert!(begun.elapsed() < soon, "it took {:?}", begun.elapsed());
}

#[test]
fn wall_time_ends_loops_that_have_fuel_left() {
    for body in ["(loop $l (br $l))", "(loop $l (drop (call $sched_yield)) (br $l))"] {
        assert_out_of_time(body, Duration::from_secs(10));
    }
}

#[test]
fn host_calls_do_not_put_off_the_look_at_the_clock() {
    // Four million units of fuel, then a call, again and again: the store's own interval never ends.
    let body = "(local $n i32)
        (loop $l
            (local.set $n (i32.const 500000))
            (loop $m (br_if $m (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
            (drop (call $sched_yield))
            (br $l))";
    assert_out_of_time(body, Duration::from_secs(3));
}

#[test]
fn cancelling_ends_a_running_task() {
    let cancel = Cancel::default();
    let mut endless = command("(loop $l (br $l))").limits(|l| l.fuel = Fuel(1 << 60));
    endless.cancel = cancel.clone();
    std::thread::scope(|scope| {
        let running = scope.spawn(|| endless.failure());
        cancel.cancel();
        assert_eq!(running.join().expect("no panic"), Failure::Cancelled);
    });
}

#[test]
fn filling_memory_is_paid_by_the_byte() {
    let body = "(drop (memory.grow (i32.const 1000)))
        (loop $l (memory.fill (i32.const 0) (i32.const 1) (i32.const 60000000)) (br $l))";
    let begun = Instant::now();
    let failure = command(body).limits(|l| l.fuel = Fuel(1_000_000_000)).failure();
    assert_eq!(failure, Failure::Fuel { limit: Fuel(1_000_000_000) });
    assert!(begun.elapsed() < Duration::from_secs(20), "it took {:?}", begun.elapsed());
}

#[test]
fn a_memory_bomb_meets_its_limit() {
    let body = "(loop $l (drop (memory.grow (i32.const 16))) (br $l))";
    let failure = command(body).limits(|l| l.memory = ByteSize::mib(8)).failure();
    assert!(matches!(failure, Failure::Memory { limit, .. } if limit == ByteSize::mib(8)), "{failure:?}");
    assert_eq!(failure.weight(), Weight::Circumstance);
}

#[test]
fn a_module_that_begins_with_too_much_memory_is_ended_too() {
    let text = r#"(module (memory (export "memory") 1000) (func (export "_start")))"#;
    let failure = attempt(text).limits(|l| l.memory = ByteSize::mib(8)).failure();
    assert_eq!(failure, Failure::Memory { wanted: ByteSize(65_536_000), limit: ByteSize::mib(8) });
}

#[test]
fn past_its_own_maximum_a_module_is_told_so() {
    for pages in ["1", "65536"] {
        let text = format!(
            r#"(module (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
                (memory (export "memory") 1 2)
                (func (export "_start")
                    (call $exit (i32.ne (i32.const -1) (memory.grow (i32.const {pages}))))))"#
        );
        let refused = attempt(&text).run();
        let expected = if pages == "1" { 1 } else { 0 };
        match refused.outcome {
            tidemill_types::Outcome::Done => assert_eq!(expected, 0),
            tidemill_types::Outcome::Failed(Failure::Exit { code, .. }) => assert_eq!(code, expected),
            other => panic!("{other:?}"),
        }
    }
    // Beyond what 32 bits can address, without a maximum of its own.
    let body = "(call $expect (i32.const -1) (memory.grow (i32.const 65535)))";
    assert_eq!(command(body).limits(|l| l.memory = ByteSize::mib(4096)).files(), []);
    let table = "(table $t 1 5 funcref)";
    let body = "(call $expect (i32.const -1) (table.grow $t (ref.null func) (i32.const 5)))";
    assert_eq!(command_with(table, body).files(), []);
}

#[test]
fn a_table_bomb_meets_its_limit() {
    let table = "(table $t 1 funcref)";
    for delta in [100, 2_000_000] {
        let body = format!("(loop $l (drop (table.grow $t (ref.null func) (i32.const {delta}))) (br $l))");
        let failure = command_with(table, &body).limits(|l| l.table_elements = 10_000).failure();
        assert!(matches!(failure, Failure::Table { limit: 10_000, .. }), "{failure:?}");
        assert_eq!(failure.weight(), Weight::Evidence);
    }
    let tables = "(table 6000 funcref) (table 6000 funcref)";
    let failure = command_with(tables, "").limits(|l| l.table_elements = 10_000).failure();
    assert_eq!(failure, Failure::Table { wanted: 12_000, limit: 10_000 });
}

#[test]
fn too_many_tables_are_refused() {
    let failure = command_with(&"(table 1 funcref)".repeat(17), "").failure();
    assert!(matches!(failure, Failure::ModuleTooLarge { .. }), "{failure:?}");
}

#[test]
fn deep_recursion_meets_the_stack() {
    let recursion = "(func $deep (param i64) (result i64)
        (i64.add (local.get 0) (call $deep (i64.add (local.get 0) (i64.const 1)))))";
    for stack in [ByteSize::kib(64), ByteSize::mib(16)] {
        let failure = command_with(recursion, "(drop (call $deep (i64.const 0)))")
            .limits(|l| l.stack = stack)
            .failure();
        assert_eq!(failure, Failure::Stack { limit: stack });
        assert_eq!(failure.weight(), Weight::Circumstance);
    }
}

/// Opens `/out/f` for writing.
const OPEN_F: &str =
    "(call $check (call $open (i32.const 0) (i32.const 5) (i32.const 1) (i64.const 0x1ffff)))";
const F: &str = r#"(data (i32.const 0) "out/f")"#;

#[test]
fn output_over_its_quota_ends_the_task() {
    let flood = [
        format!("{OPEN_F} (loop $l (drop (call $write (call $fd) (i32.const 0) (i32.const 60000))) (br $l))"),
        "(loop $l (drop (call $write (i32.const 1) (i32.const 0) (i32.const 60000))) (br $l))".to_owned(),
        // One huge allocation, and one write far away.
        format!("{OPEN_F} (call $check (call $fd_allocate (call $fd) (i64.const 0) (i64.const 2000000)))"),
        format!(
            "{OPEN_F} (i32.store (i32.const 100) (i32.const 0)) (i32.store (i32.const 104) (i32.const 1))
            (call $check (call $fd_pwrite (call $fd) (i32.const 100) (i32.const 1) (i64.const 2000000) (i32.const 200)))"
        ),
    ];
    for body in flood {
        let failure = command_with(F, &body).limits(|l| l.output = ByteSize(1_000_000)).failure();
        assert_eq!(failure, Failure::Output { limit: ByteSize(1_000_000) }, "{body}");
        assert_eq!(failure.weight(), Weight::Evidence);
    }
}

#[test]
fn a_file_with_many_names_counts_once_for_each_in_the_output() {
    let data = r#"(data (i32.const 0) "out/") (data (i32.const 20) "out/f")"#;
    let open = "(call $check (call $open (i32.const 20) (i32.const 5) (i32.const 1) (i64.const 0x1ffff)))
        (call $check (call $fd_allocate (call $fd) (i64.const 0) (i64.const 10000)))";
    let link =
        "(call $check (call $path_link (i32.const 3) (i32.const 0) (i32.const 20) (i32.const 5) (i32.const 3)
        (i32.const 0) (i32.const 8)))";
    let body = many_names(link).replace("60000", "99").replacen(
        "(local $n i32)",
        &format!("(local $n i32) {open}"),
        1,
    );
    let attempt = command_with(data, &body);
    assert_eq!(attempt.files().len(), 100);
    let failure = attempt.limits(|l| l.output = ByteSize(500_000)).failure();
    assert_eq!(failure, Failure::Output { limit: ByteSize(500_000) });
}

#[test]
fn an_output_of_endless_paths_is_refused() {
    // Fifteen directories deep, each with a name of 250 letters, then sixty thousand files.
    let name = "d".repeat(250);
    let data = format!(r#"(data (i32.const 0) "out/") (data (i32.const 1000) "{name}")"#);
    let descend = "(local $d i32) (local $i i32)
        (call $check (call $path_open (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 3) (i32.const 2)
            (i64.const 0) (i64.const -1) (i32.const 0) (i32.const 65548)))
        (loop $down
            (local.set $d (call $fd))
            (call $check (call $path_create_directory (local.get $d) (i32.const 1000) (i32.const 250)))
            (call $check (call $path_open (local.get $d) (i32.const 0) (i32.const 1000) (i32.const 250) (i32.const 2)
                (i64.const 0) (i64.const -1) (i32.const 0) (i32.const 65548)))
            (br_if $down (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 15))))
        (local.set $d (call $fd))";
    let file =
        "(call $check (call $path_open (local.get $d) (i32.const 0) (i32.const 4) (i32.const 4) (i32.const 1)
            (i64.const 0) (i64.const 0) (i32.const 0) (i32.const 65548)))
        (call $check (call $fd_close (call $fd)))";
    let body = many_names(file).replacen("(local $n i32)", &format!("(local $n i32) {descend}"), 1);
    let failure = command_with(&data, &body).limits(|l| l.files = 100_000).failure();
    assert!(matches!(failure, Failure::BadOutput { .. }), "{failure:?}");
}

#[test]
fn a_path_that_leads_nowhere_is_paid_for() {
    // A link of a thousand `./`, followed to a name that is not there.
    let data = format!(
        r#"(data (i32.const 0) "out/l") (data (i32.const 10) "out/l/x") (data (i32.const 100) "{}")"#,
        "./".repeat(1_000)
    );
    let body = "(call $check (call $path_symlink (i32.const 100) (i32.const 2000) (i32.const 3) (i32.const 0) (i32.const 5)))
        (loop $l (drop (call $open (i32.const 10) (i32.const 7) (i32.const 0) (i64.const 2))) (br $l))";
    let report = command_with(&data, body).limits(|l| l.fuel = Fuel(100_000_000)).run();
    assert!(report.usage.host_calls < 1_100, "{:?}", report.usage);
}

#[test]
fn a_sparse_terabyte_is_refused_before_it_is_made() {
    let body = format!(
        "{OPEN_F} (call $check (call $fd_allocate (call $fd) (i64.const 0) (i64.const 1000000000000)))"
    );
    let begun = Instant::now();
    // Room is looked at before fuel, of which there is not enough for so many bytes.
    let failure = command_with(F, &body).failure();
    assert!(matches!(failure, Failure::Output { .. }), "{failure:?}");
    assert!(begun.elapsed() < Duration::from_secs(5));
}

/// Makes ever new names `out/xxxx` and does something with each.
fn many_names(action: &str) -> String {
    format!(
        "(local $n i32)
        (loop $l
            (i32.store (i32.const 4) (i32.add (i32.const 0x41414141)
                (i32.add (i32.and (local.get $n) (i32.const 15))
                (i32.add (i32.shl (i32.and (local.get $n) (i32.const 0xf0)) (i32.const 4))
                (i32.add (i32.shl (i32.and (local.get $n) (i32.const 0xf00)) (i32.const 8))
                (i32.shl (i32.and (local.get $n) (i32.const 0xf000)) (i32.const 12)))))))
            {action}
            (local.set $n (i32.add (local.get $n) (i32.const 1)))
            (br_if $l (i32.lt_u (local.get $n) (i32.const 60000))))"
    )
}

#[test]
fn a_million_files_meet_their_limit() {
    let out = r#"(data (i32.const 0) "out/")"#;
    let file = "(call $check (call $open (i32.const 0) (i32.const 8) (i32.const 1) (i64.const 0x1ffff)))
        (call $check (call $fd_close (call $fd)))";
    let directory = "(call $check (call $path_create_directory (i32.const 3) (i32.const 0) (i32.const 8)))";
    let link = "(call $check (call $path_symlink (i32.const 0) (i32.const 1) (i32.const 3) (i32.const 0) (i32.const 8)))";
    for action in [file, directory, link] {
        let failure = command_with(out, &many_names(action)).limits(|l| l.files = 5_000).failure();
        assert_eq!(failure, Failure::Files { limit: 5_000 }, "{action}");
        assert_eq!(failure.weight(), Weight::Evidence);
    }
    // Removing makes room again.
    let again = format!(
        "{directory} (call $check (call $path_remove_directory (i32.const 3) (i32.const 0) (i32.const 8)))"
    );
    assert_eq!(command_with(out, &many_names(&again)).limits(|l| l.files = 2).files(), []);
}

#[test]
fn open_descriptors_are_bounded_and_the_program_is_told() {
    let body = "(local $n i32) (local $e i32)
        (loop $l
            (local.set $e (call $open (i32.const 0) (i32.const 3) (i32.const 0) (i64.const 0)))
            (local.set $n (i32.add (local.get $n) (i32.const 1)))
            (br_if $l (i32.eqz (local.get $e))))
        (call $expect (local.get $e) (i32.const 33))
        (call $expect (local.get $n) (i32.const 1021))";
    assert_eq!(command_with(r#"(data (i32.const 0) "out")"#, body).files(), []);
}

#[test]
fn a_log_flood_meets_its_limit_and_keeps_its_beginning() {
    let body = "(loop $l (drop (call $write (i32.const 2) (i32.const 0) (i32.const 999))) (br $l))";
    let flood = command_with(r#"(data (i32.const 0) "head")"#, body).limits(|l| l.log = ByteSize(10_000));
    let report = flood.run();
    assert_eq!(report.log.len(), 10_000);
    assert!(report.log.starts_with(b"head"));
    assert_eq!(flood.failure(), Failure::Log { limit: ByteSize(10_000) });
}

#[test]
fn a_failed_task_leaves_the_executor_as_it_was() {
    let good = command_with(
        F,
        &format!("{OPEN_F} (call $check (call $write (call $fd) (i32.const 0) (i32.const 3)))"),
    );
    let before = good.run();
    for _ in 0..3 {
        command("unreachable").failure();
        command("(loop $l (drop (memory.grow (i32.const 16))) (br $l))").failure();
        command("(loop $l (br $l))").limits(|l| l.fuel = Fuel(1_000)).failure();
    }
    let after = good.run();
    assert_eq!(before.usage, after.usage);
    assert_eq!(before.output.map(|o| o.id), after.output.map(|o| o.id));
}

#[test]
fn traps_say_where() {
    let text = r#"(module (memory (export "memory") 1)
        (func $inner unreachable) (func $outer (call $inner)) (func (export "_start") (call $outer)))"#;
    match attempt(text).failure() {
        Failure::Trap { kind: TrapKind::Unreachable, backtrace, .. } => {
            assert_eq!(backtrace, ["inner", "outer", "function 2"]);
        }
        other => panic!("{other:?}"),
    }
    for (body, kind) in [
        ("(drop (i32.div_u (i32.const 1) (i32.const 0)))", TrapKind::DivisionByZero),
        ("(drop (i32.load (i32.const -4)))", TrapKind::MemoryOutOfBounds),
        ("(drop (i32.trunc_f64_s (f64.const nan)))", TrapKind::BadConversion),
    ] {
        assert!(matches!(command(body).failure(), Failure::Trap { kind: found, .. } if found == kind));
    }
}

#[test]
fn malformed_modules_are_refused() {
    let good = wat::parse_str(r#"(module (memory (export "memory") 1) (func (export "_start")))"#)
        .expect("well formed");
    for len in 8..good.len() {
        binary(good[..len].to_vec()).failure();
    }
    assert!(matches!(binary(b"hello".to_vec()).failure(), Failure::NotWasm { .. }));
    assert!(matches!(binary(Vec::new()).failure(), Failure::NotWasm { .. }));
    let ill_typed = r#"(module (memory (export "memory") 1) (func (export "_start") (i32.const 1)))"#;
    assert!(matches!(attempt(ill_typed).failure(), Failure::InvalidModule { .. }));
    for proposal in ["(memory i64 1)", "(memory 1 1 shared)"] {
        let text = format!(r#"(module {proposal} (memory (export "memory") 1) (func (export "_start")))"#);
        assert!(matches!(attempt(&text).failure(), Failure::InvalidModule { .. }), "{proposal}");
    }
}

#[test]
fn an_import_of_another_type_is_refused() {
    let text = r#"(module (import "wasi_snapshot_preview1" "fd_write" (func (param f64)))
        (memory (export "memory") 1) (func (export "_start")))"#;
    assert!(matches!(attempt(text).failure(), Failure::ImportNotOffered { .. }));
    let text = r#"(module (memory (export "memory") 1) (func (export "_start") (param i32)))"#;
    let failure = attempt(text).failure();
    assert!(matches!(failure, Failure::NotCommand { .. }), "{failure:?}");
}
