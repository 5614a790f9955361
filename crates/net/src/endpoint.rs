//! A node on the network: an iroh endpoint that needs no relay, no name service and no internet.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use iroh::{
    Endpoint, EndpointAddr, PublicKey, RelayMode, SecretKey, Signature, TransportAddr,
    endpoint::{
        BindOpts, ConnectError as IrohConnectError, ConnectingError, ConnectionError, IncomingAddr,
        PortmapperConfig, QuicTransportConfig, VarInt, presets,
    },
};
use tidemill_types::NodeId;
use tokio::time::timeout;

pub use iroh::endpoint::{Connection, RecvStream, SendStream};

use crate::{
    addresses::{Advertised, Choice, choose},
    interfaces,
    recall::{RECALL_ALPN, Recalls},
    ticket::{Pass, Ticket, TicketError},
};

/// How much one stream may have under way: a second of 16 Mbit/s, or 1 Gbit/s over a round trip of 16 ms.
const STREAM_WINDOW: u32 = 2 << 20;

/// How much one connection may have under way, and so the most that a peer can make this node keep for it.
const CONNECTION_WINDOW: u32 = 8 << 20;

/// The TLS alert `no_application_protocol` as a QUIC error: 0x100 and the alert's number.
const NO_SUCH_PROTOCOL: u64 = 0x100 + 120;

/// Where a node listens.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bind {
    /// On all interfaces. Port 0: one that the system chooses.
    Everywhere {
        /// The UDP port.
        port: u16,
    },
    /// On 127.0.0.1 alone, for networks within one host.
    Loopback {
        /// The UDP port.
        port: u16,
    },
    /// On one address.
    At(SocketAddr),
}

/// How a node behaves on the network.
#[derive(Clone, Debug)]
pub struct NodeOptions {
    /// Where it listens.
    pub bind: Bind,
    /// The protocols that it accepts.
    pub protocols: Vec<Vec<u8>>,
    /// A connection on which nothing was heard for so long is dead. At most 15 s of it count: iroh gives a path up
    /// then.
    pub idle_timeout: Duration,
    /// How often a quiet connection says that it is there. At most 5 s.
    pub keep_alive: Duration,
    /// How long dialing may take.
    pub connect_timeout: Duration,
    /// How many streams the other side may have open at once on one connection.
    pub max_streams: u32,
    /// For a node that dials coordinators and accepts nobody: the coordinators, to whose recalls it listens.
    pub recalled_by: Vec<NodeId>,
}

impl Default for NodeOptions {
    fn default() -> Self {
        Self {
            bind: Bind::Everywhere { port: 0 },
            protocols: Vec::new(),
            idle_timeout: Duration::from_secs(15),
            keep_alive: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(10),
            max_streams: 64,
            recalled_by: Vec::new(),
        }
    }
}

/// A node that could not start to listen.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The address is taken, not of this host, or forbidden.
    #[error("cannot listen on {bind:?}")]
    Listen {
        /// Where.
        bind: Bind,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The idle timeout is longer than the protocol can say.
    #[error("an idle timeout of {0:?} is too long")]
    IdleTimeout(Duration),
}

/// A node that could not be reached.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The ticket's node is no public key.
    #[error("{0} is not the name of a node")]
    NotANode(NodeId),
    /// The ticket's node is this one.
    #[error("{0} is this node itself")]
    Itself(NodeId),
    /// Nobody answered.
    #[error("node {} did not answer at {} within {waited:?}", .node.short(), list(.addresses))]
    NoAnswer {
        /// Whom.
        node: NodeId,
        /// Where it was looked for.
        addresses: Vec<SocketAddr>,
        /// How long.
        waited: Duration,
    },
    /// Somebody answered, and does not speak the protocol.
    #[error("node {} does not speak {protocol}", .node.short())]
    NoSuchProtocol {
        /// Who.
        node: NodeId,
        /// What it was asked for.
        protocol: String,
    },
    /// The connection failed.
    #[error("cannot connect to node {}", .node.short())]
    Failed {
        /// Whom to.
        node: NodeId,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl ConnectError {
    /// Whether the same attempt may succeed later, without anything changed on this side.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::NoAnswer { .. } | Self::Failed { .. })
    }
}

