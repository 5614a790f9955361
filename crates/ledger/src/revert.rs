//! Why a contract refused, in words.

use alloy::{
    primitives::{Bytes, hex},
    sol_types::{ContractError, GenericContractError, SolInterface},
};

/// The reason of a revert: what the contract said where its bytes can be read, what the node said otherwise.
pub(crate) fn reason(message: &str, data: Option<&Bytes>) -> String {
    let Some(data) = data.filter(|data| !data.is_empty()) else { return message.to_owned() };
    if let Some(known) = crate::contracts::error_text(data) {
        return known;
    }
    match GenericContractError::abi_decode(data) {
        Ok(ContractError::Revert(revert)) => revert.reason,
        Ok(ContractError::Panic(panic)) => panic.to_string(),
        _ => format!("{message} ({})", hex::encode_prefixed(data)),
    }
}
