//! Money, to the wei: the network's token and the coin of the chain that carries it.
//!
//! The two are different types, so that neither is taken for the other. Both are printed exactly, with their
//! unit, and read back from what they print. Arithmetic is checked, or says in its name what it does at its ends.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// An amount of TIDE, counted in wei (10^-18 TIDE). Written `1.5 TIDE` or `1,234.5 TIDE`; in JSON it is the
/// number of wei as a decimal string, since numbers of that size do not survive every JSON reader.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Amount(u128);

/// An amount of the chain's own coin, which pays for gas, counted in wei. Written `0.01 ETH`, `20 gwei` or
/// `1 wei`; chains that call their coin otherwise are served by [`Coin::parse`] and [`Coin::display`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Coin(u128);

/// A text that is not an amount of the money asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{found:?} {problem}; write it like {example}")]
pub struct MoneyError {
    /// The text, shortened to 80 characters.
    pub found: String,
    problem: String,
    example: String,
}

const DECIMALS: usize = 18;
/// Wei in one TIDE, and in one coin of every EVM chain.
const ONE: u128 = 1_000_000_000_000_000_000;
const GWEI: u128 = 1_000_000_000;
/// The symbol of the coin where nothing else is said.
const COIN: &str = "ETH";

macro_rules! money {
    ($Money:ident) => {
        impl $Money {
            /// Nothing.
            pub const ZERO: Self = Self(0);

            /// So many wei.
            pub const fn from_wei(wei: u128) -> Self {
                Self(wei)
            }

            /// The number of wei.
            pub const fn wei(self) -> u128 {
                self.0
            }

            /// Whether it is nothing.
            pub const fn is_zero(self) -> bool {
                self.0 == 0
            }

            /// The sum, unless it is too large.
            pub fn checked_add(self, other: Self) -> Option<Self> {
                self.0.checked_add(other.0).map(Self)
            }

            /// The difference, unless `other` is the larger.
            pub fn checked_sub(self, other: Self) -> Option<Self> {
                self.0.checked_sub(other.0).map(Self)
            }

            /// The sum; all there is a number for, where it is more.
            pub const fn saturating_add(self, other: Self) -> Self {
                Self(self.0.saturating_add(other.0))
            }

            /// The difference; nothing, where `other` is the larger.
            pub const fn saturating_sub(self, other: Self) -> Self {
                Self(self.0.saturating_sub(other.0))
            }

            /// So many times the amount, unless that is too large.
            pub fn checked_mul(self, count: u64) -> Option<Self> {
                self.0.checked_mul(count.into()).map(Self)
            }
        }

        impl fmt::Debug for $Money {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl Serialize for $Money {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                match serializer.is_human_readable() {
                    true => serializer.collect_str(&self.0),
                    false => self.0.serialize(serializer),
                }
            }
        }

        impl<'de> Deserialize<'de> for $Money {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                if !deserializer.is_human_readable() {
                    return u128::deserialize(deserializer).map(Self);
                }
                let text = String::deserialize(deserializer)?;
                let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
                let wei = if digits { text.parse().ok() } else { None };
                wei.map(Self).ok_or_else(|| {
                    de::Error::custom(format!(
                        "{:?} is not a whole number of wei in decimal",
                        shortened(&text)
                    ))
                })
            }
        }
    };
}

money!(Amount);
money!(Coin);

impl Amount {
    /// As much as there can ever be.
    pub const CAP: Self = Self::tide(1_000_000_000);

    /// So many whole TIDE.
    pub const fn tide(count: u64) -> Self {
        // Below 2^124, whatever the count.
        Self(count as u128 * ONE)
    }

    /// `self × numerator ÷ denominator`, rounded down; none if the denominator is zero or the result is too
    /// large. What lies between may be larger than the result.
    pub fn mul_div_floor(self, numerator: u64, denominator: u64) -> Option<Self> {
        self.mul_div(numerator, denominator).map(|(quotient, _)| Self(quotient))
    }

    /// `self × numerator ÷ denominator`, rounded up; otherwise as [`Self::mul_div_floor`].
    pub fn mul_div_ceil(self, numerator: u64, denominator: u64) -> Option<Self> {
        let (quotient, exact) = self.mul_div(numerator, denominator)?;
        if exact { Some(Self(quotient)) } else { quotient.checked_add(1).map(Self) }
    }

    /// The quotient rounded down, and whether nothing was lost.
    fn mul_div(self, numerator: u64, denominator: u64) -> Option<(u128, bool)> {
        let (numerator, denominator) = (u128::from(numerator), u128::from(denominator));
        let whole = self.0.checked_div(denominator)?.checked_mul(numerator)?;
        // Both factors are below 2^64.
        let rest = (self.0 % denominator) * numerator;
        Some((whole.checked_add(rest / denominator)?, rest.is_multiple_of(denominator)))
    }
}

