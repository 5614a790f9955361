//! Reading inputs from the host by offset, so that memory does not grow with them.

use std::{collections::VecDeque, fs::File, io, os::unix::fs::FileExt, path::PathBuf};

use serde::{Deserialize, Serialize};
use tidemill_types::{Content, Failure, InputSpec, Segment};

/// Host files kept open at a time for one task. A reduce may have ten thousand inputs.
const MAX_OPEN: usize = 64;

/// A part of an input.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Part {
    /// The bytes themselves.
    Bytes(#[serde(with = "serde_bytes")] Vec<u8>),
    /// A range of a file, known here by a number alone, and its length in bytes.
    Host { number: u32, len: u64 },
}

/// The range of a host's file that a number stands for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct HostRange {
    pub(crate) path: PathBuf,
    pub(crate) offset: u64,
    pub(crate) len: u64,
}

/// Where the bytes of a range are.
pub(crate) enum Opened {
    /// In a file, from this offset on.
    File(File, u64),
    /// Here.
    Bytes(Vec<u8>),
}

/// Opens ranges by their numbers.
pub(crate) trait Ranges: Send {
    /// # Errors
    /// When the file is gone or may not be read.
    fn open(&mut self, number: u32) -> io::Result<Opened>;
}

/// The contents of all inputs of a task, in order, and what opens those of them that are in files.
pub(crate) struct Given {
    pub(crate) parts: Vec<Vec<Part>>,
    pub(crate) ranges: Box<dyn Ranges>,
}

impl Given {
    /// Contents that this process opens by their paths.
    pub(crate) fn here(contents: Vec<Content>) -> Self {
        let (parts, ranges) = numbered(contents);
        Self { parts, ranges: Box::new(Paths(ranges)) }
    }
}

/// Gives each range of a file a number.
pub(crate) fn numbered(contents: Vec<Content>) -> (Vec<Vec<Part>>, Vec<HostRange>) {
    let mut ranges = Vec::new();
    let mut part = |segment: Segment| match segment {
        Segment::Bytes(bytes) => Part::Bytes(bytes),
        Segment::File { path, offset, len } => {
            let number = u32::try_from(ranges.len()).expect("a task has fewer inputs than that");
            ranges.push(HostRange { path, offset, len });
            Part::Host { number, len }
        }
    };
    let mut parts = Vec::with_capacity(contents.len());
    for content in contents {
        parts.push(content.segments.into_iter().map(&mut part).collect());
    }
    (parts, ranges)
}

impl Part {
    /// Its length in bytes.
    fn len(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Host { len, .. } => *len,
        }
    }
}

/// Ranges that this process may open.
struct Paths(Vec<HostRange>);

impl Ranges for Paths {
    fn open(&mut self, number: u32) -> io::Result<Opened> {
        let range = self.0.get(number as usize).ok_or(io::ErrorKind::NotFound)?;
        Ok(Opened::File(File::open(&range.path)?, range.offset))
    }
}

/// The inputs of one task.
pub(crate) struct Inputs {
    inputs: Vec<Input>,
    ranges: Box<dyn Ranges>,
    open: VecDeque<(u32, Opened)>,
}

struct Input {
    name: String,
    len: u64,
    /// Each part behind the offset of its first byte.
    parts: Vec<(u64, Part)>,
}

impl Inputs {
    pub(crate) fn new(specs: &[InputSpec], given: Given) -> Result<Self, Failure> {
        if specs.len() != given.parts.len() {
            let reason = format!("{} inputs were described, {} given", specs.len(), given.parts.len());
            return Err(Failure::Host { reason });
        }
        let inputs = specs
            .iter()
            .zip(given.parts)
            .map(|(spec, parts)| {
                let len: u64 = parts.iter().map(Part::len).sum();
                if len != spec.len {
                    let reason = format!("it should have {} bytes and has {len}", spec.len);
                    return Err(Failure::Input { path: spec.path.to_string(), reason });
                }
                let parts = parts.into_iter().scan(0, |offset, part| {
                    let start = *offset;
                    *offset += part.len();
                    Some((start, part))
                });
                Ok(Input { name: spec.path.to_string(), len: spec.len, parts: parts.collect() })
            })
            .collect::<Result<_, Failure>>()?;
        Ok(Self { inputs, ranges: given.ranges, open: VecDeque::new() })
    }

