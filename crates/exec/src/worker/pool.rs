//! The wasm executor of a host: workers, and a cache of compiled code.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, BufReader, Seek, Write},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tidemill_types::{
    Archive, BlobId, ByteSize, Failure, FloatClass, Limits, MAX_INDEX_BYTES, Millis, Outcome,
};

use super::{
    handing,
    process::{Silence, Waiting, Worker, WorkerCommand},
    protocol::{
        Body, CodeReply, CompileReply, CompileRequest, INLINE_BYTES, Ran, Role, RunReply, RunRequest,
        ToRunning,
    },
};
use crate::{
    cache::CodeCache,
    cancel::Cancel,
    confine::{Confinement, UnlistedCalls, Work, limits::task_bytes},
    control::{Control, Piece},
    executor::{Capabilities, Executor, Output, OutputBody, Prepared, Program, Report, Task},
    wasi::{
        input::{HostRange, numbered},
        written::PIECE_BYTES,
    },
    wasm::{Backend, CodeClass, Compiler, capabilities},
};

/// What compiling one program may take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CompileLimits {
    /// Processor time, over all threads.
    pub time: Millis,
    /// Address space of the compiling process.
    pub memory: ByteSize,
}

impl Default for CompileLimits {
    /// Enough for programs of tens of MiB.
    fn default() -> Self {
        Self { time: Millis(120_000), memory: ByteSize::mib(3072) }
    }
}

/// How a pool is set up.
#[derive(Clone, Debug)]
pub struct PoolConfig {
    /// How to start a worker.
    pub command: WorkerCommand,
    /// Where compiled code is kept.
    pub cache: CodeCache,
    /// A directory for outputs too large for a message. The pool makes the files in it, and they belong to whoever
    /// receives the reports that name them.
    pub spool: PathBuf,
    /// Workers kept waiting for the next task: the number of tasks that usually run at a time.
    pub idle_workers: usize,
    /// What compiling may take.
    pub compile: CompileLimits,
    /// What happens when a worker makes a system call that it should not need.
    pub unlisted: UnlistedCalls,
}

/// Runs tasks in worker processes.
pub struct WorkerPool {
    config: PoolConfig,
    compiler: Compiler,
    codes: Mutex<HashMap<(BlobId, FloatClass), BlobId>>,
    /// The worker that compiles, and how much it has compiled. One program is compiled at a time, by
    /// all cores.
    compiling: Mutex<Option<(Worker, u32)>>,
    idle: Mutex<Vec<Worker>>,
}

/// After so many programs the compiling worker is replaced, so that what its allocator did not give back
/// is not charged to the next program.
const COMPILES_PER_WORKER: u32 = 32;

/// How long past its own limit a worker may take to say so before it is ended: it checks its clock every
/// few milliseconds, but a machine under load may not let it.
const GRACE: Duration = Duration::from_secs(10);

impl WorkerPool {
    /// A pool. Workers are started when they are first needed.
    pub fn new(config: PoolConfig) -> Self {
        Self {
            config,
            compiler: Compiler::default(),
            codes: Mutex::default(),
            compiling: Mutex::default(),
            idle: Mutex::default(),
        }
    }

    fn code_id(&self, program: &BlobId, floats: FloatClass) -> Result<BlobId, Failure> {
        if let Some(code) = lock(&self.codes).get(&(*program, floats)) {
            return Ok(*code);
        }
        let code = self.compiler.code_id(CodeClass { floats, backend: Backend::Sandbox }, program)?;
        lock(&self.codes).insert((*program, floats), code);
        Ok(code)
    }

