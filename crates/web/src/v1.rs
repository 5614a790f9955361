//! The same as JSON, and what a program may do: `/v1/jobs`, `/v1/blobs`, `/v1/providers`, `/v1/reputation`,
//! `/v1/escrows`.

mod bring;

use std::{sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::{Path, Query, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde::Deserialize;
use tidemill_api as api;
use tidemill_coordinator::LocalError;
use tidemill_net::wire::{JobPhase, MAX_PAGE, Reply, Request};
use tidemill_types::{Address, EscrowId, TaskId, TaskNumber};

use crate::{
    desk::{self, Asking, Desk},
    files, live,
    problem::Problem,
    routes::job_id,
    told,
};

/// Jobs or tasks of one answer where nothing else is asked for.
const USUAL: u32 = 50;

/// The routes. Each request must have a [`tidemill_coordinator::Visitor`] among its extensions.
pub fn routes<S: Clone + Send + Sync + 'static>(desk: Arc<Desk>) -> Router<S> {
    Router::new()
        .route("/v1/jobs", get(jobs).post(bring::submit))
        .route("/v1/blobs", post(bring::post_blob))
        .route("/v1/blobs/{hash}", get(bring::get_blob).put(bring::put_blob))
        .route("/v1/jobs/{job}", get(job).delete(remove))
        .route("/v1/jobs/{job}/cancel", post(cancel))
        .route("/v1/jobs/{job}/tasks", get(tasks))
        .route("/v1/jobs/{job}/tasks/{task}/log", get(log))
        .route("/v1/jobs/{job}/explanation", get(explanation))
        .route("/v1/jobs/{job}/events", get(events))
        .route("/v1/jobs/{job}/output", get(output))
        .route("/v1/jobs/{job}/output/{task}/{*path}", get(file))
        .route("/v1/providers", get(providers))
        .route("/v1/reputation/{operator}", get(reputation))
        .route("/v1/escrows/{escrow}", get(escrow))
        .route("/v1/escrows/{escrow}/end", post(end_escrow))
        .with_state(desk)
}

type Shared = State<Arc<Desk>>;
type Answer<T> = Result<Json<T>, Problem>;

/// A parameter that is wrong, in the words of who reads it.
fn wrong(what: &str, found: impl std::fmt::Display) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, format!("{what}: {found}"))
}

/// The parameters of an address, or what is wrong with them.
type Params<T> = Result<Query<T>, axum::extract::rejection::QueryRejection>;

fn params<T>(params: Params<T>) -> Result<T, Problem> {
    params.map(|Query(params)| params).map_err(|error| wrong("the parameters", error.body_text()))
}

#[derive(Deserialize)]
struct Jobs {
    after: Option<String>,
    limit: Option<u32>,
    phase: Option<api::JobPhase>,
}

async fn jobs(State(desk): Shared, Asking(visitor): Asking, asked: Params<Jobs>) -> Answer<api::JobPage> {
    let Jobs { after, limit, phase } = params(asked)?;
    let limit = bounded(limit)? as usize;
    let mut session = desk.open(visitor);
    let all: Vec<_> = desk::jobs(&mut session).await?;
    let from = match after {
        None => 0,
        Some(after) => {
            let after = job_id(&after)?;
            let at = all.iter().position(|job| job.job == after);
            at.ok_or_else(|| wrong("after", "there is no such job any more: begin again without it"))? + 1
        }
    };
    let is_wanted =
        |job: &&tidemill_net::wire::JobReport| phase.is_none_or(|phase| told::phase(&job.phase) == phase);
    let mut wanted = all[from..].iter().filter(is_wanted);
    let data: Vec<_> = wanted.by_ref().take(limit).map(told::job).collect();
    let next = wanted.next().and_then(|_| data.last()).map(|last| last.job_id.clone());
    Ok(Json(api::JobPage { data, next }))
}

/// How many entries an answer has.
fn bounded(limit: Option<u32>) -> Result<u32, Problem> {
    match limit.unwrap_or(USUAL) {
        0 => Err(wrong("limit", "it is 0, and at least 1 is needed")),
        limit if limit > MAX_PAGE => {
            Err(wrong("limit", format!("it is {limit}, and at most {MAX_PAGE} is allowed")))
        }
        limit => Ok(limit),
    }
}

async fn job(State(desk): Shared, Asking(visitor): Asking, Path(id): Path<String>) -> Answer<api::Job> {
    let report = desk::job(&mut desk.open(visitor), job_id(&id)?).await?;
    Ok(Json(told::job(&report)))
}

async fn cancel(State(desk): Shared, Asking(visitor): Asking, Path(id): Path<String>) -> Answer<api::Job> {
    match desk.open(visitor).ask(Request::Cancel { job: job_id(&id)? }).await? {
        Reply::Job(report) => Ok(Json(told::job(&report))),
        _ => Err(LocalError::OffProtocol.into()),
    }
}

async fn remove(
    State(desk): Shared,
    Asking(visitor): Asking,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    match desk.open(visitor).ask(Request::Remove { job: job_id(&id)? }).await? {
        Reply::Removed => Ok(StatusCode::NO_CONTENT),
        _ => Err(LocalError::OffProtocol.into()),
    }
}

#[derive(Deserialize)]
struct Tasks {
    #[serde(default)]
    from: u64,
    limit: Option<u32>,
}

