//! Accounts: balance, nonce, code, storage.

use alloy::eips::BlockId;
use alloy::primitives::{Address, B256, Bytes, U64, U256};
use alloy::serde::JsonStorageKey;
use jsonrpsee::RpcModule;
use jsonrpsee::core::RegisterMethodError;

use super::context::Context;
use super::error::{Answer, no_state};

pub(super) fn register(module: &mut RpcModule<Context>) -> Result<(), RegisterMethodError> {
    module.register_blocking_method("eth_getBalance", |params, context, _| -> Answer<U256> {
        let mut params = params.sequence();
        let (address, id): (Address, _) = (params.next()?, params.optional_next()?);
        let account = context.state(id)?.account(address).map_err(no_state)?;
        Ok(account.unwrap_or_default().balance)
    })?;
    module.register_method("eth_getTransactionCount", |params, context, _| -> Answer<U64> {
        let mut params = params.sequence();
        let (address, id): (Address, Option<BlockId>) = (params.next()?, params.optional_next()?);
        let point = context.point(id)?;
        // As with submitting, the pool before the head.
        let pool = point.pending.then(|| context.shared.pool());
        let state =
            if point.pending { context.shared.state() } else { context.shared.world.view(point.number) };
        let nonce = state.account(address).map_err(no_state)?.unwrap_or_default().nonce;
        Ok(U64::from(pool.map_or(nonce, |pool| pool.next_nonce(&address, nonce))))
    })?;
    module.register_blocking_method("eth_getCode", |params, context, _| -> Answer<Bytes> {
        let mut params = params.sequence();
        let (address, id): (Address, _) = (params.next()?, params.optional_next()?);
        let state = context.state(id)?;
        let account = state.account(address).map_err(no_state)?.unwrap_or_default();
        Ok(state.code(account.code_hash).original_bytes())
    })?;
    module.register_blocking_method("eth_getStorageAt", |params, context, _| -> Answer<B256> {
        let mut params = params.sequence();
        let (address, slot): (Address, JsonStorageKey) = (params.next()?, params.next()?);
        let state = context.state(params.optional_next()?)?;
        Ok(state.slot(address, slot.as_b256().into()).map_err(no_state)?.into())
    })?;
    Ok(())
}
