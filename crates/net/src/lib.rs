//! The network: endpoint, tickets, the session protocol, blobs.

#![warn(missing_docs)]

pub mod blobs;
pub mod client;
pub mod endpoint;
pub mod frame;
pub mod key;
pub mod opening;
pub mod probe;
pub mod session;
pub mod ticket;
pub mod wire;
