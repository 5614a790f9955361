//! Places at which a test has the process die as by a kill, to see that what comes after goes on from there.
//!
//! `TIDEMILL_FAILPOINT=name:n` kills the process when it passes the point of that name for the n-th time, counted
//! from 1. Without that variable a point costs one load. Those of folders of blobs are [`crate::blobs::FAILPOINTS`]; a
//! coordinator has more.

use std::sync::{
    OnceLock,
    atomic::{AtomicU64, Ordering},
};

/// The variable that arms a point.
const VARIABLE: &str = "TIDEMILL_FAILPOINT";

/// A point and how often it may yet be passed, the last time included.
#[derive(Debug)]
struct Armed {
    point: String,
    left: AtomicU64,
}

/// Passes the point of this name: the process dies here if that is what the test wants.
pub fn pass(point: &str) {
    static ARMED: OnceLock<Option<Armed>> = OnceLock::new();
    let armed = ARMED.get_or_init(|| {
        let wanted = std::env::var(VARIABLE).ok()?;
        let armed = Armed::parse(&wanted);
        if armed.is_none() {
            tracing::error!(wanted, "{VARIABLE} has to be a point and a count, as in before-commit:1");
        }
        armed
    });
    if armed.as_ref().is_some_and(|armed| armed.is_due(point)) {
        die();
    }
}

impl Armed {
    fn parse(wanted: &str) -> Option<Self> {
        let (point, count) = wanted.split_once(':').filter(|(point, _)| !point.is_empty())?;
        let left = count.parse().ok().filter(|count| *count > 0)?;
        Some(Self { point: point.to_owned(), left: AtomicU64::new(left) })
    }

    fn is_due(&self, passed: &str) -> bool {
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
        let armed = Armed::parse("after-fetch:2").expect("a point and a count");
        assert!(!armed.is_due("after-fetch"));
        assert!(!armed.is_due("after-pin"));
        assert!(armed.is_due("after-fetch"));
        assert!(!armed.is_due("after-fetch"));
        for wrong in ["after-fetch", "after-fetch:0", "after-fetch:x", ":1", ""] {
            assert!(Armed::parse(wrong).is_none(), "{wrong}");
        }
    }

    /// The test is its own child: what passes the point there must not be alive after it.
    #[test]
    fn the_process_dies_at_its_point() {
        use std::os::unix::process::ExitStatusExt;
        const ITSELF: &str = "failpoint::tests::the_process_dies_at_its_point";
        if std::env::var_os(VARIABLE).is_some() {
            pass("one");
            pass("other");
            pass("other");
            return;
        }
        let died_of = |wanted: &str| {
            let test = std::env::current_exe().expect("the test has a file");
            let mut child = std::process::Command::new(test);
            child.args(["--exact", ITSELF]).env(VARIABLE, wanted).stdout(std::process::Stdio::null());
            child.status().expect("the test can be run").signal()
        };
        assert_eq!(died_of("other:2"), Some(9));
        assert_eq!(died_of("other:3"), None);
    }
}
