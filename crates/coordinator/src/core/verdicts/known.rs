//! Known answers: somebody is given a task that is done, as if it were not, and cannot tell.
//!
//! Its result is compared with the accepted one. If it is another, it is one more voice about that task, and what is known
//! must stand against it; where it does not, the task is open again.

use serde::{Deserialize, Serialize};
use tidemill_job::Node;
use tidemill_store::{AttemptRecord, Change, DoneRecord, ResultRecord};
use tidemill_types::{
    Amount, Basis, Engine, EngineId, Finding, FloatClass, JobId, Stage, TaskId, TaskNumber,
};
use tidemill_verify::{Course, Evidence, Model, Witness, is_chosen};

use super::{Accepted, Answer, Given, Unpaid, keeping::Signed};
use crate::{
    core::{
        Core, Provider,
        jobs::{Job, Open},
    },
    event::{Network, Now},
};

/// A task whose answer is certain, and from whom it is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::core) struct Known {
    /// The task's own result.
    done: DoneRecord,
    /// Those that agreed with it.
    others: Vec<ResultRecord>,
}

/// One that somebody may be tried with who has nothing to do with where it comes from.
#[derive(Clone, Debug)]
pub(in crate::core) struct Candidate {
    known: Known,
    networks: Vec<Network>,
}

impl Known {
    /// The answer that is known.
    fn answer(&self, job: &Job, task: TaskNumber) -> Answer {
        let result = &self.done.result;
        Answer::Output(result.output, job.work_of(task, &result.usage))
    }

    fn results(&self) -> impl Iterator<Item = &ResultRecord> {
        std::iter::once(&self.done.result).chain(&self.others)
    }
}

impl Candidate {
    pub(in crate::core) fn into_known(self) -> Known {
        self.known
    }

    fn fits(&self, provider: &Provider, engine: &Engine, floats: FloatClass) -> bool {
        let is_apart = |network: Network| self.networks.iter().all(|of_giver| *of_giver != network);
        self.known.results().all(|result| result.operator != provider.operator)
            && provider.network.is_none_or(is_apart)
            && (floats == FloatClass::Canonical
                || self.known.done.result.hardware_class == engine.hardware_class)
    }
}

impl Job {
    /// The parts of a reduce task are all there, of which this is one: whoever is given that knows that they are done, and would
    /// tell one of them from a fresh one.
    pub(super) fn forget_known_beside(&mut self, part: TaskNumber) {
        let spec = self.spec.clone();
        let parent = |task: TaskNumber| spec.tree()?.parent(spec.node(task)?);
        let complete = parent(part);
        self.known.retain(|task| complete.is_none() || parent(task) != complete);
    }
}

impl Core {
    /// Whether there is a task with a known answer to try an engine with, and one if its next lease is drawn for that.
    pub(in crate::core) fn draw_known(
        &mut self,
        job: JobId,
        at: EngineId,
        now: Now,
    ) -> (bool, Option<(TaskNumber, Candidate)>) {
        let nothing = (false, None);
        let Some(of) = self.jobs.get(&job) else { return nothing };
        let Some(provider) = self.providers.get(&at.node) else { return nothing };
        let Some(engine) = provider.engine(at.engine) else { return nothing };
        let Course::Assured { assurance, .. } = of.course else { return nothing };
        let floats = of.spec.needs(Stage::Map).map_or(FloatClass::Canonical, |needs| needs.floats);
        let fits = |candidate: &Candidate| candidate.fits(provider, engine, floats);
        // The last tasks of a job are not to wait for it.
        let is_there = of.has_fresh() && of.known.has(fits);
        if !is_there || self.witness(of, provider.operator) == Witness::Trusted {
            return nothing;
        }
        let class = engine.hardware_class.clone();
        let record = self.record_in(of, &of.record_of(TaskNumber(0), provider.operator, class), now);
        let model = self.reputations.model();
        // As much as the lease will be for, or so.
        let limits = of.spec.limits(Stage::Map).copied().unwrap_or_default();
        let price = match of.money {
            Some(_) => engine.rates.most(engine.kind, &limits, of.spec.input_bytes() / of.spec.map_count()),
            None => Amount::ZERO,
        };
        let stake = self.stake(job, of, provider.operator, price);
        let rate = model.rates(model.check_rate(&record, assurance, stake.as_ref()), true).known;
        if !is_chosen(self.roll(b"known", self.next_lease), rate) {
            return (true, None);
        }
        (true, self.jobs.get_mut(&job).and_then(|of| of.known.take(fits)))
    }

    /// Somebody may be tried with a task.
    pub(in crate::core) fn put_back(&mut self, id: TaskId, candidate: Candidate) {
        if let Some(job) = self.jobs.get_mut(&id.job) {
            job.known.add(id.task, candidate);
        }
    }

