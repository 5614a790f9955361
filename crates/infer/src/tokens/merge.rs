//! Merging neighbours, the best pair first.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// A part of a text, and its token if it has one.
#[derive(Clone, Copy, Debug)]
pub struct Piece {
    pub from: usize,
    pub to: usize,
    pub id: Option<u32>,
}

/// Merges until no pair can be merged. `pair` says a pair's key, of which the least is merged first, and what it merges
/// to; of equal keys the leftmost goes first. It takes time in proportion to `n log n`, however long a word is.
pub fn merge(mut pieces: Vec<Piece>, pair: impl Fn(&Piece, &Piece) -> Option<(u64, u32)>) -> Vec<Piece> {
    const END: usize = usize::MAX;
    let count = pieces.len();
    let mut next: Vec<usize> = (1..=count).map(|at| if at == count { END } else { at }).collect();
    let mut previous: Vec<usize> = (0..count).map(|at| at.wrapping_sub(1)).collect();
    let mut alive = vec![true; count];
    // A pair is known by where its parts end: if either has been merged since, the entry is stale.
    let mut heap = BinaryHeap::new();
    let entry = |pieces: &[Piece], left: usize, right: usize| {
        let (key, id) = pair(&pieces[left], &pieces[right])?;
        Some(Reverse((key, left, right, pieces[left].to, pieces[right].to, id)))
    };
    for left in 0..count.saturating_sub(1) {
        heap.extend(entry(&pieces, left, left + 1));
    }
    while let Some(Reverse((_, left, right, left_to, right_to, id))) = heap.pop() {
        let fresh = alive[left] && alive[right] && pieces[left].to == left_to && pieces[right].to == right_to;
        if !fresh {
            continue;
        }
        pieces[left].to = right_to;
        pieces[left].id = Some(id);
        alive[right] = false;
        next[left] = next[right];
        if next[left] != END {
            previous[next[left]] = left;
            heap.extend(entry(&pieces, left, next[left]));
        }
        if previous[left] != END {
            heap.extend(entry(&pieces, previous[left], left));
        }
    }
    pieces.into_iter().zip(alive).filter(|(_, alive)| *alive).map(|(piece, _)| piece).collect()
}
