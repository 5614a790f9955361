//! Sorting many keys of known width.

const DIGIT: u32 = 11;
const VALUES: usize = 1 << DIGIT;

/// Sorts keys below `2^bits` by radix, least digit first; `spare` is scratch space.
pub fn radix_sort(keys: &mut Vec<u64>, spare: &mut Vec<u64>, bits: u32) {
    if keys.len() < 4096 {
        // The tables would cost more than the work.
        keys.sort_unstable();
        return;
    }
    spare.clear();
    spare.resize(keys.len(), 0);
    let passes = bits.div_ceil(DIGIT);
    // As even as possible: fewer values for a pass are easier on the cache.
    let digit = bits.div_ceil(passes);
    let mask = (1usize << digit) - 1;
    for pass in 0..passes {
        let shift = pass * digit;
        let mut next = count(keys, shift, mask);
        let mut sum = 0;
        for place in next.iter_mut() {
            let count = *place;
            *place = sum;
            sum += count;
        }
        let mut put = |key: u64| {
            let place = &mut next[(key >> shift) as usize & mask & (VALUES - 1)];
            spare[*place as usize] = key;
            *place += 1;
        };
        // Four keys a turn, here and in `count`: a sandbox counts its fuel once a turn.
        let blocks = keys.chunks_exact(4);
        let rest = blocks.remainder();
        for block in blocks {
            put(block[0]);
            put(block[1]);
            put(block[2]);
            put(block[3]);
        }
        rest.iter().copied().for_each(put);
        std::mem::swap(keys, spare);
    }
}

/// How many keys have each value of the digit at `shift`.
fn count(keys: &[u64], shift: u32, mask: usize) -> [u32; VALUES] {
    let mut counts = [0u32; VALUES];
    let mut add = |key: u64| counts[(key >> shift) as usize & mask & (VALUES - 1)] += 1;
    let blocks = keys.chunks_exact(4);
    let rest = blocks.remainder();
    for block in blocks {
        add(block[0]);
        add(block[1]);
        add(block[2]);
        add(block[3]);
    }
    rest.iter().copied().for_each(add);
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sorts_like_the_standard_sort() {
        let mut state = 7u64;
        for (count, bits) in [(10, 42), (5000, 2), (50_000, 42), (20_000, 62)] {
            let mut keys: Vec<u64> = (0..count)
                .map(|_| {
                    state =
                        state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    state >> (64 - bits)
                })
                .collect();
            let mut expected = keys.clone();
            expected.sort_unstable();
            radix_sort(&mut keys, &mut Vec::new(), bits);
            assert_eq!(keys, expected);
        }
    }
}
