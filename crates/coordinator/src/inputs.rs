//! The blobs that running jobs need: here, pinned, and counted, since many jobs may share one.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tidemill_job::{BlobRef, JobSpec};
use tidemill_types::{BlobId, JobId, Stage};

/// How many jobs need each blob.
#[derive(Debug, Default)]
pub struct Inputs {
    state: Mutex<State>,
    /// Held by who takes pins off, and by who makes sure that they are on: a pin and the count of its users are not
    /// changed in one step.
    pinning: tokio::sync::Mutex<()>,
}

/// The blobs that a job names.
#[derive(Clone, Debug)]
pub struct Named {
    /// All of them.
    pub blobs: Vec<BlobRef>,
    /// Those that all tasks of a stage read.
    common: Arc<HashSet<BlobId>>,
}

#[derive(Debug, Default)]
struct State {
    jobs: HashMap<JobId, Held>,
    users: HashMap<BlobId, usize>,
}

#[derive(Debug, Default)]
struct Held {
    /// Sorted.
    blobs: Vec<BlobId>,
    common: Arc<HashSet<BlobId>>,
}

impl Named {
    /// Those of this job.
    pub fn by(job: &JobSpec) -> Self {
        let common = [Stage::Map, Stage::Reduce].into_iter().flat_map(|stage| job.shared(stage));
        Self { blobs: job.blobs(), common: Arc::new(common.map(|blob| blob.id).collect()) }
    }
}

impl Inputs {
    /// Whether some running job needs a blob, so that it is here.
    pub fn has(&self, blob: BlobId) -> bool {
        self.lock().users.contains_key(&blob)
    }

    /// The running jobs that need a blob.
    pub fn users_of(&self, blob: BlobId) -> Vec<JobId> {
        let state = self.lock();
        if !state.users.contains_key(&blob) {
            return Vec::new();
        }
        let needs = |held: &Held| held.blobs.binary_search(&blob).is_ok();
        state.jobs.iter().filter(|(_, held)| needs(held)).map(|(job, _)| *job).collect()
    }

    /// A job needs these blobs, if other jobs do already: then they are here and pinned. Says whether that is so.
    pub fn hold_if_needed(&self, job: JobId, named: &Named) -> bool {
        let mut state = self.lock();
        let needed = named.blobs.iter().all(|blob| state.users.contains_key(&blob.id));
        if needed {
            state.hold(job, named);
        }
        needed
    }

    /// A job needs these blobs, which are here and pinned. Not a second time for the same job.
    pub fn hold(&self, job: JobId, named: &Named) {
        self.lock().hold(job, named);
    }

    /// The blobs that all tasks of a stage of a job read; nothing of a job that does not need its blobs.
    pub fn common(&self, job: JobId) -> Option<Arc<HashSet<BlobId>>> {
        self.lock().jobs.get(&job).map(|held| held.common.clone())
    }

    /// Keeps pins of inputs as they are while it is held.
    pub async fn pinning(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.pinning.lock().await
    }

    /// A job needs its blobs no more. Gives those that no other job needs.
    pub fn release(&self, job: JobId) -> Vec<BlobId> {
        let mut state = self.lock();
        let mut free = Vec::new();
        for blob in state.jobs.remove(&job).unwrap_or_default().blobs {
            if let Some(users) = state.users.get_mut(&blob) {
                *users -= 1;
                if *users == 0 {
                    state.users.remove(&blob);
                    free.push(blob);
                }
            }
        }
        free
    }

    /// Every blob that some job needs.
    pub fn all(&self) -> Vec<BlobId> {
        self.lock().users.keys().copied().collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn hold(&mut self, job: JobId, named: &Named) {
        if self.jobs.contains_key(&job) {
            return;
        }
        let mut blobs: Vec<BlobId> = named.blobs.iter().map(|blob| blob.id).collect();
        blobs.sort_unstable();
        for blob in &blobs {
            *self.users.entry(*blob).or_insert(0) += 1;
        }
        self.jobs.insert(job, Held { blobs, common: named.common.clone() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blob_is_free_when_its_last_job_is_gone() {
        let inputs = Inputs::default();
        let blob = |name: &str| BlobRef { id: BlobId::of(name.as_bytes()), len: 1 };
        let named = |names: &[&str]| Named {
            blobs: names.iter().map(|name| blob(name)).collect(),
            common: Arc::new(HashSet::from([blob("shared").id])),
        };
        let (one, two) = (JobId([1; 16]), JobId([2; 16]));
        inputs.hold(one, &named(&["shared", "own"]));
        inputs.hold(one, &named(&["shared", "own"]));
        assert!(!inputs.hold_if_needed(two, &named(&["shared", "other"])));
        assert_eq!(inputs.common(two), None);
        assert!(inputs.hold_if_needed(two, &named(&["shared"])));
        assert!(inputs.common(two).is_some_and(|common| common.contains(&blob("shared").id)));
        let users_of = |name| {
            let mut users = inputs.users_of(blob(name).id);
            users.sort();
            users
        };
        assert_eq!((users_of("shared"), users_of("own")), (vec![one, two], vec![one]));
        assert_eq!(users_of("other"), []);
        assert_eq!(inputs.release(one), [blob("own").id]);
        assert!(inputs.has(blob("shared").id) && !inputs.has(blob("own").id));
        assert_eq!(inputs.release(two), [blob("shared").id]);
        assert_eq!(inputs.release(two), []);
    }
}
