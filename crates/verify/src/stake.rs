//! What cheating costs.

use tidemill_types::Amount;

/// What stands behind a provider's results.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Stake {
    /// What can be slashed.
    pub slashable: Amount,
    /// All that could be gained by cheating until a slash takes effect: what open leases and unsettled results that lean
    /// on this stake come to, and what the requester says that a wrong result is worth to somebody outside.
    pub at_risk: Amount,
    /// How likely it is that a provider whose result is found to be wrong is slashed, from 0 to 1.
    pub slash_odds: f64,
}

impl Stake {
    /// How likely a cheat must be found for cheating to lose money: with gain `g`, stake `S` and the odds `p` of losing it,
    /// `S·p > g·(1 − p)`, so `p > g ÷ (g + S)`, of which slashing takes its own odds. None where no odds are enough.
    pub fn deterring_odds(&self) -> Option<f64> {
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
