//! Blobs that visitors have brought for jobs to come. Each is its bringer's alone: a hash that somebody else knows is no
//! way to it. What nobody used for a while goes; what a job needs stays with the job.

use std::{
    collections::HashMap,
    path::Path,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use axum::http::StatusCode;
use tidemill_api as api;
use tidemill_coordinator::{LocalError, LocalSessions};
use tidemill_types::{BlobId, BlobRef, Principal};

use crate::{problem::Problem, staging::Taken};

/// How long a blob is kept after its last use.
const KEPT: Duration = Duration::from_secs(3600);

/// Blobs of one visitor.
const MOST_EACH: usize = 10_000;

/// The blobs that are kept.
#[derive(Debug, Default)]
pub struct Depot {
    kept: Mutex<HashMap<(Principal, BlobId), Kept>>,
    /// For names that no two have.
    next: AtomicU64,
}

#[derive(Debug)]
struct Kept {
    blob: BlobRef,
    /// What holds it at the coordinator.
    name: String,
    used: Instant,
    _room: Taken,
}

impl Depot {
    /// A blob that this visitor has brought. It counts as a use.
    pub fn get(&self, whose: Principal, id: BlobId) -> Option<BlobRef> {
        let mut kept = self.lock();
        let kept = kept.get_mut(&(whose, id))?;
        kept.used = Instant::now();
        Some(kept.blob)
    }

    /// Keeps a copy of a file, whose blob this is.
    pub async fn keep(
        &self,
        sessions: &LocalSessions,
        whose: Principal,
        (blob, path): (BlobRef, &Path),
        room: Taken,
    ) -> Result<(), Problem> {
        if self.get(whose, blob.id).is_some() {
            return Ok(());
        }
        if self.lock().keys().filter(|(principal, _)| *principal == whose).count() >= MOST_EACH {
            let found = format!("you have brought {MOST_EACH} blobs: submit the jobs that need them first");
            return Err(Problem::new(StatusCode::INSUFFICIENT_STORAGE, found));
        }
        let name = format!("brought.{}", self.next.fetch_add(1, Ordering::Relaxed));
        // Should the visitor leave meanwhile, it goes when it was not used for long, as others do.
        let used = Instant::now();
        let kept = Kept { blob, name: name.clone(), used, _room: room };
        let before = self.lock().insert((whose, blob.id), kept);
        if let Some(before) = before {
            let _ = sessions.let_go(&before.name).await;
        }
        match sessions.keep_copy(&name, path).await {
            Ok(found) if found == blob => Ok(()),
            Ok(_) => {
                self.forget(sessions, whose, blob.id).await;
                Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the file changed on the disk"))
            }
            Err(error) => {
                self.forget(sessions, whose, blob.id).await;
                Err(LocalError::Blob(error).into())
            }
        }
    }

    async fn forget(&self, sessions: &LocalSessions, whose: Principal, id: BlobId) {
        let kept = self.lock().remove(&(whose, id));
        if let Some(kept) = kept {
            let _ = sessions.let_go(&kept.name).await;
        }
    }

    /// Lets those go that were not used for long.
    pub async fn sweep(&self, sessions: &LocalSessions, now: Instant) {
        let is_old = |kept: &Kept| now.saturating_duration_since(kept.used) >= KEPT;
        let old: Vec<Kept> = self.lock().extract_if(|_, kept| is_old(kept)).map(|(_, kept)| kept).collect();
        for kept in old {
            if let Err(error) = sessions.let_go(&kept.name).await {
                tracing::warn!(error = &error as &dyn std::error::Error, "a blob of a visitor stays pinned");
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(Principal, BlobId), Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A blob as it is told of.
pub fn told(blob: BlobRef) -> api::KeptBlob {
    api::KeptBlob { hash: blob.id.to_string(), bytes: blob.len, kept_s: KEPT.as_secs() }
}

/// When the next look is due for what is old.
pub const SWEEP: Duration = Duration::from_secs(60);

/// Long enough for everything to be old.
#[cfg(test)]
pub const LONG: Duration = KEPT;
