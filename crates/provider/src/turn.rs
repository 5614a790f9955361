//! Whose attempt is next where several coordinators have one for the same engine.
//!
//! Those that pay more go first. Those that pay the same have slots in equal numbers while each of them has work; what
//! one of them leaves idle, the others use.

use std::cmp::Reverse;

use tidemill_types::{Amount, RateCard};

/// What a coordinator pays for the work of one engine. Nothing is less than any amount.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Pay(Option<[Amount; 7]>);

/// What speaks for a coordinator that has an attempt to start.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Turn {
    pub(crate) pays: Pay,
    /// How many of its attempts have slots.
    pub(crate) running: usize,
    /// When one of its attempts was started last, by the count of starts.
    pub(crate) last: u64,
}

impl Pay {
    /// What these rates come to; without any, nothing.
    pub(crate) fn by(rates: Option<&RateCard>) -> Self {
        Self(rates.map(|rates| rates.named().map(|(_, rate)| rate)))
    }
}

/// The place of the coordinator that is next, among those that have an attempt.
pub(crate) fn next(turns: impl Iterator<Item = Option<Turn>>) -> Option<usize> {
    let ready = turns.enumerate().filter_map(|(place, turn)| Some((place, turn?)));
    ready.min_by_key(|(_, turn)| (Reverse(turn.pays), turn.running, turn.last)).map(|(place, _)| place)
}

#[cfg(test)]
mod tests {
    use tidemill_types::WorkRate;

    use super::*;

    fn pays(wei: u128) -> Pay {
        let work = WorkRate::fuel(Amount::from_wei(wei));
        Pay::by(Some(&RateCard { work, ..RateCard::default() }))
    }

    fn turn(pays: Pay, running: usize, last: u64) -> Option<Turn> {
        Some(Turn { pays, running, last })
    }

    #[test]
    fn who_pays_more_goes_first_however_much_of_it_runs() {
        assert_eq!(next([turn(pays(1), 0, 0), turn(pays(2), 9, 9)].into_iter()), Some(1));
        assert_eq!(next([turn(pays(1), 9, 9), turn(Pay::by(None), 0, 0)].into_iter()), Some(0));
        assert!(Pay::by(Some(&RateCard::FREE)) > Pay::by(None), "an escrow is more than none");
    }

    #[test]
    fn those_that_pay_the_same_have_the_same_number_of_slots() {
        assert_eq!(next([turn(pays(1), 3, 0), turn(pays(1), 2, 9)].into_iter()), Some(1));
        assert_eq!(next([turn(pays(1), 2, 8), turn(pays(1), 2, 7)].into_iter()), Some(1), "they take turns");
    }

    #[test]
    fn what_one_leaves_idle_another_uses() {
        assert_eq!(next([None, turn(Pay::by(None), 9, 9), None].into_iter()), Some(1));
        assert_eq!(next([None, None].into_iter()), None);
    }
}
