//! Result keys, and the signature under a batch of results.
//!
//! A node has two keys: the ed25519 key that is its name in the network, and a secp256k1 key whose signatures
//! an EVM can check. Each vouches for the other ([`KeyBinding`]). This module owns the second one and every
//! text that it signs; the first belongs to the network.

mod leaf;

use std::{borrow::Cow, fmt};

use alloy_primitives::{U256, keccak256};
use alloy_sol_types::{Eip712Domain, SolStruct};
use k256::ecdsa::{RecoveryId, Signature, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};

pub use self::leaf::{LeafError, SignedLeaf};
use crate::{Address, Chain, NodeId};

/// The secret key with which a node signs results.
pub struct ResultKey {
    /// Overwrites itself when it is dropped.
    key: SigningKey,
    address: Address,
}

/// 32 bytes that are no secret key: zero, or not below the order of the curve. Of random bytes that happens
/// once in 2^128 times; whoever draws them draws again.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("these 32 bytes are not a secp256k1 secret key")]
pub struct ResultKeyError;

/// A signature that a contract can check: 32 bytes `r`, 32 bytes `s`, and `v`, which is 27 or 28. It says
/// nothing until it is verified.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "Split", into = "Split")]
pub struct Signature65(pub [u8; 65]);

/// What a provider signs under a batch of results.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct BatchTerms {
    /// The root of the tree over the results' leaves; see [`crate::merkle`].
    pub root: [u8; 32],
    /// How many leaves there are.
    pub count: u32,
    /// Who leased them out.
    pub coordinator: NodeId,
    /// Who ran them.
    pub provider: NodeId,
    /// The provider's running number of the batch.
    pub sequence: u64,
}

/// The mutual statement of a node's two keys that they belong together.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct KeyBinding {
    /// The result key's address.
    pub address: Address,
    /// The result key's signature over the node; see [`ResultKey::sign_binding`].
    pub by_result_key: Signature65,
    /// The node key's ed25519 signature over [`binding_message`].
    #[serde(with = "halves")]
    pub by_node_key: [u8; 64],
}

/// A signature that does not hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SignatureError {
    /// No key could have made it.
    #[error("the bytes are not a signature")]
    Malformed,
    /// Its `s` is in the upper half of the range, so that it has a twin. Contracts refuse these.
    #[error("the signature is malleable: its s is in the upper half")]
    Malleable,
    /// It is another key's, or over something else: the two look alike.
    #[error("the signature is by {found} and not by {expected}, or over something else")]
    OtherSigner {
        /// Who should have signed.
        expected: Address,
        /// Whose signature it would be over what should have been signed.
        found: Address,
    },
    /// An amount has more than 96 bits.
    #[error("the amount is more than a contract can read")]
    TooMuch,
}

impl ResultKey {
    /// The key of these bytes: those of a key file, or 32 random ones for a new key.
    ///
    /// # Errors
    /// [`ResultKeyError`] for bytes that are no key.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, ResultKeyError> {
        let key = SigningKey::from_bytes(bytes.into()).map_err(|_| ResultKeyError)?;
        let address = address_of(key.verifying_key());
        Ok(Self { key, address })
    }

    /// The secret, for the key file.
    pub fn to_bytes(&self) -> [u8; 32] {
        self.key.to_bytes().into()
    }

    /// The name by which others know the key.
    pub fn address(&self) -> Address {
        self.address
    }

    /// Signs a batch of results.
    pub fn sign_batch(&self, chain: &Chain, batch: &BatchTerms) -> Signature65 {
        self.sign(&batch_digest(chain, batch))
    }

    /// States that this key signs for the node.
    pub fn sign_binding(&self, chain: &Chain, node: NodeId) -> Signature65 {
        self.sign(&binding_digest(chain, node))
    }

    pub(crate) fn sign(&self, digest: &[u8; 32]) -> Signature65 {
        let signed = self.key.sign_prehash_recoverable(digest);
        let (signature, recovery) = signed
            .expect("r and s are zero for no digest that anyone can find, and 32 bytes are long enough");
        let mut bytes = [0; 65];
        bytes[..64].copy_from_slice(&signature.to_bytes());
        // The other bit, that `r` was reduced, is set once in 2^128 signatures and has no place in `v`.
        bytes[64] = 27 + u8::from(recovery.is_y_odd());
        Signature65(bytes)
    }
}

/// Checks that this address signed this batch for this chain.
///
/// # Errors
/// [`SignatureError`] says what is wrong with the signature.
pub fn verify_batch(
    chain: &Chain,
    batch: &BatchTerms,
    signature: &Signature65,
    signer: Address,
) -> Result<(), SignatureError> {
    verify(&batch_digest(chain, batch), signature, signer)
}

