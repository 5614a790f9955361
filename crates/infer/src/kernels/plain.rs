//! The definition: plain Rust.

#![allow(clippy::needless_range_loop)] // A lane or row is an index into several arrays.

use super::isa::{Isa, operations};
use crate::math::half_to_float;

#[derive(Clone, Copy)]
pub struct Plain;

const ROWS: usize = 16;
const WIDTH: usize = 4 * ROWS;

/// The dot products of vectors of codes, less `offset`, with 4 activations each.
#[inline(always)]
fn dot(codes: &[[u8; WIDTH]], x: &[i8], offset: i32, init: i32) -> [i32; ROWS] {
    let mut sums = [init; ROWS];
    for (codes, x) in codes.iter().zip(x.chunks_exact(4)) {
        for (row, sum) in sums.iter_mut().enumerate() {
            for k in 0..4 {
                *sum += (i32::from(codes[4 * row + k]) - offset) * i32::from(x[k]);
            }
        }
    }
    sums
}

/// The elements that a pointer is valid for, by the trait's contract.
macro_rules! array {
    ($from:expr, $kind:ty) => {
        // SAFETY: the caller vouches for the pointer; arrays of numbers are read at any alignment.
        unsafe { $from.cast::<$kind>().read_unaligned() }
    };
}

impl Isa for Plain {
    const ROWS: usize = ROWS;
    const TOKENS: usize = 1;
    type Bytes = [u8; WIDTH];
    type Ints = [i32; ROWS];
    type Floats = [f32; ROWS];

    #[inline(always)]
    fn prefetch(_from: *const u8) {}
    operations! {
        fn bytes(from: *const u8) -> Self::Bytes {
            array!(from, [u8; WIDTH])
        }
        fn low(bytes: Self::Bytes) -> Self::Bytes {
            bytes.map(|byte| byte & 15)
        }
        fn high(bytes: Self::Bytes) -> Self::Bytes {
            bytes.map(|byte| byte >> 4)
        }
        fn with_plane(low: Self::Bytes, plane: Self::Bytes, shift: i32, mask: i8) -> Self::Bytes {
            std::array::from_fn(|i| low[i] | (plane[i] >> shift & mask as u8) << 4)
        }

        fn dot16(codes: [Self::Bytes; 4], x: *const i8, init: i32) -> Self::Ints {
            dot(&codes, &array!(x, [i8; 16]), 0, init)
        }
        fn dot32(codes: [Self::Bytes; 8], x: *const i8, _bits: u32, init: i32) -> Self::Ints {
            dot(&codes, &array!(x, [i8; 32]), 0, init)
        }
        fn dot32_signed(codes: [Self::Bytes; 8], x: *const i8, _sum: i32) -> Self::Ints {
            dot(&codes, &array!(x, [i8; 32]), 128, 0)
        }

        fn signed(from: *const u8) -> Self::Ints {
            array!(from, [i8; ROWS]).map(i32::from)
        }
        fn unsigned(from: *const u8) -> Self::Ints {
            array!(from, [u8; ROWS]).map(i32::from)
        }
        fn products(a: Self::Ints, b: Self::Ints, c: Self::Ints, d: Self::Ints) -> Self::Ints {
            std::array::from_fn(|i| a[i] * b[i] + c[i] * d[i])
        }
        fn to_floats(ints: Self::Ints) -> Self::Floats {
            ints.map(|n| n as f32)
        }

        fn splat(x: f32) -> Self::Floats {
            [x; ROWS]
        }
        fn load(from: *const f32) -> Self::Floats {
            array!(from, [f32; ROWS])
        }
        fn store(to: *mut f32, floats: Self::Floats) {
            to.cast::<[f32; ROWS]>().write_unaligned(floats)
        }
        fn halves(from: *const u16) -> Self::Floats {
            array!(from, [u16; ROWS]).map(half_to_float)
        }
        fn brains(from: *const u16) -> Self::Floats {
            array!(from, [u16; ROWS]).map(|bits| f32::from_bits(u32::from(bits) << 16))
        }
        fn mul(a: Self::Floats, b: Self::Floats) -> Self::Floats {
            std::array::from_fn(|i| a[i] * b[i])
        }
        fn add(a: Self::Floats, b: Self::Floats) -> Self::Floats {
            std::array::from_fn(|i| a[i] + b[i])
        }
        fn fma(a: Self::Floats, b: Self::Floats, c: Self::Floats) -> Self::Floats {
            std::array::from_fn(|i| a[i].mul_add(b[i], c[i]))
        }
    }
}
