//! What the maker of blocks writes and everybody reads: the head, the state, the blocks, the pool.

mod archive;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use alloy::primitives::B256;
use revm::primitives::KECCAK_EMPTY;
use tokio::sync::{Notify, SetOnce, broadcast, mpsc, watch};

pub(crate) use archive::{Archive, Index, read};

use crate::chain::{Block, NoState, Rules, Tx, View, World, next_base_fee};
use crate::clock::{Clock, wall};
use crate::genesis::Genesis;
use crate::pool::{Pool, PoolError, PoolLimits, Standing};
use crate::producer::Command;

/// Hashes of arrived transactions that are remembered for filters.
const REMEMBERED: usize = 8_192;

/// One ledger, as its readers see it.
#[derive(Debug)]
pub(crate) struct Shared {
    pub genesis: Genesis,
    pub rules: Rules,
    pub world: Arc<World>,
    pub archive: Archive,
    pub commands: mpsc::Sender<Command>,
    /// Wakes the maker of blocks when a transaction has come.
    pub arrived: Notify,
    head: watch::Sender<Arc<Block>>,
    pool: Mutex<Pool>,
    arrivals: Mutex<Arrivals>,
    announced: broadcast::Sender<B256>,
    clock: Mutex<Clock>,
    /// The blocks that a development client went back to, in their order.
    reverts: Mutex<Vec<u64>>,
    failure: SetOnce<String>,
}

/// How far somebody has read the chain.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cursor {
    /// The block to be read next.
    pub next: u64,
    /// How many times the chain went back before.
    reverts: usize,
}

/// The last transactions that came, numbered.
#[derive(Debug, Default)]
struct Arrivals {
    recent: VecDeque<B256>,
    /// How many came before the first of `recent`.
    before: u64,
}

