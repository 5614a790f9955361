//! Tidemill's contracts: bindings and code, from the artifacts that this repository commits.

// The bindings carry the documentation of the contracts' interfaces (contracts/src/interfaces).
#![allow(missing_docs, clippy::pub_underscore_fields, clippy::too_many_arguments)]

use alloy::{
    primitives::{Address, B256, Bytes, Signature},
    signers::{SignerSync, local::PrivateKeySigner},
    sol,
    sol_types::SolInterface,
};
use tidemill_types::Amount;

sol!(AccessManager, "../../contracts/artifacts/AccessManager.json");
sol!(
    #[derive(Debug)]
    JobEscrow,
    "../../contracts/artifacts/JobEscrow.json"
);
sol!(
    #[derive(Debug)]
    ProviderStaking,
    "../../contracts/artifacts/ProviderStaking.json"
);
sol!(
    #[derive(Debug)]
    Tide,
    "../../contracts/artifacts/Tide.json"
);

/// An address as contracts have it.
pub fn evm(address: tidemill_types::Address) -> Address {
    Address::from(address.0)
}

/// An address as the rest of Tidemill has it.
pub fn ours(address: Address) -> tidemill_types::Address {
    tidemill_types::Address(address.0.0)
}

pub(crate) fn sign(key: &PrivateKeySigner, digest: &B256) -> Signature {
    key.sign_hash_sync(digest).expect("a key in memory signs every digest")
}

/// A custom error of one of the contracts, in words.
pub(crate) fn error_text(data: &Bytes) -> Option<String> {
    if let Ok(error) = ProviderStaking::ProviderStakingErrors::abi_decode(data) {
        return Some(of_staking(&error));
    }
    if let Ok(error) = JobEscrow::JobEscrowErrors::abi_decode(data) {
        return Some(named(&format!("{error:?}")));
    }
    match Tide::TideErrors::abi_decode(data).ok()? {
        Tide::TideErrors::ERC20InsufficientBalance(error) => Some(format!(
            "{} has {} and would need {}",
            error.sender,
            tide(error.balance),
            tide(error.needed)
        )),
        error => Some(named(&format!("{error:?}"))),
    }
}

fn of_staking(error: &ProviderStaking::ProviderStakingErrors) -> String {
    use ProviderStaking::ProviderStakingErrors as E;
    match error {
        E::DelegationOverRatio(error) => format!(
            "the provider's own bond carries only {} more of delegations, not {}",
            tide(error.room),
            tide(error.wanted)
        ),
        E::NotRegistered(error) => {
            let role = if error.role == 0 { "provider" } else { "coordinator" };
            format!("{} is not registered as a {role}", error.operator)
        }
        E::EntriesArePaused(error) => format!(
            "the guardian has closed the entries until {} seconds after 1970; withdrawing goes on",
            error.until
        ),
        E::KeyTaken(error) => {
            format!("the result key {} belongs to the account {} for ever", error.resultKey, error.operator)
        }
        error => named(&format!("{error:?}")),
    }
}

/// An error by its name and its parts, as `Debug` gives them, without the name of its variant before them.
fn named(debug: &str) -> String {
    let inner = debug.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
    format!("error {}", inner.unwrap_or(debug))
}

fn tide(wei: alloy::primitives::U256) -> String {
    match u128::try_from(wei) {
        Ok(wei) => Amount::from_wei(wei).to_string(),
        Err(_) => format!("{wei} wei of TIDE"),
    }
}

#[cfg(test)]
mod tests {
    use alloy::{
        primitives::{Address, U256},
        sol_types::SolError,
    };

    use super::*;

    #[test]
    fn errors_of_contracts_are_said_in_words() {
        let error = ProviderStaking::DelegationOverRatio {
            room: U256::from(1),
            wanted: U256::from(10).pow(U256::from(18)),
        };
        let text = error_text(&error.abi_encode().into()).expect("it is known");
        assert!(text.contains("1 TIDE") && text.contains("own bond"), "{text}");
        let error = Tide::ERC20InsufficientBalance {
            sender: Address::ZERO,
            balance: U256::ZERO,
            needed: U256::from(5),
        };
        assert!(error_text(&error.abi_encode().into()).expect("it is known").contains("would need"));
        assert_eq!(error_text(&Bytes::from_static(&[1, 2, 3, 4])), None);
        assert_eq!(named("ZeroAmount(ZeroAmount)"), "error ZeroAmount");
    }
}
