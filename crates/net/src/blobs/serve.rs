//! How blobs are given away.

use std::{sync::Arc, time::Duration};

use bao_tree::ChunkRanges;
use iroh_blobs::protocol::Request;
use tidemill_types::{BlobId, NodeId};
use tokio::{task::JoinSet, time::timeout};

use super::{
    BlobError, Blobs, Condition, blocking,
    encode::{Encoder, is_damage},
};
use crate::endpoint::{Connection, RecvStream, SendStream, peer};

/// How long a request may take to arrive: it is a few bytes.
const REQUEST_PATIENCE: Duration = Duration::from_secs(10);

/// The code of a stream that ends before its blob does.
const CUT_SHORT: u32 = 3;

impl Blobs {
    /// Answers what the other side asks for on a connection of [`super::BLOBS_ALPN`], whoever dialed, until the
    /// connection ends: ranges of blobs that `allow` lets it have, at most `max_streams` at once. What it may not have
    /// and what is not here look the same to it.
    pub async fn serve<A>(&self, connection: Connection, allow: A, max_streams: usize)
    where
        A: Fn(NodeId, BlobId) -> bool + Send + Sync + 'static,
    {
        let node = peer(&connection);
        let allow = Arc::new(move |id| allow(node, id));
        let mut streams = JoinSet::new();
        loop {
            tokio::select! {
                accepted = connection.accept_bi(), if streams.len() < max_streams => match accepted {
                    Ok((send, recv)) => {
                        streams.spawn(answer(self.clone(), send, recv, allow.clone(), node));
                    }
                    Err(_) => break,
                },
                Some(ended) = streams.join_next() => {
                    if let Err(error) = ended {
                        tracing::error!(peer = %node.short(), %error, "giving a blob away failed");
                    }
                }
                _ = connection.closed() => break,
            }
        }
        // Without the connection the streams end by themselves.
        while streams.join_next().await.is_some() {}
    }

    /// The request's answer: a blob is either here, whole and as it was, or not here. An error is that it is here and cannot
    /// be read now.
    async fn encoder(&self, id: BlobId, ranges: ChunkRanges) -> Result<Option<Encoder>, BlobError> {
        let Some(len) = self.has(id) else { return Ok(None) };
        let blobs = self.clone();
        let opened = blocking(move || {
            let (lent, bytes) = blobs.0.lend(id)?;
            let opened = match bytes {
                Some(bytes) => Encoder::over(bytes, ranges),
                None => Encoder::open(id, lent.path(), &blobs.0.folder.tree(id), len, ranges),
            };
            opened.map_err(|source| {
                if is_damage(&source) && blobs.0.recheck(id) == Condition::Lost {
                    return BlobError::NotHere(id);
                }
                BlobError::disk("read a blob at", lent.path(), source)
            })
        });
        match opened.await {
            // What is damaged was named in the log already.
            Err(BlobError::NotHere(_) | BlobError::Damaged { .. }) => Ok(None),
            opened => opened,
        }
    }
}

async fn answer<A>(blobs: Blobs, mut send: SendStream, mut recv: RecvStream, allow: Arc<A>, node: NodeId)
where
    A: Fn(BlobId) -> bool + Send + Sync + 'static,
{
    let request = timeout(REQUEST_PATIENCE, Request::read_async(&mut recv)).await;
    let Ok(Ok((Request::Get(request), _))) = request else {
        tracing::debug!(peer = %node.short(), "not a request for a blob");
        let _ = send.reset(CUT_SHORT.into());
        return;
    };
    let id = BlobId::from_hash(request.hash.into());
    let encoder = match request.ranges.as_single() {
        Some((0, ranges)) if allow(id) => blobs.encoder(id, ranges.clone()).await,
        _ => Ok(None),
    };
    let encoder = match encoder {
        Ok(Some(encoder)) => encoder,
        // Nothing at all means: not here.
        Ok(None) => {
            tracing::debug!(peer = %node.short(), blob = %id, "not here for this node");
            let _ = send.finish();
            return;
        }
        // It may be read at the next attempt.
        Err(error) => {
            tracing::warn!(blob = %id, error = &error as &dyn std::error::Error, "cannot read a blob that is here");
            let _ = send.reset(CUT_SHORT.into());
            return;
        }
    };
    if let Err(reason) = stream(&blobs, id, &mut send, encoder).await {
        tracing::debug!(peer = %node.short(), blob = %id, reason, "cut short");
        let _ = send.reset(CUT_SHORT.into());
    }
}

async fn stream(
    blobs: &Blobs,
    id: BlobId,
    send: &mut SendStream,
    mut encoder: Encoder,
) -> Result<(), &'static str> {
    loop {
        let with = blobs.clone();
        let (back, batch) = blocking(move || {
            let batch = encoder.next_batch();
            if batch.as_ref().is_err_and(is_damage) {
                with.0.recheck(id);
            }
            (encoder, batch)
        })
        .await;
        encoder = back;
        let batch = match batch {
            Ok(batch) => batch,
            // What was right arrives, and the rest is missed there. A reset could take back what is on its way.
            Err(error) if is_damage(&error) => Vec::new(),
            Err(_) => return Err("its file cannot be read"),
        };
        if batch.is_empty() {
            return send.finish().map_err(|_| "the other side stopped it");
        }
        let sent = timeout(blobs.0.options.stall, send.write_all(&batch)).await;
        let sent = sent.map_err(|_| "the other side keeps still")?;
        sent.map_err(|_| "the other side stopped it")?;
    }
}
