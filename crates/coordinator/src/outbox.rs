//! What waits to be sent to peers: bounded for each, so that one who does not read costs no one else anything.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use tidemill_net::wire::{Answer, JobReport, Reply, Source, TaskNews, ToProvider};
use tidemill_types::NodeId;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use crate::event::SessionId;

/// Messages that may wait for one peer. What is said to a provider is bounded by its credits, what is said to a
/// requester by its calls, so that an honest peer never comes near it.
const MOST_WAITING: usize = 16 << 10;

/// Bytes that may wait for one peer, about: many times what is on its way to one that reads.
const MOST_BYTES: usize = 64 << 20;

/// While so much waits for a peer, what it can do without is dropped: a few seconds of what is followed.
const MOST_OFFERED: usize = 256;
const MOST_OFFERED_BYTES: usize = 1 << 20;

/// Something to send.
#[derive(Debug)]
pub enum Outgoing {
    /// To a provider.
    ToProvider(ToProvider),
    /// To a requester.
    Answer(Box<Answer>),
    /// Nothing more: the session is over.
    End,
}

/// Where messages to a peer are put.
#[derive(Clone, Debug)]
pub struct Outbox {
    node: NodeId,
    messages: mpsc::Sender<Outgoing>,
    progress: Arc<Progress>,
    bytes: Arc<AtomicUsize>,
    /// Set when the peer does not read: its session is to end.
    given_up: CancellationToken,
}

/// Where they are taken out.
#[derive(Debug)]
pub struct Outgoings {
    messages: mpsc::Receiver<Outgoing>,
    progress: Arc<Progress>,
    bytes: Arc<AtomicUsize>,
}

/// The latest reports for a requester's watches: an older one is of no use, so a newer one takes its place.
#[derive(Debug, Default)]
struct Progress {
    reports: Mutex<BTreeMap<u64, JobReport>>,
    wake: Notify,
}

/// The outboxes of all sessions.
#[derive(Debug, Default)]
pub struct Outboxes(Mutex<HashMap<SessionId, Outbox>>);

/// A new outbox for a node's session.
pub fn outbox(node: NodeId) -> (Outbox, Outgoings) {
    let (sender, receiver) = mpsc::channel(MOST_WAITING);
    let (progress, bytes) = (Arc::new(Progress::default()), Arc::new(AtomicUsize::new(0)));
    let given_up = CancellationToken::new();
    (
        Outbox { node, messages: sender, progress: progress.clone(), bytes: bytes.clone(), given_up },
        Outgoings { messages: receiver, progress, bytes },
    )
}

impl Outbox {
    /// Puts a message in. A peer for which there is no room any more does not read: its session ends, and costs no
    /// one else anything.
    pub fn put(&self, message: Outgoing) {
        // Answers that are reports come by the other way too, and so none of them is counted.
        let bytes = if message.is_report() { 0 } else { message.bytes() };
        let waiting = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        let full = matches!(self.messages.try_send(message), Err(mpsc::error::TrySendError::Full(_)));
        if (full || waiting > MOST_BYTES) && !self.given_up.is_cancelled() {
            tracing::warn!(node = %self.node.short(), "a peer does not read what it is sent: its session ends");
            self.given_up.cancel();
        }
    }

    /// Puts a message in that the peer can do without, unless much waits for it.
    pub fn offer(&self, message: Outgoing) {
        let waiting = self.messages.max_capacity() - self.messages.capacity();
        if waiting < MOST_OFFERED && self.bytes.load(Ordering::Relaxed) < MOST_OFFERED_BYTES {
            self.put(message);
        }
    }

    /// Waits until the peer is given up.
    pub async fn given_up(&self) {
        self.given_up.cancelled().await;
    }

    /// Puts a report in for a watch, in the place of an earlier one.
    pub fn report(&self, call: u64, report: JobReport) {
        lock(&self.progress.reports).insert(call, report);
        self.progress.wake.notify_one();
    }
}

impl Outgoings {
    /// Waits until there is something, and takes out as much as is there, up to a limit. Nothing: there will be no
    /// more. A call that is dropped in its middle loses nothing.
    pub async fn take(&mut self, most: usize) -> Vec<Outgoing> {
        let mut taken = Vec::new();
        loop {
            let reports = std::mem::take(&mut *lock(&self.progress.reports));
            let answer =
                |(id, report)| Outgoing::Answer(Box::new(Answer { id, reply: Ok(Reply::Job(report)) }));
            // A report goes before the messages that came after it: the end of a job comes last.
            taken.extend(reports.into_iter().map(answer));
            if !taken.is_empty() {
                while taken.len() < most
                    && let Ok(message) = self.messages.try_recv()
                {
                    taken.push(message);
                }
                return self.taken(taken);
            }
            tokio::select! {
                biased;
                () = self.progress.wake.notified() => {}
                _ = self.messages.recv_many(&mut taken, most) => return self.taken(taken),
            }
        }
    }
}

impl Outgoings {
    fn taken(&self, messages: Vec<Outgoing>) -> Vec<Outgoing> {
        let counted = messages.iter().filter(|message| !message.is_report());
        self.bytes.fetch_sub(counted.map(Outgoing::bytes).sum(), Ordering::Relaxed);
        messages
    }
}

impl Outgoing {
    /// About how many bytes it takes.
    fn bytes(&self) -> usize {
        const FIXED: usize = 512;
        FIXED
            + match self {
                Self::ToProvider(ToProvider::Leases(leases)) => {
                    let inline = |source: &Source| match source {
                        Source::Inline(bytes) => bytes.len(),
                        Source::Blob(_) => 64,
                    };
                    leases.iter().map(|lease| FIXED + lease.sources.iter().map(inline).sum::<usize>()).sum()
                }
                Self::Answer(answer) => match &answer.reply {
                    Ok(Reply::Outputs(pieces)) => {
                        pieces.iter().map(|piece| FIXED + piece.inline.as_ref().map_or(0, Vec::len)).sum()
                    }
                    Ok(Reply::Log { bytes, .. }) => bytes.len(),
                    Ok(Reply::Tasks(tasks)) => {
                        tasks.iter().map(|task| FIXED * (1 + task.attempts.len())).sum()
                    }
                    Ok(Reply::Jobs(jobs)) => jobs.len() * FIXED,
                    Ok(Reply::Followed(TaskNews::Chunk(chunk))) => chunk.bytes.len(),
                    _ => 0,
                },
                Self::ToProvider(_) | Self::End => 0,
            }
    }

    fn is_report(&self) -> bool {
        matches!(self, Self::Answer(answer) if matches!(answer.reply, Ok(Reply::Job(_))))
    }
}

impl Outboxes {
    /// A session has begun.
    pub fn open(&self, session: SessionId, outbox: Outbox) {
        lock(&self.0).insert(session, outbox);
    }

    /// A session is over.
    pub fn close(&self, session: SessionId) {
        lock(&self.0).remove(&session);
    }

    /// A session's outbox, while it lasts.
    pub fn get(&self, session: SessionId) -> Option<Outbox> {
        lock(&self.0).get(&session).cloned()
    }

    /// Whose a session is, while it lasts.
    pub fn node_of(&self, session: SessionId) -> Option<NodeId> {
        lock(&self.0).get(&session).map(|outbox| outbox.node)
    }

    /// All of them.
    pub fn all(&self) -> Vec<Outbox> {
        lock(&self.0).values().cloned().collect()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
