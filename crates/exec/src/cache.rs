//! Compiled code on disk.
//!
//! Loading machine code means trusting it, so each entry carries a BLAKE3 MAC under a key that this host
//! drew for itself: an entry that another host made, or that someone changed, does not authenticate and
//! is compiled again. An entry is one file named by its code id: the MAC, then the code.

use std::{
    fs,
    io::{self, Read},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::SystemTime,
};

use tidemill_scratch::Scratch;
use tidemill_types::BlobId;

const MAC_BYTES: usize = 32;
const KEY_BYTES: usize = 32;
/// When entries together pass this, the ones written longest ago go.
const MAX_BYTES: u64 = 2 << 30;

/// Why the cache could not be opened or written.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// The directory could not be made.
    #[error("could not make the directory {0} for compiled code")]
    Directory(PathBuf, #[source] io::Error),
    /// The host key could not be read or made.
    #[error("could not read or make the host key {0}")]
    Key(PathBuf, #[source] io::Error),
    /// The host key has another length, so it is no key of ours.
    #[error("{0} is not a host key: it should have 32 bytes; remove it and a new one is made")]
    KeyLength(PathBuf),
    /// Others may read the host key, and so could make entries that authenticate.
    #[error("{0} may be read by others; remove it and a new one is made")]
    KeyExposed(PathBuf),
    /// An entry could not be written.
    #[error("could not write compiled code to {0}")]
    Write(PathBuf, #[source] io::Error),
}

/// A cache of compiled code.
#[derive(Clone)]
pub struct CodeCache {
    directory: PathBuf,
    key: [u8; KEY_BYTES],
}

impl std::fmt::Debug for CodeCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The key stays out of logs.
        f.debug_struct("CodeCache").field("directory", &self.directory).finish_non_exhaustive()
    }
}

impl CodeCache {
    /// Opens the cache in `directory`, and makes it and its key if they are not there.
    ///
    /// # Errors
    /// [`CacheError`] when the directory or the key cannot be made or read.
    pub fn open(directory: &Path) -> Result<Self, CacheError> {
        fs::create_dir_all(directory).map_err(|error| CacheError::Directory(directory.to_owned(), error))?;
        let path = directory.join("host.key");
        let key = read_or_make_key(&path).map_err(|error| CacheError::Key(path.clone(), error))?;
        let mode = fs::metadata(&path).map_err(|error| CacheError::Key(path.clone(), error))?.mode();
        if mode & 0o077 != 0 {
            return Err(CacheError::KeyExposed(path));
        }
        let key = key.try_into().map_err(|_| CacheError::KeyLength(path))?;
        Ok(Self { directory: directory.to_owned(), key })
    }

    /// The code stored under this name, if it is there and authentic.
    pub(crate) fn get(&self, code: &BlobId) -> Option<Vec<u8>> {
        let mut bytes = read_regular(&self.path(code), MAX_BYTES).ok()?;
        let mac: [u8; MAC_BYTES] = *bytes.first_chunk()?;
        // `blake3::Hash` compares in constant time.
        if self.mac(code, &bytes[MAC_BYTES..]) != blake3::Hash::from_bytes(mac) {
            return None;
        }
        bytes.drain(..MAC_BYTES);
        Some(bytes)
    }

    /// Whether there is an entry of this name. It may yet prove not to be authentic.
    pub(crate) fn has(&self, code: &BlobId) -> bool {
        self.path(code).exists()
    }

    /// Stores code. Readers see the whole entry or none.
    pub(crate) fn put(&self, code: &BlobId, bytes: &[u8]) -> Result<(), CacheError> {
        let path = self.path(code);
        let write = || -> io::Result<()> {
            let scratch = Scratch::within(&self.directory)?;
            let mut file = tempfile::NamedTempFile::new_in(scratch.path())?;
            io::Write::write_all(&mut file, self.mac(code, bytes).as_bytes())?;
            io::Write::write_all(&mut file, bytes)?;
            file.persist(&path)?;
            Ok(())
        };
        write().map_err(|error| CacheError::Write(path, error))?;
        self.evict();
        Ok(())
    }

    fn path(&self, code: &BlobId) -> PathBuf {
        self.directory.join(format!("{code}.code"))
    }

    fn mac(&self, code: &BlobId, bytes: &[u8]) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        hasher.update(code.as_bytes());
        hasher.update(bytes);
        hasher.finalize()
    }

    /// Removes the oldest entries while all together are too large. Trouble here is no one's trouble: the
    /// cache is only larger than it should be.
    fn evict(&self) {
        let Ok(listing) = fs::read_dir(&self.directory) else { return };
        let mut entries: Vec<(SystemTime, u64, PathBuf)> = listing
            .filter_map(|entry| {
                let entry = entry.ok()?;
                let path = entry.path();
                let metadata = entry.metadata().ok()?;
                (path.extension()? == "code").then_some((metadata.modified().ok()?, metadata.len(), path))
            })
            .collect();
        let mut total: u64 = entries.iter().map(|(_, len, _)| len).sum();
        entries.sort();
        for (_, len, path) in entries {
            if total <= MAX_BYTES {
                break;
            }
            if fs::remove_file(path).is_ok() {
                total -= len;
            }
        }
    }
}

