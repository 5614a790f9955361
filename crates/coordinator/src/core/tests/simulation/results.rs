//! Every result that was made durable, whatever became of it: what everybody must have been paid in the end.

use std::collections::{BTreeMap, BTreeSet};

use tidemill_store::{Change, DoneRecord, JobEnd, OpinionRecord, ResultRecord};
use tidemill_types::{Address, Amount, Basis, BlobId, Fuel, JobId, LeaseId, TaskId};

pub struct Results {
    pays: bool,
    /// The jobs whose results must be the same bit for bit, and so come of the same work.
    exact: BTreeSet<JobId>,
    tasks: BTreeMap<TaskId, OfTask>,
    /// What was paid for results of tasks that were undone.
    of_undone: Vec<(JobId, Address, Amount)>,
    /// What the rows of results say that they were paid.
    marked: BTreeMap<LeaseId, Amount>,
}

#[derive(Default)]
struct OfTask {
    done: Option<DoneRecord>,
    opinions: Vec<OpinionRecord>,
}

/// What has become of a task that is not done.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Undone {
    /// Its job has ended.
    Ended,
    /// It is as if nobody had begun it.
    Reset,
}

/// What a result says: an output, and the work where that is a part of the answer.
type Says = (BlobId, Option<Fuel>);

impl Results {
    /// Those of jobs of which these compare results bit for bit.
    pub fn of(pays: bool, exact: impl Iterator<Item = JobId>) -> Self {
        Self {
            pays,
            exact: exact.collect(),
            tasks: BTreeMap::new(),
            of_undone: Vec::new(),
            marked: BTreeMap::new(),
        }
    }

    pub fn apply(&mut self, change: &Change) {
        match change {
            Change::Opinion { task, record, .. } => {
                self.tasks.entry(*task).or_default().opinions.push(record.clone());
            }
            Change::Finished { task, record, .. } => {
                self.tasks.entry(*task).or_default().done = Some(record.clone());
            }
            Change::Paid { lease, amount, .. } => {
                assert!(self.marked.insert(*lease, *amount).is_none(), "{lease} is paid twice");
            }
            Change::Compared { task, lease, answer } => {
                let of_task = self.tasks.entry(*task).or_default();
                let opinion = of_task.opinions.iter_mut().find(|opinion| opinion.result.lease == *lease);
                opinion.expect("what was compared came").answer = Some(*answer);
            }
            Change::Reopened { task, error_ppb } => {
                let is_exact = self.exact.contains(&task.job);
                let of_task = self.tasks.entry(*task).or_default();
                let paid = of_task.paid(is_exact, Undone::Ended, &self.marked);
                let paid: BTreeMap<LeaseId, Amount> =
                    paid.into_iter().map(|(result, amount)| (result.lease, amount)).collect();
                let DoneRecord { result, .. } = of_task.done.take().expect("it was done");
                of_task.opinions.retain(|opinion| opinion.result.lease != result.lease);
                for opinion in of_task.opinions.iter_mut().filter(|opinion| opinion.known.is_none()) {
                    opinion.paid = paid.get(&opinion.result.lease).copied();
                }
                of_task.opinions.push(OpinionRecord {
                    answer: Some(result.output),
                    error_ppb: *error_ppb,
                    paid: Some(result.price),
                    result,
                    known: None,
                    bill: Vec::new(),
                });
            }
            Change::Undone { task, .. } => {
                let undone = self.tasks.remove(task).unwrap_or_default();
                // Whoever worked on it has done nothing wrong.
                let paid = undone.paid(self.exact.contains(&task.job), Undone::Reset, &self.marked);
                self.of_undone
                    .extend(paid.iter().map(|(result, amount)| (task.job, result.operator, *amount)));
            }
            _ => {}
        }
    }

    /// Who is to have been paid how much for results of a job that has ended.
    pub fn owed(&self, job: JobId) -> BTreeMap<Address, Amount> {
        let mut owed: BTreeMap<Address, Amount> = BTreeMap::new();
        let mut add = |operator, price| {
            let sum = owed.entry(operator).or_default();
            *sum = sum.saturating_add(price);
        };
        for (_, operator, price) in self.of_undone.iter().filter(|(of, ..)| *of == job) {
            add(*operator, *price);
        }
        for (_, of_task) in self.tasks.iter().filter(|(task, _)| task.job == job) {
            let paid = of_task.paid(self.exact.contains(&job), Undone::Ended, &self.marked);
            for (result, amount) in &paid {
                add(result.operator, *amount);
            }
            // A row says what its result was paid, unless it decided its task alone.
            for opinion in of_task.opinions.iter().filter(|opinion| self.pays && opinion.paid.is_none()) {
                let lease = opinion.result.lease;
                let amount = paid.iter().find(|(result, _)| result.lease == lease).map(|(_, amount)| *amount);
                assert_eq!(self.marked.get(&lease).copied(), amount, "{lease} was paid something else");
            }
        }
        owed
    }
}

impl OfTask {
    /// The results that are paid, and how much: those that agree with the accepted one, without one those of the answers
    /// that were likeliest; what was paid before it was doubted; and those that were right about what was known.
    ///
    /// All rates here are the same, so whoever claims more work asks a higher price.
    fn paid(
        &self,
        is_exact: bool,
        undone: Undone,
        marked: &BTreeMap<LeaseId, Amount>,
    ) -> Vec<(&ResultRecord, Amount)> {
        let says =
            |result: &ResultRecord, output| -> Says { (output, is_exact.then_some(result.usage.fuel)) };
        let said = |opinion: &OpinionRecord| says(&opinion.result, opinion.counts_as());
        let open: Vec<&OpinionRecord> =
            self.opinions.iter().filter(|opinion| opinion.known.is_none()).collect();
        let tried = self.opinions.iter().filter(|opinion| opinion.known == Some(true));
        let mut paid: Vec<(&ResultRecord, Amount)> =
            tried.map(|opinion| (&opinion.result, opinion.result.price)).collect();
        if let Some(DoneRecord { result: done, .. }) = &self.done {
            let accepted = says(done, done.output);
            let right = || open.iter().copied().filter(|opinion| said(opinion) == accepted);
            let mut prices: Vec<Amount> = right().map(|opinion| opinion.result.price).collect();
            prices.sort_unstable();
            let most = prices.get(prices.len().saturating_sub(1) / 2).copied();
            if right().all(|opinion| opinion.result.lease != done.lease) {
                paid.push((done, done.price));
            }
            for opinion in &open {
                let result = &opinion.result;
                let bounded = most.map(|most| result.price.min(most));
                let amount = opinion.paid.or(bounded.filter(|_| said(opinion) == accepted));
                paid.extend(amount.map(|amount| (result, amount)));
            }
            return paid;
        }
        // Which answer was the likeliest is known by reputations alone: that all who gave it are paid alike is known here.
        let believed: BTreeSet<Says> = open
            .iter()
            .filter(|opinion| marked.contains_key(&opinion.result.lease))
            .map(|opinion| said(opinion))
            .collect();
        let is_believed = |opinion: &OpinionRecord| match undone {
            Undone::Reset => true,
            Undone::Ended => believed.contains(&said(opinion)),
        };
        for opinion in &open {
            let alike = open.iter().filter(|other| match undone {
                Undone::Reset => other.answer == opinion.answer,
                _ => is_believed(other) && other.counts_as() == opinion.counts_as(),
            });
            let least = alike.map(|other| other.result.price).min();
            let amount = opinion.paid.or(least.filter(|_| is_believed(opinion)));
            paid.extend(amount.map(|amount| (&opinion.result, amount)));
        }
        paid
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
