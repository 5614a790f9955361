//! What the parts of the shell share.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tidemill_exec::Executor;
use tidemill_net::{
    blobs::{BlobError, BlobRef, Blobs, FetchError, Pin},
    endpoint::{Connection, Node},
    wire::{Refusal, Welcome},
};
use tidemill_store::Store;
use tidemill_types::{Address, ByteSize, NodeId};
use tokio::sync::{Notify, Semaphore, watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    config::Pace,
    core::Keep,
    event::{Event, SessionId},
    following::Following,
    inputs::Inputs,
    outbox::Outboxes,
    passes::Passes,
    present::Present,
    queue::Queue,
    room::Room,
    session::Seats,
    teller::Teller,
};

/// One for each coordinator.
pub struct Shared {
    pub node: Node,
    /// The address of the result key by which its operator is known.
    pub operator: Address,
    pub passes: Passes,
    pub welcome: Welcome,
    pub pace: Pace,
    pub keep: Keep,
    /// Where the state and the blobs are.
    pub directory: PathBuf,
    pub store: Store,
    pub blobs: Blobs,
    pub inputs: Inputs,
    pub outboxes: Outboxes,
    pub following: Following,
    pub peers: Peers,
    /// The same for the next process.
    pub present: Present,
    /// Which process of each provider is here.
    pub seats: Seats<Connection>,
    pub queue: Queue,
    /// Where work is paid for.
    pub teller: Option<Arc<Teller>>,
    /// Runs programs that compare outputs; nothing where no job may have one.
    pub executor: Option<Arc<dyn Executor>>,
    /// How many sessions providers have: the core has heard of each that is counted.
    pub providers: watch::Sender<usize>,
    /// Set when the coordinator is to end.
    pub stop: CancellationToken,
    /// Every task that the shell spawned.
    pub tasks: TaskTracker,
    /// Jobs that come as blobs, each of which may be long: so many at a time.
    pub large_jobs: Semaphore,
    next_session: AtomicU64,
    past: AtomicU64,
}

/// Why a blob could not be had from a node.
#[derive(Debug, thiserror::Error)]
pub enum Unavailable {
    /// The node lends nothing.
    #[error("it opened no connection for blobs")]
    NotLent,
    /// The node did not send it.
    #[error(transparent)]
    Peer(FetchError),
    /// This coordinator cannot keep it.
    #[error(transparent)]
    Here(BlobError),
}

impl Unavailable {
    /// Whether the node, asked, does not have the blob: it says so, or what it has is something else.
    pub fn is_gone(&self) -> bool {
        use FetchError::{Corrupt, NotThere, WrongLength};
        matches!(self, Self::Peer(NotThere(_) | WrongLength { .. } | Corrupt { .. }))
    }

    fn may_pass(&self) -> bool {
        matches!(self, Self::Peer(error) if error.may_pass())
    }
}

/// Who is connected, who lends blobs, and who is kept out.
#[derive(Debug, Default)]
pub struct Peers {
    state: Mutex<State>,
    came: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// How many sessions each node has.
    sessions: HashMap<NodeId, usize>,
    /// How many of these showed the result key of the coordinator's operator.
    operators: HashMap<NodeId, usize>,
    /// The connections over which each node lends blobs: one for each process of it.
    blobs: HashMap<NodeId, Vec<Connection>>,
    banned: HashMap<NodeId, Instant>,
}

/// The most nodes that are kept out at a time. Beyond that the list begins anew: nodes cost nothing to make, so
/// it keeps out mistakes rather than enemies.
const MOST_BANNED: usize = 4096;

/// Jobs of up to [`tidemill_job::JobSpec::MAX_BYTES`] that are taken in at a time.
const MOST_LARGE_JOBS: usize = 4;

/// Processes of one node that may lend blobs at a time.
const MOST_LENDING: usize = 8;

/// How long a node that has a session may take to open its connection for blobs.
const BLOBS_PATIENCE: Duration = Duration::from_secs(10);

impl Shared {
    #[expect(clippy::too_many_arguments, reason = "one for each part")]
    pub fn new(
        node: Node,
        operator: Address,
        passes: Passes,
        welcome: Welcome,
        pace: Pace,
        keep: Keep,
        directory: PathBuf,
        store: Store,
        blobs: Blobs,
        present: Present,
        queue: Queue,
        teller: Option<Arc<Teller>>,
        executor: Option<Arc<dyn Executor>>,
        stop: CancellationToken,
    ) -> Arc<Self> {
        Arc::new(Self {
            node,
            operator,
            passes,
            welcome,
            pace,
            keep,
            directory,
            store,
            blobs,
            inputs: Inputs::default(),
            outboxes: Outboxes::default(),
            following: Following::default(),
            peers: Peers::default(),
            present,
            seats: Seats::default(),
            queue,
            teller,
            executor,
            providers: watch::Sender::new(0),
            stop,
            tasks: TaskTracker::new(),
            large_jobs: Semaphore::new(MOST_LARGE_JOBS),
            next_session: AtomicU64::new(1),
            past: AtomicU64::new(0),
        })
    }

    /// Why the disk has no room for a job that brings so many bytes.
    pub fn no_room(&self, brings: ByteSize) -> Option<Refusal> {
        match Room::of(&self.directory, self.blobs.usage()) {
            Ok(room) => room.refusal(brings, self.keep.reserve),
            Err(error) => {
                tracing::warn!(%error, "how much room the disk has is not known");
                None
            }
        }
    }