impl Coin {
    /// So many gwei, in which the price of gas is counted.
    pub const fn gwei(count: u64) -> Self {
        Self(count as u128 * GWEI)
    }

    /// Reads an amount of a coin that has another name than ETH.
    ///
    /// # Errors
    /// [`MoneyError`] says what is wrong with the text and how to write it.
    pub fn parse(text: &str, symbol: &str) -> Result<Self, MoneyError> {
        parse(text, &[(symbol, DECIMALS), ("gwei", 9), ("wei", 0)]).map(Self).map_err(|problem| {
            money_error(text, problem, format!("\"0.01 {symbol}\", \"20 gwei\" or \"1 wei\""))
        })
    }

    /// Writes the amount with another name than ETH.
    pub fn display(self, symbol: &str) -> impl fmt::Display {
        fmt::from_fn(move |f| write_exact(f, self.0, symbol))
    }
}

impl FromStr for Amount {
    type Err = MoneyError;

    fn from_str(text: &str) -> Result<Self, MoneyError> {
        parse(text, &[("TIDE", DECIMALS)])
            .map(Self)
            .map_err(|problem| money_error(text, problem, "\"1.5 TIDE\"".to_owned()))
    }
}

impl FromStr for Coin {
    type Err = MoneyError;

    fn from_str(text: &str) -> Result<Self, MoneyError> {
        Self::parse(text, COIN)
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_exact(f, self.0, "TIDE")
    }
}

impl fmt::Display for Coin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_exact(f, self.0, COIN)
    }
}

fn money_error(text: &str, problem: String, example: String) -> MoneyError {
    MoneyError { found: shortened(text), problem, example }
}

fn shortened(text: &str) -> String {
    text.chars().take(80).collect()
}

