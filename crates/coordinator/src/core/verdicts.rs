//! Verdicts: which of a task's results are relied on, and whom else to ask before that is certain.
//!
//! A result that decides its task at once is on disk as such and nothing more is kept of it. Any other is an opinion:
//! durable with its output, paid once the verdict is there, and kept with it.

mod asking;
mod comparing;
mod deciding;
mod doubts;
mod drafts;
mod fate;
mod holding;
mod judging;
mod keeping;
mod known;
mod lost;
mod paying;
mod standing;

use std::{collections::BTreeSet, sync::Arc};

use tidemill_job::JobSpec;
use tidemill_net::wire::Unpaid;
use tidemill_sched::LeaseEnd;
use tidemill_store::{AttemptRecord, Change, JobEnd, LogRecord, OpinionRecord, ReputationKey, ResultRecord};
use tidemill_types::{
    Address, Amount, Basis, BlobId, Comparison, EngineId, JobId, LeaseId, Metered, NodeId, Reliance, TaskId,
    TaskNumber, Usage, Weight,
};
use tidemill_verify::{Course, Evidence, Next, Record, Witness, is_chosen};

pub(super) use self::asking::course;
use self::deciding::Accepted;
pub(crate) use self::fate::{Fate, counts_alike, fate, owed_for_failure};
pub(super) use self::known::{Candidate, Known};
pub(super) use self::lost::Mending;
pub(crate) use self::standing::standing;
use super::{
    Core, Held,
    jobs::{Job, Open},
    money::Bill,
};
use crate::event::Now;

/// Whose results need no check.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    /// Everybody's: all machines of the network are of one owner.
    pub everybody: bool,
    /// Those of these operators.
    pub operators: BTreeSet<Address>,
}

impl Trust {
    /// Whether an operator's results need no check.
    pub fn covers(&self, operator: &Address) -> bool {
        self.everybody || self.operators.contains(operator)
    }
}

/// What an attempt says of a task.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Answer {
    /// It has this output, after this much work where results must be the same in that too: work is billed, so whoever
    /// says that it was more is as wrong as whoever gives another output.
    Output(BlobId, Option<Metered>),
    /// It fails in this way, by a hash.
    Failure(BlobId),
}

impl Answer {
    fn of(failed: &AttemptRecord) -> Self {
        let failure = postcard::to_stdvec(&failed.failure);
        Self::Failure(BlobId::of(&failure.expect("plain data always has a postcard encoding")))
    }
}

/// A result that waits for a verdict.
#[derive(Clone, Debug)]
pub(super) struct Given {
    pub(super) result: ResultRecord,
    /// Which output it counts as: its own, or another's that is the same; none while they are compared.
    pub(super) answer: Option<BlobId>,
    /// The work that it says it took, where that is a part of the answer.
    work: Option<Metered>,
    witness: Witness,
    /// The odds that it is wrong if nobody else is asked.
    odds: f64,
    /// Whether a check was drawn for it.
    chosen: bool,
    /// Whether it was given by one who was told what the output is said to be made of, and so knew that it was checking.
    has_draft: bool,
    /// Of which record it is.
    key: ReputationKey,
    /// How it is billed; what is held back is its price.
    pub(super) bill: Option<Bill>,
    /// What it was paid before it was doubted; none of one that was not accepted before.
    pub(super) paid: Option<Amount>,
    /// Whether the store has it as an opinion.
    is_kept: bool,
    /// Its turn among the results of its operator that wait for checks, if it is one.
    turn: Option<u64>,
    /// Whether it would be accepted, and waits for a check of an earlier one of its operator.
    is_held: bool,
}

impl Given {
    /// The answer that it gives; none while that is being compared with others.
    fn says(&self) -> Option<Answer> {
        Some(Answer::Output(self.answer?, self.work))
    }

    /// As the store keeps it. `known`: of one who was tried, whether it is the known answer.
    fn record(&self, known: Option<bool>) -> OpinionRecord {
        OpinionRecord {
            result: self.result.clone(),
            answer: self.answer,
            error_ppb: billionths(self.odds),
            paid: self.paid,
            known,
            bill: postcard::to_stdvec(&(self.bill, self.has_draft))
                .expect("plain data always has a postcard encoding"),
        }
    }
}

/// What came with a result: a small output, and what the task wrote.
#[derive(Default)]
pub(super) struct Came {
    pub(super) output: Option<Vec<u8>>,
    pub(super) log: Option<LogRecord>,
}