/// Why a transaction was not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SubmitError {
    #[error(transparent)]
    Pool(#[from] PoolError),
    #[error("the ledger has stopped making blocks: {0}")]
    Stopped(String),
    #[error(transparent)]
    State(#[from] NoState),
}

impl Shared {
    pub(crate) fn new(
        genesis: Genesis,
        world: World,
        archive: Archive,
        head: Arc<Block>,
        limits: PoolLimits,
        commands: mpsc::Sender<Command>,
    ) -> Shared {
        Shared {
            rules: genesis.rules(),
            genesis,
            world: Arc::new(world),
            archive,
            commands,
            arrived: Notify::new(),
            head: watch::Sender::new(head),
            pool: Mutex::new(Pool::new(limits)),
            arrivals: Mutex::default(),
            announced: broadcast::Sender::new(REMEMBERED),
            clock: Mutex::default(),
            reverts: Mutex::default(),
            failure: SetOnce::new(),
        }
    }

    pub(crate) fn head(&self) -> Arc<Block> {
        self.head.borrow().clone()
    }

    /// Changes when a block is there to be read.
    pub(crate) fn heads(&self) -> watch::Receiver<Arc<Block>> {
        self.head.subscribe()
    }

    pub(crate) fn publish(&self, block: Arc<Block>) {
        self.head.send_replace(block);
    }

    /// Makes an earlier block the last one, for all who read. What came after it is forgotten.
    pub(crate) fn go_back(&self, block: Arc<Block>) {
        let number = block.number();
        self.reverts.lock().unwrap_or_else(PoisonError::into_inner).push(number);
        // The head first: whoever begins to read looks for nothing above it.
        self.publish(block);
        self.archive.cut(number);
        self.world.cut(number);
        self.pool().clear();
    }

    /// A cursor that has read everything.
    pub(crate) fn cursor(&self) -> Cursor {
        // In this order: should the chain go back in between, the cursor goes with it.
        let reverts = self.reverts.lock().unwrap_or_else(PoisonError::into_inner).len();
        Cursor { next: self.head().number() + 1, reverts }
    }

    /// Takes a cursor to where the chain went back to, if it did, and gives the number of the last block.
    pub(crate) fn catch_up(&self, cursor: &mut Cursor) -> u64 {
        {
            let reverts = self.reverts.lock().unwrap_or_else(PoisonError::into_inner);
            for number in reverts.iter().skip(cursor.reverts) {
                cursor.next = cursor.next.min(number + 1);
            }
            cursor.reverts = reverts.len();
        }
        self.head().number()
    }

    /// The state after the last block.
    pub(crate) fn state(&self) -> View {
        self.world.view(self.head().number())
    }

    pub(crate) fn pool(&self) -> MutexGuard<'_, Pool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What says the time of the next block.
    pub(crate) fn clock(&self) -> MutexGuard<'_, Clock> {
        self.clock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The time that a block made now would have.
    pub(crate) fn next_timestamp(&self) -> u64 {
        self.clock().peek(wall(), self.head().header.timestamp)
    }

    /// The base fee of the next block.
    pub(crate) fn base_fee(&self) -> u64 {
        next_base_fee(&self.head().header)
    }

    /// What the next block is made of, as far as it goes into it.
    pub(crate) fn best(&self) -> Vec<Arc<Tx>> {
        let base_fee = self.base_fee();
        // Transactions seldom use all of their gas: twice as many fill the block.
        self.pool().best(base_fee, self.rules.gas_limit.saturating_mul(2))
    }

    /// Puts a transaction into the pool.
    pub(crate) fn submit(&self, tx: Tx) -> Result<B256, SubmitError> {
        self.admit(tx, false)
    }

    /// As [`Shared::submit`], for a sender whom a development client speaks for: it may have code.
    pub(crate) fn submit_for(&self, tx: Tx) -> Result<B256, SubmitError> {
        self.admit(tx, true)
    }

    fn admit(&self, tx: Tx, code_may_send: bool) -> Result<B256, SubmitError> {
        if let Some(reason) = self.failure.get() {
            return Err(SubmitError::Stopped(reason.clone()));
        }
        let (hash, tx) = (tx.hash(), Arc::new(tx));
        {
            // The pool first: whoever makes a block publishes it before it takes its transactions out of the
            // pool, so with the pool in hand the head cannot be behind it.
            let mut pool = self.pool();
            let (state, base_fee) = (self.state(), self.base_fee());
            let account = state.account(tx.sender())?.unwrap_or_default();
            // EIP-3607, but for the delegations of EIP-7702.
            let has_code = account.code_hash != KECCAK_EMPTY && !state.code(account.code_hash).is_eip7702();
            if has_code && !code_may_send {
                return Err(PoolError::NotAnEoa.into());
            }
            let standing = Standing { nonce: account.nonce, balance: account.balance };
            pool.add(tx, standing, base_fee)?;
        }
        self.announce(hash);
        self.arrived.notify_one();
        Ok(hash)
    }

    /// Hashes of transactions as they come.
    pub(crate) fn announcements(&self) -> broadcast::Receiver<B256> {
        self.announced.subscribe()
    }

    /// How many transactions have come so far.
    pub(crate) fn arrival_count(&self) -> u64 {
        let arrivals = self.arrivals.lock().unwrap_or_else(PoisonError::into_inner);
        arrivals.before + arrivals.recent.len() as u64
    }

    /// The transactions that came after the first `since`, as far as they are remembered.
    pub(crate) fn arrivals_since(&self, since: u64) -> (Vec<B256>, u64) {
        let arrivals = self.arrivals.lock().unwrap_or_else(PoisonError::into_inner);
        let skip = usize::try_from(since.saturating_sub(arrivals.before)).unwrap_or(usize::MAX);
        let count = arrivals.before + arrivals.recent.len() as u64;
        (arrivals.recent.iter().skip(skip).copied().collect(), count)
    }

    /// No more blocks: from here on transactions are refused, reading goes on.
    pub(crate) fn fail(&self, reason: String) {
        tracing::error!(reason, "the ledger has stopped making blocks");
        let _ = self.failure.set(reason);
    }

    /// As [`Shared::fail`], but nothing went wrong.
    pub(crate) fn close(&self, reason: &str) {
        let _ = self.failure.set(reason.to_string());
    }

    pub(crate) fn failure(&self) -> Option<&String> {
        self.failure.get()
    }

    /// Waits until no more blocks are made, and gives the reason.
    pub(crate) async fn failed(&self) -> &String {
        self.failure.wait().await
    }

    fn announce(&self, hash: B256) {
        let mut arrivals = self.arrivals.lock().unwrap_or_else(PoisonError::into_inner);
        if arrivals.recent.len() == REMEMBERED {
            arrivals.recent.pop_front();
            arrivals.before += 1;
        }
        arrivals.recent.push_back(hash);
        // Without subscribers there is nobody to tell.
        let _ = self.announced.send(hash);
    }
}
