//! Identical bytes and fuel: run after run, and on Cranelift and on wasmtime's interpreter alike.

use proptest::{
    strategy::{Strategy, ValueTree},
    test_runner::TestRunner,
};
use tidemill_exec::{Backend, Report};
use tidemill_types::{ByteSize, Failure, Fuel, Outcome};
use wasm_smith::{Config, Module};

use super::support::{Attempt, attempt, binary, files};

/// What two runs of one task must share.
fn essence(report: &Report) -> (String, tidemill_types::Usage, Vec<u8>, Option<tidemill_types::BlobId>) {
    // Names of functions and the text of a failure are compared too.
    let outcome = format!("{:?}", report.outcome);
    (outcome, report.usage, report.log.clone(), report.output.as_ref().map(|output| output.id))
}

/// Runs twice on Cranelift and once on Pulley. Returns whether the program came to its own end.
fn check(attempt: &Attempt) -> bool {
    let first = attempt.run();
    // Where the stack ends is up to the compiler, and says so by its weight.
    if matches!(first.outcome, Outcome::Failed(Failure::Stack { .. })) {
        return false;
    }
    assert_eq!(essence(&first), essence(&attempt.run()), "run after run");
    let interpreted = attempt.clone().on(Backend::Pulley).run();
    if matches!(interpreted.outcome, Outcome::Failed(Failure::Stack { .. })) {
        return false;
    }
    assert_eq!(essence(&first), essence(&interpreted), "on the interpreter");
    first.outcome == Outcome::Done
}

/// Modules of any shape, each made a command whose `_start` calls all of its functions and writes its
/// memory to standard output.
fn generated(bytes: &[u8]) -> Option<Attempt> {
    let config = Config {
        allow_start_export: false,
        bulk_memory_enabled: true,
        canonicalize_nans: false,
        export_everything: true,
        gc_enabled: false,
        exceptions_enabled: false,
        max_imports: 0,
        max_memories: 1,
        min_memories: 1,
        max_memory32_bytes: 1 << 20,
        memory64_enabled: false,
        threads_enabled: false,
        reference_types_enabled: false,
        relaxed_simd_enabled: false,
        simd_enabled: true,
        tail_call_enabled: true,
        wide_arithmetic_enabled: false,
        custom_page_sizes_enabled: false,
        shared_everything_threads_enabled: false,
        max_tables: 2,
        min_funcs: 1,
        max_table_elements: 1_000,
        ..Config::default()
    };
    let mut source = arbitrary::Unstructured::new(bytes);
    let mut module = Module::new(config, &mut source).ok()?;
    module.ensure_termination(10_000).ok()?;
    let text = wasm_smith_command(&module.to_bytes())?;
    Some(text)
}

/// Renames the first function without parameters and results to `_start` and the memory to `memory`, by
/// giving the module those exports.
fn wasm_smith_command(bytes: &[u8]) -> Option<Attempt> {
    use wasmparser::{Parser, Payload};

    let (mut types, mut functions) = (Vec::new(), Vec::new());
    for payload in Parser::new(0).parse_all(bytes) {
        match payload.ok()? {
            Payload::TypeSection(section) => {
                for ty in section.into_iter_err_on_gc_types() {
                    let ty = ty.ok()?;
                    types.push(ty.params().is_empty() && ty.results().is_empty());
                }
            }
            Payload::FunctionSection(section) => {
                for index in section {
                    functions.push(types[index.ok()? as usize]);
                }
            }
            _ => {}
        }
    }
    let start = functions.iter().position(|plain| *plain)?;
    let mut exports = wasm_encoder::ExportSection::new();
    exports.export("memory", wasm_encoder::ExportKind::Memory, 0);
    exports.export("_start", wasm_encoder::ExportKind::Func, u32::try_from(start).ok()?);
    let mut module = wasm_encoder::Module::new();
    for payload in Parser::new(0).parse_all(bytes) {
        let payload = payload.ok()?;
        if matches!(payload, Payload::ExportSection(_)) {
            module.section(&exports);
        } else if let Some((id, range)) = payload.as_section() {
            module.section(&wasm_encoder::RawSection { id, data: &bytes[range] });
        }
    }
    Some(binary(module.finish()).limits(|limits| {
        limits.fuel = Fuel(2_000_000);
        limits.memory = ByteSize::mib(16);
    }))
}

#[test]
fn generated_modules_agree() {
    let modules = if std::env::var_os("TIDEMILL_DEEP").is_some() { 3_000 } else { 150 };
    let mut runner = TestRunner::deterministic();
    let bytes = proptest::collection::vec(proptest::num::u8::ANY, 100..4_000);
    let (mut made, mut ended, mut ran) = (0, 0, 0);
    while made < modules {
        let sample = bytes.new_tree(&mut runner).expect("bytes can be made").current();
        if let Some(attempt) = generated(&sample) {
            made += 1;
            ran += u32::from(attempt.run().usage.fuel > Fuel(0));
            ended += u32::from(check(&attempt));
            check(&attempt.canonical());
        }
    }
    // Most generated programs trap sooner or later, and must do so at the same place.
    assert!(ran > modules / 2, "only {ran} of {modules} ran at all");
    assert!(ended > modules / 50, "only {ended} of {modules} came to their own end");
}

