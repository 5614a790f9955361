//! The threads that run tasks, one for each slot. A task keeps its thread until it has ended.

use std::{
    collections::VecDeque,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use tidemill_exec::{Control, Executor, Output, OutputBody as Produced, Report};
use tidemill_net::wire::{LogBody, MAX_INLINE_OUTPUT_BYTES, OutputBody, TaskResult};
use tidemill_types::{BlobId, Claim, ClaimedOutput, Failure, Leaf, NodeId, Outcome, Terms, WorkTerms};
use tokio::sync::mpsc;

use crate::{
    attempt::Attempt,
    chunks::Pieces,
    inputs::{InputError, Inputs, Places},
    key::{CoordinatorIndex, LeaseKey},
    turn::{self, Turn},
};

/// Who leases and who runs.
#[derive(Clone, Debug)]
pub(crate) struct Parties {
    /// The coordinators, by their indices.
    pub(crate) coordinators: Vec<NodeId>,
    pub(crate) provider: NodeId,
}

/// An engine as it is lent.
#[derive(Clone)]
pub(crate) struct LentEngine {
    pub(crate) executor: Arc<dyn Executor>,
    pub(crate) slots: u32,
    pub(crate) hardware_class: Option<String>,
}

/// An attempt that may start now.
#[derive(Debug)]
pub(crate) struct Start {
    pub(crate) attempt: Arc<Attempt>,
    pub(crate) places: Places,
}

/// What became of one.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) lease: LeaseKey,
    pub(crate) result: Ran,
}

/// How it went.
#[derive(Debug)]
pub(crate) enum Ran {
    /// It has a result. A large output is not in it, and has to be kept first.
    Result(Box<TaskResult>, Option<LargeOutput>),
    /// It never began: what the coordinator says of its inputs is wrong, or they are gone.
    NoInputs(InputError),
    /// It was cancelled.
    Cancelled,
}

/// An output that does not travel in a message.
#[derive(Debug)]
pub(crate) struct LargeOutput {
    pub(crate) id: BlobId,
    pub(crate) body: Produced,
}

/// The threads of all engines, and the attempts that wait for one.
#[derive(Debug)]
pub(crate) struct Runners {
    /// What the threads of an engine share, by its index.
    engines: Vec<Arc<Shared>>,
}

#[derive(Debug)]
struct Shared {
    waiting: Mutex<Waiting>,
    woken: Condvar,
}

/// The attempts of an engine that wait for a thread, and who has its threads.
#[derive(Debug)]
struct Waiting {
    /// What is each coordinator's, by its index.
    shares: Vec<Share>,
    /// Attempts that were begun since the beginning.
    begun: u64,
    closed: bool,
}

#[derive(Debug, Default)]
struct Share {
    starts: VecDeque<Start>,
    running: usize,
    /// The count of attempts that were begun when one of these was begun last.
    last: u64,
}

impl Runners {
    /// Starts the threads of these engines. They say through `ended` what became of each attempt, put what followed ones
    /// write into the `pieces` of their coordinator, by its index, and end when this is dropped and what they run has
    /// ended.
    pub(crate) fn new(
        engines: &[LentEngine],
        parties: &Arc<Parties>,
        ended: &mpsc::Sender<Ended>,
        pieces: &[Arc<Pieces>],
    ) -> io::Result<Self> {
        let shared = |_| Arc::new(Shared::new(parties.coordinators.len()));
        let runners = Self { engines: engines.iter().map(shared).collect() };
        let inputs = Arc::new(Inputs::default());
        let slots = runners.engines.iter().zip(engines);
        let slots = slots.flat_map(|(shared, lent)| (0..lent.slots).map(move |_| (shared, lent)));
        for (slot, (shared, lent)) in slots.enumerate() {
            let runner = Runner {
                shared: shared.clone(),
                executor: lent.executor.clone(),
                hardware_class: lent.hardware_class.clone(),
                parties: parties.clone(),
                inputs: inputs.clone(),
                ended: ended.clone(),
                pieces: pieces.to_vec(),
            };
            thread::Builder::new().name(format!("tidemill task {slot}")).spawn(move || runner.run())?;
        }
        Ok(runners)
    }

    /// Hands an attempt to whichever thread of its engine is free first.
    pub(crate) fn start(&self, start: Start) {
        let shared = &self.engines[start.attempt.engine.place()];
        let coordinator = start.attempt.key.coordinator;
        shared.lock().shares[coordinator.place()].starts.push_back(start);
        shared.woken.notify_one();
    }

    /// Takes back the attempts of a coordinator that no thread has begun.
    pub(crate) fn withdraw(&self, of: CoordinatorIndex) -> Vec<LeaseKey> {
        let mut withdrawn = Vec::new();
        for shared in &self.engines {
            let mut waiting = shared.lock();
            let starts = waiting.shares[of.place()].starts.drain(..);
            withdrawn.extend(starts.map(|start| start.attempt.key));
        }
        withdrawn
    }
}

impl Drop for Runners {
    fn drop(&mut self) {
        for shared in &self.engines {
            let mut waiting = shared.lock();
            waiting.closed = true;
            waiting.shares.iter_mut().for_each(|share| share.starts.clear());
            shared.woken.notify_all();
        }
    }
}

