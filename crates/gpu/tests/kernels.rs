//! Kernels that people would write: what they compute, and the fuel that they take wherever they run.

mod support;

use support::{UNLIMITED, device, floats, kernel, on_cpu, on_gpu, unmetered};
use tidemill_gpu::{MOST_LIMIT, Run};

const MANDELBROT: &str = include_str!("../kernels/mandelbrot.wgsl");
const MATMUL: &str = include_str!("../kernels/matmul.wgsl");
const GRAVITY: &str = include_str!("../kernels/gravity.wgsl");
const SHA256D: &str = include_str!("../kernels/sha256d.wgsl");

/// The header of the first block of Bitcoin, whose nonce is 2,083,236,893, as big-endian words without the nonce.
const FIRST_BLOCK: [u32; 19] = [
    0x0100_0000,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0x3ba3_edfd,
    0x7a7b_12b2,
    0x7ac7_2c3e,
    0x6776_8f61,
    0x7fc8_1bc3,
    0x888a_5132,
    0x3a9f_b8aa,
    0x4b1e_5e4a,
    0x29ab_5f49,
    0xffff_001d,
];

struct Case {
    text: &'static str,
    run: Run,
    buffers: Vec<Vec<u32>>,
    /// The fuel that it takes, on each device and with each version of this project that runs it the same.
    fuel: u64,
    /// Whether the outputs are the same bytes everywhere.
    exact: bool,
}

fn run(groups: [u32; 3]) -> Run {
    Run { groups, limit: MOST_LIMIT, budget: UNLIMITED }
}

fn sha256d(first: u32, tries: u32, groups: u32) -> Vec<Vec<u32>> {
    let mut work = FIRST_BLOCK.to_vec();
    work.extend([0, first, tries, 0, 0]);
    vec![work, vec![0; 3 * 64 * groups as usize]]
}

fn cases() -> Vec<Case> {
    vec![
        Case {
            text: MANDELBROT,
            run: run([8, 8, 1]),
            buffers: vec![vec![64, 64, 100, 0], vec![0; 64 * 64]],
            fuel: 9_970_007,
            exact: true,
        },
        Case {
            text: MATMUL,
            run: run([2, 2, 1]),
            buffers: vec![vec![32, 0, 0, 0], floats(1024, 1), floats(1024, 2), vec![0; 1024]],
            fuel: 1_568_768,
            exact: false,
        },
        Case {
            text: GRAVITY,
            run: run([2, 1, 1]),
            buffers: vec![floats(4 * 100, 3), vec![0; 4 * 100]],
            fuel: 766_016,
            exact: false,
        },
        Case { text: SHA256D, run: run([2, 1, 1]), buffers: sha256d(7, 2, 2), fuel: 13_845_760, exact: true },
    ]
}

fn close(one: &[u32], other: &[u32]) -> bool {
    one.iter().zip(other).all(|(one, other)| {
        let (one, other) = (f32::from_bits(*one), f32::from_bits(*other));
        (one - other).abs() <= 1e-4 * (1.0 + one.abs().max(other.abs()))
    })
}

#[test]
fn fuel_is_what_it_was() {
    let found: Vec<u64> = cases()
        .iter()
        .map(|case| {
            let (ran, outputs) = on_cpu(&kernel(case.text), case.run, &case.buffers);
            assert!(!ran.out_of_fuel && !ran.stopped);
            let (_, plain) = on_cpu(&unmetered(case.text), case.run, &case.buffers);
            assert!(outputs == plain, "metering changes nothing");
            ran.fuel
        })
        .collect();
    assert_eq!(found, cases().iter().map(|case| case.fuel).collect::<Vec<_>>());
}

#[test]
fn a_gpu_takes_the_same_fuel_and_gives_the_same() {
    let Some(device) = device() else { return };
    for case in cases() {
        let kernel = kernel(case.text);
        let (cpu, expected) = on_cpu(&kernel, case.run, &case.buffers);
        let (gpu, found) = on_gpu(&device, &kernel, case.run, &case.buffers);
        assert_eq!(gpu, cpu);
        for (one, other) in expected.iter().zip(&found) {
            assert!(one == other || (!case.exact && close(one, other)), "{}", case.text);
        }
        let (_, plain) = on_gpu(&device, &unmetered(case.text), case.run, &case.buffers);
        assert!(plain == found, "metering changes nothing on {}", device.adapter());
    }
}

#[test]
fn the_first_block_is_found() {
    let kernel = kernel(SHA256D);
    let (_, outputs) = on_cpu(&kernel, run([1, 1, 1]), &sha256d(2_083_236_893 - 5, 1, 1));
    let best = &outputs[1][15..18];
    assert_eq!(best, [2_083_236_893, 0, 0x0019_d668]);
    assert!(outputs[1].chunks(3).filter(|hash| hash[1] == 0).count() == 1);
}

#[test]
fn a_product_of_matrices_is_right() {
    let (left, right) = (floats(1024, 1), floats(1024, 2));
    let buffers = [vec![32, 0, 0, 0], left.clone(), right.clone(), vec![0; 1024]];
    let (_, outputs) = on_cpu(&kernel(MATMUL), run([2, 2, 1]), &buffers);
    let at = |matrix: &[u32], row: usize, column: usize| f64::from(f32::from_bits(matrix[row * 32 + column]));
    for row in 0..32 {
        for column in 0..32 {
            let exact: f64 = (0..32).map(|k| at(&left, row, k) * at(&right, k, column)).sum();
            assert!((exact - at(&outputs[3], row, column)).abs() < 1e-6);
        }
    }
}

#[test]
fn the_set_is_the_set() {
    let (_, outputs) = on_cpu(&kernel(MANDELBROT), run([8, 8, 1]), &[vec![64, 64, 100, 0], vec![0; 64 * 64]]);
    for y in 0..64_u32 {
        for x in 0..64_u32 {
            let c = ((x * 12288 / 64) as i32 - 8192, (y * 8192 / 64) as i32 - 4096);
            let (mut z, mut n) = ((0_i32, 0_i32), 0);
            while n < 100 {
                let square = (z.0.wrapping_mul(z.0) >> 12, z.1.wrapping_mul(z.1) >> 12);
                z = (square.0 - square.1 + c.0, (z.0.wrapping_mul(z.1) >> 11) + c.1);
                if (z.0.wrapping_mul(z.0) >> 12) + (z.1.wrapping_mul(z.1) >> 12) > 4 << 12 {
                    break;
                }
                n += 1;
            }
            assert_eq!(outputs[1][(y * 64 + x) as usize], n, "{x}, {y}");
        }
    }
}