/// An example's program with arguments that make it a task of a moment.
fn example(name: &str, args: &[&str]) -> Attempt {
    let mut attempt = binary(example_file(&format!("{name}/{name}.wasm")));
    attempt.spec.args.extend(args.iter().map(ToString::to_string));
    attempt
}

fn example_file(path: &str) -> Vec<u8> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples").join(path);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn the_examples_agree() {
    let tile = ["tile", "--scene", "/in/scene.txt", "--tile", "700", "--of", "1800", "--samples", "1"];
    let member = ["member", "--member", "1", "--nx", "64", "--ny", "32", "--steps", "20"];
    let attempts = [
        example("render", &tile).input("scene.txt", &example_file("render/scene.txt")),
        example("kmer", &["count", "--input", "/in/sample.fa", "--k", "21"])
            .input("sample.fa", &example_file("kmer/sample.fa")),
        example("montecarlo", &["simulate", "--batch", "3", "--paths", "20000"]),
        example("weather", &member),
    ];
    for attempt in attempts {
        assert!(check(&attempt), "{:?}", attempt.spec.args);
        assert!(check(&attempt.clone().canonical()), "{:?}", attempt.spec.args);
    }
}

/// Makes NaNs in every way there is, from zeros that the compiler cannot know, and prints their bits.
fn nan_maker() -> Attempt {
    let mut body = String::new();
    let mut at = 1_000;
    let mut keep = |code: String, width: u32| {
        let store = if width == 4 {
            "f32.store"
        } else if width == 8 {
            "f64.store"
        } else {
            "v128.store"
        };
        body.push_str(&format!("({store} (i32.const {at}) {code})\n"));
        at += width;
    };
    for (ty, width, nan) in [("f32", 4, "nan:0x200001"), ("f64", 8, "nan:0x4000000000001")] {
        let zero = format!("({ty}.load (i32.const 0))");
        let infinity = format!("({ty}.div ({ty}.const 1) {zero})");
        let payload = format!("({ty}.add {zero} ({ty}.const -{nan}))");
        keep(format!("({ty}.div {zero} {zero})"), width);
        keep(format!("({ty}.sub {infinity} {infinity})"), width);
        keep(format!("({ty}.mul {infinity} {zero})"), width);
        keep(format!("({ty}.sqrt ({ty}.sub {zero} ({ty}.const 1)))"), width);
        keep(format!("({ty}.add {payload} ({ty}.const {nan}))"), width);
        keep(format!("({ty}.min {payload} {zero})"), width);
        keep(format!("({ty}.max {zero} {payload})"), width);
        keep(format!("({ty}.ceil {payload})"), width);
        keep(format!("({ty}.nearest {payload})"), width);
    }
    keep("(f32.demote_f64 (f64.div (f64.load (i32.const 0)) (f64.load (i32.const 0))))".to_owned(), 4);
    keep("(f64.promote_f32 (f32.div (f32.load (i32.const 0)) (f32.load (i32.const 0))))".to_owned(), 8);
    for lanes in ["f32x4", "f64x2"] {
        let zero = "(v128.load (i32.const 0))";
        keep(format!("({lanes}.div {zero} {zero})"), 16);
        keep(format!("({lanes}.sqrt ({lanes}.sub {zero} ({lanes}.splat ({}.const 1))))", &lanes[..3]), 16);
        keep(format!("({lanes}.min ({lanes}.div {zero} {zero}) {zero})"), 16);
    }
    let text = format!(
        r#"(module (import "wasi_snapshot_preview1" "fd_write" (func $w (param i32 i32 i32 i32) (result i32)))
        (memory (export "memory") 1)
        (func (export "_start") {body}
            (i32.store (i32.const 16) (i32.const 1000)) (i32.store (i32.const 20) (i32.const {}))
            (drop (call $w (i32.const 1) (i32.const 16) (i32.const 1) (i32.const 24)))))"#,
        at - 1_000
    );
    attempt(&text)
}

#[test]
fn canonical_floats_have_one_nan() {
    let maker = nan_maker().canonical();
    assert!(check(&maker), "the program ends by itself");
    let (name, bytes) = files(&maker.run()).remove(0);
    assert_eq!(name, "stdout");
    // The first f32 is 0/0, and every f32 after it has the same bits: the canonical NaN.
    for nan in bytes[..36].chunks(4) {
        assert_eq!(nan, 0x7fc0_0000u32.to_le_bytes());
    }
    for nan in bytes[36..108].chunks(8) {
        assert_eq!(nan, 0x7ff8_0000_0000_0000u64.to_le_bytes());
    }
}

#[test]
fn native_floats_agree_with_themselves() {
    let maker = nan_maker();
    assert_eq!(files(&maker.run()), files(&maker.run()));
    // What makes the canonical class necessary: on x86-64 the hardware's own NaN is negative.
    #[cfg(target_arch = "x86_64")]
    assert_ne!(files(&maker.run()), files(&maker.clone().canonical().run()));
}
