//! Following a job in a network to its end, and what Ctrl-C means meanwhile.

use std::{
    io::{IsTerminal, Write},
    time::Duration,
};

use tidemill_net::{
    client::{CallError, Replies},
    wire::{JobReport, Reply, Request},
};
use tidemill_types::{JobId, one_line};
use tokio::time::{Instant, sleep_until};

use crate::{
    exit::{Code, Exit, causes},
    interrupt::{Asked, Signals},
    progress::Progress,
    requester::{PATIENCE, Requester, off_the_protocol, refused},
};

/// What Ctrl-C does while a job is followed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum OnInterrupt {
    /// The person is asked whether the job is to be cancelled.
    Ask,
    /// Following ends; the job goes on.
    Leave,
}

/// Does something that nothing needs to be cleaned up after: a request to end ends it.
///
/// # Errors
/// Those of what is done, or with [`Code::Interrupted`].
pub async fn unless_stopped<T>(
    signals: &mut Signals,
    what: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<T> {
    tokio::select! {
        done = what => done,
        () = signals.next() => Err(Exit::new(Code::Interrupted, "stopped").into()),
    }
}

/// Follows a job to its end with a progress bar, and gives how it stands then; nothing when the person does not want
/// to follow it any more. A connection that is lost is made again.
///
/// # Errors
/// With a code when the coordinator is gone for good, or says that there is no such job.
pub async fn follow(
    requester: &mut Requester,
    job: JobId,
    signals: &mut Signals,
    on_interrupt: OnInterrupt,
) -> anyhow::Result<Option<JobReport>> {
    let mut bar: Option<Progress> = None;
    let followed = follow_with(requester, job, signals, on_interrupt, &mut bar).await;
    if let Some(bar) = bar {
        bar.finish();
    }
    followed
}

async fn follow_with(
    requester: &mut Requester,
    job: JobId,
    signals: &mut Signals,
    on_interrupt: OnInterrupt,
    bar: &mut Option<Progress>,
) -> anyhow::Result<Option<JobReport>> {
    let mut stuck = Stuck::default();
    loop {
        requester.lend().await;
        if let Some(mut replies) = requester.follow(Request::Watch { job }).await {
            loop {
                let answer = tokio::select! {
                    answer = replies.next() => answer,
                    () = stuck.long_enough() => {
                        note(bar.as_ref(), &stuck.tell());
                        continue;
                    }
                    asked = signals.which() => {
                        if on_interrupt == OnInterrupt::Leave {
                            return Ok(None);
                        }
                        match ask(asked, signals, bar.as_ref(), &mut replies).await {
                            Answered::Cancel => return Ok(None),
                            Answered::GoOn => continue,
                            Answered::Heard(answer) => *answer,
                        }
                    }
                };
                match answer {
                    Ok(Reply::Ended(report)) => return Ok(Some(report)),
                    Ok(Reply::Job(report)) => {
                        let bar = bar.get_or_insert_with(|| {
                            Progress::start(&one_line(&report.name, 64), report.tasks)
                        });
                        show(&report, bar, &mut stuck);
                    }
                    Ok(_) => return Err(off_the_protocol()),
                    Err(CallError::Refused(refusal)) => return Err(refused(&refusal)),
                    Err(CallError::Lost) => break,
                }
            }
        }
        note(
            bar.as_ref(),
            "the connection to the coordinator was lost; the job goes on; trying to reach it again",
        );
        tokio::select! {
            back = requester.reconnect(PATIENCE) => back.map_err(|error| gone(&error, job))?,
            () = signals.next() => return Ok(None),
        }
        note(bar.as_ref(), "the coordinator is back");
    }
}

/// What came of asking whether to cancel.
enum Answered {
    Cancel,
    GoOn,
    /// The job ended, or the connection did, while the person thought about it.
    Heard(Box<Result<Reply, CallError>>),
}

/// Asks whether to cancel, for as long as that makes a difference.
async fn ask(asked: Asked, signals: &mut Signals, bar: Option<&Progress>, replies: &mut Replies) -> Answered {
    let question = wants_cancel(asked, signals, bar);
    tokio::pin!(question);
    loop {
        tokio::select! {
            biased;
            cancel = &mut question => return if cancel { Answered::Cancel } else { Answered::GoOn },
            answer = replies.next() => {
                if !matches!(answer, Ok(Reply::Job(_))) {
                    // Below the question, which nobody has answered.
                    eprintln!();
                    return Answered::Heard(Box::new(answer));
                }
            }
        }
    }
}

/// Why nothing runs: told only when it lasts, and once.
#[derive(Default)]
struct Stuck {
    reason: Option<String>,
    since: Option<Instant>,
    told: bool,
}

impl Stuck {
    fn hear(&mut self, reason: Option<&str>) {
        match reason {
            None => *self = Self::default(),
            Some(reason) => {
                self.since.get_or_insert_with(Instant::now);
                self.reason = Some(one_line(reason, 400));
            }
        }
    }

    /// Waits until it has lasted; for ever where there is nothing to tell.
    async fn long_enough(&self) {
        match self.since.filter(|_| !self.told) {
            Some(since) => sleep_until(since + STUCK_FOR).await,
            None => std::future::pending().await,
        }
    }

    fn tell(&mut self) -> String {
        self.told = true;
        format!("nothing runs: {}", self.reason.as_deref().unwrap_or_default())
    }
}

/// The error of a coordinator that is gone: the job is not.
fn gone(error: &anyhow::Error, job: JobId) -> anyhow::Error {
    Exit::new(Code::Host, causes(error))
        .hint(format!(
            "the job goes on without this command once its coordinator runs: `tidemill status {0}` asks for it, `tidemill fetch {0} --wait` gets its output",
            job.short()
        ))
        .into()
}

fn show(report: &JobReport, bar: &Progress, stuck: &mut Stuck) {
    let mut words = format!("{} running", report.leased);
    let waiting = report.unjudged().results;
    if waiting > 0 {
        words += &format!(", {waiting} without a verdict");
    }
    if report.usage.read.0 > 0 {
        words += &format!(", {} read", report.usage.read);
    }
    if report.usage.output.0 > 0 {
        words += &format!(", {} written", report.usage.output);
    }
    bar.update_with(report.done, words);
    stuck.hear(report.stuck.as_deref());
}

fn note(bar: Option<&Progress>, line: &str) {
    match bar {
        Some(bar) => bar.note(line),
        None => eprintln!("{line}"),
    }
}

/// Whether the job is to be cancelled: on a terminal the person is asked, once.
async fn wants_cancel(asked: Asked, signals: &mut Signals, bar: Option<&Progress>) -> bool {
    if asked == Asked::Terminate || !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return true;
    }
    if let Some(bar) = bar {
        bar.hide(true);
    }
    eprint!("\ncancel the job? [y/N] ");
    let _ = std::io::stderr().flush();
    // A thread of its own, which nobody waits for when the answer is another signal.
    let answer = tokio::task::spawn_blocking(|| {
        let mut answer = String::new();
        std::io::stdin().read_line(&mut answer).map(|_| answer)
    });
    let cancels = tokio::select! {
        answer = answer => matches!(answer, Ok(Ok(answer)) if matches!(answer.trim(), "y" | "Y" | "yes")),
        () = signals.next() => true,
    };
    if let Some(bar) = bar.filter(|_| !cancels) {
        bar.hide(false);
    }
    cancels
}

/// Between two tasks, and at the start, nothing runs for a moment.
const STUCK_FOR: Duration = Duration::from_secs(3);

/// How long a job that is cancelled may take to be so.
const CANCELLING: Duration = Duration::from_secs(10);

/// Cancels a job, and gives how it stood at its end, when the coordinator can still be asked.
///
/// # Errors
/// With a code when it cannot be.
pub async fn cancel(requester: &mut Requester, job: JobId) -> anyhow::Result<JobReport> {
    let cancelled = tokio::time::timeout(CANCELLING, requester.call(Request::Cancel { job })).await;
    match cancelled {
        Ok(Ok(Reply::Job(report) | Reply::Ended(report))) => Ok(report),
        Ok(Ok(_)) => Err(off_the_protocol()),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(Exit::new(Code::Host, "the coordinator did not answer")
            .hint(format!("cancel the job later with `tidemill cancel {}`", job.short()))
            .into()),
    }
}
