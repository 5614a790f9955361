//! A tile of weights times activations.
//!
//! Each output is one chain over blocks of 32 columns: an exact integer dot product, then one fused multiply-add for
//! the scale and one for the minimum, where there is one. Floats are two chains, of even and of odd columns.

#![allow(clippy::needless_range_loop)] // A lane or row is an index into several arrays.

use super::isa::Isa;
use crate::activations::Quantised;
use crate::format::{BLOCK, Format};
use crate::packing::{Matrix, PLANE, ROWS, Shape};

/// Vectors of 4 rows in a tile: the most that any instruction set needs.
const MOST_VECTORS: usize = 4;

/// Bytes that are fetched ahead: some blocks.
const AHEAD: usize = 2_048;

/// Pointers to the activations of some tokens.
#[derive(Clone, Copy)]
struct Tokens {
    codes: *const i8,
    scales: *const f32,
    sums: *const i32,
    blocks: usize,
}

/// A quantised tile times all tokens; `out` has 16 floats for each.
///
/// # Safety
///
/// The processor has the instruction set.
#[inline(always)]
pub unsafe fn quantised<I: Isa>(matrix: &Matrix, tile: usize, x: &Quantised, out: &mut [f32]) {
    let blocks = matrix.columns() / BLOCK;
    let count = out.len() / ROWS;
    assert!(x.blocks() == blocks && x.tokens() >= count, "activations fit the matrix");
    let weights = matrix.tile(tile);
    macro_rules! shapes {
        ($($format:ident)*) => {
            match matrix.format() {
                $(Format::$format => {
                    const SHAPE: Shape = Shape::of(Format::$format).expect("quantised");
                    assert_eq!(weights.len(), blocks / SHAPE.blocks * SHAPE.group(), "the tile is whole");
                    let mut token = 0;
                    // SAFETY: `x` has `count` tokens of `blocks` blocks, the tile has `blocks`, `out` 16 floats a token.
                    unsafe {
                        while count - token >= 8 {
                            some::<I, $format, 8>(weights.as_ptr(), x.at(token).into(), out[token * ROWS..].as_mut_ptr());
                            token += 8;
                        }
                        while count - token >= 4 {
                            some::<I, $format, 4>(weights.as_ptr(), x.at(token).into(), out[token * ROWS..].as_mut_ptr());
                            token += 4;
                        }
                        while count - token >= 2 {
                            some::<I, $format, 2>(weights.as_ptr(), x.at(token).into(), out[token * ROWS..].as_mut_ptr());
                            token += 2;
                        }
                        if token < count {
                            some::<I, $format, 1>(weights.as_ptr(), x.at(token).into(), out[token * ROWS..].as_mut_ptr());
                        }
                    }
                })*
                other => unreachable!("{other} is not quantised"),
            }
        };
    }
    shapes!(Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 Q4K Q5K Q6K);
}

impl From<(*const i8, *const f32, *const i32, usize)> for Tokens {
    fn from((codes, scales, sums, blocks): (*const i8, *const f32, *const i32, usize)) -> Self {
        Self { codes, scales, sums, blocks }
    }
}

/// A shape that is known when a kernel is compiled.
trait Known {
    const SHAPE: Shape;
}

macro_rules! known {
    ($($format:ident)*) => {
        $(
            #[allow(non_camel_case_types)] // As the formats are called.
            struct $format;
            impl Known for $format {
                const SHAPE: Shape = Shape::of(Format::$format).expect("quantised");
            }
        )*
    };
}
known!(Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 Q4K Q5K Q6K);

