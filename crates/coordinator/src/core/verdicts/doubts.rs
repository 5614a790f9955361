//! Doubts: results that were accepted unchecked and whose provider was caught since are looked at again.
//!
//! What was accepted is on disk and not in memory, so the shell looks for it there, some at a time. A task that is doubted
//! is open again, with its result as one opinion; what is made from it waits. If the verdict is another one, all that was
//! made from the wrong result is made anew.

use tidemill_job::Node;
use tidemill_store::{Change, DoneRecord, ResultRecord};
use tidemill_types::{Address, Basis, JobId, NodeId, TaskId, TaskNumber};
use tidemill_verify::{Course, Record, Witness};

use super::{Given, billionths};
use crate::{
    core::{
        Core,
        jobs::{Job, Open},
    },
    event::{Effect, FoundUnchecked, Now},
};

impl Job {
    /// Whether results of an operator are accepted unchecked, and nobody looks for them yet.
    fn believes(&self, operator: Address) -> bool {
        self.unchecked.iter().any(|(key, of_it)| key.operator == operator && of_it.results > 0)
            && !self.looking.contains(&operator)
    }
}

impl Core {
    /// Somebody gave a wrong result. It starts over, and what it was believed in jobs that run is asked of others.
    pub(super) fn caught(&mut self, id: TaskId, node: NodeId, operator: Address, now: Now) {
        tracing::warn!(node = %node.short(), %operator, task = %id, "a provider gave a wrong result");
        self.strike(node, id.job, now);
        self.distrust(id.job, operator);
        let believed: Vec<JobId> =
            self.jobs.iter().filter(|(_, job)| job.believes(operator)).map(|(id, _)| *id).collect();
        for job in believed {
            self.distrust(job, operator);
        }
    }

    /// Somebody contradicts what was accepted of a job. For that job it is a stranger from now on, of whom everything is
    /// asked of others, what it was believed already among it; whether its record says so or not. Where the job itself says
    /// what is the same, or a class of hardware is not enough to say so, nothing else follows from it.
    pub(super) fn distrust(&mut self, id: JobId, operator: Address) {
        let odds = self.reputations.model().error_odds(&Record::default(), 1.0);
        let Some(job) = self.jobs.get_mut(&id) else { return };
        if !matches!(job.course, Course::Assured { .. }) || !job.distrusted.insert(operator) {
            return;
        }
        let waiting = job.open.values_mut().flat_map(|open| &mut open.opinions);
        for given in waiting.filter(|given| given.witness == Witness::Operator(operator)) {
            given.odds = given.odds.max(odds);
        }
        let is_believed = job.believes(operator);
        self.change(Change::Suspect { job: id, operator });
        if is_believed {
            self.look_again(id, operator, TaskNumber(0));
        }
    }

