//! From a plan to a job that can travel: its files become blobs of this process.

use std::{collections::HashMap, fs, path::PathBuf, sync::Arc};

use tidemill_job::{JobFile, JobSpec, Plan, SealError, Wanted, seal};
use tidemill_net::blobs::{BlobError, Blobs, FileMode, Pin, hash_content};
use tidemill_types::{BlobId, BlobRef, Content, Segment};
use tokio::runtime::Handle;

use super::Requester;
use crate::{
    exit::{Code, Exit, WithCode},
    progress::Progress,
};

/// A job that can travel.
pub struct Sealed {
    pub spec: JobSpec,
    pub encoded: Vec<u8>,
    pub hash: [u8; 32],
    /// What compressed files were unpacked to are blobs while they are there, and they go with the plan.
    _plan: Arc<Plan>,
}

impl Requester {
    /// Makes blobs of a job's programs and inputs. Files stay where they are, also those that are cut.
    ///
    /// # Errors
    /// With [`Code::Usage`] when a file cannot be read or the job is too large, with [`Code::Host`] when the disk
    /// does not take a copy.
    pub async fn seal(&mut self, file: &Arc<JobFile>, plan: &Arc<Plan>) -> anyhow::Result<Sealed> {
        let (blobs, pin) = self.blobs().await?;
        let (file, sealed_plan) = (file.clone(), plan.clone());
        let handle = Handle::current();
        let sealing = move || {
            let plan = sealed_plan;
            let bar = Progress::bytes("reading inputs", plan.sealed_bytes());
            let (mut read, mut files) = (0, Files::default());
            let mut import = |content: &Content, wanted: Wanted| {
                let (shown, before) = (bar.clone(), read);
                let progress = move |here| shown.update_bytes(before + here);
                let blob = match wanted {
                    Wanted::Blob => handle
                        .block_on(import(&blobs, content, &pin, progress))
                        .inspect(|blob| files.note(content, blob.id)),
                    Wanted::Hash => files.hash(&blobs, content),
                };
                read += content.len();
                bar.update_bytes(read);
                blob
            };
            let sealed = seal(&plan, &file, &mut import);
            bar.finish();
            sealed
        };
        let spec = tokio::task::spawn_blocking(sealing).await.code(Code::Host)?.map_err(error)?;
        let encoded = spec.encode();
        let hash = JobSpec::hash_of(&encoded);
        Ok(Sealed { spec, encoded, hash, _plan: plan.clone() })
    }
}

/// The files that are blobs by now.
#[derive(Default)]
struct Files(HashMap<PathBuf, BlobId>);

impl Files {
    fn note(&mut self, content: &Content, blob: BlobId) {
        if let [Segment::File { path, .. }] = content.segments.as_slice() {
            self.0.insert(path.clone(), blob);
        }
    }

    /// The hash of a piece of one of them, which must not have changed since it became a blob: its pieces are ranges of
    /// that blob.
    fn hash(&self, blobs: &Blobs, content: &Content) -> Result<BlobRef, BlobError> {
        let hashed = hash_content(content)?;
        if let Some(Segment::File { path, .. }) = content.segments.first()
            && let Some(blob) = self.0.get(path)
        {
            blobs.blocking_lend(*blob).map_err(|error| match error {
                BlobError::NotHere(_) => BlobError::Changed(path.clone()),
                error => error,
            })?;
        }
        Ok(hashed)
    }
}

/// `progress` is told how many bytes of a whole file were read.
async fn import(
    blobs: &Blobs,
    content: &Content,
    pin: &Pin,
    progress: impl FnMut(u64) + Send + 'static,
) -> Result<BlobRef, BlobError> {
    if let [Segment::File { path, offset: 0, len }] = content.segments.as_slice()
        && fs::metadata(path).is_ok_and(|metadata| metadata.len() == *len)
    {
        return blobs.import_file_with(path, FileMode::Reference, pin, progress).await;
    }
    blobs.import_content(content, pin).await
}

fn error(error: SealError<BlobError>) -> anyhow::Error {
    let exit = match &error {
        SealError::Content(BlobError::Source { .. } | BlobError::NotAFile(_)) => {
            Exit::new(Code::Usage, crate::exit::causes(&error_of(error)))
        }
        SealError::Content(BlobError::Changed(_)) | SealError::Length { .. } => {
            Exit::new(Code::Usage, error.to_string())
                .hint("do not change input files while a job is submitted")
        }
        SealError::Content(_) => Exit::new(Code::Host, crate::exit::causes(&error_of(error))),
        SealError::Spec(_) => Exit::new(Code::Usage, crate::exit::causes(&error.into())),
    };
    exit.into()
}

/// The cause itself, whose causes are worth reading.
fn error_of(error: SealError<BlobError>) -> anyhow::Error {
    match error {
        SealError::Content(error) => error.into(),
        other => other.into(),
    }
}
