//! Why, in words: for each task why each provider was or was not chosen, for each provider why it has no
//! work.

use std::{
    cell::{OnceCell, RefCell},
    collections::BTreeMap,
    fmt,
};

use tidemill_types::{EngineId, EngineIndex, NodeId, TaskNumber};

use crate::{
    ClassId, Cost, Micros, Scheduler, Single, Unfit, Waiting,
    cost::{self, Estimate},
    filter::{self, Count},
    lanes::Lanes,
    place::Seat,
    provider::Site,
    work::{ClassState, JobState},
};

/// What is said of one provider about a task.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Candidate {
    /// The provider.
    pub node: NodeId,
    /// Which of its engines is meant, where it has several.
    pub engine: Option<EngineIndex>,
    /// What is said of it.
    pub verdict: Verdict,
}

/// Whether a provider may have a task, and at what cost.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It has an attempt of the task.
    Holds,
    /// It cannot.
    Filtered(Unfit),
    /// It could, but not now; the cost is what it is predicted to be.
    Waiting(Waiting, Cost),
    /// It takes one now at this cost; of these the one with the least gets it.
    Open(Cost),
}

/// Why a provider has no work, or no more of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IdleReason {
    /// It never had a session here.
    Stranger,
    /// It has work.
    Working {
        /// Leases that it holds.
        leases: u32,
    },
    /// There are no jobs.
    NoJobs,
    /// Every task of every job is done, leased, or waits for others.
    NothingReady,
    /// Tasks are ready, and it can have none of them. This is why not the one that came closest.
    Unfit(Unfit),
    /// Tasks are ready that it could have, but not now.
    Waiting(Waiting),
    /// It is about to be given something.
    Soon,
}

impl Scheduler {
    /// What of each engine of the right kind speaks for or against a task of a class: those that have it, then by cost,
    /// then those that cannot have it. A provider without such an engine is there once. `task` names one that may be a
    /// single; otherwise any ready task of the class is meant. Empty when there is no such class.
    pub fn explain(&self, class: ClassId, task: Option<TaskNumber>, now: Micros) -> Vec<Candidate> {
        let Some((job, state)) =
            self.jobs.get(&class.job).and_then(|job| Some((job, job.class(class.stage)?)))
        else {
            return Vec::new();
        };
        let single = task.and_then(|task| job.singles.get(&task));
        let leases = task.into_iter().flat_map(|task| job.leases_of(task));
        let holders: Vec<EngineId> =
            leases.filter_map(|lease| self.leases.get(&lease)).map(|lease| lease.at).collect();
        // While an attempt runs nobody else gets the task, unless more results of it are wanted.
        let is_open = holders.is_empty() || single.is_some_and(|single| single.beside);
        let seats = self.seats(now);
        let others = OnceCell::new();
        let mut candidates = Vec::new();
        for (node, provider) in self.providers.iter().filter(|(_, provider)| provider.claims.is_some()) {
            let name = |engine| (provider.engines.len() > 1).then_some(engine);
            if let Some(held) = holders.iter().find(|held| held.node == *node) {
                let engine = name(held.engine);
                candidates.push(Candidate { node: *node, engine, verdict: Verdict::Holds });
                continue;
            }
            let before = candidates.len();
            for site in provider.sites(*node).filter(|site| site.runs(state.class.needs.kind)) {
                let finish = || *others.get_or_init(|| self.finish_beside(state, single, &seats, now));
                let verdict = match self.verdict(job, state, single, site, now, finish) {
                    Verdict::Open(cost) | Verdict::Waiting(_, cost) if !is_open => {
                        Verdict::Waiting(Waiting::Leased, cost)
                    }
                    verdict => verdict,
                };
                candidates.push(Candidate { node: *node, engine: name(site.at.engine), verdict });
            }
            if candidates.len() == before {
                let unfit = provider.without(state.class.needs.kind);
                candidates.push(Candidate { node: *node, engine: None, verdict: Verdict::Filtered(unfit) });
            }
        }
        candidates.sort_by_key(|candidate| match candidate.verdict {
            Verdict::Holds => (0, Micros(0), candidate.node, candidate.engine),
            Verdict::Open(cost) => (1, cost.total, candidate.node, candidate.engine),
            Verdict::Waiting(_, cost) => (2, cost.total, candidate.node, candidate.engine),
            Verdict::Filtered(_) => (3, Micros(0), candidate.node, candidate.engine),
        });
        candidates
    }

