//! What is kept for the owners of jobs that run, so that one whose jobs never end does not fill the disk. The core counts
//! what comes, and asks the store where that may be too much: what was removed is known there.

use std::collections::HashMap;

use tidemill_store::JobEnd;
use tidemill_types::{ByteSize, Failure, JobId, Principal, TaskNumber};

use super::Core;
use crate::event::{Effect, Now};

/// How much is kept for owners of jobs that run.
#[derive(Debug, Default)]
pub(super) struct Kept(HashMap<Principal, OfOwner>);

#[derive(Debug, Default)]
struct OfOwner {
    /// At least so much, but for what was removed since the store was asked.
    bytes: u64,
    /// Whether the store is being asked.
    is_asked: bool,
}

impl Kept {
    /// So much was kept for an owner when the store was looked at.
    pub(super) fn seen(&mut self, owner: Principal, bytes: ByteSize) {
        self.0.entry(owner).or_default().bytes = bytes.0;
    }

    /// An owner has no jobs that run any more.
    pub(super) fn forget(&mut self, owner: Principal) {
        self.0.remove(&owner);
    }

    /// So much more is kept for an owner. Says whether the store is to be asked how much that is, since it may be more than
    /// `most`.
    fn add(&mut self, owner: Principal, bytes: u64, most: ByteSize) -> bool {
        let of_owner = self.0.entry(owner).or_default();
        of_owner.bytes = of_owner.bytes.saturating_add(bytes);
        of_owner.bytes > most.0 && !std::mem::replace(&mut of_owner.is_asked, true)
    }
}

impl Core {
    /// So much more is kept of a job that runs: the output of a task, and its log.
    pub(super) fn keep_more(&mut self, id: JobId, bytes: u64) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        job.kept = job.kept.saturating_add(bytes);
        let owner = job.owner;
        if self.kept.add(owner, bytes, self.config.keep.bytes) {
            self.effect(Effect::CountKept(owner));
        }
    }

    /// So much is kept for an owner, by its store. Where that is too much, the job ends of which most came.
    pub(super) fn kept_counted(&mut self, owner: Principal, bytes: ByteSize, now: Now) {
        let of_owner = self.jobs.iter().filter(|(_, job)| job.owner == owner);
        let Some((id, job)) = of_owner.max_by_key(|(_, job)| job.kept) else {
            return self.kept.forget(owner);
        };
        let (id, task) = (*id, job.open.keys().next().copied().unwrap_or(TaskNumber(0)));
        self.kept.0.insert(owner, OfOwner { bytes: bytes.0, is_asked: false });
        if let Some(reason) = self.config.keep.overrun(bytes) {
            let end = JobEnd::Failed { task, failure: Failure::Host { reason }, attempts: 0 };
            self.end(id, end, now);
        }
    }
}
