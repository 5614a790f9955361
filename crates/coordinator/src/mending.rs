//! Blobs that are damaged on this disk: finding out what they were for, and having them here again. What follows is for the
//! core to decide.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tidemill_job::BlobRef;
use tidemill_net::{
    blobs::{BlobError, Lost, Pin},
    wire::MAX_INLINE_OUTPUT_BYTES,
};
use tidemill_store::{DoneRecord, ResultRecord, Store, StoreError};
use tidemill_types::{Amount, BlobId, JobId, NodeId, Principal, TaskId, TaskNumber, causes};
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout},
};

use crate::{
    effects::{self, fetch_patience, input_pin, may_find_room, output_pin, wait_for_room},
    event::{Event, FoundLost, LostOutput},
    shared::{Shared, Unavailable},
};

/// Tasks that are looked at before others get a turn, and lost outputs that are told of at once.
const MOST_LOOKED_AT: usize = 4096;
const MOST_FOUND: usize = 256;

/// Jobs that have ended whose tasks are looked at for damaged outputs at a time.
const MOST_LOOKS: usize = 2;

/// How long to wait before a node is asked again for a blob.
const PAUSE: Duration = Duration::from_secs(2);

/// Tells the core of every blob that is found to be damaged, until the coordinator ends.
pub async fn watch(shared: Arc<Shared>) {
    loop {
        let lost = tokio::select! {
            lost = shared.blobs.lost() => lost,
            () = shared.stop.cancelled() => return,
        };
        for Lost { blob, pins } in lost {
            let kept_for: Vec<JobId> = pins.iter().filter_map(job_of).collect();
            let needed_by = shared.inputs.users_of(blob.id);
            let jobs = needed_by.len() + kept_for.len();
            tracing::error!(blob = %blob.id, jobs, "a blob is damaged, and is to come again");
            shared.tell(Event::Damaged { blob, needed_by, kept_for }).await;
        }
    }
}

