//! Runs a job on this machine: the reference that every distributed run must equal byte for byte.
//!
//! As many threads as there are slots each take a task that is ready, run it in a worker process and keep
//! its output in the work directory under the hash of its specification. A run that is stopped or killed
//! leaves them there, and the next run of the same job takes up what it finds. Who may run when is
//! [`Frontier`]'s knowledge; this module owns the threads, the retries and the end.

mod inputs;
mod results;
mod task;

use std::{
    collections::HashMap,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tidemill_exec::{Cancel, Control, Executor, Program, Report, WorkerPool};
use tidemill_job::{Frontier, JobFile, Node, Plan};
use tidemill_modelhost::ModelHost;
use tidemill_types::{BlobId, Failure, Outcome, ProgramKind, Usage, Weight};

use self::{
    inputs::Hashes,
    results::{Results, Stored},
};
pub use self::{
    inputs::hash_content,
    results::{SPOOL, clear},
};
use crate::progress::Progress;

/// A job that is ready to run.
pub struct Job {
    /// What was asked for.
    pub file: JobFile,
    /// What it comes to.
    pub plan: Plan,
    /// The program of the map tasks.
    pub map_program: Program,
    /// The program of the reduce tasks, where there are any.
    pub reduce_program: Option<Program>,
}

/// What runs its tasks. Neither starts a process before there is a task for it.
pub struct Executors {
    /// Programs of WebAssembly.
    pub pool: WorkerPool,
    /// Models.
    pub models: ModelHost,
}

impl Executors {
    /// That for programs of a kind.
    pub fn of(&self, kind: ProgramKind) -> &dyn Executor {
        match kind {
            ProgramKind::Wasm => &self.pool,
            ProgramKind::Infer => &self.models,
        }
    }
}

/// How to run it.
pub struct Config {
    /// Tasks at a time.
    pub slots: usize,
    /// Where outputs are kept until the job is done.
    pub work: PathBuf,
    /// Where to write what tasks log, if anywhere.
    pub logs: Option<PathBuf>,
    /// When the job must be done.
    pub deadline: Option<Instant>,
}

/// How a run ended.
pub enum End {
    /// Every task is done.
    Done(Vec<Finished>),
    /// A task failed for good.
    Failed(TaskFailure),
    /// The deadline passed.
    Deadline,
    /// The person stopped it.
    Interrupted,
}

/// The output of a job without a reduce is that of each map task; otherwise that of the last reduce.
pub struct Finished {
    /// The task.
    pub node: Node,
    /// Its output archive.
    pub archive: PathBuf,
    /// The archive's hash.
    pub id: BlobId,
}

/// The task that made a job fail.
pub struct TaskFailure {
    /// What people call the task.
    pub label: String,
    /// Why it failed.
    pub failure: Failure,
    /// How many attempts were made.
    pub attempts: u32,
}

/// What a run came to, whether or not it reached its end.
#[derive(Clone, Default)]
pub struct Totals {
    /// Tasks whose output is there.
    pub done: u64,
    /// Those of them that an earlier run had left.
    pub reused: u64,
    /// Attempts beyond the first.
    pub retries: u64,
    /// What all attempts of this run used.
    pub usage: Usage,
    /// How long all attempts together ran.
    pub busy: Duration,
}

/// What the threads share.
struct State {
    frontier: Frontier,
    stored: HashMap<Node, Stored>,
    attempts: HashMap<Node, u32>,
    totals: Totals,
    end: Option<Stop>,
}

enum Stop {
    Failed(TaskFailure),
    Deadline,
    Interrupted,
    /// This machine could not do its part.
    Host(anyhow::Error),
}

struct Run<'a> {
    job: &'a Job,
    config: &'a Config,
    executors: &'a Executors,
    results: Results,
    hashes: Hashes,
    progress: &'a Progress,
    /// Ends the attempts that are under way.
    cancel: Cancel,
    state: Mutex<State>,
    changed: Condvar,
}

/// How often the main thread looks at the clock and at Ctrl-C.
const TICK: Duration = Duration::from_millis(100);

/// Runs a job to its end.
///
/// # Errors
/// When this machine cannot do its part. What was finished is kept for the next run.
pub fn run(
    job: &Job,
    config: &Config,
    executors: &Executors,
    interrupted: &Cancel,
    progress: &Progress,
) -> anyhow::Result<(End, Totals)> {
    let run = Run {
        job,
        config,
        executors,
        results: Results::open(&config.work)?,
        hashes: Hashes::new(&config.work),
        progress,
        cancel: Cancel::default(),
        state: Mutex::new(State {
            frontier: job.plan.frontier(),
            stored: HashMap::new(),
            attempts: HashMap::new(),
            totals: Totals::default(),
            end: None,
        }),
        changed: Condvar::new(),
    };
    // No more threads than there are tasks.
    let slots = config.slots.min(usize::try_from(job.plan.task_count()).unwrap_or(usize::MAX));
    std::thread::scope(|scope| {
        for place in 0..slots {
            let slot = std::thread::Builder::new().name(format!("slot-{place}"));
            if let Err(error) = slot.spawn_scoped(scope, || run.slot()) {
                let error = anyhow::Error::from(error).context("cannot start a thread");
                run.state().end.get_or_insert(Stop::Host(error));
                break;
            }
        }
        run.watch(config.deadline, interrupted);
    });
    let state = run.state.into_inner().unwrap_or_else(PoisonError::into_inner);
    let end = match state.end {
        Some(Stop::Host(error)) => return Err(error),
        Some(Stop::Failed(failure)) => End::Failed(failure),
        Some(Stop::Deadline) => End::Deadline,
        Some(Stop::Interrupted) => End::Interrupted,
        None => {
            let outputs = match job.plan.reduce() {
                Some(reduce) => vec![reduce.tree().root()],
                None => (0..job.plan.map_count()).map(Node::Map).collect(),
            };
            let finished = |node| {
                let stored = state.stored.get(&node)?;
                Some(Finished { node, archive: run.results.path(stored), id: stored.output })
            };
            End::Done(outputs.into_iter().filter_map(finished).collect())
        }
    };
    Ok((end, state.totals))
}

