//! Canonical floats: what they come to, and that a GPU gives the same bits as the CPU.

mod support;

use support::{UNLIMITED, device, floats, kernel_with, on_cpu, on_gpu, source, words};
use tidemill_gpu::{Floats, Kernel, MOST_LIMIT, Run};

const MANY: usize = 1024;

fn run() -> Run {
    Run { groups: [MANY as u32 / 64, 1, 1], limit: MOST_LIMIT, budget: UNLIMITED }
}

/// A program that puts this, of `x` and `y` (and of the integer `n`), in its place for each pair.
fn program(expression: &str) -> String {
    format!(
        "@group(0) @binding(0) var<storage, read> xs: array<f32>;
@group(0) @binding(1) var<storage, read> ys: array<f32>;
@group(0) @binding(2) var<storage, read> ns: array<u32>;
@group(0) @binding(3) var<storage, read_write> out: array<f32>;
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) g: vec3<u32>) {{
    let x = xs[g.x]; let y = ys[g.x]; let n = ns[g.x];
    _ = x; _ = y; _ = n;
    out[g.x] = {expression};
}}"
    )
}

/// Floats of each kind: random bits, small numbers, and what is at an edge.
fn operands(seed: u32) -> Vec<u32> {
    let edges = [
        0.0,
        -0.0,
        1.0,
        -1.0,
        0.5,
        2.5,
        3.5,
        -2.5,
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::NAN,
        f32::MAX,
        f32::MIN,
        f32::MIN_POSITIVE,
        1e-40,
        -1e-45,
        8_388_607.5,
        8_388_609.0,
        2_147_483_648.0,
        -2_147_483_904.0,
        4_294_967_296.0,
        1.000_000_1,
        0.999_999_94,
        16_777_217.0,
    ];
    let mut all = words(MANY, seed);
    for (at, word) in all.iter_mut().enumerate() {
        match at % 8 {
            0 => *word = f32::to_bits(edges[(*word >> 8) as usize % edges.len()]),
            // From about 2^-8 to 2^8.
            1..5 => *word = (*word & 0x807f_ffff) | ((119 + (*word >> 26) % 16) << 23),
            _ => {}
        }
    }
    all
}

fn canonical(value: f32) -> u32 {
    match value {
        value if value.is_nan() => 0x7fc0_0000,
        value if value.abs() <= f32::MIN_POSITIVE => 0,
        value => value.to_bits(),
    }
}

fn float(bits: u32) -> f32 {
    f32::from_bits(canonical(f32::from_bits(bits)))
}

/// Runs it on the CPU, asserts that a GPU gives the same bits and takes the same fuel, and gives the outputs.
fn outputs(kernel: &Kernel, buffers: &[Vec<u32>]) -> Vec<u32> {
    let (ran, expected) = on_cpu(kernel, run(), buffers);
    if let Some(device) = device() {
        let (on_gpu_ran, found) = on_gpu(&device, kernel, run(), buffers);
        assert_eq!(on_gpu_ran, ran);
        let differ = expected[3].iter().zip(&found[3]).filter(|(one, other)| one != other).count();
        assert_eq!(differ, 0, "of {MANY} on {}", device.adapter());
    }
    expected.into_iter().nth(3).expect("it is the output")
}

fn computes(expression: &str) -> (Vec<u32>, Vec<Vec<u32>>) {
    let buffers = vec![operands(1), operands(2), words(MANY, 3), vec![0; MANY]];
    (outputs(&kernel_with(&program(expression), Floats::Canonical), &buffers), buffers)
}

/// What rounds once is exact to the last bit.
fn is_exact(expression: &str, exact: impl Fn(f32, f32, u32) -> f32) {
    let (found, operands) = computes(expression);
    for (at, found) in found.iter().enumerate() {
        let (x, y, n) = (float(operands[0][at]), float(operands[1][at]), operands[2][at]);
        assert_eq!(
            *found,
            canonical(exact(x, y, n)),
            "{expression} of {x} ({:08x}), {y} ({:08x}), {n}: {}",
            operands[0][at],
            operands[1][at],
            f32::from_bits(*found)
        );
    }
}

#[test]
fn operations_round_once() {
    is_exact("x + y", |x, y, _| x + y);
    is_exact("x - y", |x, y, _| x - y);
    is_exact("x * y", |x, y, _| x * y);
    is_exact("x / y", |x, y, _| x / y);
    is_exact("sqrt(x)", |x, _, _| x.sqrt());
    is_exact("-x", |x, _, _| -x);
    // Two operations, never one.
    is_exact("x * y + 1.0", |x, y, _| f32::from_bits(canonical(x * y)) + 1.0);
    is_exact("fma(x, y, x)", |x, y, _| f32::from_bits(canonical(x * y)) + x);
}

