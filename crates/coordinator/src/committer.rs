//! Group commit: the steps of the core become durable together, and only then do their effects leave.

use std::time::Duration;

use tidemill_store::{Change, Store, StoreError};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::{core::Step, event::Effect, failpoint::Failpoint};

/// Steps that wait for the disk. The core works ahead by no more than this.
pub const QUEUE: usize = 8;

/// One commit has at most about so many changes, so that none holds up what waits behind it for long.
const MOST_CHANGES: usize = 4096;

/// For the same reason one commit has at most about so many bytes: outputs travel with their results.
const MOST_BYTES: usize = 16 << 20;

/// How long to wait before a commit that failed for want of room is tried again.
const PAUSE: Duration = Duration::from_millis(250);

/// Commits steps until there are no more, on a thread of its own. While the disk is full it waits, and with it
/// the core and every peer: nothing is lost, and nothing is promised.
///
/// # Errors
/// When the store cannot go on. The last steps are then not durable, and none of their effects has left.
pub fn run(
    store: &Store,
    mut steps: mpsc::Receiver<Step>,
    stop: &CancellationToken,
    mut deliver: impl FnMut(Effect),
) -> Result<(), StoreError> {
    while let Some(Step { mut changes, mut effects }) = steps.blocking_recv() {
        let mut bytes: usize = changes.iter().map(Change::bytes).sum();
        while changes.len() < MOST_CHANGES
            && bytes < MOST_BYTES
            && let Ok(next) = steps.try_recv()
        {
            bytes += next.changes.iter().map(Change::bytes).sum::<usize>();
            changes.extend(next.changes);
            effects.extend(next.effects);
        }
        if !changes.is_empty() {
            Failpoint::BeforeCommit.pass();
            if changes.iter().any(|change| matches!(change, Change::JobEnded { .. })) {
                Failpoint::BeforeJobEnd.pass();
            }
            commit(store, &changes, stop)?;
            Failpoint::AfterCommit.pass();
        }
        let half = effects.len() / 2;
        for (place, effect) in effects.into_iter().enumerate() {
            if place == half && half > 0 {
                Failpoint::BetweenEffects.pass();
            }
            deliver(effect);
        }
    }
    Ok(())
}

fn commit(store: &Store, changes: &[Change], stop: &CancellationToken) -> Result<(), StoreError> {
    let mut told = false;
    loop {
        match store.commit(changes) {
            Err(error) if error.is_retryable() && !stop.is_cancelled() => {
                if !told {
                    tracing::error!(%error, "cannot write; everything waits until that is possible again");
                    told = true;
                }
                std::thread::sleep(PAUSE);
            }
            Ok(()) if told => {
                tracing::info!("writing is possible again");
                return Ok(());
            }
            other => return other,
        }
    }
}
