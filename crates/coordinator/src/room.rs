//! Whether the disk has room for another job.

use std::{io, path::Path};

use tidemill_net::{blobs::Usage, wire::Refusal};
use tidemill_types::ByteSize;

/// Of a small budget for blobs the reserve is not more than one part in so many.
const RESERVED_PART: u64 = 16;

/// How full the disk is.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    /// The folder of blobs.
    pub blobs: Usage,
    /// What is free on the file system for this user.
    pub free: ByteSize,
}

impl Room {
    /// As it is now.
    ///
    /// # Errors
    /// When the file system does not say.
    pub fn of(folder: &Path, blobs: Usage) -> io::Result<Self> {
        let found = rustix::fs::statvfs(folder)?;
        Ok(Self { blobs, free: ByteSize(found.f_bavail.saturating_mul(found.f_frsize)) })
    }

    /// Why a job that brings so many bytes is not taken in, so that `reserve` is left to those that run.
    pub fn refusal(&self, brings: ByteSize, reserve: ByteSize) -> Option<Refusal> {
        let Usage { budget, used, pinned, reserved, .. } = self.blobs;
        let room = budget.saturating_sub(pinned).saturating_sub(reserved);
        let of_budget = reserve.0.min(budget / RESERVED_PART).saturating_add(brings.0);
        // What is not pinned makes way.
        let free = self.free.0.saturating_add(used.saturating_sub(pinned));
        let has_room = room >= of_budget && free >= reserve.0.saturating_add(brings.0);
        let reason = || {
            let left = ByteSize(room.min(free));
            format!(
                "its disk has room for {left} more, the job brings {brings}, and {reserve} are left to jobs that run: try \
                 again when some have ended"
            )
        };
        (!has_room).then(|| Refusal::Busy { reason: reason() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reserve_is_left_to_jobs_that_run() {
        let reserve = ByteSize(100);
        let usage = |used, pinned| Usage { budget: 1600, used, pinned, ..Usage::default() };
        let is_taken = |blobs, free, brings| {
            Room { blobs, free: ByteSize(free) }.refusal(ByteSize(brings), reserve).is_none()
        };
        assert!(is_taken(usage(1000, 1000), 1000, 500) && !is_taken(usage(1000, 1000), 1000, 501));
        assert!(is_taken(usage(1600, 1000), 0, 500), "what is not pinned makes way");
        assert!(!is_taken(usage(0, 0), 99, 0) && is_taken(usage(0, 0), 100, 0), "the file system is full");
        let small = Usage { budget: 160, ..Usage::default() };
        assert!(is_taken(small, 1000, 150) && !is_taken(small, 1000, 151), "a part of a small budget");
    }
}
