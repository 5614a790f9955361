//! What is done with one row of floats: norms, quantising, gates, weights of attention.
//!
//! Plain loops over lanes, which the compiler turns into vectors of whatever width the caller has: the order is theirs.

#![allow(clippy::needless_range_loop)] // A lane or row is an index into several arrays.

use crate::activations::Row;
use crate::config::Pairs;
use crate::format::BLOCK;
use crate::math::{LANES, exact_gelu, exp, gelu, nearest, silu, tree_sum};

/// Below this a block of activations counts as zero: its inverse would be infinite.
const LEAST: f32 = 1e-30;

/// The sum of squares of a row, in 16 lanes.
#[inline(always)]
fn squares(x: &[f32]) -> f32 {
    let mut lanes = [0.0; LANES];
    for chunk in x.chunks_exact(LANES) {
        for k in 0..LANES {
            lanes[k] = chunk[k].mul_add(chunk[k], lanes[k]);
        }
    }
    tree_sum(lanes)
}

/// Divides a row by its root mean square and multiplies it by weights, in place.
#[inline(always)]
pub fn rms_norm(x: &mut [f32], weights: &[f32], epsilon: f32) {
    assert!(x.len() == weights.len() && x.len().is_multiple_of(LANES), "weights fit the row");
    let scale = 1.0 / (squares(x) / x.len() as f32 + epsilon).sqrt();
    for (x, weight) in x.iter_mut().zip(weights) {
        *x = *x * scale * weight;
    }
}

/// Moves a row's mean to 0 and its variance to 1, then multiplies by weights and adds a bias, in place.
#[inline(always)]
pub fn layer_norm(x: &mut [f32], weights: &[f32], bias: &[f32], epsilon: f32) {
    let fits = x.len() == weights.len() && x.len() == bias.len() && x.len().is_multiple_of(LANES);
    assert!(fits, "weights fit the row");
    let mut lanes = [0.0; LANES];
    for chunk in x.chunks_exact(LANES) {
        for k in 0..LANES {
            lanes[k] += chunk[k];
        }
    }
    let mean = tree_sum(lanes) / x.len() as f32;
    x.iter_mut().for_each(|x| *x -= mean);
    let scale = 1.0 / (squares(x) / x.len() as f32 + epsilon).sqrt();
    for ((x, weight), bias) in x.iter_mut().zip(weights).zip(bias) {
        *x = (*x * scale).mul_add(*weight, *bias);
    }
}

/// Scales a row to length 1; one of length 0 stays.
#[inline(always)]
pub fn normalise(x: &mut [f32]) {
    let squares = squares(x);
    let scale = if squares == 0.0 { 0.0 } else { 1.0 / squares.sqrt() };
    x.iter_mut().for_each(|x| *x *= scale);
}

/// Fills in a row's codes, scales and sums from its floats.
///
/// A block that has an infinity or a not-a-number gets a scale that is one, so that every output it touches is.
#[inline(always)]
pub fn quantise(row: &mut Row<'_>) {
    let Some((codes, scales, sums)) = &mut row.quantised else { return };
    let blocks = row.floats.chunks_exact(BLOCK).zip(codes.chunks_exact_mut(BLOCK));
    let numbers = scales.iter_mut().zip(sums.chunks_exact_mut(2));
    for ((x, codes), (scale, sums)) in blocks.zip(numbers) {
        let mut lanes = [0u32; LANES];
        for chunk in x.chunks_exact(LANES) {
            for k in 0..LANES {
                lanes[k] = lanes[k].max(chunk[k].to_bits() & 0x7fff_ffff);
            }
        }
        let largest = f32::from_bits(lanes.iter().fold(0, |most, &bits| most.max(bits)));
        let inverse = if largest >= LEAST { 127.0 / largest } else { 0.0 };
        *scale = if largest >= LEAST { largest / 127.0 } else { 0.0 };
        if !largest.is_finite() {
            *scale = f32::NAN;
        }
        for half in 0..2 {
            let mut sum = 0i32;
            for k in 0..16 {
                let code = nearest(x[half * 16 + k] * inverse) as i8;
                codes[half * 16 + k] = code;
                sum += i32::from(code);
            }
            sums[half] = sum;
        }
    }
}

/// Which function gates a feed-forward layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// `x / (1 + exp(-x))`: Llama, Qwen.
    Silu,
    /// By a hyperbolic tangent: Gemma.
    Gelu,
}

/// Multiplies gated values by others, in place.
#[inline(always)]
pub fn gate(kind: Gate, x: &mut [f32], by: &[f32]) {
    match kind {
        Gate::Silu => {
            for (x, by) in x.iter_mut().zip(by) {
                *x = silu(*x) * by;
            }
        }
        Gate::Gelu => {
            for (x, by) in x.iter_mut().zip(by) {
                *x = gelu(*x) * by;
            }
        }
    }
}

/// The function of a feed-forward layer that has no gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// `x` times the normal distribution's share below `x`: BERT.
    Gelu,
    /// The same in its approximation by a hyperbolic tangent.
    GeluByTanh,
}

/// Applies it, in place.
#[inline(always)]
pub fn activate(kind: Activation, x: &mut [f32]) {
    match kind {
        Activation::Gelu => {
            for x in x {
                *x = exact_gelu(*x);
            }
        }
        Activation::GeluByTanh => {
            for x in x {
                *x = gelu(*x);
            }
        }
    }
}

/// From scores to weights, whose sum's inverse is returned. The first `skip` scores and all from `end` on count nothing;
/// there are as many scores as fill whole lanes.
#[inline(always)]
pub fn softmax(scores: &mut [f32], skip: usize, end: usize) -> f32 {
    scores[..skip].fill(f32::NEG_INFINITY);
    scores[end..].fill(f32::NEG_INFINITY);
    let mut most = [f32::NEG_INFINITY; LANES];
    for chunk in scores.chunks_exact(LANES) {
        for k in 0..LANES {
            most[k] = if chunk[k] > most[k] { chunk[k] } else { most[k] };
        }
    }
    let most = most.iter().fold(f32::NEG_INFINITY, |most, &x| if x > most { x } else { most });
    let mut lanes = [0.0; LANES];
    for chunk in scores.chunks_exact_mut(LANES) {
        for k in 0..LANES {
            let weight = if chunk[k] == f32::NEG_INFINITY { 0.0 } else { exp(chunk[k] - most) };
            chunk[k] = weight;
            lanes[k] += weight;
        }
    }
    1.0 / tree_sum(lanes)
}

/// Turns the pairs of a head by its position's angles.
#[inline(always)]
pub fn turn(pairs: Pairs, head: &mut [f32], cosines: &[f32], sines: &[f32]) {
    let half = cosines.len();
    assert!(head.len() >= 2 * half && sines.len() == half, "angles fit the head");
    match pairs {
        Pairs::Neighbours => {
            for ((pair, &c), &s) in head.chunks_exact_mut(2).zip(cosines).zip(sines) {
                let (a, b) = (pair[0], pair[1]);
                pair[0] = a.mul_add(c, -(b * s));
                pair[1] = a.mul_add(s, b * c);
            }
        }
        Pairs::Halves => {
            let (first, second) = head.split_at_mut(half);
            for (((a, b), &c), &s) in first.iter_mut().zip(second).zip(cosines).zip(sines) {
                (*a, *b) = (a.mul_add(c, -(*b * s)), a.mul_add(s, *b * c));
            }
        }
    }
}