    /// Compiles a program and stores its code. `again` when the stored code proved to be no good.
    fn compile(
        &self,
        program: &Program,
        floats: FloatClass,
        cancel: &Cancel,
        again: bool,
    ) -> Result<Prepared, Failure> {
        let begun = Instant::now();
        let code = self.code_id(&program.id, floats)?;
        let cached = |cached| Prepared { cached, took: begun.elapsed() };
        if !again && self.config.cache.has(&code) {
            return Ok(cached(true));
        }
        let mut compiling = lock(&self.compiling);
        // Another thread may have been compiling the same program.
        if self.config.cache.get(&code).is_some() {
            return Ok(cached(true));
        }
        let host =
            |what: &str, error: &dyn std::error::Error| Failure::Host { reason: format!("{what}: {error}") };
        let bytes = program.read()?;
        let mut kept = compiling.take();
        if let Some((worker, compiled)) = &mut kept
            && (*compiled >= COMPILES_PER_WORKER || !worker.is_alive())
        {
            kept = None;
        }
        let (mut worker, compiled) = match kept {
            Some(kept) => kept,
            None => {
                let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
                let threads = u32::try_from(threads).unwrap_or(u32::MAX);
                let work = Work::Compile { memory: self.config.compile.memory, threads };
                let worker = self.start(work).map_err(|error| host("could not start a worker", &error))?;
                (worker, 0)
            }
        };
        let limits = self.config.compile;
        let request = CompileRequest { floats, backend: Backend::Sandbox, time: limits.time, program: bytes };
        // Processor time is what is limited; on a busy machine it may take many times as long.
        let deadline = Instant::now() + limits.time.duration() * 10 + GRACE;
        let control = Control::of(cancel);
        let waiting = Waiting { deadline, control: &control };
        let reply: CompileReply =
            worker.ask(&request, &waiting).map_err(|silence| compile_failure(silence, &limits))?;
        *compiling = Some((worker, compiled + 1));
        let bytes = reply?;
        self.config.cache.put(&code, &bytes).map_err(|error| host("could not keep compiled code", &error))?;
        Ok(cached(false))
    }

    /// What the system holds a running worker to on this machine: it is the same for all.
    ///
    /// # Errors
    /// When a worker cannot be started.
    pub fn confinement(&self) -> io::Result<Confinement> {
        let worker = self.worker()?;
        let confinement = worker.confinement().clone();
        self.give_back(worker);
        Ok(confinement)
    }

    fn start(&self, work: Work) -> io::Result<Worker> {
        Worker::start(&self.config.command, &Role { work, unlisted: self.config.unlisted })
    }

    /// A worker that is waiting, or a new one.
    fn worker(&self) -> io::Result<Worker> {
        if let Some(worker) = lock(&self.idle).pop() {
            return Ok(worker);
        }
        self.start(Work::Run)
    }

    fn attempt(&self, task: &Task, control: &Control) -> Result<Report, Failure> {
        let (mut contents, ranges) = numbered(task.contents.clone());
        let sent_along = handing::send_along(&mut contents, &ranges);
        let request = RunRequest {
            code: self.code_id(&task.program.id, task.spec.floats)?,
            backend: Backend::Sandbox,
            spec: (*task.spec).clone(),
            contents,
        };
        let request = ToRunning::Run(Box::new(request));
        let wall_time = task.spec.limits.wall_time;
        loop {
            let mut worker = self
                .worker()
                .map_err(|error| Failure::Host { reason: format!("could not start a worker: {error}") })?;
            if !worker.is_alive() {
                // Its number may be another process's by now.
                continue;
            }
            // One that cannot be allowed more has what it has: the task may need less than its limits.
            let _ = worker.allow(task_bytes(&task.spec.limits, sent_along));
            let mut attempt = Attempt { pool: self, worker, task, ranges: &ranges, control };
            match attempt.run(&request) {
                Ok(ended) => {
                    if ended.is_reusable {
                        self.give_back(attempt.worker);
                    }
                    return ended.report;
                }
                // It died while it waited, and nothing was asked of it: the next one will do.
                Err(Silence::Gone) => {}
                Err(Silence::TooLong(reason)) => return Err(Failure::Host { reason }),
                Err(Silence::Cancelled) => return Err(Failure::Cancelled),
                Err(Silence::TimedOut) => return Err(Failure::WallTime { limit: wall_time }),
                Err(Silence::Died { reason, .. }) => return Err(Failure::WorkerDied { reason }),
            }
        }
    }

