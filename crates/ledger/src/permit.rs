//! Approval and entry in one transaction: what both contracts that take TIDE have in common.

use alloy::{
    primitives::{Address, U256},
    signers::local::PrivateKeySigner,
    sol,
    sol_types::{SolCall, SolStruct, eip712_domain},
};
use tidemill_types::Amount;

use crate::{
    Chain, ChainError,
    contracts::{JobEscrow, Tide, sign},
};

/// How long a permit may wait for its block, in seconds.
const PERMIT_LASTS_S: u64 = 60 * 60;

sol! {
    /// EIP-2612.
    struct Permit {
        address owner;
        address spender;
        uint256 value;
        uint256 nonce;
        uint256 deadline;
    }
}

/// The call of `spender` that takes `amount` by a permit and then makes `entry`. Somebody else may use the permit up
/// first, or a signature may be void: the entry finds out by itself whether it may take.
///
/// # Errors
/// Where the chain does not say which number the permit must have, or what time it is.
pub(crate) async fn with_permit(
    chain: &Chain,
    tide: Address,
    spender: Address,
    owner: &PrivateKeySigner,
    amount: Amount,
    entry: Vec<u8>,
) -> Result<Vec<u8>, ChainError> {
    let nonce = chain.read(tide, &Tide::noncesCall { owner: owner.address() }).await?;
    let deadline = U256::from(chain.now().await?.saturating_add(PERMIT_LASTS_S));
    let value = U256::from(amount.wei());
    let permit = Permit { owner: owner.address(), spender, value, nonce, deadline };
    let domain = eip712_domain! {
        name: "Tide",
        version: "1",
        chain_id: chain.chain_id(),
        verifying_contract: tide,
    };
    let signature = sign(owner, &permit.eip712_signing_hash(&domain));
    // The same two functions in both contracts, by PermitEntry.
    let permit = JobEscrow::permitCall {
        value,
        deadline,
        v: 27 + u8::from(signature.v()),
        r: signature.r().into(),
        s: signature.s().into(),
    };
    let data = vec![permit.abi_encode().into(), entry.into()];
    Ok(JobEscrow::multicallCall { data }.abi_encode())
}
