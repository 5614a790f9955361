//! Elementary functions without branches or table look-ups, so that loops over them vectorise, and so
//! that every machine computes the same bits: only additions, multiplications, divisions and square
//! roots are used, which IEEE 754 defines exactly.

const LN_2_HIGH: f64 = 6.931_471_803_691_238e-1;
const LN_2_LOW: f64 = 1.908_214_929_270_587_7e-10;
const TWO_52: f64 = 4_503_599_627_370_496.0;

/// The polynomial with these coefficients, the constant one first.
#[inline(always)]
fn polynomial<const N: usize>(x: f64, coefficients: [f64; N]) -> f64 {
    let mut sum = 0.0;
    let mut i = N;
    while i > 0 {
        i -= 1;
        sum = sum * x + coefficients[i];
    }
    sum
}

/// The natural logarithm of a normal number above 0, to about 1e-15 relative to the larger of 1 and itself.
#[inline(always)]
pub fn ln(x: f64) -> f64 {
    let bits = x.to_bits();
    // The exponent becomes the low bits of a number near 2^52: no integer conversion is needed.
    let exponent = f64::from_bits((bits >> 52) | TWO_52.to_bits()) - (TWO_52 + 1023.0);
    let mantissa = f64::from_bits((bits & 0x000f_ffff_ffff_ffff) | 1.0f64.to_bits());
    let high = mantissa > std::f64::consts::SQRT_2;
    let mantissa = if high { 0.5 * mantissa } else { mantissa };
    let exponent = if high { exponent + 1.0 } else { exponent };
    // ln m = 2 artanh s with |s| below 0.172
    let s = (mantissa - 1.0) / (mantissa + 1.0);
    let z = s * s;
    let series = polynomial(
        z,
        [2.0, 2.0 / 3.0, 2.0 / 5.0, 2.0 / 7.0, 2.0 / 9.0, 2.0 / 11.0, 2.0 / 13.0, 2.0 / 15.0, 2.0 / 17.0],
    );
    exponent * LN_2_HIGH + (s * series + exponent * LN_2_LOW)
}

/// The exponential function for |x| below 700, to about 1e-15 of its value.
#[inline(always)]
pub fn exp(x: f64) -> f64 {
    // Adding this rounds to a whole number, which then stands in the low bits.
    const ROUND: f64 = 1.5 * TWO_52;
    let shifted = x * std::f64::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = (x - n * LN_2_HIGH) - n * LN_2_LOW;
    let series = polynomial(
        r,
        [
            1.0,
            1.0,
            1.0 / 2.0,
            1.0 / 6.0,
            1.0 / 24.0,
            1.0 / 120.0,
            1.0 / 720.0,
            1.0 / 5040.0,
            1.0 / 40_320.0,
            1.0 / 362_880.0,
            1.0 / 3_628_800.0,
            1.0 / 39_916_800.0,
            1.0 / 479_001_600.0,
        ],
    );
    f64::from_bits(series.to_bits().wrapping_add(shifted.to_bits() << 52))
}

/// Sine and cosine of a full turn times `v`, for v from -1/2 to 1/2, to about 1e-15.
#[inline(always)]
pub fn sin_cos_turn(v: f64) -> (f64, f64) {
    // Of half the angle first: it stays within a quarter turn.
    let x = std::f64::consts::PI * v;
    let z = x * x;
    let sine = x * polynomial(
        z,
        [
            1.0,
            -1.0 / 6.0,
            1.0 / 120.0,
            -1.0 / 5040.0,
            1.0 / 362_880.0,
            -1.0 / 39_916_800.0,
            1.0 / 6_227_020_800.0,
            -1.0 / 1_307_674_368_000.0,
            1.0 / 355_687_428_096_000.0,
            -1.0 / 121_645_100_408_832_000.0,
        ],
    );
    let cosine = polynomial(
        z,
        [
            1.0,
            -1.0 / 2.0,
            1.0 / 24.0,
            -1.0 / 720.0,
            1.0 / 40_320.0,
            -1.0 / 3_628_800.0,
            1.0 / 479_001_600.0,
            -1.0 / 87_178_291_200.0,
            1.0 / 20_922_789_888_000.0,
            -1.0 / 6_402_373_705_728_000.0,
            1.0 / 2_432_902_008_176_640_000.0,
        ],
    );
    (2.0 * sine * cosine, 1.0 - 2.0 * sine * sine)
}

/// The distribution function of the standard normal law.
pub fn normal_cdf(x: f64) -> f64 {
    if x > 8.0 {
        return 1.0;
    }
    if x < -8.0 {
        return 0.0;
    }
    // Φ(x) = 1/2 + φ(x) (x + x³/3 + x⁵/15 + …)
    let (mut term, mut sum, mut i) = (x, x, 1.0);
    while sum + term != sum {
        i += 2.0;
        term *= x * x / i;
        sum += term;
    }
    0.5 + sum * exp(-0.5 * x * x) / (2.0 * std::f64::consts::PI).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_agree_with_the_standard_library() {
        for i in 1..=20_000 {
            let u = f64::from(i) / 20_000.0;
            assert!((ln(u) - u.ln()).abs() <= 3e-15 * u.ln().abs().max(1.0), "ln {u}");
            let x = 40.0 * u - 20.0;
            assert!((exp(x) / x.exp() - 1.0).abs() < 3e-15, "exp {x}");
            let v = u - 0.5;
            let (s, c) = sin_cos_turn(v);
            let (s0, c0) = (std::f64::consts::TAU * v).sin_cos();
            assert!((s - s0).abs() < 3e-15 && (c - c0).abs() < 3e-15, "turn {v}");
        }
        assert!((ln(2f64.powi(-33)) + 33.0 * std::f64::consts::LN_2).abs() < 1e-13);
    }

    #[test]
    fn the_normal_law_has_known_values() {
        for (x, p) in [(0.0, 0.5), (1.0, 0.841_344_746_068_542_9), (-1.959_963_984_540_054, 0.025)] {
            assert!((normal_cdf(x) - p).abs() < 1e-14, "{x}");
        }
    }
}
