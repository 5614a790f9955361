//! Carrying out what the core wants done.

use std::{sync::Arc, time::Duration};

use tidemill_job::{BlobRef, JobSpec};
use tidemill_ledger::settlement::Closing;
use tidemill_net::{
    blobs::{BlobError, Condition, Pin},
    wire::{Decision, MAX_CREDITS, MAX_VOUCHERS, Refusal, Reply, ToProvider},
};
use tidemill_store::{JobRecord, Store, StoreError};
use tidemill_types::{
    Address, Basis, BlobId, Comparison, JobId, LeaseId, NodeId, Principal, Signed, TaskId, TaskNumber,
    Voucher, causes,
};
use tokio::{sync::Semaphore, time::timeout};

use crate::{
    assemble::{self, Body, Made},
    compare::{CompareError, Comparing, Places, Turns},
    event::{Caller, Effect, Event, FetchProblem, FoundUnchecked, SessionId, Unmade},
    failpoint::Failpoint,
    mending,
    outbox::Outgoing,
    parts::Parts,
    session::{self, answers},
    shared::{Shared, Unavailable},
};

/// Outputs that are fetched at a time.
const MOST_FETCHES: usize = 64;

/// Reduce tasks that are made at a time: each reads the outputs of which it is not known what is in them.
const MOST_ASSEMBLIES: usize = 2;

/// How long an output may take to arrive, beside a second for each MiB.
const FETCH_PATIENCE: Duration = Duration::from_secs(30);

/// How long to wait before what found no room on the disk is tried again.
const ROOM_PAUSE: Duration = Duration::from_secs(1);

/// How often a program that compares may be stopped before it counts as one that says no.
const MOST_STARTS: u32 = 3;

/// Outputs that cannot be compared yet are tried again after twice the time each time, up to this.
const MOST_PAUSE: Duration = Duration::from_secs(64);

/// Carries out effects. It never waits: what takes time is done by tasks of its own, and the core is told.
pub struct Effects {
    shared: Arc<Shared>,
    fetches: Arc<Semaphore>,
    assemblies: Arc<Semaphore>,
    parts: Arc<Parts>,
    comparisons: Arc<Turns>,
    ended: Arc<mending::Ended>,
}

