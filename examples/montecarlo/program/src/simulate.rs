//! The simulation of one batch.

use crate::functions::{exp, ln, sin_cos_turn};
use crate::moments::Moments;
use crate::option::Call;
use crate::random::Random;

/// Samples a block: small enough that all arrays of a block stay in the first-level cache.
pub const BLOCK: usize = 512;

const HALF: usize = BLOCK / 2;

/// Fills `normals` with standard normal numbers (Box and Muller, both halves used).
fn normals(random: &mut Random, bits: &mut [u32; BLOCK], normals: &mut [f64; BLOCK]) {
    random.fill(bits);
    let (first, second) = bits.split_at(HALF);
    let (cosines, sines) = normals.split_at_mut(HALF);
    for i in 0..HALF {
        // As signed numbers, since those convert in one instruction: u in (0, 1), v in (-1/2, 1/2).
        let u = (f64::from(first[i] as i32) + 0.5) * (1.0 / 4_294_967_296.0) + 0.5;
        let v = (f64::from(second[i] as i32) + 0.5) * (1.0 / 4_294_967_296.0);
        let radius = (-2.0 * ln(u)).sqrt();
        let (sine, cosine) = sin_cos_turn(v);
        cosines[i] = radius * cosine;
        sines[i] = radius * sine;
    }
}

/// Turns normal numbers into discounted payoffs, each the mean of a path and its mirror image.
fn payoffs(call: &Call, values: &mut [f64; BLOCK]) {
    let spread = call.volatility * call.years.sqrt();
    let centre = call.spot * exp(call.rate * call.years - 0.5 * spread * spread);
    let half = 0.5 * call.discount();
    for value in values.iter_mut() {
        let growth = exp(spread * *value);
        let up = centre * growth - call.strike;
        let down = centre / growth - call.strike;
        let up = if up > 0.0 { up } else { 0.0 };
        let down = if down > 0.0 { down } else { 0.0 };
        *value = half * (up + down);
    }
}

/// Simulates `blocks` blocks of pairs of paths.
pub fn simulate(call: &Call, seed: u64, batch: u64, blocks: u64) -> Moments {
    let mut random = Random::new(seed, batch);
    let mut bits = [0u32; BLOCK];
    let mut values = [0.0f64; BLOCK];
    let mut all = Moments::default();
    for _ in 0..blocks {
        normals(&mut random, &mut bits, &mut values);
        payoffs(call, &mut values);
        all = all.with(&Moments::of(&values));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normal_numbers_have_the_right_moments() {
        let mut random = Random::new(3, 4);
        let (mut bits, mut block) = ([0; BLOCK], [0.0; BLOCK]);
        let mut sums = [0.0; 4];
        let n = 2000 * BLOCK;
        for _ in 0..2000 {
            normals(&mut random, &mut bits, &mut block);
            for x in block {
                for (power, sum) in sums.iter_mut().enumerate() {
                    *sum += x.powi(power as i32 + 1);
                }
            }
        }
        let moment = |i: usize| sums[i] / n as f64;
        // Five standard errors of each mean: the variances are 1, 2, 15 and 96.
        let error = |variance: f64| 5.0 * (variance / n as f64).sqrt();
        assert!(moment(0).abs() < error(1.0));
        assert!((moment(1) - 1.0).abs() < error(2.0));
        assert!(moment(2).abs() < error(15.0));
        assert!((moment(3) - 3.0).abs() < error(96.0));
    }

    #[test]
    fn the_price_agrees_with_the_closed_form() {
        let call = Call { spot: 100.0, strike: 105.0, rate: 0.03, volatility: 0.25, years: 1.0 };
        let found = simulate(&call, 1, 0, 2000);
        let apart = (found.mean - call.black_scholes()) / found.standard_error();
        assert!(apart.abs() < 4.0, "{apart}");
        // Mirrored paths must be better than as many independent ones.
        assert!(found.standard_error() < 0.015);
    }
}