/// Reads a regular file of at most so many bytes. A link, a pipe or a device in its place, put there by
/// whoever can write to the directory, is neither followed nor waited for.
fn read_regular(path: &Path, most_bytes: u64) -> io::Result<Vec<u8>> {
    let flags = rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOFOLLOW;
    let flags = flags.bits().cast_signed();
    let file = fs::OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() || metadata.len() > most_bytes {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "not a file of ours"));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or(0));
    file.take(most_bytes).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The key file is made whole before it gets its name, and a process that comes second takes the key of
/// the first.
fn read_or_make_key(path: &Path) -> io::Result<Vec<u8>> {
    /// Longer than any key of ours.
    const MOST: u64 = 1024;
    match read_regular(path, MOST) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        result => return result,
    }
    let mut key = [0; KEY_BYTES];
    getrandom::fill(&mut key).map_err(io::Error::other)?;
    let directory = path.parent().unwrap_or(Path::new("."));
    // Temporary files are made for their owner alone, mode 0600.
    let scratch = Scratch::within(directory)?;
    let mut fresh = tempfile::NamedTempFile::new_in(scratch.path())?;
    io::Write::write_all(&mut fresh, &key)?;
    tidemill_disk::sync_all(fresh.as_file())?;
    match fresh.persist_noclobber(path) {
        Err(error) if error.error.kind() != io::ErrorKind::AlreadyExists => Err(error.error),
        _ => read_regular(path, MOST),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn an_entry_reads_back_and_only_on_its_own_host() {
        let here = tempfile::tempdir().expect("a temporary directory");
        let there = tempfile::tempdir().expect("a temporary directory");
        let code = BlobId::of(b"name");
        let cache = CodeCache::open(here.path()).expect("a cache");
        cache.put(&code, b"machine code").expect("a write");
        assert_eq!(cache.get(&code).as_deref(), Some(&b"machine code"[..]));
        let again = CodeCache::open(here.path()).expect("the same cache");
        assert_eq!(again.get(&code).as_deref(), Some(&b"machine code"[..]));

        let foreign = CodeCache::open(there.path()).expect("a cache");
        fs::copy(cache.path(&code), foreign.path(&code)).expect("a copy");
        assert_eq!(foreign.get(&code), None);
    }

    #[test]
    fn a_changed_entry_or_name_does_not_authenticate() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let cache = CodeCache::open(directory.path()).expect("a cache");
        let (code, other) = (BlobId::of(b"one"), BlobId::of(b"other"));
        cache.put(&code, b"machine code").expect("a write");
        fs::copy(cache.path(&code), cache.path(&other)).expect("a copy");
        assert_eq!(cache.get(&other), None);
        let mut bytes = fs::read(cache.path(&code)).expect("the entry");
        for place in 0..bytes.len() {
            bytes[place] ^= 1;
            fs::write(cache.path(&code), &bytes).expect("a write");
            assert_eq!(cache.get(&code), None, "byte {place}");
            bytes[place] ^= 1;
        }
        fs::write(cache.path(&code), b"short").expect("a write");
        assert_eq!(cache.get(&code), None);
    }

    #[test]
    fn what_is_no_file_is_neither_followed_nor_waited_for() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        std::os::unix::fs::symlink("/dev/zero", directory.path().join("host.key")).expect("a link");
        assert!(matches!(CodeCache::open(directory.path()), Err(CacheError::Key(..))));
        fs::remove_file(directory.path().join("host.key")).expect("the link");
        let cache = CodeCache::open(directory.path()).expect("a cache");
        let code = BlobId::of(b"one");
        std::os::unix::fs::symlink("/dev/zero", cache.path(&code)).expect("a link");
        assert_eq!(cache.get(&code), None);
    }

    #[test]
    fn the_key_is_the_owners_alone() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        CodeCache::open(directory.path()).expect("a cache");
        let metadata = fs::metadata(directory.path().join("host.key")).expect("the key");
        assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
        let key = directory.path().join("host.key");
        fs::write(&key, b"short").expect("a write");
        assert!(matches!(CodeCache::open(directory.path()), Err(CacheError::KeyLength(_))));
        fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).expect("the owner may");
        assert!(matches!(CodeCache::open(directory.path()), Err(CacheError::KeyExposed(_))));
    }
}
