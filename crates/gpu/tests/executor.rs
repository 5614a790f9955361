//! Tasks of GPU programs, with inputs, limits and outputs as those of any program.

mod support;

use std::sync::Arc;

use support::{LIMIT, has_device};
use tidemill_exec::{Cancel, Control, OutputBody, Program, Report, Task};
use tidemill_gpu::{GpuExecutor, OpenError, Plan, REFERENCE_CLASS, Trust, encode};
use tidemill_types::{
    Archive, BlobId, ByteSize, Content, Failure, FloatClass, Fuel, GuestPath, InputSpec, Limits, Millis,
    Outcome, ProgramKind, TaskSpec,
};

const TEXT: &str = "
@group(0) @binding(0) var<uniform> factor: u32;
@group(0) @binding(1) var<storage, read> before: array<u32>;
@group(0) @binding(2) var<storage, read_write> after: array<u32>;
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) g: vec3<u32>) {
    if (g.x < arrayLength(&after)) { after[g.x] = before[g.x] * factor; }
}
@compute @workgroup_size(1)
fn endless() { loop { after[0] += factor + before[0]; if (after[0] == 1u) { break; } } }
";

const PLAN: &str = r#"{
    "buffer": {
        "factor": { "values": "$1u" },
        "before": { "input": "/in/row.bin" },
        "after": { "bytes": 400, "output": "/out/rows/$1.bin" }
    },
    "step": [{ "pass": [{ "entry": "main", "groups": [2, 1, 1] }] }]
}"#;

fn program(plan: &str, text: &str) -> Vec<u8> {
    let plan: Plan = serde_json::from_str(plan).expect("it is a plan");
    encode(&plan, text)
}

fn task(program: Vec<u8>, args: &[&str], limits: Limits) -> Task {
    let row: Vec<u8> = (0..100_u32).flat_map(u32::to_le_bytes).collect();
    // Programs of the GPU have no kind of their own yet, and the executor does not look at it.
    let id = BlobId::of(&program);
    let program = Program::new(id, ProgramKind::Wasm, Content::bytes(program));
    let path = GuestPath::new("row.bin").expect("a valid path");
    let spec = TaskSpec {
        args: std::iter::once(&"program").chain(args).map(|arg| (*arg).to_owned()).collect(),
        inputs: vec![InputSpec { path, content: BlobId::of(&row), len: row.len() as u64 }],
        limits,
        ..TaskSpec::clone(&Task::of(program.clone(), FloatClass::Canonical).spec)
    };
    Task { spec: Arc::new(spec), program, contents: vec![Content::bytes(row)] }
}

fn on_cpu() -> GpuExecutor {
    GpuExecutor::on_cpu(std::env::temp_dir())
}

fn run(executor: &GpuExecutor, task: &Task) -> Report {
    executor.run(task, &Control::default())
}

fn failure(report: &Report) -> &Failure {
    match &report.outcome {
        Outcome::Failed(failure) => failure,
        Outcome::Done => panic!("it came to its end"),
    }
}

fn archive(report: Report) -> Vec<u8> {
    assert_eq!(report.outcome, Outcome::Done);
    let output = report.output.expect("it is done");
    let bytes = match output.body {
        OutputBody::Bytes(bytes) => bytes,
        OutputBody::File(path) => {
            let bytes = std::fs::read(&path).expect("it is there");
            std::fs::remove_file(path).expect("it is ours");
            bytes
        }
    };
    assert_eq!((output.id, output.len), (BlobId::of(&bytes), bytes.len() as u64));
    bytes
}

#[test]
fn a_task_gives_an_archive_of_its_files() {
    let executor = on_cpu();
    let task = task(program(PLAN, TEXT), &["7"], Limits::default());
    assert!(!executor.prepare(&task, &Cancel::default()).expect("it is right").cached);
    let report = run(&executor, &task);
    assert!(executor.prepare(&task, &Cancel::default()).expect("it is right").cached);
    assert_eq!(report.usage.read, ByteSize(400));
    assert_eq!(report.usage.output, ByteSize(400));
    assert_eq!(report.usage.memory, ByteSize(804));
    assert!(report.usage.fuel > Fuel(128));
    let bytes = archive(report);
    let index = Archive::parse(&bytes).expect("it is an archive");
    let (entry, at) = index.files().next().expect("there is one file");
    assert_eq!(entry.path.as_str(), "rows/7.bin");
    let expected: Vec<u8> = (0..100_u32).flat_map(|word| (word * 7).to_le_bytes()).collect();
    assert_eq!(bytes[at as usize..], expected);
    assert_eq!(executor.hardware_class(), REFERENCE_CLASS);
}

#[test]
fn a_large_output_is_a_file() {
    let large = PLAN.replace("\"bytes\": 400", "\"bytes\": 400000");
    let bytes = archive(run(&on_cpu(), &task(program(&large, TEXT), &["7"], Limits::default())));
    assert!(bytes.len() > 400_000);
}

