//! The order in which the tasks of a map are handed out: by their numbers, or one that only who has a key can tell.

/// A way through the numbers below some count, each once.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    count: u64,
    /// The numbers are shuffled within blocks of so many.
    block: u64,
    /// Nothing where they stay in their own order.
    key: Option<[u8; 32]>,
}

/// Rounds of the Feistel network: four make a permutation that is as good as random, by Luby and Rackoff.
const ROUNDS: u8 = 4;

impl Order {
    /// By their own order.
    pub(crate) fn ascending(count: u64) -> Self {
        Self { count, block: count, key: None }
    }

    /// Shuffled within blocks of so many, at least 1, by a key.
    pub(crate) fn shuffled(count: u64, block: u64, key: [u8; 32]) -> Self {
        Self { count, block: block.max(1), key: Some(key) }
    }

    /// The number at a place, which is below the count.
    pub(crate) fn at(&self, place: u64) -> u64 {
        self.walk(place, |shuffle, half, value| {
            (0..ROUNDS)
                .fold(value, |(left, right), round| (right, left ^ shuffle.mix(round, right) & mask(half)))
        })
    }

    /// The place of a number, which is below the count.
    pub(crate) fn place(&self, number: u64) -> u64 {
        self.walk(number, |shuffle, half, value| {
            let undo =
                |(left, right): (u64, u64), round| (right ^ shuffle.mix(round, left) & mask(half), left);
            (0..ROUNDS).rev().fold(value, undo)
        })
    }

    /// Permutes a number within its block: among as many as have a whole number of bits in either half, again and again
    /// until it is one of the block's.
    fn walk(&self, number: u64, permute: impl Fn(&Shuffle, u32, (u64, u64)) -> (u64, u64)) -> u64 {
        let Some(key) = self.key else { return number };
        let block = number / self.block;
        let first = block * self.block;
        let len = self.block.min(self.count - first);
        let half = (u64::BITS - (len - 1).leading_zeros()).div_ceil(2);
        let shuffle = Shuffle { key, block };
        let mut at = number - first;
        loop {
            let (left, right) = permute(&shuffle, half, (at >> half, at & mask(half)));
            at = left << half | right;
            if at < len {
                return first + at;
            }
        }
    }
}

fn mask(bits: u32) -> u64 {
    (1 << bits) - 1
}

struct Shuffle {
    key: [u8; 32],
    block: u64,
}

impl Shuffle {
    fn mix(&self, round: u8, half: u64) -> u64 {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        hasher.update(&[round]).update(&self.block.to_le_bytes()).update(&half.to_le_bytes());
        let mut mixed = [0; 8];
        hasher.finalize_xof().fill(&mut mixed);
        u64::from_le_bytes(mixed)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn each_number_has_one_place(count in 1..3_000_u64, block in 1..4_000_u64, key in any::<[u8; 32]>()) {
            let order = Order::shuffled(count, block, key);
            let mut seen = vec![false; count as usize];
            for place in 0..count {
                let number = order.at(place);
                prop_assert!(number < count && !seen[number as usize]);
                prop_assert_eq!(number / block, place / block, "it stays in its block");
                prop_assert_eq!(order.place(number), place);
                seen[number as usize] = true;
            }
        }

        #[test]
        fn large_counts_are_no_matter(count in 1..=crate::MAX_TASKS, place in 0..crate::MAX_TASKS, key in any::<[u8; 32]>()) {
            let order = Order::shuffled(count, count, key);
            prop_assert_eq!(order.place(order.at(place % count)), place % count);
        }
    }

    #[test]
    fn it_is_another_with_another_key() {
        let ways = [1, 2].map(|key| {
            let order = Order::shuffled(100, 100, [key; 32]);
            (0..100).map(|place| order.at(place)).collect::<Vec<_>>()
        });
        assert_ne!(ways[0], ways[1]);
        let rising = |way: &[u64]| way.windows(2).filter(|pair| pair[0] < pair[1]).count();
        assert!(ways.iter().all(|way| (30..70).contains(&rising(way))), "{ways:?}");
    }
}
