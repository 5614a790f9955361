//! How much one key may ask for: buckets that fill up over a minute, and a number of requests at a time. Pure but for the
//! table that holds them.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

/// What one key may ask for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct Limit {
    /// Requests a minute, at least 1.
    pub requests: u32,
    /// Tokens a minute, of prompts and answers: what an answer had is known at its end, so one that was long makes the next
    /// request wait.
    pub tokens: u32,
    /// Requests at a time, at least 1.
    pub at_once: u32,
}

impl Default for Limit {
    fn default() -> Self {
        Self { requests: 600, tokens: 1_000_000, at_once: 64 }
    }
}

impl Limit {
    /// For the owner of a free network, on the machine that it runs on: bounded, so that a loop that runs away does not take
    /// the machine with it.
    pub const OWNER: Self = Self { requests: 60_000, tokens: 100_000_000, at_once: 256 };
}

/// What fills up over a minute. Its level may be below nothing.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    /// In millionths.
    level: i64,
    at: Instant,
}

const MILLION: i64 = 1_000_000;
const MINUTE_US: i64 = 60_000_000;

impl Bucket {
    fn full(most: u32, now: Instant) -> Self {
        Self { level: i64::from(most) * MILLION, at: now }
    }

    fn fill(&mut self, most: u32, now: Instant) {
        let passed = now.saturating_duration_since(self.at).as_micros();
        let passed = i64::try_from(passed).unwrap_or(i64::MAX).min(100 * MINUTE_US);
        // What comes in a microsecond, in millionths: `most` a minute.
        let gained = i64::from(most) * passed / 60;
        self.level = self.level.saturating_add(gained).min(i64::from(most) * MILLION);
        self.at = now;
    }

    /// How long it takes until so much is in it.
    fn until(&self, most: u32, wanted: i64) -> Duration {
        let missing = (wanted - self.level).max(0);
        let us = missing.saturating_mul(60) / i64::from(most.max(1));
        Duration::from_micros(us.unsigned_abs())
    }

    fn left(&self) -> u64 {
        u64::try_from(self.level / MILLION).unwrap_or(0)
    }
}

/// What is left of a limit, as the headers of an answer say it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Left {
    /// Requests a minute, and tokens.
    pub limits: (u32, u32),
    /// What is left of them.
    pub remaining: (u64, u64),
    /// How long it takes until they are whole again.
    pub reset: (Duration, Duration),
}

/// Why a request has to wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Wait {
    /// What there are too many of.
    pub what: &'static str,
    /// For how long.
    pub time: Duration,
    /// What is left.
    pub left: Left,
}

#[derive(Debug)]
struct Account {
    requests: Bucket,
    tokens: Bucket,
    at_once: u32,
}

/// The accounts of all that have asked. Bounded: accounts that are whole again and unused go first.
#[derive(Clone, Debug, Default)]
pub struct Limits(Arc<Mutex<HashMap<String, Account>>>);

/// Accounts that are kept; beyond that those that nobody uses go.
const MOST_ACCOUNTS: usize = 4096;

/// How long one that may not have more at once is told to wait.
const AT_ONCE_PAUSE: Duration = Duration::from_secs(1);

impl Limits {
    /// Takes a request out of an account.
    ///
    /// # Errors
    /// [`Wait`] where there is none left: nothing is taken then.
    pub fn take(&self, who: &str, limit: Limit, now: Instant) -> Result<(Ticket, Left), Wait> {
        let mut accounts = self.lock();
        if accounts.len() >= MOST_ACCOUNTS {
            accounts.retain(|_, account| account.at_once > 0);
        }
        let account = accounts.entry(who.to_owned()).or_insert_with(|| Account {
            requests: Bucket::full(limit.requests, now),
            tokens: Bucket::full(limit.tokens, now),
            at_once: 0,
        });
        account.requests.fill(limit.requests, now);
        account.tokens.fill(limit.tokens, now);
        let wait = if account.at_once >= limit.at_once.max(1) {
            Some(("requests at a time", AT_ONCE_PAUSE))
        } else if account.requests.level < MILLION {
            Some(("requests a minute", account.requests.until(limit.requests, MILLION)))
        } else if account.tokens.level <= 0 {
            Some(("tokens a minute", account.tokens.until(limit.tokens, MILLION)))
        } else {
            None
        };
        if let Some((what, time)) = wait {
            return Err(Wait { what, time, left: left(account, limit) });
        }
        account.requests.level -= MILLION;
        account.at_once += 1;
        let ticket = Ticket { limits: self.clone(), who: who.to_owned() };
        Ok((ticket, left(account, limit)))
    }

