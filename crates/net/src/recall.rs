//! How a coordinator that was started anew tells so those who had sessions with the process before it.
//!
//! Their connections are dead, and nothing says so: what they send is answered with a reset that they cannot tell from a
//! forged one, since iroh draws the key of resets anew for each process. They would find out by silence, many seconds
//! later, or at the end of a pause between two attempts to dial. So the coordinator dials them, on the path that their own
//! packets keep open. The handshake proves who calls; the rest is one stream with the name of the calling process, which the
//! other side ends once it has heard. Whoever has a session with that very process came back by itself, perhaps on another
//! path, and goes on. What no recall reaches is left to silence, as before.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use iroh::Endpoint;
use tidemill_types::NodeId;
use tokio::{sync::watch, task::JoinSet, time::timeout};
use tokio_util::task::AbortOnDropHandle;

use crate::{
    endpoint::{Connection, Node, peer},
    wire::Process,
};

/// The protocol's name and version.
pub(crate) const RECALL_ALPN: &[u8] = b"tidemill/recall/1";

/// Callers that are listened to at a time, for each coordinator. More are turned away: but for coordinators nobody has a
/// reason to dial.
const MOST_CALLERS: usize = 4;

/// How long one may take to say what it has to say.
const HEARING: Duration = Duration::from_secs(10);

/// What a node has heard of its coordinator's recalls. Clones hear each for itself.
#[derive(Clone, Debug)]
pub struct Recalls {
    heard: watch::Receiver<Option<Process>>,
    /// The process that there is a session with, or was last.
    with: Option<Process>,
    _listening: Arc<AbortOnDropHandle<()>>,
}

impl Recalls {
    /// Listens for the recalls of these coordinators; everybody else who dials is turned away. Gives what is heard of each.
    pub(crate) fn listen(endpoint: &Endpoint, coordinators: &[NodeId]) -> BTreeMap<NodeId, Self> {
        if coordinators.is_empty() {
            return BTreeMap::new();
        }
        let channels = coordinators.iter().map(|coordinator| (*coordinator, watch::channel(None)));
        let channels: BTreeMap<_, _> = channels.collect();
        let heard: Vec<_> =
            channels.iter().map(|(coordinator, (_, heard))| (*coordinator, heard.clone())).collect();
        let tell = channels.into_iter().map(|(coordinator, (tell, _))| (coordinator, tell)).collect();
        let listening = tokio::spawn(listen(endpoint.clone(), Arc::new(tell)));
        let listening = Arc::new(AbortOnDropHandle::new(listening));
        let recalls = |heard| Self { heard, with: None, _listening: listening.clone() };
        heard.into_iter().map(|(coordinator, heard)| (coordinator, recalls(heard))).collect()
    }

    /// What was heard until now is of no interest.
    pub(crate) fn forget(&mut self) {
        self.heard.mark_unchanged();
    }

    /// A session has begun with this process: its own recalls are of no interest from now on.
    pub fn begun(&mut self, with: Process) {
        self.with = Some(with);
    }

    /// Waits for a recall that has not been waited for; for ever once the node is closed.
    pub async fn next(&mut self) {
        loop {
            if self.heard.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
            let heard = *self.heard.borrow_and_update();
            if heard.is_some() && heard != self.with {
                return;
            }
        }
    }
}

/// Waits for a recall; for ever at a node that listens for none.
pub async fn recalled(recalls: Option<&mut Recalls>) {
    match recalls {
        Some(recalls) => recalls.next().await,
        None => std::future::pending().await,
    }
}

/// Tells a node at this address that the coordinator, which this node is, was started anew as this process; whether it has
/// heard. Where nothing is `wanted` any more once it is reached, it is told nothing.
pub async fn recall(
    node: &Node,
    process: Process,
    called: NodeId,
    address: SocketAddr,
    patience: Duration,
    wanted: impl FnOnce() -> bool,
) -> bool {
    let call = async {
        let connection = node.connect_at(called, address, RECALL_ALPN).await?;
        let heard = wanted() && say(&connection, process).await.is_some();
        connection.close(0u32.into(), b"");
        Some(heard)
    };
    matches!(timeout(patience, call).await, Ok(Some(true)))
}

/// Names this process to the other side, and waits until it has heard.
async fn say(connection: &Connection, process: Process) -> Option<()> {
    let (mut send, mut receive) = connection.open_bi().await.ok()?;
    send.write_all(&process.0).await.ok()?;
    send.finish().ok()?;
    receive.read_to_end(0).await.ok().map(|_| ())
}

/// Where it is told which process of a coordinator has called.
type Tell = BTreeMap<NodeId, watch::Sender<Option<Process>>>;

async fn listen(endpoint: Endpoint, tell: Arc<Tell>) {
    let mut callers = JoinSet::new();
    while let Some(incoming) = endpoint.accept().await {
        while callers.try_join_next().is_some() {}
        if callers.len() >= MOST_CALLERS * tell.len() {
            incoming.refuse();
            continue;
        }
        let tell = tell.clone();
        callers.spawn(async move { timeout(HEARING, hear(incoming, &tell)).await.is_ok() });
    }
}

async fn hear(incoming: iroh::endpoint::Incoming, tell: &Tell) {
    let Ok(connection) = incoming.await else { return };
    let Some(tell) = tell.get(&peer(&connection)) else {
        connection.close(0u32.into(), b"");
        return;
    };
    let Ok((mut send, mut receive)) = connection.accept_bi().await else { return };
    let mut process = Process([0; 16]);
    if receive.read_exact(&mut process.0).await.is_err() {
        return;
    }
    tell.send_replace(Some(process));
    let _ = send.finish();
    // Whoever has called ends it: to end it here would take the answer along.
    connection.closed().await;
}
