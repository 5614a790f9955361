//! Cuts a dispatch into boxes of workgroups that run one after another, so that none of them is long.

use std::time::Duration;

/// How long a slice should take. Operating systems reset a GPU that is busy with one for seconds, and people who use the
/// machine feel a tenth of that.
const WANTED: Duration = Duration::from_millis(60);

/// With how many workgroups the first dispatch of a kernel begins, before it is known how long they take.
pub(super) const FIRST: u64 = 32;

/// The slices of a dispatch.
#[derive(Clone, Debug)]
pub(super) struct Slices {
    groups: [u32; 3],
    /// The next workgroup, in the order x, y, z.
    next: u64,
    /// How many workgroups a slice has at most.
    most: u64,
}

/// A box of workgroups.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Slice {
    pub(super) first: [u32; 3],
    pub(super) groups: [u32; 3],
}

impl Slices {
    /// Begins with so many workgroups.
    pub(super) fn new(groups: [u32; 3], first: u64) -> Self {
        Self { groups, next: 0, most: first.max(1) }
    }

    /// With how many workgroups the next dispatch of the kernel should begin. It may be heavier than this one, so it begins
    /// with fewer than this one ended with.
    pub(super) fn next_first(&self) -> u64 {
        (self.most / 4).max(FIRST)
    }

    /// Learns from a slice how many workgroups the next may have.
    pub(super) fn took(&mut self, slice: Slice, time: Duration) {
        let had = count(slice.groups).max(1);
        let fits = u128::from(had) * WANTED.as_micros() / time.as_micros().max(1);
        // A short slice says little of a long one, so growth is bounded.
        self.most = u64::try_from(fits).unwrap_or(u64::MAX).clamp(1, had.saturating_mul(8));
    }
}

impl Iterator for Slices {
    type Item = Slice;

    fn next(&mut self) -> Option<Slice> {
        let [width, height, depth] = self.groups.map(u64::from);
        if self.next >= count(self.groups) {
            return None;
        }
        let (x, y, z) = (self.next % width, self.next / width % height, self.next / width / height);
        let [columns, rows, planes] = if x == 0 && y == 0 && self.most >= width * height {
            [width, height, (self.most / (width * height)).min(depth - z)]
        } else if x == 0 && self.most >= width {
            [width, (self.most / width).min(height - y), 1]
        } else {
            [self.most.min(width - x), 1, 1]
        };
        self.next += columns * rows * planes;
        // Each is at most a dimension of the dispatch.
        let narrow = |values: [u64; 3]| values.map(|value| value as u32);
        Some(Slice { first: narrow([x, y, z]), groups: narrow([columns, rows, planes]) })
    }
}

fn count(groups: [u32; 3]) -> u64 {
    groups.into_iter().map(u64::from).product()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn each_workgroup_is_in_one_slice(
            groups in prop::array::uniform3(1_u32..9),
            times in prop::collection::vec(1_u64..1_000_000, 600),
        ) {
            let mut seen = vec![false; count(groups) as usize];
            let mut slices = Slices::new(groups, FIRST);
            for time in times {
                let Some(slice) = slices.next() else { break };
                prop_assert!(count(slice.groups) <= slices.most);
                for z in slice.first[2]..slice.first[2] + slice.groups[2] {
                    for y in slice.first[1]..slice.first[1] + slice.groups[1] {
                        for x in slice.first[0]..slice.first[0] + slice.groups[0] {
                            let at = x + groups[0] * (y + groups[1] * z);
                            prop_assert!(!std::mem::replace(&mut seen[at as usize], true));
                        }
                    }
                }
                slices.took(slice, Duration::from_micros(time));
            }
            prop_assert!(seen.into_iter().all(|seen| seen));
        }
    }

    #[test]
    fn a_slice_is_as_long_as_is_wanted() {
        let mut slices = Slices::new([65_535, 65_535, 1], FIRST);
        let mut largest = 0;
        for _ in 0..50 {
            let slice = slices.next().expect("there are many more");
            let groups = count(slice.groups);
            largest = largest.max(groups);
            slices.took(slice, Duration::from_micros(10) * groups as u32);
        }
        assert_eq!(largest, 6_000);
        assert_eq!(slices.next_first(), 1_500);
        let slice = slices.next().expect("there are many more");
        slices.took(slice, Duration::from_secs(3));
        let after = count(slices.next().expect("there are many more").groups);
        assert!(after <= 6_000 / 49, "{after} workgroups after a slice of seconds");
    }
}
