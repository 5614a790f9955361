//! A guest program that does what its first argument says, so that one compiled program serves most tests.

use std::sync::LazyLock;

/// The program.
///
/// | arguments | what it does |
/// | --- | --- |
/// | `quick …` | writes its arguments to standard output, each with a zero byte at its end |
/// | `slow …` | the same after some tenths of a second of work |
/// | `lines …` | writes its arguments twenty times, with some tenths of a second of work after each |
/// | `tell …` | writes its arguments once and never ends |
/// | `large …` | the same as `quick`, then a MiB of zeros |
/// | `environ` | writes its environment to standard output, each variable with a zero byte at its end |
/// | `copy PATH` | writes the file to standard output |
/// | `count PATH` | reads the file and writes its length as eight bytes, the least first |
/// | `save PATH` | writes a file with its arguments |
/// | `nans` | writes 0/0 as an `f32` and as an `f64` |
/// | `mumble …` | as `quick`, and says something on standard error |
/// | `exit` | explains itself on standard error and ends with code 1 |
/// | `trap` | traps in a function `inner`, called by `outer` |
/// | `endless` | never ends |
/// | `bomb` | asks for ever more memory |
/// | `table` | asks for ever more elements of a table |
/// | `deep` | calls itself ever deeper |
/// | `flood` | writes ever more to standard error |
/// | `spill` | writes ever more to standard output |
/// | `crowd` | makes ever more directories |
pub fn puppet() -> &'static [u8] {
    static PUPPET: LazyLock<Vec<u8>> =
        LazyLock::new(|| wat::parse_str(text()).expect("the test's program is well formed"));
    &PUPPET
}

/// What `mumble` and `exit` say on standard error.
pub const COMPLAINT: &str = "the puppet does not like this";

/// What `quick` writes with these arguments.
pub fn echo(args: &[&str]) -> Vec<u8> {
    [&["program"], args].concat().iter().flat_map(|arg| [arg.as_bytes(), b"\0"].concat()).collect()
}

/// What `large` writes after its arguments.
pub const LARGE_BYTES: usize = 1 << 20;

/// The first four bytes of a behaviour's name, as the program compares them.
fn word(name: &str) -> i32 {
    let mut bytes = [0; 4];
    let len = name.len().min(4);
    bytes[..len].copy_from_slice(&name.as_bytes()[..len]);
    i32::from_le_bytes(bytes)
}

