//! Blobs that are being read.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::Path,
    sync::Arc,
};

use tidemill_types::{BlobId, Segment};

use super::{
    BlobError, Blobs, Inner, Lost, blocking,
    disk::{self, Stamp},
    encode::{is_damage, is_unreadable},
    index::{Entry, Packed, Place},
    segments::SegmentFile,
};

/// Where the bytes of a blob are: a range of a file. They stay there for as long as the blob is pinned or, where the
/// blob shares its file with others, this or a clone of it is there.
#[derive(Clone, Debug)]
pub struct Lent {
    path: Arc<Path>,
    offset: u64,
    len: u64,
    _segment: Option<Arc<SegmentFile>>,
}

impl Lent {
    /// A file that is all of a blob of this length.
    pub fn file(path: &Path, len: u64) -> Self {
        Self { path: path.into(), offset: 0, len, _segment: None }
    }

    pub(super) fn packed(segment: Arc<SegmentFile>, offset: u64, len: u64) -> Self {
        Self { path: segment.path.clone(), offset, len, _segment: Some(segment) }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where in the file the blob begins, in bytes.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The blob's length in bytes.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether the blob has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Where a range of the blob is, as a part of an input.
    pub fn range(&self, offset: u64, len: u64) -> Segment {
        Segment::File { path: self.path.to_path_buf(), offset: self.offset + offset, len }
    }

    /// Opens the blob. What is read is the blob alone, from its first byte to its last.
    ///
    /// # Errors
    /// Those of opening the file.
    pub fn open(&self) -> io::Result<LentReader> {
        let mut file = File::open(&self.path)?;
        if self.offset > 0 {
            file.seek(SeekFrom::Start(self.offset))?;
        }
        Ok(LentReader { file, offset: self.offset, len: self.len, at: 0 })
    }

    /// All of its bytes.
    ///
    /// # Errors
    /// Those of the file; `UnexpectedEof` when it is shorter than it was.
    pub fn read(&self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.open()?.read_to_end(&mut bytes)?;
        if bytes.len() as u64 == self.len { Ok(bytes) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }
}

/// Reads a blob, and nothing of what lies around it.
#[derive(Debug)]
pub struct LentReader {
    file: File,
    offset: u64,
    len: u64,
    at: u64,
}

impl Read for LentReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.len.saturating_sub(self.at)).unwrap_or(usize::MAX);
        let most = left.min(buffer.len());
        let read = self.file.read(&mut buffer[..most])?;
        self.at += read as u64;
        Ok(read)
    }
}

impl Seek for LentReader {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(back) => self.len.checked_add_signed(back),
            SeekFrom::Current(on) => self.at.checked_add_signed(on),
        };
        let before = || io::Error::new(io::ErrorKind::InvalidInput, "a place before the first byte");
        let at = at.ok_or_else(before)?;
        self.file.seek(SeekFrom::Start(self.offset + at))?;
        self.at = at;
        Ok(at)
    }
}

impl Blobs {
    /// Where a blob is that is here whole. Small ones are hashed each time, and in a cache large ones at their first
    /// use since it was opened; a blob in a file of its owner that was changed since is no longer here.
    ///
    /// # Errors
    /// [`BlobError::NotHere`], [`BlobError::Damaged`], [`BlobError::Disk`]
    pub async fn lend(&self, id: BlobId) -> Result<Lent, BlobError> {
        let inner = self.0.clone();
        blocking(move || inner.lend(id).map(|(lent, _)| lent)).await
    }

    /// As [`Self::lend`], for threads that may wait for the disk.
    ///
    /// # Errors
    /// As those of [`Self::lend`].
    pub fn blocking_lend(&self, id: BlobId) -> Result<Lent, BlobError> {
        self.0.lend(id).map(|(lent, _)| lent)
    }

    /// The bytes of a blob that is at most so long.
    ///
    /// # Errors
    /// [`BlobError::TooLong`], and those of [`Self::lend`]
    pub async fn read(&self, id: BlobId, max: u64) -> Result<Vec<u8>, BlobError> {
        let len = self.has(id).ok_or(BlobError::NotHere(id))?;
        if len > max {
            return Err(BlobError::TooLong { id, len, max });
        }
        let inner = self.0.clone();
        blocking(move || {
            let (lent, bytes) = inner.lend(id)?;
            let read = bytes.map_or_else(|| lent.read(), Ok);
            read.map_err(|source| BlobError::disk("read a blob at", lent.path(), source))
        })
        .await
    }
}

/// What a look at the bytes of a blob found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Condition {
    /// It is here, and has the bytes that it should have.
    Right,
    /// It is not here, or was damaged and is not here any more.
    Lost,
    /// It is here, and could not be read now for another reason than damage.
    Unread,
}

/// A blob as the index had it before its bytes were read.
#[derive(Debug)]
struct Seen {
    len: u64,
    place: Place,
    since: u64,
}