impl Run<'_> {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The main thread: shows progress, and ends the run when time is up or the person says so.
    fn watch(&self, deadline: Option<Instant>, interrupted: &Cancel) {
        let mut state = self.state();
        while state.end.is_none() && !state.frontier.is_done() {
            let waited = self.changed.wait_timeout(state, TICK);
            state = waited.map_or_else(|poisoned| poisoned.into_inner().0, |(state, _)| state);
            self.progress.update(state.frontier.done_count(), state.totals.usage.read);
            if interrupted.is_cancelled() {
                state.end.get_or_insert(Stop::Interrupted);
            } else if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                state.end.get_or_insert(Stop::Deadline);
            }
        }
        drop(state);
        self.cancel.cancel();
        self.changed.notify_all();
    }

    /// One slot: takes tasks until there are no more.
    fn slot(&self) {
        while let Some(node) = self.next() {
            // A thread that panicked would leave the others waiting for its task.
            let attempt = catch_unwind(AssertUnwindSafe(|| self.attempt(node)));
            let stop = match attempt {
                Ok(Ok(stop)) => stop,
                // What was interrupted because the run ends is no trouble of its own.
                Ok(Err(_)) if self.cancel.is_cancelled() => None,
                Ok(Err(error)) => Some(Stop::Host(error)),
                Err(_) => Some(Stop::Host(anyhow::anyhow!("a thread panicked: please report it"))),
            };
            if let Some(stop) = stop {
                self.state().end.get_or_insert(stop);
                self.cancel.cancel();
            }
            self.changed.notify_all();
        }
    }

    /// The next task that is ready; waits while others may yet make one ready.
    fn next(&self) -> Option<Node> {
        let mut state = self.state();
        loop {
            if state.end.is_some() || state.frontier.is_done() {
                return None;
            }
            if let Some(node) = state.frontier.take_ready() {
                return Some(node);
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Makes one attempt at a task, or finds that an earlier run has done it. Gives what ends the run.
    fn attempt(&self, node: Node) -> anyhow::Result<Option<Stop>> {
        let (label, task) = self.task(node)?;
        let spec = task.spec.hash();
        if let Some(stored) = self.results.find(&spec, &self.cancel)? {
            let mut state = self.state();
            state.totals.reused += 1;
            finish(&mut state, node, stored);
            return Ok(None);
        }
        let report = self.executors.of(task.spec.kind).run(&task, &Control::of(&self.cancel));
        self.keep_log(node, &report);
        let changed = self.hashes.changed(&task.contents).map(|path| Failure::Input {
            path: path.display().to_string(),
            reason: "it was written to while the job ran".to_owned(),
        });
        let failure = match (report.outcome, report.output, changed) {
            (_, _, Some(changed)) => changed,
            (Outcome::Done, Some(output), None) => {
                let stored = self.results.keep(spec, output)?;
                let mut state = self.state();
                add(&mut state.totals, &report.usage, report.wall);
                finish(&mut state, node, stored);
                return Ok(None);
            }
            (Outcome::Failed(failure), _, None) => failure,
            (Outcome::Done, None, None) => Failure::Host { reason: "the output is missing".to_owned() },
        };
        let mut state = self.state();
        add(&mut state.totals, &report.usage, report.wall);
        if state.end.is_some() {
            // The attempt was cancelled because the run ends; that is not the task's failure.
            state.frontier.give_back(node);
            return Ok(None);
        }
        let attempts = state.attempts.entry(node).or_insert(0);
        *attempts += 1;
        let attempts = *attempts;
        let again = failure.weight() == Weight::Circumstance
            && failure.worth_retrying_here()
            && attempts <= self.job.file.retries;
        if again {
            state.totals.retries += 1;
            state.frontier.give_back(node);
            self.progress.note(&format!("{label}: {failure}; trying again"));
            return Ok(None);
        }
        Ok(Some(Stop::Failed(TaskFailure { label, failure, attempts })))
    }

    /// Writes a task's log where the person wants it. A log that is lost is not worth a result.
    fn keep_log(&self, node: Node, report: &Report) {
        let Some(directory) = &self.config.logs else { return };
        if report.log.is_empty() {
            return;
        }
        let path = directory.join(log_name(node));
        if let Err(error) = std::fs::write(&path, &report.log) {
            self.progress.note(&format!("warning: cannot write the log {}: {error}", path.display()));
        }
    }
}

/// The name of a task's log in a directory of logs.
pub fn log_name(node: Node) -> String {
    match node {
        Node::Map(index) => format!("map-{index:06}.log"),
        Node::Reduce { level, index } => format!("reduce-{level}-{index:06}.log"),
    }
}

fn finish(state: &mut State, node: Node, stored: Stored) {
    state.stored.insert(node, stored);
    state.frontier.finish(node);
    state.totals.done = state.frontier.done_count();
}

fn add(totals: &mut Totals, usage: &Usage, wall: Duration) {
    totals.usage.add(usage);
    totals.busy += wall;
}
