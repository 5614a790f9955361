//! What every request passes on its way: a number for its logs, the rules for browsers, who asks, and how much they may.

use std::{
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use axum::{
    body::{Body, HttpBody},
    extract::{MatchedPath, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use tidemill_coordinator::Visitor;
use tidemill_types::Address;

use crate::{
    error::HttpError,
    keys::{Key, KeyError, KeyId, Keys, Scope},
    limits::{Left, Limit, Wait},
    router::App,
};

/// Where a request comes from: among its extensions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub SocketAddr);

/// Who asks: among the extensions of each request that has passed the guard.
#[derive(Clone, Debug)]
pub struct Guest {
    /// In whose name the coordinator is asked.
    pub visitor: Visitor,
    /// The key that was shown; nothing of the owner of a free network on its own machine.
    pub key: Option<(KeyId, Arc<Key>)>,
}

impl Guest {
    /// Whether the key is good for this. The owner may do all.
    ///
    /// # Errors
    /// 403, naming the scope that is missing.
    pub fn may(&self, scope: Scope) -> Result<(), HttpError> {
        match &self.key {
            Some((_, key)) if !key.scopes.contains(&scope) => {
                Err(HttpError::forbidden(format!("this API key has not the scope {scope:?}")))
            }
            _ => Ok(()),
        }
    }

    /// The name of its account of limits.
    pub fn account(&self) -> String {
        self.key.as_ref().map_or_else(|| "owner".to_owned(), |(id, _)| id.to_string())
    }

    fn limit(&self) -> Limit {
        self.key.as_ref().map_or(Limit::OWNER, |(_, key)| key.limit)
    }
}

/// The outermost: numbers, counts and logs a request, and says to browsers what other pages may do.
pub(crate) async fn outer(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let number = request_id();
    let (method, asked) = (request.method().clone(), asked_headers(request.headers()));
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or_else(|| "none".to_owned(), |path| path.as_str().to_owned());
    let begun = Instant::now();
    let under_way = app.metrics.begin();
    let mut response = match method {
        // A browser asks before it sends what another page wants to send.
        Method::OPTIONS => StatusCode::NO_CONTENT.into_response(),
        _ => next.run(request).await,
    };
    let status = response.status().as_u16();
    app.metrics.answered(&route, status);
    tracing::debug!(request = number, %method, route, status, ms = begun.elapsed().as_millis(), "answered");
    let headers = response.headers_mut();
    if let Ok(number) = HeaderValue::from_str(&number) {
        headers.insert(REQUEST_ID, number);
    }
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    if method == Method::OPTIONS {
        headers.insert(
            header::ACCESS_CONTROL_ALLOW_METHODS,
            HeaderValue::from_static("GET, POST, PUT, DELETE, OPTIONS"),
        );
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, asked);
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    } else {
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
    }
    holding(response, under_way)
}

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What pages of others may read beside an answer.
const EXPOSED: &str = "x-request-id, x-tidemill-receipt, retry-after, x-ratelimit-limit-requests, \
                       x-ratelimit-remaining-requests, x-ratelimit-reset-requests, x-ratelimit-limit-tokens, \
                       x-ratelimit-remaining-tokens, x-ratelimit-reset-tokens";

/// The headers that a browser asks for: all are allowed, since no header but a key's lets anybody in.
fn asked_headers(headers: &HeaderMap) -> HeaderValue {
    let usual = HeaderValue::from_static("authorization, content-type");
    headers.get(header::ACCESS_CONTROL_REQUEST_HEADERS).cloned().unwrap_or(usual)
}

/// The inner guard: who asks, and whether they may ask now.
pub(crate) async fn inner(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    let guest = match who(&app, &request) {
        Ok(guest) => guest,
        Err(error) => return error.into_response(),
    };
    let Ok(place) = app.room.clone().try_acquire_owned() else {
        let message = "as many requests are being answered as this server answers at a time";
        return HttpError::unavailable("overloaded", message, Duration::from_secs(1)).into_response();
    };
    let taken = app.limits.take(&guest.account(), guest.limit(), Instant::now());
    let (ticket, left) = match taken {
        Ok(taken) => taken,
        Err(Wait { what, time, left }) => {
            let message = format!("this API key has no {what} left: try again in {}", words(time));
            let mut response = HttpError::too_many(message, time).into_response();
            tell_limits(response.headers_mut(), left);
            return response;
        }
    };
    request.extensions_mut().insert(guest);
    let mut response = next.run(request).await;
    tell_limits(response.headers_mut(), left);
    holding(response, (place, ticket))
}

/// An answer that holds something until it has been sent.
fn holding<T: Send + Unpin + 'static>(response: Response, held: T) -> Response {
    response.map(|body| Body::new(Holding { body, _held: held }))
}

/// The body of such an answer. Clients learn how long it is, as they would without what it holds.
struct Holding<T> {
    body: Body,
    _held: T,
}

impl<T: Unpin> HttpBody for Holding<T> {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

fn tell_limits(headers: &mut HeaderMap, left: Left) {
    let Left { limits, remaining, reset } = left;
    let mut put = |name: &'static str, value: String| {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    };
    put("x-ratelimit-limit-requests", limits.0.to_string());
    put("x-ratelimit-remaining-requests", remaining.0.to_string());
    put("x-ratelimit-reset-requests", words(reset.0));
    put("x-ratelimit-limit-tokens", limits.1.to_string());
    put("x-ratelimit-remaining-tokens", remaining.1.to_string());
    put("x-ratelimit-reset-tokens", words(reset.1));
}

/// A time as these headers have it: `1m3s`, `250ms`.
fn words(time: Duration) -> String {
    let ms = time.as_millis();
    match ms {
        0..1_000 => format!("{ms}ms"),
        1_000..60_000 => format!("{}.{:03}s", ms / 1_000, ms % 1_000),
        _ => format!("{}m{}s", ms / 60_000, ms % 60_000 / 1_000),
    }
}

/// Who asks.
fn who(app: &App, request: &Request) -> Result<Guest, HttpError> {
    let headers = request.headers();
    let shown = match headers.get(header::AUTHORIZATION) {
        None => None,
        Some(value) => {
            let text = value.to_str().unwrap_or_default();
            let (scheme, key) = text.split_once(' ').unwrap_or((text, ""));
            if !scheme.eq_ignore_ascii_case("bearer") {
                return Err(HttpError::unauthorized(
                    "the header Authorization must be \"Bearer\" and an API key",
                ));
            }
            Some(key.trim())
        }
    };
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let owner = app.owner.filter(|_| is_owner(app, request));
    match (shown, owner) {
        // Clients send something for a key even where none is needed.
        (None, Some(visitor)) => Ok(Guest { visitor, key: None }),
        (Some(text), Some(visitor)) if !Keys::is_like_one(text) => Ok(Guest { visitor, key: None }),
        (None, None) => {
            let how = if app.sessions.is_free() { "" } else { " --budget \"5 TIDE\"" };
            let message = format!(
                "an API key is needed: `tidemill api-key new{how}` makes one, and it goes into the header \
                 \"Authorization: Bearer KEY\""
            );
            Err(HttpError::unauthorized(message))
        }
        (Some(text), _) => match app.keys.check(text, now_s) {
            Ok((id, key)) => {
                let visitor = Visitor {
                    principal: id.principal(),
                    node: id.node(),
                    signer: Address::default(),
                    is_operator: key.scopes.contains(&Scope::Operator),
                };
                Ok(Guest { visitor, key: Some((id, key)) })
            }
            Err(error @ (KeyError::Form | KeyError::Unknown | KeyError::Expired)) => {
                Err(HttpError::unauthorized(error.to_string()))
            }
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "an API key cannot be looked up");
                Err(HttpError::server("internal_error", "API keys cannot be looked up now"))
            }
        },
    }
}

