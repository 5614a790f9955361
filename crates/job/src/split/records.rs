//! Records that end with a separator, of which a line feed is one.
//!
//! Only the surroundings of each piece's end are read. The separator is searched for in the manner of
//! Knuth, Morris and Pratt, which takes one step a byte for every separator and needs none of the bytes
//! again.

use std::io::{Read, Seek};

use super::{PiecesBuilder, SplitError, window::Window};

/// Cuts after separators: each piece ends with the first that begins within the piece and ends at `size`
/// or later.
pub(super) fn split<R: Read + Seek>(
    window: &mut Window<R>,
    separator: &[u8],
    size: u64,
    pieces: &mut PiecesBuilder,
) -> Result<(), SplitError> {
    let search = Search::new(separator);
    let mut start = 0;
    while start < window.len() {
        let target = start.saturating_add(size);
        let from = target.saturating_sub(separator.len() as u64).max(start);
        let end = search.end_of_next(window, from)?;
        pieces.push(&[(start, end)])?;
        start = end;
    }
    Ok(())
}

struct Search<'s> {
    separator: &'s [u8],
    /// For each length of a match so far, the longest shorter one that is still a match.
    fallback: Vec<usize>,
}

impl<'s> Search<'s> {
    fn new(separator: &'s [u8]) -> Self {
        let mut fallback = vec![0; separator.len() + 1];
        let mut matched = 0;
        for i in 1..separator.len() {
            while matched > 0 && separator[i] != separator[matched] {
                matched = fallback[matched];
            }
            matched += usize::from(separator[i] == separator[matched]);
            fallback[i + 1] = matched;
        }
        Self { separator, fallback }
    }

    /// Where the first separator that begins at `from` or later ends; the end of the file if there is none.
    fn end_of_next<R: Read + Seek>(&self, window: &mut Window<R>, from: u64) -> Result<u64, SplitError> {
        let (mut at, mut matched) = (from, 0);
        loop {
            let bytes = window.bytes(at)?;
            if bytes.is_empty() || self.separator.is_empty() {
                return Ok(window.len());
            }
            for (i, byte) in bytes.iter().enumerate() {
                while matched > 0 && *byte != self.separator[matched] {
                    matched = self.fallback[matched];
                }
                matched += usize::from(*byte == self.separator[matched]);
                if matched == self.separator.len() {
                    return Ok(at + i as u64 + 1);
                }
            }
            at += bytes.len() as u64;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_search_finds_what_a_naive_one_finds(
            text in prop::collection::vec(0u8..3, 0..200),
            separator in prop::collection::vec(0u8..3, 1..8),
            from in 0usize..200,
            capacity in 1usize..20,
        ) {
            let from = from.min(text.len());
            let naive = text[from..].windows(separator.len()).position(|w| w == separator);
            let expected = naive.map_or(text.len(), |at| from + at + separator.len());
            let mut window = Window::with_capacity(Cursor::new(&text), capacity).expect("memory can be read");
            let found = Search::new(&separator).end_of_next(&mut window, from as u64).expect("memory can be read");
            prop_assert_eq!(found, expected as u64);
        }
    }
}
