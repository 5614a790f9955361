//! What visitors send that may be long: in pieces as it arrives, up to a bound, and not too slowly.

pub mod form;

use std::{
    future::poll_fn,
    pin::Pin,
    time::{Duration, Instant},
};

use axum::{
    body::{Body, HttpBody},
    http::StatusCode,
};
use bytes::Bytes;

use crate::problem::Problem;

/// How fast a body has to arrive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Speed {
    /// How long nothing of it may arrive.
    pub stall: Duration,
    /// The least bytes a second, on average.
    pub least: u64,
    /// For how long it may be slower at first.
    pub grace: Duration,
}

impl Default for Speed {
    /// What a slow line carries. A body of the size of a program is let through by the grace alone.
    fn default() -> Self {
        Self { stall: Duration::from_secs(30), least: 4 << 10, grace: Duration::from_secs(60) }
    }
}

/// A body on its way in.
pub struct Inflow {
    body: Body,
    most: u64,
    read: u64,
    speed: Speed,
    begun: Instant,
}

impl Inflow {
    /// A body of at most so many bytes. One that says that it is longer is not begun with.
    pub fn new(body: Body, most: u64, speed: Speed) -> Result<Self, Problem> {
        if body.size_hint().lower() > most {
            return Err(too_long(most));
        }
        Ok(Self { body, most, read: 0, speed, begun: Instant::now() })
    }

    /// The next piece; nothing at the end.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Problem> {
        loop {
            let Self { body, speed, .. } = self;
            let frame = poll_fn(|context| Pin::new(&mut *body).poll_frame(context));
            let frame = match tokio::time::timeout(speed.stall, frame).await {
                Err(_) => return Err(too_slow()),
                Ok(None) => return Ok(None),
                Ok(Some(Err(_))) => return Err(broken_off()),
                Ok(Some(Ok(frame))) => frame,
            };
            let Ok(bytes) = frame.into_data() else { continue };
            self.read += bytes.len() as u64;
            if self.read > self.most {
                return Err(too_long(self.most));
            }
            let counted = self.begun.elapsed().saturating_sub(self.speed.grace);
            if self.read < self.speed.least.saturating_mul(counted.as_secs()) {
                return Err(too_slow());
            }
            if !bytes.is_empty() {
                return Ok(Some(bytes));
            }
        }
    }

    /// All of it, for what is short.
    pub async fn all(mut self) -> Result<Vec<u8>, Problem> {
        let mut all = Vec::new();
        while let Some(bytes) = self.next().await? {
            all.extend_from_slice(&bytes);
        }
        Ok(all)
    }
}

fn too_long(most: u64) -> Problem {
    let most = tidemill_types::ByteSize(most);
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, format!("the body has more than {most}"))
}

fn too_slow() -> Problem {
    Problem::new(StatusCode::REQUEST_TIMEOUT, "the body arrived too slowly")
}

fn broken_off() -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "the body broke off")
}

#[cfg(test)]
mod tests {
    use std::{
        convert::Infallible,
        task::{Context, Poll},
    };

    use hyper::body::Frame;

    use super::*;

    /// A body of which one piece comes, and then nothing.
    pub struct Stalled(Option<Bytes>);

    impl HttpBody for Stalled {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            match self.0.take() {
                Some(bytes) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
                None => Poll::Pending,
            }
        }
    }

    fn status(result: Result<impl Sized, Problem>) -> Option<u16> {
        result.err().map(|problem| problem.status().as_u16())
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_slow_is_given_up() {
        let stalled = || Body::new(Stalled(Some(Bytes::from_static(b"some"))));
        let inflow = Inflow::new(stalled(), 100, Speed::default()).expect("it says nothing of its length");
        assert_eq!(status(inflow.all().await), Some(408));
        let speed = Speed { stall: Duration::from_secs(1), least: 5, grace: Duration::ZERO };
        let mut inflow = Inflow::new(stalled(), 100, speed).expect("it says nothing of its length");
        inflow.begun = Instant::now().checked_sub(Duration::from_secs(1)).expect("the clock has gone on");
        assert_eq!(status(inflow.next().await), Some(408), "4 bytes in a second");
    }

    #[tokio::test]
    async fn what_is_long_is_not_read() {
        let of = |len: usize| Inflow::new(Body::from(vec![7; len]), 10, Speed::default());
        assert_eq!(of(10).expect("it is short enough").all().await.expect("it is there").len(), 10);
        assert_eq!(status(of(11)), Some(413));
        let silent = Body::new(Stalled(Some(Bytes::from_static(b"0123456789a"))));
        let inflow = Inflow::new(silent, 10, Speed::default()).expect("it says nothing of its length");
        assert_eq!(status(inflow.all().await), Some(413));
    }
}
