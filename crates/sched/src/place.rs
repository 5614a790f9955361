//! Placing: the neediest job's best task to the provider where it costs least, again and again, until no
//! provider takes more.

mod bulk;
mod copies;
mod singles;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
};

use tidemill_types::{Address, EngineId, JobId, NodeId, Stage, TaskId, TaskNumber};

use crate::{
    ClassId, Micros, Policy, Scheduler,
    cost::{self, Estimate},
    filter,
    lanes::Lanes,
    pace::{self, Power},
    place::bulk::Candidates,
    provider::Site,
    roster::Busy,
    work::{ClassState, JobState},
};

/// Leases to be made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Placement {
    /// For whom.
    pub at: EngineId,
    /// Of which class.
    pub class: ClassId,
    /// Of which tasks.
    pub work: Work,
    /// When all of it should be done; none before a task of the class has ended.
    pub expected: Option<Micros>,
}

/// The tasks of a [`Placement`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Work {
    /// So many ready tasks of the class, singles not among them.
    Any(u32),
    /// This single task.
    Single(TaskId),
    /// Another attempt at this task, which is leased to somebody else.
    Copy(TaskId),
}

/// An engine that takes leases, as it will be when what was placed in this call is leased.
#[derive(Debug)]
pub(crate) struct Seat<'a> {
    pub site: Site<'a>,
    pub lanes: Lanes,
    /// Leases more that it may hold.
    pub room: u32,
    pub slots: u64,
}

/// A job's standing while tasks are placed.
struct Turn<'a> {
    id: JobId,
    job: &'a JobState,
    load: u64,
    room: u64,
    singles: Vec<TaskNumber>,
    reduce: Candidates,
    map: Candidates,
}

/// One call of [`Scheduler::place`].
struct Placing<'a> {
    scheduler: &'a Scheduler,
    now: Micros,
    /// Those that may take something, by their names.
    seats: Vec<Seat<'a>>,
    others: Others<'a>,
    /// The rate of the fastest of all, in fuel a µs.
    fastest: f64,
    /// The chance of success, in thousandths, of the most reliable of all.
    surest: u64,
    /// Slots of all.
    slots: u64,
    placements: Vec<Placement>,
    /// Seats that may still be looked at for singles.
    looks: usize,
    turns: u64,
    /// Jobs that were given something, with the number of their turn; and where to go on with singles.
    served: BTreeMap<JobId, u64>,
    cursors: Vec<(JobId, TaskNumber)>,
}

/// Those that take nothing now, and have done their share of what is left all the same: seen one by one, as far as they
/// matter.
#[derive(Default)]
struct Others<'a> {
    /// With when each can begin at the earliest.
    seen: Vec<(Micros, Seat<'a>)>,
    unseen: Option<Busy<'a>>,
}

/// So many of the others are looked at, then twice as many each time.
const FIRST_OTHERS: usize = 16;

/// Looks at seats for singles in one call: what keeps a call within milliseconds.
const MOST_LOOKS: usize = 50_000;

impl Scheduler {
    /// Decides which tasks go to whom now. What is placed is no longer ready; the caller makes the leases
    /// and tells of them by [`Scheduler::leased`] before it asks again.
    pub fn place(&mut self, now: Micros) -> Vec<Placement> {
        if !self.jobs.values().any(|job| job.has_ready() || self.may_copy(job, now)) {
            return Vec::new();
        }
        let roused = self.rouse(now);
        if roused.is_empty() {
            return Vec::new();
        }
        let Placing { placements, turns, served, cursors, .. } = Placing::of_roused(self, roused, now).run();
        self.turns = turns;
        for (id, turn) in served {
            if let Some(job) = self.jobs.get_mut(&id) {
                job.served = turn;
            }
        }
        for (id, cursor) in cursors {
            if let Some(job) = self.jobs.get_mut(&id) {
                job.cursor = cursor;
            }
        }
        for placement in &placements {
            match placement.work {
                Work::Single(task) => self.remove_single(task),
                Work::Copy(_) => {}
                Work::Any(count) => {
                    let job = self.jobs.get_mut(&placement.class.job);
                    if let Some(class) = job.and_then(|job| job.class_mut(placement.class.stage)) {
                        class.ready = class.ready.saturating_sub(u64::from(count));
                    }
                }
            }
        }
        placements
    }

    /// What [`Self::place`] should decide, without the roster and without a change.
    #[cfg(test)]
    pub(crate) fn place_plainly(&self, now: Micros) -> Vec<Placement> {
        Placing::of_all(self, now).run().placements
    }

