//! Blobs that are damaged on this disk: finding out what they were for, and having them here again. What follows is for the
//! core to decide.

use std::{sync::Arc, time::Duration};

use tidemill_job::BlobRef;
use tidemill_net::{
    blobs::{BlobError, Lost, Pin},
    wire::MAX_INLINE_OUTPUT_BYTES,
};
use tidemill_store::{DoneRecord, Store, StoreError};
use tidemill_types::{Amount, BlobId, JobId, NodeId, Principal, TaskId, TaskNumber, causes};

use crate::{
    effects::{self, input_pin, may_find_room, output_pin, wait_for_room},
    event::{Event, FoundLost, LostOutput},
    shared::{Shared, Unavailable},
};

/// Tasks that are looked at before others get a turn, and lost outputs that are told of at once.
const MOST_LOOKED_AT: usize = 4096;
const MOST_FOUND: usize = 256;

/// How long to wait before a requester is asked again for an input.
const PAUSE: Duration = Duration::from_secs(2);

/// Tells the core of every blob that is found to be damaged, until the coordinator ends.
pub async fn watch(shared: Arc<Shared>) {
    loop {
        let lost = tokio::select! {
            lost = shared.blobs.lost() => lost,
            () = shared.stop.cancelled() => return,
        };
        for Lost { blob, pins } in lost {
            let jobs: Vec<JobId> = pins.iter().filter_map(job_of).collect();
            tracing::error!(blob = %blob.id, jobs = jobs.len(), "a blob is damaged, and is to come again");
            for job in &jobs {
                let (with, job) = (shared.clone(), *job);
                shared.tasks.spawn(async move { mend_ended(&with, job, blob).await });
            }
            shared.tell(Event::Damaged { blob, jobs }).await;
        }
    }
}

/// The job whose outputs a pin holds.
fn job_of(pin: &Pin) -> Option<JobId> {
    pin.name().strip_prefix("output.")?.parse().ok()
}

