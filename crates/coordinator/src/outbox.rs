//! What waits to be sent to peers: bounded for each, so that one who does not read costs no one else anything.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tidemill_net::wire::{Answer, JobReport, Reply, ToProvider};
use tidemill_types::NodeId;
use tokio::sync::{Notify, mpsc};

use crate::event::SessionId;

/// Messages that may wait for one peer. What is said to a provider is bounded by its credits, what is said to a
/// requester by its calls, so that an honest peer never comes near it.
const MOST_WAITING: usize = 16 << 10;

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
}

/// Where they are taken out.
#[derive(Debug)]
pub struct Outgoings {
    messages: mpsc::Receiver<Outgoing>,
    progress: Arc<Progress>,
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
    let progress = Arc::new(Progress::default());
    (
        Outbox { node, messages: sender, progress: progress.clone() },
        Outgoings { messages: receiver, progress },
    )
}

impl Outbox {
    /// Puts a message in. Says whether there was room.
    pub fn put(&self, message: Outgoing) -> bool {
        !matches!(self.messages.try_send(message), Err(mpsc::error::TrySendError::Full(_)))
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
                return taken;
            }
            tokio::select! {
                biased;
                () = self.progress.wake.notified() => {}
                _ = self.messages.recv_many(&mut taken, most) => return taken,
            }
        }
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
