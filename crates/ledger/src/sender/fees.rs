//! What to pay for gas.

use tidemill_types::Coin;

use super::{Fees, Settings};

/// What a transaction pays now to be in one of the next blocks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Quote(pub(crate) Fees);

impl Quote {
    /// From `eth_feeHistory`: the median of the last blocks' median tips, and twice the next base fee, which is
    /// enough for six full blocks in a row.
    pub(crate) fn dynamic(next_base_fee: u128, tips: &[u128], settings: &Settings) -> Self {
        // Empty blocks say nothing of tips.
        let mut tips: Vec<_> = tips.iter().copied().filter(|tip| *tip > 0).collect();
        tips.sort_unstable();
        let median = tips.get(tips.len() / 2).copied().unwrap_or_default();
        let tip = median.max(settings.min_tip.wei());
        let cap = next_base_fee.saturating_mul(2).saturating_add(tip);
        Self(Fees::Dynamic { tip, cap }.within(settings.max_fee_per_gas))
    }

    /// From `eth_gasPrice`, on chains without base fees.
    pub(crate) fn legacy(price: u128, settings: &Settings) -> Self {
        Self(Fees::Legacy { price }.within(settings.max_fee_per_gas))
    }
}

impl Fees {
    /// The most that is paid for a unit of gas, in wei.
    pub fn cap(self) -> u128 {
        match self {
            Self::Dynamic { cap, .. } => cap,
            Self::Legacy { price } => price,
        }
    }

    /// The same, but never above the ceiling.
    fn within(self, ceiling: Coin) -> Self {
        let ceiling = ceiling.wei();
        match self {
            Self::Dynamic { tip, cap } => Self::Dynamic { tip: tip.min(ceiling), cap: cap.min(ceiling) },
            Self::Legacy { price } => Self::Legacy { price: price.min(ceiling) },
        }
    }

    /// The fees of a replacement: what the chain asks now, and at least an eighth more than before, since nodes want
    /// a tenth more of both tip and cap. None where that would pass the ceiling.
    pub(crate) fn raised(self, quote: Quote, ceiling: Coin) -> Option<Self> {
        let ceiling = ceiling.wei();
        let raised = match self {
            Self::Dynamic { tip, cap } => {
                let asked_tip = match quote.0 {
                    Self::Dynamic { tip, .. } => tip,
                    Self::Legacy { price } => price,
                };
                let cap = eighth_more(cap).max(quote.0.cap());
                Self::Dynamic { tip: eighth_more(tip).max(asked_tip).min(cap), cap }
            }
            Self::Legacy { price } => Self::Legacy { price: eighth_more(price).max(quote.0.cap()) },
        };
        (raised.cap() <= ceiling).then_some(raised)
    }
}

/// Rounded up, and more even for zero: nodes want it strictly more.
fn eighth_more(fee: u128) -> u128 {
    fee.saturating_add((fee / 8).saturating_add(1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn dynamic(tip: u128, cap: u128) -> Fees {
        Fees::Dynamic { tip, cap }
    }

    #[test]
    fn a_quote_follows_the_middle_of_the_tips() {
        let settings = Settings { min_tip: Coin::from_wei(2), ..Settings::default() };
        assert_eq!(Quote::dynamic(100, &[0, 7, 5, 900], &settings), Quote(dynamic(7, 207)));
        assert_eq!(Quote::dynamic(100, &[], &settings), Quote(dynamic(2, 202)));
        let poor = Settings { max_fee_per_gas: Coin::from_wei(50), ..settings };
        assert_eq!(Quote::dynamic(100, &[60], &poor), Quote(dynamic(50, 50)));
    }

    #[test]
    fn a_replacement_never_passes_the_ceiling() {
        let quote = Quote(dynamic(1, 10));
        assert_eq!(dynamic(8, 80).raised(quote, Coin::from_wei(91)), Some(dynamic(10, 91)));
        assert_eq!(dynamic(8, 80).raised(quote, Coin::from_wei(90)), None);
        assert_eq!(dynamic(0, 0).raised(Quote(dynamic(0, 0)), Coin::from_wei(1)), Some(dynamic(1, 1)));
    }

    proptest! {
        #[test]
        fn nodes_take_every_replacement(
            cap in 0u128..1 << 100, tip in any::<u128>(), asked in 0u128..1 << 100, asked_tip in any::<u128>()
        ) {
            let (tip, asked_tip) = (tip % (cap + 1), asked_tip % (asked + 1));
            let raised = dynamic(tip, cap).raised(Quote(dynamic(asked_tip, asked)), Coin::from_wei(u128::MAX));
            let Some(Fees::Dynamic { tip: new_tip, cap: new_cap }) = raised else { panic!("no ceiling is near") };
            // What geth and anvil ask of a replacement.
            prop_assert!(new_tip > tip && new_tip * 100 >= tip * 110);
            prop_assert!(new_cap > cap && new_cap * 100 >= cap * 110);
            prop_assert!(new_tip <= new_cap && new_cap >= asked);
        }
    }
}
