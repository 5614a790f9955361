//! What parent and worker say to each other: frames of a little-endian `u32` length and a postcard
//! message, over a socket that descriptors travel by from the parent to the worker. The two are the same binary, so the
//! messages need no versions.
//!
//! The worker's keeper says [`Started`], the parent a [`Role`], the worker what it is held to
//! ([`crate::Confinement`]). Then each request has its reply; before a [`RunReply::Ran`] the worker may ask for code
//! and for inputs, and after one that says so the bytes of the output follow.
//!
//! A parent whose task is followed asks for one piece of the task's output at a time ([`ToRunning::Piece`]), at any time
//! of the task. The worker looks for that every few milliseconds and answers once more has been written. With one piece
//! under way, which the socket's buffer holds, a task never waits for its parent to read. What is asked for too late for
//! a task is of no meaning.

use std::{
    io::{self, Read, Write},
    num::NonZeroU64,
    time::Duration,
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_bytes::ByteBuf;
use tidemill_types::{BlobId, Failure, Millis, Outcome, TaskSpec, Usage};

use crate::{
    confine::{UnlistedCalls, Work},
    wasi::input::Part,
    wasm::Backend,
};

/// The longest frame: a program or its code.
pub(super) const MAX_FRAME_BYTES: usize = 1 << 30;

/// Outputs up to this size travel in the reply; larger ones follow it.
pub(super) const INLINE_BYTES: u64 = 256 << 10;

/// The number of the worker's process, as the parent knows it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Started {
    pub(super) pid: u32,
}

/// The first message to a worker: what it is for.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Role {
    pub(super) work: Work,
    pub(super) unlisted: UnlistedCalls,
}

/// A request to a compiling worker.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct CompileRequest {
    pub(super) floats: tidemill_types::FloatClass,
    pub(super) backend: Backend,
    /// Processor time allowed.
    pub(super) time: Millis,
    #[serde(with = "serde_bytes")]
    pub(super) program: Vec<u8>,
}

/// Its answer: code, or why there is none.
pub(super) type CompileReply = Result<ByteBuf, Failure>;

/// What a running worker is told.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum ToRunning {
    /// To run a task.
    Run(Box<RunRequest>),
    /// The answer to [`RunReply::NeedsCode`].
    Code(CodeReply),
    /// The answer to [`RunReply::NeedsRange`].
    Range(RangeReply),
    /// To send the next piece of output for the follow with this number.
    Piece(NonZeroU64),
}

/// A request to a running worker.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct RunRequest {
    pub(super) code: BlobId,
    pub(super) backend: Backend,
    pub(super) spec: TaskSpec,
    pub(super) contents: Vec<Vec<Part>>,
}

/// What a running worker says after a request.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum RunReply {
    /// It has not loaded the code: a [`CodeReply`] is to follow.
    NeedsCode,
    /// It needs the range with this number: a [`RangeReply`] is to follow.
    NeedsRange(u32),
    /// A piece of output that was asked for.
    Piece(Piece),
    /// The attempt came to an end.
    Ran(Box<Ran>),
}

/// A piece of what a task has written to standard output.
#[derive(PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Piece {
    /// The follow that it is for.
    pub(super) follow: NonZeroU64,
    /// How many bytes come before it.
    pub(super) offset: u64,
    /// At most [`crate::wasi::written::PIECE_BYTES`].
    #[serde(with = "serde_bytes")]
    pub(super) bytes: Vec<u8>,
}

/// Code for a worker.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum CodeReply {
    /// It is in the file that comes with this, of so many bytes.
    File(u64),
    /// There is none, and the request is over.
    None,
}

/// A range of a file of the host, for a worker.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum RangeReply {
    /// It begins at this offset of the file that comes with this.
    File(u64),
    /// Its bytes.
    Bytes(#[serde(with = "serde_bytes")] Vec<u8>),
    /// It cannot be read.
    Failed(String),
}

