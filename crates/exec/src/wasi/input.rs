//! Reading inputs from the host by offset, so that memory does not grow with them.

use std::{collections::VecDeque, fs::File, os::unix::fs::FileExt, path::PathBuf};

use tidemill_types::{Content, Failure, InputSpec, Segment};

/// Host files kept open at a time for one task. A reduce may have ten thousand inputs.
const MAX_OPEN: usize = 64;

/// The inputs of one task.
#[derive(Debug)]
pub(crate) struct Inputs {
    inputs: Vec<Input>,
    open: VecDeque<(PathBuf, File)>,
}

#[derive(Debug)]
struct Input {
    name: String,
    len: u64,
    /// Each segment behind the offset of its first byte.
    segments: Vec<(u64, Segment)>,
}

impl Inputs {
    pub(crate) fn new(specs: &[InputSpec], contents: Vec<Content>) -> Result<Self, Failure> {
        if specs.len() != contents.len() {
            let reason = format!("{} inputs were described, {} given", specs.len(), contents.len());
            return Err(Failure::Host { reason });
        }
        let inputs = specs
            .iter()
            .zip(contents)
            .map(|(spec, content)| {
                if content.len() != spec.len {
                    let reason = format!("it should have {} bytes and has {}", spec.len, content.len());
                    return Err(Failure::Input { path: spec.path.to_string(), reason });
                }
                let segments = content.segments.into_iter().scan(0, |offset, segment| {
                    let start = *offset;
                    *offset += segment.len();
                    Some((start, segment))
                });
                Ok(Input { name: spec.path.to_string(), len: spec.len, segments: segments.collect() })
            })
            .collect::<Result<_, Failure>>()?;
        Ok(Self { inputs, open: VecDeque::new() })
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
        // The segment that holds `offset` is the last one that begins at or before it.
        let mut at = input.segments.partition_point(|(start, _)| *start <= offset).saturating_sub(1);
        while done < len {
            let (start, segment) = &input.segments[at];
            at += 1;
            let skip = offset + done as u64 - start;
            let take = usize::try_from(segment.len() - skip).unwrap_or(usize::MAX).min(len - done);
            if take == 0 {
                continue;
            }
            let target = &mut buffer[done..done + take];
            match segment {
                Segment::Bytes(bytes) => {
                    let from = usize::try_from(skip).expect("an offset into bytes in memory fits");
                    target.copy_from_slice(&bytes[from..from + take]);
                }
                Segment::File { path, offset, .. } => {
                    let file = Self::file(&mut self.open, path);
                    file.and_then(|file| file.read_exact_at(target, offset + skip)).map_err(|error| {
                        Failure::Input { path: input.name.clone(), reason: error.to_string() }
                    })?;
                }
            }
            done += take;
        }
        Ok(len)
    }

    fn file<'a>(open: &'a mut VecDeque<(PathBuf, File)>, path: &PathBuf) -> std::io::Result<&'a File> {
        let found = open.iter().position(|(known, _)| known == path);
        let index = match found {
            Some(index) => index,
            None => {
                let file = File::open(path)?;
                if open.len() == MAX_OPEN {
                    open.pop_front();
                }
                open.push_back((path.clone(), file));
                open.len() - 1
            }
        };
        Ok(&open[index].1)
    }
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
        let mut inputs = Inputs::new(&[spec], vec![content]).expect("lengths agree");
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
        let mut inputs = Inputs::new(&[spec], vec![Content::file(file.path(), 4)]).expect("lengths agree");
        assert!(matches!(inputs.read(0, 0, &mut [0; 4]), Err(Failure::Input { .. })));
    }
}
