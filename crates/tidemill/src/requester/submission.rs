//! Handing a job to a coordinator, exactly once.

use std::{fs, io::Write, path::Path, time::Duration};

use anyhow::Context;
use serde::{Deserialize, Serialize};
use tidemill_net::{
    client::CallError,
    wire::{JobPay, JobPhase, Refusal, Reply, Request, SpecBody},
};
use tidemill_scratch::Scratch;
use tidemill_types::{BlobId, JobId};
use tokio::time::{Instant, sleep};

use super::{PATIENCE, PAUSES, Requester, Sealed, off_the_protocol, refused};
use crate::{
    exit::{Code, WithCode, code_of},
    money::{PaidJob, note_job},
    progress::Progress,
};

/// A coordinator that is busy, or cannot fetch an input, is asked so often.
const MOST_ATTEMPTS: u32 = 6;

/// A coordinator that does not see the money yet is asked for so long.
const MONEY_PATIENCE: Duration = Duration::from_secs(900);

/// The file in a work directory that says which job is being run into it.
const FILE: &str = "job.json";

/// Which job was submitted where, written down before it is: a run that is killed takes its job up again.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Submission {
    job: String,
    /// The hash of what was submitted.
    spec: String,
    /// Where.
    coordinator: String,
}

impl Submission {
    /// The job's id.
    pub fn id(&self) -> Option<JobId> {
        self.job.parse().ok()
    }

    /// The job that was last run into a work directory, if it is known.
    pub fn read(work: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(work.join(FILE)).ok()?).ok()
    }

    fn write(&self, work: &Path) -> anyhow::Result<()> {
        let scratch = Scratch::within(work)?;
        let mut draft = tempfile::NamedTempFile::new_in(scratch.path())?;
        draft.write_all(&serde_json::to_vec_pretty(self)?)?;
        tidemill_disk::sync_all(draft.as_file())?;
        draft.persist(work.join(FILE))?;
        Ok(())
    }

    /// Forgets the job that was run into this work directory.
    pub fn forget(work: &Path) {
        let _ = fs::remove_file(work.join(FILE));
    }
}

/// Where the job of an earlier run is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// It runs, or is done.
    Attached(JobId),
    /// The coordinator does not know it: it never arrived.
    Unsent(JobId),
    /// There is none, or it came to nothing.
    New,
}

/// A new job id.
pub fn draw() -> anyhow::Result<JobId> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).context("the system has no randomness to give").code(Code::Host)?;
    Ok(JobId(bytes))
}

