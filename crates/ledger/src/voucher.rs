//! Vouchers and releases: what coordinators and providers sign about an escrow.
//!
//! The types and hashes are those of `contracts/src/libraries/Vouchers.sol`, the rules those of `JobEscrow`. Signatures
//! are plain ones of the key behind the address: code at the address does not count
//! (docs/decisions/0013-plain-signatures-on-vouchers.md).

use std::fmt;

use alloy::{
    primitives::{Address, B256, Signature, U256, aliases::U96, keccak256},
    signers::{SignerSync, local::PrivateKeySigner},
    sol_types::{Eip712Domain, SolStruct, SolValue, eip712_domain},
};
use serde::{Deserialize, Serialize};
use tidemill_types::Amount;

pub use crate::contracts::JobEscrow::Terms;

mod eip712 {
    use alloy::sol;

    sol! {
        struct Voucher {
            bytes32 escrow;
            address provider;
            uint96 amount;
            uint64 sequence;
            uint96 total;
        }

        struct Release {
            bytes32 escrow;
            address provider;
            uint96 amount;
        }
    }
}

/// Names an escrow on its chain.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct EscrowId(pub B256);

/// What an escrow is opened on. All of it is in the escrow's name, so a voucher holds for these terms alone.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct EscrowTerms {
    /// Who signs the vouchers.
    pub coordinator: Address,
    /// What is locked at the opening.
    pub budget: Amount,
    /// When it ends by itself, in seconds of the chain's clock.
    pub deadline_s: u64,
    /// The coordinator's part of every payment, in parts per million.
    pub fee_ppm: u32,
    /// What the job is.
    pub spec_hash: B256,
}

/// The JobEscrow contract of a chain: what a signature is for, so that it counts nowhere else.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct EscrowContract {
    /// The chain's number.
    pub chain_id: u64,
    /// Where the contract is.
    pub address: Address,
}

/// A coordinator's promise to one provider: what it has earned in an escrow altogether. A newer one replaces all before
/// it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Voucher {
    /// Which escrow pays.
    pub escrow: EscrowId,
    /// Whom.
    pub provider: Address,
    /// How much altogether, before fees.
    pub amount: Amount,
    /// Counts the escrow's vouchers. Two different ones of one number prove a fraud.
    pub sequence: u64,
    /// The sum of the newest amounts of all the escrow's providers, this one included.
    pub total: Amount,
}

/// A provider's word that it wants no more than this from an escrow.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Release {
    /// Which escrow.
    pub escrow: EscrowId,
    /// Whose word it is.
    pub provider: Address,
    /// How much altogether, before fees.
    pub amount: Amount,
}

/// A signature that is not what it should be.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SignatureError {
    /// No key could have made it.
    #[error("the signature belongs to no key")]
    Malformed,
    /// It has a twin with the same meaning; contracts refuse it.
    #[error("the signature is malleable: its s is in the upper half")]
    Malleable,
    /// It is somebody else's, or over something else.
    #[error("the signature is by {found} and not by {expected}, or over something else")]
    OtherSigner {
        /// Who should have signed.
        expected: Address,
        /// Whose it would be.
        found: Address,
    },
    /// The amount has more than 96 bits.
    #[error("the amount is more than a voucher can carry")]
    TooMuch,
}

impl EscrowId {
    /// The name of the escrow that `requester` opens on these terms with this salt; known before it is opened.
    pub fn of(requester: Address, terms: &EscrowTerms, salt: B256) -> Self {
        let EscrowTerms { coordinator, budget, deadline_s, fee_ppm, spec_hash } = *terms;
        let (budget, deadline, fee) = (U256::from(budget.wei()), U256::from(deadline_s), U256::from(fee_ppm));
        // Solidity encodes numbers of any width as 32 bytes, and these structs as their fields.
        Self(keccak256((requester, coordinator, budget, deadline, fee, spec_hash, salt).abi_encode()))
    }
}

impl EscrowContract {
    fn domain(&self) -> Eip712Domain {
        eip712_domain! {
            name: "Tidemill JobEscrow",
            version: "1",
            chain_id: self.chain_id,
            verifying_contract: self.address,
        }
    }
}

impl Voucher {
    /// What is signed.
    ///
    /// # Errors
    /// [`SignatureError::TooMuch`]
    pub fn digest(&self, contract: &EscrowContract) -> Result<B256, SignatureError> {
        let voucher = eip712::Voucher {
            escrow: self.escrow.0,
            provider: self.provider,
            amount: narrow(self.amount)?,
            sequence: self.sequence,
            total: narrow(self.total)?,
        };
        Ok(voucher.eip712_signing_hash(&contract.domain()))
    }

