//! Lends a machine: advertises, leases, fetches, executes, reports.
//!
//! [`Provider`] joins one coordinator or several and does what it is leased, within what its owner allows, until it is
//! told to stop. It verifies nobody and keeps nothing of what it was given: what a coordinator has settled it forgets.
//! What it is owed, it writes down ([`pay`]).
//!
//! A provider is a machine with links. The queue, the slots, the threads and the folder of blobs are the machine's; each
//! coordinator has a link with a session, results and blobs of its own, and nothing that one of them does reaches into
//! the link of another. A lease is known by its coordinator and that one's number for it (`key`).
//!
//! One task owns all state (`owner`). What it decides, it decides with plain values: which lease may start
//! (`queue`, `turn`), how many leases each coordinator may give (`credits`), which blobs are needed (`wants`), when
//! results go out (`report`), when to dial again (`backoff`), what to say of an idle minute (`idle`), what is owed and
//! what to do about it (`pay`). Threads run the tasks (`run`).

mod attempt;
mod backoff;
mod capacity;
mod chunks;
mod config;
mod credits;
mod event;
mod idle;
mod incarnation;
mod inputs;
mod key;
mod link;
mod machine;
mod owner;
pub mod pay;
mod provider;
mod queue;
mod report;
mod room;
mod run;
mod session;
mod turn;
mod wants;

pub use self::{
    capacity::{MeasureError, measure},
    config::{ConfigError, EngineConfig, MAX_COORDINATORS, ProviderConfig},
    event::{Ending, Event, Notice},
    machine::{disk_free, memory_available, processor_quota},
    provider::{Provider, ProviderError},
};
