//! What the parent hands to a worker: code, and the ranges of files that a task was given.

use std::{
    fs::File,
    io::{self, Write},
    os::unix::fs::FileExt,
};

use super::protocol::RangeReply;
use crate::wasi::input::{HostRange, Part};

/// Ranges up to this length are handed as bytes. A blob's folder keeps small blobs of all jobs in the same files
/// (segments, of blobs up to 1 MiB), so a descriptor would hand over more than the task was given.
const MOST_AS_BYTES: u64 = 1 << 20;

/// So many bytes of small ranges go along with the request, which saves a question for each.
const SENT_ALONG_BYTES: u64 = 256 << 10;

/// Puts the bytes of the first small ranges in their places. What cannot be read is left to be asked for, and so fails
/// only a task that reads it. Returns how many bytes all parts have that go along.
pub(super) fn send_along(parts: &mut [Vec<Part>], ranges: &[HostRange]) -> u64 {
    let mut room = SENT_ALONG_BYTES;
    let mut sent = 0;
    for part in parts.iter_mut().flatten() {
        if let Part::Host { number, len } = *part
            && len <= room
            && let Some(bytes) = ranges.get(number as usize).and_then(|range| read(range).ok())
        {
            room -= len;
            *part = Part::Bytes(bytes);
        }
        if let Part::Bytes(bytes) = part {
            sent += bytes.len() as u64;
        }
    }
    sent
}

/// The answer to a worker that asks for a range, and the file that goes with it.
pub(super) fn range(ranges: &[HostRange], number: u32) -> (RangeReply, Option<File>) {
    let answer = || -> io::Result<_> {
        let range = ranges
            .get(number as usize)
            .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the task has no such input"))?;
        if range.len <= MOST_AS_BYTES {
            return Ok((RangeReply::Bytes(read(range)?), None));
        }
        Ok((RangeReply::File(range.offset), Some(File::open(&range.path)?)))
    };
    answer().unwrap_or_else(|error| (RangeReply::Failed(error.to_string()), None))
}

fn read(range: &HostRange) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(range.len).map_err(io::Error::other)?];
    File::open(&range.path)?.read_exact_at(&mut bytes, range.offset)?;
    Ok(bytes)
}

/// Bytes in a file of their own that has no name and that nobody can change any more.
#[cfg(target_os = "linux")]
pub(super) fn sealed(bytes: &[u8]) -> io::Result<File> {
    use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};

    let file = memfd_create("tidemill-code", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    let mut file = File::from(file);
    file.write_all(bytes)?;
    let seals = SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL;
    fcntl_add_seals(&file, seals)?;
    Ok(file)
}

/// Where files cannot be sealed, one without a name has to do.
#[cfg(not(target_os = "linux"))]
pub(super) fn sealed(bytes: &[u8]) -> io::Result<File> {
    let mut file = tempfile::tempfile()?;
    file.write_all(bytes)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use tidemill_types::{Content, Segment};

    use super::*;
    use crate::wasi::input::numbered;

    #[test]
    fn small_ranges_go_along_until_there_is_no_room() {
        let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
        file.write_all(&[7; 400_000]).expect("a write");
        let range = |offset, len| Segment::File { path: file.path().to_owned(), offset, len };
        let gone = Segment::File { path: file.path().join("gone"), offset: 0, len: 1 };
        let segments =
            vec![range(1, 200_000), range(0, 100_000), range(2, 3), gone, Segment::Bytes(vec![8; 5])];
        let (mut parts, ranges) = numbered(vec![Content { segments }]);
        assert_eq!(send_along(&mut parts, &ranges), 200_000 + 3 + 5);
        let is_sent = |part: &Part| matches!(part, Part::Bytes(_));
        let sent: Vec<_> = parts[0].iter().map(is_sent).collect();
        assert_eq!(sent, [true, false, true, false, true]);
    }

    #[test]
    fn only_long_ranges_hand_over_a_file() {
        let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
        file.write_all(&[7; 3 << 20]).expect("a write");
        let path = file.path().to_owned();
        let ranges = [
            HostRange { path: path.clone(), offset: 5, len: 1 << 20 },
            HostRange { path: path.clone(), offset: 5, len: (1 << 20) + 1 },
            HostRange { path: path.join("gone"), offset: 0, len: 1 },
        ];
        let small = range(&ranges, 0);
        assert!(matches!(&small, (RangeReply::Bytes(bytes), None) if bytes.len() == 1 << 20));
        assert!(matches!(range(&ranges, 1), (RangeReply::File(5), Some(_))));
        assert!(matches!(range(&ranges, 2), (RangeReply::Failed(_), None)));
        assert!(matches!(range(&ranges, 3), (RangeReply::Failed(_), None)));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_sealed_file_cannot_be_changed() {
        let mut file = sealed(b"code").expect("a sealed file");
        assert!(file.write_all(b"other code").is_err());
        assert!(file.set_len(0).is_err());
        let mut bytes = [0; 4];
        file.read_exact_at(&mut bytes, 0).expect("a read");
        assert_eq!(&bytes, b"code");
    }
}
