//! What a sender remembers only while it runs: when it sent what, and what the node said. After a restart everything
//! counts as not sent, and is sent again.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::{Answer, B256, Duration, Seen, Settings, TxId};

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    sent: HashMap<TxId, Sent>,
    /// The lowest nonce that is in no block, and since when it is.
    front: Option<(u64, Since)>,
    /// The nonce that is missing, and since when.
    pub(super) gap: Option<(u64, Since)>,
    /// How often there was no trace of a transaction whose nonce is used.
    without_trace: HashMap<TxId, u32>,
    /// Those whose listeners know that they are at the ceiling.
    at_ceiling: HashSet<TxId>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Since {
    head: u64,
    now: Duration,
}

#[derive(Clone, Copy, Debug)]
struct Sent {
    hash: B256,
    /// When this variant was broadcast for the first time.
    first: Since,
    last: Since,
    is_underpriced: bool,
    /// Whether the node has it, as far as one can know.
    is_taken: bool,
}

impl Since {
    fn of(seen: &Seen) -> Self {
        Self { head: seen.head, now: seen.now }
    }

    fn is_past(self, seen: &Seen, blocks: u64, time: Duration) -> bool {
        seen.head.saturating_sub(self.head) >= blocks && seen.now.saturating_sub(self.now) >= time
    }
}

impl Memory {
    /// Takes down what the node answered to a broadcast at the time of this look.
    pub(crate) fn answered(&mut self, id: TxId, hash: B256, answer: &Answer, seen: &Seen) {
        let is_underpriced = *answer == Answer::Underpriced;
        let is_taken = matches!(answer, Answer::Taken | Answer::NonceUsed);
        let last = Since::of(seen);
        let first = self.sent.get(&id).filter(|sent| sent.hash == hash).map_or(last, |sent| sent.first);
        self.sent.insert(id, Sent { hash, first, last, is_underpriced, is_taken });
    }

    /// Whether this variant is to be broadcast now. What the node has is repeated seldom, in case it forgot; what it
    /// did not take is tried again with every block too.
    pub(super) fn is_due(&self, id: TxId, hash: B256, seen: &Seen, settings: &Settings) -> bool {
        let Some(sent) = self.sent.get(&id).filter(|sent| sent.hash == hash) else { return true };
        let is_old = sent.last.is_past(seen, 0, settings.resend_after);
        is_old || (!sent.is_taken && sent.last.is_past(seen, 1, settings.poll))
    }

    pub(super) fn forget_all_but(&mut self, sent: &BTreeMap<TxId, B256>) {
        self.sent.retain(|id, _| sent.contains_key(id));
        self.without_trace.retain(|id, _| sent.contains_key(id));
        self.at_ceiling.retain(|id| sent.contains_key(id));
    }

    /// Whether the node said that this variant pays too little.
    pub(super) fn is_underpriced(&self, id: TxId, hash: B256) -> bool {
        self.sent.get(&id).is_some_and(|sent| sent.hash == hash && sent.is_underpriced)
    }

    /// Whether the transaction that all others wait for has waited long enough for higher fees: long since it was
    /// last sent, and since it is the one that they wait for.
    pub(super) fn is_stuck(&mut self, id: TxId, nonce: u64, seen: &Seen, settings: &Settings) -> bool {
        let (_, since) = match self.front {
            Some(front) if front.0 == nonce => front,
            _ => *self.front.insert((nonce, Since::of(seen))),
        };
        let blocks = settings.bump_after_blocks;
        let is_old = |since: Since| since.is_past(seen, blocks, settings.bump_after);
        is_old(since) && self.sent.get(&id).is_some_and(|sent| is_old(sent.first))
    }

    /// Begins to count anew how long the front waits.
    pub(super) fn front_was_raised(&mut self, nonce: u64, seen: &Seen) {
        self.front = Some((nonce, Since::of(seen)));
    }

    pub(super) fn gap_has_lasted(&mut self, nonce: u64, seen: &Seen, settings: &Settings) -> bool {
        let (_, since) = match self.gap {
            Some(gap) if gap.0 == nonce => gap,
            _ => *self.gap.insert((nonce, Since::of(seen))),
        };
        since.is_past(seen, 0, settings.bump_after)
    }

    /// Counts one more look without a trace of it.
    pub(super) fn no_trace(&mut self, id: TxId) -> u32 {
        let looks = self.without_trace.entry(id).or_default();
        *looks = looks.saturating_add(1);
        *looks
    }

    pub(super) fn traced(&mut self, id: TxId) {
        self.without_trace.remove(&id);
    }

    /// Whether nobody was told yet that it is at the ceiling.
    pub(super) fn is_newly_at_ceiling(&mut self, id: TxId) -> bool {
        self.at_ceiling.insert(id)
    }
}
