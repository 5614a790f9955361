//! Damage: blobs of running jobs that are not on this disk any more, and how they come again.
//!
//! An input or a program comes from its requester, and its job is given to nobody until it is there. The output of a task
//! that is done comes from the provider that made it; the task stays done meanwhile, and the reduce task that is made from
//! it waits. If nobody has the output any more, what was accepted cannot be handed to anybody: the task runs again, as if
//! nobody had begun it, and its next result is judged like any other. What was paid for it stays paid. So a provider that
//! is not connected is waited for, for about as long as the task took.

use std::collections::{BTreeMap, BTreeSet};

use tidemill_job::{BlobRef, Node};
use tidemill_sched::LeaseEnd;
use tidemill_store::Change;
use tidemill_types::{Amount, BlobId, JobId, LeaseId, Millis, NodeId, TaskId, TaskNumber};

use crate::{
    core::{Core, Held, jobs::Job},
    event::{Effect, FoundLost, LostOutput, Now},
};

/// A provider that made a lost output and is not connected is waited for at most so long, however long it said that the
/// task took.
const MOST_PATIENCE_MS: u64 = 10 * 60_000;

/// What of a running job was damaged on this disk, and comes again.
#[derive(Debug, Default)]
pub(in crate::core) struct Mending {
    /// Its inputs and programs that are not here.
    inputs: BTreeSet<BlobId>,
    /// The outputs of tasks that are done which are not here.
    outputs: BTreeMap<BlobId, Sought>,
    /// Open reduce tasks that are made from their parts once those are here again.
    halted: BTreeSet<TaskNumber>,
    /// Blobs that it had pinned as outputs and that were damaged: a result of a task that is not decided may have one.
    damaged: BTreeSet<BlobId>,
    look: Look,
}

/// An output that is not here.
#[derive(Debug, Default)]
struct Sought {
    /// The tasks that have it.
    tasks: BTreeMap<TaskNumber, LostOutput>,
    /// The providers that were asked for it.
    asked: BTreeSet<NodeId>,
}

/// How a job's look into the store for lost outputs stands: it has one at a time, since each reads all of its tasks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Look {
    #[default]
    None,
    UnderWay,
    /// Something was damaged since it began: another look follows.
    Again,
}

impl Mending {
    /// An input or a program that is not here.
    pub(in crate::core) fn lost_input(&self) -> Option<BlobId> {
        self.inputs.first().copied()
    }

    /// A task that is done and whose output is not here.
    pub(in crate::core) fn lost_task(&self) -> Option<TaskNumber> {
        self.lost_tasks().next()
    }

    /// The tasks that are done and whose outputs are not here.
    pub(in crate::core) fn lost_tasks(&self) -> impl Iterator<Item = TaskNumber> {
        self.outputs.values().flat_map(|sought| sought.tasks.keys().copied())
    }

    /// Whether the output of a task that is done is not here.
    pub(in crate::core) fn is_lost(&self, task: TaskNumber) -> bool {
        self.outputs.values().any(|sought| sought.tasks.contains_key(&task))
    }

    /// Whether all outputs are here that are needed, as far as was looked, and nobody looks.
    pub(in crate::core) fn has_all_outputs(&self) -> bool {
        self.outputs.is_empty() && self.look == Look::None
    }

    /// The open reduce tasks that wait for their parts to be here again.
    #[cfg(test)]
    pub(in crate::core) fn halted(&self) -> impl Iterator<Item = TaskNumber> {
        self.halted.iter().copied()
    }

    /// A reduce task was made from its parts, or is open no longer.
    pub(in crate::core) fn made(&mut self, task: TaskNumber) {
        self.halted.remove(&task);
    }

    /// A result of a task that is not decided has an output that is not here.
    pub(in crate::core) fn note_damaged(&mut self, output: BlobId) {
        self.damaged.insert(output);
    }
}

impl Sought {
    /// The providers that made it and were not asked.
    fn others(&self) -> Vec<NodeId> {
        let makers = self.tasks.values().flat_map(|lost| &lost.from);
        let others: BTreeSet<NodeId> = makers.filter(|node| !self.asked.contains(*node)).copied().collect();
        others.into_iter().collect()
    }
}

