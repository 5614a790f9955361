//! A result that can be shown to anyone: a leaf with its way to a signature.

use serde::{Deserialize, Serialize};

use super::{BatchTerms, Signature65, SignatureError, verify_batch};
use crate::{Address, Chain, Claim, ClaimError, Leaf, NodeId, Terms, merkle};

/// One result out of a signed batch, checkable without the rest of it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SignedLeaf {
    /// The ledger that it was signed for.
    pub chain: Chain,
    /// What was asked.
    pub terms: Terms,
    /// What is claimed to have come of it.
    pub claim: Claim,
    /// The way from the leaf to the batch's root.
    pub path: Vec<[u8; 32]>,
    /// The batch.
    pub batch: BatchTerms,
    /// The signature under the batch.
    pub signature: Signature65,
}

/// Why a signed leaf proves nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum LeafError {
    /// Its claim contradicts itself.
    #[error("the leaf's claim contradicts itself")]
    Claim(#[source] ClaimError),
    /// It was leased out by someone else than the batch says.
    #[error("the leaf is for the coordinator {leaf}, its batch for {batch}")]
    OtherCoordinator {
        /// By the leaf's terms.
        leaf: NodeId,
        /// By those of the batch.
        batch: NodeId,
    },
    /// It was run by someone else than the batch says.
    #[error("the leaf is by the provider {leaf}, its batch by {batch}")]
    OtherProvider {
        /// By the leaf's terms.
        leaf: NodeId,
        /// By those of the batch.
        batch: NodeId,
    },
    /// A tree of the batch's size has no path of that length.
    #[error("the leaf's path has {found} steps; a batch of {count} results has at most {most}")]
    PathTooLong {
        /// The path's length.
        found: usize,
        /// How many leaves the batch has.
        count: u32,
        /// The length of the longest path among them.
        most: u32,
    },
    /// The leaf is not one of the batch, or the path is that of another one.
    #[error("the leaf's path does not lead to the root of its batch")]
    NotInBatch,
    /// The batch was not signed by whom it should have been.
    #[error("the signature under the leaf's batch does not hold")]
    Signature(#[source] SignatureError),
}

impl SignedLeaf {
    /// Checks that this signer signed these terms and this claim for this chain. Whether the terms and the
    /// chain are those that were agreed is for the caller to compare, and so is whether the signer's key is
    /// bound to the provider; see [`crate::KeyBinding`].
    ///
    /// # Errors
    /// [`LeafError`] says what does not hold.
    pub fn check(&self, signer: Address) -> Result<(), LeafError> {
        let Self { chain, terms, claim, path, batch, signature } = self;
        let leaf = Leaf::of(terms, claim).map_err(LeafError::Claim)?.hash();
        if terms.coordinator != batch.coordinator {
            return Err(LeafError::OtherCoordinator { leaf: terms.coordinator, batch: batch.coordinator });
        }
        if terms.provider != batch.provider {
            return Err(LeafError::OtherProvider { leaf: terms.provider, batch: batch.provider });
        }
        let most = merkle::depth(batch.count);
        if path.len() > most as usize {
            return Err(LeafError::PathTooLong { found: path.len(), count: batch.count, most });
        }
        if !merkle::verify(&batch.root, &leaf, path) {
            return Err(LeafError::NotInBatch);
        }
        verify_batch(chain, batch, signature, signer).map_err(LeafError::Signature)
    }
}