    /// A number for a new session.
    pub fn new_session(&self) -> SessionId {
        SessionId(self.next_session.fetch_add(1, Ordering::Relaxed))
    }

    /// How many ends of jobs, removals and closings of escrows are durable, so that a look into the store after this call
    /// sees them.
    pub fn past(&self) -> u64 {
        self.past.load(Ordering::Acquire)
    }

    /// So many are durable.
    pub fn set_past(&self, count: u64) {
        self.past.store(count, Ordering::Release);
    }

    /// Has a blob of a node here, and pinned: from whichever process of the node has it. `progress` is told how many
    /// of its bytes are here.
    ///
    /// # Errors
    /// [`Unavailable`]
    pub async fn borrow(
        &self,
        node: NodeId,
        blob: BlobRef,
        pin: &Pin,
        mut progress: impl FnMut(u64) + Send,
    ) -> Result<(), Unavailable> {
        let mut problem = Unavailable::NotLent;
        for connection in self.peers.blobs_of(node).await {
            match self.blobs.fetch(&connection, blob, pin, &mut progress).await {
                Ok(()) => return Ok(()),
                Err(FetchError::Blob(error)) => return Err(Unavailable::Here(error)),
                // One process of the node does not have it; another, whose connection broke, may.
                Err(_) if problem.may_pass() => {}
                Err(error) => problem = Unavailable::Peer(error),
            }
        }
        Err(problem)
    }

    /// Tells the core. Waits while it has too much to do; nobody listens any more when the coordinator ends.
    pub async fn tell(&self, event: Event) {
        self.queue.put(event).await;
    }
}

impl Peers {
    pub fn joined(&self, node: NodeId, is_operator: bool) {
        let mut state = self.lock();
        *state.sessions.entry(node).or_insert(0) += 1;
        if is_operator {
            *state.operators.entry(node).or_insert(0) += 1;
        }
        drop(state);
        self.came.notify_waiters();
    }

    /// Whether a node has a session, or opens one soon.
    pub async fn comes(&self, node: NodeId) -> bool {
        let wait = async {
            loop {
                let came = self.came.notified();
                tokio::pin!(came);
                came.as_mut().enable();
                if self.is_here(node) {
                    return;
                }
                came.await;
            }
        };
        tokio::time::timeout(BLOBS_PATIENCE, wait).await.is_ok()
    }

    pub fn left(&self, node: NodeId, is_operator: bool) {
        let mut state = self.lock();
        if is_operator && let Some(count) = state.operators.get_mut(&node) {
            *count -= 1;
            if *count == 0 {
                state.operators.remove(&node);
            }
        }
        if let Some(count) = state.sessions.get_mut(&node) {
            *count -= 1;
            if *count == 0 {
                state.sessions.remove(&node);
                for connection in state.blobs.remove(&node).unwrap_or_default() {
                    connection.close(0u32.into(), b"the session is over");
                }
            }
        }
    }

    /// How many sessions a node has.
    pub fn sessions_of(&self, node: NodeId) -> usize {
        self.lock().sessions.get(&node).copied().unwrap_or(0)
    }

    /// Whether a node has a session.
    pub fn is_here(&self, node: NodeId) -> bool {
        self.lock().sessions.contains_key(&node)
    }

    /// Whether a node has a session as the coordinator's operator.
    pub fn is_operator(&self, node: NodeId) -> bool {
        self.lock().operators.contains_key(&node)
    }

    /// A node has opened its connection for blobs.
    pub fn lends(&self, node: NodeId, connection: Connection) {
        let mut state = self.lock();
        let connections = state.blobs.entry(node).or_default();
        connections.retain(|connection| connection.close_reason().is_none());
        // The newest first: it belongs most likely to the session that asks.
        connections.insert(0, connection);
        for old in connections.drain(MOST_LENDING.min(connections.len())..) {
            old.close(0u32.into(), b"too many connections");
        }
        drop(state);
        self.came.notify_waiters();
    }

    /// The connections over which a node lends blobs, at least one; waits a while for one to come.
    pub async fn blobs_of(&self, node: NodeId) -> Vec<Connection> {
        let wait = async {
            loop {
                let came = self.came.notified();
                tokio::pin!(came);
                came.as_mut().enable();
                let mut connections = self.lock().blobs.get(&node).cloned().unwrap_or_default();
                connections.retain(|connection| connection.close_reason().is_none());
                if !connections.is_empty() {
                    return connections;
                }
                came.await;
            }
        };
        tokio::time::timeout(BLOBS_PATIENCE, wait).await.unwrap_or_default()
    }

    /// Keeps a node out for a while.
    pub fn ban(&self, node: NodeId, time: Duration) {
        let mut state = self.lock();
        if state.banned.len() >= MOST_BANNED {
            state.banned.clear();
        }
        state.banned.insert(node, Instant::now() + time);
    }

    /// For how much longer a node is kept out.
    pub fn banned(&self, node: NodeId) -> Option<Duration> {
        let mut state = self.lock();
        let left = state.banned.get(&node)?.saturating_duration_since(Instant::now());
        if left.is_zero() {
            state.banned.remove(&node);
            return None;
        }
        Some(left)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
