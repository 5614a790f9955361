//! Every result that was made durable, whatever became of it: what everybody must have been paid in the end.

use std::collections::BTreeMap;

use tidemill_store::{Change, DoneRecord, JobEnd, OpinionRecord, ResultRecord};
use tidemill_types::{Address, Amount, Basis, BlobId, JobId, TaskId};

#[derive(Default)]
pub struct Results {
    tasks: BTreeMap<TaskId, OfTask>,
    /// What was paid for results of tasks that were undone.
    of_undone: Vec<(JobId, Address, Amount)>,
}

#[derive(Default)]
struct OfTask {
    done: Option<DoneRecord>,
    opinions: Vec<OpinionRecord>,
}

impl Results {
    pub fn apply(&mut self, change: &Change) {
        match change {
            Change::Opinion { task, record, .. } => {
                self.tasks.entry(*task).or_default().opinions.push(record.clone());
            }
            Change::Finished { task, record, .. } => {
                self.tasks.entry(*task).or_default().done = Some(record.clone());
            }
            Change::Compared { task, lease, answer } => {
                let of_task = self.tasks.entry(*task).or_default();
                let opinion = of_task.opinions.iter_mut().find(|opinion| opinion.result.lease == *lease);
                opinion.expect("what was compared came").answer = Some(*answer);
            }
            Change::Reopened { task, error_ppb } => {
                let of_task = self.tasks.entry(*task).or_default();
                let DoneRecord { result, .. } = of_task.done.take().expect("it was done");
                of_task.opinions.retain(|opinion| opinion.result.lease != result.lease);
                for opinion in of_task.opinions.iter_mut().filter(|other| other.counts_as() == result.output)
                {
                    opinion.is_paid = true;
                }
                let error_ppb = *error_ppb;
                of_task.opinions.push(OpinionRecord {
                    answer: Some(result.output),
                    result,
                    error_ppb,
                    is_paid: true,
                    known: None,
                    bill: Vec::new(),
                });
            }
            Change::Undone { task, .. } => {
                let undone = self.tasks.remove(task).unwrap_or_default();
                // Whoever worked on it has done nothing wrong.
                let paid = undone.paid(None, true);
                self.of_undone.extend(paid.map(|result| (task.job, result.operator, result.price)));
            }
            _ => {}
        }
    }

    /// Who is to have been paid how much for results of a job that has ended.
    pub fn owed(&self, job: JobId, end: &JobEnd) -> BTreeMap<Address, Amount> {
        let mut owed: BTreeMap<Address, Amount> = BTreeMap::new();
        let mut add = |operator, price| {
            let sum = owed.entry(operator).or_default();
            *sum = sum.saturating_add(price);
        };
        for (_, operator, price) in self.of_undone.iter().filter(|(of, ..)| *of == job) {
            add(*operator, *price);
        }
        for (task, of_task) in self.tasks.iter().filter(|(task, _)| task.job == job) {
            let failed =
                matches!(end, JobEnd::Failed { task: of, .. } if *of == task.task && of_task.done.is_none());
            for result in of_task.paid(Some(failed), false) {
                add(result.operator, result.price);
            }
        }
        owed
    }
}

impl OfTask {
    /// The results that are paid: those that agree with the accepted one, without one those that most gave, unless the
    /// task is known to fail; and what was paid before it was doubted.
    fn paid(&self, failed: Option<bool>, undone: bool) -> impl Iterator<Item = &ResultRecord> {
        let done = self.done.as_ref().map(|done| &done.result);
        let voices =
            |output: BlobId| self.opinions.iter().filter(|other| other.counts_as() == output).count();
        let most = self.opinions.iter().map(|opinion| voices(opinion.counts_as())).max();
        let said = self.opinions.iter().filter(move |opinion| {
            let is_right = match done {
                Some(done) => done.output == opinion.counts_as(),
                None => undone || (failed == Some(false) && Some(voices(opinion.counts_as())) == most),
            };
            let is_other = done.is_none_or(|done| done.lease != opinion.result.lease);
            is_other && (opinion.is_paid || is_right)
        });
        done.into_iter().chain(said.map(|opinion| &opinion.result))
    }
}

/// What a change is for those who count what happened, if it is something.
pub fn word(change: &Change) -> Option<&'static str> {
    Some(match change {
        Change::Leased(lease) if lease.is_known => "lease of a known task",
        Change::Leased(_) => "lease",
        Change::LeaseEnded { .. } => "lease without a result",
        Change::AttemptFailed { .. } => "failed attempt",
        Change::Finished { record, .. } if record.verdict.basis == Basis::Agreed => "agreement",
        Change::Finished { output: Some(_), .. } => "small output",
        Change::Finished { output: None, .. } => "large output",
        Change::JobEnded { end: JobEnd::Done, .. } => "done job",
        Change::JobEnded { end: JobEnd::Failed { .. }, .. } => "failed job",
        Change::JobEnded { .. } => "cancelled job",
        Change::Opinion { record, .. } if record.known == Some(true) => "known answer",
        Change::Opinion { .. } => "result that does not decide",
        Change::Reopened { .. } => "doubted result",
        Change::Undone { .. } => "undone task",
        Change::Compared { .. } => "compared result",
        _ => return None,
    })
}

/// All that is to happen in the lives of an ordinary run, so that they show something.
pub const EVENTFUL: [&str; 26] = [
    "compared result",
    "lease of a known task",
    "known answer",
    "result that does not decide",
    "agreement",
    "doubted result",
    "undone task",
    "look for what was believed",
    "voucher",
    "paid result",
    "unpaid result",
    "settlement",
    "escrow ended by its requester",
    "crash",
    "lease",
    "lease without a result",
    "failed attempt",
    "small output",
    "large output",
    "done job",
    "failed job",
    "cancelled job",
    "superseded session",
    "submission of an ended job",
    "reduce task made",
    "cancelled leases",
];
