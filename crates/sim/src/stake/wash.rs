//! Those who pay themselves for work, for the rewards on work.
//!
//! The worst case for the network: all rewards are by work, the washer's stake is all its own, and it is its own
//! coordinator, so that the protocol's fee is all that it loses.

use serde::Serialize;

use super::math::{TIDE, Wei, mul_div_down, part_down};

/// The protocol's part of payments, in millionths.
const PROTOCOL_FEE_PPM: u128 = 20_000;
/// What of it is burned in this model, in millionths. Where nothing is burned nothing is given out.
const BURN_SHARE_PPM: u128 = 500_000;
/// The most that is given out in an epoch, in millionths of what was burned in it.
const REWARDS_TO_BURNED_PPM: u128 = 900_000;
/// What an epoch would give out without that bound.
const SUBSIDY: Wei = 100_000 * TIDE;
/// Others' paid work in an epoch.
const HONEST: Wei = 1_000_000 * TIDE;

/// What one epoch of washing comes to.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Washed {
    /// TIDE that the washer paid itself.
    pub volume: f64,
    /// TIDE that it gained, less than zero where it lost, with rewards bounded by what was burned.
    pub bounded: f64,
    /// The same with a fixed subsidy.
    pub fixed: f64,
}

pub(super) fn measure() -> Vec<Washed> {
    (0..=12_u32).map(|step| washed(1_000 * TIDE * (1 << step))).collect()
}

fn washed(volume: Wei) -> Washed {
    let all = HONEST + volume;
    let fees = part_down(volume, PROTOCOL_FEE_PPM);
    let burned = part_down(part_down(all, PROTOCOL_FEE_PPM), BURN_SHARE_PPM);
    let bounded = SUBSIDY.min(part_down(burned, REWARDS_TO_BURNED_PPM));
    let net = |rewards: Wei| {
        let gets = mul_div_down(rewards, volume, all);
        (gets as f64 - fees as f64) / TIDE as f64
    };
    Washed { volume: volume as f64 / TIDE as f64, bounded: net(bounded), fixed: net(SUBSIDY) }
}