/// The report of an attempt, as it travels.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Ran {
    pub(super) outcome: Outcome,
    pub(super) usage: Usage,
    #[serde(with = "serde_bytes")]
    pub(super) log: Vec<u8>,
    pub(super) wall: Duration,
    pub(super) output: Body,
}

/// The output archive, as it travels.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Body {
    Inline(#[serde(with = "serde_bytes")] Vec<u8>),
    /// So many bytes come after this message.
    Follows(u64),
}

/// A message as a frame. `InvalidInput` when it is too long.
pub(super) fn encode(message: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut frame = postcard::to_extend(message, vec![0; 4]).map_err(io::Error::other)?;
    let len = frame.len() - 4;
    if len > MAX_FRAME_BYTES {
        let words = format!("a message of {len} bytes is too long for a worker");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, words));
    }
    let len = u32::try_from(len).map_err(io::Error::other)?;
    frame[..4].copy_from_slice(&len.to_le_bytes());
    Ok(frame)
}

pub(super) fn write_frame(writer: &mut impl Write, message: &impl Serialize) -> io::Result<()> {
    writer.write_all(&encode(message)?)?;
    writer.flush()
}

/// Reads one message. `UnexpectedEof` when the other side is gone.
pub(super) fn read_frame<T: DeserializeOwned>(reader: &mut impl Read) -> io::Result<T> {
    let mut len = [0; 4];
    reader.read_exact(&mut len)?;
    let len = frame_len(len, MAX_FRAME_BYTES)?;
    // The buffer grows with what arrives, not with what a broken peer claims.
    let mut frame = Vec::with_capacity(len.min(1 << 20));
    if reader.take(len as u64).read_to_end(&mut frame)? < len {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    decode(&frame)
}

/// How long a frame is that begins so. `InvalidData` when it would be longer than `most`.
pub(super) fn frame_len(head: [u8; 4], most: usize) -> io::Result<usize> {
    let len = u32::from_le_bytes(head) as usize;
    if len > most {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a frame claims {len} bytes")));
    }
    Ok(len)
}

/// The message of a frame.
pub(super) fn decode<T: DeserializeOwned>(frame: &[u8]) -> io::Result<T> {
    postcard::from_bytes(frame).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_follow_one_another() {
        let mut pipe = Vec::new();
        write_frame(&mut pipe, &"one").expect("a write");
        write_frame(&mut pipe, &vec![2u64; 100]).expect("a write");
        let mut reader = &pipe[..];
        assert_eq!(read_frame::<String>(&mut reader).expect("a frame"), "one");
        assert_eq!(read_frame::<Vec<u64>>(&mut reader).expect("a frame"), vec![2; 100]);
        let end = read_frame::<String>(&mut reader).expect_err("no more frames");
        assert_eq!(end.kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn pieces_travel_as_they_are() {
        let mut pipe = Vec::new();
        let follow = NonZeroU64::MIN;
        let piece = || Piece { follow, offset: u64::MAX, bytes: vec![7; 300] };
        write_frame(&mut pipe, &ToRunning::Piece(follow)).expect("a write");
        write_frame(&mut pipe, &RunReply::Piece(piece())).expect("a write");
        let mut reader = &pipe[..];
        let asked = read_frame::<ToRunning>(&mut reader).expect("a frame");
        assert!(matches!(asked, ToRunning::Piece(asked) if asked == follow));
        let said = read_frame::<RunReply>(&mut reader).expect("a frame");
        assert!(matches!(said, RunReply::Piece(said) if said == piece()));
    }

    #[test]
    fn broken_frames_are_refused() {
        let too_long = [0xff; 8];
        let cut_off = [9, 0, 0, 0, 1];
        let no_message = [1, 0, 0, 0, 9];
        for (bytes, kind) in [
            (&too_long[..], io::ErrorKind::InvalidData),
            (&cut_off[..], io::ErrorKind::UnexpectedEof),
            (&no_message[..], io::ErrorKind::InvalidData),
        ] {
            let error = read_frame::<String>(&mut &bytes[..]).expect_err("no frame");
            assert_eq!(error.kind(), kind);
        }
    }
}