/// Tells the core which of the blobs are not here that a job names of which it was told just now. All of them were here when
/// they were held for the job; if one was damaged since, the core did not know then that the job needs it.
pub async fn tell_of_missing(shared: &Shared, blobs: &[BlobRef]) {
    for blob in blobs.iter().filter(|blob| shared.blobs.has(blob.id).is_none()) {
        let (needed_by, kept_for) = (shared.inputs.users_of(blob.id), Vec::new());
        shared.tell(Event::Damaged { blob: *blob, needed_by, kept_for }).await;
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

/// Has an output here again, and tells the core whether one of these providers has it.
pub async fn fetch_again(
    shared: &Arc<Shared>,
    job: JobId,
    output: BlobRef,
    from: &[NodeId],
    patience: Duration,
) {
    let is_here = tokio::select! {
        is_here = fetch_output(shared, job, output, from, patience) => is_here,
        () = shared.stop.cancelled() => return,
    };
    shared.tell(Event::OutputBack { job, output: output.id, is_here }).await;
}

/// Has an output here again. Whether one of these providers has it; one that is not connected is waited for with patience.
pub async fn fetch_output(
    shared: &Shared,
    job: JobId,
    output: BlobRef,
    from: &[NodeId],
    patience: Duration,
) -> bool {
    let Ok(pin) = output_pin(job) else { return false };
    let pin = &pin;
    let ask = |node: NodeId| async move {
        let error = match timeout(fetch_patience(output.len), have(shared, node, output, pin)).await {
            Ok(Ok(())) => return Asked::Came,
            Ok(Err(Unavailable::Here(error))) if may_find_room(&error) => {
                wait_for_room(&error).await;
                return Asked::NoRoom;
            }
            Ok(Err(error)) if error.is_gone() => {
                tracing::info!(output = %output.id, node = %node.short(), "a provider has an output no more");
                return Asked::Gone;
            }
            Ok(Err(error)) => causes(&error),
            Err(_) => "it took too long".to_owned(),
        };
        tracing::info!(output = %output.id, node = %node.short(), error, "an output does not come yet");
        Asked::Later
    };
    let is_here = from_any(from, patience, ask).await;
    if is_here {
        tracing::info!(output = %output.id, "an output that was damaged is here again");
        let_go_if_removed(shared, job).await;
    }
    is_here
}

/// What came of asking a provider for an output.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Asked {
    Came,
    /// It says that it does not have it.
    Gone,
    /// It is not connected, or its connection broke: it may have it all the same.
    Later,
    /// It may have it, and there was no room for it here.
    NoRoom,
}

/// Asks these nodes one after another until the output is here. Those that may have it are asked again until the patience
/// is over, each once at least. Time without room here does not count.
async fn from_any<F: Future<Output = Asked>>(
    nodes: &[NodeId],
    patience: Duration,
    mut ask: impl FnMut(NodeId) -> F,
) -> bool {
    let mut until = Instant::now() + patience;
    let mut nodes = nodes.to_vec();
    loop {
        let mut left = Vec::new();
        for node in nodes {
            let begun = Instant::now();
            match ask(node).await {
                Asked::Came => return true,
                Asked::Gone => continue,
                Asked::Later => {}
                Asked::NoRoom => until += begun.elapsed(),
            }
            left.push(node);
        }
        if left.is_empty() || Instant::now() >= until {
            return false;
        }
        nodes = left;
        tokio::time::sleep(PAUSE).await;
    }
}

/// An output has come. If its job was removed meanwhile, what was pinned for the job is let go again: nobody else would.
pub async fn let_go_if_removed(shared: &Shared, job: JobId) {
    if !shared.store.job(job).is_ok_and(|record| record.is_none()) {
        return;
    }
    let unpinned = async { shared.blobs.unpin(&output_pin(job)?).await };
    if let Err(error) = unpinned.await {
        tracing::warn!(%job, error = &error as &dyn std::error::Error, "outputs stay pinned");
    }
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

/// The damaged outputs of jobs that have ended. They cannot be made again: they are fetched, if anybody has them.
pub struct Ended {
    /// The jobs that are being mended, each with what was damaged of it since its tasks were last looked at.
    jobs: Mutex<HashMap<JobId, BTreeSet<BlobId>>>,
    looks: Semaphore,
}

impl Default for Ended {
    fn default() -> Self {
        Self { jobs: Mutex::default(), looks: Semaphore::new(MOST_LOOKS) }
    }
}

impl Ended {
    /// An output of a job that has ended is damaged. Whatever else of it is damaged while one look at its tasks is under way
    /// is looked for together, by the next one.
    pub fn mend(self: &Arc<Self>, shared: &Arc<Shared>, job: JobId, output: BlobId) {
        let is_new = {
            let mut jobs = self.jobs();
            let is_new = !jobs.contains_key(&job);
            jobs.entry(job).or_default().insert(output);
            is_new
        };
        if !is_new {
            return;
        }
        let (with, ended) = (shared.clone(), self.clone());
        shared.tasks.spawn(async move {
            while let Some(outputs) = ended.next(job) {
                tokio::select! {
                    () = ended.fetch(&with, job, outputs) => {}
                    () = with.stop.cancelled() => return,
                }
            }
        });
    }

    /// What of a job is damaged and was not looked for; nothing, and the job is forgotten, when that is all.
    fn next(&self, job: JobId) -> Option<BTreeSet<BlobId>> {
        let mut jobs = self.jobs();
        let outputs = std::mem::take(jobs.get_mut(&job)?);
        if outputs.is_empty() {
            jobs.remove(&job);
            return None;
        }
        Some(outputs)
    }

    async fn fetch(&self, shared: &Arc<Shared>, job: JobId, outputs: BTreeSet<BlobId>) {
        // For all of them together: a provider that is gone keeps nobody waiting twice.
        let until = Instant::now() + Duration::from_millis(shared.pace.lease.0);
        let (outputs, mut next) = (Arc::new(outputs), Some(TaskNumber(0)));
        while let Some(from) = next {
            let (with, wanted) = (shared.clone(), outputs.clone());
            let found = {
                let Ok(_look) = self.looks.acquire().await else { return };
                let is_here = move |blob: BlobId| !wanted.contains(&blob) || with.blobs.has(blob).is_some();
                let by = shared.clone();
                let look = move || lost(&by.store, job, from, 0, MOST_FOUND, is_here);
                tokio::task::spawn_blocking(move || look().map_err(|error| causes(&error))).await
            };
            let found = match found.map_err(|error| error.to_string()).and_then(|found| found) {
                Ok(found) => found,
                Err(error) => return tracing::error!(%job, error, "lost outputs stay lost"),
            };
            for lost in found.outputs {
                let result = &lost.done.result;
                let output = BlobRef { id: result.output, len: result.output_len.0 };
                // It may have come for another task.
                if shared.blobs.has(output.id).is_some() {
                    continue;
                }
                let patience = until.saturating_duration_since(Instant::now());
                if !fetch_output(shared, job, output, &lost.from, patience).await {
                    let task = TaskId { job, task: lost.task };
                    tracing::error!(%task, output = %output.id, "the output of a task of a job that has ended is lost: submit the job again");
                }
            }
            next = found.next;
        }
    }

    fn jobs(&self) -> MutexGuard<'_, HashMap<JobId, BTreeSet<BlobId>>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
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
            if is_gone(&done.result, &is_here) {
                outputs.push(lost_output(store, TaskId { job, task }, done)?);
            }
        }
    }
    Ok(FoundLost { job, from, undone, outputs, next })
}

