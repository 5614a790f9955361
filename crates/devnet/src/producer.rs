//! The one thread that makes blocks: it owns the log and the order of things.
//!
//! A block comes about in this order: executed on the state after its parent; appended to the log and synced;
//! entered into the archive and the state; published as the head; its transactions taken out of the pool. So
//! nobody ever sees what a power cut could undo.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use alloy::primitives::{Address, B256};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

use crate::chain::{Built, Edit, NoState, Parent, build_block, build_edit, next_base_fee};
use crate::checkpoints::{Checkpoint, Checkpoints};
use crate::clock::wall;
use crate::disk::{BlockLog, Layout, Snapshot, discard_after, save};
use crate::error::DiskError;
use crate::ledger::Mining;
use crate::shared::Shared;

/// How often an empty block lowers the base fee while a transaction waits for nothing else. On demand, no other
/// block would.
const FEE_PATIENCE: Duration = Duration::from_secs(1);

/// Superseded values since the last snapshot after which another is due, however few the blocks were.
const SNAPSHOT_CHANGES: usize = 1_000_000;

/// Asked of the thread.
#[derive(Debug)]
pub(crate) enum Command {
    /// Make so many blocks, `interval` seconds apart, the first at `timestamp`.
    Mine {
        blocks: u64,
        interval: Option<u64>,
        timestamp: Option<u64>,
        reply: oneshot::Sender<()>,
    },
    /// Whether a transaction makes a block at once.
    SetOnDemand {
        on: bool,
        reply: oneshot::Sender<()>,
    },
    /// Make a block every so often; without an interval, no longer.
    SetInterval {
        interval: Option<Duration>,
        reply: oneshot::Sender<()>,
    },
    /// Change an account by hand.
    Edit {
        address: Address,
        edit: Edit,
        reply: oneshot::Sender<()>,
    },
    /// Remember how things are, under the name that is the answer.
    TakeCheckpoint {
        reply: oneshot::Sender<u64>,
    },
    /// Go back to what was remembered; the answer is whether it was.
    GoBack {
        checkpoint: u64,
        reply: oneshot::Sender<bool>,
    },
    Stop,
}

#[derive(Debug)]
pub(crate) struct Producer {
    pub shared: Arc<Shared>,
    pub log: BlockLog,
    /// Holds the directory's lock; dropped last.
    pub layout: Layout,
    pub key: B256,
    pub mining: Mining,
    pub snapshot_every: u64,
    pub since_snapshot: SinceSnapshot,
    pub snapshot: Option<JoinHandle<()>>,
    pub checkpoints: Checkpoints,
}

/// What has come about since the last snapshot.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SinceSnapshot {
    pub blocks: u64,
    pub changes: usize,
}

/// Why no block was made.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Disk(#[from] DiskError),
    #[error(transparent)]
    State(#[from] NoState),
}

impl Producer {
    /// Runs until it is told to stop, its ledger is gone, or the disk fails.
    pub(crate) fn run(mut self, commands: mpsc::Receiver<Command>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        let ended = match runtime {
            Ok(runtime) => runtime.block_on(self.serve(commands)).map_err(|failure| chain_of(&failure)),
            Err(error) => Err(format!("no timer: {error}")),
        };
        if let Err(reason) = ended {
            self.shared.fail(reason);
        }
        if let Some(snapshot) = self.snapshot.take() {
            let _ = snapshot.join();
        }
    }

    async fn serve(&mut self, mut commands: mpsc::Receiver<Command>) -> Result<(), Failure> {
        let shared = self.shared.clone();
        let mut tick = self.next_tick();
        loop {
            let mining = self.mining;
            let waiting = tick.unwrap_or_else(|| Instant::now() + Duration::from_secs(3_600));
            tokio::select! {
                command = commands.recv() => match command {
                    None | Some(Command::Stop) => return Ok(()),
                    Some(command) => self.obey(command)?,
                },
                () = shared.arrived.notified(), if self.mining == Mining::OnDemand => {}
                () = sleep_until(waiting), if tick.is_some() => {
                    self.make_block()?;
                    tick = None;
                }
            }
            // Whatever came, it may have made others ready: an empty block lowers the base fee.
            if self.mining == Mining::OnDemand {
                self.make_all_ready()?;
            }
            // An interval goes on through what comes in between, unless it is changed.
            if tick.is_none() || self.mining == Mining::OnDemand || self.mining != mining {
                tick = self.next_tick();
            }
        }
    }

