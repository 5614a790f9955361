//! What programs bring: jobs, and blobs for them.

use std::{
    io::{Read, Seek, SeekFrom},
    ops::Range,
    pin::Pin,
    task::{Context, Poll},
};

use axum::{
    Json,
    body::{Body, HttpBody},
    extract::{Path, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use serde::Deserialize;
use tidemill_coordinator::{LocalError, Visitor};
use tidemill_net::blobs::Lent;
use tidemill_types::BlobId;
use tokio::sync::mpsc;

use super::{Params, Shared, params, wrong};
use crate::{
    depot,
    desk::{Asking, Desk, Paying},
    files::{Asked, range},
    problem::Problem,
    staging::Staged,
    submission::{self, Brought},
    upload::{Inflow, Speed, form::is_form},
};

/// Bytes that are read at a time, and such pieces that may wait for a client.
const PIECE_BYTES: usize = 64 << 10;
const PIECES_AHEAD: usize = 4;

/// The file that a blob is while it arrives.
const ARRIVING: &str = "blob";

/// How a job is submitted.
#[derive(Deserialize)]
pub struct Submit {
    dry_run: Option<String>,
}

/// Whether a parameter that stands alone, or has a word, says yes.
fn is_yes(value: Option<&str>) -> Result<bool, Problem> {
    match value {
        None | Some("false" | "0") => Ok(false),
        Some("" | "true" | "1") => Ok(true),
        Some(_) => Err(wrong("dry_run", "it is neither true nor false")),
    }
}

/// `POST /v1/jobs`.
pub async fn submit(
    State(desk): Shared,
    Asking(visitor): Asking,
    Paying(purse): Paying,
    asked: Params<Submit>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let is_dry = is_yes(params(asked)?.dry_run.as_deref())?;
    let key = submission::idempotency_key(&headers)?;
    let pay = if is_dry { None } else { submission::pay(&desk, purse)? };
    let brought = match is_form(&headers) {
        true => Brought::from_form(&desk, visitor, &headers, body, &[]).await?,
        false if is_json(&headers) => Brought::from_json(&desk, visitor, body).await?,
        false => {
            let found = "a job is `multipart/form-data`, with the job file as `job.toml` and its files under their paths, \
                         or `application/json`, with the hashes of blobs";
            return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, found));
        }
    };
    if is_dry {
        return Ok(Json(submission::dry_run(desk, visitor, brought).await?).into_response());
    }
    let submitted = submission::submit(desk, visitor, brought, key, pay).await?;
    let place = format!("/v1/jobs/{}", submitted.job_id);
    Ok((StatusCode::CREATED, [(header::LOCATION, place)], Json(submitted)).into_response())
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json")
}

/// `POST /v1/blobs`.
pub async fn post_blob(
    State(desk): Shared,
    Asking(visitor): Asking,
    body: Body,
) -> Result<Response, Problem> {
    kept(&desk, visitor, None, body).await
}

/// `PUT /v1/blobs/{hash}`.
pub async fn put_blob(
    State(desk): Shared,
    Asking(visitor): Asking,
    Path(hash): Path<String>,
    body: Body,
) -> Result<Response, Problem> {
    kept(&desk, visitor, Some(blob_id(&hash)?), body).await
}

fn blob_id(text: &str) -> Result<BlobId, Problem> {
    text.parse().map_err(|error| wrong("the hash", error))
}

/// Takes a blob in. Whoever brings one has to send all of it, also where somebody else has brought it before: whether that
/// is so is nobody's business.
async fn kept(
    desk: &Desk,
    visitor: Visitor,
    expected: Option<BlobId>,
    body: Body,
) -> Result<Response, Problem> {
    let mut inflow = Inflow::new(body, desk.room.most_each(), Speed::default())?;
    let mut staged = Staged::new(&desk.folder, desk.room.part(visitor.principal))?;
    let mut file = staged.create(ARRIVING)?;
    while let Some(bytes) = inflow.next().await? {
        file.write(&bytes).await?;
    }
    let blob = file.finish().await?;
    if let Some(expected) = expected.filter(|expected| *expected != blob.id) {
        let found = format!("the hash of what was sent is {}, and not {expected}", blob.id);
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, found));
    }
    let room = staged.give(blob.len);
    let path = staged.directory().join(ARRIVING);
    desk.depot.keep(&desk.sessions, visitor.principal, (blob, &path), room).await?;
    let place = format!("/v1/blobs/{}", blob.id);
    Ok((StatusCode::CREATED, [(header::LOCATION, place)], Json(depot::told(blob))).into_response())
}

