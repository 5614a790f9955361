//! Jobs that were running when the coordinator ended: they go on where they were.

use std::sync::Arc;

use tidemill_job::{BlobRef, JobSpec};
use tidemill_sched::NewLease;
use tidemill_store::{Change, DoneRecord, FailedTask, JobRecord, LeaseRecord};
use tidemill_types::{
    Address, Capacity, JobId, Offer, RateCard, Stage, TaskId, TaskNumber, Weight, WorkTerms,
};

use super::{
    Core, Held, Provider, after,
    jobs::{FailedAttempt, Job},
    leases::SLACK_MS,
    money::{Bill, JobMoney},
};
use crate::event::{Effect, Now};

/// A job that is being taken up again. It is told of the tasks that are done, then of those that failed, then
/// handed to [`Core::resume`].
pub struct Resuming {
    id: JobId,
    job: Job,
}

impl Resuming {
    /// A job of which nothing is known to be done.
    pub fn new(record: &JobRecord, spec: Arc<JobSpec>, hash: [u8; 32], now: Now) -> Self {
        let mut job = Job::new(record.owner, spec, hash, record.submitted.0);
        job.money = record.pay.map(|record| JobMoney::new(record, &job.spec));
        job.deadline = job.spec.deadline().map(|deadline| {
            let end_ms = record.submitted.0.saturating_add(deadline.0);
            after(now, end_ms.saturating_sub(now.unix_ms))
        });
        Self { id: record.job, job }
    }

    /// The blobs that it needs.
    pub fn blobs(&self) -> Vec<BlobRef> {
        self.job.spec.blobs()
    }

    /// A task is done. Tasks come in the order of their numbers.
    pub fn done(&mut self, task: TaskNumber, record: &DoneRecord) {
        let Some(node) = self.job.spec.node(task) else { return };
        self.job.frontier.restore_done(node);
        self.job.usage.add(&record.usage);
        let tally = self.job.tallies.entry(record.provider).or_default();
        tally.tasks += 1;
        tally.busy_us = tally.busy_us.saturating_add(record.wall_us);
        tally.fuel = tally.fuel.saturating_add(record.usage.fuel.0);
        tally.earned = tally.earned.saturating_add(record.price);
        if let Some(money) = &mut self.job.money {
            money.spent = money.spent.saturating_add(record.price);
        }
    }

    /// A task has failed, and may be done all the same.
    pub fn failed(&mut self, task: TaskNumber, failed: FailedTask) {
        let Some(node) = self.job.spec.node(task) else { return };
        for attempt in failed.kept.iter().filter(|attempt| attempt.failure.weight() == Weight::Circumstance) {
            self.job.tallies.entry(attempt.provider).or_default().lost_attempts += 1;
        }
        if self.job.frontier.is_node_done(node) {
            return;
        }
        self.job.frontier.restore_running(node);
        let open = self.job.open.entry(task).or_default();
        open.failures = failed
            .kept
            .into_iter()
            .map(|attempt| FailedAttempt {
                lease: attempt.lease,
                node: attempt.provider,
                operator: attempt.operator,
                price: attempt.price,
                failure: attempt.failure,
            })
            .collect();
    }
}

impl Core {
    /// Takes a job up again, with the leases of it that had not ended. Their providers may come back with results
    /// until the leases expire.
    pub fn resume(&mut self, resuming: Resuming, leases: &[LeaseRecord], now: Now) {
        let Resuming { id, mut job } = resuming;
        let mut held = Vec::new();
        for lease in leases.iter().filter(|lease| lease.task.job == id) {
            let Some(node) = job.spec.node(lease.task.task) else { continue };
            let Ok((work, bill)) = postcard::from_bytes::<(WorkTerms, Option<Bill>)>(&lease.work) else {
                tracing::error!(lease = %lease.id, "a lease cannot be read back: its task is given to someone else");
                self.change(Change::LeaseEnded { task: lease.task, lease: lease.id });
                continue;
            };
            job.frontier.restore_running(node);
            job.open.entry(lease.task.task).or_default().leases.push(lease.id);
            held.push((lease, node.stage(), work, bill));
        }
        let open: Vec<TaskNumber> = job.open.keys().copied().collect();
        let spec = job.spec.clone();
        self.use_escrow(id, job.money.as_ref());
        self.begin(id, job);
        for (lease, stage, work, bill) in held {
            let limits = spec.limits(stage).copied().unwrap_or_default();
            let until =
                after(now, limits.wall_time.0.saturating_add(self.config.lease.0).saturating_add(SLACK_MS));
            let (task, node, operator) = (lease.task, lease.provider, lease.operator);
            self.hold_again(task.job, bill.as_ref());
            self.leases.insert(lease.id, Held { task, node, operator, work, until, fetching: None, bill });
            self.providers.entry(node).or_insert_with(|| absent(operator, now)).leases.insert(lease.id);
            let exclude = self.failed_operators(task);
            let lease = NewLease { id: lease.id, task, stage, node, operator, exclude, expected: None };
            self.sched.leased(lease, now.mono);
        }
        for task in open {
            let id = TaskId { job: id, task };
            if spec.node(task).is_some_and(|node| node.stage() == Stage::Reduce) {
                self.effect(Effect::Assemble { spec: spec.clone(), task: id });
            } else {
                self.wait_for_someone(id, now);
            }
        }
        // Killed between its last task and its end: no failure is left to wait for.
        self.end_if_done(id, now);
    }
}

/// A provider of which only its leases are known, until it comes back.
fn absent(operator: Address, now: Now) -> Provider {
    let offer = Offer {
        name: String::new(),
        slots: 0,
        memory: tidemill_types::ByteSize(0),
        disk: tidemill_types::ByteSize(0),
        kinds: Vec::new(),
        floats: Vec::new(),
        hardware_class: None,
        exec_version: 0,
        capacity: Capacity::default(),
        rates: RateCard::FREE,
    };
    // Its result key is not known before it comes back; nothing is signed by it until then.
    Provider::new((operator, operator), offer, now)
}
