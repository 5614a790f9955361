//! The embedded ledger: a node of an EVM chain in this process, with one author of blocks.
//!
//! [`Ledger::create`] makes a chain in a directory, [`Ledger::open`] takes it up again, [`Ledger::serve`]
//! answers JSON-RPC over HTTP and WebSocket, so that wallets and libraries connect to it as to any chain. A
//! block is on the disk before anybody sees it: after a kill at any instant the chain goes on at its last whole
//! block.
//!
//! # What it promises and what it does not
//!
//! It executes the rules of Ethereum's Prague fork, on revm. Blocks, transactions, receipts, their roots and
//! blooms are those of Ethereum, and every block since the beginning can be asked for. It differs where one
//! author of blocks makes a difference:
//!
//! - Whoever runs it can rewrite it. There is no consensus; `safe` and `finalized` are the latest block.
//! - `stateRoot` is not the root of a Merkle trie, which this node does not keep, but a chain of hashes over
//!   the changes of state: `keccak256(parent's stateRoot ‖ keccak256(changes))`, with the changes in the order of
//!   their keys, encoded as the log has them. It is checked whenever the log is replayed, and `eth_getProof`
//!   answers with an error.
//! - `prevrandao` is `keccak256("tidemill prevrandao" ‖ parent hash ‖ number)`: the same for everybody who
//!   knows the parent, so no source of randomness.
//! - Timestamps never go back, and blocks made within one second share one.
//! - No blobs, no withdrawals, no beacon roots (EIP-4788). Block hashes are kept as EIP-2935 says.
//! - A transaction that waits in the pool is not yet durable: it is when it is in a block.
//! - State at past blocks is kept for the recent ones alone ([`Options::history_blocks`]).
//!
//! The chain's rules, its state and the pool are plain functions and structures without I/O and without a
//! clock; one thread owns the making of blocks ([`Ledger`]), readers never wait for it.

mod chain;
mod checkpoints;
mod clock;
mod dev;
mod disk;
mod error;
mod genesis;
mod ledger;
mod pool;
mod producer;
mod rpc;
mod shared;

pub use chain::TxError;
pub use dev::{DEV_CHAIN_ID, dev_addresses, dev_signers};
pub use error::{CreateError, DiskError, OpenError, ServeError, StopError};
pub use genesis::{Genesis, GenesisAccount, GenesisError, draw_chain_id};
pub use ledger::{Head, Ledger, Mining, Options, Recovery};
pub use pool::PoolLimits;
pub use rpc::{HostName, HostNameError, Origin, OriginError, ServeOptions, Server};
