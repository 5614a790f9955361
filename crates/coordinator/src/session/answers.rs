//! Answers that need only the store.

use std::collections::{HashMap, HashSet};

use tidemill_job::{BlobRef, JobSpec};
use tidemill_net::wire::{
    Contribution, Decision, Explanation, HeldLease, JobPhase, JobPlace, JobReport, KeptEvidence,
    MAX_ANSWER_EVIDENCE_BYTES, MAX_ANSWER_OUTPUT_BYTES, MAX_INLINE_PIECE_BYTES, MAX_PAGE,
    MAX_RESULTS_OF_TASK, OutputPiece, Page, Refusal, Reply, ResultReport, Standing, TaskNews, TaskPhase,
    TaskReport, Unpaid,
};
use tidemill_store::{
    AttemptRecord, DoneRecord, EvidenceRecord, Found, JobEnd, JobRecord, OpinionRecord, ResultRecord, Store,
    StoreError, UnixMillis,
};
use tidemill_types::{
    Address, BlobId, ByteSize, EscrowId, Failure, GuestPath, JobId, LeaseId, NodeId, Principal, TaskId,
    TaskNumber, Weight,
};

use crate::{
    core::{Fate, Summary, attempt, counts_alike, escrow_report, fate, owed_for_failure, phase, standing},
    event::{Caller, Look, Question},
    shared::Shared,
};

/// Jobs that are read at once for a list.
const JOBS_AT_ONCE: usize = 32;

type Answered = Result<Reply, Refusal>;

/// What is to be answered to a submission of a job that is known, or would be the same.
pub struct Known {
    /// The answers, in order.
    pub answers: Vec<Answered>,
    /// Whether the job runs all the same, so that its blobs are still needed.
    pub runs: bool,
}

/// What the store knows when a job is submitted that is new, or runs, which the core knows.
///
/// # Errors
/// The answer, where the store knows more of the job.
pub fn look(
    shared: &Shared,
    caller: Caller,
    job: JobId,
    encoded: &[u8],
    follow: bool,
    escrow: Option<EscrowId>,
) -> Result<Look, Known> {
    let known = |answers, runs| Err(Known { answers, runs });
    // Before the look: what is over later is known to the core.
    let past = shared.past();
    let found = match shared.store.look(job, caller.principal, escrow) {
        Ok(found) => found,
        Err(error) => return known(vec![Err(busy(&error))], false),
    };
    let Found { job: record, is_removing, holdings, is_escrow_closed } = found;
    if is_removing {
        return known(vec![Err(Refusal::IdTaken)], false);
    }
    let look = Look { past, holdings, is_escrow_closed };
    let Some(record) = record else {
        return match shared.no_room(ByteSize(0)) {
            None => Ok(look),
            Some(refusal) => known(vec![Err(refusal)], false),
        };
    };
    let same = record.owner == caller.principal
        && matches!(shared.store.job_spec(job), Ok(Some(spec)) if spec == encoded);
    if !same {
        return known(vec![Err(Refusal::IdTaken)], record.ended.is_none());
    }
    if record.ended.is_none() {
        return Ok(look);
    }
    let mut answers = vec![Ok(Reply::Submitted)];
    if follow {
        answers.push(Ok(Reply::Ended(ended_report(&record))));
    }
    known(answers, false)
}

/// Whether a requester may bring a job, as far as that is known before the job is here.
///
/// # Errors
/// [`Refusal::OverBudget`] where as much is kept for it as may be, [`Refusal::Busy`] where the disk has no room.
pub fn within_budget(shared: &Shared, caller: Caller, job: JobId) -> Result<(), Refusal> {
    let found = shared.store.look(job, caller.principal, None).map_err(|error| busy(&error))?;
    // One that is here counts already: its first answer was lost.
    if found.job.is_some() {
        return Ok(());
    }
    let refusal = shared.keep.refusal(&found.holdings, 0).or_else(|| shared.no_room(ByteSize(0)));
    refusal.map_or(Ok(()), Err)
}

