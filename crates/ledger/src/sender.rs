//! The one sender of an account's transactions on a chain.
//!
//! A submitted [`Intent`] is durable before anyone is told so, and every signed transaction is durable before it is
//! broadcast. From there on the sender sees to it that the intent is made exactly once: it raises fees where a
//! transaction is stuck, sends again what a node forgot or a reorg undid, closes gaps between nonces, and takes
//! another nonce where someone else who has the key used the one that it had. A process that was killed goes on where
//! it was.
//!
//! What is to be done is decided by pure functions over the [`book`] and a look at the chain (`plan`); `task` owns the
//! state and carries the steps out; `watch` talks to the node; `file` is the book on disk.
//!
//! What it rests on: the directory of an account is not restored from a copy, which would forget what was sent since;
//! and no reorg is deeper than [`Settings::confirmations`].

mod answers;
mod book;
mod error;
mod fees;
mod file;
mod intent;
mod plan;
mod signing;
mod task;
mod watch;

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use alloy::{primitives::Address, signers::local::PrivateKeySigner};
use tokio::{
    sync::{Mutex, broadcast, mpsc, oneshot},
    task::JoinHandle,
};

pub use self::{
    error::{Place, SenderError},
    intent::{DropReason, Event, Fees, Intent, Outcome, Phase, Receipt, Settings, Status, TxId},
};
use self::{
    task::{Command, Owner},
    watch::Watch,
};
use tidemill_types::Coin;

use crate::chain::{Chain, ChainError};

/// A handle to the sender of an account. Clones are the same sender.
#[derive(Clone)]
pub struct Sender {
    commands: mpsc::Sender<Command>,
    shared: Arc<Shared>,
}

struct Shared {
    place: Place,
    watch: Watch,
    events: broadcast::Sender<Event>,
    task: Mutex<Option<JoinHandle<()>>>,
}

/// Commands that wait for the owner. More callers wait in turn.
const COMMANDS: usize = 64;
/// Events that a slow listener may be behind before it misses some.
const EVENTS: usize = 256;

/// An account that cannot pay for intents.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Short {
    /// What it has.
    pub has: Coin,
    /// What the intents may take as fees are now, with what they send; nothing where the account has no more than what is
    /// sent.
    pub may_take: Option<Coin>,
}

impl Sender {
    /// Where the transactions of an account on a chain belong, below a directory for all of them. Whoever takes this
    /// place is kept from sending for one account in two processes.
    pub fn directory(home: &Path, chain: &Chain, account: Address) -> PathBuf {
        home.join(format!("{}-{account:#x}", chain.chain_id()))
    }

    /// Takes up the sending for an account: what is pending from former runs is sent on from now. Must be called in a
    /// tokio runtime.
    ///
    /// # Errors
    /// [`SenderError::InUse`] while another process sends for it, [`SenderError::OtherChain`] where the directory is
    /// another account's or another chain's.
    pub async fn open(
        directory: &Path,
        key: PrivateKeySigner,
        chain: Chain,
        settings: Settings,
    ) -> Result<Self, SenderError> {
        let account = key.address();
        let place = Place { chain_id: chain.chain_id(), genesis: chain.genesis(), account };
        let path = directory.to_owned();
        let opened = tokio::task::spawn_blocking(move || file::BookFile::open(&path, &place));
        let (file, book) = opened.await.map_err(|_| SenderError::Stopped)??;
        let (commands, receiver) = mpsc::channel(COMMANDS);
        let (events, _) = broadcast::channel(EVENTS);
        let watch = Watch { chain, account, settings };
        let owner = Owner::new(file, book, watch.clone(), key, receiver, events.clone());
        let span = tracing::info_span!("sender", %account, chain = place.chain_id);
        let task = tokio::spawn(tracing::Instrument::instrument(owner.run(), span));
        let shared = Shared { place, watch, events, task: Mutex::new(Some(task)) };
        Ok(Self { commands, shared: Arc::new(shared) })
    }

    /// Whose transactions it sends, and where.
    pub fn place(&self) -> &Place {
        &self.shared.place
    }

    /// The chain that it sends to.
    pub fn chain(&self) -> &Chain {
        &self.shared.watch.chain
    }

