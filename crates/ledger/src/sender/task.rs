//! The owner of a sender's state: the only one that changes the book, on disk and in memory.
//!
//! It looks at the chain, carries the steps out that follow, and looks again. While it waits for the node it answers
//! commands, so that an intent is durable in the time that the disk takes even if no node answers.

use std::{collections::HashMap, future::Future, pin::Pin, sync::Arc, time::Duration};

use alloy::{
    primitives::{B256, Bytes},
    signers::local::PrivateKeySigner,
};
use tokio::{
    sync::{broadcast, mpsc, oneshot},
    time::Instant,
};

use super::{
    DropReason, Event, Intent, SenderError, Status, TxId,
    answers::Answer,
    book::{Book, Change, Entry, State},
    file::BookFile,
    plan::{self, Memory, Seen, Sign, Step},
    signing::Signer,
    watch::Watch,
};
use crate::chain::ChainError;

type Reply<T> = oneshot::Sender<Result<T, SenderError>>;

/// Answers that are given once what they promise is durable.
type Answers<T> = Vec<(Result<T, SenderError>, Reply<T>)>;

/// What handles ask.
#[derive(Debug)]
pub(super) enum Command {
    Submit { intents: Vec<Intent>, reply: Reply<Vec<TxId>> },
    Wait { id: TxId, confirmations: u64, reply: Reply<Entry> },
    Cancel { id: TxId, reply: Reply<()> },
    Pending { reply: Reply<Vec<Status>> },
    Close,
}

/// See the module.
pub(super) struct Owner {
    file: Arc<BookFile>,
    book: Book,
    memory: Memory,
    watch: Watch,
    signer: Signer,
    commands: mpsc::Receiver<Command>,
    /// Those that came while the disk took nothing.
    kept: Vec<Command>,
    events: broadcast::Sender<Event>,
    waiters: Vec<Waiter>,
    /// The number of the newest block, once one was seen.
    head: Option<u64>,
    started: Instant,
    next_look: Instant,
    /// How often it was looked since something was broadcast.
    looks: u32,
    /// How often in a row the node did not answer.
    failures: u32,
}

struct Waiter {
    id: TxId,
    confirmations: u64,
    reply: Reply<Entry>,
}

/// A conversation with the node that is going on.
type Round = Pin<Box<dyn Future<Output = RoundEnd> + Send>>;

enum RoundEnd {
    Looked(Result<Box<Seen>, ChainError>),
    Sent { answers: Vec<(TxId, B256, Result<Answer, ChainError>)>, seen: Box<Seen> },
}

/// Why a transaction waits that the account cannot pay for.
const POOR: &str = "the account has not enough coins for it and its fees";

/// After a broadcast the first look is one part in so many of the usual pause away, and each one twice as long as the one
/// before, up to that pause: where blocks come at once, the transaction is in one within milliseconds.
const FIRST_LOOK: u32 = 32;

/// So many looks after a broadcast the pause is the usual one.
const MANY_LOOKS: u32 = 16;

/// A disk that is full is tried again after so long.
const DISK_RETRY: Duration = Duration::from_millis(500);

/// Commands that are answered with one commit.
const COMMANDS_AT_ONCE: usize = 64;

impl Owner {
    pub(super) fn new(
        file: BookFile,
        book: Book,
        watch: Watch,
        key: PrivateKeySigner,
        commands: mpsc::Receiver<Command>,
        events: broadcast::Sender<Event>,
    ) -> Self {
        let signer = Signer { key, chain_id: watch.chain.chain_id() };
        let now = Instant::now();
        Self {
            file: Arc::new(file),
            book,
            memory: Memory::default(),
            watch,
            signer,
            commands,
            events,
            waiters: Vec::new(),
            kept: Vec::new(),
            head: None,
            started: now,
            next_look: now,
            looks: MANY_LOOKS,
            failures: 0,
        }
    }

    /// Works until it is told to stop, nobody is left to tell it anything, or the disk fails.
    pub(super) async fn run(mut self) {
        if let Err(error) = self.work().await {
            tracing::error!(error = tidemill_types::causes(&error), "the sender of transactions stops");
            for waiter in self.waiters {
                // Who waits no more is not told.
                let _ = waiter.reply.send(Err(error.clone()));
            }
        }
    }

