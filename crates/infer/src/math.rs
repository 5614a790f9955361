//! Arithmetic of which every bit is defined here: any change of an order of operations makes another engine.
//!
//! Rust never reorders or fuses operations on floats, so plain code has the same bits on every machine. What a standard
//! library or a processor may round differently (exponentials, sines) is a polynomial here, or the crate `libm`.

#![allow(clippy::needless_range_loop)] // A lane or row is an index into several arrays.

/// Lanes of a sum: as many as the widest vectors in use have.
pub const LANES: usize = 16;

/// Added to a float of at most 2^22, it leaves the nearest integer, ties to even, in the low bits.
const ROUNDER: f32 = 12_582_912.0;

/// Half-precision bits as a float, exactly. Not-a-numbers become one quiet form, as hardware does.
#[inline(always)]
pub fn half_to_float(bits: u16) -> f32 {
    let magnitude = (u32::from(bits) & 0x7fff) << 13;
    // 2^112 moves the exponent's bias from 15 to 127, and makes subnormals normal.
    let finite = (f32::from_bits(magnitude) * f32::from_bits(0x7780_0000)).to_bits();
    let special = magnitude | if magnitude > 0x0f80_0000 { 0x7fc0_0000 } else { 0x7f80_0000 };
    let magnitude = if magnitude >= 0x0f80_0000 { special } else { finite };
    f32::from_bits(magnitude | (u32::from(bits) & 0x8000) << 16)
}

/// A float as half-precision bits, rounded to nearest, ties to even. What is too large becomes the largest half, so
/// that one outlier in a cache does not become an infinity; not-a-numbers become one form.
#[inline(always)]
pub fn float_to_half(x: f32) -> u16 {
    let bits = x.to_bits();
    let sign = (bits >> 16 & 0x8000) as u16;
    let magnitude = bits & 0x7fff_ffff;
    if magnitude > 0x7f80_0000 {
        return 0x7e00;
    }
    if magnitude >= 0x477f_f000 {
        return sign | 0x7bff;
    }
    if magnitude < 0x3880_0000 {
        // A subnormal half: an addition rounds at its last bit, 2^-24.
        let rounded = f32::from_bits(magnitude) + 0.5;
        return sign | (rounded.to_bits() - 0x3f00_0000) as u16;
    }
    let odd = magnitude >> 13 & 1;
    sign | ((magnitude - 0x3800_0000 + 0xfff + odd) >> 13) as u16
}

/// The sum of 16 lanes, as a fixed tree.
#[inline(always)]
pub fn tree_sum(mut lanes: [f32; LANES]) -> f32 {
    for k in 0..8 {
        lanes[k] += lanes[k + 8];
    }
    for k in 0..4 {
        lanes[k] += lanes[k + 4];
    }
    (lanes[0] + lanes[2]) + (lanes[1] + lanes[3])
}

/// The exponential, by the polynomial of Cephes (`expf`) with fused steps; within 2 units in the last place between
/// -87 and 88, and constant beyond.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    let x = x.clamp(-87.0, 88.0);
    let shifted = x.mul_add(std::f32::consts::LOG2_E, ROUNDER);
    let n = shifted - ROUNDER;
    let r = n.mul_add(-0.693_359_4, x);
    let r = n.mul_add(2.121_944_4e-4, r);
    let p = 1.987_569_1e-4f32.mul_add(r, 1.398_199_9e-3);
    let p = p.mul_add(r, 8.333_452e-3);
    let p = p.mul_add(r, 4.166_579_6e-2);
    let p = p.mul_add(r, 1.666_666_5e-1);
    let p = p.mul_add(r, 0.5);
    let y = p.mul_add(r * r, r) + 1.0;
    y * f32::from_bits(shifted.to_bits().wrapping_sub(ROUNDER.to_bits()).wrapping_add(127) << 23)
}

/// The nearest integer of a float of at most 2^22, ties to even. Of anything else, something.
#[inline(always)]
pub fn nearest(x: f32) -> i32 {
    (x + ROUNDER).to_bits().wrapping_sub(ROUNDER.to_bits()) as i32
}

