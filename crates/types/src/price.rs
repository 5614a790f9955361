//! What work costs: rate cards, and the bill for a task.
//!
//! Billed is only what whoever runs the same task again gets to the same number: fuel, the memory that the task's limits
//! declare, and the bytes of its inputs and its output. Time is not among it: it depends on the machine, and whoever is
//! paid by it is paid for being slow.

use serde::{Deserialize, Serialize};

use crate::{Amount, ByteSize, Fuel, Limits, TaskSpec};

/// What a provider asks for its work, before fees.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct RateCard {
    /// For 10^9 units of fuel.
    pub fuel: Amount,
    /// For holding a GiB, as the task's limits declare it, over 10^9 units of fuel.
    pub memory: Amount,
    /// For a GiB of inputs and output.
    pub transfer: Amount,
}

/// A rate above what a rate card may have.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a rate of {found} is above the highest, {most}", most = RateCard::MOST)]
pub struct RateError {
    /// The rate.
    pub found: Amount,
}

/// What of a task is billed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug, Serialize, Deserialize)]
pub struct Billable {
    /// Fuel burnt.
    pub fuel: Fuel,
    /// The limit on memory.
    pub memory: ByteSize,
    /// Bytes of inputs and output.
    pub moved: ByteSize,
}

const GIGA: u64 = 1_000_000_000;
const MIB_IN_GIB: u64 = 1024;
const GIB: u64 = 1 << 30;

impl RateCard {
    /// Nothing.
    pub const FREE: Self = Self { fuel: Amount::ZERO, memory: Amount::ZERO, transfer: Amount::ZERO };

    /// No single rate is above this, so that no bill overflows.
    pub const MOST: Amount = Amount::tide(1_000);

    /// Checks the bounds.
    ///
    /// # Errors
    /// [`RateError`] names the first rate that is too high.
    pub fn check(&self) -> Result<(), RateError> {
        let rates = [self.fuel, self.memory, self.transfer];
        rates.into_iter().find(|rate| *rate > Self::MOST).map_or(Ok(()), |found| Err(RateError { found }))
    }

    /// The price of a task: `fuel × fuel rate ÷ 10^9 + fuel × MiB × memory rate ÷ (10^9 × 1024) + bytes × transfer rate
    /// ÷ 2^30`, each part rounded up. A part of a MiB counts as one.
    pub fn price(&self, work: &Billable) -> Amount {
        let part = |rate: Amount, count: u64, unit: u64| {
            rate.mul_div_ceil(count, unit).expect("rates are below 2^70, counts below 2^64")
        };
        let most = |rate: Amount| rate.min(Self::MOST);
        let mib = work.memory.0.div_ceil(1 << 20).min(MIB_IN_GIB * MIB_IN_GIB);
        let held = most(self.memory).checked_mul(mib).expect("below 2^70 times 2^20");
        let parts = [
            part(most(self.fuel), work.fuel.0, GIGA),
            part(held, work.fuel.0, GIGA * MIB_IN_GIB),
            part(most(self.transfer), work.moved.0, GIB),
        ];
        parts
            .into_iter()
            .fold(Amount::ZERO, |sum, part| sum.checked_add(part).expect("three parts below 2^116 each"))
    }

    /// The most that a task may cost: with all the fuel and the longest output that its limits allow.
    pub fn most(&self, limits: &Limits, input_bytes: u64) -> Amount {
        self.price(&Billable::most(limits, input_bytes))
    }

    /// Whether no rate is above that of the other card.
    pub fn is_within(&self, ceiling: &Self) -> bool {
        self.fuel <= ceiling.fuel && self.memory <= ceiling.memory && self.transfer <= ceiling.transfer
    }

    /// The lower of each rate.
    pub fn lowest(self, other: Self) -> Self {
        Self {
            fuel: self.fuel.min(other.fuel),
            memory: self.memory.min(other.memory),
            transfer: self.transfer.min(other.transfer),
        }
    }

