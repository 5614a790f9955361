//! How a tensor's numbers are stored in a file, and a common form of their blocks.

use std::fmt;

use crate::math::half_to_float;

/// Numbers that share an activation's scale, and that one step of a canonical sum takes.
pub const BLOCK: usize = 32;

/// A format of numbers, as files have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // The names are the format's own.
pub enum Format {
    F32,
    F16,
    BF16,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Q4K,
    Q5K,
    Q6K,
}

/// Every format: its number in a file, its name, numbers in a block, bytes of a block.
const TABLE: [(Format, u32, &str, usize, usize); 11] = [
    (Format::F32, 0, "F32", 1, 4),
    (Format::F16, 1, "F16", 1, 2),
    (Format::BF16, 30, "BF16", 1, 2),
    (Format::Q4_0, 2, "Q4_0", BLOCK, 18),
    (Format::Q4_1, 3, "Q4_1", BLOCK, 20),
    (Format::Q5_0, 6, "Q5_0", BLOCK, 22),
    (Format::Q5_1, 7, "Q5_1", BLOCK, 24),
    (Format::Q8_0, 8, "Q8_0", BLOCK, 34),
    (Format::Q4K, 12, "Q4_K", 256, 144),
    (Format::Q5K, 13, "Q5_K", 256, 176),
    (Format::Q6K, 14, "Q6_K", 256, 210),
];

/// Formats that exist and are not supported, so that an error can name them.
const OTHERS: [(u32, &str); 5] = [(9, "Q8_1"), (10, "Q2_K"), (11, "Q3_K"), (15, "Q8_K"), (20, "IQ4_NL")];

impl Format {
    /// All of them.
    pub const ALL: [Self; 11] = {
        let mut all = [Self::F32; 11];
        let mut at = 0;
        while at < all.len() {
            all[at] = TABLE[at].0;
            at += 1;
        }
        all
    };

    /// By its number in a GGUF file.
    pub fn from_gguf(number: u32) -> Option<Self> {
        TABLE.iter().find(|row| row.1 == number).map(|row| row.0)
    }

    /// Its number in a GGUF file.
    pub fn to_gguf(self) -> u32 {
        self.row().1
    }

    /// Numbers in a block.
    pub fn block_len(self) -> usize {
        self.row().3
    }

    /// Bytes of a block.
    pub fn block_bytes(self) -> usize {
        self.row().4
    }

    /// True for floats, which are multiplied by activations as they are.
    pub fn is_dense(self) -> bool {
        self.block_len() == 1
    }

    /// The name of a number that may be unknown.
    pub(crate) fn name_of(number: u32) -> String {
        let known = TABLE.iter().map(|row| (row.1, row.2));
        let name = known.chain(OTHERS).find(|&(other, _)| other == number);
        name.map_or_else(|| format!("number {number}"), |(_, name)| name.to_owned())
    }

    fn row(self) -> &'static (Self, u32, &'static str, usize, usize) {
        TABLE.iter().find(|row| row.0 == self).expect("the table has every format")
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.row().2)
    }
}

/// 32 numbers of a row of a quantised format, in the form that all such formats share: number `i` is
/// `scale · steps[i / 16] · (codes[i] − offset) − minimum · minimum_steps`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Codes {
    /// What is stored for each number, without a sign.
    pub codes: [u8; BLOCK],
    /// Half-precision bits.
    pub scale: u16,
    /// Half-precision bits; with a sign, so that Q4_1 has its minimum negated.
    pub minimum: u16,
    /// For each half of the block, what multiplies the scale.
    pub steps: [i8; 2],
    /// What multiplies the minimum.
    pub minimum_steps: u8,
}

impl Codes {
    /// Block `number` of a row's bytes in a file.
    ///
    /// # Panics
    ///
    /// The row is shorter, or the format is dense.
    pub fn read(format: Format, row: &[u8], number: usize) -> Self {
        let in_super = number % (format.block_len() / BLOCK);
        let at = number * BLOCK / format.block_len() * format.block_bytes();
        let bytes = &row[at..at + format.block_bytes()];
        let half = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        let plain = |codes, minimum| Self { codes, scale: half(0), minimum, steps: [1; 2], minimum_steps: 1 };
        // A minimum that is added in the file is one that is subtracted here.
        let negated = |bits: u16| bits ^ 0x8000;
        match format {
            Format::Q4_0 => plain(nibbles(&bytes[2..]), 0),
            Format::Q4_1 => plain(nibbles(&bytes[4..]), negated(half(2))),
            Format::Q5_0 => plain(fifth_bits(nibbles(&bytes[6..]), &bytes[2..6]), 0),
            Format::Q5_1 => plain(fifth_bits(nibbles(&bytes[8..]), &bytes[4..8]), negated(half(2))),
            Format::Q8_0 => plain(std::array::from_fn(|i| bytes[2 + i] ^ 0x80), 0),
            Format::Q4K | Format::Q5K => {
                let (step, minimum_steps) = six_bit_steps(&bytes[4..16], in_super);
                let low = &bytes[format.block_bytes() - 128 + in_super / 2 * BLOCK..];
                let mut codes: [u8; BLOCK] = std::array::from_fn(|i| low[i] >> (4 * (in_super % 2)) & 15);
                if format == Format::Q5K {
                    for (code, high) in codes.iter_mut().zip(&bytes[16..48]) {
                        *code |= (high >> in_super & 1) << 4;
                    }
                }
                let steps = [step as i8; 2];
                Self { codes, scale: half(0), minimum: half(2), steps, minimum_steps }
            }
            Format::Q6K => {
                let (part, quarter) = (in_super / 4, in_super % 4);
                let low = &bytes[part * 64 + quarter % 2 * BLOCK..];
                let high = &bytes[128 + part * BLOCK..];
                let codes = std::array::from_fn(|i| {
                    low[i] >> (4 * (quarter / 2)) & 15 | (high[i] >> (2 * quarter) & 3) << 4
                });
                let steps = std::array::from_fn(|i| bytes[192 + in_super * 2 + i] as i8);
                Self { codes, scale: half(208), minimum: 0, steps, minimum_steps: 0 }
            }
            Format::F32 | Format::F16 | Format::BF16 => unreachable!("floats have no blocks"),
        }
    }