/// Whether the output of a result should be a blob that is here, and is not.
pub fn is_gone(result: &ResultRecord, is_here: impl Fn(BlobId) -> bool) -> bool {
    result.output_len.0 > MAX_INLINE_OUTPUT_BYTES as u64 && !is_here(result.output)
}

/// All that is needed to have an output again.
///
/// # Errors
/// When the store cannot be read.
pub fn lost_output(store: &Store, id: TaskId, done: DoneRecord) -> Result<LostOutput, StoreError> {
    let opinions = store.opinions(id)?;
    let others = || opinions.iter().filter(|opinion| opinion.result.lease != done.result.lease);
    // What was paid for trials is counted with the job: one may be paid after this was read.
    let untried = others().filter(|opinion| opinion.known.is_none());
    let paid = untried.filter_map(|opinion| opinion.paid).fold(done.result.price, Amount::saturating_add);
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

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    const LATE: NodeId = NodeId([1; 32]);
    const EMPTY: NodeId = NodeId([2; 32]);

    /// Asks both, of which one joins after so long, and the other says that it has nothing. Whether it came, who was asked,
    /// and after how long that was known.
    async fn ask_both(after: Duration, patience: Duration) -> (bool, Vec<NodeId>, Duration) {
        let (begun, asked) = (Instant::now(), RefCell::new(Vec::new()));
        let ask = |node: NodeId| {
            asked.borrow_mut().push(node);
            async move {
                match node {
                    EMPTY => Asked::Gone,
                    // As one is waited for that is not connected.
                    _ if begun.elapsed() < after => {
                        tokio::time::sleep(Duration::from_secs(10)).await;
                        if begun.elapsed() < after { Asked::Later } else { Asked::Came }
                    }
                    _ => Asked::Came,
                }
            }
        };
        let came = from_any(&[LATE, EMPTY], patience, ask).await;
        (came, asked.into_inner(), begun.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn a_maker_that_joins_late_is_waited_for() {
        let lease = Duration::from_secs(15);
        let (came, asked, _) = ask_both(Duration::from_secs(11), lease).await;
        assert!(came);
        assert_eq!(asked, [LATE, EMPTY, LATE], "who has nothing is asked once");
        let (came, _, after) = ask_both(Duration::from_secs(3600), lease).await;
        assert!(!came && after >= lease, "it was given up after {after:?}");
        assert!(after < 3 * lease, "it was given up after {after:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_is_waited_for_who_has_nothing() {
        let begun = Instant::now();
        assert!(!from_any(&[EMPTY], Duration::from_secs(600), |_| async { Asked::Gone }).await);
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn time_without_room_does_not_count() {
        let mut rounds = 0;
        let ask = |_: NodeId| {
            rounds += 1;
            let round = rounds;
            async move {
                tokio::time::sleep(Duration::from_secs(60)).await;
                if round < 10 { Asked::NoRoom } else { Asked::Came }
            }
        };
        assert!(from_any(&[LATE], Duration::from_secs(30), ask).await);
    }
}
