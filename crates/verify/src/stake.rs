//! What cheating costs.

use std::{fmt, str::FromStr};

use tidemill_types::Amount;

/// What stands behind a provider's results.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Stake {
    /// What can be slashed.
    pub slashable: Amount,
    /// All that could be gained by cheating until a slash takes effect: what open leases that lean on this stake come to,
    /// and what the requester says that a wrong result is worth to somebody outside. A result that waits for a verdict is
    /// checked already, and one that was accepted was weighed when it came.
    pub at_risk: Amount,
    /// How likely it is that a provider whose result is found to be wrong is slashed, from 0 to 1.
    pub slash_odds: f64,
}

/// How likely it is that a provider whose result is found to be wrong is slashed: above 0, and up to 1.
#[derive(Clone, Copy, PartialEq, PartialOrd, Debug)]
pub struct SlashOdds(f64);

/// Odds that make no sense.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("expected a number above 0 and up to 1, like 0.9")]
pub struct SlashOddsError;

impl SlashOdds {
    /// What is assumed where nobody knows better: as in the simulations of docs/verification.md.
    pub const USUAL: Self = Self(0.9);

    /// Odds, if they are possible.
    ///
    /// # Errors
    /// [`SlashOddsError`]
    pub fn new(odds: f64) -> Result<Self, SlashOddsError> {
        if odds > 0.0 && odds <= 1.0 { Ok(Self(odds)) } else { Err(SlashOddsError) }
    }

    /// As a number.
    pub fn get(self) -> f64 {
        self.0
    }
}

impl FromStr for SlashOdds {
    type Err = SlashOddsError;

    fn from_str(text: &str) -> Result<Self, SlashOddsError> {
        text.parse().map_err(|_| SlashOddsError).and_then(Self::new)
    }
}

impl fmt::Display for SlashOdds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Stake {
    /// How likely a cheat must be found for cheating to lose money: with gain `g`, stake `S` and the odds `p` of losing it,
    /// `S·p > g·(1 − p)`, so `p > g ÷ (g + S)`, of which slashing takes its own odds. None where no odds are enough, as for
    /// whoever has nothing to lose.
    pub fn deterring_odds(&self) -> Option<f64> {
        if self.slashable.is_zero() {
            return None;
        }
        if self.at_risk.is_zero() {
            return Some(0.0);
        }
        let (gain, stake) = (self.at_risk.wei() as f64, self.slashable.wei() as f64);
        let odds = gain / (gain + stake) / self.slash_odds;
        (odds < 1.0).then_some(odds)
    }

    /// The most that may be at risk while a cheat is found with these odds and loses money.
    pub fn most_at_risk(&self, found_odds: f64) -> Amount {
        let slashed = (found_odds * self.slash_odds).clamp(0.0, 1.0);
        if slashed >= 1.0 {
            return Amount::from_wei(u128::MAX);
        }
        // A share of a stake is far below what `f64` has room for.
        Amount::from_wei((self.slashable.wei() as f64 * slashed / (1.0 - slashed)) as u128)
    }
}
