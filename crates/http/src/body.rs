//! The body of a request: no longer than it may be, and in time.

use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use http_body_util::{BodyExt, LengthLimitError, Limited};

use crate::error::HttpError;

/// All of a body, of at most so many bytes, that arrives within a time.
///
/// # Errors
/// 413 for one that is longer, 408 for one that is slower, 400 for one that breaks off.
pub async fn read_body(body: Body, most: usize, time: Duration) -> Result<Bytes, HttpError> {
    // One that says beforehand that it is too long is not read at all.
    if body.size_hint().lower() > most as u64 {
        return Err(HttpError::too_large(most));
    }
    match tokio::time::timeout(time, Limited::new(body, most).collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(HttpError::too_large(most)),
        Ok(Err(_)) => Err(HttpError::invalid("body_incomplete", "the body broke off")),
        Err(_) => Err(HttpError::timeout()),
    }
}
