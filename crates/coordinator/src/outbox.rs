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
use tokio::sync::{Notify, OwnedSemaphorePermit, mpsc};
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
    calls: Arc<Calls>,
    bytes: Arc<AtomicUsize>,
    /// Set when the peer does not read: its session is to end.
    given_up: CancellationToken,
}

/// Where they are taken out.
#[derive(Debug)]
pub struct Outgoings {
    messages: mpsc::Receiver<Outgoing>,
    progress: Arc<Progress>,
    calls: Arc<Calls>,
    bytes: Arc<AtomicUsize>,
}

/// The latest reports for a requester's watches: an older one is of no use, so a newer one takes its place.
#[derive(Debug, Default)]
struct Progress {
    reports: Mutex<BTreeMap<u64, JobReport>>,
    wake: Notify,
}

/// The places of calls whose answers have not left yet, by the numbers of the calls. A peer may give several the same.
#[derive(Debug, Default)]
struct Calls(Mutex<HashMap<u64, Vec<Place>>>);

/// A call's place among those that one peer may have in flight.
#[derive(Debug)]
pub struct Place {
    /// Among all of them.
    pub _call: OwnedSemaphorePermit,
    /// Among those whose answers may be long.
    pub _long: Option<OwnedSemaphorePermit>,
}

/// The outboxes of all sessions.
#[derive(Debug, Default)]
pub struct Outboxes(Mutex<HashMap<SessionId, Outbox>>);

/// A new outbox for a node's session.
pub fn outbox(node: NodeId) -> (Outbox, Outgoings) {
    let (sender, receiver) = mpsc::channel(MOST_WAITING);
    let (progress, bytes) = (Arc::new(Progress::default()), Arc::new(AtomicUsize::new(0)));
    let (calls, given_up) = (Arc::new(Calls::default()), CancellationToken::new());
    let outgoings = Outgoings {
        messages: receiver,
        progress: progress.clone(),
        calls: calls.clone(),
        bytes: bytes.clone(),
    };
    (Outbox { node, messages: sender, progress, calls, bytes, given_up }, outgoings)
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

    /// Keeps a call's place until its answer has left.
    pub fn hold(&self, call: u64, place: Place) {
        lock(&self.calls.0).entry(call).or_default().push(place);
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
    /// The answers to these calls have left: others may be made in their place.
    pub fn left(&self, calls: &[u64]) {
        let mut held = lock(&self.calls.0);
        for call in calls {
            if let Some(places) = held.get_mut(call) {
                places.pop();
                if places.is_empty() {
                    held.remove(call);
                }
            }
        }
    }

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

    /// The call that it ends the work on, if it is an answer that does.
    pub fn answered(&self) -> Option<u64> {
        match self {
            Self::Answer(answer) if !matches!(answer.reply, Ok(Reply::Fetching { .. })) => Some(answer.id),
            _ => None,
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

#[cfg(test)]
mod tests {
    use tidemill_net::wire::MAX_LONG_ANSWERS;
    use tokio::sync::Semaphore;

    use super::*;

    fn answer(id: u64, reply: Reply) -> Outgoing {
        Outgoing::Answer(Box::new(Answer { id, reply: Ok(reply) }))
    }

    /// Answers that a requester does not read would otherwise be made without bound.
    #[tokio::test]
    async fn a_call_has_its_place_until_its_answer_has_left() {
        let (calls, long) = (Arc::new(Semaphore::new(2)), Arc::new(Semaphore::new(MAX_LONG_ANSWERS)));
        let (outbox, mut outgoings) = outbox(NodeId([1; 32]));
        for id in [7, 7] {
            let _call = calls.clone().try_acquire_owned().expect("a place");
            outbox.hold(id, Place { _call, _long: long.clone().try_acquire_owned().ok() });
        }
        outbox.put(answer(7, Reply::Fetching { done: Default::default(), total: Default::default() }));
        outbox.put(answer(7, Reply::Removed));
        let taken: Vec<u64> = outgoings.take(10).await.iter().filter_map(Outgoing::answered).collect();
        assert_eq!(taken, [7], "what arrives on the way is no answer");
        assert_eq!(calls.available_permits(), 0, "it is taken out, and has not left");
        outgoings.left(&taken);
        assert_eq!((calls.available_permits(), long.available_permits()), (1, MAX_LONG_ANSWERS - 1));
        outgoings.left(&[7, 7, 9]);
        assert_eq!((calls.available_permits(), long.available_permits()), (2, MAX_LONG_ANSWERS));
    }
}
