//! Messages on a stream: four bytes of length, little-endian, then a postcard message.
//!
//! [`Decoder`] is the pure half. [`FrameReader`] and [`FrameWriter`] put it on a stream; a call of either that is
//! dropped in its middle loses nothing, so both may stand in a `select!`.

use std::{any::type_name, io};

use bytes::{Buf, Bytes, BytesMut};
use serde::{Serialize, de::DeserializeOwned};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// The length field of a frame, in bytes.
const HEADER_BYTES: usize = 4;

/// How much is read at once at the least.
const READ_BYTES: usize = 16 << 10;

/// A buffer that a large frame made larger than this is given back once it is empty.
const KEPT_BYTES: usize = 256 << 10;

/// A stream of frames that broke. Nothing can be read from it any more.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// A frame is longer than its reader or writer allows.
    #[error("a frame of {len} bytes; at most {limit} are allowed")]
    Oversized {
        /// Its length, as far as it is known.
        len: usize,
        /// What is allowed.
        limit: usize,
    },
    /// A frame is no message of the expected type.
    #[error("a frame is not a {expected}")]
    Garbage {
        /// The type.
        expected: &'static str,
        /// Why.
        source: postcard::Error,
    },
    /// A frame goes on after its message.
    #[error("a frame has {extra} bytes after its {expected}")]
    Trailing {
        /// The type.
        expected: &'static str,
        /// How many.
        extra: usize,
    },
    /// The stream ended inside a frame.
    #[error("the stream ended inside a frame, after {have} bytes of it")]
    CutOff {
        /// How many bytes of the frame had arrived, its length field included.
        have: usize,
    },
    /// The message cannot be encoded.
    #[error("cannot encode a {what}")]
    Encode {
        /// The message's type.
        what: &'static str,
        /// Why.
        source: postcard::Error,
    },
    /// The stream failed.
    #[error("the stream failed")]
    Io(#[source] io::Error),
}

impl FrameError {
    /// Whether the other side broke the protocol, rather than the stream having ended.
    pub fn is_offence(&self) -> bool {
        matches!(self, Self::Oversized { .. } | Self::Garbage { .. } | Self::Trailing { .. })
    }
}

/// Takes a stream of bytes apart into frames. Holds no more than what has arrived, whatever a length field claims.
#[derive(Debug)]
pub struct Decoder {
    buffer: BytesMut,
    limit: usize,
}

impl Decoder {
    /// A decoder of frames of at most `limit` bytes, their length fields not counted.
    pub fn new(limit: usize) -> Self {
        Self { buffer: BytesMut::new(), limit }
    }

    /// Changes the limit from the next frame on.
    pub fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// Takes in what arrived.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole frame, or `None` until more has arrived.
    ///
    /// # Errors
    /// [`FrameError::Oversized`], as soon as a length field says so.
    pub fn next_frame(&mut self) -> Result<Option<Bytes>, FrameError> {
        let Some(header) = self.buffer.first_chunk::<HEADER_BYTES>() else { return Ok(None) };
        let len = u32::from_le_bytes(*header) as usize;
        if len > self.limit {
            return Err(FrameError::Oversized { len, limit: self.limit });
        }
        if self.buffer.len() - HEADER_BYTES < len {
            return Ok(None);
        }
        self.buffer.advance(HEADER_BYTES);
        let frame = self.buffer.split_to(len).freeze();
        if self.buffer.is_empty() && self.buffer.capacity() > KEPT_BYTES {
            self.buffer = BytesMut::new();
        }
        Ok(Some(frame))
    }

    /// To be called when the stream has ended.
    ///
    /// # Errors
    /// [`FrameError::CutOff`] when that was inside a frame.
    pub fn finish(&self) -> Result<(), FrameError> {
        if self.buffer.is_empty() { Ok(()) } else { Err(FrameError::CutOff { have: self.buffer.len() }) }
    }
}

/// How many bytes a message has in a frame, its length field not counted.
///
/// # Errors
/// [`FrameError::Encode`]
pub fn encoded_len<T: Serialize + ?Sized>(message: &T) -> Result<usize, FrameError> {
    let mut count = Count(0);
    let encoded = postcard::to_io(message, &mut count).map(|_| ());
    encoded.map_err(|source| FrameError::Encode { what: type_name::<T>(), source })?;
    Ok(count.0)
}

/// The message in a frame, which must be all of it.
///
/// # Errors
/// [`FrameError::Garbage`] and [`FrameError::Trailing`].
pub fn decode<T: DeserializeOwned>(frame: &[u8]) -> Result<T, FrameError> {
    let expected = type_name::<T>();
    let (message, rest) =
        postcard::take_from_bytes(frame).map_err(|source| FrameError::Garbage { expected, source })?;
    if rest.is_empty() { Ok(message) } else { Err(FrameError::Trailing { expected, extra: rest.len() }) }
}

/// Reads messages from a stream.
#[derive(Debug)]
pub struct FrameReader<R> {
    stream: R,
    decoder: Decoder,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    /// A reader of frames of at most `limit` bytes.
    pub fn new(stream: R, limit: usize) -> Self {
        Self { stream, decoder: Decoder::new(limit) }
    }

    /// Changes the limit from the next frame on.
    pub fn set_limit(&mut self, limit: usize) {
        self.decoder.set_limit(limit);
    }

