//! What a requester asks, until its session ends.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tidemill_job::{BlobRef, JobSpec};
use tidemill_net::{
    blobs::{BlobError, Pin},
    endpoint::RecvStream,
    frame::FrameReader,
    wire::{
        Answer, Bounded, Call, JobPay, MAX_CALLS_IN_FLIGHT, MAX_LONG_ANSWERS, Refusal, Reply, Request,
        SpecBody,
    },
};
use tidemill_types::{Address, ByteSize, Comparison, JobId, NodeId, Principal, TaskId, causes};
use tokio::{sync::Semaphore, task::JoinSet};

use super::answers;
use crate::{
    core::Funding,
    event::{Caller, Event, Question, SessionId},
    failpoint::Failpoint,
    inputs::Named,
    mending,
    outbox::{Outgoing, Place},
    shared::{Shared, Unavailable},
};

/// Blobs of a job that are fetched at once: as many as a requester gives away at once. More would wait at its side, and
/// be taken for a side that keeps still.
const FETCHES_AT_ONCE: usize = 16;

/// How often a requester is told what has arrived.
const TELL_EVERY: Duration = Duration::from_millis(100);

/// Reads calls until the session ends. As many are worked on at a time as a requester may have in flight, until their answers
/// have left; the next one is read when there is room. `signer`: the address of the requester's result key.
pub async fn read(
    shared: &Arc<Shared>,
    session: SessionId,
    (node, signer): (NodeId, Address),
    mut reader: FrameReader<RecvStream>,
) {
    let places = Places::new();
    let is_operator = signer == shared.operator;
    loop {
        let call = tokio::select! {
            call = reader.next::<Call>() => call,
            () = shared.stop.cancelled() => return,
        };
        let call = match call {
            Ok(Some(call)) => call,
            Ok(None) => return,
            Err(error) if error.is_offence() => {
                super::expel(shared, session, node, &error.to_string(), false);
                return;
            }
            Err(_) => return,
        };
        if let Err(error) = call.check() {
            super::expel(shared, session, node, &error.to_string(), false);
            return;
        }
        let Some(place) = places.of(&call.request).await else { return };
        let principal = Principal::Node(node);
        let caller = Caller { session, principal, node, signer, call: call.id, is_operator };
        take(shared, caller, call.request, place).await;
    }
}

/// How many calls of one session may be worked on at a time, and be on their way out.
#[derive(Clone, Debug)]
pub struct Places {
    calls: Arc<Semaphore>,
    long: Arc<Semaphore>,
}

impl Places {
    pub fn new() -> Self {
        Self {
            calls: Arc::new(Semaphore::new(MAX_CALLS_IN_FLIGHT)),
            long: Arc::new(Semaphore::new(MAX_LONG_ANSWERS)),
        }
    }

    /// Waits for a call's place; nothing when there are to be no more.
    pub async fn of(&self, request: &Request) -> Option<Place> {
        let _call = self.calls.clone().acquire_owned().await.ok()?;
        let _long = match request.has_long_answer() {
            true => Some(self.long.clone().acquire_owned().await.ok()?),
            false => None,
        };
        Some(Place { _call, _long })
    }
}

/// Takes a call up, which is within its bounds. Its place is free when its answer has left.
pub async fn take(shared: &Arc<Shared>, caller: Caller, request: Request, place: Place) {
    // What is watched and followed is answered many times, and is counted where that is kept.
    if !matches!(request, Request::Watch { .. } | Request::Follow(_))
        && let Some(outbox) = shared.outboxes.get(caller.session)
    {
        outbox.hold(caller.call, place);
    }
    match request {
        Request::Submit { job, spec, follow, pay } => {
            let submission = Submission { caller, job, follow, pay };
            // Most jobs are small, and their blobs and their money are here: no task of its own for those.
            match (spec, known_funding(shared, &submission)) {
                (SpecBody::Inline(encoded), Some(funding)) => match ready(shared, caller, job, &encoded) {
                    Ok(Some(ready)) => submit(shared, &submission, funding, ready, encoded).await,
                    Ok(None) => spawn_submit(shared, submission, SpecBody::Inline(encoded)),
                    Err(refusal) => reply(shared, caller, Err(refusal)),
                },
                (spec, _) => spawn_submit(shared, submission, spec),
            }
        }
        request => ask(shared, caller, request).await,
    }
}

