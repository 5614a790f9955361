//! The server: its limits, its beginning and its end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use jsonrpsee::RpcModule;
use jsonrpsee::core::RegisterMethodError;
use jsonrpsee::core::traits::IdProvider;
use jsonrpsee::server::{BatchRequestConfig, ServerBuilder, ServerConfig, ServerHandle};
use jsonrpsee::types::SubscriptionId;

use super::context::Context;
use super::door::Door;
use super::names::{HostName, Origin};
use super::{blocks, call, dev, fees, logs, node, send, state, subscribe};
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
    /// Connections at the same time.
    pub max_connections: u32,
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
        let config = ServerConfig::builder()
            .max_connections(options.max_connections)
            .set_batch_request_config(BatchRequestConfig::Limit(options.max_batch))
            .max_request_body_size(options.max_request_bytes)
            .max_response_body_size(options.max_response_bytes)
            .max_subscriptions_per_connection(options.max_subscriptions)
            // A client that does not read holds up its own subscriptions after so many messages.
            .set_message_buffer_capacity(256)
            .set_id_provider(HexIds)
            .build();
        let is_dev = shared.genesis.dev;
        let module =
            methods(Context::new(shared, options), is_dev).expect("every method has a name of its own");
        let failed = |source| ServeError::Bind { address, source };
        let server = ServerBuilder::with_config(config)
            .set_http_middleware(tower::ServiceBuilder::new().layer(door))
            .build(address)
            .await
            .map_err(failed)?;
        let bound = server.local_addr().map_err(failed)?;
        tracing::info!(%bound, "serving JSON-RPC");
        Ok(Server { address: bound, handle: server.start(module) })
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

fn methods(context: Context, is_dev: bool) -> Result<RpcModule<Context>, RegisterMethodError> {
    let mut module = RpcModule::new(context);
    node::register(&mut module)?;
    state::register(&mut module)?;
    blocks::register(&mut module)?;
    call::register(&mut module)?;
    fees::register(&mut module)?;
    send::register(&mut module)?;
    logs::register(&mut module)?;
    subscribe::register(&mut module)?;
    if is_dev {
        dev::register(&mut module)?;
    }
    Ok(module)
}

/// Subscriptions' ids as clients expect them: hex strings, not to be guessed.
#[derive(Debug)]
struct HexIds;

impl IdProvider for HexIds {
    fn next_id(&self) -> SubscriptionId<'static> {
        let mut id = [0u8; 16];
        getrandom::fill(&mut id).expect("the operating system gives randomness");
        SubscriptionId::Str(format!("{:#x}", u128::from_be_bytes(id)).into())
    }
}
