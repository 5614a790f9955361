//! What is over: how long it is kept, how much of it for whom, and the little that the core knows of it.
//!
//! Sessions look into the store before they bring a job, so the core need not know the ids of all jobs that ended. But what
//! a session saw may have changed by the time that the core hears of it. So the ends of jobs, their removals and the
//! closings of escrows are numbered, a look says how many of them were durable before it, and the core remembers those
//! after that. Where it has forgotten some of them, the session looks again.

use std::collections::{BTreeMap, VecDeque};

use tidemill_net::wire::Refusal;
use tidemill_store::{Change, Holdings};
use tidemill_types::{ByteSize, EscrowId, JobId, Millis, Principal};

use super::Core;
use crate::event::Effect;

/// How many of the last ends, removals and closings are remembered in any case. More are as long as no session is known to
/// have looked after they were durable.
const MOST_RECENT: usize = 512;

/// What a coordinator keeps of jobs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Keep {
    /// How long a job is kept after its end, with its outputs and logs.
    pub time: Millis,
    /// The most jobs that are kept for one requester, those that run included.
    pub jobs: u64,
    /// The most bytes that are kept for one requester: specifications, summaries, outputs and logs, and the inputs of jobs
    /// that run. A requester with more brings no job, and that one of its jobs ends of which most came.
    pub bytes: ByteSize,
    /// Room on the disk that is left to jobs that run: while there is less, no other is taken in.
    pub reserve: ByteSize,
}

impl Default for Keep {
    fn default() -> Self {
        Self {
            time: Millis(30 * DAY_MS),
            jobs: 100_000,
            bytes: ByteSize(64 << 30),
            reserve: ByteSize(1 << 30),
        }
    }
}

const DAY_MS: u64 = 86_400_000;

impl Keep {
    /// Why a requester for whom so much is kept may bring no job that adds so many bytes.
    pub(crate) fn refusal(&self, holdings: &Holdings, bytes: u64) -> Option<Refusal> {
        let refusal = |kept: String, most: String, option: &str| Refusal::OverBudget {
            reason: self.ways_out(&kept, &most, option),
        };
        if holdings.jobs >= self.jobs {
            let kept = format!("{} jobs", holdings.jobs);
            return Some(refusal(kept, self.jobs.to_string(), "--keep-jobs"));
        }
        let needed = ByteSize(holdings.bytes.0.saturating_add(bytes));
        (needed > self.bytes)
            .then(|| refusal(holdings.bytes.to_string(), self.bytes.to_string(), "--keep-bytes"))
    }

    /// Why a requester for whom so much is kept may not have the inputs of a job here as well, `inputs` with those of its
    /// other jobs that run.
    pub(crate) fn refusal_of_inputs(&self, holdings: &Holdings, inputs: ByteSize) -> Option<Refusal> {
        let needed = ByteSize(holdings.bytes.0.saturating_add(inputs.0));
        let kept = || format!("with this job {needed}, {inputs} of that inputs of jobs that run,");
        let reason = || self.ways_out(&kept(), &self.bytes.to_string(), "--keep-bytes");
        (needed > self.bytes).then(|| Refusal::OverBudget { reason: reason() })
    }

    /// Why a job of a requester ends for whom so much is kept.
    pub(super) fn overrun(&self, bytes: ByteSize) -> Option<String> {
        let most = self.bytes.to_string();
        (bytes > self.bytes).then(|| self.ways_out(&bytes.to_string(), &most, "--keep-bytes"))
    }

    fn ways_out(&self, kept: &str, most: &str, option: &str) -> String {
        let time = match self.time.0 {
            ms if ms >= DAY_MS && ms.is_multiple_of(DAY_MS) => format!("{} days", ms / DAY_MS),
            _ => self.time.to_string(),
        };
        format!(
            "{kept} are kept for you, and {most} is the most: remove jobs with `tidemill remove JOB`, wait until some go by \
             themselves, {time} after their end, or ask whoever runs the coordinator for more (`tidemill serve {option}`)"
        )
    }
}

/// What became of a job that does not run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Gone {
    /// It ended; it was this requester's.
    Ended(Principal),
    /// It was removed. Its id stays taken while its rows are swept.
    Removed,
}

/// What was over last.
#[derive(Debug, Default)]
pub(super) struct Past {
    /// How many ends, removals and closings there were since the coordinator began.
    count: u64,
    /// How many of them are forgotten, the first ones.
    forgotten: u64,
    /// How many were durable before some look that the core has heard of.
    looked: u64,
    /// Of how many the shell was told.
    told: u64,
    /// Those that are not forgotten, in order.
    recent: VecDeque<Over>,
    /// What became of these jobs last, with its number.
    jobs: BTreeMap<JobId, (u64, Gone)>,
    /// The escrows that were closed.
    escrows: BTreeMap<EscrowId, u64>,
}

#[derive(Clone, Copy, Debug)]
enum Over {
    Job(JobId),
    Escrow(EscrowId),
}

impl Past {
    /// A job has ended or was removed.
    pub(super) fn job_is(&mut self, job: JobId, gone: Gone) {
        self.count += 1;
        self.recent.push_back(Over::Job(job));
        self.jobs.insert(job, (self.count, gone));
        self.forget();
    }

