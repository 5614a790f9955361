//! Which engines may be given something now, kept from call to call: a call of [`Scheduler::place`] looks at those that may, and at
//! those of whom something changed, rather than at all.
//!
//! What is predicted for an engine's slots changes with time alone too, but in one way: a slot gets free no sooner than
//! was predicted at any moment before, unless the scheduler is told something new of that engine. So one whose
//! slots are taken for too long is left alone until the moment before which it cannot take anything.

use std::collections::{BTreeMap, BTreeSet, btree_set};

use tidemill_types::{EngineId, EngineIndex, NodeId};

use crate::{Micros, Policy, Scheduler, lanes::Lanes, provider::EngineState};

/// All who take leases.
#[derive(Debug, Default)]
pub(crate) struct Roster {
    /// Of whom something changed since the last call.
    changed: BTreeSet<EngineId>,
    known: BTreeMap<EngineId, Standing>,
    awake: BTreeSet<EngineId>,
    /// Those that are to be looked at again, by when.
    wakes: BTreeSet<(Micros, EngineId)>,
    /// Those that take nothing now, by the moment before which none of their slots gets free.
    busy: BTreeSet<(Micros, EngineId)>,
    /// Their rates in fuel a µs, which are positive: their bits have the order of the numbers.
    rates: BTreeSet<(u64, EngineId)>,
    /// Their chances of success, in thousandths.
    odds: BTreeSet<(u64, EngineId)>,
    /// Slots of all of them.
    slots: u64,
}

/// Those that take nothing now, the one whose slot gets free first coming first.
pub(crate) type Busy<'a> = btree_set::Iter<'a, (Micros, EngineId)>;

/// What is kept of one that takes leases.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Standing {
    rest: Rest,
    rate: u64,
    permille: u64,
    slots: u64,
}

/// Whether it may be given something.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Rest {
    /// Now.
    Awake,
    /// Not before `until`; none: not before something changes. None of its slots gets free before `busy`; none: it has
    /// none whose end can be told.
    Asleep { until: Option<Micros>, busy: Option<Micros> },
    /// It has failed, and is left alone until then: it is taken not to be there.
    Paused { until: Micros },
}

impl Roster {
    /// Something changed of an engine.
    pub fn changed(&mut self, at: EngineId) {
        self.changed.insert(at);
    }

    /// Something changed of the first `count` engines of a provider: what one holds may leave others less room.
    pub fn changed_of(&mut self, node: NodeId, count: usize) {
        for engine in (0..=u8::MAX).map(EngineIndex).take(count) {
            self.changed(EngineId { node, engine });
        }
    }

    /// Those that take nothing now.
    pub fn busy(&self) -> Busy<'_> {
        self.busy.iter()
    }

    /// No rate is higher, in fuel a µs.
    pub fn fastest(&self) -> Option<f64> {
        self.rates.last().map(|(bits, _)| f64::from_bits(*bits))
    }

    /// No chance of success is higher, in thousandths.
    pub fn surest(&self) -> Option<u64> {
        self.odds.last().map(|(permille, _)| *permille)
    }

    /// There are no more slots.
    pub fn slots(&self) -> u64 {
        self.slots
    }

    fn set(&mut self, at: EngineId, standing: Option<Standing>) {
        let old = match standing {
            Some(standing) => self.known.insert(at, standing),
            None => self.known.remove(&at),
        };
        if old == standing {
            return;
        }
        if let Some(old) = old {
            if old.counts() {
                self.rates.remove(&(old.rate, at));
                self.odds.remove(&(old.permille, at));
                self.slots -= old.slots;
            }
            match old.rest {
                Rest::Awake => drop(self.awake.remove(&at)),
                Rest::Asleep { until, busy } => {
                    if let Some(until) = until {
                        self.wakes.remove(&(until, at));
                    }
                    if let Some(busy) = busy {
                        self.busy.remove(&(busy, at));
                    }
                }
                Rest::Paused { until } => drop(self.wakes.remove(&(until, at))),
            }
        }
        if let Some(new) = standing {
            if new.counts() {
                self.rates.insert((new.rate, at));
                self.odds.insert((new.permille, at));
                self.slots += new.slots;
            }
            match new.rest {
                Rest::Awake => drop(self.awake.insert(at)),
                Rest::Asleep { until, busy } => {
                    self.wakes.extend(until.map(|until| (until, at)));
                    self.busy.extend(busy.map(|busy| (busy, at)));
                }
                Rest::Paused { until } => drop(self.wakes.insert((until, at))),
            }
        }
    }

    /// Those that are to be looked at, by their names.
    fn look_list(&mut self, now: Micros) -> Vec<EngineId> {
        /// The last of all names.
        const LAST: EngineId = EngineId { node: NodeId([u8::MAX; 32]), engine: EngineIndex(u8::MAX) };
        let mut look: Vec<EngineId> = self.awake.iter().copied().collect();
        look.extend(std::mem::take(&mut self.changed));
        look.extend(self.wakes.range(..=(now, LAST)).map(|(_, at)| *at));
        look.sort();
        look.dedup();
        look
    }
}

impl Standing {
    fn of(engine: &EngineState, rest: Rest, policy: &Policy) -> Self {
        Self {
            rest,
            rate: engine.fuel_per_us(policy).to_bits(),
            permille: engine.odds.permille(),
            slots: u64::from(engine.slots(policy)),
        }
    }

    /// Whether it counts among those that take leases.
    fn counts(&self) -> bool {
        !matches!(self.rest, Rest::Paused { .. })
    }
}

impl Rest {
    fn of(room: u32, lanes: &Lanes, now: Micros) -> Self {
        // Of a task that needs no memory and whose length is unknown the least is asked.
        if room > 0 && lanes.takes(0, false) {
            return Self::Awake;
        }
        // Of a slot with a task of unknown length nobody can say that it gets free in time.
        let until = lanes.first_told().filter(|_| room > 0).map(|told| {
            let wait = lanes.next_start(0).max(told).saturating_sub(lanes.horizon());
            now.plus(Micros(wait.max(1)))
        });
        let slots = lanes.told() + if room > 0 { lanes.idle() } else { 0 };
        let busy = lanes.next_end().filter(|_| slots > 0).map(|end| now.plus(Micros(end)));
        Self::Asleep { until, busy }
    }
}

impl Scheduler {
    /// Brings the roster up to the moment. Gives every engine that may take a lease now, by their names.
    pub(crate) fn rouse(&mut self, now: Micros) -> Vec<(EngineId, Lanes)> {
        let Self { roster, providers, policy, .. } = self;
        let mut roused = Vec::new();
        for at in roster.look_list(now) {
            let provider = providers.get(&at.node).filter(|provider| provider.present);
            let found = provider.and_then(|provider| Some((provider, provider.engine(at.engine)?)));
            let Some((provider, engine)) = found.filter(|(_, engine)| engine.credits > 0) else {
                roster.set(at, None);
                continue;
            };
            let rest = if engine.paused_until > now {
                Rest::Paused { until: engine.paused_until }
            } else {
                let lanes = Lanes::of(engine, policy, now);
                let rest = Rest::of(provider.room(engine), &lanes, now);
                if rest == Rest::Awake {
                    roused.push((at, lanes));
                }
                rest
            };
            roster.set(at, Some(Standing::of(engine, rest, policy)));
        }
        roused
    }
}
