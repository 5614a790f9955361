//! The book on disk: one file in the account's directory, locked for as long as it is open.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use redb::{Builder, Database, ReadTransaction, ReadableDatabase, ReadableTable, TableDefinition};
use tidemill_disk::DatabaseFile;

use super::{
    Place, SenderError, TxId,
    book::{Book, Change, ENDED_KEPT, Entry},
    error::Fault,
};

/// The version of all that is written here.
const VERSION: u64 = 1;
const FILE: &str = "transactions.redb";
/// What [`FILE`] is called until it is whole.
const NEW: &str = "transactions.redb.new";
const LOCK: &str = "lock";
/// Few rows are read twice.
const CACHE_BYTES: usize = 4 << 20;

type Row = &'static [u8];

const COUNTERS: TableDefinition<&str, u64> = TableDefinition::new("counters");
/// One row: the [`Place`].
const PLACE: TableDefinition<(), Row> = TableDefinition::new("place");
/// Entries that have not ended.
const ACTIVE: TableDefinition<u64, Row> = TableDefinition::new("active");
/// Entries that have.
const ENDED: TableDefinition<u64, Row> = TableDefinition::new("ended");
/// Entries by the keys of their intents.
const KEYS: TableDefinition<&str, u64> = TableDefinition::new("keys");

const VERSION_ROW: &str = "version";
const NEXT_ID: &str = "next id";
const NEXT_NONCE: &str = "next nonce";

/// An open file.
#[derive(Debug)]
pub(crate) struct BookFile {
    directory: PathBuf,
    /// Closed after a write that failed: what the library remembers of it is not to be trusted, the file is.
    db: Mutex<Option<Database>>,
    place: Place,
    /// Dropped after the database, in the order of the fields.
    _lock: Lock,
}

/// A locked file.
#[derive(Debug)]
struct Lock(File);

impl Drop for Lock {
    /// Closing the file is not enough: a child process that is just being made has it open too.
    fn drop(&mut self) {
        // The lock goes with the last of them in any case.
        let _ = self.0.unlock();
    }
}

impl BookFile {
    /// Opens the book of an account on a chain; makes it where there is none.
    pub(crate) fn open(directory: &Path, place: &Place) -> Result<(Self, Book), SenderError> {
        let at = |fault: Fault| fault.at(directory.to_owned());
        let lock = lock(directory).map_err(at)?;
        let db = open(directory, place).map_err(at)?;
        let db = Mutex::new(Some(db));
        let file = Self { directory: directory.to_owned(), db, place: *place, _lock: lock };
        let (found, book) = file.read(load)?;
        if found != *place {
            let (found, expected) = (Box::new(found), Box::new(*place));
            return Err(SenderError::OtherChain { path: directory.to_owned(), found, expected });
        }
        Ok((file, book))
    }

    /// Makes changes durable, all or none.
    pub(crate) fn commit(&self, changes: &[Change]) -> Result<(), SenderError> {
        self.write(changes).map_err(|fault| fault.at(self.directory.clone()))
    }

    /// An entry, whether or not it has ended.
    pub(crate) fn entry(&self, id: TxId) -> Result<Option<Entry>, SenderError> {
        self.read(|read| {
            for table in [ACTIVE, ENDED] {
                if let Some(row) = read.open_table(table)?.get(id.0)? {
                    return Ok(Some(postcard::from_bytes(row.value())?));
                }
            }
            Ok(None)
        })
    }

    /// The entry whose intent has this key.
    pub(crate) fn by_key(&self, key: &str) -> Result<Option<Entry>, SenderError> {
        let id = self.read(|read| Ok(read.open_table(KEYS)?.get(key)?.map(|row| row.value())))?;
        id.map_or(Ok(None), |id| self.entry(TxId(id)))
    }

    fn write(&self, changes: &[Change]) -> Result<(), Fault> {
        let mut slot = self.db.lock().unwrap_or_else(PoisonError::into_inner);
        let db = self.opened(&mut slot)?;
        let written = Self::write_to(db, changes);
        if written.is_err() {
            *slot = None;
        }
        written
    }

