//! The sandbox: runs programs that nobody trusts, the same everywhere, within limits.
//!
//! [`Executor`] is what a kind of program needs from a host. [`WasmExecutor`] runs WebAssembly in the
//! calling process; [`WorkerPool`] runs it in worker processes, with compiling under limits of its own
//! and a cache of compiled code on disk, confined by the operating system ([`Confinement`]), and is what strangers'
//! programs run on. This crate schedules
//! nothing, knows no network and no money.

mod cache;
mod cancel;
mod confine;
mod control;
mod executor;
mod wasi;
mod wasm;
mod worker;

pub use self::{
    cache::{CacheError, CodeCache},
    cancel::Cancel,
    confine::{Confinement, Lack, Measure, UnlistedCalls},
    control::{Chunks, Control, Follow, Piece},
    executor::{Capabilities, Executor, Output, OutputBody, Prepared, Program, Report, Task},
    wasi::Layout,
    wasm::{Backend, WasmExecutor, check_module, hardware_class},
    worker::{
        CompileLimits, Host, HostEnd, HostLink, HostProcess, HostSender, HostWriter, PoolConfig, Serve,
        WorkerCommand, WorkerKind, WorkerPool, taken_over_main, worker_main, worker_main_with,
    },
};
