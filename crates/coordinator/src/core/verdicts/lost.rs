//! Damage: blobs of running jobs that are not on this disk any more, and how they come again.
//!
//! An input or a program comes from its requester, and its job is given to nobody until it is there. The output of a task
//! that is done comes from the provider that made it; the task stays done meanwhile, and the reduce task that is made from
//! it waits. If nobody has the output any more, what was accepted cannot be handed to anybody: the task runs again, as if
//! nobody had begun it, and its next result is judged like any other. What was paid for it stays paid.

use std::collections::{BTreeMap, BTreeSet};

use tidemill_job::{BlobRef, Node};
use tidemill_sched::LeaseEnd;
use tidemill_store::Change;
use tidemill_types::{BlobId, JobId, LeaseId, Principal, TaskId, TaskNumber};

use crate::{
    core::{Core, jobs::Job},
    event::{Effect, FoundLost, LostOutput, Now},
};

impl Job {
    /// Whether something is missing that was damaged here.
    pub(in crate::core) fn is_damaged(&self) -> bool {
        !self.lost_inputs.is_empty() || !self.lost_outputs.is_empty() || !self.halted.is_empty()
    }

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
}

impl Core {
    /// A blob is damaged, and not here any more. `pinned_for`: the jobs that had it pinned as an output.
    pub(in crate::core) fn damaged(&mut self, blob: BlobRef, pinned_for: &[JobId]) {
        let needing = self.jobs.iter().filter(|(_, job)| job.spec.blobs().contains(&blob));
        let needing: Vec<(JobId, Principal)> = needing.map(|(id, job)| (*id, job.owner)).collect();
        let mut owners = Vec::new();
        for (id, owner) in needing {
            let Some(job) = self.jobs.get_mut(&id) else { continue };
            job.lost_inputs.insert(blob.id);
            job.news = true;
            self.sched.set_held(id, true);
            if !owners.contains(&owner) {
                owners.push(owner);
            }
        }
        for owner in owners {
            self.effect(Effect::FetchInput { owner, blob });
        }
        for id in pinned_for {
            let Some(job) = self.jobs.get(id) else { continue };
            let reads = |task: &TaskNumber| {
                let made = job.open.get(task).and_then(|open| open.assembled.as_ref());
                made.is_some_and(|made| made.bound.sources.iter().any(|source| source.blob.id == blob.id))
            };
            let made: Vec<TaskNumber> = job.open.keys().copied().filter(reads).collect();
            for task in made {
                self.halt(TaskId { job: *id, task });
            }
            self.find_lost(*id, TaskNumber(0));
        }
    }

    /// An input that was damaged is here again.
    pub(in crate::core) fn input_back(&mut self, blob: BlobId) {
        for (id, job) in &mut self.jobs {
            if job.lost_inputs.remove(&blob) {
                job.news = true;
                self.sched.set_held(*id, !job.lost_inputs.is_empty());
            }
        }
    }

    /// A reduce task could not be made, since a part of it is damaged. It is made when that is here again.
    pub(in crate::core) fn part_lost(&mut self, id: TaskId) {
        let Some(job) = self.jobs.get_mut(&id.job) else { return };
        job.halted.insert(id.task);
        self.find_lost(id.job, TaskNumber(0));
    }

    /// Has the store look for tasks that are done and whose outputs are not here.
    fn find_lost(&mut self, id: JobId, from: TaskNumber) {
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
            return self.find_lost(id, from);
        }
        for lost in outputs {
            self.lose_output(id, lost);
        }
        match next {
            Some(from) => self.find_lost(id, from),
            None => self.go_on_without_loss(id, now),
        }
    }

    /// The output of a task that is done is not here. It is fetched again, if it is needed.
    pub(in crate::core) fn lose_output(&mut self, id: JobId, lost: LostOutput) {
        let Some(job) = self.jobs.get_mut(&id).filter(|job| job.needs_output_of(lost.task)) else { return };
        let result = &lost.done.result;
        let output = BlobRef { id: result.output, len: result.output_len.0 };
        let parent = job.made_from(job.node(lost.task));
        let is_made = |task: &TaskNumber| job.open.get(task).is_some_and(|open| open.assembled.is_some());
        let parent = parent.filter(is_made);
        job.news = true;
        let from = lost.from.clone();
        let tasks = job.lost_outputs.entry(output.id).or_default();
        let is_new = tasks.is_empty();
        tasks.insert(lost.task, lost);
        if let Some(task) = parent {
            self.halt(TaskId { job: id, task });
        }
        if is_new {
            self.effect(Effect::FetchAgain { job: id, output, from });
        }
    }

    /// A reduce task that was made from its parts is to be made anew, when all of them are here. Who has it goes on: the
    /// parts may have reached it.
    fn halt(&mut self, id: TaskId) {
        let Some(job) = self.jobs.get_mut(&id.job) else { return };
        let Some(open) = job.open.get_mut(&id.task) else { return };
        (open.assembled, open.waiting) = (None, None);
        job.halted.insert(id.task);
        self.sched.remove_single(id);
    }

    /// An output that was damaged is here again, or nobody has it any more.
    pub(in crate::core) fn output_back(&mut self, id: JobId, output: BlobId, is_here: bool, now: Now) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let Some(tasks) = job.lost_outputs.remove(&output) else { return };
        job.news = true;
        if !is_here {
            self.run_again(id, tasks, now);
        }
        self.go_on_without_loss(id, now);
    }

    /// Has those reduce tasks made whose parts are all here, and ends the job if nothing else is left.
    fn go_on_without_loss(&mut self, id: JobId, now: Now) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let lost = job.lost_outputs.values().flat_map(BTreeMap::keys);
        let waiting: BTreeSet<TaskNumber> = lost.filter_map(|task| job.made_from(job.node(*task))).collect();
        let made: Vec<TaskNumber> = job.halted.difference(&waiting).copied().collect();
        job.halted.retain(|task| waiting.contains(task));
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
            let paid = job.paid_for.remove(&number).unwrap_or(lost.paid);
            self.change(Change::Undone { task, paid });
            self.reset_made_from(id, place, now);
        }
        self.take_reduces(id);
    }
}
