//! Unpacking compressed files that are to be cut: pieces are ranges of a file, and of a compressed one no range can be
//! read alone.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write},
    path::Path,
    sync::Arc,
};

use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::{
    FrameDecoder, StreamingDecoder,
    errors::{FrameDecoderError, ReadFrameHeaderError},
};
use tempfile::TempPath;
use tidemill_scratch::Scratch;
use tidemill_types::ByteSize;

use crate::{Compression, Form};

/// How many times its own length a file may unpack to, beside [`FREE_BYTES`]: text shrinks to a tenth, files of
/// nothing but zeros to a thousandth.
const MAX_RATIO: u64 = 1_000;

/// What any file may unpack to.
const FREE_BYTES: u64 = 64 << 20;

/// How much is unpacked at a time.
const CHUNK_BYTES: usize = 256 << 10;

/// Why a compressed file could not be unpacked.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// It cannot be read.
    #[error("the file cannot be read")]
    Read(#[source] io::Error),
    /// It is damaged, or cut off.
    #[error("it is damaged, or not all there ({compression})")]
    Damaged {
        /// How it is compressed.
        compression: Compression,
        /// What the decoder said.
        #[source]
        source: io::Error,
    },
    /// It would become far longer than what is compressed by rights does.
    #[error(
        "it unpacks to more than {most}, which is {MAX_RATIO} times its own length and {} more; unpack it first, if it is right",
        ByteSize(FREE_BYTES)
    )]
    Ratio {
        /// What it may unpack to.
        most: ByteSize,
    },
    /// It would take more room than there is for it.
    #[error("it unpacks to more than {most}, and that is all the room there is; unpack it first")]
    Room {
        /// What it may unpack to.
        most: ByteSize,
    },
    /// The disk does not take what it holds.
    #[error("it cannot be unpacked into {}", std::env::temp_dir().display())]
    Write(#[source] io::Error),
}

/// A file that was compressed.
pub(super) struct Unpacked {
    /// What it holds.
    pub(super) file: File,
    /// Where that is, until the last copy of this is dropped.
    pub(super) place: Arc<UnpackedFile>,
}

/// The file that a compressed one was unpacked to. Dropped, it is gone.
#[derive(Debug)]
pub(crate) struct UnpackedFile {
    path: TempPath,
    _room: Arc<Scratch>,
}

impl UnpackedFile {
    /// Its path, which is absolute.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

/// Unpacks a file that is compressed with gzip or zstd, by its content; nothing where it is not. `room` is where to, for
/// all files of a plan, and is made for the first. `most` is what the file may unpack to, however long it is.
pub(super) fn unpacked(
    file: &mut File,
    room: &mut Option<Arc<Scratch>>,
    most: u64,
) -> Result<Option<Unpacked>, UnpackError> {
    let compressed = file.seek(SeekFrom::End(0)).map_err(UnpackError::Read)?;
    file.rewind().map_err(UnpackError::Read)?;
    let mut input = BufReader::with_capacity(CHUNK_BYTES, file);
    let compression = match Form::of(input.fill_buf().map_err(UnpackError::Read)?) {
        Form::Compressed(compression @ (Compression::Gzip | Compression::Zstd)) => compression,
        _ => return Ok(None),
    };
    let room = match room {
        Some(room) => room.clone(),
        None => room.insert(Arc::new(Scratch::temporary().map_err(UnpackError::Write)?)).clone(),
    };
    let place = tempfile::NamedTempFile::new_in(room.path()).map_err(UnpackError::Write)?;
    let by_ratio = compressed.saturating_mul(MAX_RATIO).saturating_add(FREE_BYTES);
    let mut output =
        Output { file: place.as_file(), compression, len: 0, most: by_ratio.min(most), by_ratio };
    match compression {
        Compression::Gzip => output.take(MultiGzDecoder::new(input))?,
        _ => frames(input, &mut output)?,
    }
    let (file, path) = place.into_parts();
    Ok(Some(Unpacked { file, place: Arc::new(UnpackedFile { path, _room: room }) }))
}

/// Where what is unpacked goes.
struct Output<'a> {
    file: &'a File,
    compression: Compression,
    len: u64,
    most: u64,
    /// What it may be by its own length.
    by_ratio: u64,
}

impl Output<'_> {
    /// Takes all that a decoder gives.
    fn take(&mut self, mut decoder: impl Read) -> Result<(), UnpackError> {
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            let read = match decoder.read(&mut chunk) {
                Ok(0) => return Ok(()),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(self.damaged(error)),
            };
            self.len += read as u64;
            if self.len > self.most {
                let most = ByteSize(self.most);
                return Err(match self.most < self.by_ratio {
                    true => UnpackError::Room { most },
                    false => UnpackError::Ratio { most },
                });
            }
            self.file.write_all(&chunk[..read]).map_err(UnpackError::Write)?;
        }
    }

    fn damaged(&self, source: io::Error) -> UnpackError {
        let source = match self.compression {
            // What its decoder says is for who develops it.
            Compression::Zstd if source.kind() == io::ErrorKind::Other => {
                io::Error::new(io::ErrorKind::InvalidData, "a frame ends early or makes no sense")
            }
            _ => source,
        };
        UnpackError::Damaged { compression: self.compression, source }
    }
}

