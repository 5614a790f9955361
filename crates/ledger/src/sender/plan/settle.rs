//! Where each transaction is, by what the chain shows.

use super::{DropReason, Entry, Event, LOOKS_WITHOUT_TRACE, Memory, Plan, Receipt, Slot, State, User};

impl Plan<'_> {
    pub(super) fn settle(&mut self, memory: &mut Memory) {
        let entries: Vec<Entry> = self.book.entries.values().cloned().collect();
        for entry in entries {
            match &entry.state {
                State::Queued | State::Dropped(_) => {}
                State::Sent(slot) => self.settle_sent(&entry, slot, memory),
                State::Mined(slot, receipt) => self.settle_mined(&entry, slot, receipt),
                // More blocks disappeared than the settings expect.
                State::Final(slot, _) if slot.nonce >= self.seen.latest_nonce => {
                    self.back_to_sent(&entry, slot)
                }
                State::Final(..) => {}
            }
        }
    }

    fn settle_sent(&mut self, entry: &Entry, slot: &Slot, memory: &mut Memory) {
        if slot.nonce >= self.seen.latest_nonce {
            return;
        }
        let hashes = slot.variants.iter().map(|variant| variant.hash);
        let answers: Vec<_> = hashes.map(|hash| self.seen.receipts.get(&hash)).collect();
        if let Some(receipt) = answers.iter().flatten().copied().flatten().next() {
            memory.traced(entry.id);
            return self.mined(entry, slot, receipt);
        }
        let all_answered = answers.iter().all(Option::is_some);
        if !all_answered || slot.nonce >= self.seen.settled_nonce {
            return;
        }
        let by = match self.seen.users.get(&slot.nonce) {
            Some(User::Found(hash)) if slot.variants.iter().any(|variant| variant.hash == *hash) => {
                // It is in a block; the node is only late with the receipt.
                return memory.traced(entry.id);
            }
            Some(User::Found(hash)) => Some(*hash),
            Some(User::Unknown) if memory.no_trace(entry.id) >= LOOKS_WITHOUT_TRACE => None,
            Some(User::Unknown) | None => return,
        };
        memory.traced(entry.id);
        self.tell(Event::ForeignNonce { id: entry.id, nonce: slot.nonce, by });
        let next = match (&slot.giving_up, entry.is_filler) {
            (_, true) => State::Dropped(DropReason::Unneeded),
            (Some(reason), false) => State::Dropped(reason.clone()),
            (None, false) => State::Queued,
        };
        let entry = entry.with(next);
        self.end(&entry);
        self.put(entry);
    }

    fn settle_mined(&mut self, entry: &Entry, slot: &Slot, receipt: &Receipt) {
        if slot.nonce >= self.seen.latest_nonce {
            return self.back_to_sent(entry, slot);
        }
        match self.seen.receipts.get(&receipt.hash) {
            // Not asked, or not answered.
            None => {}
            Some(None) => self.back_to_sent(entry, slot),
            Some(Some(current)) => self.mined(entry, slot, current),
        }
    }

    /// It is in a block now, perhaps another one than before, perhaps deep enough.
    fn mined(&mut self, entry: &Entry, slot: &Slot, receipt: &Receipt) {
        let depth = (self.seen.head + 1).saturating_sub(receipt.block_number);
        let is_final = depth >= self.settings.confirmations;
        if matches!(&entry.state, State::Mined(_, known) if known == receipt) && !is_final {
            return;
        }
        if matches!(entry.state, State::Sent(_)) {
            self.tell(Event::Mined { id: entry.id, receipt: *receipt });
        }
        let entry = match is_final {
            true => entry.with(State::Final(slot.clone(), *receipt)),
            false => entry.with(State::Mined(slot.clone(), *receipt)),
        };
        self.end(&entry);
        self.put(entry);
    }

    fn back_to_sent(&mut self, entry: &Entry, slot: &Slot) {
        self.tell(Event::Reorged { id: entry.id });
        self.put(entry.with(State::Sent(slot.clone())));
    }

    /// Tells that an entry has ended, if it has.
    pub(super) fn end(&mut self, entry: &Entry) {
        if let Some(outcome) = entry.outcome().filter(|_| entry.has_ended()) {
            self.tell(Event::Ended { id: entry.id, outcome });
        }
    }
}
