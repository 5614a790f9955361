//! The pooled price, compared with the closed form.

use std::fmt::Write;

use crate::batch::Batch;
use crate::error::Error;
use crate::moments::Moments;
use crate::option::Call;

/// A simulation further off than this many standard errors is wrong: by chance that happens once in
/// 1.7 million.
pub const TOLERANCE: f64 = 5.0;

/// All batches together.
#[derive(Clone, Copy, Debug)]
pub struct Report {
    call: Call,
    batches: usize,
    pooled: Moments,
    exact: f64,
}

impl Report {
    /// Pools batches of one option in their order; `None` if there are none.
    pub fn new(batches: &[Batch]) -> Option<Report> {
        let call = batches.first()?.call;
        let pooled = batches.iter().fold(Moments::default(), |sum, b| sum.with(&b.moments));
        Some(Report { call, batches: batches.len(), pooled, exact: call.black_scholes() })
    }

    /// How far the price is from the closed form, in standard errors.
    pub fn apart(&self) -> f64 {
        let gap = self.pooled.mean - self.exact;
        if gap == 0.0 { 0.0 } else { gap / self.pooled.standard_error() }
    }

    /// Fails if the price contradicts the closed form.
    pub fn check(&self) -> Result<(), Error> {
        let apart = self.apart();
        // Written so that a price that is no number fails too.
        if apart.abs() <= TOLERANCE {
            return Ok(());
        }
        Err(Error::Wrong(format!(
            "the simulated price {} is {apart:.1} standard errors ({:.3e} each) from the closed form {}; \
             at most {TOLERANCE} are allowed",
            self.pooled.mean,
            self.pooled.standard_error(),
            self.exact
        )))
    }

    /// For programs.
    pub fn json(&self) -> String {
        let call = self.call;
        format!(
            "{{\n  \"option\": {{ \"kind\": \"european call\", \"spot\": {}, \"strike\": {}, \"rate\": {}, \
             \"volatility\": {}, \"years\": {} }},\n  \"batches\": {},\n  \"paths\": {},\n  \"price\": {},\n  \
             \"standard_error\": {},\n  \"black_scholes\": {},\n  \"standard_errors_apart\": {}\n}}\n",
            call.spot,
            call.strike,
            call.rate,
            call.volatility,
            call.years,
            self.batches,
            2 * self.pooled.count,
            self.pooled.mean,
            self.pooled.standard_error(),
            self.exact,
            self.apart()
        )
    }

    /// For people: the result, and each batch beside it.
    pub fn text(&self, batches: &[Batch]) -> String {
        let call = self.call;
        let mut text = format!(
            "European call: spot {}, strike {}, rate {}, volatility {}, {} years\n\n\
             paths           {} (in {} batches, half of them mirrored)\n\
             price           {:.6}\nstandard error  {:.6}\n\
             Black-Scholes   {:.6}\ndifference      {:+.2} standard errors\n\n\
             batch        price    std. error   apart\n",
            call.spot,
            call.strike,
            call.rate,
            call.volatility,
            call.years,
            2 * self.pooled.count,
            self.batches,
            self.pooled.mean,
            self.pooled.standard_error(),
            self.exact,
            self.apart()
        );
        for batch in batches {
            let error = batch.moments.standard_error();
            let apart = (batch.moments.mean - self.exact) / error;
            let _ = writeln!(
                text,
                "{:>5}  {:>11.6}  {error:>12.6}  {apart:>+6.2}",
                batch.number, batch.moments.mean
            );
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::simulate;

    #[test]
    fn right_prices_pass_and_wrong_ones_fail() {
        let call = Call { spot: 100.0, strike: 100.0, rate: 0.02, volatility: 0.2, years: 1.0 };
        let mut batches: Vec<Batch> = (0..4)
            .map(|number| Batch { call, seed: 1, number, moments: simulate(&call, 1, number, 200) })
            .collect();
        let report = Report::new(&batches).unwrap();
        report.check().unwrap();
        assert!(report.json().contains("\"paths\": 819200"));
        assert_eq!(report.text(&batches).lines().count(), 13);
        batches[2].moments.mean += 1.0;
        let error = Report::new(&batches).unwrap().check().unwrap_err().to_string();
        assert!(error.contains("standard errors"), "{error}");
        batches[2].moments.mean = f64::NAN;
        assert!(Report::new(&batches).unwrap().check().is_err());
        assert!(Report::new(&[]).is_none());
    }
}
