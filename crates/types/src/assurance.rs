//! What a requester asks for.

use std::{fmt, num::NonZeroU32, str::FromStr};

use serde::{Deserialize, Serialize};

/// How sure a requester wants to be: of so many results that are accepted, at most one is wrong in the long run.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct Assurance(NonZeroU32);

/// A number that is no assurance.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("an assurance is one wrong result in {} to {}, not in {found}", Assurance::LEAST, Assurance::MOST)]
pub struct AssuranceError {
    /// The number.
    pub found: u32,
}

impl Assurance {
    /// The least that can be asked for: one newcomer alone is believed to be wrong as often as this.
    pub const LEAST: u32 = 2;
    /// The most.
    pub const MOST: u32 = 1_000_000_000;
    /// What spot checks can honestly bound: beyond it a defect of the checks themselves is likelier than a wrong result,
    /// so every result is agreed on, or made again by a machine that is trusted.
    pub const MOST_BY_SPOT_CHECKS: u32 = 10_000;
    /// A verdict of less than this is not certain enough to say something about those who gave the results.
    pub const LEAST_TELLING: Self = match NonZeroU32::new(100) {
        Some(one_in) => Self(one_in),
        None => unreachable!(),
    };
    /// What is asked for where nothing is said.
    pub const DEFAULT: Self = match NonZeroU32::new(1_000) {
        Some(one_in) => Self(one_in),
        None => unreachable!(),
    };

    /// One wrong result in so many.
    ///
    /// # Errors
    /// [`AssuranceError`] outside of [`Self::LEAST`] to [`Self::MOST`].
    pub fn one_in(results: u32) -> Result<Self, AssuranceError> {
        let fits = NonZeroU32::new(results).filter(|count| (Self::LEAST..=Self::MOST).contains(&count.get()));
        fits.map(Self).ok_or(AssuranceError { found: results })
    }

    /// In how many results one may be wrong.
    pub fn results(self) -> u32 {
        self.0.get()
    }

    /// The most likely that an accepted result may be wrong.
    pub fn bound(self) -> f64 {
        1.0 / f64::from(self.0.get())
    }

    /// Whether it is more than spot checks can bound.
    pub fn needs_agreement(self) -> bool {
        self.0.get() > Self::MOST_BY_SPOT_CHECKS
    }
}

impl Default for Assurance {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl TryFrom<u32> for Assurance {
    type Error = AssuranceError;

    fn try_from(results: u32) -> Result<Self, AssuranceError> {
        Self::one_in(results)
    }
}

impl From<Assurance> for u32 {
    fn from(assurance: Assurance) -> u32 {
        assurance.results()
    }
}

impl FromStr for Assurance {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let results: u32 = text.parse().map_err(|_| format!("{text:?} is not a whole number, like 1000"))?;
        Self::try_from(results).map_err(|error| error.to_string())
    }
}

impl fmt::Display for Assurance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at most 1 wrong in {}", self.0)
    }
}
