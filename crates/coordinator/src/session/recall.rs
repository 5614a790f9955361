//! Telling those who had sessions with the process before this one that the coordinator is there again.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tidemill_net::recall::recall;
use tokio::task::JoinSet;

use crate::{present::Peer, shared::Shared};

/// Peers that are dialed at a time.
const AT_ONCE: usize = 256;

/// How often one is dialed that does not answer, and how long each time: one round trip may take a second and some.
const ATTEMPTS: u32 = 2;
const PATIENCE: Duration = Duration::from_secs(5);

/// A peer's session: noted as long as it lasts.
pub struct Noted<'a> {
    shared: &'a Shared,
    peer: Peer,
}

impl<'a> Noted<'a> {
    pub fn new(shared: &'a Shared, peer: Peer) -> Self {
        shared.present.came(peer);
        Self { shared, peer }
    }
}

impl Drop for Noted<'_> {
    fn drop(&mut self) {
        // Who is here at the end is told by the next process, also when this one ends in order.
        if !self.shared.stop.is_cancelled() {
            self.shared.present.left(self.peer);
        }
    }
}

/// Tells all of them, and logs how many are back and how long it took.
pub async fn recall_all(shared: Arc<Shared>, absent: Vec<Peer>) {
    if absent.is_empty() {
        return;
    }
    let (begun, all) = (Instant::now(), absent.len());
    let mut back = 0;
    let mut calls = JoinSet::new();
    for peer in absent {
        if calls.len() >= AT_ONCE {
            back += count(calls.join_next().await);
        }
        let with = shared.clone();
        calls.spawn(async move {
            tokio::select! {
                is_back = bring_back(&with, peer) => is_back,
                () = with.stop.cancelled() => false,
            }
        });
    }
    while let Some(call) = calls.join_next().await {
        back += count(Some(call));
    }
    tracing::info!(
        back,
        all,
        after = ?begun.elapsed(),
        "told those who were connected before that the coordinator is there again"
    );
}

fn count(call: Option<Result<bool, tokio::task::JoinError>>) -> usize {
    usize::from(matches!(call, Some(Ok(true))))
}

async fn bring_back(shared: &Shared, peer: Peer) -> bool {
    let (node, address) = peer;
    for _ in 0..ATTEMPTS {
        let wanted = || !shared.present.is_here(peer);
        if !wanted() {
            return true;
        }
        let told = recall(&shared.node, shared.welcome.process, node, address, PATIENCE, wanted).await;
        if told && shared.peers.comes(node).await {
            // It may have come from elsewhere, and does not come from there any more.
            shared.present.give_up(peer);
            return true;
        }
        if shared.present.is_here(peer) {
            return true;
        }
    }
    shared.present.give_up(peer);
    false
}
