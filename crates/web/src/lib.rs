//! A coordinator in a browser, and the same as JSON.
//!
//! Every page and every answer comes from a session of the coordinator's own ([`LocalSessions`]): the same calls as over
//! the network, checked in the same places. Pages are rendered here, read without scripts, and ask nobody else for
//! anything; a small script of ours keeps them current by server-sent events. Who may see them is an [`Entry`].
//!
//! [`LocalSessions`]: tidemill_coordinator::LocalSessions

mod asset;
mod desk;
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
mod routes;
mod shell;
#[cfg(test)]
mod tests;
pub mod told;
mod v1;
mod words;

pub use entry::Entry;
pub use openapi::document;
pub use routes::pages;
pub use v1::routes as v1;
