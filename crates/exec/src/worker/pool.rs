//! The wasm executor of a host: workers, and a cache of compiled code.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tidemill_types::{BlobId, ByteSize, Failure, FloatClass, Millis, Outcome};

use super::{
    process::{Silence, Worker, WorkerCommand},
    protocol::{Body, CompileReply, CompileRequest, Ran, Role, RunReply, RunRequest},
};
use crate::{
    cache::CodeCache,
    cancel::Cancel,
    executor::{Capabilities, Executor, Output, OutputBody, Prepared, Program, Report, Task},
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
    /// A directory for outputs too large for a message. The files in it belong to whoever receives the
    /// reports that name them.
    pub spool: PathBuf,
    /// Workers kept waiting for the next task: the number of tasks that usually run at a time.
    pub idle_workers: usize,
    /// What compiling may take.
    pub compile: CompileLimits,
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
        let mut kept = compiling.take();
        if let Some((worker, compiled)) = &mut kept
            && (*compiled >= COMPILES_PER_WORKER || !worker.is_alive())
        {
            kept = None;
        }
        let (mut worker, compiled) = match kept {
            Some(kept) => kept,
            None => {
                let role = Role::Compile { memory: self.config.compile.memory };
                let worker = Worker::start(&self.config.command, &role)
                    .map_err(|error| host("could not start a worker", &error))?;
                (worker, 0)
            }
        };
        let limits = self.config.compile;
        let request = CompileRequest {
            floats,
            backend: Backend::Sandbox,
            time: limits.time,
            program: program.bytes.to_vec(),
        };
        // Processor time is what is limited; on a busy machine it may take many times as long.
        let deadline = Instant::now() + limits.time.duration() * 10 + GRACE;
        let reply: CompileReply =
            worker.ask(&request, deadline, cancel).map_err(|silence| compile_failure(silence, &limits))?;
        *compiling = Some((worker, compiled + 1));
        let bytes = reply?;
        self.config.cache.put(&code, &bytes).map_err(|error| host("could not keep compiled code", &error))?;
        Ok(cached(false))
    }

    /// A worker that is waiting, or a new one.
    fn worker(&self) -> std::io::Result<Worker> {
        if let Some(worker) = lock(&self.idle).pop() {
            return Ok(worker);
        }
        let role = Role::Run { cache: self.config.cache.clone(), spool: self.config.spool.clone() };
        Worker::start(&self.config.command, &role)
    }

    fn attempt(&self, task: &Task, cancel: &Cancel) -> Result<Ran, Failure> {
        let floats = task.spec.floats;
        let request = RunRequest {
            code: self.code_id(&task.program.id, floats)?,
            backend: Backend::Sandbox,
            spec: (*task.spec).clone(),
            contents: task.contents.clone(),
        };
        let mut again = false;
        loop {
            let mut worker = self
                .worker()
                .map_err(|error| Failure::Host { reason: format!("could not start a worker: {error}") })?;
            let wall_time = task.spec.limits.wall_time;
            let deadline = Instant::now() + wall_time.duration() + GRACE;
            match worker.ask(&request, deadline, cancel) {
                Ok(reply) => {
                    self.give_back(worker);
                    match reply {
                        RunReply::Ran(ran) => return Ok(*ran),
                        RunReply::NoCode if again => {
                            let reason = "compiled code was stored and cannot be read back".to_owned();
                            return Err(Failure::Host { reason });
                        }
                        RunReply::NoCode => {
                            self.compile(&task.program, floats, cancel, true)?;
                            again = true;
                        }
                    }
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

    fn prepare(&self, program: &Program, floats: FloatClass, cancel: &Cancel) -> Result<Prepared, Failure> {
        self.compile(program, floats, cancel, false)
    }

    fn run(&self, task: &Task, cancel: &Cancel) -> Report {
        match self.attempt(task, cancel) {
            Ok(ran) => report(ran),
            Err(failure) => Report::not_run(failure),
        }
    }
}

fn report(ran: Ran) -> Report {
    let body = match ran.output {
        Body::Inline(bytes) => OutputBody::Bytes(bytes),
        Body::Spooled(path) => OutputBody::File(path),
    };
    let output =
        (ran.outcome == Outcome::Done).then_some(Output { id: ran.output_id, len: ran.output_len, body });
    Report { outcome: ran.outcome, usage: ran.usage, output, log: ran.log, wall: ran.wall }
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