    async fn work(&mut self) -> Result<(), SenderError> {
        let mut round: Option<Round> = None;
        let mut commands = Vec::with_capacity(COMMANDS_AT_ONCE);
        loop {
            if !self.kept.is_empty() {
                let kept = std::mem::take(&mut self.kept);
                if self.obey(kept).await? {
                    return Ok(());
                }
            }
            let is_quiet = round.is_none();
            let has_work = !self.book.is_idle() || !self.waiters.is_empty();
            tokio::select! {
                received = self.commands.recv_many(&mut commands, COMMANDS_AT_ONCE) => {
                    if self.obey(std::mem::take(&mut commands)).await? || received == 0 {
                        return Ok(());
                    }
                }
                end = async { round.as_mut().expect("there is one when this is polled").await }, if !is_quiet => {
                    round = match end {
                        RoundEnd::Looked(Ok(seen)) => self.act(seen).await?,
                        RoundEnd::Looked(Err(error)) => self.retreat(&error),
                        RoundEnd::Sent { answers, seen } => self.learn(answers, &seen).await?,
                    };
                }
                () = tokio::time::sleep_until(self.next_look), if is_quiet && has_work => {
                    let (watch, book, now) = (self.watch.clone(), self.book.clone(), self.started.elapsed());
                    round = Some(Box::pin(async move { RoundEnd::Looked(watch.look(book, now).await.map(Box::new)) }));
                }
            }
        }
    }

    /// Carries out what a look at the chain leads to. What is to be broadcast is the next round.
    async fn act(&mut self, seen: Box<Seen>) -> Result<Option<Round>, SenderError> {
        self.failures = 0;
        self.head = Some(seen.head);
        let steps = plan::next_steps(&self.book, &mut self.memory, &seen, &self.watch.settings, &self.signer);
        let mut broadcasts = Vec::new();
        for step in steps {
            match step {
                Step::Commit(changes) => self.commit(changes).await?,
                Step::Tell(event) => self.tell(event),
                Step::Broadcast { id, hash, raw } => broadcasts.push((id, hash, raw)),
            }
        }
        self.answer_waiters();
        self.next_look = Instant::now() + self.pause();
        if broadcasts.is_empty() {
            return Ok(None);
        }
        let watch = self.watch.clone();
        Ok(Some(Box::pin(async move {
            let answers = broadcast(&watch, broadcasts).await;
            RoundEnd::Sent { answers, seen }
        })))
    }

    /// Takes down what the node answered to broadcasts.
    async fn learn(
        &mut self,
        answers: Vec<(TxId, B256, Result<Answer, ChainError>)>,
        seen: &Seen,
    ) -> Result<Option<Round>, SenderError> {
        // Where blocks come at once, the transactions are in one by now.
        self.next_look = Instant::now();
        self.looks = 0;
        for (id, hash, answer) in answers {
            let answer = match answer {
                Ok(answer) => answer,
                Err(error) => return Ok(self.retreat(&error)),
            };
            self.memory.answered(id, hash, &answer, seen);
            match answer {
                Answer::Taken | Answer::NonceUsed | Answer::Underpriced => {}
                Answer::Poor(reason) => {
                    tracing::debug!(reason, "the node says what is missing");
                    self.tell(Event::Stalled { id, reason: POOR.to_owned() });
                }
                Answer::Failed(reason) => self.tell(Event::Stalled { id, reason }),
                Answer::Refused(reason) => {
                    self.tell(Event::Stalled { id, reason: reason.clone() });
                    let change = plan::give_up(&self.book, id, DropReason::Refused { reason });
                    self.commit(change.into_iter().collect()).await?;
                }
            }
        }
        Ok(None)
    }

    /// How long until the chain is looked at again.
    fn pause(&mut self) -> Duration {
        let pause = pause_after(self.looks, self.watch.settings.poll);
        self.looks = self.looks.saturating_add(1);
        pause
    }

    /// Waits longer and longer for a node that does not answer.
    fn retreat(&mut self, error: &ChainError) -> Option<Round> {
        self.tell(Event::Disconnected { reason: error.to_string() });
        let settings = &self.watch.settings;
        let pause = settings.poll.saturating_mul(1 << self.failures.min(16)).min(settings.max_pause);
        self.failures = self.failures.saturating_add(1);
        self.next_look = Instant::now() + jittered(pause);
        None
    }

