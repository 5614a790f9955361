//! Programs of several dispatches: plans, what is wrong with them, and the same results on a device and on the CPU.

mod support;

use support::{device, source};
use tidemill_gpu::{Allowance, End, Files, Floats, Outcome, Plan, Program, encode};

const TEXT: &str = "
struct Params { add: u32, width: u32 }
override FACTOR: u32 = 2;
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> before: array<u32>;
@group(0) @binding(2) var<storage, read_write> after: array<u32>;
@group(1) @binding(0) var<storage, read_write> total: atomic<u32>;

@compute @workgroup_size(64)
fn blur(@builtin(global_invocation_id) g: vec3<u32>) {
    if (g.x >= params.width) { return; }
    let left = before[max(g.x, 1u) - 1u];
    let right = before[min(g.x + 1u, params.width - 1u)];
    after[g.x] = (left + before[g.x] * FACTOR + right) / (FACTOR + 2u) + params.add;
}

@compute @workgroup_size(64)
fn sum(@builtin(global_invocation_id) g: vec3<u32>) {
    if (g.x < params.width) { atomicAdd(&total, before[g.x]); }
}
";

const PLAN: &str = r#"{
    "buffer": {
        "params": { "values": "1u 100u" },
        "one": { "input": "row.bin", "output": "row.bin" },
        "two": { "bytes": 400 },
        "total": { "bytes": 4, "output": "total.bin" }
    },
    "step": [
        {
            "repeat": 3,
            "swap": [["one", "two"]],
            "pass": [{
                "entry": "blur",
                "groups": [2, 1, 1],
                "overrides": { "FACTOR": 4 },
                "bind": { "before": "one", "after": "two" }
            }]
        },
        { "pass": [{ "entry": "sum", "groups": [2, 1, 1], "bind": { "before": "one" } }] }
    ]
}"#;

const ALLOWANCE: Allowance = Allowance { fuel: 1_000_000, invocation: 10_000 };

fn plan(text: &str) -> Plan {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}"))
}

fn row() -> Vec<u32> {
    (0..100).map(|at| at * at % 97 * 1000).collect()
}

fn files() -> Files {
    Files::from([("row.bin".into(), row().into_iter().flat_map(u32::to_le_bytes).collect())])
}

fn program() -> Program {
    Program::new(&source(TEXT), plan(PLAN), Floats::Native).expect("the plan fits")
}

fn run(program: &Program, args: &[&str], allowance: Allowance) -> Outcome {
    let (args, files): (Vec<String>, _) = (args.iter().map(|arg| (*arg).into()).collect(), files());
    program.task(&args, &files).expect("the files fit").run_on_cpu(allowance, &|| false)
}

fn expected(rounds: u32, add: u32) -> Files {
    let mut row = row();
    for _ in 0..rounds {
        row = (0..100_usize)
            .map(|at| (row[at.max(1) - 1] + row[at] * 4 + row[(at + 1).min(99)]) / 6 + add)
            .collect();
    }
    let total: u32 = row.iter().sum();
    let bytes = |words: &[u32]| words.iter().flat_map(|word| word.to_le_bytes()).collect();
    Files::from([("row.bin".into(), bytes(&row)), ("total.bin".into(), bytes(&[total]))])
}

#[test]
fn steps_repeat_and_swap_buffers() {
    let outcome = run(&program(), &[], ALLOWANCE);
    assert_eq!(outcome.end, End::Done(expected(3, 1)));
    assert!(outcome.fuel > 0);
}

