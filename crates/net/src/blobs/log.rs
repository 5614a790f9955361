//! The records of a segment: how they are written one after another, and found again. Whatever is read may be
//! damaged. Pure but for the file, which is a trait so that tests can let it fail.
//!
//! ```text
//! segment: magic 8 ‖ key 32 ‖ sum 8 ‖ records
//! record:  mark 4 ‖ kind 1 ‖ length of pin 1 ‖ length of payload 4 ‖ id 32 ‖ pin ‖ sum 8 ‖ payload
//! ```
//!
//! The sum of a record's head is keyed, with a key that nobody outside knows, and covers its offset: so no payload can
//! pass for a record, wherever it lies. The payload needs no sum: its hash is the id.

use std::{fs::File, io, os::unix::fs::FileExt};

use bytes::Bytes;
use tidemill_types::BlobId;

use super::{disk, failpoints::Failpoint, pins::Pin};

/// What a segment begins with.
pub(super) const HEAD_BYTES: u64 = 48;

const MAGIC: [u8; 8] = *b"tmblobs\x01";
const MARK: [u8; 4] = *b"\xffTMR";
const ID_BYTES: usize = 32;
const SUM_BYTES: usize = 8;
/// All of a record's head but its pin.
const FRAME_BYTES: usize = 42 + SUM_BYTES;
const LONGEST_HEAD: usize = FRAME_BYTES + u8::MAX as usize;

/// How much is looked through at once for a record after damage.
const SEARCH_BYTES: u64 = 1 << 20;

/// A file that is only written at its end.
pub(super) trait LogFile {
    fn len(&self) -> io::Result<u64>;
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Takes away all after `len` bytes.
    fn cut(&self, len: u64) -> io::Result<()>;
    /// Waits until all of it is on disk.
    fn sync(&self) -> io::Result<()>;
}

impl LogFile for File {
    fn len(&self) -> io::Result<u64> {
        self.metadata().map(|metadata| metadata.len())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        FileExt::read_at(self, buffer, offset)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        FileExt::write_all_at(self, bytes, offset)
    }

    fn cut(&self, len: u64) -> io::Result<()> {
        self.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        disk::sync_data(self)
    }
}

/// What a record says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Record {
    /// Here is a blob, held by this pin.
    Blob { id: BlobId, bytes: Bytes, pin: Option<Pin> },
    /// A pin holds one more blob.
    Pin { pin: Pin, id: BlobId },
    /// A pin holds exactly these: none, when it was taken off.
    Hold { pin: Pin, ids: Vec<BlobId> },
}

/// The kinds of records, by their numbers in the file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Blob = 1,
    Pin = 2,
    Hold = 3,
}

/// What was found in the place of a record. The bytes of a blob stay where they are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Entry {
    Blob { id: BlobId, len: u32, pin: Option<Pin> },
    Pin { pin: Pin, id: BlobId },
    Hold { pin: Pin, ids: Vec<BlobId> },
}

/// A record that was found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Item {
    pub entry: Entry,
    /// Where it begins, where its payload does, and where the next record does.
    pub start: u64,
    pub payload: u64,
    pub end: u64,
}

/// A stretch of a segment that is no record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Damage {
    pub start: u64,
    pub end: u64,
    /// The blob that was there, where the record's head is whole.
    pub blob: Option<BlobId>,
}

/// What walking through a segment gives.
#[derive(Debug)]
pub(super) enum Seen {
    Whole(Item),
    /// Whole records follow, so it was written well and damaged later.
    Damaged(Damage),
}

/// How much of a segment is believed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Payloads {
    /// All payloads are hashed: a crash may have come while the last of them were written.
    Hashed,
    /// Those of blobs are not looked at: whoever reads one hashes it.
    Later,
}

/// The end of a walk.
#[derive(Debug)]
pub(super) struct Walked {
    /// The segment's key; none when its own head is damaged.
    pub key: Option<Key>,
    /// Where the last whole record ends.
    pub end: u64,
    /// What comes after that: what a crash left of the last writes.
    pub torn: Vec<Damage>,
}

/// Makes the sums of one segment's records.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Key([u8; 32]);

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(..)")
    }
}

impl Key {
    pub fn random() -> io::Result<Self> {
        let mut key = [0; 32];
        getrandom::fill(&mut key)?;
        Ok(Self(key))
    }

    fn sum(&self, offset: u64, head: &[u8]) -> [u8; SUM_BYTES] {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        hasher.update(&offset.to_le_bytes()).update(head);
        first_bytes(hasher.finalize())
    }

    fn head(&self) -> [u8; HEAD_BYTES as usize] {
        let mut head = [0; HEAD_BYTES as usize];
        head[..8].copy_from_slice(&MAGIC);
        head[8..40].copy_from_slice(&self.0);
        let sum = first_bytes(blake3::hash(&head[..40]));
        head[40..].copy_from_slice(&sum);
        head
    }

