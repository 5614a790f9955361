//! Blobs: bytes under the name of their hash, kept in a folder, and passed between nodes.
//!
//! A blob that is whole is a plain file, so that tasks read it by offset. The files are the index: what a folder
//! holds is found out when it is opened, and there is no database that could disagree with it. A blob appears under
//! its name only once its bytes are on disk, so a crash leaves whole blobs and what [`Blobs::open`] sweeps away.
//!
//! The wire format, the hash tree and the verified streams are those of iroh-blobs and bao-tree; the folder is our
//! own, because the store of iroh-blobs 0.104 neither deletes on request, nor syncs the data of imports, nor goes on
//! after a full disk.
//!
//! ```text
//! lock               held by the one process that has the folder open
//! data/HASH          a whole blob            data/HASH.tree      its hash tree, when it is over 16 KiB
//! links/HASH         where a blob is that stays in a file of its owner
//! partial/HASH-LEN   a fetch that was broken off, and its .tree
//! pins/HASH          what one pin holds
//! drafts/            imports under way
//! ```

mod disk;
mod encode;
mod error;
mod fetch;
mod import;
mod index;
mod pins;
mod serve;

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use tidemill_types::BlobId;
use tokio::task::spawn_blocking;

use self::{
    disk::Folder,
    index::{Index, Place},
    pins::PinFiles,
};
pub use self::{
    error::{BlobError, FetchError, OverBudget},
    import::FileMode,
    index::Usage,
    pins::{MAX_PIN_BYTES, Pin},
};

/// The protocol that blobs travel with. Either side may ask, whoever dialed.
pub const BLOBS_ALPN: &[u8] = b"tidemill/blobs/1";

pub use tidemill_types::BlobRef;

/// What of a folder of blobs outlives a crash.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Keeps {
    /// All that an operation returned from, pins too.
    Durable,
    /// What the disk happens to have: the folder can be filled again from elsewhere, so nothing waits for the disk.
    /// Pins end with the process. Blobs that are found when the folder is opened are hashed before their first use.
    Cache,
}

/// How a folder of blobs is kept.
#[derive(Clone, Debug)]
pub struct BlobOptions {
    /// What outlives a crash.
    pub keeps: Keeps,
    /// The most bytes that the folder may hold, hash trees and broken fetches included. Blobs that stay in files of
    /// their owner count with their trees alone.
    pub budget: u64,
    /// How long the other side of a transfer may keep still.
    pub stall: Duration,
}

/// A folder of blobs. Clones are the same folder.
#[derive(Clone, Debug)]
pub struct Blobs(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    folder: Folder,
    options: BlobOptions,
    index: Mutex<Index>,
    /// None in a cache, whose pins end with the process.
    pin_files: Option<PinFiles>,
    /// One fetch of a blob at a time.
    fetching: Mutex<HashMap<BlobId, Weak<tokio::sync::Mutex<()>>>>,
}

impl Blobs {
    /// Opens a folder, which is made when it is missing, and sweeps away what a crash left.
    ///
    /// # Errors
    /// [`BlobError::Locked`] when another process has it open, [`BlobError::Disk`]
    pub async fn open(folder: &Path, options: BlobOptions) -> Result<Self, BlobError> {
        let root = folder.to_owned();
        blocking(move || {
            let folder = Folder::open(&root, options.keeps)?;
            let mut index = Index::new(options.budget);
            folder.scan(&mut index)?;
            let pin_files = match options.keeps {
                Keeps::Durable => Some(PinFiles::open(&root.join("pins"), &mut index)?),
                Keeps::Cache => None,
            };
            let (index, fetching) = (Mutex::new(index), Mutex::default());
            Ok(Self(Arc::new(Inner { folder, options, index, pin_files, fetching })))
        })
        .await
    }

    /// The length of a blob that is here whole.
    pub fn has(&self, id: BlobId) -> Option<u64> {
        self.0.index().get(id).map(|entry| entry.len)
    }

    /// The file that is exactly this blob, when it is here whole. It stays for as long as the blob is pinned. A blob
    /// in a file of its owner that was changed since is no longer here, nor is one that a cache found damaged. The
    /// first use of a blob that a cache was opened with reads all of it: it blocks.
    pub fn path(&self, id: BlobId) -> Option<PathBuf> {
        if !self.0.settle_doubt(id) {
            return None;
        }
        let mut index = self.0.index();
        let entry = index.touch(id)?;
        let stale = match &entry.place {
            Place::Owned => {
                let path = self.0.folder.data(id);
                if entry.wants_mark() {
                    disk::mark_used(&path);
                }
                return Some(path);
            }
            Place::Linked { path, stamp } => {
                if disk::Stamp::of_path(path).ok().as_ref() == Some(stamp) {
                    return Some(path.clone());
                }
                path.clone()
            }
        };
        tracing::warn!(blob = %id, path = %stale.display(), "a file that held a blob was changed or removed");
        index.forget(id);
        self.0.folder.remove_blob(id);
        None
    }

