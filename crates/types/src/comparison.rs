//! When two outputs of a task count as the same answer.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::BlobRef;

/// When two outputs of a task count as the same answer.
///
/// Outputs whose bytes are equal always do. What compares outputs of models (activation fingerprints) will be another of
/// these.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub enum Comparison {
    /// When their bytes are equal; of native floats, among machines of one class of hardware.
    #[default]
    Exact,
    /// When they have the same files, and the numbers in these differ by little.
    Numbers(Tolerance),
    /// When this program says so: it finds them below `/in/a` and `/in/b`, and ends with 0 if they are the same.
    Program(BlobRef),
}

/// How the numbers of a file are written down.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Numbers {
    /// As bytes, one each: pictures and sounds.
    U8,
    /// As IEEE 754 floats of 32 bits, little-endian.
    F32,
    /// As IEEE 754 floats of 64 bits, little-endian.
    F64,
    /// In decimal, in the lines of a text. What stands between them must be equal.
    Text,
}

/// How much numbers may differ: by `absolute + relative · (the larger one's size)`.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Tolerance {
    numbers: Numbers,
    absolute: f64,
    relative: f64,
}

/// There is no NaN in it.
impl Eq for Tolerance {}

/// A tolerance that makes no sense.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ToleranceError {
    /// It is not a number, or below nothing.
    #[error("a tolerance is a number from 0 on")]
    Negative,
    /// Everything would be the same as nothing.
    #[error("a relative tolerance is below 1")]
    Relative,
    /// Nothing may differ.
    #[error("so little is less than two such numbers differ by")]
    Nothing,
    /// Everything would be the same as everything.
    #[error("so much is more than two such numbers differ by")]
    Everything,
}

impl Numbers {
    fn range(self) -> Range {
        match self {
            Self::U8 => Range { least: 1.0, largest: 255.0, most: 255.0, of_each: 0.0 },
            Self::F32 => Range {
                least: f32::from_bits(1).into(),
                largest: f32::MAX.into(),
                most: 2.0 * f64::from(f32::MAX),
                of_each: f64::from(f32::EPSILON) / 2.0,
            },
            Self::F64 | Self::Text => Range {
                least: f64::from_bits(1),
                largest: f64::MAX,
                most: f64::INFINITY,
                of_each: f64::EPSILON / 2.0,
            },
        }
    }
}

/// By how much numbers that are written down in some way differ.
struct Range {
    /// The least by which two differ that are not equal.
    least: f64,
    /// The size of the largest.
    largest: f64,
    /// The most by which two differ.
    most: f64,
    /// The least, as a share of the larger one.
    of_each: f64,
}

impl Tolerance {
    /// Numbers that are written down like this may differ by so much.
    ///
    /// # Errors
    /// [`ToleranceError`]
    pub fn new(numbers: Numbers, absolute: f64, relative: f64) -> Result<Self, ToleranceError> {
        for found in [absolute, relative] {
            if !found.is_finite() || found.is_sign_negative() {
                return Err(ToleranceError::Negative);
            }
        }
        if relative >= 1.0 {
            return Err(ToleranceError::Relative);
        }
        let Range { least, largest, most, of_each } = numbers.range();
        let at_most = absolute + relative * largest;
        if absolute >= largest || at_most >= most {
            return Err(ToleranceError::Everything);
        }
        // The difference of two neighbours is a share of them, or the least that there is.
        if at_most < least || (absolute < least && relative < of_each) {
            return Err(ToleranceError::Nothing);
        }
        Ok(Self { numbers, absolute, relative })
    }

    /// How the numbers are written down.
    pub fn numbers(&self) -> Numbers {
        self.numbers
    }

    /// How much they may differ, whatever they are.
    pub fn absolute(&self) -> f64 {
        self.absolute
    }

    /// How much they may differ, as a share of the larger one.
    pub fn relative(&self) -> f64 {
        self.relative
    }

    /// Whether two numbers are the same. NaN is the same as NaN.
    pub fn allows(&self, a: f64, b: f64) -> bool {
        if a == b || (a.is_nan() && b.is_nan()) {
            return true;
        }
        // Infinity differs from everything else by infinity, and a share of it is no bound.
        a.is_finite()
            && b.is_finite()
            && (a - b).abs() <= self.absolute + self.relative * a.abs().max(b.abs())
    }
}

impl fmt::Display for Numbers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::U8 => "bytes",
            Self::F32 => "floats of 32 bits",
            Self::F64 => "floats of 64 bits",
            Self::Text => "numbers in texts",
        })
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact => f.write_str("when their bytes are equal"),
            Self::Numbers(tolerance) => write!(f, "when their {tolerance}"),
            Self::Program(_) => f.write_str("when the job's own program says so"),
        }
    }
}

