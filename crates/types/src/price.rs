//! What work costs: rate cards, and the bill for a task.
//!
//! Billed is only what whoever runs the same task again gets to the same number: work in the unit of the program's kind,
//! the memory that the task's limits declare, and the bytes of its inputs and its output. Time is not among it: it depends
//! on the machine, and whoever is paid by it is paid for being slow.

use serde::{Deserialize, Serialize};

use crate::{Amount, ByteSize, Fuel, Limits, ProgramKind, TaskSpec, Tokens, Usage};

/// An amount of work, in the unit of a kind of program.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Metered {
    /// Fuel burnt by a wasm program.
    Fuel(Fuel),
    /// Tokens read and written by a model.
    Tokens(Tokens),
}

/// What work costs, in the units of [`Metered`]. An engine works in one of them; a job may have stages of several kinds.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct WorkRate {
    /// For 10^9 units of fuel.
    pub fuel: Amount,
    /// For tokens.
    pub tokens: TokenRate,
}

/// What a model's work costs, for 10^6 tokens each.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct TokenRate {
    /// For tokens of prompts.
    pub input: Amount,
    /// For those of them that an earlier prompt of the task begins with as well.
    pub cached: Amount,
    /// For tokens of answers.
    pub output: Amount,
    /// For holding a GiB, as the task's limits declare it, over 10^6 tokens that are not cached ones. What a token takes to
    /// compute grows with its model, and a task's memory has to hold that.
    pub memory: Amount,
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
const MEGA: u64 = 1_000_000;
const MIB_IN_GIB: u64 = 1024;
const GIB: u64 = 1 << 30;

/// Of a TIDE, in wei.
const MILLIONTH: u128 = 1_000_000_000_000;

impl Metered {
    /// The work of an attempt at a program of this kind.
    pub fn of(kind: ProgramKind, usage: &Usage) -> Self {
        match kind {
            ProgramKind::Wasm => Self::Fuel(usage.fuel),
            ProgramKind::Infer => Self::Tokens(usage.tokens),
        }
    }

    /// The most work that a task of a kind may do by its limits.
    pub fn most(kind: ProgramKind, limits: &Limits) -> Self {
        match kind {
            ProgramKind::Wasm => Self::Fuel(limits.fuel),
            ProgramKind::Infer => {
                Self::Tokens(Tokens { input: limits.input_tokens, cached: 0, output: limits.output_tokens })
            }
        }
    }

    /// The units in which placement measures a token, so that the same numbers are telling of both: a core burns so much
    /// fuel in about the time that a small model takes for a token.
    pub const UNITS_OF_TOKEN: u64 = 10_000_000;

    /// The work that so many units of placement stand for.
    pub fn of_units(kind: ProgramKind, units: u64) -> Self {
        match kind {
            ProgramKind::Wasm => Self::Fuel(Fuel(units)),
            ProgramKind::Infer => {
                Self::Tokens(Tokens { output: units / Self::UNITS_OF_TOKEN, ..Tokens::default() })
            }
        }
    }

    /// In the units of placement: fuel, or for each token that a model computes [`Self::UNITS_OF_TOKEN`].
    pub fn units(self) -> u64 {
        match self {
            Self::Fuel(Fuel(units)) => units,
            Self::Tokens(tokens) => tokens.computed().saturating_mul(Self::UNITS_OF_TOKEN),
        }
    }

    /// Whether a draft saves some of it.
    pub fn has_drafts(self) -> bool {
        match self {
            Self::Fuel(_) => false,
            Self::Tokens(tokens) => tokens.output > 0,
        }
    }
}

impl WorkRate {
    /// Nothing.
    pub const FREE: Self = Self { fuel: Amount::ZERO, tokens: TokenRate::FREE };

    /// This for fuel, and for tokens what is usual.
    pub fn fuel(fuel: Amount) -> Self {
        Self { fuel, tokens: TokenRate::default() }
    }

    /// Each rate with that of the other card.
    fn with(self, other: Self, pick: impl Fn(Amount, Amount) -> Amount) -> Self {
        let (one, two) = (self.tokens, other.tokens);
        let tokens = TokenRate {
            input: pick(one.input, two.input),
            cached: pick(one.cached, two.cached),
            output: pick(one.output, two.output),
            memory: pick(one.memory, two.memory),
        };
        Self { fuel: pick(self.fuel, other.fuel), tokens }
    }