/// Whether a requester may bring the blobs of a job, once it is known which: `inputs` is what it has here with them, and
/// `brings` what has to come.
///
/// # Errors
/// As [`within_budget`].
pub fn may_bring(
    shared: &Shared,
    caller: Caller,
    job: JobId,
    inputs: ByteSize,
    brings: ByteSize,
) -> Result<(), Refusal> {
    let found = shared.store.look(job, caller.principal, None).map_err(|error| busy(&error))?;
    if found.job.is_some() {
        return Ok(());
    }
    let refusal = shared.keep.refusal_of_inputs(&found.holdings, inputs);
    refusal.or_else(|| shared.no_room(brings)).map_or(Ok(()), Err)
}

/// What the core left to the store: questions about jobs that do not run.
pub fn answer(shared: &Shared, caller: Caller, question: Question) -> Answered {
    match question {
        Question::Job(job) | Question::Cancel(job) => {
            let record = seen(shared, caller, job)?;
            Ok(Reply::Job(ended_report(&record)))
        }
        Question::Watch(job) => {
            let record = seen(shared, caller, job)?;
            Ok(Reply::Ended(ended_report(&record)))
        }
        Question::Follow(TaskId { job, task }) => {
            let record = seen(shared, caller, job)?;
            match task.0 < record.task_count {
                true => Ok(Reply::Followed(TaskNews::Over)),
                false => Err(Refusal::NoSuchTask),
            }
        }
        Question::Tasks { job, from, limit } => {
            let record = seen(shared, caller, job)?;
            let spec = spec(shared, job)?;
            let open = (from.0..record.task_count).take(limit as usize);
            let open: Vec<_> = open.map(|task| (TaskNumber(task), Vec::new())).collect();
            tasks(&shared.store, job, &spec, open, withholds(caller, &record))
        }
        Question::Explain { job, task } => {
            let record = seen(shared, caller, job)?;
            let report = ended_report(&record);
            let summary = match task {
                None => format!("{} of {} tasks are done; the job has ended", report.done, report.tasks),
                Some(task) if task.0 >= record.task_count => return Err(Refusal::NoSuchTask),
                Some(task) => {
                    let id = TaskId { job, task };
                    let done = shared.store.task(id).map_err(|error| busy(&error))?;
                    let opinions = shared.store.opinions(id).map_err(|error| busy(&error))?;
                    let state = match done {
                        Some(DoneRecord { result, .. }) => {
                            format!(
                                "provider {} did it in {} ms",
                                result.provider.short(),
                                result.wall_us / 1000
                            )
                        }
                        None if opinions.is_empty() => "it was not done before the job ended".to_owned(),
                        None => "its results had no verdict when the job ended".to_owned(),
                    };
                    format!("{}: {state}", label(&spec(shared, job)?, task))
                }
            };
            let explanation = Explanation { summary, ..Explanation::default() };
            explained(shared, caller, job, task, explanation)
        }
        Question::Jobs { .. }
        | Question::Remove { .. }
        | Question::Providers
        | Question::Reputation(_)
        | Question::Terms(_)
        | Question::Escrow(_)
        | Question::CloseEscrow(_) => Err(Refusal::NoSuchJob),
    }
}

/// An explanation of a job or one of its tasks, with what the store knows of that one's results.
pub fn explained(
    shared: &Shared,
    caller: Caller,
    job: JobId,
    task: Option<TaskNumber>,
    mut explanation: Explanation,
) -> Answered {
    let Some(task) = task else { return Ok(Reply::Explained(explanation)) };
    let record = seen(shared, caller, job)?;
    let id = TaskId { job, task };
    let done = shared.store.task(id).map_err(|error| busy(&error))?;
    let opinions = shared.store.opinions(id).map_err(|error| busy(&error))?;
    let spec = spec(shared, job)?;
    let is_withheld = record.pay.is_some() && done.is_none() && !caller.is_operator;
    explanation.results = results_of(&spec, task, done.as_ref(), &opinions, is_withheld);
    match &done {
        Some(DoneRecord { verdict, .. }) => explanation.verdict = Some(*verdict),
        None => explanation.standing = standing_of(shared, &spec, id, &opinions)?,
    }
    let evidence = shared.store.evidence_count(id).map_err(|error| busy(&error))?;
    explanation.evidence = u32::try_from(evidence).unwrap_or(u32::MAX);
    Ok(Reply::Explained(explanation))
}

