//! Weights as kernels read them: sixteen rows side by side, so that the lanes of a vector are rows.
//!
//! A tile is 16 rows of a matrix. It holds block after block of 32 columns; in a block, byte `4 r + k` of vector `j` is
//! the code of row `r` and column `4 j + k`. The order of a row's sum therefore does not depend on a vector's width.

use crate::file::FileError;
use crate::format::{BLOCK, Codes, Format};
use crate::math::half_to_float;

/// Rows of a tile.
pub const ROWS: usize = 16;

/// One plane of codes: a byte for each of 16 rows and 4 columns.
pub const PLANE: usize = 64;

/// Tiles begin at whole cache lines, so that a load touches one.
const ALIGNMENT: usize = 64;

/// How a quantised format's codes are laid out in a block of a tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Bits of a code: 4, 5, 6 or 8.
    pub bits: u32,
    /// What is subtracted from a code.
    pub offset: i32,
    /// A minimum follows each scale.
    pub has_minimum: bool,
    /// Blocks that share a scale of half precision; with more than one, each block has steps of a byte.
    pub blocks: usize,
}

impl Shape {
    /// The shape of a format; floats have none.
    pub const fn of(format: Format) -> Option<Self> {
        let (bits, offset, has_minimum, blocks) = match format {
            Format::Q4_0 => (4, 8, false, 1),
            Format::Q4_1 => (4, 0, true, 1),
            Format::Q5_0 => (5, 16, false, 1),
            Format::Q5_1 => (5, 0, true, 1),
            Format::Q8_0 => (8, 128, false, 1),
            Format::Q4K => (4, 0, true, 8),
            Format::Q5K => (5, 0, true, 8),
            Format::Q6K => (6, 32, false, 8),
            Format::F32 | Format::F16 | Format::BF16 => return None,
        };
        Some(Self { bits, offset, has_minimum, blocks })
    }

    /// Bytes of the scales, and minima, of half precision.
    pub const fn head(self) -> usize {
        2 * ROWS * if self.has_minimum { 2 } else { 1 }
    }

    /// Bytes of a block's steps: of scale and minimum, or of the two halves.
    pub const fn steps(self) -> usize {
        if self.blocks > 1 { 2 * ROWS } else { 0 }
    }

    /// Bytes of a block's codes.
    pub const fn codes(self) -> usize {
        self.bits as usize * PLANE
    }

    /// Bytes of a group of blocks with its scales.
    pub const fn group(self) -> usize {
        self.head() + self.blocks * (self.steps() + self.codes())
    }
}

/// A matrix whose rows are a layer's outputs.
pub struct Matrix {
    format: Format,
    rows: usize,
    columns: usize,
    tile_bytes: usize,
    start: usize,
    data: Vec<u8>,
}

impl std::fmt::Debug for Matrix {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Matrix({} rows of {} {})", self.rows, self.columns, self.format)
    }
}

impl Matrix {
    /// Lays out a tensor's bytes.
    ///
    /// # Errors
    ///
    /// The bytes are not as many as the form says, a scale or number is not finite, or rows have an odd number of
    /// floats.
    pub fn pack(
        name: &str,
        format: Format,
        rows: usize,
        columns: usize,
        bytes: &[u8],
    ) -> Result<Self, FileError> {
        let problem = |problem: String| FileError::tensor(name, problem);
        let expected = (columns / format.block_len()).checked_mul(format.block_bytes());
        let expected = expected.and_then(|row| row.checked_mul(rows));
        if !columns.is_multiple_of(format.block_len()) || columns == 0 || expected != Some(bytes.len()) {
            return Err(problem(format!("{} bytes are not {rows} rows of {columns} {format}", bytes.len())));
        }
        let shape = Shape::of(format);
        let tile_bytes = match shape {
            Some(shape) => columns / BLOCK / shape.blocks * shape.group(),
            None if columns.is_multiple_of(2) => columns * ROWS * format.block_bytes(),
            None => return Err(problem(format!("has rows of {columns} floats, an odd number"))),
        };
        let total = rows.div_ceil(ROWS).checked_mul(tile_bytes).and_then(|all| all.checked_add(ALIGNMENT));
        let total = total.ok_or_else(|| problem("is too large for this machine".into()))?;
        let mut data = vec![0; total];
        let start = data.as_ptr().align_offset(ALIGNMENT).min(ALIGNMENT);
        let row_bytes = bytes.len() / rows;
        for (row, source) in bytes.chunks_exact(row_bytes).enumerate() {
            let tile = &mut data[start + row / ROWS * tile_bytes..][..tile_bytes];
            let finite = match shape {
                Some(shape) => pack_codes(format, shape, row % ROWS, columns, source, tile),
                None => pack_floats(format, row % ROWS, source, tile),
            };
            if !finite {
                return Err(problem(format!("row {row} has a number that is not finite")));
            }
        }
        Ok(Self { format, rows, columns, tile_bytes, start, data })
    }

