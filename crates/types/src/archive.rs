//! The output of a task as one blob: its files, sorted, behind an index.
//!
//! Layout: the four bytes `TMA1`, the index's length as a little-endian `u32`, the index (postcard: a
//! list of path and length), then the files' bytes one after another in the index's order. The form is
//! canonical: equal files give equal bytes, and [`Archive::parse`] takes nothing else, so the archive's
//! BLAKE3 hash is the output's hash.

use std::io;

use serde::{Deserialize, Serialize};

use crate::GuestPath;

const MAGIC: &[u8; 4] = b"TMA1";

/// The longest index that is read: a million files with paths of 60 bytes.
pub const MAX_INDEX_BYTES: usize = 64 << 20;

/// One file of an archive.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ArchiveEntry {
    /// The file's path.
    pub path: GuestPath,
    /// Its length in bytes.
    pub len: u64,
}

/// The index of an archive: which files it holds, and where.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Archive {
    entries: Vec<ArchiveEntry>,
    data_start: u64,
}

/// Why bytes are not an archive.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArchiveError {
    /// The first four bytes are others.
    #[error("not an output archive")]
    Magic,
    /// There are fewer or more bytes than the index says.
    #[error("the archive should have {expected} bytes and has {found}")]
    Length {
        /// What the header and index add up to.
        expected: u64,
        /// What there is.
        found: u64,
    },
    /// The index is longer than [`MAX_INDEX_BYTES`].
    #[error("the archive's index has {0} bytes, more than is allowed")]
    IndexTooLong(usize),
    /// The index does not decode.
    #[error("the archive's index is malformed")]
    Index,
    /// The paths are not sorted, one occurs twice, or one is a file and a directory at once.
    #[error("the archive's paths are out of order or clash at {0:?}")]
    Order(String),
}

impl Archive {
    /// Bytes before the index: the magic and the index's length.
    pub const HEADER_BYTES: usize = 8;

    /// The length of the index, from the archive's first [`Self::HEADER_BYTES`] bytes.
    ///
    /// # Errors
    /// [`ArchiveError::Magic`] and [`ArchiveError::IndexTooLong`].
    pub fn index_len(header: &[u8; Self::HEADER_BYTES]) -> Result<usize, ArchiveError> {
        if &header[..4] != MAGIC {
            return Err(ArchiveError::Magic);
        }
        let len = u32::from_le_bytes([header[4], header[5], header[6], header[7]]) as usize;
        if len > MAX_INDEX_BYTES { Err(ArchiveError::IndexTooLong(len)) } else { Ok(len) }
    }

    /// Reads an index of an archive that has `total_len` bytes in all.
    ///
    /// # Errors
    /// Any [`ArchiveError`]: an index is accepted only in its one canonical form.
    pub fn parse_index(index: &[u8], total_len: u64) -> Result<Self, ArchiveError> {
        let (entries, rest) =
            postcard::take_from_bytes::<Vec<ArchiveEntry>>(index).map_err(|_| ArchiveError::Index)?;
        // Postcard reads overlong integers too; encoding again is the simplest proof of canonical form.
        let again = postcard::to_stdvec(&entries).map_err(|_| ArchiveError::Index)?;
        if !rest.is_empty() || again != index {
            return Err(ArchiveError::Index);
        }
        check_order(&entries)?;
        let data_start = (Self::HEADER_BYTES + index.len()) as u64;
        let expected = entries
            .iter()
            .try_fold(data_start, |sum, entry| sum.checked_add(entry.len))
            .ok_or(ArchiveError::Index)?;
        if expected != total_len {
            return Err(ArchiveError::Length { expected, found: total_len });
        }
        Ok(Self { entries, data_start })
    }

    /// Reads the index of an archive that has `total_len` bytes in all, from its first byte on. What is read next is
    /// its first file.
    ///
    /// # Errors
    /// When it cannot be read; an [`ArchiveError`] as the inner error of `InvalidData`.
    pub fn read_index(archive: &mut impl io::Read, total_len: u64) -> io::Result<Self> {
        let no_archive = |error: ArchiveError| io::Error::new(io::ErrorKind::InvalidData, error);
        let mut header = [0; Self::HEADER_BYTES];
        archive.read_exact(&mut header)?;
        let mut index = vec![0; Self::index_len(&header).map_err(no_archive)?];
        archive.read_exact(&mut index)?;
        Self::parse_index(&index, total_len).map_err(no_archive)
    }

    /// Reads the index of an archive that is in memory as a whole.
    ///
    /// # Errors
    /// Any [`ArchiveError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, ArchiveError> {
        let short = ArchiveError::Length { expected: Self::HEADER_BYTES as u64, found: bytes.len() as u64 };
        let header = bytes.first_chunk().ok_or(short)?;
        let end = Self::HEADER_BYTES + Self::index_len(header)?;
        let short = ArchiveError::Length { expected: end as u64, found: bytes.len() as u64 };
        let index = bytes.get(Self::HEADER_BYTES..end).ok_or(short)?;
        Self::parse_index(index, bytes.len() as u64)
    }

    /// The files, sorted by path.
    pub fn entries(&self) -> &[ArchiveEntry] {
        &self.entries
    }

    /// Each file with the offset of its first byte in the archive.
    pub fn files(&self) -> impl Iterator<Item = (&ArchiveEntry, u64)> {
        self.entries.iter().scan(self.data_start, |offset, entry| {
            let start = *offset;
            *offset += entry.len;
            Some((entry, start))
        })
    }

    /// The bytes of all files together.
    pub fn data_len(&self) -> u64 {
        self.entries.iter().map(|entry| entry.len).sum()
    }
}

