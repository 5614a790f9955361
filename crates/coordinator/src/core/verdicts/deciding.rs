//! Deciding a task: what a verdict makes of its results, and carrying that out.

use tidemill_net::wire::Unpaid;
use tidemill_store::{Change, DoneRecord, NewEvidence, ResultRecord};
use tidemill_types::{Acceptance, Address, Amount, Basis, BlobId, Finding, Metered, TaskId};
use tidemill_verify::{Course, Evidence, Next, Witness};

use super::{
    Answer, Came, Given, billionths,
    keeping::Signed,
    paying::{middle, most},
};
use crate::{
    core::{
        Core,
        jobs::{Job, Open},
    },
    event::Now,
};

/// An output that is relied on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Accepted {
    output: BlobId,
    /// The work of it, where that is a part of the answer.
    work: Option<Metered>,
    odds: Option<f64>,
    is_unchecked: bool,
}

/// What a verdict makes of a task's results, by their places.
struct Ruling {
    /// The one that stands for the task: the first of those that are the same.
    chosen: usize,
    right: Vec<usize>,
    wrong: Vec<usize>,
    /// Those of another class of hardware: nothing is known of them.
    apart: Vec<usize>,
    acceptance: Acceptance,
    /// Whether something else was accepted before.
    is_overturned: bool,
}

impl Accepted {
    /// The answer that is relied on.
    pub(super) fn answer(&self) -> Answer {
        Answer::Output(self.output, self.work)
    }

    /// The output that is accepted, if one is.
    pub(super) fn of(next: Next<Answer>) -> Option<Self> {
        match next {
            Next::Accept { answer: Answer::Output(output, work), error_odds, is_unchecked } => {
                Some(Self { output, work, odds: error_odds, is_unchecked })
            }
            _ => None,
        }
    }
}

impl Ruling {
    /// Nothing where nobody gave what is accepted. `is_compared`: whether what is accepted contradicts another result.
    fn of(job: &Job, open: &Open, accepted: Accepted, is_compared: impl Fn(&Given) -> bool) -> Option<Self> {
        let opinions = &open.opinions;
        let is_right = |given: &Given| given.says() == Some(accepted.answer());
        let all = || opinions.iter().enumerate();
        let places = |fits: &dyn Fn(&Given) -> bool| -> Vec<usize> {
            all().filter(|(_, given)| fits(given)).map(|(at, _)| at).collect()
        };
        let right = places(&is_right);
        let wrong = places(&|given| !is_right(given) && is_compared(given));
        let apart = places(&|given| !is_right(given) && !is_compared(given));
        // The one whose output it is.
        let chosen = *right.iter().find(|at| opinions[**at].result.output == accepted.output)?;
        let is_trusted = right.iter().any(|at| opinions[*at].witness == Witness::Trusted);
        let basis = match (is_trusted, job.course, accepted.is_unchecked) {
            (true, ..) => Basis::Trusted,
            (false, Course::Believed, _) => Basis::Unverified,
            (false, _, true) => Basis::Unchecked,
            (false, _, false) => Basis::Agreed,
        };
        let odds = accepted.odds.filter(|_| matches!(basis, Basis::Unchecked | Basis::Agreed));
        let acceptance = Acceptance {
            basis,
            results: count(opinions.len()),
            agreeing: count(right.len()),
            error_ppb: odds.map(billionths),
        };
        let is_overturned = wrong.iter().chain(&apart).any(|at| opinions[*at].paid.is_some());
        Some(Self { chosen, right, wrong, apart, acceptance, is_overturned })
    }
}

impl Core {
    /// A task is done: this output is its own.
    pub(super) fn decide_task(&mut self, id: TaskId, accepted: Accepted, came: Came, now: Now) {
        let Some(job) = self.jobs.get(&id.job) else { return };
        let place = job.node(id.task);
        let Some(open) = job.open.get(&id.task) else { return };
        let is_compared = |given: &Given| self.contradicts(job, id, open, accepted.answer(), given);
        let Some(ruling) = Ruling::of(job, open, accepted, is_compared) else { return };
        let open = self.close_task(id, now);
        let is_telling = !accepted.is_unchecked
            && self.jobs.get(&id.job).is_some_and(|job| {
                job.course != Course::Believed && self.is_telling(job, id.task, &open, accepted.answer())
            });
        let right: Vec<Address> = ruling.right.iter().map(|at| open.opinions[*at].result.operator).collect();
        self.blame_for(id, &open, &right, now);
        let price = self.settle_results(id, &open, &ruling, is_telling);
        let evidence = self.against_ruling(id, &open, &ruling, now);
        self.keep_evidence(evidence);
        if ruling.is_overturned {
            self.reset_above(id.job, place, now);
        }
        let record = DoneRecord {
            result: ResultRecord { price, ..open.opinions[ruling.chosen].result.clone() },
            attempts: count(open.failures.len() + open.opinions.len()),
            verdict: ruling.acceptance,
        };
        self.keep_known(id, &open, &record, is_telling);
        let log_bytes = came.log.as_ref().map_or(0, |log| log.bytes.len() as u64);
        self.keep_more(id.job, record.result.output_len.0.saturating_add(log_bytes));
        self.change(Change::Finished { task: id, record, output: came.output, log: came.log });
        let Some(job) = self.jobs.get_mut(&id.job) else { return };
        if let Some(parent) = job.frontier.finish(place) {
            job.forget_known_beside(id.task);
            // It may be open already, and have waited for this part to be certain.
            let parent = job.spec.number(parent).filter(|parent| job.open.contains_key(parent));
            match parent {
                Some(task) => self.take_up(TaskId { job: id.job, task }, now),
                None => self.take_reduces(id.job),
            }
        }
        if is_telling {
            self.note_verdict(id, &open, &ruling, now);
        }
        self.make_reduces(id.job);
        self.find_if_damaged(id.job, accepted.output);
        self.release_held(id.job, now);
        self.end_if_done(id.job, now);
    }

