//! Outputs and logs on their way back.

use std::{fs, path::Path};

use anyhow::Context;
use tidemill_job::Node;
use tidemill_net::{
    blobs::{Lent, Pin},
    client::CallError,
    wire::{JobReport, OutputPiece, Refusal, Reply, Request, TaskPhase, TaskReport},
};
use tidemill_types::{BlobId, JobId, TaskNumber, one_line};
use tokio::time::sleep;

use super::{PATIENCE, PAUSES, Requester, off_the_protocol, refused};
use crate::{
    exit::{Code, Exit, WithCode, causes},
    outdir::OutDir,
    output::{Piece, Placing, Shape},
    progress::Progress,
    summary::OutputSummary,
};

/// An output that cannot be fetched is asked for so often.
const MOST_ATTEMPTS: u32 = 5;

/// Logs that are asked for at a time.
const LOGS_AT_ONCE: usize = 64;

/// The longest text from a coordinator that is taken for what people call a task: more than one of ours has.
const MAX_LABEL_CHARS: usize = 200;

/// How many tasks of a job are asked for at a time.
const TASKS_AT_ONCE: u32 = 500;

impl Requester {
    /// Puts the output of a job that is done into its place.
    ///
    /// # Errors
    /// With a code for what went wrong. What was in the output directory then stays.
    pub async fn place_output(&mut self, report: &JobReport, out: &OutDir) -> anyhow::Result<OutputSummary> {
        let shape = if report.tasks > report.map_tasks {
            Shape::Reduced
        } else {
            Shape::Map(self.labels(report).await?)
        };
        let mut placing = Placing::begin(out, &report.name, shape)?;
        let bar = Progress::bytes("fetching", 0);
        let mut next = first_output(report);
        let mut fetched = 0;
        while placing.missing() > 0 {
            let pieces = self.outputs(report.job, next).await?;
            if pieces.is_empty() {
                let message = format!("the coordinator lacks {} outputs of the job", placing.missing());
                return Err(Exit::new(Code::Host, message).into());
            }
            for piece in pieces {
                if piece.task != next || placing.missing() == 0 {
                    return Err(off_the_protocol());
                }
                self.place(&mut placing, &piece, &bar, &mut fetched).await?;
                next = TaskNumber(next.0 + 1);
            }
        }
        bar.finish();
        placing.finish()
    }

    async fn place(
        &mut self,
        placing: &mut Placing<'_>,
        piece: &OutputPiece,
        bar: &Progress,
        fetched: &mut u64,
    ) -> anyhow::Result<()> {
        let id = piece.output.id;
        match &piece.inline {
            Some(archive) if BlobId::of(archive) == id => placing.add(id, &Piece::Bytes(archive))?,
            Some(_) => return Err(off_the_protocol()),
            None => {
                let lent = self.fetch_blob(piece, bar, *fetched).await?;
                placing.add(id, &Piece::Blob(&lent))?;
                // Unpacked, it may go: the disk should not have to hold the whole output twice.
                let (blobs, _) = self.blobs().await?;
                blobs.unpin(&output_pin(id)?).await.code(Code::Host)?;
            }
        }
        *fetched += piece.output.len;
        bar.update_bytes(*fetched);
        Ok(())
    }

    async fn fetch_blob(&mut self, piece: &OutputPiece, bar: &Progress, before: u64) -> anyhow::Result<Lent> {
        let (mut pause, longest) = PAUSES;
        let blob = piece.output;
        let pin = output_pin(blob.id)?;
        for attempt in 1.. {
            let (blobs, _) = self.blobs().await?;
            let failure = match self.link().await {
                Ok(link) => {
                    match blobs.fetch(&link, blob, &pin, |here| bar.update_bytes(before + here)).await {
                        Ok(()) => {
                            return blobs
                                .lend(blob.id)
                                .await
                                .context("an output that was fetched is gone")
                                .code(Code::Host);
                        }
                        Err(error) if !error.may_pass() => {
                            return Err(Exit::new(Code::Host, causes(&error.into())).into());
                        }
                        Err(error) => causes(&error.into()),
                    }
                }
                Err(error) => causes(&error),
            };
            if attempt >= MOST_ATTEMPTS {
                return Err(Exit::new(Code::Host, failure).hint("try again: `tidemill fetch JOB`").into());
            }
            bar.note(&format!("{failure}; trying again"));
            sleep(pause).await;
            pause = (pause * 2).min(longest);
            self.reconnect(PATIENCE).await?;
        }
        Err(off_the_protocol())
    }