impl Shared {
    fn new(coordinators: usize) -> Self {
        let shares = CoordinatorIndex::first(coordinators).map(|_| Share::default()).collect();
        let waiting = Waiting { shares, begun: 0, closed: false };
        Self { waiting: Mutex::new(waiting), woken: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next(&self) -> Option<Start> {
        let mut waiting = self.lock();
        loop {
            if let Some(start) = waiting.begin() {
                return Some(start);
            }
            if waiting.closed {
                return None;
            }
            waiting = self.woken.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The thread of an attempt of this coordinator is free.
    fn ended(&self, coordinator: CoordinatorIndex) {
        self.lock().shares[coordinator.place()].running -= 1;
    }
}

impl Waiting {
    /// The attempt that is next; it is taken to have begun.
    fn begin(&mut self) -> Option<Start> {
        let turns = self.shares.iter().map(|share| {
            let pays = share.starts.front()?.attempt.pays();
            Some(Turn { pays, running: share.running, last: share.last })
        });
        let place = turn::next(turns)?;
        self.begun += 1;
        let share = &mut self.shares[place];
        share.running += 1;
        share.last = self.begun;
        share.starts.pop_front()
    }
}

struct Runner {
    shared: Arc<Shared>,
    executor: Arc<dyn Executor>,
    hardware_class: Option<String>,
    parties: Arc<Parties>,
    inputs: Arc<Inputs>,
    ended: mpsc::Sender<Ended>,
    /// Those of each coordinator, by its index.
    pieces: Vec<Arc<Pieces>>,
}

impl Runner {
    fn run(self) {
        while let Some(Start { attempt, places }) = self.shared.next() {
            let lease = attempt.key;
            let result =
                catch_unwind(AssertUnwindSafe(|| self.attempt(&attempt, &places))).unwrap_or_else(|_| {
                    tracing::error!(%lease, "running a task panicked");
                    let reason = "running the task panicked".to_owned();
                    self.result(&attempt, Report::not_run(Failure::Host { reason }))
                });
            self.shared.ended(lease.coordinator);
            // Nobody listens any more once the provider has stopped.
            if self.ended.blocking_send(Ended { lease, result }).is_err() {
                return;
            }
        }
    }

    fn attempt(&self, attempt: &Attempt, places: &Places) -> Ran {
        if attempt.cancel.is_cancelled() {
            return Ran::Cancelled;
        }
        match self.inputs.task(attempt, places) {
            Ok(task) => {
                attempt.began.get_or_init(Instant::now);
                let chunks = self.pieces[attempt.key.coordinator.place()].of(&attempt.follow);
                let (cancel, draft) = (attempt.cancel.clone(), attempt.draft.clone());
                let control = Control { cancel, chunks, draft };
                self.result(attempt, self.executor.run(&task, &control))
            }
            Err(error) => Ran::NoInputs(error),
        }
    }

    /// The result of an attempt, made here so that hashing its leaf keeps nobody else waiting.
    fn result(&self, attempt: &Attempt, report: Report) -> Ran {
        let Report { outcome, usage, output, log, wall } = report;
        if outcome == Outcome::Failed(Failure::Cancelled) || attempt.cancel.is_cancelled() {
            discard(output);
            return Ran::Cancelled;
        }
        let claimed = output.as_ref().map(|output| ClaimedOutput { id: output.id, len: output.len });
        let claim = Claim { outcome, usage, output: claimed, hardware_class: self.hardware_class.clone() };
        let terms = Terms {
            escrow: attempt.pay.map_or([0; 32], |pay| pay.escrow.0),
            coordinator: self.parties.coordinators[attempt.key.coordinator.place()],
            provider: self.parties.provider,
            job: attempt.job,
            task: attempt.task,
            lease: attempt.key.lease,
            work: WorkTerms::of(&attempt.spec),
        };
        let leaf = match Leaf::of(&terms, &claim) {
            Ok(leaf) => leaf.hash(),
            // The executor's mistake, and so this machine's trouble.
            Err(error) => {
                discard(output);
                return self.result(attempt, Report::not_run(Failure::Host { reason: error.to_string() }));
            }
        };
        let (body, large) = match output {
            None => (None, None),
            Some(Output { id, body: Produced::Bytes(bytes), .. })
                if bytes.len() > MAX_INLINE_OUTPUT_BYTES =>
            {
                (Some(OutputBody::Blob), Some(LargeOutput { id, body: Produced::Bytes(bytes) }))
            }
            Some(Output { body: Produced::Bytes(bytes), .. }) => (Some(OutputBody::Inline(bytes)), None),
            Some(Output { len, body: Produced::File(path), .. }) if len <= MAX_INLINE_OUTPUT_BYTES as u64 => {
                // A worker may spool what would have fitted into a message, where it must travel.
                let read = std::fs::read(&path);
                let _ = std::fs::remove_file(&path);
                match read {
                    Ok(bytes) => (Some(OutputBody::Inline(bytes)), None),
                    Err(error) => {
                        let reason = format!("an output cannot be read back: {error}");
                        return self.result(attempt, Report::not_run(Failure::Host { reason }));
                    }
                }
            }
            Some(Output { id, body, .. }) => (Some(OutputBody::Blob), Some(LargeOutput { id, body })),
        };
        let result = TaskResult {
            lease: attempt.key.lease,
            seal: attempt.seal,
            leaf,
            claim,
            wall_us: micros(wall),
            output: body,
            log: LogBody::of(log),
        };
        Ran::Result(Box::new(result), large)
    }
}

fn micros(wall: Duration) -> u64 {
    u64::try_from(wall.as_micros()).unwrap_or(u64::MAX)
}

/// Removes what nobody will ask for.
fn discard(output: Option<Output>) {
    if let Some(Output { body: Produced::File(path), .. }) = output {
        let _ = std::fs::remove_file(path);
    }
}