    /// Signs as the escrow's coordinator. Whoever signs must have written down the number before: it is never used
    /// again.
    ///
    /// # Errors
    /// [`SignatureError::TooMuch`]
    pub fn sign(
        &self,
        contract: &EscrowContract,
        coordinator: &PrivateKeySigner,
    ) -> Result<Signature, SignatureError> {
        Ok(sign(coordinator, &self.digest(contract)?))
    }

    /// Checks that the coordinator signed it.
    ///
    /// # Errors
    /// [`SignatureError`]
    pub fn verify(
        &self,
        contract: &EscrowContract,
        signature: &Signature,
        coordinator: Address,
    ) -> Result<(), SignatureError> {
        verify(&self.digest(contract)?, signature, coordinator)
    }
}

impl Release {
    /// What is signed.
    ///
    /// # Errors
    /// [`SignatureError::TooMuch`]
    pub fn digest(&self, contract: &EscrowContract) -> Result<B256, SignatureError> {
        let amount = narrow(self.amount)?;
        let release = eip712::Release { escrow: self.escrow.0, provider: self.provider, amount };
        Ok(release.eip712_signing_hash(&contract.domain()))
    }

    /// Signs as the provider: with its account's key, or with a result key that is bound to it.
    ///
    /// # Errors
    /// [`SignatureError::TooMuch`]
    pub fn sign(
        &self,
        contract: &EscrowContract,
        key: &PrivateKeySigner,
    ) -> Result<Signature, SignatureError> {
        Ok(sign(key, &self.digest(contract)?))
    }

    /// Checks that this key signed it. Whether the key may speak for the provider, the ledger knows.
    ///
    /// # Errors
    /// [`SignatureError`]
    pub fn verify(
        &self,
        contract: &EscrowContract,
        signature: &Signature,
        signer: Address,
    ) -> Result<(), SignatureError> {
        verify(&self.digest(contract)?, signature, signer)
    }
}

impl fmt::Display for EscrowId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

fn narrow(amount: Amount) -> Result<U96, SignatureError> {
    U96::try_from(amount.wei()).map_err(|_| SignatureError::TooMuch)
}

fn sign(key: &PrivateKeySigner, digest: &B256) -> Signature {
    key.sign_hash_sync(digest).expect("a key in memory signs every digest")
}

fn verify(digest: &B256, signature: &Signature, signer: Address) -> Result<(), SignatureError> {
    if signature.normalize_s().is_some() {
        return Err(SignatureError::Malleable);
    }
    let found = signature.recover_address_from_prehash(digest).map_err(|_| SignatureError::Malformed)?;
    if found == signer { Ok(()) } else { Err(SignatureError::OtherSigner { expected: signer, found }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_voucher_counts_for_its_escrow_its_contract_and_its_signer() {
        let coordinator = PrivateKeySigner::random();
        let contract = EscrowContract { chain_id: 5, address: Address::repeat_byte(1) };
        let escrow = EscrowId(B256::repeat_byte(2));
        let voucher = Voucher {
            escrow,
            provider: Address::repeat_byte(3),
            amount: Amount::tide(5),
            sequence: 1,
            total: Amount::tide(9),
        };
        let signature = voucher.sign(&contract, &coordinator).expect("it fits");
        let check =
            |voucher: &Voucher, contract: &EscrowContract, by| voucher.verify(contract, &signature, by);
        assert_eq!(check(&voucher, &contract, coordinator.address()), Ok(()));
        let others = [
            Voucher { amount: Amount::tide(6), ..voucher },
            Voucher { sequence: 2, ..voucher },
            Voucher { total: Amount::tide(10), ..voucher },
            Voucher { provider: Address::repeat_byte(4), ..voucher },
            Voucher { escrow: EscrowId(B256::ZERO), ..voucher },
        ];
        for other in others {
            assert!(check(&other, &contract, coordinator.address()).is_err(), "{other:?}");
        }
        assert!(check(&voucher, &EscrowContract { chain_id: 6, ..contract }, coordinator.address()).is_err());
        assert!(
            check(&voucher, &EscrowContract { address: Address::ZERO, ..contract }, coordinator.address())
                .is_err()
        );
        assert!(check(&voucher, &contract, Address::ZERO).is_err());
        let too_much = Voucher { amount: Amount::from_wei(u128::MAX), ..voucher };
        assert_eq!(too_much.digest(&contract), Err(SignatureError::TooMuch));
    }

    #[test]
    fn a_release_is_not_a_voucher() {
        let key = PrivateKeySigner::random();
        let contract = EscrowContract { chain_id: 5, address: Address::repeat_byte(1) };
        let escrow = EscrowId(B256::repeat_byte(8));
        let release = Release { escrow, provider: key.address(), amount: Amount::tide(5) };
        let signature = release.sign(&contract, &key).expect("it fits");
        assert_eq!(release.verify(&contract, &signature, key.address()), Ok(()));
        assert!(
            Release { amount: Amount::tide(4), ..release }
                .verify(&contract, &signature, key.address())
                .is_err()
        );
    }
}
