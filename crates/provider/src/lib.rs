//! Lends a machine: advertises, leases, fetches, executes, reports.
//!
//! [`Provider`] joins one coordinator and does what it is leased, within what its owner allows, until it is told to
//! stop. It decides nothing about what work is worth, verifies nobody and keeps nothing of value: what its
//! coordinator has settled it forgets.
//!
//! One task owns all state (`owner`). What it decides, it decides with plain values: which lease may start
//! (`queue`), which blobs are needed (`wants`), when results go out (`report`), when to dial again
//! (`backoff`), what to say of an idle minute (`idle`). Threads run the tasks (`run`).

mod attempt;
mod backoff;
mod capacity;
mod config;
mod event;
mod idle;
mod inputs;
mod owner;
mod provider;
mod queue;
mod report;
mod room;
mod run;
mod session;
mod wants;

pub use self::{
    capacity::{MeasureError, disk_free, measure, memory_available},
    config::{ConfigError, ProviderConfig},
    event::{Ending, Event},
    provider::{Provider, ProviderError},
};
