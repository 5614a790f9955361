//! A coordinator in a browser, and the same as JSON; and what is said of a job before it is submitted, which commands say
//! too.
//!
//! Every page and every answer comes from a session of the coordinator's own ([`LocalSessions`]): the same calls as over
//! the network, checked in the same places. Pages are rendered here, read without scripts, and ask nobody else for
//! anything; a small script of ours keeps them current by server-sent events. Who may see them is an [`Entry`].
//!
//! [`LocalSessions`]: tidemill_coordinator::LocalSessions

mod asset;
mod depot;
mod desk;
mod earnings;
mod entry;
mod events;
mod files;
mod grid;
mod guard;
mod job;
mod jobs;
mod live;
mod network;
mod openapi;
mod problem;
pub mod prospects;
pub mod quote;
pub mod reliance;
mod routes;
mod shell;
mod staging;
mod submission;
mod submit;
#[cfg(test)]
mod tests;
pub mod told;
mod upload;
mod v1;
mod words;

pub use desk::{Desk, Purse};
pub use earnings::{Earned, Earner};
pub use entry::Entry;
pub use guard::lost;
pub use openapi::document;
pub use routes::pages;
pub use v1::routes as v1;