    /// Every engine that takes leases, also those whose hands are full now.
    pub(crate) fn seats(&self, now: Micros) -> Vec<Seat<'_>> {
        let present = self.providers.iter().filter(|(_, provider)| provider.present);
        let taking = present
            .flat_map(|(node, provider)| provider.sites(*node))
            .filter(|Site { engine, .. }| engine.credits > 0 && engine.paused_until <= now);
        taking.map(|site| Seat::of(site, Lanes::of(site.engine, &self.policy, now), &self.policy)).collect()
    }

    /// The seat of one that takes leases.
    fn seat(&self, at: EngineId, lanes: Option<Lanes>, now: Micros) -> Option<Seat<'_>> {
        let site = self.site(at)?;
        let lanes = lanes.unwrap_or_else(|| Lanes::of(site.engine, &self.policy, now));
        Some(Seat::of(site, lanes, &self.policy))
    }

    /// When the others will have done the `left` tasks of a class, in µs from now. `own` says how many
    /// bytes a provider would have to fetch for a task besides the shared blobs.
    pub(crate) fn finish(
        &self,
        class: &ClassState,
        left: u64,
        seats: &[Seat<'_>],
        exclude: &[Address],
        own: impl Fn(&NodeId) -> u64,
        now: Micros,
    ) -> u64 {
        let powers: Vec<Power> =
            seats.iter().filter_map(|seat| self.power(class, seat, exclude, &own, now)).collect();
        pace::share(&powers, left as f64).last
    }

    /// What one of the others brings to a class; none where it can have none of its tasks.
    fn power(
        &self,
        class: &ClassState,
        seat: &Seat<'_>,
        exclude: &[Address],
        own: &impl Fn(&NodeId) -> u64,
        now: Micros,
    ) -> Option<Power> {
        let site = seat.site;
        if filter::unfit(site, &class.class).is_some() || exclude.contains(&site.provider.operator) {
            return None;
        }
        let needs = &class.class.needs;
        let estimate = Estimate::of(class, site, own(&site.at.node), &self.policy, now);
        let fit = site.engine.memory().checked_div(needs.memory.0).unwrap_or(u64::MAX);
        // Whose hands are full gets free slots only as its leases end.
        let (slots, start) = match seat.room {
            0 => (seat.lanes.told(), seat.lanes.next_end().unwrap_or(u64::MAX)),
            _ => (seat.lanes.told() + seat.lanes.idle(), seat.lanes.next_start(needs.memory.0)),
        };
        let lanes = slots.min(fit).min(u64::from(site.engine.credits));
        let start = start.max(estimate.shared);
        let length = estimate.weighted_length().max(1) as f64;
        (lanes > 0).then(|| Power { lanes: lanes as f64, start: estimate.weigh(start) as f64, length })
    }
}

impl<'a> Placing<'a> {
    /// With those that the roster says may take something.
    fn of_roused(scheduler: &'a Scheduler, roused: Vec<(EngineId, Lanes)>, now: Micros) -> Self {
        let seats = roused.into_iter().filter_map(|(at, lanes)| scheduler.seat(at, Some(lanes), now));
        let roster = &scheduler.roster;
        Self {
            others: Others { seen: Vec::new(), unseen: Some(roster.busy()) },
            fastest: roster.fastest().unwrap_or(1e-3),
            surest: roster.surest().unwrap_or(1),
            slots: roster.slots(),
            ..Self::with(scheduler, seats.collect(), now)
        }
    }

    /// With everybody that takes leases, as a look at each of them shows it: what [`Self::of_roused`] is tested against.
    #[cfg(test)]
    pub(crate) fn of_all(scheduler: &'a Scheduler, now: Micros) -> Self {
        let seats = scheduler.seats(now);
        let rates = seats.iter().map(|seat| seat.site.engine.fuel_per_us(&scheduler.policy));
        Self {
            fastest: rates.fold(1e-3, f64::max),
            surest: seats.iter().map(|seat| seat.site.engine.odds.permille()).max().unwrap_or(1),
            slots: seats.iter().map(|seat| seat.slots).sum(),
            ..Self::with(scheduler, seats, now)
        }
    }

    fn with(scheduler: &'a Scheduler, seats: Vec<Seat<'a>>, now: Micros) -> Self {
        Self {
            scheduler,
            now,
            seats,
            others: Others::default(),
            fastest: 1e-3,
            surest: 1,
            slots: 0,
            placements: Vec::new(),
            looks: MOST_LOOKS,
            turns: scheduler.turns,
            served: BTreeMap::new(),
            cursors: Vec::new(),
        }
    }

    fn run(mut self) -> Self {
        self.place_ready();
        self.place_copies();
        self
    }