    /// What a task wrote to standard error, and how many bytes before that were not kept.
    ///
    /// # Errors
    /// As [`Requester::call`].
    pub async fn log(&mut self, job: JobId, task: TaskNumber) -> anyhow::Result<(Vec<u8>, u64)> {
        match self.call(Request::Log { job, task }).await? {
            Reply::Log { bytes, omitted } => Ok((bytes, omitted)),
            _ => Err(off_the_protocol()),
        }
    }

    /// Writes the logs of all tasks that are done or failed into a directory, as a run on this machine would.
    /// `name` says which task has which number. Empty logs make no file.
    ///
    /// # Errors
    /// With a code for what went wrong.
    pub async fn write_logs(
        &mut self,
        report: &JobReport,
        directory: &Path,
        node: impl Fn(TaskNumber) -> Option<Node>,
    ) -> anyhow::Result<()> {
        let bar = Progress::start("logs", report.tasks);
        let mut from = 0;
        while from < report.tasks {
            let to = report.tasks.min(from + LOGS_AT_ONCE as u64);
            let mut calls = tokio::task::JoinSet::new();
            for task in (from..to).map(TaskNumber) {
                let (client, job) = (self.client.clone(), report.job);
                calls.spawn(async move { (task, client.call(Request::Log { job, task }).await) });
            }
            let mut lost = false;
            while let Some(called) = calls.join_next().await {
                let (task, reply) = called.code(Code::Host)?;
                match reply {
                    Ok(Reply::Log { bytes, omitted }) => write_log(directory, node(task), &bytes, omitted)?,
                    // It did not run.
                    Err(CallError::Refused(Refusal::NoSuchTask)) => {}
                    Err(CallError::Refused(refusal)) => return Err(refused(&refusal)),
                    Err(CallError::Lost) => lost = true,
                    Ok(_) => return Err(off_the_protocol()),
                }
            }
            if lost {
                self.reconnect(PATIENCE).await?;
            } else {
                from = to;
            }
            bar.update_with(from, String::new());
        }
        bar.finish();
        Ok(())
    }

    /// What people call the tasks of a job.
    async fn labels(&mut self, report: &JobReport) -> anyhow::Result<Vec<String>> {
        let mut labels = Vec::new();
        let take = |task: TaskReport| {
            labels.push(one_line(&task.label, MAX_LABEL_CHARS));
            Ok(())
        };
        self.tasks(report, take).await?;
        if labels.len() as u64 == report.tasks { Ok(labels) } else { Err(off_the_protocol()) }
    }

    /// Shows `each` task of a job how it stands, by number.
    ///
    /// # Errors
    /// As [`Requester::call`], and those of `each`.
    pub async fn tasks(
        &mut self,
        report: &JobReport,
        mut each: impl FnMut(TaskReport) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let mut from = TaskNumber(0);
        while from.0 < report.tasks {
            match self.call(Request::Tasks { job: report.job, from, limit: TASKS_AT_ONCE }).await? {
                Reply::Tasks(tasks) if tasks.is_empty() => break,
                Reply::Tasks(tasks) => {
                    from = TaskNumber(from.0 + tasks.len() as u64);
                    tasks.into_iter().try_for_each(&mut each)?;
                }
                _ => return Err(off_the_protocol()),
            }
        }
        Ok(())
    }
}

/// The word for how far a task is.
pub fn phase_word(phase: &TaskPhase) -> &'static str {
    match phase {
        TaskPhase::Waiting => "waiting",
        TaskPhase::Leased(_) => "leased",
        TaskPhase::Done { .. } => "done",
    }
}

fn first_output(report: &JobReport) -> TaskNumber {
    // The last reduce task has the highest number.
    if report.tasks > report.map_tasks { TaskNumber(report.tasks - 1) } else { TaskNumber(0) }
}

fn output_pin(id: BlobId) -> anyhow::Result<Pin> {
    Pin::new(format!("output.{id}")).code(Code::Host)
}

fn write_log(directory: &Path, node: Option<Node>, bytes: &[u8], omitted: u64) -> anyhow::Result<()> {
    let Some(node) = node.filter(|_| !bytes.is_empty() || omitted > 0) else { return Ok(()) };
    let path = directory.join(crate::here::log_name(node));
    let mut text = Vec::new();
    if omitted > 0 {
        text.extend_from_slice(format!("[{omitted} bytes before this were not kept]\n").as_bytes());
    }
    text.extend_from_slice(bytes);
    fs::write(&path, text)
        .with_context(|| format!("cannot write the log {}", path.display()))
        .code(Code::Host)
}
