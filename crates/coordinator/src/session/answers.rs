//! Answers that need only the store.

use tidemill_job::{BlobRef, JobSpec};
use tidemill_net::wire::{
    Contribution, Decision, Explanation, HeldLease, JobPhase, JobReport, MAX_PAGE, OutputPiece, Refusal,
    Reply, TaskPhase, TaskReport, Unpaid,
};
use tidemill_store::{DoneRecord, JobEnd, JobRecord, StoreError};
use tidemill_types::{EscrowId, JobId, LeaseId, NodeId, TaskId, TaskNumber, Weight};

use crate::{
    core::{Summary, attempt, escrow_report, phase},
    event::{Caller, Question},
    shared::Shared,
};

/// Outputs of one answer have together at most about so many bytes, well below what a frame may have.
const MOST_OUTPUT_BYTES: usize = 1 << 20;

type Answered = Result<Reply, Refusal>;

/// What is to be answered to a submission of a job that is known, or would be the same.
pub struct Known {
    /// The answers, in order.
    pub answers: Vec<Answered>,
    /// Whether the job runs all the same, so that its blobs are still needed.
    pub runs: bool,
}

/// What the store knows of a job that is submitted: nothing when it is new, or runs, which the core knows.
pub fn submitted_before(
    shared: &Shared,
    caller: Caller,
    job: JobId,
    encoded: &[u8],
    follow: bool,
) -> Option<Known> {
    let record = match shared.store.job(job) {
        Ok(record) => record?,
        Err(error) => return Some(Known { answers: vec![Err(busy(&error))], runs: false }),
    };
    let same = record.owner == caller.node
        && matches!(shared.store.job_spec(job), Ok(Some(spec)) if spec == encoded);
    if !same {
        return Some(Known { answers: vec![Err(Refusal::IdTaken)], runs: record.ended.is_none() });
    }
    record.ended.as_ref()?;
    let mut answers = vec![Ok(Reply::Submitted)];
    if follow {
        answers.push(ended_report(shared, &record).map(Reply::Ended));
    }
    Some(Known { answers, runs: false })
}

/// What the core left to the store: questions about jobs that do not run.
pub fn answer(shared: &Shared, caller: Caller, question: Question) -> Answered {
    match question {
        Question::Job(job) | Question::Cancel(job) => {
            let record = owned(shared, caller, job)?;
            ended_report(shared, &record).map(Reply::Job)
        }
        Question::Watch(job) => {
            let record = owned(shared, caller, job)?;
            ended_report(shared, &record).map(Reply::Ended)
        }
        Question::Tasks { job, from, limit } => {
            let record = owned(shared, caller, job)?;
            let spec = spec(shared, job)?;
            let waiting =
                (from.0..record.task_count).take(limit as usize).map(TaskNumber).map(|task| TaskReport {
                    task,
                    label: label(&spec, task),
                    phase: TaskPhase::Waiting,
                    attempts: Vec::new(),
                });
            tasks(shared, job, waiting.collect())
        }
        Question::Explain { job, task } => {
            let record = owned(shared, caller, job)?;
            let report = ended_report(shared, &record)?;
            let summary = match task {
                None => format!("{} of {} tasks are done; the job has ended", report.done, report.tasks),
                Some(task) if task.0 >= record.task_count => return Err(Refusal::NoSuchTask),
                Some(task) => match shared.store.task(TaskId { job, task }).map_err(|error| busy(&error))? {
                    Some(done) => {
                        format!("provider {} did it in {} ms", done.provider.short(), done.wall_us / 1000)
                    }
                    None => "it was not done before the job ended".to_owned(),
                },
            };
            Ok(Reply::Explained(Explanation { summary, providers: Vec::new() }))
        }
        Question::Jobs
        | Question::Remove(_)
        | Question::Providers
        | Question::Terms(_)
        | Question::Escrow(_)
        | Question::CloseEscrow(_) => Err(Refusal::NoSuchJob),
    }
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
        if let Some(done) = shared.store.task(held.task)?
            && (done.lease, done.provider) == (held.lease, node)
        {
            return Ok((held.lease, Decision::Paid(done.price)));
        }
        let attempts = shared.store.attempts(held.task)?;
        let of_it = attempts.iter().find(|attempt| (attempt.lease, attempt.provider) == (held.lease, node));
        let Some(attempt) = of_it else { return Ok((held.lease, Decision::Unpaid(Unpaid::Late))) };
        if attempt.failure.weight() != Weight::Evidence {
            return Ok((held.lease, Decision::Unpaid(Unpaid::Circumstance)));
        }
        let ended = shared.store.job(held.task.job)?.and_then(|job| job.ended).map(|ended| ended.end);
        let is_the_end = matches!(ended, Some(JobEnd::Failed { task, failure, .. })
            if task == held.task.task && failure == attempt.failure);
        let decision = match is_the_end {
            true => Decision::Paid(attempt.price),
            false => Decision::Unpaid(Unpaid::Unconfirmed),
        };
        Ok((held.lease, decision))
    };
    stale.iter().map(decide).collect()
}

