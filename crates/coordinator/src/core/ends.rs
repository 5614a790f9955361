//! Ends of jobs: all done, cancelled, late or failed. An end pays what is owed, gives leases back, and tells who waits.

use tidemill_net::wire::{Refusal, Reply};
use tidemill_sched::LeaseEnd;
use tidemill_store::{Change, JobEnd, UnixMillis};
use tidemill_types::{Amount, JobId};

use super::{Core, jobs::Job, past::Gone, reports::Summary};
use crate::event::{Caller, Effect, Now, Question};

impl Core {
    pub(super) fn pass_deadlines(&mut self, now: Now) {
        let passed = |job: &Job| job.deadline.is_some_and(|deadline| now.mono >= deadline);
        let late: Vec<_> = self.jobs.iter().filter(|(_, job)| passed(job)).map(|(id, _)| *id).collect();
        for id in late {
            self.end(id, JobEnd::Deadline, now);
        }
    }

    pub(super) fn cancel(&mut self, caller: Caller, id: JobId, now: Now) {
        match self.jobs.get(&id) {
            Some(job) if job.owner == caller.principal => {
                self.end(id, JobEnd::Cancelled, now);
                // After the end it is the store that knows.
                self.effect(Effect::FromStore(caller, Question::Job(id)));
            }
            Some(_) => self.reply(caller, Err(Refusal::NoSuchJob)),
            None => self.effect(Effect::FromStore(caller, Question::Job(id))),
        }
    }

    pub(super) fn end_if_done(&mut self, id: JobId, now: Now) {
        let is_done =
            |job: &Job| job.frontier.is_done() && job.looking.is_empty() && job.mending.has_all_outputs();
        if self.jobs.get(&id).is_some_and(is_done) {
            self.end(id, JobEnd::Done, now);
        }
    }

    /// A job ends: what was held back for failures is free, and those that end it are paid.
    fn close_failures(&mut self, id: JobId, end: &JobEnd) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let held = job.open.values_mut().map(|open| std::mem::take(&mut open.held_for_failures));
        let held = held.fold(Amount::ZERO, Amount::saturating_add);
        let attempts = match end {
            JobEnd::Failed { task, .. } => job.open.get(task).map(|open| open.failures.clone()),
            _ => None,
        };
        self.free_failures(id, held);
        if let (JobEnd::Failed { failure, .. }, Some(attempts)) = (end, attempts) {
            let paid = self.owe_for_failure(id, &attempts, failure);
            self.decide_unconfirmed(&attempts, &paid.into_iter().collect());
        }
    }

    /// Ends a job. What providers have of it is of no use any more.
    pub(super) fn end(&mut self, id: JobId, end: JobEnd, now: Now) {
        self.pay_running(id, &end, now);
        self.close_failures(id, &end);
        self.pay_undecided(id, &end, now);
        let Some(mut job) = self.jobs.remove(&id) else { return };
        let open = job.open.values().flat_map(|open| &open.leases);
        let mut leases: Vec<_> = open.chain(&job.tried).copied().collect();
        leases.sort();
        self.revoke(&leases, LeaseEnd::Superseded, now);
        self.sched.remove_job(id);
        if self.jobs.values().all(|other| other.owner != job.owner) {
            self.kept.forget(job.owner);
        }
        self.past.job_is(id, Gone::Ended(job.owner));
        // Its leases are closed: what they held back is free.
        if let Some(money) = &mut job.money {
            money.reserved = Amount::ZERO;
        }
        self.leave_escrow(id, job.money.as_ref());
        self.note_unchecked(&job, now);
        let summary = Summary {
            usage: job.usage,
            contributions: self.contributions(&job),
            cost: job.money.as_ref().map(|money| self.job_cost(money)),
            reliability: job.reliability.clone(),
            label: match &end {
                JobEnd::Failed { task, .. } | JobEnd::Undecided { first: task, .. } => job.label(*task),
                JobEnd::Done | JobEnd::Cancelled | JobEnd::Deadline | JobEnd::EscrowEnded => String::new(),
            },
        };
        self.change(Change::JobEnded {
            job: id,
            end: end.clone(),
            at: UnixMillis(now.unix_ms),
            summary: summary.encode(),
        });
        self.effect(Effect::ReleaseInputs(id));
        let followers = std::mem::take(&mut job.followers);
        if !followers.is_empty() {
            let report = self.ended_report(id, &job, &end, now);
            for follower in followers {
                self.reply(follower.caller, Ok(Reply::Ended(report.clone())));
            }
        }
    }
}
