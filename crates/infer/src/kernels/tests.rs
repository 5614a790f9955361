//! Every instruction set has the bits of plain Rust, and plain Rust is close to exact arithmetic.

use super::*;
use crate::format::Format;
use crate::kv::PAGE;
use crate::math::{float_to_half, half_to_float};
use crate::tiny::random_tensor;

fn bits(floats: &[f32]) -> Vec<u32> {
    floats.iter().map(|x| x.to_bits()).collect()
}

fn random_floats(seed: u64, count: usize) -> Vec<f32> {
    random_tensor(seed, Format::F32, count)
        .chunks(4)
        .map(|x| f32::from_le_bytes([x[0], x[1], x[2], x[3]]))
        .collect()
}

fn activations(isa: InstructionSet, tokens: &[Vec<f32>], format: Format) -> Activations {
    let mut all = Activations::default();
    all.reset(tokens.len(), tokens[0].len(), &[format]);
    for (row, token) in all.rows().iter_mut().zip(tokens) {
        row.floats.copy_from_slice(token);
        isa.quantise(row);
    }
    all
}

fn product(isa: InstructionSet, matrix: &Matrix, tokens: &[Vec<f32>]) -> Vec<f32> {
    let x = activations(isa, tokens, matrix.format());
    let mut out = vec![f32::NAN; matrix.tiles() * 16 * tokens.len()];
    for (tile, out) in out.chunks_exact_mut(16 * tokens.len()).enumerate() {
        isa.multiply(matrix, tile, &x, out);
    }
    out
}

#[test]
fn products_have_the_same_bits_everywhere() {
    for format in Format::ALL {
        let matrix = Matrix::pack("w", format, 35, 512, &random_tensor(3, format, 35 * 512)).unwrap();
        for count in [1, 2, 3, 5, 8, 15] {
            let tokens: Vec<Vec<f32>> = (0..count).map(|i| random_floats(100 + i, 512)).collect();
            let expected = product(InstructionSet::PLAIN, &matrix, &tokens);
            for isa in InstructionSet::available() {
                let actual = product(isa, &matrix, &tokens);
                assert_eq!(bits(&actual), bits(&expected), "{count} tokens of {format} by {isa}");
            }
        }
    }
}

#[test]
fn products_are_close_to_exact_ones() {
    for format in Format::ALL {
        let matrix = Matrix::pack("w", format, 16, 256, &random_tensor(5, format, 16 * 256)).unwrap();
        let x = random_floats(6, 256);
        let actual = product(InstructionSet::PLAIN, &matrix, std::slice::from_ref(&x));
        let mut row = vec![0.0; 256];
        for (number, actual) in actual.iter().enumerate() {
            matrix.row(number, &mut row);
            let exact: f64 = row.iter().zip(&x).map(|(w, x)| f64::from(*w) * f64::from(*x)).sum();
            let size: f64 = row.iter().zip(&x).map(|(w, x)| (f64::from(*w) * f64::from(*x)).powi(2)).sum();
            let tolerance = if format.is_dense() { 1e-6 } else { 0.03 } * size.sqrt();
            assert!(
                (f64::from(*actual) - exact).abs() <= tolerance,
                "row {number} of {format}: {actual}, not {exact}"
            );
        }
    }
}