    /// Takes an intent on. When this returns it is durable, and will be made once.
    ///
    /// An intent whose key is known is not taken on again: its former name is returned. If the former one was
    /// dropped, it is tried again under that name.
    ///
    /// # Errors
    /// [`SenderError::KeyReused`] where the key is that of another intent; others where the disk fails.
    pub async fn submit(&self, intent: Intent) -> Result<TxId, SenderError> {
        let ids = self.submit_all(vec![intent]).await?;
        ids.first().copied().ok_or(SenderError::Stopped)
    }

    /// Takes several intents on, all or none, to be made in this order.
    ///
    /// # Errors
    /// As [`Self::submit`].
    pub async fn submit_all(&self, intents: Vec<Intent>) -> Result<Vec<TxId>, SenderError> {
        self.ask(|reply| Command::Submit { intents, reply }).await
    }

    /// Waits until a transaction has so many blocks, its own included, or has ended without. On chains that make
    /// blocks only for transactions, more than one may never come.
    ///
    /// # Errors
    /// [`SenderError::Unknown`] where there is no such transaction, [`SenderError::Stopped`] when the sender is closed
    /// meanwhile.
    pub async fn wait(&self, id: TxId, confirmations: u64) -> Result<Outcome, SenderError> {
        let entry = self.ask(|reply| Command::Wait { id, confirmations, reply }).await?;
        let outcome = entry.outcome().ok_or(SenderError::Stopped)?;
        let Outcome::Reverted { receipt, .. } = outcome else { return Ok(outcome) };
        let (chain, account, intent) = (self.chain(), self.shared.place.account, entry.intent);
        let asked = chain.revert_reason(account, intent.to, intent.value, intent.data, receipt.block_number);
        let reason =
            asked.await.unwrap_or_else(|| "it was reverted, and the node does not say why".to_owned());
        Ok(Outcome::Reverted { receipt, reason })
    }

    /// Takes an intent back: at once where it has no nonce yet, otherwise by a transfer of nothing in its place. The
    /// transaction may be quicker; [`Self::wait`] tells.
    ///
    /// # Errors
    /// [`SenderError::HasEnded`] where it is too late for certain.
    pub async fn cancel(&self, id: TxId) -> Result<(), SenderError> {
        self.ask(|reply| Command::Cancel { id, reply }).await
    }

    /// What the account lacks for intents, which would wait for it; nothing where it has enough for all of them. The fees of
    /// an intent whose gas cannot be estimated are left out: the contract refuses that, and for its own reason.
    ///
    /// # Errors
    /// [`ChainError`] where the node does not answer.
    pub async fn short_of(&self, intents: &[Intent]) -> Result<Option<Short>, ChainError> {
        let has = self.chain().balance(self.shared.place.account).await?;
        let sent = intents.iter().map(|intent| intent.value).fold(Coin::from_wei(0), Coin::saturating_add);
        if has <= sent {
            return Ok(Some(Short { has, may_take: None }));
        }
        let mut total = Coin::from_wei(0);
        for intent in intents {
            let cost = self.shared.watch.most_cost(intent).await?;
            total = total.saturating_add(cost.unwrap_or(intent.value));
        }
        Ok((total > has).then_some(Short { has, may_take: Some(total) }))
    }

    /// What is on its way, first come first.
    ///
    /// # Errors
    /// [`SenderError::Stopped`] after [`Self::close`].
    pub async fn pending(&self) -> Result<Vec<Status>, SenderError> {
        self.ask(|reply| Command::Pending { reply }).await
    }

    /// What happens from now on. Whoever listens too slowly misses some.
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.shared.events.subscribe()
    }

    /// Stops sending, for all handles, and gives the account free for others. What is pending stays durable, and goes
    /// on when the account is opened again. Without this the sender stops soon after its last handle is gone.
    pub async fn close(self) {
        // The owner may have stopped by itself.
        let _ = self.commands.send(Command::Close).await;
        let task = self.shared.task.lock().await.take();
        if let Some(task) = task
            && let Err(error) = task.await
        {
            tracing::error!(%error, "the sender of transactions came to a bad end");
        }
    }

    async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<T, SenderError>>) -> Command,
    ) -> Result<T, SenderError> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).await.map_err(|_| SenderError::Stopped)?;
        answer.await.map_err(|_| SenderError::Stopped)?
    }
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sender({})", self.shared.place)
    }
}
