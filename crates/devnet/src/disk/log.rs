//! The block log: one record a block, only ever appended to. A development client may cut its end off.
//!
//! A record is `mark ‖ length ‖ checksum ‖ payload`, the checksum being BLAKE3 under the ledger's own key over
//! the record's place, its length and its payload. A record therefore counts only where it was written and in
//! the ledger that wrote it: bytes within a transaction cannot pass for one.
//!
//! A kill in the middle of an append leaves a torn last record. Opening drops it, and says so. A bad record
//! with whole ones after it was written well and damaged later: that is refused, for dropping what follows
//! would undo blocks that were final.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use alloy::primitives::B256;

use crate::error::DiskError;

const MARK: [u8; 4] = *b"\xffTMB";
/// Mark, length and checksum.
const FRAME: u64 = 40;
/// No block comes near: 60 million gas buy about 4 MB of calldata and 8 MB of logs.
const MAX_PAYLOAD: u32 = 256 << 20;

/// Where a record lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub offset: u64,
    /// Of the payload.
    pub length: u32,
}

/// The end of the log, for the one who appends.
#[derive(Debug)]
pub(crate) struct BlockLog {
    file: File,
    path: PathBuf,
    key: B256,
    end: u64,
    /// A write failed: what the file ends with is unknown, and so nothing may follow it.
    failed: bool,
}

/// Reads records by their places, from any thread.
#[derive(Debug)]
pub(crate) struct LogReader {
    file: File,
    path: PathBuf,
    key: B256,
}

/// What walking through a log found.
#[derive(Debug)]
pub(crate) struct Scan {
    pub log: BlockLog,
    /// Bytes of a torn last record, which were cut off.
    pub dropped: u64,
}

impl BlockLog {
    /// Begins a log; a former file of this name goes.
    pub(crate) fn create(path: &Path, key: B256) -> Result<BlockLog, DiskError> {
        let file = File::create(path).map_err(DiskError::io("make", path))?;
        Ok(BlockLog { file, path: path.to_path_buf(), key, end: 0, failed: false })
    }

    /// Walks through a log, giving every whole record to `take`, and cuts off a torn last one.
    pub(crate) fn open<E: From<DiskError>>(
        path: &Path,
        key: B256,
        mut take: impl FnMut(Place, &[u8]) -> Result<(), E>,
    ) -> Result<Scan, E> {
        let open = OpenOptions::new().read(true).write(true).open(path);
        let mut file = open.map_err(DiskError::io("open", path))?;
        let size = file.metadata().map_err(DiskError::io("read", path))?.len();
        let mut reader = BufReader::with_capacity(1 << 20, &file);
        let (mut offset, mut records) = (0, 0);
        let mut payload = Vec::new();
        while offset < size {
            let found = read_record(&mut reader, &key, offset, size - offset, &mut payload);
            match found.map_err(DiskError::io("read", path))? {
                Some(place) => take(place, &payload)?,
                None if later_record(&file, &key, offset + 1, size)
                    .map_err(DiskError::io("read", path))? =>
                {
                    let path = path.to_path_buf();
                    return Err(DiskError::Corrupt { path, offset, block: records }.into());
                }
                None => break,
            }
            records += 1;
            offset += FRAME + payload.len() as u64;
        }
        if offset < size {
            file.set_len(offset).map_err(DiskError::io("shorten", path))?;
            tidemill_disk::sync_all(&file).map_err(DiskError::io("sync", path))?;
        }
        file.seek(SeekFrom::Start(offset)).map_err(DiskError::io("read", path))?;
        let log = BlockLog { file, path: path.to_path_buf(), key, end: offset, failed: false };
        Ok(Scan { log, dropped: size - offset })
    }

    /// Appends a record. When this returns, it is on the disk.
    pub(crate) fn append(&mut self, payload: &[u8]) -> Result<Place, DiskError> {
        let place = self.write(payload)?;
        self.sync()?;
        Ok(place)
    }

