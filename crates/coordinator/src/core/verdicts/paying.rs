//! Paying for results: what those get that are right, what work without a verdict is worth, and bills that are bounded by what
//! others claim.
//!
//! Results that must be the same bit for bit come of the same work, which is a part of their answer: whoever bills more has
//! given a wrong one. Where results only count as the same, and where there is no verdict, no result is paid for more work
//! than others claim.

use std::collections::BTreeSet;

use tidemill_net::wire::{Decision, Unpaid};
use tidemill_store::{AttemptRecord, Change, JobEnd, ResultRecord};
use tidemill_types::{Amount, BlobId, JobId, LeaseId, Metered, TaskId, TaskNumber, Weight};
use tidemill_verify::{Opinion, likeliest};

use super::{Answer, Given};
use crate::{
    core::{
        Core,
        jobs::{Job, Open},
    },
    event::Now,
};

impl Given {
    /// The work that it says it took.
    fn claimed(&self) -> Metered {
        Metered::of(self.key.kind, &self.result.usage)
    }
}

impl Core {
    /// What a result is paid if it took no more work than this.
    pub(super) fn price_at_most(&self, id: TaskId, given: &Given, work: Metered) -> Amount {
        let Some(bill) = given.bill.filter(|_| work < given.claimed()) else { return given.result.price };
        self.price_of(id, &bill, work, given.result.output_len.0)
    }

    /// What a result that is right is paid, or was, with this bound on its work.
    pub(super) fn worth(&self, id: TaskId, given: &Given, bound: Option<Metered>) -> Amount {
        match (given.paid, bound) {
            (Some(paid), _) => paid,
            (None, Some(bound)) => self.price_at_most(id, given, bound),
            (None, None) => given.result.price,
        }
    }

    /// A result's money: what was held back for it is free, and it is paid so much, or is told why it is not.
    pub(super) fn pay(&mut self, id: TaskId, given: &Given, verdict: Result<Amount, Unpaid>) {
        let Some(bill) = given.bill.filter(|_| given.paid.is_none()) else { return };
        let ResultRecord { lease, provider, operator, .. } = given.result;
        self.free_bill(id.job, &bill);
        if let Ok(amount) = verdict {
            self.earn(bill.escrow, id.job, (operator, provider), amount);
            if let Some(job) = self.jobs.get_mut(&id.job) {
                job.count_paid(id.task, amount);
            }
            if given.is_kept {
                self.change(Change::Paid { task: id, lease, amount });
            }
        }
        let decision = match verdict {
            Ok(amount) => Decision::Paid(amount),
            Err(reason) => Decision::Unpaid(reason),
        };
        self.decide(provider, lease, decision);
    }

    /// Pays for all that was said of a task that is as if nobody had begun it. There will be no verdict on it. Gives what
    /// all of it has cost.
    pub(super) fn pay_all(&mut self, id: TaskId, opinions: &[Given]) -> Amount {
        let mut cost = Amount::ZERO;
        for given in opinions {
            let alike = opinions.iter().filter(|other| other.answer == given.answer);
            let amount = self.worth(id, given, least(alike));
            self.pay(id, given, Ok(amount));
            cost = cost.saturating_add(amount);
        }
        cost
    }