/// How a done reduce task was counted, should it have to be made anew.
#[derive(Clone, Debug)]
pub(super) struct Counted {
    basis: Basis,
    key: ReputationKey,
    node: NodeId,
    price: Amount,
}

/// What is accepted unchecked of one record.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Unchecked {
    /// How many results.
    pub(super) results: u64,
    /// What they were paid.
    paid: Amount,
}

impl Open {
    /// The operators that have given a result.
    fn witnesses(&self) -> impl Iterator<Item = Address> {
        self.opinions.iter().map(|given| given.result.operator)
    }

    /// Attempts that failed as they would everywhere.
    pub(super) fn evidence(&self) -> impl Iterator<Item = &AttemptRecord> {
        self.failures.iter().filter(|failed| failed.failure.weight() == Weight::Evidence)
    }
}

impl Job {
    /// Which record a failure counts in.
    fn failure_key(&self, task: TaskNumber, failed: &AttemptRecord) -> ReputationKey {
        self.record_of(task, failed.operator, failed.hardware_class.clone())
    }

    /// The work that a result of a task says it took, where that is a part of its answer.
    pub(super) fn work_of(&self, task: TaskNumber, usage: &Usage) -> Option<Metered> {
        work_of(&self.spec, task, usage)
    }

    /// How many tasks are accepted on some grounds.
    fn accepted_by(&mut self, basis: Basis) -> &mut u64 {
        let counts = &mut self.reliability;
        match basis {
            Basis::Trusted => &mut counts.trusted,
            Basis::Unchecked => &mut counts.unchecked,
            Basis::Agreed => &mut counts.agreed,
            Basis::Unverified => &mut counts.unverified,
        }
    }

    /// A task was accepted on some grounds, on the word of this node and record, and paid so much.
    pub(super) fn count_accepted(
        &mut self,
        task: TaskNumber,
        basis: Basis,
        key: ReputationKey,
        (node, price): (NodeId, Amount),
    ) {
        *self.accepted_by(basis) += 1;
        if basis == Basis::Unchecked {
            let unchecked = self.unchecked.entry(key.clone()).or_default();
            unchecked.results += 1;
            unchecked.paid = unchecked.paid.saturating_add(price);
        }
        if task.0 >= self.spec.map_count() {
            self.reduced.insert(task, Counted { basis, key, node, price });
        }
    }

    /// A task that was accepted on some grounds, and paid so much, is not done any more.
    fn count_doubted(&mut self, task: TaskNumber, basis: Basis, key: &ReputationKey, price: Amount) {
        let count = self.accepted_by(basis);
        *count = count.saturating_sub(1);
        if basis == Basis::Unchecked
            && let Some(unchecked) = self.unchecked.get_mut(key)
        {
            unchecked.results = unchecked.results.saturating_sub(1);
            unchecked.paid = unchecked.paid.saturating_sub(price);
        }
        self.reduced.remove(&task);
    }

    /// What a result of it has cost so far, in the mean; nothing where work is free.
    fn usual_price(&self) -> Amount {
        let spent = self.money.map_or(Amount::ZERO, |money| money.spent);
        Amount::from_wei(spent.wei() / u128::from(self.reliability.results.max(1)))
    }

    /// Something was paid for work on a task.
    pub(super) fn count_paid(&mut self, task: TaskNumber, price: Amount) {
        if task.0 >= self.spec.map_count() && !price.is_zero() {
            let paid = self.paid_for.entry(task).or_default();
            *paid = paid.saturating_add(price);
        }
    }

    /// A result of a node counts as a task that it did, or does not any more.
    pub(super) fn tally_result(&mut self, result: &ResultRecord) {
        self.usage.add(&result.usage);
        let tally = self.tallies.entry(result.provider).or_default();
        tally.tasks += 1;
        tally.busy_us = tally.busy_us.saturating_add(result.wall_us);
        tally.fuel = tally.fuel.saturating_add(result.usage.fuel.0);
    }

    fn untally(&mut self, node: NodeId) {
        let tally = self.tallies.entry(node).or_default();
        tally.tasks = tally.tasks.saturating_sub(1);
    }
}

impl Core {
    /// Whether what an operator says about a job's tasks needs no check.
    fn witness(&self, job: &Job, operator: Address) -> Witness {
        let is_trusted =
            self.config.trust.covers(&operator) || job.spec.trusted().binary_search(&operator).is_ok();
        if is_trusted { Witness::Trusted } else { Witness::Operator(operator) }
    }