/// The results of a task, the first first. `is_withheld`: the outputs of those that nobody has paid for are not told.
pub fn results_of(
    spec: &JobSpec,
    task: TaskNumber,
    done: Option<&DoneRecord>,
    opinions: &[OpinionRecord],
    is_withheld: bool,
) -> Vec<ResultReport> {
    let report = |result: &ResultRecord, agrees, error_ppb, is_trial| ResultReport {
        node: result.provider,
        operator: result.operator,
        at_ms: result.at.0,
        output: Some(result.output),
        answer: 0,
        fuel: result.usage.fuel.0,
        error_ppb,
        agrees,
        is_trial,
    };
    let of_opinion = |opinion: &OpinionRecord| {
        let agrees = done.map(|done| counts_alike(spec, task, &done.result, opinion));
        let report = report(&opinion.result, agrees, Some(opinion.error_ppb), opinion.known.is_some());
        (opinion.paid.is_some(), report)
    };
    let mut reports: Vec<(bool, ResultReport)> = opinions.iter().map(of_opinion).collect();
    if let Some(DoneRecord { result, verdict, .. }) = done
        && opinions.iter().all(|opinion| opinion.result.lease != result.lease)
    {
        reports.push((true, report(result, Some(true), verdict.error_ppb, false)));
    }
    reports.sort_by_key(|(_, result)| result.at_ms);
    reports.truncate(MAX_RESULTS_OF_TASK);
    let mut outputs: Vec<Option<BlobId>> = Vec::new();
    let numbered = reports.into_iter().map(|(is_paid, mut report)| {
        let place = outputs.iter().position(|other| *other == report.output).unwrap_or_else(|| {
            outputs.push(report.output);
            outputs.len() - 1
        });
        report.answer = u32::try_from(place).unwrap_or(u32::MAX);
        report.output = report.output.filter(|_| is_paid || !is_withheld);
        report
    });
    numbered.collect()
}

/// What the results of a task come to that is not done; nothing without results.
fn standing_of(
    shared: &Shared,
    spec: &JobSpec,
    id: TaskId,
    opinions: &[OpinionRecord],
) -> Result<Option<Standing>, Refusal> {
    if opinions.is_empty() {
        return Ok(None);
    }
    let attempts = shared.store.attempts(id).map_err(|error| busy(&error))?;
    let fails = attempts.iter().any(|attempt| attempt.failure.weight() == Weight::Evidence);
    Ok(standing(spec, id.task, opinions, fails))
}

/// An escrow of the caller's that is closed, or that never was.
pub fn escrow(shared: &Shared, caller: Caller, id: EscrowId) -> Answered {
    let found = shared.store.escrow(id).map_err(|error| busy(&error))?;
    let (record, payees) = found.ok_or(Refusal::NoSuchEscrow)?;
    if !record.nodes.contains(&caller.node) {
        return Err(Refusal::NoSuchEscrow);
    }
    Ok(Reply::Escrow(Box::new(escrow_report(&record, payees.iter()))))
}

/// What became of leases that a provider holds and that have ended here: those whose results were accepted are paid, and
/// those whose failure ended the job.
pub fn reconcile(
    shared: &Shared,
    node: NodeId,
    stale: &[HeldLease],
) -> Result<Vec<(LeaseId, Decision)>, StoreError> {
    let decide = |held: &HeldLease| {
        let is_its = |result: &ResultRecord| (result.lease, result.provider) == (held.lease, node);
        let done = shared.store.task(held.task)?;
        if let Some(DoneRecord { result, .. }) = done.as_ref().filter(|done| is_its(&done.result)) {
            return Ok(Some((held.lease, Decision::Paid(result.price))));
        }
        let opinions = shared.store.opinions(held.task)?;
        let ended = shared.store.job(held.task.job)?.and_then(|job| job.ended).map(|ended| ended.end);
        if let Some(opinion) = opinions.iter().find(|opinion| is_its(&opinion.result)) {
            return Ok(match fate(held.task.task, opinion, done.is_some(), ended.as_ref()) {
                Fate::Paid(amount) => Some((held.lease, Decision::Paid(amount))),
                Fate::Unpaid(reason) => Some((held.lease, Decision::Unpaid(reason))),
                // It is told with the verdict.
                Fate::Open => None,
            });
        }
        let attempts = shared.store.attempts(held.task)?;
        let of_it = attempts.iter().find(|attempt| (attempt.lease, attempt.provider) == (held.lease, node));
        let Some(attempt) = of_it else { return Ok(Some((held.lease, Decision::Unpaid(Unpaid::Late)))) };
        if attempt.failure.weight() != Weight::Evidence {
            return Ok(Some((held.lease, Decision::Unpaid(Unpaid::Circumstance))));
        }
        let Some(end) = ended.filter(|_| done.is_none()) else {
            // While its job runs it waits for an answer that stands.
            return Ok(done.is_some().then_some((held.lease, Decision::Unpaid(Unpaid::Unconfirmed))));
        };
        let is_owed = match end {
            JobEnd::Failed { task, failure, .. } if task == held.task.task => failure == attempt.failure,
            // How credible each was is not on disk. The voucher has what it was owed, whatever is told here.
            _ => most_said(&attempts).contains(&&attempt.failure),
        };
        let owed = owed_for_failure(&attempts, &attempt.failure);
        let owed = owed.iter().find(|(failed, _)| failed.lease == held.lease);
        let decision = match is_owed {
            true => Decision::Paid(owed.map_or(attempt.price, |(_, amount)| *amount)),
            false => Decision::Unpaid(Unpaid::Unconfirmed),
        };
        Ok(Some((held.lease, decision)))
    };
    stale.iter().filter_map(|held| decide(held).transpose()).collect()
}

