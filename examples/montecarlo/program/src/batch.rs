//! The result of one batch, as a text file of names and numbers.

use std::collections::BTreeMap;

use crate::moments::Moments;
use crate::option::Call;

/// What one task found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Batch {
    /// The option that was priced.
    pub call: Call,
    /// The seed of the whole simulation.
    pub seed: u64,
    /// Which batch this is.
    pub number: u64,
    /// The discounted payoffs of its pairs of paths.
    pub moments: Moments,
}

impl Batch {
    /// As lines of a name and a number; numbers are written so that they come back bit by bit.
    pub fn to_text(&self) -> String {
        let Batch { call, seed, number, moments } = self;
        format!(
            "spot {}\nstrike {}\nrate {}\nvol {}\nyears {}\nseed {seed}\nbatch {number}\npairs {}\nmean {}\nsquares {}\n",
            call.spot,
            call.strike,
            call.rate,
            call.volatility,
            call.years,
            moments.count,
            moments.mean,
            moments.squares
        )
    }

    /// Reads a batch; the error says what is wrong, with the line.
    pub fn from_text(text: &str) -> Result<Batch, String> {
        let mut values = BTreeMap::new();
        for (i, line) in text.lines().enumerate() {
            match line.split_once(' ') {
                Some((name, value)) => values.insert(name, (i + 1, value)),
                None => return Err(format!("line {}: expected a name and a number", i + 1)),
            };
        }
        let find = |name: &str| values.get(name).copied().ok_or_else(|| format!("\"{name}\" is missing"));
        let real = |name: &str| -> Result<f64, String> {
            let (line, value) = find(name)?;
            let number = value.parse::<f64>().ok().filter(|x| x.is_finite());
            number.ok_or_else(|| format!("line {line}: {name}: \"{value}\" is not a number"))
        };
        let whole = |name: &str| -> Result<u64, String> {
            let (line, value) = find(name)?;
            value.parse().map_err(|_| format!("line {line}: {name}: \"{value}\" is not a whole number"))
        };
        Ok(Batch {
            call: Call {
                spot: real("spot")?,
                strike: real("strike")?,
                rate: real("rate")?,
                volatility: real("vol")?,
                years: real("years")?,
            },
            seed: whole("seed")?,
            number: whole("batch")?,
            moments: Moments { count: whole("pairs")?, mean: real("mean")?, squares: real("squares")? },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_come_back_and_faults_are_named() {
        let batch = Batch {
            call: Call { spot: 100.1, strike: 1e-5, rate: -0.01, volatility: 0.3, years: 0.1 },
            seed: u64::MAX,
            number: 3,
            moments: Moments { count: 12, mean: 1.0 / 3.0, squares: 1e-300 },
        };
        let text = batch.to_text();
        assert_eq!(Batch::from_text(&text), Ok(batch));
        assert_eq!(Batch::from_text("spot 1\nstrike").unwrap_err(), "line 2: expected a name and a number");
        let broken = text.replace("pairs 12", "pairs many");
        assert_eq!(Batch::from_text(&broken).unwrap_err(), "line 8: pairs: \"many\" is not a whole number");
        assert_eq!(Batch::from_text("").unwrap_err(), "\"spot\" is missing");
    }
}