    /// Carries commands out. Whether one of them is to end.
    async fn obey(&mut self, commands: Vec<Command>) -> Result<bool, SenderError> {
        let mut batch = Batch::new(&self.book);
        let mut is_over = false;
        for command in commands {
            match command {
                Command::Submit { intents, reply } => {
                    let result = batch.submit(&self.book, &self.file, intents);
                    batch.submitted.push((result, reply));
                }
                Command::Cancel { id, reply } => {
                    let result = batch.cancel(&self.book, &self.file, id);
                    batch.cancelled.push((result, reply));
                }
                Command::Wait { id, confirmations, reply } => {
                    self.waiters.push(Waiter { id, confirmations, reply });
                    if self.failures == 0 {
                        self.next_look = Instant::now();
                    }
                }
                Command::Pending { reply } => {
                    let active = self.book.entries.values().filter(|entry| !entry.has_ended());
                    // Who waits no more is not told; so below.
                    let _ = reply.send(Ok(active.map(Entry::status).collect()));
                }
                Command::Close => is_over = true,
            }
        }
        let Batch { changes, submitted, cancelled, .. } = batch;
        if !changes.is_empty() {
            // The chain is looked at soon, unless it is known not to answer.
            if self.failures == 0 {
                self.next_look = Instant::now();
            }
            if let Err(error) = self.commit(changes).await {
                submitted.into_iter().for_each(|(_, reply)| drop(reply.send(Err(error.clone()))));
                cancelled.into_iter().for_each(|(_, reply)| drop(reply.send(Err(error.clone()))));
                return Err(error);
            }
        }
        submitted.into_iter().for_each(|(result, reply)| drop(reply.send(result)));
        cancelled.into_iter().for_each(|(result, reply)| drop(reply.send(result)));
        self.answer_waiters();
        Ok(is_over)
    }

    /// Makes changes durable and then visible.
    async fn commit(&mut self, changes: Vec<Change>) -> Result<(), SenderError> {
        if changes.is_empty() {
            return Ok(());
        }
        let changes = Arc::new(changes);
        let mut is_told = false;
        loop {
            let (file, to_write) = (Arc::clone(&self.file), Arc::clone(&changes));
            let written = tokio::task::spawn_blocking(move || file.commit(&to_write)).await;
            match written.map_err(|_| SenderError::Stopped)? {
                Ok(()) => break,
                // Somebody may make room. What is asked meanwhile waits; who wants to leave need not.
                Err(error) if error.is_retryable() && !self.is_to_close() => {
                    if !std::mem::replace(&mut is_told, true) {
                        let error = tidemill_types::causes(&error);
                        tracing::error!(
                            error,
                            "transactions cannot be written down: they wait until that is possible"
                        );
                    }
                    tokio::time::sleep(DISK_RETRY).await;
                }
                Err(error) => return Err(error),
            }
        }
        if is_told {
            tracing::info!("transactions can be written down again");
        }
        changes.iter().for_each(|change| self.book.apply(change));
        Ok(())
    }

    /// Whether somebody wants it to end, or nobody is left. Other commands are kept for later.
    fn is_to_close(&mut self) -> bool {
        while let Ok(command) = self.commands.try_recv() {
            self.kept.push(command);
        }
        self.commands.is_closed() || self.kept.iter().any(|command| matches!(command, Command::Close))
    }

    fn answer_waiters(&mut self) {
        for waiter in std::mem::take(&mut self.waiters) {
            let known = self.book.entries.get(&waiter.id).cloned();
            let entry = known.map_or_else(|| self.file.entry(waiter.id), |entry| Ok(Some(entry)));
            let result = match entry {
                Ok(Some(entry)) if self.is_answer(&entry, waiter.confirmations) => Ok(entry),
                Ok(Some(_)) if waiter.reply.is_closed() => continue,
                Ok(Some(_)) => {
                    self.waiters.push(waiter);
                    continue;
                }
                Ok(None) => Err(SenderError::Unknown(waiter.id)),
                Err(error) => Err(error),
            };
            let _ = waiter.reply.send(result);
        }
    }

    fn is_answer(&self, entry: &Entry, confirmations: u64) -> bool {
        let is_deep =
            |block: u64| self.head.is_some_and(|head| (head + 1).saturating_sub(block) >= confirmations);
        match &entry.state {
            State::Queued | State::Sent(_) => false,
            State::Mined(_, receipt) => is_deep(receipt.block_number),
            State::Final(_, receipt) => {
                confirmations <= self.watch.settings.confirmations || is_deep(receipt.block_number)
            }
            State::Dropped(_) => true,
        }
    }

    /// Writes to the log what somebody may have to do something about.
    fn log(&self, event: &Event) {
        let what = |id: &TxId| match self.book.entries.get(id) {
            Some(entry) => entry.intent.label.clone(),
            None => format!("transaction {id}"),
        };
        let account = self.signer.account();
        match event {
            Event::Stalled { id, reason } => tracing::warn!(%account, reason, "{} waits", what(id)),
            Event::AtCeiling { id } => {
                tracing::warn!(%account, "{} waits until the chain is cheaper: its fees are at their ceiling", what(id));
            }
            Event::Disconnected { reason } => tracing::warn!(reason, "the ledger does not answer"),
            Event::ForeignNonce { id, nonce, .. } => {
                tracing::warn!(%account, nonce, "another program used the nonce of {}: it gets another one", what(id));
            }
            Event::Gap { nonce } => tracing::warn!(%account, nonce, "a nonce that nobody sends is used up"),
            Event::Reorged { id } => {
                tracing::warn!(%account, "the block of {} is gone: it is sent again", what(id))
            }
            _ => tracing::debug!(?event),
        }
    }

