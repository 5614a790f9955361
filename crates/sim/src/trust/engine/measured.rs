//! What a simulated network comes to at its end.

use super::{Measured, World};
use crate::stats;

impl World<'_> {
    pub(super) fn measured(mut self) -> Measured {
        let counts = &mut self.counts;
        let share = |part: u64, whole: u64| if whole == 0 { 0.0 } else { part as f64 / whole as f64 };
        // What a wrong result brings its maker: its pay for nothing, and what somebody outside gives for it.
        let gained = counts.wrong as f64 * f64::from(1 + self.plan.outside_gain);
        let lost = counts.caught as f64 * self.plan.slash_odds * f64::from(self.plan.stake);
        Measured {
            adversary: self.adversary,
            rule: self.rule,
            results: counts.leases,
            accepted: counts.accepted,
            undecided: counts.undecided,
            accepted_since_first_lie: counts.accepted_since,
            wrong: counts.wrong,
            wrong_share: share(counts.wrong, counts.accepted_since),
            wrong_upper_95: if counts.has_lied {
                stats::upper_limit(counts.wrong, counts.accepted_since)
            } else {
                0.0
            },
            redundancy: share(counts.leases, counts.accepted),
            redundancy_after_warm_up: share(counts.late_leases, counts.late_accepted),
            caught: counts.caught,
            honest_caught: counts.honest_caught,
            detection_delay: stats::median(&mut counts.delays),
            profit: gained - lost,
            wrong_share_of_the_target: share(counts.target_wrong, counts.target_accepted),
        }
    }
}