impl Job {
    /// The task that is made from this one.
    fn made_from(&self, place: Node) -> Option<TaskNumber> {
        self.spec.number(self.spec.tree()?.parent(place)?)
    }

    /// Whether the output of a task that is done is still needed: by the requester, or by a task that is not done.
    fn needs_output_of(&self, task: TaskNumber) -> bool {
        let place = self.node(task);
        let is_done = |task| self.frontier.is_node_done(self.node(task));
        is_done(task) && self.made_from(place).is_none_or(|parent| !is_done(parent))
    }

    /// A trial with a task of the map was paid.
    pub(in crate::core) fn count_trial(&mut self, task: TaskNumber, price: Amount) {
        if !price.is_zero() {
            let paid = self.paid_for.entry(task).or_default();
            *paid = paid.saturating_add(price);
        }
    }
}

impl Core {
    /// A blob is damaged, and not here any more. `needed_by`: the jobs that name it. `kept_for`: those that had it pinned as
    /// an output.
    pub(in crate::core) fn damaged(&mut self, blob: BlobRef, needed_by: &[JobId], kept_for: &[JobId]) {
        let mut owners = BTreeSet::new();
        for id in needed_by {
            let Some(job) = self.jobs.get_mut(id) else { continue };
            job.mending.inputs.insert(blob.id);
            job.news = true;
            owners.insert(job.owner);
            self.sched.set_held(*id, true);
        }
        for owner in owners {
            self.effect(Effect::FetchInput { owner, blob });
        }
        for id in kept_for {
            let Some(job) = self.jobs.get_mut(id) else {
                self.effect(Effect::MendEnded { job: *id, output: blob });
                continue;
            };
            job.mending.damaged.insert(blob.id);
            let reads = |task: &TaskNumber| {
                let made = job.open.get(task).and_then(|open| open.assembled.as_ref());
                made.is_some_and(|made| made.bound.sources.iter().any(|source| source.blob.id == blob.id))
            };
            let made: Vec<TaskNumber> = job.open.keys().copied().filter(reads).collect();
            for task in made {
                self.halt(TaskId { job: *id, task });
            }
            self.find_lost(*id);
        }
    }

    /// An input that was damaged is here again.
    pub(in crate::core) fn input_back(&mut self, blob: BlobId) {
        for (id, job) in &mut self.jobs {
            if job.mending.inputs.remove(&blob) {
                job.news = true;
                self.sched.set_held(*id, !job.mending.inputs.is_empty());
            }
        }
    }

    /// Whether a lease reads something that is not here, so that its provider may not have been able to fetch it.
    pub(in crate::core) fn reads_lost(&self, held: &Held) -> bool {
        let Some(job) = self.jobs.get(&held.task.job) else { return false };
        let Mending { inputs, halted, .. } = &job.mending;
        if inputs.is_empty() || halted.contains(&held.task.task) {
            return halted.contains(&held.task.task);
        }
        let place = job.node(held.task.task);
        let own = match place {
            Node::Map(index) => job.spec.map_task(index).sources,
            Node::Reduce { .. } => Vec::new(),
        };
        let shared = job.spec.shared(place.stage());
        let mut reads = shared.iter().chain(own.iter().map(|source| &source.blob));
        reads.any(|blob| inputs.contains(&blob.id))
    }

    /// A reduce task could not be made, since a part of it is damaged. It is made when that is here again.
    pub(in crate::core) fn part_lost(&mut self, id: TaskId) {
        let Some(job) = self.jobs.get_mut(&id.job) else { return };
        job.mending.halted.insert(id.task);
        self.find_lost(id.job);
    }

    /// A task is decided. Where its output may have been damaged before that, the job does not end before it is known
    /// whether it is here.
    pub(super) fn find_if_damaged(&mut self, id: JobId, output: BlobId) {
        if self.jobs.get(&id).is_some_and(|job| job.mending.damaged.contains(&output)) {
            self.find_lost(id);
        }
    }