    /// An escrow was closed.
    pub(super) fn escrow_is_closed(&mut self, escrow: EscrowId) {
        self.count += 1;
        self.recent.push_back(Over::Escrow(escrow));
        self.escrows.insert(escrow, self.count);
        self.forget();
    }

    /// Somebody looked into the store when so many were durable.
    pub(super) fn looked(&mut self, past: u64) {
        self.looked = self.looked.max(past);
        self.forget();
    }

    /// Whether what is over by now was seen by a look when so many were durable, or is remembered.
    pub(super) fn covers(&self, past: u64) -> bool {
        past >= self.forgotten
    }

    /// What became of a job lately.
    pub(super) fn job(&self, job: JobId) -> Option<Gone> {
        self.jobs.get(&job).map(|(_, gone)| *gone)
    }

    /// Whether a job that a look saw as ended, when so many were durable, is there still, and the same.
    fn is_there(&self, job: JobId, past: u64) -> bool {
        match self.jobs.get(&job) {
            Some((number, Gone::Ended(_))) => *number <= past,
            Some((_, Gone::Removed)) => false,
            None => self.covers(past),
        }
    }

    /// Whether an escrow was closed lately.
    pub(super) fn has_closed(&self, escrow: EscrowId) -> bool {
        self.escrows.contains_key(&escrow)
    }

    fn forget(&mut self) {
        while self.recent.len() > MOST_RECENT && self.forgotten < self.looked {
            self.forgotten += 1;
            let number = self.forgotten;
            match self.recent.pop_front() {
                Some(Over::Job(job)) if self.jobs.get(&job).is_some_and(|(last, _)| *last == number) => {
                    self.jobs.remove(&job);
                }
                Some(Over::Escrow(escrow)) if self.escrows.get(&escrow) == Some(&number) => {
                    self.escrows.remove(&escrow);
                }
                _ => {}
            }
        }
    }

    /// How many there were, if the shell was not told yet.
    fn news(&mut self) -> Option<u64> {
        let is_new = self.told < self.count;
        self.told = self.count;
        is_new.then_some(self.count)
    }
}

impl Core {
    /// Removes a job that has ended.
    pub(super) fn remove(&mut self, job: JobId) {
        self.past.job_is(job, Gone::Removed);
        self.change(Change::JobRemoved { job });
        self.effect(Effect::ReleaseOutputs(job));
    }

    /// Removes jobs whose time to be kept is over, as a look saw them when so many were durable. Those that may have changed
    /// since are found again.
    pub(super) fn let_go(&mut self, jobs: &[JobId], past: u64) {
        self.past.looked(past);
        for job in jobs {
            if !self.jobs.contains_key(job) && self.past.is_there(*job, past) {
                self.remove(*job);
            }
        }
    }

    /// Tells the shell how many there were, once they are durable. Before all other effects of the step: what looks again
    /// because of them sees all of it.
    pub(super) fn tell_past(&mut self) {
        if let Some(count) = self.past.news() {
            self.step.effects.insert(0, Effect::Past(count));
        }
    }
}

#[cfg(test)]
mod tests {
    use tidemill_types::NodeId;

    use super::*;

    const OWNER: Principal = Principal::Node(NodeId([1; 32]));

    fn job(number: u64) -> JobId {
        JobId(u128::from(number).to_be_bytes())
    }

    fn ended(count: u64) -> Past {
        let mut past = Past::default();
        (1..=count).for_each(|number| past.job_is(job(number), Gone::Ended(OWNER)));
        past
    }

    #[test]
    fn what_nobody_has_looked_at_is_remembered_and_the_rest_is_forgotten_but_for_the_last() {
        let most = MOST_RECENT as u64;
        let mut past = ended(2 * most);
        assert!(past.covers(0) && past.job(job(1)).is_some());

        past.looked(10);
        assert!(!past.covers(9) && past.covers(10));
        assert!(past.job(job(10)).is_none() && past.job(job(11)).is_some());

        past.looked(2 * most);
        assert!(!past.covers(most - 1) && past.covers(most));
        assert!(past.job(job(most)).is_none() && past.job(job(most + 1)).is_some());
        assert_eq!((past.recent.len(), past.jobs.len()), (MOST_RECENT, MOST_RECENT));
    }

    #[test]
    fn the_last_that_became_of_a_job_counts() {
        let mut past = ended(1);
        past.looked(1);
        past.job_is(job(1), Gone::Removed);
        for number in 2..=MOST_RECENT as u64 {
            past.job_is(job(number), Gone::Ended(OWNER));
        }
        // Its end is forgotten, its removal is not.
        assert!(!past.covers(0));
        assert_eq!(past.job(job(1)), Some(Gone::Removed));
        assert!(!past.is_there(job(1), 1) && !past.is_there(job(2), 2) && past.is_there(job(2), 3));
    }

    #[test]
    fn closed_escrows_are_forgotten_with_the_rest() {
        let mut past = Past::default();
        let escrow = EscrowId([1; 32]);
        past.escrow_is_closed(escrow);
        assert!(past.has_closed(escrow) && past.news() == Some(1) && past.news().is_none());
        past.looked(1);
        (0..MOST_RECENT as u64).for_each(|number| past.job_is(job(number), Gone::Ended(OWNER)));
        assert!(!past.has_closed(escrow));
    }
}