    /// Fills `buffer` from `offset` on; returns how many bytes there were.
    ///
    /// # Errors
    /// [`Failure::Input`] when the host file is gone, unreadable or shorter than it was.
    pub(crate) fn read(&mut self, index: usize, offset: u64, buffer: &mut [u8]) -> Result<usize, Failure> {
        let input = &self.inputs[index];
        let wanted = usize::try_from(input.len.saturating_sub(offset)).unwrap_or(usize::MAX);
        let len = buffer.len().min(wanted);
        let mut done = 0;
        // The part that holds `offset` is the last one that begins at or before it.
        let mut at = input.parts.partition_point(|(start, _)| *start <= offset).saturating_sub(1);
        while done < len {
            let (start, part) = &input.parts[at];
            at += 1;
            let skip = offset + done as u64 - start;
            let take = usize::try_from(part.len() - skip).unwrap_or(usize::MAX).min(len - done);
            if take == 0 {
                continue;
            }
            let target = &mut buffer[done..done + take];
            let filled = match part {
                Part::Bytes(bytes) => copy(bytes, skip, target),
                Part::Host { number, .. } => Self::opened(&mut self.open, &mut *self.ranges, *number)
                    .and_then(|opened| match opened {
                        Opened::File(file, offset) => file.read_exact_at(target, offset + skip),
                        Opened::Bytes(bytes) => copy(bytes, skip, target),
                    }),
            };
            filled.map_err(|error| Failure::Input { path: input.name.clone(), reason: error.to_string() })?;
            done += take;
        }
        Ok(len)
    }

    fn opened<'a>(
        open: &'a mut VecDeque<(u32, Opened)>,
        ranges: &mut dyn Ranges,
        number: u32,
    ) -> io::Result<&'a Opened> {
        let found = open.iter().position(|(known, _)| *known == number);
        let index = match found {
            Some(index) => index,
            None => {
                let opened = ranges.open(number)?;
                if open.len() == MAX_OPEN {
                    open.pop_front();
                }
                open.push_back((number, opened));
                open.len() - 1
            }
        };
        Ok(&open[index].1)
    }
}

/// Fills `target` from bytes in memory. Those that a parent has sent may be fewer than they should be.
fn copy(bytes: &[u8], skip: u64, target: &mut [u8]) -> io::Result<()> {
    let from = usize::try_from(skip).unwrap_or(usize::MAX);
    let found = bytes.get(from..).and_then(|rest| rest.get(..target.len()));
    target.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use tidemill_types::{BlobId, GuestPath};

    use super::*;

    #[test]
    fn segments_read_as_one_file_from_any_offset() {
        let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
        file.write_all(b"0123456789").expect("a write");
        let path = file.path().to_owned();
        let content = Content {
            segments: vec![
                Segment::Bytes(b">h\n".to_vec()),
                Segment::Bytes(Vec::new()),
                Segment::File { path: path.clone(), offset: 2, len: 5 },
                Segment::File { path, offset: 9, len: 1 },
            ],
        };
        let whole = b">h\n234569";
        let spec =
            InputSpec { path: GuestPath::new("x").expect("a path"), content: BlobId::of(whole), len: 9 };
        let mut inputs = Inputs::new(&[spec], Given::here(vec![content])).expect("lengths agree");
        for offset in 0..12usize {
            for len in 0..12usize {
                let mut buffer = vec![0; len];
                let read = inputs.read(0, offset as u64, &mut buffer).expect("a read");
                let from = offset.min(9);
                assert_eq!(&buffer[..read], &whole[from..(from + len).min(9)], "{offset}+{len}");
            }
        }
    }

    #[test]
    fn a_file_that_shrank_is_reported() {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        let spec = InputSpec { path: GuestPath::new("x").expect("a path"), content: BlobId::of(b""), len: 4 };
        let given = Given::here(vec![Content::file(file.path(), 4)]);
        let mut inputs = Inputs::new(&[spec], given).expect("lengths agree");
        assert!(matches!(inputs.read(0, 0, &mut [0; 4]), Err(Failure::Input { .. })));
    }
}
