//! What a task writes to standard output, and looking at it while the task runs.

use std::{
    fmt,
    num::NonZeroU64,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::control::{Chunks, Piece};

/// What a task has written to standard output so far. Clones are one and the same.
#[derive(Clone, Default)]
pub(crate) struct Written(Arc<Mutex<Vec<u8>>>);

impl Written {
    pub(crate) fn extend(&self, bytes: &[u8]) {
        self.lock().extend_from_slice(bytes);
    }

    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// All of it; nothing is left.
    pub(crate) fn take(&self) -> Vec<u8> {
        std::mem::take(&mut *self.lock())
    }

    /// Appending is all that happens under this lock, so a panic elsewhere leaves it usable.
    fn lock(&self) -> MutexGuard<'_, Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The longest piece that is shown at once. One of them fits into the buffer of a worker's socket whatever else the
/// worker has said, so that writing it does not wait.
pub(crate) const PIECE_BYTES: usize = 16 << 10;

/// Who has fallen behind by more than so many bytes is shown the last of them, and the rest is left out.
const MOST_BEHIND: u64 = 64 << 10;

/// How far somebody has seen what a task writes.
#[derive(Debug, Default)]
pub(crate) struct Cursor {
    follow: Option<NonZeroU64>,
    at: u64,
}

impl Cursor {
    /// The next piece for this follow, with its offset; nothing where nothing more has been written.
    pub(crate) fn next(&mut self, follow: NonZeroU64, written: &Written) -> Option<(u64, Vec<u8>)> {
        if self.follow != Some(follow) {
            *self = Self { follow: Some(follow), at: 0 };
        }
        let written = written.lock();
        let len = written.len() as u64;
        let offset = self.at.max(len.saturating_sub(MOST_BEHIND));
        let from = usize::try_from(offset).ok()?;
        let piece = written.get(from..)?;
        let piece = &piece[..piece.len().min(PIECE_BYTES)];
        if piece.is_empty() {
            return None;
        }
        self.at = offset + piece.len() as u64;
        Some((offset, piece.to_vec()))
    }
}

/// Looks on while a task runs. The task waits meanwhile, so it must not take long.
pub(crate) trait Onlooker: Send {
    fn look(&mut self, written: &Written);
}

/// An onlooker of the task's own process.
pub(crate) struct Showing {
    chunks: Chunks,
    cursor: Cursor,
}

impl Showing {
    pub(crate) fn new(chunks: Chunks) -> Self {
        Self { chunks, cursor: Cursor::default() }
    }
}

impl Onlooker for Showing {
    fn look(&mut self, written: &Written) {
        while let Some(follow) = self.chunks.wanted()
            && let Some((offset, bytes)) = self.cursor.next(follow, written)
        {
            self.chunks.put(Piece { follow, offset, bytes: &bytes });
        }
    }
}

/// How often an onlooker looks: rarely enough to cost a task nothing, and often enough for people.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// When an onlooker looks, if there is one. Clones are one and the same.
#[derive(Clone, Default)]
pub(crate) struct Looks(Option<Arc<Mutex<Looking>>>);

struct Looking {
    onlooker: Box<dyn Onlooker>,
    written: Written,
    next: Instant,
}

impl Looks {
    pub(crate) fn new(onlooker: Box<dyn Onlooker>, written: Written) -> Self {
        Self(Some(Arc::new(Mutex::new(Looking { onlooker, written, next: Instant::now() }))))
    }

    /// Lets the onlooker look, if it is time.
    pub(crate) fn pass(&self, now: Instant) {
        let Some(looking) = &self.0 else { return };
        let mut looking = looking.lock().unwrap_or_else(PoisonError::into_inner);
        if now < looking.next {
            return;
        }
        looking.next = now + LOOK_EVERY;
        let Looking { onlooker, written, .. } = &mut *looking;
        onlooker.look(written);
    }
}

impl fmt::Debug for Looks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Looks").field(&self.0.is_some()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: NonZeroU64 = NonZeroU64::MIN;

    #[test]
    fn a_cursor_shows_everything_once_and_each_follow_from_the_start() {
        let (written, mut cursor) = (Written::default(), Cursor::default());
        assert_eq!(cursor.next(ONE, &written), None);
        written.extend(b"one ");
        assert_eq!(cursor.next(ONE, &written), Some((0, b"one ".to_vec())));
        assert_eq!(cursor.next(ONE, &written), None);
        written.extend(b"two");
        assert_eq!(cursor.next(ONE, &written), Some((4, b"two".to_vec())));
        let two = ONE.saturating_add(1);
        assert_eq!(cursor.next(two, &written), Some((0, b"one two".to_vec())));
    }

    #[test]
    fn a_cursor_that_falls_behind_leaves_out_what_is_oldest() {
        let (written, mut cursor) = (Written::default(), Cursor::default());
        written.extend(&[1; 100]);
        cursor.next(ONE, &written).expect("a piece");
        written.extend(&vec![2; 1 << 20]);
        let mut expected = written.len() as u64 - MOST_BEHIND;
        let mut pieces = 0;
        while let Some((offset, bytes)) = cursor.next(ONE, &written) {
            assert_eq!(offset, expected);
            assert!(bytes.len() <= PIECE_BYTES);
            expected += bytes.len() as u64;
            pieces += 1;
        }
        assert_eq!(expected, written.len() as u64);
        assert_eq!(pieces, MOST_BEHIND as usize / PIECE_BYTES);
    }

    #[test]
    fn an_onlooker_looks_now_and_then() {
        struct Counting(Arc<Mutex<u32>>);
        impl Onlooker for Counting {
            fn look(&mut self, _: &Written) {
                *self.0.lock().expect("nobody panicked") += 1;
            }
        }
        let count = Arc::new(Mutex::new(0));
        let looks = Looks::new(Box::new(Counting(count.clone())), Written::default());
        let begun = Instant::now();
        for ms in 0..=20 {
            looks.pass(begun + LOOK_EVERY + Duration::from_millis(ms));
        }
        assert_eq!(*count.lock().expect("nobody panicked"), 3);
        Looks::default().pass(begun);
    }
}
