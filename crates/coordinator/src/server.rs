//! A coordinator's life: from what it remembers to an orderly end.

use std::{fs, path::Path, sync::Arc, thread::JoinHandle, time::Duration};

use tidemill_net::{
    addresses::{Choice, LeftOut},
    blobs::{BLOBS_ALPN, BlobError, BlobOptions, Blobs, Keeps},
    endpoint::{BindError, Node, NodeOptions},
    session::{SOFTWARE, bind_keys},
    ticket::{Ticket, TicketError},
    wire::{Process, SESSION_ALPN, Welcome},
};
use tidemill_store::{Options, Store, StoreError, UnixMillis};
use tidemill_types::{Chain, EscrowId, JobId, NodeId, ResultKey, ResultKeyError};
use tidemill_verify::Model;
use tokio::{
    sync::{mpsc, watch},
    time::MissedTickBehavior,
};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{
    clock::{Clock, unix_ms},
    committer,
    config::Config,
    core::{Core, CoreConfig, Step},
    effects::Effects,
    event::Event,
    failpoint::Failpoint,
    local::LocalSessions,
    mending,
    passes::{self, Passes, PassesError},
    present::Present,
    queue::{Events, queue},
    recovery, session,
    shared::Shared,
    teller::Teller,
};

/// How often the core looks at the clock.
const TICK: Duration = Duration::from_millis(50);

/// How long the system may take to say which addresses it has.
const ADDRESSES_PATIENCE: Duration = Duration::from_secs(3);

/// How long a peer that sends or takes a blob may keep still.
const STALL: Duration = Duration::from_secs(20);

/// Rows of removed jobs that are deleted at a time.
const SWEEP_ROWS: usize = 4096;

/// Jobs whose time is over that are removed at a time.
const SWEEP_JOBS: usize = 256;

/// A coordinator that runs. Dropping it without [`Self::stop`] is like a crash: nothing is lost.
pub struct Coordinator {
    shared: Arc<Shared>,
    ticket: Ticket,
    left_out: Vec<LeftOut>,
    core: JoinHandle<()>,
    committer: JoinHandle<()>,
    failure: watch::Receiver<Option<String>>,
    _stop: DropGuard,
}