    /// Takes tokens that an answer had.
    pub fn spend_tokens(&self, who: &str, tokens: u64) {
        if let Some(account) = self.lock().get_mut(who) {
            let tokens = i64::try_from(tokens).unwrap_or(i64::MAX).saturating_mul(MILLION);
            account.tokens.level = account.tokens.level.saturating_sub(tokens);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Account>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn left(account: &Account, limit: Limit) -> Left {
    let (requests, tokens) = (&account.requests, &account.tokens);
    let whole = |most: u32| i64::from(most) * MILLION;
    Left {
        limits: (limit.requests, limit.tokens),
        remaining: (requests.left(), tokens.left()),
        reset: (
            requests.until(limit.requests, whole(limit.requests)),
            tokens.until(limit.tokens, whole(limit.tokens)),
        ),
    }
}

/// A request that is answered: one of those at a time, until it is dropped.
#[derive(Debug)]
pub struct Ticket {
    limits: Limits,
    who: String,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some(account) = self.limits.lock().get_mut(&self.who) {
            account.at_once = account.at_once.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Limit = Limit { requests: 60, tokens: 600, at_once: 100 };

    #[test]
    fn a_minute_gives_as_many_requests_as_the_limit_says() {
        let (limits, start) = (Limits::default(), Instant::now());
        for left in (0..60).rev() {
            let (_ticket, now_left) = limits.take("a", LIMIT, start).expect("the bucket is full");
            assert_eq!(now_left.remaining.0, left);
        }
        let wait = limits.take("a", LIMIT, start).expect_err("it is empty");
        assert_eq!((wait.what, wait.time), ("requests a minute", Duration::from_secs(1)));
        assert_eq!(wait.left.reset.0, Duration::from_secs(60));
        assert!(limits.take("b", LIMIT, start).is_ok(), "another key has a bucket of its own");
        let later = start + Duration::from_secs(1);
        assert!(limits.take("a", LIMIT, later).is_ok(), "one a second comes in");
        assert!(limits.take("a", LIMIT, later).is_err());
    }

    #[test]
    fn an_answer_that_was_long_makes_the_next_request_wait() {
        let (limits, start) = (Limits::default(), Instant::now());
        drop(limits.take("a", LIMIT, start).expect("the bucket is full"));
        limits.spend_tokens("a", 900);
        let wait = limits.take("a", LIMIT, start).expect_err("there are 300 too few");
        assert_eq!(wait.what, "tokens a minute");
        assert_eq!(wait.time, Duration::from_millis(30_100), "301 tokens at 10 a second");
        assert!(limits.take("a", LIMIT, start + wait.time).is_ok());
    }

    #[test]
    fn requests_at_a_time_are_counted_until_they_end() {
        let (limits, now) = (Limits::default(), Instant::now());
        let limit = Limit { at_once: 2, ..LIMIT };
        let first = limits.take("a", limit, now).expect("none runs");
        let _second = limits.take("a", limit, now).expect("one runs");
        assert_eq!(limits.take("a", limit, now).expect_err("two run").what, "requests at a time");
        drop(first);
        assert!(limits.take("a", limit, now).is_ok());
    }

    #[test]
    fn accounts_that_nobody_uses_go() {
        let (limits, now) = (Limits::default(), Instant::now());
        let _kept = limits.take("kept", LIMIT, now).expect("the bucket is full");
        for number in 0..2 * MOST_ACCOUNTS {
            drop(limits.take(&number.to_string(), LIMIT, now));
        }
        let accounts = limits.lock();
        assert!(accounts.len() <= MOST_ACCOUNTS && accounts.contains_key("kept"), "{}", accounts.len());
    }
}
