//! The calls that wait, and their counters.

use std::{
    fs::File,
    io,
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
};

static DATA: AtomicU64 = AtomicU64::new(0);
static ALL: AtomicU64 = AtomicU64::new(0);
static DIRECTORIES: AtomicU64 = AtomicU64::new(0);
static FILE_SYSTEMS: AtomicU64 = AtomicU64::new(0);

/// How often a process waited for the disk, by what it waited for. Waits that failed count too.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Syncs {
    /// For the bytes of a file (`fdatasync`).
    pub data: u64,
    /// For the bytes of a file and all that is known of it (`fsync`).
    pub all: u64,
    /// For which files a directory has (`fsync`).
    pub directories: u64,
    /// For everything on a file system (`syncfs`).
    pub file_systems: u64,
}

impl Syncs {
    /// All of them.
    pub fn total(&self) -> u64 {
        self.data + self.all + self.directories + self.file_systems
    }

    /// Those since the same process's counters stood at `earlier`.
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            data: self.data.saturating_sub(earlier.data),
            all: self.all.saturating_sub(earlier.all),
            directories: self.directories.saturating_sub(earlier.directories),
            file_systems: self.file_systems.saturating_sub(earlier.file_systems),
        }
    }
}

/// How often this process has waited for the disk since it began.
pub fn syncs() -> Syncs {
    // Each counter stands alone: nothing is concluded from one about what another thread has done.
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    Syncs {
        data: count(&DATA),
        all: count(&ALL),
        directories: count(&DIRECTORIES),
        file_systems: count(&FILE_SYSTEMS),
    }
}

/// Waits until the bytes of a file, and what is needed to read them back, are on disk.
///
/// # Errors
/// Those of `fdatasync`: what of the file is on disk is then unknown.
pub fn sync_data(file: &File) -> io::Result<()> {
    count_data();
    file.sync_data()
}

pub(crate) fn count_data() {
    DATA.fetch_add(1, Ordering::Relaxed);
}

/// Waits until the bytes of a file, and all that the system knows of it, are on disk. Its name is a matter of its
/// directory: see [`sync_dir`].
///
/// # Errors
/// Those of `fsync`: what of the file is on disk is then unknown.
pub fn sync_all(file: &File) -> io::Result<()> {
    ALL.fetch_add(1, Ordering::Relaxed);
    file.sync_all()
}

/// Waits until it is on disk which files a directory has: after a file in it was made, renamed or removed. On systems
/// where a directory cannot be waited for it does nothing.
///
/// # Errors
/// Those of opening the directory, and of `fsync`.
pub fn sync_dir(directory: &Path) -> io::Result<()> {
    if !cfg!(unix) {
        return Ok(());
    }
    let directory = File::open(directory)?;
    DIRECTORIES.fetch_add(1, Ordering::Relaxed);
    directory.sync_all()
}

/// Waits until a directory with all that is in it is on disk: one call for the whole file system, where one for each
/// file would take many times as long. Where the system has no such call, only the directory is waited for.
///
/// # Errors
/// Those of opening the directory, of `syncfs`, and of `fsync`.
pub fn sync_tree(directory: &Path) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        let handle = File::open(directory)?;
        FILE_SYSTEMS.fetch_add(1, Ordering::Relaxed);
        rustix::fs::syncfs(&handle)?;
    }
    sync_dir(directory)
}

#[cfg(test)]
mod tests {
    use std::{
        io::Write,
        sync::{Mutex, MutexGuard, PoisonError},
    };

    use redb::{Builder, ReadableDatabase, TableDefinition};

    use super::*;
    use crate::DatabaseFile;

    /// The counters are the process's, so that tests which run at the same time would count each other's waits.
    fn alone() -> MutexGuard<'static, ()> {
        static TURN: Mutex<()> = Mutex::new(());
        TURN.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn counted(work: impl FnOnce()) -> Syncs {
        let before = syncs();
        work();
        syncs().since(&before)
    }

    #[test]
    fn each_wait_is_counted_as_what_it_is() {
        let _alone = alone();
        let directory = tempfile::tempdir().expect("a folder");
        let mut file = File::create(directory.path().join("file")).expect("a file");
        file.write_all(b"bytes").expect("a write");
        assert_eq!(counted(|| sync_data(&file).expect("a disk")), Syncs { data: 1, ..Syncs::default() });
        assert_eq!(counted(|| sync_all(&file).expect("a disk")), Syncs { all: 1, ..Syncs::default() });
        let one = Syncs { directories: 1, ..Syncs::default() };
        assert_eq!(counted(|| sync_dir(directory.path()).expect("a disk")), one);
        let tree = counted(|| sync_tree(directory.path()).expect("a disk"));
        let file_systems = u64::from(cfg!(target_os = "linux"));
        assert_eq!(tree, Syncs { directories: 1, file_systems, ..Syncs::default() });
        assert_eq!(tree.total(), 1 + file_systems);
        assert_eq!(counted(|| {}), Syncs::default());
    }

    #[test]
    fn a_directory_that_is_not_there_is_an_error() {
        let _alone = alone();
        let directory = tempfile::tempdir().expect("a folder");
        let missing = directory.path().join("missing");
        let failed = counted(|| {
            assert!(sync_dir(&missing).is_err_and(|error| error.kind() == io::ErrorKind::NotFound));
        });
        assert_eq!(failed, Syncs::default(), "nothing was waited for");
    }

    #[test]
    fn the_waits_of_a_database_are_counted() {
        const TABLE: TableDefinition<u64, u64> = TableDefinition::new("numbers");
        let _alone = alone();
        let file = tempfile::tempfile().expect("a file");
        let again = file.try_clone().expect("another descriptor");
        let open = |file| Builder::new().create_with_backend(DatabaseFile::new(file).expect("a file"));
        let db = open(file).expect("a new database");
        let commit = |number: u64| {
            let write = db.begin_write().expect("one writer");
            write.open_table(TABLE).expect("a table").insert(number, number).expect("room");
            write.commit().expect("a disk");
        };
        for number in 0..3 {
            let counted = counted(|| commit(number));
            assert!(counted.data >= 1, "{counted:?}");
            assert_eq!(counted.total(), counted.data, "{counted:?}");
        }
        let read = db.begin_read().expect("a reader");
        let nothing = counted(|| {
            let table = read.open_table(TABLE).expect("a table");
            assert_eq!(table.get(2_u64).expect("a row").map(|row| row.value()), Some(2));
        });
        assert_eq!(nothing, Syncs::default(), "reading waits for nothing");
        drop((read, db));
        let db = open(again).expect("the same database, unlocked");
        let read = db.begin_read().expect("a reader");
        let table = read.open_table(TABLE).expect("a table");
        assert_eq!(table.get(0_u64).expect("a row").map(|row| row.value()), Some(0));
    }
}