impl Seen {
    fn of(entry: &Entry) -> Self {
        Self { len: entry.len, place: entry.place.clone(), since: entry.since }
    }
}

impl Blobs {
    /// Looks at the bytes of a blob of which somebody read wrong ones. It reads all of it. One that is damaged is not here
    /// any more.
    pub async fn recheck(&self, id: BlobId) -> Condition {
        let inner = self.0.clone();
        blocking(move || inner.recheck(id)).await
    }

    /// Waits until blobs that are pinned were found to be damaged, and gives those of them that are not here again. Each
    /// is given once, so one alone should wait.
    pub async fn lost(&self) -> Vec<Lost> {
        let lost_some = self.0.index().lost_some.clone();
        loop {
            let lost = self.0.index().take_lost();
            if !lost.is_empty() {
                return lost;
            }
            // One that was lost meanwhile has left its word.
            lost_some.notified().await;
        }
    }
}

impl Inner {
    /// Where a blob is, and the bytes of one that is small.
    pub(super) fn lend(&self, id: BlobId) -> Result<(Lent, Option<Vec<u8>>), BlobError> {
        let (seen, doubtful, segment, wants_mark) = {
            let mut index = self.index();
            let entry = index.touch(id).ok_or(BlobError::NotHere(id))?;
            let (seen, doubtful) = (Seen::of(entry), entry.doubtful);
            let wants_mark = seen.place == Place::Owned && entry.wants_mark();
            let segment = match seen.place {
                // Its file stays for as long as this is held.
                Place::Packed(Packed { segment, .. }) => index.segment(segment).cloned(),
                Place::Owned | Place::Linked { .. } => None,
            };
            (seen, doubtful, segment, wants_mark)
        };
        let len = seen.len;
        let lent = match (&seen.place, segment) {
            (Place::Owned, _) => Lent::file(&self.folder.data(id), len),
            (Place::Linked { path, .. }, _) => Lent::file(path, len),
            (Place::Packed(packed), Some(segment)) => Lent::packed(segment, packed.offset, len),
            (Place::Packed(_), None) => return Err(BlobError::NotHere(id)),
        };
        match &seen.place {
            Place::Packed(_) => {
                // A disk may read at the second attempt what it could not at the first.
                let read = lent.read().or_else(|error| match is_unreadable(&error) {
                    true => lent.read(),
                    false => Err(error),
                });
                let bytes = match read {
                    Ok(bytes) => bytes,
                    Err(error) if is_damage(&error) => {
                        return Err(self.damaged(id, &seen, &lent, is_unreadable(&error)));
                    }
                    Err(error) => return Err(BlobError::disk("read a blob in", lent.path(), error)),
                };
                if BlobId::of(&bytes) != id {
                    return Err(self.damaged(id, &seen, &lent, false));
                }
                return Ok((lent, Some(bytes)));
            }
            Place::Linked { path, stamp } if Stamp::of_path(path).ok().as_ref() != Some(stamp) => {
                tracing::warn!(blob = %id, path = %path.display(), "a file that held a blob was changed or removed");
                self.drop_wrong(id, &seen, false);
                return Err(BlobError::NotHere(id));
            }
            Place::Owned | Place::Linked { .. } => {}
        }
        if wants_mark {
            disk::mark_used(lent.path());
        }
        if doubtful {
            match disk::is_right(id, len, lent.path(), &self.folder.tree(id)) {
                Ok(true) => self.index().trust(id),
                Ok(false) => return Err(self.damaged(id, &seen, &lent, false)),
                // A part of it is gone, as after a power cut, or cannot be read.
                Err(error) if is_damage(&error) => {
                    return Err(self.damaged(id, &seen, &lent, is_unreadable(&error)));
                }
                Err(error) => return Err(BlobError::disk("read a blob at", lent.path(), error)),
            }
        }
        Ok((lent, None))
    }

    /// Looks at the bytes of a blob of which somebody read wrong ones: another one may have read a file that was there
    /// before. It reads all of it.
    pub(super) fn recheck(&self, id: BlobId) -> Condition {
        let Some(seen) = self.index().get(id).map(Seen::of) else { return Condition::Lost };
        let lent = match &seen.place {
            Place::Owned => Lent::file(&self.folder.data(id), seen.len),
            Place::Linked { path, .. } => Lent::file(path, seen.len),
            // Those are hashed whenever they are lent.
            Place::Packed(_) => {
                return match self.lend(id) {
                    Ok(_) => Condition::Right,
                    Err(BlobError::NotHere(_) | BlobError::Damaged { .. }) => self.now(id),
                    Err(_) => Condition::Unread,
                };
            }
        };
        let is_unreadable = match disk::is_right(id, seen.len, lent.path(), &self.folder.tree(id)) {
            Ok(true) => return Condition::Right,
            Ok(false) => false,
            Err(error) if is_damage(&error) => is_unreadable(&error),
            Err(error) => {
                tracing::warn!(blob = %id, path = %lent.path().display(), %error, "cannot read a blob that is here");
                return Condition::Unread;
            }
        };
        // It says so in the log.
        let _ = self.damaged(id, &seen, &lent, is_unreadable);
        self.now(id)
    }

