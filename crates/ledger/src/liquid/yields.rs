//! What a share gained, as a yearly rate.

use tidemill_types::Amount;

/// What happened to a share's worth in a time, and what that comes to in a year.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Apy {
    /// What a whole share was worth at the beginning.
    pub before: Amount,
    /// And is worth at the end.
    pub now: Amount,
    /// The beginning, in seconds since 1970 by the chain's clock.
    pub since: u64,
    /// How long that is, in seconds.
    pub window_s: u64,
    /// What a share gained in that time, in percent.
    pub gained_percent: f64,
    /// What it would gain in a year that goes on so, each gain earning as well, in percent. Less than zero after a loss.
    pub yearly_percent: f64,
}

const YEAR_S: f64 = 365.0 * 86_400.0;

/// From what a share was worth at a time to a year's yield; none where there was nothing, or no time.
pub fn annualised(before: Amount, after: Amount, since: u64, now: u64) -> Option<Apy> {
    let window_s = now.checked_sub(since).filter(|window| *window > 0)?;
    if before == Amount::ZERO {
        return None;
    }
    let growth = after.wei() as f64 / before.wei() as f64;
    let yearly = growth.powf(YEAR_S / window_s as f64);
    Some(Apy {
        before,
        now: after,
        since,
        window_s,
        gained_percent: (growth - 1.0) * 100.0,
        yearly_percent: (yearly - 1.0) * 100.0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY_S: u64 = 86_400;

    #[test]
    fn a_year_is_what_its_parts_compound_to() {
        let apy = |after: u128, days: u64| {
            annualised(Amount::from_wei(1_000_000), Amount::from_wei(after), 10, 10 + days * DAY_S)
                .expect("there was something")
        };
        let year = apy(1_100_000, 365);
        assert!((year.yearly_percent - 10.0).abs() < 1e-9 && (year.gained_percent - 10.0).abs() < 1e-9);
        let half = apy(1_100_000, 365 / 2);
        assert!(half.yearly_percent > 21.0 && half.yearly_percent < 21.2, "{half:?}");
        assert!(apy(900_000, 365).yearly_percent < -9.9);
        assert_eq!(apy(1_000_000, 1).yearly_percent, 0.0);
    }

    #[test]
    fn nothing_and_no_time_have_no_yield() {
        let some = Amount::from_wei(5);
        assert_eq!(annualised(Amount::ZERO, some, 0, 100), None);
        assert_eq!(annualised(some, some, 100, 100), None);
        assert_eq!(annualised(some, some, 101, 100), None);
    }
}