    /// The amounts, with what each is for.
    pub fn named(self) -> [(&'static str, Amount); 5] {
        let TokenRate { input, cached, output, memory } = self.tokens;
        [
            ("for a billion units of fuel", self.fuel),
            ("for a million tokens of prompts", input),
            ("for a million cached tokens of prompts", cached),
            ("for a million tokens of answers", output),
            ("for a GiB held over a million tokens", memory),
        ]
    }
}

impl TokenRate {
    /// Nothing.
    pub const FREE: Self =
        Self { input: Amount::ZERO, cached: Amount::ZERO, output: Amount::ZERO, memory: Amount::ZERO };
}

impl RateCard {
    /// Nothing.
    pub const FREE: Self = Self { work: WorkRate::FREE, memory: Amount::ZERO, transfer: Amount::ZERO };

    /// No single rate is above this, so that no bill overflows.
    pub const MOST: Amount = Amount::tide(1_000);

    /// The amounts, with what each is for.
    pub fn named(&self) -> [(&'static str, Amount); 7] {
        let [fuel, input, cached, output, held] = self.work.named();
        let memory = ("for a GiB held over a billion units of fuel", self.memory);
        [fuel, memory, input, cached, output, held, ("for a GiB moved", self.transfer)]
    }

    /// Checks the bounds.
    ///
    /// # Errors
    /// [`RateError`] names the first rate that is too high.
    pub fn check(&self) -> Result<(), RateError> {
        let above = self.named().into_iter().find(|(_, rate)| *rate > Self::MOST);
        above.map_or(Ok(()), |(_, found)| Err(RateError { found }))
    }

    /// The price of a task, each part rounded up. Of WebAssembly: `fuel × fuel rate ÷ 10^9 + fuel × MiB × memory rate ÷
    /// (10^9 × 1024) + bytes × transfer rate ÷ 2^30`. Of a model: `each count of tokens × its rate ÷ 10^6 + tokens that
    /// are not cached × MiB × memory rate of tokens ÷ (10^6 × 1024) + bytes × transfer rate ÷ 2^30`. A part of a MiB
    /// counts as one.
    pub fn price(&self, work: &Billable) -> Amount {
        let part = |rate: Amount, count: u64, unit: u64| {
            rate.mul_div_ceil(count, unit).expect("rates are below 2^70 times 2^20, counts below 2^64")
        };
        let most = |rate: Amount| rate.min(Self::MOST);
        let mib = work.memory.0.div_ceil(1 << 20).min(MIB_IN_GIB * MIB_IN_GIB);
        let held = |rate: Amount| most(rate).checked_mul(mib).expect("below 2^70 times 2^20");
        let WorkRate { fuel, tokens } = self.work;
        let parts = match work.work {
            Metered::Fuel(Fuel(units)) => {
                vec![part(most(fuel), units, GIGA), part(held(self.memory), units, GIGA * MIB_IN_GIB)]
            }
            Metered::Tokens(used) => vec![
                part(most(tokens.input), used.input.saturating_sub(used.cached), MEGA),
                part(most(tokens.cached), used.cached, MEGA),
                part(most(tokens.output), used.output, MEGA),
                part(held(tokens.memory), used.computed(), MEGA * MIB_IN_GIB),
            ],
        };
        let moved = part(most(self.transfer), work.moved.0, GIB);
        parts.into_iter().fold(moved, Amount::saturating_add)
    }

    /// The most that a task of a kind may cost: with all the work and the longest output that its limits allow.
    pub fn most(&self, kind: ProgramKind, limits: &Limits, input_bytes: u64) -> Amount {
        let output = limits.output.0.saturating_add(ARCHIVE_BYTES);
        // A prompt's cached tokens must not cost more than its others.
        let tokens = self.work.tokens;
        let input = tokens.input.max(tokens.cached);
        let card = Self { work: WorkRate { tokens: TokenRate { input, ..tokens }, ..self.work }, ..*self };
        card.price(&Billable::new(limits, input_bytes, Metered::most(kind, limits), output))
    }

    /// Whether no rate is above that of the other card.
    pub fn is_within(&self, ceiling: &Self) -> bool {
        self.named().into_iter().zip(ceiling.named()).all(|((_, asked), (_, paid))| asked <= paid)
    }

    /// The lower of each rate.
    #[must_use]
    pub fn lowest(self, other: Self) -> Self {
        self.with(other, Amount::min)
    }

    /// What is asked for running a task again with a draft of its output, at most: reading a token and drawing it again takes
    /// a part of the time of writing it.
    #[must_use]
    pub fn for_check(self) -> Self {
        let TokenRate { output, .. } = self.work.tokens;
        let output = output.mul_div_ceil(1, 2).unwrap_or(output);
        Self { work: WorkRate { tokens: TokenRate { output, ..self.work.tokens }, ..self.work }, ..self }
    }

    /// The higher of each rate.
    #[must_use]
    pub fn highest(self, other: Self) -> Self {
        self.with(other, Amount::max)
    }

    /// Each rate as this function changes it.
    #[must_use]
    pub fn map(self, change: impl Fn(Amount) -> Amount) -> Self {
        self.with(self, |rate, _| change(rate))
    }

    fn with(self, other: Self, pick: impl Fn(Amount, Amount) -> Amount) -> Self {
        Self {
            memory: pick(self.memory, other.memory),
            transfer: pick(self.transfer, other.transfer),
            work: self.work.with(other.work, pick),
        }
    }
}

impl Default for RateCard {
    /// What providers ask that were not told otherwise. About 3 TIDE for an hour of a core that burns 8 billion units
    /// of fuel a second.
    fn default() -> Self {
        Self {
            work: WorkRate::fuel(Amount::from_wei(100 * MILLIONTH)),
            memory: Amount::from_wei(10 * MILLIONTH),
            transfer: Amount::from_wei(10_000 * MILLIONTH),
        }
    }
}

impl Default for TokenRate {
    /// What providers ask that were not told otherwise. A core of which an hour costs 3 TIDE writes about 400,000 tokens in
    /// it with a model of 135 million weights (SmolLM2) and reads four times as many, and the memory of its tasks is about
    /// half a GiB, so that the two rates below come to about as much as fuel would.
    fn default() -> Self {
        Self {
            input: Amount::from_wei(500_000 * MILLIONTH),
            cached: Amount::from_wei(50_000 * MILLIONTH),
            output: Amount::from_wei(4_000_000 * MILLIONTH),
            memory: Amount::from_wei(2_000_000 * MILLIONTH),
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
        RateCard { work: WorkRate::fuel(fuel), memory, transfer }
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
    fn tokens_are_billed_by_what_they_are_and_by_the_memory_of_their_model() {
        let tokens = TokenRate {
            input: Amount::tide(2),
            cached: Amount::tide(1),
            output: Amount::tide(8),
            memory: Amount::tide(4),
        };
        let rates = RateCard { work: WorkRate { tokens, ..WorkRate::FREE }, ..RateCard::FREE };
        let used = Tokens { input: 3_000_000, cached: 2_000_000, output: 500_000 };
        let work = Billable { work: Metered::Tokens(used), memory: ByteSize::mib(512), moved: ByteSize(7) };
        // 2 for a million that is read, 2 × 1 for what is cached, 8 ÷ 2 for the answers, 1.5 × 4 ÷ 2 for the memory.
        assert_eq!(rates.price(&work), Amount::tide(2 + 2 + 4 + 3));
        let limits = Limits { input_tokens: 3_000_000, output_tokens: 500_000, ..Limits::default() };
        assert!(rates.most(ProgramKind::Infer, &limits, 7) > rates.price(&work));
        assert_eq!(Metered::Tokens(used).units(), 1_500_000 * Metered::UNITS_OF_TOKEN);
        let dear = WorkRate { tokens: TokenRate { cached: Amount::tide(5), ..tokens }, ..WorkRate::FREE };
        let dear = RateCard { work: dear, ..rates };
        assert!(
            dear.most(ProgramKind::Infer, &limits, 7) > dear.price(&work),
            "whatever a prompt's tokens count as"
        );
        assert!(!dear.is_within(&rates) && rates.is_within(&dear));
    }

    #[test]
    fn a_check_costs_half_of_what_writing_does() {
        let check = RateCard::default().for_check();
        assert_eq!(check.work.tokens.output, Amount::tide(2));
        let usual = RateCard::default();
        let tokens = TokenRate { output: usual.work.tokens.output, ..check.work.tokens };
        assert_eq!(RateCard { work: WorkRate { tokens, ..check.work }, ..check }, usual);
        assert!(check.is_within(&usual));
        let used = |output| Metered::Tokens(Tokens { input: 1, cached: 0, output });
        assert!(used(1).has_drafts() && !used(0).has_drafts() && !Metered::Fuel(Fuel(1)).has_drafts());
    }

    #[test]
    fn rates_have_a_ceiling() {
        let found = Amount::from_wei(RateCard::MOST.wei() + 1);
        let rates = RateCard { work: WorkRate::fuel(found), ..RateCard::default() };
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
