//! Who may have how much memory: arithmetic over what is in it.

/// A model in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Share {
    /// Bytes of a page of its texts.
    pub(super) page_bytes: u64,
    /// Bytes of pages that its requests hold.
    pub(super) held: u64,
}

/// Whether a task may begin. What it may keep of its texts, and what the tasks may that have begun, must each fit beside the
/// weights of all models that are in use, so that each of them can go on once the others have ended what they are at.
pub(super) fn fits(memory: u64, weights: u64, rooms: impl IntoIterator<Item = u64>) -> bool {
    let most = rooms.into_iter().max().unwrap_or(0);
    weights.checked_add(most).is_some_and(|needed| needed <= memory)
}

/// The pages that each model may have: what its requests hold, and a like part of what is left, which keeps the beginnings of
/// texts where no request needs it. Where one of them starves, it has all that is left.
pub(super) fn pages(free: u64, shares: &[Share], starving: Option<usize>) -> Vec<u64> {
    let held: u64 = shares.iter().fold(0, |sum, share| sum.saturating_add(share.held));
    let left = free.saturating_sub(held);
    let part = left / (shares.len() as u64).max(1);
    let of = |(number, share): (usize, &Share)| {
        let more = match starving {
            None => part,
            Some(starving) if starving == number => left,
            Some(_) => 0,
        };
        share.held.saturating_add(more) / share.page_bytes.max(1)
    };
    shares.iter().enumerate().map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_has_begun_can_go_on_beside_all_weights() {
        assert!(fits(100, 60, [40, 10]));
        assert!(!fits(100, 61, [40, 10]));
        assert!(fits(100, 100, []));
        assert!(!fits(u64::MAX, u64::MAX, [1]));
    }

    #[test]
    fn what_is_left_is_shared_and_goes_to_one_that_starves() {
        let shares = [Share { page_bytes: 10, held: 40 }, Share { page_bytes: 5, held: 0 }];
        assert_eq!(pages(100, &shares, None), [7, 6]);
        assert_eq!(pages(100, &shares, Some(1)), [4, 12]);
        assert_eq!(pages(30, &shares, None), [4, 0], "what is held is not taken away");
        assert!(pages(30, &[], None).is_empty());
    }
}
