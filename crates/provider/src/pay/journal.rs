//! The journal of payments: what may not be forgotten, in a file that only grows.
//!
//! Each write is one frame with a checksum, and is on the disk before anything counts on it. Whoever opens the file
//! after a crash finds every write that was waited for; a last one that was torn is cut off. Anybody may read it at
//! any time.

mod entry;
mod frame;

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

pub(crate) use self::entry::{Decided, Entry};
pub use self::entry::{Loss, LossReason, Tally};
use self::frame::{Damage, HEAD, Scan};
use super::History;

const FILE: &str = "payments.log";
/// What it is called until it is whole.
const NEW: &str = "payments.log.new";

/// A file that is shorter is not worth rewriting.
const LEAST_REWRITTEN: u64 = 1 << 20;
/// Nor is one that is not so many times as long as what it comes to.
const WASTE: u64 = 4;

/// The most entries of one write.
pub(crate) const MOST_ENTRIES: usize = 4096;

/// The open journal of a provider. Its directory is the provider's alone: the folder of blobs is locked.
#[derive(Debug)]
pub(crate) struct Journal {
    directory: PathBuf,
    file: File,
    history: History,
    len: u64,
    /// The length at which it is looked whether rewriting is worth it.
    look_at: u64,
    /// A write failed: what the file holds after its last good frame is not known, so it is written anew.
    is_doubtful: bool,
}

/// Why the journal of payments is of no use.
#[derive(Clone, Debug, thiserror::Error)]
pub enum JournalError {
    /// The disk failed, or is full.
    #[error("cannot {action} {}", path.display())]
    Disk {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// The file is not one of payments, or of a newer program.
    #[error("{} does not begin as a journal of payments of this program does", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// The file does not hold what was written to it.
    #[error(
        "{} is damaged at byte {at}, and goes on after that; vouchers may be lost: restore it from a copy, or move it \
         away to begin anew",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where.
        at: usize,
    },
}

/// Reads the journal in a directory.
pub(super) fn read(directory: &Path) -> Result<History, JournalError> {
    load(directory).map(|(history, _)| history)
}

fn load(directory: &Path) -> Result<(History, Scan), JournalError> {
    let path = directory.join(FILE);
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(source) => return Err(disk("read", &path)(source)),
    };
    let mut history = History::default();
    let scan = frame::scan(&bytes, |entries| entries.iter().for_each(|entry| history.take(entry)));
    match scan {
        Ok(scan) => Ok((history, scan)),
        Err(Damage::Head) => Err(JournalError::Foreign { path }),
        Err(Damage::At(at)) => Err(JournalError::Damaged { path, at }),
    }
}

impl Journal {
    /// Opens the journal of a directory, and makes it where there is none. Gives how many bytes of a torn write were
    /// cut off.
    ///
    /// # Errors
    /// [`JournalError`]
    pub(crate) fn open(directory: &Path) -> Result<(Self, usize), JournalError> {
        let (history, Scan { good, torn }) = load(directory)?;
        let path = directory.join(FILE);
        if good == 0 {
            create(directory, &history)?;
        }
        let file = OpenOptions::new().append(true).open(&path).map_err(disk("open", &path))?;
        if good > 0 && torn > 0 {
            file.set_len(good as u64)
                .and_then(|()| tidemill_disk::sync_all(&file))
                .map_err(disk("mend", &path))?;
        }
        let len = file.metadata().map_err(disk("open", &path))?.len();
        let directory = directory.to_owned();
        Ok((Self { directory, file, history, len, look_at: LEAST_REWRITTEN, is_doubtful: false }, torn))
    }

    /// All that is in it.
    pub(crate) fn history(&self) -> &History {
        &self.history
    }

    /// Writes entries down, all or none. When this returns they are on the disk.
    ///
    /// # Errors
    /// [`JournalError::Disk`]; none of them is written then, and it may be tried again.
    pub(crate) fn append(&mut self, entries: &[Entry]) -> Result<(), JournalError> {
        if self.is_doubtful {
            self.rewrite(entries)?;
        } else {
            let frame = frame::encode(entries);
            let written = self.file.write_all(&frame).and_then(|()| tidemill_disk::sync_data(&self.file));
            self.is_doubtful = written.is_err();
            written.map_err(disk("write to", &self.directory.join(FILE)))?;
            self.len += frame.len() as u64;
        }
        for entry in entries {
            self.history.take(entry);
        }
        if self.len >= self.look_at {
            self.shorten();
        }
        Ok(())
    }

    /// Puts what the file comes to in its place, where that is much shorter.
    fn shorten(&mut self) {
        let needed: usize = self.history.entries().map(|entries| frame::encode(&entries).len()).sum();
        let needed = (needed + HEAD.len()) as u64;
        if self.len > needed.saturating_mul(WASTE)
            && let Err(error) = self.rewrite(&[])
        {
            tracing::warn!(error = crate::session::words(&error), "the journal of payments stays long");
        }
        self.look_at = self.len.saturating_mul(2).max(LEAST_REWRITTEN);
    }

    /// Writes all of it anew, and more entries.
    fn rewrite(&mut self, more: &[Entry]) -> Result<(), JournalError> {
        // Should it fail half way, the open file may have been replaced.
        self.is_doubtful = true;
        let mut history = self.history.clone();
        more.iter().for_each(|entry| history.take(entry));
        create(&self.directory, &history)?;
        let path = self.directory.join(FILE);
        self.file = OpenOptions::new().append(true).open(&path).map_err(disk("open", &path))?;
        self.len = self.file.metadata().map_err(disk("open", &path))?.len();
        self.is_doubtful = false;
        Ok(())
    }
}

/// Makes a file that comes to this, whole or not at all.
fn create(directory: &Path, history: &History) -> Result<(), JournalError> {
    let (new, path) = (directory.join(NEW), directory.join(FILE));
    let mut bytes = HEAD.to_vec();
    for entries in history.entries() {
        bytes.extend(frame::encode(&entries));
    }
    let written = File::create(&new).and_then(|mut file| {
        file.write_all(&bytes)?;
        tidemill_disk::sync_all(&file)
    });
    written.map_err(disk("write", &new))?;
    fs::rename(&new, &path).map_err(disk("replace", &path))?;
    tidemill_disk::sync_dir(directory).map_err(disk("replace", &path))
}

fn disk(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> JournalError {
    let path = path.to_owned();
    move |source| JournalError::Disk { action, path, source: Arc::new(source) }
}

#[cfg(test)]
mod tests;
