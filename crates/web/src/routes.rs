//! Which path is what.

use std::sync::Arc;

use axum::{
    Extension, Json, Router,
    extract::{Path, Query, State},
    http::{HeaderMap, StatusCode, header},
    middleware,
    response::{Html, IntoResponse, Redirect, Response},
    routing::{get, post},
};
use maud::Markup;
use serde::Deserialize;
use tidemill_coordinator::{LocalError, Visitor};
use tidemill_net::wire::{Reply, Request};
use tidemill_types::{JobId, TaskId, TaskNumber};

use crate::{
    asset,
    desk::{self, Asking, Desk},
    earnings::{self, Earner, EarnerOf},
    entry::{Entry, enter},
    files,
    guard::guard,
    job::{TaskView, TasksView},
    jobs, live, network,
    problem::Problem,
    shell::{Page, Place, failure},
    submit,
};

/// The pages of a coordinator, for whoever may enter.
/// `earner` looks up what the providers of this home have earned.
pub fn pages(desk: Arc<Desk>, entry: Entry, earner: Earner) -> Router {
    let inner = Router::new()
        .route("/", get(async || Redirect::to("/network")))
        .route("/network", get(network_page))
        .route("/jobs", get(jobs_page))
        .route("/jobs/{job}", get(job_page))
        .route("/jobs/{job}/cancel", post(cancel))
        .route("/jobs/{job}/tasks", get(tasks_page))
        .route("/jobs/{job}/explain", get(explain_page))
        .route("/jobs/{job}/files/{task}/{*path}", get(file))
        .route("/earnings", get(earnings::show).layer(Extension(EarnerOf(earner))))
        .route("/submit", get(submit::show).post(submit::take))
        .route("/submit/check", post(submit::check))
        .route("/live/network", get(network_events))
        .route("/live/jobs", get(jobs_events))
        .route("/live/jobs/{job}", get(job_events))
        .route_layer(middleware::from_fn_with_state(Arc::new(entry), enter));
    // Style and pictures say nothing of anybody, and the page that lets nobody in needs them too.
    let document = crate::openapi::document();
    let open = Router::new()
        .route("/assets/{name}", get(asset::get))
        .route("/openapi.json", get(async move || Json(document)));
    inner.merge(open).layer(middleware::from_fn(guard)).with_state(desk)
}

/// A page that says what is wrong.
pub fn sorry(visitor: Option<Visitor>, problem: &Problem) -> Response {
    let way_out = match problem.status() {
        StatusCode::NOT_FOUND => {
            "It may have been removed, belong to somebody else, or never have been. The pages above have what is here."
        }
        StatusCode::UNAUTHORIZED => {
            "Open the address that `tidemill serve` or `tidemill up` printed, with its token."
        }
        StatusCode::MISDIRECTED_REQUEST => {
            "Open it by the address that was printed: http://127.0.0.1 and a port."
        }
        StatusCode::SERVICE_UNAVAILABLE => "Load the page again in a moment.",
        _ => "`tidemill doctor` looks for what may be wrong with this machine.",
    };
    let title = problem.status().canonical_reason().unwrap_or("Error");
    let page = Page { title, place: Place::Nowhere, live: None };
    let document = page.document(visitor, &failure(title, problem.detail(), way_out));
    (problem.status(), Html(document.into_string())).into_response()
}

/// A page, or what is wrong, as one.
pub fn shown(visitor: Visitor, page: &Page<'_>, content: Result<Markup, Problem>) -> Response {
    match content {
        Ok(content) => {
            let headers = [(header::CACHE_CONTROL, "no-store")];
            (headers, Html(page.document(Some(visitor), &content).into_string())).into_response()
        }
        Err(problem) => sorry(Some(visitor), &problem),
    }
}

/// A job's id, as addresses have it.
pub fn job_id(text: &str) -> Result<JobId, Problem> {
    text.parse().map_err(|_| Problem::new(StatusCode::NOT_FOUND, "there is no such job"))
}

type Shared = State<Arc<Desk>>;

async fn network_page(
    State(desk): Shared,
    Asking(visitor): Asking,
    Query(filter): Query<network::Filter>,
) -> Response {
    let page = Page { title: "Network", place: Place::Network, live: Some("/live/network".to_owned()) };
    let view = live::network_view(&desk, visitor, filter).await;
    shown(visitor, &page, view.map(|view| view.content()))
}

