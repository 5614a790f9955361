//! Jobs that were running when the coordinator ended: they go on where they were.

use std::{collections::BTreeMap, sync::Arc};

use tidemill_job::JobSpec;
use tidemill_sched::NewLease;
use tidemill_store::{Change, DoneRecord, FailedTask, JobRecord, LeaseRecord, OpinionRecord};
use tidemill_types::{
    Address, Amount, BlobId, EngineIndex, JobId, LeaseId, NodeId, Offer, TaskId, TaskNumber, Weight,
    WorkTerms,
};
use tidemill_verify::Next;

use super::{
    Core, Held, Provider, after,
    jobs::Job,
    leases::SLACK_MS,
    money::{Bill, JobMoney},
    verdicts::{Answer, Known},
};
use crate::event::{Effect, LostOutput, Now};

/// A job that is being taken up again. It is told of the tasks that are done, then of the results that did not decide
/// theirs, then of those that failed, then handed to [`Core::resume`].
pub struct Resuming {
    id: JobId,
    job: Job,
    /// Of the tasks that several results decided, which answer is right, and which result stands for it.
    decided: BTreeMap<TaskNumber, (Answer, LeaseId)>,
    /// The results of tasks that are not decided.
    opinions: Vec<(TaskNumber, OpinionRecord)>,
    /// The outputs of tasks that are done which are not on this disk.
    lost: Vec<LostOutput>,
}

impl Resuming {
    /// A job of which nothing is known to be done.
    pub fn new(record: &JobRecord, spec: Arc<JobSpec>, hash: [u8; 32], now: Now) -> Self {
        let mut job = Job::new(record.owner, spec, hash, record.submitted.0);
        job.money = record.pay.map(|pay| {
            let mut money = JobMoney::new(pay, &job.spec);
            money.spent = record.paid_for_undone;
            money
        });
        job.deadline = job.spec.deadline().map(|deadline| {
            let end_ms = record.submitted.0.saturating_add(deadline.0);
            after(now, end_ms.saturating_sub(now.unix_ms))
        });
        Self { id: record.job, job, decided: BTreeMap::new(), opinions: Vec::new(), lost: Vec::new() }
    }

    /// The job itself.
    pub fn spec(&self) -> &JobSpec {
        &self.job.spec
    }

    /// A task is done. Tasks come in the order of their numbers.
    pub fn done(&mut self, task: TaskNumber, record: &DoneRecord) {
        let Some(node) = self.job.spec.node(task) else { return };
        let DoneRecord { result, verdict, .. } = record;
        self.job.frontier.restore_done(node);
        self.job.tally_result(result);
        self.earned(task, result.provider, result.price);
        let key = self.job.record_of(task, result.operator, result.hardware_class.clone());
        self.job.count_accepted(task, verdict.basis, key, (result.provider, result.price));
        self.job.reliability.results += u64::from(verdict.results);
        if verdict.results > 1 {
            let answer = Answer::Output(result.output, self.job.work_of(task, &result.usage));
            self.decided.insert(task, (answer, result.lease));
        }
    }

    /// The output of a task that is done is not on this disk. Said after all that are done.
    pub fn lost(&mut self, output: LostOutput) {
        self.lost.push(output);
    }

    /// The output of a result that did not decide its task alone is not on this disk. It is needed if the task is decided
    /// for it.
    pub fn damaged(&mut self, output: BlobId) {
        self.job.mending.note_damaged(output);
    }

    /// A result of a task came that did not decide it alone.
    pub fn opinion(&mut self, task: TaskNumber, record: OpinionRecord) {
        let result = &record.result;
        if let Some(is_right) = record.known {
            if let Some(paid) = record.paid {
                self.earned(task, result.provider, paid);
                self.job.count_trial(task, paid);
            }
            let counts = &mut self.job.reliability;
            (counts.results, counts.known) = (counts.results + 1, counts.known + 1);
            return self.checked(result.provider, is_right);
        }
        let answer = Answer::Output(record.counts_as(), self.job.work_of(task, &result.usage));
        let agrees = match self.decided.get(&task) {
            // It is counted as the task's own result.
            Some((_, lease)) if *lease == result.lease => return,
            Some((accepted, _)) => Some(*accepted == answer),
            // The only one of its task, beside failures.
            None if self.job.spec.node(task).is_some_and(|node| self.job.frontier.is_node_done(node)) => {
                return;
            }
            None => None,
        };
        if let Some(paid) = record.paid {
            self.earned(task, result.provider, paid);
        }
        let Some(agrees) = agrees else {
            self.job.reliability.results += 1;
            if record.paid.is_some() {
                self.job.tally_result(result);
            }
            if let Some(node) = self.job.spec.node(task) {
                self.job.frontier.restore_running(node);
                self.opinions.push((task, record));
            }
            return;
        };
        // Whoever contradicts a verdict is paid where that rests on the word of the job's own trusted machines alone.
        if !agrees && record.paid.is_some() && !self.job.spec.trusted().is_empty() {
            *self.job.disputed.entry(result.operator).or_default() += 1;
        }
        self.checked(result.provider, agrees);
    }

    /// Somebody agreed with an accepted result, or contradicted it.
    fn checked(&mut self, node: NodeId, agrees: bool) {
        let tally = self.job.tallies.entry(node).or_default();
        tally.checks += u64::from(agrees);
        tally.contradicted += u64::from(!agrees);
    }

