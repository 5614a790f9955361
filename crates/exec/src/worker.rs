//! Worker processes: where strangers' programs are compiled and run.
//!
//! A [`WorkerPool`] keeps one worker for compiling, under limits of processor time and memory, and as
//! many for running as there are tasks at a time. Workers live on from task to task; one that dies fails
//! its own task alone and is replaced. Parent and worker speak frames over the worker's standard input
//! and output ([`protocol`]); a worker ends when its parent does.

mod child;
mod handing;
mod link;
mod pool;
mod process;
mod protocol;

pub use self::{
    child::{WorkerKind, taken_over_main, worker_main},
    pool::{CompileLimits, PoolConfig, WorkerPool},
    process::WorkerCommand,
};
