//! OpenAI's routes: each request is a job of one task, in the name of its key, whose program answers lines of OpenAI's
//! Batch format.
//!
//! An answer is sent when the network relies on it. A stream sends before that what the provider writes meanwhile, and ends
//! with what was signed.

mod answered;
mod chunks;
mod events;
mod running;
mod sweep;

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use axum::{
    Extension, Router,
    body::{Body, Bytes},
    extract::{OriginalUri, Request, State},
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::Response,
    routing::post,
};
use serde_json::Value;
use tidemill_infer::api::{ApiError, Outline};
use tidemill_types::Receipt;
use tokio::sync::mpsc;

pub(crate) use self::sweep::{Sweep, sweep};
use self::{
    answered::Answered,
    chunks::Chunks,
    events::Events,
    running::{Asked, News, Running},
};
use crate::{
    body::read_body,
    error::HttpError,
    guard::Guest,
    keys::Scope,
    models::{ModelError, Readiness},
    receipts,
    router::{App, no_catalog},
};

/// How long a stream may have nothing to say before its status is sent: until then an error can still be one.
const FIRST_PATIENCE: Duration = Duration::from_secs(10);

/// How often a stream that has nothing to say says so.
const PING_EVERY: Duration = Duration::from_secs(15);

/// Events that wait for a client. One that does not read stops its own stream, and nothing else.
const EVENTS_WAITING: usize = 16;

const RECEIPT: HeaderName = HeaderName::from_static("x-tidemill-receipt");

/// The routes.
pub fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/v1/chat/completions", post(answer))
        .route("/v1/completions", post(answer))
        .route("/v1/embeddings", post(answer))
}

async fn answer(
    State(app): State<Arc<App>>,
    Extension(guest): Extension<Guest>,
    OriginalUri(uri): OriginalUri,
    request: Request,
) -> Result<Response, HttpError> {
    guest.may(Scope::Models)?;
    let begun = Instant::now();
    let body = read_body(request.into_body(), app.bounds.body_bytes, app.bounds.body_time).await?;
    let mut body: Value = serde_json::from_slice(&body)
        .map_err(|error| HttpError::invalid("invalid_json", format!("the body is not JSON: {error}")))?;
    let outline = Outline::read(uri.path(), &body).map_err(refused)?;
    let (model, program) = ready(&app, &outline.model)?;
    // A stream is a way to tell an answer, and no other answer.
    if let Some(fields) = body.as_object_mut() {
        fields.remove("stream");
        fields.remove("stream_options");
    }
    let created_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let asked =
        Asked { url: uri.path().to_owned(), body, outline: outline.clone(), model, program, created_s };
    let mut running = Running::submit(&app, &guest, asked).await?;
    let Some(has_usage) = outline.streams else {
        let (answered, receipt) = loop {
            if let News::Ended(report) = running.news().await? {
                break running.conclude(&report).await?;
            }
        };
        count(&app, &guest, &answered, begun);
        return whole(&running, &answered, receipt.as_ref());
    };
    let chat = if uri.path() == "/v1/chat/completions" { "chatcmpl" } else { "cmpl" };
    let id = format!("{chat}-{}", running.job());
    let chunks = Chunks::new(outline.form, outline.choices, has_usage, (id, created_s, outline.model));
    let stream = Stream { app, guest, running, chunks, begun };
    stream.begin().await
}

/// The model that a request names, and the blob that it is.
fn ready(app: &App, name: &str) -> Result<(crate::Model, tidemill_types::BlobRef), HttpError> {
    let model = match app.models.get(name) {
        Ok(model) => model,
        Err(ModelError::Unknown(_)) => return Err(HttpError::no_model(name)),
        Err(error) => return Err(no_catalog(&error)),
    };
    match app.models.ready(&app.sessions, name, model) {
        Readiness::Ready(model, blob) => Ok((model, blob)),
        Readiness::Loading => {
            let message = format!("the model {name:?} is being read: try again in a moment");
            Err(HttpError::unavailable("model_loading", message, Duration::from_secs(2)))
        }
        Readiness::Broken(reason) => {
            tracing::error!(model = name, reason, "a model cannot be read");
            Err(HttpError::server("model_broken", format!("the file of the model {name:?} cannot be read")))
        }
    }
}

fn refused(error: ApiError) -> HttpError {
    let ApiError { status, kind, code, param, message } = error;
    HttpError { status, kind, code, param, message, retry_after: None }
}

/// Takes what an answer used out of its key's limit, and counts it.
fn count(app: &App, guest: &Guest, answered: &Answered, begun: Instant) {
    let (prompt, answer) = answered.tokens();
    app.limits.spend_tokens(&guest.account(), prompt.saturating_add(answer));
    app.metrics.tokens(prompt, answer, begun.elapsed());
}