    /// Has the store look for tasks that are done and whose outputs are not here.
    fn find_lost(&mut self, id: JobId) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        match job.mending.look {
            Look::None => {
                job.mending.look = Look::UnderWay;
                self.look_from(id, TaskNumber(0));
            }
            Look::UnderWay => job.mending.look = Look::Again,
            Look::Again => {}
        }
    }

    /// Has the store look at a job's tasks from one on.
    fn look_from(&mut self, id: JobId, from: TaskNumber) {
        let Some(job) = self.jobs.get(&id) else { return };
        let undone = job.undone;
        self.effect(Effect::FindLost { job: id, from, undone });
    }

    /// Some of the outputs of a job that are not here.
    pub(in crate::core) fn lost_found(&mut self, found: FoundLost, now: Now) {
        let FoundLost { job: id, from, undone, outputs, next } = found;
        let Some(job) = self.jobs.get(&id) else { return };
        // What was read may not be there any more.
        if job.undone != undone {
            return self.look_from(id, from);
        }
        for lost in outputs {
            self.lose_output(id, lost);
        }
        if let Some(from) = next {
            return self.look_from(id, from);
        }
        let Some(job) = self.jobs.get_mut(&id) else { return };
        match std::mem::take(&mut job.mending.look) {
            Look::Again => self.find_lost(id),
            Look::None | Look::UnderWay => self.go_on_without_loss(id, now),
        }
    }

    /// The output of a task that is done is not here. It is fetched again, if it is needed.
    pub(in crate::core) fn lose_output(&mut self, id: JobId, lost: LostOutput) {
        let Some(job) = self.jobs.get_mut(&id).filter(|job| job.needs_output_of(lost.task)) else { return };
        let output = lost.done.result.output;
        let parent = job.made_from(job.node(lost.task));
        let is_made = |task: &TaskNumber| job.open.get(task).is_some_and(|open| open.assembled.is_some());
        let parent = parent.filter(is_made);
        job.news = true;
        let sought = job.mending.outputs.entry(output).or_default();
        let is_new = sought.tasks.is_empty();
        sought.tasks.insert(lost.task, lost);
        if let Some(task) = parent {
            self.halt(TaskId { job: id, task });
        }
        if is_new {
            self.seek(id, output);
        }
    }

    /// Has a lost output fetched from providers that made it and were not asked. Whether there are any.
    fn seek(&mut self, id: JobId, output: BlobId) -> bool {
        let lease = self.config.lease;
        let Some(job) = self.jobs.get_mut(&id) else { return false };
        let Some(sought) = job.mending.outputs.get_mut(&output) else { return false };
        let from = sought.others();
        sought.asked.extend(&from);
        let Some(lost) = sought.tasks.values().next().filter(|_| !from.is_empty()) else { return false };
        let output = BlobRef { id: output, len: lost.done.result.output_len.0 };
        let wall_us = sought.tasks.values().map(|lost| lost.done.result.wall_us).max();
        let patience = patience(wall_us, lease);
        self.effect(Effect::FetchAgain { job: id, output, from, patience });
        true
    }

    /// A reduce task that was made from its parts is to be made anew, when all of them are here. Who has it goes on: the
    /// parts may have reached it.
    fn halt(&mut self, id: TaskId) {
        let Some(job) = self.jobs.get_mut(&id.job) else { return };
        let Some(open) = job.open.get_mut(&id.task) else { return };
        (open.assembled, open.waiting) = (None, None);
        job.mending.halted.insert(id.task);
        self.sched.remove_single(id);
    }

    /// An output that was damaged is here again, or nobody who was asked has it any more.
    pub(in crate::core) fn output_back(&mut self, id: JobId, output: BlobId, is_here: bool, now: Now) {
        // A task that was found later may have it from others.
        if !is_here && self.seek(id, output) {
            return;
        }
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let Some(sought) = job.mending.outputs.remove(&output) else { return };
        job.news = true;
        if is_here {
            job.mending.damaged.remove(&output);
        } else {
            self.run_again(id, sought.tasks, now);
        }
        self.go_on_without_loss(id, now);
    }

    /// Has those reduce tasks made whose parts are all here, and ends the job if nothing else is left.
    fn go_on_without_loss(&mut self, id: JobId, now: Now) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let waiting: BTreeSet<TaskNumber> =
            job.mending.lost_tasks().filter_map(|task| job.made_from(job.node(task))).collect();
        let made: Vec<TaskNumber> = job.mending.halted.difference(&waiting).copied().collect();
        job.mending.halted.retain(|task| waiting.contains(task));
        for task in made {
            self.assemble(TaskId { job: id, task });
        }
        self.end_if_done(id, now);
    }

    /// Nobody has the output of these tasks any more: those of them that are needed run again.
    fn run_again(&mut self, id: JobId, tasks: BTreeMap<TaskNumber, LostOutput>, now: Now) {
        for (number, lost) in tasks {
            let task = TaskId { job: id, task: number };
            let Some(job) = self.jobs.get_mut(&id).filter(|job| job.needs_output_of(number)) else {
                continue;
            };
            tracing::warn!(%task, output = %lost.done.result.output, "an output is lost: its task runs again");
            // Nobody is tried with it any more.
            job.known.forget(number);
            let tried: Vec<LeaseId> = job.tried.iter().copied().collect();
            let is_its = |lease: &LeaseId| self.leases.get(lease).is_some_and(|held| held.task == task);
            let tried: Vec<LeaseId> = tried.into_iter().filter(is_its).collect();
            self.revoke(&tried, LeaseEnd::Superseded, now);

            let Some(job) = self.jobs.get_mut(&id) else { return };
            let (place, result) = (job.node(number), &lost.done.result);
            let key = job.record_of(number, result.operator, result.hardware_class.clone());
            job.undone += 1;
            job.count_doubted(number, lost.done.verdict.basis, &key, result.price);
            job.untally(result.provider);
            job.frontier.reopen(place);
            job.frontier.give_back(place);
            let paid = match (place, job.paid_for.remove(&number)) {
                // What is counted here is what its trials were paid.
                (Node::Map(_), trials) => lost.paid.saturating_add(trials.unwrap_or_default()),
                (Node::Reduce { .. }, paid) => paid.unwrap_or(lost.paid),
            };
            self.change(Change::Undone { task, paid });
            self.reset_made_from(id, place, now);
        }
        self.take_reduces(id);
    }

    /// An output that was to be compared is damaged, and nobody has it any more. What is left of its task's results can
    /// decide nothing alone, and so the task runs again, as if nobody had begun it. Those who worked on it are paid: it was
    /// this disk that lost their work.
    pub(in crate::core) fn opinion_lost(&mut self, id: TaskId, lease: LeaseId, now: Now) {
        let open = self.jobs.get(&id.job).and_then(|job| job.open.get(&id.task));
        if open.is_none_or(|open| open.comparing != Some(lease)) {
            return;
        }
        tracing::warn!(task = %id, "an output is lost before it was compared: its task runs again");
        let open = self.close_task(id, now);
        let paid = self.pay_all(id, &open.opinions);
        let Some(job) = self.jobs.get_mut(&id.job) else { return };
        for given in open.opinions.iter().filter(|given| given.paid.is_some()) {
            job.untally(given.result.provider);
        }
        let place = job.node(id.task);
        job.undone += 1;
        job.frontier.give_back(place);
        let paid = match (place, job.paid_for.remove(&id.task)) {
            (Node::Map(_), trials) => paid.saturating_add(trials.unwrap_or_default()),
            (Node::Reduce { .. }, counted) => counted.unwrap_or_default(),
        };
        self.change(Change::Undone { task: id, paid });
        // Something else may have been made from it before it was doubted.
        if open.opinions.iter().any(|given| given.paid.is_some()) {
            self.reset_above(id.job, place, now);
        }
        self.take_reduces(id.job);
    }
}

/// For how long the providers are waited for that made the output of a task which took so long: to run it again would cost
/// as much. At least a lease's time, in which a provider that lost its connection is back.
pub(super) fn patience(wall_us: Option<u64>, lease: Millis) -> Millis {
    Millis((wall_us.unwrap_or(0) / 1000).clamp(lease.0, MOST_PATIENCE_MS.max(lease.0)))
}
