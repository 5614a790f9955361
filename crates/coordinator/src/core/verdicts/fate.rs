//! What has become of a result's pay, by what is on disk.

use std::collections::{BTreeMap, BTreeSet};

use tidemill_net::wire::Unpaid;
use tidemill_store::{DoneRecord, JobEnd, OpinionRecord};
use tidemill_types::{BlobId, TaskNumber};

/// What has become of a result's pay.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fate {
    /// It is paid.
    Paid,
    /// It is not, for this reason.
    Unpaid(Unpaid),
    /// There is no verdict yet.
    Open,
}

/// What has become of a result that did not decide its task alone, by what is on disk: the task's result, if it is done,
/// how the job ended, if it has, and all other such results.
pub(crate) fn fate(
    task: TaskNumber,
    opinion: &OpinionRecord,
    done: Option<&DoneRecord>,
    end: Option<&JobEnd>,
    all: &[OpinionRecord],
) -> Fate {
    let output = opinion.counts_as();
    let is_right = match (done, end) {
        _ if opinion.is_paid => Ok(()),
        (Some(done), _) if done.result.output == output => Ok(()),
        (Some(_), _) => Err(Unpaid::Contradicted),
        // It is certain that the task fails.
        (None, Some(JobEnd::Failed { task: failed, .. })) if *failed == task => Err(Unpaid::Contradicted),
        (None, Some(_)) if likeliest(all.iter().map(OpinionRecord::counts_as)).contains(&output) => Ok(()),
        (None, Some(_)) => Err(Unpaid::Undecided),
        (None, None) => return Fate::Open,
    };
    is_right.map_or_else(Fate::Unpaid, |()| Fate::Paid)
}

/// The answers that were given most often.
pub(super) fn likeliest(answers: impl Iterator<Item = BlobId>) -> BTreeSet<BlobId> {
    let mut voices: BTreeMap<BlobId, usize> = BTreeMap::new();
    for answer in answers {
        *voices.entry(answer).or_default() += 1;
    }
    let most = voices.values().copied().max().unwrap_or(0);
    voices.into_iter().filter(|(_, count)| *count == most).map(|(answer, _)| answer).collect()
}
