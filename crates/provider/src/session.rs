//! A session with a coordinator, and the connection for blobs that belongs to it.

use std::time::{Duration, Instant};

use tidemill_net::{
    blobs::BLOBS_ALPN,
    endpoint::{Bind, ConnectError, Connection, Node, NodeOptions, RecvStream, SendStream, finish},
    frame::{FrameError, FrameReader, FrameWriter},
    opening::OpeningError,
    probe,
    session::{Session, SessionError},
    ticket::Ticket,
    wire::{FromProvider, Money, Process, Role, ToProvider},
};
use tidemill_types::{Chain, Millis, NodeId, ResultKey, causes, one_line};
use tokio_util::task::AbortOnDropHandle;

use crate::room::Room;

/// How long the last words may take to arrive.
const FAREWELL: Duration = Duration::from_secs(2);

/// However often a coordinator wants to hear from this node, it is at least and at most so often.
const BEATS: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(60));

/// A coordinator that said nothing for so many heartbeats, and no shorter than [`LEAST_SILENCE`], is gone.
const SILENT_BEATS: u32 = 4;
const LEAST_SILENCE: Duration = Duration::from_secs(10);

/// Messages are gathered until so many bytes wait; then they wait elsewhere, so that a coordinator that does not read
/// costs little memory here.
const MOST_WAITING: usize = 2 << 20;

/// A session that stands.
#[derive(Debug)]
pub(crate) struct OpenLink {
    pub(crate) reader: FrameReader<RecvStream>,
    pub(crate) writer: FrameWriter<SendStream>,
    pub(crate) connection: Connection,
    pub(crate) blobs: Connection,
    pub(crate) chain: Chain,
    pub(crate) money: Option<Money>,
    pub(crate) software: String,
    /// Which process of the coordinator it is with.
    pub(crate) process: Process,
    /// Between two heartbeats.
    pub(crate) beat: Duration,
    /// Without a connection for so long, the coordinator gives the leases to others.
    pub(crate) lease: Duration,
    pub(crate) since: Instant,
    pub(crate) heard: Instant,
    pub(crate) next_beat: Instant,
    /// Lending blobs, and answering whether this process lives.
    _serving: [AbortOnDropHandle<()>; 2],
}

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LinkError {
    #[error(transparent)]
    Session(#[from] SessionError),
    #[error("the coordinator lends no blobs")]
    Blobs(#[source] ConnectError),
}

impl LinkError {
    /// Whether the same attempt may succeed later, without anything changed on this side.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Self::Session(error) => error.may_pass(),
            Self::Blobs(error) => error.may_pass(),
        }
    }

    /// Whether the coordinator has a session with another process of this node, and that one lives.
    pub(crate) fn is_copy(&self) -> bool {
        matches!(self, Self::Session(SessionError::Opening(OpeningError::Taken { .. })))
    }

    /// The error and its causes, fit for a terminal.
    pub(crate) fn words(&self) -> String {
        words(self)
    }
}

/// An error and its causes in one line, fit for a terminal.
pub(crate) fn words(error: &dyn std::error::Error) -> String {
    one_line(&causes(error), 500)
}

/// How the endpoint behaves: it dials, and nobody dials it but a coordinator that was started anew.
pub(crate) fn node_options(bind: Bind, coordinators: Vec<NodeId>) -> NodeOptions {
    NodeOptions { bind, recalled_by: coordinators, ..NodeOptions::default() }
}

/// Dials the coordinator twice: for the session, and for blobs, which both sides may then ask for.
pub(crate) async fn dial(
    node: &Node,
    key: &ResultKey,
    ticket: &Ticket,
    role: Role,
    room: Room,
) -> Result<OpenLink, LinkError> {
    let (session, welcome) = Session::dial(node, key, ticket, role).await?;
    let Session { connection, peer, reader, writer } = session;
    // From the first moment on, or a copy that dials meanwhile would take this process for dead.
    let answering = AbortOnDropHandle::new(tokio::spawn(probe::answer(connection.clone())));
    let blobs = match node.connect(ticket, BLOBS_ALPN).await {
        Ok(blobs) => blobs,
        Err(error) => {
            connection.close(0u32.into(), b"no connection for blobs");
            return Err(LinkError::Blobs(error));
        }
    };
    let serving = tokio::spawn(room.serve(blobs.clone(), peer));
    let now = Instant::now();
    let beat = welcome.heartbeat.duration().clamp(BEATS.0, BEATS.1);
    Ok(OpenLink {
        reader,
        writer,
        connection,
        blobs,
        chain: welcome.chain,
        money: welcome.money,
        software: one_line(&welcome.software, 80),
        process: welcome.process,
        beat,
        lease: lease_time(welcome.lease, beat),
        since: now,
        heard: now,
        next_beat: now + beat,
        _serving: [AbortOnDropHandle::new(serving), answering],
    })
}

fn lease_time(lease: Millis, beat: Duration) -> Duration {
    /// Long enough for any use, and short enough to be added to any instant.
    const LONGEST: Duration = Duration::from_secs(365 * 86_400);
    lease.duration().clamp(beat, LONGEST)
}

impl OpenLink {
    /// Whether more may be pushed.
    pub(crate) fn has_room(&self) -> bool {
        self.writer.waiting() < MOST_WAITING
    }

    /// Adds a message to those that are sent next.
    pub(crate) fn push(&mut self, message: &FromProvider) -> Result<(), FrameError> {
        self.writer.push(message)
    }

    /// When the coordinator is taken to be gone, if it says nothing until then.
    pub(crate) fn silence(&self) -> Instant {
        self.heard + (self.beat * SILENT_BEATS).max(LEAST_SILENCE)
    }

    /// Ends the session and says why, to whom it may concern.
    pub(crate) fn cut(self, reason: &str) {
        self.connection.close(1u32.into(), reason.as_bytes());
        self.blobs.close(1u32.into(), reason.as_bytes());
    }

    /// Ends the session after its last words have arrived.
    pub(crate) async fn farewell(mut self) {
        let _ = self.push(&FromProvider::Bye);
        let flushed = tokio::time::timeout(FAREWELL, self.writer.flush()).await;
        if matches!(flushed, Ok(Ok(()))) {
            finish(&mut self.writer.into_inner(), FAREWELL).await;
        }
        self.connection.close(0u32.into(), b"bye");
        self.blobs.close(0u32.into(), b"bye");
    }
}

/// The next message, or never while nothing is to be read.
pub(crate) async fn hear(
    reader: Option<&mut FrameReader<RecvStream>>,
) -> Result<Option<ToProvider>, FrameError> {
    match reader {
        Some(reader) => reader.next().await,
        None => std::future::pending().await,
    }
}

/// Sends what waits, or never returns while nothing does.
pub(crate) async fn flush(writer: Option<&mut FrameWriter<SendStream>>) -> Result<(), FrameError> {
    match writer {
        Some(writer) if writer.waiting() > 0 => writer.flush().await,
        _ => std::future::pending().await,
    }
}

/// Waits until a connection is gone, and gives why.
pub(crate) async fn closed(connection: Option<&Connection>) -> String {
    match connection {
        Some(connection) => one_line(&connection.closed().await.to_string(), 200),
        None => std::future::pending().await,
    }
}
