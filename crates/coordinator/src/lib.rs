//! A coordinator: takes jobs, places their tasks on providers, keeps what came of them.
//!
//! The core ([`core`]) is a pure state machine over [`event`]s; it has one owner, a thread of its own. What it
//! changes becomes durable in group commits on another thread ([`committer`]), and only then does what depends on
//! it leave ([`effects`], [`outbox`]). Sessions ([`session`]) translate between peers and events: they check
//! whatever can be checked without the state, and wait when the core has too much to do, so that a fast peer is
//! slowed down and a slow one costs nobody else anything.

mod along;
mod assemble;
mod clock;
mod committer;
mod compare;
mod config;
mod core;
mod effects;
mod event;
mod failpoint;
mod following;
mod inputs;
mod local;
mod mending;
mod outbox;
mod parts;
pub mod passes;
mod present;
mod queue;
mod receipt;
mod recovery;
mod room;
mod server;
mod session;
mod shared;
mod teller;

pub use self::core::{Keep, Trust};
pub use config::{Config, Pace};
pub use failpoint::FAILPOINTS;
pub use local::{Bringer, LocalError, LocalSession, LocalSessions, Visitor};
pub use server::{Coordinator, StartError};
pub use teller::MoneyConfig;
