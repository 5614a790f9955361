//! The outputs of finished tasks, on disk until the job is done.
//!
//! Each is a file named by the hash of the task's specification and the hash of its content, so a run that
//! takes up another's work knows what it has and can check it. The directory is this run's alone: who runs
//! a job has claimed its output directory.

use std::{
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
    str::FromStr,
    sync::Mutex,
};

use anyhow::Context;
use tidemill_exec::{Cancel, Output, OutputBody};
use tidemill_types::{BlobId, Content, SpecHash};

use super::inputs::hash_content;
use crate::outdir::remove_tree;

/// The directory within the work directory that workers put large outputs into.
pub const SPOOL: &str = "spool";

/// What the name of a file that is being written begins with.
const TEMPORARY: &str = ".part-";

/// Removes what runs on this machine have kept in a work directory, and the directory if nothing else is in it. Says
/// whether it is gone: a run in a network keeps its job there, and an escrow may depend on that.
///
/// # Errors
/// When something cannot be removed.
pub fn clear(directory: &Path) -> io::Result<bool> {
    remove_tree(&directory.join(SPOOL))?;
    let mut is_empty = true;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_output = name.split_once('.').is_some_and(|(_, output)| BlobId::from_str(output).is_ok());
        if is_output || name.starts_with(TEMPORARY) {
            fs::remove_file(entry.path())?;
        } else {
            is_empty = false;
        }
    }
    if is_empty {
        fs::remove_dir(directory)?;
    }
    Ok(is_empty)
}

/// A finished task's output.
#[derive(Clone, Copy, Debug)]
pub struct Stored {
    spec: SpecHash,
    /// The hash of its archive.
    pub output: BlobId,
}

/// The store.
pub struct Results {
    directory: PathBuf,
    /// What an earlier run left, by the name of its specification.
    left: Mutex<HashMap<String, BlobId>>,
}

impl Results {
    /// Opens the store in a directory, and makes it if it is not there.
    ///
    /// # Errors
    /// When the directory cannot be made or read.
    pub fn open(directory: &Path) -> anyhow::Result<Self> {
        let context = || format!("cannot use the work directory {}", directory.display());
        // A link in its place would have the results written elsewhere.
        let is_link = fs::symlink_metadata(directory).is_ok_and(|metadata| metadata.is_symlink());
        anyhow::ensure!(!is_link, "{} is a link; remove it", directory.display());
        fs::create_dir_all(directory).with_context(context)?;
        // Whatever is left there is of no one's: whoever wrote it is gone, and so is who would fetch it.
        let spool = directory.join(SPOOL);
        remove_tree(&spool).and_then(|()| fs::create_dir(&spool)).with_context(context)?;
        let mut left = HashMap::new();
        for entry in fs::read_dir(directory).with_context(context)? {
            let entry = entry.with_context(context)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            match name.split_once('.').map(|(spec, output)| (spec.to_owned(), BlobId::from_str(output))) {
                Some((spec, Ok(output))) => {
                    left.insert(spec, output);
                }
                // A half-written output of a run that was killed.
                _ if name.starts_with(TEMPORARY) => fs::remove_file(entry.path()).with_context(context)?,
                _ => {}
            }
        }
        Ok(Self { directory: directory.to_owned(), left: Mutex::new(left) })
    }

    /// The output that an earlier run left for this specification, if its content is what it was.
    ///
    /// # Errors
    /// When it is there and cannot be read.
    pub fn find(&self, spec: &SpecHash, cancel: &Cancel) -> anyhow::Result<Option<Stored>> {
        let found = {
            let left = self.left.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            left.get(&spec.to_string()).copied()
        };
        let Some(output) = found else { return Ok(None) };
        let stored = Stored { spec: *spec, output };
        let path = self.path(&stored);
        let len = fs::metadata(&path).with_context(|| format!("cannot read {}", path.display()))?.len();
        let found = hash_content(&Content::file(path, len), cancel)?;
        Ok((found == output).then_some(stored))
    }

    /// Keeps an output.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub fn keep(&self, spec: SpecHash, output: Output) -> anyhow::Result<Stored> {
        let stored = Stored { spec, output: output.id };
        let path = self.path(&stored);
        let keep = || -> io::Result<()> {
            match output.body {
                OutputBody::File(file) => fs::rename(file, &path),
                OutputBody::Bytes(bytes) => {
                    let mut file = tempfile::Builder::new().prefix(TEMPORARY).tempfile_in(&self.directory)?;
                    io::Write::write_all(&mut file, &bytes)?;
                    file.persist(&path).map(|_| ()).map_err(|error| error.error)
                }
            }
        };
        keep().with_context(|| format!("cannot keep a task's output in {}", self.directory.display()))?;
        Ok(stored)
    }

    /// Where an output's archive is.
    pub fn path(&self, stored: &Stored) -> PathBuf {
        self.directory.join(format!("{}.{}", stored.spec, stored.output))
    }
}