async fn tasks(
    State(desk): Shared,
    Asking(visitor): Asking,
    Path(id): Path<String>,
    asked: Params<Tasks>,
) -> Answer<api::TaskPage> {
    let Tasks { from, limit } = params(asked)?;
    let mut session = desk.open(visitor);
    let job = desk::job(&mut session, job_id(&id)?).await?;
    let found = desk::tasks(&mut session, job.job, from, bounded(limit)?).await?;
    let next = found.last().map(|task| task.task.0 + 1).filter(|next| *next < job.tasks);
    Ok(Json(api::TaskPage { data: found.iter().map(told::task).collect(), next }))
}

async fn log(
    State(desk): Shared,
    Asking(visitor): Asking,
    Path((id, task)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let request = Request::Log { job: job_id(&id)?, task: task_number(&task)? };
    match desk.open(visitor).ask(request).await? {
        // As it was written: a browser is told that it is nothing but bytes.
        Reply::Log { bytes, .. } => Ok(bytes.into_response()),
        _ => Err(LocalError::OffProtocol.into()),
    }
}

fn task_number(text: &str) -> Result<TaskNumber, Problem> {
    text.parse().map(TaskNumber).map_err(|_| Problem::new(StatusCode::NOT_FOUND, "there is no such task"))
}

#[derive(Deserialize)]
struct Explained {
    task: Option<u64>,
}

async fn explanation(
    State(desk): Shared,
    Asking(visitor): Asking,
    Path(id): Path<String>,
    asked: Params<Explained>,
) -> Answer<api::Explanation> {
    let task = params(asked)?.task.map(TaskNumber);
    let mut session = desk.open(visitor);
    let job = desk::job(&mut session, job_id(&id)?).await?;
    match session.ask(Request::Explain { job: job.job, task }).await? {
        Reply::Explained(explanation) => Ok(Json(told::explanation(&job, task, &explanation))),
        _ => Err(LocalError::OffProtocol.into()),
    }
}

/// The job whenever it changes, as events `job`, up to an event `over`.
async fn events(
    State(desk): Shared,
    Asking(visitor): Asking,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let place = live::place(&desk)?;
    let job = job_id(&id)?;
    let mut session = desk.open(visitor);
    let mut report = desk::job(&mut session, job).await?;
    session.send(Request::Watch { job }).await?;
    Ok(live::follow(desk, place, async move |_: Arc<Desk>, writer: Arc<crate::events::Writer>| {
        loop {
            writer.event("job", &told::job(&report)).await?;
            if report.phase != JobPhase::Running {
                return writer.event("over", &()).await;
            }
            report = loop {
                tokio::select! {
                    answer = session.next() => match answer.map(|answer| answer.reply) {
                        Ok(Ok(Reply::Job(next) | Reply::Ended(next))) => break next,
                        _ => return Ok(()),
                    },
                    () = tokio::time::sleep(Duration::from_secs(15)) => writer.comment().await?,
                }
            };
        }
    }))
}

#[derive(Deserialize)]
struct From {
    #[serde(default)]
    from: u64,
}

async fn output(
    State(desk): Shared,
    Asking(visitor): Asking,
    Path(id): Path<String>,
    asked: Params<From>,
) -> Answer<api::OutputListing> {
    let From { from } = params(asked)?;
    let job = job_id(&id)?;
    let (files, next) = files::all(&mut desk.open(visitor), job, from).await?;
    let entry = |file: &files::OutFile| api::OutputEntry {
        task: file.task.0,
        path: file.path.clone(),
        bytes: file.len,
        url: files::link(&format!("/v1/jobs/{job}/output"), file),
    };
    Ok(Json(api::OutputListing { data: files.iter().map(entry).collect(), next }))
}

async fn file(
    State(desk): Shared,
    Asking(visitor): Asking,
    Path((id, task, path)): Path<(String, String, String)>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let id = TaskId { job: job_id(&id)?, task: task_number(&task)? };
    files::download(&mut desk.open(visitor), id, &path, &headers).await
}

async fn providers(State(desk): Shared, Asking(visitor): Asking) -> Answer<api::ProviderList> {
    let providers = desk::providers(&mut desk.open(visitor)).await?;
    Ok(Json(api::ProviderList { data: providers.iter().map(told::provider).collect() }))
}

async fn reputation(
    State(desk): Shared,
    Asking(visitor): Asking,
    Path(operator): Path<String>,
) -> Answer<api::Reputation> {
    let operator: Address = operator.parse().map_err(|error| wrong("the operator", error))?;
    let report = desk::reputation(&mut desk.open(visitor), operator).await?;
    Ok(Json(told::reputation(operator, &report)))
}

fn escrow_id(text: &str) -> Result<EscrowId, Problem> {
    text.parse().map_err(|error| wrong("the escrow", error))
}

async fn escrow(
    State(desk): Shared,
    Asking(visitor): Asking,
    Path(id): Path<String>,
) -> Answer<api::Payment> {
    asked_of_escrow(&desk, visitor, Request::Escrow { escrow: escrow_id(&id)? }).await
}

async fn end_escrow(
    State(desk): Shared,
    Asking(visitor): Asking,
    Path(id): Path<String>,
) -> Answer<api::Payment> {
    asked_of_escrow(&desk, visitor, Request::CloseEscrow { escrow: escrow_id(&id)? }).await
}

async fn asked_of_escrow(
    desk: &Desk,
    visitor: tidemill_coordinator::Visitor,
    request: Request,
) -> Answer<api::Payment> {
    match desk.open(visitor).ask(request).await? {
        Reply::Escrow(report) => Ok(Json(told::payment(&report))),
        _ => Err(LocalError::OffProtocol.into()),
    }
}
