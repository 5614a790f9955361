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

/// Where the bytes of an input are: in a blob, from an offset on. How many they are is
/// [`crate::InputSpec::len`]. They are the whole blob for what a requester sends, and a range of an
/// output's archive for a file of a reduce's part.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct BlobSource {
    /// The blob.
    pub blob: BlobRef,
    /// Where in it the input begins, in bytes.
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
        Self { blob, offset: 0 }
    }

    /// Whether so many bytes from the offset on lie within the blob.
    pub fn holds(&self, len: u64) -> bool {
        self.offset.checked_add(len).is_some_and(|end| end <= self.blob.len)
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
    fn what_is_no_id_is_refused() {
        for text in ["", "af", "zz1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"] {
            assert!(text.parse::<BlobId>().is_err(), "{text}");
        }
    }
}
