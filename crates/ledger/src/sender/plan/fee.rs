//! Replacement by variants with higher fees.

use super::{Entry, Event, Memory, Plan, Slot, State};

impl Plan<'_> {
    /// Signs anew what waits for too long, what the node calls underpriced, and what is given up.
    pub(super) fn raise_fees(&mut self, memory: &mut Memory) {
        let sent: Vec<(Entry, Slot)> =
            self.book.sent().into_iter().map(|(entry, slot)| (entry.clone(), slot.clone())).collect();
        for (entry, slot) in sent {
            if slot.nonce < self.seen.latest_nonce {
                continue;
            }
            let is_front = slot.nonce == self.seen.latest_nonce;
            let is_stuck = is_front && memory.is_stuck(entry.id, slot.nonce, self.seen, self.settings);
            let last = slot.last();
            let must_cancel = slot.giving_up.is_some() && !last.cancels;
            if is_stuck || must_cancel || memory.is_underpriced(entry.id, last.hash) {
                self.raise(&entry, slot, memory);
            }
        }
    }

    fn raise(&mut self, entry: &Entry, mut slot: Slot, memory: &mut Memory) {
        let Some(fees) = slot.last().fees.raised(self.seen.quote, self.settings.max_fee_per_gas) else {
            if memory.is_newly_at_ceiling(entry.id) {
                self.tell(Event::AtCeiling { id: entry.id });
            }
            return;
        };
        let cancels = slot.giving_up.is_some();
        let variant = self.variant(&entry.intent, slot.nonce, slot.gas_limit, fees, cancels);
        self.tell(Event::Replaced { id: entry.id, hash: variant.hash, fees });
        if slot.nonce == self.seen.latest_nonce {
            memory.front_was_raised(slot.nonce, self.seen);
        }
        slot.variants.push(variant);
        self.put(entry.with(State::Sent(slot)));
    }
}
