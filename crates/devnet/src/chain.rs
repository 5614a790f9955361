//! The chain as a state machine: transactions, blocks, the state they change. No I/O and no clock.

mod block;
mod changes;
mod codec;
mod draft;
mod edit;
mod execute;
mod seal;
#[cfg(test)]
mod tests;
mod tx;
mod versions;
mod world;

pub(crate) use block::{Block, Summary, receipt};
pub(crate) use changes::Changes;
pub(crate) use draft::Draft;
pub(crate) use edit::{Edit, build_edit};
pub(crate) use execute::{Built, Parent, Rules, build_block, environment};
pub(crate) use seal::{genesis_block, next_base_fee};
pub(crate) use tx::Tx;
pub use tx::TxError;
pub(crate) use world::{NoState, View, World};
