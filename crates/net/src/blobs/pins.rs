//! Pins that outlive the process: a file for each, to which the blobs that it holds are added one by one.

use std::{
    fmt,
    fs::OpenOptions,
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use tidemill_types::{BlobId, is_steering};

use super::{disk, error::BlobError, index::Index};

/// The longest name of a pin, in bytes.
pub const MAX_PIN_BYTES: usize = 200;

const FIRST_WORDS: &str = "tidemill pin 1 ";
const HASH_BYTES: usize = 32;

/// What keeps blobs from being evicted, by name: say `job/` and a job's id.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Pin(String);

impl Pin {
    /// A pin of this name.
    ///
    /// # Errors
    /// [`BlobError::PinName`] when it is empty, over [`MAX_PIN_BYTES`], or no plain text of one line.
    pub fn new(name: impl Into<String>) -> Result<Self, BlobError> {
        let name = name.into();
        if name.is_empty() || name.len() > MAX_PIN_BYTES || name.contains(is_steering) {
            return Err(BlobError::PinName(name.chars().take(80).collect()));
        }
        Ok(Self(name))
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.0
    }

    fn first_line(&self) -> String {
        format!("{FIRST_WORDS}{}\n", self.0)
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The folder of the pins' files. A file is a first line with the pin's name, then hashes, 32 bytes each.
#[derive(Debug)]
pub(super) struct PinFiles {
    folder: PathBuf,
    /// One writer at a time.
    writing: Mutex<()>,
}

impl PinFiles {
    /// Tells the index, which knows all blobs, what earlier processes pinned. A file that a crash cut short counts
    /// as far as it goes.
    pub fn open(folder: &Path, index: &mut Index) -> Result<Self, BlobError> {
        let error = |source| BlobError::disk("read the pins in", folder, source);
        std::fs::create_dir_all(folder).map_err(error)?;
        for item in std::fs::read_dir(folder).map_err(error)? {
            let path = item.map_err(error)?.path();
            let bytes =
                std::fs::read(&path).map_err(|source| BlobError::disk("read the pin", &path, source))?;
            match parse(&bytes) {
                Some((pin, held)) => {
                    let torn = (bytes.len() - pin.first_line().len()) % HASH_BYTES;
                    if torn > 0 {
                        // What is added next must begin where a hash begins.
                        let file = OpenOptions::new().write(true).open(&path);
                        file.and_then(|file| file.set_len((bytes.len() - torn) as u64))
                            .map_err(|source| BlobError::disk("mend the pin", &path, source))?;
                    }
                    index.restore_pin(pin, held);
                }
                None => {
                    tracing::warn!(path = %path.display(), "removed a pin that a crash cut short");
                    std::fs::remove_file(&path)
                        .map_err(|source| BlobError::disk("remove the pin", &path, source))?;
                }
            }
        }
        Ok(Self { folder: folder.to_owned(), writing: Mutex::new(()) })
    }

    fn path(&self, pin: &Pin) -> PathBuf {
        self.folder.join(blake3::hash(pin.0.as_bytes()).to_hex().as_str())
    }

    /// Adds a blob to a pin, durably. That it is there already does no harm.
    pub fn add(&self, pin: &Pin, id: BlobId) -> Result<(), BlobError> {
        let _one = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let path = self.path(pin);
        self.append(&path, pin, id).map_err(|source| BlobError::disk("write the pin", &path, source))
    }

    fn append(&self, path: &Path, pin: &Pin, id: BlobId) -> io::Result<()> {
        let mut file = OpenOptions::new().append(true).create(true).open(path)?;
        let before = file.metadata()?.len();
        let mut bytes = if before == 0 { pin.first_line().into_bytes() } else { Vec::new() };
        bytes.extend_from_slice(id.as_bytes());
        let written = file.write_all(&bytes).and_then(|()| disk::sync_data(&file));
        if written.is_err() {
            // A part of a hash would put all later ones out of step. The pin in memory stands; this one error says
            // that it may not outlive the process.
            let _ = file.set_len(before);
        } else if before == 0 {
            disk::sync_dir(&self.folder)?;
        }
        written
    }

    pub fn remove(&self, pin: &Pin) -> Result<(), BlobError> {
        let _one = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let path = self.path(pin);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(BlobError::disk("remove the pin", &path, error))
            }
            _ => Ok(()),
        }
    }
}

fn parse(bytes: &[u8]) -> Option<(Pin, Vec<BlobId>)> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    let name = str::from_utf8(&bytes[..end]).ok()?.strip_prefix(FIRST_WORDS)?;
    let pin = Pin::new(name).ok()?;
    let (hashes, _) = bytes[end + 1..].as_chunks::<HASH_BYTES>();
    let held = hashes.iter().map(|hash| BlobId::from_hash(blake3::Hash::from_bytes(*hash))).collect();
    Some((pin, held))
}
