//! Which files there are, and the one that says what ledger they are of.
//!
//! A ledger is made by writing `blocks.new`, then `ledger.json` (which is the moment at which it exists), then
//! renaming the former to `blocks.log`. Whatever instant the making is interrupted at, the directory either
//! holds no ledger or a whole one.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};

use alloy::primitives::B256;
use serde::{Deserialize, Serialize};

use crate::error::{CreateError, DiskError, OpenError};
use crate::genesis::Genesis;

/// The version of everything in the directory.
const VERSION: u32 = 1;

/// `ledger.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Manifest {
    version: u32,
    /// Authenticates the records: what a transaction carries can never be taken for one.
    pub key: B256,
    pub genesis: Genesis,
}

impl Manifest {
    pub(crate) fn new(key: B256, genesis: Genesis) -> Manifest {
        Manifest { version: VERSION, key, genesis }
    }
}

/// A ledger's directory, locked by this process.
#[derive(Debug)]
pub(crate) struct Layout {
    dir: PathBuf,
    /// Held as long as this lives.
    lock: File,
}

impl Drop for Layout {
    /// Closing the file is not enough: a child process that is just being made has it open too.
    fn drop(&mut self) {
        // The lock goes with the last of them in any case.
        let _ = self.lock.unlock();
    }
}

impl Layout {
    pub(crate) fn exists(dir: &Path) -> bool {
        dir.join("ledger.json").is_file()
    }

    /// Locks a directory in which a ledger may be made.
    pub(crate) fn claim(dir: &Path) -> Result<Layout, CreateError> {
        fs::create_dir_all(dir).map_err(DiskError::io("make", dir))?;
        let lock = lock(dir)?.ok_or_else(|| CreateError::InUse(dir.to_path_buf()))?;
        let layout = Layout { dir: dir.to_path_buf(), lock };
        if Layout::exists(dir) {
            return Err(CreateError::AlreadyExists(dir.to_path_buf()));
        }
        if layout.log().exists() {
            return Err(CreateError::Remains(dir.to_path_buf()));
        }
        Ok(layout)
    }

    /// Locks a directory with a ledger, and reads what ledger it is.
    pub(crate) fn open(dir: &Path) -> Result<(Layout, Manifest), OpenError> {
        if !Layout::exists(dir) {
            return Err(OpenError::Absent(dir.to_path_buf()));
        }
        let lock = lock(dir)?.ok_or_else(|| OpenError::InUse(dir.to_path_buf()))?;
        let layout = Layout { dir: dir.to_path_buf(), lock };
        let path = dir.join("ledger.json");
        let text = fs::read(&path).map_err(DiskError::io("read", &path))?;
        let wrong = |reason: String| OpenError::Manifest { path: path.clone(), reason };
        let manifest: Manifest = serde_json::from_slice(&text).map_err(|error| wrong(error.to_string()))?;
        if manifest.version != VERSION {
            return Err(wrong(format!(
                "it is of version {}, this program reads {VERSION}",
                manifest.version
            )));
        }
        // The last step of its making may have been interrupted.
        if !layout.log().exists() && layout.new_log().exists() {
            layout.finish()?;
        }
        Ok((layout, manifest))
    }

    /// From here on the directory holds a ledger. `new_log` must be on the disk.
    pub(crate) fn commit(&self, manifest: &Manifest) -> Result<(), DiskError> {
        let text = serde_json::to_vec_pretty(manifest).expect("a manifest has only string keys");
        write_whole(&self.dir, "ledger.json", &text)?;
        self.finish()
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.dir.join("blocks.log")
    }

    pub(crate) fn new_log(&self) -> PathBuf {
        self.dir.join("blocks.new")
    }

    pub(crate) fn snapshots(&self) -> PathBuf {
        self.dir.join("snapshots")
    }

    fn finish(&self) -> Result<(), DiskError> {
        let log = self.log();
        fs::rename(self.new_log(), &log).map_err(DiskError::io("rename to", &log))?;
        tidemill_disk::sync_dir(&self.dir).map_err(DiskError::io("sync", &self.dir))
    }
}

/// Writes a file so that it is there wholly or not at all.
pub(crate) fn write_whole(dir: &Path, name: &str, bytes: &[u8]) -> Result<(), DiskError> {
    let temporary = dir.join(format!("{name}.tmp"));
    let path = dir.join(name);
    let mut file = File::create(&temporary).map_err(DiskError::io("make", &temporary))?;
    file.write_all(bytes).map_err(DiskError::io("write", &temporary))?;
    tidemill_disk::sync_all(&file).map_err(DiskError::io("sync", &temporary))?;
    fs::rename(&temporary, &path).map_err(DiskError::io("rename to", &path))?;
    tidemill_disk::sync_dir(dir).map_err(DiskError::io("sync", dir))
}

fn lock(dir: &Path) -> Result<Option<File>, DiskError> {
    let path = dir.join("lock");
    let options = OpenOptions::new().create(true).truncate(false).write(true).clone();
    let file = options.open(&path).map_err(DiskError::io("open", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(source)) => Err(DiskError::Io { action: "lock", path, source }),
    }
}