/// `N` tokens at once, so that codes are unpacked once for all of them.
// SAFETY: to be called where the processor has the instruction set, with pointers to whole blocks and rows.
#[inline(always)]
unsafe fn some<I: Isa, K: Known, const N: usize>(weights: *const u8, x: Tokens, out: *mut f32) {
    let shape = K::SHAPE;
    let vectors = ROWS / I::ROWS;
    // SAFETY: the caller vouches for the instruction set, and that weights and tokens have `x.blocks` blocks.
    unsafe {
        let mut sums = [[I::splat(0.0); MOST_VECTORS]; N];
        let mut group = weights;
        let mut block = 0;
        while block < x.blocks {
            let mut at = group.add(shape.head());
            let mut in_group = 0;
            while in_group < shape.blocks {
                if N == 1 {
                    // Of one token, weights come from memory as fast as it gives them: say early what is next.
                    let len = shape.steps() + shape.codes();
                    let mut line = 0;
                    while line < len {
                        I::prefetch(at.wrapping_add(AHEAD + line));
                        line += PLANE;
                    }
                }
                for vector in 0..vectors {
                    one::<I, K, N>(group, at, vector, block, x, &mut sums);
                }
                at = at.add(shape.steps() + shape.codes());
                in_group += 1;
                block += 1;
            }
            group = at;
        }
        for token in 0..N {
            for vector in 0..vectors {
                I::store(out.add(token * ROWS + vector * I::ROWS), sums[token][vector]);
            }
        }
    }
}

/// One block of some rows, for `N` tokens.
// SAFETY: to be called where the processor has the instruction set, with pointers to whole blocks and rows.
#[inline(always)]
unsafe fn one<I: Isa, K: Known, const N: usize>(
    head: *const u8,
    block: *const u8,
    vector: usize,
    number: usize,
    x: Tokens,
    sums: &mut [[I::Floats; MOST_VECTORS]; N],
) {
    let shape = K::SHAPE;
    let row = vector * I::ROWS;
    // SAFETY: as in `some`.
    unsafe {
        let mut scale = I::halves(head.cast::<u16>().add(row));
        let mut minimum = I::splat(0.0);
        if shape.has_minimum {
            minimum = I::halves(head.cast::<u16>().add(ROWS + row));
            if shape.blocks > 1 {
                // Exact: 11 bits times 6.
                scale = I::mul(scale, I::to_floats(I::unsigned(block.add(row))));
                minimum = I::mul(minimum, I::to_floats(I::unsigned(block.add(ROWS + row))));
            }
        }
        let codes = unpack::<I, K>(block.add(shape.steps() + 4 * row));
        // Pointers and wrapping sums: an overflow check for each token would cost as much as the products.
        let mut at = number;
        for sums in sums.iter_mut() {
            let activations = x.codes.add(at * BLOCK);
            let halves = [*x.sums.add(2 * at), *x.sums.add(2 * at + 1)];
            let total = halves[0].wrapping_add(halves[1]);
            let d = *x.scales.add(at);
            let dot = match shape.bits {
                8 => I::dot32_signed(codes, activations, total),
                6 => {
                    let [a, b, c, d, e, f, g, h] = codes;
                    let offset = -shape.offset;
                    let first = I::dot16([a, b, c, d], activations, offset.wrapping_mul(halves[0]));
                    let second = I::dot16([e, f, g, h], activations.add(16), offset.wrapping_mul(halves[1]));
                    I::products(first, I::signed(block.add(row)), second, I::signed(block.add(ROWS + row)))
                }
                bits => I::dot32(
                    codes,
                    activations,
                    bits,
                    if shape.offset == 0 { 0 } else { shape.offset.wrapping_neg().wrapping_mul(total) },
                ),
            };
            let mut sum = I::fma(I::mul(scale, I::splat(d)), I::to_floats(dot), sums[vector]);
            if shape.has_minimum {
                // The sign goes to the one number that all rows share: it changes no bit.
                sum = I::fma(minimum, I::splat(-(d * total as f32)), sum);
            }
            sums[vector] = sum;
            at = at.wrapping_add(x.blocks);
        }
    }
}

/// Eight vectors of codes, of 4 columns each.
// SAFETY: to be called where the processor has the instruction set, with pointers to whole blocks and rows.
#[inline(always)]
unsafe fn unpack<I: Isa, K: Known>(from: *const u8) -> [I::Bytes; 8] {
    // SAFETY: as in `some`.
    unsafe {
        let mut codes = [I::bytes(from); 8];
        if K::SHAPE.bits == 8 {
            for (group, codes) in codes.iter_mut().enumerate() {
                *codes = I::bytes(from.add(group * PLANE));
            }
            return codes;
        }
        for group in 0..4 {
            let both = I::bytes(from.add(group * PLANE));
            codes[group] = I::low(both);
            codes[4 + group] = I::high(both);
        }
        if K::SHAPE.bits == 5 {
            let plane = I::bytes(from.add(4 * PLANE));
            for (group, codes) in codes.iter_mut().enumerate() {
                *codes = I::with_plane(*codes, plane, group as i32, 1);
            }
        }
        if K::SHAPE.bits == 6 {
            for (group, codes) in codes.iter_mut().enumerate() {
                let plane = I::bytes(from.add((4 + group / 4) * PLANE));
                *codes = I::with_plane(*codes, plane, 2 * (group as i32 % 4), 3);
            }
        }
        codes
    }
}

