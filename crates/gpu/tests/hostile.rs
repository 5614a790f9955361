//! Programs that mean ill: each ends within its limit by fuel, or is refused with words on why, before it runs.
//!
//! Every test of what ends asserts that fuel ended it: lavapipe ends all loops by itself, silently.

mod support;

use support::{LIMIT, UNLIMITED, device, kernel, on_cpu, on_gpu, source};
use tidemill_gpu::{Floats, Kernel, Mistake, Refusal, Run};

fn program(functions: &str, body: &str) -> String {
    format!(
        "@group(0) @binding(0) var<storage, read_write> out: array<u32>;
@group(0) @binding(1) var<storage, read_write> flag: atomic<u32>;
{functions}
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) g: vec3<u32>, @builtin(local_invocation_index) l: u32) {{
    _ = atomicLoad(&flag);
    {body}
}}"
    )
}

fn refusal(functions: &str, body: &str) -> Refusal {
    let text = program(functions, body);
    match Kernel::new(&source(&text), "main", &[], Floats::Native) {
        Err(Mistake::Refused { refusal, .. }) => refusal,
        Err(other) => panic!("{body}: {other}"),
        Ok(_) => panic!("{body}: it was accepted"),
    }
}

/// Asserts that fuel ends it, on the CPU and on a GPU, and gives the output of the CPU.
fn ends_by_fuel(functions: &str, body: &str) -> Vec<u32> {
    let text = program(functions, body);
    let kernel = kernel(&text);
    let run = Run { groups: [2, 1, 1], limit: LIMIT, budget: UNLIMITED };
    let buffers = [vec![0; 1024], vec![0]];
    let (ran, outputs) = on_cpu(&kernel, run, &buffers);
    assert!(ran.out_of_fuel, "{body}: {ran:?}");
    // One counter may be full while the other runs, and what stands outside of loops goes on.
    let most = 64 * (2 * u64::from(LIMIT) + (1 << 20));
    assert!(ran.fuel <= most, "{body}: {ran:?}");
    if let Some(device) = device() {
        let (ran, _) = on_gpu(&device, &kernel, run, &buffers);
        assert!(ran.out_of_fuel, "{body} on {}: {ran:?}", device.adapter());
    }
    outputs.into_iter().next().expect("there are two")
}

#[test]
fn endless_loops_end() {
    ends_by_fuel("", "loop { out[g.x] += 1u; if (out[1023] == 7u) { break; } }");
    ends_by_fuel("", "while (true) { }");
    ends_by_fuel("", "for (var i = 0u; ; i++) { continue; }");
}

#[test]
fn an_endless_loop_with_a_barrier_ends_for_all_together() {
    let out = ends_by_fuel(
        "",
        "loop { out[g.x] += 1u; workgroupBarrier(); if (arrayLength(&out) == 7u) { break; } }",
    );
    assert!(out[0] > 100 && out[..64].iter().all(|rounds| *rounds == out[0]), "{:?}", &out[..64]);
}

#[test]
fn a_loop_that_some_leave_early_leaves_a_barrier_whole() {
    // Those with a high number run out of fuel in the first loop; all must come to each of the barriers of the second.
    let out = ends_by_fuel(
        "",
        "var i = 0u; while (i < l * 100000u) { i += 1u; } for (var k = 0u; k < 100u; k++) { out[g.x] += 1u; workgroupBarrier(); }",
    );
    assert!(out[..64].iter().all(|rounds| *rounds == 100), "{:?}", &out[..64]);
}

#[test]
fn nested_loops_end() {
    ends_by_fuel(
        "",
        "for (var i = 0u; i < 65536u; i++) { for (var j = 0u; j < 65536u; j++) { out[g.x] ^= i * j; } }",
    );
    ends_by_fuel(
        "fn f() { for (var i = 0u; i < 1000000u; i++) { out[i & 1023u] += i; } }",
        &"f();".repeat(20),
    );
}

