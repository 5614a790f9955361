//! The file of a model: found to be what its hash says before a worker gets it.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::MetadataExt,
    sync::{Mutex, PoisonError},
};

use tidemill_exec::{Cancel, Program};
use tidemill_types::{BlobId, Content, Failure, Segment};

/// Shorter ones may share their file with blobs of other jobs, which a descriptor would hand over as well.
const LEAST_OF_A_FILE: u64 = 1 << 20;

/// Bytes that are hashed at a time, so that a cancelled task does not wait for all of a model.
const STEP: usize = 1 << 20;

/// A model that can be handed to a worker.
#[derive(Debug)]
pub(crate) struct Handed {
    pub(crate) file: File,
    pub(crate) offset: u64,
    pub(crate) len: u64,
}

/// Which files were found to be right: by device, inode, length, and the time of the last change.
#[derive(Debug, Default)]
pub(crate) struct Known(Mutex<HashMap<(BlobId, u64), Stamp>>);

type Stamp = (u64, u64, u64, i64, i64);

impl Known {
    /// The model's file, if it has the bytes that its hash says.
    ///
    /// # Errors
    /// [`Failure::Host`] where it cannot be read or was changed, [`Failure::Cancelled`].
    pub(crate) fn open(&self, program: &Program, cancel: &Cancel) -> Result<Handed, Failure> {
        let host = |error: io::Error| Failure::Host {
            reason: format!("cannot read the model {}: {error}", program.id),
        };
        let Some((path, offset, len)) = one_file(&program.content) else {
            let file = copied(&program.content).map_err(host)?;
            let len = program.content.len();
            self.check(program.id, &file, 0, len, cancel)?;
            return Ok(Handed { file, offset: 0, len });
        };
        let file = File::open(path).map_err(host)?;
        let stamp = stamp(&file).map_err(host)?;
        let key = (program.id, offset);
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&key).copied();
        if known != Some(stamp) {
            self.check(program.id, &file, offset, len, cancel)?;
            self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key, stamp);
        }
        Ok(Handed { file, offset, len })
    }

    fn check(&self, id: BlobId, file: &File, offset: u64, len: u64, cancel: &Cancel) -> Result<(), Failure> {
        let host =
            |error: io::Error| Failure::Host { reason: format!("cannot read the model {id}: {error}") };
        let mut file = file;
        file.seek(SeekFrom::Start(offset)).map_err(host)?;
        let mut hasher = blake3::Hasher::new();
        let mut buffer = vec![0; STEP];
        let mut left = len;
        while left > 0 {
            if cancel.is_cancelled() {
                return Err(Failure::Cancelled);
            }
            let part = usize::try_from(left).unwrap_or(STEP).min(STEP);
            file.read_exact(&mut buffer[..part]).map_err(host)?;
            hasher.update(&buffer[..part]);
            left -= part as u64;
        }
        if BlobId::from_hash(hasher.finalize()) == id {
            return Ok(());
        }
        Err(Failure::Host { reason: format!("the file of the model {id} was changed") })
    }
}

/// The file that a content is a range of, if it is one of a file of its own.
fn one_file(content: &Content) -> Option<(&std::path::Path, u64, u64)> {
    match content.segments.as_slice() {
        [Segment::File { path, offset, len }] if *len > LEAST_OF_A_FILE => Some((path, *offset, *len)),
        _ => None,
    }
}

/// The bytes in a file of their own, without a name.
fn copied(content: &Content) -> io::Result<File> {
    let mut all = tempfile::tempfile()?;
    for segment in &content.segments {
        match segment {
            Segment::Bytes(bytes) => all.write_all(bytes)?,
            Segment::File { path, offset, len } => {
                let mut file = File::open(path)?;
                file.seek(SeekFrom::Start(*offset))?;
                if io::copy(&mut file.take(*len), &mut all)? != *len {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
        }
    }
    // What is handed over can be read, and by a descriptor that cannot write.
    let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&all));
    File::open(path).or(Ok(all))
}

fn stamp(file: &File) -> io::Result<Stamp> {
    let metadata = file.metadata()?;
    Ok((metadata.dev(), metadata.ino(), metadata.len(), metadata.mtime(), metadata.mtime_nsec()))
}

#[cfg(test)]
mod tests {
    use tidemill_types::ProgramKind;

    use super::*;

    #[test]
    fn a_model_is_handed_over_if_it_is_what_its_hash_says() {
        let bytes: Vec<u8> = (0..3_000_000u32).map(|n| n.to_le_bytes()[0]).collect();
        let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
        file.write_all(b"before").expect("a write");
        file.write_all(&bytes).expect("a write");
        let segment = Segment::File { path: file.path().to_owned(), offset: 6, len: bytes.len() as u64 };
        let program = |id| Program::new(id, ProgramKind::Infer, Content { segments: vec![segment.clone()] });
        let known = Known::default();
        let right = program(BlobId::of(&bytes));
        let handed = known.open(&right, &Cancel::default()).expect("it is right");
        assert_eq!((handed.offset, handed.len), (6, 3_000_000));
        // A second time it need not be read: a cancelled task would say so.
        let cancelled = Cancel::default();
        cancelled.cancel();
        assert!(known.open(&right, &cancelled).is_ok());
        assert_eq!(known.open(&program(BlobId::of(b"other")), &cancelled).err(), Some(Failure::Cancelled));
        let other = known.open(&program(BlobId::of(b"other")), &Cancel::default());
        assert!(matches!(other, Err(Failure::Host { reason }) if reason.contains("was changed")));
        // One that was written to is read again.
        file.write_all(b"after").expect("a write");
        assert_eq!(known.open(&right, &cancelled).err(), Some(Failure::Cancelled));

        let small = Program::new(BlobId::of(b"model"), ProgramKind::Infer, Content::bytes(*b"model"));
        let mut handed = known.open(&small, &Cancel::default()).expect("it is right");
        let mut text = String::new();
        handed.file.seek(SeekFrom::Start(handed.offset)).expect("a file");
        handed.file.read_to_string(&mut text).expect("a text");
        assert_eq!(text, "model");
    }
}
