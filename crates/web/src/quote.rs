//! What a job would cost: a pure function of the job and of what the network says.

use serde::{Serialize, Serializer};
use tidemill_job::{JobSpec, Node};
use tidemill_net::wire::{Money, NetworkTerms};
use tidemill_types::{Amount, Billable, EscrowId, Metered, RateCard, Stage, TokenRate, WorkRate};

use crate::reliance;

/// What a job would cost.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Quote {
    /// What it comes to if every task uses all that its limits allow, at the dearest provider.
    pub most: Amount,
    /// What it comes to if tasks burn what those of the same programs did before; nothing where they never ran.
    pub likely: Option<Amount>,
    /// The most that one task may cost.
    pub each: Amount,
    /// What is locked for it.
    pub budget: Amount,
    /// No provider with higher rates gets a task.
    #[serde(serialize_with = "told")]
    pub ceiling: RateCard,
    /// The coordinator's part, in parts per million.
    pub fee_ppm: u32,
    /// The protocol's.
    pub protocol_fee_ppm: u32,
    /// The coordinator's bond.
    pub bond: Amount,
    /// Providers that could run its tasks now.
    pub providers: u32,
    /// How many results of each task are paid at least.
    pub least_results_each: u32,
    /// How many at most, while nobody contradicts another.
    pub most_results_each: u32,
}

/// A budget that does not pay for any task.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`max_price` is {max_price}, and a single task may cost {each} at its limits")]
pub struct TooLittle {
    max_price: Amount,
    each: Amount,
}

impl Quote {
    /// The quote for a job in a network that pays.
    ///
    /// # Errors
    /// [`TooLittle`] where not even one task is within `max_price`.
    pub fn of(
        spec: &JobSpec,
        money: &Money,
        terms: &NetworkTerms,
        protocol_fee_ppm: u32,
        bond: Amount,
        max_price: Option<Amount>,
    ) -> Result<Self, TooLittle> {
        let ceiling = ceiling(terms);
        let (least_results, most_results) = reliance::results_each(*spec.reliance(), terms);
        let fuels: Vec<Option<u64>> = terms.stages.iter().map(|stage| stage.typical_fuel).collect();
        let (mut most, mut each) = (Amount::ZERO, Amount::ZERO);
        let mut likely = Some(Amount::ZERO);
        for (at, stage) in [Stage::Map, Stage::Reduce].into_iter().enumerate() {
            let Some(limits) = spec.limits(stage) else { continue };
            let Work { tasks, input_bytes, largest_input } = work(spec, stage);
            let Some(kind) = spec.needs(stage).map(|needs| needs.kind) else { continue };
            each = each.max(ceiling.most(kind, limits, largest_input));
            let results = tasks.saturating_mul(most_results.into());
            most = most.saturating_add(times(ceiling.most(kind, limits, input_bytes), results));
            let fuel = fuels.get(at).copied().flatten();
            let usual = fuel.map(|fuel| {
                let inputs = if stage == Stage::Map { input_bytes } else { spec.common_input_bytes(stage) };
                let results = tasks.saturating_mul(least_results.into());
                let work = Metered::of_units(kind, fuel);
                times(ceiling.price(&Billable::new(limits, inputs, work, 0)), results)
            });
            likely = likely.zip(usual).map(|(sum, usual)| sum.saturating_add(usual));
        }
        let budget = budget(most, max_price);
        if let Some(max_price) = max_price
            && budget < each
        {
            return Err(TooLittle { max_price, each });
        }
        Ok(Self {
            most,
            likely,
            each,
            budget,
            ceiling,
            fee_ppm: money.fee_ppm,
            protocol_fee_ppm,
            bond,
            providers: terms.stages.iter().map(|stage| stage.providers).min().unwrap_or(0),
            least_results_each: least_results,
            most_results_each: most_results,
        })
    }

