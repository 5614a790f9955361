//! `net_*`, `web3_*`, and what `eth_*` says of the node.

use alloy::primitives::{B256, Bytes, U64, keccak256};
use jsonrpsee::RpcModule;
use jsonrpsee::core::RegisterMethodError;

use super::context::Context;
use super::error::{Answer, server};
use crate::dev::dev_addresses;

/// What the node calls itself.
const NAME: &str = concat!("tidemill/", env!("CARGO_PKG_VERSION"));

/// Hardhat's helpers (`loadFixture` and others) refuse to ask for what a development ledger has, unless the node's name
/// begins with `anvil` or `HardhatNetwork`.
const DEV_NAME: &str = concat!("anvil-compatible tidemill/", env!("CARGO_PKG_VERSION"));

pub(super) fn register(module: &mut RpcModule<Context>) -> Result<(), RegisterMethodError> {
    module.register_method("eth_chainId", |_, context, _| {
        Answer::Ok(U64::from(context.shared.rules.chain_id))
    })?;
    module.register_method("eth_blockNumber", |_, context, _| {
        Answer::Ok(U64::from(context.shared.head().number()))
    })?;
    module.register_method("eth_syncing", |_, _, _| Answer::Ok(false))?;
    module.register_method("eth_mining", |_, _, _| Answer::Ok(true))?;
    module.register_method("eth_coinbase", |_, context, _| Answer::Ok(context.shared.rules.coinbase))?;
    module.register_method("eth_accounts", |_, context, _| {
        Answer::Ok(if context.shared.genesis.dev { dev_addresses() } else { Vec::new() })
    })?;
    module.register_method("eth_getProof", |_, _, _| {
        let message = "this ledger keeps no Merkle trie of its state: it has no proofs to give";
        Answer::<()>::Err(server(message))
    })?;
    module.register_method("tidemill_addressBook", |_, context, _| {
        Answer::Ok(context.options.address_book.clone())
    })?;
    module.register_method("net_version", |_, context, _| {
        Answer::Ok(context.shared.rules.chain_id.to_string())
    })?;
    module.register_method("net_listening", |_, _, _| Answer::Ok(true))?;
    module.register_method("net_peerCount", |_, _, _| Answer::Ok(U64::ZERO))?;
    module.register_method("web3_clientVersion", |_, context, _| {
        Answer::Ok(if context.shared.genesis.dev { DEV_NAME } else { NAME })
    })?;
    module.register_method("web3_sha3", |params, _, _| -> Answer<B256> {
        Ok(keccak256(params.one::<Bytes>()?))
    })?;
    Ok(())
}
