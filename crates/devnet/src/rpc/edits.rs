//! What development tools do to the chain by hand: change accounts, speak for them, go back.
//!
//! Each change makes a block. So what the log, its commitments and the state of earlier blocks mean stays as it is, and
//! a restart sees what was changed. Going back cuts blocks off, on the disk too; checkpoints themselves and the accounts
//! that a client speaks for are forgotten at a restart.

use alloy::primitives::{Address, Bytes, U64, U256};
use jsonrpsee::RpcModule;
use jsonrpsee::core::RegisterMethodError;
use jsonrpsee::types::Params;

use super::context::Context;
use super::dev::{Number, ask};
use super::error::{Answer, invalid, no_state};
use crate::chain::Edit;
use crate::producer::Command;

/// Reads an edit from the parameters of its method: the account, and what it gets.
type Read = fn(&Params<'_>) -> Answer<(Address, Edit)>;

pub(super) fn register(module: &mut RpcModule<Context>) -> Result<(), RegisterMethodError> {
    let edits: [([&'static str; 2], Read); 4] = [
        (["hardhat_setBalance", "anvil_setBalance"], |params| {
            let (address, balance) = params.parse::<(Address, U256)>()?;
            Ok((address, Edit::Balance(balance)))
        }),
        (["hardhat_setNonce", "anvil_setNonce"], |params| {
            let (address, nonce) = params.parse::<(Address, Number)>()?;
            Ok((address, Edit::Nonce(nonce.get())))
        }),
        (["hardhat_setCode", "anvil_setCode"], |params| {
            let (address, code) = params.parse::<(Address, Bytes)>()?;
            Ok((address, Edit::Code(code)))
        }),
        (["hardhat_setStorageAt", "anvil_setStorageAt"], |params| {
            let (address, slot, value) = params.parse::<(Address, U256, U256)>()?;
            Ok((address, Edit::Slot { slot, value }))
        }),
    ];
    for (names, read) in edits {
        for name in names {
            module.register_async_method(name, move |params, context, _| async move {
                let (address, edit) = read(&params)?;
                check(&context, address, &edit)?;
                ask(&context, |reply| Command::Edit { address, edit, reply }).await?;
                Answer::Ok(true)
            })?;
        }
    }
    for name in ["hardhat_impersonateAccount", "anvil_impersonateAccount"] {
        module.register_method(name, |params, context, _| {
            context.spoken_for().insert(params.one()?);
            Answer::Ok(true)
        })?;
    }
    for name in ["hardhat_stopImpersonatingAccount", "anvil_stopImpersonatingAccount"] {
        module.register_method(name, |params, context, _| -> Answer<bool> {
            Ok(context.spoken_for().remove(&params.one::<Address>()?))
        })?;
    }
    for name in ["evm_snapshot", "anvil_snapshot"] {
        module.register_async_method(name, |_, context, _| async move {
            ask(&context, |reply| Command::TakeCheckpoint { reply }).await.map(U64::from)
        })?;
    }
    for name in ["evm_revert", "anvil_revert"] {
        module.register_async_method(name, |params, context, _| async move {
            let checkpoint = params.one::<Number>()?.get();
            ask(&context, |reply| Command::GoBack { checkpoint, reply }).await
        })?;
    }
    Ok(())
}

/// A nonce that falls would let transactions be repeated, and one at the end of numbers leaves none.
fn check(context: &Context, address: Address, edit: &Edit) -> Answer<()> {
    let Edit::Nonce(nonce) = edit else { return Ok(()) };
    let former = context.shared.state().account(address).map_err(no_state)?.unwrap_or_default().nonce;
    if (former..u64::MAX).contains(nonce) {
        return Ok(());
    }
    Err(invalid(format!("the nonce of {address} is {former}: it can rise to below 2^64 - 1, and not fall")))
}