    /// How its numbers are stored.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Inputs.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Groups of 16 rows, of which the last is filled up with zeros.
    pub fn tiles(&self) -> usize {
        self.rows.div_ceil(ROWS)
    }

    /// One tile's bytes.
    pub(crate) fn tile(&self, tile: usize) -> &[u8] {
        &self.data[self.start + tile * self.tile_bytes..][..self.tile_bytes]
    }

    /// The numbers of one row: an embedding.
    ///
    /// # Panics
    ///
    /// There is no such row, or `into` is not as long as a row.
    pub fn row(&self, row: usize, into: &mut [f32]) {
        assert!(row < self.rows && into.len() == self.columns, "row {row} of {self:?}");
        let (tile, row) = (self.tile(row / ROWS), row % ROWS);
        match Shape::of(self.format) {
            Some(shape) => {
                for (number, out) in into.chunks_exact_mut(BLOCK).enumerate() {
                    out.copy_from_slice(&unpack_codes(shape, row, number, tile).values(shape.offset));
                }
            }
            None => {
                let width = self.format.block_bytes();
                for (out, column) in into.iter_mut().zip(tile.chunks_exact(ROWS * width)) {
                    *out = read_float(self.format, &column[row * width..][..width]);
                }
            }
        }
    }
}

fn pack_floats(format: Format, row: usize, source: &[u8], tile: &mut [u8]) -> bool {
    let width = format.block_bytes();
    let mut finite = true;
    for (number, column) in source.chunks_exact(width).zip(tile.chunks_exact_mut(ROWS * width)) {
        column[row * width..][..width].copy_from_slice(number);
        finite &= read_float(format, number).is_finite();
    }
    finite
}

/// One float of a dense format.
pub fn read_float(format: Format, bytes: &[u8]) -> f32 {
    match format {
        Format::F32 => f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]),
        Format::BF16 => f32::from_le_bytes([0, 0, bytes[0], bytes[1]]),
        _ => half_to_float(u16::from_le_bytes([bytes[0], bytes[1]])),
    }
}

fn pack_codes(
    format: Format,
    shape: Shape,
    row: usize,
    columns: usize,
    source: &[u8],
    tile: &mut [u8],
) -> bool {
    let mut finite = true;
    for number in 0..columns / BLOCK {
        let block = Codes::read(format, source, number);
        finite &= half_to_float(block.scale).is_finite() && half_to_float(block.minimum).is_finite();
        let group = &mut tile[number / shape.blocks * shape.group()..][..shape.group()];
        let (head, rest) = group.split_at_mut(shape.head());
        head[2 * row..][..2].copy_from_slice(&block.scale.to_le_bytes());
        if shape.has_minimum {
            head[2 * (ROWS + row)..][..2].copy_from_slice(&block.minimum.to_le_bytes());
        }
        let len = shape.steps() + shape.codes();
        let (steps, codes) = rest[number % shape.blocks * len..][..len].split_at_mut(shape.steps());
        if !steps.is_empty() {
            steps[row] = block.steps[0] as u8;
            steps[ROWS + row] = if shape.has_minimum { block.minimum_steps } else { block.steps[1] as u8 };
        }
        for (column, &code) in block.codes.iter().enumerate() {
            let (group, lane) = (column / 4, 4 * row + column % 4);
            if shape.bits == 8 {
                codes[group * PLANE + lane] = code;
                continue;
            }
            codes[group % 4 * PLANE + lane] |= (code & 15) << (4 * (group / 4));
            match shape.bits {
                5 => codes[4 * PLANE + lane] |= (code >> 4) << group,
                6 => codes[(4 + group / 4) * PLANE + lane] |= (code >> 4) << (2 * (group % 4)),
                _ => {}
            }
        }
    }
    finite
}

