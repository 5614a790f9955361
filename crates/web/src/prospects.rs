//! What would come of a job: who would take its tasks now, when, at what price, and why not the others. A pure function of
//! the job and of what the network says.

use std::collections::BTreeSet;

use tidemill_api as api;
use tidemill_job::JobSpec;
use tidemill_net::wire::{NetworkTerms, ProviderReport};
use tidemill_sched::{Dearer, Unfit};
use tidemill_types::{Address, Amount, ByteSize, Engine, Needs, NodeId, RateCard, Reliance, Stage, one_line};

use crate::{
    quote::{Quote, TooLittle},
    reliance,
    words::rounded,
};

/// Providers that are told of one by one.
const MOST_TOLD: usize = 1000;

/// What the network says.
#[derive(Clone, Copy, Debug)]
pub struct Network<'a> {
    /// Its coordinator.
    pub coordinator: NodeId,
    /// What running the job's stages would cost there.
    pub terms: &'a NetworkTerms,
    /// Who lends what.
    pub providers: &'a [ProviderReport],
    /// Operators of whom it is known that the coordinator trusts them: asked where the job is for those alone.
    pub trusted: &'a BTreeSet<Address>,
}

/// What would come of a job there. `max_price` is what it may cost.
///
/// # Errors
/// [`TooLittle`] where not even one task is within `max_price`.
pub fn prospects(
    spec: &JobSpec,
    network: Network<'_>,
    max_price: Option<Amount>,
) -> Result<api::Prospects, TooLittle> {
    let Network { coordinator, terms, providers, .. } = network;
    let quote = match &terms.money {
        // What the protocol takes and what the coordinator has bonded change no price.
        Some(money) => Some(Quote::of(spec, money, terms, 0, Amount::ZERO, max_price)?),
        None => None,
    };
    let ceiling = quote.as_ref().map(|quote| quote.ceiling);
    let mut told: Vec<api::Candidate> =
        providers.iter().map(|report| candidate(spec, network, report, ceiling)).collect();
    told.sort_by(|a, b| (a.takes, &a.name, &a.node).cmp(&(b.takes, &b.name, &b.node)));
    let count = |takes| told.iter().filter(|one| one.takes == takes).count() as u64;
    let (least, most) = reliance::results_each(*spec.reliance(), terms);
    let notes = reliance::lines(spec, terms);
    Ok(api::Prospects {
        coordinator: coordinator.to_string(),
        free: terms.money.is_none(),
        least_results_each: least,
        most_results_each: most,
        now: count(api::Takes::Now),
        later: count(api::Takes::Later),
        never: count(api::Takes::Never),
        likely_s: likely_s(spec, network, ceiling, least),
        quote: quote.as_ref().map(quoted),
        notes: notes.iter().map(|note| note.trim().to_owned()).collect(),
        undecidable: reliance::undecidable(spec, terms),
        providers: {
            told.truncate(MOST_TOLD);
            told
        },
    })
}

fn quoted(quote: &Quote) -> api::Quote {
    api::Quote {
        most_wei: quote.most,
        likely_wei: quote.likely,
        each_wei: quote.each,
        locked_wei: quote.budget,
        fee_ppm: quote.fee_ppm,
    }
}

/// An engine that could run tasks of a stage, with the fuel that one slot of it burns in a second.
struct Able<'a> {
    engine: &'a Engine,
    per_s: u64,
}

/// The first engine of a provider that could run tasks of a stage, or what keeps the one that comes closest from it.
fn able<'a>(
    spec: &JobSpec,
    network: Network<'_>,
    report: &'a ProviderReport,
    stage: Stage,
    ceiling: Option<RateCard>,
) -> Result<Able<'a>, Unfit> {
    let Some(needs) = spec.needs(stage).filter(|_| report.connected) else { return Err(Unfit::Absent) };
    let mut why = Unfit::Kind(needs.kind);
    for (at, engine) in
        report.offer.engines.iter().enumerate().filter(|(_, engine)| engine.kind == needs.kind)
    {
        match unfit(spec, network, report, (stage, needs), engine, ceiling) {
            Some(unfit) => why = unfit,
            None => {
                let claimed = engine.capacity.all_fuel_per_s / u64::from(engine.slots.max(1));
                let seen = report.observed_fuel_per_s.get(at).copied().filter(|rate| *rate > 0);
                return Ok(Able { engine, per_s: seen.unwrap_or(claimed) });
            }
        }
    }
    Err(why)
}

