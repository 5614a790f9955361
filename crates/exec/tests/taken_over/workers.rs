//! Pools whose workers are this program, taken over.

use std::{collections::BTreeMap, fs, sync::Arc};

use tempfile::TempDir;
use tidemill_exec::{
    Cancel, CodeCache, CompileLimits, Confinement, Control, Executor, Measure, PoolConfig, Program, Task,
    UnlistedCalls, WorkerCommand, WorkerKind, WorkerPool,
};
use tidemill_types::{Failure, FloatClass, Limits, Outcome, ProgramKind, TaskSpec};

use crate::{
    attempts::{Attempt, DEADLY},
    harness::Test,
};

pub const TESTS: &[Test] = &[
    ("a_running_worker_that_is_taken_over_gets_nothing", running),
    ("a_compiling_worker_that_is_taken_over_gets_nothing", compiling),
    ("calls_that_no_worker_makes_end_it", deadly),
    ("a_worker_says_what_it_is_held_to", said),
];

const EPERM: i64 = libc::EPERM as i64;
const ENOENT: i64 = libc::ENOENT as i64;
const ENOMEM: i64 = libc::ENOMEM as i64;
const EMFILE: i64 = libc::EMFILE as i64;

/// The first word of a worker's arguments.
const WORKER: &str = "worker";

/// Which worker this process is and what it attempts, if it is one.
pub fn role(words: &[String]) -> Option<(WorkerKind, Attempt)> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let [WORKER, kind, rest @ ..] = &words[..] else { return None };
    let kind = if *kind == "compiling" { WorkerKind::Compiling } else { WorkerKind::Running };
    let attempt = match rest {
        ["all", secrets, outside] => Attempt::All {
            secrets: (*secrets).to_owned(),
            outside: outside.parse().expect("the number of a process"),
        },
        ["deadly", name] => Attempt::Deadly((*name).to_owned()),
        _ => panic!("a worker with other words than it was given: {rest:?}"),
    };
    Some((kind, attempt))
}

/// A pool with a directory of its own.
struct Pool {
    pool: WorkerPool,
    directory: TempDir,
}

impl Pool {
    fn new(directory: TempDir, args: &[&str]) -> Self {
        let this = std::env::current_exe().expect("the path of this program");
        let spool = directory.path().join("spool");
        fs::create_dir_all(&spool).expect("a directory");
        let pool = WorkerPool::new(PoolConfig {
            command: WorkerCommand { program: this, args: args.iter().map(Into::into).collect() },
            cache: CodeCache::open(&directory.path().join("code")).expect("a cache"),
            spool,
            idle_workers: 1,
            compile: CompileLimits::default(),
            unlisted: UnlistedCalls::Refused,
        });
        Self { pool, directory }
    }

    /// Workers of this kind attempt everything.
    fn attempting(kind: &str) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let secrets = directory.path().join("code");
        let secrets = secrets.to_str().expect("a path of plain text").to_owned();
        Self::new(directory, &[WORKER, kind, "all", &secrets, &std::process::id().to_string()])
    }

    fn dying_of(kind: &str, call: &str) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        Self::new(directory, &[WORKER, kind, "deadly", call])
    }

    /// The last words of the worker that compiles.
    fn compiling(&self) -> String {
        let prepared = self.pool.prepare(&Task::of(noop(), FloatClass::Native), &Cancel::default());
        died(prepared.expect_err("the compiler was taken over"))
    }

    /// The last words of the worker that runs.
    fn running(&self) -> String {
        let program = noop();
        let spec = TaskSpec {
            kind: ProgramKind::Wasm,
            program: program.id,
            floats: FloatClass::Native,
            args: vec!["noop".to_owned()],
            env: Vec::new(),
            inputs: Vec::new(),
            limits: Limits::default(),
            seed: 0,
        };
        let task = Task { spec: Arc::new(spec), program, contents: Vec::new() };
        match self.pool.run(&task, &Control::default()).outcome {
            Outcome::Failed(failure) => died(failure),
            Outcome::Done => panic!("the worker was taken over"),
        }
    }
}

fn noop() -> Program {
    let text = r#"(module (memory (export "memory") 1) (func (export "_start")))"#;
    Program::wasm(wat::parse_str(text).expect("well formed"))
}

fn died(failure: Failure) -> String {
    match failure {
        Failure::WorkerDied { reason } => reason,
        other => panic!("{other:?}"),
    }
}

