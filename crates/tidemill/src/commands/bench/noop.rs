//! A task that does nothing: what remains is the sandbox's own time, with a store, the WASI state, the
//! run, and the output's hash.

use std::{sync::Arc, time::Instant};

use anyhow::Context;
use serde::Serialize;
use tidemill_exec::{Backend, Control, Executor, Layout, Program, Task, WasmExecutor};
use tidemill_scratch::Scratch;
use tidemill_types::{FloatClass, Limits, Outcome, TaskSpec};

use super::percentile;
use crate::home::worker_pool;

/// `(module (memory (export "memory") 1) (func (export "_start")))`
pub const NOOP: &[u8] = b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0\x03\x02\x01\0\x05\x03\x01\0\x01\
\x07\x13\x02\x06memory\x02\0\x06_start\0\0\x0a\x04\x01\x02\0\x0b";

/// Times in microseconds.
#[derive(Serialize)]
pub struct Latency {
    pub p50: f64,
    pub p99: f64,
}

/// Runs in this process.
pub fn in_process(count: u32) -> anyhow::Result<Latency> {
    measure(&WasmExecutor::new(Backend::Sandbox, Layout::Task), count)
}

/// Runs in a worker process.
pub fn through_worker(count: u32) -> anyhow::Result<Latency> {
    let spool = Scratch::temporary().context("cannot make a temporary directory")?;
    measure(&worker_pool(1, spool.path())?, count)
}

fn measure(executor: &dyn Executor, count: u32) -> anyhow::Result<Latency> {
    let program = Program::wasm(NOOP);
    let control = Control::default();
    let spec = TaskSpec {
        kind: program.kind,
        program: program.id,
        floats: FloatClass::Native,
        args: vec!["noop".to_owned()],
        env: Vec::new(),
        inputs: Vec::new(),
        limits: Limits::default(),
        seed: 0,
    };
    let task = Task { spec: Arc::new(spec), program, contents: Vec::new() };
    executor.prepare(&task, &control.cancel)?;
    let run = || -> anyhow::Result<f64> {
        let begun = Instant::now();
        let report = executor.run(&task, &control);
        let time = begun.elapsed().as_secs_f64() * 1e6;
        match report.outcome {
            Outcome::Done => Ok(time),
            Outcome::Failed(failure) => Err(failure.into()),
        }
    };
    // The first ones start the worker, load the code and fill the pool.
    for _ in 0..count.div_ceil(20) {
        run()?;
    }
    let mut times = (0..count).map(|_| run()).collect::<anyhow::Result<Vec<f64>>>()?;
    times.sort_by(f64::total_cmp);
    let round = |value: f64| (value * 10.0).round() / 10.0;
    Ok(Latency { p50: round(percentile(&times, 0.5)), p99: round(percentile(&times, 0.99)) })
}
