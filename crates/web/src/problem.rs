//! Errors outside of OpenAI's routes, as RFC 9457 has them.

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use tidemill_api as api;
use tidemill_coordinator::LocalError;
use tidemill_net::{blobs::BlobError, wire::Refusal};

/// What went wrong with a request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    status: StatusCode,
    /// What is wrong, in a sentence.
    detail: String,
    /// What is wrong with a job file, where it is about one.
    mistakes: Vec<api::JobFileMistake>,
}

impl Problem {
    /// A problem with its sentence.
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { status, detail: detail.into(), mistakes: Vec::new() }
    }

    /// The same, with the lines of the job file that it is about.
    pub fn with_mistakes(self, mistakes: Vec<api::JobFileMistake>) -> Self {
        Self { mistakes, ..self }
    }

    /// What is wrong with a job file.
    pub fn mistakes(&self) -> &[api::JobFileMistake] {
        &self.mistakes
    }

    /// The status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The sentence.
    pub fn detail(&self) -> &str {
        &self.detail
    }
}

impl From<LocalError> for Problem {
    fn from(error: LocalError) -> Self {
        let status = match &error {
            LocalError::Refused(refusal) => of_refusal(refusal),
            LocalError::OutOfBounds(_) => StatusCode::BAD_REQUEST,
            LocalError::Over => StatusCode::SERVICE_UNAVAILABLE,
            LocalError::Blob(BlobError::NotHere(_)) => StatusCode::NOT_FOUND,
            LocalError::Blob(BlobError::TooLong { .. }) => StatusCode::PAYLOAD_TOO_LARGE,
            LocalError::Blob(BlobError::OverBudget(_)) => StatusCode::INSUFFICIENT_STORAGE,
            LocalError::Blob(_) | LocalError::OffProtocol => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self::new(status, tidemill_types::causes(&error))
    }
}

fn of_refusal(refusal: &Refusal) -> StatusCode {
    match refusal {
        Refusal::NoSuchJob | Refusal::NoSuchTask | Refusal::NoSuchEscrow => StatusCode::NOT_FOUND,
        Refusal::NotEnded | Refusal::IdTaken => StatusCode::CONFLICT,
        Refusal::BadJob { .. } | Refusal::Fetch { .. } => StatusCode::UNPROCESSABLE_ENTITY,
        Refusal::TooLong { .. } => StatusCode::PAYLOAD_TOO_LARGE,
        Refusal::Busy { .. } | Refusal::NotSeen { .. } => StatusCode::SERVICE_UNAVAILABLE,
        Refusal::Unpaid { .. } => StatusCode::PAYMENT_REQUIRED,
        Refusal::OverBudget { .. } => StatusCode::INSUFFICIENT_STORAGE,
        Refusal::NotOperator => StatusCode::FORBIDDEN,
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let Self { status, detail, mistakes } = self;
        let problem = api::Problem {
            kind: "about:blank".to_owned(),
            title: status.canonical_reason().unwrap_or("Error").to_owned(),
            status: status.as_u16(),
            detail,
            mistakes,
        };
        let mut response = (status, Json(problem)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        // The same request may succeed later.
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_has_the_status_that_clients_expect() {
        let of = |refusal: Refusal| Problem::from(LocalError::Refused(refusal));
        assert_eq!(of(Refusal::NoSuchJob).status(), StatusCode::NOT_FOUND);
        assert_eq!(of(Refusal::NotOperator).status(), StatusCode::FORBIDDEN);
        let busy = of(Refusal::Busy { reason: "too many".to_owned() });
        assert_eq!(busy.detail(), "the coordinator cannot take it: too many");
        let response = busy.into_response();
        assert_eq!(response.headers()["content-type"], "application/problem+json");
        assert_eq!(response.headers()["retry-after"], "1");
    }
}
