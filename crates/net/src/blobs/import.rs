//! How bytes of this host become blobs.

use std::{
    fs::{File, OpenOptions},
    io::{self, BufReader, Read, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use bao_tree::io::{outboard::PreOrderOutboard, sync::outboard};
use bytes::Bytes;
use tidemill_types::{BlobId, Content, Segment};

use super::{
    BlobError, BlobRef, Blobs, Inner, Pin, Reservation, blocking,
    disk::{self, Folder, GATHER_BYTES, Stamp, bytes_on_disk, tree_of},
    failpoints::Failpoint,
    index::Place,
    log::record_bytes,
    segments::MOST_PACKED_BYTES,
    writer::Change,
};

/// What becomes of a file whose content becomes a blob.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FileMode {
    /// It is copied.
    Copy,
    /// It stays where it is and holds the blob, until its owner changes it.
    Reference,
}

impl Blobs {
    /// Makes a blob of these bytes. On return it is pinned, and as durable as the folder.
    ///
    /// # Errors
    /// [`BlobError::OverBudget`], [`BlobError::Disk`]
    pub async fn import_bytes(&self, bytes: impl Into<Bytes>, pin: &Pin) -> Result<BlobRef, BlobError> {
        let (inner, pin, bytes) = (self.0.clone(), pin.clone(), bytes.into());
        blocking(move || {
            if bytes.len() as u64 <= MOST_PACKED_BYTES {
                return inner.pack_in(bytes, &pin);
            }
            let blob = BlobRef { id: BlobId::of(&bytes), len: bytes.len() as u64 };
            if inner.pin_present(&pin, blob.id)? {
                return Ok(blob);
            }
            copy_in(&inner, &bytes[..], blob.len, Path::new("memory"), &pin)
        })
        .await
    }

    /// Makes a blob of a file. On return it is pinned, and as durable as the folder.
    ///
    /// # Errors
    /// [`BlobError`]; the file's are [`BlobError::Source`], [`BlobError::NotAFile`] and [`BlobError::Changed`].
    pub async fn import_file(&self, path: &Path, mode: FileMode, pin: &Pin) -> Result<BlobRef, BlobError> {
        self.import_file_with(path, mode, pin, |_| {}).await
    }

    /// As [`Self::import_file`]. `progress` is told how many of its bytes were read.
    ///
    /// # Errors
    /// As those of [`Self::import_file`].
    pub async fn import_file_with(
        &self,
        path: &Path,
        mode: FileMode,
        pin: &Pin,
        progress: impl FnMut(u64) + Send + 'static,
    ) -> Result<BlobRef, BlobError> {
        let (inner, pin, path) = (self.0.clone(), pin.clone(), path.to_owned());
        blocking(move || {
            let error = |source| BlobError::Source { path: path.clone(), source };
            // Looked at before it is opened, since to open a pipe may wait for ever.
            if !std::fs::metadata(&path).map_err(error)?.is_file() {
                return Err(BlobError::NotAFile(path));
            }
            let file = File::open(&path).map_err(error)?;
            let stamp = Stamp::of(&file.metadata().map_err(error)?);
            let counted = Counted { source: file, read: 0, progress };
            match mode {
                FileMode::Copy => copy_in(&inner, counted, stamp.len, &path, &pin),
                FileMode::Reference => link_in(&inner, counted, stamp, &path, &pin),
            }
        })
        .await
    }

    /// Makes a blob of content: segments one after another. On return it is pinned, and as durable as the folder.
    ///
    /// # Errors
    /// [`BlobError`]; the files' are [`BlobError::Source`] and [`BlobError::Changed`].
    pub async fn import_content(&self, content: &Content, pin: &Pin) -> Result<BlobRef, BlobError> {
        let (inner, pin, content) = (self.0.clone(), pin.clone(), content.clone());
        blocking(move || copy_in(&inner, Segments::new(&content), content.len(), name_of(&content), &pin))
            .await
    }

    /// Makes blobs of these bytes, each with its pin, which wait for the disk together. On return they are pinned, and
    /// as durable as the folder. For threads that may wait for the disk.
    ///
    /// # Errors
    /// [`BlobError::TooLong`] for more than 1 MiB, [`BlobError::OverBudget`], [`BlobError::Disk`]. Some of them may be
    /// here all the same.
    pub fn append_all(&self, all: impl IntoIterator<Item = (Bytes, Pin)>) -> Result<Vec<BlobRef>, BlobError> {
        let inner = &self.0;
        let (mut blobs, mut asked) = (Vec::new(), Vec::new());
        for (bytes, pin) in all {
            let blob = BlobRef { id: BlobId::of(&bytes), len: bytes.len() as u64 };
            if blob.len > MOST_PACKED_BYTES {
                return Err(BlobError::TooLong { id: blob.id, len: blob.len, max: MOST_PACKED_BYTES });
            }
            let room = inner.reserve(record_bytes(blob.len, Some(&pin)))?;
            asked.push(inner.writer.ask(Change::Blob { blob, bytes, pin, room }));
            blobs.push(blob);
        }
        for asked in asked {
            asked.wait()?;
        }
        Ok(blobs)
    }
}

/// The hash and the length of content that becomes no blob. It reads all of it.
///
/// # Errors
/// [`BlobError::Source`] and [`BlobError::Changed`].
pub fn hash_content(content: &Content) -> Result<BlobRef, BlobError> {
    let mut hasher = blake3::Hasher::new();
    let read = hasher.update_reader(Segments::new(content));
    read.map_err(|source| source_error(name_of(content), source))?;
    Ok(BlobRef { id: BlobId::from_hash(hasher.finalize()), len: content.len() })
}

/// What errors call content.
fn name_of(content: &Content) -> &Path {
    let name = content.segments.iter().find_map(|segment| match segment {
        Segment::File { path, .. } => Some(path.as_path()),
        Segment::Bytes(_) => None,
    });
    name.unwrap_or(Path::new("memory"))
}

impl Inner {
    /// Pins the blob if it is here and right, as durably as the folder is.
    pub(super) fn pin_present(&self, pin: &Pin, id: BlobId) -> Result<bool, BlobError> {
        if !self.index().pin(pin, id) {
            return Ok(false);
        }
        match self.lend(id) {
            Ok(_) => self.pin(pin, id),
            Err(BlobError::NotHere(_) | BlobError::Damaged { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Takes in a blob that goes into a segment, with its pin, and waits until it is as durable as the folder. `room`
    /// is [`record_bytes`].
    pub(super) fn pack(
        &self,
        blob: BlobRef,
        bytes: Bytes,
        pin: &Pin,
        room: Reservation,
    ) -> Result<(), BlobError> {
        self.writer.ask(Change::Blob { blob, bytes, pin: pin.clone(), room }).wait().map(|_| ())
    }

    /// Makes a blob of bytes that fit into a segment, unless it is here.
    fn pack_in(&self, bytes: Bytes, pin: &Pin) -> Result<BlobRef, BlobError> {
        let blob = BlobRef { id: BlobId::of(&bytes), len: bytes.len() as u64 };
        if !self.pin_present(pin, blob.id)? {
            let room = self.reserve(record_bytes(blob.len, Some(pin)))?;
            self.pack(blob, bytes, pin, room)?;
        }
        Ok(blob)
    }

    /// Takes in a blob whose files are whole and synced, pinned and durable.
    pub(super) fn take_in(
        &self,
        blob: BlobRef,
        files: &Draft,
        link: Option<Link<'_>>,
        pin: &Pin,
        room: &mut Reservation,
    ) -> Result<(), BlobError> {
        let BlobRef { id, len } = blob;
        let linked = link.is_some();
        Failpoint::BlobDrafted.pass();
        {
            let mut index = self.index();
            // Before what the blob takes is added, so that it never counts twice.
            room.settle(&mut index);
            if index.get(id).is_none() {
                let tree = (tree_of(len).outboard_size() > 0).then_some(files.tree.as_path());
                match link {
                    None => {
                        self.folder.install(id, &files.data, tree)?;
                        index.insert(id, len, bytes_on_disk(len), Place::Owned);
                    }
                    Some(Link { path, stamp }) => {
                        self.folder.install_link(id, tree, path, stamp)?;
                        let place = Place::Linked { path: path.to_owned(), stamp };
                        index.insert(id, len, tree_of(len).outboard_size(), place);
                    }
                }
            }
            index.pin(pin, id);
        }
        Failpoint::BlobInstalled.pass();
        self.folder.sync(linked)?;
        Failpoint::BlobSynced.pass();
        self.pin(pin, id).map(|_| ())
    }
}

/// A file that holds a blob.
pub(super) struct Link<'a> {
    path: &'a Path,
    stamp: Stamp,
}

/// The files of a blob that is not whole yet. Removed when dropped, unless they are elsewhere by then.
#[derive(Debug)]
pub(super) struct Draft {
    pub data: PathBuf,
    pub tree: PathBuf,
}

impl Draft {
    pub(super) fn new(inner: &Inner) -> Result<Self, BlobError> {
        Ok(Self { data: inner.folder.draft()?, tree: inner.folder.draft()? })
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        disk::remove(&self.data);
        disk::remove(&self.tree);
    }
}

/// Reads `len` bytes into a blob. `name` is what errors call the reader.
fn copy_in(
    inner: &Arc<Inner>,
    source: impl Read,
    len: u64,
    name: &Path,
    pin: &Pin,
) -> Result<BlobRef, BlobError> {
    if len <= MOST_PACKED_BYTES {
        let mut bytes = Vec::with_capacity(usize::try_from(len).unwrap_or(0));
        source.take(len).read_to_end(&mut bytes).map_err(|source| source_error(name, source))?;
        if (bytes.len() as u64) < len {
            return Err(BlobError::Changed(name.to_owned()));
        }
        return inner.pack_in(bytes.into(), pin);
    }
    let mut room = inner.reserve(bytes_on_disk(len))?;
    let draft = Draft::new(inner)?;
    let data = make(&draft.data)?;
    let mut tee = Tee { source: source.take(len), copy: &data, read_failed: false };
    // Hashed in pieces of 16 KiB, and written in ones that a disk takes well.
    let hashed = hash(BufReader::with_capacity(GATHER_BYTES, &mut tee), len, &inner.folder, &draft.tree);
    let blob = match hashed {
        Ok(id) => BlobRef { id, len },
        Err(Failure::Reading(source)) if tee.read_failed => return Err(source_error(name, source)),
        Err(Failure::Reading(source)) => return Err(BlobError::disk("write", &draft.data, source)),
        Err(Failure::Tree(error)) => return Err(error),
    };
    inner.folder.sync_file(&data).map_err(|source| BlobError::disk("sync", &draft.data, source))?;
    inner.take_in(blob, &draft, None, pin, &mut room)?;
    Ok(blob)
}

/// Makes a blob of a file that stays where it is.
fn link_in(
    inner: &Arc<Inner>,
    file: impl Read,
    stamp: Stamp,
    path: &Path,
    pin: &Pin,
) -> Result<BlobRef, BlobError> {
    let len = stamp.len;
    let read_error = |source| source_error(path, source);
    let path = path.canonicalize().map_err(read_error)?;
    let mut room = inner.reserve(tree_of(len).outboard_size())?;
    let draft = Draft::new(inner)?;
    let reader = BufReader::with_capacity(GATHER_BYTES, file);
    let id = hash(reader, len, &inner.folder, &draft.tree).map_err(|failure| match failure {
        Failure::Reading(source) => source_error(&path, source),
        Failure::Tree(error) => error,
    })?;
    let after = Stamp::of_path(&path).map_err(|source| source_error(&path, source))?;
    if after != stamp {
        return Err(BlobError::Changed(path));
    }
    let blob = BlobRef { id, len };
    inner.take_in(blob, &draft, Some(Link { path: &path, stamp }), pin, &mut room)?;
    Ok(blob)
}

/// Why bytes could not be hashed.
pub(super) enum Failure {
    Reading(io::Error),
    Tree(BlobError),
}

/// The name of the next `len` bytes, and their hash tree, synced, in a file of this name if they are many enough to
/// have one.
pub(super) fn hash(
    source: impl Read,
    len: u64,
    folder: &Folder,
    tree_path: &Path,
) -> Result<BlobId, Failure> {
    let tree = tree_of(len);
    // Told apart from a failure to read by asking the tree's file, which is the only other one.
    let file = if tree.outboard_size() > 0 { Some(make(tree_path).map_err(Failure::Tree)?) } else { None };
    let mut nodes = Vec::new();
    let root = blake3::Hash::from_bytes([0; 32]);
    let hash = match &file {
        None => {
            // One group: its hash is that of the bytes.
            source.take(len).read_to_end(&mut nodes).map_err(Failure::Reading)?;
            if (nodes.len() as u64) < len {
                return Err(Failure::Reading(io::ErrorKind::UnexpectedEof.into()));
            }
            blake3::hash(&nodes)
        }
        Some(file) => {
            nodes.resize(usize::try_from(tree.outboard_size()).map_err(too_large)?, 0);
            let made = outboard(source, tree, PreOrderOutboard { root, tree, data: &mut nodes[..] });
            let hash = made.map_err(Failure::Reading)?;
            let mut file = file;
            file.write_all(&nodes)
                .and_then(|()| folder.sync_file(file))
                .map_err(|source| Failure::Tree(BlobError::disk("write", tree_path, source)))?;
            hash
        }
    };
    Ok(BlobId::from_hash(hash))
}

fn too_large(_: std::num::TryFromIntError) -> Failure {
    Failure::Reading(io::ErrorKind::OutOfMemory.into())
}

pub(super) fn make(path: &Path) -> Result<File, BlobError> {
    let file = OpenOptions::new().write(true).create_new(true).open(path);
    file.map_err(|source| BlobError::disk("make", path, source))
}

/// A file shorter than it was is one that changed.
fn source_error(path: &Path, source: io::Error) -> BlobError {
    if source.kind() == io::ErrorKind::UnexpectedEof {
        return BlobError::Changed(path.to_owned());
    }
    BlobError::Source { path: path.to_owned(), source }
}

/// Tells how much was read.
struct Counted<R, F> {
    source: R,
    read: u64,
    progress: F,
}

impl<R: Read, F: FnMut(u64)> Read for Counted<R, F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read(buffer)?;
        if read > 0 {
            self.read += read as u64;
            (self.progress)(self.read);
        }
        Ok(read)
    }
}

/// Copies what is read, and knows whether reading it was what failed.
struct Tee<'a, R> {
    source: R,
    copy: &'a File,
    read_failed: bool,
}

impl<R: Read> Read for Tee<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.read_failed = true;
        let read = self.source.read(buffer)?;
        // The end of the source, where more is wanted, is the reader's failure too.
        self.read_failed = read == 0;
        self.copy.write_all(&buffer[..read])?;
        Ok(read)
    }
}

/// Reads content segment by segment.
struct Segments<'a> {
    rest: std::slice::Iter<'a, Segment>,
    current: Option<Box<dyn Read + 'a>>,
    left: u64,
}

impl<'a> Segments<'a> {
    fn new(content: &'a Content) -> Self {
        Self { rest: content.segments.iter(), current: None, left: 0 }
    }
}

impl Read for Segments<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.left == 0 {
            let Some(next) = self.rest.next() else { return Ok(0) };
            self.left = next.len();
            self.current = Some(match next {
                Segment::Bytes(bytes) => Box::new(&bytes[..]),
                Segment::File { path, offset, len } => Box::new(open_range(path, *offset, *len)?),
            });
        }
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let Some(current) = &mut self.current else { return Ok(0) };
        let read = current.read(&mut buffer[..most])?;
        if read == 0 && most > 0 {
            // A shorter file must not pull the segments after it forward.
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left -= read as u64;
        Ok(read)
    }
}

fn open_range(path: &Path, offset: u64, len: u64) -> io::Result<impl Read> {
    let mut file = File::open(path)?;
    io::Seek::seek(&mut file, io::SeekFrom::Start(offset))?;
    Ok(file.take(len))
}