    /// The database, which is opened again if it was closed.
    fn opened<'a>(&self, slot: &'a mut Option<Database>) -> Result<&'a Database, Fault> {
        match slot {
            Some(db) => Ok(db),
            None => Ok(slot.insert(open(&self.directory, &self.place)?)),
        }
    }

    fn write_to(db: &Database, changes: &[Change]) -> Result<(), Fault> {
        let write = db.begin_write()?;
        {
            let (mut counters, mut keys) = (write.open_table(COUNTERS)?, write.open_table(KEYS)?);
            let (mut active, mut ended) = (write.open_table(ACTIVE)?, write.open_table(ENDED)?);
            for change in changes {
                match change {
                    Change::NextNonce(nonce) => {
                        let known = counters.get(NEXT_NONCE)?.map_or(0, |row| row.value());
                        counters.insert(NEXT_NONCE, known.max(*nonce))?;
                    }
                    Change::Put(entry) => {
                        let known = counters.get(NEXT_ID)?.map_or(0, |row| row.value());
                        counters.insert(NEXT_ID, known.max(entry.id.0 + 1))?;
                        if let Some(key) = &entry.intent.key {
                            keys.insert(key.as_str(), entry.id.0)?;
                        }
                        let (here, elsewhere) = if entry.has_ended() {
                            (&mut ended, &mut active)
                        } else {
                            (&mut active, &mut ended)
                        };
                        here.insert(entry.id.0, postcard::to_allocvec(&**entry)?.as_slice())?;
                        elsewhere.remove(entry.id.0)?;
                    }
                }
            }
        }
        Ok(write.commit()?)
    }

    fn read<T>(&self, read: impl FnOnce(&ReadTransaction) -> Result<T, Fault>) -> Result<T, SenderError> {
        let mut slot = self.db.lock().unwrap_or_else(PoisonError::into_inner);
        let opened = self.opened(&mut slot).and_then(|db| Ok(db.begin_read()?));
        let result = opened.and_then(|transaction| read(&transaction));
        result.map_err(|fault| fault.at(self.directory.clone()))
    }
}

fn load(read: &ReadTransaction) -> Result<(Place, Book), Fault> {
    let counters = read.open_table(COUNTERS)?;
    let counter = |name: &str| -> Result<u64, Fault> { Ok(counters.get(name)?.map_or(0, |row| row.value())) };
    match counter(VERSION_ROW)? {
        VERSION => {}
        other => {
            return Err(Fault::Damaged(format!("its format is {other}, and this program knows {VERSION}")));
        }
    }
    let place = read.open_table(PLACE)?.get(())?.map(|row| postcard::from_bytes(row.value())).transpose()?;
    let place = place.ok_or_else(|| Fault::Damaged("it does not say whose it is".to_owned()))?;
    let mut book = Book { next_id: counter(NEXT_ID)?, next_nonce: counter(NEXT_NONCE)?, ..Book::default() };
    let mut keep = |row: &[u8]| -> Result<(), Fault> {
        let entry: Entry = postcard::from_bytes(row)?;
        book.entries.insert(entry.id, entry);
        Ok(())
    };
    for row in read.open_table(ACTIVE)?.iter()? {
        keep(row?.1.value())?;
    }
    for row in read.open_table(ENDED)?.iter()?.rev().take(ENDED_KEPT) {
        keep(row?.1.value())?;
    }
    Ok((place, book))
}

/// Locks the directory for this process; makes it where there is none.
fn lock(directory: &Path) -> Result<Lock, Fault> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory)?;
    let lock = private_file().open(directory.join(LOCK))?;
    match lock.try_lock() {
        Ok(()) => Ok(Lock(lock)),
        Err(TryLockError::WouldBlock) => Err(Fault::InUse),
        Err(TryLockError::Error(error)) => Err(Fault::Disk(error)),
    }
}

fn open(directory: &Path, place: &Place) -> Result<Database, Fault> {
    let path = directory.join(FILE);
    if !path.try_exists()? {
        create(directory, &path, place)?;
    }
    let file = OpenOptions::new().read(true).write(true).open(&path)?;
    if file.metadata()?.len() == 0 {
        return Err(Fault::Damaged("the file is empty".to_owned()));
    }
    // The library panics over some damaged files.
    let open = AssertUnwindSafe(|| {
        Builder::new().set_cache_size(CACHE_BYTES).create_with_backend(DatabaseFile::new(file)?)
    });
    let opened = catch_unwind(open).map_err(|_| Fault::Damaged("the file is damaged".to_owned()))?;
    Ok(opened?)
}

/// Makes the file under another name first: half a file cannot be opened.
fn create(directory: &Path, path: &Path, place: &Place) -> Result<(), Fault> {
    let new = directory.join(NEW);
    let file = DatabaseFile::new(private_file().truncate(true).open(&new)?)?;
    let db = Builder::new().create_with_backend(file)?;
    let write = db.begin_write()?;
    {
        let mut counters = write.open_table(COUNTERS)?;
        counters.insert(VERSION_ROW, VERSION)?;
        write.open_table(PLACE)?.insert((), postcard::to_allocvec(place)?.as_slice())?;
        write.open_table(ACTIVE)?;
        write.open_table(ENDED)?;
        write.open_table(KEYS)?;
    }
    write.commit()?;
    drop(db);
    fs::rename(&new, path)?;
    Ok(tidemill_disk::sync_dir(directory)?)
}

fn private_file() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}