/// What a node key signs to state that the result key of this address signs for it.
pub fn binding_message(address: Address) -> Vec<u8> {
    [b"tidemill 2026 node key for result key\0".as_slice(), &address.0].concat()
}

/// Checks the result key's half of a binding. The node key's half, over [`binding_message`], is checked where
/// node keys are.
///
/// # Errors
/// [`SignatureError`] says what is wrong with the signature.
pub fn verify_result_side(chain: &Chain, node: NodeId, binding: &KeyBinding) -> Result<(), SignatureError> {
    verify(&binding_digest(chain, node), &binding.by_result_key, binding.address)
}

pub(crate) fn verify(
    digest: &[u8; 32],
    signature: &Signature65,
    signer: Address,
) -> Result<(), SignatureError> {
    let (scalars, v) = (&signature.0[..64], signature.0[64]);
    let is_y_odd = match v {
        27 => false,
        28 => true,
        _ => return Err(SignatureError::Malformed),
    };
    let scalars = Signature::from_slice(scalars).map_err(|_| SignatureError::Malformed)?;
    if scalars.normalize_s().is_some() {
        return Err(SignatureError::Malleable);
    }
    let key = VerifyingKey::recover_from_prehash(digest, &scalars, RecoveryId::new(is_y_odd, false))
        .map_err(|_| SignatureError::Malformed)?;
    let found = address_of(&key);
    if found == signer { Ok(()) } else { Err(SignatureError::OtherSigner { expected: signer, found }) }
}

/// The last 20 bytes of the keccak hash of the key's two coordinates.
fn address_of(key: &VerifyingKey) -> Address {
    let point = key.to_encoded_point(false);
    let hash = keccak256(&point.as_bytes()[1..]);
    let mut address = Address::default();
    address.0.copy_from_slice(&hash[12..]);
    address
}

fn batch_digest(chain: &Chain, batch: &BatchTerms) -> [u8; 32] {
    let BatchTerms { root, count, coordinator, provider, sequence } = *batch;
    let batch = eip712::ResultBatch {
        root: root.into(),
        count,
        coordinator: coordinator.0.into(),
        provider: provider.0.into(),
        sequence,
    };
    batch.eip712_signing_hash(&domain(chain)).0
}

fn binding_digest(chain: &Chain, node: NodeId) -> [u8; 32] {
    eip712::NodeBinding { node: node.0.into() }.eip712_signing_hash(&domain(chain)).0
}

fn domain(chain: &Chain) -> Eip712Domain {
    Eip712Domain {
        name: Some(Cow::Borrowed("Tidemill")),
        version: Some(Cow::Borrowed("1")),
        chain_id: Some(U256::from(chain.chain_id)),
        verifying_contract: Some(chain.disputes.0.into()),
        salt: None,
    }
}

impl fmt::Debug for ResultKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ResultKey(secret of {})", self.address)
    }
}

impl fmt::Debug for Signature65 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signature65(0x")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str(")")
    }
}

/// `r`, `s` and `v`: serde has no arrays of more than 32 elements.
type Split = ([u8; 32], [u8; 32], u8);

impl From<Split> for Signature65 {
    fn from((r, s, v): Split) -> Self {
        let mut bytes = [v; 65];
        bytes[..64].copy_from_slice(&join(r, s));
        Self(bytes)
    }
}

impl From<Signature65> for Split {
    fn from(Signature65(bytes): Signature65) -> Self {
        let (r, rest) = bytes.split_first_chunk().expect("65 bytes hold 32");
        let (s, rest) = rest.split_first_chunk().expect("33 bytes hold 32");
        (*r, *s, rest[0])
    }
}

fn join(first: [u8; 32], second: [u8; 32]) -> [u8; 64] {
    let mut both = [0; 64];
    both[..32].copy_from_slice(&first);
    both[32..].copy_from_slice(&second);
    both
}

mod halves {
    //! 64 bytes as twice 32: serde has no arrays of more than 32 elements.

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<S: Serializer>(bytes: &[u8; 64], serializer: S) -> Result<S::Ok, S::Error> {
        let [first, second] = bytes.as_chunks::<32>().0 else { unreachable!("64 bytes are twice 32") };
        (first, second).serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[u8; 64], D::Error> {
        let (first, second) = Deserialize::deserialize(deserializer)?;
        Ok(super::join(first, second))
    }
}

mod eip712 {
    alloy_sol_types::sol! {
        struct ResultBatch {
            bytes32 root;
            uint32 count;
            bytes32 coordinator;
            bytes32 provider;
            uint64 sequence;
        }

        struct NodeBinding {
            bytes32 node;
        }
    }
}

#[cfg(test)]
mod tests;