    /// Whether failures are weighed as results are. Where nothing is checked, and among machines of one owner, one is
    /// believed when a second operator has seen it.
    pub(super) fn weighs_failures(&self, job: &Job) -> bool {
        job.course != Course::Believed && !self.config.trust.everybody
    }

    /// The operators whose word is enough for a job; nothing where everybody's is.
    fn trusted_for(&self, job: &Job) -> Option<Arc<BTreeSet<Address>>> {
        let trust = &self.config.trust;
        let all = || trust.operators.iter().chain(job.spec.trusted()).copied().collect();
        (!trust.everybody).then(|| Arc::new(all()))
    }

    /// The operators that a job's tasks are leased to alone, where it says so.
    pub(super) fn only_for(&self, job: &Job) -> Option<Arc<BTreeSet<Address>>> {
        match job.spec.reliance() {
            Reliance::Trusted => self.trusted_for(job),
            _ => None,
        }
    }

    /// Takes in a result that has arrived with all that belongs to it. Its lease is closed, but for its money.
    pub(super) fn hand_in(&mut self, held: Held, result: ResultRecord, came: Came, now: Now) {
        let id = held.task;
        self.measure_reach(id.job);
        let price = result.price;
        let (known, has_known, has_draft) = (held.known, held.has_known, held.has_draft);
        let bill = held.bill.map(|bill| {
            self.free_bill(id.job, &Bill { reserve: bill.reserve.saturating_sub(price), ..bill });
            Bill { reserve: price, ..bill }
        });
        let Some(mut given) = self.given(id, result, (bill, has_known), now) else { return };
        given.has_draft = has_draft;
        let Some(job) = self.jobs.get_mut(&id.job) else { return };
        job.news = true;
        job.reliability.results += 1;
        if let Some(known) = known {
            job.reliability.known += 1;
            match self.tried(id, &known, given, now) {
                Some(doubt) => given = doubt,
                None => return,
            }
        }
        let Some(job) = self.jobs.get_mut(&id.job) else { return };
        let Some(open) = job.open.get_mut(&id.task) else { return };
        let is_first = open.opinions.iter().all(|other| other.result.output != given.result.output);
        let is_alone = open.opinions.is_empty() && open.evidence().next().is_none();
        job.undecided += u64::from(open.opinions.is_empty());
        given.answer = open.answer_by_bytes(given.result.output, job.spec.comparison());
        if is_alone {
            job.watch(id.task, &mut given, now);
        }
        let Some(open) = job.open.get_mut(&id.task) else { return };
        open.opinions.push(given);
        let next = self.judged(id, now);
        if is_alone && let Some(accepted) = Accepted::of(next) {
            return self.decide_task(id, accepted, came, now);
        }
        let open = self.jobs.get_mut(&id.job).and_then(|job| job.open.get_mut(&id.task));
        let Some(given) = open.and_then(|open| open.opinions.last_mut()) else { return };
        given.is_kept = true;
        let record = given.record(None);
        let Came { output, log } = if is_first { came } else { Came::default() };
        self.change(Change::Opinion { task: id, record, output, log });
        // Who holds a copy was not drawn to check it: somebody is asked afresh.
        if let Some(job) = self.jobs.get(&id.job)
            && matches!(job.course, Course::Assured { .. })
            && matches!(next, Next::Ask { .. })
        {
            let copies = self.leases_of(id);
            self.revoke(&copies, LeaseEnd::Superseded, now);
        }
        self.compare_next(id);
        self.follow(id, next, now);
    }

    /// A result, as it counts when it comes; nothing where its job does not run.
    ///
    /// With how it is billed, and whether there was a task with a known answer to try its provider with instead: some checks
    /// were such ones then.
    fn given(
        &self,
        id: TaskId,
        result: ResultRecord,
        (bill, has_known): (Option<Bill>, bool),
        now: Now,
    ) -> Option<Given> {
        let job = self.jobs.get(&id.job)?;
        let key = job.record_of(id.task, result.operator, result.hardware_class.clone());
        let witness = self.witness(job, result.operator);
        // Nothing is worked out for those whose word is never doubted.
        let (odds, rate) = match witness {
            Witness::Trusted => (0.0, 0.0),
            Witness::Operator(_) => {
                let model = self.reputations.model();
                // A low bill does not make a lie about a dear task a small one.
                let price = result.price.max(job.usual_price());
                let record = self.record_in(job, &key, now).for_price(price);
                match job.course {
                    Course::Assured { assurance, .. } => {
                        let stake = self.stake(id.job, job, result.operator, result.price);
                        // Whom hardly anybody can contradict is checked the oftener.
                        let class = std::iter::once(&key.hardware_class);
                        let checked = match job.compares_by_class(id.task) {
                            true => model.within(self.presence.share(key.kind, class)),
                            false => *model,
                        };
                        let rate = checked.check_rate(&record, assurance, stake.as_ref());
                        (model.error_odds(&record, rate), model.rates(rate, has_known).others)
                    }
                    Course::Replicated { .. } | Course::Believed => (model.error_odds(&record, 1.0), 0.0),
                }
            }
        };
        let chosen = rate > 0.0 && is_chosen(self.roll(b"check", result.lease), rate);
        let (answer, work) = (Some(result.output), job.work_of(id.task, &result.usage));
        Some(Given {
            result,
            answer,
            work,
            witness,
            odds,
            chosen,
            has_draft: false,
            key,
            bill,
            paid: None,
            is_kept: false,
            turn: None,
            is_held: false,
        })
    }

