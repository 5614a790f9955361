//! Execution without a transaction: `eth_call`, `eth_estimateGas`, `eth_createAccessList`.

mod estimate;
mod overrides;
mod run;

use alloy::eips::BlockId;
use alloy::primitives::{Bytes, U64, U256};
use alloy::rpc::types::{AccessList, AccessListItem, AccessListResult, TransactionRequest};
use jsonrpsee::RpcModule;
use jsonrpsee::core::RegisterMethodError;
use revm::context::result::ExecutionResult;

use super::context::Context;
use super::error::{Answer, halted, reverted};
pub(super) use estimate::estimate;
pub(super) use overrides::Overrides;
pub(super) use run::Call;

pub(super) fn register(module: &mut RpcModule<Context>) -> Result<(), RegisterMethodError> {
    module.register_async_method("eth_call", |params, context, _| async move {
        let mut params = params.sequence();
        let (request, id): (TransactionRequest, Option<BlockId>) = (params.next()?, params.optional_next()?);
        let overrides = Overrides::read(&mut params, true)?;
        let execute = move |context: &Context, deadline| {
            let call = Call::new(context, &request, context.point(id)?, overrides, deadline)?;
            match call.run(call.gas_limit())?.result {
                ExecutionResult::Success { output, .. } => Answer::<Bytes>::Ok(output.into_data()),
                ExecutionResult::Revert { output, .. } => Err(reverted(output)),
                ExecutionResult::Halt { reason, .. } => Err(halted(&reason)),
            }
        };
        context.execute(execute).await
    })?;
    module.register_async_method("eth_estimateGas", |params, context, _| async move {
        let mut params = params.sequence();
        let (request, id): (TransactionRequest, Option<BlockId>) = (params.next()?, params.optional_next()?);
        let overrides = Overrides::read(&mut params, true)?;
        let execute = move |context: &Context, deadline| {
            let point = context.point(Some(id.unwrap_or(BlockId::pending())))?;
            let call = Call::new(context, &request, point, overrides, deadline)?;
            estimate(&call).map(U64::from)
        };
        context.execute(execute).await
    })?;
    module.register_async_method("eth_createAccessList", |params, context, _| async move {
        let mut params = params.sequence();
        let (request, id): (TransactionRequest, Option<BlockId>) = (params.next()?, params.optional_next()?);
        let overrides = Overrides::read(&mut params, false)?;
        let execute = move |context: &Context, deadline| {
            let point = context.point(Some(id.unwrap_or(BlockId::pending())))?;
            let call = Call::new(context, &request, point, overrides, deadline)?;
            access_list(call)
        };
        context.execute(execute).await
    })?;
    Ok(())
}

/// What a call touches, and its gas with that list. What it touches may depend on the list's being warm no more
/// than on the gas that is left, so one pass finds it.
fn access_list(mut call: Call<'_>) -> Answer<AccessListResult> {
    let ran = call.run(call.gas_limit())?;
    let implied = call.implied_addresses();
    let touched = ran.state.iter().filter(|(address, account)| {
        // For an account that is warm anyway, an entry without slots costs and gains nothing.
        !account.storage.is_empty() || !implied.contains(*address)
    });
    let mut items: Vec<AccessListItem> = touched
        .map(|(address, account)| {
            let mut storage_keys: Vec<_> = account.storage.keys().map(|slot| (*slot).into()).collect();
            storage_keys.sort_unstable();
            AccessListItem { address: *address, storage_keys }
        })
        .collect();
    items.sort_unstable_by_key(|item| item.address);
    let access_list = AccessList(items);
    call.set_access_list(access_list.clone());
    let with = call.run(call.gas_limit())?.result;
    let error = match &with {
        ExecutionResult::Success { .. } => None,
        ExecutionResult::Revert { output, .. } => Some(reverted(output.clone()).message().to_string()),
        ExecutionResult::Halt { reason, .. } => Some(halted(reason).message().to_string()),
    };
    Ok(AccessListResult { access_list, gas_used: U256::from(with.tx_gas_used()), error })
}
