//! Answers that are lists: made entry by entry, within what one frame holds.

use serde::Serialize;

use super::MAX_PAGE;
use crate::frame::encoded_len;

/// What the entries of one answer have together, encoded. It leaves room in a frame for one more entry of the longest kind,
/// which is what an answer has whose first entry is that long.
pub const MAX_ANSWER_BYTES: usize = 3 << 20;

/// The entries of one answer, while it is made.
#[derive(Debug)]
pub struct Page<T> {
    entries: Vec<T>,
    bytes: usize,
    limit: usize,
}

impl<T: Serialize> Page<T> {
    /// No entries yet, of at most `limit`.
    pub fn new(limit: u32) -> Self {
        Self { entries: Vec::new(), bytes: 0, limit: limit.clamp(1, MAX_PAGE) as usize }
    }

    /// Adds an entry unless the page is full with it; the first always fits. Says whether it was added.
    pub fn push(&mut self, entry: T) -> bool {
        // What has no encoding is found out by whoever sends it.
        let bytes = encoded_len(&entry).unwrap_or(MAX_ANSWER_BYTES);
        let fits = self.bytes.saturating_add(bytes) <= MAX_ANSWER_BYTES || self.entries.is_empty();
        let has_room = fits && !self.is_full();
        if has_room {
            self.bytes = self.bytes.saturating_add(bytes);
            self.entries.push(entry);
        }
        has_room
    }

    /// Whether it has as many entries as were asked for, or as many bytes as an answer may have.
    pub fn is_full(&self) -> bool {
        self.entries.len() >= self.limit || self.bytes >= MAX_ANSWER_BYTES
    }

    /// The entries.
    pub fn into_entries(self) -> Vec<T> {
        self.entries
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_ends_with_its_number_or_its_bytes_and_has_one_entry_at_least() {
        let mut short = Page::new(2);
        assert!(short.push(1u8) && short.push(2) && !short.push(3));
        assert_eq!(short.into_entries(), [1, 2]);

        let mut long = Page::new(MAX_PAGE);
        let added = (0..100).take_while(|_| long.push(vec![7u8; 1 << 20])).count();
        assert_eq!(added, 2, "the lengths of the entries count as well");

        let mut huge = Page::new(10);
        assert!(huge.push(vec![7u8; MAX_ANSWER_BYTES + 1]) && !huge.push(Vec::new()));
    }
}
