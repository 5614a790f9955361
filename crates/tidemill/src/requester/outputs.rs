//! Outputs and logs on their way back.

use std::{
    collections::{BTreeMap, VecDeque},
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use anyhow::Context;
use tidemill_api as api;
use tidemill_job::Node;
use tidemill_net::{
    blobs::{BlobError, Blobs, FetchError, Lent, Pin},
    client::CallError,
    endpoint::Connection,
    wire::{JobReport, OutputPiece, Refusal, Reply, Request, TaskPhase, TaskReport},
};
use tidemill_types::{BlobId, JobId, TaskId, TaskNumber, one_line};
use tokio::{task::JoinSet, time::sleep};

use super::{PATIENCE, PAUSES, Requester, off_the_protocol, pages::Pages, refused};
use crate::{
    exit::{Code, Exit, WithCode, causes},
    outdir::OutDir,
    output::{MapTask, Piece, Placing, Shape},
    progress::Progress,
};

/// Large outputs that are fetched at a time: half of what a coordinator serves to one node.
const FETCHES: usize = 8;

/// While so many bytes of small outputs wait for a large one before them, no more are taken.
const MOST_AHEAD: usize = 8 << 20;

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
    pub async fn place_output(&mut self, report: &JobReport, out: &OutDir) -> anyhow::Result<api::Output> {
        let (shape, first, lens) = if report.tasks > report.map_tasks {
            // The last reduce task has the highest number.
            (Shape::Reduced, TaskNumber(report.tasks - 1), vec![0])
        } else {
            let (tasks, lens) = self.map_tasks(report).await?;
            (Shape::Map(tasks), TaskNumber(0), lens)
        };
        let mut placing = Placing::begin(out, &report.name, shape)?;
        self.each_output(report.job, first, &lens, |id, piece| placing.add(id, piece)).await?;
        placing.finish()
    }

    /// Shows `each` output of a job that is done and has no reduce, in the order of the tasks.
    ///
    /// # Errors
    /// With a code for what went wrong, and those of `each`.
    pub async fn outputs(
        &mut self,
        report: &JobReport,
        each: impl FnMut(BlobId, &Piece<'_>) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let (_, lens) = self.map_tasks(report).await?;
        self.each_output(report.job, TaskNumber(0), &lens, each).await
    }

    /// Shows `each` of a job's outputs from a task on, whose lengths are said to be these.
    async fn each_output(
        &mut self,
        job: JobId,
        first: TaskNumber,
        lens: &[u64],
        mut each: impl FnMut(BlobId, &Piece<'_>) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let arrived = Arrived::of(lens.iter().fold(0, |sum, len| sum.saturating_add(*len)));
        let mut coming = Coming::new(Pages::plan(job, first, lens), arrived.clone());
        for shown in 0..lens.len() {
            let Some(piece) = coming.next(self).await? else {
                let message = format!("the coordinator lacks {} outputs of the job", lens.len() - shown);
                return Err(Exit::new(Code::Host, message).into());
            };
            let id = piece.output.id;
            if let Some(archive) = &piece.inline {
                if BlobId::of(archive) != id {
                    return Err(off_the_protocol());
                }
                each(id, &Piece::Bytes(archive))?;
                continue;
            }
            let lent = match coming.fetched(&piece).await {
                // What is wrong with it is fetched again.
                true => self.blobs().await?.0.lend(id).await.ok(),
                false => None,
            };
            let lent = match lent {
                Some(lent) => lent,
                None => self.fetch_blob(&piece, &arrived).await?,
            };
            each(id, &Piece::Blob(&lent))?;
            // Once it was shown, it may go: the disk should not have to hold the whole output twice.
            let (blobs, _) = self.blobs().await?;
            let pin = output_pin(piece.task).code(Code::Host)?;
            blobs.unpin(&pin).await.code(Code::Host)?;
        }
        arrived.bar.finish();
        Ok(())
    }

    /// Fetches an output, again and over a new connection where that may help.
    async fn fetch_blob(&mut self, piece: &OutputPiece, arrived: &Arrived) -> anyhow::Result<Lent> {
        let (mut pause, longest) = PAUSES;
        for attempt in 1.. {
            let (blobs, _) = self.blobs().await?;
            let failure = match self.link().await {
                Ok(link) => match fetch(&blobs, &link, piece, arrived).await {
                    Ok(()) => {
                        let lent = blobs.lend(piece.output.id).await;
                        return lent.context("an output that was fetched is gone").code(Code::Host);
                    }
                    // What was damaged there may come again from the provider that made it.
                    Err(error) if !error.may_pass() && !matches!(error, FetchError::NotThere(_)) => {
                        return Err(Exit::new(Code::Host, causes(&error.into())).into());
                    }
                    Err(error) => causes(&error.into()),
                },
                Err(error) => causes(&error),
            };
            if attempt >= MOST_ATTEMPTS {
                return Err(Exit::new(Code::Host, failure).hint("try again: `tidemill fetch JOB`").into());
            }
            arrived.bar.note(&format!("{failure}; trying again"));
            sleep(pause).await;
            pause = (pause * 2).min(longest);
            self.reconnect(PATIENCE).await?;
        }
        Err(off_the_protocol())
    }

    /// Shows the output of a task that is done, of the map too; nothing where it is not done.
    ///
    /// # Errors
    /// With a code for what went wrong, and those of `show`.
    pub async fn task_output<T>(
        &mut self,
        job: JobId,
        task: TaskNumber,
        show: impl FnOnce(BlobId, &Piece<'_>) -> anyhow::Result<T>,
    ) -> anyhow::Result<Option<T>> {
        let piece = match self.answer(Request::Output(TaskId { job, task })).await? {
            Ok(Reply::Outputs(mut pieces)) if pieces.len() == 1 => pieces.remove(0),
            Ok(_) => return Err(off_the_protocol()),
            Err(Refusal::NoSuchTask) => return Ok(None),
            Err(refusal) => return Err(refused(&refusal)),
        };
        let id = piece.output.id;
        if let Some(archive) = &piece.inline {
            if BlobId::of(archive) != id {
                return Err(off_the_protocol());
            }
            return show(id, &Piece::Bytes(archive)).map(Some);
        }
        let arrived = Arrived::of(piece.output.len);
        let lent = self.fetch_blob(&piece, &arrived).await?;
        arrived.bar.finish();
        show(id, &Piece::Blob(&lent)).map(Some)
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

    /// What the tasks of a job that is done are for, and how long their outputs are said to be.
    async fn map_tasks(&mut self, report: &JobReport) -> anyhow::Result<(Vec<MapTask>, Vec<u64>)> {
        let (mut tasks, mut lens) = (Vec::new(), Vec::new());
        let take = |task: TaskReport| {
            lens.push(match task.phase {
                TaskPhase::Done { output, .. } => output.len,
                TaskPhase::Waiting | TaskPhase::Leased(_) => return Err(off_the_protocol()),
            });
            tasks.push(MapTask { label: one_line(&task.label, MAX_LABEL_CHARS), file: task.file });
            Ok(())
        };
        self.tasks(report, take).await?;
        if tasks.len() as u64 == report.tasks { Ok((tasks, lens)) } else { Err(off_the_protocol()) }
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

/// Outputs on their way, in the order of their tasks. What is large is fetched several at a time.
struct Coming {
    pages: Pages,
    /// Of a page that has come.
    page: VecDeque<OutputPiece>,
    /// What was taken from it ahead of its turn.
    ahead: VecDeque<OutputPiece>,
    fetches: JoinSet<(TaskNumber, Result<(), FetchError>)>,
    /// Whose fetches were begun, and whether they are done. The next of them is the first in `ahead` that is large.
    begun: BTreeMap<TaskNumber, Option<bool>>,
    arrived: Arrived,
}

impl Coming {
    fn new(pages: Pages, arrived: Arrived) -> Self {
        Self {
            pages,
            page: VecDeque::new(),
            ahead: VecDeque::new(),
            fetches: JoinSet::new(),
            begun: BTreeMap::new(),
            arrived,
        }
    }

    /// The next output; nothing where the coordinator has no more.
    async fn next(&mut self, requester: &mut Requester) -> anyhow::Result<Option<OutputPiece>> {
        while self.begun.len() < FETCHES {
            if self.page.is_empty() {
                // What is here is placed before more is waited for.
                let is_here = self.ahead.front().is_some_and(|piece| piece.inline.is_some());
                let bytes: usize =
                    self.ahead.iter().filter_map(|piece| piece.inline.as_ref()).map(Vec::len).sum();
                if is_here || bytes > MOST_AHEAD || self.pages.is_done() {
                    break;
                }
                self.page = self.pages.next(requester).await?.into();
            }
            let Some(piece) = self.page.pop_front() else { break };
            match &piece.inline {
                Some(archive) => self.arrived.add(archive.len() as u64),
                None => self.begin(&piece, requester).await?,
            }
            self.ahead.push_back(piece);
        }
        Ok(self.ahead.pop_front())
    }

    /// Begins to fetch a large output. Where there is no connection for that, it is begun once it is its turn.
    async fn begin(&mut self, piece: &OutputPiece, requester: &mut Requester) -> anyhow::Result<()> {
        self.arrived.expects(piece.output.len);
        let (blobs, _) = requester.blobs().await?;
        let Ok(link) = requester.link().await else {
            self.begun.insert(piece.task, Some(false));
            return Ok(());
        };
        self.begun.insert(piece.task, None);
        let (piece, arrived) = (OutputPiece { inline: None, ..piece.clone() }, self.arrived.clone());
        self.fetches.spawn(async move { (piece.task, fetch(&blobs, &link, &piece, &arrived).await) });
        Ok(())
    }

    /// Waits until the fetch of a large output has ended. Whether it is here: what went wrong shows when it is tried
    /// again.
    async fn fetched(&mut self, piece: &OutputPiece) -> bool {
        loop {
            match self.begun.get(&piece.task) {
                None => return false,
                Some(Some(is_here)) => {
                    let is_here = *is_here;
                    self.begun.remove(&piece.task);
                    return is_here;
                }
                Some(None) => {}
            }
            match self.fetches.join_next().await {
                Some(Ok((task, result))) => {
                    self.begun.insert(task, Some(result.is_ok()));
                }
                // It panicked, and said so.
                Some(Err(_)) => {}
                None => {
                    self.begun.remove(&piece.task);
                }
            }
        }
    }
}

/// How much of a job's output is here, for people.
#[derive(Clone)]
struct Arrived {
    bytes: Arc<AtomicU64>,
    bar: Progress,
}

impl Arrived {
    fn of(total: u64) -> Self {
        Self { bytes: Arc::default(), bar: Progress::bytes("fetching", total) }
    }

    fn add(&self, bytes: u64) {
        self.bar.update_bytes(self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes);
    }

    /// That of a reduce is of a length that nobody told before.
    fn expects(&self, bytes: u64) {
        self.bar.length_at_least(self.bytes.load(Ordering::Relaxed).saturating_add(bytes));
    }

    fn take_back(&self, bytes: u64) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// Fetches a large output, which is then pinned for its task.
async fn fetch(
    blobs: &Blobs,
    link: &Connection,
    piece: &OutputPiece,
    arrived: &Arrived,
) -> Result<(), FetchError> {
    let pin = output_pin(piece.task)?;
    let mut counted = 0;
    let count = |here: u64| {
        arrived.add(here.saturating_sub(counted));
        counted = counted.max(here);
    };
    let fetched = blobs.fetch(link, piece.output, &pin, count).await;
    if fetched.is_err() {
        // What arrived is here when it is tried again, and is counted then.
        arrived.take_back(counted);
    }
    fetched
}

fn output_pin(task: TaskNumber) -> Result<Pin, BlobError> {
    Pin::new(format!("output.{}", task.0))
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
