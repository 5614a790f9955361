//! The server: its limits, its beginning and its end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use jsonrpsee::RpcModule;
use jsonrpsee::core::RegisterMethodError;
use jsonrpsee::server::{ServerHandle, stop_channel};
use tokio::net::TcpListener;

use super::context::Context;
use super::dispatch::Dispatcher;
use super::door::Door;
use super::front::Front;
use super::names::{HostName, Origin};
use super::{blocks, call, dev, edits, fees, logs, node, send, state};
use crate::error::ServeError;
use crate::shared::Shared;

/// What a server gives to strangers.
#[derive(Clone, Debug)]
pub struct ServeOptions {
    /// Web pages that may call. None, unless they are named here.
    pub allowed_origins: Vec<Origin>,
    /// More names that `Host` may have when the server is bound to loopback.
    pub allowed_hosts: Vec<HostName>,
    /// What `tidemill_addressBook` answers: where the contracts of this ledger are, for those who know its URL alone.
    pub address_book: Option<serde_json::Value>,
    /// Requests that are answered at the same time.
    pub max_connections: u32,
    /// WebSocket connections that are open at the same time. They take no place of a request: whoever leaves many open locks
    /// nobody else out.
    pub max_sockets: u32,
    /// Connections of one address that are open at the same time, WebSockets or not.
    pub max_of_address: u32,
    /// A connection of which nothing was heard for so long ends. WebSockets are asked before whether somebody is there.
    pub idle_timeout: Duration,
    /// Requests in one batch.
    pub max_batch: u32,
    /// Bytes of one request.
    pub max_request_bytes: u32,
    /// Bytes of one answer.
    pub max_response_bytes: u32,
    /// Subscriptions of one connection.
    pub max_subscriptions: u32,
    /// Filters in all. One that nobody asks for five minutes long goes.
    pub max_filters: usize,
    /// Logs in one answer.
    pub max_logs: usize,
    /// How long one call may take, waiting included. Its gas is bounded by that of a block.
    pub call_timeout: Duration,
}

impl Default for ServeOptions {
    fn default() -> ServeOptions {
        ServeOptions {
            allowed_origins: Vec::new(),
            allowed_hosts: Vec::new(),
            address_book: None,
            max_connections: 256,
            max_sockets: 256,
            max_of_address: 128,
            idle_timeout: Duration::from_secs(120),
            max_batch: 1_000,
            max_request_bytes: 5 << 20,
            max_response_bytes: 32 << 20,
            max_subscriptions: 64,
            max_filters: 1_000,
            max_logs: 10_000,
            call_timeout: Duration::from_secs(5),
        }
    }
}

/// A server of one ledger.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    handle: ServerHandle,
}

impl Server {
    pub(crate) async fn start(
        shared: Arc<Shared>,
        address: SocketAddr,
        options: ServeOptions,
    ) -> Result<Server, ServeError> {
        let is_loopback = address.ip().is_loopback();
        if shared.genesis.dev && !is_loopback {
            return Err(ServeError::DevNotLoopback(address));
        }
        let own = ["localhost", "127.0.0.1", "[::1]"].map(String::from).into_iter();
        let own = own.chain([address.ip().to_string()]).filter_map(|name| name.parse().ok());
        let own = own.chain(options.allowed_hosts.iter().cloned());
        let door = Door::new(&options.allowed_origins, is_loopback.then(|| own.collect()));
        let is_dev = shared.genesis.dev;
        let context = Arc::new(Context::new(shared, options));
        let module = methods(context.clone(), is_dev).expect("every method has a name of its own");
        let failed = |source| ServeError::Bind { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let bound = listener.local_addr().map_err(failed)?;
        let (stop, handle) = stop_channel();
        tokio::spawn(Front::new(Dispatcher::new(module, context), stop).accept(listener, door));
        tracing::info!(%bound, "serving JSON-RPC");
        Ok(Server { address: bound, handle })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Stops listening, lets running requests end, and closes all connections.
    pub async fn stop(self) {
        // If it had stopped already, there is nothing to wait for either.
        let _ = self.handle.stop();
        self.handle.stopped().await;
    }
}

fn methods(context: Arc<Context>, is_dev: bool) -> Result<RpcModule<Context>, RegisterMethodError> {
    let mut module = RpcModule::from_arc(context);
    node::register(&mut module)?;
    state::register(&mut module)?;
    blocks::register(&mut module)?;
    call::register(&mut module)?;
    fees::register(&mut module)?;
    send::register(&mut module)?;
    logs::register(&mut module)?;
    if is_dev {
        dev::register(&mut module)?;
        edits::register(&mut module)?;
    }
    Ok(module)
}
