//! What a provider says, until its session ends.

use std::sync::Arc;

use tidemill_net::{
    endpoint::RecvStream,
    frame::FrameReader,
    wire::{Bounded, FromProvider},
};
use tidemill_types::NodeId;

use crate::{
    event::{Event, SessionId},
    shared::Shared,
};

/// Reads until the session ends. While the core has too much to do nothing is read, and the provider waits.
pub async fn read(
    shared: &Arc<Shared>,
    session: SessionId,
    node: NodeId,
    mut reader: FrameReader<RecvStream>,
) {
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
        if let Err(error) = message.check() {
            super::expel(shared, session, node, &error.to_string(), true);
            return;
        }
        let is_last = matches!(message, FromProvider::Bye);
        shared.tell(Event::FromProvider { session, message }).await;
        if is_last {
            return;
        }
    }
}