/// The failures that most operators had.
fn most_said(attempts: &[AttemptRecord]) -> Vec<&Failure> {
    let evidence = || attempts.iter().filter(|attempt| attempt.failure.weight() == Weight::Evidence);
    let count = |failure: &Failure| {
        let operators = evidence().filter(|attempt| attempt.failure == *failure);
        operators.map(|attempt| attempt.operator).collect::<HashSet<_>>().len()
    };
    let most = evidence().map(|attempt| count(&attempt.failure)).max().unwrap_or(0);
    evidence().map(|attempt| &attempt.failure).filter(|failure| count(failure) == most).collect()
}

/// Jobs, the newest first: these, which run, and those that have ended, of one owner or of all, as many as one answer holds.
pub fn jobs(
    store: &Store,
    owner: Option<Principal>,
    after: Option<JobPlace>,
    limit: u32,
    running: Vec<JobReport>,
) -> Answered {
    let mut running: HashMap<JobId, JobReport> =
        running.into_iter().map(|report| (report.job, report)).collect();
    let mut page = Page::new(limit);
    let mut after = after.map(|place| (UnixMillis(place.submitted_ms), place.job));
    'page: loop {
        // Those that run are in the store too. Few at a time, since a summary may be long.
        let records = store.jobs(owner, after, JOBS_AT_ONCE).map_err(|error| busy(&error))?;
        for record in &records {
            let report = running.remove(&record.job);
            let report = report.or_else(|| record.ended.is_some().then(|| ended_report(record)));
            // One that was submitted after the core was asked is of no list yet.
            if let Some(report) = report
                && !page.push(report)
            {
                break 'page;
            }
        }
        let Some(last) = records.last().filter(|_| !page.is_full()) else { break };
        after = Some((last.submitted, last.job));
    }
    Ok(Reply::Jobs(page.into_entries()))
}

/// Tasks of a job, of which the store knows which are done and what came of earlier attempts: these, which other providers
/// may have, as many as one answer holds. `is_withheld`: failures that are answers are told only once they are owed.
pub fn tasks(
    store: &Store,
    job: JobId,
    spec: &JobSpec,
    tasks: Vec<(TaskNumber, Vec<NodeId>)>,
    is_withheld: bool,
) -> Answered {
    let Some((first, _)) = tasks.first() else { return Ok(Reply::Tasks(Vec::new())) };
    let mut done: HashMap<TaskNumber, DoneRecord> =
        store.tasks(job, *first, tasks.len()).map_err(|error| busy(&error))?.into_iter().collect();
    let mut page = Page::new(MAX_PAGE);
    for (task, nodes) in tasks {
        let record = done.remove(&task);
        let is_withheld = is_withheld && record.is_none();
        let phase = match record {
            Some(record) => done_phase(&record),
            None if nodes.is_empty() => TaskPhase::Waiting,
            None => TaskPhase::Leased(nodes),
        };
        let attempts = store.attempts(TaskId { job, task }).map_err(|error| busy(&error))?;
        let attempts = attempts.iter().map(|record| attempt(record, is_withheld)).collect();
        let (label, file) = (label(spec, task), file(spec, task));
        if !page.push(TaskReport { task, label, file, phase, attempts }) {
            break;
        }
    }
    Ok(Reply::Tasks(page.into_entries()))
}

