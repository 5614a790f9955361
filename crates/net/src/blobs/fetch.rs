//! How blobs come from other nodes: verified as they arrive, and resumed where they were broken off.
//!
//! Where a broken fetch stands is not written down: what is on disk is hashed again, and what is not right is
//! fetched again. So neither a crash nor a lost write can make wrong bytes pass for right ones.

use std::{
    fs::{File, OpenOptions},
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bao_tree::{
    BaoTree, ChunkNum, ChunkRanges,
    io::{
        BaoContentItem, Leaf,
        outboard::PreOrderOutboard,
        round_up_to_chunks_groups,
        sync::{WriteAt, valid_ranges},
    },
};
use iroh_blobs::{
    Hash,
    get::fsm::{self, AtBlobHeaderNextError, BlobContentNext, ConnectedNext, DecodeError},
    protocol::GetRequest,
    store::IROH_BLOCK_SIZE,
};
use tidemill_types::BlobId;
use tokio::{
    sync::{OwnedMutexGuard, mpsc},
    task::spawn_blocking,
    time::timeout,
};

use super::{
    BlobError, BlobRef, Blobs, FetchError, Inner, Pin, Reservation, blocking,
    disk::{self, GATHER_BYTES, allocated, bytes_on_disk, tree_of},
    error::is_disk_full,
    import::Draft,
    log::record_bytes,
    segments::MOST_PACKED_BYTES,
};
use crate::endpoint::Connection;

/// How many verified pieces, of 16 KiB at most, may wait for the disk.
pub(super) const PIECES_AHEAD: usize = 64;

impl Blobs {
    /// Fetches a blob over a connection of [`super::BLOBS_ALPN`], whoever dialed it. On return it is pinned, and as
    /// durable as the folder. `progress` is told how many of its bytes are here. A blob that is here already costs
    /// nothing, and of two fetches of one blob the second waits for the first.
    ///
    /// Whoever has more fetches under way at once than the other side serves should expect
    /// [`FetchError::Stalled`] of those that wait there.
    ///
    /// A blob that does not have the length it is said to have is refused by the first bytes that arrive; never is
    /// more written than that length.
    ///
    /// # Errors
    /// [`FetchError`]
    pub async fn fetch(
        &self,
        connection: &Connection,
        blob: BlobRef,
        pin: &Pin,
        mut progress: impl FnMut(u64) + Send,
    ) -> Result<(), FetchError> {
        let inner = &self.0;
        let turn = inner.fetch_lock(blob.id).lock_owned().await;
        if self.pin_if_here(blob, pin).await? {
            progress(blob.len);
            return Ok(());
        }
        if blob.len == 0 && blob.id != BlobId::of(&[]) {
            return Err(FetchError::Corrupt {
                id: blob.id,
                source: "the empty blob has another name".into(),
            });
        }
        if blob.len <= MOST_PACKED_BYTES {
            return self.fetch_small(connection, blob, pin, progress).await;
        }
        let (inner, pin) = (inner.clone(), pin.clone());
        let (writer, missing) = blocking(move || Writer::open(inner, blob, pin, turn)).await?;
        let mut here = writer.here;
        progress(here);
        if missing.is_empty() {
            return Ok(blocking(move || writer.finish()).await?);
        }
        let (pieces, arrived) = mpsc::channel(PIECES_AHEAD);
        let writing = spawn_blocking(move || writer.run(arrived));
        let advance = |bytes| {
            here += bytes;
            progress(here);
        };
        let (stall, mut arriving) = (self.0.options.stall, Arriving::Writer(pieces.clone()));
        let received = receive(connection, blob, missing, &mut arriving, stall, advance).await;
        drop(arriving);
        if received.is_ok() {
            let _ = pieces.send(Piece::End).await;
        }
        drop(pieces);
        match writing.await {
            // What the disk says comes first: a receiver whose writer ended only knows that it did.
            Ok(written) => Ok(written.map_err(FetchError::from).and(received)?),
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }

    /// Pins a blob if it is here, of the length that it is said to have.
    pub(super) async fn pin_if_here(&self, blob: BlobRef, pin: &Pin) -> Result<bool, FetchError> {
        let Some(found) = self.has(blob.id) else { return Ok(false) };
        if found != blob.len {
            return Err(FetchError::WrongLength { id: blob.id, expected: blob.len, found });
        }
        // Gone in this moment only if it was evicted in it; then it is fetched.
        let (inner, pin) = (self.0.clone(), pin.clone());
        Ok(blocking(move || inner.pin_present(&pin, blob.id)).await?)
    }

    /// Fetches a blob that goes into a segment. It is kept in memory until it is whole; one that is broken off begins
    /// anew.
    async fn fetch_small(
        &self,
        connection: &Connection,
        blob: BlobRef,
        pin: &Pin,
        mut progress: impl FnMut(u64) + Send,
    ) -> Result<(), FetchError> {
        let (inner, room_bytes) = (self.0.clone(), record_bytes(blob.len, Some(pin)));
        let room = blocking(move || inner.reserve(room_bytes)).await?;
        progress(0);
        let mut arriving = Arriving::Memory(Vec::new());
        let missing = whole(tree_of(blob.len));
        if !missing.is_empty() {
            let mut here = 0;
            let advance = |bytes| {
                here += bytes;
                progress(here);
            };
            receive(connection, blob, missing, &mut arriving, self.0.options.stall, advance).await?;
        }
        // Asked for as a whole, they come in their order.
        let leaves = arriving.into_leaves();
        let bytes = leaves.iter().map(|leaf| &leaf.data[..]).collect::<Vec<_>>().concat();
        if bytes.len() as u64 != blob.len {
            return Err(broken(blob.id, "it ended early"));
        }
        let (inner, pin) = (self.0.clone(), pin.clone());
        Ok(blocking(move || inner.pack(blob, bytes.into(), &pin, room)).await?)
    }
}

/// Where what arrives goes, once it was verified.
pub(super) enum Arriving {
    Writer(mpsc::Sender<Piece>),
    /// For what is small.
    Memory(Vec<Leaf>),
}

impl Arriving {
    /// What arrived in memory.
    pub(super) fn into_leaves(self) -> Vec<Leaf> {
        match self {
            Self::Memory(leaves) => leaves,
            Self::Writer(_) => Vec::new(),
        }
    }

    /// Says whether more is wanted.
    async fn put(&mut self, item: BaoContentItem) -> bool {
        match self {
            Self::Writer(pieces) => pieces.send(Piece::Item(item)).await.is_ok(),
            Self::Memory(leaves) => {
                if let BaoContentItem::Leaf(leaf) = item {
                    leaves.push(leaf);
                }
                true
            }
        }
    }
}

/// What a writer takes.
pub(super) enum Piece {
    Item(BaoContentItem),
    End,
}

/// Asks for ranges of a blob, and hands on what comes, verified.
pub(super) async fn receive(
    connection: &Connection,
    blob: BlobRef,
    missing: ChunkRanges,
    arriving: &mut Arriving,
    stall: Duration,
    mut advance: impl FnMut(u64),
) -> Result<(), FetchError> {
    let id = blob.id;
    let stalled = |_| FetchError::Stalled { id, waited: stall };
    let request = GetRequest::blob_ranges(Hash::from_bytes(*id.as_bytes()), missing);
    let begin = async {
        let connected = fsm::start(connection.clone(), request, Default::default()).next().await;
        let connected = connected.map_err(|error| broken(id, error))?;
        match connected.next().await.map_err(|error| broken(id, error))? {
            ConnectedNext::StartRoot(start) => match start.next().next().await {
                Ok(begun) => Ok(begun),
                Err(AtBlobHeaderNextError::NotFound { .. }) => Err(FetchError::NotThere(id)),
                Err(error) => Err(broken(id, error)),
            },
            // The request is for one blob, and so the library goes nowhere else.
            ConnectedNext::StartChild(_) | ConnectedNext::Closing(_) => Err(FetchError::NotThere(id)),
        }
    };
    let (mut content, found) = timeout(stall, begin).await.map_err(stalled)??;
    if found != blob.len {
        return Err(FetchError::WrongLength { id, expected: blob.len, found });
    }
    loop {
        match timeout(stall, content.next()).await.map_err(stalled)? {
            BlobContentNext::Done(_) => return Ok(()),
            BlobContentNext::More((next, item)) => {
                let item = item.map_err(|error| decode_error(id, error))?;
                if let BaoContentItem::Leaf(leaf) = &item {
                    advance(leaf.data.len() as u64);
                }
                if !arriving.put(item).await {
                    // The writer's error is the one that counts.
                    return Ok(());
                }
                content = next;
            }
        }
    }
}

fn decode_error(id: BlobId, error: DecodeError) -> FetchError {
    match error {
        DecodeError::ParentHashMismatch { .. } | DecodeError::LeafHashMismatch { .. } => {
            FetchError::Corrupt { id, source: error.into() }
        }
        error => broken(id, error),
    }
}

fn broken(id: BlobId, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> FetchError {
    FetchError::Broken { id, source: error.into() }
}

/// Writes a blob that arrives. When it is dropped before the blob is whole, what is there stays as a broken fetch.
struct Writer {
    inner: Arc<Inner>,
    blob: BlobRef,
    pin: Pin,
    data_path: PathBuf,
    tree_path: PathBuf,
    data: File,
    hashes: PreOrderOutboard<File>,
    /// How many bytes of the blob were here when it was opened.
    here: u64,
    /// Whether the files are to go instead of staying.
    discard: bool,
    room: Reservation,
    _turn: OwnedMutexGuard<()>,
}

impl Writer {
    /// Goes on with a broken fetch or begins one, and says what is missing.
    fn open(
        inner: Arc<Inner>,
        blob: BlobRef,
        pin: Pin,
        turn: OwnedMutexGuard<()>,
    ) -> Result<(Self, ChunkRanges), FetchError> {
        let BlobRef { id, len } = blob;
        let (data_path, tree_path) = inner.folder.partial(id, len);
        let left = inner.index().take_partial(id);
        if let Some(left) = left.filter(|left| *left != len) {
            inner.folder.remove_partial(id, left);
        }
        let room = match inner.reserve(bytes_on_disk(len)) {
            Ok(room) => room,
            Err(error) => {
                keep(&inner, blob, &data_path, &tree_path);
                return Err(error.into());
            }
        };
        let tree = tree_of(len);
        let opened = open_sized(&data_path, len)
            .and_then(|data| Ok((data, open_sized(&tree_path, tree.outboard_size())?)));
        let (data, hashes) = match opened {
            Ok(files) => files,
            Err(error) => {
                inner.folder.remove_partial(id, len);
                return Err(error.into());
            }
        };
        let root = blake3::Hash::from_bytes(*id.as_bytes());
        let hashes = PreOrderOutboard { root, tree, data: hashes };
        let mut writer = Self {
            inner,
            blob,
            pin,
            data_path,
            tree_path,
            data,
            hashes,
            here: 0,
            discard: false,
            room,
            _turn: turn,
        };
        let missing = if left == Some(len) { writer.missing()? } else { whole(tree) };
        Ok((writer, missing))
    }

    /// What of the blob is not on disk, or not right.
    fn missing(&mut self) -> Result<ChunkRanges, BlobError> {
        let tree = self.hashes.tree;
        let mut missing = whole(tree);
        let outboard = PreOrderOutboard { root: self.hashes.root, tree, data: &self.hashes.data };
        let all = ChunkRanges::all();
        for valid in valid_ranges(outboard, &self.data, &all) {
            let valid = valid.map_err(|source| BlobError::disk("read", &self.data_path, source))?;
            self.here += valid.end.to_bytes().min(self.blob.len) - valid.start.to_bytes();
            missing -= ChunkRanges::from(valid);
        }
        Ok(round_up_to_chunks_groups(missing, IROH_BLOCK_SIZE))
    }

    fn run(mut self, mut arrived: mpsc::Receiver<Piece>) -> Result<(), BlobError> {
        let (mut data, mut pairs) = (Run::default(), Run::default());
        while let Some(piece) = arrived.blocking_recv() {
            match piece {
                Piece::Item(BaoContentItem::Leaf(leaf)) => {
                    let written = data.put(&mut self.data, leaf.offset, &leaf.data);
                    self.check(written, true)?;
                }
                Piece::Item(BaoContentItem::Parent(parent)) => {
                    // Leaves that are a whole group have none below them.
                    let Some(at) = self.hashes.tree.pre_order_offset(parent.node) else { continue };
                    let (left, right) = parent.pair;
                    let pair = [*left.as_bytes(), *right.as_bytes()].concat();
                    let written = pairs.put(&mut self.hashes.data, at * pair.len() as u64, &pair);
                    self.check(written, false)?;
                }
                Piece::End => {
                    self.flush(&mut data, &mut pairs)?;
                    return self.finish();
                }
            }
        }
        // Nobody waits for the blob any more, or the connection broke.
        self.flush(&mut data, &mut pairs)
    }

    fn flush(&mut self, data: &mut Run, pairs: &mut Run) -> Result<(), BlobError> {
        let written = data.flush(&mut self.data);
        self.check(written, true)?;
        let written = pairs.flush(&mut self.hashes.data);
        self.check(written, false)
    }

    fn check(&mut self, written: io::Result<()>, data: bool) -> Result<(), BlobError> {
        written.map_err(|source| {
            self.discard = is_disk_full(&source);
            BlobError::disk("write", if data { &self.data_path } else { &self.tree_path }, source)
        })
    }

    /// All of the blob is written.
    fn finish(mut self) -> Result<(), BlobError> {
        for (file, path) in [(&self.data, &self.data_path), (&self.hashes.data, &self.tree_path)] {
            if let Err(source) = self.inner.folder.sync_file(file) {
                // What a failed sync has left on disk is anybody's guess.
                self.discard = true;
                return Err(BlobError::disk("sync", path, source));
            }
        }
        let files = Draft { data: self.data_path.clone(), tree: self.tree_path.clone() };
        self.inner.take_in(self.blob, &files, None, &self.pin, &mut self.room)
    }
}

/// What comes one after another, which is written together.
#[derive(Default)]
pub(super) struct Run {
    offset: u64,
    bytes: Vec<u8>,
}

impl Run {
    pub(super) fn put(&mut self, file: &mut File, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let follows = offset == self.offset + self.bytes.len() as u64;
        if !follows || self.bytes.len() + bytes.len() > GATHER_BYTES {
            self.flush(file)?;
            self.offset = offset;
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    pub(super) fn flush(&mut self, file: &mut File) -> io::Result<()> {
        if !self.bytes.is_empty() {
            file.write_all_at(self.offset, &self.bytes)?;
            self.bytes.clear();
        }
        Ok(())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if self.discard {
            self.inner.folder.remove_partial(self.blob.id, self.blob.len);
        } else {
            keep(&self.inner, self.blob, &self.data_path, &self.tree_path);
        }
    }
}

/// Leaves the files of a broken fetch, if they hold anything, for the next one.
fn keep(inner: &Inner, blob: BlobRef, data: &Path, tree: &Path) {
    let bytes = allocated(data) + allocated(tree);
    if bytes > 0 {
        inner.index().insert_partial(blob.id, blob.len, bytes);
    } else {
        disk::remove(data);
        disk::remove(tree);
    }
}

fn whole(tree: BaoTree) -> ChunkRanges {
    if tree.size() == 0 {
        return ChunkRanges::empty();
    }
    let end = ChunkNum::chunks(tree.size());
    round_up_to_chunks_groups(ChunkRanges::from(ChunkNum(0)..end), IROH_BLOCK_SIZE)
}

/// Opens a file of this length; what is not written yet is a hole.
fn open_sized(path: &Path, len: u64) -> Result<File, BlobError> {
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
    file.and_then(|file| {
        file.set_len(len)?;
        Ok(file)
    })
    .map_err(|source| BlobError::disk("make", path, source))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_one_after_another_is_written_where_it_belongs() {
        let mut file = tempfile::tempfile().expect("a file");
        let mut run = Run::default();
        for (offset, bytes) in [(0, "ab"), (2, "cd"), (9, "jk"), (11, ""), (11, "l"), (4, "e")] {
            run.put(&mut file, offset, bytes.as_bytes()).expect("a disk");
        }
        let large = vec![7; GATHER_BYTES];
        run.put(&mut file, 100, &large).expect("a disk");
        run.put(&mut file, 100 + GATHER_BYTES as u64, b"end").expect("a disk");
        run.flush(&mut file).expect("a disk");
        run.flush(&mut file).expect("nothing more");
        let mut content = Vec::new();
        std::io::Read::read_to_end(&mut file, &mut content).expect("a file");
        assert_eq!(content[..12], *b"abcde\0\0\0\0jkl");
        assert_eq!(
            (&content[100..][..GATHER_BYTES], &content[100 + GATHER_BYTES..]),
            (&large[..], &b"end"[..])
        );
    }
}
