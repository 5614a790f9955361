//! What an account did in the past of the staking contract, from its events.

use std::collections::{BTreeMap, BTreeSet};

use alloy::{
    primitives::{Address, B256},
    rpc::types::{Filter, Log},
    sol_types::SolEvent,
};

use super::{Pool, StakingError};
use crate::{Chain, contracts::ProviderStaking};

/// Where an account may have something.
pub struct History {
    /// Every pool that it entered.
    pub pools: BTreeSet<Pool>,
    /// Every thaw that it began, with its pool.
    pub thaws: BTreeMap<B256, Pool>,
    /// Every move of its stake between providers.
    pub moves: BTreeSet<B256>,
}

impl History {
    /// Reads the events of the contract `at` from the block `first` on that are of the account.
    pub async fn of(chain: &Chain, at: Address, first: u64, account: Address) -> Result<Self, StakingError> {
        let events = vec![
            ProviderStaking::Staked::SIGNATURE_HASH,
            ProviderStaking::Thawed::SIGNATURE_HASH,
            ProviderStaking::Redelegated::SIGNATURE_HASH,
        ];
        let filter = Filter::new().address(at).event_signature(events).topic2(account.into_word());
        let mut history = Self { pools: BTreeSet::new(), thaws: BTreeMap::new(), moves: BTreeSet::new() };
        chain
            .for_each_log(&filter, first, |log| history.take(log))
            .await
            .map_err(|source| StakingError::Read { what: "the events of the past", source })?;
        Ok(history)
    }

    fn take(&mut self, log: &Log) {
        if let Ok(event) = ProviderStaking::Staked::decode_log(&log.inner) {
            self.pools.extend(Pool::of_id(event.pool));
        } else if let Ok(event) = ProviderStaking::Thawed::decode_log(&log.inner)
            && let Some(pool) = Pool::of_id(event.pool)
            && event.thawId != B256::ZERO
        {
            self.thaws.insert(event.thawId, pool);
        } else if let Ok(event) = ProviderStaking::Redelegated::decode_log(&log.inner) {
            self.moves.insert(event.moveId);
        }
    }
}
