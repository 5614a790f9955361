//! What a run came to, for people and for scripts.

mod reliability;

use std::{
    fmt,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Serialize, Serializer};
use tidemill_net::wire::{Contribution, JobPhase, JobReport};
use tidemill_types::{Failure, Usage, Weight, one_line};

pub use self::reliability::{
    AskedSummary, ReliabilitySummary, UnjudgedSummary, compared_in_words, odds_in_words,
    reliability_in_words, unjudged_in_words,
};
use crate::{
    exit::{Code, Exit},
    outdir::OutFile,
};

/// The usage of one attempt or of a whole job, under plain names.
#[derive(Clone, Debug, Serialize)]
pub struct UsageSummary {
    fuel: u64,
    memory_peak_bytes: u64,
    input_read_bytes: u64,
    output_bytes: u64,
    log_bytes: u64,
    host_calls: u64,
}

impl From<&Usage> for UsageSummary {
    fn from(usage: &Usage) -> Self {
        Self {
            fuel: usage.fuel.0,
            memory_peak_bytes: usage.memory.0,
            input_read_bytes: usage.read.0,
            output_bytes: usage.output.0,
            log_bytes: usage.log.0,
            host_calls: usage.host_calls,
        }
    }
}

/// An output that has its place.
#[derive(Clone, Debug, Serialize)]
pub struct OutputSummary {
    /// The output's hash.
    pub id: String,
    /// Where it is; in JSON, bytes that are not UTF-8 are replaced.
    #[serde(serialize_with = "lossy")]
    pub directory: PathBuf,
    /// Its files.
    pub files: Vec<OutFile>,
}

/// A failure under plain names.
#[derive(Clone, Debug, Serialize)]
pub struct FailureSummary {
    message: String,
    hint: &'static str,
    /// Whether every honest machine would fail in the same way.
    evidence: bool,
    backtrace: Vec<String>,
    log_end: Option<String>,
}

impl From<&Failure> for FailureSummary {
    fn from(failure: &Failure) -> Self {
        let backtrace = match failure {
            Failure::Trap { backtrace, .. } => backtrace.clone(),
            _ => Vec::new(),
        };
        Self {
            message: failure.to_string(),
            hint: failure.hint(),
            evidence: failure.weight() == Weight::Evidence,
            backtrace,
            log_end: failure.stderr().map(str::to_owned),
        }
    }
}

impl FailureSummary {
    /// The functions on the stack, a line each, for people.
    pub fn functions(&self) -> String {
        let line = |(place, name): (usize, &String)| {
            format!("  {} {name}\n", if place == 0 { "in" } else { "called from" })
        };
        self.backtrace.iter().enumerate().map(line).collect()
    }

    /// The functions and the end of the log, indented, for people.
    pub fn details(&self) -> String {
        let mut text = self.functions();
        if let Some(log) = &self.log_end {
            text += "  the end of its log:\n";
            for line in log.lines() {
                text += "    ";
                text += line;
                text.push('\n');
            }
        }
        text
    }
}

/// The failure of a job's task under plain names.
#[derive(Clone, Debug, Serialize)]
pub struct TaskFailureSummary {
    task: String,
    attempts: u32,
    #[serde(flatten)]
    failure: FailureSummary,
}

/// The failure that ended a job: for scripts, and as the error of the command.
pub fn task_failure(label: &str, failure: &Failure, attempts: u32) -> (TaskFailureSummary, Exit) {
    let summary = FailureSummary::from(failure);
    let tries = if attempts > 1 { format!(" after {attempts} attempts") } else { String::new() };
    let message = format!("{label} failed{tries}: {failure}\n{}", summary.details());
    let exit = Exit::new(Code::of(failure), message.trim_end()).hint(failure.hint());
    (TaskFailureSummary { task: label.to_owned(), attempts, failure: summary }, exit)
}