/// The number of wei that a text says, or what is wrong with it. Units are names with their number of
/// decimals; only nothing needs none.
fn parse(text: &str, units: &[(&str, usize)]) -> Result<u128, String> {
    let text = text.trim();
    let is_number = |c: char| c.is_ascii_digit() || matches!(c, '.' | ',' | '_');
    let (number, unit) = text.split_at(text.find(|c| !is_number(c)).unwrap_or(text.len()));
    let unit = unit.trim();
    if number.is_empty() {
        return Err("is not an amount of money".to_owned());
    }
    let decimals = match units.iter().find(|(name, _)| *name == unit) {
        Some((_, decimals)) => *decimals,
        None if unit.is_empty() && number == "0" => return Ok(0),
        None if unit.is_empty() => return Err("has no unit".to_owned()),
        None => {
            let names: Vec<_> = units.iter().map(|(name, _)| *name).collect();
            return Err(format!("has another unit than {}", names.join(", ")));
        }
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let whole = digits(whole).ok_or("is not an amount of money")?;
    let plain = !fraction.is_empty() && fraction.bytes().all(|byte| byte.is_ascii_digit());
    if !plain {
        return Err("is not an amount of money".to_owned());
    }
    let fraction = fraction.trim_end_matches('0');
    if fraction.len() > decimals {
        return Err("is not a whole number of wei".to_owned());
    }
    let wei = format!("{whole}{fraction:0<decimals$}");
    wei.parse().map_err(|_| "is too much".to_owned())
}

/// The digits of a whole number without what groups them: commas stand before three digits each.
fn digits(text: &str) -> Option<String> {
    let mut groups = text.split(',');
    let first = groups.next().unwrap_or_default();
    let grouped = groups.clone().next().is_some();
    let fits = groups.all(|group| group.len() == 3) && !(grouped && first.len() > 3);
    let digits: String = text.chars().filter(|c| !matches!(c, ',' | '_')).collect();
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    (fits && is_number && !first.is_empty()).then_some(digits)
}

/// All digits, with commas between thousands and without zeros at the end.
fn write_exact(f: &mut fmt::Formatter<'_>, wei: u128, unit: &str) -> fmt::Result {
    let (whole, fraction) = ((wei / ONE).to_string(), format!("{:018}", wei % ONE));
    for (position, digit) in whole.chars().enumerate() {
        if position > 0 && (whole.len() - position).is_multiple_of(3) {
            f.write_str(",")?;
        }
        write!(f, "{digit}")?;
    }
    match fraction.trim_end_matches('0') {
        "" => write!(f, " {unit}"),
        fraction => write!(f, ".{fraction} {unit}"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn money_reads_as_people_write_it() {
        assert_eq!("1.5 TIDE".parse(), Ok(Amount::from_wei(3 * ONE / 2)));
        assert_eq!("1,234.5 TIDE".parse(), Ok(Amount::from_wei(12345 * ONE / 10)));
        assert_eq!("1_000TIDE".parse(), Ok(Amount::tide(1_000)));
        assert_eq!("0".parse(), Ok(Amount::ZERO));
        assert_eq!("0.000000000000000001 TIDE".parse(), Ok(Amount::from_wei(1)));
        assert_eq!("1.50000000000000000000000 TIDE".parse(), Ok(Amount::from_wei(3 * ONE / 2)));
        assert_eq!("20 gwei".parse(), Ok(Coin::gwei(20)));
        assert_eq!("1 wei".parse(), Ok(Coin::from_wei(1)));
        assert_eq!(Coin::parse("2 xDAI", "xDAI"), Ok(Coin::from_wei(2 * ONE)));
    }

    #[test]
    fn what_is_no_money_is_refused_with_a_reason() {
        let says = |text: &str| text.parse::<Amount>().expect_err(text).to_string();
        assert_eq!(says("1.5"), "\"1.5\" has no unit; write it like \"1.5 TIDE\"");
        assert_eq!(says("5 ETH"), "\"5 ETH\" has another unit than TIDE; write it like \"1.5 TIDE\"");
        assert!(says("0.0000000000000000001 TIDE").contains("whole number of wei"));
        assert!(says("999999999999999999999999 TIDE").contains("too much"));
        for text in
            ["", "TIDE", "-1 TIDE", "1e3 TIDE", "1..2 TIDE", "1. TIDE", "1,2 TIDE", "1234,567 TIDE", ". TIDE"]
        {
            assert!(text.parse::<Amount>().is_err(), "{text}");
        }
        let error = "1 TIDE".parse::<Coin>().expect_err("another money").to_string();
        assert_eq!(
            error,
            "\"1 TIDE\" has another unit than ETH, gwei, wei; write it like \"0.01 ETH\", \"20 gwei\" or \"1 wei\""
        );
    }

    #[test]
    fn money_prints_exactly() {
        assert_eq!(Amount::from_wei(12345 * ONE / 10).to_string(), "1,234.5 TIDE");
        assert_eq!(Amount::CAP.to_string(), "1,000,000,000 TIDE");
        assert_eq!(Amount::ZERO.to_string(), "0 TIDE");
        assert_eq!(Coin::from_wei(1).to_string(), "0.000000000000000001 ETH");
        assert_eq!(Coin::from_wei(ONE / 4).display("POL").to_string(), "0.25 POL");
    }

    #[test]
    fn division_says_which_way_it_rounds() {
        let ten = Amount::from_wei(10);
        assert_eq!(ten.mul_div_floor(1, 3), Some(Amount::from_wei(3)));
        assert_eq!(ten.mul_div_ceil(1, 3), Some(Amount::from_wei(4)));
        assert_eq!(ten.mul_div_ceil(1, 5), Some(Amount::from_wei(2)));
        assert_eq!(ten.mul_div_floor(1, 0), None);
        assert_eq!(
            Amount::from_wei(u128::MAX).mul_div_floor(u64::MAX, u64::MAX),
            Some(Amount::from_wei(u128::MAX))
        );
        assert_eq!(Amount::from_wei(u128::MAX).mul_div_floor(2, 1), None);
    }

    proptest! {
        #[test]
        fn every_amount_survives_a_round_trip(wei in any::<u128>(), shift in 0u32..128) {
            let (amount, coin) = (Amount::from_wei(wei >> shift), Coin::from_wei(wei >> shift));
            prop_assert_eq!(amount.to_string().parse::<Amount>(), Ok(amount));
            prop_assert_eq!(coin.to_string().parse::<Coin>(), Ok(coin));
            let bytes = postcard::to_allocvec(&amount).expect("writing to memory");
            prop_assert_eq!(postcard::from_bytes::<Amount>(&bytes), Ok(amount));
        }

        #[test]
        fn no_text_makes_the_parsers_panic(text in "[0-9.,_ TIDEwei]{0,50}|.{0,40}") {
            let _ = text.parse::<Amount>();
            let _ = text.parse::<Coin>();
        }

        #[test]
        fn rounding_up_adds_at_most_one(wei in any::<u128>(), numerator in any::<u64>(), denominator in 1u64..) {
            let amount = Amount::from_wei(wei >> 64);
            let (down, up) = (amount.mul_div_floor(numerator, denominator), amount.mul_div_ceil(numerator, denominator));
            let (down, up) = (down.expect("below 2^128"), up.expect("below 2^128"));
            prop_assert!(up.wei() - down.wei() <= 1);
        }
    }
}