/// Has an input here again, for as long as some job needs it, and tells the core when it is. A requester that is not a node
/// has none to fetch it from.
pub async fn fetch_input(shared: &Arc<Shared>, owner: Principal, blob: BlobRef) {
    let Some(owner) = owner.node() else {
        tracing::error!(blob = %blob.id, requester = %owner, "an input is damaged, and its requester has no node");
        return;
    };
    let fetch = async {
        let Ok(pin) = input_pin(blob.id) else { return };
        while shared.inputs.has(blob.id) {
            match have(shared, owner, blob, &pin).await {
                Ok(()) => {
                    tracing::info!(blob = %blob.id, "an input that was damaged is here again");
                    shared.tell(Event::InputBack { blob: blob.id }).await;
                    break;
                }
                Err(Unavailable::Here(error)) if may_find_room(&error) => wait_for_room(&error).await,
                Err(error) => {
                    tracing::debug!(blob = %blob.id, node = %owner.short(), error = causes(&error), "an input does not come yet");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
        // The last job that needed it may have ended meanwhile.
        if !shared.inputs.has(blob.id) {
            effects::unpin(shared, &[blob.id]).await;
        }
    };
    tokio::select! {
        () = fetch => {}
        () = shared.stop.cancelled() => {}
    }
}

/// Has an output here again, and tells the core whether anybody has it.
pub async fn fetch_again(shared: &Arc<Shared>, job: JobId, output: BlobRef, from: &[NodeId]) {
    let is_here = tokio::select! {
        is_here = fetch_output(shared, job, output, from) => is_here,
        () = shared.stop.cancelled() => return,
    };
    shared.tell(Event::OutputBack { job, output: output.id, is_here }).await;
}

/// Has an output here again. Whether any of these providers has it.
async fn fetch_output(shared: &Shared, job: JobId, output: BlobRef, from: &[NodeId]) -> bool {
    let Ok(pin) = output_pin(job) else { return false };
    for node in from {
        loop {
            match have(shared, *node, output, &pin).await {
                Ok(()) => {
                    tracing::info!(output = %output.id, "an output that was damaged is here again");
                    return true;
                }
                Err(Unavailable::Here(error)) if may_find_room(&error) => wait_for_room(&error).await,
                Err(error) => {
                    tracing::info!(output = %output.id, node = %node.short(), error = causes(&error), "an output cannot be had again");
                    break;
                }
            }
        }
    }
    false
}

/// Has a blob here and pinned: it may be here again already, and comes from this node otherwise.
async fn have(shared: &Shared, node: NodeId, blob: BlobRef, pin: &Pin) -> Result<(), Unavailable> {
    if shared.blobs.has(blob.id) == Some(blob.len) {
        match shared.blobs.pin(pin, blob.id).await {
            Ok(()) => return Ok(()),
            Err(BlobError::NotHere(_)) => {}
            Err(error) => return Err(Unavailable::Here(error)),
        }
    }
    shared.borrow(node, blob, pin, |_| {}).await
}

/// The output of a job that has ended cannot be made again: it is fetched, if anybody has it.
async fn mend_ended(shared: &Arc<Shared>, job: JobId, output: BlobRef) {
    let with = shared.clone();
    let makers = tokio::task::spawn_blocking(move || -> Result<_, StoreError> {
        let has_ended = with.store.job(job)?.is_some_and(|record| record.ended.is_some());
        if !has_ended {
            return Ok(Vec::new());
        }
        let found =
            lost(&with.store, job, TaskNumber(0), 0, usize::MAX, |blob| with.blobs.has(blob).is_some());
        Ok(found?.outputs)
    });
    let outputs = match makers.await.map_err(|error| error.to_string()) {
        Ok(Ok(outputs)) => outputs,
        Ok(Err(error)) => return tracing::error!(%job, error = causes(&error), "a lost output stays lost"),
        Err(error) => return tracing::error!(%job, error, "a lost output stays lost"),
    };
    for lost in outputs.iter().filter(|lost| lost.done.result.output == output.id) {
        let fetched = tokio::select! {
            is_here = fetch_output(shared, job, output, &lost.from) => is_here,
            () = shared.stop.cancelled() => return,
        };
        if fetched {
            return;
        }
        let task = TaskId { job, task: lost.task };
        tracing::error!(%task, output = %output.id, "the output of a task of a job that has ended is lost: submit the job again");
    }
}

/// Which outputs of a job's done tasks are not here, from a task on, at most so many. It blocks.
///
/// # Errors
/// When the store cannot be read.
pub fn lost(
    store: &Store,
    job: JobId,
    from: TaskNumber,
    undone: u64,
    most: usize,
    is_here: impl Fn(BlobId) -> bool,
) -> Result<FoundLost, StoreError> {
    let (mut outputs, mut next) = (Vec::new(), Some(from));
    while let Some(at) = next
        && outputs.len() < most
    {
        let page = store.tasks(job, at, MOST_LOOKED_AT)?;
        let is_last = page.len() < MOST_LOOKED_AT;
        next = page.last().map(|(task, _)| TaskNumber(task.0 + 1)).filter(|_| !is_last);
        for (task, done) in page {
            if outputs.len() == most {
                next = Some(task);
                break;
            }
            if is_missing(&done, &is_here) {
                outputs.push(lost_output(store, TaskId { job, task }, done)?);
            }
        }
    }
    Ok(FoundLost { job, from, undone, outputs, next })
}

/// Whether the output of a done task should be a blob that is here, and is not.
pub fn is_missing(done: &DoneRecord, is_here: impl Fn(BlobId) -> bool) -> bool {
    done.result.output_len.0 > MAX_INLINE_OUTPUT_BYTES as u64 && !is_here(done.result.output)
}

/// All that is needed to have an output again.
///
/// # Errors
/// When the store cannot be read.
pub fn lost_output(store: &Store, id: TaskId, done: DoneRecord) -> Result<LostOutput, StoreError> {
    let opinions = store.opinions(id)?;
    let others = || opinions.iter().filter(|opinion| opinion.result.lease != done.result.lease);
    let paid = others().filter_map(|opinion| opinion.paid).fold(done.result.price, Amount::saturating_add);
    let mut from = vec![done.result.provider];
    for opinion in others().filter(|opinion| opinion.result.output == done.result.output) {
        if !from.contains(&opinion.result.provider) {
            from.push(opinion.result.provider);
        }
    }
    Ok(LostOutput { task: id.task, done, paid, from })
}

/// Looks for outputs of a job that are not here, until the store can be read, and tells the core.
pub async fn find_lost(shared: &Arc<Shared>, job: JobId, from: TaskNumber, undone: u64) {
    loop {
        let with = shared.clone();
        let found = tokio::task::spawn_blocking(move || {
            let is_here = |blob| with.blobs.has(blob).is_some();
            lost(&with.store, job, from, undone, MOST_FOUND, is_here).map_err(|error| causes(&error))
        });
        match found.await.map_err(|error| error.to_string()).and_then(|found| found) {
            Ok(found) => return shared.tell(Event::LostFound(found)).await,
            Err(error) => tracing::error!(%job, error, "lost outputs cannot be looked for yet"),
        }
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            () = shared.stop.cancelled() => return,
        }
    }
}