    /// Whether a blob is here that was found to be damaged: it may have come again meanwhile, and was verified then.
    fn now(&self, id: BlobId) -> Condition {
        if self.index().get(id).is_some() { Condition::Right } else { Condition::Lost }
    }

    fn damaged(&self, id: BlobId, seen: &Seen, lent: &Lent, is_unreadable: bool) -> BlobError {
        tracing::warn!(blob = %id, path = %lent.path().display(), offset = lent.offset(), "a blob is damaged, and not here any more");
        self.drop_wrong(id, seen, is_unreadable);
        BlobError::Damaged { id, path: lent.path().to_owned() }
    }

    /// Drops a blob, unless it is elsewhere by now, or was lost and is here again. A file that cannot be read is kept for a
    /// person: the disk may be at fault, or its cable.
    fn drop_wrong(&self, id: BlobId, seen: &Seen, is_unreadable: bool) {
        let mut index = self.index();
        let is_as_seen = |entry: &Entry| (&entry.place, entry.since) == (&seen.place, seen.since);
        if !index.get(id).is_some_and(is_as_seen) {
            return;
        }
        index.lose(id);
        match seen.place {
            Place::Owned if is_unreadable => self.folder.set_aside(id),
            Place::Owned | Place::Linked { .. } => self.folder.remove_blob(id),
            Place::Packed(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blobs::{BlobOptions, Keeps, Pin};

    #[test]
    fn a_blob_is_read_without_what_lies_around_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("segment");
        std::fs::write(&path, b"before|the blob|after").expect("written");
        let lent = Lent { path: path.as_path().into(), offset: 7, len: 8, _segment: None };
        assert_eq!(lent.read().expect("a file"), b"the blob");
        let mut reader = lent.open().expect("a file");
        let mut text = String::new();
        reader.seek(SeekFrom::Start(4)).expect("within");
        reader.read_to_string(&mut text).expect("text");
        assert_eq!(text, "blob");
        assert_eq!(reader.seek(SeekFrom::End(-8)).expect("within"), 0);
        assert!(reader.seek(SeekFrom::Current(-1)).is_err());
        reader.seek(SeekFrom::Start(100)).expect("after the end, as in files");
        assert_eq!(reader.read(&mut [0; 9]).expect("a file"), 0);
        assert_eq!(lent.range(1, 2), Segment::File { path: path.clone(), offset: 8, len: 2 });

        std::fs::write(&path, b"before|the").expect("written");
        assert_eq!(lent.read().expect_err("too short").kind(), io::ErrorKind::UnexpectedEof);
    }

    async fn folder() -> (Blobs, tempfile::TempDir) {
        let folder = tempfile::tempdir().expect("a folder");
        let stall = std::time::Duration::from_secs(5);
        let options = BlobOptions { keeps: Keeps::Durable, budget: 1 << 30, stall };
        (Blobs::open(folder.path(), options).await.expect("a folder of our own"), folder)
    }

    #[tokio::test]
    async fn who_has_read_the_damaged_file_does_not_drop_the_mended_one() {
        let (blobs, _folder) = folder().await;
        let (content, pin) = (vec![7; 2 << 20], Pin::new("a").expect("a name"));
        let blob = blobs.import_bytes(content.clone(), &pin).await.expect("room");
        let seen = blobs.0.index().get(blob.id).map(Seen::of).expect("here");
        let path = blobs.lend(blob.id).await.expect("here").path().to_owned();
        std::fs::write(&path, b"damaged").expect("written");
        assert_eq!(blobs.recheck(blob.id).await, Condition::Lost);
        blobs.import_bytes(content, &pin).await.expect("room");
        // A slower one comes to its end only now.
        blobs.0.drop_wrong(blob.id, &seen, false);
        assert!(blobs.has(blob.id).is_some() && path.exists());
        assert_eq!(blobs.recheck(blob.id).await, Condition::Right);
    }

    #[tokio::test]
    async fn a_file_that_cannot_be_read_is_set_aside() {
        let (blobs, folder) = folder().await;
        let (content, pin) = (vec![7; 2 << 20], Pin::new("a").expect("a name"));
        let blob = blobs.import_bytes(content.clone(), &pin).await.expect("room");
        let seen = blobs.0.index().get(blob.id).map(Seen::of).expect("here");
        blobs.0.drop_wrong(blob.id, &seen, true);
        assert_eq!((blobs.has(blob.id), blobs.lost().await.len()), (None, 1));
        let aside = folder.path().join("damaged").join(blob.id.to_string());
        assert_eq!(std::fs::read(&aside).expect("kept"), content);
        blobs.import_bytes(content, &pin).await.expect("room");
        assert!(aside.exists() && blobs.has(blob.id).is_some());
    }
}
