//! Taking up what was running when the coordinator ended.

use std::sync::Arc;

use tidemill_job::JobSpec;
use tidemill_store::{JobRecord, Recovered, Store};
use tidemill_types::{BlobId, TaskId};

use crate::{
    core::{Core, CoreConfig, MoneyConfig, Resuming},
    effects,
    event::{Event, Now},
    failpoint::Failpoint,
    inputs::Named,
    mending,
    server::StartError,
    shared::Shared,
};

/// A core that goes on with what the store remembers, and has the blobs pinned that it needs.
pub async fn recover(shared: &Arc<Shared>, config: CoreConfig, now: Now) -> Result<Core, StartError> {
    let mut needed = Vec::new();
    let hold = |record: &JobRecord, spec: &JobSpec| {
        let named = Named::by(spec);
        shared.inputs.hold(record.job, record.owner, &named);
        needed.extend(named.blobs);
    };
    let is_here = |blob| shared.blobs.has(blob).is_some();
    let mut core = take_up(&shared.store, config, now, hold, is_here)?;
    Failpoint::InRecovery.pass();
    // A crash may have come between a pin and the job that it was for, or between a job's end and its pins'.
    for pin in shared.blobs.pins() {
        let needed = match pin.name().split_once('.') {
            Some(("input", blob)) => blob.parse().is_ok_and(|blob| shared.inputs.has(blob)),
            Some(("output", job)) => match job.parse() {
                Ok(job) => shared.store.job(job)?.is_some(),
                Err(_) => false,
            },
            _ => false,
        };
        if !needed {
            shared.blobs.unpin(&pin).await?;
        }
    }
    needed.sort_unstable();
    needed.dedup();
    for blob in needed.into_iter().filter(|blob| !is_here(blob.id)) {
        tracing::error!(blob = %blob.id, "an input of a job is damaged, and is to come again");
        let needed_by = shared.inputs.users_of(blob.id);
        core.handle(Event::Damaged { blob, needed_by, kept_for: Vec::new() }, now);
    }
    for blob in shared.inputs.all() {
        let pin = effects::input_pin(blob)?;
        // Each pin waits for the disk, and most are there.
        if shared.blobs.has(blob).is_some() && shared.blobs.pinned(&pin).is_empty() {
            shared.blobs.pin(&pin, blob).await?;
        }
    }
    Ok(core)
}

/// A core that goes on with what the store remembers. `hold` is told of each running job, which needs its blobs;
/// `is_here` says whether a blob is on this disk.
pub fn take_up(
    store: &Store,
    config: CoreConfig,
    now: Now,
    mut hold: impl FnMut(&JobRecord, &JobSpec),
    is_here: impl Fn(BlobId) -> bool,
) -> Result<Core, StartError> {
    let recovered = store.recover()?;
    check_money(&recovered, config.money.as_ref())?;
    let mut core = Core::new(config, &recovered);
    for record in &recovered.jobs {
        let resuming = resuming(store, record, now, &is_here)?;
        hold(record, resuming.spec());
        // They come by job.
        let first = recovered.leases.partition_point(|lease| lease.task.job < record.job);
        let end = recovered.leases.partition_point(|lease| lease.task.job <= record.job);
        core.resume(resuming, &recovered.leases[first..end], now);
    }
    Ok(core)
}

/// Who was promised money must get it: so the escrows that are not settled have to be those of the ledger that this
/// coordinator is for.
fn check_money(recovered: &Recovered, money: Option<&MoneyConfig>) -> Result<(), StartError> {
    for (escrow, _) in &recovered.escrows {
        let wrong = |reason: String| StartError::Money { escrow: escrow.id, reason };
        let Some(money) = money else {
            return Err(wrong(
                "and it is started as free: start it with its ledger until that is settled".to_owned(),
            ));
        };
        if money.terms.account != escrow.coordinator {
            return Err(wrong(format!(
                "by the account {}, and it is started as {}: start it as that one until it is settled",
                escrow.coordinator, money.terms.account
            )));
        }
        let (ours, theirs) = (money.terms.contract, escrow.contract);
        if ours != theirs {
            return Err(wrong(format!(
                "on the ledger {} and not on {}: start it with that one until it is settled",
                theirs.chain_id, ours.chain_id
            )));
        }
    }
    Ok(())
}

fn resuming(
    store: &Store,
    record: &JobRecord,
    now: Now,
    is_here: impl Fn(BlobId) -> bool,
) -> Result<Resuming, StartError> {
    let bad = |reason: String| StartError::Job { job: record.job, reason };
    let encoded = store.job_spec(record.job)?.ok_or_else(|| bad("it is not in the store".to_owned()))?;
    let spec = JobSpec::decode(&encoded).map_err(|error| bad(error.to_string()))?;
    let mut resuming = Resuming::new(record, Arc::new(spec), JobSpec::hash_of(&encoded), now);
    let mut missing = Vec::new();
    store.for_each_done(record.job, |task, done| {
        resuming.done(task, &done);
        if mending::is_gone(&done.result, &is_here) {
            missing.push((task, done));
        }
    })?;
    for (task, done) in missing {
        let id = TaskId { job: record.job, task };
        tracing::error!(task = %id, output = %done.result.output, "the output of a task is damaged, and is to come again");
        resuming.lost(mending::lost_output(store, id, done)?);
    }
    store.for_each_opinion(record.job, |task, opinion| {
        if mending::is_gone(&opinion.result, &is_here) {
            resuming.damaged(opinion.result.output);
        }
        resuming.opinion(task, opinion);
    })?;
    store.for_each_failed(record.job, |task, failed| resuming.failed(task, failed))?;
    Ok(resuming)
}
