//! Stake that went from one provider to another at once, and answers for both until a thaw period is over.

use alloy::{
    primitives::{Address, B256, U256},
    sol_types::SolCall,
};
use tidemill_types::Amount;

use super::{Pool, Staking, StakingError, VIRTUAL_SHARES, amount};
use crate::contracts::{IProviderStaking, ProviderStaking};

/// Stake that moved, and is not its holder's as any other yet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Moved {
    /// Names it on the ledger.
    pub id: B256,
    /// The provider that it left, and answers for still.
    pub from: Address,
    /// The provider that it is with.
    pub to: Address,
    /// When it can be settled, in seconds since 1970 by the chain's clock: its move is over, and so is its thaw, if it
    /// leaves.
    pub end: u64,
    /// Whether it is on its way out.
    pub leaves: bool,
    /// What it is worth, less what slashes of the provider that it left cost it.
    pub value: Amount,
}

/// Of the shares that a move is quoted, at least so many in a million must come out of it: a slash or a reward in between
/// may change them, and a room that somebody filled must not.
const LEAST_PPM: u64 = 990_000;

impl Staking {
    /// The call that moves stake from one provider to another: all of it, or as many shares as are worth at least so much.
    ///
    /// # Errors
    /// [`StakingError::NoStake`] or [`StakingError::TooLittle`] when the account has not that much there.
    pub async fn redelegate(
        &self,
        holder: Address,
        from: Address,
        to: Address,
        wanted: Option<Amount>,
    ) -> Result<Vec<u8>, StakingError> {
        let (shares, worth) = self.shares_for(Pool::Delegation(from), holder, wanted).await?;
        let call = ProviderStaking::previewDelegateCall { provider: to, amount: U256::from(worth.wei()) };
        let quoted = self.read("what a move gives", self.staking, call).await?;
        let least = quoted * U256::from(LEAST_PPM) / U256::from(1_000_000);
        Ok(ProviderStaking::redelegateCall { from, to, shares, minShares: least }.abi_encode())
    }

    /// The call that lets stake thaw that moved: all of one move.
    pub fn leave_moved(moved: &Moved) -> Vec<u8> {
        ProviderStaking::undelegateMovedCall { moveId: moved.id }.abi_encode()
    }

    /// What is known of moves, but for those that are settled.
    pub(super) async fn moved(
        &self,
        ids: impl IntoIterator<Item = B256>,
        holder: Address,
    ) -> Result<Vec<Moved>, StakingError> {
        let mut all = Vec::new();
        for id in ids {
            let call = ProviderStaking::moveOfCall { moveId: id };
            let found = self.read("stake that moved", self.staking, call).await?;
            if found.owner != holder {
                continue;
            }
            let leaves = found.thawId != B256::ZERO;
            let (end, tokens) = match leaves {
                true => {
                    let request = self.thaw(found.thawId).await?;
                    (request.end.to::<u64>().max(found.end.to()), request.value)
                }
                false => (found.end.to(), self.worth_of_shares(&found).await?),
            };
            let value = amount("stake that moved", kept(tokens, &found))?;
            all.push(Moved { id, from: found.from, to: found.to, end, leaves, value });
        }
        all.sort_by_key(|moved| (moved.end, moved.id));
        Ok(all)
    }

    async fn worth_of_shares(&self, found: &IProviderStaking::Move) -> Result<U256, StakingError> {
        let pool = Pool::Delegation(found.to).id();
        let state = self.read("a pool", self.staking, ProviderStaking::poolOfCall { pool }).await?;
        Ok(found.shares * (state.active + U256::ONE) / (state.shares + VIRTUAL_SHARES))
    }
}

/// The part that slashes of the provider that it left have let it keep.
fn kept(tokens: U256, found: &IProviderStaking::Move) -> U256 {
    if found.amount.is_zero() { U256::ZERO } else { tokens * found.kept / found.amount }
}
