//! Amounts with their units, as types and as a person writes them.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

/// A number of bytes. Written `64 MiB`, `1.5 GiB`, `10 kB` or `512 B`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug, Serialize, Deserialize)]
pub struct ByteSize(pub u64);

/// Units of deterministic work: about one WebAssembly operator each. Written `500M`, `20G` or `1T`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug, Serialize, Deserialize)]
pub struct Fuel(pub u64);

/// A length of time in milliseconds. Written `500ms`, `90s`, `10m`, `2h` or `1d`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug, Serialize, Deserialize)]
pub struct Millis(pub u64);

/// A text that is not an amount of the unit asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{found:?} is not {what}; write it like {example}")]
pub struct UnitError {
    /// The text, shortened to 80 characters.
    pub found: String,
    what: &'static str,
    example: &'static str,
}

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;

impl ByteSize {
    /// So many mebibytes.
    pub const fn mib(count: u64) -> Self {
        Self(count * MIB)
    }

    /// So many kibibytes.
    pub const fn kib(count: u64) -> Self {
        Self(count * KIB)
    }
}

impl Millis {
    /// The same length of time as the standard library's type.
    pub fn duration(self) -> Duration {
        Duration::from_millis(self.0)
    }
}

/// A unit's suffix with its factor.
type Units = &'static [(&'static str, u64)];

/// Reads `number unit`, exactly: no floating point, at most nine digits after the point, no overflow,
/// and the amount must be a whole number of the base unit.
fn parse_amount(text: &str, units: Units) -> Option<u64> {
    let text = text.trim();
    let split = text.find(|c: char| !(c.is_ascii_digit() || c == '.' || c == '_')).unwrap_or(text.len());
    let (number, suffix) = text.split_at(split);
    let factor = units.iter().find(|(name, _)| *name == suffix.trim())?.1;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let whole: u64 = whole.replace('_', "").parse().ok()?;
    if fraction.len() > 9 {
        return None;
    }
    let scale = 10u128.pow(u32::try_from(fraction.len()).ok()?);
    let fraction: u128 = fraction.parse().ok()?;
    let part = fraction * u128::from(factor);
    if !part.is_multiple_of(scale) {
        return None;
    }
    u64::try_from(u128::from(whole) * u128::from(factor) + part / scale).ok()
}

fn unit_error(text: &str, what: &'static str, example: &'static str) -> UnitError {
    UnitError { found: text.chars().take(80).collect(), what, example }
}

impl FromStr for ByteSize {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        const UNITS: Units = &[
            ("B", 1),
            ("KiB", KIB),
            ("MiB", MIB),
            ("GiB", GIB),
            ("TiB", TIB),
            ("kB", 1_000),
            ("KB", 1_000),
            ("MB", 1_000_000),
            ("GB", 1_000_000_000),
            ("TB", 1_000_000_000_000),
        ];
        parse_amount(text, UNITS)
            .map(Self)
            .ok_or_else(|| unit_error(text, "a size", "\"64 MiB\", \"1.5 GiB\" or \"512 B\""))
    }
}

impl FromStr for Fuel {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        const UNITS: Units =
            &[("", 1), ("k", 1_000), ("M", 1_000_000), ("G", 1_000_000_000), ("T", 1_000_000_000_000)];
        parse_amount(text, UNITS)
            .map(Self)
            .ok_or_else(|| unit_error(text, "an amount of fuel", "\"500M\", \"20G\" or \"1T\""))
    }
}

impl FromStr for Millis {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        const UNITS: Units =
            &[("ms", 1), ("s", 1_000), ("m", 60_000), ("min", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
        parse_amount(text, UNITS)
            .map(Self)
            .ok_or_else(|| unit_error(text, "a length of time", "\"500ms\", \"90s\", \"10m\" or \"2h\""))
    }
}

/// Writes an amount in the largest unit that leaves at least 1, with at most two digits after the point.
fn write_scaled(f: &mut fmt::Formatter<'_>, amount: u64, gap: &str, units: Units) -> fmt::Result {
    let (name, factor) = units.iter().rev().find(|(_, factor)| amount >= *factor).unwrap_or(&units[0]);
    let hundredths = u128::from(amount) * 100 / u128::from(*factor);
    let (whole, rest) = (hundredths / 100, hundredths % 100);
    match rest {
        0 => write!(f, "{whole}{gap}{name}"),
        _ if rest % 10 == 0 => write!(f, "{whole}.{}{gap}{name}", rest / 10),
        _ => write!(f, "{whole}.{rest:02}{gap}{name}"),
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_scaled(f, self.0, " ", &[("B", 1), ("KiB", KIB), ("MiB", MIB), ("GiB", GIB), ("TiB", TIB)])
    }
}

impl fmt::Display for Fuel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_scaled(
            f,
            self.0,
            "",
            &[("", 1), ("k", 1_000), ("M", 1_000_000), ("G", 1_000_000_000), ("T", 1_000_000_000_000)],
        )
    }
}

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_scaled(f, self.0, "", &[("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)])
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn amounts_read_as_people_write_them() {
        assert_eq!("64 MiB".parse(), Ok(ByteSize::mib(64)));
        assert_eq!("1.5GiB".parse(), Ok(ByteSize(3 << 29)));
        assert_eq!("10 kB".parse(), Ok(ByteSize(10_000)));
        assert_eq!("1_000 B".parse(), Ok(ByteSize(1_000)));
        assert_eq!("500M".parse(), Ok(Fuel(500_000_000)));
        assert_eq!("12".parse(), Ok(Fuel(12)));
        assert_eq!("1.5h".parse(), Ok(Millis(5_400_000)));
        assert_eq!("250ms".parse(), Ok(Millis(250)));
    }

    #[test]
    fn what_is_no_amount_is_refused() {
        for text in ["", "64", "MiB", "-1 MiB", "1e3 MiB", "0.3 B", "99999999999 TiB", "1..2 GiB", "1 mib"] {
            assert!(text.parse::<ByteSize>().is_err(), "{text}");
        }
        for text in ["", "5 parsecs", "0.0001ms", "1.0000000001s"] {
            assert!(text.parse::<Millis>().is_err(), "{text}");
        }
        assert!("lots".parse::<Fuel>().is_err());
    }

    #[test]
    fn amounts_print_in_the_largest_fitting_unit() {
        assert_eq!(ByteSize::mib(64).to_string(), "64 MiB");
        assert_eq!(ByteSize(1536).to_string(), "1.5 KiB");
        assert_eq!(ByteSize(0).to_string(), "0 B");
        assert_eq!(Fuel(1_234_567).to_string(), "1.23M");
        assert_eq!(Millis(90_000).to_string(), "1.5m");
    }

    proptest! {
        #[test]
        fn whole_units_survive_a_round_trip(count in 0u64..1023, unit in 0usize..5) {
            let size = ByteSize(count << (10 * unit));
            prop_assert_eq!(size.to_string().parse::<ByteSize>(), Ok(size));
        }

        #[test]
        fn no_text_makes_the_parsers_panic(text in ".{0,40}") {
            let _ = text.parse::<ByteSize>();
            let _ = text.parse::<Fuel>();
            let _ = text.parse::<Millis>();
        }
    }
}
