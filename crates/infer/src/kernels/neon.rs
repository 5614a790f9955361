//! NEON: 4 rows in a vector. Written by its manuals and not yet run on such a machine.

#![allow(clippy::needless_range_loop)] // A lane or row is an index into several arrays.

use std::arch::aarch64::*;

use super::isa::{Isa, operations};
use crate::math::half_to_float;

#[derive(Clone, Copy)]
pub struct Neon;

/// Adds to each row the products of its 4 codes with 4 activations. A pair of products has 2 · 128 · 127 at most, which
/// fits into 16 bits.
// SAFETY: to be called where the processor has the instruction set, with pointers to whole blocks and rows.
#[inline(always)]
unsafe fn add_products(sums: int32x4_t, codes: uint8x16_t, x: *const i8, group: usize) -> int32x4_t {
    // SAFETY: the caller vouches for the instruction set and the pointer.
    unsafe {
        let x = vreinterpretq_s8_s32(vdupq_n_s32(x.cast::<i32>().add(group).read_unaligned()));
        let codes = vreinterpretq_s8_u8(codes);
        let low = vmull_s8(vget_low_s8(codes), vget_low_s8(x));
        let high = vmull_s8(vget_high_s8(codes), vget_high_s8(x));
        vpadalq_s16(sums, vpaddq_s16(low, high))
    }
}

impl Isa for Neon {
    const ROWS: usize = 4;
    const TOKENS: usize = 8;
    type Bytes = uint8x16_t;
    type Ints = int32x4_t;
    type Floats = float32x4_t;

    #[inline(always)]
    fn prefetch(_from: *const u8) {}
    operations! {
        fn bytes(from: *const u8) -> uint8x16_t {
            vld1q_u8(from)
        }
        fn low(bytes: uint8x16_t) -> uint8x16_t {
            vandq_u8(bytes, vdupq_n_u8(15))
        }
        fn high(bytes: uint8x16_t) -> uint8x16_t {
            vshrq_n_u8::<4>(bytes)
        }
        fn with_plane(low: uint8x16_t, plane: uint8x16_t, shift: i32, mask: i8) -> uint8x16_t {
            let bits = vandq_u8(vshlq_u8(plane, vdupq_n_s8(-shift as i8)), vdupq_n_u8(mask as u8));
            vorrq_u8(low, vshlq_n_u8::<4>(bits))
        }

        fn dot16(codes: [uint8x16_t; 4], x: *const i8, init: i32) -> int32x4_t {
            let mut sums = vdupq_n_s32(init);
            for group in 0..4 {
                sums = add_products(sums, codes[group], x, group);
            }
            sums
        }
        fn dot32(codes: [uint8x16_t; 8], x: *const i8, _bits: u32, init: i32) -> int32x4_t {
            let mut sums = vdupq_n_s32(init);
            for group in 0..8 {
                sums = add_products(sums, codes[group], x, group);
            }
            sums
        }
        fn dot32_signed(codes: [uint8x16_t; 8], x: *const i8, _sum: i32) -> int32x4_t {
            let mut sums = vdupq_n_s32(0);
            for group in 0..8 {
                // Less 128, as a signed byte.
                sums = add_products(sums, veorq_u8(codes[group], vdupq_n_u8(0x80)), x, group);
            }
            sums
        }

        fn signed(from: *const u8) -> int32x4_t {
            vld1q_s32(from.cast::<[i8; 4]>().read_unaligned().map(i32::from).as_ptr())
        }
        fn unsigned(from: *const u8) -> int32x4_t {
            vld1q_s32(from.cast::<[u8; 4]>().read_unaligned().map(i32::from).as_ptr())
        }
        fn products(a: int32x4_t, b: int32x4_t, c: int32x4_t, d: int32x4_t) -> int32x4_t {
            vmlaq_s32(vmulq_s32(a, b), c, d)
        }
        fn to_floats(ints: int32x4_t) -> float32x4_t {
            vcvtq_f32_s32(ints)
        }

        fn splat(x: f32) -> float32x4_t {
            vdupq_n_f32(x)
        }
        fn load(from: *const f32) -> float32x4_t {
            vld1q_f32(from)
        }
        fn store(to: *mut f32, floats: float32x4_t) {
            vst1q_f32(to, floats)
        }
        fn halves(from: *const u16) -> float32x4_t {
            vld1q_f32(from.cast::<[u16; 4]>().read_unaligned().map(half_to_float).as_ptr())
        }
        fn brains(from: *const u16) -> float32x4_t {
            vreinterpretq_f32_u32(vshlq_n_u32::<16>(vmovl_u16(vld1_u16(from))))
        }
        fn mul(a: float32x4_t, b: float32x4_t) -> float32x4_t {
            vmulq_f32(a, b)
        }
        fn add(a: float32x4_t, b: float32x4_t) -> float32x4_t {
            vaddq_f32(a, b)
        }
        fn fma(a: float32x4_t, b: float32x4_t, c: float32x4_t) -> float32x4_t {
            vfmaq_f32(c, a, b)
        }
    }
}