    /// The job with the least load by its weight goes first; those with the same take turns.
    fn place_ready(&mut self) {
        let scheduler = self.scheduler;
        let ready = scheduler.jobs.iter().filter(|(_, job)| job.has_ready());
        let mut turns: Vec<Turn<'_>> = ready.map(|(id, job)| self.turn(*id, job)).collect();
        let rank = |turn: &Turn<'_>, served: u64| {
            (u128::from(turn.load) * 1_000 / u128::from(turn.job.weight), served, turn.id)
        };
        let mut order: BinaryHeap<_> =
            turns.iter().enumerate().map(|(at, turn)| Reverse((rank(turn, turn.job.served), at))).collect();
        while let Some(Reverse((_, at))) = order.pop() {
            let turn = &mut turns[at];
            let placed = turn.room > 0
                && (self.place_single(turn)
                    || self.place_bulk(turn, Stage::Reduce)
                    || self.place_bulk(turn, Stage::Map));
            // A job that has nowhere to go now has nowhere later in this call: slots only fill.
            if placed {
                self.turns += 1;
                self.served.insert(turn.id, self.turns);
                order.push(Reverse((rank(turn, self.turns), at)));
            }
        }
    }

    /// Whether a task at this cost is surely no later than the others have done all that is left: a cheap
    /// test before [`Scheduler::finish`].
    fn is_early(&self, class: &ClassState, total: u64) -> bool {
        self.shortest(class)
            .is_none_or(|shortest| total <= pace::earliest(self.slots, class.left(), shortest))
    }

    /// No task of a class takes less anywhere, weighted by the odds.
    fn shortest(&self, class: &ClassState) -> Option<u64> {
        Some(cost::work(class, self.fastest)?.saturating_mul(1_000) / self.surest)
    }

    /// What [`Scheduler::finish`] says of all that take leases, without a look at those that begin too late to matter.
    fn finish(
        &mut self,
        class: &ClassState,
        left: u64,
        exclude: &[Address],
        own: impl Fn(&NodeId) -> u64,
    ) -> u64 {
        let (scheduler, now) = (self.scheduler, self.now);
        let power = |seat: &Seat<'_>| {
            let power = scheduler.power(class, seat, exclude, &own, now)?;
            Some((seat.site.at, power))
        };
        let shortest = self.shortest(class).unwrap_or(0) as f64;
        let mut powers: Vec<(EngineId, Power)> = self.seats.iter().filter_map(power).collect();
        let (mut looked_at, mut more) = (0, FIRST_OTHERS);
        loop {
            // The order in which they are added up must not depend on who was seen when.
            powers.sort_by_key(|(at, _)| *at);
            let in_order: Vec<Power> = powers.iter().map(|(_, power)| *power).collect();
            let shared = pace::share(&in_order, left as f64);
            let Some(next) = self.others.begins(looked_at, scheduler, now) else { return shared.last };
            if next > shared.water && next + shortest >= shared.first {
                return shared.last;
            }
            let seen = self.others.see(looked_at + more, scheduler, now);
            powers.extend(seen.iter().skip(looked_at).filter_map(|(_, seat)| power(seat)));
            looked_at += more;
            more *= 2;
        }
    }

    fn load(&self, estimate: &Estimate) -> u64 {
        let horizon = self.scheduler.policy.horizon.0;
        estimate.length().map_or(horizon, |length| length.min(horizon))
    }

    /// The moment that is so many µs from now.
    fn at(&self, after: u64) -> Micros {
        self.now.plus(Micros(after))
    }
}

impl<'a> Others<'a> {
    /// When the next one after so many can begin at the earliest, in µs from now; none where there are no more.
    fn begins(&mut self, after: usize, scheduler: &'a Scheduler, now: Micros) -> Option<f64> {
        let (begins, _) = self.see(after + 1, scheduler, now).get(after)?;
        Some(begins.since(now).0 as f64)
    }

    /// The first `count`, or all where there are fewer.
    fn see(&mut self, count: usize, scheduler: &'a Scheduler, now: Micros) -> &[(Micros, Seat<'a>)] {
        while self.seen.len() < count
            && let Some((begins, at)) = self.unseen.as_mut().and_then(Iterator::next)
        {
            self.seen.extend(scheduler.seat(*at, None, now).map(|seat| (*begins, seat)));
        }
        &self.seen
    }
}

impl<'a> Seat<'a> {
    fn of(site: Site<'a>, lanes: Lanes, policy: &Policy) -> Self {
        Self {
            site,
            lanes,
            room: site.provider.room(site.engine),
            slots: u64::from(site.engine.slots(policy)),
        }
    }
}

impl Work {
    /// The number of leases that it makes.
    pub fn count(&self) -> u64 {
        match self {
            Self::Any(count) => u64::from(*count),
            Self::Single(_) | Self::Copy(_) => 1,
        }
    }
}
