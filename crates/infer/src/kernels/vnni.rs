//! AVX-512 with VNNI: 16 rows in a vector, and dot products of four bytes in one instruction.

use std::arch::x86_64::*;

use super::isa::{Isa, operations};

#[derive(Clone, Copy)]
pub struct Vnni;

/// Four activations, in each row.
// SAFETY: to be called where the processor has the instruction set, with pointers to whole blocks and rows.
#[inline(always)]
unsafe fn four(x: *const i8, group: usize) -> __m512i {
    // SAFETY: the caller vouches for the pointer.
    unsafe { _mm512_set1_epi32(x.cast::<i32>().add(group).read_unaligned()) }
}

/// The dot products, as two chains so that one instruction need not wait for the one before.
#[inline(always)]
unsafe fn dot<const N: usize>(codes: [__m512i; N], x: *const i8, init: i32) -> __m512i {
    // SAFETY: the caller vouches for the instruction set and the pointer.
    unsafe {
        let (mut even, mut odd) = (_mm512_set1_epi32(init), _mm512_setzero_si512());
        let mut group = 0;
        while group < N {
            even = _mm512_dpbusd_epi32(even, codes[group], four(x, group));
            odd = _mm512_dpbusd_epi32(odd, codes[group + 1], four(x, group + 1));
            group += 2;
        }
        _mm512_add_epi32(even, odd)
    }
}

impl Isa for Vnni {
    const ROWS: usize = 16;
    const TOKENS: usize = 4;
    type Bytes = __m512i;
    type Ints = __m512i;
    type Floats = __m512;

    #[inline(always)]
    fn prefetch(from: *const u8) {
        // SAFETY: every x86-64 processor has the instruction, and it reads nothing.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(from.cast()) }
    }
    operations! {
        fn bytes(from: *const u8) -> __m512i {
            _mm512_loadu_si512(from.cast())
        }
        fn low(bytes: __m512i) -> __m512i {
            _mm512_and_si512(bytes, _mm512_set1_epi8(15))
        }
        fn high(bytes: __m512i) -> __m512i {
            _mm512_and_si512(_mm512_srli_epi16::<4>(bytes), _mm512_set1_epi8(15))
        }
        fn with_plane(low: __m512i, plane: __m512i, shift: i32, mask: i8) -> __m512i {
            let bits = _mm512_srl_epi16(plane, _mm_cvtsi32_si128(shift));
            let bits = _mm512_and_si512(bits, _mm512_set1_epi8(mask));
            _mm512_or_si512(low, _mm512_slli_epi16::<4>(bits))
        }

        fn dot16(codes: [__m512i; 4], x: *const i8, init: i32) -> __m512i {
            dot(codes, x, init)
        }
        fn dot32(codes: [__m512i; 8], x: *const i8, _bits: u32, init: i32) -> __m512i {
            dot(codes, x, init)
        }
        fn dot32_signed(codes: [__m512i; 8], x: *const i8, sum: i32) -> __m512i {
            dot(codes, x, -128 * sum)
        }

        fn signed(from: *const u8) -> __m512i {
            _mm512_cvtepi8_epi32(_mm_loadu_si128(from.cast()))
        }
        fn unsigned(from: *const u8) -> __m512i {
            _mm512_cvtepu8_epi32(_mm_loadu_si128(from.cast()))
        }
        fn products(a: __m512i, b: __m512i, c: __m512i, d: __m512i) -> __m512i {
            _mm512_add_epi32(_mm512_mullo_epi32(a, b), _mm512_mullo_epi32(c, d))
        }
        fn to_floats(ints: __m512i) -> __m512 {
            _mm512_cvtepi32_ps(ints)
        }

        fn splat(x: f32) -> __m512 {
            _mm512_set1_ps(x)
        }
        fn load(from: *const f32) -> __m512 {
            _mm512_loadu_ps(from)
        }
        fn store(to: *mut f32, floats: __m512) {
            _mm512_storeu_ps(to, floats)
        }
        fn halves(from: *const u16) -> __m512 {
            _mm512_cvtph_ps(_mm256_loadu_si256(from.cast()))
        }
        fn brains(from: *const u16) -> __m512 {
            let wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(from.cast()));
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(wide))
        }
        fn mul(a: __m512, b: __m512) -> __m512 {
            _mm512_mul_ps(a, b)
        }
        fn add(a: __m512, b: __m512) -> __m512 {
            _mm512_add_ps(a, b)
        }
        fn fma(a: __m512, b: __m512, c: __m512) -> __m512 {
            _mm512_fmadd_ps(a, b, c)
        }
    }
}
