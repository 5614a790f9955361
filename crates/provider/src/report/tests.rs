use proptest::{collection::vec, prelude::*};
use tidemill_net::wire::{LogBody, MAX_FRAME_BYTES, MAX_INLINE_LOG_BYTES, MAX_INLINE_OUTPUT_BYTES};
use tidemill_types::{Claim, ClaimedOutput, JobId, Outcome, TaskNumber, Usage};

use super::*;

/// A result whose log has so many bytes.
fn result(lease: u64, log: usize) -> TaskResult {
    let output = ClaimedOutput { id: BlobId::of(&lease.to_le_bytes()), len: 8 };
    TaskResult {
        lease: LeaseId(lease),
        seal: [0; 16],
        leaf: [0; 32],
        claim: Claim {
            outcome: Outcome::Done,
            usage: Usage::default(),
            output: Some(output),
            hardware_class: None,
        },
        wall_us: 1,
        output: Some(OutputBody::Inline(lease.to_le_bytes().to_vec())),
        log: LogBody::Whole(vec![b'x'; log]),
    }
}

fn large(lease: u64) -> TaskResult {
    TaskResult { output: Some(OutputBody::Blob), ..result(lease, 0) }
}

fn batch(reports: &mut Reports, now: Instant) -> Option<(u64, Vec<u64>)> {
    let (sequence, results) = reports.batch(now)?;
    Some((sequence, results.iter().map(|result| result.lease.0).collect()))
}

/// The task of a lease.
fn task(lease: LeaseId) -> TaskId {
    TaskId { job: JobId([1; 16]), task: TaskNumber(lease.0) }
}

impl Reports {
    fn take(&mut self, result: TaskResult, now: Instant) {
        let task = task(result.lease);
        self.add(result, task, now);
    }

    fn sanity_check(&self) {
        let sent: usize = self.sent.values().map(Vec::len).sum();
        assert_eq!(self.places.len(), sent + self.unsent.len());
        let place = |result: &TaskResult| self.places.get(&result.lease).map(|place| place.sequence);
        assert!(self.unsent.iter().all(|result| place(result) == Some(None)));
        for (sequence, results) in &self.sent {
            assert!(!results.is_empty());
            assert!(results.iter().all(|result| place(result) == Some(Some(*sequence))));
        }
        assert_eq!(self.since.is_some(), !self.unsent.is_empty());
        let unsent: usize = self.unsent.iter().map(approximate_bytes).sum();
        let sent: usize = self.sent.values().flatten().map(approximate_bytes).sum();
        assert_eq!((self.unsent_bytes, self.bytes), (unsent, unsent + sent));
        assert!(self.held().all(|(lease, held)| held == task(lease)));
    }
}

#[test]
fn a_single_task_waits_for_nothing() {
    let now = Instant::now();
    let mut reports = Reports::new(1);
    assert_eq!(reports.due(now, true), Due::Never);
    reports.take(result(7, 0), now);
    assert_eq!(reports.due(now, true), Due::Now);
    assert_eq!(batch(&mut reports, now), Some((1, vec![7])));
    assert_eq!(reports.due(now, true), Due::Never);
    assert_eq!(reports.settled(1), [Settled { lease: LeaseId(7), blob: None }]);
    assert_eq!(reports.len(), 0);
    reports.sanity_check();
}

#[test]
fn many_share_a_signature() {
    let begin = Instant::now();
    let mut reports = Reports::new(1);
    for lease in 0..63 {
        reports.take(result(lease, 0), begin);
    }
    assert_eq!(reports.due(begin, false), Due::At(begin + PATIENCE));
    assert_eq!(reports.due(begin + PATIENCE, false), Due::Now, "waited long enough");
    reports.take(result(63, 0), begin);
    reports.take(result(64, 0), begin);
    assert_eq!(reports.due(begin, false), Due::Now, "enough for a batch");
    assert_eq!(batch(&mut reports, begin).map(|(_, leases)| leases.len()), Some(64));
    assert_eq!(reports.due(begin, false), Due::At(begin + PATIENCE));
    assert_eq!(batch(&mut reports, begin), Some((2, vec![64])));
    reports.sanity_check();
}

/// A result of the longest kind that travels in a message.
fn longest(lease: u64) -> TaskResult {
    TaskResult {
        output: Some(OutputBody::Inline(vec![0; MAX_INLINE_OUTPUT_BYTES])),
        ..result(lease, MAX_INLINE_LOG_BYTES)
    }
}

#[test]
fn a_batch_stays_well_below_a_frame() {
    let now = Instant::now();
    let mut reports = Reports::new(1);
    for lease in 0..64 {
        reports.take(longest(lease), now);
    }
    let mut found = 0;
    while let Some((_, results)) = reports.batch(now) {
        let bytes = postcard::to_stdvec(results).expect("results can be encoded").len();
        assert!(bytes <= MOST_BYTES && MOST_BYTES * 2 < MAX_FRAME_BYTES, "{bytes}");
        assert_eq!(results.len(), 7.min(64 - found), "as many as a MiB holds");
        found += results.len();
    }
    assert_eq!(found, 64);
    reports.sanity_check();
}

