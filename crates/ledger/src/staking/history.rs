//! What an account did in the past of the staking contract, from its events.

use std::collections::{BTreeMap, BTreeSet};

use alloy::{
    primitives::{Address, B256},
    providers::Provider,
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
}

/// How many blocks are asked for at once, at first. Nodes refuse what would give too much, each by a measure of its own;
/// then fewer are asked for.
const BLOCKS: u64 = 50_000;

impl History {
    /// Reads the events of the contract `at` from the block `first` on that are of the account.
    pub async fn of(chain: &Chain, at: Address, first: u64, account: Address) -> Result<Self, StakingError> {
        let events = vec![ProviderStaking::Staked::SIGNATURE_HASH, ProviderStaking::Thawed::SIGNATURE_HASH];
        let filter = Filter::new().address(at).event_signature(events).topic2(account.into_word());
        let last = chain.head().await.map_err(|source| StakingError::Read { what: "the height", source })?;
        let mut history = Self { pools: BTreeSet::new(), thaws: BTreeMap::new() };
        let (mut from, mut blocks) = (first, BLOCKS);
        while from <= last {
            let to = last.min(from.saturating_add(blocks - 1));
            match chain.provider().get_logs(&filter.clone().from_block(from).to_block(to)).await {
                Ok(logs) => {
                    logs.iter().for_each(|log| history.take(log));
                    from = to + 1;
                }
                Err(_) if blocks > 1 => blocks = (blocks / 4).max(1),
                Err(error) => {
                    return Err(StakingError::Read {
                        what: "the events of the past",
                        source: chain.error("eth_getLogs", error),
                    });
                }
            }
        }
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
        }
    }
}