/// Why a coordinator did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Its directory cannot be used.
    #[error("cannot use the directory {directory}")]
    Directory {
        /// Which.
        directory: String,
        /// Why.
        source: std::io::Error,
    },
    /// Its result key is none.
    #[error("the result key is not usable")]
    ResultKey(#[from] ResultKeyError),
    /// Its state cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Its blobs cannot be opened.
    #[error(transparent)]
    Blobs(#[from] BlobError),
    /// Its passes cannot be read.
    #[error(transparent)]
    Passes(#[from] PassesError),
    /// It cannot name its process.
    #[error("the system has no randomness to give")]
    Randomness(#[source] std::io::Error),
    /// It cannot listen.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// It has no address.
    #[error(transparent)]
    Ticket(#[from] TicketError),
    /// A job that it was running cannot be read back.
    #[error("the job {job} cannot be taken up again: {reason}")]
    Job {
        /// Which.
        job: JobId,
        /// Why.
        reason: String,
    },
    /// It owes money that it would not pay.
    #[error("its state has an escrow that is not settled, {escrow}, {reason}")]
    Money {
        /// Which.
        escrow: EscrowId,
        /// What is wrong.
        reason: String,
    },
    /// The system gives it no thread.
    #[error("cannot start a thread")]
    Thread(#[source] std::io::Error),
}

impl Coordinator {
    /// Starts a coordinator, with all that it remembers.
    ///
    /// # Errors
    /// [`StartError`]
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let Config {
            directory,
            node_key,
            result_key,
            operator,
            pass,
            bind,
            advertise,
            disk,
            pace,
            keep,
            trust,
            money,
            executor,
        } = config;
        make_directory(&directory)?;
        let key = ResultKey::from_bytes(&result_key)?;
        let store = Store::open(&directory.join("state"), Options::default())?;
        let blobs = Blobs::open(
            &directory.join("blobs"),
            BlobOptions { keeps: Keeps::Durable, budget: disk.0, stall: STALL },
        )
        .await?;
        let options = NodeOptions {
            bind,
            protocols: vec![SESSION_ALPN.to_vec(), BLOBS_ALPN.to_vec()],
            ..NodeOptions::default()
        };
        let node = Node::bind(&node_key, options).await?;
        let teller = money.map(|money| Arc::new(Teller::new(money)));
        let money = teller.as_ref().map(|teller| teller.core_config());
        let terms = money.as_ref().map(|money| money.terms);
        // Results are for the ledger that pays for them.
        let chain = Chain { chain_id: terms.map_or(0, |terms| terms.contract.chain_id), ..Chain::default() };
        let welcome = Welcome {
            software: SOFTWARE.to_owned(),
            process: Process::draw().map_err(StartError::Randomness)?,
            // The keys of nodes vouch for each other on no ledger.
            binding: bind_keys(&node, &key, &Chain::default()),
            chain,
            heartbeat: pace.heartbeat,
            lease: pace.lease,
            money: terms,
        };
        let core_config = CoreConfig {
            node: node.id(),
            chain,
            seal_key: blake3::derive_key("tidemill 2026 lease seal", &node_key),
            lease: pace.lease,
            heartbeat: pace.heartbeat,
            second_opinion: pace.second_opinion,
            undecided: pace.undecided,
            keep_evidence: pace.keep_evidence,
            keep,
            trust,
            model: Model::default(),
            policy: pace.policy.clone(),
            money,
        };
        let Choice { chosen, left_out } = node.addresses(&advertise, ADDRESSES_PATIENCE).await;
        let ticket = Ticket::new(node.id(), chosen, pass.clone())?;
        let (queue, core_events) = queue();
        let (present, absent) = Present::open(&directory);
        let passes = Passes::open(&directory, &pass)?;
        let stop = CancellationToken::new();
        let shared = Shared::new(
            node, operator, passes, welcome, pace, keep, directory, store, blobs, present, queue, teller,
            executor, stop,
        );

        let mut clock = Clock::new();
        let core = recovery::recover(&shared, core_config, clock.now()).await?;
        let effects = Effects::new(shared.clone());
        let (steps, committer_steps) = mpsc::channel(committer::QUEUE);
        let (failed, failure) = watch::channel(None);

        let with = shared.clone();
        let runtime = tokio::runtime::Handle::current();
        let committer = spawn("committer", move || {
            let _runtime = runtime.enter();
            let committed =
                committer::run(&with.store, committer_steps, &with.stop, |effect| effects.carry_out(effect));
            if let Err(error) = committed {
                tracing::error!(error = &error as &dyn std::error::Error, "the coordinator cannot go on");
                let _ = failed.send(Some(error.to_string()));
            } else if !with.stop.is_cancelled() {
                let _ = failed.send(Some("the core ended unexpectedly".to_owned()));
            }
            with.stop.cancel();
        })?;
        let stop = shared.stop.clone();
        let core = spawn("core", move || {
            match tokio::runtime::Builder::new_current_thread().enable_time().build() {
                Ok(runtime) => runtime.block_on(run_core(core, core_events, steps, clock, stop)),
                Err(error) => tracing::error!(%error, "the core has no runtime"),
            }
        })?;
        shared.tasks.spawn(session::accept(shared.clone()));
        shared.tasks.spawn(session::recall_all(shared.clone(), absent));
        shared.tasks.spawn(mending::watch(shared.clone()));
        shared.tasks.spawn(passes::watch(shared.clone()));
        if let Some(teller) = &shared.teller {
            shared.tasks.spawn(teller.clone().run(shared.clone()));
            shared.tasks.spawn(teller.clone().watch_stakes(shared.clone()));
        }
        let with = shared.clone();
        shared.tasks.spawn(async move { sweep(&with).await });
        let stop = shared.stop.clone().drop_guard();
        Ok(Self { shared, ticket, left_out, core, committer, failure, _stop: stop })
    }

    /// What others join with.
    pub fn ticket(&self) -> &Ticket {
        &self.ticket
    }

    /// Where it listens as well, and what is not in its ticket.
    pub fn left_out(&self) -> &[LeftOut] {
        &self.left_out
    }

    /// The UDP port on which it listens.
    pub fn port(&self) -> Option<u16> {
        self.shared.node.port()
    }

    /// How many providers have a session, as it changes. Whoever asks about those that are counted is told of them.
    pub fn providers(&self) -> watch::Receiver<usize> {
        self.shared.providers.subscribe()
    }

    /// Sessions of this process, for who serves people beside it.
    pub fn local(&self) -> LocalSessions {
        LocalSessions::new(self.shared.clone())
    }

    /// Its node.
    pub fn node(&self) -> NodeId {
        self.shared.node.id()
    }

    /// Waits until it cannot go on, and says why; for ever, when all goes well.
    pub async fn failed(&self) -> String {
        let mut failure = self.failure.clone();
        match failure.wait_for(Option::is_some).await {
            Ok(reason) => reason.clone().unwrap_or_default(),
            Err(_) if self.shared.stop.is_cancelled() => std::future::pending().await,
            Err(_) => "the committer ended unexpectedly".to_owned(),
        }
    }

    /// Ends it: tells the peers, and waits until all is on disk.
    pub async fn stop(self) {
        let Self { shared, core, committer, .. } = self;
        for outbox in shared.outboxes.all() {
            outbox.put(crate::outbox::Outgoing::End);
        }
        shared.stop.cancel();
        // First who asks, then who decides, then who writes.
        let joined = tokio::task::spawn_blocking(move || {
            let _ = core.join();
            let _ = committer.join();
        });
        let _ = joined.await;
        shared.tasks.close();
        let _ = tokio::time::timeout(Duration::from_secs(5), shared.tasks.wait()).await;
        shared.node.close().await;
    }
}

async fn run_core(
    mut core: Core,
    mut events: Events,
    steps: mpsc::Sender<Step>,
    mut clock: Clock,
    stop: CancellationToken,
) {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let (taken, ticked) = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            _ = ticks.tick() => (Vec::new(), true),
            taken = events.take() => match taken {
                Some(taken) => (taken, false),
                None => return,
            },
        };
        let now = clock.now();
        for event in taken {
            core.handle(event, now);
        }
        if ticked {
            core.tick(now);
        }
        core.place(now);
        let step = core.take_step(now);
        if (!step.changes.is_empty() || !step.effects.is_empty()) && steps.send(step).await.is_err() {
            return;
        }
    }
}

/// Has jobs removed whose time is over, and deletes the rows of removed jobs, and evidence whose time is over, a slice at a
/// time. Each step is durable by itself, so that a process which is killed in between goes on at its next start.
async fn sweep(shared: &Arc<Shared>) {
    loop {
        let has_expired = expire(shared).await;
        let store = shared.store.clone();
        let swept = tokio::task::spawn_blocking(move || {
            let of_jobs = store.sweep(SWEEP_ROWS)?;
            Ok::<bool, StoreError>(store.forget_evidence(UnixMillis(unix_ms()), SWEEP_ROWS)? || of_jobs)
        });
        let is_more = match swept.await {
            Ok(Ok(is_more)) => {
                if is_more {
                    Failpoint::InSweep.pass();
                }
                is_more
            }
            Ok(Err(error)) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "removed jobs cannot be swept out yet"
                );
                false
            }
            Err(_) => return,
        };
        let pause = match (is_more, has_expired) {
            (true, _) => Duration::from_millis(10),
            // The next ones are found once these are gone.
            (false, true) => Duration::from_millis(100),
            (false, false) => Duration::from_secs(10),
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = shared.stop.cancelled() => return,
        }
    }
}

/// Tells the core of jobs whose time is over. Says whether there are any.
async fn expire(shared: &Arc<Shared>) -> bool {
    let past = shared.past();
    let until = UnixMillis(unix_ms().saturating_sub(shared.keep.time.0));
    let store = shared.store.clone();
    let found = tokio::task::spawn_blocking(move || store.ended_until(until, SWEEP_JOBS)).await;
    let jobs = match found {
        Ok(Ok(jobs)) => jobs,
        Ok(Err(error)) => {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, "jobs whose time is over cannot be found yet");
            return false;
        }
        Err(_) => return false,
    };
    let are_there = !jobs.is_empty();
    shared.tell(Event::Expired { jobs, past }).await;
    are_there
}

fn make_directory(directory: &Path) -> Result<(), StartError> {
    use std::os::unix::fs::DirBuilderExt;
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(directory);
    made.map_err(|source| StartError::Directory { directory: directory.display().to_string(), source })
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, StartError> {
    std::thread::Builder::new().name(name.to_owned()).spawn(run).map_err(StartError::Thread)
}

#[cfg(test)]
mod tests;
