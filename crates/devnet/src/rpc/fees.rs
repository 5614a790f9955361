//! What a transaction should pay.

use std::sync::Arc;
use std::time::Instant;

use alloy::eips::BlockNumberOrTag;
use alloy::primitives::{U64, U256};
use alloy::rpc::types::FeeHistory;
use jsonrpsee::RpcModule;
use jsonrpsee::core::RegisterMethodError;

use super::context::{Context, in_time};
use super::error::{Answer, invalid, no_header};
use crate::chain::{Block, next_base_fee};

/// As other nodes limit it.
const MAX_BLOCKS: u64 = 1_024;
/// The tip to offer while nobody offered one lately: 1 gwei, as development nodes suggest.
const DEFAULT_TIP: u128 = 1_000_000_000;
/// Blocks whose tips are looked at.
const RECENT: u64 = 20;

pub(super) fn register(module: &mut RpcModule<Context>) -> Result<(), RegisterMethodError> {
    module.register_async_method("eth_gasPrice", |_, context, _| async move {
        let price = |context: &Context, _| {
            Ok(U256::from(suggested_tip(context)? + u128::from(context.shared.base_fee())))
        };
        context.execute(price).await
    })?;
    module.register_async_method("eth_maxPriorityFeePerGas", |_, context, _| async move {
        context.execute(|context, _| Ok(U256::from(suggested_tip(context)?))).await
    })?;
    module
        .register_method("eth_baseFee", |_, context, _| Answer::Ok(U64::from(context.shared.base_fee())))?;
    module.register_blocking_method("eth_blobBaseFee", |_, _, _| Answer::Ok(U64::from(1)))?;
    module.register_async_method("eth_feeHistory", |params, context, _| async move {
        let mut params = params.sequence();
        let (count, newest): (U64, BlockNumberOrTag) = (params.next()?, params.next()?);
        let percentiles = params.optional_next::<Vec<f64>>()?;
        context
            .execute(move |context, deadline| history(context, count.to(), newest, percentiles, deadline))
            .await
    })?;
    Ok(())
}

/// The median of the tips in the recent blocks.
pub(super) fn suggested_tip(context: &Context) -> Answer<u128> {
    let head = context.shared.head().number();
    let mut tips = Vec::new();
    for number in head.saturating_sub(RECENT - 1)..=head {
        if let Some(block) = context.block(number)? {
            tips.extend(block.txs.iter().filter_map(|tx| tx.tip(block.base_fee())));
        }
    }
    tips.sort_unstable();
    Ok(tips.get(tips.len() / 2).copied().unwrap_or(DEFAULT_TIP))
}

fn history(
    context: &Context,
    count: u64,
    newest: BlockNumberOrTag,
    percentiles: Option<Vec<f64>>,
    deadline: Instant,
) -> Answer<FeeHistory> {
    let percentiles = percentiles.unwrap_or_default();
    let in_order = percentiles.windows(2).all(|pair| pair[0] < pair[1]);
    if !in_order || percentiles.len() > 100 || percentiles.iter().any(|one| !(0.0..=100.0).contains(one)) {
        return Err(invalid(
            "invalid reward percentiles: they are at most 100, from 0 to 100, each above the one before",
        ));
    }
    if count == 0 {
        return Ok(FeeHistory::default());
    }
    let point = context.find(newest.into()).ok_or_else(no_header)?;
    let pending = if point.pending { Some(context.pending()?.block.clone()) } else { None };
    let newest = pending.as_ref().map_or(point.number, |block| block.number());
    let count = count.min(MAX_BLOCKS).min(newest + 1);
    let oldest_block = newest + 1 - count;
    let mut history = FeeHistory { oldest_block, ..FeeHistory::default() };
    let mut rewards = Vec::new();
    let mut last: Option<Arc<Block>> = None;
    for number in oldest_block..=newest {
        in_time(deadline, context.options.call_timeout)?;
        let block = match &pending {
            Some(block) if number == newest => block.clone(),
            _ => context.block(number)?.ok_or_else(no_header)?,
        };
        history.base_fee_per_gas.push(block.base_fee().into());
        history.gas_used_ratio.push(block.header.gas_used as f64 / block.header.gas_limit as f64);
        history.base_fee_per_blob_gas.push(1);
        history.blob_gas_used_ratio.push(0.0);
        rewards.push(block_rewards(&block, &percentiles));
        last = Some(block);
    }
    // The fee of the block after the newest follows from it.
    if let Some(block) = last {
        history.base_fee_per_gas.push(next_base_fee(&block.header).into());
        history.base_fee_per_blob_gas.push(1);
    }
    history.reward = (!percentiles.is_empty()).then_some(rewards);
    Ok(history)
}

/// The tips at some percentiles of a block's gas.
fn block_rewards(block: &Block, percentiles: &[f64]) -> Vec<u128> {
    let mut tips: Vec<(u128, u64)> = block
        .txs
        .iter()
        .enumerate()
        .map(|(index, tx)| (tx.tip(block.base_fee()).unwrap_or_default(), block.gas_used(index)))
        .collect();
    tips.sort_unstable();
    let at = |percentile: &f64| {
        let wanted = (block.header.gas_used as f64 * percentile / 100.0) as u64;
        let mut sum = 0;
        let reached = tips.iter().find(|(_, gas)| {
            sum += gas;
            sum >= wanted
        });
        reached.or(tips.last()).map_or(0, |(tip, _)| *tip)
    };
    percentiles.iter().map(at).collect()
}