/// A tile of floats times all tokens' rows of `columns` floats; `out` has 16 floats for each.
///
/// # Safety
///
/// The processor has the instruction set.
#[inline(always)]
pub unsafe fn dense<I: Isa>(matrix: &Matrix, tile: usize, x: &[f32], out: &mut [f32]) {
    let columns = matrix.columns();
    let count = out.len() / ROWS;
    assert!(x.len() >= count * columns && columns.is_multiple_of(2), "activations fit the matrix");
    let weights = matrix.tile(tile);
    assert_eq!(weights.len(), columns * ROWS * matrix.format().block_bytes(), "the tile is whole");
    let mut token = 0;
    // As many tokens together as there are registers for, then fewer.
    macro_rules! some {
        ($format:ident $($tokens:literal)*) => {
            $(while $tokens <= I::TOKENS && count - token >= $tokens {
                let (x, out) = (x[token * columns..].as_ptr(), out[token * ROWS..].as_mut_ptr());
                floats::<I, $format, $tokens>(weights.as_ptr(), columns, x, out);
                token += $tokens;
            })*
        };
    }
    macro_rules! formats {
        ($($format:ident)*) => {
            match matrix.format() {
                // SAFETY: `x` has `count` rows of `columns`, the tile has `columns`, `out` 16 floats a token.
                $(Format::$format => unsafe {
                    some!($format 8 6 4 2 1);
                })*
                other => unreachable!("{other} is quantised"),
            }
        };
    }
    formats!(F32 F16 BF16);
}

/// How a column of floats is read.
trait Column {
    const WIDTH: usize;
    // SAFETY: to be called where the processor has the instruction set, with a pointer to a whole column.
    unsafe fn read<I: Isa>(from: *const u8) -> I::Floats;
}

macro_rules! column {
    ($name:ident $width:literal $read:ident) => {
        struct $name;
        impl Column for $name {
            const WIDTH: usize = $width;
            // SAFETY: as declared.
            #[inline(always)]
            unsafe fn read<I: Isa>(from: *const u8) -> I::Floats {
                // SAFETY: the caller vouches for the instruction set and the pointer.
                unsafe { I::$read(from.cast()) }
            }
        }
    };
}
column!(F32 4 load);
column!(F16 2 halves);
column!(BF16 2 brains);

// SAFETY: to be called where the processor has the instruction set, with pointers to whole blocks and rows.
#[inline(always)]
unsafe fn floats<I: Isa, C: Column, const N: usize>(
    weights: *const u8,
    columns: usize,
    x: *const f32,
    out: *mut f32,
) {
    let vectors = ROWS / I::ROWS;
    // SAFETY: the caller vouches for the instruction set, and that weights and tokens have `columns` columns.
    unsafe {
        // One vector after the other, so that all sums stay in registers.
        for vector in 0..vectors {
            let mut sums = [[I::splat(0.0); 2]; N];
            let mut column = 0;
            while column < columns {
                for odd in 0..2 {
                    let at = ((column + odd) * ROWS + vector * I::ROWS) * C::WIDTH;
                    let weight = C::read::<I>(weights.add(at));
                    for token in 0..N {
                        let x = I::splat(*x.add(token * columns + column + odd));
                        sums[token][odd] = I::fma(weight, x, sums[token][odd]);
                    }
                }
                column += 2;
            }
            for token in 0..N {
                let sum = I::add(sums[token][0], sums[token][1]);
                I::store(out.add(token * ROWS + vector * I::ROWS), sum);
            }
        }
    }
}
