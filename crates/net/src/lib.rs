//! The network: endpoint, tickets, the session protocol, blobs.

#![warn(missing_docs)]

pub mod addresses;
pub mod blobs;
pub mod client;
pub mod endpoint;
pub mod failpoint;
pub mod frame;
mod interfaces;
pub mod key;
pub mod opening;
pub mod probe;
pub mod recall;
pub mod session;
pub mod ticket;
pub mod wire;
