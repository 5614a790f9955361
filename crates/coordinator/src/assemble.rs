//! Making reduce tasks: their parts are outputs of finished tasks, which are in the store or are blobs.

use std::{collections::BTreeMap, io::Read, path::Path, sync::Arc};

use tidemill_job::{BlobRef, BoundTask, JobSpec, PartBlob, PartFile};
use tidemill_net::{
    blobs::{BlobError, Lent, LentReader},
    wire::MAX_LEASE_INLINE_BYTES,
};
use tidemill_store::{DoneRecord, Store};
use tidemill_types::{Archive, BlobId, Content, GuestPath, NodeId, Segment, TaskId};

use crate::{event::Assembled, parts::Parts};

/// Where an output's archive is on this host.
pub(crate) enum Body {
    Inline(Vec<u8>),
    File(Lent),
}

/// One part with its archive.
struct Part {
    archive: BlobRef,
    /// Who made it and keeps its archive; nobody where it came within a result.
    kept_by: Option<NodeId>,
    body: Body,
    files: Vec<PartFile>,
}

/// What has to become of a reduce task before it can be leased.
pub enum Made {
    /// Nothing: it can be.
    Ready(Assembled),
    /// Its small parts are too many for a message: they have to become one blob, and then it has to be made
    /// again with [`with_pack`].
    Pack(Content, Packed),
}

/// A reduce task whose small parts become one blob.
pub struct Packed {
    spec: Arc<JobSpec>,
    task: TaskId,
    parts: Vec<Part>,
}

