//! What is signed about a job's money: vouchers, releases, mandates, and the escrow that they are about.
//!
//! The EIP-712 types are those of `contracts/src/libraries/Vouchers.sol`, the rules those of `JobEscrow`. Signatures are
//! plain ones of the key behind an address: code at the address does not count
//! (docs/decisions/0013-plain-signatures-on-vouchers.md).

use std::{borrow::Cow, fmt, str::FromStr};

use alloy_primitives::{U256, aliases::U96, keccak256};
use alloy_sol_types::{Eip712Domain, SolStruct, SolValue};
use serde::{Deserialize, Serialize};

use crate::{Address, Amount, NodeId, ResultKey, Signature65, SignatureError, node, signing};

/// Names an escrow on its chain.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct EscrowId(pub [u8; 32]);

/// What an escrow is opened on. All of it is in the escrow's name, so a voucher holds for these terms alone.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct EscrowTerms {
    /// Whose bond answers for the vouchers, and whose the fees are.
    pub coordinator: Address,
    /// The key that signs the vouchers: the coordinator's own, or one that it has bound.
    pub voucher_key: Address,
    /// What is locked at the opening.
    pub budget: Amount,
    /// When it ends by itself, in seconds of the chain's clock.
    pub deadline_s: u64,
    /// The coordinator's part of every payment, in parts per million.
    pub fee_ppm: u32,
    /// What the job is; zero where the budget is for several jobs.
    pub spec_hash: [u8; 32],
}

/// The JobEscrow contract of a chain: what a signature is for, so that it counts nowhere else.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
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

/// The word of an escrow's requester that a node may spend it on jobs. No contract checks it: it is for the
/// coordinator, who must not let a stranger spend what somebody else has locked.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Mandate {
    /// Which escrow.
    pub escrow: EscrowId,
    /// Who may submit jobs that it pays for.
    pub node: NodeId,
}

/// Something with the signature that gives it force, once that is verified.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Signed<T> {
    /// What is signed.
    pub body: T,
    /// By whom, [`Signable::verify`] finds out.
    pub signature: Signature65,
}

/// What can be signed for an escrow contract.
pub trait Signable: Copy {
    /// What is signed.
    ///
    /// # Errors
    /// [`SignatureError::TooMuch`] for an amount that no contract could read.
    fn digest(&self, contract: &EscrowContract) -> Result<[u8; 32], SignatureError>;

    /// Signs it.
    ///
    /// # Errors
    /// As those of [`Self::digest`].
    fn sign(self, contract: &EscrowContract, key: &ResultKey) -> Result<Signed<Self>, SignatureError> {
        let signature = key.sign(&self.digest(contract)?);
        Ok(Signed { body: self, signature })
    }
}

impl<T: Signable> Signed<T> {
    /// Checks that this key signed it for this contract. Whether the key may speak for whoever it names, the ledger
    /// knows.
    ///
    /// # Errors
    /// [`SignatureError`]
    pub fn verify(&self, contract: &EscrowContract, signer: Address) -> Result<(), SignatureError> {
        signing::verify(&self.body.digest(contract)?, &self.signature, signer)
    }
}

impl EscrowId {
    /// The name of the escrow that `requester` opens on these terms with this salt; known before it is opened.
    pub fn of(requester: Address, terms: &EscrowTerms, salt: [u8; 32]) -> Self {
        let EscrowTerms { coordinator, voucher_key, budget, deadline_s, fee_ppm, spec_hash } = *terms;
        let (budget, deadline, fee) = (U256::from(budget.wei()), U256::from(deadline_s), U256::from(fee_ppm));
        let [requester, coordinator, key] = [requester, coordinator, voucher_key].map(alloy);
        // Solidity encodes numbers of any width as 32 bytes, and these structs as their fields.
        let encoded = (requester, coordinator, key, budget, deadline, fee, spec_hash, salt).abi_encode();
        Self(keccak256(encoded).0)
    }

    /// Its first digits, for people.
    pub fn short(&self) -> String {
        self.to_string()[..10].to_owned()
    }
}

impl EscrowContract {
    fn domain(&self) -> Eip712Domain {
        Eip712Domain {
            name: Some(Cow::Borrowed("Tidemill JobEscrow")),
            version: Some(Cow::Borrowed("1")),
            chain_id: Some(U256::from(self.chain_id)),
            verifying_contract: Some(alloy(self.address)),
            salt: None,
        }
    }
}

impl Signable for Voucher {
    fn digest(&self, contract: &EscrowContract) -> Result<[u8; 32], SignatureError> {
        let voucher = eip712::Voucher {
            escrow: self.escrow.0.into(),
            provider: alloy(self.provider),
            amount: narrow(self.amount)?,
            sequence: self.sequence,
            total: narrow(self.total)?,
        };
        Ok(voucher.eip712_signing_hash(&contract.domain()).0)
    }
}

