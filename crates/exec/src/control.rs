//! What is said to an attempt, and what it says, while it runs.

use std::{fmt, sync::Arc};

use crate::cancel::Cancel;

/// What an attempt runs under, beside the limits of its specification. Clones are one and the same.
#[derive(Clone, Debug, Default)]
pub struct Control {
    /// Ends the attempt.
    pub cancel: Cancel,
    /// Takes provisional pieces of its output.
    pub chunks: Chunks,
}

/// Where an attempt puts provisional pieces of its output, for people who follow it. Nothing is decided by them: the
/// output that the report names is the result, whole and hashed, and whoever takes the pieces may drop some.
#[derive(Clone, Default)]
pub struct Chunks(Option<Arc<dyn Fn(&[u8]) + Send + Sync>>);

impl Control {
    /// Nobody follows the attempt, and this may end it.
    pub fn of(cancel: &Cancel) -> Self {
        Self { cancel: cancel.clone(), chunks: Chunks::default() }
    }
}

impl Chunks {
    /// Gives every piece to `take`, in order. The attempt goes on when `take` returns, so it must not wait for anyone.
    pub fn to(take: impl Fn(&[u8]) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(take)))
    }

    /// Whether anyone takes them. An executor need not make them otherwise.
    pub fn are_wanted(&self) -> bool {
        self.0.is_some()
    }

    /// The next piece.
    pub fn put(&self, piece: &[u8]) {
        if let Some(take) = &self.0 {
            take(piece);
        }
    }
}

impl fmt::Debug for Chunks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chunks").field("are_wanted", &self.are_wanted()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn pieces_come_in_order_from_every_clone() {
        let taken: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
        let to = taken.clone();
        let chunks = Chunks::to(move |piece| to.lock().expect("nobody panicked").push(piece.to_vec()));
        let control = Control { chunks, ..Control::default() };
        assert!(control.chunks.are_wanted());
        control.chunks.put(b"one");
        control.clone().chunks.put(b"two");
        assert_eq!(*taken.lock().expect("nobody panicked"), [b"one", b"two"]);
    }

    #[test]
    fn nobody_has_to_follow() {
        let cancel = Cancel::default();
        let control = Control::of(&cancel);
        assert!(!control.chunks.are_wanted());
        control.chunks.put(b"into nothing");
        cancel.cancel();
        assert!(control.cancel.is_cancelled(), "it is the same one");
    }
}
