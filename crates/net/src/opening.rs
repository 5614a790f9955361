//! The first frame each way: who speaks which versions of what.
//!
//! Its layout never changes, so that an old, a new and a foreign program can always tell each other why they will
//! not talk. Numbers are little-endian; a frame is as in [`crate::frame`].
//!
//! | opening | bytes | | answer | bytes |
//! | --- | --- | --- | --- | --- |
//! | `tidemill` | 8 | | `tidemill` | 8 |
//! | first version spoken | 4 | | 1: welcome, 2: refused, 3: not now, 4: taken | 1 |
//! | last version spoken | 4 | | welcome: the version chosen | 4 |
//! | body, for the session's protocol | rest | | welcome: body; otherwise why, UTF-8 | rest |

use std::{any::type_name, time::Duration};

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::timeout,
};

use crate::frame::{self, FrameError, FrameReader, FrameWriter};

/// The longest first frame.
pub const MAX_OPENING_BYTES: usize = 256 << 10;

/// How long the other side's first frame is waited for, unless the caller knows better.
pub const OPENING_PATIENCE: Duration = Duration::from_secs(5);

/// The longest reason of a refusal, in bytes. A longer one is cut.
pub const MAX_REASON_BYTES: usize = 1024;

const MAGIC: &[u8; 8] = b"tidemill";
const WELCOME: u8 = 1;
const REFUSED: u8 = 2;
const NOT_NOW: u8 = 3;
const TAKEN: u8 = 4;

/// The first frame of the side that dialed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Opening {
    /// The first and the last version that it speaks.
    pub versions: (u32, u32),
    /// What it says about itself; the session's protocol knows its form.
    pub body: Bytes,
}

/// The first frame of the side that was dialed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// The session begins.
    Welcome {
        /// The version that both sides speak from now on.
        version: u32,
        /// What it says about itself.
        body: Bytes,
    },
    /// There will be no session.
    Refused {
        /// Why, for a person.
        reason: String,
    },
    /// There will be none for now.
    NotNow {
        /// Why, for a person.
        reason: String,
    },
    /// There will be none while another process of the same node has one.
    Taken {
        /// Where that one is, for a person.
        reason: String,
    },
}

/// A first frame with another layout.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum LayoutError {
    /// It is not one of Tidemill's.
    #[error("the other side does not speak Tidemill's session protocol")]
    Foreign,
    /// It ends before it should.
    #[error("the other side's first frame is cut short")]
    Short,
    /// The last version comes before the first.
    #[error("the other side speaks versions {0} to {1}, which are none")]
    NoVersions(u32, u32),
    /// The kind of answer is not known.
    #[error("the other side gave an answer of unknown kind {0}")]
    UnknownAnswer(u8),
}

