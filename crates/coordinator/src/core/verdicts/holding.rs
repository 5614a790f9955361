//! Holding back: while a check that was drawn for a result of an operator is open, nothing that came later is accepted on
//! that operator's word.
//!
//! Checks take time, in which an operator with many slots gives many results. All of a job that came after a check was drawn
//! wait as opinions, unpaid, until that check is in: so what a liar is paid for until it is caught does not grow with how fast
//! it is. Whoever is right waits as long as a check takes, and no longer than a task waits for somebody who could say more:
//! then what waits is checked itself.

use std::collections::BTreeMap;

use tidemill_sched::Micros;
use tidemill_types::{Address, JobId, TaskId, TaskNumber};
use tidemill_verify::{Course, Witness};

use super::Given;
use crate::{
    core::{
        Core,
        jobs::{Job, Open},
    },
    event::Now,
};

/// The results of one operator in one job that wait for checks, by the order in which they came.
#[derive(Default, Debug)]
pub(in crate::core) struct Watched {
    next: u64,
    /// Those that a check was drawn for, and that have no verdict.
    pub(in crate::core) drawn: BTreeMap<u64, TaskNumber>,
    /// Those that wait for such a check, and since when.
    pub(in crate::core) held: BTreeMap<u64, (TaskNumber, Micros)>,
}

impl Watched {
    /// The first that waits for no check any more.
    fn releasable(&self) -> Option<TaskNumber> {
        let (turn, (task, _)) = self.held.first_key_value()?;
        let is_free = self.drawn.first_key_value().is_none_or(|(first, _)| first > turn);
        is_free.then_some(*task)
    }

    /// The first that has waited since before then.
    fn overdue(&self, then: Micros) -> Option<TaskNumber> {
        let (_, (task, since)) = self.held.first_key_value()?;
        (*since < then).then_some(*task)
    }
}

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
        let is_certain = given.odds <= assurance.bound();
        let is_watched = self.watched.get(&operator).is_some_and(|watched| !watched.drawn.is_empty());
        if !given.chosen && !(is_certain && is_watched) {
            return;
        }
        let watched = self.watched.entry(operator).or_default();
        let turn = watched.next;
        watched.next += 1;
        given.turn = Some(turn);
        given.is_held = !given.chosen;
        if given.chosen {
            watched.drawn.insert(turn, task);
        } else {
            watched.held.insert(turn, (task, now.mono));
        }
    }

    /// A task's results wait for nothing any more.
    pub(super) fn unwatch<'a>(&mut self, opinions: impl Iterator<Item = &'a Given>) {
        for given in opinions {
            let (Witness::Operator(operator), Some(turn)) = (given.witness, given.turn) else { continue };
            let Some(watched) = self.watched.get_mut(&operator) else { continue };
            watched.drawn.remove(&turn);
            watched.held.remove(&turn);
            if watched.drawn.is_empty() && watched.held.is_empty() {
                self.watched.remove(&operator);
            }
        }
    }
}

impl Core {
    /// Lets go of the results of a job that wait for no check any more. Each is weighed by what is known of its operator now.
    pub(super) fn release_held(&mut self, id: JobId, now: Now) {
        // What is let go is decided, and that lets go of more: one after the other, whoever begins.
        if std::mem::replace(&mut self.is_releasing, true) {
            return;
        }
        while let Some((operator, task)) = self.jobs.get(&id).and_then(|job| {
            job.watched.iter().find_map(|(operator, watched)| Some((*operator, watched.releasable()?)))
        }) {
            self.let_go(TaskId { job: id, task }, operator, false, now);
        }
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
            while let Some((operator, task)) = self.jobs.get(&id).and_then(|job| {
                job.watched.iter().find_map(|(operator, watched)| Some((*operator, watched.overdue(then)?)))
            }) {
                self.let_go(TaskId { job: id, task }, operator, true, now);
            }
        }
    }

    /// A result waits no longer: it is accepted, or others are to give one of its task too.
    fn let_go(&mut self, id: TaskId, operator: Address, is_checked: bool, now: Now) {
        let held = self.jobs.get(&id.job).and_then(|job| job.open.get(&id.task)?.opinions.first());
        let result = held.map(|given| given.result.clone());
        let weighed = result.and_then(|result| self.given(id, result, (None, false), now));
        let Some(job) = self.jobs.get_mut(&id.job) else { return };
        let Some(watched) = job.watched.get_mut(&operator) else { return };
        // It is so no longer, whatever comes of it.
        watched.held.retain(|_, (task, _)| *task != id.task);
        let is_idle = watched.drawn.is_empty() && watched.held.is_empty();
        if let (Some(weighed), Some(open)) = (weighed, job.open.get_mut(&id.task))
            && let Some(given) = open.opinions.first_mut()
        {
            let is_certain = matches!(job.course, Course::Assured { assurance, .. }
                if weighed.odds <= assurance.bound());
            (given.is_held, given.odds) = (false, weighed.odds);
            given.chosen = is_checked || !is_certain;
            // Whatever came after one that is checked waits for it too.
            given.turn = given.turn.filter(|_| given.chosen);
            if let Some(turn) = given.turn {
                watched.drawn.insert(turn, id.task);
            } else if is_idle {
                job.watched.remove(&operator);
            }
        }
        let next = self.judged(id, now);
        self.follow(id, next, now);
    }
}
