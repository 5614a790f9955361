//! How the leases that a machine can hold are divided among its coordinators.
//!
//! Credits bound what waits, and not who gets slots. So a coordinator keeps its share while it has no work or no
//! session: even a part of them keeps all slots busy, and a share that came and went with sessions would be promised
//! twice while messages are under way. Coordinators that pay share evenly. One that does not pay, beside others that
//! do, may hold as many leases as there are slots, enough to use what those leave idle.

use std::time::{Duration, Instant};

use crate::key::CoordinatorIndex;

/// A share that was cut still counts in full for so long: leases may be under way for it.
const UNDER_WAY: Duration = Duration::from_secs(10);

/// What a coordinator may claim.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Claim {
    /// It pays, as far as is known.
    Full,
    /// It does not pay.
    Little,
    /// It will not have this provider.
    Nothing,
}

/// The credits of all coordinators. What they may hold together is never more than the machine can.
#[derive(Debug)]
pub(crate) struct Credits {
    total: u32,
    least: u32,
    shares: Vec<Share>,
}

#[derive(Clone, Copy, Debug)]
struct Share {
    now: u32,
    /// What it was before it was cut, and until when that counts.
    before: Option<(u32, Instant)>,
}

impl Credits {
    /// Divides `total` credits evenly among so many coordinators. `least`: what one that does not pay is left with.
    pub(crate) fn new(total: u32, least: u32, coordinators: usize) -> Self {
        let shares = split(total, least, &vec![Claim::Full; coordinators]);
        let shares = shares.into_iter().map(|now| Share { now, before: None }).collect();
        Self { total, least, shares }
    }

    /// What all coordinators together may hold.
    pub(crate) fn total(&self) -> u32 {
        self.total
    }

    /// The share of a coordinator.
    pub(crate) fn of(&self, coordinator: CoordinatorIndex) -> u32 {
        self.shares[coordinator.place()].now
    }

    /// The most leases that a coordinator may hold, those of a share that was cut lately among them.
    pub(crate) fn most(&self, coordinator: CoordinatorIndex) -> u32 {
        self.shares[coordinator.place()].most()
    }

    /// Divides them anew. `open`: how many leases each coordinator has here. A share shrinks at once, and grows by what
    /// the others really have left.
    pub(crate) fn divide(&mut self, claims: &[Claim], open: &[usize], now: Instant) {
        let wanted = split(self.total, self.least, claims);
        for (share, wanted) in self.shares.iter_mut().zip(&wanted) {
            share.before = share.before.filter(|(_, until)| now < *until);
            if *wanted < share.now {
                share.before = Some((share.most(), now + UNDER_WAY));
                share.now = *wanted;
            }
        }
        for (place, wanted) in wanted.into_iter().enumerate() {
            let grows = wanted.saturating_sub(self.shares[place].now);
            if grows > 0 {
                self.shares[place].now += grows.min(self.left(open));
            }
        }
    }

    /// What no coordinator holds or may come to hold.
    fn left(&self, open: &[usize]) -> u32 {
        let held =
            |(share, open): (&Share, &usize)| share.most().max(u32::try_from(*open).unwrap_or(u32::MAX));
        let held = self.shares.iter().zip(open).map(held).fold(0, u32::saturating_add);
        self.total.saturating_sub(held)
    }

    /// When a share may grow without anything happening before.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.shares.iter().filter_map(|share| share.before.map(|(_, until)| until)).min()
    }
}

impl Share {
    fn most(&self) -> u32 {
        self.before.map_or(self.now, |(before, _)| before.max(self.now))
    }
}

