//! What coordinators withhold: results that were handed in and not paid in full, whatever reason they gave. It stays a part of
//! exposure, also after a restart: a coordinator that refuses each result would otherwise be worked for without end. It decays
//! slowly, and pay forgives some of it, since honest networks refuse results too: those of copies, and late ones.

use std::collections::BTreeMap;

use tidemill_types::{Address, Amount};

use super::Book;
use crate::pay::journal::Entry;

/// Half of it is forgotten in so many seconds: a week.
const HALF_LIFE_S: u64 = 7 * 86_400;

/// Of what is paid one part in so many is forgiven: a coordinator may refuse that much of what it pays for ever.
const FORGIVEN_PART: u64 = 20;

/// What waits for decisions is written down anew when it has changed by one part of the limit in so many.
const WRITTEN_PART: u64 = 16;

/// What one coordinator withholds.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Withheld {
    /// What it has refused, as of `at_s`.
    refused: Amount,
    /// What waited for it when an earlier life ended, and no voucher has covered since, as of `at_s`.
    earlier: Amount,
    /// Seconds since 1970.
    at_s: u64,
    /// Whether that has changed since it was written down.
    is_new: bool,
    /// What is written down to wait.
    written: Amount,
}

impl Withheld {
    fn now(&self, clock_s: u64) -> Amount {
        decayed(self.refused.saturating_add(self.earlier), clock_s.saturating_sub(self.at_s))
    }

    fn settle(&mut self, clock_s: u64) {
        let elapsed = clock_s.saturating_sub(self.at_s);
        self.refused = decayed(self.refused, elapsed);
        self.earlier = decayed(self.earlier, elapsed);
        self.at_s = self.at_s.max(clock_s);
        self.is_new = true;
    }
}

/// What is left of an amount after so many seconds.
fn decayed(amount: Amount, elapsed_s: u64) -> Amount {
    let halvings = (elapsed_s / HALF_LIFE_S).min(127);
    let (rest, whole) = (elapsed_s % HALF_LIFE_S, 2 * HALF_LIFE_S);
    let left = amount.wei() >> halvings;
    Amount::from_wei(left).mul_div_floor(whole - rest, whole).unwrap_or(amount)
}

impl Book {
    /// What earlier lives wrote down about a coordinator.
    pub(super) fn recall_withheld(&mut self, of: Address, refused: Amount, waiting: Amount, at_s: u64) {
        let written = waiting;
        self.withheld.insert(of, Withheld { refused, earlier: waiting, at_s, is_new: false, written });
    }

    /// What every coordinator withholds now.
    pub(super) fn withheld_now(&self) -> BTreeMap<Address, Amount> {
        self.withheld.iter().map(|(of, withheld)| (*of, withheld.now(self.clock_s))).collect()
    }

    /// A coordinator did not pay so much of what was handed in.
    pub(super) fn withhold(&mut self, by: Address, amount: Amount) {
        if amount.is_zero() {
            return;
        }
        let withheld = self.withheld.entry(by).or_default();
        withheld.settle(self.clock_s);
        withheld.refused = withheld.refused.saturating_add(amount);
    }

    /// It did pay so much.
    pub(super) fn forgive(&mut self, to: Address, paid: Amount) {
        if let Some(withheld) = self.withheld.get_mut(&to).filter(|withheld| !withheld.refused.is_zero()) {
            withheld.settle(self.clock_s);
            let forgiven = paid.mul_div_floor(1, FORGIVEN_PART).unwrap_or_default();
            withheld.refused = withheld.refused.saturating_sub(forgiven);
        }
    }

    /// A voucher covers so much of what waited when an earlier life ended.
    pub(super) fn cover_earlier(&mut self, by: Address, amount: Amount) {
        if let Some(withheld) = self.withheld.get_mut(&by).filter(|withheld| !withheld.earlier.is_zero()) {
            withheld.settle(self.clock_s);
            withheld.earlier = withheld.earlier.saturating_sub(amount);
        }
    }

    /// What is to be written down about what coordinators withhold, and about what waits for them.
    pub(super) fn note_withheld(&mut self) {
        let mut waiting: BTreeMap<Address, Amount> =
            self.withheld.keys().map(|of| (*of, Amount::ZERO)).collect();
        for party in self.parties.values() {
            if let Some(account) = party.account() {
                let sum = waiting.entry(account).or_default();
                *sum = sum.saturating_add(party.undecided);
            }
        }
        let step = self.terms.max_exposure.mul_div_floor(1, WRITTEN_PART).unwrap_or_default();
        for (coordinator, undecided) in waiting {
            let withheld = self.withheld.entry(coordinator).or_default();
            let waiting = undecided.saturating_add(withheld.earlier);
            let (more, less) = (waiting.max(withheld.written), waiting.min(withheld.written));
            if !withheld.is_new && (more == less || more.saturating_sub(less) < step) {
                continue;
            }
            (withheld.is_new, withheld.written) = (false, waiting);
            let at_s = withheld.at_s.max(self.clock_s);
            let refused = decayed(withheld.refused, at_s.saturating_sub(withheld.at_s));
            self.unsaved.push(Entry::Withheld { coordinator, refused, waiting, at_s });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_it_is_left_after_a_week() {
        let amount = Amount::tide(8);
        assert_eq!(decayed(amount, 0), amount);
        assert_eq!(decayed(amount, HALF_LIFE_S), Amount::tide(4));
        assert_eq!(decayed(amount, HALF_LIFE_S / 2), Amount::tide(6));
        assert_eq!(decayed(amount, 3 * HALF_LIFE_S), Amount::tide(1));
        assert_eq!(decayed(amount, u64::MAX), Amount::ZERO);
    }
}
