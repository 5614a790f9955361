//! Jobs whose output has not come to its place yet, by their files.
//!
//! What is computed and paid for is kept in a work directory beside the output. Should the output not come to its place
//! (a full disk, a kill), a run of the same job with another `--out` would know nothing of it, and pay again. So this home
//! remembers the work directory until the output is in its place.

use std::{
    fs,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use anyhow::Context;
use serde::{Deserialize, Serialize};
use tidemill_types::BlobId;

use crate::{
    exit::{Code, WithCode},
    home::data_directory,
    network::private_directory,
    node_state,
    outdir::OutDir,
    requester::Submission,
};

/// The note of one job file and one network.
pub struct Unfinished {
    file: PathBuf,
    network: String,
}

#[derive(Serialize, Deserialize)]
struct Note {
    /// Where the job was run: a job of another network is another one.
    network: String,
    work: PathBuf,
    /// Whoever works there holds its lock.
    lock: PathBuf,
}

impl Unfinished {
    /// That of a job file.
    ///
    /// # Errors
    /// With [`Code::Host`] when this home cannot be used.
    pub fn of(job: &Path, network: String) -> anyhow::Result<Self> {
        let directory = data_directory().code(Code::Host)?.join("unfinished");
        private_directory(&directory)
            .with_context(|| format!("cannot make the directory {}", directory.display()))
            .code(Code::Host)?;
        let job = fs::canonicalize(job).unwrap_or_else(|_| job.to_owned());
        let name = BlobId::of(job.as_os_str().as_bytes()).to_string();
        Ok(Self { file: directory.join(name), network })
    }

    /// Has a run work where an earlier one left its job, if nobody works there and this run has no job of its own. Says
    /// whether.
    pub fn take_up(&self, out: &mut OutDir) -> bool {
        let Some(note) = self.read() else { return false };
        note.network == self.network
            && Submission::read(out.work()).is_none()
            && Submission::read(&note.work).is_some()
            && out.adopt(&note.work, &note.lock)
    }

    /// Remembers where a run works. That the disk does not take it is no reason not to run.
    pub fn note(&self, out: &OutDir) {
        let (network, work, lock) = (self.network.clone(), out.work().to_owned(), out.work_lock().to_owned());
        let written = serde_json::to_vec(&Note { network, work, lock })
            .map_err(anyhow::Error::from)
            .and_then(|text| Ok(node_state::replace(&self.file, &text)?));
        if let Err(error) = written {
            tracing::warn!(%error, "cannot remember where this job works");
        }
    }

    /// Forgets it: the job has ended. What another run has noted since stays.
    pub fn forget(&self, out: &OutDir) {
        if self.read().is_some_and(|note| note.work == out.work()) {
            let _ = fs::remove_file(&self.file);
        }
    }

    fn read(&self) -> Option<Note> {
        serde_json::from_slice(&fs::read(&self.file).ok()?).ok()
    }
}
