//! How fast this machine is: the fuel that a fixed program burns in a second, run as every task is.
//!
//! The program's answer is checked: a machine that computes it wrongly must not take work.

use std::{
    io,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use tidemill_exec::{Cancel, Control, Executor, Program, Report, Task};
use tidemill_types::{
    BlobId, ByteSize, Capacity, Failure, FloatClass, Fuel, Limits, Millis, Outcome, TaskSpec,
};

use crate::machine::processor_quota;

/// Made of `kernel.wat` beside it, which a test checks.
const KERNEL: &[u8] = include_bytes!("capacity/kernel.wasm");

/// The hash of what the kernel leaves behind.
const ANSWER: &str = "0ffcddcd07c30e01f83bfc95770922f8293de38329f3c321a307c02e4112a00d";

/// The kernel alone: the best of so many runs counts, since other programs can only slow it down.
const SINGLE_RUNS: u32 = 3;

/// The kernel in all slots: runs in each.
const RUNS_PER_SLOT: u32 = 2;

/// A machine that could not be measured.
#[derive(Debug, thiserror::Error)]
pub enum MeasureError {
    /// The kernel did not run to its end.
    #[error("the program that measures it failed")]
    Failed(#[source] Failure),
    /// The kernel's answer is wrong: the processor, its memory or the compiler computes wrongly.
    #[error("this machine computes wrongly: the program that measures it left {found} and not {expected}")]
    Wrong {
        /// The hash of the right answer.
        expected: BlobId,
        /// The hash of what came.
        found: BlobId,
    },
    /// The executor offers no class of floats.
    #[error("this machine can run no programs")]
    NoFloats,
    /// A thread could not be started.
    #[error("cannot start a thread to measure with")]
    Thread(#[source] io::Error),
}

/// Measures how much fuel a second one task burns, and as many as there are slots. Blocks for about half a second
/// more than it takes to start the executor's workers.
///
/// # Errors
/// [`MeasureError`]
pub fn measure(executor: &dyn Executor, slots: u32) -> Result<Capacity, MeasureError> {
    let floats = *executor.capabilities().floats.first().ok_or(MeasureError::NoFloats)?;
    let task = kernel(floats);
    executor.prepare(&task, &Cancel::default()).map_err(MeasureError::Failed)?;
    // The first run starts a worker, which is not what is measured.
    run(executor, &task)?;
    let mut single = 0;
    for _ in 0..SINGLE_RUNS {
        let begun = Instant::now();
        let fuel = run(executor, &task)?;
        single = single.max(rate(fuel.0, begun.elapsed()));
    }
    let all = if slots > 1 { measure_all(executor, &task, slots)? } else { single };
    // A quota of processor time lets a short run have more than it gives in the long run.
    let share = processor_quota().map_or(1.0, |processors| (processors / f64::from(slots.max(1))).min(1.0));
    let (single, all) = (scaled(single, share), scaled(all, share));
    Ok(Capacity { single_fuel_per_s: single, all_fuel_per_s: all })
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "a rate"
)]
fn scaled(rate: u64, share: f64) -> u64 {
    (rate as f64 * share) as u64
}

fn measure_all(executor: &dyn Executor, task: &Task, slots: u32) -> Result<u64, MeasureError> {
    // Workers that are missing are started in a run of its own.
    run_in_all(executor, task, slots, 1)?;
    let begun = Instant::now();
    let fuel = run_in_all(executor, task, slots, RUNS_PER_SLOT)?;
    Ok(rate(fuel, begun.elapsed()))
}

fn run_in_all(executor: &dyn Executor, task: &Task, slots: u32, runs: u32) -> Result<u64, MeasureError> {
    thread::scope(|scope| {
        let slot = || -> Result<u64, MeasureError> {
            let mut fuel = 0;
            for _ in 0..runs {
                fuel += run(executor, task)?.0;
            }
            Ok(fuel)
        };
        let threads: Result<Vec<_>, _> = (0..slots)
            .map(|_| thread::Builder::new().name("tidemill measure".to_owned()).spawn_scoped(scope, slot))
            .collect();
        let mut sum = 0;
        for thread in threads.map_err(MeasureError::Thread)? {
            sum += thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        }
        Ok(sum)
    })
}

fn run(executor: &dyn Executor, task: &Task) -> Result<Fuel, MeasureError> {
    let Report { outcome, usage, output, .. } = executor.run(task, &Control::default());
    if let Outcome::Failed(failure) = outcome {
        return Err(MeasureError::Failed(failure));
    }
    let expected: BlobId = ANSWER.parse().expect("the constant is an identifier");
    match output {
        Some(output) if output.id == expected => Ok(usage.fuel),
        Some(output) => Err(MeasureError::Wrong { expected, found: output.id }),
        None => Err(MeasureError::Failed(Failure::BadOutput { reason: "there is none".to_owned() })),
    }
}

fn kernel(floats: FloatClass) -> Task {
    let program = Program::wasm(KERNEL);
    let spec = TaskSpec {
        kind: program.kind,
        program: program.id,
        floats,
        args: vec!["kernel".to_owned()],
        env: Vec::new(),
        inputs: Vec::new(),
        limits: Limits {
            fuel: Fuel(10_000_000_000),
            memory: ByteSize::mib(2),
            output: ByteSize::kib(64),
            wall_time: Millis(60_000),
            ..Limits::default()
        },
        seed: 0,
    };
    Task { spec: Arc::new(spec), program, contents: Vec::new() }
}

fn rate(amount: u64, took: Duration) -> u64 {
    let micros = took.as_micros().max(1);
    u64::try_from(u128::from(amount) * 1_000_000 / micros).unwrap_or(u64::MAX)
}

/// A transfer shorter than this says more of the round trip than of the line.
const TELLING_BYTES: u64 = 256 << 10;

/// How much a new observation counts.
const WEIGHT: f64 = 0.3;

/// A change of at least this share is worth telling.
const WORTH_TELLING: f64 = 0.25;

/// The bandwidth from the coordinator, as observed, and what was last said of it.
#[derive(Debug)]
pub(crate) struct Bandwidth {
    mean: Option<f64>,
    told: f64,
    told_at: Option<Instant>,
}

impl Bandwidth {
    /// It is told again after so long at the earliest.
    pub(crate) const PAUSE: Duration = Duration::from_secs(60);

    pub(crate) fn new(known: u64) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "a rate need not be exact")]
        let told = known as f64;
        Self { mean: None, told, told_at: None }
    }

    /// Takes in a transfer.
    pub(crate) fn observe(&mut self, bytes: u64, took: Duration) {
        if bytes < TELLING_BYTES || took.is_zero() {
            return;
        }
        #[expect(clippy::cast_precision_loss, reason = "a rate need not be exact")]
        let seen = bytes as f64 / took.as_secs_f64();
        self.mean = Some(self.mean.map_or(seen, |mean| mean + WEIGHT * (seen - mean)));
    }

    /// Bytes a second, when that is news: it has changed by a quarter since it was told, and that is a while ago.
    pub(crate) fn news(&mut self, now: Instant) -> Option<u64> {
        let mean = self.mean?;
        let too_soon = self.told_at.is_some_and(|told_at| now.duration_since(told_at) < Self::PAUSE);
        if too_soon || (mean - self.told).abs() < self.told * WORTH_TELLING {
            return None;
        }
        (self.told, self.told_at) = (mean, Some(now));
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it is positive, and `as` saturates"
        )]
        let rate = mean as u64;
        Some(rate)
    }
}

