//! Worker processes: where strangers' programs are compiled and run.
//!
//! A [`WorkerPool`] keeps one worker for compiling, under limits of processor time and memory, and as
//! many for running as there are tasks at a time. Workers live on from task to task; one that dies fails
//! its own task alone and is replaced. A [`HostProcess`] is a worker for programs of another kind. Parent and worker speak frames over the worker's standard input
//! and output ([`protocol`]); a worker ends when its parent does.

mod child;
mod handing;
mod host;
mod link;
mod pool;
mod process;
mod protocol;

pub use self::{
    child::{WorkerKind, taken_over_main, worker_main, worker_main_with},
    host::{Host, HostEnd, HostLink, HostProcess, HostSender, HostWriter, Serve},
    pool::{CompileLimits, PoolConfig, WorkerPool},
    process::WorkerCommand,
};
