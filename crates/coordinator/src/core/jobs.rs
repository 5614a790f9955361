//! Jobs that run: submitting, and what their tasks have been through.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use tidemill_job::{Frontier, JobSpec, Node};
use tidemill_net::wire::{Decision, MAX_CALLS_IN_FLIGHT, Refusal, Reliability, Reply, Unpaid};
use tidemill_sched::{Class, LeaseEnd, Micros};
use tidemill_store::{AttemptRecord, Change, FailureProof, JobEnd, ReputationKey, UnixMillis};
use tidemill_types::{
    Address, Amount, Engine, Failure, JobId, LeaseId, Needs, NodeId, Offer, Principal, RateCard, Stage,
    TaskId, TaskNumber, Usage, Weight, input_bytes,
};
use tidemill_verify::{Checks, Course, KnownAnswers, Next, Turns};

use super::{
    Core, Provider, Tally, after,
    money::{Funding, JobMoney},
    past::Gone,
    presence::Reach,
    verdicts::{self, Answer, Candidate, Counted, Given, Mending, Unchecked},
};
use crate::event::{Assembled, Caller, Effect, Look, Now, Unmade};

/// A job that runs.
pub(super) struct Job {
    pub(super) owner: Principal,
    pub(super) spec: Arc<JobSpec>,
    pub(super) hash: [u8; 32],
    pub(super) submitted_ms: u64,
    pub(super) deadline: Option<Micros>,
    pub(super) frontier: Frontier,
    /// Tasks that are neither waiting untouched nor done.
    pub(super) open: BTreeMap<TaskNumber, Open>,
    /// Open reduce tasks that are not made from their parts yet, since enough others wait.
    pub(super) unmade: BTreeSet<TaskNumber>,
    /// How many reduce tasks were made, or are being made, and have not been leased.
    pub(super) prepared: usize,
    pub(super) followers: Vec<Follower>,
    pub(super) usage: Usage,
    pub(super) tallies: HashMap<NodeId, Tally>,
    /// Whether anything happened that watchers have not been told of.
    pub(super) news: bool,
    /// What pays for it; nothing where work is free.
    pub(super) money: Option<JobMoney>,
    /// How its results are judged.
    pub(super) course: Course,
    /// Tasks of its map of which more results are wanted, while others wait untouched.
    pub(super) checks: Checks,
    /// Tasks of its map whose answer is certain, to try others with.
    pub(super) known: KnownAnswers<Candidate>,
    /// The leases that somebody is tried with.
    pub(super) tried: BTreeSet<LeaseId>,
    /// What its verdicts were.
    pub(super) reliability: Reliability,
    /// How many results of whom are accepted unchecked.
    pub(super) unchecked: BTreeMap<ReputationKey, Unchecked>,
    /// How large a part of the network could have its tasks.
    pub(super) reach: Reach,
    /// How the reduce tasks that are done are counted.
    pub(super) reduced: BTreeMap<TaskNumber, Counted>,
    /// Those who have contradicted what was accepted of it, or were caught elsewhere: strangers, as far as it is concerned.
    pub(super) distrusted: BTreeSet<Address>,
    /// How often each was paid for a result that the job's own trusted machines contradict.
    pub(super) disputed: BTreeMap<Address, u32>,
    /// Those who were caught, and whose unchecked results are being looked for.
    pub(super) looking: BTreeSet<Address>,
    /// The results of operators that wait for checks.
    pub(super) watched: BTreeMap<Address, Turns<Micros>>,
    /// How many tasks have results and no verdict.
    pub(super) undecided: u64,
    /// What was paid for each reduce task so far, and for trials with each task of the map, should it be undone.
    pub(super) paid_for: BTreeMap<TaskNumber, Amount>,
    /// Since when nobody is connected who could say more about the last tasks.
    pub(super) nobody_since: Option<Micros>,
    /// How often a task of it was undone: what was read before that may not be so any more.
    pub(super) undone: u64,
    /// How often a reduce task of it was made from its parts.
    pub(super) assemblies: u64,
    /// What of it was damaged on this disk.
    pub(super) mending: Mending,
    /// How many bytes of outputs and logs were kept of it since the coordinator began.
    pub(super) kept: u64,
    /// Where its tasks failed in a row, by whose doing is not known.
    pub(super) failing: BTreeMap<NodeId, Failing>,
}

