//! Which invocations of a workgroup take part in what runs now.

use std::ops::{BitAnd, BitOr, BitOrAssign, Not};

use crate::layout::MOST_LANES;

const WORDS: usize = MOST_LANES as usize / 64;

/// A set of invocations.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Mask([u64; WORDS]);

impl Mask {
    /// The first so many.
    pub(super) fn first(lanes: usize) -> Self {
        Self::of(lanes, |_| true)
    }

    /// Those of the first so many that are chosen.
    pub(super) fn of(lanes: usize, chosen: impl Fn(usize) -> bool) -> Self {
        let mut mask = Self::default();
        for lane in 0..lanes {
            mask.0[lane / 64] |= u64::from(chosen(lane)) << (lane % 64);
        }
        mask
    }

    pub(super) fn is_empty(self) -> bool {
        self == Self::default()
    }

    pub(super) fn len(self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    pub(super) fn lanes(self) -> impl Iterator<Item = usize> {
        self.0.into_iter().enumerate().flat_map(|(number, mut word)| {
            std::iter::from_fn(move || {
                (word != 0).then(|| {
                    let bit = word.trailing_zeros() as usize;
                    word &= word - 1;
                    64 * number + bit
                })
            })
        })
    }
}

impl BitAnd for Mask {
    type Output = Self;
    fn bitand(self, other: Self) -> Self {
        Self(std::array::from_fn(|word| self.0[word] & other.0[word]))
    }
}

impl BitOr for Mask {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(std::array::from_fn(|word| self.0[word] | other.0[word]))
    }
}

impl BitOrAssign for Mask {
    fn bitor_assign(&mut self, other: Self) {
        *self = *self | other;
    }
}

impl Not for Mask {
    type Output = Self;
    fn not(self) -> Self {
        Self(self.0.map(|word| !word))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_is_a_set_of_lanes() {
        let all = Mask::first(200);
        let odd = Mask::of(200, |lane| lane % 2 == 1);
        assert_eq!((all.len(), odd.len(), (all & !odd).len()), (200, 100, 100));
        assert_eq!((odd | (all & !odd)), all);
        assert_eq!(
            Mask::of(200, |lane| [3, 64, 199].contains(&lane)).lanes().collect::<Vec<_>>(),
            [3, 64, 199]
        );
        assert!((odd & !all).is_empty());
    }
}