    /// A program's code, in a file that can be handed to a worker. It is authentic: the cache has checked it, or it comes
    /// from the compiler.
    fn code(&self, program: &Program, floats: FloatClass, cancel: &Cancel) -> Result<(u64, File), Failure> {
        let code = self.code_id(&program.id, floats)?;
        let host = |reason: String| Failure::Host { reason };
        let bytes = match self.config.cache.get(&code) {
            Some(bytes) => bytes,
            None => {
                self.compile(program, floats, cancel, true)?;
                let stored = self.config.cache.get(&code);
                stored.ok_or_else(|| host("compiled code was stored and cannot be read back".to_owned()))?
            }
        };
        let file = handing::sealed(&bytes)
            .map_err(|error| host(format!("could not hand compiled code to a worker: {error}")))?;
        Ok((bytes.len() as u64, file))
    }

    fn give_back(&self, worker: Worker) {
        let mut idle = lock(&self.idle);
        if idle.len() < self.config.idle_workers {
            idle.push(worker);
        }
    }
}

impl Executor for WorkerPool {
    fn capabilities(&self) -> Capabilities {
        capabilities()
    }

    fn prepare(&self, task: &Task, cancel: &Cancel) -> Result<Prepared, Failure> {
        self.compile(&task.program, task.spec.floats, cancel, false)
    }

    fn run(&self, task: &Task, control: &Control) -> Report {
        match self.attempt(task, control) {
            Ok(report) => report,
            Err(failure) => Report::not_run(failure),
        }
    }
}

/// A task in a worker.
struct Attempt<'a> {
    pool: &'a WorkerPool,
    worker: Worker,
    task: &'a Task,
    ranges: &'a [HostRange],
    control: &'a Control,
}

/// How an attempt ended whose worker has answered.
struct Ended {
    report: Result<Report, Failure>,
    /// Whether the worker waits for the next request.
    is_reusable: bool,
}

impl Ended {
    fn failed(failure: Failure, is_reusable: bool) -> Self {
        Self { report: Err(failure), is_reusable }
    }
}

impl<'a> Attempt<'a> {
    /// Sends the request and answers the worker's questions until there is a report.
    fn run(&mut self, request: &ToRunning) -> Result<Ended, Silence> {
        let most = most_of_reply(&self.task.spec.limits);
        let mut waiting = self.waiting();
        let mut has_code = false;
        self.worker.request(request, &waiting)?;
        loop {
            // One that says something all the time is not waited for, and would never be looked at otherwise.
            waiting.check()?;
            self.worker.ask_for_piece(&waiting)?;
            match self.worker.receive::<RunReply>(most, &waiting)? {
                RunReply::NeedsRange(number) => {
                    let (answer, file) = handing::range(self.ranges, number);
                    self.worker.answer(&ToRunning::Range(answer), file.as_ref(), &waiting)?;
                }
                RunReply::Piece(piece) => {
                    if piece.bytes.len() > PIECE_BYTES {
                        let reason = "it sent a longer piece of output than it may".to_owned();
                        return Ok(Ended::failed(Failure::WorkerDied { reason }, false));
                    }
                    self.worker.piece_came(piece.follow);
                    let (follow, offset) = (piece.follow, piece.offset);
                    self.control.chunks.put(Piece { follow, offset, bytes: &piece.bytes });
                }
                RunReply::NeedsCode if std::mem::replace(&mut has_code, true) => {
                    let reason = "it asked for its code twice".to_owned();
                    return Ok(Ended::failed(Failure::WorkerDied { reason }, false));
                }
                RunReply::NeedsCode => {
                    let code =
                        self.pool.code(&self.task.program, self.task.spec.floats, &self.control.cancel);
                    // Compiling may have taken longer than the task may.
                    waiting = self.waiting();
                    match code {
                        Ok((len, file)) => {
                            self.worker.answer(
                                &ToRunning::Code(CodeReply::File(len)),
                                Some(&file),
                                &waiting,
                            )?;
                        }
                        Err(failure) => {
                            self.worker.answer(&ToRunning::Code(CodeReply::None), None, &waiting)?;
                            return Ok(Ended::failed(failure, true));
                        }
                    }
                }
                RunReply::Ran(ran) => return self.report(*ran, &waiting),
            }
        }
    }

