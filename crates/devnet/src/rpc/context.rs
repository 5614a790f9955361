//! What the methods share.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use alloy::eips::{BlockId, BlockNumberOrTag, RpcBlockHash};
use alloy::primitives::map::AddressSet;
use alloy::primitives::{Address, B256};
use tokio::sync::Semaphore;

use super::error::{Answer, disk, limit, no_header, server};
use super::filters::Filters;
use super::pending::{Pending, PendingCache};
use super::serve::ServeOptions;
use crate::chain::{Block, Draft};
use crate::shared::Shared;

#[derive(Debug)]
pub(super) struct Context {
    pub shared: Arc<Shared>,
    pub options: ServeOptions,
    filters: Mutex<Filters>,
    /// Accounts that development clients speak for.
    spoken_for: Mutex<AddressSet>,
    pending: PendingCache,
    /// Calls that execute at the same time: as many as there are processors, so that none starves the others.
    calls: Arc<Semaphore>,
    /// Signatures computed at the same time.
    decoders: Arc<Semaphore>,
}

/// The point of the chain that a request is about.
#[derive(Clone, Copy, Debug)]
pub(super) struct Point {
    pub number: u64,
    /// The block that is not there yet: the state after block `number`, and what waits in the pool.
    pub pending: bool,
}

impl Context {
    pub(super) fn new(shared: Arc<Shared>, options: ServeOptions) -> Context {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Context {
            shared,
            filters: Mutex::new(Filters::new(options.max_filters)),
            spoken_for: Mutex::default(),
            pending: PendingCache::default(),
            options,
            calls: Arc::new(Semaphore::new(processors)),
            decoders: Arc::new(Semaphore::new(processors * 4)),
        }
    }

    pub(super) fn filters(&self) -> MutexGuard<'_, Filters> {
        self.filters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The accounts that development clients speak for.
    pub(super) fn spoken_for(&self) -> MutexGuard<'_, AddressSet> {
        self.spoken_for.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_spoken_for(&self, address: &Address) -> bool {
        self.spoken_for().contains(address)
    }

    /// Runs something long where it blocks nobody, in its turn and until its deadline.
    pub(super) async fn execute<T: Send + 'static>(
        self: Arc<Context>,
        work: impl FnOnce(&Context, Instant) -> Answer<T> + Send + 'static,
    ) -> Answer<T> {
        let timeout = self.options.call_timeout;
        let permit = tokio::time::timeout(timeout, self.calls.clone().acquire_owned()).await;
        let Ok(Ok(permit)) = permit else {
            return Err(limit("too many calls are being executed; try again"));
        };
        let run = move || {
            let _permit = permit;
            work(&self, Instant::now() + timeout)
        };
        tokio::task::spawn_blocking(run).await.unwrap_or_else(|_| Err(server("the call failed in this node")))
    }

    /// Runs something short that is too much for the threads that serve connections.
    pub(super) async fn decode<T: Send + 'static>(
        self: Arc<Context>,
        work: impl FnOnce(&Context) -> Answer<T> + Send + 'static,
    ) -> Answer<T> {
        let Ok(permit) = self.decoders.clone().acquire_owned().await else {
            return Err(server("the node is stopping"));
        };
        let run = move || {
            let _permit = permit;
            work(&self)
        };
        tokio::task::spawn_blocking(run)
            .await
            .unwrap_or_else(|_| Err(server("the request failed in this node")))
    }

    /// Where a request's block is; none if there is no such block.
    pub(super) fn find(&self, id: BlockId) -> Option<Point> {
        let head = self.shared.head().number();
        let at = |number| Some(Point { number, pending: false });
        match id {
            BlockId::Number(BlockNumberOrTag::Pending) => Some(Point { number: head, pending: true }),
            BlockId::Number(BlockNumberOrTag::Earliest) => at(0),
            BlockId::Number(BlockNumberOrTag::Number(number)) => at(number).filter(|_| number <= head),
            // One author of blocks: the latest is as final as any.
            BlockId::Number(_) => at(head),
            BlockId::Hash(RpcBlockHash { block_hash, .. }) => {
                self.shared.archive.number(&block_hash).and_then(at)
            }
        }
    }

    pub(super) fn point(&self, id: Option<BlockId>) -> Answer<Point> {
        self.find(id.unwrap_or_default()).ok_or_else(no_header)
    }

    /// The block that would be made now.
    pub(super) fn pending(&self) -> Answer<Arc<Pending>> {
        self.pending.get(&self.shared)
    }

    pub(super) fn state(&self, id: Option<BlockId>) -> Answer<Draft> {
        self.state_at(self.point(id)?)
    }

    /// The state at a point; at the pending block, with what waits in the pool.
    pub(super) fn state_at(&self, point: Point) -> Answer<Draft> {
        match point.pending {
            true => Ok(self.pending()?.state()),
            false => Ok(Draft::new(self.shared.world.view(point.number))),
        }
    }

    /// The block at a point.
    pub(super) fn block_at(&self, point: Point) -> Answer<Option<Arc<Block>>> {
        match point.pending {
            true => Ok(Some(self.pending()?.block.clone())),
            false => self.block(point.number),
        }
    }

    pub(super) fn block(&self, number: u64) -> Answer<Option<Arc<Block>>> {
        self.shared.archive.block(number).map_err(|error| disk(&error))
    }

    pub(super) fn block_by_hash(&self, hash: &B256) -> Answer<Option<Arc<Block>>> {
        match self.shared.archive.number(hash) {
            Some(number) => self.block(number),
            None => Ok(None),
        }
    }
}

/// Whether the time for something has passed.
pub(super) fn in_time(deadline: Instant, timeout: Duration) -> Answer<()> {
    if Instant::now() < deadline {
        return Ok(());
    }
    Err(limit(format!("execution aborted (timeout = {} s)", timeout.as_secs_f32())))
}
