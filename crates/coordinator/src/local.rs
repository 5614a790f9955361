//! Sessions of this process: whoever serves people beside the coordinator asks it as a requester does over the network, by
//! the same calls, checked in the same places, answered through an outbox of the same bounds.

use std::{collections::VecDeque, path::Path, sync::Arc};

use bytes::Bytes;
use tidemill_net::{
    blobs::{BlobError, Blobs, FileMode, Lent, Pin},
    wire::{Answer, Bounded, Call, OutOfBounds, Refusal, Reply, Request},
};
use tidemill_types::{Address, BlobId, BlobRef, Content, NodeId, Principal, Receipt, TaskId};
use tokio::runtime::Handle;

use crate::{
    event::{Caller, Event, SessionId},
    outbox::{Outbox, Outgoing, Outgoings, outbox},
    receipt,
    session::{self, Places, answers},
    shared::Shared,
};

/// Messages that are taken out of the outbox at once.
const MOST_GATHERED: usize = 64;

/// Opens sessions of this process. It may outlive the coordinator, and then opens sessions that are over.
#[derive(Clone)]
pub struct LocalSessions {
    shared: Arc<Shared>,
}

/// In whose name a session asks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Visitor {
    /// Whose jobs it brings and asks about.
    pub principal: Principal,
    /// The node that an escrow's mandate names.
    pub node: NodeId,
    /// The address of its result key; zero where it has none.
    pub signer: Address,
    /// Whether it may look at the jobs of all requesters.
    pub is_operator: bool,
}

/// A session. Dropped, it ends, and what it has asked for is answered no more; its jobs go on.
pub struct LocalSession {
    shared: Arc<Shared>,
    runtime: Handle,
    id: SessionId,
    visitor: Visitor,
    outbox: Outbox,
    outgoings: Outgoings,
    places: Places,
    last_call: u64,
    /// Answers that have come while another was waited for.
    early: VecDeque<Answer>,
    /// Blobs that it has brought are pinned under this until it ends.
    pin: Option<Pin>,
}

/// Brings blobs in the name of a session that must outlive it, from threads that may wait for the disk.
#[derive(Clone, Debug)]
pub struct Bringer {
    blobs: Blobs,
    runtime: Handle,
    pin: Pin,
}

/// Why a call has no answer.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// The coordinator does not do it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// It asks for more than a call may.
    #[error(transparent)]
    OutOfBounds(#[from] OutOfBounds),
    /// The coordinator ends, or the session did not read what it was told.
    #[error("the coordinator is stopping")]
    Over,
    /// A blob cannot be kept or read.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// The coordinator has answered something else.
    #[error("the coordinator gave an answer to something else")]
    OffProtocol,
}

impl LocalSessions {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// A session in this visitor's name. Must be called within a tokio runtime.
    pub fn open(&self, visitor: Visitor) -> LocalSession {
        let id = self.shared.new_session();
        let (outbox, outgoings) = outbox(visitor.node);
        self.shared.outboxes.open(id, outbox.clone());
        LocalSession {
            shared: self.shared.clone(),
            runtime: Handle::current(),
            id,
            visitor,
            outbox,
            outgoings,
            places: Places::new(),
            last_call: 0,
            early: VecDeque::new(),
            pin: None,
        }
    }

    /// Whether nobody pays here.
    pub fn is_free(&self) -> bool {
        self.shared.teller.is_none()
    }

    /// The account that may look at the jobs of all requesters.
    pub fn operator(&self) -> Address {
        self.shared.operator
    }

    /// The coordinator's node.
    pub fn node(&self) -> NodeId {
        self.shared.node.id()
    }

    /// How many providers are connected.
    pub fn providers(&self) -> usize {
        *self.shared.providers.borrow()
    }

    /// Whether the coordinator is stopping, or has stopped.
    pub fn is_over(&self) -> bool {
        self.shared.stop.is_cancelled()
    }

    /// Waits until the coordinator stops.
    pub async fn over(&self) {
        self.shared.stop.cancelled().await;
    }

    /// How many jobs have ended, were removed, or escrows closed, since the coordinator began.
    pub fn past(&self) -> u64 {
        self.shared.past()
    }