/// What only a run in a network has.
#[derive(Clone, Debug, Serialize)]
pub struct NetworkSummary {
    /// The job's id in it.
    pub job_id: String,
    /// Which one.
    pub network: NetworkName,
    /// Who did what.
    pub providers: Vec<ContributionSummary>,
}

/// A network under plain names.
#[derive(Clone, Debug, Serialize)]
pub struct NetworkName {
    /// The node of its coordinator.
    pub coordinator: String,
    /// Whether it lasted as long as the command.
    pub embedded: bool,
}

/// What one provider did, under plain names.
#[derive(Clone, Debug, Serialize)]
pub struct ContributionSummary {
    node: String,
    name: String,
    tasks: u64,
    busy_s: f64,
    fuel: u64,
    /// Results that have no verdict.
    unjudged: UnjudgedSummary,
    lost_attempts: u64,
    checks: u64,
    contradicted: u64,
}

impl From<&Contribution> for ContributionSummary {
    fn from(contribution: &Contribution) -> Self {
        Self {
            node: contribution.node.to_string(),
            name: contribution.name.clone(),
            tasks: contribution.tasks,
            busy_s: seconds(contribution.busy.duration()),
            fuel: contribution.fuel,
            unjudged: contribution.unjudged.into(),
            lost_attempts: contribution.lost_attempts,
            checks: contribution.checks,
            contradicted: contribution.contradicted,
        }
    }
}

/// A job in a network under plain names.
#[derive(Clone, Debug, Serialize)]
pub struct JobSummary {
    job_id: String,
    job: String,
    requester: String,
    /// The escrow that pays for it; in a network that is free, none.
    #[serde(skip_serializing_if = "Option::is_none")]
    escrow: Option<String>,
    phase: &'static str,
    submitted_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_ms: Option<u64>,
    tasks: u64,
    map_tasks: u64,
    done: u64,
    running: u64,
    lost_attempts: u64,
    usage: UsageSummary,
    /// What came beside these and has no verdict.
    unjudged: UnjudgedSummary,
    providers: Vec<ContributionSummary>,
    reliability: ReliabilitySummary,
    #[serde(skip_serializing_if = "Option::is_none")]
    stuck: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<TaskFailureSummary>,
    /// Of a job that ended undecided, how many tasks are and which comes first.
    #[serde(skip_serializing_if = "Option::is_none")]
    undecided: Option<UndecidedSummary>,
}

/// The tasks of which nobody could say which result is right.
#[derive(Clone, Debug, Serialize)]
pub struct UndecidedSummary {
    tasks: u64,
    first: u64,
    label: String,
}

impl From<&JobReport> for JobSummary {
    fn from(report: &JobReport) -> Self {
        let failure = match &report.phase {
            JobPhase::Failed { label, failure, attempts, .. } => {
                Some(task_failure(label, failure, *attempts).0)
            }
            _ => None,
        };
        Self {
            job_id: report.job.to_string(),
            job: report.name.clone(),
            requester: report.requester.to_string(),
            escrow: report.cost.map(|cost| cost.escrow.to_string()),
            phase: phase_word(&report.phase),
            submitted_ms: report.submitted_ms,
            ended_ms: report.ended_ms,
            tasks: report.tasks,
            map_tasks: report.map_tasks,
            done: report.done,
            running: report.leased,
            lost_attempts: report.lost_attempts,
            usage: UsageSummary::from(&report.usage),
            unjudged: report.unjudged().into(),
            providers: report.contributions.iter().map(ContributionSummary::from).collect(),
            reliability: ReliabilitySummary::from(report),
            stuck: report.stuck.clone(),
            failure,
            undecided: match &report.phase {
                JobPhase::Undecided { tasks, first, label } => {
                    Some(UndecidedSummary { tasks: *tasks, first: first.0, label: label.clone() })
                }
                _ => None,
            },
        }
    }
}

/// One word for how far a job is.
pub fn phase_word(phase: &JobPhase) -> &'static str {
    match phase {
        JobPhase::Running => "running",
        JobPhase::Done => "done",
        JobPhase::Failed { .. } => "failed",
        JobPhase::Cancelled => "cancelled",
        JobPhase::Deadline => "deadline",
        JobPhase::EscrowEnded => "escrow ended",
        JobPhase::Undecided { .. } => "undecided",
    }
}

