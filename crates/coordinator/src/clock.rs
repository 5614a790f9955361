//! What time it is for the core.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tidemill_sched::Micros;

use crate::event::Now;

/// A step of the clock that is longer than this was no work: the process did not run.
const MOST_STEP: Duration = Duration::from_secs(1);

/// A clock that leaves out the time in which the process could not run: it was stopped, the machine slept, or
/// the disk was full. Otherwise every lease would seem to have expired in it, although nobody could be heard.
pub struct Clock {
    last: Instant,
    passed: Duration,
}

impl Clock {
    /// A clock at zero.
    pub fn new() -> Self {
        Self { last: Instant::now(), passed: Duration::ZERO }
    }

    /// The time now.
    pub fn now(&mut self) -> Now {
        let now = Instant::now();
        self.passed += now.duration_since(self.last).min(MOST_STEP);
        self.last = now;
        let mono = Micros(u64::try_from(self.passed.as_micros()).unwrap_or(u64::MAX));
        Now { mono, unix_ms: unix_ms() }
    }
}

/// The time of the system's clock: milliseconds since 1970.
pub fn unix_ms() -> u64 {
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(unix.as_millis()).unwrap_or(u64::MAX)
}