/// Tasks of a job that failed at a provider, one after the other.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Failing {
    /// How many.
    pub(super) streak: u32,
    /// Until when the provider gets none of the job's tasks.
    pub(super) until: Option<Micros>,
}

/// A task that was leased, has failed, or is a reduce task that may run.
#[derive(Default)]
pub(super) struct Open {
    /// Attempts under way.
    pub(super) leases: Vec<LeaseId>,
    pub(super) failures: Vec<AttemptRecord>,
    /// Results that do not decide it.
    pub(super) opinions: Vec<Given>,
    /// Which of them is being compared with the others.
    pub(super) comparing: Option<LeaseId>,
    /// Since when it waits for someone to try it again.
    pub(super) waiting: Option<Micros>,
    /// A reduce task with its inputs.
    pub(super) assembled: Option<Assembled>,
    /// Which of the job's assemblies its inputs come from.
    pub(super) assembly: u64,
    /// Whether it is one of the job's prepared ones.
    pub(super) prepared: bool,
    /// What is held back for failures that would be evidence.
    pub(super) held_for_failures: Amount,
}

/// A call that waits for the end of a job.
#[derive(Clone, Copy)]
pub(super) struct Follower {
    pub(super) caller: Caller,
    /// Whether it wants to hear of the way there too.
    pub(super) watches: bool,
}

/// So many reduce tasks of a job wait for a provider with their inputs in memory, up to a quarter of a MiB each.
/// Where nobody can take any, all those of a level would otherwise come together here.
pub(super) const MOST_PREPARED: usize = 256;

/// Evidence that does not agree ends a job after so many attempts at a task, whatever its retries.
const MOST_OPINIONS: usize = 5;

impl Job {
    /// The fewest bytes that a task reads which waits by itself for a provider; nothing where none does.
    pub(super) fn least_input_of_waiting(&self) -> Option<u64> {
        let waiting = self.open.iter().filter(|(_, open)| open.waiting.is_some());
        let read = |(task, open): (&TaskNumber, &Open)| match (&open.assembled, self.spec.node(*task)) {
            (Some(assembled), _) => Some(input_bytes(&assembled.bound.spec)),
            (None, Some(Node::Map(index))) => Some(input_bytes(&self.spec.map_task(index).spec)),
            (None, _) => None,
        };
        waiting.filter_map(read).min()
    }

    pub(super) fn new(owner: Principal, spec: Arc<JobSpec>, hash: [u8; 32], submitted_ms: u64) -> Self {
        Self {
            owner,
            hash,
            submitted_ms,
            deadline: None,
            frontier: spec.frontier(),
            course: verdicts::course(spec.reliance()),
            reliability: Reliability {
                asked: *spec.reliance(),
                compared: *spec.comparison(),
                ..Reliability::default()
            },
            reduced: BTreeMap::new(),
            checks: Checks::default(),
            known: KnownAnswers::default(),
            tried: BTreeSet::new(),
            unchecked: BTreeMap::new(),
            reach: Reach::default(),
            distrusted: BTreeSet::new(),
            disputed: BTreeMap::new(),
            looking: BTreeSet::new(),
            watched: BTreeMap::new(),
            undecided: 0,
            paid_for: BTreeMap::new(),
            nobody_since: None,
            undone: 0,
            assemblies: 0,
            mending: Mending::default(),
            kept: 0,
            failing: BTreeMap::new(),
            spec,
            open: BTreeMap::new(),
            unmade: BTreeSet::new(),
            prepared: 0,
            followers: Vec::new(),
            usage: Usage::default(),
            tallies: HashMap::new(),
            news: true,
            money: None,
        }
    }

    /// The task of a number.
    ///
    /// # Panics
    /// When the job has no such task: numbers come from the job's own tasks.
    pub(super) fn node(&self, task: TaskNumber) -> Node {
        self.spec.node(task).expect("a number of one of the job's tasks")
    }

    /// Which record a result of a task counts in.
    pub(super) fn record_of(
        &self,
        task: TaskNumber,
        operator: Address,
        hardware_class: Option<String>,
    ) -> ReputationKey {
        let needs = self.spec.needs(self.node(task).stage()).expect("a task has a program");
        ReputationKey { operator, kind: needs.kind, hardware_class }
    }

