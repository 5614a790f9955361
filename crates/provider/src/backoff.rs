//! When to dial again.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(250);
const LONGEST: Duration = Duration::from_secs(10);

/// A session that held for so long was a good one: when it is lost, dialing begins anew, at once.
const GOOD: Duration = Duration::from_secs(10);

/// Waits between attempts: none before the first, then twice as long each time, with up to half taken off at random,
/// so that a coordinator that comes back is not dialed by all its providers at the same instant.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// How long to wait before the next attempt.
    pub(crate) fn next(&mut self, random: u64) -> Duration {
        let Some(doublings) = self.failures.checked_sub(1) else {
            self.failures = 1;
            return Duration::ZERO;
        };
        self.failures = self.failures.saturating_add(1);
        let whole = FIRST.saturating_mul(1 << doublings.min(16)).min(LONGEST);
        let half = u64::try_from(whole.as_micros() / 2).unwrap_or(u64::MAX);
        Duration::from_micros(half + random % (half + 1))
    }

    /// The coordinator is there: dialing begins anew, at once.
    pub(crate) fn begin_anew(&mut self) {
        self.failures = 0;
    }

    /// A session has ended after so long.
    pub(crate) fn held(&mut self, for_so_long: Duration) {
        if for_so_long >= GOOD {
            self.failures = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_ten_seconds() {
        let mut backoff = Backoff::default();
        let waits: Vec<_> = (0..9).map(|_| backoff.next(u64::MAX / 7).as_millis()).collect();
        assert_eq!(waits[0], 0);
        for (wait, whole) in waits[1..].iter().zip([250, 500, 1000, 2000, 4000, 8000, 10_000, 10_000]) {
            assert!((whole / 2..=whole).contains(wait), "{wait} of {whole}");
        }
        for _ in 0..200 {
            assert!(backoff.next(0) <= LONGEST);
        }
    }

    #[test]
    fn only_a_session_that_held_begins_anew() {
        let mut backoff = Backoff::default();
        assert_eq!(backoff.next(5), Duration::ZERO);
        backoff.held(Duration::from_secs(1));
        assert!(backoff.next(5) >= FIRST / 2, "a coordinator that hangs up at once is not dialed at once");
        backoff.held(GOOD);
        assert_eq!(backoff.next(5), Duration::ZERO);
        assert!(backoff.next(5) >= FIRST / 2);
        backoff.begin_anew();
        assert_eq!(backoff.next(5), Duration::ZERO, "it is known to be there");
    }
}
