//! Transactions into the pool.

use alloy::primitives::{B256, Bytes};
use alloy::rpc::types::TransactionReceipt;
use jsonrpsee::RpcModule;
use jsonrpsee::core::RegisterMethodError;

use super::context::Context;
use super::error::{Answer, disk, limit, not_taken, refused};
use super::shapes;
use crate::chain::Tx;

pub(super) fn register(module: &mut RpcModule<Context>) -> Result<(), RegisterMethodError> {
    module.register_async_method("eth_sendRawTransaction", |params, context, _| async move {
        let raw = params.one::<Bytes>()?;
        context.decode(move |context| take(context, raw)).await
    })?;
    // EIP-7966: the receipt, as soon as there is one.
    module.register_async_method("eth_sendRawTransactionSync", |params, context, _| async move {
        let raw = params.sequence().next::<Bytes>()?;
        let mut heads = context.shared.heads();
        let hash = context.clone().decode(move |context| take(context, raw)).await?;
        let receipt = async {
            loop {
                if let Some((number, index)) = context.shared.archive.tx(&hash) {
                    let block = context.shared.archive.block(number).map_err(|error| disk(&error))?;
                    let receipt = block.and_then(|block| shapes::transaction_receipt(&block, index));
                    return Answer::<Option<TransactionReceipt>>::Ok(receipt);
                }
                if heads.changed().await.is_err() {
                    return Ok(None);
                }
            }
        };
        let waited = tokio::time::timeout(context.options.call_timeout, receipt).await;
        waited.unwrap_or_else(|_| {
            Err(limit(format!("the transaction {hash} waits in the pool; ask for its receipt")))
        })
    })?;
    Ok(())
}

fn take(context: &Context, raw: Bytes) -> Answer<B256> {
    let rules = &context.shared.rules;
    let tx = Tx::decode(raw, rules.chain_id, rules.gas_limit).map_err(|error| refused(&error))?;
    context.shared.submit(tx).map_err(|error| not_taken(&error))
}
