//! Giving up a segment: what is still needed of it is copied to the active one, and then its file goes. A crash in
//! between leaves both, which does no harm.

use std::{collections::HashSet, fs::File, io, os::unix::fs::FileExt, path::Path, sync::Arc};

use bytes::Bytes;
use tidemill_types::BlobId;

use super::{BATCH_BYTES, Worker, same};
use crate::blobs::{
    Pin,
    error::BlobError,
    failpoints::Failpoint,
    index::{Packed, Place},
    log::{self, Entry, Item, Payloads, Record, Seen},
};

impl Worker {
    /// Gives up a segment, if it is still there.
    pub(super) fn clean(&mut self, number: u64) -> Result<(), BlobError> {
        if self.index().segment(number).is_none() {
            return Ok(());
        }
        if self.active.as_ref().is_some_and(|active| active.number == number) {
            self.active = None;
        }
        let path = self.segments.path(number);
        Failpoint::CleaningBegun.pass();
        self.copy_on(number, &path)?;
        Failpoint::SegmentCopied.pass();
        // All that is needed of it is elsewhere, and on disk if that matters here.
        let file = self.index().remove_segment(number);
        Failpoint::SegmentForgotten.pass();
        if let Some(file) = file {
            file.give_up();
            self.lingering.retain(|file| file.strong_count() > 0);
            self.lingering.push(Arc::downgrade(&file));
        }
        Failpoint::SegmentRemoved.pass();
        Ok(())
    }

    fn copy_on(&mut self, number: u64, path: &Path) -> Result<(), BlobError> {
        let read = |source| BlobError::disk("read the segment", path, source);
        let file = File::open(path).map_err(read)?;
        let (mut items, mut damaged) = (Vec::new(), false);
        let walked = log::walk(&file, Payloads::Later, |seen| match seen {
            Seen::Whole(item) => items.push(item),
            Seen::Damaged(_) => damaged = true,
        });
        damaged |= !walked.map_err(read)?.torn.is_empty();
        let mut copies = Copies::default();
        for item in items {
            let copy = self.needed(number, item, &file, path, &mut copies.held)?;
            copies.records.extend(copy);
            self.write_if_many(&mut copies)?;
        }
        if damaged {
            // A blob whose record's head is damaged may be right all the same.
            self.write_copies(&mut copies)?;
            let hidden = self.index().packed_in(number);
            for (id, len, offset) in hidden {
                let bytes = self.payload(id, len, offset, &file, path)?;
                copies.records.extend(bytes.map(|bytes| Record::Blob { id, bytes, pin: None }));
                self.write_if_many(&mut copies)?;
            }
        }
        if damaged && self.segments.is_durable() {
            // What it said of pins is not known any more: so all of them are said again.
            let pins = {
                let index = self.index();
                let all = index.pins().into_iter().map(|pin| (index.pinned(&pin), pin));
                all.collect::<Vec<_>>()
            };
            copies.records.extend(pins.into_iter().map(|(ids, pin)| Record::Hold { pin, ids }));
        }
        self.write_copies(&mut copies)
    }

    /// What of a record is still needed, as the index knows now.
    fn needed(
        &self,
        number: u64,
        item: Item,
        file: &File,
        path: &Path,
        held: &mut HashSet<Pin>,
    ) -> Result<Vec<Record>, BlobError> {
        let durable = self.segments.is_durable();
        match item.entry {
            Entry::Blob { id, len, pin } => {
                let place = Place::Packed(Packed { segment: number, offset: item.payload });
                let (is_here, pin) = {
                    let index = self.index();
                    let is_here = index.get(id).is_some_and(|entry| entry.place == place);
                    (is_here, pin.filter(|pin| durable && index.is_pinned_by(pin, id)))
                };
                if is_here && let Some(bytes) = self.payload(id, len.into(), item.payload, file, path)? {
                    return Ok(vec![Record::Blob { id, bytes, pin }]);
                }
                Ok(pin.map(|pin| Record::Pin { pin, id }).into_iter().collect())
            }
            Entry::Pin { pin, id } => {
                let needed = durable && self.index().is_pinned_by(&pin, id);
                Ok(if needed { vec![Record::Pin { pin, id }] } else { Vec::new() })
            }
            Entry::Hold { pin, .. } => {
                if !durable || !held.insert(pin.clone()) {
                    return Ok(Vec::new());
                }
                let index = self.index();
                let ids = index.pinned(&pin);
                // That a pin was taken off matters while an older segment says that it was put on.
                let is_oldest = index.is_oldest_segment(number)
                    && self.lingering.iter().all(|file| file.strong_count() == 0);
                Ok(if ids.is_empty() && is_oldest { Vec::new() } else { vec![Record::Hold { pin, ids }] })
            }
        }
    }

    /// The bytes of a blob, if they are right. Otherwise it is not here any more.
    fn payload(
        &self,
        id: BlobId,
        len: u64,
        offset: u64,
        file: &File,
        path: &Path,
    ) -> Result<Option<Bytes>, BlobError> {
        let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
        match file.read_exact_at(&mut bytes, offset) {
            Ok(()) if BlobId::of(&bytes) == id => return Ok(Some(bytes.into())),
            Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => {
                return Err(BlobError::disk("read the segment", path, error));
            }
            Ok(()) | Err(_) => {}
        }
        tracing::warn!(blob = %id, path = %path.display(), "a blob is damaged, and not here any more");
        self.index().lose(id);
        Ok(None)
    }

    fn write_if_many(&mut self, copies: &mut Copies) -> Result<(), BlobError> {
        let bytes = |record: &Record| match record {
            Record::Blob { bytes, .. } => bytes.len() as u64,
            Record::Pin { .. } | Record::Hold { .. } => 0,
        };
        copies.bytes += copies.records[copies.counted..].iter().map(bytes).sum::<u64>();
        copies.counted = copies.records.len();
        if copies.bytes >= BATCH_BYTES || copies.counted >= MOST_RECORDS {
            self.write_copies(copies)?;
        }
        Ok(())
    }

    fn write_copies(&mut self, copies: &mut Copies) -> Result<(), BlobError> {
        let records = std::mem::take(&mut copies.records);
        (copies.bytes, copies.counted) = (0, 0);
        if records.is_empty() {
            return Ok(());
        }
        let appended = self
            .append(&records, true)
            .map_err(|(error, path)| BlobError::disk("write to", &path, same(&error)))?;
        Failpoint::CopiesSynced.pass();
        let mut index = self.index();
        index.resize_segment(appended.segment, appended.end);
        for (record, place) in records.iter().zip(appended.places()) {
            // One that went in the meantime, as damaged, must not come back.
            if let Record::Blob { id, bytes, pin } = record
                && index.get(*id).is_some()
            {
                let len = bytes.len() as u64;
                index.pack(*id, len, log::record_bytes(len, pin.as_ref()), place);
            }
        }
        Ok(())
    }
}

/// The most records that are written at once.
const MOST_RECORDS: usize = 4096;

/// What waits to be written.
#[derive(Default)]
struct Copies {
    records: Vec<Record>,
    /// The bytes of the blobs among the first `counted` of them.
    bytes: u64,
    counted: usize,
    /// The pins of which all was said that there is to say.
    held: HashSet<Pin>,
}
