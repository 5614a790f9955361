use crate::{Floats, Kernel, Mistake, Refusal, Source};

const HEAD: &str = "
@group(0) @binding(0) var<uniform> n: vec4<u32>;
@group(0) @binding(1) var<storage, read_write> out: array<u32>;
@group(0) @binding(2) var<storage, read_write> at: atomic<u32>;
@group(0) @binding(3) var<storage, read> table: array<u32>;
@group(0) @binding(4) var<storage, read_write> reals: array<f32>;
var<workgroup> shared_words: array<u32, 64>;
var<workgroup> shared_atomic: atomic<u32>;
var<workgroup> one: u32;
var<private> own: u32;
";

/// A program with these functions, and this body of an entry point that knows `l` (the invocation), `g` (the workgroup)
/// and `many` (the workgroups).
fn program(functions: &str, body: &str) -> Result<Kernel, Mistake> {
    let text = format!(
        "{HEAD}{functions}
@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) l: u32, @builtin(workgroup_id) g: vec3<u32>,
        @builtin(num_workgroups) many: vec3<u32>) {{ {body} }}"
    );
    let source = Source::parse(&text).unwrap_or_else(|mistake| panic!("{body}: {mistake}"));
    Kernel::new(&source, "main", &[], Floats::Native)
}

fn accepts(functions: &str, body: &str) -> Kernel {
    program(functions, body).unwrap_or_else(|mistake| panic!("{functions} {body}: {mistake}"))
}

fn refuses(functions: &str, body: &str) {
    match program(functions, body) {
        Err(Mistake::Refused { refusal: Refusal::Divergent { .. }, place: Some(_) }) => {}
        other => panic!("{functions} {body}: {:?}", other.map(|_| "accepted")),
    }
}

/// A loop of so many rounds around a barrier.
fn rounds(many: &str) -> String {
    format!("for (var i = 0u; i < {many}; i++) {{ workgroupBarrier(); }}")
}

#[test]
fn what_is_the_same_for_a_workgroup_bounds_a_loop_with_a_barrier() {
    for many in ["7u", "n.x", "table[3]", "g.x", "many.y", "arrayLength(&out)", "table[n.y]"] {
        accepts("", &rounds(many));
    }
    for many in [
        "l",
        "out[3]",
        "shared_words[3]",
        "atomicLoad(&shared_atomic)",
        "table[l]",
        "u32(l < 3u)",
        "min(l, 3u)",
    ] {
        if many.starts_with("atomic") {
            assert!(program("", &rounds(many)).is_err());
        } else {
            refuses("", &rounds(many));
        }
    }
}

#[test]
fn a_value_is_followed_through_variables() {
    accepts("", &format!("var k = n.x; {}", rounds("k")));
    refuses("", &format!("var k = l; {}", rounds("k")));
    refuses("", &format!("var k = 1u; if (l == 2u) {{ k = 3u; }} {}", rounds("k")));
    refuses("", &format!("own = l; {}", rounds("own")));
    accepts("", &format!("own = g.x; {}", rounds("own")));
    refuses("", &format!("var a: array<u32, 4>; a[l & 3u] = 1u; {}", rounds("a[0]")));
    accepts("", &format!("var a: array<u32, 4>; a[n.x] = 1u; {}", rounds("a[0]")));
    refuses("", &format!("var k = 0u; while (k < l) {{ k++; }} {}", rounds("k")));
    refuses(
        "",
        &format!("var k = 0u; var m = 0u; for (var i = 0u; i < 3u; i++) {{ m = k; k = l; }} {}", rounds("m")),
    );
    accepts(
        "",
        &format!("if (l == 0u) {{ one = out[3]; }} let k = workgroupUniformLoad(&one); {}", rounds("k")),
    );
}

#[test]
fn a_barrier_stands_where_all_come() {
    let barrier = "workgroupBarrier();";
    accepts("", &format!("if (g.x > 3u) {{ return; }} {barrier}"));
    accepts("", &format!("if (l < 3u) {{ out[l] = 1u; }} {barrier}"));
    accepts("", &format!("if (g.x > 3u) {{ {barrier} }}"));
    accepts("", &format!("switch (g.x) {{ case 1u: {{ {barrier} }} default: {{}} }}"));
    accepts("", &format!("for (var i = 0u; i < l; i++) {{ out[i] = i; }} {barrier}"));
    accepts("", &format!("switch (l) {{ case 1u: {{ out[0] = 1u; }} default: {{}} }} {barrier}"));
    refuses("", &format!("if (l < 3u) {{ {barrier} }}"));
    refuses("", &format!("if (l < 3u) {{ return; }} {barrier}"));
    refuses("", &format!("let c = l < 3u && g.x > 1u; if (c) {{ {barrier} }}"));
    refuses("", &format!("switch (l) {{ case 1u: {{ {barrier} }} default: {{}} }}"));
    refuses(
        "",
        &format!("switch (g.x) {{ case 1u: {{ if (l < 3u) {{ break; }} {barrier} }} default: {{}} }}"),
    );
    accepts(
        "",
        &format!("switch (g.x) {{ case 1u: {{ if (l < 3u) {{ break; }} }} default: {{}} }} {barrier}"),
    );
    refuses(
        "",
        &format!("switch (g.x) {{ case 1u: {{ if (l < 3u) {{ return; }} }} default: {{}} }} {barrier}"),
    );
    refuses("", "if (l < 3u) { out[l] = workgroupUniformLoad(&one); }");
    refuses("", "if (l < 3u) { storageBarrier(); }");
}