/// `GET /v1/blobs/{hash}`, and `HEAD`.
pub async fn get_blob(
    State(desk): Shared,
    Asking(visitor): Asking,
    Path(hash): Path<String>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let id = blob_id(&hash)?;
    let blob = desk.depot.get(visitor.principal, id).ok_or_else(|| {
        Problem::new(StatusCode::NOT_FOUND, "you have not brought this blob, or not used it for long")
    })?;
    let lent = desk.sessions.lend(id).await.map_err(LocalError::Blob)?;
    let asked = headers.get(header::RANGE).and_then(|range| range.to_str().ok());
    let whole = 0..blob.len;
    let (status, part) = match asked.map(|asked| range(asked, blob.len)) {
        None | Some(Asked::All) => (StatusCode::OK, whole),
        Some(Asked::Part(part)) => (StatusCode::PARTIAL_CONTENT, part),
        Some(Asked::Outside) => {
            let problem = Problem::new(StatusCode::RANGE_NOT_SATISFIABLE, "the blob is shorter");
            let told = format!("bytes */{}", blob.len);
            return Ok(([(header::CONTENT_RANGE, told)], problem).into_response());
        }
    };
    let len = part.end - part.start;
    let told = (status == StatusCode::PARTIAL_CONTENT)
        .then(|| format!("bytes {}-{}/{}", part.start, part.end.saturating_sub(1), blob.len));
    let body = match method {
        Method::HEAD => Body::empty(),
        _ => pour(lent, part),
    };
    let mut response = (status, body).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(len));
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    // Bytes of a stranger: a browser is to do nothing with them.
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; sandbox"));
    headers.insert(header::CONTENT_DISPOSITION, HeaderValue::from_static("attachment"));
    if let Ok(tag) = HeaderValue::from_str(&format!("\"{id}\"")) {
        headers.insert(header::ETAG, tag);
    }
    if let Some(told) = told.and_then(|told| HeaderValue::from_str(&told).ok()) {
        headers.insert(header::CONTENT_RANGE, told);
    }
    Ok(response)
}

/// The bytes of a blob, read as they are taken.
fn pour(lent: Lent, part: Range<u64>) -> Body {
    let (pieces, receiver) = mpsc::channel(PIECES_AHEAD);
    let left = part.end - part.start;
    tokio::task::spawn_blocking(move || {
        let read = || {
            let mut blob = lent.open()?;
            blob.seek(SeekFrom::Start(part.start))?;
            let mut blob = blob.take(left);
            loop {
                let mut piece = vec![0; PIECE_BYTES];
                let read = blob.read(&mut piece)?;
                piece.truncate(read);
                // The client may be gone.
                if read == 0 || pieces.blocking_send(Ok(Bytes::from(piece))).is_err() {
                    return Ok(());
                }
            }
        };
        if let Err(error) = read() {
            let _ = pieces.blocking_send(Err(error));
        }
    });
    Body::new(Poured { receiver, left })
}

struct Poured {
    receiver: mpsc::Receiver<std::io::Result<Bytes>>,
    left: u64,
}

impl HttpBody for Poured {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<std::io::Result<Frame<Bytes>>>> {
        self.receiver.poll_recv(context).map(|piece| {
            let piece = piece?;
            if let Ok(bytes) = &piece {
                self.left = self.left.saturating_sub(bytes.len() as u64);
            }
            Some(piece.map(Frame::data))
        })
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
