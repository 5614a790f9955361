//! Whom to ask: another attempt where one failed, another result where those that there are do not decide.

use std::collections::BTreeSet;

use tidemill_sched::{ClassId, Single};
use tidemill_store::{JobEnd, ReputationKey};
use tidemill_types::{Address, JobId, Reliance, Stage, TaskId, TaskNumber, input_bytes};
use tidemill_verify::{Course, Model, Next, Witness, strangers_to_agree};

use super::{Answer, Given};
use crate::{
    core::{
        Core, Provider,
        jobs::{Job, Open},
    },
    event::Now,
};

/// More results of a task are not asked for by credibility, unless so many more than this must agree where nothing is known
/// of anybody. Those who are certain enough agree long before.
const MOST_RESULTS: u32 = 12;

/// So many results more than would have to agree are asked for: somebody may contradict.
const CONTRADICTIONS: u32 = 4;

/// While so many tasks of a job wait for a verdict, no fresh one is given out: where nobody can decide them, they would all
/// be done and none of them certain.
const MOST_UNDECIDED: u64 = 4096;

/// How a job's results are judged.
pub(in crate::core) fn course(reliance: &Reliance) -> Course {
    match *reliance {
        Reliance::Assured(assurance) => {
            let strangers = strangers_to_agree(&Model::default(), assurance);
            Course::Assured { assurance, most: MOST_RESULTS.max(strangers + CONTRADICTIONS) }
        }
        Reliance::Replicated { quorum, most } => Course::Replicated { quorum, most },
        Reliance::Trusted | Reliance::Unverified => Course::Believed,
    }
}

impl Job {
    /// Whether there are tasks of its map that nobody was given, and that may be.
    pub(in crate::core) fn has_fresh(&self) -> bool {
        self.frontier.ready_count() > 0 && self.undecided < MOST_UNDECIDED
    }
}

impl Core {
    /// Sees to it that as many work on a task as are wanted.
    pub(in crate::core) fn wait_for_someone(&mut self, id: TaskId, now: Now) {
        let next = self.judged(id, now);
        self.ask_for(id, next, now);
    }

    /// The same, where it is known what is to be done next about the task.
    pub(in crate::core) fn ask_for(&mut self, id: TaskId, next: Next<Answer>, now: Now) {
        let Some(job) = self.jobs.get_mut(&id.job) else { return };
        let stage = job.node(id.task).stage();
        let Some(open) = job.open.get_mut(&id.task) else { return };
        // A reduce task waits first for its inputs.
        if stage == Stage::Reduce && open.assembled.is_none() {
            return;
        }
        let (wanted, is_stuck) = match next {
            Next::Ask { more } => (more, false),
            Next::Stuck { .. } => (1, true),
            // It fails everywhere, and its job is about to end.
            Next::Accept { .. } => (1, false),
        };
        let running = u32::try_from(open.leases.len()).unwrap_or(u32::MAX);
        let missing = wanted.saturating_sub(running);
        if missing == 0 {
            return;
        }
        if open.leases.is_empty() {
            open.waiting.get_or_insert(now.mono);
        }
        let is_check = !open.opinions.is_empty() || !open.leases.is_empty();
        let is_bulk = is_check && !is_stuck && stage == Stage::Map && job.has_fresh();
        let exclude = self.not_to(id);
        if is_bulk && let Some(job) = self.jobs.get_mut(&id.job) {
            let more = missing.saturating_sub(job.checks.wanted(id.task));
            job.checks.ask(id.task, more, &exclude);
            return self.tell_ready(id.job);
        }
        self.offer_single(id, exclude, is_stuck);
    }

    /// Tells the scheduler how many of a job's map are ready: those that nobody was given, while not too many wait for a
    /// verdict, and those that are to be checked, which go out like any other.
    pub(in crate::core) fn tell_ready(&mut self, id: JobId) {
        let Some(job) = self.jobs.get(&id) else { return };
        let fresh = if job.has_fresh() { job.frontier.ready_count() } else { 0 };
        let ready = fresh + job.checks.len() as u64;
        self.sched.set_ready(ClassId { job: id, stage: Stage::Map }, ready);
    }