#[test]
fn tasks_differ_by_their_arguments() {
    let text = PLAN
        .replace("1u 100u", "$1u 100u")
        .replace("\"input\": \"row.bin\"", "\"input\": \"$3\"")
        .replace("\"repeat\": 3", "\"repeat\": \"$2\"")
        .replace("[2, 1, 1]", "[\"$4\", 1, 1]")
        .replace("\"bytes\": 400", "\"bytes\": \"$5\"");
    let program = Program::new(&source(TEXT), plan(&text), Floats::Native).expect("the plan fits");
    let args = |args: [&str; 5]| args.map(String::from);
    for (add, repeat) in [(1, 3), (70, 2)] {
        let outcome =
            run(&program, &[&add.to_string(), &repeat.to_string(), "row.bin", "2", "400"], ALLOWANCE);
        assert_eq!(outcome.end, End::Done(expected(repeat, add)));
    }
    let inputs = program.inputs(&args(["1", "2", "other.bin", "2", "400"]));
    assert_eq!(inputs, Ok(vec!["other.bin".to_owned()]));
    let files = files();
    for (wrong, says) in [
        (["x", "2", "row.bin", "2", "400"], "\"xu\" is not a number with a type"),
        (["1", "two", "row.bin", "2", "400"], "\"two\" is not a whole number"),
        (["1", "2", "column.bin", "2", "400"], "the file \"column.bin\", which is missing"),
        (["1", "2", "row.bin", "0", "400"], "0 x 1 x 1 workgroups"),
        (["1", "2", "row.bin", "2", "404"], "change places, but have 400 and 404 bytes"),
    ] {
        let mistake = program.task(&args(wrong), &files).expect_err(says).to_string();
        assert!(mistake.contains(says), "{mistake}");
    }
    let mistake = program
        .task(&args(["1", "2", "row.bin", "2", "400"])[..4], &files)
        .expect_err("one is missing")
        .to_string();
    assert!(mistake.contains("argument $5; the task has 4"), "{mistake}");
}

#[test]
fn a_program_is_bytes() {
    let bytes = encode(&plan(PLAN), TEXT);
    let read = Program::decode(&bytes, Floats::Native).expect("it was just written");
    assert_eq!(read.plan(), program().plan());
    assert_eq!(run(&read, &[], ALLOWANCE), run(&program(), &[], ALLOWANCE));
    let broken = encode(&plan(PLAN), &TEXT.replace("params.width) {", "params.height) {"));
    let mistake = Program::decode(&broken, Floats::Native).expect_err("there is no height").to_string();
    assert!(mistake.starts_with("line 11, column"), "{mistake}");
    for wrong in [&b"\xff"[..], b"fn main() {}", b"tidemill-wgsl 1 {}", b"tidemill-wgsl 1 {}\nfn main() {}"] {
        let mistake = Program::decode(wrong, Floats::Native).expect_err("it is no program").to_string();
        assert!(mistake.contains("not a plan with a WGSL module"), "{mistake}");
    }
}

#[test]
fn a_task_says_what_memory_it_needs() {
    let (program, files) = (program(), files());
    let task = program.task(&[], &files).expect("the files fit");
    assert_eq!((task.memory(), task.output()), (8 + 400 + 400 + 4, 404));
}

#[test]
fn a_device_gives_the_same_files_and_takes_the_same_fuel() {
    let Some(device) = device() else { return };
    let (program, files) = (program(), files());
    let task = program.task(&[], &files).expect("the files fit");
    assert_eq!(task.run_on(&device, ALLOWANCE, &|| false), Ok(task.run_on_cpu(ALLOWANCE, &|| false)));
    let stopped = task.run_on(&device, ALLOWANCE, &|| true).expect("the device works");
    assert_eq!(stopped.end, End::Stopped);
}

#[test]
fn fuel_is_for_all_dispatches_together() {
    let program = program();
    let whole = run(&program, &[], ALLOWANCE);
    let with = |fuel| run(&program, &[], Allowance { fuel, ..ALLOWANCE });
    assert_eq!(with(whole.fuel), whole);
    assert_eq!(with(whole.fuel - 1).end, End::OutOfFuel);
    assert_eq!(with(0).end, End::OutOfFuel);
    let files = files();
    let stopped = program.task(&[], &files).expect("the files fit").run_on_cpu(ALLOWANCE, &|| true);
    assert!(matches!(stopped, Outcome { end: End::Stopped, fuel: 0 }));
}

