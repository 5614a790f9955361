//! Lends a machine: advertises, leases, fetches, executes, reports.
//!
//! [`Provider`] joins one coordinator and does what it is leased, within what its owner allows, until it is told to
//! stop. It verifies nobody and keeps nothing of what it was given: what its coordinator has settled it forgets. What
//! it is owed, it writes down ([`pay`]).
//!
//! One task owns all state (`owner`). What it decides, it decides with plain values: which lease may start
//! (`queue`), which blobs are needed (`wants`), when results go out (`report`), when to dial again
//! (`backoff`), what to say of an idle minute (`idle`), what is owed and what to do about it (`pay`). Threads run the
//! tasks (`run`).

mod attempt;
mod backoff;
mod capacity;
mod chunks;
mod config;
mod event;
mod idle;
mod incarnation;
mod inputs;
mod machine;
mod owner;
pub mod pay;
mod provider;
mod queue;
mod report;
mod room;
mod run;
mod session;
mod wants;

pub use self::{
    capacity::{MeasureError, measure},
    config::{ConfigError, EngineConfig, ProviderConfig},
    event::{Ending, Event},
    machine::{disk_free, memory_available, processor_quota},
    provider::{Provider, ProviderError},
};
