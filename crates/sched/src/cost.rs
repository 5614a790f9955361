//! What a task would cost at a provider: the time until it should be done, weighted by the odds.

use std::fmt;

use tidemill_types::ByteSize;

use crate::{
    Micros, Policy,
    provider::{Provider, Site},
    work::ClassState,
};

/// The fuel that a task of an unknown class is taken to need, so that faster providers come first.
const NOMINAL_FUEL: f64 = 100e6;

/// No task is taken to be shorter than this, in µs: what handing it over costs.
const LEAST_WORK: f64 = 20.0;

/// The predicted cost of a task at a provider.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cost {
    /// Until it starts.
    pub queue: Micros,
    /// Bytes that it must fetch.
    pub missing: ByteSize,
    /// At so many bytes a second.
    pub bytes_per_s: u64,
    /// And so long.
    pub transfer: Micros,
    /// Its work; none before a task of its class has ended.
    pub work: Option<Micros>,
    /// The chance that it ends well, in thousandths.
    pub success_permille: u32,
    /// All of it divided by that chance; least is best. Of unknown work a nominal amount is counted.
    pub total: Micros,
}

/// What of the cost does not depend on the queue. Times are µs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Estimate {
    /// Until the shared blobs are there.
    pub shared: u64,
    /// To fetch what is the task's own.
    pub own: u64,
    /// Its work.
    pub work: Option<u64>,
    /// Whether the work is a guess from another job's tasks, by which nobody is called late.
    pub guessed: bool,
    nominal: u64,
    permille: u64,
}

impl Estimate {
    /// For a task of a class that must fetch `own_bytes` besides the shared blobs.
    pub fn of(class: &ClassState, site: Site<'_>, own_bytes: u64, policy: &Policy, now: Micros) -> Self {
        let Site { at, provider, engine } = site;
        let transfer = |bytes| transfer(provider, bytes, policy);
        let shared = match class.places.get(&at) {
            Some(place) if place.warm => 0,
            Some(place) if place.leases > 0 => place.fetched_at.since(now).0,
            _ => transfer(missing(class, provider)),
        };
        let rate = engine.fuel_per_us(policy);
        Self {
            shared,
            own: transfer(own_bytes),
            work: work(class, rate),
            guessed: class.is_guess(),
            nominal: (NOMINAL_FUEL / rate) as u64,
            permille: engine.odds.permille(),
        }
    }

    /// How long a slot is taken by it; none before a task of its class has ended.
    pub fn length(&self) -> Option<u64> {
        Some(self.work?.saturating_add(self.own))
    }

    /// The same, of unknown work a nominal amount counted, and weighted by the odds.
    pub fn weighted_length(&self) -> u64 {
        self.weigh(self.own.saturating_add(self.work.unwrap_or(self.nominal)))
    }

    /// The whole cost when a slot gets free at `start`.
    pub fn total(&self, start: u64) -> u64 {
        self.weigh(start.max(self.shared)).saturating_add(self.weighted_length())
    }

    /// A time divided by the chance of success.
    pub fn weigh(&self, time: u64) -> u64 {
        time.saturating_mul(1_000) / self.permille
    }

    /// In words for people.
    pub fn cost(&self, start: u64, missing: u64, provider: &Provider, policy: &Policy) -> Cost {
        Cost {
            queue: Micros(start),
            missing: ByteSize(missing),
            bytes_per_s: (provider.bytes_per_us(policy) * 1e6) as u64,
            transfer: Micros(self.shared.saturating_sub(start).saturating_add(self.own)),
            work: self.work.map(Micros),
            success_permille: u32::try_from(self.permille).unwrap_or(1_000),
            total: Micros(self.total(start)),
        }
    }
}

/// Work of a task of the class at a rate in fuel a µs; none before one has ended anywhere.
pub(crate) fn work(class: &ClassState, fuel_per_us: f64) -> Option<u64> {
    let work = class.overhead.get()? + class.fuel.get()? / fuel_per_us;
    Some(work.max(LEAST_WORK) as u64)
}

/// The time to bring so many bytes to a provider.
pub(crate) fn transfer(provider: &Provider, bytes: u64, policy: &Policy) -> u64 {
    if bytes == 0 { 0 } else { (bytes as f64 / provider.bytes_per_us(policy)) as u64 }
}

/// Bytes of a class's shared blobs that a provider to whom it is new does not have.
pub(crate) fn missing(class: &ClassState, provider: &Provider) -> u64 {
    if provider.blobs.is_empty() && !provider.offers_models() {
        return class.shared_bytes;
    }
    let missing = class.class.shared.iter().filter(|(blob, _)| !provider.holds(blob));
    missing.fold(0, |sum: u64, (_, len)| sum.saturating_add(*len))
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.queue {
            Micros(0) => f.write_str("a slot is free")?,
            queue => write!(f, "a slot gets free in {queue}")?,
        }
        if self.missing.0 > 0 {
            write!(f, "; {} to fetch at {}/s", self.missing, ByteSize(self.bytes_per_s))?;
        }
        match self.work {
            Some(work) => write!(f, "; work {work}")?,
            None => f.write_str("; work unknown before a first task ends")?,
        }
        let (whole, tenth) = (self.success_permille / 10, self.success_permille % 10);
        write!(f, "; {whole}.{tenth} % end well; cost {}", self.total)
    }
}