impl Effects {
    /// Nothing is under way yet.
    pub fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            fetches: Arc::new(Semaphore::new(MOST_FETCHES)),
            assemblies: Arc::new(Semaphore::new(MOST_ASSEMBLIES)),
            parts: Arc::default(),
            comparisons: Arc::default(),
            ended: Arc::default(),
        }
    }

    /// Does it, or has it begun. Must be called within the coordinator's runtime.
    pub fn carry_out(&self, effect: Effect) {
        match effect {
            Effect::ToProvider(session, message) => self.put(session, Outgoing::ToProvider(message)),
            Effect::Reply(session, answer) => self.put(session, Outgoing::Answer(answer)),
            Effect::Progress(caller, report) => {
                if let Some(outbox) = self.shared.outboxes.get(caller.session) {
                    outbox.report(caller.call, *report);
                }
            }
            Effect::Follow { session, node, lease, callers } => {
                self.shared.following.begin(&self.shared.outboxes, (session, node), lease, callers);
            }
            Effect::Unfollow { lease, callers } => {
                self.shared.following.end(&self.shared.outboxes, lease, &callers);
            }
            Effect::CutOff { session, node, reason } => {
                session::cut_off(&self.shared, session, node, &reason)
            }
            Effect::Supersede(session) => {
                let reason = "another session of the same node has begun".to_owned();
                self.put(session, Outgoing::ToProvider(ToProvider::Bye { reason }));
                self.put(session, Outgoing::End);
            }
            Effect::FromStore(caller, question) => {
                self.answer(caller, move |shared| answers::answer(shared, caller, question))
            }
            Effect::ExplainedFromStore(caller, job, task, explanation) => {
                self.answer(caller, move |shared| answers::explained(shared, caller, job, task, explanation))
            }
            Effect::JobsFromStore { caller, limit, after, all, running } => {
                let owner = (!all).then_some(caller.principal);
                self.answer(caller, move |shared| answers::jobs(&shared.store, owner, after, limit, running))
            }
            Effect::TasksFromStore { caller, job, spec, tasks } => self
                .answer(caller, move |shared| answers::tasks_of_running(shared, caller, job, &spec, tasks)),
            Effect::SubmitAgain { caller, job, spec, encoded, follow, funding } => {
                let shared = self.shared.clone();
                let submit = async move {
                    session::submit_again(&shared, caller, job, follow, funding, spec, encoded).await;
                };
                self.shared.tasks.spawn(submit);
            }
            Effect::RemoveAgain(caller, job) => {
                let shared = self.shared.clone();
                self.shared.tasks.spawn(async move { session::remove(&shared, caller, job).await });
            }
            Effect::Past(count) => self.shared.set_past(count),
            Effect::FetchOutput { session, lease, job, output, is_part } => {
                self.fetch(session, lease, job, output, is_part);
            }
            Effect::Assemble { spec, task, number } => self.assemble(spec, task, number),
            Effect::Compare { spec, task, lease, output, with, makers, patience } => {
                let patience = Duration::from_millis(patience.0);
                self.compare(Comparing { spec, task, output }, lease, with, makers, patience);
            }
            Effect::FindUnchecked { job, operator, from, undone } => {
                self.find_unchecked(job, operator, from, undone);
            }
            Effect::FetchInput { owner, blob } => {
                let shared = self.shared.clone();
                let fetch = async move { mending::fetch_input(&shared, owner, blob).await };
                self.shared.tasks.spawn(fetch);
            }
            Effect::FindLost { job, from, undone } => {
                let shared = self.shared.clone();
                let find = async move { mending::find_lost(&shared, job, from, undone).await };
                self.shared.tasks.spawn(find);
            }
            Effect::FetchAgain { job, output, from, patience } => {
                let (shared, patience) = (self.shared.clone(), Duration::from_millis(patience.0));
                let fetch = async move { mending::fetch_again(&shared, job, output, &from, patience).await };
                self.shared.tasks.spawn(fetch);
            }
            Effect::MendEnded { job, output } => self.ended.mend(&self.shared, job, output.id),
            Effect::CountKept(owner) => self.count_kept(owner),
            Effect::ReleaseInputs(job) => release_inputs(&self.shared, job),
            Effect::Pay { session, decisions, vouchers } => self.pay(session, decisions, vouchers),
            Effect::Reconcile { session, node, stale } => {
                let shared = self.shared.clone();
                self.shared.tasks.spawn_blocking(move || match answers::reconcile(&shared, node, &stale) {
                    Ok(decisions) => decided(&shared, session, &decisions, &[]),
                    Err(error) => {
                        let error = &error as &dyn std::error::Error;
                        tracing::error!(error, "what became of a provider's leases cannot be read");
                    }
                });
            }
            Effect::WatchEscrow(escrow) => {
                if let Some(teller) = &self.shared.teller {
                    teller.watch(escrow);
                }
            }
            Effect::UnwatchEscrow(escrow) => {
                if let Some(teller) = &self.shared.teller {
                    teller.unwatch(escrow);
                }
            }
            Effect::Settle(closings) => self.settle(closings),
            Effect::EscrowFromStore(caller, id) => {
                self.answer(caller, move |shared| answers::escrow(shared, caller, id))
            }
            Effect::ReleaseOutputs(job) => {
                let shared = self.shared.clone();
                let unpin = async move {
                    let unpinned = async { shared.blobs.unpin(&output_pin(job)?).await };
                    if let Err(error) = unpinned.await {
                        tracing::warn!(%job, error = &error as &dyn std::error::Error, "outputs stay pinned");
                    }
                };
                self.shared.tasks.spawn(unpin);
            }
        }
    }

    fn pay(&self, session: SessionId, decisions: Vec<(LeaseId, Decision)>, vouchers: Vec<Voucher>) {
        let Some(teller) = &self.shared.teller else { return };
        Failpoint::BeforeVouchers.pass();
        let vouchers = teller.sign(vouchers);
        decided(&self.shared, session, &decisions, &vouchers);
        Failpoint::AfterVouchers.pass();
    }

    fn settle(&self, closings: Vec<Closing>) {
        let Some(teller) = self.shared.teller.clone() else { return };
        let shared = self.shared.clone();
        let settle = async move {
            Failpoint::BeforeSettlement.pass();
            let settled = tokio::select! {
                settled = teller.settle(closings) => settled,
                () = shared.stop.cancelled() => return,
            };
            Failpoint::AfterSettlement.pass();
            for (escrow, result) in settled {
                shared.tell(Event::EscrowSettled { escrow, result }).await;
            }
        };
        self.shared.tasks.spawn(settle);
    }

    fn count_kept(&self, owner: Principal) {
        let shared = self.shared.clone();
        let count = async move {
            loop {
                let with = shared.clone();
                let counted = tokio::task::spawn_blocking(move || with.store.holdings(owner)).await;
                match counted {
                    Ok(Ok(kept)) => {
                        return shared.tell(Event::KeptCounted { owner, bytes: kept.bytes }).await;
                    }
                    Ok(Err(error)) => {
                        let error = &error as &dyn std::error::Error;
                        tracing::error!(error, "what is kept for a requester cannot be counted yet");
                    }
                    Err(_) => return,
                }
                tokio::select! {
                    () = tokio::time::sleep(ROOM_PAUSE) => {}
                    () = shared.stop.cancelled() => return,
                }
            }
        };
        self.shared.tasks.spawn(count);
    }

    fn put(&self, session: SessionId, message: Outgoing) {
        if let Some(outbox) = self.shared.outboxes.get(session) {
            outbox.put(message);
        }
    }

    fn answer(
        &self,
        caller: Caller,
        answer: impl FnOnce(&Shared) -> Result<Reply, Refusal> + Send + 'static,
    ) {
        let shared = self.shared.clone();
        self.shared.tasks.spawn_blocking(move || {
            let answer = answer(&shared);
            session::reply(&shared, caller, answer);
        });
    }

    fn fetch(&self, session: SessionId, lease: LeaseId, job: JobId, output: BlobRef, is_part: bool) {
        let (shared, room, parts) = (self.shared.clone(), self.fetches.clone(), self.parts.clone());
        let node = self.shared.outboxes.node_of(session);
        let fetch = async move {
            let Ok(_place) = room.acquire().await else { return };
            let patience = fetch_patience(output.len);
            let fetch = async {
                let node = node.ok_or_else(|| FetchProblem::Provider("its session is over".to_owned()))?;
                let pin = output_pin(job).map_err(|error| FetchProblem::Here(causes(&error)))?;
                loop {
                    match timeout(patience, shared.borrow(node, output, &pin, |_| {})).await {
                        Ok(Ok(())) => break,
                        // The provider keeps it, and someone may make room.
                        Ok(Err(Unavailable::Here(error))) if may_find_room(&error) => {
                            wait_for_room(&error).await;
                        }
                        Ok(Err(Unavailable::Here(error))) => return Err(FetchProblem::Here(causes(&error))),
                        Ok(Err(error)) => return Err(FetchProblem::Provider(causes(&error))),
                        Err(_) => return Err(FetchProblem::Provider("it took too long".to_owned())),
                    }
                }
                Failpoint::AfterFetch.pass();
                mending::let_go_if_removed(&shared, job).await;
                let lent = shared.blobs.lend(output.id).await;
                let lent = lent.map_err(|error| FetchProblem::Here(causes(&error)))?;
                let opened = tokio::task::spawn_blocking(move || {
                    if !is_part {
                        return assemble::open_archive(&lent, output.len)
                            .map(|_| ())
                            .map_err(|error| error.to_string());
                    }
                    // Its pages are still in memory, and nobody waits for the reduce yet.
                    let files =
                        assemble::files(&Body::File(lent), output.len).map_err(|error| error.to_string())?;
                    parts.know(output.id, files.into());
                    Ok(())
                });
                opened
                    .await
                    .map_err(|error| FetchProblem::Here(error.to_string()))?
                    .map_err(|error| FetchProblem::NotAnOutput(error.to_string()))
            };
            let result = tokio::select! {
                fetched = fetch => fetched,
                () = shared.stop.cancelled() => return,
            };
            shared.tell(Event::OutputFetched { session, lease, result }).await;
        };
        self.shared.tasks.spawn(fetch);
    }

    fn find_unchecked(&self, job: JobId, operator: Address, from: TaskNumber, undone: u64) {
        let shared = self.shared.clone();
        let find = async move {
            loop {
                let with = shared.clone();
                let found = tokio::task::spawn_blocking(move || {
                    unchecked(&with.store, job, operator, from, undone).map_err(|error| causes(&error))
                });
                let found = found.await.map_err(|error| error.to_string()).and_then(|found| found);
                match found {
                    Ok(found) => return shared.tell(Event::UncheckedFound(found)).await,
                    Err(error) => tracing::error!(%job, error, "results cannot be looked at again yet"),
                }
                tokio::select! {
                    () = tokio::time::sleep(ROOM_PAUSE) => {}
                    () = shared.stop.cancelled() => return,
                }
            }
        };
        self.shared.tasks.spawn(find);
    }

    fn compare(
        &self,
        comparing: Comparing,
        lease: LeaseId,
        with: Vec<BlobRef>,
        makers: Vec<(BlobId, NodeId)>,
        patience: Duration,
    ) {
        let (shared, turns) = (self.shared.clone(), self.comparisons.clone());
        let compare = async move {
            let task = comparing.task;
            for other in with {
                let (mut pause, mut starts) = (ROOM_PAUSE, 0);
                loop {
                    let Some(turn) = turns.take(task.job).await else { return };
                    let is_over =
                        |record: Option<JobRecord>| record.is_none_or(|record| record.ended.is_some());
                    if shared.store.job(task.job).is_ok_and(is_over) {
                        return;
                    }
                    let (by, work) = (shared.clone(), comparing.clone());
                    let compared = tokio::task::spawn_blocking(move || {
                        let lend = |blob| by.blobs.blocking_lend(blob);
                        let places =
                            Places { store: &by.store, executor: by.executor.as_deref(), lend: &lend };
                        work.is_same(other, &places)
                    });
                    let error = match compared.await {
                        Ok(Ok(true)) => {
                            return shared.tell(Event::Compared { task, lease, same: Some(other.id) }).await;
                        }
                        Ok(Ok(false)) => break,
                        Ok(Err(CompareError::Row(output))) => {
                            tracing::error!(%task, %output, "an output is damaged in the coordinator's state");
                            return shared.tell(Event::OpinionLost { task, lease }).await;
                        }
                        Ok(Err(CompareError::Lost(lost))) => {
                            // It is not here any more from now on, if it is damaged indeed.
                            if shared.blobs.recheck(lost).await == Condition::Lost {
                                drop(turn);
                                let output = if lost == other.id { other } else { comparing.output };
                                let made_it = makers.iter().filter(|(made, _)| *made == lost);
                                let from: Vec<NodeId> = made_it.map(|(_, node)| *node).collect();
                                if mending::fetch_output(&shared, task.job, output, &from, patience).await {
                                    continue;
                                }
                                return shared.tell(Event::OpinionLost { task, lease }).await;
                            }
                            causes(&CompareError::Lost(lost))
                        }
                        Ok(Err(error)) => {
                            starts += u32::from(matches!(error, CompareError::Stopped(_)));
                            // One that is damaged comes again from the requester.
                            if let Comparison::Program(program) = comparing.spec.comparison() {
                                shared.blobs.recheck(program.id).await;
                            }
                            causes(&error)
                        }
                        Err(error) => error.to_string(),
                    };
                    if starts >= MOST_STARTS {
                        tracing::error!(%task, error, "outputs count as different, since they cannot be compared");
                        break;
                    }
                    tracing::error!(%task, error, "outputs cannot be compared yet");
                    // Others need not wait for it.
                    drop(turn);
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(MOST_PAUSE);
                }
            }
            shared.tell(Event::Compared { task, lease, same: None }).await;
        };
        let shared = self.shared.clone();
        let compare = async move {
            tokio::select! {
                () = compare => {}
                () = shared.stop.cancelled() => {}
            }
        };
        self.shared.tasks.spawn(compare);
    }

    fn assemble(&self, spec: Arc<JobSpec>, task: TaskId, number: u64) {
        let (shared, room, parts) = (self.shared.clone(), self.assemblies.clone(), self.parts.clone());
        let assemble = async move {
            let Ok(place) = room.acquire().await else { return };
            let with = shared.clone();
            let made = tokio::task::spawn_blocking(move || {
                assemble::make(&with.store, &spec, task, &parts, |blob| with.blobs.blocking_lend(blob))
            });
            let failed = |error: &dyn std::error::Error| Unmade::Failed(causes(error));
            let result = async {
                let made = match made.await.map_err(|error| failed(&error))? {
                    Ok(made) => made,
                    Err(error) => {
                        let Some(output) = error.lost() else { return Err(failed(&error)) };
                        tracing::error!(%task, error = causes(&error), "a reduce task waits for a part");
                        // It is not here any more from now on, if it is damaged indeed.
                        if shared.blobs.recheck(output).await != Condition::Lost {
                            // Others need not wait for it.
                            drop(place);
                            tokio::time::sleep(ROOM_PAUSE).await;
                        }
                        return Err(Unmade::PartLost);
                    }
                };
                match made {
                    Made::Ready(assembled) => Ok(assembled),
                    Made::Pack(content, packed) => {
                        let pin = output_pin(task.job).map_err(|error| failed(&error))?;
                        let pack = loop {
                            match shared.blobs.import_content(&content, &pin).await {
                                Ok(pack) => break pack,
                                Err(error) if may_find_room(&error) => wait_for_room(&error).await,
                                Err(error) => return Err(failed(&error)),
                            }
                        };
                        assemble::with_pack(packed, pack).map_err(|error| failed(&error))
                    }
                }
            };
            let result = tokio::select! {
                result = result => result,
                () = shared.stop.cancelled() => return,
            };
            shared.tell(Event::Assembled { task, number, result }).await;
        };
        self.shared.tasks.spawn(assemble);
    }
}