    /// Where nothing else of a job is left to be given, those that are to be checked want somebody in particular each.
    pub(in crate::core) fn place_checks_alone(&mut self, id: JobId, now: Now) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        if job.has_fresh() || job.checks.is_empty() {
            return;
        }
        let waiting: Vec<_> = job.checks.waiting().map(|(task, _)| task).collect();
        job.checks = Default::default();
        self.tell_ready(id);
        for task in waiting {
            self.wait_for_someone(TaskId { job: id, task }, now);
        }
    }

    /// Lets the scheduler place a task by itself, anywhere but at these operators.
    pub(in crate::core) fn offer_single(&mut self, id: TaskId, exclude: Vec<Address>, only_trusted: bool) {
        let Some(job) = self.jobs.get(&id.job) else { return };
        let stage = job.node(id.task).stage();
        let Some(open) = job.open.get(&id.task) else { return };
        let only = if only_trusted { self.trusted_for(job) } else { None };
        let (bytes, inputs) = match &open.assembled {
            Some(assembled) => (input_bytes(&assembled.bound.spec), assembled.made_by.clone()),
            None => (job.spec.input_bytes() / job.spec.map_count(), Vec::new()),
        };
        let beside = !open.leases.is_empty();
        self.sched.add_single(Single { task: id, stage, exclude, only, beside, inputs, bytes });
    }

    /// The operators that are not to get a task: it failed there, they have said what they say, or are at it.
    pub(in crate::core) fn not_to(&self, id: TaskId) -> Vec<Address> {
        let Some(job) = self.jobs.get(&id.job) else { return Vec::new() };
        let Some(open) = job.open.get(&id.task) else { return Vec::new() };
        let mut operators = self.said_enough(job, id, open);
        operators.extend(self.at_it(open));
        operators.extend(open.failures.iter().map(|failed| failed.operator));
        operators.into_iter().collect()
    }

    /// Whether an operator that was chosen for a task is one of those whose word about it adds nothing by now: one of one hand
    /// with somebody who has said something, or, for a copy, who is at it.
    pub(in crate::core) fn may_not_check(&self, id: TaskId, operator: Address, is_copy: bool) -> bool {
        let Some(job) = self.jobs.get(&id.job) else { return true };
        let Some(open) = job.open.get(&id.task) else { return true };
        if open.opinions.is_empty() && (!is_copy || !self.weighs_failures(job)) {
            return false;
        }
        self.with_kin(&open.witnesses().chain(self.at_it(open)).collect()).contains(&operator)
    }

    /// The operators that have a lease of a task.
    fn at_it(&self, open: &Open) -> impl Iterator<Item = Address> {
        open.leases.iter().filter_map(|lease| Some(self.leases.get(lease)?.operator))
    }

    /// The operators whose word adds nothing to what was said of a task: those who have said it, those of one hand with
    /// them, and, of native floats, those of another class of hardware than most who have, while there are others. Where
    /// results of several classes are the same, all classes say something, and where a class is too small to decide, others
    /// do.
    fn said_enough(&self, job: &Job, id: TaskId, open: &Open) -> BTreeSet<Address> {
        let mut operators = self.with_kin(&open.witnesses().collect());
        let by_class = job.compares_by_class(id.task);
        let groups = open.comparable(by_class);
        if let Some(group) = groups.first().filter(|_| by_class)
            && let Some(key) = self.large_class(group)
        {
            let is_of_it = |provider: &&Provider| {
                let mut engines = provider.offer.engines.iter();
                engines.any(|engine| (engine.kind, &engine.hardware_class) == (key.kind, &key.hardware_class))
            };
            let there = || self.providers.values().filter(|provider| provider.session.is_some());
            if there().any(|provider| is_of_it(&provider) && !operators.contains(&provider.operator)) {
                operators
                    .extend(there().filter(|provider| !is_of_it(provider)).map(|provider| provider.operator));
            }
        }
        operators
    }

    /// The class of hardware of results, if they are of one, and its members are enough of all to decide.
    fn large_class<'a>(&self, group: &[&'a Given]) -> Option<&'a ReputationKey> {
        let key = &group.first()?.key;
        let is_one = group.iter().all(|given| given.key.hardware_class == key.hardware_class);
        let share = self.presence.share(key.kind, std::iter::once(&key.hardware_class));
        (is_one && self.reputations.model().tells_within(share)).then_some(key)
    }

    /// These operators, and those that are known to be of one hand with any of them.
    fn with_kin(&self, operators: &BTreeSet<Address>) -> BTreeSet<Address> {
        let mut all = operators.clone();
        if operators.is_empty() {
            return all;
        }
        let of_them = self.providers.values().filter(|provider| operators.contains(&provider.operator));
        let networks: BTreeSet<_> = of_them.filter_map(|provider| provider.network).collect();
        if !networks.is_empty() {
            let near = self
                .providers
                .values()
                .filter(|provider| provider.network.is_some_and(|network| networks.contains(&network)));
            all.extend(near.map(|provider| provider.operator));
        }
        all
    }

    /// Tasks of which something was said and about which nobody else is there to ask: a job of which nothing else is left
    /// ends without them. Nothing is returned as right because time ran out.
    pub(in crate::core) fn give_up_undecided(&mut self, now: Now) {
        let patience = self.config.undecided.0.saturating_mul(1000);
        let mut alone: Vec<(JobId, bool)> = Vec::new();
        let mut again: Vec<(TaskId, Next<Answer>)> = Vec::new();
        for (id, job) in self.jobs.iter().filter(|(_, job)| job.undecided > 0) {
            // While something fresh can be given, what waits is not looked at.
            let mut is_alone = job.looking.is_empty() && !job.has_fresh();
            for (task, open) in &job.open {
                let place = job.node(*task);
                if !is_alone || !job.frontier.has_parts(place) {
                    continue;
                }
                if open.opinions.is_empty() || open.waiting.is_none() || open.is_comparing() {
                    is_alone = false;
                    continue;
                }
                let task = TaskId { job: *id, task: *task };
                let next = self.judged(task, now);
                let is_stuck = matches!(next, Next::Stuck { .. });
                // Who said what may be known better by now.
                if matches!(next, Next::Accept { .. }) || self.could_ask(job, task, open, is_stuck) {
                    is_alone = false;
                    let long = open.waiting.is_some_and(|since| now.mono.since(since).0 >= patience);
                    if long {
                        again.push((task, next));
                    }
                }
            }
            alone.push((*id, is_alone));
        }
        let mut over: Vec<JobId> = Vec::new();
        for (id, is_alone) in alone {
            let Some(job) = self.jobs.get_mut(&id) else { continue };
            job.nobody_since = is_alone.then(|| job.nobody_since.unwrap_or(now.mono));
            if job.nobody_since.is_some_and(|since| now.mono.since(since).0 >= patience) {
                over.push(id);
            }
        }
        for (id, next) in again {
            match next {
                Next::Accept { .. } => self.follow(id, next, now),
                Next::Ask { .. } | Next::Stuck { .. } => {
                    self.ask_once_more(id, matches!(next, Next::Stuck { .. }), now);
                }
            }
        }
        for id in over {
            let Some(job) = self.jobs.get(&id) else { continue };
            let said = job.open.iter().filter(|(_, open)| !open.opinions.is_empty());
            let first = said.map(|(task, _)| *task).next().unwrap_or(TaskNumber(0));
            self.end(id, JobEnd::Undecided { tasks: job.undecided, first }, now);
        }
    }

    /// Who failed at a task by the machine's doing may try once more. Not at every tick.
    fn ask_once_more(&mut self, id: TaskId, only_trusted: bool, now: Now) {
        let Some(job) = self.jobs.get(&id.job) else { return };
        let Some(open) = job.open.get(&id.task) else { return };
        let exclude = self.said_enough(job, id, open).into_iter().collect();
        if let Some(open) = self.jobs.get_mut(&id.job).and_then(|job| job.open.get_mut(&id.task)) {
            open.waiting = Some(now.mono);
        }
        self.offer_single(id, exclude, only_trusted);
    }

    /// Whether somebody is connected who could say more about a task.
    pub(super) fn could_ask(&self, job: &Job, id: TaskId, open: &Open, only_trusted: bool) -> bool {
        let Some(needs) = job.spec.needs(job.node(id.task).stage()) else { return false };
        let said = self.said_enough(job, id, open);
        let lost = open.failures.len() - open.evidence().count();
        if lost > job.spec.retries() as usize {
            return false;
        }
        self.providers.values().any(|provider| {
            provider.could_take(&needs, job)
                && !said.contains(&provider.operator)
                && (!only_trusted || self.witness(job, provider.operator) == Witness::Trusted)
        })
    }

    /// Why a job waits for a verdict, and what would help.
    pub(in crate::core) fn why_undecided(&self, id: JobId, job: &Job, now: Now) -> Option<String> {
        let (task, open) = job.open.iter().find(|(_, open)| !open.opinions.is_empty())?;
        let results = open.opinions.len();
        if open.is_comparing() {
            let label = job.label(*task);
            return Some(format!("{label}: its {results} results are being compared"));
        }
        if open.is_held() {
            let label = job.label(*task);
            return Some(format!("{label}: its result waits for a check of an earlier one of its operator"));
        }
        let odds = match self.judged(TaskId { job: id, task: *task }, now) {
            Next::Stuck { error_odds } => error_odds,
            _ => None,
        };
        let label = job.label(*task);
        let said = match (odds, results) {
            (Some(odds), _) => {
                format!("the likeliest of its {results} results is wrong with odds {odds:.1e}")
            }
            (None, 1) => "it has one result, which is not certain enough".to_owned(),
            (None, _) => format!("it has {results} results, which are not certain enough"),
        };
        Some(format!(
            "{label}: {said} (asked for: {}): it waits for another operator or for a machine that is trusted",
            job.spec.reliance()
        ))
    }
}
