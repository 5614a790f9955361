//! Random numbers in lanes: eight generators side by side, so that a compiler can keep them in vector
//! registers. Each is a xoshiro128++; only 32-bit shifts, additions and exclusive-ors are needed, which
//! all vector instruction sets have.

/// Generators side by side.
pub const LANES: usize = 8;

/// Eight generators.
#[derive(Clone, Debug)]
pub struct Random {
    state: [[u32; LANES]; 4],
}

/// The next state and number of SplitMix64, which spreads seeds over the whole state.
fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Random {
    /// The generators of one batch under one seed.
    pub fn new(seed: u64, batch: u64) -> Random {
        let mut key = seed;
        let mut mixed = split_mix(&mut key) ^ batch.wrapping_mul(0xd134_2543_de82_ef95);
        let mut state = [[0; LANES]; 4];
        for lane in 0..LANES {
            let (a, b) = (split_mix(&mut mixed), split_mix(&mut mixed));
            // The all-zero state would stay zero for ever.
            let words = [a as u32 | 1, (a >> 32) as u32, b as u32, (b >> 32) as u32];
            for (row, word) in state.iter_mut().zip(words) {
                row[lane] = word;
            }
        }
        Random { state }
    }

    /// Fills a block whose length is a multiple of the number of lanes.
    pub fn fill(&mut self, block: &mut [u32]) {
        let [mut a, mut b, mut c, mut d] = self.state;
        for out in block.as_chunks_mut::<LANES>().0 {
            for i in 0..LANES {
                out[i] = a[i].wrapping_add(d[i]).rotate_left(7).wrapping_add(a[i]);
                let t = b[i] << 9;
                c[i] ^= a[i];
                d[i] ^= b[i];
                b[i] ^= c[i];
                a[i] ^= d[i];
                c[i] ^= t;
                d[i] = d[i].rotate_left(11);
            }
        }
        self.state = [a, b, c, d];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_and_batches_differ_and_repeat() {
        let draw = |seed, batch| {
            let mut block = [0u32; 64];
            Random::new(seed, batch).fill(&mut block);
            block
        };
        assert_eq!(draw(1, 2), draw(1, 2));
        assert_ne!(draw(1, 2), draw(1, 3));
        assert_ne!(draw(1, 2), draw(2, 2));
        let mut all: Vec<u32> = draw(5, 0).to_vec();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 64);
    }

    #[test]
    fn every_bit_is_set_half_the_time() {
        let mut block = vec![0u32; 80_000];
        Random::new(9, 9).fill(&mut block);
        for bit in 0..32 {
            let ones = block.iter().filter(|n| *n >> bit & 1 == 1).count();
            assert!(ones.abs_diff(40_000) < 800, "bit {bit}: {ones}");
        }
    }
}