/// What each is to have, the first ones a little more where it does not come out even.
fn split(total: u32, least: u32, claims: &[Claim]) -> Vec<u32> {
    let count = |wanted: Claim| {
        let found = claims.iter().filter(|claim| **claim == wanted).count();
        u32::try_from(found).unwrap_or(u32::MAX)
    };
    let (full, little) = match (count(Claim::Full), count(Claim::Little)) {
        // Nobody pays, so nobody stands back.
        (0, all) => ((Claim::Little, all), 0),
        (full, little) => ((Claim::Full, full), little),
    };
    let (favoured, favoured_count) = full;
    if favoured_count == 0 {
        return vec![0; claims.len()];
    }
    let little_each = least.min(total / (favoured_count + little));
    let rest = total - little_each * little;
    let (each, mut over) = (rest / favoured_count, rest % favoured_count);
    let share = |claim: &Claim| match *claim {
        claim if claim == favoured => {
            let one_more = u32::from(over > 0);
            over -= one_more;
            each + one_more
        }
        Claim::Little => little_each,
        Claim::Full | Claim::Nothing => 0,
    };
    claims.iter().map(share).collect()
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::{Claim::*, *};

    const FIRST: CoordinatorIndex = CoordinatorIndex(0);
    const SECOND: CoordinatorIndex = CoordinatorIndex(1);

    #[test]
    fn a_single_coordinator_has_them_all() {
        let now = Instant::now();
        let mut credits = Credits::new(256, 1, 1);
        for claim in [Full, Little] {
            credits.divide(&[claim], &[300], now);
            assert_eq!((credits.of(FIRST), credits.most(FIRST), credits.deadline()), (256, 256, None));
        }
    }

    #[test]
    fn those_that_pay_share_evenly_and_leave_the_others_a_lease_for_each_slot() {
        assert_eq!(split(256, 1, &[Full, Full]), [128, 128]);
        assert_eq!(split(256, 1, &[Full, Full, Full]), [86, 85, 85]);
        assert_eq!(split(256, 4, &[Full, Little]), [252, 4]);
        assert_eq!(split(256, 4, &[Little, Full, Nothing, Full]), [4, 126, 0, 126]);
        assert_eq!(split(256, 4, &[Little, Little]), [128, 128], "nobody pays");
        assert_eq!(split(2, 4, &[Little, Full]), [1, 1], "nobody is left with more than an even share");
        assert_eq!(split(256, 4, &[Nothing]), [0]);
    }

    #[test]
    fn a_share_grows_when_what_another_lost_cannot_come_any_more() {
        let now = Instant::now();
        let mut credits = Credits::new(100, 2, 2);
        credits.divide(&[Full, Little], &[0, 50], now);
        assert_eq!((credits.of(FIRST), credits.of(SECOND)), (50, 2));
        assert_eq!(credits.most(SECOND), 50, "leases may be under way");
        assert_eq!(credits.deadline(), Some(now + UNDER_WAY));
        let later = now + UNDER_WAY;
        credits.divide(&[Full, Little], &[0, 30], later);
        assert_eq!((credits.of(FIRST), credits.most(SECOND)), (70, 2), "30 leases are here still");
        credits.divide(&[Full, Little], &[0, 1], later);
        assert_eq!((credits.of(FIRST), credits.deadline()), (98, None));
    }

    #[test]
    fn who_will_not_have_this_provider_leaves_its_share_to_the_others() {
        let now = Instant::now();
        let mut credits = Credits::new(100, 2, 2);
        credits.divide(&[Nothing, Full], &[0, 0], now);
        credits.divide(&[Nothing, Full], &[0, 0], now + UNDER_WAY);
        assert_eq!((credits.of(FIRST), credits.of(SECOND)), (0, 100));
    }

    proptest! {
        /// Whatever claims change, and however each coordinator uses what it was told, not more leases are here than the
        /// machine can hold.
        #[test]
        fn all_together_never_hold_more_than_there_is(
            steps in vec((vec(0u8..3, 3), vec(0u32..200, 3), 0u64..15), 1..60),
        ) {
            let mut now = Instant::now();
            let mut credits = Credits::new(100, 5, 3);
            let mut open = [0usize; 3];
            for (claims, uses, seconds) in steps {
                now += Duration::from_secs(seconds);
                let claims: Vec<_> =
                    claims.into_iter().map(|claim| [Full, Little, Nothing][usize::from(claim)]).collect();
                credits.divide(&claims, &open, now);
                for (place, uses) in uses.into_iter().enumerate() {
                    let most = credits.most(CoordinatorIndex(place as u8)) as usize;
                    // Some end; others come, by what it may have been told.
                    open[place] = (uses as usize).min(most.max(open[place]));
                }
                prop_assert!(open.iter().sum::<usize>() <= 100, "{open:?}");
            }
        }
    }
}