/// A connection that came in and did not come about. Of interest to nobody but a log.
#[derive(Debug, thiserror::Error)]
#[error("a connection that came in failed")]
pub struct IncomingError(#[source] Box<dyn std::error::Error + Send + Sync>);

/// This node's place on the network. Clones are the same node.
#[derive(Clone, Debug)]
pub struct Node {
    endpoint: Endpoint,
    bind: Bind,
    connect_timeout: Duration,
    /// By the coordinator.
    recalls: BTreeMap<NodeId, Recalls>,
}

/// The name of the node that has this secret key.
pub fn node_id(secret: &[u8; 32]) -> NodeId {
    NodeId(*SecretKey::from_bytes(secret).public().as_bytes())
}

/// A connection that comes in. To be awaited in a task of its own, so that nobody waits for a slow dialer.
#[derive(Debug)]
pub struct Incoming(iroh::endpoint::Incoming);

impl Node {
    /// Starts to listen under this secret key.
    ///
    /// # Errors
    /// [`BindError`]
    pub async fn bind(secret: &[u8; 32], options: NodeOptions) -> Result<Self, BindError> {
        let NodeOptions {
            bind,
            mut protocols,
            idle_timeout,
            keep_alive,
            connect_timeout,
            max_streams,
            recalled_by,
        } = options;
        protocols.extend((!recalled_by.is_empty()).then(|| RECALL_ALPN.to_vec()));
        let idle = idle_timeout.try_into().map_err(|_| BindError::IdleTimeout(idle_timeout))?;
        let keep_alive = keep_alive.min(Duration::from_secs(5));
        let transport = QuicTransportConfig::builder()
            .max_idle_timeout(Some(idle))
            .default_path_max_idle_timeout(idle_timeout.min(Duration::from_secs(15)))
            .keep_alive_interval(keep_alive)
            .default_path_keep_alive_interval(keep_alive)
            .stream_receive_window(VarInt::from_u32(STREAM_WINDOW))
            .receive_window(VarInt::from_u32(CONNECTION_WINDOW))
            .send_window(u64::from(CONNECTION_WINDOW))
            .max_concurrent_bidi_streams(VarInt::from_u32(max_streams))
            .max_concurrent_uni_streams(VarInt::from_u32(0))
            .build();
        let builder = Endpoint::builder(presets::Minimal)
            .secret_key(SecretKey::from_bytes(secret))
            .alpns(protocols)
            .relay_mode(RelayMode::Disabled)
            .portmapper_config(PortmapperConfig::Disabled)
            .transport_config(transport);
        let listen_error = |source| BindError::Listen { bind, source };
        let builder = match bind {
            Bind::Everywhere { port: 0 } => Ok(builder),
            // Both families at one port, which a ticket names and a firewall lets through. IPv6 may be missing.
            Bind::Everywhere { port } => {
                let optional = BindOpts::default().set_is_required(false);
                builder
                    .bind_addr((Ipv4Addr::UNSPECIFIED, port))
                    .and_then(|builder| builder.bind_addr_with_opts((Ipv6Addr::UNSPECIFIED, port), optional))
            }
            Bind::Loopback { port } => builder.clear_ip_transports().bind_addr((Ipv4Addr::LOCALHOST, port)),
            Bind::At(address) => builder.clear_ip_transports().bind_addr(address),
        };
        let builder = builder.map_err(|error| listen_error(error.into()))?;
        let endpoint = builder.bind().await.map_err(|error| listen_error(error.into()))?;
        let recalls = Recalls::listen(&endpoint, &recalled_by);
        Ok(Self { endpoint, bind, connect_timeout, recalls })
    }

    /// Its name.
    pub fn id(&self) -> NodeId {
        NodeId(*self.endpoint.id().as_bytes())
    }

    /// What it hears of a coordinator's recalls from now on; none where it listens for none.
    pub fn recalls(&self, coordinator: NodeId) -> Option<Recalls> {
        let mut recalls = self.recalls.get(&coordinator).cloned()?;
        recalls.forget();
        Some(recalls)
    }

    /// Signs with the node's ed25519 key. What is signed must say itself what it is, or it could be taken for
    /// something else.
    pub fn sign(&self, bytes: &[u8]) -> [u8; 64] {
        self.endpoint.secret_key().sign(bytes).to_bytes()
    }

    /// Dials the ticket's node.
    ///
    /// # Errors
    /// [`ConnectError`]
    pub async fn connect(&self, ticket: &Ticket, protocol: &[u8]) -> Result<Connection, ConnectError> {
        let node = ticket.node();
        let key = PublicKey::from_bytes(&node.0).map_err(|_| ConnectError::NotANode(node))?;
        if node == self.id() {
            return Err(ConnectError::Itself(node));
        }
        let address =
            ticket.addresses().iter().fold(EndpointAddr::new(key), |all, one| all.with_ip_addr(*one));
        match timeout(self.connect_timeout, self.endpoint.connect(address, protocol)).await {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(error)) => Err(self.refine(error, ticket, protocol)),
            Err(_) => Err(self.no_answer(ticket)),
        }
    }

    /// Dials a node at one address. Nothing: it was not reached.
    pub(crate) async fn connect_at(
        &self,
        node: NodeId,
        address: SocketAddr,
        protocol: &[u8],
    ) -> Option<Connection> {
        let address = EndpointAddr::new(PublicKey::from_bytes(&node.0).ok()?).with_ip_addr(address);
        timeout(self.connect_timeout, self.endpoint.connect(address, protocol)).await.ok()?.ok()
    }

    fn refine(&self, error: IrohConnectError, ticket: &Ticket, protocol: &[u8]) -> ConnectError {
        let cause = match &error {
            IrohConnectError::Connection { source, .. }
            | IrohConnectError::Connecting {
                source: ConnectingError::ConnectionError { source, .. }, ..
            } => Some(source),
            _ => None,
        };
        match cause {
            Some(ConnectionError::TimedOut) => self.no_answer(ticket),
            Some(ConnectionError::ConnectionClosed(close))
                if u64::from(close.error_code) == NO_SUCH_PROTOCOL =>
            {
                let protocol = String::from_utf8_lossy(protocol).into_owned();
                ConnectError::NoSuchProtocol { node: ticket.node(), protocol }
            }
            _ => ConnectError::Failed { node: ticket.node(), source: error.into() },
        }
    }

    fn no_answer(&self, ticket: &Ticket) -> ConnectError {
        ConnectError::NoAnswer {
            node: ticket.node(),
            addresses: ticket.addresses().to_vec(),
            waited: self.connect_timeout,
        }
    }

    /// The next connection that comes in, or `None` once the node is closed.
    pub async fn accept(&self) -> Option<Incoming> {
        self.endpoint.accept().await.map(Incoming)
    }

    /// Where others reach the node: at the addresses that are advertised, and where it listens. Waits no longer than this
    /// for the system to say which addresses it has; a node on no network at all is at 127.0.0.1.
    pub async fn addresses(&self, advertised: &[Advertised], patience: Duration) -> Choice {
        let bound = self.endpoint.bound_sockets();
        let interfaces = match bound.iter().any(|address| address.ip().is_unspecified()) {
            true => interfaces::read(patience).await,
            false => Vec::new(),
        };
        choose(advertised, &bound, &interfaces)
    }

    /// The port on which it listens: that of IPv4, if it listens there. None once it is closed.
    pub fn port(&self) -> Option<u16> {
        self.endpoint.bound_sockets().iter().min_by_key(|address| address.is_ipv6()).map(SocketAddr::port)
    }

    /// A ticket to this node.
    ///
    /// # Errors
    /// [`TicketError::Addresses`] when the node listens nowhere, which is when it is closed.
    pub async fn ticket(&self, pass: Pass, patience: Duration) -> Result<Ticket, TicketError> {
        Ticket::new(self.id(), self.addresses(&[], patience).await.chosen, pass)
    }

    /// Where it was asked to listen.
    pub fn bound(&self) -> Bind {
        self.bind
    }

    /// Ends all connections, tells the other sides so, and stops to listen.
    pub async fn close(&self) {
        self.endpoint.close().await;
    }
}

