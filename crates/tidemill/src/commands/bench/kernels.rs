//! The examples' kernels, each as one task that takes about half a second natively.

use std::{collections::BTreeMap, fs, path::Path, sync::Arc, time::Instant};

use anyhow::Context;
use tidemill_exec::{Backend, Cancel, Control, Executor, Layout, Program, Task, WasmExecutor};
use tidemill_scratch::Scratch;
use tidemill_types::{BlobId, Content, FloatClass, Fuel, GuestPath, InputSpec, Limits, Outcome, TaskSpec};

/// A way to run a kernel.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Way {
    /// The same source as native code, compiled with opt-level 3.
    Native,
    /// wasmtime with its own settings, without fuel.
    Plain,
    /// The sandbox as tasks run in it.
    Fuel,
    /// The same with canonical floats.
    Canonical,
}

const WAYS: [Way; 4] = [Way::Native, Way::Plain, Way::Fuel, Way::Canonical];

/// One kernel.
pub struct Kernel {
    pub name: &'static str,
    program: &'static [u8],
    args: Vec<&'static str>,
    input: Option<(&'static str, Vec<u8>)>,
    native: fn(&[String], &Path) -> anyhow::Result<()>,
}

/// The times of a kernel in one turn.
#[derive(Default)]
pub struct Measured(BTreeMap<Way, f64>);

impl Measured {
    pub fn seconds(&self, way: Way) -> f64 {
        self.0.get(&way).copied().unwrap_or(f64::NAN)
    }
}

macro_rules! program {
    ($name:literal) => {
        include_bytes!(concat!("../../../../../examples/", $name, "/", $name, ".wasm"))
    };
}

/// Every kernel there is.
pub fn all() -> Vec<Kernel> {
    let scene = include_bytes!("../../../../../examples/render/scene.txt").to_vec();
    vec![
        Kernel {
            name: "render",
            program: program!("render"),
            args: vec!["tile", "--scene", "/in/scene.txt", "--tile", "35", "--of", "60", "--samples", "8"],
            input: Some(("scene.txt", scene)),
            native: |args, root| Ok(example_render::run(args, root)?),
        },
        Kernel {
            name: "kmer",
            program: program!("kmer"),
            args: vec!["count", "--input", "/in/genome.fa", "--k", "21"],
            input: Some(("genome.fa", random_genome(8 << 20))),
            native: |args, root| Ok(example_kmer::run(args, root)?),
        },
        Kernel {
            name: "weather",
            program: program!("weather"),
            args: vec!["member", "--member", "1", "--steps", "2500"],
            input: None,
            native: |args, root| Ok(example_weather::run(args, root)?),
        },
        Kernel {
            name: "montecarlo",
            program: program!("montecarlo"),
            args: vec!["simulate", "--batch", "0", "--paths", "100000000", "--strike", "105"],
            input: None,
            native: |args, root| Ok(example_montecarlo::run(args, root)?),
        },
    ]
}

/// A FASTA record of so many random bases, 80 to the line. The generator is Knuth's MMIX one.
fn random_genome(bases: usize) -> Vec<u8> {
    let mut text = b">random\n".to_vec();
    let mut state = 1u64;
    for place in 1..=bases {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        text.push(b"ACGT"[(state >> 62) as usize]);
        if place % 80 == 0 {
            text.push(b'\n');
        }
    }
    text
}

/// Kernels with what it takes to run them.
pub struct Bench {
    kernels: Vec<(Kernel, Program)>,
    plain: WasmExecutor,
    sandbox: WasmExecutor,
    root: Scratch,
}

impl Bench {
    /// Compiles everything and lays out the native side's files.
    pub fn new(kernels: Vec<Kernel>) -> anyhow::Result<Self> {
        let bench = Self {
            kernels: kernels
                .into_iter()
                .map(|kernel| (Program::wasm(kernel.program), kernel))
                .map(|(p, k)| (k, p))
                .collect(),
            plain: WasmExecutor::new(Backend::Plain, Layout::Task),
            sandbox: WasmExecutor::new(Backend::Sandbox, Layout::Task),
            root: Scratch::temporary().context("cannot make a temporary directory")?,
        };
        for directory in ["in", "out", "tmp"] {
            fs::create_dir(bench.root.path().join(directory))?;
        }
        for (kernel, program) in &bench.kernels {
            if let Some((name, bytes)) = &kernel.input {
                fs::write(bench.root.path().join("in").join(name), bytes)?;
            }
            for (executor, floats) in [
                (&bench.plain, FloatClass::Native),
                (&bench.sandbox, FloatClass::Native),
                (&bench.sandbox, FloatClass::Canonical),
            ] {
                executor
                    .prepare(&Task::of(program.clone(), floats), &Cancel::default())
                    .with_context(|| format!("cannot prepare {}", kernel.name))?;
            }
        }
        Ok(bench)
    }

    /// The kernels' names.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.kernels.iter().map(|(kernel, _)| kernel.name)
    }

    /// Runs every kernel once in every way.
    pub fn turn(&mut self) -> anyhow::Result<BTreeMap<&'static str, Measured>> {
        let mut turn: BTreeMap<&'static str, Measured> = BTreeMap::new();
        for (kernel, program) in &self.kernels {
            for way in WAYS {
                let seconds = match way {
                    Way::Native => self.native(kernel),
                    Way::Plain => sandboxed(kernel, program, &self.plain, FloatClass::Native),
                    Way::Fuel => sandboxed(kernel, program, &self.sandbox, FloatClass::Native),
                    Way::Canonical => sandboxed(kernel, program, &self.sandbox, FloatClass::Canonical),
                }
                .with_context(|| format!("{} {way:?}", kernel.name))?;
                turn.entry(kernel.name).or_default().0.insert(way, seconds);
            }
        }
        Ok(turn)
    }

    fn native(&self, kernel: &Kernel) -> anyhow::Result<f64> {
        let args: Vec<String> = kernel.args.iter().map(ToString::to_string).collect();
        let begun = Instant::now();
        (kernel.native)(&args, self.root.path())?;
        Ok(begun.elapsed().as_secs_f64())
    }
}

fn sandboxed(
    kernel: &Kernel,
    program: &Program,
    executor: &WasmExecutor,
    floats: FloatClass,
) -> anyhow::Result<f64> {
    let mut spec = TaskSpec {
        kind: program.kind,
        program: program.id,
        floats,
        args: ["program"].iter().chain(&kernel.args).map(ToString::to_string).collect(),
        env: Vec::new(),
        inputs: Vec::new(),
        limits: Limits { fuel: Fuel(1 << 50), ..Limits::default() },
        seed: 0,
    };
    let mut contents = Vec::new();
    if let Some((name, bytes)) = &kernel.input {
        let path = GuestPath::new(*name)?;
        spec.inputs.push(InputSpec { path, content: BlobId::of(bytes), len: bytes.len() as u64 });
        contents.push(Content::bytes(bytes.clone()));
    }
    let task = Task { spec: Arc::new(spec), program: program.clone(), contents };
    let report = executor.run(&task, &Control::default());
    match report.outcome {
        Outcome::Done => Ok(report.wall.as_secs_f64()),
        Outcome::Failed(failure) => Err(failure.into()),
    }
}