/// Tasks that are looked at before others get a turn, and results that are told of at once.
const MOST_LOOKED_AT: usize = 4096;
const MOST_FOUND: usize = 256;

/// What a job's store has from a task on of the results that somebody was believed.
///
/// # Errors
/// When the store cannot be read.
pub fn unchecked(
    store: &Store,
    job: JobId,
    operator: Address,
    from: TaskNumber,
    undone: u64,
) -> Result<FoundUnchecked, StoreError> {
    let (mut results, mut next) = (Vec::new(), Some(from));
    while let Some(at) = next
        && results.len() < MOST_FOUND
    {
        let page = store.tasks(job, at, MOST_LOOKED_AT)?;
        let is_last = page.len() < MOST_LOOKED_AT;
        next = page.last().map(|(task, _)| TaskNumber(task.0 + 1)).filter(|_| !is_last);
        for (task, record) in page {
            if results.len() == MOST_FOUND {
                next = Some(task);
                break;
            }
            if record.verdict.basis == Basis::Unchecked && record.result.operator == operator {
                results.push((task, record));
            }
        }
    }
    Ok(FoundUnchecked { job, operator, from, undone, results, next })
}

/// Tells a provider what its results are paid and gives it vouchers, in messages of bounded size.
fn decided(
    shared: &Shared,
    session: SessionId,
    decisions: &[(LeaseId, Decision)],
    vouchers: &[Signed<Voucher>],
) {
    let Some(outbox) = shared.outboxes.get(session) else { return };
    let (mut decisions, mut vouchers) =
        (decisions.chunks(MAX_CREDITS as usize), vouchers.chunks(MAX_VOUCHERS));
    loop {
        let next = (decisions.next().unwrap_or_default(), vouchers.next().unwrap_or_default());
        if next.0.is_empty() && next.1.is_empty() {
            return;
        }
        let (decisions, vouchers) = (next.0.to_vec(), next.1.to_vec());
        outbox.put(Outgoing::ToProvider(ToProvider::Decided { decisions, vouchers }));
    }
}