/// `x / (1 + exp(-x))`.
#[inline(always)]
pub fn silu(x: f32) -> f32 {
    x / (1.0 + exp(-x))
}

/// GELU in its approximation by a hyperbolic tangent.
#[inline(always)]
pub fn gelu(x: f32) -> f32 {
    let inner = 0.797_884_6 * x * (0.044_715 * x).mul_add(x, 1.0);
    // tanh(y) = 1 - 2 / (exp(2y) + 1), and so 0.5 (1 + tanh(y)) = 1 - 1 / (exp(2y) + 1).
    x * (1.0 - 1.0 / (exp(2.0 * inner) + 1.0))
}

/// GELU itself, by a polynomial for the complementary error function (Abramowitz and Stegun, 7.1.26), whose error is below
/// 2e-7.
#[inline(always)]
pub fn exact_gelu(x: f32) -> f32 {
    let a = x.abs() * std::f32::consts::FRAC_1_SQRT_2;
    let t = 1.0 / a.mul_add(0.327_591_1, 1.0);
    let p = 1.061_405_4f32.mul_add(t, -1.453_152_1);
    let p = p.mul_add(t, 1.421_413_8);
    let p = p.mul_add(t, -0.284_496_72);
    let p = p.mul_add(t, 0.254_829_6);
    let half = 0.5 * (p * t * exp(-(a * a)));
    x * if x >= 0.0 { 1.0 - half } else { half }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_half_comes_back() {
        for bits in 0..=u16::MAX {
            let x = half_to_float(bits);
            let expected = match bits & 0x7fff {
                0x7c00 => bits & 0x8000 | 0x7bff,
                magnitude if magnitude > 0x7c00 => 0x7e00,
                _ => bits,
            };
            assert_eq!(float_to_half(x), expected, "{bits:#06x} is {x}");
        }
    }

    #[test]
    fn halves_round_to_even() {
        assert_eq!(half_to_float(0x3c01), 1.0 + 1.0 / 1024.0);
        assert_eq!(float_to_half(1.0 + 0.5 / 1024.0), 0x3c00);
        assert_eq!(float_to_half(1.0 + 1.5 / 1024.0), 0x3c02);
        assert_eq!(float_to_half(65_519.0), 0x7bff);
        assert_eq!(float_to_half(1e30), 0x7bff);
        assert_eq!(float_to_half(3.0 * 2f32.powi(-26)), 1);
        assert_eq!(float_to_half(2f32.powi(-26)), 0);
    }

    #[test]
    fn exp_is_close_and_bounded() {
        for i in -8_700..8_800 {
            let x = i as f32 / 100.0;
            let exact = f64::from(x).exp();
            assert!((f64::from(exp(x)) / exact - 1.0).abs() < 2.5e-7, "exp({x}) = {}", exp(x));
        }
        assert_eq!(exp(0.0), 1.0);
        assert_eq!(exp(f32::NEG_INFINITY), exp(-87.0));
        assert!(exp(f32::NAN).is_nan());
    }

    #[test]
    fn activations_are_close() {
        for i in -1_000..1_000 {
            let x = f64::from(i) / 50.0;
            let exact_silu = x / (1.0 + (-x).exp());
            let inner = 0.797_884_560_8 * (x + 0.044_715 * x * x * x);
            let by_tanh = 0.5 * x * (1.0 + inner.tanh());
            assert!((f64::from(silu(x as f32)) - exact_silu).abs() < 1e-5);
            assert!((f64::from(gelu(x as f32)) - by_tanh).abs() < 1e-5);
            let by_error_function = 0.5 * x * libm::erfc(-x / std::f64::consts::SQRT_2);
            assert!((f64::from(exact_gelu(x as f32)) - by_error_function).abs() < 2e-6);
        }
    }

    #[test]
    fn nearest_rounds_ties_to_even() {
        assert_eq!([-127.0, -2.5, -0.5, 0.5, 1.5, 126.6].map(nearest), [-127, -2, 0, 0, 2, 127]);
    }
}
