//! Errors in the codes and words of geth, which is what clients look for.

use alloy::primitives::Bytes;
use alloy::sol_types::{Panic, Revert, SolError};
use jsonrpsee::types::ErrorObjectOwned;
use revm::context::result::{HaltReason, InvalidTransaction};

use crate::chain::{NoState, TxError};
use crate::error::DiskError;
use crate::shared::SubmitError;

/// What a method answers.
pub(super) type Answer<T> = Result<T, ErrorObjectOwned>;

/// Most things that go wrong.
const SERVER: i32 = -32000;
/// More was asked for than is given.
const LIMIT: i32 = -32005;
/// A call reverted; the data is what it reverted with.
const REVERTED: i32 = 3;

pub(super) fn server(message: impl Into<String>) -> ErrorObjectOwned {
    ErrorObjectOwned::owned(SERVER, message, None::<()>)
}

pub(super) fn limit(message: impl Into<String>) -> ErrorObjectOwned {
    ErrorObjectOwned::owned(LIMIT, message, None::<()>)
}

pub(super) fn invalid(message: impl Into<String>) -> ErrorObjectOwned {
    ErrorObjectOwned::owned(-32602, message, None::<()>)
}

pub(super) fn no_header() -> ErrorObjectOwned {
    server("header not found")
}

pub(super) fn no_state(gone: NoState) -> ErrorObjectOwned {
    server(format!("missing trie node: {gone}"))
}

/// Details are for the operator, not for whoever asks.
pub(super) fn disk(error: &DiskError) -> ErrorObjectOwned {
    tracing::error!(%error, "a block could not be read");
    ErrorObjectOwned::owned(-32603, "the block could not be read from the disk", None::<()>)
}

pub(super) fn refused(error: &TxError) -> ErrorObjectOwned {
    server(error.to_string())
}

pub(super) fn not_taken(error: &SubmitError) -> ErrorObjectOwned {
    server(error.to_string())
}

pub(super) fn reverted(output: Bytes) -> ErrorObjectOwned {
    let message = match reason(&output) {
        Some(reason) => format!("execution reverted: {reason}"),
        None => "execution reverted".to_string(),
    };
    ErrorObjectOwned::owned(REVERTED, message, Some(output))
}

/// What a contract says of its failure, where it says it in one of the two forms that every client knows.
fn reason(output: &[u8]) -> Option<String> {
    if let Ok(revert) = Revert::abi_decode(output) {
        return Some(revert.reason);
    }
    Panic::abi_decode(output).ok().map(|panic| panic.to_string())
}

pub(super) fn halted(reason: &HaltReason) -> ErrorObjectOwned {
    server(match reason {
        HaltReason::OutOfGas(_) => "out of gas".to_string(),
        HaltReason::InvalidFEOpcode => "invalid opcode: INVALID".to_string(),
        HaltReason::OpcodeNotFound => "invalid opcode".to_string(),
        HaltReason::OutOfFunds => "insufficient balance for transfer".to_string(),
        HaltReason::CreateCollision => "contract address collision".to_string(),
        other => other.to_string(),
    })
}

pub(super) fn not_callable(error: &InvalidTransaction) -> ErrorObjectOwned {
    use InvalidTransaction as Invalid;
    server(match error {
        Invalid::LackOfFundForMaxFee { fee, balance } => {
            format!("insufficient funds for gas * price + value: have {balance} want {fee}")
        }
        Invalid::CallGasCostMoreThanGasLimit { initial_gas: want, gas_limit: have }
        | Invalid::GasFloorMoreThanGasLimit { gas_floor: want, gas_limit: have } => {
            format!("intrinsic gas too low: have {have}, want {want}")
        }
        Invalid::GasPriceLessThanBasefee => "max fee per gas less than block base fee".to_string(),
        Invalid::PriorityFeeGreaterThanMaxFee => {
            "max priority fee per gas higher than max fee per gas".to_string()
        }
        other => other.to_string(),
    })
}
