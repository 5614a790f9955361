//! Identifiers. Both are BLAKE3 hashes and print as 64 hexadecimal digits; they are two types so that
//! one is never taken for the other.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// The name of a blob: the BLAKE3 hash of its bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct BlobId([u8; 32]);

/// A blob with its length, which whoever names it must know.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct BlobRef {
    /// The hash of its bytes.
    pub id: BlobId,
    /// Its length in bytes.
    pub len: u64,
}

/// A run of bytes of a blob or a file.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
pub struct ByteRange {
    /// Where it begins.
    pub offset: u64,
    /// Its length.
    pub len: u64,
}

/// Where the bytes of an input are: in a blob, from an offset on. How many they are is
/// [`crate::InputSpec::len`]. They are the whole blob for a whole file, a range of it for a piece of a file that is cut,
/// and a range of an output's archive for a file of a reduce's part.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct BlobSource {
    /// The blob.
    pub blob: BlobRef,
    /// The input's first bytes, where they are elsewhere in the blob: a piece that begins inside of a record begins
    /// with the record's header. Mostly empty.
    pub head: ByteRange,
    /// Where in the blob the input's other bytes begin.
    pub offset: u64,
}

/// The hash of everything that determines a task's result; see [`crate::TaskSpec::hash`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SpecHash([u8; 32]);

/// A text that is not an identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an identifier: 64 hexadecimal digits are expected")]
pub struct IdError(String);

impl BlobId {
    /// The id of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }

    /// An id from a finished BLAKE3 hash, for content that was hashed as a stream.
    pub fn from_hash(hash: blake3::Hash) -> Self {
        Self(*hash.as_bytes())
    }

    /// The 32 bytes of the hash.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl BlobSource {
    /// The whole of a blob.
    pub fn whole(blob: BlobRef) -> Self {
        Self::at(blob, 0)
    }

    /// One range of a blob, from an offset on.
    pub fn at(blob: BlobRef, offset: u64) -> Self {
        Self { blob, head: ByteRange::default(), offset }
    }

    /// Whether an input of this length lies within the blob.
    pub fn holds(&self, len: u64) -> bool {
        let within =
            |range: &ByteRange| range.offset.checked_add(range.len).is_some_and(|end| end <= self.blob.len);
        self.head.len <= len && self.ranges(len).iter().all(within)
    }

    /// Whether an input of this length is all of the blob.
    pub fn is_whole(&self, len: u64) -> bool {
        self.head.len == 0 && self.offset == 0 && self.blob.len == len
    }

    /// The ranges of the blob that an input of this length consists of, in order. Either may be empty.
    pub fn ranges(&self, len: u64) -> [ByteRange; 2] {
        [self.head, ByteRange { offset: self.offset, len: len.saturating_sub(self.head.len) }]
    }
}

impl SpecHash {
    pub(crate) fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes of the hash.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl FromStr for BlobId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        blake3::Hash::from_hex(text)
            .map(Self::from_hash)
            .map_err(|_| IdError(text.chars().take(80).collect()))
    }
}

impl fmt::Display for BlobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&blake3::Hash::from_bytes(self.0).to_hex())
    }
}

impl fmt::Debug for BlobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BlobId({self})")
    }
}

impl fmt::Display for SpecHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&blake3::Hash::from_bytes(self.0).to_hex())
    }
}

impl fmt::Debug for SpecHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SpecHash({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_prints_and_parses_as_the_public_blake3_test_vector() {
        let id = BlobId::of(b"");
        let text = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262";
        assert_eq!(id.to_string(), text);
        assert_eq!(text.parse(), Ok(id));
    }

    #[test]
    fn a_source_holds_what_lies_within_its_blob() {
        let blob = BlobRef { id: BlobId::of(b"0123456789"), len: 10 };
        let range = |offset, len| ByteRange { offset, len };
        assert!(BlobSource::whole(blob).holds(10) && BlobSource::whole(blob).is_whole(10));
        assert!(!BlobSource::whole(blob).holds(11) && !BlobSource::whole(blob).is_whole(9));
        assert!(BlobSource::at(blob, 10).holds(0) && !BlobSource::at(blob, 10).holds(1));
        assert!(!BlobSource::at(blob, u64::MAX).holds(1));
        // Ranges may come in any order, and overlap.
        let piece = BlobSource { blob, head: range(4, 3), offset: 2 };
        assert_eq!(piece.ranges(7), [range(4, 3), range(2, 4)]);
        assert!(piece.holds(7) && piece.holds(11) && !piece.holds(12) && !piece.is_whole(10));
        assert!(!piece.holds(2), "its head alone is longer");
        let outside = BlobSource { blob, head: range(8, 3), offset: 0 };
        assert!(!outside.holds(3));
        let far = BlobSource { blob, head: range(u64::MAX, 1), offset: u64::MAX };
        assert!(!far.holds(1) && !far.holds(u64::MAX));
    }

    #[test]
    fn what_is_no_id_is_refused() {
        for text in ["", "af", "zz1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"] {
            assert!(text.parse::<BlobId>().is_err(), "{text}");
        }
    }
}
