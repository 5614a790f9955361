//! The option: what is priced, and what Black and Scholes say.

use crate::functions::{exp, ln, normal_cdf};

/// A European call on a share that pays no dividend.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Call {
    /// The price of the share today.
    pub spot: f64,
    /// The price at which it may be bought.
    pub strike: f64,
    /// The continuous yearly interest rate.
    pub rate: f64,
    /// The yearly volatility.
    pub volatility: f64,
    /// Years until it may be exercised.
    pub years: f64,
}

impl Call {
    /// The factor that brings money at the end to today's value.
    pub fn discount(&self) -> f64 {
        exp(-self.rate * self.years)
    }

    /// The closed form of Black and Scholes.
    pub fn black_scholes(&self) -> f64 {
        let spread = self.volatility * self.years.sqrt();
        let drift = (self.rate + 0.5 * self.volatility * self.volatility) * self.years;
        let d1 = (ln(self.spot) - ln(self.strike) + drift) / spread;
        self.spot * normal_cdf(d1) - self.strike * self.discount() * normal_cdf(d1 - spread)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn black_scholes_has_known_values() {
        let call = Call { spot: 100.0, strike: 100.0, rate: 0.05, volatility: 0.2, years: 1.0 };
        assert!((call.black_scholes() - 10.450_583_572_185_57).abs() < 1e-10);
        // Hull, example 15.6
        let call = Call { spot: 42.0, strike: 40.0, rate: 0.1, volatility: 0.2, years: 0.5 };
        assert!((call.black_scholes() - 4.759_422_392_871_532).abs() < 1e-9);
        // Deep in the money: the share less the discounted strike.
        let call = Call { spot: 100.0, strike: 1.0, rate: 0.05, volatility: 0.1, years: 1.0 };
        assert!((call.black_scholes() - (100.0 - (-0.05f64).exp())).abs() < 1e-10);
    }
}