    /// Why a provider has no work, or no more than it has.
    pub fn idle_reason(&self, node: NodeId, now: Micros) -> IdleReason {
        self.idle_reasons(now).of(node)
    }

    /// The same of several providers: what all of them are compared with is worked out once.
    pub fn idle_reasons(&self, now: Micros) -> IdleReasons<'_> {
        IdleReasons { scheduler: self, now, seats: OnceCell::new(), others: RefCell::default() }
    }

    /// When the others will have done all that is left of a class, of which somebody might get this task.
    fn finish_beside(
        &self,
        class: &ClassState,
        single: Option<&Single>,
        seats: &[Seat<'_>],
        now: Micros,
    ) -> u64 {
        let exclude = single.map_or(&[][..], |single| &single.exclude);
        let own = |node: &NodeId| single.map_or(class.class.own_bytes, |single| single.missing(node));
        self.finish(class, class.left().max(1), seats, exclude, own, now)
    }

    fn verdict(
        &self,
        job: &JobState,
        class: &ClassState,
        single: Option<&Single>,
        site: Site<'_>,
        now: Micros,
        finish: impl FnOnce() -> u64,
    ) -> Verdict {
        let Site { at, provider, engine } = site;
        let needs = &class.class.needs;
        if let Some(unfit) = filter::unfit(site, &class.class) {
            return Verdict::Filtered(unfit);
        }
        let exclude = single.map_or(&[][..], |single| &single.exclude);
        if exclude.contains(&provider.operator) {
            return Verdict::Filtered(Unfit::Excluded(provider.operator));
        }
        if single.is_some_and(|single| !single.is_for(&provider.operator)) {
            return Verdict::Filtered(Unfit::Untrusted);
        }
        let memory = needs.memory.0;
        let lanes = Lanes::of(engine, &self.policy, now);
        let start = lanes.next_start(memory);
        let own = |node: &NodeId| single.map_or(class.class.own_bytes, |single| single.missing(node));
        let own = own(&at.node);
        let estimate = Estimate::of(class, site, own, &self.policy, now);
        let shared = if estimate.shared > 0 { cost::missing(class, provider) } else { 0 };
        let cost = estimate.cost(start, shared.saturating_add(own), provider, &self.policy);
        let busy = u32::try_from(lanes.busy()).unwrap_or(u32::MAX);
        let known = estimate.work.is_some();
        let waiting = if engine.paused_until > now {
            Waiting::Paused(engine.paused_until.since(now))
        } else if job.held {
            Waiting::Held
        } else if job.budget == Some(0) {
            Waiting::Budget
        } else if job.room() == 0 {
            Waiting::JobLimit(job.most_running.unwrap_or(u32::MAX))
        } else if provider.room(engine) == 0 {
            Waiting::Credits { held: u32::try_from(engine.leases()).unwrap_or(u32::MAX) }
        } else if !lanes.takes(memory, known) {
            match lanes.told() {
                0 => Waiting::Unknown { busy },
                _ => Waiting::Queue { busy, starts_in: Micros(start) },
            }
        } else if known {
            let others = finish();
            if cost.total.0 <= others {
                return Verdict::Open(cost);
            }
            Waiting::Outpaced { here: cost.total, others: Micros(others) }
        } else {
            return Verdict::Open(cost);
        };
        Verdict::Waiting(waiting, cost)
    }
}

/// Why providers have no work, as of one moment.
pub struct IdleReasons<'a> {
    scheduler: &'a Scheduler,
    now: Micros,
    seats: OnceCell<Vec<Seat<'a>>>,
    /// When all that is left of a class is done, once somebody was compared with it.
    others: RefCell<BTreeMap<ClassId, u64>>,
}

