//! Reproducible sample points: Owen-scrambled Sobol pairs, keyed by seed and pixel.
//!
//! Every pair of numbers a path asks for is one two-dimensional point set over the samples of the
//! pixel, so sixteen samples cover the lens, the sun and the sky evenly instead of clumping.

/// Mixes 32 bits (every input bit reaches every output bit).
#[inline]
pub fn mix32(mut x: u32) -> u32 {
    x ^= x >> 16;
    x = x.wrapping_mul(0x7feb_352d);
    x ^= x >> 15;
    x = x.wrapping_mul(0x846c_a68b);
    x ^ (x >> 16)
}

/// Mixes a pair of keys.
#[inline]
pub fn mix_pair(a: u32, b: u32) -> u32 {
    mix32(a ^ mix32(b.wrapping_add(0x9e37_79b9)))
}

/// A random number of [0, 1) that belongs to a key.
#[inline]
pub fn unit_of(key: u32) -> f64 {
    f64::from(mix32(key)) * (1.0 / 4_294_967_296.0)
}

/// Scrambles a bit-reversed number so that each bit depends on the lower ones only: an Owen
/// scrambling by hashing, after Laine and Karras.
#[inline]
fn scramble_reversed(mut x: u32, seed: u32) -> u32 {
    x = x.wrapping_add(seed);
    x ^= x.wrapping_mul(0x6c50_b47c);
    x ^= x.wrapping_mul(0xb82f_1e52);
    x ^= x.wrapping_mul(0xc7af_e638);
    x ^ x.wrapping_mul(0x8d22_f6e6)
}

#[inline]
fn scramble(x: u32, seed: u32) -> u32 {
    scramble_reversed(x.reverse_bits(), seed).reverse_bits()
}

/// The second Sobol coordinate of `index`, bit-reversed.
#[inline]
fn sobol_second(mut index: u32) -> u32 {
    let mut direction = 1u32 << 31;
    let mut x = 0;
    while index != 0 {
        if index & 1 == 1 {
            x ^= direction;
        }
        direction ^= direction >> 1;
        index >>= 1;
    }
    x
}

/// The numbers one path consumes.
#[derive(Clone, Debug)]
pub struct Sampler {
    key: u32,
    index: u32,
    mask: u32,
    pair: u32,
}

impl Sampler {
    /// The sampler of sample `index` of `count` in the pixel with this key.
    pub fn new(key: u32, index: u32, count: u32) -> Sampler {
        Sampler { key, index, mask: count.next_power_of_two().wrapping_sub(1), pair: 0 }
    }

    /// The next two numbers of [0, 1).
    #[inline]
    pub fn pair(&mut self) -> (f64, f64) {
        self.pair += 1;
        let seed = mix_pair(self.key, self.pair);
        // Shuffling the order decouples this pair from the others of the path.
        let index = scramble_reversed(self.index, seed) & self.mask;
        let x = scramble(index.reverse_bits(), mix32(seed ^ 0x5bd1_e995));
        let y = scramble(sobol_second(index), mix32(seed ^ 0x68bc_21eb));
        const SCALE: f64 = 1.0 / 4_294_967_296.0;
        (f64::from(x) * SCALE, f64::from(y) * SCALE)
    }

    /// The next number of [0, 1).
    #[inline]
    pub fn one(&mut self) -> f64 {
        self.pair().0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sixteen_samples_are_stratified() {
        for key in 0..50 {
            for _ in 0..3 {
                let mut rows = 0u32;
                let mut columns = 0u32;
                let mut cells = 0u32;
                for i in 0..16 {
                    let mut s = Sampler::new(key, i, 16);
                    let _ = s.pair();
                    let (x, y) = s.pair();
                    rows |= 1 << (y * 16.0) as u32;
                    columns |= 1 << (x * 16.0) as u32;
                    cells |= 1 << ((x * 4.0) as u32 * 4 + (y * 4.0) as u32);
                }
                assert_eq!((rows, columns, cells), (0xffff, 0xffff, 0xffff));
            }
        }
    }

    #[test]
    fn mean_is_a_half() {
        let sum: f64 = (0..10_000).map(unit_of).sum();
        assert!((sum / 10_000.0 - 0.5).abs() < 0.01);
    }
}
