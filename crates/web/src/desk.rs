//! What pages and answers ask of the coordinator, each by a session in the visitor's name.

use std::{
    collections::{HashMap, hash_map::Entry},
    convert::Infallible,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::{Duration, Instant},
};

use axum::{extract::FromRequestParts, http::StatusCode, http::request::Parts};
use tidemill_coordinator::{LocalError, LocalSession, LocalSessions, Visitor};
use tidemill_net::wire::{
    JobPay, JobPhase, JobReport, MAX_PAGE, ProviderReport, Reply, ReputationReport, Request, TaskReport,
};
use tidemill_types::{Address, JobId, TaskNumber};
use tokio::sync::Semaphore;

use crate::{
    depot::{Depot, SWEEP},
    grid::Grid,
    problem::Problem,
    staging::Room,
};

/// Jobs whose cells are kept.
const MOST_GRIDS: usize = 64;

/// How old cells may be that are shown: for long jobs longer, since counting them asks for every task.
const FRESH: Duration = Duration::from_secs(1);
const FRESH_LONG: Duration = Duration::from_secs(15);
const LONG: u64 = 20_000;

/// Streams of events at a time.
const MOST_STREAMS: usize = 1024;

/// Operators whose records one page asks for.
const MOST_RECORDS: usize = 200;

/// Jobs that are put together at a time: their inputs are read and cut.
const MOST_SEALING: usize = 2;

/// The part of the disk that visitors' files may take, before they are inputs of jobs.
const PART: u64 = 4;

/// What all requests to the pages and routes of a coordinator share.
pub struct Desk {
    /// Sessions of the coordinator.
    pub(crate) sessions: LocalSessions,
    /// Where files are while a request needs them.
    pub(crate) folder: PathBuf,
    /// How much of them there may be.
    pub(crate) room: Arc<Room>,
    /// Blobs that were brought for jobs to come.
    pub(crate) depot: Depot,
    /// Places for jobs that are put together.
    pub(crate) sealing: Arc<Semaphore>,
    grids: Mutex<HashMap<JobId, Arc<Kept>>>,
    /// Places for streams of events.
    pub(crate) streams: Arc<Semaphore>,
}

/// The cells of a job, counted by one request at a time.
type Kept = tokio::sync::Mutex<Option<(Instant, Arc<Grid>)>>;

/// Who asks, as whoever serves these routes has found out.
pub struct Asking(pub Visitor);

/// What pays for the jobs of whoever asks: to be put among the extensions of a request.
#[derive(Clone, Copy, Debug)]
pub struct Purse(pub JobPay);

/// What pays for the jobs of whoever asks, if anything does.
pub struct Paying(pub Option<JobPay>);

impl<S: Send + Sync> FromRequestParts<S> for Paying {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self(parts.extensions.get::<Purse>().map(|Purse(pay)| *pay)))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Asking {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let visitor = parts.extensions.get::<Visitor>().copied();
        visitor.map(Self).ok_or_else(|| {
            Problem::new(StatusCode::UNAUTHORIZED, "show an API key: `Authorization: Bearer KEY`")
        })
    }
}

impl Desk {
    /// Of the coordinator with these sessions. What visitors bring is put into `folder`, which need not be there, until it is
    /// an input of a job. Must be called within a tokio runtime.
    pub fn new(sessions: LocalSessions, folder: PathBuf) -> Arc<Self> {
        let (_, budget) = sessions.disk();
        let desk = Arc::new(Self {
            room: Room::new(budget / PART),
            sessions,
            folder,
            depot: Depot::default(),
            sealing: Arc::new(Semaphore::new(MOST_SEALING)),
            grids: Mutex::default(),
            streams: Arc::new(Semaphore::new(MOST_STREAMS)),
        });
        tokio::spawn(sweep(Arc::downgrade(&desk)));
        desk
    }

    /// A session in a visitor's name.
    pub(crate) fn open(&self, visitor: Visitor) -> LocalSession {
        self.sessions.open(visitor)
    }

    /// Whether nobody pays here.
    pub(crate) fn is_free(&self) -> bool {
        self.sessions.is_free()
    }

    /// Waits until the coordinator stops.
    pub(crate) async fn over(&self) {
        self.sessions.over().await;
    }