    /// The numbers themselves, for a format whose codes have this offset.
    pub fn values(&self, offset: i32) -> [f32; BLOCK] {
        let scale = half_to_float(self.scale);
        // Exact: 11 bits times 6.
        let minimum = half_to_float(self.minimum) * f32::from(self.minimum_steps);
        std::array::from_fn(|i| {
            let scale = scale * f32::from(self.steps[i / 16]);
            scale.mul_add((i32::from(self.codes[i]) - offset) as f32, -minimum)
        })
    }
}

/// Low halves of 16 bytes, then their high halves.
fn nibbles(bytes: &[u8]) -> [u8; BLOCK] {
    std::array::from_fn(|i| bytes[i % 16] >> (i / 16 * 4) & 15)
}

fn fifth_bits(mut codes: [u8; BLOCK], bits: &[u8]) -> [u8; BLOCK] {
    for (i, code) in codes.iter_mut().enumerate() {
        *code |= (bits[i / 8] >> (i % 8) & 1) << 4;
    }
    codes
}

/// Scale and minimum of one of eight blocks, of six bits each, in the twelve bytes that Q4_K and Q5_K have.
fn six_bit_steps(bytes: &[u8], block: usize) -> (u8, u8) {
    if block < 4 {
        return (bytes[block] & 63, bytes[block + 4] & 63);
    }
    let (low, high) = (bytes[block + 4], (bytes[block - 4] >> 6, bytes[block] >> 6));
    (low & 15 | high.0 << 4, low >> 4 | high.1 << 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_format_is_found_by_its_number() {
        for format in Format::ALL {
            assert_eq!(Format::from_gguf(format.to_gguf()), Some(format));
        }
        assert_eq!(Format::from_gguf(10), None);
        assert_eq!(Format::name_of(10), "Q2_K");
        assert_eq!(Format::name_of(99), "number 99");
    }

    #[test]
    fn a_block_of_q4_1_is_scale_times_code_plus_minimum() {
        let mut row = vec![0x00, 0x38, 0x00, 0xbc]; // 0.5 and -1.0
        row.extend((0..16).map(|i| i | (15 - i) << 4));
        let codes = Codes::read(Format::Q4_1, &row, 0);
        let values = codes.values(0);
        assert_eq!(values[..3], [-1.0, -0.5, 0.0]);
        assert_eq!(values[16..18], [6.5, 6.0]);
    }

    #[test]
    fn a_block_of_q6_k_has_a_step_for_each_half() {
        let mut row = vec![0u8; 210];
        row[208..].copy_from_slice(&[0x00, 0x3c]); // 1.0
        row[192 + 2 * 5] = 2; // the first half of block 5
        row[192 + 2 * 5 + 1] = 0xff; // -1
        row[64 + 32] = 0x03; // block 5 is the second quarter of the second part
        row[128 + 32] = 0b1100;
        let values = Codes::read(Format::Q6K, &row, 5).values(32);
        assert_eq!(values[0], 2.0 * (3 + 48 - 32) as f32);
        assert_eq!(values[16], 32.0);
    }

    /// Blocks of random bytes with small scales, and their numbers as floats in hexadecimal, as the PyPI package `gguf`
    /// 0.19, llama.cpp's own, computes them.
    #[test]
    fn numbers_are_those_of_the_reference() {
        #[derive(serde::Deserialize)]
        struct Reference {
            format: String,
            bytes: String,
            values: String,
        }
        let hex = |text: &str| data_encoding::HEXLOWER.decode(text.as_bytes()).unwrap();
        let all: Vec<Reference> =
            serde_json::from_str(include_str!("../tests/data/dequantised.json")).unwrap();
        assert_eq!(all.len(), Format::ALL.iter().filter(|format| !format.is_dense()).count());
        for reference in all {
            let format =
                Format::ALL.into_iter().find(|format| format.to_string() == reference.format).unwrap();
            let offset = crate::packing::Shape::of(format).unwrap().offset;
            let (bytes, values) = (hex(&reference.bytes), hex(&reference.values));
            for (number, expected) in values.chunks_exact(4 * BLOCK).enumerate() {
                for (at, x) in Codes::read(format, &bytes, number).values(offset).iter().enumerate() {
                    // A zero may have either sign.
                    let expected = f32::from_le_bytes(*expected[4 * at..].first_chunk().unwrap());
                    assert_eq!(*x, expected, "number {at} of block {number} of {format}");
                }
            }
        }
    }

    #[test]
    fn steps_of_six_bits_are_put_together() {
        let mut bytes = [0u8; 12];
        bytes[1] = 63 | 0b10 << 6;
        bytes[5] = 17 | 0b01 << 6;
        bytes[9] = 0x5 | 0x7 << 4;
        assert_eq!(six_bit_steps(&bytes, 1), (63, 17));
        assert_eq!(six_bit_steps(&bytes, 5), (0x25, 0x17));
    }
}
