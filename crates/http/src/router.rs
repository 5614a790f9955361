//! The routes, and what they share.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Extension, Json, Router,
    extract::{OriginalUri, Path, State},
    http::{HeaderValue, Method, StatusCode, header},
    middleware,
    response::{IntoResponse, Response},
    routing::get,
};
use serde_json::{Value, json};
use tidemill_coordinator::{LocalSessions, Visitor};
use tokio::sync::Semaphore;

use crate::{
    error::HttpError,
    guard::{self, Guest},
    keys::{Keys, Scope},
    limits::Limits,
    metrics::Metrics,
    models::{Model, ModelError, Models, Readiness},
    openai::{self, Sweep, sweep},
    receipts,
};

/// What a server is started with.
#[derive(Debug)]
pub struct Config {
    /// Sessions of the coordinator that it serves.
    pub sessions: LocalSessions,
    /// The folder of its API keys.
    pub keys: PathBuf,
    /// The folder of its models.
    pub models: PathBuf,
    /// In whose name this machine asks without a key; nothing where a key is always needed, as where work is paid for.
    pub owner: Option<Visitor>,
    /// Whether a proxy stands before it, so that nobody is known by their address.
    pub is_behind_proxy: bool,
    /// What requests may take.
    pub bounds: Bounds,
}

/// What requests may take.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// The longest body.
    pub body_bytes: usize,
    /// How long a body may take to arrive.
    pub body_time: Duration,
    /// How long the head of a request may take to arrive, and how long a connection may be idle.
    pub head_time: Duration,
    /// How long a client may take no byte of an answer.
    pub stall_time: Duration,
    /// Connections at a time.
    pub connections: usize,
    /// Requests at a time, of all keys.
    pub at_once: usize,
    /// How long answers are kept for their receipts.
    pub keep_answers: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            body_bytes: 4 << 20,
            body_time: Duration::from_secs(30),
            head_time: Duration::from_secs(30),
            stall_time: Duration::from_secs(60),
            connections: 2048,
            at_once: 1024,
            keep_answers: Duration::from_secs(3600),
        }
    }
}

/// What handlers share.
#[derive(Debug)]
pub struct App {
    /// Sessions of the coordinator.
    pub sessions: LocalSessions,
    /// Who may ask.
    pub keys: Keys,
    /// The models that it serves.
    pub models: Models,
    /// What it has counted.
    pub metrics: Arc<Metrics>,
    /// What requests may take.
    pub bounds: Bounds,
    pub(crate) limits: Limits,
    pub(crate) sweep: Sweep,
    pub(crate) owner: Option<Visitor>,
    pub(crate) is_behind_proxy: bool,
    pub(crate) room: Arc<Semaphore>,
    begun: Instant,
}

impl App {
    /// Of this configuration. Must be called within a tokio runtime: what is kept of answers goes in the background.
    pub fn new(config: Config) -> Arc<Self> {
        let Config { sessions, keys, models, owner, is_behind_proxy, bounds } = config;
        let app = Arc::new(Self {
            sessions,
            keys: Keys::in_folder(keys),
            models: Models::in_folder(models),
            metrics: Arc::default(),
            bounds,
            limits: Limits::default(),
            sweep: Sweep::new(),
            owner,
            is_behind_proxy,
            room: Arc::new(Semaphore::new(bounds.at_once)),
            begun: Instant::now(),
        });
        // The first request to a model need not wait until its file is read.
        for (name, model) in app.models.list().unwrap_or_default() {
            app.models.ready(&app.sessions, &name, model);
        }
        tokio::spawn(sweep(Arc::downgrade(&app)));
        app
    }
}

/// All routes. `more` are routes of others: they are behind the same guard, and find a [`Guest`] among the extensions of
/// each request.
pub fn router(app: Arc<App>, more: Router<Arc<App>>) -> Router {
    let guarded = Router::new()
        .route("/v1/models", get(models))
        .route("/v1/models/{*name}", get(model))
        .route("/v1/receipts/{id}", get(receipts::show))
        .route("/metrics", get(metrics))
        .merge(openai::routes())
        .merge(more)
        .route_layer(middleware::from_fn_with_state(app.clone(), guard::inner));
    Router::new()
        .route("/health", get(health))
        .merge(guarded)
        .fallback(no_route)
        .method_not_allowed_fallback(no_method)
        .layer(middleware::from_fn_with_state(app.clone(), guard::outer))
        .with_state(app)
}

async fn no_route(OriginalUri(uri): OriginalUri) -> HttpError {
    HttpError::no_route(uri.path())
}

async fn no_method(method: Method, OriginalUri(uri): OriginalUri) -> HttpError {
    HttpError::no_method(method.as_str(), uri.path())
}

/// Whether it can be asked: 200, or 503 as long as nothing could be answered.
async fn health(State(app): State<Arc<App>>) -> Response {
    let providers = app.sessions.providers();
    let is_loading = app.models.list().is_ok_and(|models| {
        models
            .into_iter()
            .any(|(name, model)| matches!(app.models.ready(&app.sessions, &name, model), Readiness::Loading))
    });
    let status = match (app.sessions.is_over(), providers, is_loading) {
        (true, _, _) => "stopping",
        (false, 0, _) => "no provider is connected yet",
        (false, _, true) => "loading",
        (false, _, false) => "ok",
    };
    let code = if status == "ok" { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let up_s = app.begun.elapsed().as_secs();
    (code, Json(json!({"status": status, "providers": providers, "uptime_s": up_s}))).into_response()
}

async fn metrics(
    State(app): State<Arc<App>>,
    Extension(guest): Extension<Guest>,
) -> Result<Response, HttpError> {
    guest.may(Scope::Operator)?;
    let (used, budget) = app.sessions.disk();
    let text = app.metrics.text(&[
        ("tidemill_providers", "Providers that are connected.", app.sessions.providers() as u64),
        ("tidemill_blob_bytes", "Bytes of blobs that are kept.", used),
        ("tidemill_blob_budget_bytes", "Bytes of blobs that may be kept.", budget),
        (
            "tidemill_ended_jobs",
            "Jobs that ended or were removed, and escrows that closed.",
            app.sessions.past(),
        ),
        ("tidemill_uptime_seconds", "Since the server began.", app.begun.elapsed().as_secs()),
    ]);
    let mut response = text.into_response();
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    Ok(response)
}

async fn models(
    State(app): State<Arc<App>>,
    Extension(guest): Extension<Guest>,
) -> Result<Json<Value>, HttpError> {
    guest.may(Scope::Models)?;
    let models = app.models.list().map_err(|error| no_catalog(&error))?;
    let data: Vec<Value> = models.iter().map(|(name, model)| described(name, model)).collect();
    Ok(Json(json!({"object": "list", "data": data})))
}

async fn model(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    Extension(guest): Extension<Guest>,
) -> Result<Json<Value>, HttpError> {
    guest.may(Scope::Models)?;
    match app.models.get(&name) {
        Ok(model) => Ok(Json(described(&name, &model))),
        Err(ModelError::Unknown(_)) => Err(HttpError::no_model(&name)),
        Err(error) => Err(no_catalog(&error)),
    }
}

fn described(name: &str, model: &Model) -> Value {
    json!({
        "id": name,
        "object": "model",
        "created": model.added_s,
        "owned_by": "tidemill",
        "kind": model.kind,
        "context_length": model.context,
    })
}

pub(crate) fn no_catalog(error: &ModelError) -> HttpError {
    tracing::error!(error = error as &dyn std::error::Error, "the models cannot be looked up");
    HttpError::server("internal_error", "the models cannot be looked up now")
}