    /// The cells of a job that the visitor may see, not older than they need be.
    pub(crate) async fn grid(
        &self,
        session: &mut LocalSession,
        job: &JobReport,
    ) -> Result<Arc<Grid>, Problem> {
        if job.phase == JobPhase::Done {
            return Ok(Arc::new(Grid::done(job.tasks)));
        }
        let kept = self.kept(job.job);
        let mut kept = kept.lock().await;
        let fresh = if job.tasks > LONG { FRESH_LONG } else { FRESH };
        if let Some((counted, grid)) = &*kept
            && counted.elapsed() < fresh
        {
            return Ok(grid.clone());
        }
        let mut grid = Grid::new(job.tasks);
        let mut from = 0;
        while from < job.tasks {
            let tasks = tasks(session, job.job, from, MAX_PAGE).await?;
            let Some(last) = tasks.last() else { break };
            from = last.task.0 + 1;
            tasks.iter().for_each(|task| grid.add(task));
        }
        let grid = Arc::new(grid);
        *kept = Some((Instant::now(), grid.clone()));
        Ok(grid)
    }

    fn kept(&self, job: JobId) -> Arc<Kept> {
        let mut grids = self.grids.lock().unwrap_or_else(PoisonError::into_inner);
        // What is dropped is counted again.
        if grids.len() >= MOST_GRIDS && !grids.contains_key(&job) {
            grids.clear();
        }
        grids.entry(job).or_default().clone()
    }
}

/// Lets go what visitors brought and did not use, as long as the desk is there.
async fn sweep(desk: Weak<Desk>) {
    loop {
        tokio::time::sleep(SWEEP).await;
        let Some(desk) = desk.upgrade() else { return };
        desk.depot.sweep(&desk.sessions, Instant::now()).await;
    }
}

impl std::fmt::Debug for Desk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Desk").field("folder", &self.folder).finish_non_exhaustive()
    }
}

/// A job.
pub async fn job(session: &mut LocalSession, job: JobId) -> Result<JobReport, Problem> {
    match session.ask(Request::Job { job }).await? {
        Reply::Job(report) => Ok(report),
        _ => Err(LocalError::OffProtocol.into()),
    }
}

/// The jobs that the visitor may see, the newest first, up to [`MAX_PAGE`]: of an operator those of all requesters.
pub async fn jobs(session: &mut LocalSession) -> Result<Vec<JobReport>, Problem> {
    let all = session.visitor().is_operator;
    let mut listed: Vec<JobReport> = Vec::new();
    // An answer holds fewer than are asked for where they are long.
    loop {
        let limit = left(MAX_PAGE, listed.len());
        if limit == 0 {
            return Ok(listed);
        }
        let after = listed.last().map(JobReport::place);
        match session.ask(Request::Jobs { limit, after, all }).await? {
            Reply::Jobs(jobs) if jobs.is_empty() => return Ok(listed),
            Reply::Jobs(jobs) => listed.extend(jobs),
            _ => return Err(LocalError::OffProtocol.into()),
        }
    }
}

/// Tasks of a job, from one on, up to a limit.
pub async fn tasks(
    session: &mut LocalSession,
    job: JobId,
    from: u64,
    limit: u32,
) -> Result<Vec<TaskReport>, Problem> {
    let mut listed: Vec<TaskReport> = Vec::new();
    loop {
        let limit = left(limit, listed.len());
        if limit == 0 {
            return Ok(listed);
        }
        let from = TaskNumber(listed.last().map_or(from, |last| last.task.0 + 1));
        match session.ask(Request::Tasks { job, from, limit }).await? {
            Reply::Tasks(tasks) if tasks.is_empty() => return Ok(listed),
            Reply::Tasks(tasks) => listed.extend(tasks),
            _ => return Err(LocalError::OffProtocol.into()),
        }
    }
}

/// How many more entries there may be.
fn left(limit: u32, listed: usize) -> u32 {
    limit.saturating_sub(u32::try_from(listed).unwrap_or(u32::MAX))
}

/// Who lends what.
pub async fn providers(session: &mut LocalSession) -> Result<Vec<ProviderReport>, Problem> {
    match session.ask(Request::Providers).await? {
        Reply::Providers(providers) => Ok(providers),
        _ => Err(LocalError::OffProtocol.into()),
    }
}

/// What is known of an operator's results.
pub async fn reputation(session: &mut LocalSession, operator: Address) -> Result<ReputationReport, Problem> {
    match session.ask(Request::Reputation { operator }).await? {
        Reply::Reputation(report) => Ok(report),
        _ => Err(LocalError::OffProtocol.into()),
    }
}

/// The same of all operators of some providers, up to a number.
pub async fn records(
    session: &mut LocalSession,
    providers: &[ProviderReport],
) -> Result<HashMap<Address, ReputationReport>, Problem> {
    let mut known = HashMap::new();
    for provider in providers {
        if known.len() >= MOST_RECORDS {
            break;
        }
        if let Entry::Vacant(place) = known.entry(provider.operator) {
            place.insert(reputation(session, provider.operator).await?);
        }
    }
    Ok(known)
}
