//! JSON-RPC over HTTP to a node that is not trusted: its answers are bounded.

use std::task;

use alloy::{
    rpc::json_rpc::{RequestPacket, ResponsePacket},
    transports::{TransportError, TransportErrorKind, TransportFut},
};
use reqwest::{Client, Url, header};
use tower::Service;

/// A node, asked by HTTP.
#[derive(Clone, Debug)]
pub(super) struct Bounded {
    client: Client,
    url: Url,
}

/// A node answered with more than anything that is asked can come to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the answer is longer than {most} bytes")]
pub(super) struct AnswerTooLong {
    most: usize,
}

/// The longest answer that lists events. Whoever asks for them asks for fewer blocks when it is too long.
const MOST_BYTES_OF_EVENTS: usize = 32 << 20;

/// The longest of all others: a receipt with the events of a transaction that fills a block, or a block of thousands of
/// transactions.
const MOST_BYTES: usize = 4 << 20;

impl Bounded {
    pub(super) fn new(client: Client, url: Url) -> Self {
        Self { client, url }
    }

    /// The address as errors of others repeat it.
    pub(super) fn url(&self) -> String {
        self.url.to_string()
    }

    pub(super) async fn ask(self, request: RequestPacket) -> Result<ResponsePacket, TransportError> {
        let most = most_bytes(&request);
        let body = serde_json::to_vec(&request).map_err(TransportError::ser_err)?;
        let post = self.client.post(self.url).header(header::CONTENT_TYPE, "application/json");
        let mut response = post.body(body).send().await.map_err(TransportErrorKind::custom)?;
        let status = response.status();
        let mut answer = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(TransportErrorKind::custom)? {
            if answer.len() + piece.len() > most {
                return Err(TransportErrorKind::non_retryable(AnswerTooLong { most }));
            }
            answer.extend_from_slice(&piece);
        }
        let parsed = serde_json::from_slice::<ResponsePacket>(&answer);
        match parsed {
            Ok(packet) if status.is_success() || packet.is_error() => Ok(packet),
            Err(error) if status.is_success() => {
                let words = tidemill_types::one_line(&String::from_utf8_lossy(&answer), 300);
                Err(TransportError::deser_err(error, words))
            }
            // What a node's guard says in a page instead.
            _ => {
                let words = tidemill_types::one_line(&String::from_utf8_lossy(&answer), 300);
                Err(TransportErrorKind::http_error(status.as_u16(), words))
            }
        }
    }
}

impl Service<RequestPacket> for Bounded {
    type Response = ResponsePacket;
    type Error = TransportError;
    type Future = TransportFut<'static>;

    fn poll_ready(&mut self, _: &mut task::Context<'_>) -> task::Poll<Result<(), Self::Error>> {
        task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: RequestPacket) -> Self::Future {
        Box::pin(self.clone().ask(request))
    }
}

fn most_bytes(request: &RequestPacket) -> usize {
    let lists_events = request.requests().iter().any(|request| request.method() == "eth_getLogs");
    if lists_events { MOST_BYTES_OF_EVENTS } else { MOST_BYTES }
}
