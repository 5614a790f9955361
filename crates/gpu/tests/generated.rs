//! Programs made by chance: metering changes nothing of what they compute, and their fuel is the same wherever they run.

mod support;

use std::fmt::Write as _;

use proptest::{prelude::*, test_runner::TestRunner};
use support::{UNLIMITED, device, kernel, on_cpu, on_gpu, unmetered, words};
use tidemill_gpu::{MOST_LIMIT, Run};

/// Writes a program from numbers: each choice takes the next of them.
struct Writer<'a> {
    choices: std::iter::Cycle<std::slice::Iter<'a, u32>>,
    text: String,
    names: u32,
    /// Whether all invocations are here together, so that a barrier may stand here.
    together: bool,
    statements: u32,
}

const SCALARS: [&str; 5] = ["x", "y", "z", "a[x & 7u]", "a[(y >> 3u) & 7u]"];

impl Writer<'_> {
    fn choose(&mut self, below: u32) -> u32 {
        *self.choices.next().expect("it has no end") % below
    }

    fn value(&mut self, depth: u32) -> String {
        if depth == 0 {
            return match self.choose(4) {
                // A constant would be folded, and may not overflow then.
                0 => format!("(n + {}u)", self.choose(1000)),
                1 => "l".into(),
                _ => SCALARS[self.choose(5) as usize].into(),
            };
        }
        let (left, right) = (self.value(depth - 1), self.value(depth - 1));
        match self.choose(17) {
            0 => format!("({left} + {right})"),
            1 => format!("({left} - {right})"),
            2 => format!("({left} * {right})"),
            3 => format!("({left} / {right})"),
            4 => format!("({left} % {right})"),
            5 => format!("({left} ^ {right})"),
            6 => format!("({left} & {right})"),
            7 => format!("({left} << ({right} & 31u))"),
            8 => format!("({left} >> ({right} & 31u))"),
            9 => format!("select({left}, {right}, ({left}) < ({right}))"),
            10 => format!("u32(i32({left}) / (i32({right}) | 1))"),
            11 => format!("min({left}, {right})"),
            12 => format!("(countOneBits({left}) + firstLeadingBit({right}))"),
            13 => format!("extractBits({left}, {right} & 15u, 9u)"),
            14 => format!("dot(vec2<u32>({left}, {right}), vec2<u32>(3u, x))"),
            15 => format!("mixed({left}, {right})"),
            _ => format!("(vec3<u32>({left}, {right}, 7u) ^ vec3<u32>({right})).zxy.y"),
        }
    }

    fn block(&mut self, depth: u32) {
        for _ in 0..=self.choose(3) {
            self.statement(depth);
        }
    }

    fn inside(&mut self, depth: u32, together: bool) {
        let outer = self.together;
        self.together &= together;
        self.block(depth);
        self.together = outer;
    }

    fn statement(&mut self, depth: u32) {
        self.statements += 1;
        let kind = if depth == 0 || self.statements > 40 { self.choose(4) } else { self.choose(10) };
        let name = self.names;
        self.names += 1;
        match kind {
            0 | 1 => {
                let (variable, value) = (SCALARS[self.choose(5) as usize], self.value(2));
                let _ = writeln!(self.text, "{variable} = {value};");
            }
            2 => {
                let value = self.value(1);
                let _ = writeln!(self.text, "atomicAdd(&sum, {value} & 0xffu);");
            }
            3 if self.together => {
                let value = self.value(1);
                let step = self.choose(64);
                let _ = writeln!(
                    self.text,
                    "board[l] = {value}; workgroupBarrier(); y ^= board[(l + {step}u) % 64u]; workgroupBarrier();"
                );
            }
            3 => {
                let value = self.value(2);
                let _ = writeln!(self.text, "step(&z, &a, {value});");
            }
            4 | 5 => {
                let (condition, together) = match self.choose(3) {
                    0 => ("g.x == 1u".into(), true),
                    _ => (format!("({}) < ({})", self.value(1), self.value(1)), false),
                };
                let _ = writeln!(self.text, "if ({condition}) {{");
                self.inside(depth - 1, together);
                let _ = writeln!(self.text, "}} else {{");
                self.inside(depth - 1, together);
                let _ = writeln!(self.text, "}}");
            }
            6 => {
                let selector = self.value(1);
                let _ = writeln!(self.text, "switch ({selector} % 4u) {{ case 0u, 3u: {{");
                self.inside(depth - 1, false);
                let _ = writeln!(self.text, "if (x > y) {{ break; }} z += 1u; }} case 1u: {{");
                self.inside(depth - 1, false);
                let _ = writeln!(self.text, "}} default: {{ z ^= 5u; }} }}");
            }
            7 | 8 => {
                let rounds = 1 + self.choose(5);
                let _ = writeln!(
                    self.text,
                    "for (var r{name} = 0u; r{name} < {rounds}u; r{name}++) {{ x += r{name};"
                );
                self.inside(depth - 1, true);
                let _ = writeln!(self.text, "}}");
            }
            _ => {
                let (rounds, leaves) = (self.value(1), self.value(1));
                let _ = writeln!(
                    self.text,
                    "var r{name} = 0u; loop {{ if (r{name} >= ({rounds} & 7u)) {{ break; }} if (({leaves} & 3u) == 1u) \
                     {{ continue; }}"
                );
                self.inside(depth - 1, false);
                let _ = writeln!(self.text, "continuing {{ r{name} += 1u; break if r{name} > 6u; }} }}");
            }
        }
    }
}

