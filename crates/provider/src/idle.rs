//! What to say of time without work: who lends a machine wants to know why it earns nothing.

use std::time::{Duration, Instant};

/// Since when there has been no work, and when that is said next.
#[derive(Debug)]
pub(crate) struct Idle {
    every: Duration,
    since: Instant,
    next: Option<Instant>,
    /// Why, in the coordinator's words.
    told: Option<String>,
}

/// What stands in the way of work on this side.
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
    /// Nothing does.
    Ready,
}

impl Idle {
    /// Idle from now on.
    pub(crate) fn new(every: Duration, now: Instant) -> Self {
        Self { every, since: now, next: now.checked_add(every), told: None }
    }

    /// There is work.
    pub(crate) fn busy(&mut self) {
        self.next = None;
        self.told = None;
    }

    /// There is none, now or still.
    pub(crate) fn idle(&mut self, now: Instant) {
        if self.next.is_none() {
            self.since = now;
            self.next = now.checked_add(self.every);
        }
    }

    /// The coordinator says why there is none.
    pub(crate) fn told(&mut self, reason: Option<String>) {
        self.told = reason;
    }

    /// When it is time to say so.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.next
    }

    /// What to say now, and for how long there has been no work.
    pub(crate) fn report(&mut self, now: Instant, standing: &Standing) -> Option<(String, Duration)> {
        if now < self.next? {
            return None;
        }
        self.next = now.checked_add(self.every);
        Some((self.reason(standing), now.duration_since(self.since)))
    }

    fn reason(&self, standing: &Standing) -> String {
        match standing {
            Standing::Unconnected(reason) => format!("not connected: {reason}"),
            Standing::Draining => "draining: no more leases are taken".to_owned(),
            Standing::NoRoom(reason) => format!("paused for want of room for blobs: {reason}"),
            Standing::Fetching(leases) => format!("waiting for the inputs of {leases} leases"),
            Standing::Unsettled(results) => {
                format!("waiting for the coordinator to settle {results} results")
            }
            Standing::Unverified(leases) => format!("waiting for the ledger's word on {leases} leases"),
            Standing::NotPaid(reason) => format!("no work is taken: {reason}"),
            Standing::Ready => match &self.told {
                Some(reason) => format!("the coordinator says: {reason}"),
                None => "the coordinator has not said why".to_owned(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn every_idle_minute_has_a_reason() {
        let begin = Instant::now();
        let mut idle = Idle::new(MINUTE, begin);
        assert_eq!(idle.deadline(), Some(begin + MINUTE));
        assert_eq!(idle.report(begin + MINUTE / 2, &Standing::Ready), None);
        let first = idle.report(begin + MINUTE, &Standing::Unconnected("nobody answers".to_owned()));
        assert_eq!(first, Some(("not connected: nobody answers".to_owned(), MINUTE)));
        idle.told(Some("no job needs it".to_owned()));
        assert_eq!(idle.report(begin + MINUTE, &Standing::Ready), None, "once a minute");
        let second = idle.report(begin + 2 * MINUTE, &Standing::Ready);
        assert_eq!(second, Some(("the coordinator says: no job needs it".to_owned(), 2 * MINUTE)));
    }

    #[test]
    fn work_ends_the_idle_time_and_what_was_said_of_it() {
        let begin = Instant::now();
        let mut idle = Idle::new(MINUTE, begin);
        idle.told(Some("no job needs it".to_owned()));
        idle.busy();
        assert_eq!(idle.deadline(), None);
        assert_eq!(idle.report(begin + MINUTE, &Standing::Ready), None);
        idle.idle(begin + MINUTE);
        idle.idle(begin + MINUTE + MINUTE / 2);
        let said = idle.report(begin + 2 * MINUTE, &Standing::Ready);
        assert_eq!(said, Some(("the coordinator has not said why".to_owned(), MINUTE)));
    }

    #[test]
    fn what_stands_in_the_way_here_comes_first() {
        let begin = Instant::now();
        for (standing, expected) in [
            (Standing::Draining, "draining: no more leases are taken"),
            (Standing::NoRoom("full".to_owned()), "paused for want of room for blobs: full"),
            (Standing::Fetching(2), "waiting for the inputs of 2 leases"),
            (Standing::Unverified(4), "waiting for the ledger's word on 4 leases"),
            (Standing::NotPaid("no bond".to_owned()), "no work is taken: no bond"),
            (Standing::Unsettled(3), "waiting for the coordinator to settle 3 results"),
        ] {
            let mut idle = Idle::new(MINUTE, begin);
            idle.told(Some("no job needs it".to_owned()));
            let said = idle.report(begin + MINUTE, &standing);
            assert_eq!(said.map(|said| said.0).as_deref(), Some(expected));
        }
    }
}