    /// A result that the store remembers and that did not decide its task. Judged anew, it is as it was: what a check was
    /// drawn for stays so.
    pub(super) fn restore_opinion(
        &mut self,
        id: TaskId,
        opinion: OpinionRecord,
        (bill, has_draft): (Option<Bill>, bool),
        now: Now,
    ) {
        let Some(mut given) = self.given(id, opinion.result, (bill, false), now) else { return };
        (given.paid, given.chosen, given.answer) = (opinion.paid, true, opinion.answer);
        given.has_draft = has_draft;
        given.is_kept = true;
        let is_distrusted =
            self.jobs.get(&id.job).is_some_and(|job| job.distrusted.contains(&given.result.operator));
        if given.witness != Witness::Trusted && !is_distrusted {
            given.odds = f64::from(opinion.error_ppb) / 1e9;
        }
        let Some(job) = self.jobs.get_mut(&id.job) else { return };
        if let Some(open) = job.open.get_mut(&id.task) {
            job.undecided += u64::from(open.opinions.is_empty());
            open.opinions.push(given);
        }
    }

    /// The key of the order in which a job's tasks are given out.
    pub(super) fn order_key(&self, job: JobId) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_keyed(&self.config.seal_key);
        *hasher.update(b"order").update(&job.0).finalize().as_bytes()
    }

    /// A number that nobody can foresee who does not have this coordinator's key.
    fn roll(&self, what: &[u8; 5], lease: LeaseId) -> u64 {
        let mut hasher = blake3::Hasher::new_keyed(&self.config.seal_key);
        hasher.update(what).update(&lease.0.to_le_bytes());
        let mut roll = [0; 8];
        hasher.finalize_xof().fill(&mut roll);
        u64::from_le_bytes(roll)
    }

    /// The class of hardware that an engine is said to be of.
    pub(super) fn hardware_class(&self, at: EngineId) -> Option<String> {
        let engine = self.providers.get(&at.node).and_then(|provider| provider.engine(at.engine));
        engine.and_then(|engine| engine.hardware_class.clone())
    }

    /// Does what is next about a task of which something was said.
    pub(super) fn follow(&mut self, id: TaskId, next: Next<Answer>, now: Now) {
        match (Accepted::of(next), next) {
            (Some(accepted), _) => self.decide_task(id, accepted, Came::default(), now),
            (None, Next::Accept { answer, .. }) => self.fail_by(id, answer, now),
            (None, Next::Ask { .. } | Next::Stuck { .. }) => self.ask_for(id, next, now),
        }
    }

    /// A failure is certain, and so is the job's end. Those who gave a result lied.
    fn fail_by(&mut self, id: TaskId, failure: Answer, now: Now) {
        let Some(job) = self.jobs.get(&id.job) else { return };
        let Some(open) = job.open.get(&id.task) else { return };
        let Some(failed) = open.failures.iter().find(|failed| Answer::of(failed) == failure) else { return };
        let is_telling = self.is_telling(job, id.task, open, failure);
        let evidence = self.against_failure(id, open, failure, now);
        let (failure, attempts) = (failed.failure.clone(), open.failures.len());
        self.keep_evidence(evidence);
        let Some(job) = self.jobs.get_mut(&id.job) else { return };
        let Some(open) = job.open.get_mut(&id.task) else { return };
        let wrong = std::mem::take(&mut open.opinions);
        job.undecided -= u64::from(!wrong.is_empty());
        for given in &wrong {
            self.pay(id, given, Err(Unpaid::Contradicted));
            let who = (given.result.provider, given.witness);
            match is_telling {
                true => self.contradicted(id, &given.key, who, Evidence::Contradicted, now),
                false => {
                    self.name_wrong(id.job, given.result.provider);
                    self.distrust(id.job, given.result.operator);
                }
            }
        }
        let attempts = u32::try_from(attempts).unwrap_or(u32::MAX);
        self.end(id.job, JobEnd::Failed { task: id.task, failure, attempts }, now);
    }

    /// What is known of somebody's results in a job: nothing, once it has contradicted what was accepted of that job.
    fn record_in(&self, job: &Job, key: &ReputationKey, now: Now) -> Record {
        match job.distrusted.contains(&key.operator) {
            true => Record::default(),
            false => self.reputations.record(key, now),
        }
    }

    /// Somebody was wrong about a task of a job, as far as that job is concerned: its reports name it.
    fn name_wrong(&mut self, job: JobId, node: NodeId) {
        if let Some(job) = self.jobs.get_mut(&job) {
            job.tallies.entry(node).or_default().contradicted += 1;
        }
    }

    /// A result of a provider is right.
    fn credit(&mut self, id: JobId, node: NodeId) {
        self.failed_not(node, id);
        if let Some(provider) = self.providers.get_mut(&node) {
            provider.accepted += 1;
            provider.strikes = 0;
        }
    }

    /// Somebody was wrong about a task, as this proves, and is named for it.
    fn contradicted(
        &mut self,
        id: TaskId,
        key: &ReputationKey,
        (node, witness): (NodeId, Witness),
        proof: Evidence,
        now: Now,
    ) {
        self.name_wrong(id.job, node);
        // What the trusted say is never doubted, even where they contradict each other.
        if witness != Witness::Trusted {
            self.reputations.note(key, proof, Amount::ZERO, now);
            self.caught(id, node, key.operator, now);
        }
    }

    /// An attempt failed by its machine's doing, or was late. It is kept beside what is known of its results.
    pub(super) fn note_failure(
        &mut self,
        id: TaskId,
        operator: Address,
        hardware_class: Option<String>,
        now: Now,
    ) {
        let Some(job) = self.jobs.get(&id.job).filter(|job| job.course != Course::Believed) else { return };
        if self.witness(job, operator) != Witness::Trusted {
            let key = job.record_of(id.task, operator, hardware_class);
            self.reputations.note(&key, Evidence::Failed, Amount::ZERO, now);
        }
    }

    /// An open task is so no longer: nobody works on it or waits for it any more. Gives what was said of it.
    fn close_task(&mut self, id: TaskId, now: Now) -> Open {
        let leases = self.leases_of(id);
        self.revoke(&leases, LeaseEnd::Superseded, now);
        self.sched.remove_single(id);
        let Some(job) = self.jobs.get_mut(&id.job) else { return Open::default() };
        job.checks.forget(id.task);
        job.unmade.remove(&id.task);
        job.mending.made(id.task);
        let mut open = job.open.remove(&id.task).unwrap_or_default();
        job.unwatch(open.opinions.iter());
        job.prepared -= usize::from(open.prepared);
        job.undecided -= u64::from(!open.opinions.is_empty());
        job.news = true;
        self.free_failures(id.job, std::mem::take(&mut open.held_for_failures));
        self.decide_unconfirmed(&open.failures, &BTreeSet::new());
        open
    }

    /// A job has ended: what was accepted unchecked says something about who gave it, unless it is doubted, or few could have
    /// had the job. Where the job itself says what is the same, no check could have contradicted it.
    pub(super) fn note_unchecked(&mut self, job: &Job, now: Now) {
        if *job.spec.comparison() != Comparison::Exact
            || !self.reputations.model().tells_within(job.reach.share)
        {
            return;
        }
        let accepted = job
            .unchecked
            .iter()
            .filter(|(key, of_it)| of_it.results > 0 && !job.looking.contains(&key.operator));
        for (key, of_it) in accepted {
            self.reputations.note_accepted(key, of_it.results, of_it.paid, now);
        }
    }
}

/// The work that a result of a task says it took, where that is a part of its answer: results that must be the same bit for
/// bit come of the same work, whoever does it.
fn work_of(spec: &JobSpec, task: TaskNumber, usage: &Usage) -> Option<Metered> {
    let kind = spec.node(task).and_then(|node| spec.needs(node.stage()))?.kind;
    (*spec.comparison() == Comparison::Exact).then(|| Metered::of(kind, usage))
}

/// Odds in billionths, rounded up, so that none that there are become nothing.
fn billionths(odds: f64) -> u32 {
    (odds.clamp(0.0, 1.0) * 1e9).ceil() as u32
}
