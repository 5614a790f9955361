//! The `wasm` executor: WASI commands on wasmtime, the same bytes and fuel on every machine of a float
//! class.
//!
//! [`check`] refuses what cannot run before any effort goes into it; [`engine`] fixes how code is made;
//! [`compile`] makes it; [`run`] runs it. [`WasmExecutor`] does all of that in the calling process, for
//! worker processes, tests and measurements; programs from strangers are compiled and run in workers
//! ([`crate::worker`]).

mod check;
mod compile;
mod engine;
mod executor;
mod failure;
mod limiter;
mod run;

pub use self::{
    check::check_module,
    engine::{Backend, hardware_class},
    executor::WasmExecutor,
};
pub(crate) use self::{
    compile::Compiler,
    engine::CodeClass,
    executor::capabilities,
    limiter::Limiter,
    run::{Code, Job, Runtime},
};
