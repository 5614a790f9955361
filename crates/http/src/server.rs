//! Connections: taken in up to a number, none of which may stand still, and ended in order.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, body::Body, extract::Request};
use hyper::{body::Incoming, server::conn::http1};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinHandle,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::{Service, ServiceExt};

use crate::{guard::Peer, router::Bounds, stall::Watched};

/// How long requests may take to end once the server is told to.
const PATIENCE: Duration = Duration::from_secs(5);

/// A server that runs. Dropped, it takes no more connections.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    stop: CancellationToken,
    accepting: JoinHandle<()>,
    connections: TaskTracker,
}

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// It cannot listen.
    #[error("cannot listen on {address}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// Keys would go over the network where everybody can read them.
    #[error("{0} is no loopback address, and without TLS keys and texts could be read on their way")]
    NoTls(SocketAddr),
}

impl Server {
    /// Listens at an address, and serves these routes. Off loopback only with a proxy before it that does TLS.
    ///
    /// # Errors
    /// [`ServeError`]
    pub async fn start(
        address: SocketAddr,
        is_behind_proxy: bool,
        bounds: Bounds,
        router: Router,
    ) -> Result<Self, ServeError> {
        if !address.ip().to_canonical().is_loopback() && !is_behind_proxy {
            return Err(ServeError::NoTls(address));
        }
        let listen = |source| ServeError::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let (stop, connections) = (CancellationToken::new(), TaskTracker::new());
        let accepting = tokio::spawn(accept(listener, router, bounds, stop.clone(), connections.clone()));
        Ok(Self { address, stop, accepting, connections })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes no more requests, lets those end that are quick, and ends.
    pub async fn stop(mut self) {
        self.stop.cancel();
        self.finished().await;
    }

    async fn finished(&mut self) {
        let _ = (&mut self.accepting).await;
        self.connections.close();
        let _ = tokio::time::timeout(PATIENCE, self.connections.wait()).await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn accept(
    listener: TcpListener,
    router: Router,
    bounds: Bounds,
    stop: CancellationToken,
    connections: TaskTracker,
) {
    let room = Arc::new(Semaphore::new(bounds.connections));
    loop {
        // Who comes when there is no room waits in the system's queue.
        let place = tokio::select! {
            place = room.clone().acquire_owned() => place,
            () = stop.cancelled() => return,
        };
        let Ok(place) = place else { return };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => return,
        };
        match accepted {
            Ok((stream, peer)) => {
                let (router, stop) = (router.clone(), stop.clone());
                connections.spawn(async move {
                    serve(stream, peer, router, bounds, &stop).await;
                    drop(place);
                });
            }
            Err(error) => {
                // Out of file descriptors, mostly: trying again at once would only burn a core.
                tracing::warn!(error = &error as &dyn std::error::Error, "a connection cannot be taken");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn serve(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    bounds: Bounds,
    stop: &CancellationToken,
) {
    // Pieces of a stream are small, and each is wanted at once.
    let _ = stream.set_nodelay(true);
    let service = hyper::service::service_fn(move |request: hyper::Request<Incoming>| {
        let mut request: Request = request.map(Body::new);
        request.extensions_mut().insert(Peer(peer));
        let mut router = router.clone();
        async move {
            let service = <Router as ServiceExt<Request>>::ready(&mut router).await;
            match service {
                Ok(service) => service.call(request).await,
                Err(never) => Err::<_, Infallible>(never),
            }
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(bounds.head_time)
        .max_buf_size(64 << 10)
        .serve_connection(TokioIo::new(Watched::new(stream, bounds.stall_time)), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(error = &error as &dyn std::error::Error, %peer, "a connection broke off");
    }
}
