//! The transactions that wait for a block. A plain structure: time and the chain's state are arguments.
//!
//! A sender's transactions stand in the order of their nonces; among senders the higher tip goes first, and
//! of equal tips the earlier arrival. Everything is bounded, by sender, in total and in bytes: when the pool
//! is full, a newcomer displaces the cheapest last transaction of another sender, first of all one that could
//! not be in the next block anyway, or is refused.

mod order;

use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;

use alloy::primitives::map::{AddressMap, B256Map};
use alloy::primitives::{Address, B256, U256};

use crate::chain::Tx;
use order::Head;

/// How much more a replacement must offer, in percent, of both the fee and the tip.
const REPLACEMENT_PERCENT: u128 = 10;

/// How much may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolLimits {
    /// Transactions in all.
    pub total: usize,
    /// Transactions of one sender.
    pub per_sender: usize,
    /// Bytes of all transactions.
    pub bytes: usize,
}

impl Default for PoolLimits {
    fn default() -> PoolLimits {
        PoolLimits { total: 32_768, per_sender: 4_096, bytes: 64 << 20 }
    }
}

/// Why a transaction does not get in. The words are geth's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PoolError {
    #[error("already known")]
    AlreadyKnown,
    #[error("nonce too low: next nonce {next}, tx nonce {nonce}")]
    NonceTooLow { next: u64, nonce: u64 },
    #[error("insufficient funds for gas * price + value: balance {balance}, tx cost {cost}, overshot {}", .cost - .balance)]
    InsufficientFunds { balance: U256, cost: U256 },
    #[error("max fee per gas less than block base fee: maxFeePerGas: {cap}, baseFee: {base_fee}")]
    FeeTooLow { cap: u128, base_fee: u64 },
    #[error("replacement transaction underpriced")]
    Underpriced,
    #[error("txpool is full")]
    Full,
    #[error("too many transactions of this sender in the pool: limit {limit}")]
    SenderFull { limit: usize },
    #[error("sender not an eoa: it has code")]
    NotAnEoa,
}

/// What the chain says of a sender.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Standing {
    pub nonce: u64,
    pub balance: U256,
}

#[derive(Debug)]
pub(crate) struct Pool {
    limits: PoolLimits,
    senders: AddressMap<Queue>,
    places: B256Map<(Address, u64)>,
    bytes: usize,
    arrivals: u64,
}

/// One sender's transactions.
#[derive(Debug, Default)]
struct Queue {
    /// The sender's nonce as of the last block.
    nonce: u64,
    waiting: BTreeMap<u64, Entry>,
    /// The most that all of them may cost.
    cost: U256,
}

#[derive(Clone, Debug)]
struct Entry {
    tx: Arc<Tx>,
    arrival: u64,
}

impl Pool {
    pub(crate) fn new(limits: PoolLimits) -> Pool {
        Pool { limits, senders: AddressMap::default(), places: B256Map::default(), bytes: 0, arrivals: 0 }
    }

    /// Takes a transaction in; `base_fee` is that of the next block.
    pub(crate) fn add(&mut self, tx: Arc<Tx>, standing: Standing, base_fee: u64) -> Result<(), PoolError> {
        let (sender, nonce) = (tx.sender(), tx.nonce());
        if self.places.contains_key(&tx.hash()) {
            return Err(PoolError::AlreadyKnown);
        }
        if nonce < standing.nonce {
            return Err(PoolError::NonceTooLow { next: standing.nonce, nonce });
        }
        if tx.fee_cap() < u128::from(base_fee) {
            return Err(PoolError::FeeTooLow { cap: tx.fee_cap(), base_fee });
        }
        let queue = self.senders.get(&sender);
        let replaced = queue.and_then(|queue| queue.waiting.get(&nonce)).map(|entry| entry.tx.clone());
        if let Some(former) = &replaced
            && !outbids(&tx, former)
        {
            return Err(PoolError::Underpriced);
        }
        // What the sender promised with its other transactions is not there to be promised again.
        let promised = queue.map_or(U256::ZERO, |queue| queue.cost);
        let freed = replaced.as_ref().map_or(U256::ZERO, |former| former.cost());
        let cost = promised.saturating_sub(freed).saturating_add(tx.cost());
        if cost > standing.balance {
            return Err(PoolError::InsufficientFunds { balance: standing.balance, cost });
        }
        if replaced.is_none() {
            if queue.is_some_and(|queue| queue.waiting.len() >= self.limits.per_sender) {
                return Err(PoolError::SenderFull { limit: self.limits.per_sender });
            }
            self.make_room(&tx, standing.nonce)?;
        }
        if let Some(former) = replaced {
            self.forget(&former);
        }
        self.insert(tx, standing.nonce);
        Ok(())
    }