#[test]
fn a_loop_with_a_barrier_is_left_by_all_together() {
    accepts("", "var i = 0u; loop { workgroupBarrier(); i++; if (i >= many.x) { break; } }");
    accepts(
        "",
        "for (var s = 32u; s > 0u; s /= 2u) { if (l < s) { shared_words[l] += shared_words[l + s]; } workgroupBarrier(); }",
    );
    refuses("", "loop { workgroupBarrier(); if (l == 42u) { break; } }");
    refuses("", "loop { workgroupBarrier(); continuing { break if l < 1u; } }");
    refuses("", "for (var i = 0u; i < 10u; i++) { if (l == i) { return; } workgroupBarrier(); }");
    refuses("", "for (var i = 0u; i < n.x; i++) { if (l == i) { continue; } workgroupBarrier(); }");
    refuses(
        "",
        "for (var i = 0u; i < n.x; i++) { for (var j = 0u; j < n.x; j++) { if (l == j) { return; } } workgroupBarrier(); }",
    );
    // The inner loop is left one by one, so what looks like a common return is not.
    refuses(
        "",
        "for (var i = 0u; i < 9u; i++) { loop { if (l == i) { break; } if (n.x > 3u) { return; } } workgroupBarrier(); }",
    );
    accepts(
        "",
        "for (var i = 0u; i < n.x; i++) { for (var j = 0u; j < l; j++) { if (l == j) { break; } } workgroupBarrier(); }",
    );
    refuses(
        "",
        "for (var i = 0u; i < n.x; i++) { switch (g.x) { case 1u: { if (l < 3u) { continue; } } default: {} } workgroupBarrier(); }",
    );
}

#[test]
fn calls_are_followed() {
    accepts(
        "fn f(k: u32) -> u32 { workgroupBarrier(); return k; }",
        "for (var i = 0u; i < f(n.x); i++) { out[l] += 1u; }",
    );
    refuses("fn f() { workgroupBarrier(); }", "if (l < 3u) { f(); }");
    refuses("fn f() { workgroupBarrier(); }", "f(); if (l < 3u) { f(); }");
    refuses("fn e() { workgroupBarrier(); } fn f() { e(); }", "if (l < 3u) { f(); }");
    refuses("fn f(k: u32) -> u32 { return k; }", &rounds("f(l)"));
    refuses("fn f(k: u32) -> u32 { if (k > 3u) { return 1u; } return 2u; }", &rounds("f(l)"));
    accepts("fn f(k: u32) -> u32 { if (k > 3u) { return 1u; } return 2u; }", &rounds("f(n.x)"));
    let set = "fn f(p: ptr<function, u32>, k: u32) { *p = k; }";
    accepts(set, &format!("var k = 0u; f(&k, n.x); {}", rounds("k")));
    refuses(set, &format!("var k = 0u; f(&k, l); {}", rounds("k")));
    refuses(set, &format!("var k = 0u; if (l < 3u) {{ f(&k, n.x); }} {}", rounds("k")));
    refuses(
        "fn f(p: ptr<function, u32>, k: u32) { if (k > 2u) { *p = 5u; } }",
        &format!("var k = 0u; f(&k, l); {}", rounds("k")),
    );
    refuses(
        "fn e(p: ptr<function, u32>, k: u32) { *p = k; } fn f(p: ptr<function, u32>, k: u32) { e(p, k); }",
        &format!("var k = 0u; f(&k, l); {}", rounds("k")),
    );
    refuses("fn f(p: ptr<function, u32>) -> u32 { return *p; }", &format!("var k = l; {}", rounds("f(&k)")));
    refuses("fn f(p: ptr<private, u32>, k: u32) { *p = k; }", &format!("f(&own, l); {}", rounds("own")));
    refuses("fn f(k: u32) { own = k; }", &format!("f(l); {}", rounds("own")));
    refuses(
        "fn f(p: ptr<function, u32>, k: u32) { *p = k; for (var i = 0u; i < *p; i++) { workgroupBarrier(); } }",
        "var k = 0u; f(&k, l);",
    );
    // After a call all are back, whatever happened in it.
    accepts("fn f(k: u32) { if (k > 3u) { return; } out[k] = 1u; }", "f(l); workgroupBarrier();");
}