fn unpack_codes(shape: Shape, row: usize, number: usize, tile: &[u8]) -> Codes {
    let group = &tile[number / shape.blocks * shape.group()..][..shape.group()];
    let (head, rest) = group.split_at(shape.head());
    let half = |at: usize| u16::from_le_bytes([head[2 * at], head[2 * at + 1]]);
    let len = shape.steps() + shape.codes();
    let (steps, codes) = rest[number % shape.blocks * len..][..len].split_at(shape.steps());
    let codes = std::array::from_fn(|column| {
        let (group, lane) = (column / 4, 4 * row + column % 4);
        if shape.bits == 8 {
            return codes[group * PLANE + lane];
        }
        let low = codes[group % 4 * PLANE + lane] >> (4 * (group / 4)) & 15;
        match shape.bits {
            5 => low | (codes[4 * PLANE + lane] >> group & 1) << 4,
            6 => low | (codes[(4 + group / 4) * PLANE + lane] >> (2 * (group % 4)) & 3) << 4,
            _ => low,
        }
    });
    let minimum = if shape.has_minimum { half(ROWS + row) } else { 0 };
    let (steps, minimum_steps) = match steps {
        [] => ([1; 2], 1),
        steps if shape.has_minimum => ([steps[row] as i8; 2], steps[ROWS + row]),
        steps => ([steps[row] as i8, steps[ROWS + row] as i8], 0),
    };
    Codes { codes, scale: half(row), minimum, steps, minimum_steps }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tiny::random_tensor;

    #[test]
    fn a_packed_row_is_the_row_of_the_file() {
        for format in Format::ALL {
            let (rows, columns) = (19, 512);
            let bytes = random_tensor(7, format, rows * columns);
            let matrix = Matrix::pack("w", format, rows, columns, &bytes).unwrap();
            let mut row = vec![0.0; columns];
            for number in 0..rows {
                matrix.row(number, &mut row);
                let source = &bytes[number * bytes.len() / rows..][..bytes.len() / rows];
                let expected: Vec<f32> = match Shape::of(format) {
                    None => source.chunks(format.block_bytes()).map(|x| read_float(format, x)).collect(),
                    Some(shape) => (0..columns / BLOCK)
                        .flat_map(|block| Codes::read(format, source, block).values(shape.offset))
                        .collect(),
                };
                assert_eq!(row, expected, "row {number} of {format}");
                assert!(row.iter().any(|&x| x != 0.0));
            }
        }
    }

    #[test]
    fn infinite_scales_are_refused_by_name() {
        let mut bytes = vec![0; 18 * 2];
        bytes[18..20].copy_from_slice(&[0x00, 0x7c]);
        let error = Matrix::pack("blk.3.ffn_up.weight", Format::Q4_0, 2, 32, &bytes).unwrap_err().to_string();
        assert_eq!(error, "tensor \"blk.3.ffn_up.weight\": row 1 has a number that is not finite");
    }

    #[test]
    fn a_wrong_number_of_bytes_is_refused() {
        assert!(Matrix::pack("w", Format::Q8_0, 2, 32, &[0; 67]).is_err());
        assert!(Matrix::pack("w", Format::Q8_0, 2, 33, &[0; 68]).is_err());
        assert!(Matrix::pack("w", Format::F32, 1, 3, &[0; 12]).is_err());
    }
}
