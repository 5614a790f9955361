//! Server-sent events: lines that a task writes and a browser reads, bounded in between.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use axum::{
    body::{Body, HttpBody},
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use hyper::body::Frame;
use serde::Serialize;
use tokio::sync::mpsc;

/// Events that may wait for one reader. Whoever writes waits then, and what changes meanwhile is told once.
const WAITING: usize = 16;

/// Where events are written. The reader is gone when writing fails.
pub struct Writer(mpsc::Sender<Bytes>);

/// The reader is gone.
pub struct Gone;

struct Events(mpsc::Receiver<Bytes>);

/// The two ends of a stream of events.
pub fn stream() -> (Writer, Response) {
    let (sender, receiver) = mpsc::channel(WAITING);
    let mut response = Body::new(Events(receiver)).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // Proxies that gather answers would hold events back.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    (Writer(sender), response)
}

impl Writer {
    /// Writes an event with a body in JSON.
    pub async fn event(&self, name: &str, data: &impl Serialize) -> Result<(), Gone> {
        let Ok(data) = serde_json::to_string(data) else { return Ok(()) };
        self.put(format!("event: {name}\ndata: {data}\n\n")).await
    }

    /// Writes something that readers pass over, so that a connection that carries nothing is seen to be open.
    pub async fn comment(&self) -> Result<(), Gone> {
        self.put(":\n\n".to_owned()).await
    }

    /// Waits until the reader is gone.
    pub async fn gone(&self) {
        self.0.closed().await;
    }

    async fn put(&self, text: String) -> Result<(), Gone> {
        self.0.send(text.into()).await.map_err(|_| Gone)
    }
}

impl HttpBody for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
    }
}