    fn tell(&self, event: Event) {
        self.log(&event);
        // An error says that nobody listens.
        let _ = self.events.send(event);
    }
}

/// The changes that several commands lead to.
struct Batch {
    changes: Vec<Change>,
    keys: HashMap<String, (TxId, Intent)>,
    next_id: u64,
    submitted: Answers<Vec<TxId>>,
    cancelled: Answers<()>,
}

impl Batch {
    fn new(book: &Book) -> Self {
        Self {
            changes: Vec::new(),
            keys: HashMap::new(),
            next_id: book.next_id,
            submitted: Vec::new(),
            cancelled: Vec::new(),
        }
    }

    fn submit(
        &mut self,
        book: &Book,
        file: &BookFile,
        intents: Vec<Intent>,
    ) -> Result<Vec<TxId>, SenderError> {
        let (mut ids, mut changes, mut next_id) = (Vec::new(), Vec::new(), self.next_id);
        let mut keys = HashMap::new();
        for intent in intents {
            if let Some(key) = &intent.key {
                if let Some((id, known)) = self.keys.get(key).or_else(|| keys.get(key)) {
                    check_same(&intent, known, *id, key)?;
                    ids.push(*id);
                    continue;
                }
                if let Some(stored) = file.by_key(key)? {
                    // What is at hand is as new as what is on disk.
                    let entry = book.entries.get(&stored.id).unwrap_or(&stored);
                    check_same(&intent, &entry.intent, entry.id, key)?;
                    if matches!(entry.state, State::Dropped(_)) {
                        changes.push(Change::Put(Box::new(entry.with(State::Queued))));
                    }
                    keys.insert(key.clone(), (entry.id, intent));
                    ids.push(stored.id);
                    continue;
                }
                keys.insert(key.clone(), (TxId(next_id), intent.clone()));
            }
            let entry = Entry { id: TxId(next_id), intent, is_filler: false, state: State::Queued };
            ids.push(entry.id);
            changes.push(Change::Put(Box::new(entry)));
            next_id += 1;
        }
        self.next_id = next_id;
        self.keys.extend(keys);
        self.changes.extend(changes);
        Ok(ids)
    }

    fn cancel(&mut self, book: &Book, file: &BookFile, id: TxId) -> Result<(), SenderError> {
        if !book.entries.contains_key(&id) {
            return Err(match file.entry(id)? {
                Some(_) => SenderError::HasEnded(id),
                None => SenderError::Unknown(id),
            });
        }
        match book.entries[&id].state {
            State::Mined(..) | State::Final(..) | State::Dropped(_) => Err(SenderError::HasEnded(id)),
            State::Queued | State::Sent(_) => {
                self.changes.extend(plan::give_up(book, id, DropReason::Cancelled));
                Ok(())
            }
        }
    }
}

/// A key may be used again for what it was used for, with another label or gas limit.
fn check_same(new: &Intent, known: &Intent, id: TxId, key: &str) -> Result<(), SenderError> {
    let is_same = new.to == known.to && new.value == known.value && new.data == known.data;
    if is_same { Ok(()) } else { Err(SenderError::KeyReused { key: key.to_owned(), id }) }
}

/// Broadcasts in order, and no further than a node that does not answer.
async fn broadcast(
    watch: &Watch,
    transactions: Vec<(TxId, B256, Bytes)>,
) -> Vec<(TxId, B256, Result<Answer, ChainError>)> {
    let mut answers = Vec::new();
    for (id, hash, raw) in transactions {
        let answer = watch.broadcast(hash, &raw).await;
        let is_over = answer.is_err();
        answers.push((id, hash, answer));
        if is_over {
            break;
        }
    }
    answers
}

/// How long to wait after so many looks since a broadcast, where the usual pause is `poll`.
fn pause_after(looks: u32, poll: Duration) -> Duration {
    (poll / FIRST_LOOK).saturating_mul(1 << looks.min(MANY_LOOKS)).min(poll)
}

/// Between half of a time and all of it, so that many clients of a node that was down do not come back at once.
fn jittered(pause: Duration) -> Duration {
    // Without randomness the pause is whole.
    let random = getrandom::u32().unwrap_or(u32::MAX);
    pause / 2 + pause.mul_f64(f64::from(random) / f64::from(u32::MAX) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_follow_a_broadcast_closely_and_then_as_usual() {
        let pause = |looks| pause_after(looks, Duration::from_millis(96));
        let pauses: Vec<_> =
            [0, 1, 4, 5, 6, MANY_LOOKS, u32::MAX].map(|looks| pause(looks).as_millis()).into();
        assert_eq!(pauses, [3, 6, 48, 96, 96, 96, 96]);
    }
}
