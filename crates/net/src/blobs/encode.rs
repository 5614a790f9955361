//! A blob as it travels: its length, then hashes and bytes in pre-order, of the groups that were asked for.

use std::{fs::File, io, path::Path};

use bao_tree::{
    BaoTree, ChunkRanges,
    io::{
        outboard::PreOrderOutboard,
        round_up_to_chunks_groups,
        sync::{ReadAt, outboard, truncate_ranges},
    },
    iter::{BaoChunk, ResponseIter},
};
use blake3::hazmat::{HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root};
use iroh_blobs::store::IROH_BLOCK_SIZE;
use tidemill_types::BlobId;

use super::disk::tree_of;

/// How much is read at once, at the least.
const BATCH_BYTES: usize = 256 << 10;

/// The most pieces of one request: what a broken fetch lacks is one or few.
const MAX_PIECES: usize = 8192;

/// The length of a pair of hashes.
const PAIR_BYTES: usize = 64;

/// Reads an answer to a request, batch by batch. What comes from files is hashed before it goes: a damaged blob is
/// noticed where it lies, and not only by whoever fetches it.
#[derive(Debug)]
pub(super) struct Encoder {
    tree: BaoTree,
    pieces: ResponseIter,
    source: Source,
    /// The hashes of pieces to come, the next one last. None of what was hashed just now.
    expected: Option<Vec<blake3::Hash>>,
    begun: bool,
}

/// A blob's bytes, and its hash tree if it has one.
#[derive(Debug)]
enum Source {
    Files { data: File, hashes: Option<File> },
    Memory { data: Vec<u8>, hashes: Vec<u8> },
}

impl Source {
    fn read_data(&self, offset: u64, to: &mut [u8]) -> io::Result<()> {
        match self {
            Self::Files { data, .. } => data.read_exact_at(offset, to),
            Self::Memory { data, .. } => data.read_exact_at(offset, to),
        }
    }

    fn read_hashes(&self, offset: u64, to: &mut [u8]) -> io::Result<()> {
        match self {
            Self::Files { hashes: Some(hashes), .. } => hashes.read_exact_at(offset, to),
            Self::Files { hashes: None, .. } => Err(io::ErrorKind::NotFound.into()),
            Self::Memory { hashes, .. } => hashes.read_exact_at(offset, to),
        }
    }
}

