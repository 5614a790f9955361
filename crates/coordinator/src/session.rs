//! Connections from their handshake to their end.

mod admission;
pub mod answers;
mod gate;
pub mod lending;
mod provider;
mod recall;
mod requester;
mod seats;

use std::{sync::Arc, time::Duration};

use tidemill_net::{
    blobs::BLOBS_ALPN,
    endpoint::{Connection, Incoming, SendStream, finish, peer, remote_address, remote_socket},
    frame::{FrameError, FrameWriter},
    opening,
    session::Session,
    wire::{Answer, Hello, Refusal, Role, SESSION_ALPN, ToProvider},
};
use tidemill_types::NodeId;
use tokio::sync::watch;
use tracing::{Instrument, info_span};

use self::gate::{Entrance, Gate, Place};
pub use self::{
    recall::recall_all,
    requester::{Places, remove, reply, submit_again, take},
    seats::Seats,
};
use crate::{
    along,
    event::{Event, Network, SessionId},
    outbox::{Outgoing, Outgoings, outbox},
    shared::Shared,
};

/// Blobs that one peer may fetch at a time.
const MOST_BLOB_STREAMS: usize = 16;

/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// How long the last words to a peer may take to reach it.
const FAREWELL: Duration = Duration::from_secs(2);

/// Messages that are written at once.
const MOST_GATHERED: usize = 256;

/// Bytes that are gathered before they are written.
const MOST_UNSENT: usize = 1 << 20;

/// Accepts connections until the coordinator ends.
pub async fn accept(shared: Arc<Shared>) {
    let gate = Arc::new(Gate::default());
    loop {
        let incoming = tokio::select! {
            incoming = shared.node.accept() => incoming,
            () = shared.stop.cancelled() => None,
        };
        let Some(incoming) = incoming else { return };
        let place = match gate.come(incoming.address(), incoming.is_heard()) {
            Entrance::Open(place) => place,
            Entrance::AskAgain => {
                incoming.ask_again();
                continue;
            }
            Entrance::Closed => {
                incoming.refuse();
                continue;
            }
        };
        let with = shared.clone();
        shared.tasks.spawn(async move { serve(&with, incoming, place).await });
    }
}

async fn serve(shared: &Arc<Shared>, incoming: Incoming, mut place: Place) {
    let Ok(Ok(connection)) = tokio::time::timeout(HANDSHAKE, incoming.finish()).await else { return };
    place.is_through();
    let node = peer(&connection);
    let span = info_span!("peer", node = %node.short());
    async {
        if connection.alpn() == SESSION_ALPN {
            session(shared, connection).await;
        } else if connection.alpn() == BLOBS_ALPN {
            blobs(shared, node, connection).await;
        }
    }
    .instrument(span)
    .await;
}

/// A provider's session, counted as long as it lasts.
struct Counted<'a>(&'a watch::Sender<usize>);

