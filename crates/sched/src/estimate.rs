//! Estimates that follow what is observed.

/// The weight of a new observation once there are some.
const NEW: f64 = 0.1;

/// An exponentially weighted mean: of the first few observations it is the plain mean.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Average {
    value: f64,
    seen: u32,
    guessed: bool,
}

impl Average {
    pub fn observe(&mut self, value: f64) {
        self.seen = self.seen.saturating_add(1);
        self.value += (value - self.value) * NEW.max(1.0 / f64::from(self.seen));
    }

    /// Before the first observation: the same value, as a guess that the first observation replaces.
    pub fn guess(value: f64) -> Self {
        Self { value, seen: 0, guessed: true }
    }

    /// Whether it is a guess.
    pub fn is_guess(&self) -> bool {
        self.seen == 0 && self.guessed
    }

    /// None before the first observation, unless there is a guess.
    pub fn get(&self) -> Option<f64> {
        (self.seen > 0 || self.guessed).then_some(self.value)
    }
}

/// How often a provider's leases end well. Old ends fade, so that a provider can mend its ways.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Odds {
    good: f64,
    bad: f64,
}

/// What an end weighs after the next one: about the last fifty count.
const FADE: f64 = 0.98;

/// What a newcomer is taken to have shown: 9 good ends of 10.
const PRIOR: (f64, f64) = (9.0, 1.0);

impl Odds {
    pub fn observe(&mut self, good: bool) {
        self.good *= FADE;
        self.bad *= FADE;
        if good {
            self.good += 1.0;
        } else {
            self.bad += 1.0;
        }
    }

    /// The chance that the next lease ends well, in thousandths, at least 1.
    pub fn permille(&self) -> u64 {
        let good = self.good + PRIOR.0;
        ((good / (good + self.bad + PRIOR.1) * 1_000.0) as u64).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_average_is_the_mean_at_first_and_follows_later() {
        let mut average = Average::default();
        assert_eq!(average.get(), None);
        average.observe(10.0);
        average.observe(20.0);
        assert_eq!(average.get(), Some(15.0));
        for _ in 0..100 {
            average.observe(100.0);
        }
        assert!(average.get().is_some_and(|value| value > 99.0));
    }

    #[test]
    fn odds_fall_with_failures_and_recover() {
        let mut odds = Odds::default();
        assert_eq!(odds.permille(), 900);
        (0..50).for_each(|_| odds.observe(false));
        let low = odds.permille();
        assert!(low < 250, "{low}");
        (0..200).for_each(|_| odds.observe(true));
        assert!(odds.permille() > 950);
    }
}