impl Encoder {
    /// Opens a blob of this length. `None` when the request is none that nodes make: only whole groups of chunks are
    /// sent, since the tree has no hashes below them.
    pub fn open(
        id: BlobId,
        data: &Path,
        hashes: &Path,
        len: u64,
        ranges: ChunkRanges,
    ) -> io::Result<Option<Self>> {
        if !is_for_groups(&ranges) {
            return Ok(None);
        }
        let tree = tree_of(len);
        let data = File::open(data)?;
        if data.metadata()?.len() != len {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the file has another length than its blob",
            ));
        }
        let hashes = if tree.outboard_size() > 0 { Some(File::open(hashes)?) } else { None };
        let expected = vec![blake3::Hash::from_bytes(*id.as_bytes())];
        Ok(Some(Self { expected: Some(expected), ..Self::new(tree, ranges, Source::Files { data, hashes }) }))
    }

    /// Takes a blob that is in memory and was hashed just now, and whose tree is made now.
    pub fn over(data: Vec<u8>, ranges: ChunkRanges) -> io::Result<Option<Self>> {
        if !is_for_groups(&ranges) {
            return Ok(None);
        }
        let tree = tree_of(data.len() as u64);
        let mut hashes = vec![0; usize::try_from(tree.outboard_size()).map_err(io::Error::other)?];
        if !hashes.is_empty() {
            let root = blake3::Hash::from_bytes([0; 32]);
            outboard(&data[..], tree, PreOrderOutboard { root, tree, data: &mut hashes[..] })?;
        }
        Ok(Some(Self::new(tree, ranges, Source::Memory { data, hashes })))
    }

    fn new(tree: BaoTree, ranges: ChunkRanges, source: Source) -> Self {
        let boundaries = truncate_ranges(&ranges, tree.size()).boundaries().iter().copied().collect();
        let ranges = ChunkRanges::new(boundaries).expect("what is left of sorted boundaries is sorted");
        let pieces = ResponseIter::new(tree, ranges);
        Self { tree, pieces, source, expected: None, begun: false }
    }

    /// The next bytes; none at the end. An error that [`is_damage`] says that the blob is damaged.
    pub fn next_batch(&mut self) -> io::Result<Vec<u8>> {
        let mut batch = Vec::with_capacity(BATCH_BYTES + IROH_BLOCK_SIZE.bytes());
        if !self.begun {
            batch.extend_from_slice(&self.tree.size().to_le_bytes());
            self.begun = true;
        }
        while batch.len() < BATCH_BYTES {
            let start = batch.len();
            match self.pieces.next() {
                None => break,
                Some(BaoChunk::Parent { node, is_root, left, right, .. }) => {
                    let pair = self.tree.pre_order_offset(node).ok_or(io::ErrorKind::InvalidInput)?;
                    batch.resize(start + PAIR_BYTES, 0);
                    self.source.read_hashes(pair * PAIR_BYTES as u64, &mut batch[start..])?;
                    self.check_pair(&batch[start..], is_root, (left, right))?;
                }
                Some(BaoChunk::Leaf { start_chunk, size, is_root, .. }) => {
                    batch.resize(start + size, 0);
                    self.source.read_data(start_chunk.to_bytes(), &mut batch[start..])?;
                    self.check_data(&batch[start..], start_chunk.to_bytes(), is_root)?;
                }
            }
        }
        Ok(batch)
    }

    /// Checks a pair of hashes, and expects what it says of the sides that are asked for.
    fn check_pair(&mut self, pair: &[u8], is_root: bool, (left, right): (bool, bool)) -> io::Result<()> {
        let Some(expected) = &mut self.expected else { return Ok(()) };
        let (Some(left_hash), Some(right_hash)) = (pair.first_chunk::<32>(), pair.last_chunk::<32>()) else {
            return Err(damage());
        };
        let found = match is_root {
            true => merge_subtrees_root(left_hash, right_hash, Mode::Hash),
            false => merge_subtrees_non_root(left_hash, right_hash, Mode::Hash).into(),
        };
        if expected.pop() != Some(found) {
            return Err(damage());
        }
        if right {
            expected.push(blake3::Hash::from_bytes(*right_hash));
        }
        if left {
            expected.push(blake3::Hash::from_bytes(*left_hash));
        }
        Ok(())
    }

    fn check_data(&mut self, data: &[u8], offset: u64, is_root: bool) -> io::Result<()> {
        let Some(expected) = &mut self.expected else { return Ok(()) };
        let found = match is_root {
            true => blake3::hash(data),
            false => {
                let mut hasher = blake3::Hasher::new();
                hasher.set_input_offset(offset).update(data);
                hasher.finalize_non_root().into()
            }
        };
        if expected.pop() == Some(found) { Ok(()) } else { Err(damage()) }
    }
}

fn damage() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the bytes are not the blob's")
}

/// Whether what could not be read of a blob is damaged: other bytes, or too few, or no file, or a place of the disk that
/// cannot be read. What names this process instead, as when it has too many files open, says nothing about a blob.
pub(super) fn is_damage(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidData, NotFound, UnexpectedEof};
    matches!(error.kind(), InvalidData | NotFound | UnexpectedEof) || is_unreadable(error)
}

/// Whether the disk cannot read a file, or its file system knows that the bytes are others.
pub(super) fn is_unreadable(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let errno = Errno::from_io_error(error);
    #[cfg(target_os = "linux")]
    if errno == Some(Errno::UCLEAN) {
        return true;
    }
    matches!(errno, Some(Errno::IO | Errno::BADMSG | Errno::ILSEQ))
}

/// Whether a request is one that nodes make.
fn is_for_groups(ranges: &ChunkRanges) -> bool {
    let whole = round_up_to_chunks_groups(ranges.clone(), IROH_BLOCK_SIZE);
    ranges.boundaries().len() <= MAX_PIECES && whole == *ranges
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::*;

    #[test]
    fn a_bad_sector_is_damage_and_a_process_at_its_limits_is_not() {
        for errno in [Errno::IO, Errno::BADMSG, Errno::ILSEQ] {
            assert!(is_damage(&errno.into()), "{errno}");
        }
        for errno in [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::ACCESS, Errno::INTR] {
            assert!(!is_damage(&errno.into()), "{errno}");
        }
        assert!(is_damage(&damage()) && !is_unreadable(&damage()), "its file is of no use to anybody");
    }
}
