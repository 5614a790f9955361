//! Near the end of a job: whether a slow provider helps, or whether the others are done before it.

/// What one provider brings to a class of tasks. Times are µs from now, weighted by the odds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Power {
    /// Tasks that it runs at the same time.
    pub lanes: f64,
    /// When it can begin.
    pub start: f64,
    /// How long it takes for one.
    pub length: f64,
}

/// What comes of tasks that several providers share as water would. Times are µs from now.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shared {
    /// When the water is gone: whoever can begin only after this has no share.
    pub water: f64,
    /// When the first task can be done.
    pub first: f64,
    /// When the last one is done. A task that would be done later than this at some provider is better left to the
    /// others.
    pub last: u64,
}

/// Lets all of `powers` share so many tasks.
///
/// The time by which `tasks` are done is a convex function of time, so Newton's steps from the right find it.
pub(crate) fn share(powers: &[Power], tasks: f64) -> Shared {
    let mut time = f64::INFINITY;
    // Each step but the last drops a provider that begins too late; a bound keeps many of them cheap.
    for _ in 0..16 {
        let (mut rate, mut credit) = (0.0, 0.0);
        for power in powers.iter().filter(|power| power.start < time) {
            rate += power.lanes / power.length;
            credit += power.start * power.lanes / power.length;
        }
        if rate == 0.0 {
            break;
        }
        let next = (tasks + credit) / rate;
        if next >= time {
            break;
        }
        time = next;
    }
    // Tasks are no water: the last one may begin just before that, and none is done before the first can be.
    let least = |times: &mut dyn Iterator<Item = f64>| times.fold(f64::INFINITY, f64::min);
    let in_time = powers.iter().filter(|power| power.start <= time);
    let last = time + least(&mut in_time.map(|power| power.length));
    let first = least(&mut powers.iter().map(|power| power.start + power.length));
    let last = if first.is_finite() { last.max(first) as u64 } else { u64::MAX };
    Shared { water: time, first, last }
}

/// No end that [`share`] gives is under this: `lanes` slots as fast as the fastest of all, idle, and
/// nothing to fetch.
pub(crate) fn earliest(lanes: u64, tasks: u64, shortest: u64) -> u64 {
    (tasks.saturating_mul(shortest) / lanes.max(1)).saturating_add(shortest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finish(powers: &[Power], tasks: f64) -> u64 {
        share(powers, tasks).last
    }

    #[test]
    fn tasks_are_shared_by_rates() {
        let fast = Power { lanes: 2.0, start: 0.0, length: 10.0 };
        let slow = Power { lanes: 1.0, start: 0.0, length: 100.0 };
        let late = Power { lanes: 4.0, start: 1_000.0, length: 10.0 };
        assert_eq!(finish(&[fast], 10.0), 60);
        // 21 tasks in 100 µs: 20 by the fast one, 1 by the slow one; nothing is left for the late one.
        assert!((109..=110).contains(&finish(&[fast, slow, late], 21.0)));
        assert_eq!(finish(&[], 1.0), u64::MAX);
    }

    #[test]
    fn somebody_is_always_in_time() {
        // The many lanes of the first would share one task as water and be done long before any of them is.
        let wide = Power { lanes: 64.0, start: 0.0, length: 1_000.0 };
        let late = Power { lanes: 1.0, start: 5_000.0, length: 1.0 };
        assert!(finish(&[wide, late], 1.0) >= 1_000);
    }
}
