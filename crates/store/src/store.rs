//! The file, the one that writes to it, and what happens when a write fails.
//!
//! After a failed write redb refuses everything until its file is opened anew. The store does that itself
//! where the disk was full, so that readers are served and the coordinator goes on when there is room. A
//! commit that failed may be in the file nevertheless; the number of commits in it tells.
//!
//! Commits are redb's default, of one phase: one wait for the disk each, and checksums that find a commit
//! torn by a crash. Its quick repair would add a second wait and up to a third of processor time, only to
//! open faster after a crash; without it that takes a quarter of a second for a million results
//! (`cargo run --release -p tidemill-store --example measure`).

use std::{
    fmt,
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
};

use redb::{
    Builder, Database, DatabaseError, ReadTransaction, ReadableDatabase, StorageError, WriteTransaction,
};
use tidemill_disk::DatabaseFile;

use crate::{Change, StoreError, UnixMillis, apply, error::Fault, evidence, schema, sweep};

const STATE: &str = "state.redb";
/// What [`STATE`] is called until it is whole.
const NEW: &str = "state.redb.new";
const LOCK: &str = "lock";

/// How to open a store.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Options {
    /// How much of the file is kept in memory. The system's page cache holds the rest of what is in use, so
    /// this stays small; it also bounds what a commit holds before it spills to the file.
    pub cache_bytes: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { cache_bytes: 8 << 20 }
    }
}

/// A coordinator's durable state. Clones are the same store.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    directory: PathBuf,
    open: Opener,
    slot: RwLock<Slot>,
    writer: Mutex<Writer>,
    /// Locked for as long as the store lives: redb's own lock is given up while its file is opened anew.
    _lock: Option<Lock>,
}

/// A locked file.
pub(crate) struct Lock(File);

impl Drop for Lock {
    /// Closing the file is not enough: a child process that is just being made has it open too.
    fn drop(&mut self) {
        // The lock goes with the last of them in any case.
        let _ = self.0.unlock();
    }
}

pub(crate) type Opener = Box<dyn Fn() -> Result<Database, DatabaseError> + Send + Sync>;

enum Slot {
    Open(Database),
    /// Why there is none.
    Closed(StoreError),
}

struct Writer {
    /// How many commits are in the file.
    sequence: u64,
    /// Changes of which it is not known whether they are in the file.
    unsettled: Vec<Change>,
    /// Changes that are, although their caller was told that they failed.
    landed: Vec<Change>,
}