#[test]
fn a_function_whose_loop_ends_by_fuel_returns() {
    let out = ends_by_fuel(
        "fn f(x: u32) -> u32 { loop { out[1] += x; if (out[1] == 4000000000u) { return 7u; } } return 9u; }",
        "let r = f(1u); out[512u + g.x] = r + 3u;",
    );
    assert_eq!(out[512], 12, "it came to what follows the loop");
}

#[test]
fn a_large_switch_costs_what_it_compares() {
    let cases: String =
        (0..300).map(|case| format!("case {case}u: {{ x = x * {}u + 1u; }}", case + 3)).collect();
    let body = format!("var x = l; loop {{ switch (x % 300u) {{ {cases} default: {{}} }} out[g.x] = x; }}");
    ends_by_fuel("", &body);
    let cases: String = (0..4000).map(|case| format!("case {case}u: {{ x += 1u; }}")).collect();
    let body = format!("var x = l; loop {{ switch (x) {{ {cases} default: {{}} }} }}");
    assert!(
        matches!(refusal("", &body), Refusal::Size { found, .. } if found > 8_192),
        "it is too much code"
    );
}

#[test]
fn spinning_on_an_atomic_is_refused() {
    assert_eq!(refusal("", "while (atomicLoad(&flag) < 5u) { }"), Refusal::Unrepeatable);
}

#[test]
fn barriers_that_not_all_reach_are_refused() {
    for body in [
        "if (l < 7u) { workgroupBarrier(); }",
        "for (var k = 0u; k < 10u; k++) { if (l == k) { return; } workgroupBarrier(); }",
    ] {
        assert_eq!(refusal("", body), Refusal::Divergent { what: "a barrier" });
    }
}