    pub(super) fn label(&self, task: TaskNumber) -> String {
        self.spec.node(task).and_then(|node| self.spec.label(node)).unwrap_or_default()
    }

    pub(super) fn lost_attempts(&self) -> u64 {
        self.tallies.values().map(|tally| tally.lost_attempts).sum()
    }
}

impl Core {
    #[expect(clippy::too_many_arguments, reason = "the fields of one event")]
    pub(super) fn submit(
        &mut self,
        caller: Caller,
        id: JobId,
        spec: Arc<JobSpec>,
        encoded: Vec<u8>,
        follow: bool,
        funding: Option<Funding>,
        look: Look,
        now: Now,
    ) {
        self.past.looked(look.past);
        let hash = JobSpec::hash_of(&encoded);
        if let Some(job) = self.jobs.get_mut(&id) {
            if job.owner != caller.principal || job.hash != hash {
                return self.reply(caller, Err(Refusal::IdTaken));
            }
            // The same call once more: its first answer was lost.
            if follow {
                if job.followers.len() >= MAX_CALLS_IN_FLIGHT {
                    let reason = "too many follow this job".to_owned();
                    return self.reply(caller, Err(Refusal::Busy { reason }));
                }
                job.followers.push(Follower { caller, watches: false });
            }
            return self.reply(caller, Ok(Reply::Submitted));
        }
        let gone = self.past.job(id);
        // It has ended since the session looked into the store, or the core has forgotten whether it has.
        if matches!(gone, Some(Gone::Ended(_))) || !self.past.covers(look.past) {
            return self.effect(Effect::SubmitAgain { caller, job: id, spec, encoded, follow, funding });
        }
        let refused = match gone {
            Some(_) => Some(Refusal::IdTaken),
            None => self.config.keep.refusal(&look.holdings, encoded.len() as u64),
        };
        let funded = match refused {
            Some(refusal) => Err(refusal),
            None => self.fund(caller, id, &spec, funding.as_ref(), &look),
        };
        let money = match funded {
            Ok(money) => money,
            Err(refusal) => {
                self.effect(Effect::ReleaseInputs(id));
                return self.reply(caller, Err(refusal));
            }
        };
        self.change(Change::JobSubmitted {
            job: id,
            owner: caller.principal,
            at: UnixMillis(now.unix_ms),
            name: spec.name().to_string(),
            map_count: spec.map_count(),
            task_count: spec.task_count(),
            spec: encoded,
            pay: money.map(|money| money.record),
        });
        self.reply(caller, Ok(Reply::Submitted));
        self.kept.seen(caller.principal, look.holdings.bytes);
        let mut job = Job::new(caller.principal, spec, hash, now.unix_ms);
        job.deadline = job.spec.deadline().map(|deadline| after(now, deadline.0));
        job.money = money;
        if follow {
            job.followers.push(Follower { caller, watches: false });
        }
        self.begin(id, job);
    }

    /// Lets the scheduler know of a job, and makes what is ready of its reduce.
    pub(super) fn begin(&mut self, id: JobId, mut job: Job) {
        // Who sees the numbers of its tasks must not know which were given before.
        if matches!(job.course, Course::Assured { .. }) && !self.config.trust.everybody {
            job.frontier.shuffle(self.order_key(id));
        }
        let ceiling = job.money.map(|money| money.record.ceiling);
        let only = self.only_for(&job);
        let class = |stage, own_bytes| {
            let shared = job.spec.shared(stage).iter().map(|blob| (blob.id, blob.len)).collect();
            Some(Class {
                needs: job.spec.needs(stage)?,
                shared,
                own_bytes,
                ceiling,
                only: only.clone(),
                avoid: BTreeSet::new(),
            })
        };
        let map = class(Stage::Map, job.spec.input_bytes() / job.spec.map_count());
        let placed = tidemill_sched::Job {
            weight: 1,
            most_running: job.spec.resources().parallel,
            map: map.expect("every job has a map"),
            reduce: class(Stage::Reduce, 0),
        };
        self.sched.add_job(id, placed);
        self.jobs.insert(id, job);
        self.take_reduces(id);
    }