fn text() -> String {
    let behaviours = [
        ("quick", "(call $write_args (i32.const 1))"),
        ("slow", "(call $work) (call $write_args (i32.const 1))"),
        (
            "lines",
            "(local $n i32)
            (loop $l
                (call $write_args (i32.const 1))
                (call $work)
                (local.set $n (i32.add (local.get $n) (i32.const 1)))
                (br_if $l (i32.lt_u (local.get $n) (i32.const 20))))",
        ),
        ("tell", "(call $write_args (i32.const 1)) (loop $l (br $l))"),
        (
            "large",
            "(call $write_args (i32.const 1)) (call $write (i32.const 1) (i32.const 131072) (i32.const 1048576))",
        ),
        (
            "environ",
            "(drop (call $environ_sizes_get (i32.const 0) (i32.const 4)))
            (drop (call $environ_get (i32.const 1024) (i32.const 65536)))
            (call $write (i32.const 1) (i32.const 65536) (i32.load (i32.const 4)))",
        ),
        ("copy", "(drop (call $read_all (i32.const 1)))"),
        (
            "count",
            "(i64.store (i32.const 48) (call $read_all (i32.const 0)))
            (call $write (i32.const 1) (i32.const 48) (i32.const 8))",
        ),
        ("save", "(call $open (i32.const 1)) (call $write_args (i32.load (i32.const 28)))"),
        (
            "nans",
            "(f32.store (i32.const 48) (f32.div (f32.load (i32.const 131072)) (f32.load (i32.const 131076))))
            (f64.store (i32.const 52) (f64.div (f64.load (i32.const 131072)) (f64.load (i32.const 131080))))
            (call $write (i32.const 1) (i32.const 48) (i32.const 12))",
        ),
        (
            "mumble",
            "(call $write_args (i32.const 1)) (call $write (i32.const 2) (i32.const 64) (i32.const $complaint))",
        ),
        (
            "exit",
            "(call $write (i32.const 2) (i32.const 64) (i32.const $complaint)) (call $proc_exit (i32.const 1))",
        ),
        ("trap", "(call $outer)"),
        ("endless", "(loop $l (br $l))"),
        ("bomb", "(loop $l (drop (memory.grow (i32.const 16))) (br $l))"),
        ("table", "(loop $l (drop (table.grow $t (ref.null func) (i32.const 100))) (br $l))"),
        ("deep", "(drop (call $deeper (i64.const 0)))"),
        ("flood", "(loop $l (call $write (i32.const 2) (i32.const 131072) (i32.const 999)) (br $l))"),
        ("spill", "(loop $l (call $write (i32.const 1) (i32.const 131072) (i32.const 60000)) (br $l))"),
        (
            "crowd",
            "(local $n i32)
            (loop $l
                (call $name (i32.const 36) (local.get $n))
                (call $check (call $path_create_directory (i32.const 3) (i32.const 32) (i32.const 8)))
                (local.set $n (i32.add (local.get $n) (i32.const 1)))
                (br $l))",
        ),
    ];
    let functions: String = behaviours
        .iter()
        .map(|(name, body)| {
            let body = body.replace("$complaint", &(COMPLAINT.len() + 1).to_string());
            format!("(func ${name} {body})\n")
        })
        .collect();
    let choices: String = behaviours
        .iter()
        .map(|(name, _)| {
            format!(
                "(if (i32.eq (local.get $what) (i32.const {})) (then (call ${name}) (return)))\n",
                word(name)
            )
        })
        .collect();
    format!(
        r#"(module
    (import "wasi_snapshot_preview1" "args_get" (func $args_get (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "args_sizes_get" (func $args_sizes_get (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "environ_get" (func $environ_get (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "environ_sizes_get" (func $environ_sizes_get (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_read" (func $fd_read (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_create_directory" (func $path_create_directory (param i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_open" (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
    ;; 0 count and 4 size of the arguments, 16 an I/O vector, 24 its result, 28 a descriptor, 32 a path,
    ;; 48 numbers, 64 the complaint, 1024 pointers, 4096 the arguments, 65536 a buffer, 131072 zeros.
    (memory (export "memory") 20)
    (table $t 1 funcref)
    (data (i32.const 32) "out/")
    (data (i32.const 64) "{COMPLAINT}\n")
    (func $check (param $errno i32)
        (if (local.get $errno) (then (call $proc_exit (i32.add (i32.const 100) (local.get $errno))))))
    (func $write (param $fd i32) (param $at i32) (param $len i32)
        (i32.store (i32.const 16) (local.get $at))
        (i32.store (i32.const 20) (local.get $len))
        (call $check (call $fd_write (local.get $fd) (i32.const 16) (i32.const 1) (i32.const 24))))
    (func $write_args (param $fd i32)
        (call $write (local.get $fd) (i32.const 4096) (i32.load (i32.const 4))))
    ;; Opens the path in the second argument; the descriptor is left at 28.
    (func $open (param $oflags i32)
        (local $path i32) (local $len i32)
        (local.set $path (i32.load (i32.const 1032)))
        ;; Paths are relative to the root, which is opened already.
        (if (i32.eq (i32.load8_u (local.get $path)) (i32.const 47))
            (then (local.set $path (i32.add (local.get $path) (i32.const 1)))))
        (loop $l
            (if (i32.load8_u (i32.add (local.get $path) (local.get $len)))
                (then (local.set $len (i32.add (local.get $len) (i32.const 1))) (br $l))))
        (call $check (call $path_open (i32.const 3) (i32.const 1) (local.get $path) (local.get $len)
            (local.get $oflags) (select (i64.const 0x40) (i64.const 2) (local.get $oflags)) (i64.const 0) (i32.const 0) (i32.const 28))))
    ;; Reads the file in the second argument to its end, and copies it where a descriptor is given.
    (func $read_all (param $to i32) (result i64)
        (local $sum i64) (local $got i32)
        (call $open (i32.const 0))
        (loop $l
            (i32.store (i32.const 16) (i32.const 65536))
            (i32.store (i32.const 20) (i32.const 65536))
            (call $check (call $fd_read (i32.load (i32.const 28)) (i32.const 16) (i32.const 1) (i32.const 24)))
            (local.set $got (i32.load (i32.const 24)))
            (local.set $sum (i64.add (local.get $sum) (i64.extend_i32_u (local.get $got))))
            (if (local.get $to) (then (call $write (local.get $to) (i32.const 65536) (local.get $got))))
            (br_if $l (local.get $got)))
        (local.get $sum))
    (func $work (local $n i32)
        (loop $l
            (local.set $n (i32.add (local.get $n) (i32.const 1)))
            (br_if $l (i32.lt_u (local.get $n) (i32.const 400000000)))))
    ;; Four letters for a number below 65536.
    (func $name (param $at i32) (param $n i32)
        (i32.store (local.get $at) (i32.add (i32.const 0x41414141)
            (i32.add (i32.and (local.get $n) (i32.const 15))
            (i32.add (i32.shl (i32.and (local.get $n) (i32.const 0xf0)) (i32.const 4))
            (i32.add (i32.shl (i32.and (local.get $n) (i32.const 0xf00)) (i32.const 8))
            (i32.shl (i32.and (local.get $n) (i32.const 0xf000)) (i32.const 12))))))))
    (func $inner unreachable)
    (func $outer (call $inner))
    (func $deeper (param i64) (result i64)
        (i64.add (local.get 0) (call $deeper (i64.add (local.get 0) (i64.const 1)))))
    {functions}
    (func $choose (param $what i32)
        {choices}
        (call $proc_exit (i32.const 99)))
    (func (export "_start")
        (call $check (call $args_sizes_get (i32.const 0) (i32.const 4)))
        (call $check (call $args_get (i32.const 1024) (i32.const 4096)))
        ;; Names of four letters or more are told apart by those.
        (call $choose (i32.load (i32.load (i32.const 1028))))))"#
    )
}
