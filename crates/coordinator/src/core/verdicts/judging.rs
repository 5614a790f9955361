//! Judging: what the results of an open task come to, and for whom that says something.
//!
//! Where outputs have native floats, results are judged within a class of hardware, which is a provider's own word. Results of
//! two classes that are the same agree all the same, and a class that few are of does not decide alone.

use tidemill_store::AttemptRecord;
use tidemill_types::{Address, Comparison, JobId, TaskId, TaskNumber};
use tidemill_verify::{Assurance, Course, Model, Next, Opinion, Verdict, Witness, judge};

use super::{Answer, Given};
use crate::{
    core::{
        Core,
        jobs::{Job, Open},
    },
    event::Now,
};

/// So often in a job an operator that contradicts the job's own trusted machines alone is paid all the same.
const MOST_BY_WORD: u32 = 3;

impl Job {
    /// Whether an operator has contradicted the job's own trusted machines, and was paid, as often as it may without another
    /// that says the same.
    fn has_disputed(&self, operator: Address) -> bool {
        self.disputed.get(&operator).is_some_and(|times| *times >= MOST_BY_WORD)
    }
}

impl Open {
    /// The results in groups that can be compared with each other: where classes of hardware matter, those of one class, and
    /// of all classes of which some results are the same. The largest group comes first, and of those that are as large the
    /// one that began first.
    pub(super) fn comparable(&self, by_class: bool) -> Vec<Vec<&Given>> {
        let mut groups: Vec<Vec<&Given>> = Vec::new();
        for given in &self.opinions {
            let is_with = |other: &&Given| {
                let is_same = || given.answer.is_some() && given.says() == other.says();
                !by_class || other.key.hardware_class == given.key.hardware_class || is_same()
            };
            let (with, apart): (Vec<_>, Vec<_>) =
                groups.into_iter().partition(|group: &Vec<&Given>| group.iter().any(is_with));
            // It may be what several groups have in common.
            let mut with = with.concat();
            with.push(given);
            groups = apart;
            groups.push(with);
        }
        let began = |group: &Vec<&Given>| {
            let is_first = |given: &Given| group.iter().any(|of| of.result.lease == given.result.lease);
            self.opinions.iter().position(is_first)
        };
        groups.sort_by_key(|group| (std::cmp::Reverse(group.len()), began(group)));
        groups
    }
}

impl Core {
    /// What is to be done next about an open task, by what was said of it.
    pub(in crate::core) fn judged(&self, id: TaskId, now: Now) -> Next<Answer> {
        let nobody = Next::Ask { more: 1 };
        let Some(job) = self.jobs.get(&id.job) else { return nobody };
        let Some(open) = job.open.get(&id.task) else { return nobody };
        self.judge_open(job, id, open, now)
    }

    pub(super) fn judge_open(&self, job: &Job, id: TaskId, open: &Open, now: Now) -> Next<Answer> {
        if open.is_comparing() || open.is_held() {
            return Next::Ask { more: 0 };
        }
        let failures: Vec<Opinion<Answer>> = match self.weighs_failures(job) {
            true => open.evidence().map(|failed| self.failure(job, id, failed, now)).collect(),
            false => Vec::new(),
        };
        let by_class = job.compares_by_class(id.task);
        let opinion = |given: &&Given| {
            Some(Opinion { witness: given.witness, answer: given.says()?, error_odds: given.odds })
        };
        let said = |group: &Vec<&Given>| {
            let said = group.iter().filter_map(opinion);
            // Alone in its class is not alone.
            let chosen = group[0].chosen || open.opinions.len() > 1;
            let model = self.model_among(by_class, group.iter().copied());
            job.course.next(&model, &said.chain(failures.iter().copied()).collect::<Vec<_>>(), chosen)
        };
        let groups = open.comparable(by_class);
        let by_group: Vec<Next<Answer>> = groups.iter().map(said).collect();
        let is_accepted = |next: &&Next<Answer>| matches!(next, Next::Accept { .. });
        let asks = |next: &&Next<Answer>| matches!(next, Next::Ask { .. });
        // Another group may be able to decide where the largest cannot, but not without end.
        let may_ask = match job.course {
            Course::Assured { most, .. } | Course::Replicated { most, .. } => {
                open.opinions.len() < 2 * most as usize
            }
            Course::Believed => true,
        };
        let ask = by_group.iter().find(asks).filter(|_| may_ask);
        match by_group.iter().find(is_accepted).or(ask).or(by_group.first()) {
            Some(Next::Accept { answer, .. }) if self.wants_third(job, id, open, *answer, now) => {
                Next::Ask { more: 1 }
            }
            Some(next) => *next,
            // A failure ends the whole job, so one alone is never believed unchecked.
            None => job.course.next(self.reputations.model(), &failures, true),
        }
    }