/// A session that did not begin.
#[derive(Debug, thiserror::Error)]
pub enum OpeningError {
    /// The other side said nothing in time.
    #[error("the other side said nothing for {0:?}")]
    Silent(Duration),
    /// It ended the stream.
    #[error("the other side hung up instead of saying who it is")]
    HungUp,
    /// Its first frame has another layout.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// The two sides have no version in common.
    #[error("the other side speaks versions {} to {} of the session protocol, and this one {} to {}", .theirs.0, .theirs.1, .ours.0, .ours.1)]
    NoCommonVersion {
        /// The versions of this side.
        ours: (u32, u32),
        /// The versions of the other side.
        theirs: (u32, u32),
    },
    /// It chose a version that it was not offered.
    #[error("the other side chose version {chosen}, which it was not offered")]
    ForcedVersion {
        /// That version.
        chosen: u32,
    },
    /// What it says about itself cannot be read.
    #[error("cannot read what the other side says about itself")]
    Body(#[source] FrameError),
    /// It will not have this side.
    #[error("refused: {reason}")]
    Refused {
        /// In its words, with what could steer a terminal taken out.
        reason: String,
    },
    /// It will not have this side now.
    #[error("not now: {reason}")]
    NotNow {
        /// In its words, with what could steer a terminal taken out.
        reason: String,
    },
    /// Another process of this side's node has a session there, and lives.
    #[error("{reason}")]
    Taken {
        /// In its words, with what could steer a terminal taken out.
        reason: String,
    },
    /// The stream broke.
    #[error("the connection broke while the session opened")]
    Stream(#[source] FrameError),
}

impl OpeningError {
    /// Whether the same attempt may succeed later, without anything changed on this side.
    pub fn may_pass(&self) -> bool {
        matches!(
            self,
            Self::Silent(_)
                | Self::HungUp
                | Self::NotNow { .. }
                | Self::Stream(FrameError::Io(_) | FrameError::CutOff { .. })
        )
    }
}

impl Opening {
    /// The frame's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let (first, last) = self.versions;
        [&MAGIC[..], &first.to_le_bytes(), &last.to_le_bytes(), &self.body].concat()
    }

    /// Reads a frame's bytes.
    ///
    /// # Errors
    /// [`LayoutError`]
    pub fn decode(frame: &Bytes) -> Result<Self, LayoutError> {
        let mut at = after_magic(frame)?;
        let versions = (take_number(frame, &mut at)?, take_number(frame, &mut at)?);
        if versions.0 > versions.1 {
            return Err(LayoutError::NoVersions(versions.0, versions.1));
        }
        Ok(Self { versions, body: frame.slice(at..) })
    }
}

impl Answer {
    /// The frame's bytes.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Welcome { version, body } => {
                [&MAGIC[..], &[WELCOME], &version.to_le_bytes(), body].concat()
            }
            Self::Refused { reason } => with_reason(REFUSED, reason),
            Self::NotNow { reason } => with_reason(NOT_NOW, reason),
            Self::Taken { reason } => with_reason(TAKEN, reason),
        }
    }

    /// Reads a frame's bytes. A reason that is no proper text is mended, and cut when it is too long.
    ///
    /// # Errors
    /// [`LayoutError`]
    pub fn decode(frame: &Bytes) -> Result<Self, LayoutError> {
        let mut at = after_magic(frame)?;
        let kind = *frame.get(at).ok_or(LayoutError::Short)?;
        at += 1;
        match kind {
            WELCOME => {
                let version = take_number(frame, &mut at)?;
                Ok(Self::Welcome { version, body: frame.slice(at..) })
            }
            REFUSED | NOT_NOW | TAKEN => {
                let words = &frame[at..frame.len().min(at + MAX_REASON_BYTES)];
                let mut reason = String::from_utf8_lossy(words).into_owned();
                // Mending makes a byte up to three times as long.
                reason.truncate(reason.floor_char_boundary(MAX_REASON_BYTES));
                Ok(match kind {
                    REFUSED => Self::Refused { reason },
                    NOT_NOW => Self::NotNow { reason },
                    _ => Self::Taken { reason },
                })
            }
            unknown => Err(LayoutError::UnknownAnswer(unknown)),
        }
    }
}

fn with_reason(kind: u8, reason: &str) -> Vec<u8> {
    let end = reason.floor_char_boundary(MAX_REASON_BYTES);
    [&MAGIC[..], &[kind], &reason.as_bytes()[..end]].concat()
}

fn after_magic(frame: &[u8]) -> Result<usize, LayoutError> {
    if frame.starts_with(MAGIC) { Ok(MAGIC.len()) } else { Err(LayoutError::Foreign) }
}

fn take_number(frame: &[u8], at: &mut usize) -> Result<u32, LayoutError> {
    let bytes = frame[*at..].first_chunk::<4>().ok_or(LayoutError::Short)?;
    *at += bytes.len();
    Ok(u32::from_le_bytes(*bytes))
}

/// The last version that both sides speak.
pub fn common_version(ours: (u32, u32), theirs: (u32, u32)) -> Option<u32> {
    let version = ours.1.min(theirs.1);
    (version >= ours.0 && version >= theirs.0).then_some(version)
}

/// Opens a session as the side that dialed: says `hello`, and gives the version chosen and what the other side says
/// about itself.
///
/// # Errors
/// [`OpeningError`]; the stream is of no use then.
pub async fn open<R, W, H, A>(
    reader: &mut FrameReader<R>,
    writer: &mut FrameWriter<W>,
    versions: (u32, u32),
    hello: &H,
    patience: Duration,
) -> Result<(u32, A), OpeningError>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
    H: Serialize,
    A: DeserializeOwned,
{
    let opening = Opening { versions, body: body_of(hello)? };
    let talk = async {
        writer.push_bytes(&opening.encode()).map_err(OpeningError::Stream)?;
        writer.flush().await.map_err(OpeningError::Stream)?;
        first_frame(reader).await
    };
    let frame = timeout(patience, talk).await.map_err(|_| OpeningError::Silent(patience))??;
    match Answer::decode(&frame)? {
        Answer::Refused { reason } => {
            Err(OpeningError::Refused { reason: tidemill_types::one_line(&reason, MAX_REASON_BYTES) })
        }
        Answer::NotNow { reason } => {
            Err(OpeningError::NotNow { reason: tidemill_types::one_line(&reason, MAX_REASON_BYTES) })
        }
        Answer::Taken { reason } => {
            Err(OpeningError::Taken { reason: tidemill_types::one_line(&reason, MAX_REASON_BYTES) })
        }
        Answer::Welcome { version, .. } if !(versions.0..=versions.1).contains(&version) => {
            Err(OpeningError::ForcedVersion { chosen: version })
        }
        Answer::Welcome { version, body } => Ok((version, frame::decode(&body).map_err(OpeningError::Body)?)),
    }
}

