//! Parts of blobs that become blobs of their own: pieces of a file, fetched without the rest of it.
//!
//! What arrives is verified twice: by the hash tree of the whole blob, group by group, and as a whole by the part's own
//! hash. A fetch that is broken off begins anew.

use std::{
    fs::File,
    io::{self, BufReader, Read, Seek, SeekFrom},
    sync::Arc,
};

use bao_tree::{
    ChunkNum, ChunkRanges,
    io::{BaoContentItem, Leaf, round_up_to_chunks_groups},
};
use bytes::Bytes;
use iroh_blobs::store::IROH_BLOCK_SIZE;
use tidemill_types::{BlobId, BlobSource, ByteRange};
use tokio::{
    sync::{OwnedMutexGuard, mpsc},
    task::spawn_blocking,
};

use super::{
    BlobError, BlobRef, Blobs, FetchError, Inner, Lent, Pin, Reservation, blocking,
    disk::{GATHER_BYTES, bytes_on_disk},
    fetch::{Arriving, PIECES_AHEAD, Piece, Run, receive},
    import::{Draft, Failure, hash, make},
    index::Place,
    log::record_bytes,
    segments::MOST_PACKED_BYTES,
};
use crate::endpoint::Connection;

impl Blobs {
    /// Fetches a part of a blob, which becomes a blob of its own. `source` says where in a blob of the other side it is.
    /// For the rest it is like [`Self::fetch`], but that nothing is kept of a part that is broken off.
    ///
    /// # Errors
    /// [`FetchError`]; [`FetchError::Corrupt`] also where the bytes at `source` are not those of the part.
    pub async fn fetch_part(
        &self,
        connection: &Connection,
        source: BlobSource,
        part: BlobRef,
        pin: &Pin,
        mut progress: impl FnMut(u64) + Send,
    ) -> Result<(), FetchError> {
        if !source.holds(part.len) {
            let source = "it is not inside of the blob that it should be a part of".into();
            return Err(FetchError::Corrupt { id: part.id, source });
        }
        // No bytes are asked of nobody, and a whole blob is not begun anew.
        if part.len == 0 || (source.is_whole(part.len) && source.blob.id == part.id) {
            return self.fetch(connection, part, pin, progress).await;
        }
        let turn = self.0.fetch_lock(part.id).lock_owned().await;
        if self.pin_if_here(part, pin).await? {
            progress(part.len);
            return Ok(());
        }
        progress(0);
        let mut here: u64 = 0;
        // Groups are larger than what is needed of them.
        let advance = |bytes: u64| {
            here = part.len.min(here + bytes);
            progress(here);
        };
        if part.len <= MOST_PACKED_BYTES {
            self.fetch_small_part(connection, source, part, pin, advance).await?;
        } else {
            self.fetch_large_part(connection, source, part, pin, turn, advance).await?;
        }
        // Bytes that its ranges share came once.
        progress(part.len);
        Ok(())
    }

    /// Fetches a part that goes into a segment, in memory.
    async fn fetch_small_part(
        &self,
        connection: &Connection,
        source: BlobSource,
        part: BlobRef,
        pin: &Pin,
        advance: impl FnMut(u64) + Send,
    ) -> Result<(), FetchError> {
        let (inner, room_bytes) = (self.0.clone(), record_bytes(part.len, Some(pin)));
        let room = blocking(move || inner.reserve(room_bytes)).await?;
        let ranges = source.ranges(part.len);
        let mut arriving = Arriving::Memory(Vec::new());
        let stall = self.0.options.stall;
        receive(connection, source.blob, groups_of(&ranges), &mut arriving, stall, advance).await?;
        let mut bytes = vec![0; usize::try_from(part.len).unwrap_or(0)];
        for leaf in &arriving.into_leaves() {
            for (at, cut) in cuts(&ranges, leaf) {
                let at = usize::try_from(at).expect("a place in memory is a usize");
                bytes[at..at + cut.len()].copy_from_slice(&cut);
            }
        }
        if BlobId::of(&bytes) != part.id {
            return Err(not_the_part(part.id));
        }
        let (inner, pin) = (self.0.clone(), pin.clone());
        Ok(blocking(move || inner.pack(part, bytes.into(), &pin, room)).await?)
    }