/// Why a reduce task cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum AssembleError {
    /// A part's output is not where it should be.
    #[error("the output of task {0} is missing")]
    Missing(u64),
    /// A part's output cannot be read.
    #[error("the output of task {task} cannot be read")]
    Read {
        /// The part's task.
        task: u64,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A part's output is a blob that cannot be read now, which may be damaged.
    #[error("the output {output} of task {task} cannot be read")]
    Unread {
        /// The part's task.
        task: u64,
        /// Its output.
        output: BlobId,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A part's output is a blob that was damaged, and is not here any more.
    #[error("the output {output} of task {task} is not on the coordinator's disk any more")]
    Lost {
        /// The part's task.
        task: u64,
        /// Its output.
        output: BlobId,
    },
    /// A part's output is not what its provider signed: what is on this disk has changed since.
    #[error("the output {output} of task {task} is damaged on the coordinator's disk")]
    Damaged {
        /// The part's task.
        task: u64,
        /// Its output.
        output: BlobId,
        /// Whether it is a blob, which may come again, or a row of the store.
        is_blob: bool,
    },
    /// The parts do not make a task.
    #[error("the parts do not make a task")]
    Task(#[from] tidemill_job::ReduceTaskError),
}

impl AssembleError {
    /// The blob that is missing or damaged and may come again, or may be read later.
    pub fn lost(&self) -> Option<BlobId> {
        match self {
            Self::Lost { output, .. }
            | Self::Unread { output, .. }
            | Self::Damaged { output, is_blob: true, .. } => Some(*output),
            _ => None,
        }
    }
}

/// Makes a reduce task. `lend` says where a blob is. It blocks: what is in an output is read, but where that is known. What
/// is read is compared with the hash that its provider signed: a reduce over anything else would be accepted in good faith.
///
/// # Errors
/// [`AssembleError`]
pub fn make(
    store: &Store,
    spec: &Arc<JobSpec>,
    task: TaskId,
    known: &Parts,
    lend: impl Fn(BlobId) -> Result<Lent, BlobError>,
) -> Result<Made, AssembleError> {
    let node = spec.node(task.task).ok_or(AssembleError::Missing(task.task.0))?;
    let tree = spec.tree().ok_or(AssembleError::Missing(task.task.0))?;
    let mut parts = Vec::new();
    for child in tree.children(node) {
        let number = spec.number(child).ok_or(AssembleError::Missing(task.task.0))?;
        let read =
            |source: Box<dyn std::error::Error + Send + Sync>| AssembleError::Read { task: number.0, source };
        let id = TaskId { job: task.job, task: number };
        let record: DoneRecord =
            store.task(id).map_err(|error| read(error.into()))?.ok_or(AssembleError::Missing(number.0))?;
        let archive = BlobRef { id: record.result.output, len: record.result.output_len.0 };
        let unread = |source: Box<dyn std::error::Error + Send + Sync>| AssembleError::Unread {
            task: number.0,
            output: archive.id,
            source,
        };
        let body = match store.output(id).map_err(|error| read(error.into()))? {
            Some(bytes) => Body::Inline(bytes),
            None => Body::File(lend(archive.id).map_err(|error| match error {
                BlobError::NotHere(output) | BlobError::Damaged { id: output, .. } => {
                    AssembleError::Lost { task: number.0, output }
                }
                error => unread(error.into()),
            })?),
        };
        let files = match known.of(archive.id) {
            Some(files) if matches!(body, Body::File(_)) => files.to_vec(),
            // Bytes in memory can be read.
            _ if hash_of(&body).map_err(|error| unread(error.into()))? != archive.id => {
                let is_blob = matches!(body, Body::File(_));
                return Err(AssembleError::Damaged { task: number.0, output: archive.id, is_blob });
            }
            _ => {
                let files = files(&body, archive.len).map_err(read)?;
                if matches!(body, Body::File(_)) {
                    known.know(archive.id, files.as_slice().into());
                }
                files
            }
        };
        let kept_by = matches!(body, Body::File(_)).then_some(record.result.provider);
        parts.push(Part { archive, kept_by, body, files });
    }
    let inline: u64 = parts
        .iter()
        .map(|part| match &part.body {
            Body::Inline(bytes) => bytes.len() as u64,
            Body::File(_) => 0,
        })
        .sum();
    if inline <= MAX_LEASE_INLINE_BYTES as u64 {
        return Ok(Made::Ready(ready(spec, task, &parts)?));
    }
    let segments = parts
        .iter()
        .filter_map(|part| match &part.body {
            Body::Inline(bytes) => Some(Segment::Bytes(bytes.clone())),
            Body::File(_) => None,
        })
        .collect();
    Ok(Made::Pack(Content { segments }, Packed { spec: spec.clone(), task, parts }))
}

/// Makes the task over the blob that its small parts became.
///
/// # Errors
/// [`AssembleError`]
pub fn with_pack(packed: Packed, pack: BlobRef) -> Result<Assembled, AssembleError> {
    let Packed { spec, task, mut parts } = packed;
    let mut offset = 0;
    for part in &mut parts {
        if let Body::Inline(bytes) = &part.body {
            let len = bytes.len() as u64;
            for file in &mut part.files {
                file.offset += offset;
            }
            part.archive = pack;
            offset += len;
            // It is not read again.
            part.body = Body::File(Lent::file(Path::new(""), pack.len));
        }
    }
    ready(&spec, task, &parts)
}

fn ready(spec: &JobSpec, task: TaskId, parts: &[Part]) -> Result<Assembled, AssembleError> {
    let node = spec.node(task.task).ok_or(AssembleError::Missing(task.task.0))?;
    let blobs: Vec<PartBlob> =
        parts.iter().map(|part| PartBlob { archive: part.archive, files: part.files.clone() }).collect();
    let bound = spec.reduce_task(node, &blobs)?;
    let inline = inline(&bound, parts);
    Ok(Assembled { bound: Arc::new(bound), inline, made_by: made_by(parts) })
}

/// How many bytes of the parts each provider made and keeps.
fn made_by(parts: &[Part]) -> Vec<(NodeId, u64)> {
    let mut made = BTreeMap::new();
    for part in parts {
        if let Some(node) = part.kept_by {
            *made.entry(node).or_insert(0) += part.files.iter().map(|file| file.content.len).sum::<u64>();
        }
    }
    made.into_iter().collect()
}

/// For each input, its bytes when its archive is in memory.
fn inline(bound: &BoundTask, parts: &[Part]) -> Vec<Option<Vec<u8>>> {
    let of_memory: std::collections::HashMap<BlobId, &[u8]> = parts
        .iter()
        .filter_map(|part| match &part.body {
            Body::Inline(bytes) => Some((part.archive.id, bytes.as_slice())),
            Body::File(_) => None,
        })
        .collect();
    let bytes = |(input, source): (&tidemill_types::InputSpec, &tidemill_job::BlobSource)| {
        let archive = of_memory.get(&source.blob.id)?;
        let start = usize::try_from(source.offset).ok()?;
        let end = start.checked_add(usize::try_from(input.len).ok()?)?;
        Some(archive.get(start..end)?.to_vec())
    };
    bound.spec.inputs.iter().zip(&bound.sources).map(bytes).collect()
}

/// The hash of what is there.
pub(crate) fn hash_of(body: &Body) -> std::io::Result<BlobId> {
    match body {
        Body::Inline(bytes) => Ok(BlobId::of(bytes)),
        Body::File(lent) => {
            let mut hasher = blake3::Hasher::new();
            std::io::copy(&mut lent.open()?, &mut hasher)?;
            Ok(BlobId::from_hash(hasher.finalize()))
        }
    }
}

/// The files of an archive, each with its hash.
pub(crate) fn files(
    body: &Body,
    len: u64,
) -> Result<Vec<PartFile>, Box<dyn std::error::Error + Send + Sync>> {
    match body {
        Body::Inline(bytes) => {
            let archive = Archive::parse(bytes)?;
            let file = |(path, start, len): (&GuestPath, u64, u64)| {
                let start = usize::try_from(start)?;
                let content = &bytes[start..start + usize::try_from(len)?];
                Ok(PartFile {
                    path: path.clone(),
                    content: BlobRef { id: BlobId::of(content), len },
                    offset: start as u64,
                })
            };
            archive.files().map(|(entry, start)| file((&entry.path, start, entry.len))).collect()
        }
        Body::File(lent) => {
            let (mut file, archive) = open_archive(lent, len)?;
            let mut files = Vec::new();
            for (entry, offset) in archive.files() {
                let mut hasher = blake3::Hasher::new();
                // The archive's files stand one after another, from where its index ends.
                let read = std::io::copy(&mut (&mut file).take(entry.len), &mut hasher)?;
                if read != entry.len {
                    return Err(format!("{} ends early", lent.path().display()).into());
                }
                let id = BlobId::from_hash(hasher.finalize());
                files.push(PartFile {
                    path: entry.path.clone(),
                    content: BlobRef { id, len: entry.len },
                    offset,
                });
            }
            Ok(files)
        }
    }
}

/// Opens an archive of a known length, and reads its index. What is read next is its first file.
///
/// # Errors
/// When it cannot be read, or is no archive.
pub fn open_archive(
    lent: &Lent,
    len: u64,
) -> Result<(LentReader, Archive), Box<dyn std::error::Error + Send + Sync>> {
    let mut file = lent.open()?;
    let archive = Archive::read_index(&mut file, len)?;
    Ok((file, archive))
}
