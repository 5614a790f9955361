//! All blocks: the recent ones in memory, the others where they lie in the log.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError, RwLock};

use alloy::primitives::map::B256Map;
use alloy::primitives::{B256, Bloom};

use crate::chain::Block;
use crate::disk::{LogReader, Place};
use crate::error::DiskError;

/// Blocks kept decoded: more than clients that follow the head look back.
const RECENT: usize = 256;

#[derive(Debug)]
pub(crate) struct Archive {
    log: LogReader,
    index: RwLock<Index>,
}

/// Where everything is. Per block about 100 bytes (and 256 for the bloom of one with logs), per transaction 44.
#[derive(Debug, Default)]
pub(crate) struct Index {
    blocks: Vec<Entry>,
    numbers: B256Map<u64>,
    txs: B256Map<(u64, u32)>,
    recent: VecDeque<Arc<Block>>,
}

#[derive(Debug)]
struct Entry {
    place: Place,
    hash: B256,
    /// None without logs.
    bloom: Option<Box<Bloom>>,
}

impl Index {
    /// Adds the block that follows the last one.
    pub(crate) fn push(
        &mut self,
        place: Place,
        hash: B256,
        bloom: &Bloom,
        txs: impl IntoIterator<Item = B256>,
    ) {
        let number = self.blocks.len() as u64;
        self.numbers.insert(hash, number);
        self.txs.extend(txs.into_iter().zip(0u32..).map(|(tx, index)| (tx, (number, index))));
        let bloom = (!bloom.is_zero()).then(|| Box::new(*bloom));
        self.blocks.push(Entry { place, hash, bloom });
    }

    /// Forgets the blocks after `number`.
    fn cut(&mut self, number: u64) {
        let kept = usize::try_from(number).map_or(usize::MAX, |number| number.saturating_add(1));
        for entry in self.blocks.drain(kept.min(self.blocks.len())..) {
            self.numbers.remove(&entry.hash);
        }
        self.txs.retain(|_, (block, _)| *block <= number);
        while self.recent.pop_back_if(|block| block.number() > number).is_some() {}
    }

    pub(crate) fn len(&self) -> u64 {
        self.blocks.len() as u64
    }

    pub(crate) fn hash(&self, number: u64) -> Option<B256> {
        self.entry(number).map(|entry| entry.hash)
    }

    pub(crate) fn place(&self, number: u64) -> Option<Place> {
        self.entry(number).map(|entry| entry.place)
    }

    fn entry(&self, number: u64) -> Option<&Entry> {
        self.blocks.get(usize::try_from(number).ok()?)
    }

    fn recent(&self, number: u64) -> Option<&Arc<Block>> {
        let first = self.recent.front()?.number();
        self.recent.get(usize::try_from(number.checked_sub(first)?).ok()?)
    }
}

impl Archive {
    pub(crate) fn new(log: LogReader, index: Index) -> Archive {
        Archive { log, index: RwLock::new(index) }
    }

    /// Adds a block that is in the log at `place`.
    pub(crate) fn push(&self, place: Place, block: Arc<Block>) {
        let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
        let txs = block.txs.iter().map(|tx| tx.hash());
        index.push(place, block.hash, &block.header.logs_bloom, txs);
        if index.recent.len() == RECENT {
            index.recent.pop_front();
        }
        index.recent.push_back(block);
    }

    /// Forgets the blocks after `number`, which the log has no more either.
    pub(crate) fn cut(&self, number: u64) {
        self.index.write().unwrap_or_else(PoisonError::into_inner).cut(number);
    }

    /// Where the block of a number lies in the log.
    pub(crate) fn place(&self, number: u64) -> Option<Place> {
        self.index.read().unwrap_or_else(PoisonError::into_inner).place(number)
    }

    /// The block of a number, if there is one yet.
    pub(crate) fn block(&self, number: u64) -> Result<Option<Arc<Block>>, DiskError> {
        let place = {
            let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(block) = index.recent(number) {
                return Ok(Some(block.clone()));
            }
            match index.place(number) {
                Some(place) => place,
                None => return Ok(None),
            }
        };
        Ok(Some(Arc::new(read(&self.log, place, number)?)))
    }

    /// The number of the block with a hash.
    pub(crate) fn number(&self, hash: &B256) -> Option<u64> {
        self.index.read().unwrap_or_else(PoisonError::into_inner).numbers.get(hash).copied()
    }

    pub(crate) fn hash(&self, number: u64) -> Option<B256> {
        self.index.read().unwrap_or_else(PoisonError::into_inner).hash(number)
    }

    /// The block and the place in it of a mined transaction.
    pub(crate) fn tx(&self, hash: &B256) -> Option<(u64, usize)> {
        let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
        index.txs.get(hash).map(|(number, place)| (*number, *place as usize))
    }

    /// The numbers of the blocks in `from..=to` whose bloom `matches`.
    pub(crate) fn matching(&self, from: u64, to: u64, matches: impl Fn(&Bloom) -> bool) -> Vec<u64> {
        let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
        let last = to.min(index.len().saturating_sub(1));
        let matching = |number: &u64| {
            index.entry(*number).and_then(|entry| entry.bloom.as_deref()).is_some_and(&matches)
        };
        (from..=last).filter(matching).collect()
    }
}

/// Reads a block from the log.
pub(crate) fn read(log: &LogReader, place: Place, number: u64) -> Result<Block, DiskError> {
    let payload = log.read(place, number)?;
    // The checksum was right, so this version or another wrote it.
    Block::decode(&payload)
        .map_err(|_| log.broken(place, number, "it is not in the form that this version writes"))
}
