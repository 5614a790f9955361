//! Files that visitors bring: on the disk while a request needs them, within bounds, and gone with it.

use std::{
    collections::{HashMap, hash_map::Entry},
    fs::{self, OpenOptions},
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use axum::http::StatusCode;
use bytes::Bytes;
use tidemill_net::blobs::Lent;
use tidemill_scratch::Scratch;
use tidemill_types::{BlobId, BlobRef, ByteSize, GuestPath, Principal};
use tokio::{fs::File, io::AsyncWriteExt};

use crate::problem::Problem;

/// Files of one job.
pub const MOST_FILES: usize = 4096;

/// The longest path of a file, which goes behind that of a temporary directory, and how deep it may be.
const MOST_PATH: usize = 1024;
const MOST_DEPTH: usize = 32;

/// How many bytes visitors may have on the disk at a time.
#[derive(Debug)]
pub struct Room {
    most: u64,
    used: Mutex<HashMap<Principal, u64>>,
}

/// A part of the room. Dropped, it is free again.
#[derive(Debug)]
pub struct Taken {
    room: Arc<Room>,
    by: Principal,
    bytes: u64,
}

impl Room {
    pub fn new(most: u64) -> Arc<Self> {
        Arc::new(Self { most, used: Mutex::default() })
    }

    /// The most that one visitor may have: one alone does not take it all.
    pub fn most_each(&self) -> u64 {
        self.most / 2
    }

    /// A part in a visitor's name, with nothing in it yet.
    pub fn part(self: &Arc<Self>, by: Principal) -> Taken {
        Taken { room: self.clone(), by, bytes: 0 }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Principal, u64>> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    /// Takes so many bytes more.
    pub fn grow(&mut self, bytes: u64) -> Result<(), Problem> {
        let mut used = self.room.lock();
        let all: u64 = used.values().sum();
        let own = used.get(&self.by).copied().unwrap_or_default();
        let full = if own.saturating_add(bytes) > self.room.most_each() {
            Some("you have brought as much as one visitor may have here at a time")
        } else if all.saturating_add(bytes) > self.room.most {
            Some("visitors have brought as much as may be here at a time")
        } else {
            None
        };
        if let Some(full) = full {
            let room = ByteSize(self.room.most_each());
            let found = format!("{full} ({room}): bring less, or try again later");
            return Err(Problem::new(StatusCode::INSUFFICIENT_STORAGE, found));
        }
        *used.entry(self.by).or_insert(0) += bytes;
        self.bytes += bytes;
        Ok(())
    }

    /// Cuts so many of its bytes off, as a part of its own.
    pub fn split(&mut self, bytes: u64) -> Self {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        Self { room: self.room.clone(), by: self.by, bytes }
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        let mut used = self.room.lock();
        if let Entry::Occupied(mut own) = used.entry(self.by) {
            *own.get_mut() -= self.bytes;
            if *own.get() == 0 {
                own.remove();
            }
        }
    }
}

/// A directory of files as they stand beside a job file. Dropped, it is gone.
#[derive(Debug)]
pub struct Staged {
    scratch: Scratch,
    taken: Taken,
    /// The files by their paths, and those that are blobs already.
    files: HashMap<GuestPath, Option<BlobRef>>,
}

/// A file that is being written.
pub struct Arriving<'a> {
    file: File,
    taken: &'a mut Taken,
    hasher: blake3::Hasher,
    len: u64,
}

impl Staged {
    /// An empty directory below a folder.
    pub fn new(folder: &Path, taken: Taken) -> Result<Self, Problem> {
        let made = || {
            fs::create_dir_all(folder)?;
            let scratch = Scratch::within(folder)?;
            fs::create_dir(scratch.path().join(FILES))?;
            Ok(scratch)
        };
        let scratch = made().map_err(|error| disk(&error))?;
        Ok(Self { scratch, taken, files: HashMap::new() })
    }

    /// The directory.
    pub fn directory(&self) -> PathBuf {
        self.scratch.path().join(FILES)
    }

    /// Its files, and those of them that are blobs.
    pub fn files(&self) -> impl Iterator<Item = (&GuestPath, Option<BlobRef>)> {
        self.files.iter().map(|(path, blob)| (path, *blob))
    }

    /// The blob that a file of it was made from.
    pub fn blob_at(&self, path: &Path) -> Option<BlobRef> {
        let seen = path.strip_prefix(self.directory()).ok()?.to_str()?;
        self.files.get(&GuestPath::new(seen).ok()?).copied().flatten()
    }

    /// Cuts off the room that a file takes, for whoever keeps a copy.
    pub fn give(&mut self, bytes: u64) -> Taken {
        self.taken.split(bytes)
    }

    /// A new file.
    pub fn create(&mut self, path: &str) -> Result<Arriving<'_>, Problem> {
        let path = self.place(path, None)?;
        let file = OpenOptions::new().write(true).create_new(true).open(&path);
        let file = File::from_std(file.map_err(|error| disk(&error))?);
        Ok(Arriving { file, taken: &mut self.taken, hasher: blake3::Hasher::new(), len: 0 })
    }

    /// A file with the bytes of a blob. It may wait for the disk.
    pub fn copy(&mut self, path: &str, blob: BlobRef, lent: &Lent) -> Result<(), Problem> {
        self.taken.grow(blob.len)?;
        let path = self.place(path, Some(blob))?;
        let copied = || {
            let mut file = OpenOptions::new().write(true).create_new(true).open(&path)?;
            io::copy(&mut lent.open()?, &mut file)
        };
        match copied() {
            Ok(len) if len == blob.len => Ok(()),
            Ok(_) => {
                Err(Problem::new(StatusCode::NOT_FOUND, format!("the blob {} is not here any more", blob.id)))
            }
            Err(error) => Err(disk(&error)),
        }
    }

    /// Where a file of this path goes, with the directories on the way.
    fn place(&mut self, path: &str, blob: Option<BlobRef>) -> Result<PathBuf, Problem> {
        let wrong = |found: String| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, found);
        let shown = tidemill_types::one_line(path, 100);
        let path = GuestPath::new(path).map_err(|error| wrong(format!("a file's path: {error}")))?;
        if path.as_str().len() > MOST_PATH || path.components().count() > MOST_DEPTH {
            return Err(wrong(format!("the path {shown:?} is too long or too deep")));
        }
        if self.files.len() >= MOST_FILES {
            return Err(wrong(format!("there are more than {MOST_FILES} files")));
        }
        let place = self.directory().join(path.as_str());
        match self.files.entry(path) {
            Entry::Occupied(_) => return Err(wrong(format!("the file {shown:?} is there twice"))),
            Entry::Vacant(entry) => drop(entry.insert(blob)),
        }
        let parent = place.parent().unwrap_or(&place);
        let is_taken = place.symlink_metadata().is_ok() || fs::create_dir_all(parent).is_err();
        if is_taken {
            return Err(wrong(format!("{shown:?} is the name of a file and of a directory")));
        }
        Ok(place)
    }
}