impl Incoming {
    /// Completes the handshake. The connection's protocol is one of those that the node accepts.
    ///
    /// # Errors
    /// [`IncomingError`] when the dialer went away, or speaks none of them, and was told so.
    pub async fn finish(self) -> Result<Connection, IncomingError> {
        self.0.await.map_err(|error| IncomingError(error.into()))
    }

    /// Turns it away before any work is done for it.
    pub fn refuse(self) {
        self.0.refuse();
    }

    /// Where it says that it comes from, unless by a relay.
    pub fn address(&self) -> Option<IpAddr> {
        match self.0.remote_addr() {
            IncomingAddr::Ip(address) => Some(address.ip()),
            _ => None,
        }
    }

    /// Whether it has shown that it hears what is sent to that address.
    pub fn is_heard(&self) -> bool {
        self.0.remote_addr_validated()
    }

    /// Has it show that, and come again. Costs nothing here.
    pub fn ask_again(self) {
        // It has shown it meanwhile, and would come again by itself.
        let _ = self.0.retry();
    }
}

/// Who is at the other end, proven by the handshake.
pub fn peer(connection: &Connection) -> NodeId {
    NodeId(*connection.remote_id().as_bytes())
}

/// The address of a connection's peer, where it is reached directly and not by a relay.
pub fn remote_address(connection: &Connection) -> Option<IpAddr> {
    remote_socket(connection).map(|address| address.ip())
}

/// The same with its port.
pub fn remote_socket(connection: &Connection) -> Option<SocketAddr> {
    connection.paths().iter().find_map(|path| match path.remote_addr() {
        TransportAddr::Ip(address) => Some(*address),
        _ => None,
    })
}

/// Whether the node with this name signed these bytes.
pub fn verify(node: NodeId, bytes: &[u8], signature: &[u8; 64]) -> bool {
    PublicKey::from_bytes(&node.0)
        .is_ok_and(|key| key.verify(bytes, &Signature::from_bytes(signature)).is_ok())
}

/// Ends a stream and waits, for so long, until the other side has all of it. Whoever closes a connection right
/// after its last words should call this before, since closing drops what is still under way.
pub async fn finish(stream: &mut SendStream, patience: Duration) {
    if stream.finish().is_ok() {
        let _ = timeout(patience, stream.stopped()).await;
    }
}

fn list(addresses: &[SocketAddr]) -> String {
    addresses.iter().map(SocketAddr::to_string).collect::<Vec<_>>().join(", ")
}