    /// Has the store look for what somebody was believed in a job.
    pub(in crate::core) fn look_again(&mut self, id: JobId, operator: Address, from: TaskNumber) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        job.looking.insert(operator);
        let undone = job.undone;
        self.effect(Effect::FindUnchecked { job: id, operator, from, undone });
    }

    /// Some of what somebody was believed in a job.
    pub(in crate::core) fn unchecked_found(&mut self, found: FoundUnchecked, now: Now) {
        let FoundUnchecked { job: id, operator, from, undone, results, next } = found;
        let Some(job) = self.jobs.get_mut(&id) else { return };
        // What was read may not be there any more.
        if job.undone != undone {
            return self.look_again(id, operator, from);
        }
        for (task, record) in results {
            let id = TaskId { job: id, task };
            let is_done = |job: &Job| job.frontier.is_node_done(job.node(task));
            if self.jobs.get(&id.job).is_some_and(is_done) && record.verdict.basis == Basis::Unchecked {
                self.open_again(id, record, &[], now);
                self.take_up(id, now);
            }
        }
        match next {
            Some(from) => self.look_again(id, operator, from),
            None => {
                if let Some(job) = self.jobs.get_mut(&id) {
                    job.looking.remove(&operator);
                }
                self.end_if_done(id, now);
            }
        }
    }

    /// A result that was paid, as one opinion that is to be checked whatever its provider's record says.
    pub(super) fn doubted(&self, id: TaskId, result: ResultRecord, now: Now) -> Option<Given> {
        let paid = Some(result.price);
        let given = self.given(id, result, (None, false), now)?;
        Some(Given { paid, chosen: true, is_kept: true, ..given })
    }

    /// A task that is done is doubted: its result is one opinion from now on, as are those that agreed with it.
    pub(super) fn open_again(&mut self, id: TaskId, record: DoneRecord, others: &[ResultRecord], now: Now) {
        let Some(given) = self.doubted(id, record.result, now) else { return };
        let others: Vec<Given> =
            others.iter().filter_map(|result| self.doubted(id, result.clone(), now)).collect();
        self.change(Change::Reopened { task: id, error_ppb: billionths(given.odds) });
        let Some(job) = self.jobs.get_mut(&id.job) else { return };
        let place = job.node(id.task);
        job.frontier.reopen(place);
        job.count_doubted(id.task, record.verdict.basis, &given.key, given.result.price);
        for given in &others {
            // Each counts as a task that it did, and no longer as a check, while there is no verdict.
            let tally = job.tallies.entry(given.result.provider).or_default();
            (tally.tasks, tally.checks) = (tally.tasks + 1, tally.checks.saturating_sub(1));
        }
        job.news = true;
        job.undecided += 1;
        let opinions = std::iter::once(given).chain(others).collect();
        job.open.insert(id.task, Open { opinions, ..Open::default() });
        self.reset_made_from(id.job, place, now);
    }

    /// A task is not done any more. What is being made from it waits until it is. Where that was done before and is
    /// doubted, what was made from it goes with it.
    pub(super) fn reset_made_from(&mut self, id: JobId, place: Node, now: Now) {
        let Some(job) = self.jobs.get(&id) else { return };
        if let Some(parent) = job.spec.tree().and_then(|tree| tree.parent(place))
            && let Some(open) = job.spec.number(parent).and_then(|parent| job.open.get(&parent))
        {
            match open.opinions.iter().any(|given| given.paid.is_some()) {
                true => self.reset_above(id, place, now),
                false => self.reset(id, parent, now),
            }
        }
    }

    /// An open task is to be leased: a reduce task once it is made from its parts, if they are there.
    pub(in crate::core) fn take_up(&mut self, id: TaskId, now: Now) {
        let Some(job) = self.jobs.get_mut(&id.job) else { return };
        let place = job.node(id.task);
        match place {
            Node::Map(_) => self.wait_for_someone(id, now),
            Node::Reduce { .. } if !job.frontier.has_parts(place) => {}
            // Somebody has it, and may not bring it to an end.
            Node::Reduce { .. } if job.open.get(&id.task).is_some_and(|open| !open.leases.is_empty()) => {
                self.assemble(id);
            }
            Node::Reduce { .. } => {
                job.unmade.insert(id.task);
                self.make_reduces(id.job);
            }
        }
    }

    /// All that was made from a task was made from a wrong result.
    pub(super) fn reset_above(&mut self, id: JobId, place: Node, now: Now) {
        let mut next = self.jobs.get(&id).and_then(|job| job.spec.tree()?.parent(place));
        while let Some(parent) = next {
            self.reset(id, parent, now);
            next = self.jobs.get(&id).and_then(|job| job.spec.tree()?.parent(parent));
        }
    }

    /// A task is as if nobody had begun it. Who worked on it has done nothing wrong.
    fn reset(&mut self, id: JobId, place: Node, now: Now) {
        let Some(job) = self.jobs.get(&id) else { return };
        let Some(number) = job.spec.number(place) else { return };
        let task = TaskId { job: id, task: number };
        if !job.frontier.is_node_done(place) && !job.open.contains_key(&number) {
            return;
        }
        let open = self.close_task(task, now);
        let Some(job) = self.jobs.get_mut(&id) else { return };
        job.undone += 1;
        if let Some(counted) = job.reduced.get(&number).cloned() {
            job.count_doubted(number, counted.basis, &counted.key, counted.price);
            job.untally(counted.node);
        }
        for given in open.opinions.iter().filter(|given| given.paid.is_some()) {
            job.untally(given.result.provider);
        }
        job.frontier.reset(place);
        self.pay_all(task, &open.opinions);
        let paid = self.jobs.get_mut(&id).and_then(|job| job.paid_for.remove(&number)).unwrap_or_default();
        self.change(Change::Undone { task, paid });
        self.make_reduces(id);
    }
}