/// Below the directory that marks that its process lives.
const FILES: &str = "files";

impl Arriving<'_> {
    /// Adds bytes.
    pub async fn write(&mut self, bytes: &Bytes) -> Result<(), Problem> {
        self.taken.grow(bytes.len() as u64)?;
        self.hasher.update(bytes);
        self.len += bytes.len() as u64;
        self.file.write_all(bytes).await.map_err(|error| disk(&error))
    }

    /// Its end. Gives its hash and length.
    pub async fn finish(mut self) -> Result<BlobRef, Problem> {
        self.file.flush().await.map_err(|error| disk(&error))?;
        Ok(BlobRef { id: BlobId::from_hash(self.hasher.finalize()), len: self.len })
    }
}

/// What the disk does not do.
pub fn disk(error: &io::Error) -> Problem {
    tracing::error!(error = error as &dyn std::error::Error, "the disk does not take what a visitor brings");
    Problem::new(StatusCode::INSUFFICIENT_STORAGE, "the disk of this machine does not take it now")
}

#[cfg(test)]
mod tests {
    use tidemill_types::NodeId;

    use super::*;

    const ONE: Principal = Principal::Node(NodeId([1; 32]));
    const TWO: Principal = Principal::Node(NodeId([2; 32]));

    async fn write(staged: &mut Staged, path: &str, content: &'static [u8]) -> Result<BlobRef, Problem> {
        let mut file = staged.create(path)?;
        file.write(&Bytes::from_static(content)).await?;
        file.finish().await
    }

    #[tokio::test]
    async fn files_go_where_their_paths_say_and_nowhere_else() {
        let folder = tempfile::tempdir().expect("a directory");
        let room = Room::new(1000);
        let mut staged = Staged::new(folder.path(), room.part(ONE)).expect("a directory");
        let blob = write(&mut staged, "data/a.txt", b"abc").await.expect("it is taken");
        assert_eq!(blob, BlobRef { id: BlobId::of(b"abc"), len: 3 });
        assert_eq!(fs::read(staged.directory().join("data/a.txt")).expect("a file"), b"abc");
        let long = format!("{}x", "a/".repeat(MOST_DEPTH));
        let wide = vec!["b".repeat(200); 6].join("/");
        for path in [
            "",
            "/etc/passwd",
            "../x",
            "a/../../x",
            "a/./x",
            "a\0b",
            "a\\b",
            "a\nb",
            "data/a.txt",
            "data",
            "data/a.txt/b",
            &long,
            &wide,
        ] {
            let problem = write(&mut staged, path, b"x").await.expect_err(path);
            assert_eq!(problem.status(), StatusCode::UNPROCESSABLE_ENTITY, "{path}");
        }
        assert_eq!(fs::read(staged.directory().join("data/a.txt")).expect("a file"), b"abc");
        drop(staged);
        assert_eq!(fs::read_dir(folder.path()).expect("a directory").count(), 0, "nothing is left");
        assert!(room.lock().is_empty());
    }

    #[tokio::test]
    async fn there_are_so_many_files_and_so_many_bytes() {
        let folder = tempfile::tempdir().expect("a directory");
        let room = Room::new(20);
        let mut staged = Staged::new(folder.path(), room.part(ONE)).expect("a directory");
        write(&mut staged, "a", b"0123456789").await.expect("there is room");
        let full = write(&mut staged, "b", b"x").await.expect_err("half is for others");
        assert_eq!(full.status(), StatusCode::INSUFFICIENT_STORAGE);
        let mut other = Staged::new(folder.path(), room.part(TWO)).expect("a directory");
        write(&mut other, "a", b"0123456789").await.expect("the other half");
        let kept = staged.give(10);
        drop(staged);
        let mut again = Staged::new(folder.path(), room.part(ONE)).expect("a directory");
        write(&mut again, "a", b"x").await.expect_err("it is kept");
        drop(kept);
        write(&mut again, "b", b"x").await.expect("there is room again");
        for number in 2..MOST_FILES {
            drop(again.create(&number.to_string()).expect("one more"));
        }
        assert!(again.create("more").is_err());
    }
}
