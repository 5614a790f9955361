//! JSON-RPC over HTTP and WebSocket, on one port.
//!
//! Each file answers one group of methods. What they share is the [`Context`]; what goes wrong they say in the
//! codes and words that clients expect ([`error`]). Nothing here changes the chain: transactions go into the
//! pool, and what only a development ledger does is asked of the thread that makes blocks.

mod blocks;
mod call;
mod context;
mod dev;
mod door;
mod error;
mod fees;
mod filters;
mod logs;
mod names;
mod node;
mod pending;
mod send;
mod serve;
mod shapes;
mod state;
mod subscribe;

pub use names::{HostName, HostNameError, Origin, OriginError};
pub use serve::{ServeOptions, Server};
