//! What only a development ledger does: moving time, making blocks, sending for accounts whose keys everybody knows or
//! that a client speaks for.

use std::time::Duration;

use alloy::consensus::{SignableTransaction, TxEnvelope};
use alloy::eips::BlockId;
use alloy::network::TxSignerSync;
use alloy::primitives::{Address, B256, Signature, U64, U256};
use alloy::rpc::types::TransactionRequest;
use jsonrpsee::RpcModule;
use jsonrpsee::core::RegisterMethodError;
use serde::Deserialize;
use tokio::sync::oneshot;

use super::call::{Call, Overrides, estimate};
use super::context::Context;
use super::error::{Answer, invalid, no_state, not_taken, refused, server};
use super::fees::suggested_tip;
use crate::chain::Tx;
use crate::dev::dev_signers;
use crate::producer::Command;

/// A request for so many blocks is a mistake.
const MAX_BLOCKS: u64 = 100_000;

/// A day.
const MAX_INTERVAL_MS: u64 = 86_400_000;

/// Numbers come as JSON numbers or as hex strings.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(untagged, expecting = "expected a number, as it is or in hexadecimal digits like \"0x1\"")]
pub(super) enum Number {
    Plain(u64),
    Hex(U64),
}

impl Number {
    pub(super) fn get(self) -> u64 {
        match self {
            Number::Plain(number) => number,
            Number::Hex(number) => number.to(),
        }
    }
}

/// `evm_mine` takes a timestamp alone or in an object.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(untagged, expecting = "expected a time, or an object with `timestamp` and `blocks`")]
enum MineOptions {
    Timestamp(Number),
    Options { timestamp: Option<Number>, blocks: Option<Number> },
}

pub(super) fn register(module: &mut RpcModule<Context>) -> Result<(), RegisterMethodError> {
    module.register_async_method("evm_mine", |params, context, _| async move {
        let (timestamp, blocks) = match params.sequence().optional_next::<MineOptions>()? {
            None => (None, None),
            Some(MineOptions::Timestamp(timestamp)) => (Some(timestamp), None),
            Some(MineOptions::Options { timestamp, blocks }) => (timestamp, blocks),
        };
        let timestamp = timestamp.map(Number::get);
        if timestamp.is_some_and(|timestamp| timestamp < context.shared.head().header.timestamp) {
            return Err(invalid("timestamp is before the last block's"));
        }
        let blocks = blocks.map_or(1, Number::get);
        mine(&context, blocks, None, timestamp).await?;
        Answer::Ok("0x0")
    })?;
    for name in ["anvil_mine", "hardhat_mine"] {
        module.register_async_method(name, |params, context, _| async move {
            let mut params = params.sequence();
            let (blocks, interval): (Option<Number>, Option<Number>) =
                (params.optional_next()?, params.optional_next()?);
            mine(&context, blocks.map_or(1, Number::get), interval.map(Number::get), None).await?;
            Answer::Ok(())
        })?;
    }
    for name in ["evm_increaseTime", "anvil_increaseTime"] {
        module.register_method(name, |params, context, _| {
            let seconds = params.one::<Number>()?.get();
            Answer::Ok(context.shared.clock().advance(seconds))
        })?;
    }
    for name in ["evm_setNextBlockTimestamp", "anvil_setNextBlockTimestamp"] {
        module.register_method(name, |params, context, _| {
            let timestamp = params.one::<Number>()?.get();
            if timestamp < context.shared.head().header.timestamp {
                return Err(invalid("timestamp is before the last block's"));
            }
            context.shared.clock().set_next(timestamp);
            Answer::Ok(())
        })?;
    }
    for name in ["evm_setAutomine", "anvil_setAutomine"] {
        module.register_async_method(name, |params, context, _| async move {
            let on = params.one::<bool>()?;
            ask(&context, |reply| Command::SetOnDemand { on, reply }).await
        })?;
    }
    // Hardhat's counts milliseconds, anvil's seconds.
    for (name, unit_ms) in [("evm_setIntervalMining", 1), ("anvil_setIntervalMining", 1_000)] {
        module.register_async_method(name, move |params, context, _| async move {
            let interval_ms = params.one::<Number>()?.get().saturating_mul(unit_ms);
            if interval_ms > MAX_INTERVAL_MS {
                return Err(invalid(format!("an interval is at most {MAX_INTERVAL_MS} ms")));
            }
            let interval = (interval_ms > 0).then(|| Duration::from_millis(interval_ms));
            ask(&context, |reply| Command::SetInterval { interval, reply }).await?;
            Answer::Ok(true)
        })?;
    }
    module.register_async_method("eth_sendTransaction", |params, context, _| async move {
        let request = params.one::<TransactionRequest>()?;
        context.execute(move |context, deadline| sign_and_send(context, request, deadline)).await
    })?;
    Ok(())
}

