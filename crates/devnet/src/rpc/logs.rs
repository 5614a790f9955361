//! Logs, asked for or polled.

use std::time::Instant;

use alloy::eips::BlockNumberOrTag;
use alloy::primitives::U256;
use alloy::rpc::types::{Filter, FilterBlockOption, FilterChanges, Log};
use jsonrpsee::RpcModule;
use jsonrpsee::core::RegisterMethodError;

use super::context::{Context, in_time};
use super::error::{Answer, invalid, limit, server};
use super::filters::Kind;
use super::shapes;
use crate::chain::Block;

pub(super) fn register(module: &mut RpcModule<Context>) -> Result<(), RegisterMethodError> {
    module.register_async_method("eth_getLogs", |params, context, _| async move {
        let filter = params.one::<Filter>()?;
        context.execute(move |context, deadline| search(context, &filter, deadline)).await
    })?;
    module.register_method("eth_newFilter", |params, context, _| -> Answer<U256> {
        let filter = params.one::<Filter>()?;
        if let FilterBlockOption::Range { from_block: Some(from), to_block: Some(to) } = &filter.block_option
            && matches!((from.as_number(), to.as_number()), (Some(from), Some(to)) if from > to)
        {
            return Err(invalid("invalid block range params"));
        }
        add(context, Kind::Logs { filter: Box::new(filter), cursor: context.shared.cursor() })
    })?;
    module.register_method("eth_newBlockFilter", |_, context, _| -> Answer<U256> {
        add(context, Kind::Blocks { cursor: context.shared.cursor() })
    })?;
    module.register_method("eth_newPendingTransactionFilter", |_, context, _| -> Answer<U256> {
        add(context, Kind::Pending { seen: context.shared.arrival_count() })
    })?;
    module.register_method("eth_uninstallFilter", |params, context, _| -> Answer<bool> {
        Ok(context.filters().remove(&params.one()?))
    })?;
    module.register_async_method("eth_getFilterChanges", |params, context, _| async move {
        let id = params.one::<U256>()?;
        context.execute(move |context, deadline| changes(context, id, deadline)).await
    })?;
    module.register_async_method("eth_getFilterLogs", |params, context, _| async move {
        let id = params.one::<U256>()?;
        let filter = match context.filters().get(&id, Instant::now()) {
            Some(Kind::Logs { filter, .. }) => filter.clone(),
            _ => return Err(server("filter not found")),
        };
        context.execute(move |context, deadline| search(context, &filter, deadline)).await
    })?;
    Ok(())
}

/// The logs of one block that a filter lets through.
pub(super) fn matching(block: &Block, filter: &Filter) -> Vec<Log> {
    if !filter.matches_bloom(block.header.logs_bloom) {
        return Vec::new();
    }
    shapes::logs(block).filter(|log| filter.matches(&log.inner)).collect()
}

/// All logs that a filter lets through.
fn search(context: &Context, filter: &Filter, deadline: Instant) -> Answer<Vec<Log>> {
    let (from, to) = match &filter.block_option {
        FilterBlockOption::AtBlockHash(hash) => {
            let block = context.block_by_hash(hash)?.ok_or_else(|| server("unknown block"))?;
            return Ok(matching(&block, filter));
        }
        FilterBlockOption::Range { from_block, to_block } => {
            // The pending block has no hash, so its logs could not be told from those of another one.
            if [from_block, to_block].into_iter().flatten().any(BlockNumberOrTag::is_pending) {
                return Err(invalid("pending logs are not supported"));
            }
            (number(context, *from_block), number(context, *to_block))
        }
    };
    if from > to {
        return Err(invalid("invalid block range params"));
    }
    // As execution-apis#875 says: an empty answer would be read as "there were none".
    if to > context.shared.head().number() {
        return Err(invalid("block range extends beyond current head block"));
    }
    in_range(context, filter, from, to, deadline)
}

fn in_range(context: &Context, filter: &Filter, from: u64, to: u64, deadline: Instant) -> Answer<Vec<Log>> {
    let mut found = Vec::new();
    let most = context.options.max_logs;
    for number in context.shared.archive.matching(from, to, |bloom| filter.matches_bloom(*bloom)) {
        in_time(deadline, context.options.call_timeout)?;
        let Some(block) = context.block(number)? else { break };
        found.extend(matching(&block, filter));
        if found.len() > most {
            return Err(limit(format!(
                "query returned more than {most} results; ask for fewer blocks at once"
            )));
        }
    }
    Ok(found)
}

/// A number beyond the head is left as it is: a filter may be for blocks to come.
fn number(context: &Context, tag: Option<BlockNumberOrTag>) -> u64 {
    match tag.unwrap_or_default() {
        BlockNumberOrTag::Number(number) => number,
        BlockNumberOrTag::Earliest => 0,
        _ => context.shared.head().number(),
    }
}

fn add(context: &Context, kind: Kind) -> Answer<U256> {
    let mut id = [0u8; 16];
    if getrandom::fill(&mut id).is_err() {
        return Err(server("no randomness for a filter's id"));
    }
    let added = context.filters().add(U256::from_be_slice(&id), kind, Instant::now());
    added.ok_or_else(|| limit("too many filters are installed; uninstall some, or subscribe over WebSocket"))
}

/// What is new since the last time. Two polls of one filter at once may both see the same news, never miss any.
fn changes(context: &Context, id: U256, deadline: Instant) -> Answer<FilterChanges> {
    let unknown = || server("filter not found");
    let kind = context.filters().get(&id, Instant::now()).cloned().ok_or_else(unknown)?;
    let (answer, after) = match kind {
        Kind::Blocks { mut cursor } => {
            let head = context.shared.catch_up(&mut cursor);
            let new = cursor.next..=head;
            let hashes = new.filter_map(|number| context.shared.archive.hash(number)).collect();
            cursor.next = head + 1;
            (FilterChanges::Hashes(hashes), Kind::Blocks { cursor })
        }
        Kind::Pending { seen } => {
            let (hashes, seen) = context.shared.arrivals_since(seen);
            (FilterChanges::Hashes(hashes), Kind::Pending { seen })
        }
        Kind::Logs { filter, mut cursor } => {
            let head = context.shared.catch_up(&mut cursor);
            let (from, to) = match &filter.block_option {
                FilterBlockOption::AtBlockHash(_) => (1, 0),
                FilterBlockOption::Range { from_block, to_block } => {
                    let first = from_block.and_then(|tag| tag.as_number()).unwrap_or(0);
                    let last = to_block.and_then(|tag| tag.as_number()).unwrap_or(head);
                    (cursor.next.max(first), head.min(last))
                }
            };
            let logs = if from <= to { in_range(context, &filter, from, to, deadline)? } else { Vec::new() };
            cursor.next = head + 1;
            (FilterChanges::Logs(logs), Kind::Logs { filter, cursor })
        }
    };
    *context.filters().get(&id, Instant::now()).ok_or_else(unknown)? = after;
    Ok(answer)
}
