//! What work costs: rate cards, and the bill for a task.
//!
//! Billed is only what whoever runs the same task again gets to the same number: work in the unit of the program's kind,
//! the memory that the task's limits declare, and the bytes of its inputs and its output. Time is not among it: it depends
//! on the machine, and whoever is paid by it is paid for being slow.

use serde::{Deserialize, Serialize};

use crate::{Amount, ByteSize, Fuel, Limits, ProgramKind, TaskSpec, Usage};

/// An amount of work, in the unit of a kind of program.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Metered {
    /// Fuel burnt by a wasm program.
    Fuel(Fuel),
}

/// What work costs, in the same units as [`Metered`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WorkRate {
    /// For 10^9 units of fuel.
    Fuel(Amount),
}

/// What a provider asks for the work of one of its engines, before fees.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct RateCard {
    /// For work.
    pub work: WorkRate,
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
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Billable {
    /// Work done.
    pub work: Metered,
    /// The limit on memory.
    pub memory: ByteSize,
    /// Bytes of inputs and output.
    pub moved: ByteSize,
}

const GIGA: u64 = 1_000_000_000;
const MIB_IN_GIB: u64 = 1024;
const GIB: u64 = 1 << 30;

impl Metered {
    /// The work of an attempt at a program of this kind.
    pub fn of(kind: ProgramKind, usage: &Usage) -> Self {
        match kind {
            ProgramKind::Wasm => Self::Fuel(usage.fuel),
        }
    }
}

impl WorkRate {
    /// The amount, whatever the unit.
    pub fn amount(self) -> Amount {
        match self {
            Self::Fuel(amount) => amount,
        }
    }

    /// The most work of this unit that a task may do by its limits.
    fn most(self, limits: &Limits) -> Metered {
        match self {
            Self::Fuel(_) => Metered::Fuel(limits.fuel),
        }
    }
}

impl RateCard {
    /// Nothing.
    pub const FREE: Self =
        Self { work: WorkRate::Fuel(Amount::ZERO), memory: Amount::ZERO, transfer: Amount::ZERO };

    /// No single rate is above this, so that no bill overflows.
    pub const MOST: Amount = Amount::tide(1_000);

    /// Checks the bounds.
    ///
    /// # Errors
    /// [`RateError`] names the first rate that is too high.
    pub fn check(&self) -> Result<(), RateError> {
        let rates = [self.work.amount(), self.memory, self.transfer];
        rates.into_iter().find(|rate| *rate > Self::MOST).map_or(Ok(()), |found| Err(RateError { found }))
    }

    /// The price of a task: `work × work rate ÷ 10^9 + work × MiB × memory rate ÷ (10^9 × 1024) + bytes × transfer rate
    /// ÷ 2^30`, each part rounded up. A part of a MiB counts as one.
    pub fn price(&self, work: &Billable) -> Amount {
        let part = |rate: Amount, count: u64, unit: u64| {
            rate.mul_div_ceil(count, unit).expect("rates are below 2^70, counts below 2^64")
        };
        let most = |rate: Amount| rate.min(Self::MOST);
        let (WorkRate::Fuel(rate), Metered::Fuel(Fuel(units))) = (self.work, work.work);
        let mib = work.memory.0.div_ceil(1 << 20).min(MIB_IN_GIB * MIB_IN_GIB);
        let held = most(self.memory).checked_mul(mib).expect("below 2^70 times 2^20");
        let parts = [
            part(most(rate), units, GIGA),
            part(held, units, GIGA * MIB_IN_GIB),
            part(most(self.transfer), work.moved.0, GIB),
        ];
        parts
            .into_iter()
            .fold(Amount::ZERO, |sum, part| sum.checked_add(part).expect("three parts below 2^116 each"))
    }

    /// The most that a task may cost: with all the work and the longest output that its limits allow.
    pub fn most(&self, limits: &Limits, input_bytes: u64) -> Amount {
        let output = limits.output.0.saturating_add(ARCHIVE_BYTES);
        self.price(&Billable::new(limits, input_bytes, self.work.most(limits), output))
    }

    /// Whether no rate is above that of the other card.
    pub fn is_within(&self, ceiling: &Self) -> bool {
        let (WorkRate::Fuel(asked), WorkRate::Fuel(paid)) = (self.work, ceiling.work);
        asked <= paid && self.memory <= ceiling.memory && self.transfer <= ceiling.transfer
    }

    /// The lower of each rate.
    pub fn lowest(self, other: Self) -> Self {
        let (WorkRate::Fuel(one), WorkRate::Fuel(two)) = (self.work, other.work);
        Self {
            work: WorkRate::Fuel(one.min(two)),
            memory: self.memory.min(other.memory),
            transfer: self.transfer.min(other.transfer),
        }
    }

    /// The higher of each rate.
    pub fn highest(self, other: Self) -> Self {
        let (WorkRate::Fuel(one), WorkRate::Fuel(two)) = (self.work, other.work);
        Self {
            work: WorkRate::Fuel(one.max(two)),
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
            work: WorkRate::Fuel(Amount::from_wei(100 * MILLIONTH)),
            memory: Amount::from_wei(10 * MILLIONTH),
            transfer: Amount::from_wei(10_000 * MILLIONTH),
        }
    }
}

impl Billable {
    /// What is billed of an attempt at a task. `output_len`: of its archive, 0 where it failed.
    pub fn of(spec: &TaskSpec, usage: &Usage, output_len: u64) -> Self {
        Self::new(&spec.limits, input_bytes(spec), Metered::of(spec.kind, usage), output_len)
    }

    /// The same, of a task whose inputs have so many bytes.
    pub fn new(limits: &Limits, input_bytes: u64, work: Metered, output_len: u64) -> Self {
        let moved = ByteSize(input_bytes.saturating_add(output_len));
        Self { work, memory: limits.memory, moved }
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

    fn card(fuel: Amount, memory: Amount, transfer: Amount) -> RateCard {
        RateCard { work: WorkRate::Fuel(fuel), memory, transfer }
    }

    fn billable(fuel: u64, memory: ByteSize, moved: ByteSize) -> Billable {
        Billable { work: Metered::Fuel(Fuel(fuel)), memory, moved }
    }

    #[test]
    fn a_bill_is_the_sum_of_its_parts() {
        let rates = card(Amount::tide(1), Amount::tide(2), Amount::tide(3));
        let work = billable(5_000_000_000, ByteSize::mib(512), ByteSize(2 << 30));
        // 5 for the fuel, 5 × 0.5 × 2 for the memory, 2 × 3 for the bytes.
        assert_eq!(rates.price(&work), Amount::tide(5 + 5 + 6));
        let one = billable(1, ByteSize(1), ByteSize(1));
        let cheap = card(Amount::from_wei(1), Amount::from_wei(1), Amount::from_wei(1));
        assert_eq!(cheap.price(&one), Amount::from_wei(3), "every part rounds up");
        assert_eq!(RateCard::FREE.price(&work), Amount::ZERO);
    }

    #[test]
    fn rates_have_a_ceiling() {
        let found = Amount::from_wei(RateCard::MOST.wei() + 1);
        let rates = RateCard { work: WorkRate::Fuel(found), ..RateCard::default() };
        assert_eq!(rates.check(), Err(RateError { found }));
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
            let rates = card(rate, rate, rate);
            let work = billable(fuel, ByteSize(memory), ByteSize(moved));
            let price = rates.price(&work);
            let smaller = billable(fuel.min(less), ByteSize(memory), ByteSize(moved));
            prop_assert!(rates.price(&smaller) <= price);
        }
    }
}
