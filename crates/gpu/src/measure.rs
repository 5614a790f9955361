//! What metering and canonical floats cost on a device: kernels as people would write them, in each form in which they can
//! run, measured by turns in one run.

use std::time::Instant;

use crate::{
    device::{Device, DeviceError, Memory, Pipeline},
    kernel::{Floats, Kernel},
    reference::Reference,
    run::{Buffers, MOST_LIMIT, Run},
    source::Source,
};

/// A form in which a kernel runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    /// As its author wrote it, with wgpu's checks.
    Plain,
    /// The same without wgpu's own bound on loops.
    Unbounded,
    /// Metered: as programs run here.
    Metered,
    /// Metered, with canonical floats.
    Canonical,
    /// Metered, on the CPU.
    Reference,
}

/// What a kernel took in one form.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Figure {
    /// The kernel.
    pub kernel: &'static str,
    /// The form.
    pub form: Form,
    /// The median of the times, in milliseconds.
    pub ms: f64,
    /// That over the median of the plain form.
    pub of_plain: f64,
    /// The fuel; 0 where none is counted.
    pub fuel: u64,
}

/// Measures each kernel in each form. `scale`, from 1 to 16, makes all of them larger; `rounds`, at least 1, is how often
/// each is measured.
///
/// # Errors
/// Any of the device's.
pub fn measure(device: &Device, scale: u32, rounds: usize) -> Result<Vec<Figure>, DeviceError> {
    let mut figures = Vec::new();
    for case in cases(scale.clamp(1, 16)) {
        figures.extend(of_case(device, &case, rounds.max(1))?);
    }
    Ok(figures)
}

struct Case {
    name: &'static str,
    text: &'static str,
    groups: [u32; 3],
    buffers: Vec<Vec<u32>>,
}

/// A kernel in one of its forms.
struct Variant {
    form: Form,
    times: Vec<f64>,
    fuel: u64,
    on: On,
}

enum On {
    Gpu(Box<Pipeline>, Vec<Memory>),
    Cpu(Box<Kernel>),
}

fn of_case(device: &Device, case: &Case, rounds: usize) -> Result<Vec<Figure>, DeviceError> {
    let source = Source::parse(case.text).expect("the kernel is WGSL");
    let plain = Kernel::unmetered(&source, "main", &[]).expect("the kernel is right");
    let metered = Kernel::new(&source, "main", &[], Floats::Native).expect("the kernel can be metered");
    let canonical = Kernel::new(&source, "main", &[], Floats::Canonical).expect("canonical floats know it");
    let variant = |form, on| Variant { form, times: Vec::new(), fuel: 0, on };
    let on_gpu = |form, pipeline: Result<Pipeline, DeviceError>| {
        let memory = case.buffers.iter().map(|words| device.memory(words)).collect::<Result<_, _>>()?;
        Ok(variant(form, On::Gpu(Box::new(pipeline?), memory)))
    };
    let mut variants = vec![
        on_gpu(Form::Plain, device.compile(&plain))?,
        on_gpu(Form::Unbounded, device.compile_unbounded(&plain))?,
        on_gpu(Form::Metered, device.compile(&metered))?,
    ];
    if metered.traits().floats {
        variants.push(on_gpu(Form::Canonical, device.compile(&canonical))?);
    }
    variants.push(variant(Form::Reference, On::Cpu(Box::new(metered))));
    let run = Run { groups: case.groups, limit: MOST_LIMIT, budget: u64::MAX };
    // The first round is not counted: it may include compiling.
    for round in 0..=rounds {
        for variant in &mut variants {
            let begun = Instant::now();
            variant.fuel = match &variant.on {
                On::Gpu(pipeline, memory) => {
                    let memory: Vec<&Memory> = memory.iter().collect();
                    device.run(pipeline, run, &memory, &|| false)?.fuel
                }
                // It is slower by so much that once is enough.
                On::Cpu(_) if round != 1 => continue,
                On::Cpu(kernel) => {
                    Reference::new(kernel).run(run, &mut Buffers(case.buffers.clone()), &|| false).fuel
                }
            };
            if round > 0 {
                variant.times.push(begun.elapsed().as_secs_f64() * 1e3);
            }
        }
    }
    let mut figures: Vec<Figure> = Vec::new();
    for Variant { form, mut times, fuel, .. } in variants {
        times.sort_by(f64::total_cmp);
        let ms = times[times.len() / 2];
        let plain = figures.first().map_or(ms, |plain| plain.ms);
        figures.push(Figure { kernel: case.name, form, ms, of_plain: ms / plain, fuel });
    }
    Ok(figures)
}

fn cases(scale: u32) -> Vec<Case> {
    let side = 256 * scale;
    let n = 128 * scale;
    let bodies = 1_024 * scale;
    let hashes = 16 * scale;
    let mut work = vec![0x0100_0000];
    work.extend([0; 19]);
    work.extend([7, 2, 0, 0]);
    vec![
        Case {
            name: "mandelbrot",
            text: include_str!("../kernels/mandelbrot.wgsl"),
            groups: [side / 8, side / 8, 1],
            buffers: vec![vec![side, side, 200, 0], vec![0; (side * side) as usize]],
        },
        Case {
            name: "matmul",
            text: include_str!("../kernels/matmul.wgsl"),
            groups: [n / 16, n / 16, 1],
            buffers: vec![vec![n, 0, 0, 0], floats(n * n), floats(n * n), vec![0; (n * n) as usize]],
        },
        Case {
            name: "gravity",
            text: include_str!("../kernels/gravity.wgsl"),
            groups: [bodies / 64, 1, 1],
            buffers: vec![floats(4 * bodies), vec![0; 4 * bodies as usize]],
        },
        Case {
            name: "sha256d",
            text: include_str!("../kernels/sha256d.wgsl"),
            groups: [hashes, 1, 1],
            buffers: vec![work, vec![0; 3 * 64 * hashes as usize]],
        },
    ]
}

/// Floats from -0.5 to 0.5.
fn floats(many: u32) -> Vec<u32> {
    let word = |at: u32| at.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
    (0..many).map(|at| ((word(at) >> 8) as f32 / 16_777_216.0 - 0.5).to_bits()).collect()
}