    /// What is said before what it likely comes to.
    fn at_least(&self) -> &'static str {
        if self.least_results_each == self.most_results_each { "about" } else { "from about" }
    }

    /// For a person, a line each. `escrow`: the one that is open already and pays.
    pub fn lines(&self, own_coordinator: bool, escrow: Option<EscrowId>) -> Vec<String> {
        let likely = match self.likely {
            Some(likely) => {
                format!("{} {} as its programs ran before; ", self.at_least(), rounded_up(likely))
            }
            None => String::new(),
        };
        let capped = if self.budget < self.most { " (its max_price)" } else { "" };
        // The budget is said to the last digit, here and where it is locked.
        let (most, budget) = (rounded_up(self.most), self.budget);
        let paid = match escrow {
            Some(escrow) => format!("up to {budget}{capped} is paid out of the escrow {}", escrow.short()),
            None => format!("{budget}{capped} is locked, what is not used comes back"),
        };
        let mut lines = vec![format!("quote: {likely}{most} at its limits; {paid}")];
        let percent = |ppm: u32| f64::from(ppm) / 10_000.0;
        lines.push(format!(
            "  of what providers earn, {} % go to the coordinator and {} % to the protocol",
            percent(self.fee_ppm),
            percent(self.protocol_fee_ppm)
        ));
        if !own_coordinator {
            let bond = match self.bond {
                Amount::ZERO => "which has no bond".to_owned(),
                bond => format!("whose bond is {}", rounded_up(bond)),
            };
            lines.push(format!(
                "  you trust this coordinator, {bond}, with all of it: nothing on the ledger says that paid work was done"
            ));
        }
        lines
    }
}

/// Rates as scripts read them.
fn told<S: Serializer>(rates: &RateCard, serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Told {
        fuel: Amount,
        tokens: TokenRate,
        memory: Amount,
        transfer: Amount,
    }
    let RateCard { work: WorkRate { fuel, tokens }, memory, transfer } = *rates;
    Told { fuel, tokens, memory, transfer }.serialize(serializer)
}

/// What is locked for a job: the most that it may cost, as people read it, so that what they read is what is locked.
fn budget(most: Amount, max_price: Option<Amount>) -> Amount {
    let most = rounded_up(most);
    max_price.map_or(most, |max_price| max_price.min(most))
}

/// What is usual, or the cheapest, times this is not far more.
const FAR: u64 = 4;

/// The highest rates that a job pays: those of the dearest provider, unless somebody asks far more than others do. One
/// that asks for a fortune must not make everybody lock one.
fn ceiling(terms: &NetworkTerms) -> RateCard {
    let usual = RateCard::default();
    let lowest = terms.stages.iter().filter_map(|stage| stage.lowest).reduce(RateCard::highest);
    let highest = terms.stages.iter().filter_map(|stage| stage.highest).reduce(RateCard::highest);
    // Where nobody is there yet whose rates could be asked for, those that providers have by themselves.
    let (Some(lowest), Some(highest)) = (lowest, highest) else { return usual };
    highest.lowest(not_far_above(usual.highest(lowest)))
}

/// The highest rates of jobs that are not known yet.
pub fn usual_ceiling() -> RateCard {
    not_far_above(RateCard::default())
}

fn not_far_above(believed: RateCard) -> RateCard {
    let most = |rate: Amount| times(rate, FAR);
    believed.map(most)
}

/// What a stage has to do.
struct Work {
    tasks: u64,
    /// The bytes that one of them reads, on average.
    input_bytes: u64,
    /// The most that one reads.
    largest_input: u64,
}

