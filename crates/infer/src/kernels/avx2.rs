//! AVX2 with FMA and F16C: 8 rows in a vector.

use std::arch::x86_64::*;

use super::isa::{Isa, operations};

#[derive(Clone, Copy)]
pub struct Avx2;

/// Four activations, in each row.
// SAFETY: to be called where the processor has the instruction set, with pointers to whole blocks and rows.
#[inline(always)]
unsafe fn four(x: *const i8, group: usize) -> __m256i {
    // SAFETY: the caller vouches for the pointer.
    unsafe { _mm256_set1_epi32(x.cast::<i32>().add(group).read_unaligned()) }
}

/// Sums pairs of 16-bit sums.
#[inline(always)]
unsafe fn pairs(sums: __m256i) -> __m256i {
    // SAFETY: the caller vouches for the instruction set.
    unsafe { _mm256_madd_epi16(sums, _mm256_set1_epi16(1)) }
}

/// Sums of 16 bits of two vectors' products with activations, from `group` on. With codes of `bits` bits, each is
/// 4 · (2^bits − 1) · 127 at most: 32,004 for 6 bits.
#[inline(always)]
unsafe fn two(a: __m256i, b: __m256i, x: *const i8, group: usize) -> __m256i {
    // SAFETY: the caller vouches for the instruction set and the pointer.
    unsafe {
        _mm256_add_epi16(_mm256_maddubs_epi16(a, four(x, group)), _mm256_maddubs_epi16(b, four(x, group + 1)))
    }
}

/// One vector's products. The code's sign moves to the activation: |code| is at most 128, so a pair has 32,512 at most.
#[inline(always)]
unsafe fn signed(codes: __m256i, x: *const i8, group: usize) -> __m256i {
    // SAFETY: the caller vouches for the instruction set and the pointer.
    unsafe {
        let codes = _mm256_xor_si256(codes, _mm256_set1_epi8(-128));
        let x = _mm256_sign_epi8(four(x, group), codes);
        pairs(_mm256_maddubs_epi16(_mm256_abs_epi8(codes), x))
    }
}

impl Isa for Avx2 {
    const ROWS: usize = 8;
    const TOKENS: usize = 6;
    type Bytes = __m256i;
    type Ints = __m256i;
    type Floats = __m256;

    #[inline(always)]
    fn prefetch(from: *const u8) {
        // SAFETY: every x86-64 processor has the instruction, and it reads nothing.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(from.cast()) }
    }
    operations! {
        fn bytes(from: *const u8) -> __m256i {
            _mm256_loadu_si256(from.cast())
        }
        fn low(bytes: __m256i) -> __m256i {
            _mm256_and_si256(bytes, _mm256_set1_epi8(15))
        }
        fn high(bytes: __m256i) -> __m256i {
            _mm256_and_si256(_mm256_srli_epi16::<4>(bytes), _mm256_set1_epi8(15))
        }
        fn with_plane(low: __m256i, plane: __m256i, shift: i32, mask: i8) -> __m256i {
            let bits = _mm256_srl_epi16(plane, _mm_cvtsi32_si128(shift));
            let bits = _mm256_and_si256(bits, _mm256_set1_epi8(mask));
            _mm256_or_si256(low, _mm256_slli_epi16::<4>(bits))
        }

        fn dot16(codes: [__m256i; 4], x: *const i8, init: i32) -> __m256i {
            let [a, b, c, d] = codes;
            let sum = _mm256_add_epi32(pairs(two(a, b, x, 0)), pairs(two(c, d, x, 2)));
            _mm256_add_epi32(sum, _mm256_set1_epi32(init))
        }
        fn dot32(codes: [__m256i; 8], x: *const i8, bits: u32, init: i32) -> __m256i {
            let [a, b, c, d, e, f, g, h] = codes;
            let first = _mm256_add_epi16(two(a, b, x, 0), two(c, d, x, 2));
            let second = _mm256_add_epi16(two(e, f, x, 4), two(g, h, x, 6));
            let sum = if bits <= 4 {
                // 16 · 15 · 127 = 30,480.
                pairs(_mm256_add_epi16(first, second))
            } else {
                // 8 · 31 · 127 = 31,496.
                _mm256_add_epi32(pairs(first), pairs(second))
            };
            if init == 0 { sum } else { _mm256_add_epi32(sum, _mm256_set1_epi32(init)) }
        }
        fn dot32_signed(codes: [__m256i; 8], x: *const i8, _sum: i32) -> __m256i {
            let [a, b, c, d, e, f, g, h] = codes;
            let first = _mm256_add_epi32(signed(a, x, 0), signed(b, x, 1));
            let second = _mm256_add_epi32(signed(c, x, 2), signed(d, x, 3));
            let third = _mm256_add_epi32(signed(e, x, 4), signed(f, x, 5));
            let fourth = _mm256_add_epi32(signed(g, x, 6), signed(h, x, 7));
            _mm256_add_epi32(_mm256_add_epi32(first, second), _mm256_add_epi32(third, fourth))
        }

        fn signed(from: *const u8) -> __m256i {
            _mm256_cvtepi8_epi32(_mm_loadl_epi64(from.cast()))
        }
        fn unsigned(from: *const u8) -> __m256i {
            _mm256_cvtepu8_epi32(_mm_loadl_epi64(from.cast()))
        }
        fn products(a: __m256i, b: __m256i, c: __m256i, d: __m256i) -> __m256i {
            _mm256_add_epi32(_mm256_mullo_epi32(a, b), _mm256_mullo_epi32(c, d))
        }
        fn to_floats(ints: __m256i) -> __m256 {
            _mm256_cvtepi32_ps(ints)
        }

        fn splat(x: f32) -> __m256 {
            _mm256_set1_ps(x)
        }
        fn load(from: *const f32) -> __m256 {
            _mm256_loadu_ps(from)
        }
        fn store(to: *mut f32, floats: __m256) {
            _mm256_storeu_ps(to, floats)
        }
        fn halves(from: *const u16) -> __m256 {
            _mm256_cvtph_ps(_mm_loadu_si128(from.cast()))
        }
        fn brains(from: *const u16) -> __m256 {
            let wide = _mm256_cvtepu16_epi32(_mm_loadu_si128(from.cast()));
            _mm256_castsi256_ps(_mm256_slli_epi32::<16>(wide))
        }
        fn mul(a: __m256, b: __m256) -> __m256 {
            _mm256_mul_ps(a, b)
        }
        fn add(a: __m256, b: __m256) -> __m256 {
            _mm256_add_ps(a, b)
        }
        fn fma(a: __m256, b: __m256, c: __m256) -> __m256 {
            _mm256_fmadd_ps(a, b, c)
        }
    }
}
