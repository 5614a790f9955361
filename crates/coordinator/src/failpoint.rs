//! Where a coordinator can be made to die, to see that it goes on from there; see [`tidemill_net::failpoint`].

use tidemill_net::failpoint;

/// A moment at which something has become durable, or has left, and more is about to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Failpoint {
    BeforeCommit,
    AfterCommit,
    BetweenEffects,
    BeforeJobEnd,
    InRecovery,
    BeforePin,
    AfterPin,
    AfterFetch,
    InSweep,
    BeforeVouchers,
    AfterVouchers,
    BeforeSettlement,
    AfterSettlement,
}

/// The names of all points:
///
/// - `before-commit`: there are changes to commit, and nothing of them is on disk;
/// - `after-commit`: they are on disk, and none of their effects has left;
/// - `between-effects`: half of the effects of a commit have left (passed when there are two or more);
/// - `before-job-end`: the end of a job is to be committed;
/// - `in-recovery`: at a start, all running jobs have been taken up in memory, and pins are not put right yet;
/// - `before-pin`: an input of a job that is being submitted is to be fetched or pinned;
/// - `after-pin`: it is here and pinned, and the job is not submitted yet;
/// - `after-fetch`: a provider's output is here, and the core has not heard of it;
/// - `in-sweep`: some rows of removed jobs are deleted, and more are left;
///
/// and where work is paid for:
///
/// - `before-vouchers`: a result is accepted and owed for on disk, and its voucher is not signed;
/// - `after-vouchers`: a voucher is on its way to its provider;
/// - `before-settlement`: an escrow is to be settled, and no transaction is made;
/// - `after-settlement`: its transactions are in blocks, and the core has not heard of them.
pub const FAILPOINTS: [&str; 13] = [
    "before-commit",
    "after-commit",
    "between-effects",
    "before-job-end",
    "in-recovery",
    "before-pin",
    "after-pin",
    "after-fetch",
    "in-sweep",
    "before-vouchers",
    "after-vouchers",
    "before-settlement",
    "after-settlement",
];

impl Failpoint {
    /// Dies here if that is what the test wants.
    pub(crate) fn pass(self) {
        // They are in the order of their names.
        failpoint::pass(FAILPOINTS[self as usize]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_one_point() {
        use Failpoint::*;
        let all = [
            BeforeCommit,
            AfterCommit,
            BetweenEffects,
            BeforeJobEnd,
            InRecovery,
            BeforePin,
            AfterPin,
            AfterFetch,
            InSweep,
            BeforeVouchers,
            AfterVouchers,
            BeforeSettlement,
            AfterSettlement,
        ];
        // `BeforeCommit` is `before-commit`.
        let words = all.map(|point| format!("{point:?}").to_ascii_lowercase());
        assert_eq!(words, FAILPOINTS.map(|name| name.replace('-', "")));
        assert!(all.iter().enumerate().all(|(place, point)| *point as usize == place));
    }
}
