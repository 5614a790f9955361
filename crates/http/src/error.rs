//! Errors in the shape that OpenAI's clients read.

use std::time::Duration;

use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};
use tidemill_coordinator::LocalError;
use tidemill_net::wire::Refusal;
use tidemill_types::lines;

/// Why a request has no answer.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{message}")]
pub struct HttpError {
    /// The status.
    pub status: u16,
    /// The API's `type`.
    pub kind: &'static str,
    /// What programs tell errors apart by.
    pub code: Option<&'static str>,
    /// The field that is wrong.
    pub param: Option<String>,
    /// What people read.
    pub message: String,
    /// When the same request may be answered otherwise.
    pub retry_after: Option<Duration>,
}

impl HttpError {
    fn new(status: u16, kind: &'static str, code: &'static str, message: impl Into<String>) -> Self {
        let (param, message) = (None, message.into());
        Self { status, kind, code: Some(code), param, message, retry_after: None }
    }

    /// A request that is wrong, for a reason that no field names.
    pub fn invalid(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(400, "invalid_request_error", code, message)
    }

    /// A field that is wrong.
    pub fn wrong(param: &str, message: impl Into<String>) -> Self {
        let param = Some(param.to_owned());
        Self { param, code: None, ..Self::invalid("", message) }
    }

    /// Nobody knows the key, or there is none.
    pub fn unauthorized(message: impl Into<String>) -> Self {
        Self::new(401, "invalid_request_error", "invalid_api_key", message)
    }

    /// The key is known, and is not for this.
    pub fn forbidden(message: impl Into<String>) -> Self {
        Self::new(403, "invalid_request_error", "insufficient_scope", message)
    }

    /// The money of the key is used up.
    pub fn unpaid(message: impl Into<String>) -> Self {
        Self::new(402, "insufficient_quota", "insufficient_quota", message)
    }

    /// There is no such thing.
    pub fn not_found(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(404, "invalid_request_error", code, message)
    }

    /// No model has this name.
    pub fn no_model(model: &str) -> Self {
        let model: String = model.chars().take(200).collect();
        let message = format!("the model {model:?} is not served here: GET /v1/models lists those that are");
        Self { param: Some("model".to_owned()), ..Self::not_found("model_not_found", message) }
    }

    /// The key has asked too often, or for too much.
    pub fn too_many(message: impl Into<String>, after: Duration) -> Self {
        let error = Self::new(429, "rate_limit_error", "rate_limit_exceeded", message);
        Self { retry_after: Some(after), ..error }
    }

    /// The network cannot do it now.
    pub fn unavailable(code: &'static str, message: impl Into<String>, after: Duration) -> Self {
        let error = Self::new(503, "server_error", code, message);
        Self { retry_after: Some(after), ..error }
    }

    /// Something failed that no request should make fail.
    pub fn server(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(500, "server_error", code, message)
    }

    /// The body came too slowly, or was longer than it may be.
    pub(crate) fn timeout() -> Self {
        let message = "the body did not arrive in time";
        Self::new(408, "invalid_request_error", "request_timeout", message)
    }

    pub(crate) fn too_large(most: usize) -> Self {
        let message = format!("the body is longer than {most} bytes");
        Self::new(413, "invalid_request_error", "request_too_large", message)
    }

    pub(crate) fn no_method(method: &str, path: &str) -> Self {
        let path: String = path.chars().take(200).collect();
        let message = format!("{method} is not a method of {path}");
        Self::new(405, "invalid_request_error", "method_not_allowed", message)
    }

    pub(crate) fn no_route(path: &str) -> Self {
        let path: String = path.chars().take(200).collect();
        Self::not_found("unknown_url", format!("there is no route {path:?}"))
    }

    /// The error's JSON.
    pub fn body(&self) -> Value {
        json!({"error": {
            "message": self.message,
            "type": self.kind,
            "param": self.param,
            "code": self.code,
        }})
    }
}

impl From<LocalError> for HttpError {
    fn from(error: LocalError) -> Self {
        let soon = Duration::from_secs(2);
        let message = lines(&error.to_string());
        match error {
            LocalError::Refused(refusal) => match refusal {
                Refusal::NoSuchJob => Self::not_found("job_not_found", message),
                Refusal::NoSuchTask => Self::not_found("task_not_found", message),
                Refusal::NoSuchEscrow => Self::not_found("escrow_not_found", message),
                Refusal::NotOperator => Self::forbidden(message),
                Refusal::Unpaid { .. } => Self::unpaid(message),
                Refusal::BadJob { .. } | Refusal::TooLong { .. } | Refusal::Fetch { .. } => {
                    Self::invalid("invalid_job", message)
                }
                Refusal::NotEnded | Refusal::IdTaken => {
                    Self::new(409, "invalid_request_error", "conflict", message)
                }
                Refusal::OverBudget { .. } => Self::too_many(message, Duration::from_secs(30)),
                Refusal::Busy { .. } | Refusal::NotSeen { .. } => Self::unavailable("busy", message, soon),
            },
            LocalError::OutOfBounds(_) => Self::invalid("out_of_bounds", message),
            LocalError::Over => Self::unavailable("stopping", message, Duration::from_secs(5)),
            LocalError::Blob(ref blob) if blob.is_disk_full() => {
                Self::unavailable("no_room", message, Duration::from_secs(30))
            }
            LocalError::Blob(_) | LocalError::OffProtocol => Self::server("internal_error", message),
        }
    }
}

impl IntoResponse for HttpError {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.body().to_string()));
        *response.status_mut() =
            StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(after) = self.retry_after {
            // Whole seconds, and never so few that the same answer comes again.
            let seconds = after.as_millis().div_ceil(1000).max(1);
            let seconds = u64::try_from(seconds).unwrap_or(u64::MAX);
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == 401 {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
