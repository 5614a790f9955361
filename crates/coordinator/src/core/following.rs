//! Who follows which task, and which attempt is shown. What attempts write goes past the core: it says whose lease is
//! whose, and the shell relays.

use tidemill_net::wire::{Refusal, Reply, TaskNews};
use tidemill_types::{LeaseId, NodeId, TaskId};

use super::Core;
use crate::event::{Caller, Effect, SessionId};

/// Calls that follow tasks at a time, of one requester and of all: every step looks at their tasks.
const MOST_OF_ONE: usize = 16;
const MOST_OF_ALL: usize = 256;

/// A task that is followed.
#[derive(Debug, Default)]
pub(super) struct Followed {
    callers: Vec<Caller>,
    shown: Option<Shown>,
}

/// The attempt that followers see. Of several it is the first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Shown {
    lease: LeaseId,
    node: NodeId,
    session: SessionId,
}

impl Core {
    /// Has the caller follow a task of a running job that it may see.
    pub(super) fn begin_follow(&mut self, caller: Caller, task: TaskId) {
        if self.jobs.get(&task.job).is_none_or(|job| job.spec.node(task.task).is_none()) {
            return self.reply(caller, Err(Refusal::NoSuchTask));
        }
        let calls = self.followed.values().flat_map(|followed| &followed.callers);
        let of_one = calls.clone().filter(|other| other.node == caller.node).count();
        if of_one >= MOST_OF_ONE || calls.count() >= MOST_OF_ALL {
            let reason = "too many tasks are followed".to_owned();
            return self.reply(caller, Err(Refusal::Busy { reason }));
        }
        if self.is_over(task) {
            return self.reply(caller, Ok(Reply::Followed(TaskNews::Over)));
        }
        let shown = match self.followed.get(&task) {
            Some(followed) => followed.shown,
            None => self.attempt_to_show(task),
        };
        let followed = self.followed.entry(task).or_insert(Followed { callers: Vec::new(), shown });
        followed.callers.push(caller);
        self.tell_shown(vec![caller], shown);
    }

    /// The calls of a session that is over follow nothing any more.
    pub(super) fn unfollow(&mut self, session: SessionId) {
        let mut effects = Vec::new();
        self.followed.retain(|_, followed| {
            let (gone, stay) = std::mem::take(&mut followed.callers)
                .into_iter()
                .partition::<Vec<_>, _>(|caller| caller.session == session);
            followed.callers = stay;
            if let Some(Shown { lease, .. }) = followed.shown.filter(|_| !gone.is_empty()) {
                effects.push(Effect::Unfollow { lease, callers: gone });
            }
            !followed.callers.is_empty()
        });
        self.step.effects.extend(effects);
    }

    /// Tells followers where another attempt is to be seen than before, or none any more.
    pub(super) fn show_attempts(&mut self) {
        let tasks: Vec<TaskId> = self.followed.keys().copied().collect();
        for task in tasks {
            let is_over = self.is_over(task);
            let shown = if is_over { None } else { self.attempt_to_show(task) };
            let followed = self.followed.get_mut(&task).expect("it was there a moment ago");
            let before = std::mem::replace(&mut followed.shown, shown);
            if before == shown && !is_over {
                continue;
            }
            let callers = followed.callers.clone();
            if let Some(Shown { lease, .. }) = before {
                self.effect(Effect::Unfollow { lease, callers: callers.clone() });
            }
            if !is_over {
                self.tell_shown(callers, shown);
                continue;
            }
            self.followed.remove(&task);
            for caller in callers {
                self.reply(caller, Ok(Reply::Followed(TaskNews::Over)));
            }
        }
    }

    fn tell_shown(&mut self, callers: Vec<Caller>, shown: Option<Shown>) {
        match shown {
            Some(Shown { lease, node, session }) => {
                self.effect(Effect::Follow { session, node, lease, callers });
            }
            None => {
                for caller in callers {
                    self.reply(caller, Ok(Reply::Followed(TaskNews::Waiting)));
                }
            }
        }
    }

    /// Whether nothing more is to come of a task: it is done, or its job does not run.
    fn is_over(&self, task: TaskId) -> bool {
        self.jobs.get(&task.job).is_none_or(|job| job.frontier.is_node_done(job.node(task.task)))
    }

    /// The first attempt at a task that is under way at a provider that is there. One that is tried with a known answer is
    /// none: its task is done.
    fn attempt_to_show(&self, task: TaskId) -> Option<Shown> {
        let open = self.jobs.get(&task.job)?.open.get(&task.task)?;
        let shown = |lease: &LeaseId| {
            let held = self.leases.get(lease).filter(|held| held.fetching.is_none())?;
            let session = self.providers.get(&held.node)?.session?;
            Some(Shown { lease: *lease, node: held.node, session })
        };
        open.leases.iter().filter_map(shown).min_by_key(|shown| shown.lease)
    }
}