fn whole(running: &Running, answered: &Answered, receipt: Option<&Receipt>) -> Result<Response, HttpError> {
    let mut response = Response::new(Body::from(answered.body.to_string()));
    *response.status_mut() =
        StatusCode::from_u16(answered.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Ok(value) = HeaderValue::from_str(&receipts::header(running.job(), receipt)) {
        headers.insert(RECEIPT, value);
    }
    Ok(response)
}

/// A streamed answer on its way.
struct Stream {
    app: Arc<App>,
    guest: Guest,
    running: Running,
    chunks: Chunks,
    begun: Instant,
}

impl Stream {
    /// Waits until there is something to send, so that what goes wrong before is an answer of its own.
    async fn begin(mut self) -> Result<Response, HttpError> {
        let patience = tokio::time::sleep(FIRST_PATIENCE);
        tokio::pin!(patience);
        let mut first = Vec::new();
        let mut is_over = false;
        while first.is_empty() {
            let news = tokio::select! {
                news = self.running.news() => news?,
                () = patience.as_mut() => break,
            };
            match news {
                News::Ended(report) => {
                    let (answered, receipt) = self.running.conclude(&report).await?;
                    count(&self.app, &self.guest, &answered, self.begun);
                    if answered.status != 200 {
                        return whole(&self.running, &answered, receipt.as_ref());
                    }
                    first = self.end(&answered);
                    is_over = true;
                    break;
                }
                news => first = self.pass_on(news),
            }
        }
        let (sender, receiver) = mpsc::channel(EVENTS_WAITING);
        let job = self.running.job();
        tokio::spawn(async move {
            if !first.is_empty() && sender.send(joined(first)).await.is_err() || is_over {
                return;
            }
            self.go_on(&sender).await;
        });
        let mut response = Response::new(Body::new(Events(receiver)));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        // Proxies that gather an answer would hold a stream back.
        headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
        if let Ok(value) = HeaderValue::from_str(&receipts::header(job, None)) {
            headers.insert(RECEIPT, value);
        }
        Ok(response)
    }

    /// Sends what comes until the answer is whole, or its client is gone: then it is dropped, and its job with it.
    async fn go_on(mut self, sender: &mpsc::Sender<Bytes>) {
        loop {
            let events = tokio::select! {
                news = self.running.news() => match news {
                    Ok(News::Ended(report)) => {
                        let last = match self.running.conclude(&report).await {
                            Ok((answered, _)) => {
                                count(&self.app, &self.guest, &answered, self.begun);
                                match answered.status {
                                    200 => self.end(&answered),
                                    _ => vec![event(&answered.body)],
                                }
                            }
                            Err(error) => vec![event(&error.body())],
                        };
                        let _ = sender.send(joined(last)).await;
                        return;
                    }
                    Ok(news) => self.pass_on(news),
                    Err(error) => {
                        let _ = sender.send(event(&error.body())).await;
                        return;
                    }
                },
                () = sender.closed() => {
                    self.app.metrics.given_up();
                    return;
                }
                () = tokio::time::sleep(PING_EVERY) => vec![Bytes::from_static(b": ping\n\n")],
            };
            if !events.is_empty() && sender.send(joined(events)).await.is_err() {
                self.app.metrics.given_up();
                return;
            }
        }
    }

    fn pass_on(&mut self, news: News) -> Vec<Bytes> {
        match news {
            News::Attempt => self.chunks.attempt(),
            News::Missing => self.chunks.missing(),
            News::Written(pieces) => {
                let had_begun = self.chunks.has_begun();
                let chunks: Vec<Value> =
                    pieces.into_iter().flat_map(|(index, text)| self.chunks.text(index, &text)).collect();
                if !had_begun && self.chunks.has_begun() {
                    self.app.metrics.first_token(self.begun.elapsed());
                }
                return chunks.iter().map(event).collect();
            }
            News::Ended(_) => {}
        }
        Vec::new()
    }

    /// The rest of the answer, and its end.
    fn end(&mut self, answered: &Answered) -> Vec<Bytes> {
        match self.chunks.finish(&answered.body) {
            Ok(chunks) => {
                let mut events: Vec<Bytes> = chunks.iter().map(event).collect();
                events.push(Bytes::from_static(b"data: [DONE]\n\n"));
                events
            }
            Err(chunks::OtherAnswer) => {
                let message = "the text so far is void: the answer that the network accepted is another one";
                vec![event(&HttpError::server("answer_rejected", message).body())]
            }
        }
    }
}

/// A server-sent event.
fn event(data: &Value) -> Bytes {
    Bytes::from(format!("data: {data}\n\n"))
}

/// Events that are sent together.
fn joined(events: Vec<Bytes>) -> Bytes {
    match <[Bytes; 1]>::try_from(events) {
        Ok([one]) => one,
        Err(events) => Bytes::from(events.concat()),
    }
}
