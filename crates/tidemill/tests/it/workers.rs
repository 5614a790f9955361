//! The pool of worker processes, with the binary as the worker: programs that are out to harm it, code in
//! the cache that nobody should trust, and workers that die.

mod cache;
mod compiling;
mod confined;
mod running;

use std::{
    ffi::OsString,
    fs,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use tempfile::TempDir;
use tidemill_exec::{
    Cancel, CodeCache, CompileLimits, Control, Executor, OutputBody, PoolConfig, Program, Report, Task,
    UnlistedCalls, WorkerCommand, WorkerPool,
};
use tidemill_types::{Archive, BlobId, Failure, FloatClass, Fuel, Limits, Outcome, ProgramKind, TaskSpec};
use wasm_encoder::{CustomSection, Section};

use crate::{
    processes::Worker,
    puppet::{echo, puppet},
    support::{TIDEMILL, wait_for},
};

/// A pool with directories of its own, whose workers can be told from all others.
struct Pool {
    pool: WorkerPool,
    directory: TempDir,
    tag: String,
}

fn pool() -> Pool {
    Pool::new(CompileLimits::default(), tempfile::tempdir().expect("a temporary directory"))
}

fn pool_with(compile: CompileLimits) -> Pool {
    Pool::new(compile, tempfile::tempdir().expect("a temporary directory"))
}

impl Pool {
    fn new(compile: CompileLimits, directory: TempDir) -> Self {
        static POOLS: AtomicU32 = AtomicU32::new(0);
        let tag = format!("pool-{}-{}", std::process::id(), POOLS.fetch_add(1, Ordering::Relaxed));
        let spool = directory.path().join("spool");
        fs::create_dir_all(&spool).expect("a directory");
        let pool = WorkerPool::new(PoolConfig {
            command: WorkerCommand {
                program: PathBuf::from(TIDEMILL),
                args: ["worker", &tag].map(OsString::from).to_vec(),
            },
            cache: CodeCache::open(&directory.path().join("code")).expect("a cache"),
            spool,
            idle_workers: 2,
            compile,
            // So each test here also says whether a worker needs a system call that is not on its list.
            unlisted: UnlistedCalls::Fatal,
        });
        Self { pool, directory, tag }
    }

    /// A new pool, with new workers, over the same cache.
    fn renewed(self) -> Self {
        let Self { pool, directory, .. } = self;
        drop(pool);
        Self::new(CompileLimits::default(), directory)
    }

    fn workers(&self) -> Vec<Worker> {
        Worker::tagged(&self.tag)
    }

    /// Waits until there is a worker other than these.
    fn new_worker(&self, known: &[Worker]) -> Worker {
        wait_for("another worker", || self.workers().into_iter().find(|worker| !known.contains(worker)))
    }

    /// The entries of the cache.
    fn entries(&self) -> Vec<PathBuf> {
        let listing = fs::read_dir(self.directory.path().join("code")).expect("the cache");
        let paths = listing.map(|entry| entry.expect("a listing").path());
        paths.filter(|path| path.extension().is_some_and(|extension| extension == "code")).collect()
    }

    /// The only entry of the cache.
    fn entry(&self) -> PathBuf {
        let entries = self.entries();
        assert_eq!(entries.len(), 1, "{entries:?}");
        entries[0].clone()
    }

    fn prepare(&self, bytes: &[u8]) -> Result<bool, Failure> {
        self.prepare_until(bytes, &Cancel::default())
    }

    fn prepare_until(&self, bytes: &[u8], cancel: &Cancel) -> Result<bool, Failure> {
        let prepared = self.pool.prepare(&Task::of(Program::wasm(bytes), FloatClass::Native), cancel);
        prepared.map(|prepared| prepared.cached)
    }

    fn run(&self, task: &Task) -> Report {
        self.run_until(task, &Cancel::default())
    }

    fn run_until(&self, task: &Task, cancel: &Cancel) -> Report {
        let report = self.pool.run(task, &Control::of(cancel));
        self.sanity_check(&report, &task.spec.limits);
        report
    }

    fn failure(&self, task: &Task) -> Failure {
        failure(self.run(task))
    }

    /// What the puppet writes to standard output.
    fn stdout(&self, args: &[&str]) -> Vec<u8> {
        let report = self.run(&task(args));
        assert_eq!(report.outcome, Outcome::Done, "{}", String::from_utf8_lossy(&report.log));
        let bytes = archive_bytes(&report);
        let archive = Archive::parse(&bytes).expect("an executor leaves valid archives");
        let (entry, start) = archive.files().next().expect("a file");
        assert_eq!(entry.path.as_str(), "stdout");
        bytes[start as usize..][..entry.len as usize].to_vec()
    }

    /// Compiles a program that no pool has seen, and runs it.
    fn sanity_check_that_it_goes_on(&self) {
        static PROGRAMS: AtomicU32 = AtomicU32::new(0);
        let mut bytes = puppet().to_vec();
        let number = PROGRAMS.fetch_add(1, Ordering::Relaxed).to_le_bytes();
        CustomSection { name: "number".into(), data: number[..].into() }.append_to(&mut bytes);
        assert_eq!(self.prepare(&bytes), Ok(false));
        let report = self.run(&task_of(&bytes, &["quick", "still"]));
        assert_eq!(report.outcome, Outcome::Done);
        assert!(archive_bytes(&report).ends_with(&echo(&["quick", "still"])));
    }

    /// What holds for every report.
    fn sanity_check(&self, report: &Report, limits: &Limits) {
        assert!(report.usage.fuel <= limits.fuel, "{:?}", report.usage);
        assert!(report.usage.memory <= limits.memory, "{:?}", report.usage);
        assert!(report.log.len() as u64 <= limits.log.0, "a log of {} bytes", report.log.len());
        assert_eq!(report.output.is_some(), report.outcome == Outcome::Done);
        if let Some(output) = &report.output {
            let bytes = archive_bytes(report);
            assert_eq!((output.id, output.len), (BlobId::of(&bytes), bytes.len() as u64));
            if let OutputBody::File(path) = &output.body {
                assert_eq!(path.parent(), Some(&*self.directory.path().join("spool")));
            }
        }
        if let Outcome::Failed(failure) = &report.outcome {
            assert!(!failure.hint().is_empty());
        }
    }
}

fn failure(report: Report) -> Failure {
    match report.outcome {
        Outcome::Failed(failure) => failure,
        Outcome::Done => panic!("it should have failed"),
    }
}

fn archive_bytes(report: &Report) -> Vec<u8> {
    match &report.output.as_ref().expect("an output").body {
        OutputBody::Bytes(bytes) => bytes.clone(),
        OutputBody::File(path) => fs::read(path).expect("the file that the report names"),
    }
}

/// A task for the puppet.
fn task(args: &[&str]) -> Task {
    task_of(puppet(), args)
}

fn task_of(bytes: &[u8], args: &[&str]) -> Task {
    let program = Program::wasm(bytes);
    let spec = TaskSpec {
        kind: ProgramKind::Wasm,
        program: program.id,
        floats: FloatClass::Native,
        args: [&["program"], args].concat().into_iter().map(str::to_owned).collect(),
        env: Vec::new(),
        inputs: Vec::new(),
        limits: Limits::default(),
        seed: 0,
    };
    Task { spec: Arc::new(spec), program, contents: Vec::new() }
}

fn limited(args: &[&str], change: impl FnOnce(&mut Limits)) -> Task {
    let mut task = task(args);
    change(&mut Arc::make_mut(&mut task.spec).limits);
    task
}

/// A task that does not end by itself within hours.
fn endless() -> Task {
    limited(&["endless"], |limits| limits.fuel = Fuel(1 << 60))
}
