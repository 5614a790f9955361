//! A folder of blobs for this process alone: several may run at once, and each folder is one process's.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context;
use rustix::fs::{FlockOperation, flock};
use tidemill_net::blobs::{BlobOptions, Blobs, Pin};

use crate::{
    exit::{Code, WithCode},
    home::data_directory,
    network::private_directory,
    outdir::remove_tree,
};

/// The file in each folder whose lock says that its process lives.
const ALIVE: &str = "alive";

/// How long the other side of a transfer may keep still.
const STALL: Duration = Duration::from_secs(30);

/// This process's blobs. Dropped, they are gone.
pub struct OwnBlobs {
    pub blobs: Blobs,
    /// What keeps them.
    pub pin: Pin,
    _folder: OwnFolder,
}

struct OwnFolder {
    path: PathBuf,
    _alive: File,
}

impl OwnBlobs {
    /// Makes a folder, and removes those of processes that are gone.
    ///
    /// # Errors
    /// With [`Code::Host`] when the disk does not take it.
    pub async fn open() -> anyhow::Result<Self> {
        let folder = OwnFolder::make().context("cannot make a folder for blobs").code(Code::Host)?;
        // What is here is needed as long as the process lives: nothing may be evicted, so there is no budget.
        let options = BlobOptions { budget: u64::MAX, stall: STALL };
        let blobs = Blobs::open(&folder.path.join("blobs"), options).await.code(Code::Host)?;
        Ok(Self { blobs, pin: Pin::new("requester").code(Code::Host)?, _folder: folder })
    }
}

impl OwnFolder {
    fn make() -> anyhow::Result<Self> {
        let parent = data_directory()?.join("requester");
        private_directory(&parent)?;
        // Nobody sweeps while a folder is made and not yet locked.
        let turn = File::create(parent.join("lock"))?;
        flock(&turn, FlockOperation::LockExclusive)?;
        for entry in fs::read_dir(&parent)?.flatten() {
            if entry.path().is_dir() && !is_alive(&entry.path()) {
                // Another one's trouble is none of this process's.
                let _ = remove_tree(&entry.path());
            }
        }
        let prefix = format!("{}-", std::process::id());
        let path = tempfile::Builder::new().prefix(&prefix).tempdir_in(&parent)?.keep();
        let alive = File::create(path.join(ALIVE))?;
        flock(&alive, FlockOperation::LockExclusive)?;
        Ok(Self { path, _alive: alive })
    }
}

fn is_alive(folder: &Path) -> bool {
    let Ok(file) = File::open(folder.join(ALIVE)) else { return false };
    flock(&file, FlockOperation::NonBlockingLockExclusive).is_err()
}

impl Drop for OwnFolder {
    fn drop(&mut self) {
        if let Err(error) = remove_tree(&self.path) {
            eprintln!("warning: cannot remove {}: {error}", self.path.display());
        }
    }
}
