//! Activations of some tokens, as a matrix takes them.

use crate::format::{BLOCK, Format};

/// Rows of floats, and the same in eight bits where a matrix is quantised.
#[derive(Debug, Default)]
pub struct Activations {
    columns: usize,
    tokens: usize,
    floats: Vec<f32>,
    quantised: Quantised,
}

/// Eight-bit codes of rows, with a scale for each block of 32.
#[derive(Debug, Default)]
pub struct Quantised {
    blocks: usize,
    tokens: usize,
    codes: Vec<i8>,
    scales: Vec<f32>,
    /// Sums of the codes of each half of a block.
    sums: Vec<i32>,
}

/// One token's row, to be filled.
pub struct Row<'a> {
    /// The floats.
    pub floats: &'a mut [f32],
    /// Codes, scales and sums.
    pub quantised: Option<(&'a mut [i8], &'a mut [f32], &'a mut [i32])>,
}

impl Activations {
    /// Makes room for tokens, for matrices of these formats; what was there is lost.
    pub fn reset(&mut self, tokens: usize, columns: usize, formats: &[Format]) {
        self.columns = columns;
        self.tokens = tokens;
        self.floats.resize(tokens * columns, 0.0);
        let quantise = formats.iter().any(|format| !format.is_dense());
        let blocks = if quantise { columns / BLOCK } else { 0 };
        let quantised = &mut self.quantised;
        (quantised.blocks, quantised.tokens) = (blocks, tokens);
        quantised.codes.resize(tokens * blocks * BLOCK, 0);
        quantised.scales.resize(tokens * blocks, 0.0);
        quantised.sums.resize(tokens * blocks * 2, 0);
    }

    /// All rows as floats, one after the other.
    pub fn floats(&self) -> &[f32] {
        &self.floats
    }

    /// The same, to be filled.
    pub fn floats_mut(&mut self) -> &mut [f32] {
        &mut self.floats
    }

    /// All rows in eight bits.
    pub fn quantised(&self) -> &Quantised {
        &self.quantised
    }

    /// The rows, to be filled side by side.
    pub fn rows(&mut self) -> Vec<Row<'_>> {
        let floats = self.floats.chunks_exact_mut(self.columns);
        let Quantised { blocks, codes, scales, sums, .. } = &mut self.quantised;
        if *blocks == 0 {
            return floats.map(|floats| Row { floats, quantised: None }).collect();
        }
        let codes = codes.chunks_exact_mut(*blocks * BLOCK);
        let rest = scales.chunks_exact_mut(*blocks).zip(sums.chunks_exact_mut(*blocks * 2));
        let quantised = codes.zip(rest);
        floats
            .zip(quantised)
            .map(|(floats, (codes, (scales, sums)))| Row { floats, quantised: Some((codes, scales, sums)) })
            .collect()
    }
}

impl Quantised {
    /// Blocks of a row.
    pub fn blocks(&self) -> usize {
        self.blocks
    }

    /// Rows.
    pub fn tokens(&self) -> usize {
        self.tokens
    }

    /// Pointers to codes, scales and sums from a token on, and the blocks of a row.
    pub fn at(&self, token: usize) -> (*const i8, *const f32, *const i32, usize) {
        let at = token * self.blocks;
        (
            self.codes[at * BLOCK..].as_ptr(),
            self.scales[at..].as_ptr(),
            self.sums[2 * at..].as_ptr(),
            self.blocks,
        )
    }
}
