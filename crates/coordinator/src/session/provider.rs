//! What a provider says, until its session ends.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tidemill_net::{
    endpoint::RecvStream,
    frame::FrameReader,
    wire::{Bounded, FromProvider},
};
use tidemill_types::NodeId;

use super::admission::check_offer;
use crate::{
    event::{Event, SessionId},
    following::Allowance,
    shared::Shared,
};

/// Reads until the session ends. While the core has too much to do nothing is read, and the provider waits; so does one
/// that sends too much of what its attempts write.
pub async fn read(
    shared: &Arc<Shared>,
    session: SessionId,
    node: NodeId,
    mut reader: FrameReader<RecvStream>,
) {
    let mut allowance = Allowance::new(Instant::now());
    loop {
        let message = tokio::select! {
            message = reader.next::<FromProvider>() => message,
            () = shared.stop.cancelled() => return,
        };
        let message = match message {
            Ok(Some(message)) => message,
            Ok(None) => return,
            Err(error) if error.is_offence() => {
                super::expel(shared, session, node, &error.to_string(), true);
                return;
            }
            Err(_) => return,
        };
        let checked = message.check().map_err(|error| error.to_string());
        // Whoever was let in with one offer must not go on with one that would have been turned away.
        let checked = checked.and_then(|()| match &message {
            FromProvider::Offer(offer) => check_offer(offer),
            _ => Ok(()),
        });
        if let Err(reason) = checked {
            super::expel(shared, session, node, &reason, true);
            return;
        }
        let message = match message {
            FromProvider::Chunks(chunks) => {
                let pause = allowance.take(&chunks, Instant::now());
                if let Err(reason) = shared.following.relay(&shared.outboxes, session, chunks) {
                    super::expel(shared, session, node, &reason, true);
                    return;
                }
                if pause > Duration::ZERO {
                    tokio::select! {
                        () = tokio::time::sleep(pause) => {}
                        () = shared.stop.cancelled() => return,
                    }
                }
                continue;
            }
            message => message,
        };
        let is_last = matches!(message, FromProvider::Bye);
        shared.tell(Event::FromProvider { session, message }).await;
        if is_last {
            return;
        }
    }
}