/// Hears an opening as the side that was dialed, and gives the version that both speak and what the dialer says
/// about itself. [`welcome`] or [`refuse`] must follow. A dialer that this side cannot talk to has been told so when
/// an error comes back.
///
/// # Errors
/// [`OpeningError`]; the stream is of no use then.
pub async fn hear<R, W, H>(
    reader: &mut FrameReader<R>,
    writer: &mut FrameWriter<W>,
    versions: (u32, u32),
    patience: Duration,
) -> Result<(u32, H), OpeningError>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
    H: DeserializeOwned,
{
    let heard = match timeout(patience, first_frame(reader)).await {
        Err(_) => Err(OpeningError::Silent(patience)),
        Ok(frame) => frame.and_then(|frame| judge(&frame, versions)),
    };
    if let Err(error) = &heard {
        // That it cannot be told is no news: the error that counts is the first one.
        let _ = timeout(patience, refuse(writer, &error.to_string())).await;
    }
    heard
}

fn judge<H: DeserializeOwned>(frame: &Bytes, ours: (u32, u32)) -> Result<(u32, H), OpeningError> {
    let opening = Opening::decode(frame)?;
    let theirs = opening.versions;
    let version = common_version(ours, theirs).ok_or(OpeningError::NoCommonVersion { ours, theirs })?;
    Ok((version, frame::decode(&opening.body).map_err(OpeningError::Body)?))
}

/// Lets the dialer in.
///
/// # Errors
/// [`OpeningError::Stream`]
pub async fn welcome<W, A>(writer: &mut FrameWriter<W>, version: u32, words: &A) -> Result<(), OpeningError>
where
    W: AsyncWrite + Unpin,
    A: Serialize,
{
    say(writer, &Answer::Welcome { version, body: body_of(words)? }).await
}

/// Tells the dialer why there will be no session.
///
/// # Errors
/// [`OpeningError::Stream`]
pub async fn refuse<W: AsyncWrite + Unpin>(
    writer: &mut FrameWriter<W>,
    reason: &str,
) -> Result<(), OpeningError> {
    say(writer, &Answer::Refused { reason: reason.to_owned() }).await
}

/// Tells the dialer why there will be no session now, but may be one later.
///
/// # Errors
/// [`OpeningError::Stream`]
pub async fn put_off<W: AsyncWrite + Unpin>(
    writer: &mut FrameWriter<W>,
    reason: &str,
) -> Result<(), OpeningError> {
    say(writer, &Answer::NotNow { reason: reason.to_owned() }).await
}

/// Tells the dialer that there will be no session while another process of its node has one.
///
/// # Errors
/// [`OpeningError::Stream`]
pub async fn refuse_copy<W: AsyncWrite + Unpin>(
    writer: &mut FrameWriter<W>,
    reason: &str,
) -> Result<(), OpeningError> {
    say(writer, &Answer::Taken { reason: reason.to_owned() }).await
}

async fn say<W: AsyncWrite + Unpin>(
    writer: &mut FrameWriter<W>,
    answer: &Answer,
) -> Result<(), OpeningError> {
    writer.push_bytes(&answer.encode()).map_err(OpeningError::Stream)?;
    writer.flush().await.map_err(OpeningError::Stream)
}

fn body_of<T: Serialize>(words: &T) -> Result<Bytes, OpeningError> {
    let encoded = postcard::to_stdvec(words)
        .map_err(|source| OpeningError::Stream(FrameError::Encode { what: type_name::<T>(), source }))?;
    Ok(Bytes::from(encoded))
}

async fn first_frame<R: AsyncRead + Unpin>(reader: &mut FrameReader<R>) -> Result<Bytes, OpeningError> {
    reader.next_bytes().await.map_err(OpeningError::Stream)?.ok_or(OpeningError::HungUp)
}