/// All jobs of a caller: those that run, and those that have ended, the newest first.
pub fn jobs(shared: &Shared, caller: Caller, running: Vec<JobReport>) -> Answered {
    let limit = MAX_PAGE as usize;
    let records = shared.store.jobs(Some(caller.node), limit).map_err(|error| busy(&error))?;
    let mut reports = running;
    for record in records.iter().filter(|record| record.ended.is_some()) {
        reports.push(ended_report(shared, record)?);
    }
    reports.sort_by(|a, b| b.submitted_ms.cmp(&a.submitted_ms).then(a.job.cmp(&b.job)));
    reports.truncate(limit);
    Ok(Reply::Jobs(reports))
}

/// Tasks of a job, of which the store knows which are done and what came of earlier attempts.
pub fn tasks(shared: &Shared, job: JobId, mut reports: Vec<TaskReport>) -> Answered {
    let Some(first) = reports.first().map(|report| report.task) else { return Ok(Reply::Tasks(reports)) };
    let done = shared.store.tasks(job, first, reports.len()).map_err(|error| busy(&error))?;
    for (task, record) in done {
        let place = usize::try_from(task.0 - first.0).unwrap_or(usize::MAX);
        if let Some(report) = reports.get_mut(place) {
            report.phase = done_phase(&record);
        }
    }
    for report in &mut reports {
        let id = TaskId { job, task: report.task };
        let attempts = shared.store.attempts(id).map_err(|error| busy(&error))?;
        report.attempts = attempts.iter().map(attempt).collect();
    }
    Ok(Reply::Tasks(reports))
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
        let inline = shared.store.output(TaskId { job, task }).map_err(|error| busy(&error))?;
        bytes += inline.as_ref().map_or(0, Vec::len);
        let output = BlobRef { id: record.output, len: record.output_len.0 };
        pieces.push(OutputPiece { task, output, inline });
        if bytes > MOST_OUTPUT_BYTES {
            break;
        }
    }
    Ok(Reply::Outputs(pieces))
}

/// What a task wrote to standard error.
pub fn log(shared: &Shared, caller: Caller, job: JobId, task: TaskNumber) -> Answered {
    let record = owned(shared, caller, job)?;
    if task.0 >= record.task_count {
        return Err(Refusal::NoSuchTask);
    }
    let id = TaskId { job, task };
    if shared.store.task(id).map_err(|error| busy(&error))?.is_none() {
        // The end of a failed attempt's log is in its failure.
        let attempts = shared.store.attempts(id).map_err(|error| busy(&error))?;
        let said = attempts.iter().rev().find_map(|attempt| attempt.failure.stderr());
        let bytes = said.ok_or(Refusal::NoSuchTask)?.as_bytes().to_vec();
        return Ok(Reply::Log { bytes, omitted: 0 });
    }
    let log = shared.store.log(id).map_err(|error| busy(&error))?;
    let (bytes, omitted) = log.map_or((Vec::new(), 0), |log| (log.bytes, log.omitted));
    Ok(Reply::Log { bytes, omitted })
}

/// The job's record, if it is the caller's.
pub fn owned(shared: &Shared, caller: Caller, job: JobId) -> Result<JobRecord, Refusal> {
    let record = shared.store.job(job).map_err(|error| busy(&error))?;
    record.filter(|record| record.owner == caller.node).ok_or(Refusal::NoSuchJob)
}

/// A job that has ended, as far as the store knows it.
pub fn ended_report(shared: &Shared, record: &JobRecord) -> Result<JobReport, Refusal> {
    let spec = spec(shared, record.job)?;
    let summary = record.ended.as_ref().and_then(|ended| Summary::decode(&ended.summary)).unwrap_or_default();
    Ok(JobReport {
        job: record.job,
        name: record.name.clone(),
        phase: record
            .ended
            .as_ref()
            .map_or(JobPhase::Running, |ended| phase(&ended.end, |task| label(&spec, task))),
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
    })
}

fn spec(shared: &Shared, job: JobId) -> Result<JobSpec, Refusal> {
    let encoded = shared.store.job_spec(job).map_err(|error| busy(&error))?.ok_or(Refusal::NoSuchJob)?;
    JobSpec::decode(&encoded)
        .map_err(|error| Refusal::Busy { reason: format!("a job cannot be read back: {error}") })
}

fn label(spec: &JobSpec, task: TaskNumber) -> String {
    spec.node(task).and_then(|node| spec.label(node)).unwrap_or_default()
}

fn done_phase(record: &DoneRecord) -> TaskPhase {
    TaskPhase::Done {
        node: record.provider,
        operator: record.operator,
        spec: record.spec,
        output: BlobRef { id: record.output, len: record.output_len.0 },
        usage: record.usage,
        wall_us: record.wall_us,
    }
}

fn busy(error: &StoreError) -> Refusal {
    Refusal::Busy { reason: error.to_string() }
}
