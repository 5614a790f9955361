//! What to do next, given what is known: the pure half of a sender.
//!
//! [`next_steps`] is asked after every look at the chain. It returns steps that are to be carried out in order and
//! only as far as they succeed: a signed transaction is committed before it is broadcast, and so a crash between any
//! two steps loses nothing that [`next_steps`] cannot find again.

mod fee;
mod memory;
mod settle;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use alloy::primitives::{Address, B256, Bytes};
use tidemill_types::Coin;

pub(crate) use self::memory::Memory;
use super::{
    DropReason, Event, Fees, Intent, Receipt, Settings, TxId,
    answers::Answer,
    book::{Book, Change, Entry, Slot, State, Variant},
    fees::Quote,
};

/// A look at the chain. What was not asked is not there.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// The number of the newest block.
    pub(crate) head: u64,
    /// The time, counted from any moment on.
    pub(crate) now: Duration,
    /// How many transactions of the account are in blocks.
    pub(crate) latest_nonce: u64,
    /// The same with those that the node knows of and that could be in the next block.
    pub(crate) pending_nonce: u64,
    /// How many there were in the newest block that is deep enough to stay.
    pub(crate) settled_nonce: u64,
    pub(crate) quote: Quote,
    /// By transaction hash, those asked for in [`Questions::receipts`].
    pub(crate) receipts: HashMap<B256, Option<Receipt>>,
    /// Those asked for in [`Questions::estimates`].
    pub(crate) gas: HashMap<TxId, Gas>,
    /// By nonce, those asked for in [`Questions::users`].
    pub(crate) users: HashMap<u64, User>,
}

/// What estimating the gas of a transaction gave.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Gas {
    /// So much is needed.
    Needed(u64),
    /// It would be reverted, for this reason.
    Reverted(String),
    /// The node cannot say, for this reason.
    Unknown(String),
}

/// Who used a nonce.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum User {
    /// This transaction.
    Found(B256),
    /// The node has forgotten what it would take to find out.
    Unknown,
}

/// What [`next_steps`] wants to know, given the account's nonces.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Questions {
    pub(crate) receipts: Vec<B256>,
    pub(crate) estimates: Vec<TxId>,
    /// Nonces to find the users of where none of the receipts is there.
    pub(crate) users: Vec<(u64, Vec<B256>)>,
}

/// Something to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Step {
    /// Make these changes durable, all or none, and then apply them.
    Commit(Vec<Change>),
    /// Give a signed transaction to the node; what it answers goes to [`Memory::answered`].
    Broadcast { id: TxId, hash: B256, raw: Bytes },
    /// Tell whoever listens.
    Tell(Event),
}

/// All that a signature covers but the chain, which the signer knows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Unsigned {
    pub(crate) nonce: u64,
    pub(crate) to: Option<Address>,
    pub(crate) value: Coin,
    pub(crate) data: Bytes,
    pub(crate) gas_limit: u64,
    pub(crate) fees: Fees,
}

/// What signs: the same bytes for the same transaction, always.
pub(crate) trait Sign {
    /// Whose transactions they are.
    fn account(&self) -> Address;
    /// The hash and the signed bytes.
    fn sign(&self, unsigned: &Unsigned) -> (B256, Bytes);
}

/// What a transfer of nothing to oneself costs.
const TRANSFER_GAS: u64 = 21_000;
/// After so many looks at the chain without any trace of a transaction whose nonce is used, and with a node that
/// has forgotten the blocks of that time, the nonce counts as someone else's.
const LOOKS_WITHOUT_TRACE: u32 = 5;

/// What to ask the node before [`next_steps`].
pub(crate) fn questions(book: &Book, latest_nonce: u64, settled_nonce: u64) -> Questions {
    let mut questions = Questions::default();
    for entry in book.entries.values() {
        match &entry.state {
            State::Sent(slot) if slot.nonce < latest_nonce => {
                let hashes: Vec<_> = slot.variants.iter().map(|variant| variant.hash).collect();
                questions.receipts.extend(&hashes);
                if slot.nonce < settled_nonce {
                    questions.users.push((slot.nonce, hashes));
                }
            }
            State::Mined(slot, receipt) if slot.nonce < latest_nonce => questions.receipts.push(receipt.hash),
            _ => {}
        }
    }
    // Nothing overtakes, so nothing behind the first that lacks an estimate is of interest before it has one.
    let unknown = book.queued().find(|entry| entry.intent.gas_limit.is_none());
    questions.estimates.extend(unknown.map(|entry| entry.id));
    questions
}

/// What to do now. The book is changed by nobody but who carries out the commits; the memory, which may be lost, is
/// changed here.
pub(crate) fn next_steps(
    book: &Book,
    memory: &mut Memory,
    seen: &Seen,
    settings: &Settings,
    signer: &dyn Sign,
) -> Vec<Step> {
    let mut plan =
        Plan { book: book.clone(), changes: Vec::new(), events: Vec::new(), seen, settings, signer };
    plan.settle(memory);
    plan.close_gap(memory);
    plan.assign();
    plan.raise_fees(memory);
    let broadcasts = plan.due(memory);
    let commit = (!plan.changes.is_empty()).then_some(Step::Commit(plan.changes));
    let events = plan.events.into_iter().map(Step::Tell);
    commit.into_iter().chain(events).chain(broadcasts).collect()
}

/// The gas limit for a transaction that is estimated to need so much.
pub(crate) fn with_margin(gas: u64, settings: &Settings) -> u64 {
    gas.saturating_mul(settings.gas_margin_percent.saturating_add(100)) / 100
}