    /// Whether another operator is to say which of two is right before a task is decided: those whom the requester alone
    /// trusts, or somebody who has contradicted them before. The first few times the one who does is paid all the same; then
    /// a third settles whether it is, if there is one.
    fn wants_third(&self, job: &Job, id: TaskId, open: &Open, accepted: Answer, now: Now) -> bool {
        // Whoever does not come for long settles nothing.
        let patience = self.config.undecided.0.saturating_mul(1000);
        let is_over = open.waiting.is_some_and(|since| now.mono.since(since).0 >= patience);
        if job.disputed.is_empty() || is_over {
            return false;
        }
        let is_trusted = |given: &&Given| given.witness == Witness::Trusted;
        let by_word = open.opinions.iter().filter(is_trusted).any(|given| given.says() == Some(accepted))
            && !open.opinions.iter().any(|given| self.config.trust.covers(&given.result.operator));
        let disputes = open.opinions.iter().filter(|given| {
            !is_trusted(given) && given.says() != Some(accepted) && job.has_disputed(given.result.operator)
        });
        let mut alone = disputes.filter(|given| {
            let operator = given.result.operator;
            open.opinions.iter().all(|other| is_trusted(&other) || other.result.operator == operator)
        });
        by_word && alone.next().is_some() && self.could_ask(job, id, open, false)
    }

    /// Whether a result that contradicts those whom the requester alone trusts is paid all the same: the first few times of
    /// an operator, and whenever another operator gave the same.
    pub(super) fn is_owed_by_word(&self, job: JobId, open: &Open, given: &Given) -> bool {
        let is_another = |other: &Given| other.result.operator != given.result.operator;
        let is_said = open.opinions.iter().any(|other| is_another(other) && other.says() == given.says());
        let has_disputed = self.jobs.get(&job).is_some_and(|job| job.has_disputed(given.result.operator));
        is_said || !has_disputed
    }

    /// What is assumed of those who gave these results: among the members of a class of hardware a group is more than it is
    /// in the whole network.
    pub(super) fn model_among<'a>(
        &self,
        by_class: bool,
        group: impl Iterator<Item = &'a Given> + Clone,
    ) -> Model {
        let model = *self.reputations.model();
        match group.clone().next() {
            Some(first) if by_class => {
                let classes = group.map(|given| &given.key.hardware_class);
                model.within(self.presence.share(first.key.kind, classes))
            }
            _ => model,
        }
    }

    /// A failure that would be the same everywhere, as an opinion.
    pub(super) fn failure(&self, job: &Job, id: TaskId, failed: &AttemptRecord, now: Now) -> Opinion<Answer> {
        let witness = self.witness(job, failed.operator);
        let record = self.record_in(job, &job.failure_key(id.task, failed), now);
        let error_odds = match witness {
            Witness::Trusted => 0.0,
            Witness::Operator(_) => self.reputations.model().error_odds(&record, 1.0),
        };
        Opinion { witness, answer: Answer::of(failed), error_odds }
    }

    /// Whether a verdict says something about who gave the results, for everybody: it does not rest on the word of those
    /// whom the requester alone trusts, and is certain enough by itself. A requester could otherwise ruin whom it likes.
    /// So it could where results that differ count as the same, or do not, because it says so, and where by its price or its
    /// limits few could have the task.
    pub(super) fn is_telling(&self, job: &Job, task: TaskNumber, open: &Open, right: Answer) -> bool {
        if *job.spec.comparison() != Comparison::Exact {
            return false;
        }
        let by_class = job.compares_by_class(task);
        let is_right = |given: &&Given| given.says() == Some(right);
        let groups = open.comparable(by_class);
        // Of a failure, everybody's results.
        let group = groups.into_iter().find(|group| group.iter().any(is_right));
        let group = group.unwrap_or_else(|| open.opinions.iter().collect());
        let model = self.model_among(by_class, group.iter().copied());
        let own = |operator: Address| match self.config.trust.covers(&operator) {
            true => Witness::Trusted,
            false => Witness::Operator(operator),
        };
        let said = group.iter().map(|given| {
            let witness = own(given.result.operator);
            let is_named = witness != Witness::Trusted && given.witness == Witness::Trusted;
            let error_odds = if is_named { 0.5 } else { given.odds };
            Opinion { witness, answer: Answer::Output(given.result.output, given.work), error_odds }
        });
        let failed = open.evidence().map(|failed| Opinion {
            witness: own(failed.operator),
            answer: Answer::of(failed),
            error_odds: 0.5,
        });
        let said: Vec<Opinion<Answer>> = match self.weighs_failures(job) {
            true => said.chain(failed).collect(),
            false => said.collect(),
        };
        // All whom the requester has left may be of one group.
        let model = model.within(job.reach.share);
        let verdict = judge(&model, Assurance::LEAST_TELLING, &said);
        matches!(verdict, Verdict::Accepted { answer, .. } if answer == right)
    }

    /// Whether an answer that is accepted contradicts a result that is another one. Where native floats may differ from class
    /// to class of hardware, those of its own class must be enough to say so: one machine that says it is of that class
    /// would otherwise be enough to blame an honest one.
    pub(super) fn contradicts(
        &self,
        job: &Job,
        id: TaskId,
        open: &Open,
        accepted: Answer,
        given: &Given,
    ) -> bool {
        let class = &given.key.hardware_class;
        let is_of_it = |other: &&Given| other.key.hardware_class == *class;
        let is_only = open.opinions.iter().all(|other| is_of_it(&other));
        if is_only || !job.compares_by_class(id.task) {
            return true;
        }
        let of_class = open.opinions.iter().filter(is_of_it);
        let model = self.model_among(true, of_class.clone());
        let said = of_class.filter_map(|other| {
            Some(Opinion { witness: other.witness, answer: other.says()?, error_odds: other.odds })
        });
        let next = job.course.next(&model, &said.collect::<Vec<_>>(), true);
        matches!(next, Next::Accept { answer, .. } if answer == accepted)
    }
}
