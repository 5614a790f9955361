//! The hashes of inputs: what a specification says of their content.

use std::{
    collections::HashMap,
    fs::File,
    io,
    os::unix::fs::FileExt,
    sync::{Mutex, PoisonError},
};

use anyhow::Context;
use tidemill_types::{BlobId, Content, Segment};

/// How much is read at a time.
const BUFFER_BYTES: usize = 1 << 20;

/// Hashes contents, and remembers those of whole files, which many tasks share.
#[derive(Default)]
pub struct Hashes(Mutex<HashMap<Content, BlobId>>);

impl Hashes {
    /// The hash of a content.
    ///
    /// # Errors
    /// When a file cannot be read or is shorter than it was.
    pub fn of(&self, content: &Content) -> anyhow::Result<BlobId> {
        let shared = matches!(content.segments.as_slice(), [Segment::File { offset: 0, .. }]);
        if shared && let Some(known) = self.known().get(content) {
            return Ok(*known);
        }
        let hash = hash_content(content)?;
        if shared {
            self.known().insert(content.clone(), hash);
        }
        Ok(hash)
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashMap<Content, BlobId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The hash of a content, read through once.
///
/// # Errors
/// When a file cannot be read or is shorter than it was.
pub fn hash_content(content: &Content) -> anyhow::Result<BlobId> {
    let mut hasher = blake3::Hasher::new();
    for segment in &content.segments {
        match segment {
            Segment::Bytes(bytes) => {
                hasher.update(bytes);
            }
            Segment::File { path, offset, len } => hash_range(&mut hasher, path, *offset, *len)
                .with_context(|| format!("cannot read the input {}", path.display()))?,
        }
    }
    Ok(BlobId::from_hash(hasher.finalize()))
}

fn hash_range(hasher: &mut blake3::Hasher, path: &std::path::Path, offset: u64, len: u64) -> io::Result<()> {
    let file = File::open(path)?;
    let mut buffer = vec![0; BUFFER_BYTES.min(usize::try_from(len).unwrap_or(BUFFER_BYTES))];
    let (mut at, end) = (offset, offset.saturating_add(len));
    while at < end {
        let take = buffer.len().min(usize::try_from(end - at).unwrap_or(usize::MAX));
        file.read_exact_at(&mut buffer[..take], at)?;
        hasher.update(&buffer[..take]);
        at += take as u64;
    }
    Ok(())
}