fn program(choices: &[u32]) -> String {
    let mut writer = Writer {
        choices: choices.iter().cycle(),
        text: String::new(),
        names: 0,
        together: true,
        statements: 0,
    };
    writer.block(3);
    writer.block(3);
    format!(
        "@group(0) @binding(0) var<storage, read> input: array<u32>;
@group(0) @binding(1) var<storage, read_write> out: array<u32>;
@group(1) @binding(4) var<storage, read_write> sum: atomic<u32>;
var<workgroup> board: array<u32, 64>;
var<private> calls: u32;

fn mixed(p: u32, q: u32) -> u32 {{
    calls += 1u;
    if (p > q) {{
        return p - q;
    }}
    return p * 31u + q;
}}

fn step(p: ptr<function, u32>, a: ptr<function, array<u32, 8>>, by: u32) {{
    for (var i = 0u; i < (by & 7u); i++) {{
        *p = *p * 5u + (*a)[i];
        (*a)[(i + by) & 7u] ^= *p;
    }}
}}

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) l: u32, @builtin(workgroup_id) g: vec3<u32>) {{
    var x = input[g.x * 64u + l];
    let n = input[0];
    var y = l;
    var z = 1u;
    var a: array<u32, 8>;
    {}
    for (var i = 0u; i < 8u; i++) {{
        z = z * 3u + a[i];
    }}
    out[g.x * 64u + l] = x ^ (y * 7u) ^ (z * 13u) ^ calls;
}}",
        writer.text
    )
}

fn run(text: &str, on_a_gpu: bool) {
    let run = Run { groups: [3, 1, 1], limit: MOST_LIMIT, budget: UNLIMITED };
    let buffers = [words(192, 9), vec![0; 192], vec![0]];
    let (metered, plain) = (kernel(text), unmetered(text));
    let (ran, outputs) = on_cpu(&metered, run, &buffers);
    assert!(!ran.out_of_fuel && ran.fuel > 0, "{text}");
    assert!(on_cpu(&plain, run, &buffers).1 == outputs, "metering changes what it computes: {text}");
    if on_a_gpu && let Some(device) = device() {
        let (on_gpu_ran, on_gpu_outputs) = on_gpu(&device, &metered, run, &buffers);
        assert_eq!(on_gpu_ran, ran, "{text}");
        assert!(on_gpu_outputs == outputs, "a GPU computes something else: {text}");
    }
    // Whatever the limit, it ends, and more fuel is not used than by the whole.
    let limit = (ran.fuel / 192 / 3) as u32;
    let (short, _) = on_cpu(&metered, Run { limit, ..run }, &buffers);
    assert!(short.out_of_fuel || short == ran, "{text}");
}

fn cases(number: u32, on_a_gpu: bool) {
    let config = ProptestConfig { cases: number, failure_persistence: None, ..ProptestConfig::default() };
    let choices = prop::collection::vec(any::<u32>(), 40..400);
    let mut runner = TestRunner::new_with_rng(
        config,
        proptest::test_runner::TestRng::deterministic_rng(proptest::test_runner::RngAlgorithm::ChaCha),
    );
    runner
        .run(&choices, |choices| {
            run(&program(&choices), on_a_gpu);
            Ok(())
        })
        .unwrap_or_else(|failure| panic!("{failure}"));
}

#[test]
fn metering_changes_nothing_of_what_is_computed() {
    cases(60, false);
}

#[test]
fn a_gpu_computes_and_counts_the_same() {
    if device().is_some() {
        cases(12, true);
    }
}