    /// Appends a record that is durable after the next [`BlockLog::sync`].
    pub(crate) fn write(&mut self, payload: &[u8]) -> Result<Place, DiskError> {
        let length = u32::try_from(payload.len()).ok().filter(|length| *length <= MAX_PAYLOAD);
        let Some(length) = length.filter(|_| !self.failed) else {
            let source = io::Error::other("the record is too long, or an earlier write had failed");
            return Err(DiskError::Io { action: "append to", path: self.path.clone(), source });
        };
        let mut record = Vec::with_capacity(payload.len() + FRAME as usize);
        record.extend_from_slice(&MARK);
        record.extend_from_slice(&length.to_le_bytes());
        record.extend_from_slice(checksum(&self.key, self.end, length, payload).as_bytes());
        record.extend_from_slice(payload);
        let written = self.file.write_all(&record);
        self.failed |= written.is_err();
        written.map_err(DiskError::io("append to", &self.path))?;
        let place = Place { offset: self.end, length };
        self.end += record.len() as u64;
        Ok(place)
    }

    /// Cuts off all records after the one at `last`. When this returns, they are gone from the disk.
    pub(crate) fn cut(&mut self, last: Place) -> Result<(), DiskError> {
        let end = last.offset + FRAME + u64::from(last.length);
        let cut = self.file.set_len(end).and_then(|()| self.file.seek(SeekFrom::Start(end)));
        let cut = cut.and_then(|_| tidemill_disk::sync_all(&self.file));
        self.failed |= cut.is_err();
        cut.map_err(DiskError::io("shorten", &self.path))?;
        self.end = end;
        Ok(())
    }

    /// Makes all that was written durable.
    pub(crate) fn sync(&mut self) -> Result<(), DiskError> {
        let synced = tidemill_disk::sync_data(&self.file);
        self.failed |= synced.is_err();
        synced.map_err(DiskError::io("sync", &self.path))
    }

    /// A reader of the same file.
    pub(crate) fn reader(&self) -> Result<LogReader, DiskError> {
        let file = File::open(&self.path).map_err(DiskError::io("open", &self.path))?;
        Ok(LogReader { file, path: self.path.clone(), key: self.key })
    }
}

impl LogReader {
    /// The payload of the record at `place`, which holds block `block`.
    pub(crate) fn read(&self, place: Place, block: u64) -> Result<Vec<u8>, DiskError> {
        let mut record = vec![0; FRAME as usize + place.length as usize];
        self.file.read_exact_at(&mut record, place.offset).map_err(DiskError::io("read", &self.path))?;
        let payload = record.split_off(FRAME as usize);
        let expected = checksum(&self.key, place.offset, place.length, &payload);
        if record[8..] != *expected.as_bytes() {
            return Err(DiskError::Corrupt { path: self.path.clone(), offset: place.offset, block });
        }
        Ok(payload)
    }

    /// The error for a record that is whole and yet wrong.
    pub(crate) fn broken(&self, place: Place, block: u64, reason: &'static str) -> DiskError {
        DiskError::Broken { path: self.path.clone(), offset: place.offset, block, reason }
    }
}

fn checksum(key: &B256, offset: u64, length: u32, payload: &[u8]) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new_keyed(&key.0);
    hasher.update(&offset.to_le_bytes()).update(&length.to_le_bytes()).update(payload);
    hasher.finalize()
}

/// The record that begins here, or none if what is here is not a whole one.
fn read_record(
    reader: &mut impl Read,
    key: &B256,
    offset: u64,
    left: u64,
    payload: &mut Vec<u8>,
) -> io::Result<Option<Place>> {
    let mut frame = [0u8; FRAME as usize];
    if left < FRAME {
        return Ok(None);
    }
    reader.read_exact(&mut frame)?;
    let Some(length) = frame_length(&frame, left) else { return Ok(None) };
    payload.resize(length as usize, 0);
    reader.read_exact(payload)?;
    let is_whole = frame[8..] == *checksum(key, offset, length, payload).as_bytes();
    Ok(is_whole.then_some(Place { offset, length }))
}

/// The length in a frame, if it can be one.
fn frame_length(frame: &[u8; FRAME as usize], left: u64) -> Option<u32> {
    let length = u32::from_le_bytes([frame[4], frame[5], frame[6], frame[7]]);
    let fits = FRAME + u64::from(length) <= left && length <= MAX_PAYLOAD;
    (frame[..4] == MARK && fits).then_some(length)
}

/// Whether a whole record begins anywhere in `from..size`.
fn later_record(file: &File, key: &B256, from: u64, size: u64) -> io::Result<bool> {
    const STEP: u64 = 1 << 20;
    let mut window = Vec::new();
    let mut start = from;
    while start < size {
        // A mark may lie across two windows.
        let end = size.min(start + STEP + MARK.len() as u64 - 1);
        window.resize((end - start) as usize, 0);
        file.read_exact_at(&mut window, start)?;
        for (at, _) in window.windows(MARK.len()).enumerate().filter(|(_, bytes)| **bytes == MARK) {
            let offset = start + at as u64;
            let mut tail = BufReader::new(Tail { file, offset });
            if read_record(&mut tail, key, offset, size - offset, &mut Vec::new())?.is_some() {
                return Ok(true);
            }
        }
        start += STEP;
    }
    Ok(false)
}