/// Codes and activations at their bounds, where sums of 16 bits would overflow first.
#[test]
fn the_largest_codes_are_exact() {
    for format in Format::ALL.into_iter().filter(|format| !format.is_dense()) {
        for fill in [0x00, 0xff, 0x80, 0x7f] {
            let mut bytes = random_tensor(9, format, 16 * 256);
            for block in bytes.chunks_exact_mut(format.block_bytes()) {
                let scales = match format {
                    Format::Q6K => 208..210,
                    Format::Q4_0 | Format::Q5_0 | Format::Q8_0 => 0..2,
                    _ => 0..4,
                };
                let kept = block[scales.clone()].to_vec();
                block.fill(fill);
                block[scales].copy_from_slice(&kept);
            }
            let matrix = Matrix::pack("w", format, 16, 256, &bytes).unwrap();
            for x in [
                vec![1.0; 256],
                vec![-1.0; 256],
                (0..256).map(|i| if i % 2 == 0 { 1.0 } else { -1.0 }).collect(),
            ] {
                let tokens = [x];
                let expected = product(InstructionSet::PLAIN, &matrix, &tokens);
                for isa in InstructionSet::available() {
                    assert_eq!(
                        bits(&product(isa, &matrix, &tokens)),
                        bits(&expected),
                        "{fill:#x} of {format} by {isa}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_block_that_is_not_finite_spoils_every_output() {
    let matrix = Matrix::pack("w", Format::Q4_0, 16, 64, &random_tensor(1, Format::Q4_0, 16 * 64)).unwrap();
    for wrong in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut x = random_floats(2, 64);
        x[40] = wrong;
        for isa in InstructionSet::available() {
            assert!(product(isa, &matrix, std::slice::from_ref(&x)).iter().all(|x| !x.is_finite()));
        }
    }
}

#[test]
fn tiny_and_zero_activations_count_as_zero() {
    let matrix = Matrix::pack("w", Format::Q8_0, 16, 32, &random_tensor(1, Format::Q8_0, 16 * 32)).unwrap();
    for x in [0.0, -0.0, 1e-40, 1e-31] {
        for isa in InstructionSet::available() {
            assert_eq!(product(isa, &matrix, &[vec![x; 32]]), [0.0; 16]);
        }
    }
}

struct Head {
    keys: Vec<Vec<u16>>,
    values: Vec<Vec<u16>>,
}

impl Head {
    fn random(head_len: usize, pages: usize) -> Self {
        let page = |seed: usize| -> Vec<u16> {
            let floats = random_floats(seed as u64, head_len * PAGE);
            floats.iter().map(|x| float_to_half(x * 40.0)).collect()
        };
        Self { keys: (0..pages).map(page).collect(), values: (0..pages).map(|i| page(1_000 + i)).collect() }
    }
}

impl Pages for Head {
    fn keys(&self, page: usize) -> &[u16] {
        &self.keys[page]
    }
    fn values(&self, page: usize) -> &[u16] {
        &self.values[page]
    }
}

#[test]
fn attention_has_the_same_bits_everywhere() {
    for head_len in [16, 64, 128] {
        let head = Head::random(head_len, 5);
        for heads in 1..=6 {
            let queries = random_floats(7, heads * head_len);
            for range in [(0, 1), (0, 16), (0, 17), (15, 16), (3, 71), (33, 80)] {
                let attend = |isa: InstructionSet| {
                    let mut out = vec![f32::NAN; queries.len()];
                    isa.attend(&queries, head_len, &head, range, &mut vec![f32::NAN; 9], &mut out);
                    bits(&out)
                };
                let expected = attend(InstructionSet::PLAIN);
                for isa in InstructionSet::available() {
                    assert_eq!(attend(isa), expected, "{heads} heads of {head_len}, {range:?}, by {isa}");
                }
            }
        }
    }
}

#[test]
fn attention_is_close_to_exact() {
    let (head_len, (start, end)) = (32, (5, 41));
    let head = Head::random(head_len, 3);
    let query = random_floats(8, head_len);
    let key = |p: usize, d: usize| f64::from(half_to_float(head.keys[p / PAGE][d * PAGE + p % PAGE]));
    let value = |p: usize, d: usize| f64::from(half_to_float(head.values[p / PAGE][p % PAGE * head_len + d]));
    let score = |p: usize| (0..head_len).map(|d| f64::from(query[d]) * key(p, d)).sum::<f64>().exp();
    let total: f64 = (start..end).map(score).sum();
    let mut out = vec![0.0; head_len];
    InstructionSet::PLAIN.attend(&query, head_len, &head, (start, end), &mut Vec::new(), &mut out);
    for (d, actual) in out.iter().enumerate() {
        let exact: f64 = (start..end).map(|p| score(p) * value(p, d)).sum::<f64>() / total;
        assert!((f64::from(*actual) - exact).abs() < 1e-5, "{actual}, not {exact}");
    }
}

#[test]
fn rows_have_the_same_bits_everywhere() {
    let x: Vec<f32> = random_floats(1, 160).iter().map(|x| x * 100.0).collect();
    let weights = random_floats(2, 160);
    for pairs in [Pairs::Neighbours, Pairs::Halves] {
        let rows = |isa: InstructionSet| {
            let mut all = Vec::new();
            for kind in [Gate::Silu, Gate::Gelu] {
                let mut gated = x.clone();
                isa.gate(kind, &mut gated, &weights);
                all.extend(gated);
            }
            let mut normed = x.clone();
            isa.rms_norm(&mut normed, &weights, 1e-6);
            isa.turn(pairs, &mut normed, &weights[..48], &weights[48..96]);
            all.extend(normed);
            let mut normed = x.clone();
            isa.layer_norm(&mut normed, &weights, &x, 1e-12);
            for kind in [Activation::Gelu, Activation::GeluByTanh] {
                isa.activate(kind, &mut normed);
                all.extend(&normed);
            }
            isa.normalise(&mut normed);
            all.extend(normed);
            bits(&all)
        };
        for isa in InstructionSet::available() {
            assert_eq!(rows(isa), rows(InstructionSet::PLAIN), "{isa}");
        }
    }
}

#[test]
fn norms_are_close_to_exact() {
    let x: Vec<f32> = random_floats(1, 96).iter().map(|x| x * 10.0 + 3.0).collect();
    let (weights, bias) = (random_floats(2, 96), random_floats(3, 96));
    let exact: Vec<f64> = x.iter().map(|&x| f64::from(x)).collect();
    let mean = exact.iter().sum::<f64>() / 96.0;
    let variance = exact.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 96.0;
    let mut normed = x.clone();
    InstructionSet::PLAIN.layer_norm(&mut normed, &weights, &bias, 1e-12);
    for (at, actual) in normed.iter().enumerate() {
        let exact = (exact[at] - mean) / variance.sqrt() * f64::from(weights[at]) + f64::from(bias[at]);
        assert!((f64::from(*actual) - exact).abs() < 1e-6, "{actual}, not {exact}");
    }
    InstructionSet::PLAIN.normalise(&mut normed);
    assert!((normed.iter().map(|x| x * x).sum::<f32>() - 1.0).abs() < 1e-6);
    let mut nothing = [0.0; 16];
    InstructionSet::PLAIN.normalise(&mut nothing);
    assert_eq!(nothing, [0.0; 16]);
}

#[test]
fn turning_keeps_lengths() {
    let (c, s) = ([0.6, 1.0], [0.8, 0.0]);
    let mut head = [1.0, 2.0, 3.0, 4.0];
    InstructionSet::PLAIN.turn(Pairs::Neighbours, &mut head, &c, &s);
    assert_eq!(head, [0.6 - 1.6, 0.8 + 1.2, 3.0, 4.0]);
    let mut head = [1.0, 3.0, 2.0, 4.0];
    InstructionSet::PLAIN.turn(Pairs::Halves, &mut head, &c, &s);
    assert_eq!(head, [0.6 - 1.6, 3.0, 0.8 + 1.2, 4.0]);
}