/// The outputs of a job's last tasks: that of the reduce, or those of the map.
pub fn outputs(shared: &Shared, caller: Caller, job: JobId, from: TaskNumber, limit: u32) -> Answered {
    owned(shared, caller, job)?;
    let spec = spec(shared, job)?;
    let from = match spec.tree() {
        Some(tree) => {
            let root = spec.number(tree.root()).ok_or(Refusal::NoSuchTask)?;
            if from > root {
                return Ok(Reply::Outputs(Vec::new()));
            }
            root
        }
        None => from,
    };
    let limit = limit.clamp(1, MAX_PAGE) as usize;
    let done = shared.store.tasks(job, from, limit).map_err(|error| busy(&error))?;
    let mut pieces = Vec::new();
    let mut bytes = 0;
    for (task, record) in done {
        bytes += OutputPiece::bytes_in_answer(record.result.output_len.0);
        if bytes > MAX_ANSWER_OUTPUT_BYTES && !pieces.is_empty() {
            break;
        }
        pieces.push(piece(shared, TaskId { job, task }, &record)?);
    }
    Ok(Reply::Outputs(pieces))
}

/// The output of a task that is done, whichever of its job's.
pub fn output(shared: &Shared, caller: Caller, id: TaskId) -> Answered {
    seen(shared, caller, id.job)?;
    let record = shared.store.task(id).map_err(|error| busy(&error))?.ok_or(Refusal::NoSuchTask)?;
    Ok(Reply::Outputs(vec![piece(shared, id, &record)?]))
}

fn piece(shared: &Shared, id: TaskId, record: &DoneRecord) -> Result<OutputPiece, Refusal> {
    let output = BlobRef { id: record.result.output, len: record.result.output_len.0 };
    let inline = match output.len <= MAX_INLINE_PIECE_BYTES {
        true => small_output(shared, id, output)?,
        false => None,
    };
    Ok(OutputPiece { task: id.task, output, inline })
}

/// The bytes of a small output, from its row or its blob; nothing where the blob has to be fetched after all, so that
/// whoever fetches it finds out what is wrong with it.
fn small_output(shared: &Shared, id: TaskId, output: BlobRef) -> Result<Option<Vec<u8>>, Refusal> {
    if let Some(bytes) = shared.store.output(id).map_err(|error| busy(&error))? {
        if BlobId::of(&bytes) != output.id {
            tracing::error!(task = %id, output = %output.id, "an output is damaged in the coordinator's state");
            let reason = format!("the output of task {} is damaged in its state", id.task.0);
            return Err(Refusal::Busy { reason });
        }
        return Ok(Some(bytes));
    }
    let bytes = shared.blobs.blocking_lend(output.id).ok().and_then(|lent| lent.read().ok());
    Ok(bytes.filter(|bytes| BlobId::of(bytes) == output.id))
}

/// What a task wrote to standard error.
pub fn log(shared: &Shared, caller: Caller, job: JobId, task: TaskNumber) -> Answered {
    let record = seen(shared, caller, job)?;
    if task.0 >= record.task_count {
        return Err(Refusal::NoSuchTask);
    }
    let id = TaskId { job, task };
    if shared.store.task(id).map_err(|error| busy(&error))?.is_none() {
        // The end of a failed attempt's log is in its failure.
        let attempts = shared.store.attempts(id).map_err(|error| busy(&error))?;
        let is_withheld = withholds(caller, &record);
        let told = attempts.iter().rev().filter(|record| attempt(record, is_withheld).failure.is_some());
        let said = told.filter_map(|attempt| attempt.failure.stderr()).next();
        let bytes = said.ok_or(Refusal::NoSuchTask)?.as_bytes().to_vec();
        return Ok(Reply::Log { bytes, omitted: 0 });
    }
    let log = shared.store.log(id).map_err(|error| busy(&error))?;
    let (bytes, omitted) = log.map_or((Vec::new(), 0), |log| (log.bytes, log.omitted));
    Ok(Reply::Log { bytes, omitted })
}

