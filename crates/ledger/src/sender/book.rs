//! What a sender must not forget.
//!
//! A transaction is in one of five states:
//!
//! ```text
//! Queued ──► Sent ◄──► Mined ──► Final
//!   │ ▲        │ a block disappears      ▲ and, should more blocks disappear than
//!   │ └────────┘ its nonce is someone    │ the settings expect, back to Sent
//!   ▼            else's
//! Dropped
//! ```
//!
//! With its nonce a transaction owns a [`Slot`]: every signed transaction of that nonce, those with raised fees and
//! those that take it back alike. A nonce belongs to one slot for ever, so whatever the network does, at most one of
//! a slot's variants counts; and a transaction leaves its slot for another one only when its nonce is used, deep
//! enough, by none of them. That is why each is made exactly once.

use std::collections::BTreeMap;

use alloy::primitives::{B256, Bytes};
use serde::{Deserialize, Serialize};

use super::{DropReason, Fees, Intent, Outcome, Phase, Receipt, Status, TxId};

/// A transaction with all that was signed for it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) id: TxId,
    pub(crate) intent: Intent,
    /// Whether it only uses up a nonce.
    pub(crate) is_filler: bool,
    pub(crate) state: State,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum State {
    Queued,
    Sent(Slot),
    Mined(Slot, Receipt),
    Final(Slot, Receipt),
    Dropped(DropReason),
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Slot {
    pub(crate) nonce: u64,
    pub(crate) gas_limit: u64,
    /// Oldest first; never empty.
    pub(crate) variants: Vec<Variant>,
    /// Set once the intent is given up: from then on only transfers of nothing are signed.
    pub(crate) giving_up: Option<DropReason>,
}

/// A signed transaction.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Variant {
    pub(crate) hash: B256,
    pub(crate) raw: Bytes,
    pub(crate) fees: Fees,
    /// Whether it carries out the intent or takes the intent's place.
    pub(crate) cancels: bool,
}

/// A step of the book from one state to the next.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Change {
    /// A new transaction, or a new state of one.
    Put(Box<Entry>),
    /// The least nonce that was never given to a transaction.
    NextNonce(u64),
}

/// The transactions that have not ended, and the last ones that have.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Book {
    pub(crate) entries: BTreeMap<TxId, Entry>,
    pub(crate) next_id: u64,
    pub(crate) next_nonce: u64,
}

/// How many ended transactions are kept at hand, for the case that their blocks disappear after all.
pub(crate) const ENDED_KEPT: usize = 64;

impl Book {
    pub(crate) fn apply(&mut self, change: &Change) {
        match change {
            Change::Put(entry) => {
                self.next_id = self.next_id.max(entry.id.0 + 1);
                self.entries.insert(entry.id, (**entry).clone());
                if entry.has_ended() {
                    self.forget_oldest();
                }
            }
            Change::NextNonce(nonce) => self.next_nonce = self.next_nonce.max(*nonce),
        }
    }

    /// Transactions that have a nonce and are in no block, by nonce.
    pub(crate) fn sent(&self) -> Vec<(&Entry, &Slot)> {
        let mut sent: Vec<_> = self
            .entries
            .values()
            .filter_map(|entry| match &entry.state {
                State::Sent(slot) => Some((entry, slot)),
                _ => None,
            })
            .collect();
        sent.sort_by_key(|(_, slot)| slot.nonce);
        sent
    }

    /// Transactions that wait for a nonce, first come first.
    pub(crate) fn queued(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values().filter(|entry| entry.state == State::Queued)
    }

    /// Whether there is anything left to do.
    pub(crate) fn is_idle(&self) -> bool {
        self.entries.values().all(Entry::has_ended)
    }

    fn forget_oldest(&mut self) {
        let ended: Vec<TxId> =
            self.entries.values().filter(|entry| entry.has_ended()).map(|entry| entry.id).collect();
        for id in ended.iter().rev().skip(ENDED_KEPT) {
            self.entries.remove(id);
        }
    }
}

impl Entry {
    pub(crate) fn has_ended(&self) -> bool {
        matches!(self.state, State::Final(..) | State::Dropped(_))
    }

    pub(crate) fn with(&self, state: State) -> Self {
        Self { state, ..self.clone() }
    }

    /// How it ended, or would end if the blocks stay as they are.
    pub(crate) fn outcome(&self) -> Option<Outcome> {
        match &self.state {
            State::Queued | State::Sent(_) => None,
            State::Mined(slot, receipt) | State::Final(slot, receipt) => Some(slot.outcome(receipt)),
            State::Dropped(reason) => Some(Outcome::Dropped(reason.clone())),
        }
    }

    pub(crate) fn status(&self) -> Status {
        let phase = match &self.state {
            State::Queued => Phase::Queued,
            State::Sent(slot) => {
                Phase::Sent { nonce: slot.nonce, variants: slot.variants.len(), fees: slot.last().fees }
            }
            State::Mined(_, receipt) => Phase::Mined(*receipt),
            State::Final(slot, receipt) => Phase::Ended(slot.outcome(receipt)),
            State::Dropped(reason) => Phase::Ended(Outcome::Dropped(reason.clone())),
        };
        Status { id: self.id, label: self.intent.label.clone(), phase }
    }
}

impl Slot {
    /// The variant with the highest fees.
    pub(crate) fn last(&self) -> &Variant {
        self.variants.last().expect("a slot is made with its first variant")
    }

    fn outcome(&self, receipt: &Receipt) -> Outcome {
        let cancels = self.variants.iter().any(|variant| variant.hash == receipt.hash && variant.cancels);
        match (cancels, receipt.success) {
            (true, _) => Outcome::Dropped(self.giving_up.clone().unwrap_or(DropReason::Cancelled)),
            (false, true) => Outcome::Succeeded(*receipt),
            (false, false) => Outcome::Reverted { receipt: *receipt, reason: String::new() },
        }
    }
}