    /// Fetches a part that gets a file of its own.
    async fn fetch_large_part(
        &self,
        connection: &Connection,
        source: BlobSource,
        part: BlobRef,
        pin: &Pin,
        turn: OwnedMutexGuard<()>,
        advance: impl FnMut(u64) + Send,
    ) -> Result<(), FetchError> {
        let ranges = source.ranges(part.len);
        let (inner, pin) = (self.0.clone(), pin.clone());
        let writer = blocking(move || Writer::open(inner, ranges, part, pin, turn)).await?;
        let (pieces, arrived) = mpsc::channel(PIECES_AHEAD);
        let writing = spawn_blocking(move || writer.run(arrived));
        let (stall, mut arriving) = (self.0.options.stall, Arriving::Writer(pieces.clone()));
        let groups = groups_of(&ranges);
        let received = receive(connection, source.blob, groups, &mut arriving, stall, advance).await;
        drop(arriving);
        if received.is_ok() {
            let _ = pieces.send(Piece::End).await;
        }
        drop(pieces);
        match writing.await {
            // What the disk says comes first: a receiver whose writer ended only knows that it did.
            Ok(written) => written.and(received),
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }

    /// The bytes of ranges of a blob that is here, one after another, as they are on disk: whoever uses them compares
    /// them with a hash. For threads that may wait for the disk.
    ///
    /// # Errors
    /// [`BlobError::NotHere`], and [`BlobError::Disk`] also for a range that goes beyond the end.
    pub fn blocking_peek(&self, id: BlobId, ranges: &[ByteRange]) -> Result<Vec<u8>, BlobError> {
        let lent = self.0.whereabouts(id)?;
        let read = || -> io::Result<Vec<u8>> {
            let (mut blob, mut bytes) = (lent.open()?, Vec::new());
            for range in ranges.iter().filter(|range| range.len > 0) {
                blob.seek(SeekFrom::Start(range.offset))?;
                let read = (&mut blob).take(range.len).read_to_end(&mut bytes)?;
                if (read as u64) < range.len {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
            Ok(bytes)
        };
        read().map_err(|source| BlobError::disk("read a blob at", lent.path(), source))
    }
}

impl Inner {
    /// Where a blob is, without a look at it.
    fn whereabouts(&self, id: BlobId) -> Result<Lent, BlobError> {
        let mut index = self.index();
        let entry = index.touch(id).ok_or(BlobError::NotHere(id))?;
        let (len, place) = (entry.len, entry.place.clone());
        match place {
            Place::Owned => Ok(Lent::file(&self.folder.data(id), len)),
            Place::Linked { path, .. } => Ok(Lent::file(&path, len)),
            Place::Packed(packed) => {
                let segment = index.segment(packed.segment).cloned().ok_or(BlobError::NotHere(id))?;
                Ok(Lent::packed(segment, packed.offset, len))
            }
        }
    }
}

/// Writes a part that arrives. When it is dropped before the part is whole, nothing of it stays.
struct Writer {
    inner: Arc<Inner>,
    ranges: [ByteRange; 2],
    part: BlobRef,
    pin: Pin,
    room: Reservation,
    draft: Draft,
    file: File,
    _turn: OwnedMutexGuard<()>,
}

impl Writer {
    fn open(
        inner: Arc<Inner>,
        ranges: [ByteRange; 2],
        part: BlobRef,
        pin: Pin,
        turn: OwnedMutexGuard<()>,
    ) -> Result<Self, BlobError> {
        let room = inner.reserve(bytes_on_disk(part.len))?;
        let draft = Draft::new(&inner)?;
        let file = make(&draft.data)?;
        Ok(Self { inner, ranges, part, pin, room, draft, file, _turn: turn })
    }

    fn run(mut self, mut arrived: mpsc::Receiver<Piece>) -> Result<(), FetchError> {
        let path = self.draft.data.clone();
        let error = |source| BlobError::disk("write", &path, source);
        let mut run = Run::default();
        while let Some(piece) = arrived.blocking_recv() {
            match piece {
                Piece::Item(BaoContentItem::Leaf(leaf)) => {
                    for (at, cut) in cuts(&self.ranges, &leaf) {
                        run.put(&mut self.file, at, &cut).map_err(error)?;
                    }
                }
                // Those of the whole blob are of no use for the part.
                Piece::Item(BaoContentItem::Parent(_)) => {}
                Piece::End => {
                    run.flush(&mut self.file).map_err(error)?;
                    return self.finish();
                }
            }
        }
        // Nobody waits for it any more, or the connection broke.
        Ok(())
    }

    /// All of the part is written.
    fn finish(mut self) -> Result<(), FetchError> {
        let path = &self.draft.data;
        let written = File::open(path).map_err(|source| BlobError::disk("open", path, source))?;
        let reader = BufReader::with_capacity(GATHER_BYTES, written);
        let found = hash(reader, self.part.len, &self.inner.folder, &self.draft.tree);
        let found = found.map_err(|failure| match failure {
            Failure::Reading(source) => BlobError::disk("read", path, source),
            Failure::Tree(error) => error,
        })?;
        if found != self.part.id {
            return Err(not_the_part(self.part.id));
        }
        let synced = self.inner.folder.sync_file(&self.file);
        synced.map_err(|source| BlobError::disk("sync", path, source))?;
        Ok(self.inner.take_in(self.part, &self.draft, None, &self.pin, &mut self.room)?)
    }
}

fn not_the_part(id: BlobId) -> FetchError {
    FetchError::Corrupt { id, source: "the bytes where it should be have another hash".into() }
}

/// The groups of chunks that ranges lie in.
fn groups_of(ranges: &[ByteRange]) -> ChunkRanges {
    let mut chunks = ChunkRanges::empty();
    for range in ranges.iter().filter(|range| range.len > 0) {
        let (start, end) = (range.offset, range.offset + range.len);
        chunks |= ChunkRanges::from(ChunkNum::full_chunks(start)..ChunkNum::chunks(end));
    }
    round_up_to_chunks_groups(chunks, IROH_BLOCK_SIZE)
}

/// What of a leaf belongs to a part that consists of these ranges, and where in the part.
fn cuts<'a>(ranges: &'a [ByteRange], leaf: &'a Leaf) -> impl Iterator<Item = (u64, Bytes)> + 'a {
    let mut next = 0;
    ranges.iter().filter_map(move |range| {
        let begin = next;
        next += range.len;
        let start = range.offset.max(leaf.offset);
        let end = (range.offset + range.len).min(leaf.offset + leaf.data.len() as u64);
        let within = |at: u64| usize::try_from(at - leaf.offset).expect("a place in memory is a usize");
        (start < end).then(|| (begin + start - range.offset, leaf.data.slice(within(start)..within(end))))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_cut_out_of_leaves() {
        let bytes: Vec<u8> = (0..=99).collect();
        let range = |offset, len| ByteRange { offset, len };
        for ranges in [
            [range(0, 0), range(0, 100)],
            [range(0, 0), range(7, 30)],
            [range(3, 20), range(15, 60)],
            [range(90, 10), range(0, 15)],
            [range(19, 1), range(20, 1)],
            [range(100, 0), range(99, 1)],
        ] {
            let of_range = |range: &ByteRange| &bytes[range.offset as usize..][..range.len as usize];
            let expected = ranges.iter().map(of_range).collect::<Vec<_>>().concat();
            let mut part = vec![0xff; expected.len()];
            for (number, data) in bytes.chunks(20).enumerate() {
                let leaf = Leaf { offset: 20 * number as u64, data: Bytes::copy_from_slice(data) };
                for (at, cut) in cuts(&ranges, &leaf) {
                    part[at as usize..][..cut.len()].copy_from_slice(&cut);
                }
            }
            assert_eq!(part, expected, "{ranges:?}");
        }
    }

    #[test]
    fn whole_groups_are_asked_for_and_no_more() {
        const GROUP: u64 = 16 << 10;
        let range = |offset, len| ByteRange { offset, len };
        let group = |from: u64, to: u64| ChunkRanges::from(ChunkNum(16 * from)..ChunkNum(16 * to));
        for (ranges, expected) in [
            ([range(0, 0), range(0, 1)], group(0, 1)),
            ([range(0, 0), range(GROUP - 1, 2)], group(0, 2)),
            ([range(0, 0), range(3 * GROUP, GROUP)], group(3, 4)),
            ([range(5, 10), range(9 * GROUP + 1, 1)], group(0, 1) | group(9, 10)),
            // Where they overlap they are asked for once.
            ([range(0, 2 * GROUP), range(GROUP, 2 * GROUP)], group(0, 3)),
        ] {
            assert_eq!(groups_of(&ranges), expected, "{ranges:?}");
        }
    }
}
