//! The client of an EVM chain: keys, transactions, contracts.
//!
//! - [`keystore`] holds the keys of accounts, encrypted.
//! - [`chain`] is a connection to a node.
//! - [`sender`] makes transactions, each exactly once, whatever happens to this process, the node or the chain.
//! - [`contracts`] are Tidemill's contracts, [`deploy`] puts them on a chain, and [`address_book`] says where they are.
//! - [`staking`] says what an account has there, and [`liquid`] what it has of the liquid stake; [`escrow`] what is locked for jobs; [`settlement`] plans who is paid.
//!
//! The chain may be any that speaks JSON-RPC; nothing here knows the embedded ledger.

pub mod address_book;
pub mod chain;
pub mod contracts;
pub mod deploy;
pub mod escrow;
pub mod keystore;
pub mod liquid;
mod permit;
mod reading;
mod revert;
pub mod sender;
pub mod settlement;
pub mod staking;

pub use tidemill_types::{Amount, Coin, MoneyError};

pub use self::{
    address_book::{AddressBook, BookError},
    chain::{Block, Chain, ChainError, Disagreement},
    contracts::{evm, ours},
    escrow::{EscrowView, Escrows},
    reading::ADDRESS_BOOK_METHOD,
};
pub use alloy::{
    primitives::{Address, B256, Bytes, U256},
    signers::local::PrivateKeySigner,
    sol_types::SolCall,
};
