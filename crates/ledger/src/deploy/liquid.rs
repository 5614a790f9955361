//! What the liquid stake is deployed with.

use alloy::primitives::{Address, aliases::U96};
use serde::{Deserialize, Serialize};
use tidemill_types::Amount;

use crate::contracts::{ExitQueue, ILiquidStake, LiquidStake, RateFeed, StTide};

/// What holds of the liquid stake on the first day. The contract has hard bounds for each.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LiquidParams {
    /// The part of earnings that is a fee once losses are earned back, in parts per million.
    pub performance_fee_ppm: u32,
    /// By how much of the assets earnings may raise them in a day, in parts per million.
    pub daily_cap_ppm: u32,
    /// The marginal fee of an instant exit where the buffer is full, in parts per million: at least what a stream of
    /// earnings can come to, so that nobody enters for one and leaves with it.
    pub least_exit_fee_ppm: u32,
    /// And where the buffer is empty.
    pub most_exit_fee_ppm: u32,
    /// The part of the assets that stays in the buffer, in parts per million.
    pub buffer_ppm: u32,
    /// The most of the assets that is with one provider, in parts per million.
    pub provider_cap_ppm: u32,
    /// The most of the assets that is with the providers of one operator, in parts per million.
    pub operator_cap_ppm: u32,
    /// How many times its own bond may be with a provider.
    pub bond_multiple: u8,
    /// How long a request to leave waits at least, in seconds: an epoch of the liquid stake or more.
    pub least_wait_s: u32,
    /// How old a look at the providers' earnings may be for the rate to be told to other chains, in seconds.
    pub most_rate_age_s: u32,
}

/// TIDE that deployment puts into the liquid stake for shares that nobody has: so a first depositor can set no price.
pub const SEED: Amount = Amount::tide(1);

/// How often the liquid stake lets stake thaw from a provider, in seconds: EPOCH of contracts/src/LiquidPositions.sol.
const EPOCH_S: u32 = 7 * DAY_S;

const DAY_S: u32 = 24 * 60 * 60;

/// Where the contracts are or will be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Places {
    pub(super) authority: Address,
    pub(super) tide: Address,
    pub(super) staking: Address,
    pub(super) share: Address,
    pub(super) stake: Address,
    pub(super) queue: Address,
}

impl LiquidParams {
    /// Those of docs/staking.md.
    pub fn first_day() -> Self {
        Self {
            performance_fee_ppm: 100_000,
            daily_cap_ppm: 500,
            least_exit_fee_ppm: 3_500,
            most_exit_fee_ppm: 50_000,
            buffer_ppm: 50_000,
            provider_cap_ppm: 100_000,
            operator_cap_ppm: 200_000,
            bond_multiple: 8,
            least_wait_s: EPOCH_S,
            most_rate_age_s: 3 * DAY_S,
        }
    }

    pub(super) fn stake(&self, places: &Places, treasury: Address) -> LiquidStake::constructorCall {
        let params = ILiquidStake::Params {
            performanceFee: self.performance_fee_ppm,
            dailyCap: self.daily_cap_ppm,
            minExitFee: self.least_exit_fee_ppm,
            maxExitFee: self.most_exit_fee_ppm,
            bufferTarget: self.buffer_ppm,
            providerCap: self.provider_cap_ppm,
            operatorCap: self.operator_cap_ppm,
            bondMultiple: self.bond_multiple,
        };
        let setup = ILiquidStake::Setup {
            authority: places.authority,
            tide: places.tide,
            staking: places.staking,
            share: places.share,
            treasury,
            seed: U96::from(SEED.wei()),
            params,
        };
        LiquidStake::constructorCall { setup }
    }

    pub(super) fn queue(&self, places: &Places, thaw_s: u32) -> ExitQueue::constructorCall {
        ExitQueue::constructorCall {
            share_: places.share,
            liquid: places.stake,
            tide: places.tide,
            minWait_: self.least_wait_s,
            thawPeriod_: thaw_s,
            epoch_: EPOCH_S,
        }
    }

    pub(super) fn feed(&self, places: &Places) -> RateFeed::constructorCall {
        RateFeed::constructorCall { liquid: places.stake, maxAge_: self.most_rate_age_s }
    }
}

impl Places {
    pub(super) fn share(&self) -> StTide::constructorCall {
        StTide::constructorCall { asset: self.tide, liquidStake_: self.stake, exitQueue_: self.queue }
    }
}
