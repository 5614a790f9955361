//! A view of a file that moves: bytes by offset, with few reads when offsets grow slowly.

use std::io::{self, Read, Seek, SeekFrom};

use super::SplitError;

/// Large enough that a read costs little against its bytes, small enough to stay in the cache.
const BUFFER_BYTES: usize = 256 << 10;

/// A file with a buffer over a part of it.
#[derive(Debug)]
pub(super) struct Window<R> {
    input: R,
    len: u64,
    buffer: Vec<u8>,
    /// The offset of the buffer's first byte.
    start: u64,
    /// How many of the buffer's bytes are the file's.
    filled: usize,
    capacity: usize,
}

/// A line, by its place; its bytes are not held.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line {
    /// Where it begins.
    pub(super) start: u64,
    /// Where the next one begins.
    pub(super) end: u64,
    /// Its first byte, if it has one besides its end.
    pub(super) first: Option<u8>,
    /// Its length without its end, which is a line feed with or without a carriage return.
    pub(super) content_len: u64,
    /// Whether it has a carriage return that is not at its end.
    pub(super) has_return: bool,
    /// Whether it has a `>` after its first byte.
    pub(super) has_mark: bool,
}

impl<R: Read + Seek> Window<R> {
    /// The whole file, seen from its beginning.
    pub(super) fn new(input: R) -> Result<Self, SplitError> {
        Self::with_capacity(input, BUFFER_BYTES)
    }

    /// The same with another size of the buffer, for tests of its borders.
    pub(super) fn with_capacity(mut input: R, capacity: usize) -> Result<Self, SplitError> {
        let len = input.seek(SeekFrom::End(0)).map_err(SplitError::Read)?;
        Ok(Self { input, len, buffer: Vec::new(), start: 0, filled: 0, capacity })
    }

    /// The length of the file.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// As many bytes from `at` on as are at hand: at least one before the end of the file, none after.
    pub(super) fn bytes(&mut self, at: u64) -> Result<&[u8], SplitError> {
        if at >= self.len {
            return Ok(&[]);
        }
        if !self.holds(at) {
            self.load(at)?;
        }
        let from = usize::try_from(at - self.start).expect("an offset in the buffer is small");
        Ok(&self.buffer[from..self.filled])
    }

    /// The bytes from some place on up to `end`, at least one before it: those at hand for going backwards.
    pub(super) fn bytes_before(&mut self, end: u64) -> Result<&[u8], SplitError> {
        let end = end.min(self.len);
        let Some(last) = end.checked_sub(1) else { return Ok(&[]) };
        if !self.holds(last) {
            self.load(end.saturating_sub(self.capacity as u64))?;
        }
        let to = usize::try_from(end - self.start).expect("an offset in the buffer is small");
        Ok(&self.buffer[..to])
    }

    /// One byte; none after the end of the file.
    pub(super) fn byte(&mut self, at: u64) -> Result<Option<u8>, SplitError> {
        Ok(self.bytes(at)?.first().copied())
    }

    /// The line that begins at `at`; none at the end of the file.
    pub(super) fn line(&mut self, at: u64) -> Result<Option<Line>, SplitError> {
        let Some(first) = self.byte(at)? else { return Ok(None) };
        let mut line =
            Line { start: at, end: at, first: None, content_len: 0, has_return: false, has_mark: false };
        let mut last = None;
        loop {
            let end = line.end;
            let bytes = self.bytes(end)?;
            let feed = bytes.iter().position(|byte| *byte == b'\n');
            let content = &bytes[..feed.unwrap_or(bytes.len())];
            // A carriage return may be the last byte of one view and its line feed the first of the next.
            line.has_return |= last == Some(b'\r') && content.first().is_some_and(|byte| *byte != b'\r');
            line.has_return |= returns_within(content);
            let marks = content.iter().filter(|byte| **byte == b'>').count();
            line.has_mark |= marks > usize::from(end == at && content.first() == Some(&b'>'));
            last = content.last().copied().or(last);
            line.end = end + content.len() as u64;
            if feed.is_some() || content.is_empty() {
                line.content_len = line.end - at - u64::from(last == Some(b'\r'));
                line.end += u64::from(feed.is_some());
                line.first = Some(first).filter(|_| line.content_len > 0);
                return Ok(Some(line));
            }
        }
    }

    /// The length of a line without the blanks before its end.
    pub(super) fn trimmed(&mut self, line: Line) -> Result<u64, SplitError> {
        let mut end = line.start + line.content_len;
        while end > line.start {
            let bytes = self.bytes_before(end)?;
            let from = usize::try_from(bytes.len() as u64 - (end - line.start).min(bytes.len() as u64))
                .expect("an offset in the buffer is small");
            let line = &bytes[from..];
            let blanks = line.iter().rev().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\r')).count();
            end -= blanks as u64;
            if blanks < line.len() {
                break;
            }
        }
        Ok(end - line.start)
    }

    fn holds(&self, at: u64) -> bool {
        at >= self.start && at - self.start < self.filled as u64
    }

    /// Fills the buffer from `at` on.
    fn load(&mut self, at: u64) -> Result<(), SplitError> {
        self.input.seek(SeekFrom::Start(at)).map_err(SplitError::Read)?;
        self.buffer.resize(self.capacity, 0);
        (self.start, self.filled) = (at, 0);
        let wanted = usize::try_from(self.len - at).unwrap_or(usize::MAX).min(self.capacity);
        while self.filled < wanted {
            match self.input.read(&mut self.buffer[self.filled..wanted]) {
                // The file became shorter after its length was asked for.
                Ok(0) => return Err(SplitError::Read(io::ErrorKind::UnexpectedEof.into())),
                Ok(read) => self.filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(SplitError::Read(error)),
            }
        }
        Ok(())
    }
}

/// Whether a carriage return is followed by something else than another.
fn returns_within(content: &[u8]) -> bool {
    let Some(first) = content.iter().position(|byte| *byte == b'\r') else { return false };
    content[first..].iter().any(|byte| *byte != b'\r')
}