/// A job that is being submitted.
#[derive(Clone, Copy)]
struct Submission {
    caller: Caller,
    job: JobId,
    follow: bool,
    pay: Option<JobPay>,
}

/// What pays for it, where nobody has to be asked; nothing where the ledger has to.
fn known_funding(shared: &Shared, submission: &Submission) -> Option<Option<Funding>> {
    match (&shared.teller, &submission.pay) {
        (Some(teller), Some(pay)) => teller.known(submission.caller.node, pay).map(Some),
        // Whoever pays where work is free, or does not where it is not, hears so from the core.
        (Some(_), None) => Some(None),
        (None, None) => Some(None),
        (None, Some(_)) => None,
    }
}

/// What pays for it, by asking the ledger.
async fn funding(shared: &Shared, submission: &Submission) -> Result<Option<Funding>, Refusal> {
    match (&shared.teller, &submission.pay) {
        (Some(teller), Some(pay)) => teller.funding(submission.caller.node, pay).await.map(Some),
        (_, None) => Ok(None),
        (None, Some(_)) => {
            Err(Refusal::Unpaid { reason: "this network is free, and takes no money".to_owned() })
        }
    }
}

/// A job whose blobs are here, pinned and held.
struct Ready {
    spec: Arc<JobSpec>,
    named: Named,
}

/// A job whose blobs are all needed by other jobs already, and so are here; nothing when some are not.
fn ready(shared: &Shared, caller: Caller, job: JobId, encoded: &[u8]) -> Result<Option<Ready>, Refusal> {
    let spec = decode(shared, encoded)?;
    let named = Named::by(&spec);
    let (_claim, inputs) = shared.inputs.claim(caller.principal, &named);
    // The other way says how much is kept.
    if inputs > shared.keep.bytes {
        return Ok(None);
    }
    // One that other jobs need may be damaged.
    let are_here = named.blobs.iter().all(|blob| shared.blobs.has(blob.id).is_some());
    let here = are_here && shared.inputs.hold_if_needed(job, caller.principal, &named);
    Ok(here.then(|| Ready { spec: Arc::new(spec), named }))
}

fn decode(shared: &Shared, encoded: &[u8]) -> Result<JobSpec, Refusal> {
    let spec = JobSpec::decode(encoded).map_err(|error| Refusal::BadJob { reason: error.to_string() })?;
    if matches!(spec.comparison(), Comparison::Program(_)) && shared.executor.is_none() {
        let reason = "this coordinator runs no programs that compare outputs".to_owned();
        return Err(Refusal::BadJob { reason });
    }
    Ok(spec)
}

fn spawn_submit(shared: &Arc<Shared>, submission: Submission, body: SpecBody) {
    let with = shared.clone();
    shared.tasks.spawn(async move {
        // Held until the core has taken the job in, so that few long ones are in memory.
        let _large = match body {
            SpecBody::Blob(_) => with.large_jobs.acquire().await.ok(),
            SpecBody::Inline(_) => None,
        };
        let fetched = async {
            // Before anything is fetched: who cannot pay, or has too much here, moves no bytes.
            let funding = funding(&with, &submission).await?;
            answers::within_budget(&with, submission.caller, submission.job)?;
            let (ready, encoded) = fetch_job(&with, submission.caller, submission.job, body).await?;
            Ok((funding, ready, encoded))
        };
        let fetched = tokio::select! {
            fetched = fetched => fetched,
            () = with.stop.cancelled() => return,
        };
        match fetched {
            Ok((funding, ready, encoded)) => submit(&with, &submission, funding, ready, encoded).await,
            Err(refusal) => reply(&with, submission.caller, Err(refusal)),
        }
    });
}

