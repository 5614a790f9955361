//! What followed attempts write, on its way to their coordinator: little waits, and more is dropped.

use std::{
    collections::VecDeque,
    num::NonZeroU64,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tidemill_exec::{Chunks, Follow, Piece};
use tidemill_net::wire::{Chunk, FollowedChunk, MAX_CHUNK_BYTES, MAX_CHUNKS, MAX_CHUNKS_BYTES};
use tokio::sync::Notify;

/// What may wait, over all attempts of a coordinator: as much as a few messages hold.
const MOST_BYTES: usize = 4 * MAX_CHUNKS_BYTES;
const MOST_PIECES: usize = 4 * MAX_CHUNKS;

/// Pieces that wait to be sent to one coordinator. The threads of attempts put them in and never wait.
#[derive(Debug, Default)]
pub(crate) struct Pieces {
    waiting: Mutex<Waiting>,
    came: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    pieces: VecDeque<FollowedChunk>,
    bytes: usize,
}

impl Pieces {
    /// Where an attempt puts what it writes while this follow says that somebody wants it.
    pub(crate) fn of(self: &Arc<Self>, follow: &Follow) -> Chunks {
        let pieces = self.clone();
        let numbers = Mutex::new(Numbers::default());
        Chunks::to(follow, move |piece: Piece<'_>| {
            let mut numbers = numbers.lock().unwrap_or_else(PoisonError::into_inner);
            let mut offset = piece.offset;
            for bytes in piece.bytes.chunks(MAX_CHUNK_BYTES) {
                let number = numbers.next(piece.follow);
                let chunk = Chunk { number, offset, bytes: bytes.to_vec() };
                offset = chunk.end();
                pieces.put(FollowedChunk { follow: piece.follow, chunk });
            }
        })
    }

    /// Puts a piece in, unless too much waits.
    fn put(&self, piece: FollowedChunk) {
        let mut waiting = self.lock();
        let bytes = waiting.bytes + piece.chunk.bytes.len();
        if bytes > MOST_BYTES || waiting.pieces.len() >= MOST_PIECES {
            return;
        }
        let is_first = waiting.pieces.is_empty();
        waiting.bytes = bytes;
        waiting.pieces.push_back(piece);
        drop(waiting);
        if is_first {
            self.came.notify_one();
        }
    }

    /// Waits until the first piece has come that nothing waited before.
    pub(crate) async fn came(&self) {
        self.came.notified().await;
    }

    /// As many as one message holds, the oldest first.
    pub(crate) fn take(&self) -> Vec<FollowedChunk> {
        let mut waiting = self.lock();
        let (mut taken, mut bytes) = (Vec::new(), 0);
        while let Some(piece) = waiting.pieces.front()
            && taken.len() < MAX_CHUNKS
            && bytes + piece.chunk.bytes.len() <= MAX_CHUNKS_BYTES
        {
            bytes += piece.chunk.bytes.len();
            taken.extend(waiting.pieces.pop_front());
        }
        waiting.bytes -= bytes;
        taken
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lock().pieces.is_empty()
    }

    /// Nobody waits for them any more.
    pub(crate) fn clear(&self) {
        *self.lock() = Waiting::default();
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The numbers of the pieces of an attempt.
#[derive(Default)]
struct Numbers {
    follow: Option<NonZeroU64>,
    next: u64,
}

impl Numbers {
    /// The next number in this follow.
    fn next(&mut self, follow: NonZeroU64) -> u64 {
        if self.follow != Some(follow) {
            *self = Self { follow: Some(follow), next: 0 };
        }
        self.next += 1;
        self.next - 1
    }
}

#[cfg(test)]
mod tests {
    use tidemill_net::wire::{Bounded, FromProvider};

    use super::*;

    const ONE: NonZeroU64 = NonZeroU64::MIN;

    fn places(pieces: &[FollowedChunk]) -> Vec<(u64, u64, u64)> {
        let place = |piece: &FollowedChunk| (piece.follow.get(), piece.chunk.number, piece.chunk.offset);
        pieces.iter().map(place).collect()
    }

    #[test]
    fn pieces_are_numbered_in_each_follow_and_cut_to_what_may_travel() {
        let (pieces, follow) = (Arc::new(Pieces::default()), Follow::default());
        let chunks = pieces.of(&follow);
        let two = ONE.saturating_add(1);
        chunks.put(Piece { follow: ONE, offset: 0, bytes: b"nobody follows" });
        assert!(pieces.is_empty());
        follow.begin(ONE);
        chunks.put(Piece { follow: ONE, offset: 0, bytes: b"one" });
        chunks.put(Piece { follow: ONE, offset: 3, bytes: &[7; MAX_CHUNK_BYTES + 1] });
        follow.begin(two);
        chunks.put(Piece { follow: two, offset: 0, bytes: b"one" });
        let long = 3 + MAX_CHUNK_BYTES as u64;
        assert_eq!(places(&pieces.take()), [(1, 0, 0), (1, 1, 3), (1, 2, long), (2, 0, 0)]);
        assert!(pieces.is_empty());
    }

    #[test]
    fn more_than_may_wait_is_dropped_and_the_numbers_say_so() {
        let (pieces, follow) = (Arc::new(Pieces::default()), Follow::default());
        let chunks = pieces.of(&follow);
        follow.begin(ONE);
        let bytes = [7; MAX_CHUNK_BYTES];
        let put = |number: u64| {
            let offset = number * MAX_CHUNK_BYTES as u64;
            chunks.put(Piece { follow: ONE, offset, bytes: &bytes });
        };
        let held = (MOST_BYTES / MAX_CHUNK_BYTES) as u64;
        (0..held + 5).for_each(put);
        let mut numbers = Vec::new();
        while !pieces.is_empty() {
            let taken = pieces.take();
            numbers.extend(taken.iter().map(|piece| piece.chunk.number));
            FromProvider::Chunks(taken).check().expect("a message of them is within bounds");
        }
        assert!(numbers.iter().copied().eq(0..held), "{numbers:?}");
        put(held + 5);
        assert_eq!(places(&pieces.take()), [(1, held + 5, (held + 5) * MAX_CHUNK_BYTES as u64)]);
    }

    #[test]
    fn many_small_pieces_are_bounded_too() {
        let (pieces, follow) = (Arc::new(Pieces::default()), Follow::default());
        let chunks = pieces.of(&follow);
        follow.begin(ONE);
        for offset in 0..2 * MOST_PIECES as u64 {
            chunks.put(Piece { follow: ONE, offset, bytes: b"x" });
        }
        assert_eq!(pieces.lock().pieces.len(), MOST_PIECES);
        assert_eq!(pieces.take().len(), MAX_CHUNKS);
        pieces.clear();
        assert!(pieces.is_empty());
        assert!(pieces.take().is_empty());
    }
}