impl Requester {
    /// Where the job of an earlier run into this work directory is, if it is the same one.
    ///
    /// # Errors
    /// With a code for what went wrong.
    pub async fn standing(&mut self, sealed: &Sealed, work: &Path) -> anyhow::Result<Standing> {
        let (spec, coordinator) = self.names(sealed);
        if let Some(earlier) = Submission::read(work)
            && (&earlier.spec, &earlier.coordinator) == (&spec, &coordinator)
            && let Some(job) = earlier.id()
        {
            match self.job(job).await {
                Ok(report) if matches!(report.phase, JobPhase::Running | JobPhase::Done) => {
                    return Ok(Standing::Attached(job));
                }
                // It came to nothing, and another attempt is asked for.
                Ok(_) => {}
                // It never arrived, is still on its way, or was removed: the same id makes one job of all of them.
                Err(error) if code_of(&error) == Code::Usage => {
                    return Ok(Standing::Unsent(job));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Standing::New)
    }

    /// The job of an earlier run into this work directory, if it is another one than this and still runs.
    ///
    /// # Errors
    /// With a code for what went wrong.
    pub async fn changed_since(&mut self, sealed: &Sealed, work: &Path) -> anyhow::Result<Option<JobId>> {
        let (spec, coordinator) = self.names(sealed);
        let Some(earlier) = Submission::read(work) else { return Ok(None) };
        let Some(job) = earlier.id().filter(|_| earlier.spec != spec && earlier.coordinator == coordinator)
        else {
            return Ok(None);
        };
        match self.job(job).await {
            Ok(report) => Ok((report.phase == JobPhase::Running).then_some(job)),
            // It never arrived, or was removed.
            Err(error) if code_of(&error) == Code::Usage => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn names(&self, sealed: &Sealed) -> (String, String) {
        (BlobId::from_hash(sealed.hash.into()).to_string(), self.coordinator().to_string())
    }

    /// Submits a job that is run into a work directory, under the id of the earlier run where that never arrived.
    ///
    /// # Errors
    /// With a code for what went wrong.
    pub async fn submit_into(
        &mut self,
        standing: Standing,
        sealed: &Sealed,
        work: &Path,
        pay: Option<JobPay>,
    ) -> anyhow::Result<JobId> {
        // The id of a job that was removed stays taken for a while.
        if let Standing::Unsent(job) = standing
            && self.submit(job, sealed, pay).await.is_ok()
        {
            return Ok(job);
        }
        let (spec, coordinator) = self.names(sealed);
        let job = draw()?;
        let submission = Submission { job: job.to_string(), spec, coordinator };
        submission
            .write(work)
            .with_context(|| format!("cannot write in {}", work.display()))
            .code(Code::Host)?;
        self.submit(job, sealed, pay).await?;
        Ok(job)
    }

    /// Submits a job, and notes in this home which escrow pays for it. On return it is durable at the coordinator, with
    /// all that it needs.
    ///
    /// # Errors
    /// With a code for what went wrong.
    pub async fn submit(&mut self, job: JobId, sealed: &Sealed, pay: Option<JobPay>) -> anyhow::Result<()> {
        self.hand_in(job, sealed, pay).await?;
        if let Some(pay) = pay {
            note_job(pay.escrow, &PaidJob { id: job, name: sealed.spec.name().clone() });
        }
        Ok(())
    }

    /// The same without a note.
    ///
    /// # Errors
    /// As [`Self::submit`].
    pub async fn hand_in(&mut self, job: JobId, sealed: &Sealed, pay: Option<JobPay>) -> anyhow::Result<()> {
        let spec = if SpecBody::fits_inline(&sealed.encoded) {
            SpecBody::Inline(sealed.encoded.clone())
        } else {
            let (blobs, pin) = self.blobs().await?;
            SpecBody::Blob(blobs.import_bytes(sealed.encoded.clone(), &pin).await.code(Code::Host)?)
        };
        // Of what the coordinator has already nothing is sent, and it counts as done.
        let total = sealed.spec.blobs().iter().fold(0u64, |sum, blob| sum.saturating_add(blob.len));
        let bar = Progress::bytes("sending", total);
        let submission = Request::Submit { job, spec, follow: false, pay };
        let submitted = self.submit_with(&submission, &bar).await;
        bar.finish();
        submitted
    }

    async fn submit_with(&mut self, submission: &Request, bar: &Progress) -> anyhow::Result<()> {
        let (mut pause, longest) = PAUSES;
        let begun = Instant::now();
        let mut attempts = 0;
        loop {
            let refusal = match self.submit_once(submission, bar).await? {
                None => return Ok(()),
                Some(refusal) => refusal,
            };
            // A deposit takes some blocks until it counts.
            let is_patient = match refusal {
                Refusal::NotSeen { .. } => begun.elapsed() < MONEY_PATIENCE,
                _ => attempts < MOST_ATTEMPTS,
            };
            attempts += 1;
            if !refusal.is_retryable() || !is_patient {
                return Err(refused(&refusal));
            }
            // Another process of this home may have opened a connection for blobs after this one: the coordinator
            // asks the latest.
            self.blobs_link = None;
            bar.note(&format!("{refusal}; trying again"));
            sleep(pause).await;
            pause = (pause * 2).min(longest);
        }
    }

    /// One attempt. Gives the refusal.
    async fn submit_once(&mut self, submission: &Request, bar: &Progress) -> anyhow::Result<Option<Refusal>> {
        loop {
            self.link().await?;
            if let Some(mut replies) = self.follow(submission.clone()).await {
                loop {
                    match replies.next().await {
                        Ok(Reply::Submitted) => return Ok(None),
                        Ok(Reply::Fetching { done, total }) => {
                            bar.length(total.0);
                            bar.update_bytes(done.0);
                        }
                        Ok(_) => return Err(off_the_protocol()),
                        Err(CallError::Refused(refusal)) => return Ok(Some(refusal)),
                        Err(CallError::Lost) => break,
                    }
                }
            }
            self.reconnect(PATIENCE).await?;
        }
    }
}