fn work(spec: &JobSpec, stage: Stage) -> Work {
    let common = spec.common_input_bytes(stage);
    match stage {
        Stage::Map => {
            let own = spec.input_bytes().div_ceil(spec.map_count());
            let (_, largest_input) = spec.map_input_bytes();
            Work { tasks: spec.map_count(), input_bytes: common.saturating_add(own), largest_input }
        }
        Stage::Reduce => {
            let tasks = spec.task_count() - spec.map_count();
            // The first is as wide as any; the root may be the only one.
            let parts = spec.tree().map_or(0, |tree| {
                let widest = [Node::Reduce { level: 0, index: 0 }, tree.root()];
                let widest = widest.into_iter().filter(|node| tree.contains(*node));
                widest.map(|node| tree.children(node).len() as u64).max().unwrap_or(0)
            });
            let longest = [Stage::Map, Stage::Reduce]
                .into_iter()
                .filter_map(|stage| spec.limits(stage))
                .map(|limits| limits.output.0)
                .max();
            let input_bytes = common.saturating_add(parts.saturating_mul(longest.unwrap_or(0)));
            Work { tasks, input_bytes, largest_input: input_bytes }
        }
    }
}

/// What something may cost, as people read it: to the millionth, and never less than it is.
pub fn rounded_up(amount: Amount) -> Amount {
    Amount::from_wei(amount.wei().div_ceil(MILLIONTH).saturating_mul(MILLIONTH))
}

/// What there is or was, as people read it: to the millionth or six digits, whichever says more, and never more than it
/// is.
pub fn shown(amount: Amount) -> Amount {
    let mut unit = MILLIONTH;
    while unit > 1 && amount.wei() / unit < 100_000 {
        unit /= 10;
    }
    Amount::from_wei(amount.wei() / unit * unit)
}

/// In wei.
const MILLIONTH: u128 = 1_000_000_000_000;

/// The same without its unit.
pub fn tide(amount: Amount) -> String {
    shown(amount).to_string().trim_end_matches(" TIDE").to_owned()
}

fn times(amount: Amount, count: u64) -> Amount {
    amount.checked_mul(count).unwrap_or(Amount::from_wei(u128::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_cost_is_rounded_up_and_what_was_is_cut() {
        let amount = |wei| Amount::from_wei(wei);
        assert_eq!(rounded_up(amount(1)).to_string(), "0.000001 TIDE");
        assert_eq!(rounded_up(Amount::tide(2)), Amount::tide(2));
        assert_eq!(rounded_up(amount(u128::MAX)), amount(u128::MAX));
        assert_eq!(shown(amount(93_400_012_267)).to_string(), "0.0000000934 TIDE");
        assert_eq!(shown(Amount::tide(10).saturating_add(amount(1))), Amount::tide(10));
        assert_eq!(shown(amount(7)), amount(7));
        assert_eq!(shown(Amount::ZERO), Amount::ZERO);
        assert_eq!(shown(amount(1_234_567_891_234_567_891)).to_string(), "1.234567 TIDE");
    }

    #[test]
    fn scripts_read_the_rates_by_their_names() {
        let text = told(&RateCard::default(), serde_json::value::Serializer).expect("it is plain data");
        let fuel = serde_json::to_value(RateCard::default().work.fuel).expect("it is plain data");
        assert_eq!(text["fuel"], fuel);
        assert_eq!(text.as_object().map(serde_json::Map::len), Some(4));
    }

    #[test]
    fn what_is_quoted_is_what_is_locked() {
        let most = Amount::from_wei(12_920_400_000_000_001);
        let quote = |max_price| Quote {
            most,
            likely: None,
            each: Amount::ZERO,
            budget: budget(most, max_price),
            ceiling: RateCard::default(),
            fee_ppm: 0,
            protocol_fee_ppm: 0,
            bond: Amount::ZERO,
            providers: 1,
            least_results_each: 1,
            most_results_each: 1,
        };
        let whole = quote(None);
        assert_eq!(whole.budget.to_string(), "0.012921 TIDE");
        assert_eq!(shown(whole.budget), whole.budget);
        assert_eq!(
            whole.lines(true, None)[0],
            "quote: 0.012921 TIDE at its limits; 0.012921 TIDE is locked, what is not used comes back"
        );
        let capped = quote(Some(Amount::from_wei(12_000_000_400_000_000)));
        assert_eq!(
            capped.lines(true, None)[0],
            "quote: 0.012921 TIDE at its limits; 0.0120000004 TIDE (its max_price) is locked, what is not used comes back"
        );
    }
}
