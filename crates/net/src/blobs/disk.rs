//! The files of a folder of blobs.

use std::{
    ffi::OsString,
    fs::{self, File, Metadata, OpenOptions},
    io,
    os::unix::{ffi::OsStringExt, fs::MetadataExt},
    path::{Path, PathBuf},
    time::SystemTime,
};

use bao_tree::{
    BaoTree, ChunkRanges,
    io::{outboard::PreOrderOutboard, sync::valid_ranges},
};
use data_encoding::HEXLOWER;
use iroh_blobs::store::IROH_BLOCK_SIZE;
use serde::{Deserialize, Serialize};
pub(super) use tidemill_disk::{sync_data, sync_dir};
use tidemill_types::BlobId;

use super::{
    Keeps,
    error::BlobError,
    failpoints::Failpoint,
    index::{Index, Place, Victim},
};

/// How much of a large blob is written at once.
pub(super) const GATHER_BYTES: usize = 1 << 20;

const TREE_SUFFIX: &str = ".tree";

/// The hash tree over a blob of this length.
pub(super) fn tree_of(len: u64) -> BaoTree {
    BaoTree::new(len, IROH_BLOCK_SIZE)
}

/// What a blob of this length takes on disk, with its tree.
pub(super) fn bytes_on_disk(len: u64) -> u64 {
    len + tree_of(len).outboard_size()
}

/// Whether a file holds the bytes of a blob, and another one its hash tree. It reads all of both.
pub(super) fn is_right(id: BlobId, len: u64, data: &Path, tree_path: &Path) -> io::Result<bool> {
    let data = File::open(data)?;
    if data.metadata()?.len() != len {
        return Ok(false);
    }
    let (tree, root) = (tree_of(len), blake3::Hash::from_bytes(*id.as_bytes()));
    if tree.outboard_size() == 0 {
        let mut hasher = blake3::Hasher::new();
        hasher.update_reader(&data)?;
        return Ok(hasher.finalize() == root);
    }
    let hashes = PreOrderOutboard { root, tree, data: File::open(tree_path)? };
    let mut right = 0;
    for valid in valid_ranges(hashes, &data, &ChunkRanges::all()) {
        let valid = valid?;
        right += valid.end.to_bytes().min(len) - valid.start.to_bytes();
    }
    Ok(right == len)
}

/// By what a file is known to be unchanged: its length and when it was last written to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Stamp {
    pub len: u64,
    seconds: i64,
    nanoseconds: i64,
    inode: u64,
}

impl Stamp {
    pub fn of(metadata: &Metadata) -> Self {
        Self {
            len: metadata.len(),
            seconds: metadata.mtime(),
            nanoseconds: metadata.mtime_nsec(),
            inode: metadata.ino(),
        }
    }

    pub fn of_path(path: &Path) -> io::Result<Self> {
        fs::metadata(path).map(|metadata| Self::of(&metadata))
    }
}

/// Where a blob is that stays in a file of its owner.
#[derive(Serialize, Deserialize)]
struct Link {
    path: Vec<u8>,
    stamp: Stamp,
}

/// The folder and its parts.
#[derive(Debug)]
pub(super) struct Folder {
    root: PathBuf,
    keeps: Keeps,
    /// Holds the lock on the folder.
    lock: File,
}

impl Drop for Folder {
    /// Closing the file is not enough: a child process that is just being made has it open too.
    fn drop(&mut self) {
        // The lock goes with the last of them in any case.
        let _ = self.lock.unlock();
    }
}

