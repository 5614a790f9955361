//! The worker process that runs, as the executor has it: who waits for what it says, and its end.

use std::{
    collections::HashMap,
    fs::File,
    io,
    num::NonZeroU64,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    time::{Duration, Instant},
};

use tidemill_exec::{Cancel, Confinement, HostProcess, HostSender};
use tidemill_types::{Failure, ProgramKind, Tokens};

use crate::{
    executor::ModelHostConfig,
    protocol::{ALIVE_S, FromHost, PIECE_BYTES, ToHost},
};

/// A worker that says nothing for so long hangs.
const SILENCE: Duration = Duration::from_secs(12 * ALIVE_S);

/// A worker in which a task that was cancelled goes on for so long hangs. One step of a large model may take seconds.
const CANCELLING: Duration = Duration::from_secs(60);

/// What was said of a task and not heard yet, at most: then the worker waits, as it does where a pipe is full.
const MOST_UNHEARD: usize = 64;

/// Writable memory that the worker takes besides models and texts: stacks, what a step needs, inputs and outputs.
const OWN_BYTES: u64 = 2 << 30;

/// A worker.
#[derive(Debug)]
pub(crate) struct Live {
    sender: HostSender,
    confinement: Confinement,
    pid: u32,
    waiters: Mutex<HashMap<u64, Waiter>>,
    next: AtomicU64,
    /// Set to end it.
    end: Cancel,
    is_dead: AtomicBool,
}

#[derive(Debug)]
struct Waiter {
    /// None once the task was cancelled.
    to: Option<SyncSender<Said>>,
    cancelled: Option<Instant>,
}

/// What a worker says of one task.
#[derive(Debug)]
pub(crate) enum Said {
    NeedsModel,
    Piece {
        follow: NonZeroU64,
        offset: u64,
        bytes: Vec<u8>,
    },
    Done {
        answers: String,
        claims: String,
        tokens: Tokens,
        model_bytes: u64,
    },
    Failed {
        failure: Failure,
        tokens: Tokens,
    },
    /// The worker is gone.
    Died(String),
}

impl Live {
    /// Starts a worker, and a thread that hears it.
    pub(crate) fn start(config: &ModelHostConfig) -> io::Result<Arc<Self>> {
        let memory = config.memory.0;
        let (process, sender) = HostProcess::start(
            &config.command,
            ProgramKind::Infer,
            config.threads.max(1),
            memory.saturating_add(OWN_BYTES),
            config.unlisted,
        )?;
        sender.send(&ToHost::Begin { memory }, None)?;
        let live = Arc::new(Self {
            sender,
            confinement: process.confinement().clone(),
            pid: process.pid(),
            waiters: Mutex::default(),
            next: AtomicU64::new(0),
            end: process.cancel(),
            is_dead: AtomicBool::new(false),
        });
        let heard = live.clone();
        std::thread::Builder::new().name("models".to_owned()).spawn(move || heard.hear(process))?;
        Ok(live)
    }

    pub(crate) fn confinement(&self) -> &Confinement {
        &self.confinement
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.is_dead.load(Ordering::Relaxed)
    }

    /// Ends the process.
    pub(crate) fn end(&self) {
        self.end.cancel();
    }

    /// A number for a task, and what will be said of it.
    pub(crate) fn expect(&self) -> (u64, Receiver<Said>) {
        let (to, said) = sync_channel(MOST_UNHEARD);
        let task = self.next.fetch_add(1, Ordering::Relaxed);
        self.waiters().insert(task, Waiter { to: Some(to), cancelled: None });
        // Whoever died before this has told nobody of it.
        if self.is_dead() {
            self.waiters().remove(&task);
        }
        (task, said)
    }

    /// Nobody waits for a task any more.
    pub(crate) fn give_up(&self, task: u64) {
        let mut waiters = self.waiters();
        if let Some(waiter) = waiters.get_mut(&task) {
            waiter.to = None;
            waiter.cancelled = Some(Instant::now());
            drop(waiters);
            let _ = self.send(&ToHost::Cancel { task }, None);
        }
    }

    pub(crate) fn send(&self, message: &ToHost, file: Option<&File>) -> io::Result<()> {
        let sent = self.sender.send(message, file);
        if sent.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::TimedOut) {
            self.end();
        }
        sent
    }

    fn hear(&self, mut process: HostProcess) {
        let reason = loop {
            match process.receive::<FromHost>(SILENCE) {
                Ok(message) => {
                    if let Err(reason) = self.tell(message) {
                        break reason;
                    }
                }
                Err(end) => break end.to_string(),
            }
            let overdue =
                |waiter: &Waiter| waiter.cancelled.is_some_and(|since| since.elapsed() > CANCELLING);
            if self.waiters().values().any(overdue) {
                break format!("a task went on for {} s after it was cancelled", CANCELLING.as_secs());
            }
        };
        self.is_dead.store(true, Ordering::Relaxed);
        drop(process);
        // Told without the lock, since whoever has much to hear takes it meanwhile.
        let waiters: Vec<Waiter> = self.waiters().drain().map(|(_, waiter)| waiter).collect();
        for to in waiters.into_iter().filter_map(|waiter| waiter.to) {
            let _ = to.send(Said::Died(reason.clone()));
        }
    }

    /// Gives a message to whoever waits for it. `Err`: the worker says what it may not.
    fn tell(&self, message: FromHost) -> Result<(), String> {
        let (task, said, is_last) = match message {
            FromHost::Alive => return Ok(()),
            FromHost::NeedsModel { task, program } => {
                let mut waiters = self.waiters();
                let is_waited_for = waiters.get_mut(&task).is_some_and(|waiter| {
                    waiter.to.as_ref().is_some_and(|to| to.try_send(Said::NeedsModel).is_ok())
                });
                drop(waiters);
                if !is_waited_for {
                    let _ = self.send(&ToHost::NoModel { program }, None);
                }
                return Ok(());
            }
            FromHost::Piece { bytes, .. } if bytes.len() > PIECE_BYTES => {
                return Err("it sent a longer piece of output than it may".to_owned());
            }
            FromHost::Piece { task, follow, offset, bytes } => {
                (task, Said::Piece { follow, offset, bytes }, false)
            }
            FromHost::Done { task, answers, claims, tokens, model_bytes } => {
                (task, Said::Done { answers, claims, tokens, model_bytes }, true)
            }
            FromHost::Failed { task, failure, tokens } => (task, Said::Failed { failure, tokens }, true),
        };
        let mut waiters = self.waiters();
        let to = waiters.get(&task).and_then(|waiter| waiter.to.clone());
        if is_last {
            waiters.remove(&task);
        }
        drop(waiters);
        if let Some(to) = to {
            let _ = to.send(said);
        }
        Ok(())
    }

    fn waiters(&self) -> MutexGuard<'_, HashMap<u64, Waiter>> {
        self.waiters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