    /// When a block is due though nothing comes.
    fn next_tick(&self) -> Option<Instant> {
        match self.mining {
            Mining::Interval(interval) => Some(Instant::now() + interval),
            Mining::OnDemand => {
                let waits = self.shared.pool().waits_for_base_fee(self.shared.base_fee());
                waits.then(|| Instant::now() + FEE_PATIENCE)
            }
            Mining::Never => None,
        }
    }

    fn obey(&mut self, command: Command) -> Result<(), Failure> {
        match command {
            Command::Mine { blocks, interval, timestamp, reply } => {
                for nth in 0..blocks {
                    match (timestamp, interval) {
                        (Some(timestamp), _) if nth == 0 => self.shared.clock().set_next(timestamp),
                        (_, Some(interval)) if nth > 0 => {
                            let next = self.shared.head().header.timestamp.saturating_add(interval);
                            self.shared.clock().set_next(next);
                        }
                        _ => {}
                    }
                    self.make_block()?;
                }
                let _ = reply.send(());
            }
            Command::SetOnDemand { on, reply } => {
                if on {
                    self.mining = Mining::OnDemand;
                } else if self.mining == Mining::OnDemand {
                    self.mining = Mining::Never;
                }
                let _ = reply.send(());
                if on {
                    self.make_all_ready()?;
                }
            }
            Command::SetInterval { interval, reply } => {
                self.mining = match (interval, self.mining) {
                    (Some(interval), _) => Mining::Interval(interval),
                    (None, Mining::Interval(_)) => Mining::Never,
                    (None, other) => other,
                };
                let _ = reply.send(());
            }
            Command::Edit { address, edit, reply } => {
                let head = self.shared.head();
                let parent = Parent { header: &head.header, hash: head.hash };
                let state = self.shared.state();
                self.publish(build_edit(&self.shared.rules, parent, state, address, &edit)?)?;
                if let Edit::Nonce(nonce) = edit {
                    self.shared.pool().advance(&address, nonce);
                }
                let _ = reply.send(());
            }
            Command::TakeCheckpoint { reply } => {
                let (head, clock) = (self.shared.head().number(), *self.shared.clock());
                let name = self.checkpoints.take(head, clock, wall());
                self.shared.world.hold(self.checkpoints.lowest());
                let _ = reply.send(name);
            }
            Command::GoBack { checkpoint, reply } => {
                let found = self.checkpoints.go_back(checkpoint);
                if let Some(checkpoint) = found {
                    self.go_back(checkpoint)?;
                }
                self.shared.world.hold(self.checkpoints.lowest());
                let _ = reply.send(found.is_some());
            }
            Command::Stop => {}
        }
        Ok(())
    }

    /// Forgets the blocks since a checkpoint: on the disk first, so that a restart finds what everybody sees.
    fn go_back(&mut self, to: Checkpoint) -> Result<(), Failure> {
        let shared = self.shared.clone();
        let place = shared.archive.place(to.number);
        if let (Some(place), Some(block)) = (place, shared.archive.block(to.number)?)
            && shared.head().number() > to.number
        {
            // One that is being written may be of a block that goes.
            if let Some(snapshot) = self.snapshot.take() {
                let _ = snapshot.join();
            }
            discard_after(&self.layout.snapshots(), to.number)?;
            self.log.cut(place)?;
            shared.go_back(block);
        } else {
            shared.pool().clear();
        }
        shared.clock().rewind(to.clock, to.wall, wall());
        Ok(())
    }

