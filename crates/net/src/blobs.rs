//! Blobs: bytes under the name of their hash, kept in a folder, and passed between nodes.
//!
//! A blob that is whole lies in one piece in a plain file, so that tasks read it by offset. A large one has a file to
//! itself. Those of up to 1 MiB share segments, which are only appended to, so that many of them wait for the disk
//! together. The files are the index: what a folder holds is found out when it is opened, and there is no database that
//! could disagree with it. A blob is here only once its bytes are on disk, so a crash leaves whole blobs and what
//! [`Blobs::open`] sweeps away.
//!
//! The wire format, the hash tree and the verified streams are those of iroh-blobs and bao-tree; the folder is our
//! own, because the store of iroh-blobs 0.104 neither deletes on request, nor syncs the data of imports, nor goes on
//! after a full disk.
//!
//! ```text
//! lock               held by the one process that has the folder open
//! segments/NUMBER    small blobs, and what pins hold
//! data/HASH          a large blob            data/HASH.tree      its hash tree
//! links/HASH         where a blob is that stays in a file of its owner
//! partial/HASH-LEN   a fetch that was broken off, and its .tree
//! drafts/            imports under way
//! damaged/HASH       a large blob that the disk cannot read any more: kept for a person, and not counted
//! ```

mod disk;
mod encode;
mod error;
mod failpoints;
mod fetch;
mod import;
mod index;
mod lent;
mod log;
mod part;
mod pins;
mod segments;
mod serve;
mod writer;

use std::{
    collections::HashMap,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use tidemill_types::BlobId;
use tokio::task::spawn_blocking;

use self::{
    disk::Folder,
    index::{Index, Room},
    segments::Segments,
    writer::{Change, Writer},
};
pub use self::{
    error::{BlobError, FetchError, OverBudget},
    failpoints::FAILPOINTS,
    import::{FileMode, hash_content},
    index::{Lost, Usage},
    lent::{Condition, Lent, LentReader},
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
    /// their owner count with their trees alone. Records of pins, some hundred bytes each, count and may exceed it, and
    /// so may what is pinned in one segment, a sixteenth of the budget, while that is copied on.
    pub budget: u64,
    /// How long the other side of a transfer may keep still.
    pub stall: Duration,
}

/// A folder of blobs. Clones are the same folder.
#[derive(Clone, Debug)]
pub struct Blobs(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// First, so that it ends before the folder's lock goes.
    writer: Writer,
    folder: Folder,
    options: BlobOptions,
    index: Arc<Mutex<Index>>,
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
            let segments = Segments::new(folder.segments(), options.keeps, options.budget);
            let (next, active) = segments.open(&mut index)?;
            let index = Arc::new(Mutex::new(index));
            let writer = Writer::start(segments, &root, index.clone(), next, active)?;
            Ok(Self(Arc::new(Inner { writer, folder, options, index, fetching: Mutex::default() })))
        })
        .await
    }

    /// The length of a blob that is here whole.
    pub fn has(&self, id: BlobId) -> Option<u64> {
        self.0.index().get(id).map(|entry| entry.len)
    }

    /// Keeps a blob that is here from being evicted, until the pin is taken off. In a durable
    /// folder the pin outlives the process.
    ///
    /// # Errors
    /// [`BlobError::NotHere`], [`BlobError::Disk`]
    pub async fn pin(&self, pin: &Pin, id: BlobId) -> Result<(), BlobError> {
        let (inner, pin) = (self.0.clone(), pin.clone());
        blocking(move || if inner.pin(&pin, id)? { Ok(()) } else { Err(BlobError::NotHere(id)) }).await
    }

    /// Takes a pin off all that it holds. It does not wait for the disk: a power cut may put the pin on again. Blobs
    /// without a pin go when their room is needed, the one first that was of no use for longest.
    ///
    /// # Errors
    /// [`BlobError::Disk`]
    pub async fn unpin(&self, pin: &Pin) -> Result<(), BlobError> {
        let (inner, pin) = (self.0.clone(), pin.clone());
        blocking(move || inner.unpin(&pin)).await
    }

    /// All pins, those of earlier processes too.
    pub fn pins(&self) -> Vec<Pin> {
        self.0.index().pins()
    }

    /// What a pin holds.
    pub fn pinned(&self, pin: &Pin) -> Vec<BlobId> {
        self.0.index().pinned(pin)
    }

    /// What holds a blob.
    pub fn pins_of(&self, blob: BlobId) -> Vec<Pin> {
        self.0.index().pins_of(blob)
    }

    /// How full the folder is.
    pub fn usage(&self) -> Usage {
        self.0.index().usage()
    }
}

impl Inner {
    fn index(&self) -> MutexGuard<'_, Index> {
        lock(&self.index)
    }

    /// Pins a blob if it is here, as durably as the folder is. Says whether it is.
    fn pin(&self, pin: &Pin, id: BlobId) -> Result<bool, BlobError> {
        // At once, so that it is not evicted while its record is written; and again, by the writer, in its turn.
        let is_here = self.index().pin(pin, id);
        match self.options.keeps {
            Keeps::Durable if is_here => self.writer.ask(Change::Pin { pin: pin.clone(), id }).wait(),
            Keeps::Durable | Keeps::Cache => Ok(is_here),
        }
    }

    fn unpin(&self, pin: &Pin) -> Result<(), BlobError> {
        match self.options.keeps {
            Keeps::Durable => self.writer.ask(Change::Unpin { pin: pin.clone() }).wait().map(|_| ()),
            Keeps::Cache => {
                self.index().unpin(pin);
                Ok(())
            }
        }
    }

    /// Sets room aside, for which blobs without a pin make way. It may block.
    fn reserve(&self, bytes: u64) -> Result<Reservation, BlobError> {
        // What copies of pins take is not known before: each segment is given up once, and its copies stay.
        let before = self.index().next_segment();
        loop {
            let segment = {
                let mut index = self.index();
                match index.reserve(bytes, before)? {
                    Room::Here(victims) => {
                        // Removed under the lock: nobody may begin to use a blob that is about to go.
                        for victim in victims {
                            self.folder.remove_victim(victim);
                        }
                        return Ok(Reservation { index: self.index.clone(), bytes });
                    }
                    Room::After(segment) => segment,
                }
            };
            tracing::debug!(segment, "making room");
            self.writer.clean(segment)?;
        }
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
    index: Arc<Mutex<Index>>,
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
            lock(&self.index).release(self.bytes);
        }
    }
}

fn lock(index: &Mutex<Index>) -> MutexGuard<'_, Index> {
    // No change of the index panics half done.
    index.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs what waits for the disk where it holds nobody up.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