/// A file from some place on, without moving its cursor.
struct Tail<'a> {
    file: &'a File,
    offset: u64,
}

impl Read for Tail<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.offset)?;
        self.offset += read as u64;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: B256 = B256::repeat_byte(7);

    /// A log of records that even contain the mark.
    fn three_records(dir: &Path) -> (PathBuf, Vec<Place>) {
        let path = dir.join("blocks.log");
        let mut log = BlockLog::create(&path, KEY).unwrap();
        let payloads = [b"first".to_vec(), [&MARK[..], b"second", &MARK].concat(), b"third".to_vec()];
        let places = payloads.iter().map(|payload| log.append(payload).unwrap()).collect();
        (path, places)
    }

    fn reopen(path: &Path) -> Result<(usize, u64), DiskError> {
        let mut records = 0;
        let scan = BlockLog::open(path, KEY, |_, _| {
            records += 1;
            Ok::<(), DiskError>(())
        })?;
        Ok((records, scan.dropped))
    }

    #[test]
    fn cut_anywhere_it_ends_with_its_last_whole_record() {
        let dir = tempfile::tempdir().unwrap();
        let (path, places) = three_records(dir.path());
        let whole = std::fs::read(&path).unwrap();
        for length in 0..=whole.len() {
            std::fs::write(&path, &whole[..length]).unwrap();
            let ends: Vec<u64> =
                places.iter().map(|place| place.offset + FRAME + u64::from(place.length)).collect();
            let kept = ends.iter().filter(|end| **end <= length as u64).count();
            let end = kept.checked_sub(1).map_or(0, |last| ends[last]);
            assert_eq!(reopen(&path).unwrap(), (kept, length as u64 - end), "cut at {length}");
            assert_eq!(reopen(&path).unwrap(), (kept, 0), "and then it is whole");
        }
    }

    #[test]
    fn what_follows_a_cut_is_like_a_first_time() {
        let dir = tempfile::tempdir().unwrap();
        let (path, places) = three_records(dir.path());
        let mut log = BlockLog::open(&path, KEY, |_, _| Ok::<(), DiskError>(())).unwrap().log;
        log.cut(places[0]).unwrap();
        assert_eq!(reopen(&path).unwrap(), (1, 0));
        assert_eq!(log.append(b"another").unwrap().offset, places[1].offset);
        assert_eq!(reopen(&path).unwrap(), (2, 0));
    }

    #[test]
    fn damage_is_torn_at_the_end_and_refused_before_it() {
        let dir = tempfile::tempdir().unwrap();
        let (path, places) = three_records(dir.path());
        let whole = std::fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x10;
            std::fs::write(&path, &damaged).unwrap();
            let hit = places.iter().rposition(|place| place.offset <= at as u64).unwrap();
            match reopen(&path) {
                Ok(found) => {
                    assert_eq!((hit, found.0), (2, 2), "byte {at}");
                    assert_eq!(found.1, whole.len() as u64 - places[2].offset);
                }
                Err(DiskError::Corrupt { offset, block, .. }) => {
                    assert_eq!((offset, block as usize), (places[hit].offset, hit));
                    assert!(hit < 2, "byte {at}");
                    assert_eq!(std::fs::read(&path).unwrap(), damaged, "nothing was changed");
                }
                Err(other) => panic!("{other}"),
            }
        }
    }

    #[test]
    fn a_record_counts_only_where_and_by_whom_it_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let (path, places) = three_records(dir.path());
        let whole = std::fs::read(&path).unwrap();
        // A torn record whose payload carries a copy of a whole one is torn, not corrupt.
        let mut torn = whole[..places[2].offset as usize].to_vec();
        torn.extend_from_slice(&MARK);
        torn.extend_from_slice(&900u32.to_le_bytes());
        torn.extend_from_slice(&[0; 32]);
        torn.extend_from_slice(&whole[..places[1].offset as usize]);
        std::fs::write(&path, &torn).unwrap();
        assert_eq!(reopen(&path).unwrap().0, 2);
    }
}