    /// Makes blocks as long as there is something to put into them.
    fn make_all_ready(&mut self) -> Result<(), Failure> {
        while !self.shared.best().is_empty() {
            if !self.make_block()? {
                // What neither gets into a block nor is refused by it would be tried for ever.
                let mut pool = self.shared.pool();
                let stuck = pool.best(0, u64::MAX);
                tracing::warn!(transactions = stuck.len(), "transactions that fit into no block are dropped");
                stuck.iter().for_each(|tx| pool.remove(&tx.hash()));
            }
        }
        Ok(())
    }

    /// Makes the next block; says whether it changed anything in the pool.
    fn make_block(&mut self) -> Result<bool, Failure> {
        let head = self.shared.head();
        let timestamp = self.shared.clock().take(wall(), head.header.timestamp);
        let txs = self.shared.best();
        let parent = Parent { header: &head.header, hash: head.hash };
        let state = self.shared.state();
        let build = || build_block(&self.shared.rules, parent, state, timestamp, txs.iter().cloned());
        // The interpreter executes what strangers wrote. Should it ever panic, those transactions go.
        let Ok(built) = catch_unwind(AssertUnwindSafe(build)) else {
            tracing::error!(
                transactions = txs.len(),
                "the interpreter panicked; the transactions are dropped"
            );
            let mut pool = self.shared.pool();
            txs.iter().for_each(|tx| pool.remove(&tx.hash()));
            return Ok(true);
        };
        let built = built?;
        let is_progress = !(built.block.txs.is_empty() && built.rejected.is_empty());
        self.publish(built)?;
        Ok(is_progress)
    }

    fn publish(&mut self, built: Built) -> Result<(), Failure> {
        let Built { block, changes, encoded, rejected } = built;
        let place = self.log.append(&block.encode(&encoded))?;
        let (shared, block) = (&self.shared, Arc::new(block));
        shared.archive.push(place, block.clone());
        shared.world.apply(block.number(), &changes);
        shared.publish(block.clone());
        {
            let mut pool = shared.pool();
            for tx in &block.txs {
                pool.advance(&tx.sender(), tx.nonce() + 1);
            }
            for (hash, reason) in rejected {
                tracing::debug!(%hash, %reason, "dropped from the pool");
                pool.remove(&hash);
            }
        }
        tracing::debug!(
            number = block.number(),
            transactions = block.txs.len(),
            gas = block.header.gas_used,
            next_base_fee = next_base_fee(&block.header),
            "block"
        );
        self.since_snapshot.blocks += 1;
        self.since_snapshot.changes += changes.len();
        self.snapshot_if_due(block.number(), block.hash);
        Ok(())
    }

    /// Begins a snapshot in a thread of its own, unless one is still being written.
    fn snapshot_if_due(&mut self, number: u64, hash: B256) {
        let since = self.since_snapshot;
        let is_due = since.blocks >= self.snapshot_every || since.changes >= SNAPSHOT_CHANGES;
        if !is_due || self.snapshot.as_ref().is_some_and(|snapshot| !snapshot.is_finished()) {
            return;
        }
        if let Some(former) = self.snapshot.take() {
            let _ = former.join();
        }
        self.since_snapshot = SinceSnapshot::default();
        let (world, key, dir) = (self.shared.world.clone(), self.key, self.layout.snapshots());
        world.pin(number);
        let write = move || {
            let state = world.dump(number);
            world.unpin();
            write_snapshot(dir, key, number, hash, state);
        };
        match std::thread::Builder::new().name("ledger-snapshot".into()).spawn(write) {
            Ok(thread) => self.snapshot = Some(thread),
            Err(error) => {
                self.shared.world.unpin();
                tracing::warn!(%error, "no thread for a snapshot");
            }
        }
    }
}

fn write_snapshot(
    dir: PathBuf,
    key: B256,
    number: u64,
    hash: B256,
    state: Result<crate::chain::Changes, NoState>,
) {
    let saved = match state {
        Ok(state) => save(&dir, &key, &Snapshot { number, hash, state }).map_err(|error| chain_of(&error)),
        Err(gone) => Err(gone.to_string()),
    };
    // Without it the next start takes longer, and nothing else.
    if let Err(reason) = saved {
        tracing::warn!(number, reason, "no snapshot was written");
    }
}

/// An error with its causes, for who sees nothing but the text.
fn chain_of(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