    /// The bytes of a blob that is at most so long.
    ///
    /// # Errors
    /// [`BlobError::NotHere`], [`BlobError::TooLong`], [`BlobError::Disk`]
    pub async fn read(&self, id: BlobId, max: u64) -> Result<Vec<u8>, BlobError> {
        let len = self.has(id).ok_or(BlobError::NotHere(id))?;
        if len > max {
            return Err(BlobError::TooLong { id, len, max });
        }
        let blobs = self.clone();
        blocking(move || {
            let path = blobs.path(id).ok_or(BlobError::NotHere(id))?;
            std::fs::read(&path).map_err(|source| BlobError::disk("read a blob at", &path, source))
        })
        .await
    }

    /// Keeps a blob that is here from being evicted, until the pin is taken off. In a durable
    /// folder the pin outlives the process.
    ///
    /// # Errors
    /// [`BlobError::NotHere`], [`BlobError::Disk`]
    pub async fn pin(&self, pin: &Pin, id: BlobId) -> Result<(), BlobError> {
        let (inner, pin) = (self.0.clone(), pin.clone());
        blocking(move || {
            if !inner.index().pin(&pin, id) {
                return Err(BlobError::NotHere(id));
            }
            inner.note_pin(&pin, id)
        })
        .await
    }

    /// Takes a pin off all that it holds. Blobs without a pin go when their room is needed, the one first that was
    /// of no use for longest.
    ///
    /// # Errors
    /// [`BlobError::Disk`]
    pub async fn unpin(&self, pin: &Pin) -> Result<(), BlobError> {
        let (inner, pin) = (self.0.clone(), pin.clone());
        blocking(move || {
            if let Some(files) = &inner.pin_files {
                files.remove(&pin)?;
            }
            inner.index().unpin(&pin);
            Ok(())
        })
        .await
    }

    /// All pins, those of earlier processes too.
    pub fn pins(&self) -> Vec<Pin> {
        self.0.index().pins()
    }

    /// What a pin holds.
    pub fn pinned(&self, pin: &Pin) -> Vec<BlobId> {
        self.0.index().pinned(pin)
    }

    /// How full the folder is.
    pub fn usage(&self) -> Usage {
        self.0.index().usage()
    }
}

impl Inner {
    fn index(&self) -> MutexGuard<'_, Index> {
        // No change of the index panics half done.
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a pin of the index outlive the process, where the folder is durable.
    fn note_pin(&self, pin: &Pin, id: BlobId) -> Result<(), BlobError> {
        self.pin_files.as_ref().map_or(Ok(()), |files| files.add(pin, id))
    }

    /// Looks at the bytes of a blob that was found when the cache was opened and not used since. One that is wrong
    /// goes. Says whether the blob is here.
    fn settle_doubt(&self, id: BlobId) -> bool {
        let (len, data) = {
            let index = self.index();
            let Some(entry) = index.get(id) else { return false };
            if !entry.doubtful {
                return true;
            }
            let data = match &entry.place {
                Place::Owned => self.folder.data(id),
                Place::Linked { path, .. } => path.clone(),
            };
            (entry.len, data)
        };
        let right = disk::is_right(id, len, &data, &self.folder.tree(id));
        let mut index = self.index();
        // Whoever else looked at it in the meantime found the same.
        if !index.get(id).is_some_and(|entry| entry.doubtful) {
            return index.get(id).is_some();
        }
        match right {
            Ok(true) => {
                index.trust(id);
                true
            }
            wrong => {
                let error =
                    wrong.err().map_or_else(|| "its bytes are others".to_owned(), |error| error.to_string());
                tracing::warn!(blob = %id, path = %data.display(), error, "a blob of the cache is damaged, and dropped");
                index.forget(id);
                self.folder.remove_blob(id);
                false
            }
        }
    }

    /// Sets room aside, for which blobs without a pin make way.
    fn reserve(self: &Arc<Self>, bytes: u64) -> Result<Reservation, OverBudget> {
        let mut index = self.index();
        // Removed under the lock: nobody may begin to use a blob that is about to go.
        for victim in index.reserve(bytes)? {
            self.folder.remove_victim(victim);
        }
        Ok(Reservation { inner: self.clone(), bytes })
    }

    fn fetch_lock(&self, id: BlobId) -> Arc<tokio::sync::Mutex<()>> {
        let mut fetching = self.fetching.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lock) = fetching.get(&id).and_then(Weak::upgrade) {
            return lock;
        }
        fetching.retain(|_, lock| lock.strong_count() > 0);
        let lock = Arc::default();
        fetching.insert(id, Arc::downgrade(&lock));
        lock
    }
}

/// Room set aside in the budget. Given back when dropped.
#[derive(Debug)]
struct Reservation {
    inner: Arc<Inner>,
    bytes: u64,
}

impl Reservation {
    /// Gives the room to a blob that goes into this index.
    fn settle(&mut self, index: &mut Index) {
        index.release(std::mem::take(&mut self.bytes));
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        // One that was settled is dropped where the index is still locked.
        if self.bytes > 0 {
            self.inner.index().release(self.bytes);
        }
    }
}

/// Runs what waits for the disk where it holds nobody up.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
