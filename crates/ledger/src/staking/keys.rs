//! Keys that sign vouchers for a coordinator, whose own account can stay cold or be a contract.

use alloy::{
    primitives::{Address, B256, Bytes},
    signers::local::PrivateKeySigner,
    sol_types::SolCall,
};

use super::{Staking, StakingError};
use crate::contracts::ProviderStaking;

/// Whose key a voucher key is, and since when.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VoucherKey {
    /// The coordinator, whose bond answers for what the key signs. The key is its for ever.
    pub coordinator: Address,
    /// Since when, in seconds since 1970 by the chain's clock.
    pub bound_at_s: u64,
    /// Until when, if it is not in use any more.
    pub unbound_at_s: Option<u64>,
}

impl Staking {
    /// What is known of a voucher key; none where nobody ever bound it.
    ///
    /// # Errors
    /// [`StakingError::Read`] when the ledger does not answer.
    pub async fn voucher_key(&self, key: Address) -> Result<Option<VoucherKey>, StakingError> {
        let call = ProviderStaking::voucherKeyRecordCall { voucherKey: key };
        let record = self.read("a voucher key", self.staking, call).await?;
        let (bound_at_s, unbound_at_s): (u64, u64) = (record.boundAt.to(), record.unboundAt.to());
        Ok((record.coordinator != Address::ZERO).then_some(VoucherKey {
            coordinator: record.coordinator,
            bound_at_s,
            unbound_at_s: (unbound_at_s != 0).then_some(unbound_at_s),
        }))
    }

    /// One call with which an account becomes a coordinator and binds a key that signs vouchers for it.
    pub fn register_with_voucher_key(&self, coordinator: Address, key: &PrivateKeySigner) -> Vec<u8> {
        let data = [self.register_coordinator(B256::ZERO), self.bind_voucher_key(coordinator, key)];
        ProviderStaking::multicallCall { data: data.map(Bytes::from).to_vec() }.abi_encode()
    }

    /// The call with which a coordinator takes a voucher key out of use: no more escrows are opened with it.
    pub fn unbind_voucher_key(&self, key: Address) -> Vec<u8> {
        ProviderStaking::unbindVoucherKeyCall { voucherKey: key }.abi_encode()
    }
}