impl Signable for Release {
    fn digest(&self, contract: &EscrowContract) -> Result<[u8; 32], SignatureError> {
        let amount = narrow(self.amount)?;
        let release =
            eip712::Release { escrow: self.escrow.0.into(), provider: alloy(self.provider), amount };
        Ok(release.eip712_signing_hash(&contract.domain()).0)
    }
}

impl Signable for Mandate {
    fn digest(&self, contract: &EscrowContract) -> Result<[u8; 32], SignatureError> {
        let mandate = eip712::Mandate { escrow: self.escrow.0.into(), node: self.node.0.into() };
        Ok(mandate.eip712_signing_hash(&contract.domain()).0)
    }
}

impl fmt::Display for EscrowId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("0x")?;
        node::write_hex(f, &self.0)
    }
}

impl fmt::Debug for EscrowId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EscrowId({self})")
    }
}

impl FromStr for EscrowId {
    type Err = crate::NameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        node::read_hex(text.strip_prefix("0x").unwrap_or(text), "an escrow").map(Self)
    }
}

fn narrow(amount: Amount) -> Result<U96, SignatureError> {
    U96::try_from(amount.wei()).map_err(|_| SignatureError::TooMuch)
}

fn alloy(address: Address) -> alloy_primitives::Address {
    address.0.into()
}

mod eip712 {
    alloy_sol_types::sol! {
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

        struct Mandate {
            bytes32 escrow;
            bytes32 node;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> ResultKey {
        ResultKey::from_bytes(&[byte; 32]).expect("a key")
    }

    #[test]
    fn a_voucher_counts_for_its_escrow_its_contract_and_its_signer() {
        let coordinator = key(1);
        let contract = EscrowContract { chain_id: 5, address: Address([1; 20]) };
        let voucher = Voucher {
            escrow: EscrowId([2; 32]),
            provider: Address([3; 20]),
            amount: Amount::tide(5),
            sequence: 1,
            total: Amount::tide(9),
        };
        let signed = voucher.sign(&contract, &coordinator).expect("it fits");
        let check = |body: Voucher, contract: &EscrowContract, by| {
            Signed { body, signature: signed.signature }.verify(contract, by)
        };
        assert_eq!(check(voucher, &contract, coordinator.address()), Ok(()));
        let others = [
            Voucher { amount: Amount::tide(6), ..voucher },
            Voucher { sequence: 2, ..voucher },
            Voucher { total: Amount::tide(10), ..voucher },
            Voucher { provider: Address([4; 20]), ..voucher },
            Voucher { escrow: EscrowId([0; 32]), ..voucher },
        ];
        for other in others {
            let refused = check(other, &contract, coordinator.address());
            assert!(matches!(refused, Err(SignatureError::OtherSigner { .. })), "{other:?}: {refused:?}");
        }
        let address = coordinator.address();
        assert!(check(voucher, &EscrowContract { chain_id: 6, ..contract }, address).is_err());
        assert!(check(voucher, &EscrowContract { address: Address([9; 20]), ..contract }, address).is_err());
        assert!(check(voucher, &contract, key(2).address()).is_err());
        let too_much = Voucher { amount: Amount::from_wei(u128::MAX), ..voucher };
        assert_eq!(too_much.digest(&contract), Err(SignatureError::TooMuch));
    }

    #[test]
    fn a_release_a_mandate_and_a_voucher_are_not_each_other() {
        let key = key(3);
        let contract = EscrowContract { chain_id: 5, address: Address([1; 20]) };
        let escrow = EscrowId([8; 32]);
        let release = Release { escrow, provider: key.address(), amount: Amount::tide(5) };
        let signed = release.sign(&contract, &key).expect("it fits");
        assert_eq!(signed.verify(&contract, key.address()), Ok(()));
        let less = Signed { body: Release { amount: Amount::tide(4), ..release }, ..signed };
        assert!(less.verify(&contract, key.address()).is_err());
        let mandate = Mandate { escrow, node: NodeId([0; 32]) };
        let as_mandate = Signed { body: mandate, signature: signed.signature };
        assert!(as_mandate.verify(&contract, key.address()).is_err());
        let signed = mandate.sign(&contract, &key).expect("it has no amounts");
        assert_eq!(signed.verify(&contract, key.address()), Ok(()));
        let other = Signed { body: Mandate { node: NodeId([1; 32]), ..mandate }, ..signed };
        assert!(other.verify(&contract, key.address()).is_err());
    }

    #[test]
    fn an_escrow_s_name_prints_and_parses() {
        let id = EscrowId([0xab; 32]);
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(id.short(), "0xabababab");
        assert!("0x12".parse::<EscrowId>().is_err());
    }
}
