//! Whether the process at the other end of a connection still lives.
//!
//! Whoever wants to know opens a stream, writes nothing and ends it; the other side ends its half at once. Such a
//! stream takes up no window, and is answered beside all that waits in a session: a peer that is busy answers as well
//! as one that is idle, and one that is gone or stands still does not answer.

use std::time::Duration;

use tokio::time::timeout;

use crate::endpoint::Connection;

/// Answers the other side whenever it asks, until the connection ends.
pub async fn answer(connection: Connection) {
    while let Ok((mut send, _)) = connection.accept_bi().await {
        // An error is that the other side does not care any more.
        let _ = send.finish();
    }
}

/// Asks the other side, and says whether it answered in time.
pub async fn lives(connection: &Connection, patience: Duration) -> bool {
    let ask = async {
        let (mut send, mut receive) = connection.open_bi().await.ok()?;
        send.finish().ok()?;
        receive.read_to_end(0).await.ok()
    };
    matches!(timeout(patience, ask).await, Ok(Some(_)))
}