#[test]
fn conversions_and_comparisons_are_what_wgsl_says() {
    is_exact("f32(n)", |_, _, n| n as f32);
    is_exact("f32(i32(n))", |_, _, n| n.cast_signed() as f32);
    is_exact("bitcast<f32>(u32(x) >> 8u | 0x40000000u)", |x, _, _| {
        f32::from_bits(x as u32 >> 8 | 0x4000_0000)
    });
    is_exact("bitcast<f32>(u32(i32(x)) >> 8u | 0x40000000u)", |x, _, _| {
        f32::from_bits((x as i32).cast_unsigned() >> 8 | 0x4000_0000)
    });
    is_exact("select(2.0, 3.0, x < y)", |x, y, _| if x < y { 3.0 } else { 2.0 });
    is_exact("select(2.0, 3.0, x <= y)", |x, y, _| if x <= y { 3.0 } else { 2.0 });
    is_exact("select(2.0, 3.0, x >= y || x > 1.0)", |x, y, _| if x >= y || x > 1.0 { 3.0 } else { 2.0 });
    is_exact("select(2.0, 3.0, x == y)", |x, y, _| if x == y { 3.0 } else { 2.0 });
    is_exact("select(2.0, 3.0, x != x)", |x, _, _| if x.is_nan() { 3.0 } else { 2.0 });
    is_exact("bitcast<f32>(n)", |_, _, n| f32::from_bits(n));
}

#[test]
fn rounding_functions_are_exact() {
    is_exact("trunc(x)", |x, _, _| x.trunc());
    is_exact("floor(x)", |x, _, _| x.floor());
    is_exact("ceil(x)", |x, _, _| x.ceil());
    is_exact("round(x)", |x, _, _| x.round_ties_even());
    is_exact("abs(x)", |x, _, _| x.abs());
    is_exact("sign(x)", |x, _, _| {
        if x > 0.0 {
            1.0
        } else if x < 0.0 {
            -1.0
        } else if x == 0.0 {
            0.0
        } else {
            1.0
        }
    });
    is_exact("min(x, y)", |x, y, _| x.min(y));
    is_exact("max(x, y)", |x, y, _| x.max(y));
    #[expect(clippy::manual_clamp, reason = "`clamp` of a NaN is a NaN; that of shaders is not")]
    is_exact("clamp(x, -1.0, 2.0)", |x, _, _| x.max(-1.0).min(2.0));
    is_exact("step(x, y)", |x, y, _| if x <= y { 1.0 } else { 0.0 });
}

/// Asserts that it is off by at most so much, relative to a magnitude of 1 at least, where x is in a range.
fn is_close(expression: &str, range: (f32, f32), most: f64, exact: impl Fn(f64, f64) -> f64) {
    let scale = range.1 - range.0;
    let within = |seed| {
        let unit = floats(MANY, seed);
        unit.iter()
            .map(|word| ((f32::from_bits(*word) + 0.5) * scale + range.0).to_bits())
            .collect::<Vec<_>>()
    };
    let buffers = vec![within(4), within(5), words(MANY, 6), vec![0; MANY]];
    let found = outputs(&kernel_with(&program(expression), Floats::Canonical), &buffers);
    for (at, found) in found.iter().enumerate() {
        let [x, y] = [0, 1].map(|buffer: usize| f64::from(f32::from_bits(buffers[buffer][at])));
        let (found, exact) = (f64::from(f32::from_bits(*found)), exact(x, y));
        assert!(
            (found - exact).abs() <= most * exact.abs().max(1.0),
            "{expression} of {x}, {y}: {found}, not {exact}"
        );
    }
}

#[test]
fn functions_are_close() {
    is_close("exp(x)", (-10.0, 10.0), 4e-7, |x, _| x.exp());
    is_close("exp2(x)", (-10.0, 10.0), 4e-7, |x, _| x.exp2());
    is_close("log(x)", (0.001, 100.0), 3e-7, |x, _| x.ln());
    is_close("log2(x)", (0.001, 100.0), 4e-7, |x, _| x.log2());
    is_close("sin(x)", (-100.0, 100.0), 2e-7, |x, _| x.sin());
    is_close("cos(x)", (-100.0, 100.0), 2e-7, |x, _| x.cos());
    is_close("atan(x)", (-20.0, 20.0), 2e-7, |x, _| x.atan());
    is_close("atan2(x, y)", (-5.0, 5.0), 4e-7, |x, y| x.atan2(y));
    is_close("asin(x)", (-1.0, 1.0), 4e-7, |x, _| x.asin());
    is_close("acos(x)", (-1.0, 1.0), 5e-7, |x, _| x.acos());
    is_close("tanh(x)", (-5.0, 5.0), 4e-7, |x, _| x.tanh());
    is_close("pow(x, y)", (0.5, 4.0), 4e-6, |x, y| x.powf(y));
    is_close("inverseSqrt(x)", (0.01, 100.0), 2e-7, |x, _| 1.0 / x.sqrt());
    is_close("mix(x, y, 0.25)", (0.0, 1.0), 2e-7, |x, y| x * 0.75 + y * 0.25);
    is_close("smoothstep(0.0, 1.0, x)", (0.0, 1.0), 4e-7, |x, _| x * x * (3.0 - 2.0 * x));
}

