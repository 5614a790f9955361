//! How sure a requester wants to be of a job's results.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Assurance;

/// How a job's results come to be relied on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Reliance {
    /// By credibility and spot checks: at most one accepted result in so many is wrong in the long run.
    Assured(Assurance),
    /// By so many equal results out of at most so many, each of another operator.
    Replicated {
        /// How many must be equal, at least 2.
        quorum: u32,
        /// How many are asked for at most: at least `quorum`, at most 100.
        most: u32,
    },
    /// Only machines that are trusted get tasks: the coordinator's own, and those of the operators that the job names.
    Trusted,
    /// Nothing is checked: whatever comes first is taken.
    Unverified,
}

impl Default for Reliance {
    fn default() -> Self {
        Self::Assured(Assurance::DEFAULT)
    }
}

impl fmt::Display for Reliance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Assured(assurance) => assurance.fmt(f),
            Self::Replicated { quorum, most } => write!(f, "{quorum} equal results of at most {most}"),
            Self::Trusted => f.write_str("only trusted machines"),
            Self::Unverified => f.write_str("not verified"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_said_in_words() {
        for (reliance, expected) in [
            (Reliance::default(), "at most 1 wrong in 1000"),
            (Reliance::Replicated { quorum: 2, most: 3 }, "2 equal results of at most 3"),
            (Reliance::Trusted, "only trusted machines"),
            (Reliance::Unverified, "not verified"),
        ] {
            assert_eq!(reliance.to_string(), expected);
        }
    }
}
