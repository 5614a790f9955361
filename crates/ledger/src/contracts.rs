//! Tidemill's contracts: bindings and code, from the artifacts that this repository commits.

// The bindings carry the documentation of the contracts' interfaces (contracts/src/interfaces).
#![allow(missing_docs, clippy::pub_underscore_fields, clippy::too_many_arguments)]

use alloy::{
    primitives::{Address, B256, Bytes, Signature, hex, keccak256},
    signers::{SignerSync, local::PrivateKeySigner},
    sol,
    sol_types::SolInterface,
};
use tidemill_types::Amount;

sol!(AccessManager, "../../contracts/artifacts/AccessManager.json");
sol!(
    #[derive(Debug)]
    ExitQueue,
    "../../contracts/artifacts/ExitQueue.json"
);
sol!(
    #[derive(Debug)]
    JobEscrow,
    "../../contracts/artifacts/JobEscrow.json"
);
sol!(
    #[derive(Debug)]
    LiquidStake,
    "../../contracts/artifacts/LiquidStake.json"
);
sol!(
    #[derive(Debug)]
    ProviderStaking,
    "../../contracts/artifacts/ProviderStaking.json"
);
sol!(RateFeed, "../../contracts/artifacts/RateFeed.json");
sol!(
    #[derive(Debug)]
    Tide,
    "../../contracts/artifacts/Tide.json"
);

/// In a module of its own: its parts have the names of the token's.
mod share {
    alloy::sol!(StTide, "../../contracts/artifacts/StTide.json");
}
pub use self::share::StTide;

/// A library that contracts are linked to: code that runs in their name, deployed once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Library {
    /// What leaving at once costs; for LiquidStake.
    ExitFee,
    /// The keys that sign for operators; for ProviderStaking.
    OperatorKeys,
    /// Stake that moves to another provider; for ProviderStaking.
    Redelegations,
    /// How much each slasher may take, and the taking; for ProviderStaking.
    SlashCases,
    /// What was withdrawn of the protocol's fees; for JobEscrow.
    FeeLog,
}

impl Library {
    /// What is sent to deploy it.
    pub(crate) fn code(self) -> Bytes {
        // Not by `sol!`: who calls it is compiled to, and what it emits and reverts with is in its contract's interface.
        let artifact = match self {
            Self::ExitFee => include_str!("../../../contracts/artifacts/ExitFee.json"),
            Self::OperatorKeys => include_str!("../../../contracts/artifacts/OperatorKeys.json"),
            Self::Redelegations => include_str!("../../../contracts/artifacts/Redelegations.json"),
            Self::SlashCases => include_str!("../../../contracts/artifacts/SlashCases.json"),
            Self::FeeLog => include_str!("../../../contracts/artifacts/FeeLog.json"),
        };
        let artifact: serde_json::Value = serde_json::from_str(artifact).expect("artifacts are JSON");
        let code = artifact.get("bytecode").and_then(serde_json::Value::as_str);
        code.expect("artifacts have code").parse().expect("code is hexadecimal")
    }

    /// What stands in a contract's code in place of its address.
    fn mark(self) -> Address {
        let path = match self {
            Self::ExitFee => "src/libraries/ExitFee.sol:ExitFee",
            Self::OperatorKeys => "src/libraries/OperatorKeys.sol:OperatorKeys",
            Self::Redelegations => "src/libraries/Redelegations.sol:Redelegations",
            Self::SlashCases => "src/libraries/SlashCases.sol:SlashCases",
            Self::FeeLog => "src/libraries/FeeLog.sol:FeeLog",
        };
        // The compiler's mark, 34 digits between signs that are none, with `fff` for these as `cargo xtask contracts`
        // writes it.
        let digits = hex::encode(keccak256(path));
        format!("0xfff{}fff", &digits[..34]).parse().expect("40 digits are an address")
    }
}

/// The code of a contract with the addresses of all libraries that it calls.
pub(crate) fn linked(code: &Bytes, libraries: &[(Library, Address)]) -> Bytes {
    let mut linked = code.to_vec();
    for (library, address) in libraries {
        let mark = library.mark();
        let mut at = 0;
        while let Some(place) = linked[at..].windows(20).position(|window| window == mark.as_slice()) {
            linked[at + place..at + place + 20].copy_from_slice(address.as_slice());
            at += place + 20;
        }
    }
    linked.into()
}

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
    if let Ok(error) = LiquidStake::LiquidStakeErrors::abi_decode(data) {
        return Some(of_liquid_stake(&error));
    }
    if let Ok(error) = ExitQueue::ExitQueueErrors::abi_decode(data) {
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
        E::DelegationOverRoom(error) => format!(
            "the provider takes only {} more of delegations now, not {}: by its own bond, and by what it allows",
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
            format!("the result key {} belongs to the account {} for ever", error.key, error.operator)
        }
        error => named(&format!("{error:?}")),
    }
}

fn of_liquid_stake(error: &LiquidStake::LiquidStakeErrors) -> String {
    use LiquidStake::LiquidStakeErrors as E;
    match error {
        E::DepositOverMax(error) => format!(
            "the liquid stake takes only {} more now, not {}: its providers take no more",
            tide(error.most),
            tide(error.wanted)
        ),
        E::WithdrawOverMax(error) => format!(
            "only {} can leave at once now, not {}: by the buffer, or for an open case; the queue takes all",
            tide(error.most),
            tide(error.wanted)
        ),
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
        let error = ProviderStaking::DelegationOverRoom {
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

    #[test]
    fn libraries_are_linked_wherever_they_are_called() {
        let of_staking = [Library::OperatorKeys, Library::Redelegations, Library::SlashCases];
        let of_escrow = [Library::FeeLog];
        let of_liquid = [Library::ExitFee];
        for (code, libraries) in [
            (&ProviderStaking::BYTECODE, &of_staking[..]),
            (&JobEscrow::BYTECODE, &of_escrow[..]),
            (&LiquidStake::BYTECODE, &of_liquid[..]),
        ] {
            let count = |code: &Bytes, address: Address| {
                code.windows(20).filter(|window| *window == address.as_slice()).count()
            };
            let place = Address::repeat_byte(0xab);
            for library in libraries {
                let marks = count(code, library.mark());
                assert!(marks > 0, "{library:?}");
                let linked = linked(code, &[(*library, place)]);
                assert_eq!(count(&linked, library.mark()), 0);
                assert_eq!(count(&linked, place), marks);
                assert_eq!(linked.len(), code.len());
                assert!(library.code().len() > 100);
            }
        }
    }
}