#[test]
fn vectors_are_their_parts() {
    is_exact("dot(vec2<f32>(x, y), vec2<f32>(y, 2.0))", |x, y, _| {
        f32::from_bits(canonical(x * y)) + f32::from_bits(canonical(y * 2.0))
    });
    is_exact("(vec3<f32>(x, y, 1.0) * y).x", |x, y, _| x * y);
    is_exact("(y / vec3<f32>(1.0, y, x)).z", |x, y, _| y / x);
    is_exact("cross(vec3<f32>(x, y, 0.0), vec3<f32>(0.0, 1.0, 0.0)).z", |x, y, _| {
        x * 1.0 - f32::from_bits(canonical(y * 0.0))
    });
    is_close("length(vec2<f32>(x, y))", (0.1, 9.0), 3e-7, |x, y| x.hypot(y));
    is_close("normalize(vec2<f32>(x, y)).x", (0.1, 9.0), 3e-7, |x, y| x / x.hypot(y));
    is_close(
        "select(vec2<f32>(x), vec2<f32>(y), vec2<f32>(x, y) < vec2<f32>(y, x)).y",
        (0.0, 1.0),
        0.0,
        f64::min,
    );
}

#[test]
fn what_a_program_reads_is_canonical_first() {
    // Subnormal numbers, NaNs and signs of zero of a file do not get in, by whatever way they are read.
    let text = |read: &str| {
        format!(
            "struct Pair {{ a: f32, b: vec2<f32> }}
@group(0) @binding(0) var<storage, read> xs: array<f32>;
@group(0) @binding(1) var<storage, read> pairs: array<Pair>;
@group(0) @binding(2) var<storage, read> list: array<array<f32, 4>>;
@group(0) @binding(3) var<storage, read_write> out: array<u32>;
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) g: vec3<u32>) {{
    _ = xs[0]; _ = pairs[0].a; _ = list[0][0];
    {read}
}}"
        )
    };
    let raw: Vec<u32> =
        [1, 0x8000_0000, 0x7f80_0001, 0xffff_ffff, 0x0080_0000, 0x3f80_0000].repeat(171)[..MANY].to_vec();
    let buffers = vec![raw.clone(), raw.clone(), raw.clone(), vec![0; MANY]];
    for (read, from) in [
        ("out[g.x] = bitcast<u32>(xs[g.x]);", 1),
        ("let p = pairs[g.x / 4u]; out[g.x] = bitcast<u32>(select(p.a, p.b.y, (g.x & 1u) == 1u));", 0),
        ("var p = pairs[g.x / 4u]; out[g.x] = bitcast<u32>(p.b.x);", 0),
        ("let a = list[g.x / 4u]; out[g.x] = bitcast<u32>(a[g.x & 3u]);", 1),
        ("var a = list[g.x / 4u]; out[g.x] = bitcast<u32>(a[g.x & 3u]);", 1),
    ] {
        let found = outputs(&kernel_with(&text(read), Floats::Canonical), &buffers);
        for (at, found) in found.iter().enumerate() {
            assert_eq!(*found, canonical(f32::from_bits(*found)), "{read}");
            assert!(from == 0 || *found == canonical(f32::from_bits(raw[at])), "{read}");
        }
        assert!(found.contains(&0x7fc0_0000), "{read}");
    }
}

#[test]
fn what_is_not_known_is_refused() {
    let refused = |expression: &str| {
        Kernel::new(&source(&program(expression)), "main", &[], Floats::Canonical)
            .expect_err("it is not known")
            .to_string()
    };
    assert!(refused("asinh(x)").contains("line 9, column"), "{}", refused("asinh(x)"));
    assert!(refused("asinh(x)").contains("canonical floats do not know the function Asinh"));
    assert!(refused("(mat2x2<f32>(x, y, x, y) * vec2<f32>(x, y)).x").contains("matrices"));
}