/// The changes that take an intent back: at once where nothing was signed, by a transfer of nothing where it was.
pub(crate) fn give_up(book: &Book, id: TxId, reason: DropReason) -> Option<Change> {
    let entry = book.entries.get(&id)?;
    let state = match &entry.state {
        State::Queued => State::Dropped(reason),
        State::Sent(slot) if slot.giving_up.is_none() => {
            State::Sent(Slot { giving_up: Some(reason), ..slot.clone() })
        }
        _ => return None,
    };
    Some(Change::Put(Box::new(entry.with(state))))
}

/// A plan in the making: the book as it will be once the changes are made.
struct Plan<'a> {
    book: Book,
    changes: Vec<Change>,
    events: Vec<Event>,
    seen: &'a Seen,
    settings: &'a Settings,
    signer: &'a dyn Sign,
}

impl Plan<'_> {
    fn change(&mut self, change: Change) {
        self.book.apply(&change);
        // Of several states of one entry the last is all that counts.
        if let Change::Put(new) = &change {
            self.changes.retain(|old| !matches!(old, Change::Put(old) if old.id == new.id));
        }
        self.changes.push(change);
    }

    fn put(&mut self, entry: Entry) {
        self.change(Change::Put(Box::new(entry)));
    }

    fn tell(&mut self, event: Event) {
        self.events.push(event);
    }

    /// Gives nonces to transactions that wait for one, in their order.
    fn assign(&mut self) {
        let mut free = self.settings.max_in_flight.saturating_sub(self.book.sent().len());
        while free > 0 {
            let Some(entry) = self.book.queued().next().cloned() else { return };
            let gas_limit = match (entry.intent.gas_limit, self.seen.gas.get(&entry.id)) {
                (Some(limit), _) => limit,
                (None, Some(Gas::Needed(gas))) => with_margin(*gas, self.settings),
                (None, Some(Gas::Reverted(reason))) => {
                    // What is on its way may be what it builds upon.
                    if !self.book.sent().is_empty() {
                        return;
                    }
                    let reason = DropReason::Refused { reason: reason.clone() };
                    let dropped = entry.with(State::Dropped(reason));
                    self.end(&dropped);
                    self.put(dropped);
                    continue;
                }
                (None, Some(Gas::Unknown(reason))) => {
                    return self.tell(Event::Stalled { id: entry.id, reason: reason.clone() });
                }
                (None, None) => return,
            };
            let nonce = self.book.next_nonce.max(self.seen.latest_nonce).max(self.seen.pending_nonce);
            self.assign_nonce(&entry, nonce, gas_limit);
            free -= 1;
        }
    }

    fn assign_nonce(&mut self, entry: &Entry, nonce: u64, gas_limit: u64) {
        let variant = self.variant(&entry.intent, nonce, gas_limit, self.seen.quote.0, false);
        self.tell(Event::Signed { id: entry.id, nonce, hash: variant.hash });
        let slot = Slot { nonce, gas_limit, variants: vec![variant], giving_up: None };
        self.change(Change::NextNonce(nonce + 1));
        self.put(entry.with(State::Sent(slot)));
    }

    /// Uses up a nonce that others of ours wait for and that nobody sends.
    fn close_gap(&mut self, memory: &mut Memory) {
        let nonce = self.seen.latest_nonce;
        let sent = self.book.sent();
        let is_gap =
            self.seen.pending_nonce == nonce && sent.first().is_some_and(|(_, slot)| slot.nonce > nonce);
        if !is_gap {
            memory.gap = None;
            return;
        }
        if !memory.gap_has_lasted(nonce, self.seen, self.settings) {
            return;
        }
        let intent = Intent {
            to: Some(self.signer.account()),
            value: Coin::ZERO,
            data: Bytes::new(),
            gas_limit: Some(TRANSFER_GAS),
            label: format!("nothing, to use up nonce {nonce}"),
            key: None,
        };
        let filler = Entry { id: TxId(self.book.next_id), intent, is_filler: true, state: State::Queued };
        self.tell(Event::Gap { nonce });
        self.assign_nonce(&filler, nonce, TRANSFER_GAS);
    }

    fn variant(&self, intent: &Intent, nonce: u64, gas_limit: u64, fees: Fees, cancels: bool) -> Variant {
        let unsigned = match cancels {
            false => Unsigned {
                nonce,
                to: intent.to,
                value: intent.value,
                data: intent.data.clone(),
                gas_limit,
                fees,
            },
            true => Unsigned {
                nonce,
                to: Some(self.signer.account()),
                value: Coin::ZERO,
                data: Bytes::new(),
                gas_limit: TRANSFER_GAS,
                fees,
            },
        };
        let (hash, raw) = self.signer.sign(&unsigned);
        Variant { hash, raw, fees, cancels }
    }

    /// What is to be broadcast, lowest nonce first: what is new, and what was not heard of for long.
    fn due(&self, memory: &mut Memory) -> Vec<Step> {
        let sent = self.book.sent();
        let by_id: BTreeMap<TxId, B256> =
            sent.iter().map(|(entry, slot)| (entry.id, slot.last().hash)).collect();
        memory.forget_all_but(&by_id);
        let is_due = |entry: &Entry, slot: &Slot| {
            slot.nonce >= self.seen.latest_nonce
                && memory.is_due(entry.id, slot.last().hash, self.seen, self.settings)
        };
        let due = sent.into_iter().filter(|(entry, slot)| is_due(entry, slot));
        due.map(|(entry, slot)| {
            let Variant { hash, raw, .. } = slot.last().clone();
            Step::Broadcast { id: entry.id, hash, raw }
        })
        .collect()
    }
}
