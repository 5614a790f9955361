//! A requester's side of a session: calls, and the answers to them.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use tidemill_types::{NodeId, ResultKey};
use tokio::sync::mpsc;
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use crate::{
    endpoint::{Connection, Node, RecvStream, SendStream},
    frame::{FrameReader, FrameWriter},
    recall::{Recalls, recalled},
    session::{Session, SessionError},
    ticket::Ticket,
    wire::{Answer, Bounded, Call, MAX_CALLS_IN_FLIGHT, Refusal, Reply, Request, Role, TaskNews},
};

/// Answers to one call that may wait for its caller.
const MOST_WAITING: usize = 16;

/// How many calls are written at once.
const MOST_GATHERED: usize = 256;

/// A session with a coordinator. Clones share it; it ends with the last of them.
#[derive(Clone, Debug)]
pub struct Client {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    peer: NodeId,
    connection: Connection,
    calls: mpsc::Sender<Call>,
    waiting: Arc<Waiting>,
    next: AtomicU64,
    ended: CancellationToken,
    _tasks: [AbortOnDropHandle<()>; 3],
}

/// Who waits for answers, by the number of the call.
#[derive(Debug, Default)]
struct Waiting(Mutex<HashMap<u64, mpsc::Sender<Result<Reply, Refusal>>>>);

/// The answers to one call, as they come.
#[derive(Debug)]
pub struct Replies {
    id: u64,
    answers: mpsc::Receiver<Result<Reply, Refusal>>,
    waiting: Arc<Waiting>,
    ended: CancellationToken,
}

/// Why a call has no answer.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CallError {
    /// The coordinator said no.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The connection is gone. Whether the coordinator did what was asked is not known.
    #[error("the connection to the coordinator was lost")]
    Lost,
}

impl Client {
    /// Dials a coordinator.
    ///
    /// # Errors
    /// [`SessionError`]
    pub async fn connect(node: &Node, key: &ResultKey, ticket: &Ticket) -> Result<Self, SessionError> {
        let mut recalls = node.recalls(ticket.node());
        let (session, welcome) = Session::dial(node, key, ticket, Role::Requester).await?;
        recalls.iter_mut().for_each(|recalls| recalls.begun(welcome.process));
        let Session { connection, peer, reader, writer } = session;
        let (calls, outgoing) = mpsc::channel(MAX_CALLS_IN_FLIGHT);
        let waiting = Arc::new(Waiting::default());
        let ended = CancellationToken::new();
        let write = tokio::spawn(write(writer, outgoing, ended.clone()));
        let read = tokio::spawn(read(reader, waiting.clone(), ended.clone()));
        let recalled = tokio::spawn(end_when_recalled(connection.clone(), recalls));
        let tasks = [write, read, recalled].map(AbortOnDropHandle::new);
        let inner = Inner { peer, connection, calls, waiting, next: AtomicU64::new(1), ended, _tasks: tasks };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The coordinator.
    pub fn peer(&self) -> NodeId {
        self.inner.peer
    }

    /// Asks for something that is answered once.
    ///
    /// # Errors
    /// [`CallError`]
    pub async fn call(&self, request: Request) -> Result<Reply, CallError> {
        self.follow(request).await?.next().await
    }

    /// Asks for something that is answered more than once.
    ///
    /// # Errors
    /// [`CallError::Lost`]
    pub async fn follow(&self, request: Request) -> Result<Replies, CallError> {
        let id = self.inner.next.fetch_add(1, Ordering::Relaxed);
        let (sender, answers) = mpsc::channel(MOST_WAITING);
        self.inner.waiting.lock().insert(id, sender);
        let (waiting, ended) = (self.inner.waiting.clone(), self.inner.ended.clone());
        let replies = Replies { id, answers, waiting, ended };
        if self.inner.calls.send(Call { id, request }).await.is_err() {
            return Err(CallError::Lost);
        }
        Ok(replies)
    }

    /// Waits until the connection is gone.
    pub async fn lost(&self) {
        self.inner.ended.cancelled().await;
    }

    /// Says farewell.
    pub fn close(&self) {
        self.inner.connection.close(0u32.into(), b"done");
    }
}

impl Replies {
    /// The next answer.
    ///
    /// # Errors
    /// [`CallError`]
    pub async fn next(&mut self) -> Result<Reply, CallError> {
        tokio::select! {
            biased;
            answer = self.answers.recv() => Ok(answer.ok_or(CallError::Lost)??),
            // The call came too late to be told with the others.
            () = self.ended.cancelled() => Err(CallError::Lost),
        }
    }
}

impl Drop for Replies {
    fn drop(&mut self) {
        self.waiting.lock().remove(&self.id);
    }
}

impl Waiting {
    fn lock(&self) -> MutexGuard<'_, HashMap<u64, mpsc::Sender<Result<Reply, Refusal>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The coordinator was started anew: the connection is dead, and so is every call that waits for an answer.
async fn end_when_recalled(connection: Connection, mut recalls: Option<Recalls>) {
    recalled(recalls.as_mut()).await;
    connection.close(1u32.into(), b"the coordinator was started anew");
}

async fn write(
    mut writer: FrameWriter<SendStream>,
    mut calls: mpsc::Receiver<Call>,
    ended: CancellationToken,
) {
    let _ended = ended.drop_guard();
    let mut gathered = Vec::new();
    while calls.recv_many(&mut gathered, MOST_GATHERED).await > 0 {
        for call in gathered.drain(..) {
            if writer.push(&call).is_err() {
                return;
            }
        }
        if writer.flush().await.is_err() {
            return;
        }
    }
}

async fn read(mut reader: FrameReader<RecvStream>, waiting: Arc<Waiting>, ended: CancellationToken) {
    let _ended = ended.drop_guard();
    while let Ok(Some(answer)) = reader.next::<Answer>().await {
        if answer.check().is_err() {
            break;
        }
        let Some(caller) = waiting.lock().get(&answer.id).cloned() else { continue };
        // A report of how a job stands is of no use once there is a newer one, and pieces of an output say themselves what
        // is missing before them: a slow caller misses some.
        let passing = matches!(answer.reply, Ok(Reply::Job(_) | Reply::Followed(TaskNews::Chunk(_))));
        if let Err(mpsc::error::TrySendError::Full(reply)) = caller.try_send(answer.reply)
            && !passing
        {
            let _ = caller.send(reply).await;
        }
    }
    // Whoever still waits learns that there will be no answer.
    waiting.lock().clear();
}