    fn waiting(&self) -> Waiting<'a> {
        let deadline = Instant::now() + self.task.spec.limits.wall_time.duration() + GRACE;
        Waiting { deadline, control: self.control }
    }

    /// What the worker says, as far as it can be true: a worker may have been taken over.
    fn report(&mut self, ran: Ran, waiting: &Waiting<'_>) -> Result<Ended, Silence> {
        if let Some(what) = excess(&ran, &self.task.spec.limits) {
            let reason = format!("it reported more {what} than its task may have");
            return Ok(Ended::failed(Failure::WorkerDied { reason }, false));
        }
        let brings = !matches!(&ran.output, Body::Inline(bytes) if bytes.is_empty());
        if brings && ran.outcome != Outcome::Done {
            let reason = "it brought the output of a task that it did not finish".to_owned();
            return Ok(Ended::failed(Failure::WorkerDied { reason }, false));
        }
        let output = match ran.output {
            Body::Inline(bytes) => in_memory(bytes, &ran.outcome),
            Body::Follows(len) => self.receive_output(len, waiting)?,
        };
        let output = match output {
            Ok(output) => (ran.outcome == Outcome::Done).then_some(output),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                let reason = format!("its output is not an archive: {error}");
                return Ok(Ended::failed(Failure::WorkerDied { reason }, false));
            }
            Err(error) => {
                let spool = self.pool.config.spool.display();
                let reason = format!("could not write an output into {spool}: {error}");
                return Ok(Ended::failed(Failure::Host { reason }, false));
            }
        };
        let report = Report { outcome: ran.outcome, usage: ran.usage, output, log: ran.log, wall: ran.wall };
        Ok(Ended { report: Ok(report), is_reusable: true })
    }

    /// Writes an output that follows into a new file of the spool. What could not be written whole is removed: the disk
    /// may be full because of it.
    fn receive_output(&mut self, len: u64, waiting: &Waiting<'_>) -> Result<io::Result<Output>, Silence> {
        let made = tempfile::Builder::new().prefix("output-").tempfile_in(&self.pool.config.spool);
        let mut file = match made {
            Ok(file) => file,
            Err(error) => return Ok(Err(error)),
        };
        let mut hasher = blake3::Hasher::new();
        let taken = self.worker.receive_bytes(len, waiting, |part| {
            hasher.update(part);
            file.write_all(part)
        })?;
        let keep = || -> io::Result<PathBuf> {
            taken?;
            file.as_file_mut().rewind()?;
            Archive::read_index(&mut BufReader::new(file.as_file()), len)?;
            let (_, path) = file.keep().map_err(|error| error.error)?;
            Ok(path)
        };
        let id = BlobId::from_hash(hasher.finalize());
        Ok(keep().map(|path| Output { id, len, body: OutputBody::File(path) }))
    }
}

/// A small output, which is an archive if the task is done.
fn in_memory(bytes: Vec<u8>, outcome: &Outcome) -> io::Result<Output> {
    if *outcome == Outcome::Done {
        Archive::parse(&bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    }
    Ok(Output { id: BlobId::of(&bytes), len: bytes.len() as u64, body: OutputBody::Bytes(bytes) })
}

/// What a report has more of than its task's limits allow.
fn excess(ran: &Ran, limits: &Limits) -> Option<&'static str> {
    let output = match &ran.output {
        Body::Inline(bytes) => bytes.len() as u64,
        Body::Follows(len) => *len,
    };
    let index = (Archive::HEADER_BYTES + MAX_INDEX_BYTES) as u64;
    let found = [
        (ran.usage.fuel > limits.fuel, "fuel"),
        (ran.usage.memory > limits.memory, "memory"),
        (ran.usage.output > limits.output || output > limits.output.0.saturating_add(index), "output"),
        (ran.log.len() as u64 > limits.log.0 || ran.usage.log > limits.log, "log"),
    ];
    found.into_iter().find(|(is_more, _)| *is_more).map(|(_, what)| what)
}