/// How long an output of this length may take to arrive.
pub fn fetch_patience(len: u64) -> Duration {
    FETCH_PATIENCE + Duration::from_secs(len >> 20)
}

/// Whether what found no room may find some later.
pub fn may_find_room(error: &BlobError) -> bool {
    match error {
        BlobError::OverBudget(over) => over.need <= over.budget,
        error => error.is_disk_full(),
    }
}

/// Waits a while for someone to make room on this disk.
pub async fn wait_for_room(error: &BlobError) {
    tracing::error!(error = error as &dyn std::error::Error, "no room for a blob; it waits until there is");
    tokio::time::sleep(ROOM_PAUSE).await;
}

/// Lets blobs go that no running job needs. They stay until the room is needed for others.
pub async fn unpin(shared: &Shared, blobs: &[BlobId]) {
    for blob in blobs {
        let _pinning = shared.inputs.pinning().await;
        // A job that was submitted in the meantime may need it again.
        if shared.inputs.has(*blob) {
            continue;
        }
        let unpinned = async { shared.blobs.unpin(&input_pin(*blob)?).await };
        if let Err(error) = unpinned.await {
            tracing::warn!(%blob, error = &error as &dyn std::error::Error, "an input stays pinned");
        }
    }
}

/// Lets the inputs of a job go that does not run, or not any more.
pub fn release_inputs(shared: &Arc<Shared>, job: JobId) {
    let free = shared.inputs.release(job);
    if !free.is_empty() {
        let with = shared.clone();
        shared.tasks.spawn(async move { unpin(&with, &free).await });
    }
}

/// Under which name an input is pinned.
pub fn input_pin(blob: BlobId) -> Result<Pin, BlobError> {
    Pin::new(format!("input.{blob}"))
}

/// The job whose outputs a pin holds, if it is one of those.
pub fn job_of_output_pin(pin: &Pin) -> Option<JobId> {
    pin.name().strip_prefix("output.")?.parse().ok()
}

/// Under which name a job's outputs are pinned.
pub fn output_pin(job: JobId) -> Result<Pin, BlobError> {
    Pin::new(format!("output.{job}"))
}