    fn earned(&mut self, task: TaskNumber, node: NodeId, price: Amount) {
        self.job.count_paid(task, price);
        let tally = self.job.tallies.entry(node).or_default();
        tally.earned = tally.earned.saturating_add(price);
        if let Some(money) = &mut self.job.money {
            money.spent = money.spent.saturating_add(price);
        }
    }

    /// A task has failed, and may be done all the same.
    pub fn failed(&mut self, task: TaskNumber, failed: FailedTask) {
        let Some(node) = self.job.spec.node(task) else { return };
        for attempt in failed.kept.iter().filter(|attempt| attempt.failure.weight() == Weight::Circumstance) {
            self.job.tallies.entry(attempt.provider).or_default().lost_attempts += 1;
        }
        // A reduce task whose parts are doubted was not begun.
        if self.job.frontier.is_node_done(node) || !self.job.frontier.has_parts(node) {
            return;
        }
        self.job.frontier.restore_running(node);
        self.job.open.entry(task).or_default().failures = failed.kept;
    }
}

impl Core {
    /// Takes a job up again, with the leases of it that had not ended. Their providers may come back with results
    /// until the leases expire.
    pub fn resume(&mut self, resuming: Resuming, leases: &[LeaseRecord], now: Now) {
        let Resuming { id, mut job, opinions, lost, .. } = resuming;
        let mut held = Vec::new();
        for lease in leases.iter().filter(|lease| lease.task.job == id) {
            let Some(node) = job.spec.node(lease.task.task) else { continue };
            type Row = (EngineIndex, WorkTerms, Option<Bill>, Option<Box<Known>>, bool);
            let row = postcard::from_bytes::<Row>(&lease.work);
            let Ok((engine, work, bill, known, has_draft)) = row else {
                tracing::error!(lease = %lease.id, "a lease cannot be read back: its task is given to someone else");
                self.change(Change::LeaseEnded { task: lease.task, lease: lease.id });
                continue;
            };
            if known.is_some() {
                job.tried.insert(lease.id);
            } else {
                job.frontier.restore_running(node);
                job.open.entry(lease.task.task).or_default().leases.push(lease.id);
            }
            held.push((lease, node.stage(), engine, work, bill, (known, has_draft)));
        }
        for (task, _) in &opinions {
            job.open.entry(*task).or_default();
        }
        let caught: Vec<Address> =
            self.suspects.iter().filter(|(job, _)| *job == id).map(|(_, operator)| *operator).collect();
        job.distrusted.extend(&caught);
        let open: Vec<TaskNumber> = job.open.keys().copied().collect();
        let spec = job.spec.clone();
        self.use_escrow(id, job.money.as_ref());
        self.begin(id, job);
        for output in lost {
            self.lose_output(id, output);
        }
        for task in &open {
            let failed = self.jobs.get(&id).and_then(|job| job.open.get(task));
            let prices = failed.into_iter().flat_map(|open| open.evidence()).map(|failed| failed.price);
            let price = prices.fold(Amount::ZERO, Amount::saturating_add);
            self.hold_for_failure(TaskId { job: id, task: *task }, price);
        }
        for (task, opinion) in opinions {
            let (bill, has_draft) =
                postcard::from_bytes::<(Option<Bill>, bool)>(&opinion.bill).unwrap_or_default();
            self.hold_again(id, bill.as_ref());
            self.restore_opinion(TaskId { job: id, task }, opinion, (bill, has_draft), now);
        }
        for (lease, stage, engine, work, bill, (known, has_draft)) in held {
            let limits = spec.limits(stage).copied().unwrap_or_default();
            let until =
                after(now, limits.wall_time.0.saturating_add(self.config.lease.0).saturating_add(SLACK_MS));
            let (task, node, operator) = (lease.task, lease.provider, lease.operator);
            self.hold_again(task.job, bill.as_ref());
            let may_copy = known.is_none();
            let of_lease = Held {
                task,
                node,
                engine,
                operator,
                work,
                given: now.mono,
                ran: None,
                until,
                fetching: None,
                bill,
                has_known: false,
                known,
                has_draft,
            };
            let at = of_lease.at();
            self.stakes.leased(&of_lease);
            self.leases.insert(lease.id, of_lease);
            self.providers.entry(node).or_insert_with(|| absent(operator, now)).leases.insert(lease.id);
            let exclude = self.not_to(task);
            let id = lease.id;
            let lease = NewLease { id, task, stage, at, operator, exclude, may_copy, expected: None };
            self.sched.leased(lease, now.mono);
        }
        for operator in caught {
            self.look_again(id, operator, TaskNumber(0));
        }
        for task in open {
            let id = TaskId { job: id, task };
            self.take_up(id, now);
            self.compare_next(id);
            let next = self.judged(id, now);
            if matches!(next, Next::Accept { .. }) {
                self.follow(id, next, now);
            }
        }
        if let Some(job) = self.jobs.get(&id) {
            self.step.effects.push(Effect::CountKept(job.owner));
        }
        // Killed between its last task and its end: no failure is left to wait for.
        self.end_if_done(id, now);
    }
}

/// A provider of which only its leases are known, until it comes back.
fn absent(operator: Address, now: Now) -> Provider {
    let disk = tidemill_types::ByteSize(0);
    let offer = Offer { name: String::new(), disk, down_bytes_per_s: 0, engines: Vec::new() };
    Provider::new(operator, offer, now)
}