    fn read(head: &[u8]) -> Option<Self> {
        let key = Self(*head.get(8..)?.first_chunk()?);
        (key.head()[..] == *head).then_some(key)
    }
}

fn first_bytes(hash: blake3::Hash) -> [u8; SUM_BYTES] {
    let mut sum = [0; SUM_BYTES];
    sum.copy_from_slice(&hash.as_bytes()[..SUM_BYTES]);
    sum
}

/// What a blob takes in a segment, with its record.
pub(super) fn record_bytes(len: u64, pin: Option<&Pin>) -> u64 {
    (FRAME_BYTES + pin.map_or(0, |pin| pin.name().len())) as u64 + len
}

impl Record {
    fn write(&self, key: &Key, offset: u64, to: &mut Vec<u8>) {
        let held;
        let (kind, pin, id, payload): (_, _, _, &[u8]) = match self {
            Self::Blob { id, bytes, pin } => (Kind::Blob, pin.as_ref(), *id, &bytes[..]),
            Self::Pin { pin, id } => (Kind::Pin, Some(pin), *id, &[][..]),
            Self::Hold { pin, ids } => {
                held = ids.iter().flat_map(|id| *id.as_bytes()).collect::<Vec<u8>>();
                (Kind::Hold, Some(pin), BlobId::of(&held), &held[..])
            }
        };
        let pin = pin.map_or("", Pin::name);
        let start = to.len();
        to.extend_from_slice(&MARK);
        to.push(kind as u8);
        to.push(u8::try_from(pin.len()).expect("the name of a pin has at most 200 bytes"));
        let len = u32::try_from(payload.len()).expect("a payload is far shorter than a segment may be");
        to.extend_from_slice(&len.to_le_bytes());
        to.extend_from_slice(id.as_bytes());
        to.extend_from_slice(pin.as_bytes());
        let sum = key.sum(offset, &to[start..]);
        to.extend_from_slice(&sum);
        to.extend_from_slice(payload);
    }
}

/// A segment that is being written.
#[derive(Debug)]
pub(super) struct Appender<F> {
    file: F,
    key: Key,
    end: u64,
    /// Nothing may follow what is there: the file could not be brought back to its last good end, or a sync failed,
    /// after which what of it is on disk is anybody's guess.
    spoiled: bool,
}

impl<F: LogFile> Appender<F> {
    /// Begins a segment in an empty file.
    pub fn begin(file: F, key: Key) -> io::Result<Self> {
        file.write_all_at(&key.head(), 0)?;
        Ok(Self { file, key, end: HEAD_BYTES, spoiled: false })
    }

    /// Goes on after the last whole record.
    pub fn resume(file: F, key: Key, end: u64) -> Self {
        Self { file, key, end, spoiled: false }
    }

    /// Writes records in one go, and waits for the disk if they are to be `durable`: all of them or none. Gives where
    /// the payload of each lies.
    pub fn append(&mut self, records: &[Record], durable: bool) -> io::Result<Vec<u64>> {
        if self.spoiled {
            return Err(io::Error::other("an earlier write failed"));
        }
        let (mut bytes, mut payloads) = (Vec::new(), Vec::with_capacity(records.len()));
        for record in records {
            record.write(&self.key, self.end + bytes.len() as u64, &mut bytes);
            let payload = match record {
                Record::Blob { bytes, .. } => bytes.len(),
                Record::Pin { .. } => 0,
                Record::Hold { ids, .. } => ids.len() * ID_BYTES,
            };
            payloads.push(self.end + (bytes.len() - payload) as u64);
        }
        let written = self.file.write_all_at(&bytes, self.end);
        Failpoint::RecordsWritten.pass();
        let synced = if durable && written.is_ok() { self.file.sync() } else { Ok(()) };
        if written.is_err() || synced.is_err() {
            self.spoiled = self.file.cut(self.end).is_err() || synced.is_err();
            return Err(written.err().or(synced.err()).unwrap_or_else(|| io::ErrorKind::Other.into()));
        }
        self.end += bytes.len() as u64;
        Ok(payloads)
    }

    pub fn end(&self) -> u64 {
        self.end
    }

    pub fn is_spoiled(&self) -> bool {
        self.spoiled
    }
}

