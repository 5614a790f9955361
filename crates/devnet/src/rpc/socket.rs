//! One WebSocket connection, from its upgrade to its end.
//!
//! Three kinds of tasks: the one that reads, one for each message that is being carried out, and the one that writes.
//! A bounded channel leads to the latter. It closes when the client is gone, which ends all the others; when the node
//! stops, running calls end first and their answers are sent.

use std::sync::Arc;
use std::time::Duration;

use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use jsonrpsee::server::StopHandle;
use jsonrpsee::types::error::reject_too_big_request;
use soketto::data::ByteSlice125;
use soketto::handshake::http::Server as Handshake;
use soketto::{Incoming, base, connection};
use tokio::io::BufStream;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt};

use super::dispatch::{Dispatcher, Reply};
use super::envelope::{NO_ID, failed};
use super::subscribe::Subscriptions;

/// Messages that wait to be written. A client that does not read holds up its own subscriptions after so many.
const OUTGOING: usize = 256;

/// Messages of one connection that are carried out at the same time; the next one is read when one of them is done.
const MAX_CALLS: u32 = 64;

/// For how long a client may take its last messages in.
const FAREWELL: Duration = Duration::from_secs(5);

type Stream = Compat<BufStream<TokioIo<Upgraded>>>;

/// How the reading of a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// By the client, or by what is between it and us.
    Theirs,
    /// By us: the client still hears what we have for it.
    Ours,
}

/// Serves a connection until its client goes or the node stops.
pub(super) async fn converse(
    upgraded: Upgraded,
    handshake: Handshake,
    dispatcher: &Arc<Dispatcher>,
    stop: &StopHandle,
) {
    let options = dispatcher.options();
    let mut builder = handshake.into_builder(BufStream::new(TokioIo::new(upgraded)).compat());
    builder.set_max_message_size(options.max_request_bytes as usize);
    builder.set_max_frame_size(options.max_request_bytes as usize);
    let (sender, mut receiver) = builder.finish();
    let (out, queue) = mpsc::channel(OUTGOING);
    let mut writer = tokio::spawn(write(sender, queue, options.idle_timeout / 3));
    let subscriptions = Arc::new(Subscriptions::new(out.clone(), options.max_subscriptions));
    let places = Arc::new(Semaphore::new(MAX_CALLS as usize));

    let stopped = stop.clone().shutdown();
    tokio::pin!(stopped);
    let end = loop {
        let Ok(place) = places.clone().acquire_owned().await else { break End::Ours };
        let message = tokio::select! {
            message = read(&mut receiver, options.idle_timeout) => message,
            () = &mut stopped => break End::Ours,
            () = out.closed() => break End::Theirs,
        };
        let message = match message {
            Ok(Some(message)) => message,
            Ok(None) => break End::Theirs,
            Err(TooLarge) => {
                // The rest of it was not read, so nothing that follows can be understood.
                let error = failed(NO_ID, reject_too_big_request(options.max_request_bytes));
                let _ = out.send(error).await;
                break End::Ours;
            }
        };
        let (dispatcher, subscriptions, out) = (dispatcher.clone(), subscriptions.clone(), out.clone());
        tokio::spawn(async move {
            let _place = place;
            let carry_out = async {
                let Reply { text, begun } = dispatcher.carry_out(&message, Some(&subscriptions)).await;
                if let Some(text) = text
                    && out.send(text).await.is_ok()
                {
                    begun.into_iter().for_each(|follower| subscriptions.begin(follower));
                }
            };
            tokio::select! {
                () = out.closed() => {}
                () = carry_out => {}
            }
        });
    };

    if end == End::Theirs {
        writer.abort();
    }
    // All calls have ended when all places are free; with the last senders the writer's channel ends.
    let _ = places.acquire_many(MAX_CALLS).await;
    drop((subscriptions, out));
    if tokio::time::timeout(FAREWELL, &mut writer).await.is_err() {
        writer.abort();
    }
}

/// A message longer than the bound.
struct TooLarge;

/// The next message; none if the connection has ended, or nothing was heard of it for so long, not even that it is there.
async fn read(
    receiver: &mut soketto::Receiver<Stream>,
    idle_timeout: Duration,
) -> Result<Option<Vec<u8>>, TooLarge> {
    use connection::Error;
    let mut message = Vec::new();
    loop {
        let Ok(received) = tokio::time::timeout(idle_timeout, receiver.receive(&mut message)).await else {
            tracing::debug!("nobody answers at a WebSocket");
            return Ok(None);
        };
        match received {
            Ok(Incoming::Data(_)) => return Ok(Some(message)),
            Ok(Incoming::Pong(_)) => {}
            Ok(Incoming::Closed(_)) => return Ok(None),
            Err(Error::MessageTooLarge { .. } | Error::Codec(base::Error::PayloadTooLarge { .. })) => {
                return Err(TooLarge);
            }
            Err(error) => {
                tracing::debug!(%error, "a WebSocket connection ended");
                return Ok(None);
            }
        }
    }
}

/// Writes what is to be said, and asks every so often whether somebody is there: whoever is answers by itself.
async fn write(mut sender: soketto::Sender<Stream>, mut queue: mpsc::Receiver<String>, ask_every: Duration) {
    loop {
        let text = match tokio::time::timeout(ask_every, queue.recv()).await {
            Ok(Some(text)) => text,
            Ok(None) => break,
            Err(_) => {
                let nothing = ByteSlice125::try_from(&[][..]).expect("nothing is short");
                if sender.send_ping(nothing).await.is_err() || sender.flush().await.is_err() {
                    return;
                }
                continue;
            }
        };
        let sent = sender.send_text_owned(text).await;
        // Of several that wait, the last one takes the others along.
        if sent.is_err() || (queue.is_empty() && sender.flush().await.is_err()) {
            return;
        }
    }
    // If the client is gone already, there is nobody to take leave of.
    let _ = sender.close().await;
}
