//! Attention of some query heads to the keys and values of one head, over pages of 16 positions.
//!
//! A score is one chain over a head's numbers; lanes are positions. A value is one chain over positions; lanes are the
//! head's numbers.

#![allow(clippy::needless_range_loop)] // A lane or row is an index into several arrays.

use super::isa::Isa;
use super::rows::softmax;
use crate::kv::PAGE;

/// Query heads that are computed together.
pub const TOGETHER: usize = 4;

/// Vectors of 4 positions in a page.
const MOST_VECTORS: usize = 4;

/// Where one head's keys and values are.
pub trait Pages {
    /// Of a page of positions: `head_len` groups of 16 halves, the same number of each position.
    fn keys(&self, page: usize) -> &[u16];
    /// Of a page of positions: 16 groups of `head_len` halves, the numbers of each position.
    fn values(&self, page: usize) -> &[u16];
}

/// Attends from `queries`, `heads` rows that are already scaled, to positions `start..end`.
///
/// # Safety
///
/// The processor has the instruction set.
#[inline(always)]
pub unsafe fn attend<I: Isa, P: Pages>(
    queries: &[f32],
    head_len: usize,
    pages: &P,
    (start, end): (usize, usize),
    scores: &mut Vec<f32>,
    out: &mut [f32],
) {
    assert!(queries.len() == out.len() && head_len.is_multiple_of(16) && start < end, "heads are whole");
    let mut done = 0;
    let total = queries.len() / head_len;
    while done < total {
        let heads = (total - done).min(TOGETHER);
        let range = done * head_len..(done + heads) * head_len;
        let (queries, out) = (&queries[range.clone()], &mut out[range]);
        // SAFETY: the caller vouches for the instruction set.
        unsafe {
            match heads {
                4 => group::<I, P, 4>(queries, head_len, pages, (start, end), scores, out),
                3 => group::<I, P, 3>(queries, head_len, pages, (start, end), scores, out),
                2 => group::<I, P, 2>(queries, head_len, pages, (start, end), scores, out),
                _ => group::<I, P, 1>(queries, head_len, pages, (start, end), scores, out),
            }
        }
        done += heads;
    }
}

// SAFETY: to be called where the processor has the instruction set, with pointers to whole blocks and rows.
#[inline(always)]
unsafe fn group<I: Isa, P: Pages, const N: usize>(
    queries: &[f32],
    head_len: usize,
    pages: &P,
    (start, end): (usize, usize),
    scores: &mut Vec<f32>,
    out: &mut [f32],
) {
    let (first, last) = (start / PAGE, end.div_ceil(PAGE));
    let (skip, len) = (start - first * PAGE, (last - first) * PAGE);
    let vectors = PAGE / I::ROWS;
    scores.resize(N * len, 0.0);
    assert!(queries.len() == N * head_len && out.len() == N * head_len, "one row a head");
    for page in first..last {
        let keys = pages.keys(page);
        assert_eq!(keys.len(), head_len * PAGE, "the page is whole");
        // SAFETY: `keys` has `head_len` groups of 16, `queries` N rows, `scores` N rows of `len`.
        unsafe {
            let mut sums = [[I::splat(0.0); MOST_VECTORS]; N];
            for number in 0..head_len {
                for vector in 0..vectors {
                    let keys = I::halves(keys.as_ptr().add(number * PAGE + vector * I::ROWS));
                    for head in 0..N {
                        let query = I::splat(*queries.as_ptr().add(head * head_len + number));
                        sums[head][vector] = I::fma(query, keys, sums[head][vector]);
                    }
                }
            }
            for head in 0..N {
                for vector in 0..vectors {
                    let at = head * len + (page - first) * PAGE + vector * I::ROWS;
                    I::store(scores.as_mut_ptr().add(at), sums[head][vector]);
                }
            }
        }
    }
    let mut inverse = [0.0; N];
    for head in 0..N {
        inverse[head] = softmax(&mut scores[head * len..][..len], skip, end - first * PAGE);
    }
    let mut number = 0;
    while number < head_len {
        // SAFETY: `values` has 16 groups of `head_len`, a multiple of 16, `out` N rows, `scores` N rows of `len`.
        unsafe {
            let mut sums = [[I::splat(0.0); MOST_VECTORS]; N];
            for page in first..last {
                let values = pages.values(page);
                assert_eq!(values.len(), head_len * PAGE, "the page is whole");
                let (from, to) = (start.max(page * PAGE), end.min((page + 1) * PAGE));
                for position in from..to {
                    for vector in 0..vectors {
                        let at = (position - page * PAGE) * head_len + number + vector * I::ROWS;
                        let value = I::halves(values.as_ptr().add(at));
                        for head in 0..N {
                            let weight = *scores.as_ptr().add(head * len + position - first * PAGE);
                            sums[head][vector] = I::fma(I::splat(weight), value, sums[head][vector]);
                        }
                    }
                }
            }
            for head in 0..N {
                for vector in 0..vectors {
                    let at = head * head_len + number + vector * I::ROWS;
                    I::store(out.as_mut_ptr().add(at), I::mul(sums[head][vector], I::splat(inverse[head])));
                }
            }
        }
        number += 16;
    }
}
