//! JSON-RPC over HTTP and WebSocket, on one port.
//!
//! A connection comes in by the [`door`] to the [`front`], and from there maybe to a [`socket`]. Its messages are taken
//! out of their envelopes and [`dispatch`]ed. Each other file answers one group of methods. What they share is the
//! [`Context`](context::Context); what goes wrong they say in the codes and words that clients expect ([`error`]).
//! Nothing here changes the chain: transactions go into the pool, and what only a development ledger does is asked of
//! the thread that makes blocks.

mod blocks;
mod call;
mod callers;
mod context;
mod dev;
mod dispatch;
mod door;
mod edits;
mod envelope;
mod error;
mod fees;
mod filters;
mod front;
mod logs;
mod names;
mod node;
mod pending;
mod send;
mod serve;
mod shapes;
mod socket;
mod state;
mod subscribe;

pub use names::{HostName, HostNameError, Origin, OriginError};
pub use serve::{ServeOptions, Server};