    /// Keeps a task that is decided to try others with, if its answer is certain and few know it. `is_telling`: whether the
    /// verdict is so; of one result alone that is not known yet.
    pub(super) fn keep_known(&mut self, id: TaskId, open: &Open, done: &DoneRecord, is_telling: bool) {
        let Some(job) = self.jobs.get(&id.job) else { return };
        let answer = Answer::Output(done.result.output, job.work_of(id.task, &done.result.usage));
        let is_agreed = open.opinions.iter().all(|given| given.says() == Some(answer));
        let known_by = open.opinions.iter().filter(|given| given.witness != Witness::Trusted).count();
        let is_fit = matches!(job.course, Course::Assured { .. })
            && matches!(job.node(id.task), Node::Map(_))
            && matches!(done.verdict.basis, Basis::Agreed | Basis::Trusted)
            && is_agreed
            // Whoever had it and brought nothing has seen it.
            && open.failures.is_empty()
            && known_by <= Model::MOST_KNOWN_BY;
        if !is_fit || self.config.trust.everybody {
            return;
        }
        if !is_telling && !self.is_telling(job, id.task, open, answer) {
            return;
        }
        let others = open.opinions.iter().map(|given| &given.result);
        let others = others.filter(|result| result.lease != done.result.lease).cloned().collect();
        let networks =
            open.opinions.iter().filter_map(|given| self.providers.get(&given.result.provider)?.network);
        let networks = networks.collect();
        let candidate = Candidate { known: Known { done: done.clone(), others }, networks };
        self.put_back(id, candidate);
    }

    /// Takes in the result of somebody who was tried. Gives it back where what is known does not stand against it: its task
    /// is open again then.
    pub(super) fn tried(&mut self, id: TaskId, known: &Known, mut given: Given, now: Now) -> Option<Given> {
        let job = self.jobs.get(&id.job)?;
        let is_right = given.says() == Some(known.answer(job, id.task));
        if !is_right {
            let said = Open { opinions: vec![given.clone()], ..Open::default() };
            if !self.known_stands(id, known, said, now) {
                return Some(given);
            }
        }
        let record = given.record(Some(is_right));
        self.change(Change::Opinion { task: id, record, output: None, log: None });
        given.is_kept = true;
        if !is_right {
            self.keep_against_known(id, known, Signed::Result(&given.result), now);
            self.pay(id, &given, Err(Unpaid::Contradicted));
            let who = (given.result.provider, given.witness);
            self.contradicted(id, &given.key, who, Evidence::KnownWrong, now);
            return None;
        }
        self.pay(id, &given, Ok(given.result.price));
        if let Some(job) = self.jobs.get_mut(&id.job) {
            job.count_trial(id.task, given.result.price);
        }
        self.reputations.note(&given.key, Evidence::Known, given.result.price, now);
        self.credit(id.job, given.result.provider);
        if let Some(job) = self.jobs.get_mut(&id.job) {
            job.tallies.entry(given.result.provider).or_default().checks += 1;
        }
        None
    }

    /// Somebody who was tried says that the task fails. Whether what is known stands; the task is open again if not.
    pub(in crate::core) fn tried_in_vain(
        &mut self,
        id: TaskId,
        known: &Known,
        failed: &AttemptRecord,
        now: Now,
    ) -> bool {
        let said = Open { failures: vec![failed.clone()], ..Open::default() };
        if !self.known_stands(id, known, said, now) {
            return false;
        }
        self.keep_against_known(id, known, Signed::Failure(failed), now);
        let Some(job) = self.jobs.get(&id.job) else { return true };
        let (key, witness) = (job.failure_key(id.task, failed), self.witness(job, failed.operator));
        self.contradicted(id, &key, (failed.provider, witness), Evidence::KnownWrong, now);
        true
    }

    /// Keeps the evidence that something signed is not the answer that was known.
    fn keep_against_known(&mut self, id: TaskId, known: &Known, signed: Signed<'_>, now: Now) {
        let right: Vec<_> = known.results().map(Signed::Result).collect();
        let evidence = self.evidence(id, &Open::default(), Finding::KnownAnswer, (&[signed], &right), now);
        self.keep_evidence(evidence);
    }

    /// Whether what is known is certain in spite of what somebody else says. The task is open again if it is not.
    fn known_stands(&mut self, id: TaskId, known: &Known, said: Open, now: Now) -> bool {
        let opinions = known.results().filter_map(|result| self.doubted(id, result.clone(), now));
        let open = Open { opinions: opinions.chain(said.opinions).collect(), ..said };
        let Some(job) = self.jobs.get(&id.job) else { return true };
        let accepted = Accepted::of(self.judge_open(job, id, &open, now));
        let answer = known.answer(job, id.task);
        let stands = accepted.is_some_and(|accepted| accepted.answer() == answer)
            && self.is_telling(job, id.task, &open, answer);
        if !stands {
            self.open_again(id, known.done.clone(), &known.others, now);
        }
        stands
    }
}