/// The longest reply of a worker: a small output, the log, and a failure with its words.
fn most_of_reply(limits: &Limits) -> usize {
    const WORDS_BYTES: u64 = 4 << 20;
    usize::try_from((INLINE_BYTES + WORDS_BYTES).saturating_add(limits.log.0)).unwrap_or(usize::MAX)
}

/// What the end of the compiling worker means for the program that it was given.
fn compile_failure(silence: Silence, limits: &CompileLimits) -> Failure {
    let out_of_time = Some(rustix::process::Signal::XCPU.as_raw());
    match silence {
        Silence::Cancelled => Failure::Cancelled,
        Silence::TooLong(reason) => Failure::Host { reason },
        Silence::Gone => Failure::WorkerDied { reason: "it ended before it was asked".to_owned() },
        Silence::TimedOut => Failure::CompileTime { limit: limits.time },
        Silence::Died { signal, .. } if signal == out_of_time => Failure::CompileTime { limit: limits.time },
        // Rust's allocator says so and aborts; a thread or a mapping that did not fit says it otherwise.
        Silence::Died { reason, .. }
            if ["memory allocation of", "Cannot allocate memory", "Resource temporarily unavailable"]
                .iter()
                .any(|words| reason.contains(words)) =>
        {
            Failure::CompileMemory { limit: limits.memory }
        }
        Silence::Died { reason, .. } => Failure::WorkerDied { reason },
    }
}

/// No invariant of these maps can break half-way, so a panic elsewhere leaves them usable.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Pools are shared between threads.
const _: fn() = || {
    fn shared<T: Send + Sync>() {}
    shared::<Arc<WorkerPool>>();
};

#[cfg(test)]
mod tests {
    use tidemill_types::{ArchiveBuilder, Fuel, Usage};

    use super::*;

    fn ran(output: Body) -> Ran {
        Ran { outcome: Outcome::Done, usage: Usage::default(), log: Vec::new(), wall: Duration::ZERO, output }
    }

    #[test]
    fn a_worker_that_reports_more_than_its_task_may_have_is_not_believed() {
        let limits = Limits::default();
        let honest = || ran(Body::Inline(Vec::new()));
        assert_eq!(excess(&honest(), &limits), None);
        let lies = |change: fn(&mut Ran, &Limits)| {
            let mut ran = honest();
            change(&mut ran, &limits);
            excess(&ran, &limits)
        };
        assert_eq!(lies(|ran, limits| ran.usage.fuel = Fuel(limits.fuel.0 + 1)), Some("fuel"));
        assert_eq!(lies(|ran, limits| ran.usage.memory = ByteSize(limits.memory.0 + 1)), Some("memory"));
        assert_eq!(lies(|ran, limits| ran.usage.output = ByteSize(limits.output.0 + 1)), Some("output"));
        assert_eq!(lies(|ran, _| ran.output = Body::Follows(u64::MAX)), Some("output"));
        assert_eq!(lies(|ran, limits| ran.log = vec![0; limits.log.0 as usize + 1]), Some("log"));
    }

    #[test]
    fn an_output_is_named_by_the_parent_and_is_an_archive() {
        let (archive, _) = ArchiveBuilder::default().finish().expect("an archive of nothing");
        let output = in_memory(archive.clone(), &Outcome::Done).expect("an archive");
        assert_eq!((output.id, output.len), (BlobId::of(&archive), archive.len() as u64));
        let error = in_memory(b"no archive".to_vec(), &Outcome::Done).expect_err("no archive");
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        // A task that failed has no output.
        assert!(in_memory(Vec::new(), &Outcome::Failed(Failure::Cancelled)).is_ok());
    }
}