/// Walks through a segment.
///
/// # Errors
/// Those of reading the file.
pub(super) fn walk(
    file: &impl LogFile,
    payloads: Payloads,
    mut take: impl FnMut(Seen),
) -> io::Result<Walked> {
    let len = file.len()?;
    let head = read_up_to(file, 0, HEAD_BYTES as usize)?;
    let Some(key) = Key::read(&head) else {
        return Ok(Walked { key: None, end: 0, torn: vec![Damage { start: 0, end: len, blob: None }] });
    };
    let (mut offset, mut end) = (HEAD_BYTES, HEAD_BYTES);
    // Damage with nothing whole after it is a torn end.
    let mut damage = Vec::new();
    while offset < len {
        match read_record(file, &key, offset, len, payloads)? {
            Found::Whole(item) => {
                damage.drain(..).for_each(|damage| take(Seen::Damaged(damage)));
                (offset, end) = (item.end, item.end);
                take(Seen::Whole(item));
            }
            Found::Wrong(wrong) => {
                offset = wrong.end;
                damage.push(wrong);
            }
            Found::Nothing => {
                let next = later_record(file, &key, offset + 1, len)?.unwrap_or(len);
                damage.push(Damage { start: offset, end: next, blob: None });
                offset = next;
            }
        }
    }
    Ok(Walked { key: Some(key), end, torn: damage })
}

/// What is where a record should begin.
enum Found {
    Whole(Item),
    /// Its head is whole, and its payload is not.
    Wrong(Damage),
    Nothing,
}

/// The head of a record.
struct Head {
    kind: Kind,
    pin: Option<Pin>,
    id: BlobId,
    len: u32,
    bytes: u64,
}

impl Head {
    /// The whole head that begins these bytes, which lie at this offset.
    fn read(key: &Key, offset: u64, bytes: &[u8]) -> Option<Self> {
        let fixed = bytes.get(..FRAME_BYTES - SUM_BYTES).filter(|fixed| fixed.starts_with(&MARK))?;
        let end = fixed.len() + usize::from(fixed[5]);
        let sum = bytes.get(end..end + SUM_BYTES)?;
        if *sum != key.sum(offset, &bytes[..end]) {
            return None;
        }
        let kind = [Kind::Blob, Kind::Pin, Kind::Hold].into_iter().find(|kind| *kind as u8 == fixed[4])?;
        let pin = str::from_utf8(&bytes[fixed.len()..end]).ok()?;
        let pin = if pin.is_empty() { None } else { Some(Pin::new(pin).ok()?) };
        let id = BlobId::from_hash(blake3::Hash::from_bytes(*fixed[10..].first_chunk()?));
        let len = u32::from_le_bytes(*fixed[6..].first_chunk()?);
        Some(Self { kind, pin, id, len, bytes: (end + SUM_BYTES) as u64 })
    }
}

fn read_record(
    file: &impl LogFile,
    key: &Key,
    start: u64,
    len: u64,
    payloads: Payloads,
) -> io::Result<Found> {
    let Some(head) = Head::read(key, start, &read_up_to(file, start, LONGEST_HEAD)?) else {
        return Ok(Found::Nothing);
    };
    let payload = start + head.bytes;
    let end = payload + u64::from(head.len);
    let blob = (head.kind == Kind::Blob).then_some(head.id);
    let wrong = Found::Wrong(Damage { start, end: end.min(len), blob });
    if end > len {
        return Ok(wrong);
    }
    let read = || read_up_to(file, payload, head.len as usize);
    let entry = match (head.kind, head.pin) {
        (Kind::Blob, pin) => {
            if payloads == Payloads::Hashed && BlobId::of(&read()?) != head.id {
                return Ok(wrong);
            }
            Entry::Blob { id: head.id, len: head.len, pin }
        }
        (Kind::Pin, Some(pin)) => Entry::Pin { pin, id: head.id },
        (Kind::Hold, Some(pin)) => {
            let held = read()?;
            if BlobId::of(&held) != head.id {
                return Ok(wrong);
            }
            let (ids, _) = held.as_chunks::<ID_BYTES>();
            let id = |id: &[u8; ID_BYTES]| BlobId::from_hash(blake3::Hash::from_bytes(*id));
            Entry::Hold { pin, ids: ids.iter().map(id).collect() }
        }
        (Kind::Pin | Kind::Hold, None) => return Ok(wrong),
    };
    Ok(Found::Whole(Item { entry, start, payload, end }))
}

/// Where the next record with a whole head begins.
fn later_record(file: &impl LogFile, key: &Key, from: u64, len: u64) -> io::Result<Option<u64>> {
    let mut start = from;
    while start < len {
        // A mark may lie across two windows.
        let window = read_up_to(file, start, SEARCH_BYTES as usize + MARK.len() - 1)?;
        for (at, _) in window.windows(MARK.len()).enumerate().filter(|(_, bytes)| **bytes == MARK) {
            let offset = start + at as u64;
            if Head::read(key, offset, &read_up_to(file, offset, LONGEST_HEAD)?).is_some() {
                return Ok(Some(offset));
            }
        }
        start += SEARCH_BYTES;
    }
    Ok(None)
}

/// So many bytes, or as many as there are.
fn read_up_to(file: &impl LogFile, offset: u64, most: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; most];
    let mut filled = 0;
    while filled < most {
        match file.read_at(&mut bytes[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

#[cfg(test)]
mod tests;
