//! The timestamps of blocks. The wall clock is an argument.

use std::time::{SystemTime, UNIX_EPOCH};

/// What a development ledger's time was set to. Without, it is the wall clock's.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Clock {
    /// Seconds ahead of the wall clock.
    ahead: i64,
    /// The next block's, once.
    next: Option<u64>,
}

impl Clock {
    /// Of a block made now. Never before its parent's; blocks of one second share a timestamp.
    pub(crate) fn take(&mut self, wall: u64, parent: u64) -> u64 {
        if let Some(next) = self.next.take() {
            // Time goes on from there.
            self.ahead = signed(next) - signed(wall);
            return next.max(parent);
        }
        self.peek(wall, parent)
    }

    /// What a block made now would get.
    pub(crate) fn peek(&self, wall: u64, parent: u64) -> u64 {
        let now = u64::try_from(signed(wall).saturating_add(self.ahead)).unwrap_or(0);
        self.next.unwrap_or(now).max(parent)
    }

    /// Moves time forward by so many seconds, and says how far ahead it is.
    pub(crate) fn advance(&mut self, seconds: u64) -> i64 {
        self.ahead = self.ahead.saturating_add(signed(seconds));
        self.ahead
    }

    /// Goes back to what the clock was when the wall clock said `then`: time goes on from there.
    pub(crate) fn rewind(&mut self, former: Clock, then: u64, now: u64) {
        *self = Clock { ahead: former.ahead.saturating_add(signed(then) - signed(now)), ..former };
    }

    pub(crate) fn set_next(&mut self, timestamp: u64) {
        self.next = Some(timestamp);
    }
}

/// The wall clock, in seconds since 1970.
pub(crate) fn wall() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn signed(seconds: u64) -> i64 {
    i64::try_from(seconds).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::Clock;

    #[test]
    fn time_never_goes_back() {
        let mut clock = Clock::default();
        assert_eq!([clock.take(100, 90), clock.take(100, 100), clock.take(80, 100)], [100, 100, 100]);
        clock.advance(50);
        assert_eq!(clock.take(100, 100), 150);
        clock.set_next(1_000);
        assert_eq!(
            [clock.peek(101, 150), clock.take(101, 150), clock.take(103, 1_000)],
            [1_000, 1_000, 1_002]
        );
        let former = clock;
        clock.advance(5_000);
        clock.rewind(former, 103, 110);
        assert_eq!(clock.take(111, 0), 1_003, "a second after what it was");
    }
}