async fn network_events(State(desk): Shared, Asking(visitor): Asking) -> Result<Response, Problem> {
    live::network(desk, visitor)
}

async fn jobs_page(
    State(desk): Shared,
    Asking(visitor): Asking,
    Query(filter): Query<jobs::Filter>,
) -> Response {
    let live = format!("/live/jobs?state={}&page={}", jobs::known(&filter.state), filter.page);
    let page = Page { title: "Jobs", place: Place::Jobs, live: Some(live) };
    let view = live::jobs_view(&desk, visitor, filter).await;
    shown(visitor, &page, view.map(|view| view.content()))
}

async fn jobs_events(
    State(desk): Shared,
    Asking(visitor): Asking,
    Query(filter): Query<jobs::Filter>,
) -> Result<Response, Problem> {
    live::jobs(desk, visitor, filter)
}

async fn job_page(State(desk): Shared, Asking(visitor): Asking, Path(id): Path<String>) -> Response {
    let view = async {
        let mut session = desk.open(visitor);
        let job = desk::job(&mut session, job_id(&id)?).await?;
        live::job_view(&desk, &mut session, job).await
    };
    let view = view.await;
    let is_running = view.as_ref().is_ok_and(|view| !view.job.phase.is_ended());
    let title = view.as_ref().map_or_else(|_| "Job".to_owned(), |view| view.job.name.clone());
    let live = is_running.then(|| format!("/live/jobs/{id}"));
    let page = Page { title: &title, place: Place::Jobs, live };
    shown(visitor, &page, view.map(|view| view.content()))
}

async fn job_events(
    State(desk): Shared,
    Asking(visitor): Asking,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    live::job(desk, visitor, job_id(&id)?).await
}

async fn cancel(State(desk): Shared, Asking(visitor): Asking, Path(id): Path<String>) -> Response {
    let cancelled = async {
        let job = job_id(&id)?;
        desk.open(visitor).ask(Request::Cancel { job }).await?;
        Ok(job)
    };
    match cancelled.await {
        Ok(job) => Redirect::to(&format!("/jobs/{job}")).into_response(),
        Err(problem) => sorry(Some(visitor), &problem),
    }
}

/// Which tasks are listed.
#[derive(Deserialize)]
struct Listed {
    #[serde(default)]
    from: u64,
    limit: Option<u32>,
}

async fn tasks_page(
    State(desk): Shared,
    Asking(visitor): Asking,
    Path(id): Path<String>,
    Query(listed): Query<Listed>,
) -> Response {
    let view = async {
        let mut session = desk.open(visitor);
        let job = desk::job(&mut session, job_id(&id)?).await?;
        let limit = TasksView::limit(listed.limit);
        let tasks = desk::tasks(&mut session, job.job, listed.from, limit).await?;
        Ok(TasksView { job, from: listed.from, limit, tasks })
    };
    let page = Page { title: "Tasks", place: Place::Jobs, live: None };
    shown(visitor, &page, view.await.map(|view| view.content()))
}

/// Which task is explained.
#[derive(Deserialize)]
struct Explained {
    task: Option<u64>,
}

async fn explain_page(
    State(desk): Shared,
    Asking(visitor): Asking,
    Path(id): Path<String>,
    Query(explained): Query<Explained>,
) -> Response {
    let view = async {
        let mut session = desk.open(visitor);
        let job = desk::job(&mut session, job_id(&id)?).await?;
        let task = explained.task.map(TaskNumber);
        let explanation = match session.ask(Request::Explain { job: job.job, task }).await? {
            Reply::Explained(explanation) => explanation,
            _ => return Err(LocalError::OffProtocol.into()),
        };
        let log = match task {
            // A task without a result has no log.
            Some(task) => match session.ask(Request::Log { job: job.job, task }).await {
                Ok(Reply::Log { bytes, .. }) => Some(String::from_utf8_lossy(&bytes).into_owned()),
                _ => None,
            },
            None => None,
        };
        Ok(TaskView { job, task, explanation, log })
    };
    let page = Page { title: "Explain", place: Place::Jobs, live: None };
    shown(visitor, &page, view.await.map(|view| view.content()))
}

async fn file(
    State(desk): Shared,
    Asking(visitor): Asking,
    Path((id, task, path)): Path<(String, u64, String)>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let id = TaskId { job: job_id(&id)?, task: TaskNumber(task) };
    files::download(&mut desk.open(visitor), id, &path, &headers).await
}