impl Folder {
    pub fn open(root: &Path, keeps: Keeps) -> Result<Self, BlobError> {
        for part in ["data", "links", "partial", "drafts", "segments"] {
            let part = root.join(part);
            fs::create_dir_all(&part).map_err(|source| BlobError::disk("make", &part, source))?;
        }
        let path = root.join("lock");
        let error = |source| BlobError::disk("lock", &path, source);
        let lock = OpenOptions::new().write(true).create(true).truncate(false).open(&path).map_err(error)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { root: root.to_owned(), keeps, lock }),
            Err(fs::TryLockError::WouldBlock) => Err(BlobError::Locked(root.to_owned())),
            Err(fs::TryLockError::Error(source)) => Err(error(source)),
        }
    }

    /// Waits until the bytes of a file are on disk, where the folder keeps what it has.
    pub fn sync_file(&self, file: &File) -> io::Result<()> {
        match self.keeps {
            Keeps::Durable => sync_data(file),
            Keeps::Cache => Ok(()),
        }
    }

    pub fn data(&self, id: BlobId) -> PathBuf {
        self.root.join("data").join(id.to_string())
    }

    pub fn tree(&self, id: BlobId) -> PathBuf {
        self.root.join("data").join(format!("{id}{TREE_SUFFIX}"))
    }

    pub fn segments(&self) -> PathBuf {
        self.root.join("segments")
    }

    fn link(&self, id: BlobId) -> PathBuf {
        self.root.join("links").join(id.to_string())
    }

    /// The two files of a broken fetch: data and tree.
    pub fn partial(&self, id: BlobId, len: u64) -> (PathBuf, PathBuf) {
        let folder = self.root.join("partial");
        (folder.join(format!("{id}-{len}")), folder.join(format!("{id}-{len}{TREE_SUFFIX}")))
    }

    /// A name for a file that is not yet anything.
    pub fn draft(&self) -> Result<PathBuf, BlobError> {
        let folder = self.root.join("drafts");
        let mut name = [0; 16];
        getrandom::fill(&mut name)
            .map_err(|error| BlobError::disk("name a draft in", &folder, error.into()))?;
        Ok(folder.join(HEXLOWER.encode(&name)))
    }

    pub fn remove_victim(&self, victim: Victim) {
        tracing::debug!(?victim, "making room");
        match victim {
            Victim::Blob(id) => self.remove_blob(id),
            Victim::Partial(id, len) => self.remove_partial(id, len),
        }
    }

    pub fn remove_blob(&self, id: BlobId) {
        remove(&self.link(id));
        remove(&self.data(id));
        remove(&self.tree(id));
    }

    /// Keeps the file of a blob that cannot be read, for a person to look at. It does not count as a blob any more.
    pub fn set_aside(&self, id: BlobId) {
        let (from, folder) = (self.data(id), self.root.join("damaged"));
        let to = folder.join(id.to_string());
        if let Err(error) = fs::create_dir_all(&folder).and_then(|()| fs::rename(&from, &to)) {
            tracing::warn!(path = %from.display(), %error, "cannot set a damaged file aside");
        }
        self.remove_blob(id);
    }

    pub fn remove_partial(&self, id: BlobId, len: u64) {
        let (data, tree) = self.partial(id, len);
        remove(&data);
        remove(&tree);
    }

    /// Puts the synced files of a whole blob in their places. To be called with the index locked, for a blob that is
    /// not in it; [`Self::sync`] makes it durable.
    pub fn install(&self, id: BlobId, data: &Path, tree: Option<&Path>) -> Result<(), BlobError> {
        self.install_tree(id, tree)?;
        Failpoint::TreeInstalled.pass();
        let target = self.data(id);
        fs::rename(data, &target).map_err(|source| BlobError::disk("put a blob at", &target, source))
    }

    /// Notes where the blob is. Like [`Self::install`].
    pub fn install_link(
        &self,
        id: BlobId,
        tree: Option<&Path>,
        file: &Path,
        stamp: Stamp,
    ) -> Result<(), BlobError> {
        self.install_tree(id, tree)?;
        let (draft, target) = (self.draft()?, self.link(id));
        let error = |source| BlobError::disk("note a file's place at", &target, source);
        let path = file.to_path_buf().into_os_string().into_vec();
        let bytes =
            postcard::to_stdvec(&Link { path, stamp }).map_err(|error_| error(io::Error::other(error_)))?;
        fs::write(&draft, bytes)
            .and_then(|()| self.sync_file(&File::open(&draft)?))
            .and_then(|()| fs::rename(&draft, &target))
            .map_err(|source| {
                remove(&draft);
                error(source)
            })
    }

    fn install_tree(&self, id: BlobId, tree: Option<&Path>) -> Result<(), BlobError> {
        let Some(tree) = tree else { return Ok(()) };
        let target = self.tree(id);
        fs::rename(tree, &target).map_err(|source| BlobError::disk("put a hash tree at", &target, source))
    }

    /// Makes durable which files there are, links too if one was made.
    pub fn sync(&self, linked: bool) -> Result<(), BlobError> {
        if self.keeps == Keeps::Cache {
            return Ok(());
        }
        let parts: &[_] = if linked { &["data", "links"] } else { &["data"] };
        for part in parts {
            let part = self.root.join(part);
            sync_dir(&part).map_err(|source| BlobError::disk("sync", &part, source))?;
        }
        Ok(())
    }

    /// Tells the index what is here, the least recently used first, and removes what is nothing whole.
    pub fn scan(&self, index: &mut Index) -> Result<(), BlobError> {
        for draft in self.list("drafts")? {
            remove(&draft.path);
        }
        let mut found = self.find_owned()?;
        found.append(&mut self.find_linked()?);
        found.sort_unstable_by_key(|(used, ..)| *used);
        for (_, id, len, place) in found {
            let bytes = match place {
                Place::Owned | Place::Packed(_) => bytes_on_disk(len),
                Place::Linked { .. } => tree_of(len).outboard_size(),
            };
            if index.get(id).is_none() {
                index.insert(id, len, bytes, place);
                if self.keeps == Keeps::Cache {
                    index.doubt(id);
                }
            }
        }
        for item in self.list("data")? {
            let Some(id) = item.name.strip_suffix(TREE_SUFFIX).and_then(|name| name.parse().ok()) else {
                continue;
            };
            if index.get(id).is_none() {
                remove(&item.path);
            }
        }
        for item in self.list("partial")? {
            let parts =
                item.name.split_once('-').and_then(|(id, len)| Some((id.parse().ok()?, len.parse().ok()?)));
            if let Some((id, len)) = parts {
                let (_, tree) = self.partial(id, len);
                let bytes = allocated(&item.path) + allocated(&tree);
                index.insert_partial(id, len, bytes);
            }
        }
        Ok(())
    }

    fn find_owned(&self) -> Result<Vec<(SystemTime, BlobId, u64, Place)>, BlobError> {
        let mut found = Vec::new();
        for item in self.list("data")? {
            let Ok(id) = item.name.parse() else { continue };
            if self.has_tree(id, item.metadata.len()) {
                found.push((used_at(&item.metadata), id, item.metadata.len(), Place::Owned));
            } else {
                remove(&item.path);
            }
        }
        Ok(found)
    }

    fn find_linked(&self) -> Result<Vec<(SystemTime, BlobId, u64, Place)>, BlobError> {
        let mut found = Vec::new();
        for item in self.list("links")? {
            let Ok(id) = item.name.parse() else { continue };
            let link = fs::read(&item.path).ok().and_then(|bytes| postcard::from_bytes::<Link>(&bytes).ok());
            let alive = link.map(|link| (PathBuf::from(OsString::from_vec(link.path)), link.stamp)).filter(
                |(path, stamp)| {
                    Stamp::of_path(path).is_ok_and(|now| now == *stamp) && self.has_tree(id, stamp.len)
                },
            );
            match alive {
                Some((path, stamp)) => {
                    found.push((used_at(&item.metadata), id, stamp.len, Place::Linked { path, stamp }));
                }
                None => remove(&item.path),
            }
        }
        Ok(found)
    }

    fn has_tree(&self, id: BlobId, len: u64) -> bool {
        let bytes = tree_of(len).outboard_size();
        bytes == 0 || fs::metadata(self.tree(id)).is_ok_and(|tree| tree.len() == bytes)
    }

    fn list(&self, part: &str) -> Result<Vec<Item>, BlobError> {
        let part = self.root.join(part);
        let read = || {
            fs::read_dir(&part)?
                .map(|item| {
                    let item = item?;
                    let name = item.file_name().to_string_lossy().into_owned();
                    Ok(Item { name, path: item.path(), metadata: item.metadata()? })
                })
                .collect::<io::Result<Vec<_>>>()
        };
        read().map_err(|source| BlobError::disk("list", &part, source))
    }
}

struct Item {
    name: String,
    path: PathBuf,
    metadata: Metadata,
}

fn used_at(metadata: &Metadata) -> SystemTime {
    metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH)
}

/// What a file takes on disk, holes not counted.
pub(super) fn allocated(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |metadata| metadata.blocks() * 512)
}

/// Notes on disk that a file is of use now, as well as that goes.
pub(super) fn mark_used(path: &Path) {
    let marked = File::open(path).and_then(|file| file.set_modified(SystemTime::now()));
    if let Err(error) = marked {
        tracing::debug!(path = %path.display(), %error, "cannot note a blob's use");
    }
}

/// Removes a file if it is there. One that cannot be removed is a matter for the log: it is gone from the index, and
/// the next start finds it.
pub(super) fn remove(path: &Path) {
    if let Err(error) = fs::remove_file(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(path = %path.display(), %error, "cannot remove");
    }
}
