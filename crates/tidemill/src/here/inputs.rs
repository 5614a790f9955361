//! The hashes of inputs: what a specification says of their content, and whether that is still true.

use std::{
    collections::HashMap,
    fs::{self, File},
    io,
    os::unix::fs::{FileExt, MetadataExt},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use anyhow::Context;
use tidemill_exec::Cancel;
use tidemill_types::{BlobId, Content, Segment};

/// How much is read at a time.
const BUFFER_BYTES: usize = 1 << 20;

/// Hashes contents, and remembers those of whole files, which many tasks share, and what the files looked
/// like: a result of changed bytes must not be kept under the hash of the bytes that were.
pub struct Hashes {
    /// Files below it are this run's own and do not change.
    own: PathBuf,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    whole: HashMap<Content, BlobId>,
    stamps: HashMap<PathBuf, Stamp>,
}

/// What tells that a file was not written to or replaced.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    len: u64,
    modified: (i64, i64),
}

impl Hashes {
    /// Nothing is known yet. Files below `own` are taken not to change.
    pub fn new(own: &Path) -> Self {
        Self { own: own.to_owned(), known: Mutex::default() }
    }

    /// The hash of a content.
    ///
    /// # Errors
    /// When a file cannot be read, is shorter than it was, or `cancel` says so.
    pub fn of(&self, content: &Content, cancel: &Cancel) -> anyhow::Result<BlobId> {
        let shared = matches!(content.segments.as_slice(), [Segment::File { offset: 0, .. }]);
        if shared && let Some(known) = self.known().whole.get(content) {
            return Ok(*known);
        }
        for path in self.files(content) {
            let stamp =
                Stamp::of(path).with_context(|| format!("cannot read the input {}", path.display()))?;
            self.known().stamps.entry(path.to_owned()).or_insert(stamp);
        }
        let hash = hash_content(content, cancel)?;
        if shared {
            self.known().whole.insert(content.clone(), hash);
        }
        Ok(hash)
    }

    /// A file of these contents that is not what it was when it was hashed, if there is one.
    pub fn changed<'a>(&self, contents: &'a [Content]) -> Option<&'a Path> {
        let mut seen: Option<&Path> = None;
        for path in contents.iter().flat_map(|content| self.files(content)) {
            // Pieces of one file come one after another.
            if seen.replace(path) == Some(path) {
                continue;
            }
            let before = self.known().stamps.get(path).copied();
            if before.is_some() && before != Stamp::of(path).ok() {
                return Some(path);
            }
        }
        None
    }

    fn files<'a>(&self, content: &'a Content) -> impl Iterator<Item = &'a Path> {
        let path = |segment: &'a Segment| match segment {
            Segment::File { path, .. } if !path.starts_with(&self.own) => Some(path.as_path()),
            _ => None,
        };
        content.segments.iter().filter_map(path)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stamp {
    fn of(path: &Path) -> io::Result<Self> {
        let metadata = fs::metadata(path)?;
        let modified = (metadata.mtime(), metadata.mtime_nsec());
        Ok(Self { device: metadata.dev(), inode: metadata.ino(), len: metadata.len(), modified })
    }
}

/// The hash of a content, read through once.
///
/// # Errors
/// When a file cannot be read, is shorter than it was, or `cancel` says so.
pub fn hash_content(content: &Content, cancel: &Cancel) -> anyhow::Result<BlobId> {
    let mut hasher = blake3::Hasher::new();
    for segment in &content.segments {
        match segment {
            Segment::Bytes(bytes) => {
                hasher.update(bytes);
            }
            Segment::File { path, offset, len } => hash_range(&mut hasher, path, *offset, *len, cancel)
                .with_context(|| format!("cannot read the input {}", path.display()))?,
        }
    }
    Ok(BlobId::from_hash(hasher.finalize()))
}

fn hash_range(
    hasher: &mut blake3::Hasher,
    path: &Path,
    offset: u64,
    len: u64,
    cancel: &Cancel,
) -> io::Result<()> {
    let file = File::open(path)?;
    let mut buffer = vec![0; BUFFER_BYTES.min(usize::try_from(len).unwrap_or(BUFFER_BYTES))];
    let (mut at, end) = (offset, offset.saturating_add(len));
    while at < end {
        if cancel.is_cancelled() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let take = buffer.len().min(usize::try_from(end - at).unwrap_or(usize::MAX));
        file.read_exact_at(&mut buffer[..take], at)?;
        hasher.update(&buffer[..take]);
        at += take as u64;
    }
    Ok(())
}