#[test]
fn long_results_wait_for_no_others() {
    let now = Instant::now();
    let mut reports = Reports::new(1);
    for lease in 0..7 {
        reports.take(longest(lease), now);
    }
    assert_eq!(reports.due(now, false), Due::At(now + PATIENCE));
    reports.take(longest(7), now);
    assert_eq!(reports.due(now, false), Due::Now, "a batch is full of bytes");
    batch(&mut reports, now);
    assert_eq!(reports.due(now, false), Due::At(now + PATIENCE), "the last one may be joined by others");
    assert!(reports.bytes() > 8 * MAX_INLINE_OUTPUT_BYTES, "what is sent is held until it is settled");
    reports.settled(1);
    assert!(reports.bytes() < 2 * MAX_INLINE_OUTPUT_BYTES);
    reports.sanity_check();
}

#[test]
fn a_batch_that_is_too_long_all_the_same_is_split() {
    let now = Instant::now();
    let mut reports = Reports::new(1);
    for lease in 0..3 {
        reports.take(result(lease, 0), now);
    }
    assert_eq!(batch(&mut reports, now), Some((1, vec![0, 1, 2])));
    assert_eq!(reports.too_long(1, now), None);
    assert_eq!(batch(&mut reports, now), Some((2, vec![0, 1])));
    assert_eq!(reports.too_long(2, now), None);
    assert_eq!(batch(&mut reports, now), Some((3, vec![0])));
    assert_eq!(reports.too_long(3, now), Some(LeaseId(0)), "it is given up");
    assert!(!reports.holds(LeaseId(0)));
    assert_eq!(batch(&mut reports, now), Some((4, vec![1])));
    reports.sanity_check();
}

#[test]
fn what_was_not_settled_is_sent_again_in_its_old_order() {
    let now = Instant::now();
    let mut reports = Reports::new(1);
    for lease in [3, 1, 2] {
        reports.take(result(lease, 0), now);
        batch(&mut reports, now);
    }
    reports.take(result(9, 0), now);
    assert_eq!((reports.len(), reports.unsent()), (4, 1));
    reports.settled(2);
    reports.lost(now);
    assert_eq!((reports.len(), reports.unsent()), (3, 3));
    assert!(reports.settled(1).is_empty(), "what is said of a batch of an earlier session is of no meaning");
    assert_eq!(batch(&mut reports, now), Some((4, vec![3, 2, 9])));
    reports.sanity_check();
}

#[test]
fn a_kept_output_is_cleared_away_with_its_result() {
    let now = Instant::now();
    let mut reports = Reports::new(1);
    reports.take(large(5), now);
    let kept = Settled { lease: LeaseId(5), blob: Some(BlobId::of(&5u64.to_le_bytes())) };
    assert_eq!(reports.forget(LeaseId(5)), Some(kept));
    assert_eq!(reports.due(now, true), Due::Never);
    reports.take(large(5), now);
    batch(&mut reports, now);
    assert_eq!(reports.settled(1), [kept]);
    assert_eq!(reports.forget(LeaseId(5)), None);
    reports.sanity_check();
}

proptest! {
    #[test]
    fn no_result_is_lost_or_kept_for_ever(steps in vec((0u8..6, 0u64..20), 1..100)) {
        let now = Instant::now();
        let mut reports = Reports::new(1);
        let mut unsettled = std::collections::BTreeSet::new();
        let mut last = 0;
        for (what, number) in steps {
            match what {
                0 | 1 if unsettled.insert(number) => reports.take(result(number, 0), now),
                2 => {
                    if let Some((sequence, leases)) = batch(&mut reports, now) {
                        prop_assert!(sequence > last);
                        prop_assert!(leases.iter().all(|lease| unsettled.contains(lease)));
                        last = sequence;
                    }
                }
                3 => {
                    for settled in reports.settled(number) {
                        prop_assert!(unsettled.remove(&settled.lease.0));
                    }
                }
                4 => {
                    let forgotten = reports.forget(LeaseId(number)).is_some();
                    prop_assert_eq!(forgotten, unsettled.remove(&number));
                }
                5 => reports.lost(now),
                _ => {}
            }
            reports.sanity_check();
            prop_assert!(reports.held().map(|(id, _)| id.0).collect::<std::collections::BTreeSet<_>>() == unsettled);
        }
        reports.lost(now);
        let mut sent = std::collections::BTreeSet::new();
        while let Some((_, leases)) = batch(&mut reports, now) {
            sent.extend(leases);
        }
        prop_assert_eq!(sent, unsettled);
    }
}
