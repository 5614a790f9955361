//! The blobs that running jobs need: here, pinned, and counted, since many jobs may share one.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tidemill_job::{BlobRef, JobSpec};
use tidemill_types::{BlobId, ByteSize, JobId, Principal, Stage};

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
    owners: HashMap<Principal, OfOwner>,
}

#[derive(Debug)]
struct Held {
    owner: Principal,
    /// Sorted.
    blobs: Vec<BlobId>,
    common: Arc<HashSet<BlobId>>,
}

/// The blobs that one owner's jobs need or are about to, each counted once.
#[derive(Debug, Default)]
struct OfOwner {
    /// How many of its jobs need each, and its length.
    blobs: HashMap<BlobId, (usize, u64)>,
    bytes: u64,
}

/// Blobs that count for an owner while they are on their way. They count no more when it is dropped.
#[derive(Debug)]
pub struct Claim<'a> {
    inputs: &'a Inputs,
    owner: Principal,
    blobs: Vec<BlobRef>,
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        let mut state = self.inputs.lock();
        self.blobs.iter().for_each(|blob| state.discount(self.owner, blob.id));
    }
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

    /// Counts blobs for an owner that are on their way, and says how many bytes that makes with those of its jobs.
    pub fn claim(&self, owner: Principal, named: &Named) -> (Claim<'_>, ByteSize) {
        let mut state = self.lock();
        named.blobs.iter().for_each(|blob| state.count(owner, *blob));
        let bytes = state.owners.get(&owner).map_or(0, |of_owner| of_owner.bytes);
        (Claim { inputs: self, owner, blobs: named.blobs.clone() }, ByteSize(bytes))
    }

    /// A job of an owner needs these blobs, if other jobs do already: then they are here and pinned. Says whether that is so.
    pub fn hold_if_needed(&self, job: JobId, owner: Principal, named: &Named) -> bool {
        let mut state = self.lock();
        let needed = named.blobs.iter().all(|blob| state.users.contains_key(&blob.id));
        if needed {
            state.hold(job, owner, named);
        }
        needed
    }

    /// A job of an owner needs these blobs, which are here and pinned. Not a second time for the same job.
    pub fn hold(&self, job: JobId, owner: Principal, named: &Named) {
        self.lock().hold(job, owner, named);
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
        let Some(held) = state.jobs.remove(&job) else { return free };
        for blob in held.blobs {
            state.discount(held.owner, blob);
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
    fn count(&mut self, owner: Principal, blob: BlobRef) {
        let of_owner = self.owners.entry(owner).or_default();
        let (users, _) = of_owner.blobs.entry(blob.id).or_insert((0, blob.len));
        *users += 1;
        if *users == 1 {
            of_owner.bytes = of_owner.bytes.saturating_add(blob.len);
        }
    }

    fn discount(&mut self, owner: Principal, blob: BlobId) {
        let Some(of_owner) = self.owners.get_mut(&owner) else { return };
        let Some((users, len)) = of_owner.blobs.get_mut(&blob) else { return };
        *users -= 1;
        if *users == 0 {
            of_owner.bytes = of_owner.bytes.saturating_sub(*len);
            of_owner.blobs.remove(&blob);
        }
        if of_owner.blobs.is_empty() {
            self.owners.remove(&owner);
        }
    }

    fn hold(&mut self, job: JobId, owner: Principal, named: &Named) {
        if self.jobs.contains_key(&job) {
            return;
        }
        named.blobs.iter().for_each(|blob| self.count(owner, *blob));
        let mut blobs: Vec<BlobId> = named.blobs.iter().map(|blob| blob.id).collect();
        blobs.sort_unstable();
        for blob in &blobs {
            *self.users.entry(*blob).or_insert(0) += 1;
        }
        self.jobs.insert(job, Held { owner, blobs, common: named.common.clone() });
    }
}

#[cfg(test)]
mod tests {
    use tidemill_types::NodeId;

    use super::*;

    const OWNER: Principal = Principal::Node(NodeId([7; 32]));

    /// Inputs of jobs that never end counted for nobody, and filled the disk.
    #[test]
    fn inputs_count_for_their_owner_once_and_as_long_as_a_job_needs_them() {
        let inputs = Inputs::default();
        let named = |names: &[&str]| {
            let blob = |name: &&str| BlobRef { id: BlobId::of(name.as_bytes()), len: 100 };
            Named { blobs: names.iter().map(blob).collect(), common: Arc::default() }
        };
        let counted = |owner| inputs.claim(owner, &named(&[])).1.0;
        let (claim, bytes) = inputs.claim(OWNER, &named(&["a", "b"]));
        assert_eq!(bytes, ByteSize(200));
        inputs.hold(JobId([1; 16]), OWNER, &named(&["a", "b"]));
        drop(claim);
        inputs.hold(JobId([2; 16]), OWNER, &named(&["b", "c"]));
        let other = Principal::Node(NodeId([8; 32]));
        inputs.hold(JobId([3; 16]), other, &named(&["a"]));
        assert_eq!((counted(OWNER), counted(other)), (300, 100));
        inputs.release(JobId([1; 16]));
        assert_eq!((counted(OWNER), counted(other)), (200, 100));
        drop(inputs.claim(OWNER, &named(&["d"])));
        assert_eq!(counted(OWNER), 200, "what did not come counts no more");
        inputs.release(JobId([2; 16]));
        inputs.release(JobId([3; 16]));
        assert!(inputs.lock().owners.is_empty());
    }

    #[test]
    fn a_blob_is_free_when_its_last_job_is_gone() {
        let inputs = Inputs::default();
        let blob = |name: &str| BlobRef { id: BlobId::of(name.as_bytes()), len: 1 };
        let named = |names: &[&str]| Named {
            blobs: names.iter().map(|name| blob(name)).collect(),
            common: Arc::new(HashSet::from([blob("shared").id])),
        };
        let (one, two) = (JobId([1; 16]), JobId([2; 16]));
        inputs.hold(one, OWNER, &named(&["shared", "own"]));
        inputs.hold(one, OWNER, &named(&["shared", "own"]));
        assert!(!inputs.hold_if_needed(two, OWNER, &named(&["shared", "other"])));
        assert_eq!(inputs.common(two), None);
        assert!(inputs.hold_if_needed(two, OWNER, &named(&["shared"])));
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
