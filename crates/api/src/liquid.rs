//! The liquid stake: coming in, leaving, and what it is worth.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidemill_types::Amount;

use crate::{money::Transaction, wei::Wei};

/// TIDE that became stTIDE. `tidemill stake` prints it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Staked {
    /// What was put in.
    #[schemars(with = "Wei")]
    pub amount_wei: Amount,
    /// The shares that were quoted before it was signed.
    #[schemars(with = "Wei")]
    pub quoted_shares_wei: Amount,
    /// The shares that it gave; null where only the quote was asked for.
    #[schemars(with = "Option<Wei>")]
    pub shares_wei: Option<Amount>,
    /// The transactions that did it.
    pub transactions: Vec<Transaction>,
}

/// stTIDE on the way out, or out. `tidemill unstake` prints it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Unstaked {
    /// The shares that were quoted for.
    #[schemars(with = "Wei")]
    pub shares_wei: Amount,
    /// What they were worth: the most that the queue pays for them.
    #[schemars(with = "Wei")]
    pub worth_wei: Amount,
    /// What leaving at once would have paid, or did; null where it was not to be had.
    #[schemars(with = "Option<Wei>")]
    pub at_once_wei: Option<Amount>,
    /// When the queue would pay at the latest, in seconds since 1970 by the chain's clock.
    pub latest_claim_unix_s: u64,
    /// Requests that wait before it.
    pub before: u64,
    /// The transactions that did it; none where only the quote was asked for.
    pub transactions: Vec<Transaction>,
}

/// Exits that were paid out, and those that wait. `tidemill claim` prints it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Claimed {
    /// What was paid out.
    #[schemars(with = "Wei")]
    pub claimed_wei: Amount,
    /// The exits that are not claimed.
    pub exits: Vec<ExitRequest>,
    /// The transactions that did it.
    pub transactions: Vec<Transaction>,
}

/// A request to leave the liquid stake through its queue.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ExitRequest {
    /// Its number.
    pub id: String,
    /// Its shares that are not claimed.
    #[schemars(with = "Wei")]
    pub shares_wei: Amount,
    /// The most that it pays.
    #[schemars(with = "Wei")]
    pub most_wei: Amount,
    /// When it was made, in seconds since 1970 by the chain's clock.
    pub requested_at_unix_s: u64,
    /// When it can be claimed at the latest.
    pub latest_claim_unix_s: u64,
    /// Its place among those that wait, the first being 1; 0 once it can be claimed.
    pub place: u64,
    /// What it pays; null while it waits.
    #[schemars(with = "Option<Wei>")]
    pub claimable_wei: Option<Amount>,
}

/// What stTIDE is worth, and what stands behind it. `tidemill rate` prints it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Rate {
    /// What one stTIDE is worth.
    #[schemars(with = "Wei")]
    pub rate_wei: Amount,
    /// All shares.
    #[schemars(with = "Wei")]
    pub shares_wei: Amount,
    /// What they are worth together.
    #[schemars(with = "Wei")]
    pub assets_wei: Amount,
    /// Earnings that stream in.
    #[schemars(with = "Wei")]
    pub streaming_wei: Amount,
    /// When the last of them will have, in seconds since 1970 by the chain's clock.
    pub stream_end_unix_s: u64,
    /// What lies undelegated.
    #[schemars(with = "Wei")]
    pub buffer_wei: Amount,
    /// What the buffer aims at.
    #[schemars(with = "Wei")]
    pub buffer_target_wei: Amount,
    /// What can leave at once, all of it.
    #[schemars(with = "Wei")]
    pub instant_room_wei: Amount,
    /// Whether nobody leaves at once now, since an open case could cost more than the fee.
    pub waits_for_a_case: bool,
    /// Losses that were not earned back.
    #[schemars(with = "Wei")]
    pub to_recover_wei: Amount,
    /// Shares that wait in the queue of exits.
    #[schemars(with = "Wei")]
    pub queued_shares_wei: Amount,
    /// What is held for exits that can be claimed.
    #[schemars(with = "Wei")]
    pub claimable_wei: Amount,
    /// When providers' earnings were counted last, in seconds since 1970 by the chain's clock.
    pub counted_at_unix_s: u64,
    /// The chain's clock.
    pub now_unix_s: u64,
}

/// What a share gained, and what that comes to in a year. `tidemill apy` prints it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Apy {
    /// The window's beginning, in seconds since 1970 by the chain's clock.
    pub since_unix_s: u64,
    /// How long it is, in seconds.
    pub window_s: u64,
    /// What one stTIDE was worth at its beginning.
    #[schemars(with = "Wei")]
    pub rate_before_wei: Amount,
    /// And is worth now.
    #[schemars(with = "Wei")]
    pub rate_wei: Amount,
    /// What a share gained in it, in percent.
    pub gained_percent: f64,
    /// What it would gain in a year that goes on so, in percent.
    pub yearly_percent: f64,
}