    /// The nonce that follows the sender's transactions, its account's being `nonce`.
    pub(crate) fn next_nonce(&self, sender: &Address, nonce: u64) -> u64 {
        let Some(queue) = self.senders.get(sender) else { return nonce };
        queue.ready_end().max(nonce)
    }

    pub(crate) fn get(&self, hash: &B256) -> Option<&Arc<Tx>> {
        let (sender, nonce) = self.places.get(hash)?;
        self.senders.get(sender)?.waiting.get(nonce).map(|entry| &entry.tx)
    }

    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    /// The transactions to try for a block, best first, until their gas limits sum up to `gas`.
    pub(crate) fn best(&self, base_fee: u64, gas: u64) -> Vec<Arc<Tx>> {
        let mut heads: BinaryHeap<Head<'_>> =
            self.senders.values().filter_map(|queue| Head::of(queue, queue.nonce, base_fee)).collect();
        let (mut chosen, mut sum) = (Vec::new(), 0u64);
        while sum < gas
            && let Some(head) = heads.pop()
        {
            sum = sum.saturating_add(head.entry.tx.gas_limit());
            chosen.push(head.entry.tx.clone());
            heads.extend(Head::of(head.queue, head.entry.tx.nonce() + 1, base_fee));
        }
        chosen
    }

    /// Whether some transaction waits for nothing but a lower base fee.
    pub(crate) fn waits_for_base_fee(&self, base_fee: u64) -> bool {
        let first = self.senders.values().filter_map(|queue| queue.ready().next());
        first.into_iter().any(|entry| entry.tx.tip(base_fee).is_none())
    }

    /// A block was made: `sender`'s nonce is `nonce` now.
    pub(crate) fn advance(&mut self, sender: &Address, nonce: u64) {
        let Some(queue) = self.senders.get_mut(sender) else { return };
        queue.nonce = queue.nonce.max(nonce);
        let later = queue.waiting.split_off(&queue.nonce);
        for entry in std::mem::replace(&mut queue.waiting, later).into_values() {
            queue.cost = queue.cost.saturating_sub(entry.tx.cost());
            self.bytes -= entry.tx.raw().len();
            self.places.remove(&entry.tx.hash());
        }
        if queue.waiting.is_empty() {
            self.senders.remove(sender);
        }
    }

    /// Forgets a transaction that no block takes.
    pub(crate) fn remove(&mut self, hash: &B256) {
        if let Some(tx) = self.get(hash).cloned() {
            self.forget(&tx);
        }
    }

    /// Forgets all transactions, and what the chain said of their senders.
    pub(crate) fn clear(&mut self) {
        self.senders.clear();
        self.places.clear();
        self.bytes = 0;
    }

    fn insert(&mut self, tx: Arc<Tx>, nonce: u64) {
        self.arrivals += 1;
        self.bytes += tx.raw().len();
        self.places.insert(tx.hash(), (tx.sender(), tx.nonce()));
        let queue = self.senders.entry(tx.sender()).or_default();
        queue.nonce = queue.nonce.max(nonce);
        queue.cost = queue.cost.saturating_add(tx.cost());
        queue.waiting.insert(tx.nonce(), Entry { tx, arrival: self.arrivals });
    }

