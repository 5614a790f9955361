//! Which jobs of this home are paid out of which escrows: a line for each, in the order in which they were submitted.
//!
//! The ledger knows escrows and no jobs, and a coordinator that knows both may be gone. What is lost of it is missed in
//! lists, and nowhere else.

use std::{
    collections::BTreeMap,
    fs::OpenOptions,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use tidemill_job::JobName;
use tidemill_types::{EscrowId, JobId};

use crate::{commands::read_file, home::data_directory};

/// The file in the directory of a home.
const FILE: &str = "escrow-jobs";

/// Room for some hundred thousand jobs. Of a longer file nothing is read.
const MAX_FILE_BYTES: u64 = 64 << 20;

/// A job that an escrow pays for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PaidJob {
    /// Its id.
    pub id: JobId,
    /// Its name.
    pub name: JobName,
}

impl PaidJob {
    /// The same for scripts.
    pub fn summary(&self) -> tidemill_api::PaidJob {
        tidemill_api::PaidJob { job_id: self.id.to_string(), job: self.name.to_string() }
    }
}

/// Writes down that an escrow pays for a job. A disk that does not take it keeps no job from being done.
pub fn note_job(escrow: EscrowId, job: &PaidJob) {
    let written = data_directory().and_then(|home| Ok(append(&home, escrow, job)?));
    if let Err(error) = written {
        tracing::warn!(%error, "it is not written down which escrow pays for the job");
    }
}

/// The jobs of this home by the escrows that pay for them.
///
/// # Errors
/// When the environment names no home, or the list cannot be read.
pub fn jobs_by_escrow() -> anyhow::Result<BTreeMap<EscrowId, Vec<PaidJob>>> {
    read(&data_directory()?)
}

fn append(home: &Path, escrow: EscrowId, job: &PaidJob) -> io::Result<()> {
    let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(home.join(FILE))?;
    // At once, so that lines of several commands do not mix.
    file.write_all(format!("{escrow} {} {}\n", job.id, job.name).as_bytes())
}

fn read(home: &Path) -> anyhow::Result<BTreeMap<EscrowId, Vec<PaidJob>>> {
    let file = home.join(FILE);
    let mut jobs: BTreeMap<EscrowId, Vec<PaidJob>> = BTreeMap::new();
    if !file.exists() {
        return Ok(jobs);
    }
    let bytes = read_file(&file, MAX_FILE_BYTES)?;
    for (escrow, job) in String::from_utf8_lossy(&bytes).lines().filter_map(parse) {
        let of_escrow = jobs.entry(escrow).or_default();
        // A submission that was repeated is there twice.
        if !of_escrow.contains(&job) {
            of_escrow.push(job);
        }
    }
    Ok(jobs)
}

/// A line; nothing where it was cut off.
fn parse(line: &str) -> Option<(EscrowId, PaidJob)> {
    let mut words = line.split(' ');
    let escrow = words.next()?.parse().ok()?;
    let job = PaidJob { id: words.next()?.parse().ok()?, name: JobName::new(words.next()?)? };
    words.next().is_none().then_some((escrow, job))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn escrows_know_their_jobs_whatever_happened_to_the_file() {
        let home = tempfile::tempdir().expect("a directory");
        assert_eq!(read(home.path()).expect("there is none yet"), BTreeMap::new());
        let job = |number: u8, name: &str| PaidJob {
            id: JobId([number; 16]),
            name: JobName::new(name).expect("a name"),
        };
        let (one, two) = (EscrowId([1; 32]), EscrowId([2; 32]));
        for (escrow, job) in [(one, job(1, "render")), (two, job(2, "kmer")), (one, job(3, "render"))] {
            append(home.path(), escrow, &job).expect("the disk takes it");
            append(home.path(), escrow, &job).expect("the disk takes it");
        }
        let file = home.path().join(FILE);
        let mut text = fs::read_to_string(&file).expect("a file");
        text += "nonsense\n";
        let cut_off = text[..80].to_owned();
        text += &cut_off;
        fs::write(&file, text).expect("the disk takes it");
        let expected =
            BTreeMap::from([(one, vec![job(1, "render"), job(3, "render")]), (two, vec![job(2, "kmer")])]);
        assert_eq!(read(home.path()).expect("a list"), expected);
    }
}
