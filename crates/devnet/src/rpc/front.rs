//! Connections, and what comes by them over HTTP: requests in bodies, and wishes for a WebSocket.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::header::{ALLOW, HeaderValue};
use hyper::{Method, StatusCode};
use jsonrpsee::server::http::{content_type_is_json, response};
use jsonrpsee::server::{HttpBody, HttpRequest, HttpResponse, StopHandle, serve_with_graceful_shutdown};
use soketto::handshake::http::{Server as Handshake, is_upgrade_request};
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower::{Layer, Service};

use super::callers::{Activity, Caller, Callers};
use super::dispatch::Dispatcher;
use super::door::Door;
use super::socket;

/// For how long a client may take to send the body of a request. It holds one of the connections that are served at
/// the same time.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// Connections that may be open for each that may be in use: most wait for their next request.
const IDLE_EACH: u32 = 4;

/// How long to wait after a connection could not be accepted: mostly because there are too many open files, which
/// trying at once does not change.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A connection's place among all, and among those of its address.
type Place = (OwnedSemaphorePermit, Caller);

/// Answers requests of HTTP.
#[derive(Clone, Debug)]
pub(super) struct Front {
    dispatcher: Arc<Dispatcher>,
    /// Requests that are being answered.
    places: Arc<Semaphore>,
    /// WebSocket connections that are open.
    sockets: Arc<Semaphore>,
    /// What uses the connection that this is for.
    activity: Arc<Activity>,
    /// The place of that connection, which a WebSocket keeps.
    connection: Option<Arc<Place>>,
    /// Whoever waits for the end of the server waits until nobody has one of these any more.
    stop: StopHandle,
}

impl Front {
    pub(super) fn new(dispatcher: Dispatcher, stop: StopHandle) -> Front {
        let places = Arc::new(Semaphore::new(dispatcher.options().max_connections as usize));
        let sockets = Arc::new(Semaphore::new(dispatcher.options().max_sockets as usize));
        Front {
            dispatcher: Arc::new(dispatcher),
            places,
            sockets,
            activity: Activity::new(),
            connection: None,
            stop,
        }
    }

    /// Takes connections until the server is stopped. Each goes on until its requests are answered.
    pub(super) async fn accept(self, listener: TcpListener, door: Door) {
        let stopped = self.stop.clone().shutdown();
        tokio::pin!(stopped);
        let options = self.dispatcher.options();
        let callers = Arc::new(Callers::default());
        // Most connections wait for their next request.
        let most = options.max_connections.saturating_add(options.max_sockets).saturating_mul(IDLE_EACH);
        let (room, most_of_address) = (Arc::new(Semaphore::new(most as usize)), options.max_of_address);
        let idle_timeout = options.idle_timeout;
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = &mut stopped => return,
            };
            let (connection, address) = match accepted {
                Ok((connection, address)) => (connection, address.ip()),
                Err(error) => {
                    tracing::debug!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            // Answers are whole messages: there is nothing to wait for. Without it they only come later.
            let _ = connection.set_nodelay(true);
            let place = room.clone().try_acquire_owned().ok().zip(callers.come(address, most_of_address));
            let Some(place) = place else {
                tracing::debug!(%address, "a connection is refused: too many are open");
                continue;
            };
            let (place, activity) = (Arc::new(place), Activity::new());
            let front = Front { activity: activity.clone(), connection: Some(place.clone()), ..self.clone() };
            let (service, stop) = (door.layer(front), self.stop.clone());
            tokio::spawn(async move {
                let _place = place;
                tokio::select! {
                    served = serve_with_graceful_shutdown(connection, service, stop.clone().shutdown()) => {
                        if let Err(error) = served {
                            tracing::debug!(%error, "a connection failed");
                        }
                    }
                    () = activity.idle(idle_timeout) => {}
                }
                drop(stop);
            });
        }
    }

    async fn answer(self, request: HttpRequest<Incoming>) -> HttpResponse {
        let _using = self.activity.begin();
        if is_upgrade_request(&request) {
            return match self.sockets.clone().try_acquire_owned() {
                Ok(place) => self.upgrade(request, place),
                Err(_) => response::too_many_requests(),
            };
        }
        let Ok(_place) = self.places.clone().try_acquire_owned() else {
            return response::too_many_requests();
        };
        if request.method() != Method::POST {
            let mut refusal = response::method_not_allowed();
            refusal.headers_mut().insert(ALLOW, HeaderValue::from_static("POST, OPTIONS"));
            return refusal;
        }
        if !content_type_is_json(&request) {
            return response::unsupported_content_type();
        }
        let most = self.dispatcher.options().max_request_bytes;
        let body = Limited::new(request.into_body(), most as usize).collect();
        let body = match tokio::time::timeout(BODY_TIMEOUT, body).await {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(error)) if error.is::<LengthLimitError>() => return response::too_large(most),
            Ok(Err(error)) => return plain(StatusCode::BAD_REQUEST, format!("the body broke off: {error}")),
            Err(_) => return plain(StatusCode::REQUEST_TIMEOUT, "the body did not come in time"),
        };
        // As other nodes: where nothing is to be answered, 200 and nothing.
        match self.dispatcher.carry_out(&body, None).await.text {
            Some(text) => response::ok_response(text),
            None => response::ok_response(HttpBody::empty()),
        }
    }

    /// Grants a WebSocket, which holds its place until it is closed.
    fn upgrade(self, request: HttpRequest<Incoming>, place: OwnedSemaphorePermit) -> HttpResponse {
        let mut handshake = Handshake::new();
        let granted = match handshake.receive_request(&request) {
            Ok(granted) => granted,
            Err(error) => return plain(StatusCode::BAD_REQUEST, format!("this is no WebSocket: {error}")),
        };
        let connection = self.connection.clone();
        tokio::spawn(async move {
            let _places = (place, connection);
            match hyper::upgrade::on(request).await {
                Ok(upgraded) => socket::converse(upgraded, handshake, &self.dispatcher, &self.stop).await,
                Err(error) => tracing::debug!(%error, "a connection did not become a WebSocket"),
            }
        });
        granted.map(|()| HttpBody::empty())
    }
}

impl Service<HttpRequest<Incoming>> for Front {
    type Response = HttpResponse;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: HttpRequest<Incoming>) -> Self::Future {
        let front = self.clone();
        Box::pin(async move { Ok(front.answer(request).await) })
    }
}

/// A response for people.
pub(super) fn plain(status: StatusCode, text: impl Into<String>) -> HttpResponse {
    let text: String = text.into();
    let mut response = HttpResponse::new(HttpBody::from(text));
    *response.status_mut() = status;
    response
}