/// Paths must rise strictly, compared component by component (so that a directory's files stand
/// together), and no path may be another's directory.
fn check_order(entries: &[ArchiveEntry]) -> Result<(), ArchiveError> {
    for pair in entries.windows(2) {
        let (before, after) = (&pair[0].path, &pair[1].path);
        let clash = after.as_str().strip_prefix(before.as_str()).is_some_and(|rest| rest.starts_with('/'));
        if clash || !before.components().lt(after.components()) {
            return Err(ArchiveError::Order(after.to_string()));
        }
    }
    Ok(())
}

/// Lays out an archive: first all files by path and length, then their bytes in order.
#[derive(Default)]
pub struct ArchiveBuilder {
    entries: Vec<ArchiveEntry>,
}

impl ArchiveBuilder {
    /// Adds a file. Files may come in any order.
    pub fn add(&mut self, path: GuestPath, len: u64) {
        self.entries.push(ArchiveEntry { path, len });
    }

    /// The archive's bytes up to the first file's, and the order in which the files' bytes must follow.
    ///
    /// # Errors
    /// [`ArchiveError::Order`] when two paths clash, [`ArchiveError::IndexTooLong`] when they are too many.
    pub fn finish(mut self) -> Result<(Vec<u8>, Vec<ArchiveEntry>), ArchiveError> {
        self.entries.sort_by(|a, b| a.path.components().cmp(b.path.components()));
        check_order(&self.entries)?;
        let index = postcard::to_stdvec(&self.entries).map_err(|_| ArchiveError::Index)?;
        if index.len() > MAX_INDEX_BYTES {
            return Err(ArchiveError::IndexTooLong(index.len()));
        }
        let len = u32::try_from(index.len()).map_err(|_| ArchiveError::IndexTooLong(index.len()))?;
        let mut head = Vec::with_capacity(Archive::HEADER_BYTES + index.len());
        head.extend_from_slice(MAGIC);
        head.extend_from_slice(&len.to_le_bytes());
        head.extend_from_slice(&index);
        Ok((head, self.entries))
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::btree_map, prelude::*};

    use super::*;

    fn pack(files: &[(&str, &[u8])]) -> Result<Vec<u8>, ArchiveError> {
        let mut builder = ArchiveBuilder::default();
        for (path, bytes) in files {
            builder.add(GuestPath::new(*path).expect("a valid path"), bytes.len() as u64);
        }
        let (mut archive, order) = builder.finish()?;
        for entry in order {
            let found = files.iter().find(|(path, _)| *path == entry.path.as_str());
            archive.extend_from_slice(found.expect("every entry was added").1);
        }
        Ok(archive)
    }

    #[test]
    fn the_order_of_adding_does_not_show() {
        let a = pack(&[("b", b"2"), ("a/z", b"1"), ("a.txt", b"0")]);
        let b = pack(&[("a.txt", b"0"), ("b", b"2"), ("a/z", b"1")]);
        assert_eq!(a, b);
        let bytes = a.expect("no clash");
        let archive = Archive::parse(&bytes).expect("what was packed parses");
        let content: Vec<_> = archive
            .files()
            .map(|(entry, start)| (entry.path.as_str(), &bytes[start as usize..][..entry.len as usize]))
            .collect();
        assert_eq!(content, [("a/z", &b"1"[..]), ("a.txt", &b"0"[..]), ("b", &b"2"[..])]);
    }

    #[test]
    fn clashes_are_refused() {
        assert!(matches!(pack(&[("a", b""), ("a", b"")]), Err(ArchiveError::Order(_))));
        assert!(matches!(pack(&[("a", b""), ("a/b", b"")]), Err(ArchiveError::Order(_))));
        assert!(matches!(pack(&[("a", b""), ("a!", b""), ("a/b", b"")]), Err(ArchiveError::Order(_))));
    }

    #[test]
    fn lengths_must_match() {
        let mut bytes = pack(&[("a", b"xyz")]).expect("no clash");
        bytes.pop();
        assert!(matches!(Archive::parse(&bytes), Err(ArchiveError::Length { .. })));
        assert_eq!(Archive::parse(b"TMA1"), Err(ArchiveError::Length { expected: 8, found: 4 }));
        assert_eq!(Archive::parse(b"PK\x03\x04----"), Err(ArchiveError::Magic));
        assert!(matches!(Archive::parse(b"TMA1\xff\xff\xff\xff"), Err(ArchiveError::IndexTooLong(_))));
    }

    proptest! {
        #[test]
        fn packing_and_parsing_agree(files in btree_map("[a-c]{1,2}(/[a-c]{1,2}){0,2}", 0u64..9, 0..8)) {
            let mut builder = ArchiveBuilder::default();
            for (path, len) in &files {
                builder.add(GuestPath::new(path.as_str()).expect("a valid path"), *len);
            }
            if let Ok((head, order)) = builder.finish() {
                let total = head.len() as u64 + files.values().sum::<u64>();
                let index = &head[Archive::HEADER_BYTES..];
                let archive = Archive::parse_index(index, total);
                prop_assert_eq!(archive.map(|a| a.entries), Ok(order));
            }
        }

        #[test]
        fn any_bytes_parse_or_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let mut framed = b"TMA1".to_vec();
            framed.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
            framed.extend_from_slice(&bytes);
            if let Ok(archive) = Archive::parse(&framed) {
                prop_assert_eq!(archive.data_start + archive.data_len(), framed.len() as u64);
            }
        }
    }
}