impl<'a> Counted<'a> {
    fn new(count: &'a watch::Sender<usize>) -> Self {
        count.send_modify(|count| *count += 1);
        Self(count)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

/// Lends blobs to a node that has a session, and lets the coordinator borrow from it.
async fn blobs(shared: &Arc<Shared>, node: NodeId, connection: Connection) {
    // A node that has not shown a pass in a session takes up no room here.
    if !shared.peers.comes(node).await {
        connection.close(0u32.into(), b"no session");
        return;
    }
    shared.peers.lends(node, connection.clone());
    let with = shared.clone();
    let allowed = move |node, blob| with.peers.is_here(node) && lending::may_read(&with, node, blob);
    tokio::select! {
        () = shared.blobs.serve(connection, allowed, MOST_BLOB_STREAMS) => {}
        () = shared.stop.cancelled() => {}
    }
}

async fn session(shared: &Arc<Shared>, connection: Connection) {
    let (mut session, version, hello) = match Session::hear(connection).await {
        Ok(heard) => heard,
        Err(error) => {
            tracing::info!(error = &error as &dyn std::error::Error, "a session did not come about");
            return;
        }
    };
    let id = shared.new_session();
    let admitted = match admission::admit(shared, &session, &hello, id).await {
        Ok(admitted) => admitted,
        Err(turned_away) => {
            tracing::info!(reason = turned_away.reason(), "a peer was turned away");
            turned_away.tell(&mut session.writer).await;
            end(session.writer, &session.connection).await;
            return;
        }
    };
    if opening::welcome(&mut session.writer, version, &shared.welcome).await.is_err() {
        return;
    }
    let node = session.peer;
    let noted = remote_socket(&session.connection).map(|address| recall::Noted::new(shared, (node, address)));
    let (outbox, outgoings) = outbox(node);
    shared.outboxes.open(id, outbox.clone());
    let is_operator = comes_as_operator(shared, &hello);
    shared.peers.joined(node, is_operator);
    let writer =
        write(shared.clone(), session.writer, outgoings, session.connection.clone()).in_current_span();
    let writer = shared.tasks.spawn(writer);
    tracing::debug!(software = %tidemill_types::one_line(&hello.software, 80), "a session begins");
    let (binding, operator) = (hello.binding, admitted.operator);
    let read = async {
        match hello.role {
            Role::Provider { offer, credits, held, .. } => {
                let _connected = shared.teller.as_ref().map(|teller| teller.connected(operator));
                let network = remote_address(&session.connection).and_then(Network::of);
                let joined = Event::ProviderJoined {
                    session: id,
                    node,
                    binding,
                    operator,
                    network,
                    offer,
                    credits,
                    held,
                };
                shared.tell(joined).await;
                let _counted = Counted::new(&shared.providers);
                provider::read(shared, id, node, session.reader).await;
            }
            Role::Requester => {
                requester::read(shared, id, (node, binding.address), session.reader).await;
            }
        }
    };
    let reads = tokio::select! {
        () = read => true,
        () = outbox.given_up() => false,
    };
    shared.tell(Event::SessionEnded { session: id }).await;
    shared.outboxes.close(id);
    drop(outbox);
    shared.peers.left(node, is_operator);
    drop(noted);
    drop(admitted);
    // What has been said is to arrive, unless nobody listens; closing the connection would drop it.
    let patience = if reads { 2 * FAREWELL } else { Duration::ZERO };
    let abort = writer.abort_handle();
    if tokio::time::timeout(patience, writer).await.is_err() {
        abort.abort();
    }
    session.connection.close(0u32.into(), b"the session is over");
}

/// Whether a dialer is the coordinator's operator: the handshake shows that the result key is its own.
fn comes_as_operator(shared: &Shared, hello: &Hello) -> bool {
    matches!(hello.role, Role::Requester) && hello.binding.address == shared.operator
}

/// Writes what is put into an outbox until there will be no more, or the peer is gone.
async fn write(
    shared: Arc<Shared>,
    mut writer: FrameWriter<SendStream>,
    mut outgoings: Outgoings,
    connection: Connection,
) {
    'session: loop {
        let messages = outgoings.take(MOST_GATHERED).await;
        if messages.is_empty() {
            break;
        }
        let answered: Vec<u64> = messages.iter().filter_map(Outgoing::answered).collect();
        for message in messages {
            let pushed = match message {
                Outgoing::ToProvider(ToProvider::Leases(leases)) => {
                    writer.push(&ToProvider::Leases(along::fill(&shared, leases).await))
                }
                Outgoing::ToProvider(message) => writer.push(&message),
                Outgoing::Answer(answer) => match writer.push(&answer) {
                    Err(FrameError::Oversized { .. }) => writer.push(&too_long(answer.id)),
                    pushed => pushed,
                },
                Outgoing::End => break 'session,
            };
            if writer.waiting() > MOST_UNSENT && writer.flush().await.is_err() {
                return;
            }
            if let Err(error) = pushed {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "a message does not fit into a frame"
                );
                break 'session;
            }
        }
        if writer.flush().await.is_err() {
            return;
        }
        outgoings.left(&answered);
    }
    let _ = tokio::time::timeout(FAREWELL, writer.flush()).await;
    end(writer, &connection).await;
}

/// What stands for an answer that no frame holds.
fn too_long(id: u64) -> Answer {
    let reason = "the answer is too long for one message: ask for fewer at a time".to_owned();
    Answer { id, reply: Err(Refusal::TooLong { reason }) }
}

/// Ends a session after its last words have arrived.
async fn end(writer: FrameWriter<SendStream>, connection: &Connection) {
    finish(&mut writer.into_inner(), FAREWELL).await;
    connection.close(0u32.into(), b"the session is over");
}

/// Notes that a peer broke the protocol, and keeps it out for a while.
fn expel(shared: &Shared, session: SessionId, node: NodeId, reason: &str, is_provider: bool) {
    tracing::warn!(node = %node, reason, "a peer is cut off");
    shared.peers.ban(node, shared.pace.ban.duration());
    if let Some(outbox) = shared.outboxes.get(session) {
        if is_provider {
            outbox.put(Outgoing::ToProvider(ToProvider::Bye { reason: reason.to_owned() }));
        }
        outbox.put(Outgoing::End);
    }
}

/// Carries out [`crate::event::Effect::CutOff`].
pub fn cut_off(shared: &Shared, session: SessionId, node: NodeId, reason: &str) {
    expel(shared, session, node, reason, true);
}
