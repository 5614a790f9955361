//! Giving up a segment: what is still needed of it is copied to the active one, and then its file goes. A crash in
//! between leaves both, which does no harm.

use std::{collections::HashSet, fs::File, os::unix::fs::FileExt, path::Path, sync::Arc};

use bytes::Bytes;
use tidemill_types::BlobId;

use super::{BATCH_BYTES, Worker, same};
use crate::blobs::{
    Pin,
    error::BlobError,
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
        self.copy_on(number, &path)?;
        // All that is needed of it is elsewhere, and on disk if that matters here.
        let file = self.index().remove_segment(number);
        if let Some(file) = file {
            file.give_up();
            self.lingering.retain(|file| file.strong_count() > 0);
            self.lingering.push(Arc::downgrade(&file));
        }
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
            for record in copy {
                copies.bytes += match &record {
                    Record::Blob { bytes, .. } => bytes.len() as u64,
                    Record::Pin { .. } | Record::Hold { .. } => 0,
                };
                copies.records.push(record);
            }
            if copies.bytes >= BATCH_BYTES || copies.records.len() >= MOST_RECORDS {
                self.write_copies(&mut copies)?;
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
                if is_here {
                    let mut bytes = vec![0; len as usize];
                    let read = file.read_exact_at(&mut bytes, item.payload);
                    read.map_err(|source| BlobError::disk("read the segment", path, source))?;
                    if BlobId::of(&bytes) == id {
                        return Ok(vec![Record::Blob { id, bytes: Bytes::from(bytes), pin }]);
                    }
                    tracing::warn!(blob = %id, path = %path.display(), "a blob is damaged, and not here any more");
                    self.index().forget(id);
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

    fn write_copies(&mut self, copies: &mut Copies) -> Result<(), BlobError> {
        let records = std::mem::take(&mut copies.records);
        copies.bytes = 0;
        if records.is_empty() {
            return Ok(());
        }
        let places = self
            .append(&records)
            .map_err(|(error, path)| BlobError::disk("write to", &path, same(&error)))?;
        let mut index = self.index();
        for (record, place) in records.iter().zip(places) {
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
    bytes: u64,
    /// The pins of which all was said that there is to say.
    held: HashSet<Pin>,
}
