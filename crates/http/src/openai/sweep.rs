//! Jobs of answers that were given: kept for their receipts for a while, and then removed, so that nothing grows with them.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, Instant},
};

use tidemill_coordinator::{LocalSessions, Visitor};
use tidemill_net::wire::{JobPhase, JobReport, MAX_PAGE, Reply, Request};
use tidemill_types::{Address, JobId, NodeId, Principal};

use super::running::JOB_NAME;
use crate::router::App;

/// Answers that are kept for their receipts, of all keys. Beyond that the oldest go early.
const MOST_KEPT: usize = 10_000;

/// How many of a key's oldest answers make room for another.
const ROOM: usize = 64;

/// How often it is looked whether the time of some is over.
const EVERY: Duration = Duration::from_secs(1);

/// The jobs that are to go, the oldest first.
#[derive(Debug, Default)]
pub struct Sweep {
    /// How the ids of this process's jobs begin.
    mark: [u8; 4],
    given: Mutex<VecDeque<Given>>,
}

#[derive(Clone, Copy, Debug)]
struct Given {
    at: Instant,
    visitor: Visitor,
    job: JobId,
}

impl Sweep {
    /// Of a process that begins.
    pub fn new() -> Self {
        let mut mark = [0; 4];
        // Without randomness no job can be made anyway.
        let _ = getrandom::fill(&mut mark);
        Self { mark, given: Mutex::default() }
    }

    /// An id for a job.
    ///
    /// # Errors
    /// When the system has no randomness to give.
    pub fn draw(&self) -> Result<JobId, getrandom::Error> {
        let mut id = [0; 16];
        getrandom::fill(&mut id)?;
        id[..4].copy_from_slice(&self.mark);
        Ok(JobId(id))
    }

    /// A job has ended, and is to go once its time is over.
    pub fn later(&self, visitor: Visitor, job: JobId) {
        self.lock().push_back(Given { at: Instant::now(), visitor, job });
    }

    /// Removes some of the oldest jobs of a visitor.
    pub async fn make_room(&self, sessions: &LocalSessions, visitor: Visitor) {
        let mut oldest = Vec::new();
        self.lock().retain(|given| {
            let goes = given.visitor.principal == visitor.principal && oldest.len() < ROOM;
            if goes {
                oldest.push(*given);
            }
            !goes
        });
        remove(sessions, oldest).await;
    }

    /// Those whose time is over, and those that are too many.
    fn due(&self, keep: Duration) -> Vec<Given> {
        let mut kept = self.lock();
        let over = kept.iter().take_while(|given| given.at.elapsed() >= keep).count();
        let count = over.max(kept.len().saturating_sub(MOST_KEPT));
        kept.drain(..count).collect()
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Given>> {
        self.given.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Removes jobs as their time is over, until the coordinator ends.
pub async fn sweep(app: Weak<App>) {
    if let Some(app) = app.upgrade() {
        remove_leftovers(&app).await;
    }
    loop {
        tokio::time::sleep(EVERY).await;
        let Some(app) = app.upgrade().filter(|app| !app.sessions.is_over()) else { return };
        let due = app.sweep.due(app.bounds.keep_answers);
        remove(&app.sessions, due).await;
    }
}

async fn remove(sessions: &LocalSessions, given: Vec<Given>) {
    for Given { visitor, job, .. } in given {
        let removed = sessions.open(visitor).ask(Request::Remove { job }).await;
        if let Err(error) = removed {
            // Its owner may have removed it, and the coordinator removes it once its own time is over.
            tracing::debug!(%job, %error, "the job of an answer is not removed");
        }
    }
}

/// Removes what an earlier process has left. Nobody waits for those answers any more.
async fn remove_leftovers(app: &App) {
    let sessions = &app.sessions;
    let is_left = |report: &JobReport| report.name == JOB_NAME && !report.job.0.starts_with(&app.sweep.mark);
    let nobody = NodeId([0; 32]);
    let visitor = Visitor {
        principal: Principal::Node(nobody),
        node: nobody,
        signer: Address::default(),
        is_operator: true,
    };
    let mut after = None;
    loop {
        let listed = sessions.open(visitor).ask(Request::Jobs { limit: MAX_PAGE, after, all: true }).await;
        let Ok(Reply::Jobs(reports)) = listed else { return };
        let Some(last) = reports.last() else { return };
        after = Some(last.place());
        for report in reports.into_iter().filter(is_left) {
            let Some(node) = report.requester.node() else { continue };
            let owner = Visitor { principal: report.requester, node, is_operator: false, ..visitor };
            let mut session = sessions.open(owner);
            if report.phase == JobPhase::Running {
                let _ = session.ask(Request::Cancel { job: report.job }).await;
            }
            let _ = session.ask(Request::Remove { job: report.job }).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_go_when_their_time_is_over_or_there_are_too_many() {
        let nobody = NodeId([0; 32]);
        let visitor = Visitor {
            principal: Principal::Node(nobody),
            node: nobody,
            signer: Address::default(),
            is_operator: false,
        };
        let sweep = Sweep::new();
        let drawn = sweep.draw().expect("there is randomness");
        assert!(drawn.0.starts_with(&sweep.mark) && drawn != sweep.draw().expect("there is randomness"));
        for number in 0..3 {
            sweep.later(visitor, JobId([number; 16]));
        }
        assert!(sweep.due(Duration::from_secs(3600)).is_empty());
        let due: Vec<JobId> = sweep.due(Duration::ZERO).into_iter().map(|given| given.job).collect();
        assert_eq!(due, [0, 1, 2].map(|number| JobId([number; 16])));
        for _ in 0..MOST_KEPT + 5 {
            sweep.later(visitor, JobId([9; 16]));
        }
        assert_eq!(sweep.due(Duration::from_secs(3600)).len(), 5);
    }
}
