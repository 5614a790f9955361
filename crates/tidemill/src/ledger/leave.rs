//! Leaving a pool of stake, whichever it is.

use std::str::FromStr;

use tidemill_ledger::{
    Address,
    staking::{Pool, Staking, StakingError},
};
use tidemill_types::{Amount, MoneyError};

use super::{Acting, Purse};
use crate::{
    commands::bond,
    exit::{Code, Exit, WithCode},
    runtime,
};

/// How much of a stake is meant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    /// Whatever there is.
    All,
    /// At least so much.
    Amount(Amount),
}

impl FromStr for Part {
    type Err = MoneyError;

    fn from_str(text: &str) -> Result<Self, MoneyError> {
        if text == "all" { Ok(Self::All) } else { text.parse().map(Self::Amount) }
    }
}

/// Lets stake thaw, and says so. `pool` is that of the account's address.
///
/// # Errors
/// With [`Code::Usage`] when the account has not that much there, and as [`Purse::call`].
pub fn leave(
    acting: &Acting,
    part: Part,
    verb: &str,
    pool: impl FnOnce(Address) -> anyhow::Result<Pool>,
) -> anyhow::Result<()> {
    let account = acting.account.unlock()?;
    let pool = pool(account.address())?;
    let sent = runtime::block_on(async {
        let purse = Purse::open(&acting.ledger, account).await?;
        let leaving = async {
            let staking = Staking::new(purse.ledger.chain.clone(), &purse.ledger.book).code(Code::Usage)?;
            let (wanted, words) = match part {
                Part::All => (None, "all".to_owned()),
                Part::Amount(amount) => (Some(amount), amount.to_string()),
            };
            let call = staking.leave(pool, purse.address(), wanted).await.map_err(|error| {
                let code = if matches!(error, StakingError::Read { .. }) { Code::Host } else { Code::Usage };
                Exit::new(code, tidemill_types::causes(&error))
            })?;
            purse.call(&format!("{verb} {words} of {pool}"), staking.address(), call).await
        };
        let sent = leaving.await;
        purse.close().await;
        sent
    })?;
    bond::print(&[sent], acting.json);
    Ok(())
}

/// How long it is from `now` to a later time, both in seconds, as a person says it.
pub fn when(later: u64, now: u64) -> String {
    let left = later.saturating_sub(now);
    let (days, hours, minutes) = (left / 86_400, left / 3_600 % 24, left / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{left} s"),
        (0, 0, minutes) => format!("{minutes} min"),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_said_in_two_units_at_most() {
        assert_eq!(when(10 + 28 * 86_400, 10), "28 d 0 h");
        assert_eq!(when(3_661, 0), "1 h 1 min");
        assert_eq!(when(59, 0), "59 s");
        assert_eq!(when(0, 10), "0 s");
    }

    #[test]
    fn a_part_is_all_or_an_amount() {
        assert_eq!("all".parse::<Part>().ok(), Some(Part::All));
        assert_eq!("1.5 TIDE".parse::<Part>().ok(), "1.5 TIDE".parse().ok().map(Part::Amount));
        assert!("half".parse::<Part>().is_err());
    }
}