#[test]
fn members_of_a_structure_of_built_in_values_are_told_apart() {
    let text = |bound: &str| {
        format!(
            "struct In {{ @builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32 }}
            @compute @workgroup_size(64) fn main(at: In) {{ for (var i = 0u; i < at.{bound}; i++) {{ workgroupBarrier(); }} }}"
        )
    };
    let kernel = |bound: &str| {
        Kernel::new(&Source::parse(&text(bound)).expect("it is WGSL"), "main", &[], Floats::Native)
    };
    assert_eq!(kernel("group.x").map(|kernel| kernel.loops()), Ok((1, 1)));
    assert!(kernel("lane").is_err());
}

#[test]
fn a_loop_counts_together_where_there_is_a_barrier() {
    let body = "for (var i = 0u; i < l; i++) { out[i] = i; } for (var i = 0u; i < n.x; i++) { out[i] = i; }";
    assert_eq!(accepts("", body).loops(), (2, 0), "nobody waits for anybody");
    assert_eq!(accepts("", &format!("{body} workgroupBarrier();")).loops(), (2, 1));
}

#[test]
fn fuel_may_not_depend_on_who_came_first() {
    let fixed = [
        "for (var i = 0u; i < n.x; i++) { atomicAdd(&at, out[i] & 3u); }",
        "var k = 0u; for (var i = 0u; i < l; i++) { k = max(k, i); } atomicMax(&at, k);",
        "let slot = atomicAdd(&at, 1u); out[slot] = l;",
    ];
    for body in fixed {
        accepts("", body);
    }
    for body in [
        "while (atomicLoad(&at) < 5u) { }",
        "loop { let i = atomicAdd(&at, 1u); if (i >= n.x) { break; } out[i] = l; }",
        "let slot = atomicAdd(&at, 1u); for (var i = 0u; i < slot; i++) { out[i] += 1u; }",
        "let slot = atomicAdd(&at, 1u); out[l] = slot; for (var i = 0u; i < out[3]; i++) { out[9] += 1u; }",
        "let slot = atomicAdd(&at, 1u); if (slot > 3u) { for (var i = 0u; i < 9u; i++) { out[i] += 1u; } }",
        "let slot = atomicAdd(&at, 1u); if (slot > 3u) { return; } for (var i = 0u; i < n.x; i++) { out[i] += 1u; }",
        "let r = atomicCompareExchangeWeak(&at, 0u, 1u); for (var i = 0u; i < r.old_value; i++) { out[i] += 1u; }",
    ] {
        let refused = program("", body);
        assert!(
            matches!(refused, Err(Mistake::Refused { refusal: Refusal::Unrepeatable, .. })),
            "{body}: {:?}",
            refused.map(|_| "accepted")
        );
    }
}

#[test]
fn outputs_that_depend_on_who_came_first_are_known() {
    let meets = |body: &str| accepts("", body).traits().output_meets_order;
    assert!(!meets("atomicAdd(&at, l);"));
    assert!(!meets("atomicAdd(&at, l); atomicSub(&at, 1u);"));
    assert!(!meets("out[l] = l;"));
    assert!(meets("let slot = atomicAdd(&at, 1u); out[slot] = l;"));
    assert!(meets("out[l] = atomicAdd(&at, 1u);"));
    assert!(meets("atomicAdd(&at, l); atomicMax(&at, 7u);"));
    assert!(meets("atomicStore(&at, l);"));
    assert!(meets("let old = atomicExchange(&at, l);"));
    assert!(meets("if (atomicLoad(&at) > 3u) { out[0] = 1u; }"));
}

#[test]
fn fuel_that_depends_on_floats_is_known() {
    let meets = |body: &str| accepts("", body).traits().fuel_meets_floats;
    assert!(!meets("for (var i = 0u; i < n.x; i++) { reals[i] = reals[i] * 2.0; }"));
    assert!(meets("var x = 1.0; while (x < 7.0) { x *= 1.1; } reals[l] = x;"));
    assert!(meets("let k = u32(reals[l]); for (var i = 0u; i < k; i++) { out[i] = i; }"));
    assert!(meets("if (reals[l] > 1.0) { for (var i = 0u; i < 3u; i++) { out[i] = i; } }"));
    assert!(meets("out[l] = u32(reals[l]); for (var i = 0u; i < out[3]; i++) { out[i] = i; }"));
}
