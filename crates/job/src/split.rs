//! Cutting large files into pieces, one for each task.
//!
//! A piece is a list of ranges of the file, so nothing is copied. Memory is independent of the file's and
//! the records' sizes, apart from the list of pieces itself, which is bounded. Where no overlap and no cut
//! inside of a record is asked for, the pieces one after another are the file.

mod fasta;
mod fastq;
mod form;
mod records;
mod window;

use std::io::{self, Read, Seek};

use tidemill_types::{ByteRange, ByteSize};

pub use form::{Compression, Form, WideText};
use window::Window;

/// How to cut.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SplitRules {
    /// Where records end.
    pub by: SplitBy,
    /// A piece ends with the first record that makes it at least this large. At least 1.
    pub size: ByteSize,
}

/// Where records end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SplitBy {
    /// After each line feed.
    Lines,
    /// After each occurrence of these bytes, of which there is at least one.
    Separator(Vec<u8>),
    /// Before each line that begins with `>`.
    Fasta {
        /// With it, a record of more than `size` bases is cut inside: into pieces of the record's header
        /// and `size` bases, preceded by this many of the piece before. Less than `size`,
        /// which is otherwise taken to be larger.
        overlap: Option<u64>,
    },
    /// After each FASTQ record, of four or more lines.
    Fastq,
    /// As [`Self::Fasta`] or [`Self::Fastq`], by the file's first byte.
    Fastx {
        /// As for [`Self::Fasta`]; a FASTQ file is never cut inside of a record.
        overlap: Option<u64>,
    },
}

/// The pieces of one file.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Pieces {
    ranges: Vec<ByteRange>,
    /// For each piece, where its ranges end.
    ends: Vec<usize>,
}

/// Why a file cannot be cut.
#[derive(Debug, thiserror::Error)]
pub enum SplitError {
    /// It cannot be read.
    #[error("the file cannot be read")]
    Read(#[source] io::Error),
    /// It is not of the format that it should be of.
    #[error("line {line}: {found}; expected {expected}")]
    Format {
        /// The line, counted from 1.
        line: u64,
        /// What was found.
        found: String,
        /// What should be there.
        expected: &'static str,
    },
    /// It is compressed in a way that is not unpacked here.
    #[error("it is compressed ({0}); unpack it first")]
    Compressed(Compression),
    /// It is text of which a character is several bytes.
    #[error("it is {0} text, whose line ends are not single bytes; convert it to UTF-8 first")]
    Wide(WideText),
    /// There would be more pieces than allowed.
    #[error("more than {most} pieces; a larger `size` gives fewer")]
    TooManyPieces {
        /// The most that are allowed.
        most: u64,
    },
}

/// Cuts a file into at most `most` pieces. An empty file has none.
///
/// # Errors
/// [`SplitError`] when the file cannot be read, is not of its format, is compressed, or has too many pieces.
pub fn split<R: Read + Seek>(input: R, rules: &SplitRules, most: u64) -> Result<Pieces, SplitError> {
    let mut window = Window::new(input)?;
    match Form::of(window.bytes(0)?) {
        Form::Compressed(compression) => return Err(SplitError::Compressed(compression)),
        // A requester that chooses a separator knows the bytes.
        Form::Wide(encoding) if !matches!(rules.by, SplitBy::Separator(_)) => {
            return Err(SplitError::Wide(encoding));
        }
        _ => {}
    }
    let mut pieces = PiecesBuilder { pieces: Pieces::default(), most };
    let size = rules.size.0.max(1);
    match &rules.by {
        SplitBy::Lines => records::split(&mut window, b"\n", size, &mut pieces)?,
        SplitBy::Separator(separator) => records::split(&mut window, separator, size, &mut pieces)?,
        SplitBy::Fasta { overlap } => fasta::split(&mut window, size, *overlap, &mut pieces)?,
        SplitBy::Fastq => fastq::split(&mut window, size, &mut pieces)?,
        SplitBy::Fastx { overlap } => match first_byte(&mut window)? {
            None | Some((b'>', _)) => fasta::split(&mut window, size, *overlap, &mut pieces)?,
            Some((b'@', _)) => fastq::split(&mut window, size, &mut pieces)?,
            Some((byte, line)) => {
                let found = format!("the file begins with {}", named(byte));
                return Err(SplitError::Format { line, found, expected: "`>` (FASTA) or `@` (FASTQ)" });
            }
        },
    }
    Ok(pieces.pieces)
}

/// The error of a line that ends as lines did on a Mac before 2001.
fn lone_return(line: u64) -> SplitError {
    let found = "a carriage return without a line feed".to_owned();
    SplitError::Format { line, found, expected: "lines that end with a line feed" }
}

/// Names a byte for a person: as a character if it is one, else by what it may be.
fn named(byte: u8) -> String {
    match byte {
        0xef => "a byte order mark".to_owned(),
        0x20..0x7f => format!("{:?}", char::from(byte)),
        _ => format!("the byte 0x{byte:02x}"),
    }
}

/// The first byte of the first line that is not blank, and the line's number.
fn first_byte<R: Read + Seek>(window: &mut Window<R>) -> Result<Option<(u8, u64)>, SplitError> {
    let (mut at, mut line) = (0, 1);
    while let Some(byte) = window.byte(at)? {
        match byte {
            b'\n' => line += 1,
            b'\r' => {}
            _ => return Ok(Some((byte, line))),
        }
        at += 1;
    }
    Ok(None)
}

impl Pieces {
    /// How many pieces there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The ranges of the piece at a place below [`Self::len`], in order; none beyond.
    pub fn get(&self, index: usize) -> &[ByteRange] {
        let Some(&end) = self.ends.get(index) else { return &[] };
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.ranges[start..end]
    }

    /// The ranges of the piece at a place below [`Self::len`]: that of the header of the record that it begins inside of,
    /// empty where it does not, and the other.
    pub(crate) fn head_and_body(&self, index: usize) -> (ByteRange, ByteRange) {
        match *self.get(index) {
            [] => (ByteRange::default(), ByteRange::default()),
            [body] => (ByteRange::default(), body),
            [head, body] => (head, body),
            _ => unreachable!("a piece has a header and one more range at most"),
        }
    }

    /// The pieces, in the order of the file.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[ByteRange]> {
        (0..self.len()).map(|index| self.get(index))
    }

    /// The bytes of all pieces together.
    pub fn total_bytes(&self) -> u64 {
        self.ranges.iter().fold(0, |sum, range| sum.saturating_add(range.len))
    }
}

/// Takes the pieces as they are found.
#[derive(Debug)]
struct PiecesBuilder {
    pieces: Pieces,
    most: u64,
}

impl PiecesBuilder {
    /// A piece of the non-empty ones of these ranges, each given by its start and its end.
    fn push(&mut self, ranges: &[(u64, u64)]) -> Result<(), SplitError> {
        if self.pieces.ends.len() as u64 >= self.most {
            return Err(SplitError::TooManyPieces { most: self.most });
        }
        let full = ranges.iter().filter(|(start, end)| start < end);
        self.pieces.ranges.extend(full.map(|&(offset, end)| ByteRange { offset, len: end - offset }));
        self.pieces.ends.push(self.pieces.ranges.len());
        Ok(())
    }
}

#[cfg(test)]
mod tests;