/// Hands a job to the core, unless the store knows it already: then its first answer was lost.
async fn submit(
    shared: &Arc<Shared>,
    submission: &Submission,
    funding: Option<Funding>,
    Ready { spec, named }: Ready,
    encoded: Vec<u8>,
) {
    let Submission { caller, job, follow, pay } = *submission;
    let escrow = pay.map(|pay| pay.escrow);
    match answers::look(shared, caller, job, &encoded, follow, escrow) {
        Ok(look) => {
            shared.tell(Event::Submit { caller, job, spec, encoded, follow, funding, look }).await;
            // What is damaged from now on is told by whoever finds it, after this.
            mending::tell_of_missing(shared, &named.blobs).await;
        }
        Err(known) => {
            if !known.runs {
                crate::effects::release_inputs(shared, job);
            }
            for answer in known.answers {
                reply(shared, caller, answer);
            }
        }
    }
}

/// The same for a job of which the core could not tell what the store knows.
pub async fn submit_again(
    shared: &Arc<Shared>,
    caller: Caller,
    job: JobId,
    follow: bool,
    funding: Option<Funding>,
    spec: Arc<JobSpec>,
    encoded: Vec<u8>,
) {
    let submission = Submission { caller, job, follow, pay: funding.map(|funding| funding.pay) };
    let named = Named::by(&spec);
    submit(shared, &submission, funding, Ready { spec, named }, encoded).await;
}

/// Has the core remove a job that the store has as the caller's.
pub async fn remove(shared: &Arc<Shared>, caller: Caller, job: JobId) {
    // Before the look.
    let past = shared.past();
    match answers::owned(shared, caller, job) {
        Ok(_) => shared.tell(Event::Ask { caller, question: Question::Remove { job, past } }).await,
        Err(refusal) => reply(shared, caller, Err(refusal)),
    }
}

/// Fetches a job and all the blobs that it names from its requester. After that they are here, pinned, and held.
async fn fetch_job(
    shared: &Arc<Shared>,
    caller: Caller,
    job: JobId,
    body: SpecBody,
) -> Result<(Ready, Vec<u8>), Refusal> {
    let encoded = match body {
        SpecBody::Inline(encoded) => encoded,
        SpecBody::Blob(blob) => {
            if blob.len > JobSpec::MAX_BYTES as u64 {
                return Err(Refusal::BadJob { reason: format!("it has {}", ByteSize(blob.len)) });
            }
            // Only until it has been read: it is no input of the job.
            let pin = Pin::new(format!("job.{job}.{}", caller.session.0)).map_err(busy)?;
            // A session of this process has brought it.
            let is_here = shared.blobs.has(blob.id) == Some(blob.len);
            let borrowed = match is_here {
                true => Ok(()),
                false => shared.borrow(caller.node, blob, &pin, |_| {}).await,
            };
            let read = match borrowed {
                Ok(()) => shared.blobs.read(blob.id, JobSpec::MAX_BYTES as u64).await.map_err(busy),
                Err(error) => Err(unavailable(error)),
            };
            shared.blobs.unpin(&pin).await.map_err(busy)?;
            read?
        }
    };
    let with = shared.clone();
    let (spec, encoded) =
        tokio::task::spawn_blocking(move || decode(&with, &encoded).map(|spec| (spec, encoded)))
            .await
            .map_err(|error| Refusal::Busy { reason: error.to_string() })??;
    let named = Named::by(&spec);
    // It counts until it is held, so that many that come at once are not each thought to be alone.
    let (_claim, inputs) = shared.inputs.claim(caller.principal, &named);
    let missing = named.blobs.iter().filter(|blob| shared.blobs.has(blob.id).is_none());
    let brings = ByteSize(missing.fold(0, |sum: u64, blob| sum.saturating_add(blob.len)));
    answers::may_bring(shared, caller, job, inputs, brings)?;
    if let Err(refusal) = fetch_blobs(shared, caller, job, &named).await {
        // What came of them before would stay until the next start.
        let ids: Vec<_> = named.blobs.iter().map(|blob| blob.id).collect();
        crate::effects::unpin(shared, &ids).await;
        return Err(refusal);
    }
    Ok((Ready { spec: Arc::new(spec), named }, encoded))
}