#[cfg(test)]
mod tests {
    use tidemill_exec::{Backend, Layout, WasmExecutor};

    use super::*;

    #[test]
    fn the_committed_kernel_is_made_of_its_source() {
        let source = include_str!("capacity/kernel.wat");
        assert_eq!(wat::parse_str(source).expect("the source is valid"), KERNEL);
    }

    #[test]
    fn a_machine_is_measured_and_its_answer_is_right() {
        let executor = WasmExecutor::new(Backend::Sandbox, Layout::Task);
        let capacity = measure(&executor, 2).expect("the kernel runs");
        assert!(capacity.single_fuel_per_s > 1_000_000);
        assert!(capacity.all_fuel_per_s > 1_000_000);
    }

    /// The kernel once more, in Rust.
    fn answer() -> [u8; 16] {
        let mut memory = vec![0u64; 1 << 17];
        let (mut x, mut sum, mut f) = (0x9e37_79b9_7f4a_7c15u64, 0u64, 1f64);
        for _ in 0..4_000_000 {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            let word = &mut memory[(x as usize & 0xffff8) / 8];
            sum = x ^ sum.wrapping_add(*word).rotate_left(5);
            *word = sum;
            f = f * 0.75 + f64::from(sum as u32 & 0x3fff);
        }
        let mut answer = [0; 16];
        answer[..8].copy_from_slice(&sum.to_le_bytes());
        answer[8..].copy_from_slice(&f.to_le_bytes());
        answer
    }

    #[test]
    fn the_expected_answer_is_what_a_native_program_computes() {
        let executor = WasmExecutor::new(Backend::Sandbox, Layout::Task);
        let report = executor.run(&kernel(FloatClass::Canonical), &Control::default());
        let output = report.output.expect("the kernel runs");
        assert_eq!(output.id.to_string(), ANSWER);
        let tidemill_exec::OutputBody::Bytes(bytes) = output.body else { panic!("it is short") };
        assert!(bytes.ends_with(&answer()));
        eprintln!("the kernel: {} of fuel in {:?}", report.usage.fuel, report.wall);
    }

    #[test]
    fn a_wrong_answer_is_an_error() {
        struct Wrong(WasmExecutor);
        impl Executor for Wrong {
            fn capabilities(&self) -> tidemill_exec::Capabilities {
                self.0.capabilities()
            }
            fn prepare(&self, task: &Task, cancel: &Cancel) -> Result<tidemill_exec::Prepared, Failure> {
                self.0.prepare(task, cancel)
            }
            fn run(&self, task: &Task, control: &Control) -> Report {
                let mut report = self.0.run(task, control);
                if let Some(output) = &mut report.output {
                    output.id = BlobId::of(b"a flipped bit");
                }
                report
            }
        }
        let executor = Wrong(WasmExecutor::new(Backend::Sandbox, Layout::Task));
        assert!(matches!(measure(&executor, 1), Err(MeasureError::Wrong { .. })));
    }

    #[test]
    fn bandwidth_is_told_when_it_has_changed_and_not_too_often() {
        let begin = Instant::now();
        let mut bandwidth = Bandwidth::new(0);
        assert_eq!(bandwidth.news(begin), None);
        bandwidth.observe(100, Duration::from_millis(1));
        assert_eq!(bandwidth.news(begin), None, "too small to tell anything");
        bandwidth.observe(10_000_000, Duration::from_secs(1));
        assert_eq!(bandwidth.news(begin), Some(10_000_000));
        bandwidth.observe(50_000_000, Duration::from_secs(1));
        assert_eq!(bandwidth.news(begin + Duration::from_secs(59)), None, "too soon");
        assert_eq!(bandwidth.news(begin + Duration::from_secs(60)), Some(22_000_000));
        bandwidth.observe(23_000_000, Duration::from_secs(1));
        assert_eq!(bandwidth.news(begin + Duration::from_secs(600)), None, "hardly a change");
    }
}