/// What helps where results are not certain enough.
const MORE_VOICES: &str = "more operators help (`--providers N` where the network is a run's own), or machines that are trusted (`tidemill \
    serve --trust OPERATOR`, or `trusted` under [policy]), or a lower `assurance` or `quorum`; where the network goes on, \
    `tidemill explain JOB TASK` shows who said what";

/// The error of a command that needs a job to be done, when it is not.
pub fn not_done(report: &JobReport) -> Option<Exit> {
    let name = one_line(&report.name, 64);
    let mut done = format!("{} of {} tasks were done", report.done, report.tasks);
    if let Some(unjudged) = unjudged_in_words(report).filter(|_| report.phase.is_ended()) {
        done += &format!("; {unjudged}");
    }
    match &report.phase {
        JobPhase::Done => None,
        JobPhase::Running => Some(
            Exit::new(
                Code::Usage,
                format!("{name} has not ended: {} of {} tasks are done", report.done, report.tasks),
            )
            .hint("wait for it with `--wait`, or with `tidemill status JOB --watch`"),
        ),
        JobPhase::Failed { label, failure, attempts, .. } => Some(task_failure(label, failure, *attempts).1),
        JobPhase::Cancelled => Some(Exit::new(Code::Failed, format!("{name} was cancelled; {done}"))),
        JobPhase::EscrowEnded => Some(
            Exit::new(
                Code::Failed,
                format!("the escrow that paid for {name} has ended, and so has the job; {done}"),
            )
            .hint("what was done is paid; run it again, and the rest is done out of a new escrow"),
        ),
        JobPhase::Undecided { tasks, label, .. } => Some(
            Exit::new(
                Code::Failed,
                format!(
                    "it is not certain which results of {} of {name} are right ({} among them), and nobody is left to ask; \
                     {done}",
                    plural(*tasks, "task"),
                    one_line(label, 64)
                ),
            )
            .hint(MORE_VOICES),
        ),
        JobPhase::Deadline if report.reliability.undecided > 0 => Some(
            Exit::new(
                Code::Deadline,
                format!(
                    "the deadline of {name} passed while it was not certain which results of {} are right; {done}",
                    plural(report.reliability.undecided, "task")
                ),
            )
            .hint(MORE_VOICES),
        ),
        JobPhase::Deadline => Some(
            Exit::new(Code::Deadline, format!("the deadline of {name} passed; {done}"))
                .hint("raise `deadline`, and submit it again"),
        ),
    }
}

/// `1 task`, `2 tasks`.
pub fn plural(count: u64, word: &str) -> String {
    if count == 1 { format!("1 {word}") } else { format!("{count} {word}s") }
}

/// Seconds to the millisecond, as JSON and people have them.
pub fn seconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1000.0).round() / 1000.0
}

fn lossy<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&path.to_string_lossy())
}

/// A list of files as a few words: one by its path, more by their number.
pub struct FileList<'a> {
    /// The directory that they are in.
    pub directory: &'a Path,
    /// The files.
    pub files: &'a [OutFile],
}

impl fmt::Display for FileList<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What lies below the current directory is shown relative to it.
        let here = std::env::current_dir().unwrap_or_default();
        let below = self.directory.strip_prefix(&here).unwrap_or(self.directory);
        let directory = if below.as_os_str().is_empty() { Path::new(".") } else { below };
        match self.files {
            [] => write!(f, "no files in {}", directory.display()),
            [file] => write!(f, "{}", directory.join(&file.path).display()),
            files if files.len() <= 5 => {
                let names: Vec<_> = files.iter().map(|file| file.path.as_str()).collect();
                write!(f, "{} in {}", names.join(", "), directory.display())
            }
            files => write!(f, "{} files in {}", files.len(), directory.display()),
        }
    }
}
