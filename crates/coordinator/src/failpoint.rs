//! Places at which a test has the process die as by a power cut, to see that it goes on from there.
//!
//! `TIDEMILL_FAILPOINT=name:n` kills the process when it passes the point of that name ([`FAILPOINTS`]) for the
//! n-th time, counted from 1. Without that variable a point costs one load.

use std::sync::{
    OnceLock,
    atomic::{AtomicU64, Ordering},
};

/// The variable that arms a point.
const VARIABLE: &str = "TIDEMILL_FAILPOINT";

/// Where a coordinator can be made to die.
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

/// In the order of [`FAILPOINTS`].
const ALL: [Failpoint; FAILPOINTS.len()] = [
    Failpoint::BeforeCommit,
    Failpoint::AfterCommit,
    Failpoint::BetweenEffects,
    Failpoint::BeforeJobEnd,
    Failpoint::InRecovery,
    Failpoint::BeforePin,
    Failpoint::AfterPin,
    Failpoint::AfterFetch,
    Failpoint::InSweep,
    Failpoint::BeforeVouchers,
    Failpoint::AfterVouchers,
    Failpoint::BeforeSettlement,
    Failpoint::AfterSettlement,
];

/// A point and how often it may yet be passed, the last time included.
#[derive(Debug)]
struct Armed {
    point: Failpoint,
    left: AtomicU64,
}

impl Failpoint {
    /// Dies here if that is what the test wants.
    pub(crate) fn pass(self) {
        static ARMED: OnceLock<Option<Armed>> = OnceLock::new();
        let armed = ARMED.get_or_init(|| {
            let wanted = std::env::var(VARIABLE).ok()?;
            let armed = Armed::parse(&wanted);
            if armed.is_none() {
                tracing::error!(wanted, "{VARIABLE} has to be a point and a count, as in before-commit:1");
            }
            armed
        });
        if armed.as_ref().is_some_and(|armed| armed.is_due(self)) {
            die();
        }
    }
}

impl Armed {
    fn parse(wanted: &str) -> Option<Self> {
        let (name, count) = wanted.split_once(':')?;
        let place = FAILPOINTS.iter().position(|point| *point == name)?;
        let left = count.parse().ok().filter(|count| *count > 0)?;
        Some(Self { point: ALL[place], left: AtomicU64::new(left) })
    }

    fn is_due(&self, passed: Failpoint) -> bool {
        self.point == passed && self.left.fetch_sub(1, Ordering::Relaxed) == 1
    }
}

/// Nothing that would run at an orderly end runs: no destructor, no flush.
fn die() -> ! {
    let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    // The signal may take a moment to arrive.
    loop {
        std::thread::park();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_is_due_when_it_is_passed_for_the_nth_time() {
        let armed = Armed::parse("after-fetch:2").expect("the point is known");
        assert!(!armed.is_due(Failpoint::AfterFetch));
        assert!(!armed.is_due(Failpoint::AfterPin));
        assert!(armed.is_due(Failpoint::AfterFetch));
        assert!(!armed.is_due(Failpoint::AfterFetch));
    }

    /// The test is its own child: what passes the point there must not be alive after it.
    #[test]
    fn the_process_dies_at_its_point() {
        use std::os::unix::process::ExitStatusExt;
        const ITSELF: &str = "failpoint::tests::the_process_dies_at_its_point";
        if std::env::var_os(VARIABLE).is_some() {
            Failpoint::AfterPin.pass();
            Failpoint::BeforePin.pass();
            Failpoint::BeforePin.pass();
            return;
        }
        let died_of = |wanted: &str| {
            let test = std::env::current_exe().expect("the test has a file");
            let mut child = std::process::Command::new(test);
            child.args(["--exact", ITSELF]).env(VARIABLE, wanted).stdout(std::process::Stdio::null());
            child.status().expect("the test can be run").signal()
        };
        assert_eq!(died_of("before-pin:2"), Some(9));
        assert_eq!(died_of("before-pin:3"), None);
    }

    #[test]
    fn every_name_is_one_point() {
        for (name, point) in FAILPOINTS.iter().zip(ALL) {
            assert_eq!(Armed::parse(&format!("{name}:1")).map(|armed| armed.point), Some(point));
        }
        for wrong in ["after-fetch", "after-fetch:0", "after-fetch:x", "nowhere:1", ""] {
            assert!(Armed::parse(wrong).is_none(), "{wrong}");
        }
    }
}