    /// How many bytes of blobs are here, and how many may be.
    pub fn disk(&self) -> (u64, u64) {
        let usage = self.shared.blobs.usage();
        (usage.used, usage.budget)
    }

    /// Takes a file in as a blob that stays while this process runs, under a name of its own: a second one under the same
    /// name stays beside the first until [`Self::let_go`].
    ///
    /// # Errors
    /// When it cannot be read or kept.
    pub async fn keep_file(&self, name: &str, path: &Path) -> Result<BlobRef, BlobError> {
        let pin = Pin::new(format!("kept.{name}"))?;
        self.shared.blobs.import_file(path, FileMode::Reference, &pin).await
    }

    /// The same of a file that is copied, so that it may go.
    ///
    /// # Errors
    /// When it cannot be read or kept.
    pub async fn keep_copy(&self, name: &str, path: &Path) -> Result<BlobRef, BlobError> {
        let pin = Pin::new(format!("kept.{name}"))?;
        self.shared.blobs.import_file(path, FileMode::Copy, &pin).await
    }

    /// Where a blob is that is kept here.
    ///
    /// # Errors
    /// [`BlobError::NotHere`], [`BlobError::Damaged`], [`BlobError::Disk`]
    pub async fn lend(&self, blob: BlobId) -> Result<Lent, BlobError> {
        self.shared.blobs.lend(blob).await
    }

    /// Lets the blobs go that were kept under a name.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub async fn let_go(&self, name: &str) -> Result<(), BlobError> {
        self.shared.blobs.unpin(&Pin::new(format!("kept.{name}"))?).await
    }
}

impl LocalSession {
    /// In whose name it asks.
    pub fn visitor(&self) -> Visitor {
        self.visitor
    }

    /// Has some bytes here as a blob, until the session ends: jobs may name it, and hold it themselves from when they are
    /// submitted.
    ///
    /// # Errors
    /// [`LocalError::Blob`] where there is no room.
    pub async fn bring(&mut self, bytes: impl Into<Bytes>) -> Result<BlobRef, LocalError> {
        let pin = self.pin()?;
        Ok(self.shared.blobs.import_bytes(bytes, &pin).await?)
    }

    /// What brings blobs as [`Self::bring`] does, on other threads.
    ///
    /// # Errors
    /// [`LocalError::Blob`]
    pub fn bringer(&mut self) -> Result<Bringer, LocalError> {
        let pin = self.pin()?;
        Ok(Bringer { blobs: self.shared.blobs.clone(), runtime: self.runtime.clone(), pin })
    }

    /// What holds the blobs that it has brought.
    fn pin(&mut self) -> Result<Pin, LocalError> {
        Ok(match &self.pin {
            Some(pin) => pin.clone(),
            None => self.pin.insert(Pin::new(format!("local.{}", self.id.0))?).clone(),
        })
    }

    /// The bytes of a blob that an answer named.
    ///
    /// # Errors
    /// [`LocalError::Blob`] where it is not here, damaged, or longer than `most`.
    pub async fn read(&self, blob: BlobRef, most: u64) -> Result<Vec<u8>, LocalError> {
        Ok(self.shared.blobs.read(blob.id, most).await?)
    }

    /// Asks for something that may be answered more than once; [`Self::next`] gives the answers, which have the number that
    /// this gives.
    ///
    /// # Errors
    /// [`LocalError::OutOfBounds`]
    pub async fn send(&mut self, request: Request) -> Result<u64, LocalError> {
        self.last_call += 1;
        let call = Call { id: self.last_call, request };
        call.check()?;
        let Visitor { principal, node, signer, is_operator } = self.visitor;
        let caller = Caller { session: self.id, principal, node, signer, call: call.id, is_operator };
        // Those whose answers are waited for no more have their places until these are taken out.
        let places = self.places.clone();
        let place = loop {
            tokio::select! {
                biased;
                place = places.of(&call.request) => break place.ok_or(LocalError::Over)?,
                gathered = self.gather() => gathered?,
            }
        };
        session::take(&self.shared, caller, call.request, place).await;
        Ok(self.last_call)
    }