#[test]
fn a_task_ends_at_its_limits() {
    let executor = on_cpu();
    let fails = |limits: Limits| {
        let report = run(&executor, &task(program(PLAN, TEXT), &["7"], limits));
        (failure(&report).clone(), report.usage.fuel)
    };
    let limits = Limits::default();
    let fuel = Fuel(100);
    assert_eq!(fails(Limits { fuel, ..limits }), (Failure::Fuel { limit: fuel }, fuel));
    let memory = ByteSize(803);
    let wanted = ByteSize(804);
    assert_eq!(fails(Limits { memory, ..limits }).0, Failure::Memory { wanted, limit: memory });
    let memory = ByteSize(399);
    let wanted = ByteSize(400);
    assert_eq!(fails(Limits { memory, ..limits }).0, Failure::Memory { wanted, limit: memory });
    let output = ByteSize(399);
    assert_eq!(fails(Limits { output, ..limits }).0, Failure::Output { limit: output });
    assert_eq!(fails(Limits { files: 0, ..limits }).0, Failure::Files { limit: 0 });
    let endless = PLAN.replace("\"main\"", "\"endless\"");
    let wall_time = Millis(1);
    let report = run(&executor, &task(program(&endless, TEXT), &["7"], Limits { wall_time, ..limits }));
    assert_eq!(failure(&report), &Failure::WallTime { limit: wall_time });
}

#[test]
fn a_cancelled_task_ends() {
    let control = Control::default();
    control.cancel.cancel();
    let task = task(program(PLAN, TEXT), &["7"], Limits::default());
    assert_eq!(failure(&on_cpu().run(&task, &control)), &Failure::Cancelled);
    assert_eq!(on_cpu().prepare(&task, &control.cancel), Err(Failure::Cancelled));
}

#[test]
fn mistakes_are_evidence_with_a_line() {
    let says = |program: Vec<u8>, args: &[&str]| match failure(&run(
        &on_cpu(),
        &task(program, args, Limits::default()),
    )) {
        Failure::InvalidModule { reason } => reason.clone(),
        other => panic!("{other}"),
    };
    let broken = says(program(PLAN, &TEXT.replace("before[g.x]", "behind[g.x]")), &["7"]);
    assert!(broken.starts_with("line 7, column"), "{broken}");
    assert!(says(b"\0asm".to_vec(), &["7"]).contains("not a plan with a WGSL module"));
    assert!(says(program(PLAN, TEXT), &["x"]).contains("\"xu\" is not a number"));
    assert!(says(program(PLAN, TEXT), &[]).contains("argument $1; the task has 0"));
    let elsewhere = PLAN.replace("/in/row.bin", "/in/column.bin");
    assert!(says(program(&elsewhere, TEXT), &["7"]).contains("\"/in/column.bin\", which is missing"));
    let outside = PLAN.replace("/out/rows/$1.bin", "../$1.bin");
    let report = run(&on_cpu(), &task(program(&outside, TEXT), &["7"], Limits::default()));
    assert!(matches!(failure(&report), Failure::BadOutput { .. }));
}

#[test]
fn a_gpu_gives_the_same_archive_and_usage() {
    if !has_device() {
        return;
    }
    let gpu = GpuExecutor::on_gpu(0, Trust::Unprobed, std::env::temp_dir()).expect("there is one");
    let right = task(program(PLAN, TEXT), &["7"], Limits::default());
    gpu.prepare(&right, &Cancel::default()).expect("it is right");
    let (one, other) = (run(&gpu, &right), run(&on_cpu(), &right));
    assert_eq!(one.usage, other.usage);
    assert_eq!(archive(one), archive(other));
    let endless = PLAN.replace("\"main\"", "\"endless\"");
    let fuel = Fuel(LIMIT.into());
    let endless = task(program(&endless, TEXT), &["7"], Limits { fuel, ..Limits::default() });
    let report = run(&gpu, &endless);
    assert_eq!((failure(&report), report.usage.fuel), (&Failure::Fuel { limit: fuel }, fuel));
    assert_ne!(gpu.hardware_class(), REFERENCE_CLASS);
}

#[test]
fn a_stand_in_is_not_offered() {
    if !has_device() {
        return;
    }
    match GpuExecutor::on_gpu(0, Trust::Probed, std::env::temp_dir()) {
        Ok(gpu) => assert!(gpu.is_hardware(), "a stand-in passed the probe"),
        Err(OpenError::Failed { failed, .. }) => {
            assert!(failed.iter().any(|check| check.name == "a loop of 200,000 rounds"), "{failed:?}");
        }
        Err(error) => panic!("{error}"),
    }
    let error =
        GpuExecutor::on_gpu(99, Trust::Probed, std::env::temp_dir()).expect_err("there are not so many");
    assert!(error.to_string().contains("no GPU number 99"), "{error}");
}
