//! Blocks, transactions and receipts.

use std::sync::Arc;

use alloy::eips::{BlockId, BlockNumberOrTag};
use alloy::primitives::{B256, Bytes, U64};
use alloy::rpc::types::{Block as RpcBlock, Index, Transaction, TransactionReceipt};
use jsonrpsee::RpcModule;
use jsonrpsee::core::RegisterMethodError;

use super::context::Context;
use super::error::Answer;
use super::shapes;
use crate::chain::Block;

pub(super) fn register(module: &mut RpcModule<Context>) -> Result<(), RegisterMethodError> {
    module.register_blocking_method(
        "eth_getBlockByNumber",
        |params, context, _| -> Answer<Option<RpcBlock>> {
            let mut params = params.sequence();
            let (number, full): (BlockNumberOrTag, Option<bool>) = (params.next()?, params.optional_next()?);
            let block = find(&context, number.into())?;
            Ok(block.map(|block| shapes::block(&block, full.unwrap_or(false))))
        },
    )?;
    module.register_blocking_method(
        "eth_getBlockByHash",
        |params, context, _| -> Answer<Option<RpcBlock>> {
            let mut params = params.sequence();
            let (hash, full): (B256, Option<bool>) = (params.next()?, params.optional_next()?);
            let block = context.block_by_hash(&hash)?;
            Ok(block.map(|block| shapes::block(&block, full.unwrap_or(false))))
        },
    )?;
    module.register_blocking_method("eth_getBlockReceipts", |params, context, _| {
        let block = find(&context, params.one::<BlockId>()?)?;
        Answer::<Option<Vec<TransactionReceipt>>>::Ok(block.map(|block| {
            (0..block.txs.len()).filter_map(|index| shapes::transaction_receipt(&block, index)).collect()
        }))
    })?;
    for name in ["eth_getBlockTransactionCountByNumber", "eth_getBlockTransactionCountByHash"] {
        module.register_blocking_method(name, |params, context, _| -> Answer<Option<U64>> {
            let block = find(&context, params.one::<BlockId>()?)?;
            Ok(block.map(|block| U64::from(block.txs.len())))
        })?;
    }
    for name in ["eth_getUncleCountByBlockNumber", "eth_getUncleCountByBlockHash"] {
        module.register_blocking_method(name, |params, context, _| -> Answer<Option<U64>> {
            Ok(find(&context, params.one::<BlockId>()?)?.map(|_| U64::ZERO))
        })?;
    }
    for name in ["eth_getTransactionByBlockNumberAndIndex", "eth_getTransactionByBlockHashAndIndex"] {
        module.register_blocking_method(name, |params, context, _| -> Answer<Option<Transaction>> {
            let mut params = params.sequence();
            let (id, index): (BlockId, Index) = (params.next()?, params.next()?);
            Ok(find(&context, id)?.and_then(|block| shapes::transaction(&block, index.into())))
        })?;
    }
    module.register_blocking_method(
        "eth_getTransactionByHash",
        |params, context, _| -> Answer<Option<Transaction>> {
            let hash = params.one::<B256>()?;
            // The pool first: a transaction leaves it only after it can be found in a block.
            let waiting = context.shared.pool().get(&hash).map(|tx| shapes::pending(tx));
            Ok(mined(&context, &hash)?
                .and_then(|(block, index)| shapes::transaction(&block, index))
                .or(waiting))
        },
    )?;
    module.register_blocking_method(
        "eth_getRawTransactionByHash",
        |params, context, _| -> Answer<Option<Bytes>> {
            let hash = params.one::<B256>()?;
            let waiting = context.shared.pool().get(&hash).map(|tx| tx.raw().clone());
            Ok(mined(&context, &hash)?
                .and_then(|(block, index)| Some(block.txs.get(index)?.raw().clone()))
                .or(waiting))
        },
    )?;
    module.register_blocking_method("eth_getTransactionReceipt", |params, context, _| {
        let found = mined(&context, &params.one::<B256>()?)?;
        Answer::<Option<TransactionReceipt>>::Ok(
            found.and_then(|(block, index)| shapes::transaction_receipt(&block, index)),
        )
    })?;
    Ok(())
}

fn find(context: &Context, id: BlockId) -> Answer<Option<Arc<Block>>> {
    match context.find(id) {
        Some(point) => context.block_at(point),
        None => Ok(None),
    }
}

fn mined(context: &Context, hash: &B256) -> Answer<Option<(Arc<Block>, usize)>> {
    let Some((number, index)) = context.shared.archive.tx(hash) else { return Ok(None) };
    Ok(context.block(number)?.map(|block| (block, index)))
}