    /// The next answer. A call that is dropped in its middle loses nothing.
    ///
    /// # Errors
    /// [`LocalError::Over`] when there will be no more.
    pub async fn next(&mut self) -> Result<Answer, LocalError> {
        loop {
            if let Some(answer) = self.early.pop_front() {
                return Ok(answer);
            }
            self.gather().await?;
        }
    }

    /// Asks for something that is answered once.
    ///
    /// # Errors
    /// [`LocalError`]
    pub async fn ask(&mut self, request: Request) -> Result<Reply, LocalError> {
        let call = self.send(request).await?;
        let mut seen = 0;
        loop {
            if let Some(place) = self.early.iter().skip(seen).position(|answer| answer.id == call) {
                let answer = self.early.remove(seen + place).ok_or(LocalError::Over)?;
                return Ok(answer.reply?);
            }
            seen = self.early.len();
            self.gather().await?;
        }
    }

    /// What proves who gave the accepted result of a task; nothing while there is none, or where this session may not see it.
    ///
    /// # Errors
    /// [`LocalError::Refused`]
    pub async fn receipt(&self, task: TaskId) -> Result<Option<Receipt>, LocalError> {
        let shared = self.shared.clone();
        let caller = self.caller();
        let made = tokio::task::spawn_blocking(move || {
            answers::seen(&shared, caller, task.job)?;
            receipt::of(&shared, task)
        });
        Ok(made.await.map_err(|_| LocalError::Over)??)
    }

    fn caller(&self) -> Caller {
        let Visitor { principal, node, signer, is_operator } = self.visitor;
        Caller { session: self.id, principal, node, signer, call: 0, is_operator }
    }

    /// Waits for messages, and keeps the answers among them.
    async fn gather(&mut self) -> Result<(), LocalError> {
        let taken = tokio::select! {
            taken = self.outgoings.take(MOST_GATHERED) => taken,
            () = self.outbox.given_up() => return Err(LocalError::Over),
            () = self.shared.stop.cancelled() => return Err(LocalError::Over),
        };
        if taken.is_empty() {
            return Err(LocalError::Over);
        }
        let answered: Vec<u64> = taken.iter().filter_map(Outgoing::answered).collect();
        self.outgoings.left(&answered);
        for message in taken {
            match message {
                Outgoing::Answer(answer) => self.early.push_back(*answer),
                Outgoing::End => return Err(LocalError::Over),
                Outgoing::ToProvider(_) => {}
            }
        }
        Ok(())
    }
}

impl Bringer {
    /// Has content here as a blob, as [`LocalSession::bring`] has bytes. Not for threads of a runtime.
    ///
    /// # Errors
    /// [`BlobError`]; that of a file is [`BlobError::Source`] or [`BlobError::Changed`].
    pub fn bring(&self, content: &Content) -> Result<BlobRef, BlobError> {
        self.runtime.block_on(self.blobs.import_content(content, &self.pin))
    }

    /// Has the session hold a blob that is here.
    ///
    /// # Errors
    /// [`BlobError::NotHere`], [`BlobError::Disk`]
    pub fn hold(&self, blob: BlobId) -> Result<(), BlobError> {
        self.runtime.block_on(self.blobs.pin(&self.pin, blob))
    }
}

impl Drop for LocalSession {
    fn drop(&mut self) {
        self.shared.outboxes.close(self.id);
        let (shared, session, pin) = (self.shared.clone(), self.id, self.pin.take());
        let end = async move {
            shared.tell(Event::SessionEnded { session }).await;
            if let Some(pin) = pin
                && let Err(error) = shared.blobs.unpin(&pin).await
            {
                tracing::warn!(error = &error as &dyn std::error::Error, "blobs of a session stay pinned");
            }
        };
        drop(self.shared.tasks.spawn_on(end, &self.runtime));
    }
}

impl std::fmt::Debug for LocalSession {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LocalSession")
            .field("id", &self.id)
            .field("visitor", &self.visitor)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for LocalSessions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LocalSessions").field("past", &self.shared.past()).finish_non_exhaustive()
    }
}
