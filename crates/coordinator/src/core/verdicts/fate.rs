//! What has become of a result's pay, by what is on disk.

use tidemill_job::JobSpec;
use tidemill_net::wire::Unpaid;
use tidemill_store::{AttemptRecord, JobEnd, OpinionRecord, ResultRecord};
use tidemill_types::{Amount, Failure, TaskNumber};

use super::work_of;

/// What has become of a result's pay.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fate {
    /// It is paid so much.
    Paid(Amount),
    /// It is not, for this reason.
    Unpaid(Unpaid),
    /// There is no verdict yet.
    Open,
}

/// What has become of a result that did not decide its task alone, by what is on disk: whether the task is done, and how the
/// job ended, if it has. What was paid is marked in the result's own row.
pub(crate) fn fate(task: TaskNumber, opinion: &OpinionRecord, is_done: bool, end: Option<&JobEnd>) -> Fate {
    if let Some(amount) = opinion.paid {
        return Fate::Paid(amount);
    }
    match end {
        _ if is_done => Fate::Unpaid(Unpaid::Contradicted),
        // It is certain that the task fails.
        Some(JobEnd::Failed { task: failed, .. }) if *failed == task => Fate::Unpaid(Unpaid::Contradicted),
        Some(_) => Fate::Unpaid(Unpaid::Undecided),
        None => Fate::Open,
    }
}

/// Whether a result gives the answer that was accepted, by what is on disk.
pub(crate) fn counts_alike(
    spec: &JobSpec,
    task: TaskNumber,
    accepted: &ResultRecord,
    opinion: &OpinionRecord,
) -> bool {
    let work = |result: &ResultRecord| work_of(spec, task, &result.usage);
    accepted.output == opinion.counts_as() && work(accepted) == work(&opinion.result)
}

/// What each of the attempts that failed in this way is owed once that failure has ended their job. How much fuel an attempt
/// burnt before it failed is not exactly the same on every machine, so each is paid for the fuel that it claims, up to the
/// claim in the middle: of two, the lesser.
pub(crate) fn owed_for_failure<'a>(
    attempts: &'a [AttemptRecord],
    failure: &Failure,
) -> Vec<(&'a AttemptRecord, Amount)> {
    let fuel = |failed: &AttemptRecord| failed.proof.as_ref().map_or(0, |proof| proof.usage.fuel.0);
    let same = || attempts.iter().filter(|failed| failed.failure == *failure);
    let mut claims: Vec<u64> = same().map(fuel).collect();
    claims.sort_unstable();
    let middle = claims.get(claims.len().saturating_sub(1) / 2).copied().unwrap_or(0);
    let owed = |failed: &'a AttemptRecord| {
        let claimed = fuel(failed);
        let amount = match claimed > middle {
            true => failed.price.mul_div_ceil(middle, claimed).unwrap_or(failed.price),
            false => failed.price,
        };
        (failed, amount)
    };
    same().map(owed).collect()
}
