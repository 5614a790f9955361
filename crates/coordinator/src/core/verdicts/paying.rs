//! Paying for results: what those get that are right, what work without a verdict is worth, and bills that are bounded by what
//! others claim.
//!
//! Results that must be the same bit for bit come of the same work, which is a part of their answer: whoever bills more has
//! given a wrong one. Where results only count as the same, and where there is no verdict, no result is paid for more work
//! than others claim.

use std::collections::{BTreeMap, BTreeSet};

use tidemill_net::wire::{Decision, Unpaid};
use tidemill_store::{Change, ResultRecord};
use tidemill_types::{Amount, JobId, Metered, TaskId};

use super::{Answer, Given};
use crate::core::Core;

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

    /// A job ends: what was said of tasks that are not decided is paid where more did not say otherwise. Whether the work
    /// of it was as much as somebody says will never be known, so nobody is paid for more than the least claim of those who
    /// gave the same output.
    pub(in crate::core) fn pay_undecided(&mut self, id: JobId) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        job.reliability.undecided = std::mem::take(&mut job.undecided);
        let mut waiting = Vec::new();
        for (task, open) in &mut job.open {
            let opinions = std::mem::take(&mut open.opinions);
            if !opinions.is_empty() {
                waiting.push((TaskId { job: id, task: *task }, opinions));
            }
        }
        for (task, opinions) in waiting {
            let output = |given: &Given| given.answer.unwrap_or(given.result.output);
            let answer = |given: &Given| Answer::Output(output(given), given.work);
            let answers = likeliest(opinions.iter().map(answer));
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
        }
    }
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

/// The answers that were given most often.
fn likeliest(answers: impl Iterator<Item = Answer>) -> BTreeSet<Answer> {
    let mut votes: BTreeMap<Answer, usize> = BTreeMap::new();
    for answer in answers {
        *votes.entry(answer).or_default() += 1;
    }
    let most = votes.values().copied().max().unwrap_or(0);
    votes.into_iter().filter(|(_, count)| *count == most).map(|(answer, _)| answer).collect()
}
