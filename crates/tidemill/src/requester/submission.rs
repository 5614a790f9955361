//! Handing a job to a coordinator, exactly once.

use std::{fs, io::Write, path::Path};

use anyhow::Context;
use serde::{Deserialize, Serialize};
use tidemill_net::{
    client::CallError,
    wire::{JobPhase, Refusal, Reply, Request, SpecBody},
};
use tidemill_types::{BlobId, JobId};
use tokio::time::sleep;

use super::{PATIENCE, PAUSES, Requester, Sealed, off_the_protocol, refused};
use crate::{
    exit::{Code, Exit, WithCode},
    progress::Progress,
};

/// A coordinator that is busy, or cannot fetch an input, is asked so often.
const MOST_ATTEMPTS: u32 = 6;

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
        let mut draft = tempfile::NamedTempFile::new_in(work)?;
        draft.write_all(&serde_json::to_vec_pretty(self)?)?;
        draft.as_file().sync_all()?;
        draft.persist(work.join(FILE))?;
        Ok(())
    }

    /// Forgets the job that was run into this work directory.
    pub fn forget(work: &Path) {
        let _ = fs::remove_file(work.join(FILE));
    }
}

/// A new job id.
pub fn draw() -> anyhow::Result<JobId> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).context("the system has no randomness to give").code(Code::Host)?;
    Ok(JobId(bytes))
}

impl Requester {
    /// The job of an earlier run into this work directory, if it is the same and goes on or is done, or a new one,
    /// which is submitted. Says which, and whether it was there.
    ///
    /// # Errors
    /// With a code for what went wrong.
    pub async fn submit_or_attach(&mut self, sealed: &Sealed, work: &Path) -> anyhow::Result<(JobId, bool)> {
        let (spec, coordinator) =
            (BlobId::from_hash(sealed.hash.into()).to_string(), self.coordinator().to_string());
        if let Some(earlier) = Submission::read(work)
            && (&earlier.spec, &earlier.coordinator) == (&spec, &coordinator)
            && let Some(job) = earlier.id()
        {
            match self.job(job).await {
                Ok(report) if matches!(report.phase, JobPhase::Running | JobPhase::Done) => {
                    return Ok((job, true));
                }
                // It came to nothing, and another attempt is asked for.
                Ok(_) => {}
                // It never arrived, is still on its way, or was removed: the same id makes one job of all of them.
                Err(error) if error.downcast_ref::<Exit>().is_some_and(|exit| exit.code() == Code::Usage) => {
                    if self.submit(job, sealed).await.is_ok() {
                        return Ok((job, false));
                    }
                    // The id of a job that was removed stays taken for a while.
                }
                Err(error) => return Err(error),
            }
        }
        let job = draw()?;
        let submission = Submission { job: job.to_string(), spec, coordinator };
        submission
            .write(work)
            .with_context(|| format!("cannot write in {}", work.display()))
            .code(Code::Host)?;
        self.submit(job, sealed).await?;
        Ok((job, false))
    }

    /// Submits a job. On return it is durable at the coordinator, with all that it needs.
    ///
    /// # Errors
    /// With a code for what went wrong.
    pub async fn submit(&mut self, job: JobId, sealed: &Sealed) -> anyhow::Result<()> {
        let spec = if SpecBody::fits_inline(&sealed.encoded) {
            SpecBody::Inline(sealed.encoded.clone())
        } else {
            let (blobs, pin) = self.blobs().await?;
            SpecBody::Blob(blobs.import_bytes(sealed.encoded.clone(), &pin).await.code(Code::Host)?)
        };
        let bar = Progress::bytes("sending", 0);
        let submitted = self.submit_with(job, &spec, &bar).await;
        bar.finish();
        submitted
    }

    async fn submit_with(&mut self, job: JobId, spec: &SpecBody, bar: &Progress) -> anyhow::Result<()> {
        let (mut pause, longest) = PAUSES;
        for attempt in 1.. {
            let refusal = match self.submit_once(job, spec, bar).await? {
                None => return Ok(()),
                Some(refusal) => refusal,
            };
            if !refusal.is_retryable() || attempt >= MOST_ATTEMPTS {
                return Err(refused(&refusal));
            }
            // Another process of this home may have opened a connection for blobs after this one: the coordinator
            // asks the latest.
            self.blobs_link = None;
            bar.note(&format!("{refusal}; trying again"));
            sleep(pause).await;
            pause = (pause * 2).min(longest);
        }
        Ok(())
    }

    /// One attempt. Gives the refusal.
    async fn submit_once(
        &mut self,
        job: JobId,
        spec: &SpecBody,
        bar: &Progress,
    ) -> anyhow::Result<Option<Refusal>> {
        loop {
            let request = Request::Submit { job, spec: spec.clone(), follow: false };
            self.link().await?;
            if let Some(mut replies) = self.follow(request).await {
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
