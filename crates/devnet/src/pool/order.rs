//! Which sender's turn it is.

use std::cmp::Ordering;

use super::{Entry, Queue};

/// A sender's next transaction. The greatest goes first: the higher tip, and of equal ones the earlier arrival.
pub(super) struct Head<'a> {
    tip: u128,
    pub entry: &'a Entry,
    pub queue: &'a Queue,
}

impl<'a> Head<'a> {
    /// None if the transaction is missing, or does not pay the base fee: then it holds up the later ones.
    pub(super) fn of(queue: &'a Queue, nonce: u64, base_fee: u64) -> Option<Head<'a>> {
        let entry = queue.waiting.get(&nonce)?;
        Some(Head { tip: entry.tx.tip(base_fee)?, entry, queue })
    }
}

impl Ord for Head<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.tip.cmp(&other.tip).then(other.entry.arrival.cmp(&self.entry.arrival))
    }
}

impl PartialOrd for Head<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Head<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Head<'_> {}
