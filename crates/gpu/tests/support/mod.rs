//! Runs kernels on the reference, and on a GPU where there is one.

#![allow(dead_code, reason = "each test file uses a part")]

use tidemill_gpu::{Buffers, Device, DeviceError, Floats, Kernel, Memory, Ran, Reference, Run, Source};

/// The most fuel under which fuel ends a loop before lavapipe does: it stops all loops of 16 invocations together after
/// 65,535 rounds, silently, and a round costs 4 at least.
pub const LIMIT: u32 = 65_534 / 16 * 4;

pub const UNLIMITED: u64 = u64::MAX;

pub fn source(text: &str) -> Source {
    Source::parse(text).unwrap_or_else(|mistake| panic!("{mistake}\n{text}"))
}

pub fn kernel(text: &str) -> Kernel {
    kernel_with(text, Floats::Native)
}

pub fn kernel_with(text: &str, floats: Floats) -> Kernel {
    Kernel::new(&source(text), "main", &[], floats).unwrap_or_else(|mistake| panic!("{mistake}\n{text}"))
}

pub fn unmetered(text: &str) -> Kernel {
    Kernel::unmetered(&source(text), "main", &[]).unwrap_or_else(|mistake| panic!("{mistake}\n{text}"))
}

pub fn on_cpu(kernel: &Kernel, run: Run, buffers: &[Vec<u32>]) -> (Ran, Vec<Vec<u32>>) {
    let mut buffers = Buffers(buffers.to_vec());
    let ran = Reference::new(kernel).run(run, &mut buffers, &|| false);
    (ran, buffers.0)
}

pub fn on_gpu(device: &Device, kernel: &Kernel, run: Run, buffers: &[Vec<u32>]) -> (Ran, Vec<Vec<u32>>) {
    let pipeline = device.compile(kernel).expect("the driver takes it");
    let memory: Vec<Memory> =
        buffers.iter().map(|words| device.memory(words).expect("there is memory")).collect();
    let ran =
        device.run(&pipeline, run, &memory.iter().collect::<Vec<_>>(), &|| false).expect("the device works");
    (ran, memory.iter().map(|memory| device.read(memory).expect("the device works")).collect())
}

/// Whether there is a GPU, or a stand-in; words on what to install where there is none.
pub fn has_device() -> bool {
    device().is_some()
}

/// The first GPU, or its stand-in; none, with words on what to install, where there is none.
pub fn device() -> Option<Device> {
    // SAFETY: tests that use it are the only ones in their process that read the environment, and they set the same.
    unsafe {
        std::env::set_var("MESA_SHADER_CACHE_DISABLE", "true");
        // Mesa complains where there is none.
        std::env::set_var("XDG_RUNTIME_DIR", std::env::temp_dir());
    }
    match Device::open(0) {
        Ok(device) => Some(device),
        Err(error @ DeviceError::NoAdapter { .. }) => {
            eprintln!("not run on a GPU: {error}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// So many words that look random.
pub fn words(many: usize, seed: u32) -> Vec<u32> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state ^ (state >> 15)
    };
    (0..many).map(|_| next()).collect()
}

/// So many floats from -0.5 to 0.5.
pub fn floats(many: usize, seed: u32) -> Vec<u32> {
    let float = |word: u32| ((word >> 8) as f32 / 16_777_216.0 - 0.5).to_bits();
    words(many, seed).into_iter().map(float).collect()
}
