//! The form of the file: a line that says what it is, then frames. A frame is what one write brought, so of all frames
//! only the last can have been torn by a crash.

use super::Entry;

/// What a file begins with.
pub(super) const HEAD: &[u8] = b"tidemill payments, version 1\n";

/// What a frame begins with: bytes that no text has.
const MARK: [u8; 4] = *b"\xf5pay";

/// Mark, length and checksum.
const OVERHEAD: usize = 4 + 4 + SUM;
const SUM: usize = 16;

/// The longest content of a frame. What is written at once is far below.
const MOST_BYTES: usize = 16 << 20;

/// The frames of a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Scan {
    /// How long the file is up to the end of its last whole frame.
    pub(super) good: usize,
    /// How many bytes come after it.
    pub(super) torn: usize,
}

/// What is wrong with a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Damage {
    /// It does not begin as one of ours.
    Head,
    /// What is at this place cannot be read, and what comes after it can.
    At(usize),
}

/// One frame.
pub(super) fn encode(entries: &[Entry]) -> Vec<u8> {
    let content = postcard::to_stdvec(entries).expect("entries are plain data, and memory takes them");
    assert!(content.len() <= MOST_BYTES, "few entries are written at once");
    let len = u32::try_from(content.len()).expect("it is below 16 MiB").to_le_bytes();
    [&MARK[..], &len, &sum(len, &content), &content].concat()
}

/// Reads a file, frame by frame.
pub(super) fn scan(bytes: &[u8], mut take: impl FnMut(Vec<Entry>)) -> Result<Scan, Damage> {
    if !bytes.starts_with(HEAD) {
        // A file is made whole, but its maker may have been another program, or a disk that forgets.
        let is_torn = HEAD.starts_with(bytes);
        return if is_torn { Ok(Scan { good: 0, torn: bytes.len() }) } else { Err(Damage::Head) };
    }
    let mut at = HEAD.len();
    while let Some((content, len)) = frame(&bytes[at..]) {
        // A checksum that holds over what cannot be read is a newer program's.
        take(postcard::from_bytes(content).map_err(|_| Damage::At(at))?);
        at += len;
    }
    let rest = &bytes[at..];
    let goes_on = (1..rest.len()).any(|skipped| frame(&rest[skipped..]).is_some());
    if goes_on { Err(Damage::At(at)) } else { Ok(Scan { good: at, torn: rest.len() }) }
}

/// The content of the frame that these bytes begin with, and its whole length.
fn frame(bytes: &[u8]) -> Option<(&[u8], usize)> {
    let rest = bytes.strip_prefix(&MARK)?;
    let (len, rest) = rest.split_first_chunk::<4>()?;
    let (found, rest) = rest.split_first_chunk::<SUM>()?;
    let count = usize::try_from(u32::from_le_bytes(*len)).ok()?;
    let content = rest.get(..count).filter(|_| count <= MOST_BYTES)?;
    (sum(*len, content) == *found).then_some((content, OVERHEAD + count))
}

fn sum(len: [u8; 4], content: &[u8]) -> [u8; SUM] {
    let mut hasher = blake3::Hasher::new_derive_key("tidemill 2026 journal of payments");
    hasher.update(&len);
    hasher.update(content);
    let hash = hasher.finalize();
    *hash.as_bytes().first_chunk().expect("a hash has 32 bytes")
}