/// The evidence that is kept of a task's results, whether its job is there or not: all of it for its requester and the
/// coordinator's operator, and what is against it for a home whose result key signed it.
pub fn evidence(shared: &Shared, caller: Caller, task: TaskId, from: LeaseId) -> Answered {
    let may_see = |owner: Principal, signer: Address| caller.may_see(owner) || signer == caller.signer;
    let records = shared.store.evidence(task, from, MAX_ANSWER_EVIDENCE_BYTES, may_see);
    let kept = |record: EvidenceRecord| {
        let EvidenceRecord { operator, at, until, evidence, .. } = record;
        KeptEvidence { operator, at_ms: at.0, until_ms: until.0, evidence }
    };
    Ok(Reply::Evidence(records.map_err(|error| busy(&error))?.into_iter().map(kept).collect()))
}

/// The job's record, if it is the caller's.
pub fn owned(shared: &Shared, caller: Caller, job: JobId) -> Result<JobRecord, Refusal> {
    let record = shared.store.job(job).map_err(|error| busy(&error))?;
    record.filter(|record| record.owner == caller.principal).ok_or(Refusal::NoSuchJob)
}

/// The job's record, if the caller may look at it.
pub fn seen(shared: &Shared, caller: Caller, job: JobId) -> Result<JobRecord, Refusal> {
    let record = shared.store.job(job).map_err(|error| busy(&error))?;
    record.filter(|record| caller.may_see(record.owner)).ok_or(Refusal::NoSuchJob)
}

/// Tasks of a job that runs, of which the core knows who has them.
pub fn tasks_of_running(
    shared: &Shared,
    caller: Caller,
    job: JobId,
    spec: &JobSpec,
    open: Vec<(TaskNumber, Vec<NodeId>)>,
) -> Answered {
    let record = seen(shared, caller, job)?;
    tasks(&shared.store, job, spec, open, withholds(caller, &record))
}

/// Whether failures of a job that are answers are not told to the caller yet: they are paid when the job ends, and whoever
/// saw what they wrote before could cancel.
fn withholds(caller: Caller, record: &JobRecord) -> bool {
    record.pay.is_some() && record.ended.is_none() && !caller.is_operator
}

/// A job that has ended, as far as the store knows it.
pub fn ended_report(record: &JobRecord) -> JobReport {
    let summary = record.ended.as_ref().and_then(|ended| Summary::decode(&ended.summary)).unwrap_or_default();
    JobReport {
        job: record.job,
        requester: record.owner,
        name: record.name.clone(),
        phase: record
            .ended
            .as_ref()
            .map_or(JobPhase::Running, |ended| phase(&ended.end, |_| summary.label.clone())),
        submitted_ms: record.submitted.0,
        ended_ms: record.ended.as_ref().map(|ended| ended.at.0),
        tasks: record.task_count,
        map_tasks: record.map_count,
        done: record.done,
        leased: 0,
        lost_attempts: summary
            .contributions
            .iter()
            .map(|contribution: &Contribution| contribution.lost_attempts)
            .sum(),
        usage: summary.usage,
        contributions: summary.contributions,
        stuck: None,
        cost: summary.cost,
        reliability: summary.reliability,
    }
}

fn spec(shared: &Shared, job: JobId) -> Result<JobSpec, Refusal> {
    let encoded = shared.store.job_spec(job).map_err(|error| busy(&error))?.ok_or(Refusal::NoSuchJob)?;
    JobSpec::decode(&encoded)
        .map_err(|error| Refusal::Busy { reason: format!("a job cannot be read back: {error}") })
}

fn label(spec: &JobSpec, task: TaskNumber) -> String {
    spec.node(task).and_then(|node| spec.label(node)).unwrap_or_default()
}

fn file(spec: &JobSpec, task: TaskNumber) -> Option<GuestPath> {
    spec.file(spec.node(task)?).cloned()
}

fn done_phase(DoneRecord { result, .. }: &DoneRecord) -> TaskPhase {
    TaskPhase::Done {
        node: result.provider,
        operator: result.operator,
        spec: result.spec,
        output: BlobRef { id: result.output, len: result.output_len.0 },
        usage: result.usage,
        wall_us: result.wall_us,
    }
}

fn busy(error: &StoreError) -> Refusal {
    Refusal::Busy { reason: error.to_string() }
}
