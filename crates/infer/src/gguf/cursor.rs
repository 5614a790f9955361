//! Reading a header in order, in pieces.

use crate::file::FileError;
use crate::source::Source;

/// Read at once: headers have some megabytes, of small fields.
const PIECE: usize = 1 << 18;

/// A chat template has some kilobytes.
const LONGEST_TEXT: u64 = 1 << 24;

pub struct Cursor<'a> {
    source: &'a dyn Source,
    piece: Vec<u8>,
    /// Where the piece begins in the file.
    from: u64,
    /// Read of the piece.
    used: usize,
}

impl<'a> Cursor<'a> {
    pub fn new(source: &'a dyn Source) -> Self {
        Self { source, piece: Vec::new(), from: 0, used: 0 }
    }

    pub fn position(&self) -> u64 {
        self.from + self.used as u64
    }

    /// Bytes of the file that are not read yet: no honest count of anything is larger.
    pub fn left(&self) -> u64 {
        self.source.len().saturating_sub(self.position())
    }

    /// The next bytes; `place` is what they belong to, for the error.
    pub fn bytes(&mut self, len: usize, place: &str) -> Result<&[u8], FileError> {
        if self.piece.len() - self.used < len {
            self.refill(len, place)?;
        }
        let bytes = &self.piece[self.used..self.used + len];
        self.used += len;
        Ok(bytes)
    }

    pub fn array<const N: usize>(&mut self, place: &str) -> Result<[u8; N], FileError> {
        let mut array = [0; N];
        array.copy_from_slice(self.bytes(N, place)?);
        Ok(array)
    }

    pub fn u32(&mut self, place: &str) -> Result<u32, FileError> {
        Ok(u32::from_le_bytes(self.array(place)?))
    }

    pub fn u64(&mut self, place: &str) -> Result<u64, FileError> {
        Ok(u64::from_le_bytes(self.array(place)?))
    }

    pub fn text(&mut self, place: &str) -> Result<String, FileError> {
        let len = self.u64(place)?;
        if len > self.left() {
            return Err(FileError::Cut(place.into()));
        }
        if len > LONGEST_TEXT {
            return Err(FileError::TooMany { what: "bytes of one text", count: len, most: LONGEST_TEXT });
        }
        let bytes = self.bytes(len as usize, place)?.to_vec();
        String::from_utf8(bytes).map_err(|_| FileError::key(place, "a text is not valid UTF-8"))
    }

    fn refill(&mut self, len: usize, place: &str) -> Result<(), FileError> {
        let left = self.left();
        if left < len as u64 {
            return Err(FileError::Cut(place.into()));
        }
        let from = self.position();
        let mut piece = vec![0; left.min(len.max(PIECE) as u64) as usize];
        self.source.read(from, &mut piece).map_err(|source| FileError::Read { at: from, source })?;
        *self = Self { source: self.source, piece, from, used: 0 };
        Ok(())
    }
}