async fn fetch_blobs(shared: &Arc<Shared>, caller: Caller, job: JobId, named: &Named) -> Result<(), Refusal> {
    let blobs = &named.blobs;
    let arriving = Arc::new(Arriving::new(shared.clone(), caller, blobs));
    let mut missing = Vec::new();
    for blob in blobs {
        if shared.inputs.has(blob.id) && shared.blobs.has(blob.id).is_some() {
            arriving.add(blob.len);
        } else {
            missing.push(*blob);
        }
    }
    if !missing.is_empty() {
        arriving.tell();
    }
    while !missing.is_empty() || !hold(shared, (job, caller.principal), named, &mut missing).await? {
        fetch_all(&arriving, std::mem::take(&mut missing)).await?;
    }
    Failpoint::AfterPin.pass();
    Ok(())
}

/// Makes sure that all blobs of a job are here and pinned, and holds them. Whether they are: those that are not are missing
/// then.
async fn hold(
    shared: &Shared,
    (job, owner): (JobId, Principal),
    named: &Named,
    missing: &mut Vec<BlobRef>,
) -> Result<bool, Refusal> {
    // While the last of them came, a job that shared the first ones may have ended, or one was damaged: its pin stays.
    let _pinning = shared.inputs.pinning().await;
    for blob in &named.blobs {
        let pin = crate::effects::input_pin(blob.id).map_err(busy)?;
        if shared.blobs.has(blob.id).is_none() {
            missing.push(*blob);
        } else if shared.blobs.pinned(&pin).is_empty() {
            match shared.blobs.pin(&pin, blob.id).await {
                Ok(()) => {}
                Err(BlobError::NotHere(_)) => missing.push(*blob),
                Err(error) => return Err(busy(error)),
            }
        }
    }
    if missing.is_empty() {
        shared.inputs.hold(job, owner, named);
    }
    Ok(missing.is_empty())
}

/// Has these blobs of a job here and pinned.
async fn fetch_all(arriving: &Arc<Arriving>, missing: Vec<BlobRef>) -> Result<(), Refusal> {
    let (mut fetches, mut result) = (JoinSet::new(), Ok(()));
    let mut missing = missing.into_iter();
    loop {
        // Of a job that is refused nothing more is asked for. What is on its way comes to its end, so that the pins
        // of all of it are there to be taken off.
        while fetches.len() < FETCHES_AT_ONCE && result.is_ok() {
            let Some(blob) = missing.next() else { break };
            let arriving = arriving.clone();
            fetches.spawn(async move { fetch(&arriving, blob).await });
        }
        let Some(fetched) = fetches.join_next().await else { break };
        let fetched = fetched.unwrap_or_else(|error| Err(Refusal::Busy { reason: error.to_string() }));
        result = result.and(fetched);
    }
    result
}

fn busy(error: BlobError) -> Refusal {
    Refusal::Busy { reason: error.to_string() }
}

/// What has arrived of a job's blobs, which its requester is told.
struct Arriving {
    shared: Arc<Shared>,
    caller: Caller,
    done: AtomicU64,
    total: u64,
    told: Mutex<Instant>,
}

impl Arriving {
    fn new(shared: Arc<Shared>, caller: Caller, blobs: &[BlobRef]) -> Self {
        let total = blobs.iter().fold(0u64, |sum, blob| sum.saturating_add(blob.len));
        Self { shared, caller, done: AtomicU64::new(0), total, told: Mutex::new(Instant::now()) }
    }

    /// So many bytes more are here.
    fn add(&self, bytes: u64) {
        self.done.fetch_add(bytes, Ordering::Relaxed);
        // Whoever has it tells of these too, or of what comes next.
        if let Ok(mut told) = self.told.try_lock()
            && told.elapsed() >= TELL_EVERY
        {
            *told = Instant::now();
            self.tell();
        }
    }