fn too_much(functions: &str, body: &str) -> &'static str {
    match refusal(functions, body) {
        Refusal::Size { what, found, most } if found > most => what,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_bomb_of_calls_is_refused() {
    let functions: String = (0..30)
        .map(|n| match n {
            0 => "fn f0(x: u32) -> u32 { return x * 3u + 1u; }".into(),
            n => format!("fn f{n}(x: u32) -> u32 {{ return f{0}(x) + f{0}(x + 1u); }}", n - 1),
        })
        .collect();
    assert!(too_much(&functions, "out[0] = f29(l);").contains("words of code"));
}

#[test]
fn copies_of_arrays_and_huge_variables_are_refused() {
    let copy = "var a: array<u32, 2048>; var b: array<u32, 2048>; for (var i = 0u; i < 1000u; i++) { b = a; a[i] = b[i + 1u]; }";
    assert!(too_much("", copy).contains("copied at once"));
    assert!(too_much("", "var a: array<array<u32, 4096>, 4096>; out[0] = a[l][l];").contains("variables"));
    assert!(too_much("var<private> a: array<u32, 5000>;", "out[0] = a[l];").contains("variables"));
    assert!(
        too_much("var<workgroup> a: array<u32, 5000>;", "a[l] = l; out[0] = a[l + 1u];")
            .contains("workgroup memory")
    );
    // The same in functions that call each other.
    let functions = "fn f(x: u32) -> u32 { var a: array<u32, 2000>; a[x] = x; return a[x / 2u]; }
        fn g(x: u32) -> u32 { var a: array<u32, 2000>; a[x] = f(x); return a[x / 2u]; }
        fn h(x: u32) -> u32 { var a: array<u32, 2000>; a[x] = g(x); return a[x / 2u]; }";
    assert!(too_much(functions, "out[0] = h(l);").contains("variables"));
}

#[test]
fn modules_that_would_compile_for_minutes_are_refused() {
    let lines: String = (0..2000).map(|n| format!("x = x * {n}u + (x >> 3u);")).collect();
    assert!(too_much("", &format!("var x = l; {lines} out[g.x] = x;")).contains("words of code"));
    let deep =
        format!("var x = l; {} out[g.x] = x; {}", "if (x > 3u) { x += 1u; ".repeat(70), "}".repeat(70));
    assert!(too_much("", &deep).contains("nesting"));
    let loops = format!(
        "var x = l; {} x += 1u; {} out[g.x] = x;",
        "for (var i = 0u; i < 3u; i++) {".repeat(40),
        "}".repeat(40)
    );
    let text = program("", &loops);
    let refused =
        Kernel::new(&source(&text), "main", &[], Floats::Native).expect_err("it nests too deep").to_string();
    assert!(refused.contains("nesting"), "{refused}");
}

#[test]
fn a_round_that_costs_more_than_a_counter_holds_is_refused() {
    // Each level calls the one below in a loop: little code, but the price of a round grows with each.
    let functions: String = (0..12)
        .map(|n| match n {
            0 => format!("fn f0(x: u32) -> u32 {{ var y = x; {} return y; }}", "y /= 3u;".repeat(3)),
            n => format!("fn f{n}(x: u32) -> u32 {{ return f{0}(x) + f{0}(x / 7u); }}", n - 1),
        })
        .collect();
    let body = "var x = l; for (var i = 0u; i < 9u; i++) { x += f11(x); } out[g.x] = x;";
    assert!(too_much(&functions, body).contains("words of code"));
}

#[test]
fn subgroups_and_textures_are_refused() {
    let text = "@group(0) @binding(0) var t: texture_2d<f32>;
        @group(0) @binding(1) var<storage, read_write> out: array<f32>;
        @compute @workgroup_size(1) fn main() { out[0] = textureLoad(t, vec2<u32>(0u), 0).x; }";
    let refused =
        Kernel::new(&source(text), "main", &[], Floats::Native).expect_err("it has a texture").to_string();
    assert!(refused.starts_with("line 1, column ") && refused.contains("texture"), "{refused}");
    let text = "@group(3) @binding(0) var<storage, read_write> out: array<u32>;
        @compute @workgroup_size(1) fn main() { out[0] = 1u; }";
    let refused =
        Kernel::new(&source(text), "main", &[], Floats::Native).expect_err("the group is taken").to_string();
    assert!(refused.contains("group 3 is taken"), "{refused}");
}

#[test]
fn what_is_out_of_bounds_stays_inside() {
    let body = "out[2000000u + l] = 9u; var a: array<u32, 4>; a[l * 1000u] = 5u; out[g.x] = a[3] + a[l + 3u];
        let i = -1 - i32(l); out[512u + g.x] = a[i];";
    let text = program("", body);
    let run = Run { groups: [1, 1, 1], limit: LIMIT, budget: UNLIMITED };
    let (ran, outputs) = on_cpu(&kernel(&text), run, &[vec![0; 1024], vec![0]]);
    assert!(!ran.out_of_fuel);
    // Past the end is the last.
    assert_eq!(outputs[0][1023], 9);
    assert_eq!((outputs[0][0], outputs[0][1], outputs[0][512], outputs[0][513]), (0, 10, 0, 5));
    if let Some(device) = device() {
        assert_eq!(on_gpu(&device, &kernel(&text), run, &[vec![0; 1024], vec![0]]), (ran, outputs));
    }
}

#[test]
fn the_budget_of_all_ends_a_dispatch_too() {
    let text = program("", "for (var i = 0u; i < 100u; i++) { out[g.x & 1023u] += i; }");
    let kernel = kernel(&text);
    let buffers = [vec![0; 1024], vec![0]];
    let run = |budget| Run { groups: [200, 1, 1], limit: LIMIT, budget };
    let (whole, _) = on_cpu(&kernel, run(UNLIMITED), &buffers);
    assert!(!whole.out_of_fuel && whole.fuel % (200 * 64) == 0);
    assert!(!on_cpu(&kernel, run(whole.fuel), &buffers).0.out_of_fuel);
    let (short, _) = on_cpu(&kernel, run(whole.fuel - 1), &buffers);
    assert!(short.out_of_fuel);
    let (half, _) = on_cpu(&kernel, run(whole.fuel / 2), &buffers);
    assert!(half.out_of_fuel && half.fuel < whole.fuel * 6 / 10, "it went on: {half:?} of {whole:?}");
    if let Some(device) = device() {
        assert_eq!(on_gpu(&device, &kernel, run(whole.fuel), &buffers).0, whole);
        assert!(on_gpu(&device, &kernel, run(whole.fuel - 1), &buffers).0.out_of_fuel);
    }
}