    /// Whether a verdict rests on the word of those whom the requester alone trusts.
    fn is_by_word(&self, open: &Open, ruling: &Ruling) -> bool {
        let is_own = |at: &usize| self.config.trust.covers(&open.opinions[*at].result.operator);
        ruling.acceptance.basis == Basis::Trusted && !ruling.right.iter().any(is_own)
    }

    /// Pays what is right, and counts who did what. Whoever contradicts those whom the requester alone trusts is paid a few
    /// times, and after that if another operator says the same: their word is not enough to have work for nothing, nor is
    /// contradicting them enough to be paid. Says what the result is paid that stands for the task.
    fn settle_results(&mut self, id: TaskId, open: &Open, ruling: &Ruling, is_telling: bool) -> Amount {
        let opinions = &open.opinions;
        let bound = middle(ruling.right.iter().map(|at| &opinions[*at]));
        let price = self.worth(id, &opinions[ruling.chosen], bound);
        for at in &ruling.right {
            let given = &opinions[*at];
            let amount = self.worth(id, given, bound);
            self.pay(id, given, Ok(amount));
            self.credit(id.job, given.result.provider);
        }
        let by_word = !is_telling && self.is_by_word(open, ruling);
        for at in &ruling.wrong {
            let given = &opinions[*at];
            let others = opinions.iter().filter(|other| other.result.lease != given.result.lease);
            let verdict = match most(others).filter(|_| by_word && self.is_owed_by_word(id.job, open, given))
            {
                Some(bound) => Ok(self.price_at_most(id, given, bound)),
                None => Err(Unpaid::Contradicted),
            };
            self.pay(id, given, verdict);
            if let (true, Some(job)) = (verdict.is_ok(), self.jobs.get_mut(&id.job)) {
                *job.disputed.entry(given.result.operator).or_default() += 1;
            }
        }
        for at in &ruling.apart {
            self.pay(id, &open.opinions[*at], Err(Unpaid::Undecided));
        }
        let Some(job) = self.jobs.get_mut(&id.job) else { return price };
        let chosen = &open.opinions[ruling.chosen];
        let basis = ruling.acceptance.basis;
        job.count_accepted(id.task, basis, chosen.key.clone(), (chosen.result.provider, price));
        // What was doubted is counted already.
        if chosen.paid.is_none() {
            job.tally_result(&chosen.result);
        }
        for at in ruling.right.iter().filter(|at| **at != ruling.chosen) {
            let given = &open.opinions[*at];
            if given.paid.is_some() {
                job.untally(given.result.provider);
            }
            job.tallies.entry(given.result.provider).or_default().checks += 1;
        }
        for at in ruling.wrong.iter().chain(&ruling.apart) {
            let given = &open.opinions[*at];
            if given.paid.is_some() {
                job.untally(given.result.provider);
            }
        }
        if !is_telling {
            for at in &ruling.wrong {
                self.name_wrong(id.job, open.opinions[*at].result.provider);
            }
        }
        for at in ruling.wrong.iter().chain(&ruling.apart) {
            if let Witness::Operator(operator) = open.opinions[*at].witness {
                self.distrust(id.job, operator);
            }
        }
        price
    }

    /// What a verdict contradicts: results, and failures that every machine would have seen.
    fn against_ruling(&self, id: TaskId, open: &Open, ruling: &Ruling, now: Now) -> Vec<NewEvidence> {
        let signed = |at: &usize| Signed::Result(&open.opinions[*at].result);
        let wrong: Vec<_> =
            ruling.wrong.iter().map(signed).chain(open.evidence().map(Signed::Failure)).collect();
        if wrong.is_empty() {
            return Vec::new();
        }
        let right: Vec<_> = ruling.right.iter().map(signed).collect();
        self.evidence(id, open, Finding::Verdict, (&wrong, &right), now)
    }

    /// What a verdict says about those who gave the results, and those who said that the task fails.
    fn note_verdict(&mut self, id: TaskId, open: &Open, ruling: &Ruling, now: Now) {
        // One result alone says nothing about itself.
        if open.opinions.len() > 1 {
            for at in &ruling.right {
                let given = &open.opinions[*at];
                // Who knew that it was checking may be right then alone.
                if given.witness != Witness::Trusted && !given.has_draft {
                    let paid = given.paid.unwrap_or(given.result.price);
                    self.reputations.note(&given.key, Evidence::Agreed, paid, now);
                }
            }
        }
        for at in &ruling.wrong {
            let given = &open.opinions[*at];
            let who = (given.result.provider, given.witness);
            self.contradicted(id, &given.key, who, Evidence::Contradicted, now);
        }
        for failed in open.evidence() {
            let Some(job) = self.jobs.get(&id.job) else { return };
            let (key, witness) = (job.failure_key(id.task, failed), self.witness(job, failed.operator));
            self.contradicted(id, &key, (failed.provider, witness), Evidence::Contradicted, now);
        }
    }
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