impl fmt::Display for Tolerance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { numbers, absolute, relative } = *self;
        write!(f, "{numbers} differ by at most ")?;
        match (absolute > 0.0, relative > 0.0) {
            (true, true) => write!(f, "{} and {} of the larger one", Short(absolute), Short(relative)),
            (true, false) => write!(f, "{}", Short(absolute)),
            (false, _) => write!(f, "{} of the larger one", Short(relative)),
        }
    }
}

/// A number with an exponent where it would be long without.
struct Short(f64);

impl fmt::Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            number if (1e-4..1e6).contains(&number) => write!(f, "{number}"),
            number => write!(f, "{number:e}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_the_same_within_it() {
        let tolerance = Tolerance::new(Numbers::F64, 1e-3, 1e-2).expect("it is one");
        for (a, b, same) in [
            (1.0, 1.0, true),
            (1.0, 1.01, true),
            (1.0, 1.02, false),
            (0.0, 0.001, true),
            (0.0, -0.002, false),
            (-100.0, -101.0, true),
            (f64::NAN, f64::NAN, true),
            (f64::NAN, 1.0, false),
            (f64::INFINITY, f64::INFINITY, true),
            (f64::INFINITY, f64::NEG_INFINITY, false),
            (f64::INFINITY, 1.0, false),
            (f64::MAX, -f64::MAX, false),
        ] {
            assert_eq!(tolerance.allows(a, b), same, "{a} {b}");
            assert_eq!(tolerance.allows(b, a), same, "{b} {a}");
        }
    }

    #[test]
    fn it_is_said_in_words() {
        let numbers = |numbers, absolute, relative| {
            Comparison::Numbers(Tolerance::new(numbers, absolute, relative).expect("it is one"))
        };
        for (comparison, expected) in [
            (Comparison::Exact, "when their bytes are equal"),
            (numbers(Numbers::U8, 1.0, 0.0), "when their bytes differ by at most 1"),
            (
                numbers(Numbers::F32, 0.0, 0.001),
                "when their floats of 32 bits differ by at most 0.001 of the larger one",
            ),
            (numbers(Numbers::F64, 1e-12, 0.0), "when their floats of 64 bits differ by at most 1e-12"),
            (numbers(Numbers::F64, 1e300, 0.0), "when their floats of 64 bits differ by at most 1e300"),
            (
                numbers(Numbers::Text, 0.5, 0.25),
                "when their numbers in texts differ by at most 0.5 and 0.25 of the larger one",
            ),
        ] {
            assert_eq!(comparison.to_string(), expected);
        }
    }

    #[test]
    fn what_lets_everything_pass_or_nothing_is_refused() {
        let made = |numbers, absolute, relative| Tolerance::new(numbers, absolute, relative);
        let (everything, nothing) = (Err(ToleranceError::Everything), Err(ToleranceError::Nothing));
        for (numbers, absolute, relative, expected) in [
            (Numbers::U8, 255.0, 0.0, everything),
            (Numbers::U8, 128.0, 0.5, everything),
            (Numbers::U8, 0.9, 0.0, nothing),
            (Numbers::U8, 0.0, 0.003, nothing),
            (Numbers::F32, 7e38, 0.0, everything),
            (Numbers::F64, 1.7e308, 0.9, everything),
            (Numbers::F32, 1e-46, 0.0, nothing),
            (Numbers::F32, 0.0, 1e-9, nothing),
            (Numbers::F64, f64::MAX, 0.0, everything),
            (Numbers::Text, 0.0, 1e-17, nothing),
        ] {
            assert_eq!(made(numbers, absolute, relative), expected, "{numbers} {absolute} {relative}");
        }
        for (numbers, absolute, relative) in [
            (Numbers::U8, 254.0, 0.0),
            (Numbers::U8, 127.0, 0.5),
            (Numbers::F32, 3e38, 0.5),
            (Numbers::U8, 1.0, 0.0),
            (Numbers::U8, 0.0, 0.004),
            (Numbers::F32, 1e-44, 0.0),
            (Numbers::F32, 0.0, 1e-7),
            (Numbers::F64, 0.0, 1e-15),
            (Numbers::Text, 5e-324, 0.0),
        ] {
            assert!(made(numbers, absolute, relative).is_ok(), "{numbers} {absolute} {relative}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (absolute, relative) in
            [(0.0, 0.0), (-1.0, 0.0), (f64::NAN, 0.0), (1.0, 1.0), (1.0, f64::INFINITY), (-0.0, 0.1)]
        {
            assert!(Tolerance::new(Numbers::U8, absolute, relative).is_err(), "{absolute} {relative}");
        }
    }
}