/// Whether a request comes from this machine, and from no proxy and no page of somebody else: such a page could have the
/// browser of the owner ask in the owner's name.
fn is_owner(app: &App, request: &Request) -> bool {
    let headers = request.headers();
    let is_here =
        request.extensions().get::<Peer>().is_some_and(|peer| peer.0.ip().to_canonical().is_loopback());
    let is_forwarded =
        ["forwarded", "x-forwarded-for", "x-real-ip", "via"].iter().any(|name| headers.contains_key(*name));
    let host = match headers.get(header::HOST) {
        Some(host) => host.to_str().ok().is_some_and(is_of_this_machine),
        None => true,
    };
    let origin = match headers.get(header::ORIGIN) {
        Some(origin) => {
            let origin = origin.to_str().unwrap_or_default();
            let place = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
            place.is_some_and(is_of_this_machine)
        }
        None => true,
    };
    !app.is_behind_proxy && is_here && !is_forwarded && host && origin
}

/// Whether a host, with or without a port, can only be this machine: a name of somebody else's may lead here as well.
fn is_of_this_machine(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map_or("", |(name, _)| name),
        None => host.split_once(':').map_or(host, |(name, _)| name),
    };
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

fn request_id() -> String {
    let mut bytes = [0; 12];
    // Without randomness its number is of no use, and nothing else is wrong.
    let _ = getrandom::fill(&mut bytes);
    format!("req_{}", data_encoding::HEXLOWER.encode(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_mean_this_machine_are_its_own() {
        for own in
            ["localhost", "LOCALHOST:80", "127.0.0.1:8080", "127.1.2.3", "[::1]:9", "[::ffff:127.0.0.1]"]
        {
            assert!(is_of_this_machine(own), "{own}");
        }
        for other in
            ["", "example.org", "localhost.example.org", "127.0.0.1.nip.io:80", "10.0.0.1", "[::2]", "[::1"]
        {
            assert!(!is_of_this_machine(other), "{other}");
        }
    }

    #[test]
    fn times_are_written_as_clients_know_them() {
        let written = [1, 999, 1_000, 61_500].map(|ms| words(Duration::from_millis(ms)));
        assert_eq!(written, ["1ms", "999ms", "1.000s", "1m1s"]);
    }
}