    /// A job ends: what was said of tasks that are not decided is paid where it is likelier to be right than what else was
    /// said, by what is known of those who said it: their number alone can be bought. Whether the work of it was as much as
    /// somebody says will never be known, so nobody is paid for more than the least claim of those who gave the same output.
    /// Failures that would be evidence are as much of an answer, and as much of an output: their logs.
    pub(in crate::core) fn pay_undecided(&mut self, id: JobId, end: &JobEnd, now: Now) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        job.reliability.undecided = std::mem::take(&mut job.undecided);
        let Some(job) = self.jobs.get(&id) else { return };
        let likeliest: Vec<(TaskNumber, BTreeSet<Answer>)> = job
            .open
            .iter()
            .filter(|(_, open)| !open.opinions.is_empty() || open.evidence().next().is_some())
            .map(|(task, open)| (*task, self.likeliest(job, TaskId { job: id, task: *task }, open, now)))
            .collect();
        for (number, answers) in likeliest {
            let task = TaskId { job: id, task: number };
            let open = self.jobs.get_mut(&id).and_then(|job| job.open.get_mut(&number));
            let Some(open) = open else { continue };
            let (opinions, failures) = (std::mem::take(&mut open.opinions), open.failures.clone());
            let believed: Vec<&Given> =
                opinions.iter().filter(|given| answers.contains(&answer(given))).collect();
            for given in &opinions {
                self.leave_unjudged(id, given);
                if !answers.contains(&answer(given)) {
                    self.pay(task, given, Err(Unpaid::Undecided));
                    continue;
                }
                let alike = believed.iter().copied().filter(|other| output(other) == output(given));
                let amount = self.price_at_most(task, given, least(alike).unwrap_or(given.claimed()));
                self.pay(task, given, Ok(amount));
            }
            // What ended the job is owed whatever is likelier.
            let ended = matches!(end, JobEnd::Failed { task, .. } if *task == number);
            if !ended {
                let paid = self.owe_for_likeliest(id, &failures, &answers);
                self.decide_unconfirmed(&failures, &paid);
            }
        }
    }

    /// Pays for failures that are among the likeliest answers to a task. Gives the leases that are paid.
    fn owe_for_likeliest(
        &mut self,
        job: JobId,
        attempts: &[AttemptRecord],
        answers: &BTreeSet<Answer>,
    ) -> BTreeSet<LeaseId> {
        let (mut seen, mut paid) = (BTreeSet::new(), BTreeSet::new());
        for failed in attempts.iter().filter(|failed| failed.failure.weight() == Weight::Evidence) {
            let answer = Answer::of(failed);
            if answers.contains(&answer) && seen.insert(answer) {
                paid.extend(self.owe_for_failure(job, attempts, &failed.failure));
            }
        }
        paid
    }

    /// The answers to a task that are the likeliest to be right, those of each class of hardware apart where that matters.
    fn likeliest(&self, job: &Job, id: TaskId, open: &Open, now: Now) -> BTreeSet<Answer> {
        let failures: Vec<Opinion<Answer>> =
            open.evidence().map(|failed| self.failure(job, id, failed, now)).collect();
        if open.opinions.is_empty() {
            return likeliest(self.reputations.model(), &failures);
        }
        let by_class = job.compares_by_class(id.task);
        let opinion = |given: &&Given| Opinion {
            witness: given.witness,
            answer: answer(given),
            error_odds: given.odds,
        };
        let of_group = |group: &Vec<&Given>| {
            let said: Vec<_> = group.iter().map(opinion).chain(failures.iter().copied()).collect();
            likeliest(&self.model_among(by_class, group.iter().copied()), &said)
        };
        open.comparable(by_class).iter().flat_map(of_group).collect()
    }
}

/// The output that a result counts as: its own while that is being compared.
fn output(given: &Given) -> BlobId {
    given.answer.unwrap_or(given.result.output)
}

/// What a result says, where that is to be paid.
fn answer(given: &Given) -> Answer {
    Answer::Output(output(given), given.work)
}

/// The least work that any of these claims.
fn least<'a>(results: impl Iterator<Item = &'a Given>) -> Option<Metered> {
    results.map(Given::claimed).min()
}

/// The most work that any of these claims.
pub(super) fn most<'a>(results: impl Iterator<Item = &'a Given>) -> Option<Metered> {
    results.map(Given::claimed).max()
}

/// What results are paid for at most that count as the same: as many claim less as claim more, so one that claims too much, or
/// too little, changes nobody's pay. Of two it is the lesser.
pub(super) fn middle<'a>(results: impl Iterator<Item = &'a Given>) -> Option<Metered> {
    let mut claims: Vec<Metered> = results.map(Given::claimed).collect();
    claims.sort_unstable();
    claims.get(claims.len().checked_sub(1)? / 2).copied()
}