#[test]
fn an_entry_point_is_prepared_once_for_each_set_of_overrides() {
    let kernels = program().kernels().iter().map(|kernel| kernel.name().to_owned()).collect::<Vec<_>>();
    assert_eq!(kernels, ["blur", "sum"]);
    let again = "{ \"entry\": \"blur\", \"groups\": [2, 1, 1], \"bind\": { \"before\": \"one\", \"after\": \"two\" } }";
    let twice = PLAN.replace(
        "\"pass\": [{ \"entry\": \"sum\"",
        &format!("\"pass\": [{again}, {again}, {{ \"entry\": \"sum\""),
    );
    let program = Program::new(&source(TEXT), plan(&twice), Floats::Native).expect("the plan fits");
    assert_eq!(program.kernels().len(), 3);
}

#[test]
fn mistakes_of_a_plan_are_told_before_anything_runs() {
    let told = |from: &str, to: &str| {
        assert!(PLAN.contains(from), "{from}");
        Program::new(&source(TEXT), plan(&PLAN.replace(from, to)), Floats::Native).expect_err(to).to_string()
    };
    for (from, to, says) in [
        ("\"sum\"", "\"product\"", "no compute entry point named \"product\"; it has blur, sum"),
        ("FACTOR", "FRACTION", "the module has no override \"FRACTION\""),
        ("\"after\": \"two\"", "\"after\": \"three\"", "the plan has no buffer \"three\""),
        (", \"after\": \"two\"", "", "uses the variable \"after\", and the plan has no buffer \"after\""),
        (
            "\"after\": \"two\"",
            "\"after\": \"one\"",
            "writes \"after\", and \"before\" is the same buffer \"one\"",
        ),
        (
            "\"after\": \"two\"",
            "\"after\": \"two\", \"total\": \"total\"",
            "binds \"total\", but \"blur\" uses only params, before, after",
        ),
        ("[2, 1, 1]", "[2, 0, 1]", "2 x 0 x 1 workgroups"),
        ("[2, 1, 1]", "[65536, 1, 1]", "from 1 to 65535"),
        ("\"bytes\": 400", "\"bytes\": 402", "multiple of 4"),
        ("\"bytes\": 400", "\"bytes\": 200000000", "from 4 to 134217728"),
        ("[[\"one\", \"two\"]]", "[[\"one\", \"three\"]]", "swaps the buffer \"three\""),
        ("\"total.bin\"", "\"row.bin\"", "two buffers give the file \"row.bin\""),
        ("\"repeat\": 3", "\"repeat\": 2000000", "2000001 dispatches"),
        ("1u 100u", "-1i", "the variable \"params\" needs 8 at least"),
        ("1u 100u", "1 100", "\"1\" is not a number with a type"),
        ("\"values\": \"1u 100u\"", "\"bytes\": 70000", "a uniform buffer has 65536 at most"),
    ] {
        let mistake = told(from, to);
        assert!(mistake.contains(says), "{to}: {mistake}");
    }
    let silent = PLAN.replace(", \"output\": \"row.bin\"", "").replace(", \"output\": \"total.bin\"", "");
    let mistake =
        Program::new(&source(TEXT), plan(&silent), Floats::Native).expect_err("it gives nothing").to_string();
    assert!(mistake.contains("no buffer has an output"), "{mistake}");
}

#[test]
fn mistakes_of_a_task_are_told_too() {
    let program = program();
    let told = |files: &Files| program.task(&[], files).expect_err("the files do not fit").to_string();
    let file = |bytes: usize| Files::from([("row.bin".into(), vec![0; bytes])]);
    assert!(told(&Files::new()).contains("the file \"row.bin\", which is missing"));
    assert!(told(&file(401)).contains("multiple of 4"));
    assert!(told(&file(0)).contains("multiple of 4"));
    assert!(told(&file(404)).contains("change places, but have 404 and 400 bytes"));
}
