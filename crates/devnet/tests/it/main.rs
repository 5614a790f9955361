//! The embedded ledger from outside: through its directory and through JSON-RPC.

// Clippy knows tests by their attribute; the functions that they share are tests too.
#![allow(clippy::unwrap_used)]

mod anvil;
mod blocks;
mod calls;
mod clients;
mod code;
mod dev;
mod durable;
mod edits;
mod envelope;
mod execution_apis;
mod fees;
mod http;
mod limits;
mod logs;
mod node;
mod pool;
mod reference;
mod snapshots;
mod websocket;