    /// The higher of each rate.
    pub fn highest(self, other: Self) -> Self {
        Self {
            fuel: self.fuel.max(other.fuel),
            memory: self.memory.max(other.memory),
            transfer: self.transfer.max(other.transfer),
        }
    }
}

impl Default for RateCard {
    /// What providers ask that were not told otherwise. About 3 TIDE for an hour of a core that burns 8 billion units
    /// of fuel a second.
    fn default() -> Self {
        const MILLIONTH: u128 = 1_000_000_000_000;
        Self {
            fuel: Amount::from_wei(100 * MILLIONTH),
            memory: Amount::from_wei(10 * MILLIONTH),
            transfer: Amount::from_wei(10_000 * MILLIONTH),
        }
    }
}

impl Billable {
    /// What is billed of an attempt at a task. `output_len`: of its archive, 0 where it failed.
    pub fn of(spec: &TaskSpec, fuel: Fuel, output_len: u64) -> Self {
        Self::new(&spec.limits, input_bytes(spec), fuel, output_len)
    }

    /// The same, of a task whose inputs have so many bytes.
    pub fn new(limits: &Limits, input_bytes: u64, fuel: Fuel, output_len: u64) -> Self {
        let moved = ByteSize(input_bytes.saturating_add(output_len));
        Self { fuel, memory: limits.memory, moved }
    }

    /// The most that a task with these limits may come to.
    pub fn most(limits: &Limits, input_bytes: u64) -> Self {
        let output = limits.output.0.saturating_add(ARCHIVE_BYTES);
        Self::new(limits, input_bytes, limits.fuel, output)
    }
}

/// What an output's archive has beside the files, at most.
const ARCHIVE_BYTES: u64 = (crate::MAX_INDEX_BYTES + crate::Archive::HEADER_BYTES) as u64;

/// The bytes of a task's inputs.
pub fn input_bytes(spec: &TaskSpec) -> u64 {
    spec.inputs.iter().fold(0, |sum: u64, input| sum.saturating_add(input.len))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_bill_is_the_sum_of_its_parts() {
        let rates = RateCard { fuel: Amount::tide(1), memory: Amount::tide(2), transfer: Amount::tide(3) };
        let work =
            Billable { fuel: Fuel(5_000_000_000), memory: ByteSize::mib(512), moved: ByteSize(2 << 30) };
        // 5 for the fuel, 5 × 0.5 × 2 for the memory, 2 × 3 for the bytes.
        assert_eq!(rates.price(&work), Amount::tide(5 + 5 + 6));
        let one = Billable { fuel: Fuel(1), memory: ByteSize(1), moved: ByteSize(1) };
        let cheap = RateCard {
            fuel: Amount::from_wei(1),
            memory: Amount::from_wei(1),
            transfer: Amount::from_wei(1),
        };
        assert_eq!(cheap.price(&one), Amount::from_wei(3), "every part rounds up");
        assert_eq!(RateCard::FREE.price(&work), Amount::ZERO);
    }

    #[test]
    fn rates_have_a_ceiling() {
        let rates = RateCard { fuel: Amount::from_wei(RateCard::MOST.wei() + 1), ..RateCard::default() };
        assert_eq!(rates.check(), Err(RateError { found: rates.fuel }));
        assert_eq!(RateCard::default().check(), Ok(()));
        assert!(RateCard::FREE.is_within(&RateCard::default()));
        assert!(!RateCard::default().is_within(&RateCard::FREE));
    }

    proptest! {
        #[test]
        fn no_work_costs_more_than_there_is_a_number_for(
            rate in any::<u128>(), fuel in any::<u64>(), memory in any::<u64>(), moved in any::<u64>(), less in any::<u64>(),
        ) {
            let rate = Amount::from_wei(rate);
            let rates = RateCard { fuel: rate, memory: rate, transfer: rate };
            let work = Billable { fuel: Fuel(fuel), memory: ByteSize(memory), moved: ByteSize(moved) };
            let price = rates.price(&work);
            let smaller = Billable { fuel: Fuel(fuel.min(less)), ..work };
            prop_assert!(rates.price(&smaller) <= price);
        }
    }
}