/// Unpacks the frames of a zstd file one after another, as its format wants, and leaves out those to be skipped.
fn frames(mut input: impl BufRead, output: &mut Output<'_>) -> Result<(), UnpackError> {
    while !input.fill_buf().map_err(UnpackError::Read)?.is_empty() {
        let mut decoder = match StreamingDecoder::new(&mut input) {
            Ok(decoder) => decoder,
            Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                length, ..
            })) => {
                let length = u64::from(length);
                let skipped = io::copy(&mut (&mut input).take(length), &mut io::sink());
                if skipped.map_err(UnpackError::Read)? < length {
                    return Err(output.damaged(io::ErrorKind::UnexpectedEof.into()));
                }
                continue;
            }
            Err(error) => return Err(output.damaged(io::Error::other(error))),
        };
        output.take(&mut decoder)?;
        check(&decoder.decoder).map_err(|error| output.damaged(error))?;
    }
    Ok(())
}

/// The decoder leaves comparing the checksum to its user.
fn check(decoder: &FrameDecoder) -> io::Result<()> {
    match decoder.get_checksum_from_data() {
        Some(stated) if decoder.get_calculated_checksum() != Some(stated) => {
            Err(io::Error::new(io::ErrorKind::InvalidData, "its checksum does not match"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use flate2::{Compression as Level, write::GzEncoder};
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};

    use super::*;

    fn file(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().expect("a temporary file");
        file.write_all(bytes).expect("it can be written");
        file
    }

    fn unpack(bytes: &[u8]) -> Result<Option<String>, UnpackError> {
        let unpacked = unpacked(&mut file(bytes), &mut None, u64::MAX)?;
        Ok(unpacked.map(|unpacked| std::fs::read_to_string(unpacked.place.path()).expect("text")))
    }

    fn gzip(text: &str) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Level::fast());
        encoder.write_all(text.as_bytes()).expect("memory takes it");
        encoder.finish().expect("memory takes it")
    }

    fn zstd(text: &str) -> Vec<u8> {
        compress_to_vec(text.as_bytes(), CompressionLevel::Fastest)
    }

    #[test]
    fn members_and_frames_follow_each_other() {
        for pack in [gzip, zstd] {
            let two = [pack("a\nb\n"), pack("c\n")].concat();
            assert_eq!(unpack(&two).expect("it is whole").as_deref(), Some("a\nb\nc\n"));
        }
        let skipped = [&[0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, b'x', b'y', b'z'][..], &zstd("a\n")].concat();
        let led = [zstd("b\n"), skipped].concat();
        assert_eq!(unpack(&led).expect("it is whole").as_deref(), Some("b\na\n"));
        assert_eq!(unpack(&led[zstd("b\n").len()..]).expect("it is whole").as_deref(), Some("a\n"));
        assert_eq!(unpack(b"plain\n").expect("it can be read"), None);
    }

    #[test]
    fn what_is_cut_off_or_damaged_is_refused() {
        let text = "ACGT".repeat(1000);
        for pack in [gzip, zstd] {
            let whole = pack(&text);
            let cut = &whole[..whole.len() - 3];
            assert!(matches!(unpack(cut), Err(UnpackError::Damaged { .. })));
        }
        let mut damaged = gzip(&text);
        let crc = damaged.len() - 8;
        damaged[crc] ^= 1;
        assert!(matches!(unpack(&damaged), Err(UnpackError::Damaged { .. })));
    }

    #[test]
    fn what_unpacks_to_far_more_is_refused() {
        let file = file(b"");
        let compression = Compression::Gzip;
        let mut output = Output { file: &file, compression, len: 0, most: 9, by_ratio: 9 };
        assert!(matches!(output.take(&[0; 10][..]), Err(UnpackError::Ratio { most: ByteSize(9) })));
        let mut output = Output { file: &file, compression, len: 0, most: 9, by_ratio: 10 };
        assert!(matches!(output.take(&[0; 10][..]), Err(UnpackError::Room { most: ByteSize(9) })));
    }

    #[test]
    fn what_was_unpacked_goes_with_its_last_user() {
        let mut room = None;
        let mut unpack = |text: &str| {
            let unpacked = unpacked(&mut file(&gzip(text)), &mut room, u64::MAX).expect("it is whole");
            unpacked.expect("it is compressed").place
        };
        let (first, second) = (unpack("a"), unpack("b"));
        let directory = room.take().expect("it was made").path().to_owned();
        let (path, copy) = (first.path().to_owned(), first.clone());
        assert!(path.starts_with(&directory) && second.path().starts_with(&directory));
        drop(first);
        assert!(path.exists());
        drop(copy);
        assert!(!path.exists() && second.path().exists());
        drop(second);
        assert!(!directory.exists(), "the directory goes with the last file in it");
    }
}
