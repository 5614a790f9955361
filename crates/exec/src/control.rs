//! What is said to an attempt, and what it says, while it runs.

use std::{
    fmt,
    num::NonZeroU64,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::cancel::Cancel;

/// What an attempt runs under, beside the limits of its specification. Clones are one and the same.
#[derive(Clone, Debug, Default)]
pub struct Control {
    /// Ends the attempt.
    pub cancel: Cancel,
    /// Takes provisional pieces of its output.
    pub chunks: Chunks,
    /// What somebody says the output is made of, where the attempt is to check that: an executor may use it to be done
    /// sooner, and gives the same result whatever it says. It comes from a stranger.
    pub draft: Option<Arc<[u8]>>,
}

/// Whether an attempt is followed. It may begin and end while the attempt runs; each time has a number of its own. Clones
/// are one and the same.
#[derive(Clone, Debug, Default)]
pub struct Follow(Arc<AtomicU64>);

/// Where an attempt puts provisional pieces of its output, for people who follow it. Nothing is decided by them: the
/// output that the report names is the result, whole and hashed, and whoever takes the pieces may drop some.
#[derive(Clone, Default)]
pub struct Chunks(Option<Sink>);

#[derive(Clone)]
struct Sink {
    follow: Follow,
    take: Arc<dyn Fn(Piece<'_>) + Send + Sync>,
}

/// A provisional piece of an attempt's output.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Piece<'a> {
    /// The follow that it is for.
    pub follow: NonZeroU64,
    /// How many bytes of the output come before it. Where that is more than the pieces before had, some were left out.
    pub offset: u64,
    /// Its bytes.
    pub bytes: &'a [u8],
}

impl Control {
    /// Nobody follows the attempt, and this may end it.
    pub fn of(cancel: &Cancel) -> Self {
        Self { cancel: cancel.clone(), ..Self::default() }
    }
}

impl Follow {
    /// Begins the follow with this number, in the place of an earlier one.
    pub fn begin(&self, number: NonZeroU64) {
        self.0.store(number.get(), Ordering::Relaxed);
    }

    /// Ends it.
    pub fn end(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    /// The number of the follow that is under way.
    pub fn number(&self) -> Option<NonZeroU64> {
        NonZeroU64::new(self.0.load(Ordering::Relaxed))
    }
}

impl Chunks {
    /// Gives pieces to `take` while the attempt is followed. The attempt goes on when `take` returns, so it must not wait
    /// for anyone.
    pub fn to(follow: &Follow, take: impl Fn(Piece<'_>) + Send + Sync + 'static) -> Self {
        Self(Some(Sink { follow: follow.clone(), take: Arc::new(take) }))
    }

    /// The follow that pieces are wanted for; none while nobody follows. An executor begins each follow with the oldest
    /// bytes that it still has, and need not make pieces otherwise.
    pub fn wanted(&self) -> Option<NonZeroU64> {
        self.0.as_ref()?.follow.number()
    }

    /// The next piece. One of a follow that is over is dropped.
    pub fn put(&self, piece: Piece<'_>) {
        if let Some(sink) = self.0.as_ref().filter(|_| self.wanted() == Some(piece.follow)) {
            (sink.take)(piece);
        }
    }
}

impl fmt::Debug for Chunks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chunks").field("wanted", &self.wanted()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    const ONE: NonZeroU64 = NonZeroU64::MIN;

    fn piece(follow: NonZeroU64, bytes: &[u8]) -> Piece<'_> {
        Piece { follow, offset: 0, bytes }
    }

    #[test]
    fn pieces_of_the_follow_under_way_come_in_order_from_every_clone() {
        let taken: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
        let (to, follow) = (taken.clone(), Follow::default());
        let take = move |piece: Piece<'_>| to.lock().expect("nobody panicked").push(piece.bytes.to_vec());
        let control = Control { chunks: Chunks::to(&follow, take), ..Control::default() };
        assert_eq!(control.chunks.wanted(), None);
        control.chunks.put(piece(ONE, b"before"));

        follow.begin(ONE);
        assert_eq!(control.chunks.wanted(), Some(ONE));
        control.chunks.put(piece(ONE, b"one"));
        control.clone().chunks.put(piece(ONE, b"two"));

        let two = ONE.saturating_add(1);
        follow.clone().begin(two);
        control.chunks.put(piece(ONE, b"late"));
        control.chunks.put(piece(two, b"three"));
        follow.end();
        control.chunks.put(piece(two, b"after"));
        assert_eq!(*taken.lock().expect("nobody panicked"), [&b"one"[..], b"two", b"three"]);
    }

    #[test]
    fn nobody_has_to_follow() {
        let cancel = Cancel::default();
        let control = Control::of(&cancel);
        assert_eq!(control.chunks.wanted(), None);
        control.chunks.put(piece(ONE, b"into nothing"));
        cancel.cancel();
        assert!(control.cancel.is_cancelled(), "it is the same one");
    }
}
