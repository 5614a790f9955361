//! Reading directories.
//!
//! A listing is taken as a whole when a guest begins to read a directory, so that removing entries while
//! reading skips none. The cookie of an entry is its place in the listing.

use std::sync::Arc;

use super::{
    Call, Guest, MAX_DESCRIPTORS,
    abi::{Errno, FileType},
    memory::Memory,
    meter,
};

/// The entries of a directory at one moment, sorted, `.` and `..` first.
#[derive(Debug)]
pub(crate) struct Listing {
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    name: String,
    inode: u64,
    file_type: FileType,
}

const HEAD_BYTES: usize = 24;

impl Guest {
    pub(super) fn fd_readdir(
        &mut self,
        memory: &mut Memory,
        fd: u32,
        buffer: u32,
        len: u32,
        cookie: u64,
        out: u32,
    ) -> Call {
        let directory = self.directory(fd)?;
        let kept = self.descriptor(fd)?.listing.clone();
        let listing = match kept {
            Some(listing) if cookie != 0 => listing,
            stale => {
                self.forget_listing(stale);
                self.descriptor_mut(fd)?.listing = None;
                let count = self.tree.entries(directory)?.len() + 2;
                self.meter.charge(count as u64 * meter::ENTRY)?;
                if self.listed + count > self.most_listed() {
                    return Err(Errno::Nomem.into());
                }
                let listing = Arc::new(self.list(directory));
                self.listed += count;
                self.descriptor_mut(fd)?.listing = Some(listing.clone());
                listing
            }
        };
        let target = memory.slice_mut(buffer, len)?;
        let mut used = 0;
        let first = usize::try_from(cookie).unwrap_or(usize::MAX).min(listing.entries.len());
        for (place, entry) in listing.entries.iter().enumerate().skip(first) {
            let mut head = [0; HEAD_BYTES];
            head[0..8].copy_from_slice(&(place as u64 + 1).to_le_bytes());
            head[8..16].copy_from_slice(&entry.inode.to_le_bytes());
            let name_len = u32::try_from(entry.name.len()).map_err(|_| Errno::Nametoolong)?;
            head[16..20].copy_from_slice(&name_len.to_le_bytes());
            head[20] = entry.file_type as u8;
            // An entry that does not fit is cut off; a full buffer tells the guest to ask again.
            for part in [&head[..], entry.name.as_bytes()] {
                let take = part.len().min(target.len() - used);
                target[used..used + take].copy_from_slice(&part[..take]);
                used += take;
            }
            if used == target.len() {
                break;
            }
        }
        self.meter.charge(used as u64)?;
        Ok(memory.write_u32(out, u32::try_from(used).map_err(|_| Errno::Inval)?)?)
    }

    /// Gives back what a listing that goes away counted.
    pub(super) fn forget_listing(&mut self, listing: Option<Arc<Listing>>) {
        if let Some(listing) = listing {
            self.listed -= listing.entries.len();
        }
    }

    /// Entries that all listings of a task may hold: twice what its tree can hold, which is enough for
    /// any walk over it, and bounds what descriptors that list one directory again and again make the
    /// host keep.
    fn most_listed(&self) -> usize {
        let entries = self.spec.inputs.len() + self.spec.limits.files as usize;
        2 * entries + 4 * MAX_DESCRIPTORS
    }

    fn list(&self, directory: super::tree::NodeId) -> Listing {
        let entry = |name: &str, node| Entry {
            name: name.to_owned(),
            inode: self.tree.inode(node),
            file_type: self.tree.file_type(node),
        };
        let mut entries = vec![entry(".", directory), entry("..", self.tree.parent(directory))];
        if let Ok(found) = self.tree.entries(directory) {
            entries.extend(found.iter().map(|(name, node)| entry(name, *node)));
        }
        Listing { entries }
    }
}
