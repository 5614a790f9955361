//! What to say of time without work: who lends a machine wants to know why it earns nothing.

use std::time::{Duration, Instant};

/// Since when there has been no work of any coordinator, and when that is said next.
#[derive(Debug)]
pub(crate) struct Idle {
    every: Duration,
    since: Instant,
    next: Option<Instant>,
}

/// What stands in the way of a coordinator's work on this side.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Standing {
    /// There is no session, for this reason.
    Unconnected(String),
    /// It drains.
    Draining,
    /// There is no room for blobs, for this reason.
    NoRoom(String),
    /// Leases wait for their blobs.
    Fetching(usize),
    /// Results wait for the coordinator to settle them.
    Unsettled(usize),
    /// Leases wait for the ledger's word on their escrows.
    Unverified(usize),
    /// Work would not be paid, for this reason.
    NotPaid(String),
    /// Nothing does. Why there is none, in the coordinator's words.
    Ready(Option<String>),
}

impl Idle {
    /// Idle from now on.
    pub(crate) fn new(every: Duration, now: Instant) -> Self {
        Self { every, since: now, next: now.checked_add(every) }
    }

    /// There is work.
    pub(crate) fn busy(&mut self) {
        self.next = None;
    }

    /// There is none, now or still.
    pub(crate) fn idle(&mut self, now: Instant) {
        if self.next.is_none() {
            self.since = now;
            self.next = now.checked_add(self.every);
        }
    }

    /// When it is time to say so.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.next
    }

    /// For how long there has been no work, if that is to be said now.
    pub(crate) fn report(&mut self, now: Instant) -> Option<Duration> {
        if now < self.next? {
            return None;
        }
        self.next = now.checked_add(self.every);
        Some(now.duration_since(self.since))
    }
}

impl Standing {
    /// Why a coordinator's work does not come.
    pub(crate) fn reason(&self) -> String {
        match self {
            Self::Unconnected(reason) => format!("not connected: {reason}"),
            Self::Draining => "draining: no more leases are taken".to_owned(),
            Self::NoRoom(reason) => format!("paused for want of room for blobs: {reason}"),
            Self::Fetching(leases) => format!("waiting for the inputs of {leases} leases"),
            Self::Unsettled(results) => {
                format!("waiting for the coordinator to settle {results} results")
            }
            Self::Unverified(leases) => format!("waiting for the ledger's word on {leases} leases"),
            Self::NotPaid(reason) => format!("no work is taken: {reason}"),
            Self::Ready(Some(reason)) => format!("the coordinator says: {reason}"),
            Self::Ready(None) => "the coordinator has not said why".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn every_idle_minute_is_told() {
        let begin = Instant::now();
        let mut idle = Idle::new(MINUTE, begin);
        assert_eq!(idle.deadline(), Some(begin + MINUTE));
        assert_eq!(idle.report(begin + MINUTE / 2), None);
        assert_eq!(idle.report(begin + MINUTE), Some(MINUTE));
        assert_eq!(idle.report(begin + MINUTE), None, "once a minute");
        assert_eq!(idle.report(begin + 2 * MINUTE), Some(2 * MINUTE));
    }

    #[test]
    fn work_ends_the_idle_time() {
        let begin = Instant::now();
        let mut idle = Idle::new(MINUTE, begin);
        idle.busy();
        assert_eq!(idle.deadline(), None);
        assert_eq!(idle.report(begin + MINUTE), None);
        idle.idle(begin + MINUTE);
        idle.idle(begin + MINUTE + MINUTE / 2);
        assert_eq!(idle.report(begin + 2 * MINUTE), Some(MINUTE));
    }

    #[test]
    fn every_standing_is_a_reason() {
        for (standing, expected) in [
            (Standing::Unconnected("nobody answers".to_owned()), "not connected: nobody answers"),
            (Standing::Draining, "draining: no more leases are taken"),
            (Standing::NoRoom("full".to_owned()), "paused for want of room for blobs: full"),
            (Standing::Fetching(2), "waiting for the inputs of 2 leases"),
            (Standing::Unverified(4), "waiting for the ledger's word on 4 leases"),
            (Standing::NotPaid("no bond".to_owned()), "no work is taken: no bond"),
            (Standing::Unsettled(3), "waiting for the coordinator to settle 3 results"),
            (Standing::Ready(Some("no job needs it".to_owned())), "the coordinator says: no job needs it"),
            (Standing::Ready(None), "the coordinator has not said why"),
        ] {
            assert_eq!(standing.reason(), expected);
        }
    }
}