impl IdleReasons<'_> {
    /// Why this one has none, or no more than it has.
    pub fn of(&self, node: NodeId) -> IdleReason {
        let (scheduler, now) = (self.scheduler, self.now);
        let Some(provider) = scheduler.providers.get(&node) else { return IdleReason::Stranger };
        if !provider.present {
            return IdleReason::Unfit(Unfit::Absent);
        }
        if provider.credits == 0 {
            return IdleReason::Unfit(Unfit::NoCredits);
        }
        if provider.leases() > 0 {
            return IdleReason::Working { leases: u32::try_from(provider.leases()).unwrap_or(u32::MAX) };
        }
        if scheduler.jobs.is_empty() {
            return IdleReason::NoJobs;
        }
        let mut closest = IdleReason::NothingReady;
        for (id, job) in &scheduler.jobs {
            for (stage, class) in job.classes() {
                let bulk = (class.ready > 0).then_some(None);
                let singles = job.singles.values().filter(|single| single.stage == stage);
                // A few singles stand for all of them.
                let singles = singles.take(scheduler.policy.singles_per_call).map(Some);
                for single in bulk.into_iter().chain(singles) {
                    let finish = || self.finish(ClassId { job: *id, stage }, class, single);
                    let kind = class.class.needs.kind;
                    let able = provider.sites(node).filter(|site| site.runs(kind));
                    let verdicts = able.map(|site| scheduler.verdict(job, class, single, site, now, finish));
                    // Where it has no such engine, that is the reason.
                    let without = Verdict::Filtered(provider.without(kind));
                    let is_without = !provider.sites(node).any(|site| site.runs(kind));
                    for verdict in verdicts.chain(is_without.then_some(without)) {
                        let reason = match verdict {
                            Verdict::Filtered(unfit) => IdleReason::Unfit(unfit),
                            Verdict::Waiting(waiting, _) => IdleReason::Waiting(waiting),
                            Verdict::Open(_) => return IdleReason::Soon,
                            // It has no lease.
                            Verdict::Holds => continue,
                        };
                        if reason.closeness() > closest.closeness() {
                            closest = reason;
                        }
                    }
                }
            }
        }
        closest
    }

    /// What somebody is compared with: for tasks that are not placed one by one it is the same for everybody.
    fn finish(&self, id: ClassId, class: &ClassState, single: Option<&Single>) -> u64 {
        let seats = self.seats.get_or_init(|| self.scheduler.seats(self.now));
        let work_out = || self.scheduler.finish_beside(class, single, seats, self.now);
        match single {
            Some(_) => work_out(),
            None => *self.others.borrow_mut().entry(id).or_insert_with(work_out),
        }
    }
}

impl IdleReason {
    /// How near a provider was to being given something.
    fn closeness(&self) -> u32 {
        match self {
            Self::Stranger | Self::NoJobs | Self::NothingReady | Self::Working { .. } => 0,
            Self::Unfit(Unfit::Excluded(_)) => 2,
            Self::Unfit(_) => 1,
            Self::Waiting(Waiting::JobLimit(_) | Waiting::Budget | Waiting::Held) => 3,
            Self::Waiting(_) => 4,
            Self::Soon => 5,
        }
    }
}

impl fmt::Display for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.engine {
            Some(engine) => write!(f, "node {}, engine {engine}: {}", self.node.short(), self.verdict),
            None => write!(f, "node {}: {}", self.node.short(), self.verdict),
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Holds => f.write_str("has the task"),
            Self::Filtered(unfit) => unfit.fmt(f),
            Self::Waiting(waiting, cost) => write!(f, "{waiting}; {cost}"),
            Self::Open(cost) => cost.fmt(f),
        }
    }
}

impl fmt::Display for IdleReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stranger => f.write_str("this provider never had a session here"),
            Self::Working { leases } => write!(f, "this provider has work: {}", Count(*leases, "lease")),
            Self::NoJobs => f.write_str("there are no jobs"),
            Self::NothingReady => f.write_str("no task is ready: each is done, leased or waits for others"),
            Self::Unfit(unfit) => write!(f, "this provider {unfit}"),
            Self::Waiting(Waiting::JobLimit(most)) => {
                write!(f, "the job has {}, as many as it may", Count(*most, "lease"))
            }
            Self::Waiting(waiting @ (Waiting::Budget | Waiting::Held)) => waiting.fmt(f),
            Self::Waiting(waiting) => write!(f, "this provider: {waiting}"),
            Self::Soon => f.write_str("this provider is about to be given work"),
        }
    }
}
