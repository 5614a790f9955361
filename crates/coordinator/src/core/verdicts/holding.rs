//! Holding back: while a check that was drawn for a result of an operator is open, nothing that came later is accepted on
//! that operator's word.
//!
//! Checks take time, in which an operator with many slots gives many results. All of a job that came after a check was drawn
//! wait as opinions, unpaid, until that check is in: so what a liar is paid for until it is caught does not grow with how fast
//! it is. Whoever is right waits as long as a check takes, and no longer than a task waits for somebody who could say more:
//! then what waits is checked itself.

use tidemill_sched::Micros;
use tidemill_types::{Address, JobId, TaskId, TaskNumber};
use tidemill_verify::{Course, Turns, Witness};

use super::Given;
use crate::{
    core::{
        Core,
        jobs::{Job, Open},
    },
    event::Now,
};

impl Open {
    /// Whether its only result waits for a check of an earlier one of the same operator.
    pub(in crate::core) fn is_held(&self) -> bool {
        matches!(self.opinions.as_slice(), [only] if only.is_held)
    }
}

impl Job {
    /// A result is the first of its task. It waits if a check of an earlier one of its operator is open.
    pub(super) fn watch(&mut self, task: TaskNumber, given: &mut Given, now: Now) {
        let Course::Assured { assurance, .. } = self.course else { return };
        let Witness::Operator(operator) = given.witness else { return };
        if given.chosen {
            given.turn = Some(self.watched.entry(operator).or_default().draw(task));
        } else if given.odds <= assurance.bound() {
            given.turn = self.watched.get_mut(&operator).and_then(|turns| turns.hold(task, now.mono));
            given.is_held = given.turn.is_some();
        }
    }

    /// A task's results wait for nothing any more.
    pub(super) fn unwatch<'a>(&mut self, opinions: impl Iterator<Item = &'a Given>) {
        for given in opinions {
            let (Witness::Operator(operator), Some(turn)) = (given.witness, given.turn) else { continue };
            let Some(turns) = self.watched.get_mut(&operator) else { continue };
            turns.end(turn);
            if turns.is_empty() {
                self.watched.remove(&operator);
            }
        }
    }

    /// The first result that waits for no check any more.
    fn free(&self) -> Option<(Address, TaskNumber)> {
        self.watched.iter().find_map(|(operator, turns)| Some((*operator, turns.first_free()?)))
    }

    /// A result that has waited since before then.
    fn overdue(&self, then: Micros) -> Option<(Address, TaskNumber)> {
        let is_overdue = |turns: &Turns<Micros>| {
            turns.first_held().filter(|(_, since)| *since < then).map(|(task, _)| task)
        };
        self.watched.iter().find_map(|(operator, turns)| Some((*operator, is_overdue(turns)?)))
    }
}

impl Core {
    /// Lets go of the results of a job that wait for no check any more. Each is weighed by what is known of its operator now.
    pub(super) fn release_held(&mut self, id: JobId, now: Now) {
        // What is let go is decided, and that lets go of more: one after the other, whoever begins.
        if std::mem::replace(&mut self.is_releasing, true) {
            return;
        }
        while let Some((operator, task)) = self.jobs.get(&id).and_then(Job::free)
            && self.end_wait(TaskId { job: id, task }, operator, false, now)
        {}
        self.is_releasing = false;
    }

    /// Lets go of what waits for nothing any more, and has checked what has waited for too long.
    pub(in crate::core) fn release_overdue(&mut self, now: Now) {
        let patience = self.config.undecided.0.saturating_mul(1000);
        let then = Micros(now.mono.0.saturating_sub(patience));
        let watching: Vec<JobId> =
            self.jobs.iter().filter(|(_, job)| !job.watched.is_empty()).map(|(id, _)| *id).collect();
        for id in watching {
            self.release_held(id, now);
            while let Some((operator, task)) = self.jobs.get(&id).and_then(|job| job.overdue(then))
                && self.end_wait(TaskId { job: id, task }, operator, true, now)
            {}
        }
    }

    /// A result waits no longer: it is accepted, or others are to give one of its task too. Whether there was one.
    fn end_wait(&mut self, id: TaskId, operator: Address, is_checked: bool, now: Now) -> bool {
        let held = self.jobs.get(&id.job).and_then(|job| job.open.get(&id.task)?.opinions.first());
        let result = held.map(|given| given.result.clone());
        let weighed = result.and_then(|result| self.given(id, result, (None, false), now));
        let Some(job) = self.jobs.get_mut(&id.job) else { return false };
        let Some(turns) = job.watched.get_mut(&operator) else { return false };
        let Some(given) = job.open.get_mut(&id.task).and_then(|open| open.opinions.first_mut()) else {
            return false;
        };
        let (Some(weighed), Some(turn)) = (weighed, given.turn) else { return false };
        let is_certain =
            matches!(job.course, Course::Assured { assurance, .. } if weighed.odds <= assurance.bound());
        (given.is_held, given.odds) = (false, weighed.odds);
        given.chosen = is_checked || !is_certain;
        // Whatever came after one that is checked waits for it too.
        if given.chosen {
            turns.check(turn);
        } else {
            given.turn = None;
            turns.end(turn);
        }
        if turns.is_empty() {
            job.watched.remove(&operator);
        }
        let next = self.judged(id, now);
        self.follow(id, next, now);
        true
    }
}