async fn mine(context: &Context, blocks: u64, interval: Option<u64>, timestamp: Option<u64>) -> Answer<()> {
    if blocks > MAX_BLOCKS {
        return Err(invalid(format!("at most {MAX_BLOCKS} blocks at once")));
    }
    ask(context, |reply| Command::Mine { blocks, interval, timestamp, reply }).await
}

pub(super) async fn ask<T>(
    context: &Context,
    command: impl FnOnce(oneshot::Sender<T>) -> Command,
) -> Answer<T> {
    let (reply, answer) = oneshot::channel();
    let stopped = || server("the ledger has stopped making blocks");
    context.shared.commands.send(command(reply)).await.map_err(|_| stopped())?;
    answer.await.map_err(|_| stopped())
}

/// Fills in what the request leaves open, and signs it with the key of a development account, or in the name of an
/// account that a client speaks for.
fn sign_and_send(
    context: &Context,
    mut request: TransactionRequest,
    deadline: std::time::Instant,
) -> Answer<B256> {
    let from = request.from.unwrap_or_default();
    let signer = dev_signers().into_iter().find(|signer| signer.address() == from);
    let is_spoken_for = context.is_spoken_for(&from);
    if signer.is_none() && !is_spoken_for {
        return Err(server(format!("unknown account {from}: no key is known for it here")));
    }
    request.chain_id = Some(context.shared.rules.chain_id);
    if request.nonce.is_none() {
        let pool = context.shared.pool();
        let nonce = context.shared.state().account(from).map_err(no_state)?.unwrap_or_default().nonce;
        request.nonce = Some(pool.next_nonce(&from, nonce));
    }
    if request.gas.is_none() {
        let point = context.point(Some(BlockId::pending()))?;
        request.gas = Some(estimate(&Call::new(context, &request, point, Overrides::default(), deadline)?)?);
    }
    if request.gas_price.is_none() {
        let tip = request.max_priority_fee_per_gas.map_or_else(|| suggested_tip(context), Ok)?;
        let cap =
            request.max_fee_per_gas.unwrap_or(tip.saturating_add(2 * u128::from(context.shared.base_fee())));
        request.max_priority_fee_per_gas = Some(tip.min(cap));
        request.max_fee_per_gas = Some(cap);
    }
    request.to.get_or_insert(alloy::primitives::TxKind::Create);
    request.value.get_or_insert(U256::ZERO);
    let unsigned = request.build_typed_tx();
    let mut unsigned = unsigned.map_err(|_| invalid("the request is not a whole transaction of any type"))?;
    let signature = match signer {
        Some(signer) => signer.sign_transaction_sync(&mut unsigned),
        None => Ok(stand_in(from)),
    };
    let signature = signature.map_err(|error| server(error.to_string()))?;
    let rules = &context.shared.rules;
    let tx = Tx::signed(TxEnvelope::from(unsigned.into_signed(signature)), from);
    let tx = tx.checked(rules.chain_id, rules.gas_limit).map_err(|error| refused(&error))?;
    let taken = if is_spoken_for { context.shared.submit_for(tx) } else { context.shared.submit(tx) };
    taken.map_err(|error| not_taken(&error))
}

/// What stands in the place of a signature that nobody can make. The sender is part of it, so that transactions of two
/// senders never have one hash.
fn stand_in(sender: Address) -> Signature {
    let mark = U256::ONE << 160;
    Signature::new(U256::from_be_slice(sender.as_slice()) | mark, U256::ONE, false)
}