    fn forget(&mut self, tx: &Tx) {
        let Some(queue) = self.senders.get_mut(&tx.sender()) else { return };
        if queue.waiting.remove(&tx.nonce()).is_some() {
            queue.cost = queue.cost.saturating_sub(tx.cost());
            self.bytes -= tx.raw().len();
            self.places.remove(&tx.hash());
        }
        if queue.waiting.is_empty() {
            self.senders.remove(&tx.sender());
        }
    }

    /// Displaces cheaper transactions until `tx` fits.
    fn make_room(&mut self, tx: &Tx, account_nonce: u64) -> Result<(), PoolError> {
        while self.len() >= self.limits.total || self.bytes + tx.raw().len() > self.limits.bytes {
            let is_ready = tx.nonce() <= self.next_nonce(&tx.sender(), account_nonce);
            let others = self.senders.iter().filter(|(sender, _)| **sender != tx.sender());
            let lasts = others.filter_map(|(_, queue)| {
                let (nonce, last) = queue.waiting.last_key_value()?;
                Some((*nonce < queue.ready_end(), last.tx.fee_cap(), last.tx.clone()))
            });
            let victim = lasts.min_by_key(|(is_ready, fee_cap, _)| (*is_ready, *fee_cap));
            match victim {
                Some((ready, fee_cap, victim)) if (ready, fee_cap) < (is_ready, tx.fee_cap()) => {
                    self.forget(&victim);
                }
                _ => return Err(PoolError::Full),
            }
        }
        Ok(())
    }

    /// What must hold after everything.
    #[cfg(test)]
    fn sanity_check(&self) {
        let entries = || self.senders.values().flat_map(|queue| queue.waiting.values());
        assert_eq!(entries().count(), self.places.len());
        assert_eq!(entries().map(|entry| entry.tx.raw().len()).sum::<usize>(), self.bytes);
        assert!(self.len() <= self.limits.total && self.bytes <= self.limits.bytes);
        for (sender, queue) in &self.senders {
            let cost = queue.waiting.values().fold(U256::ZERO, |sum, entry| sum + entry.tx.cost());
            assert_eq!(cost, queue.cost);
            assert!(!queue.waiting.is_empty() && queue.waiting.len() <= self.limits.per_sender);
            for (nonce, entry) in &queue.waiting {
                assert!(*nonce >= queue.nonce, "a mined nonce is gone");
                assert_eq!(self.places.get(&entry.tx.hash()), Some(&(*sender, *nonce)));
            }
        }
    }
}

impl Queue {
    /// Those that follow each other from the account's nonce on.
    fn ready(&self) -> impl Iterator<Item = &Entry> {
        let numbered = self.waiting.values().zip(self.nonce..);
        numbered.take_while(|(entry, nonce)| entry.tx.nonce() == *nonce).map(|(entry, _)| entry)
    }

    /// The first nonce that is missing.
    fn ready_end(&self) -> u64 {
        // Without a gap, which is how it mostly is, the last nonce says it.
        match self.waiting.last_key_value() {
            Some((last, _)) if last - self.nonce + 1 == self.waiting.len() as u64 => last + 1,
            _ => self.nonce + self.ready().count() as u64,
        }
    }
}

fn outbids(tx: &Tx, former: &Tx) -> bool {
    let enough = |new: u128, old: u128| {
        new > old && new.saturating_mul(100) >= old.saturating_mul(100 + REPLACEMENT_PERCENT)
    };
    // A tip of nothing cannot be raised by percents: any fee that is raised enough will do.
    enough(tx.fee_cap(), former.fee_cap())
        && (former.tip_cap() == 0 || enough(tx.tip_cap(), former.tip_cap()))
}

#[cfg(test)]
mod tests;