impl Store {
    /// Opens the state in a directory; makes both where they do not exist, for their owner's eyes only.
    pub fn open(directory: &Path, options: Options) -> Result<Self, StoreError> {
        let open_error = |path: &Path| {
            let path = path.to_owned();
            move |source| StoreError::Open { path, source: Arc::new(source) }
        };
        make_directory(directory).map_err(open_error(directory))?;
        let lock_path = directory.join(LOCK);
        let lock = private_file().open(&lock_path).map_err(open_error(&lock_path))?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => StoreError::InUse { path: directory.to_owned() },
            TryLockError::Error(source) => open_error(&lock_path)(source),
        })?;
        let path = directory.join(STATE);
        if !path.try_exists().map_err(open_error(&path))? {
            create(directory, &path).map_err(|fault| fault.at(directory.to_owned()))?;
        }
        let open = move || {
            let file = OpenOptions::new().read(true).write(true).open(&path)?;
            if file.metadata()?.len() == 0 {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "the file is empty").into());
            }
            // The library panics over some damaged files.
            let open = AssertUnwindSafe(|| {
                let file = DatabaseFile::new(file)?;
                Builder::new().set_cache_size(options.cache_bytes).create_with_backend(file)
            });
            catch_unwind(open).unwrap_or_else(|_| {
                Err(io::Error::new(io::ErrorKind::InvalidData, "the file is damaged").into())
            })
        };
        Self::open_with(directory.to_owned(), Some(Lock(lock)), Box::new(open))
    }

    pub(crate) fn open_with(
        directory: PathBuf,
        lock: Option<Lock>,
        open: Opener,
    ) -> Result<Self, StoreError> {
        let at = |fault: Fault| fault.at(directory.clone());
        let db = open().map_err(Fault::from).map_err(at)?;
        schema::prepare(&db).map_err(at)?;
        let sequence = sequence(&db).map_err(at)?;
        let writer = Mutex::new(Writer { sequence, unsettled: Vec::new(), landed: Vec::new() });
        let slot = RwLock::new(Slot::Open(db));
        Ok(Self { inner: Arc::new(Inner { directory, open, slot, writer, _lock: lock }) })
    }

    /// Makes changes durable, all of them or none. Returns once they are. One caller at a time writes; the
    /// others wait.
    ///
    /// After an error that [is retryable](StoreError::is_retryable) none of the changes counts as made, and
    /// the next commit must begin with the same changes; more may follow them.
    pub fn commit(&self, changes: &[Change]) -> Result<(), StoreError> {
        let mut writer = self.writer();
        self.ensure_open(&mut writer)?;
        let skipped = if changes.starts_with(&writer.landed) { writer.landed.len() } else { 0 };
        let rest = &changes[skipped..];
        if rest.is_empty() {
            writer.landed.clear();
            return Ok(());
        }
        let sequence = writer.sequence + 1;
        match self.write(|transaction| apply::apply(transaction, sequence, rest)) {
            Ok(()) => {
                writer.sequence = sequence;
                writer.landed.clear();
                Ok(())
            }
            Err(Fault::Contradiction { position, source }) => {
                Err(StoreError::Contradiction { position: position + skipped, source })
            }
            Err(fault) => {
                writer.unsettled = rest.to_vec();
                let error = self.close(fault);
                if self.ensure_open(&mut writer).is_ok() && writer.sequence == sequence {
                    writer.landed.clear();
                    return Ok(());
                }
                Err(error)
            }
        }
    }

    /// Deletes at most `rows` rows of jobs that were removed. Says whether more are left.
    pub fn sweep(&self, rows: usize) -> Result<bool, StoreError> {
        self.delete(|transaction| sweep::sweep(transaction, rows))
    }

    /// Deletes evidence whose time is over at this instant, at most `rows` pieces of it. Says whether more is left.
    pub fn forget_evidence(&self, now: UnixMillis, rows: usize) -> Result<bool, StoreError> {
        // Most looks find nothing, and need not wait for the disk.
        if !self.read(|read| evidence::is_any_over(read, now))? {
            return Ok(false);
        }
        self.delete(|transaction| evidence::forget(transaction, now, rows))
    }

    fn delete(
        &self,
        delete: impl FnOnce(&WriteTransaction) -> Result<bool, Fault>,
    ) -> Result<bool, StoreError> {
        let mut writer = self.writer();
        self.ensure_open(&mut writer)?;
        self.write(delete).map_err(|fault| {
            let error = self.close(fault);
            // An error of this is met again by whoever needs the file next.
            let _ = self.ensure_open(&mut writer);
            error
        })
    }

    pub(crate) fn read<T>(
        &self,
        read: impl FnOnce(&ReadTransaction) -> Result<T, Fault>,
    ) -> Result<T, StoreError> {
        match &*self.inner.slot.read().unwrap_or_else(PoisonError::into_inner) {
            Slot::Open(db) => {
                let result = db.begin_read().map_err(Fault::from).and_then(|transaction| read(&transaction));
                result.map_err(|fault| self.at(fault))
            }
            Slot::Closed(error) => Err(error.clone()),
        }
    }

    fn write<T>(&self, write: impl FnOnce(&WriteTransaction) -> Result<T, Fault>) -> Result<T, Fault> {
        match &*self.inner.slot.read().unwrap_or_else(PoisonError::into_inner) {
            Slot::Open(db) => {
                let transaction = db.begin_write()?;
                let result = write(&transaction)?;
                transaction.commit()?;
                Ok(result)
            }
            Slot::Closed(_) => Err(StorageError::DatabaseClosed.into()),
        }
    }

    /// Closes the file after a failed write. Readers in it finish first.
    fn close(&self, fault: Fault) -> StoreError {
        let error = self.at(fault);
        *self.inner.slot.write().unwrap_or_else(PoisonError::into_inner) = Slot::Closed(error.clone());
        error
    }

    /// Opens the file anew if it was closed for a reason that may have passed, and finds out whether the
    /// commit that failed is in it.
    fn ensure_open(&self, writer: &mut Writer) -> Result<(), StoreError> {
        let mut slot = self.inner.slot.write().unwrap_or_else(PoisonError::into_inner);
        let Slot::Closed(error) = &*slot else { return Ok(()) };
        if !error.is_retryable() {
            return Err(error.clone());
        }
        let opened = (self.inner.open)().map_err(Fault::from).and_then(|db| Ok((sequence(&db)?, db)));
        let (found, db) = match opened {
            Ok(opened) => opened,
            Err(fault) => {
                let error = self.at(fault);
                *slot = Slot::Closed(error.clone());
                return Err(error);
            }
        };
        let unsettled = std::mem::take(&mut writer.unsettled);
        if found == writer.sequence + 1 && !unsettled.is_empty() {
            writer.sequence = found;
            writer.landed.extend(unsettled);
        } else if found != writer.sequence {
            let reason = format!("it holds {found} commits, where {} were made", writer.sequence);
            let error = self.at(Fault::Damaged(reason));
            *slot = Slot::Closed(error.clone());
            return Err(error);
        }
        *slot = Slot::Open(db);
        Ok(())
    }

    /// What a panic of another writer left is sound: it changes only at the end of a step.
    fn writer(&self) -> MutexGuard<'_, Writer> {
        self.inner.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn at(&self, fault: Fault) -> StoreError {
        fault.at(self.inner.directory.clone())
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("directory", &self.inner.directory).finish_non_exhaustive()
    }
}

/// Makes the file under another name first: redb's own file is unreadable until it is whole.
fn create(directory: &Path, path: &Path) -> Result<(), Fault> {
    let new = directory.join(NEW);
    let file = private_file().truncate(true).open(&new).map_err(StorageError::Io)?;
    let db = Builder::new().create_with_backend(DatabaseFile::new(file)?)?;
    schema::prepare(&db)?;
    drop(db);
    fs::rename(&new, path).map_err(StorageError::Io)?;
    tidemill_disk::sync_dir(directory).map_err(StorageError::Io)?;
    Ok(())
}

fn make_directory(directory: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory)
}

fn private_file() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

fn sequence(db: &Database) -> Result<u64, Fault> {
    schema::count(&schema::counters(&db.begin_read()?)?, schema::counter::SEQUENCE)
}