fn unfit(
    spec: &JobSpec,
    network: Network<'_>,
    report: &ProviderReport,
    (stage, needs): (Stage, Needs),
    engine: &Engine,
    ceiling: Option<RateCard>,
) -> Option<Unfit> {
    let own = if stage == Stage::Map { spec.map_input_bytes().1 } else { 0 };
    let reads = ByteSize(spec.common_input_bytes(stage).saturating_add(own));
    let is_for_trusted = *spec.reliance() == Reliance::Trusted && !network.terms.trusts_everybody;
    let is_trusted = network.trusted.contains(&report.operator) || spec.trusted().contains(&report.operator);
    if !engine.floats.contains(&needs.floats) {
        Some(Unfit::Floats(needs.floats))
    } else if !engine.is_current() {
        Some(Unfit::ExecVersion { needs: needs.kind.version(), offers: engine.exec_version })
    } else if engine.memory < needs.memory {
        Some(Unfit::Memory { needs: needs.memory, offers: engine.memory })
    } else if report.offer.disk < reads {
        Some(Unfit::Disk { needs: reads, offers: report.offer.disk })
    } else if let Some(dearer) = ceiling.and_then(|ceiling| Dearer::of(&engine.rates, &ceiling)) {
        Some(Unfit::Price(dearer))
    } else if engine.slots == 0 {
        Some(Unfit::NoSlots)
    } else if is_for_trusted && !is_trusted {
        Some(Unfit::Untrusted)
    } else {
        None
    }
}

fn candidate(
    spec: &JobSpec,
    network: Network<'_>,
    report: &ProviderReport,
    ceiling: Option<RateCard>,
) -> api::Candidate {
    let found = able(spec, network, report, Stage::Map, ceiling);
    let slots = found.as_ref().map_or(0, |able| u64::from(able.engine.slots));
    let all_slots = u64::from(report.offer.slots());
    let (takes, why) = match &found {
        Err(unfit) => (api::Takes::Never, Some(unfit.to_string())),
        Ok(_) if report.leased >= all_slots => {
            let why =
                format!("has {} of {all_slots} slots taken by other tasks", report.leased.min(all_slots));
            (api::Takes::Later, Some(why))
        }
        Ok(_) => (api::Takes::Now, None),
    };
    let fuel = network.terms.stages.first().and_then(|stage| stage.typical_fuel);
    let most_each = spec.limits(Stage::Map).filter(|_| network.terms.money.is_some()).and_then(|limits| {
        let able = found.as_ref().ok()?;
        let reads = spec.common_input_bytes(Stage::Map).saturating_add(spec.map_input_bytes().1);
        Some(able.engine.rates.most(able.engine.kind, limits, reads))
    });
    api::Candidate {
        node: report.node.to_string(),
        name: one_line(&report.offer.name, 80),
        operator: report.operator.to_string(),
        takes,
        why,
        slots,
        task_s: fuel.zip(found.ok()).and_then(|(fuel, able)| seconds(fuel, able.per_s)),
        most_each_wei: most_each,
    }
}

/// How long something takes at a rate, to the millisecond.
#[expect(clippy::cast_precision_loss, reason = "an estimate for people")]
fn seconds(fuel: u64, per_s: u64) -> Option<f64> {
    (per_s > 0).then(|| rounded(fuel as f64 / per_s as f64 * 1000.0) as f64 / 1000.0)
}

/// How long the whole job takes on all slots that could run it, if its tasks burn what those of the same programs did.
fn likely_s(
    spec: &JobSpec,
    network: Network<'_>,
    ceiling: Option<RateCard>,
    results_each: u32,
) -> Option<f64> {
    let map = spec.map_count();
    let stages = [(Stage::Map, map), (Stage::Reduce, spec.task_count().saturating_sub(map))];
    let mut all = 0.0;
    for (at, (stage, tasks)) in stages.into_iter().enumerate().filter(|(_, (_, tasks))| *tasks > 0) {
        let fuel = network.terms.stages.get(at)?.typical_fuel?;
        let able: Vec<Able<'_>> = network
            .providers
            .iter()
            .filter_map(|report| able(spec, network, report, stage, ceiling).ok())
            .collect();
        let together = able
            .iter()
            .fold(0u64, |sum, one| sum.saturating_add(one.per_s.saturating_mul(u64::from(one.engine.slots))));
        let fastest = able.iter().map(|one| one.per_s).max()?;
        let work = fuel.saturating_mul(tasks).saturating_mul(results_each.into());
        // No job is faster than one of its tasks.
        all += seconds(work, together)?.max(seconds(fuel, fastest)?);
    }
    Some(all)
}

#[cfg(test)]
mod tests;
