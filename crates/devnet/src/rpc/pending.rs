//! The block that would be made now: what waits in the pool, executed on the head.

use std::sync::{Arc, Mutex, PoisonError};

use alloy::primitives::B256;

use super::error::{Answer, no_state};
use crate::chain::{Block, Built, Changes, Draft, Parent, View, build_block};
use crate::shared::Shared;

/// A block that is not there yet, with the state after it.
#[derive(Debug)]
pub(super) struct Pending {
    pub block: Arc<Block>,
    base: View,
    changes: Changes,
}

impl Pending {
    /// The state after the block.
    pub(super) fn state(&self) -> Draft {
        Draft::with(self.base.clone(), &self.changes)
    }
}

/// The last pending block, for as long as it would come out the same.
#[derive(Debug, Default)]
pub(super) struct PendingCache(Mutex<Option<(Basis, Arc<Pending>)>>);

/// What a pending block follows from.
#[derive(Debug, PartialEq, Eq)]
struct Basis {
    head: B256,
    timestamp: u64,
    txs: Vec<B256>,
}

impl PendingCache {
    /// The pending block. The node makes one at a time, and gives it to all requests that come meanwhile.
    pub(super) fn get(&self, shared: &Shared) -> Answer<Arc<Pending>> {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let head = shared.head();
        let txs = shared.best();
        let basis = Basis {
            head: head.hash,
            timestamp: shared.next_timestamp(),
            txs: txs.iter().map(|tx| tx.hash()).collect(),
        };
        if let Some((_, pending)) = last.as_ref().filter(|(of, _)| *of == basis) {
            return Ok(pending.clone());
        }
        let base = shared.world.view(head.number());
        let parent = Parent { header: &head.header, hash: head.hash };
        let built = build_block(&shared.rules, parent, base.clone(), basis.timestamp, txs);
        let Built { block, changes, .. } = built.map_err(no_state)?;
        let pending = Arc::new(Pending { block: Arc::new(block), base, changes });
        *last = Some((basis, pending.clone()));
        Ok(pending)
    }
}