/// What each attempt came to.
fn results(words: &str) -> BTreeMap<&str, i64> {
    let words = words.strip_prefix("exit status: 0: ").expect("an end in order, after its words");
    let pairs = words.split("; ").map(|pair| pair.trim().split_once('=').expect("a name and a value"));
    pairs.map(|(name, value)| (name, value.parse().expect("a number"))).collect()
}

/// What holds for both kinds of workers.
fn check(found: &BTreeMap<&str, i64>, confinement: &Confinement) {
    assert!(confinement.has(Measure::SystemCalls), "{confinement:?}");
    let refused = [
        "open_passwd",
        "open_root",
        "open_key",
        "create_code",
        "openat2",
        "mkdirat",
        "unlinkat",
        "renameat2",
        "symlinkat",
        "fchmodat",
        "truncate",
        "socket_inet",
        "socket_inet6",
        "socket_unix",
        "socket_netlink",
        "socketpair",
        "connect",
        "sendmsg",
        "kill",
        "kill_all",
        "tgkill",
        "tkill",
        "pidfd_open",
        "prlimit_other",
        "setpriority",
        "clone",
        "clone3",
        "thread",
        "map_shared",
        "map_growing",
        "memfd_create",
        "shmget",
        "setuid",
        "prctl",
        "seccomp",
        "ioctl",
        "set_owner",
    ];
    for name in refused {
        assert_eq!(found.get(name), Some(&EPERM), "{name}: {found:?}");
    }
    #[cfg(target_arch = "x86_64")]
    for name in ["fork", "vfork"] {
        assert_eq!(found.get(name), Some(&EPERM), "{name}: {found:?}");
    }
    // A file that is not there; without a namespace a name only tells that it is.
    let stat = if confinement.has(Measure::EmptyRoot) { ENOENT } else { 0 };
    for name in ["stat_passwd", "stat_key"] {
        assert_eq!(found.get(name), Some(&stat), "{name}: {found:?}");
    }
    for name in ["map_64_gib", "reserve_and_use", "pieces"] {
        assert_eq!(found.get(name), Some(&ENOMEM), "{name}: {found:?}");
    }
    assert!(found["piece_mib"] < 8192, "{found:?}");
    assert_eq!(found["many_descriptors"], EMFILE, "{found:?}");
    assert_eq!(found["environment"], 0, "{found:?}");
    // Three streams, the socket by two names, and what tells the keeper that it lives.
    assert!(found["descriptors"] <= 6, "{found:?}");
}

fn running() {
    let pool = Pool::attempting("running");
    let confinement = pool.pool.confinement().expect("a worker");
    let words = pool.running();
    let found = results(&words);
    check(&found, &confinement);
    for name in ["raise_data", "raise_space", "raise_files"] {
        assert_eq!(found[name], EPERM, "{name}: {found:?}");
    }
    sanity_check(&pool);
}

fn compiling() {
    let pool = Pool::attempting("compiling");
    let confinement = pool.pool.confinement().expect("a worker");
    let words = pool.compiling();
    let found = results(&words);
    check(&found, &confinement);
    // What has a hard limit, which nobody without privileges raises.
    for name in ["raise_space", "raise_files"] {
        assert_eq!(found[name], EPERM, "{name}: {found:?}");
    }
    sanity_check(&pool);
}

/// The key is where it was, and nothing has come beside it but code that the pool put there.
fn sanity_check(pool: &Pool) {
    let code = pool.directory.path().join("code");
    assert_eq!(fs::metadata(code.join("host.key")).expect("the key").len(), 32);
    assert!(!code.join("fresh.code").exists());
    assert!(!code.join("other.code").exists());
}

fn deadly() {
    let signal = format!("signal: {}", libc::SIGSYS);
    for (call, _) in DEADLY {
        let pool = Pool::dying_of("running", call);
        let words = pool.running();
        assert!(words.contains(&signal), "{call}: {words}");
        assert!(!words.contains('='), "{call} returned: {words}");
    }
    // The compiler's list is the same.
    let words = Pool::dying_of("compiling", "execve").compiling();
    assert!(words.contains(&signal), "{words}");
}

/// What every kernel has that this program runs on. The rest is shown, for whoever reads the output.
fn said() {
    let confinement = Pool::attempting("running").pool.confinement().expect("a worker");
    for measure in [Measure::Privileges, Measure::SystemCalls, Measure::Memory, Measure::Counts] {
        assert!(confinement.has(measure), "{confinement:?}");
    }
    for lack in confinement.lacks() {
        println!("this machine lacks {}: {}", lack.measure, lack.reason);
    }
}