    /// The next message, or `None` when the stream has ended after a whole one. Dropped in its middle, it loses
    /// nothing.
    ///
    /// # Errors
    /// [`FrameError`]; the stream is of no use after one.
    pub async fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>, FrameError> {
        self.next_bytes().await?.map(|frame| decode(&frame)).transpose()
    }

    /// The next frame as it is; like [`Self::next`].
    ///
    /// # Errors
    /// [`FrameError`]; the stream is of no use after one.
    pub async fn next_bytes(&mut self) -> Result<Option<Bytes>, FrameError> {
        loop {
            if let Some(frame) = self.decoder.next_frame()? {
                return Ok(Some(frame));
            }
            self.decoder.buffer.reserve(READ_BYTES);
            // `read_buf` either has added what it read to the buffer or was dropped before it read anything.
            if self.stream.read_buf(&mut self.decoder.buffer).await.map_err(FrameError::Io)? == 0 {
                self.decoder.finish()?;
                return Ok(None);
            }
        }
    }

    /// The stream itself. What was read of it and not taken is lost.
    pub fn into_inner(self) -> R {
        self.stream
    }
}

/// Writes messages to a stream. A reader that does not keep up makes [`FrameWriter::flush`] wait.
#[derive(Debug)]
pub struct FrameWriter<W> {
    stream: W,
    /// Frames that wait, the first `sent` bytes of which are sent.
    waiting: Vec<u8>,
    sent: usize,
    limit: usize,
}

impl<W: AsyncWrite + Unpin> FrameWriter<W> {
    /// A writer of frames of at most `limit` bytes.
    pub fn new(stream: W, limit: usize) -> Self {
        Self { stream, waiting: Vec::new(), sent: 0, limit }
    }

    /// Adds a message to those that wait for [`Self::flush`].
    ///
    /// # Errors
    /// [`FrameError::Oversized`] and [`FrameError::Encode`]; nothing is added then, and the writer stays of use.
    pub fn push<T: Serialize + ?Sized>(&mut self, message: &T) -> Result<(), FrameError> {
        let start = self.waiting.len();
        self.waiting.extend_from_slice(&[0; HEADER_BYTES]);
        let mut body = Body { bytes: &mut self.waiting, left: self.limit, over: 0 };
        let encoded = postcard::to_io(message, &mut body).map(|_| ());
        let over = body.over;
        let what = type_name::<T>();
        let checked = match encoded {
            _ if over > 0 => Err(FrameError::Oversized { len: self.limit + over, limit: self.limit }),
            encoded => encoded.map_err(|source| FrameError::Encode { what, source }),
        };
        self.seal(start, checked)
    }

    /// Like [`Self::push`], for a frame whose bytes are made already.
    ///
    /// # Errors
    /// [`FrameError::Oversized`]
    pub fn push_bytes(&mut self, frame: &[u8]) -> Result<(), FrameError> {
        if frame.len() > self.limit {
            return Err(FrameError::Oversized { len: frame.len(), limit: self.limit });
        }
        let start = self.waiting.len();
        self.waiting.extend_from_slice(&[0; HEADER_BYTES]);
        self.waiting.extend_from_slice(frame);
        self.seal(start, Ok(()))
    }

    /// Fills in the length of the frame that begins at `start`, or takes it away.
    fn seal(&mut self, start: usize, checked: Result<(), FrameError>) -> Result<(), FrameError> {
        let len = self.waiting.len() - start - HEADER_BYTES;
        let checked = checked.and_then(|()| {
            u32::try_from(len).map_err(|_| FrameError::Oversized { len, limit: u32::MAX as usize })
        });
        match checked {
            Ok(len) => {
                self.waiting[start..start + HEADER_BYTES].copy_from_slice(&len.to_le_bytes());
                Ok(())
            }
            Err(error) => {
                self.waiting.truncate(start);
                Err(error)
            }
        }
    }

    /// How many bytes wait for [`Self::flush`].
    pub fn waiting(&self) -> usize {
        self.waiting.len() - self.sent
    }

    /// Sends all that waits. Dropped in its middle, it loses nothing: the next call goes on.
    ///
    /// # Errors
    /// [`FrameError::Io`]
    pub async fn flush(&mut self) -> Result<(), FrameError> {
        while self.sent < self.waiting.len() {
            let sent = self.stream.write(&self.waiting[self.sent..]).await.map_err(FrameError::Io)?;
            if sent == 0 {
                return Err(FrameError::Io(io::ErrorKind::WriteZero.into()));
            }
            self.sent += sent;
        }
        self.waiting.clear();
        self.waiting.shrink_to(KEPT_BYTES);
        self.sent = 0;
        self.stream.flush().await.map_err(FrameError::Io)
    }

    /// Adds a message and sends all that waits.
    ///
    /// # Errors
    /// Those of [`Self::push`] and [`Self::flush`].
    pub async fn send<T: Serialize + ?Sized>(&mut self, message: &T) -> Result<(), FrameError> {
        self.push(message)?;
        self.flush().await
    }

    /// The stream itself. What waits is lost.
    pub fn into_inner(self) -> W {
        self.stream
    }
}

/// Counts what is written to it.
struct Count(usize);

impl io::Write for Count {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Where a message is encoded to: never more than `left` bytes, whatever its type does.
struct Body<'a> {
    bytes: &'a mut Vec<u8>,
    left: usize,
    over: usize,
}

impl io::Write for Body<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() > self.left {
            self.over = bytes.len() - self.left;
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        self.left -= bytes.len();
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