    /// Has reduce tasks that may run made from their parts, and tells the scheduler how many of the map are
    /// ready.
    pub(super) fn take_reduces(&mut self, id: JobId) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        while let Some(node) = job.frontier.take_ready_reduce() {
            let task = job.spec.number(node).expect("a node of the job's own frontier");
            job.open.entry(task).or_default();
            job.unmade.insert(task);
        }
        self.tell_ready(id);
        self.make_reduces(id);
    }

    /// Has some of the reduce tasks made that are not, those nearest to the root first.
    pub(super) fn make_reduces(&mut self, id: JobId) {
        while let Some(job) = self.jobs.get_mut(&id)
            && job.prepared < MOST_PREPARED
            && let Some(task) = job.unmade.pop_last()
        {
            job.prepared += 1;
            job.open.entry(task).or_default().prepared = true;
            self.assemble(TaskId { job: id, task });
        }
    }

    /// Has an open reduce task made from its parts.
    pub(super) fn assemble(&mut self, id: TaskId) {
        let Some(job) = self.jobs.get_mut(&id.job) else { return };
        job.assemblies += 1;
        let number = job.assemblies;
        job.open.entry(id.task).or_default().assembly = number;
        self.step.effects.push(Effect::Assemble { spec: job.spec.clone(), task: id, number });
    }

    pub(super) fn assembled(
        &mut self,
        task: TaskId,
        number: u64,
        result: Result<Assembled, Unmade>,
        now: Now,
    ) {
        let Some(job) = self.jobs.get_mut(&task.job) else { return };
        // It may have been undone since, and be in the making anew.
        let open = job.open.get_mut(&task.task).filter(|open| open.assembly == number);
        let Some(open) = open else { return };
        match result {
            Ok(assembled) => {
                open.assembled = Some(assembled);
                job.mending.made(task.task);
                self.wait_for_someone(task, now);
            }
            Err(Unmade::PartLost) => self.part_lost(task),
            Err(Unmade::Failed(reason)) => {
                let failure = Failure::Host { reason };
                self.end(task.job, JobEnd::Failed { task: task.task, failure, attempts: 0 }, now);
            }
        }
    }

    /// An attempt failed: by the task's doing, or by the machine's. `proof`: that its provider signed it, where it would fail
    /// on every machine.
    pub(super) fn attempt_failed(
        &mut self,
        lease: LeaseId,
        failure: Failure,
        usage: &Usage,
        hardware_class: Option<String>,
        proof: Option<Box<FailureProof>>,
        now: Now,
    ) {
        let Some(held) = self.close(lease) else { return };
        self.measure_reach(held.task.job);
        let price = self.price(&held, usage, 0);
        // One that is evidence is an answer like any other: it is paid, or not, once it is known whether it stands.
        let end = match failure.weight() {
            Weight::Evidence => LeaseEnd::Evidence,
            Weight::Circumstance => {
                self.decide(held.node, lease, Decision::Unpaid(Unpaid::Circumstance));
                LeaseEnd::Unclear
            }
        };
        self.sched.ended(lease, end, now.mono);
        let record = AttemptRecord {
            lease,
            provider: held.node,
            operator: held.operator,
            failure: failure.clone(),
            price,
            at: UnixMillis(now.unix_ms),
            hardware_class,
            proof,
        };
        self.change(Change::AttemptFailed { task: held.task, record: record.clone() });
        if failure.weight() == Weight::Circumstance {
            self.failed_at(held.node, held.task.job, now);
        }
        let is_tried = failure.weight() == Weight::Evidence && held.known.is_some();
        if let Some(known) = held.known.filter(|_| is_tried)
            && self.tried_in_vain(held.task, &known, &record, now)
        {
            return self.decide_unconfirmed(&[record], &BTreeSet::new());
        }
        if failure.weight() == Weight::Evidence {
            self.hold_for_failure(held.task, price);
        }
        let weighs = self.jobs.get(&held.task.job).is_some_and(|job| self.weighs_failures(job));
        let Some(job) = self.jobs.get_mut(&held.task.job) else { return };
        job.news = true;
        let retries = job.spec.retries() as usize;
        let Some(open) = job.open.get_mut(&held.task.task) else { return };
        let evidence = failure.weight() == Weight::Evidence;
        let same = |other: &AttemptRecord| other.operator != held.operator && other.failure == failure;
        let is_repeated = evidence && open.failures.iter().any(same);
        open.failures.push(record);
        let circumstances =
            open.failures.iter().filter(|failed| failed.failure.weight() == Weight::Circumstance).count();
        let opinions = open.failures.len() - circumstances;
        let attempts = u32::try_from(open.failures.len()).unwrap_or(u32::MAX);
        // While another attempt runs the task may yet be done, and of what somebody made others may know more.
        let nobody_at_it = open.leases.is_empty() && open.opinions.is_empty();
        let most = match job.course {
            Course::Assured { most, .. } | Course::Replicated { most, .. } if weighs => most as usize,
            _ => MOST_OPINIONS,
        };
        let last = nobody_at_it && (circumstances > retries || opinions >= most);
        if (is_repeated && !weighs) || last {
            self.end(held.task.job, JobEnd::Failed { task: held.task.task, failure, attempts }, now);
            return;
        }
        match self.judged(held.task, now) {
            next @ Next::Accept { answer: Answer::Failure(_), .. } if evidence => {
                self.follow(held.task, next, now);
            }
            next @ Next::Accept { answer: Answer::Output(..), .. } => self.follow(held.task, next, now),
            next => self.ask_for(held.task, next, now),
        }
    }

    /// Tasks that failed and that no other operator is there to try: the one opinion that there is must do, or
    /// the same machine gets another chance.
    pub(super) fn settle_for_one_opinion(&mut self, now: Now) {
        let mut alone: Vec<(TaskId, AttemptRecord, u32)> = Vec::new();
        for (id, job) in &self.jobs {
            let only = self.only_for(job);
            // Among strangers one alone is believed when nobody else has come for long.
            let patience = match self.weighs_failures(job) {
                true => self.config.undecided,
                false => self.config.second_opinion,
            };
            let patience = patience.0.saturating_mul(1000);
            for (task, open) in &job.open {
                let (Some(since), Some(last)) = (open.waiting, open.failures.last()) else { continue };
                if !open.opinions.is_empty() {
                    continue;
                }
                if now.mono.0.saturating_sub(since.0) < patience {
                    continue;
                }
                let stage = job.node(*task).stage();
                let Some(needs) = job.spec.needs(stage) else { continue };
                let others = self.providers.values().any(|provider| {
                    provider.could_take(&needs, job)
                        && open.failures.iter().all(|failed| failed.operator != provider.operator)
                        && only.as_ref().is_none_or(|only| only.contains(&provider.operator))
                });
                if !others {
                    let attempts = u32::try_from(open.failures.len()).unwrap_or(u32::MAX);
                    alone.push((TaskId { job: *id, task: *task }, last.clone(), attempts));
                }
            }
        }
        for (id, last, attempts) in alone {
            if last.failure.weight() == Weight::Evidence {
                self.end(id.job, JobEnd::Failed { task: id.task, failure: last.failure, attempts }, now);
            } else {
                self.offer_single(id, Vec::new(), false);
                // So that it is not offered anew at every tick.
                let open = self.jobs.get_mut(&id.job).and_then(|job| job.open.get_mut(&id.task));
                if let Some(waiting) = open.and_then(|open| open.waiting.as_mut()) {
                    *waiting = now.mono;
                }
            }
        }
    }
}

impl Provider {
    /// Whether it is there and takes leases, and could run such a task of a job.
    pub(super) fn could_take(&self, needs: &Needs, job: &Job) -> bool {
        let ceiling = job.money.map(|money| money.record.ceiling);
        let is_open = self.session.is_some() && self.credits > 0 && !self.silent;
        is_open && able(&self.offer, needs, ceiling).next().is_some()
    }
}

/// The engines of a provider that could ever run such a task.
pub(super) fn able<'a>(
    offer: &'a Offer,
    needs: &'a Needs,
    ceiling: Option<RateCard>,
) -> impl Iterator<Item = &'a Engine> {
    let could_run = move |engine: &&Engine| {
        engine.kind == needs.kind
            && engine.is_current()
            && ceiling.is_none_or(|ceiling| engine.rates.is_within(&ceiling))
            && engine.floats.contains(&needs.floats)
            && engine.memory >= needs.memory
            && engine.slots > 0
    };
    offer.engines.iter().filter(could_run)
}