    fn tell(&self) {
        let done = ByteSize(self.done.load(Ordering::Relaxed).min(self.total));
        reply(&self.shared, self.caller, Ok(Reply::Fetching { done, total: ByteSize(self.total) }));
    }
}

/// Has a blob here and pinned.
async fn fetch(arriving: &Arriving, blob: BlobRef) -> Result<(), Refusal> {
    let (shared, caller) = (&arriving.shared, arriving.caller);
    Failpoint::BeforePin.pass();
    let pin = crate::effects::input_pin(blob.id).map_err(busy)?;
    match shared.blobs.has(blob.id) {
        Some(len) if len == blob.len => {
            arriving.add(len);
            return shared.blobs.pin(&pin, blob.id).await.map_err(busy);
        }
        Some(len) => {
            let reason = format!("blob {} has {} and not {}", blob.id, ByteSize(len), ByteSize(blob.len));
            return Err(Refusal::BadJob { reason });
        }
        None => {}
    }
    let mut before = 0;
    let advance = |here: u64| {
        arriving.add(here.saturating_sub(before));
        before = before.max(here);
    };
    shared.borrow(caller.node, blob, &pin, advance).await.map_err(unavailable)
}

fn unavailable(error: Unavailable) -> Refusal {
    match error {
        Unavailable::Here(error) => busy(error),
        other => Refusal::Fetch { reason: causes(&other) },
    }
}

/// Answers what the store can answer, and asks the core for the rest.
async fn ask(shared: &Arc<Shared>, caller: Caller, request: Request) {
    let question = match request {
        Request::Job { job } => Question::Job(job),
        Request::Watch { job } => Question::Watch(job),
        Request::Follow(task) => Question::Follow(task),
        Request::Cancel { job } => Question::Cancel(job),
        Request::Remove { job } => return remove(shared, caller, job).await,
        Request::Jobs { limit, after, all } => Question::Jobs { limit, after, all },
        Request::Providers => Question::Providers,
        Request::Reputation { operator } => Question::Reputation(operator),
        Request::Terms { stages } => Question::Terms(stages),
        Request::Escrow { escrow } => Question::Escrow(escrow),
        Request::CloseEscrow { escrow } => Question::CloseEscrow(escrow),
        Request::Tasks { job, from, limit } => Question::Tasks { job, from, limit },
        Request::Explain { job, task } => Question::Explain { job, task },
        Request::Outputs { job, from, limit } => {
            return spawn_answer(shared, caller, move |shared| {
                answers::outputs(shared, caller, job, from, limit)
            });
        }
        Request::Log { job, task } => {
            return spawn_answer(shared, caller, move |shared| answers::log(shared, caller, job, task));
        }
        Request::Output(task) => {
            return spawn_answer(shared, caller, move |shared| answers::output(shared, caller, task));
        }
        Request::Evidence { job, task, from } => {
            return spawn_answer(shared, caller, move |shared| {
                answers::evidence(shared, caller, TaskId { job, task }, from)
            });
        }
        Request::Submit { .. } => return,
    };
    shared.tell(Event::Ask { caller, question }).await;
}

/// Has a call answered by the store, on a thread where that may take its time.
fn spawn_answer(
    shared: &Arc<Shared>,
    caller: Caller,
    answer: impl FnOnce(&Shared) -> Result<Reply, Refusal> + Send + 'static,
) {
    let with = shared.clone();
    shared.tasks.spawn_blocking(move || {
        let answer = answer(&with);
        reply(&with, caller, answer);
    });
}

/// Answers a call.
pub fn reply(shared: &Shared, caller: Caller, reply: Result<Reply, Refusal>) {
    if let Some(outbox) = shared.outboxes.get(caller.session) {
        outbox.put(Outgoing::Answer(Box::new(Answer { id: caller.call, reply })));
    }
}
