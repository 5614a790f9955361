//! What an attempt writes while it runs, on its way to who follows it. Nothing of it is durable or signed.

use std::num::NonZeroU64;

use serde::{Deserialize, Serialize};
use tidemill_types::{LeaseId, NodeId};

use super::{Bounded, OutOfBounds, at_most};

/// The most bytes of one piece.
pub const MAX_CHUNK_BYTES: usize = 16 << 10;

/// The most pieces of one message.
pub const MAX_CHUNKS: usize = 64;

/// The most bytes of all pieces of one message: so few that results behind it hardly wait.
pub const MAX_CHUNKS_BYTES: usize = 64 << 10;

/// A piece of what a running attempt has written to its output so far.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Chunk {
    /// Counts the pieces of an attempt since it began to be followed, from 0. Numbers rise; those of pieces that were
    /// dropped are missing.
    pub number: u64,
    /// How many bytes of the output come before it. Where that is more than the pieces before had, the rest was dropped.
    pub offset: u64,
    /// Its bytes, at least one.
    #[serde(with = "serde_bytes")]
    pub bytes: Vec<u8>,
}

/// A piece as a provider sends it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FollowedChunk {
    /// The number that the coordinator gave the follow.
    pub follow: NonZeroU64,
    /// The piece.
    pub chunk: Chunk,
}

/// What a requester that follows a task is told.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum TaskNews {
    /// No attempt is under way that could be followed. What was told of an earlier one is void if another begins.
    Waiting,
    /// An attempt is followed from now on. What was told of an earlier one is void.
    Attempt {
        /// Its lease.
        lease: LeaseId,
        /// Who makes it.
        node: NodeId,
    },
    /// What that attempt writes. Provisional: its result may be rejected, or never come.
    Chunk(Chunk),
    /// The task is done, or its job has ended. Nothing follows.
    Over,
}

impl Chunk {
    /// How many bytes of the output come before the end of the piece.
    pub fn end(&self) -> u64 {
        self.offset.saturating_add(self.bytes.len() as u64)
    }
}

impl Bounded for Chunk {
    fn check(&self) -> Result<(), OutOfBounds> {
        at_most("the number of empty pieces", usize::from(self.bytes.is_empty()), 0)?;
        at_most("a piece of an output", self.bytes.len(), MAX_CHUNK_BYTES)
    }
}

impl Bounded for TaskNews {
    fn check(&self) -> Result<(), OutOfBounds> {
        match self {
            Self::Chunk(chunk) => chunk.check(),
            Self::Waiting | Self::Attempt { .. } | Self::Over => Ok(()),
        }
    }
}

/// Checks a message of pieces.
pub(super) fn check_chunks(chunks: &[FollowedChunk]) -> Result<(), OutOfBounds> {
    at_most("the number of pieces of outputs", chunks.len(), MAX_CHUNKS)?;
    let bytes = chunks.iter().map(|followed| followed.chunk.bytes.len()).sum();
    at_most("the length of pieces of outputs", bytes, MAX_CHUNKS_BYTES)?;
    chunks.iter().try_for_each(|followed| followed.chunk.check())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{FromProvider, ToProvider};

    fn piece(len: usize) -> FollowedChunk {
        let chunk = Chunk { number: 1, offset: 2, bytes: vec![3; len] };
        FollowedChunk { follow: NonZeroU64::MIN, chunk }
    }

    #[test]
    fn pieces_are_bounded_each_and_together() {
        let is_fit = |pieces: Vec<FollowedChunk>| FromProvider::Chunks(pieces).check().is_ok();
        assert!(is_fit(vec![piece(MAX_CHUNK_BYTES)]));
        assert!(!is_fit(vec![piece(MAX_CHUNK_BYTES + 1)]));
        assert!(!is_fit(vec![piece(0)]));
        assert!(is_fit(vec![piece(MAX_CHUNKS_BYTES / MAX_CHUNKS); MAX_CHUNKS]));
        assert!(!is_fit(vec![piece(1); MAX_CHUNKS + 1]));
        let fill = MAX_CHUNKS_BYTES / MAX_CHUNK_BYTES;
        assert!(is_fit(vec![piece(MAX_CHUNK_BYTES); fill]));
        assert!(!is_fit([vec![piece(MAX_CHUNK_BYTES); fill], vec![piece(1)]].concat()));
    }

    #[test]
    fn a_follow_has_a_number_other_than_0() {
        let message = ToProvider::Follow { lease: LeaseId(7), follow: NonZeroU64::MIN };
        let mut bytes = postcard::to_stdvec(&message).expect("plain data has an encoding");
        assert_eq!(crate::frame::decode::<ToProvider>(&bytes).expect("a message"), message);
        assert_eq!(bytes.pop(), Some(1), "the number comes last");
        bytes.push(0);
        crate::frame::decode::<ToProvider>(&bytes).expect_err("0 is none");
    }

    #[test]
    fn the_end_of_a_piece_is_a_number_whatever_it_claims() {
        assert_eq!(piece(5).chunk.end(), 7);
        assert_eq!(Chunk { offset: u64::MAX, ..piece(5).chunk }.end(), u64::MAX);
    }
}
