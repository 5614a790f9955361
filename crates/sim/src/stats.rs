//! How certain a measured share is.

/// The upper end of the Clopper-Pearson interval of 95 % for a share of which `hits` of `trials` were counted: the share
/// at which so few hits or fewer come with odds of 2.5 %. 1 without trials.
pub fn upper_limit(hits: u64, trials: u64) -> f64 {
    if hits >= trials {
        return 1.0;
    }
    // The distribution of hits falls as the share grows: it is found by halving.
    let (mut low, mut high) = (0.0_f64, 1.0_f64);
    for _ in 0..200 {
        let middle = (low + high) / 2.0;
        if at_most(hits, trials, middle) > 0.025 { low = middle } else { high = middle }
    }
    high
}

/// The odds of so few hits or fewer: 1 − I_p(hits + 1, trials − hits).
fn at_most(hits: u64, trials: u64, share: f64) -> f64 {
    if share <= 0.0 {
        return 1.0;
    }
    if share >= 1.0 {
        return 0.0;
    }
    1.0 - incomplete_beta(hits as f64 + 1.0, (trials - hits) as f64, share)
}

/// The regularised incomplete beta function, by the continued fraction of DLMF 8.17.22 and Lentz's method.
fn incomplete_beta(a: f64, b: f64, x: f64) -> f64 {
    if x > (a + 1.0) / (a + b + 2.0) {
        return 1.0 - incomplete_beta(b, a, 1.0 - x);
    }
    let front = (a * x.ln() + b * (-x).ln_1p() + ln_gamma(a + b) - ln_gamma(a) - ln_gamma(b)).exp() / a;
    const TINY: f64 = 1e-300;
    let (mut c, mut d) = (1.0, 0.0);
    let mut fraction = 1.0;
    for step in 0..10_000 {
        let m = f64::from(step / 2);
        let numerator = match step {
            0 => 1.0,
            _ if step % 2 == 0 => m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m)),
            _ => -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0)),
        };
        d = 1.0 + numerator * d;
        d = 1.0 / if d.abs() < TINY { TINY } else { d };
        c = 1.0 + numerator / c;
        if c.abs() < TINY {
            c = TINY;
        }
        fraction *= c * d;
        if (1.0 - c * d).abs() < 1e-14 {
            break;
        }
    }
    front * (fraction - 1.0)
}

/// The logarithm of the gamma function, by Stirling's series (DLMF 5.11.1) above 15 and its recurrence below.
fn ln_gamma(x: f64) -> f64 {
    let mut shift = 0.0;
    let mut x = x;
    while x < 15.0 {
        shift -= x.ln();
        x += 1.0;
    }
    let inverse = 1.0 / x;
    let square = inverse * inverse;
    let series =
        inverse / 12.0 * (1.0 - square / 30.0 * (1.0 - square * 2.0 / 7.0 * (1.0 - square * 3.0 / 4.0)));
    (x - 0.5) * x.ln() - x + 0.5 * (2.0 * std::f64::consts::PI).ln() + series + shift
}

/// The middle one; none of none.
pub fn median(values: &mut [u64]) -> Option<u64> {
    values.sort_unstable();
    values.get(values.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upper_limits_are_those_of_the_tables() {
        // Without a hit it is 1 − 0.025^(1/n).
        for trials in [1, 10, 1_000, 1_000_000_u64] {
            let exact = 1.0 - 0.025_f64.powf(1.0 / trials as f64);
            assert!((upper_limit(0, trials) / exact - 1.0).abs() < 1e-6, "{trials}");
        }
        // R 4.4, binom.test(x, n)$conf.int[2].
        for (hits, trials, expected) in [(1, 10, 0.445_016), (5, 100, 0.112_835), (50, 1_000, 0.065_390)] {
            assert!(
                (upper_limit(hits, trials) - expected).abs() < 2e-5,
                "{hits} of {trials}: {}",
                upper_limit(hits, trials)
            );
        }
        assert_eq!(upper_limit(0, 0), 1.0);
        assert_eq!(upper_limit(7, 7), 1.0);
        assert!(upper_limit(3_000, 4_000_000) > 3_000.0 / 4e6);
    }

    #[test]
    fn the_gamma_function_is_that_of_factorials() {
        let mut factorial = 1.0_f64;
        for n in 1..20 {
            assert!((ln_gamma(f64::from(n) + 1.0) - (factorial * f64::from(n)).ln()).abs() < 1e-10);
            factorial *= f64::from(n);
        }
        assert!((ln_gamma(0.5) - std::f64::consts::PI.sqrt().ln()).abs() < 1e-10);
    }

    #[test]
    fn medians() {
        assert_eq!(median(&mut []), None);
        assert_eq!(median(&mut [9, 1, 5]), Some(5));
    }
}
