//! A blob as it travels: its length, then hashes and bytes in pre-order, of the groups that were asked for.

use std::{fs::File, io, path::Path};

use bao_tree::{
    BaoTree, ChunkRanges,
    io::{
        round_up_to_chunks_groups,
        sync::{ReadAt, truncate_ranges},
    },
    iter::{BaoChunk, ResponseIter},
};
use iroh_blobs::store::IROH_BLOCK_SIZE;

use super::disk::tree_of;

/// How much is read at once, at the least.
const BATCH_BYTES: usize = 256 << 10;

/// The most pieces of one request: what a broken fetch lacks is one or few.
const MAX_PIECES: usize = 8192;

/// The length of a pair of hashes.
const PAIR_BYTES: usize = 64;

/// Reads an answer to a request, batch by batch. What is on disk is sent as it is: who fetches it finds every wrong
/// byte.
#[derive(Debug)]
pub(super) struct Encoder {
    tree: BaoTree,
    pieces: ResponseIter,
    data: File,
    hashes: Option<File>,
    begun: bool,
}

impl Encoder {
    /// Opens a blob of this length. `None` when the request is none that nodes make: only whole groups of chunks are
    /// sent, since the tree has no hashes below them.
    pub fn open(data: &Path, hashes: &Path, len: u64, ranges: ChunkRanges) -> io::Result<Option<Self>> {
        let whole = round_up_to_chunks_groups(ranges.clone(), IROH_BLOCK_SIZE);
        if ranges.boundaries().len() > MAX_PIECES || whole != ranges {
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
        let boundaries = truncate_ranges(&ranges, len).boundaries().iter().copied().collect();
        let ranges = ChunkRanges::new(boundaries).expect("what is left of sorted boundaries is sorted");
        let pieces = ResponseIter::new(tree, ranges);
        Ok(Some(Self { tree, pieces, data, hashes, begun: false }))
    }

    /// The next bytes; none at the end.
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
                Some(BaoChunk::Parent { node, .. }) => {
                    let place = self.tree.pre_order_offset(node).zip(self.hashes.as_ref());
                    let (pair, hashes) = place.ok_or(io::ErrorKind::NotFound)?;
                    batch.resize(start + PAIR_BYTES, 0);
                    hashes.read_exact_at(pair * PAIR_BYTES as u64, &mut batch[start..])?;
                }
                Some(BaoChunk::Leaf { start_chunk, size, .. }) => {
                    batch.resize(start + size, 0);
                    self.data.read_exact_at(start_chunk.to_bytes(), &mut batch[start..])?;
                }
            }
        }
        Ok(batch)
    }
}
