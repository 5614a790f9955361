//! The files that hold the small blobs and the pins of a folder, and how they are read when the folder is opened.
//!
//! A segment is only appended to. It goes as a whole, when the budget wants its room and what is pinned in it has been
//! copied on. What is damaged in one is named, and taken to be not here: no damage keeps a folder from being opened.

use std::{
    collections::{HashMap, HashSet},
    fs::{File, OpenOptions},
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use tidemill_types::BlobId;

use super::{
    Keeps, disk,
    error::BlobError,
    failpoints::Failpoint,
    index::{Index, Packed},
    log::{self, Appender, Damage, Entry, HEAD_BYTES, Key, Payloads, Seen, Walked},
    pins::Pin,
};

/// The longest blob that goes into a segment. Longer ones are files, which cost a few more operations of the disk and
/// are fetched in parts.
pub(super) const MOST_PACKED_BYTES: u64 = 1 << 20;

/// How long a segment becomes, more or less. Longer ones would hold more that nobody needs for the sake of a blob
/// that is pinned.
const MOST_SEGMENT_BYTES: u64 = 64 << 20;

/// How many segments a budget is for, so that making room costs little of what is of use.
const SEGMENTS_IN_BUDGET: u64 = 16;

/// Where the segments of a folder are.
#[derive(Clone, Debug)]
pub(super) struct Segments {
    folder: PathBuf,
    keeps: Keeps,
    /// How long a segment is when the next one is begun.
    pub full_bytes: u64,
}

/// A segment's file. Once it was given up, it goes with the last one that reads it.
#[derive(Debug)]
pub(super) struct SegmentFile {
    pub path: Arc<Path>,
    given_up: AtomicBool,
}

/// The segment that is being written.
#[derive(Debug)]
pub(super) struct Active {
    pub number: u64,
    pub appender: Appender<File>,
}

impl SegmentFile {
    pub fn new(path: &Path) -> Arc<Self> {
        Arc::new(Self { path: path.into(), given_up: AtomicBool::new(false) })
    }

    /// Has it removed when nobody reads it any more.
    pub fn give_up(&self) {
        self.given_up.store(true, Ordering::Relaxed);
    }
}

impl Drop for SegmentFile {
    fn drop(&mut self) {
        if self.given_up.load(Ordering::Relaxed) {
            disk::remove(&self.path);
        }
    }
}

impl Segments {
    pub fn new(folder: PathBuf, keeps: Keeps, budget: u64) -> Self {
        let full_bytes = (budget / SEGMENTS_IN_BUDGET).min(MOST_SEGMENT_BYTES);
        Self { folder, keeps, full_bytes }
    }

    pub fn is_durable(&self) -> bool {
        self.keeps == Keeps::Durable
    }

    pub fn path(&self, number: u64) -> PathBuf {
        self.folder.join(format!("{number:08}"))
    }

    /// Begins the segment of this number.
    pub fn begin(&self, number: u64) -> io::Result<(Active, Arc<SegmentFile>)> {
        let path = self.path(number);
        let key = Key::random()?;
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path)?;
        Failpoint::SegmentMade.pass();
        let begun = Appender::begin(file, key).and_then(|appender| {
            if self.is_durable() {
                // The head waits for the disk with the first records.
                disk::sync_dir(&self.folder)?;
            }
            Ok(appender)
        });
        let appender = begun.inspect_err(|_| disk::remove(&path))?;
        Ok((Active { number, appender }, SegmentFile::new(&path)))
    }

    /// Tells the index what the segments hold, the oldest first. Gives the number for the next one, and the last one
    /// if it may be gone on with.
    pub fn open(&self, index: &mut Index) -> Result<(u64, Option<Active>), BlobError> {
        let numbers = self.list()?;
        let mut pins = HashMap::<Pin, HashSet<BlobId>>::new();
        let mut active = None;
        for (at, number) in numbers.iter().enumerate() {
            let last = at + 1 == numbers.len();
            active = self.read(*number, last, index, &mut pins);
        }
        if self.is_durable() {
            // Only now is it known of which blobs there are.
            for (pin, ids) in pins.into_iter().filter(|(_, ids)| !ids.is_empty()) {
                index.restore_pin(&pin, ids);
            }
        }
        Ok((numbers.last().map_or(1, |number| number + 1), active))
    }

    fn list(&self) -> Result<Vec<u64>, BlobError> {
        let list = || {
            let mut numbers = Vec::new();
            for item in std::fs::read_dir(&self.folder)? {
                numbers.extend(item?.file_name().to_str().and_then(|name| name.parse::<u64>().ok()));
            }
            numbers.sort_unstable();
            io::Result::Ok(numbers)
        };
        list().map_err(|source| BlobError::disk("list", &self.folder, source))
    }

    fn read(
        &self,
        number: u64,
        last: bool,
        index: &mut Index,
        pins: &mut HashMap<Pin, HashSet<BlobId>>,
    ) -> Option<Active> {
        let path = self.path(number);
        let file = match OpenOptions::new().read(true).write(true).open(&path) {
            Ok(file) => file,
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "cannot read a segment: its blobs are not here");
                return None;
            }
        };
        let len = file.metadata().map_or(0, |metadata| metadata.len());
        if last && len < HEAD_BYTES {
            // It had hardly been begun.
            disk::remove(&path);
            return None;
        }
        index.add_segment(number, SegmentFile::new(&path), len);
        // Only the end of the last one may be what a crash has left.
        let payloads = if last && self.is_durable() { Payloads::Hashed } else { Payloads::Later };
        let walked = log::walk(&file, payloads, |seen| match seen {
            Seen::Whole(item) => match item.entry {
                Entry::Blob { id, len, pin } => {
                    let place = Packed { segment: number, offset: item.payload };
                    index.pack(id, len.into(), item.end - item.start, place);
                    if let Some(pin) = pin {
                        pins.entry(pin).or_default().insert(id);
                    }
                }
                Entry::Pin { pin, id } => _ = pins.entry(pin).or_default().insert(id),
                Entry::Hold { pin, ids } => _ = pins.insert(pin, ids.into_iter().collect()),
            },
            Seen::Damaged(damage) => warn_of(&path, damage),
        });
        match walked {
            Ok(walked) => self.finish(number, last, file, &path, walked, index),
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "cannot read all of a segment: what follows is not here");
                None
            }
        }
    }

    /// Cuts off what a crash has left at the end of the last segment, and goes on with it if it is not full.
    fn finish(
        &self,
        number: u64,
        last: bool,
        file: File,
        path: &Path,
        walked: Walked,
        index: &mut Index,
    ) -> Option<Active> {
        let Walked { key, end, torn } = walked;
        let Some(key) = key.filter(|_| last) else {
            torn.into_iter().for_each(|damage| warn_of(path, damage));
            return None;
        };
        if !torn.is_empty() {
            for Damage { start, end, blob } in torn {
                let blob = blob.map(tracing::field::display);
                tracing::info!(path = %path.display(), start, end, blob, "cut off what was being written when the process ended");
            }
            if let Err(error) = file.set_len(end).and_then(|()| self.sync(&file)) {
                tracing::warn!(path = %path.display(), %error, "cannot cut off the end of a segment");
                return None;
            }
            index.resize_segment(number, end);
        }
        (end < self.full_bytes.max(HEAD_BYTES))
            .then(|| Active { number, appender: Appender::resume(file, key, end) })
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        if self.is_durable() { disk::sync_data(file) } else { Ok(()) }
    }
}

fn warn_of(path: &Path, damage: Damage) {
    let Damage { start, end, blob } = damage;
    let blob = blob.map(tracing::field::display);
    tracing::warn!(path = %path.display(), start, end, blob, "a segment is damaged: what was there is not here any more");
}
