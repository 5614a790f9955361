//! Builders for tasks, and what every report must satisfy.

use std::sync::{Arc, LazyLock};

use tidemill_exec::{
    Backend, Cancel, Control, Executor, Layout, OutputBody, Program, Report, Task, WasmExecutor,
};
use tidemill_types::{
    Archive, BlobId, Content, Failure, FloatClass, GuestPath, InputSpec, Limits, Outcome, ProgramKind,
    TaskSpec,
};

/// One executor for all tests of a backend: they share its engines and its pool.
pub fn executor(backend: Backend) -> &'static WasmExecutor {
    static SANDBOX: LazyLock<WasmExecutor> =
        LazyLock::new(|| WasmExecutor::new(Backend::Sandbox, Layout::Task));
    static PULLEY: LazyLock<WasmExecutor> =
        LazyLock::new(|| WasmExecutor::new(Backend::Pulley, Layout::Task));
    match backend {
        Backend::Pulley => &PULLEY,
        _ => &SANDBOX,
    }
}

/// An attempt to be made.
#[derive(Clone)]
pub struct Attempt {
    pub program: Program,
    pub spec: TaskSpec,
    pub contents: Vec<Content>,
    pub backend: Backend,
    pub cancel: Cancel,
}

/// The functions that test modules call, and a memory.
const PREAMBLE: &str = r#"
    (import "wasi_snapshot_preview1" "args_sizes_get" (func $args_sizes_get (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "clock_time_get" (func $clock_time_get (param i32 i64 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_allocate" (func $fd_allocate (param i32 i64 i64) (result i32)))
    (import "wasi_snapshot_preview1" "fd_close" (func $fd_close (param i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_pwrite" (func $fd_pwrite (param i32 i32 i32 i64 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_read" (func $fd_read (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_readdir" (func $fd_readdir (param i32 i32 i32 i64 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_create_directory" (func $path_create_directory (param i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_link" (func $path_link (param i32 i32 i32 i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_open" (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_remove_directory" (func $path_remove_directory (param i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_rename" (func $path_rename (param i32 i32 i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_symlink" (func $path_symlink (param i32 i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_unlink_file" (func $path_unlink_file (param i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll_oneoff (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
    (import "wasi_snapshot_preview1" "random_get" (func $random_get (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "sched_yield" (func $sched_yield (result i32)))
    (memory (export "memory") 2)
    ;; Ends the program with this exit code unless it is 0.
    (func $check (param $code i32) (if (local.get $code) (then (call $proc_exit (local.get $code)))))
    ;; Ends the program with exit code 99 unless the two are equal.
    (func $expect (param i32 i32) (if (i32.ne (local.get 0) (local.get 1)) (then (call $proc_exit (i32.const 99)))))
    ;; Writes memory[at..at+len] to a descriptor.
    (func $write (param $fd i32) (param $at i32) (param $len i32) (result i32)
        (i32.store (i32.const 65536) (local.get $at))
        (i32.store (i32.const 65540) (local.get $len))
        (call $fd_write (local.get $fd) (i32.const 65536) (i32.const 1) (i32.const 65544)))
    ;; Opens the path memory[at..at+len] below the root; the descriptor is left at 65548.
    (func $open (param $at i32) (param $len i32) (param $oflags i32) (param $rights i64) (result i32)
        (call $path_open (i32.const 3) (i32.const 1) (local.get $at) (local.get $len) (local.get $oflags)
            (local.get $rights) (i64.const 0) (i32.const 0) (i32.const 65548)))
    (func $fd (result i32) (i32.load (i32.const 65548)))
"#;

/// A command with the given body of `_start`, after the given other parts of a module.
pub fn command_with(parts: &str, body: &str) -> Attempt {
    attempt(&format!(r#"(module {PREAMBLE} {parts} (func (export "_start") {body}))"#))
}

/// A command with the given body of `_start`.
pub fn command(body: &str) -> Attempt {
    command_with("", body)
}

/// A whole module as text.
pub fn attempt(text: &str) -> Attempt {
    binary(wat::parse_str(text).expect("the test's module is well formed"))
}

/// A module as bytes.
pub fn binary(bytes: Vec<u8>) -> Attempt {
    let program = Program::wasm(bytes);
    let spec = TaskSpec {
        kind: ProgramKind::Wasm,
        program: program.id,
        floats: FloatClass::Native,
        args: vec!["test".to_owned()],
        env: Vec::new(),
        inputs: Vec::new(),
        limits: Limits { fuel: tidemill_types::Fuel(10_000_000_000), ..Limits::default() },
        seed: 0,
    };
    Attempt { program, spec, contents: Vec::new(), backend: Backend::Sandbox, cancel: Cancel::default() }
}

impl Attempt {
    pub fn limits(mut self, change: impl FnOnce(&mut Limits)) -> Self {
        change(&mut self.spec.limits);
        self
    }

    pub fn input(mut self, path: &str, bytes: &[u8]) -> Self {
        let path = GuestPath::new(path).expect("a valid path");
        self.spec.inputs.push(InputSpec { path, content: BlobId::of(bytes), len: bytes.len() as u64 });
        self.contents.push(Content::bytes(bytes));
        self
    }

    pub fn on(mut self, backend: Backend) -> Self {
        self.backend = backend;
        self
    }

    pub fn canonical(mut self) -> Self {
        self.spec.floats = FloatClass::Canonical;
        self
    }

    pub fn run(&self) -> Report {
        self.run_under(&Control::of(&self.cancel))
    }

    pub fn run_under(&self, control: &Control) -> Report {
        let task = Task {
            spec: Arc::new(self.spec.clone()),
            program: self.program.clone(),
            contents: self.contents.clone(),
        };
        let report = executor(self.backend).run(&task, control);
        sanity_check(&report, &self.spec.limits);
        report
    }

    /// The failure that the attempt must end in.
    pub fn failure(&self) -> Failure {
        match self.run().outcome {
            Outcome::Failed(failure) => failure,
            Outcome::Done => panic!("it should have failed"),
        }
    }

    /// The files that the attempt must leave.
    pub fn files(&self) -> Vec<(String, Vec<u8>)> {
        let report = self.run();
        assert_eq!(report.outcome, Outcome::Done, "{}", String::from_utf8_lossy(&report.log));
        files(&report)
    }
}

/// The files of a report's output.
pub fn files(report: &Report) -> Vec<(String, Vec<u8>)> {
    let bytes = archive_bytes(report);
    let archive = Archive::parse(bytes).expect("an executor leaves valid archives");
    archive
        .files()
        .map(|(entry, start)| {
            let start = usize::try_from(start).expect("a small archive");
            let len = usize::try_from(entry.len).expect("a small file");
            (entry.path.to_string(), bytes[start..start + len].to_vec())
        })
        .collect()
}

fn archive_bytes(report: &Report) -> &[u8] {
    match report.output.as_ref().map(|output| &output.body) {
        Some(OutputBody::Bytes(bytes)) => bytes,
        other => panic!("an in-process output is in memory: {other:?}"),
    }
}

/// What holds for every report, however the attempt ended.
pub fn sanity_check(report: &Report, limits: &Limits) {
    assert!(report.usage.fuel <= limits.fuel, "{:?}", report.usage);
    assert!(report.usage.memory <= limits.memory, "{:?}", report.usage);
    assert!(report.usage.output <= limits.output, "{:?}", report.usage);
    assert!(report.log.len() as u64 <= limits.log.0, "a log of {} bytes", report.log.len());
    assert_eq!(report.usage.log.0, report.log.len() as u64);
    assert_eq!(report.output.is_some(), report.outcome == Outcome::Done);
    if let Some(output) = &report.output {
        let bytes = archive_bytes(report);
        assert_eq!(output.id, BlobId::of(bytes));
        assert_eq!(output.len, bytes.len() as u64);
        let archive = Archive::parse(bytes).expect("an executor leaves valid archives");
        assert_eq!(archive.data_len(), report.usage.output.0);
    }
    if let Outcome::Failed(failure) = &report.outcome {
        assert!(!failure.to_string().is_empty());
        assert!(!failure.hint().is_empty());
    }
}
