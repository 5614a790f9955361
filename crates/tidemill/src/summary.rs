//! What a run came to, for people and for scripts.

mod reliability;

use std::{fmt, path::Path};

use tidemill_api as api;
use tidemill_net::wire::{JobPhase, JobReport};
use tidemill_types::{Failure, one_line};
use tidemill_web::told;

pub use self::reliability::{odds_in_words, reliability_in_words, unjudged_in_words};
use crate::exit::{Code, Exit};

/// The functions on the stack of a program that trapped, a line each, for people.
pub fn functions(failure: &api::Failure) -> String {
    let line = |(place, name): (usize, &String)| {
        format!("  {} {name}\n", if place == 0 { "in" } else { "called from" })
    };
    failure.backtrace.iter().enumerate().map(line).collect()
}

/// The functions and the end of the log, indented, for people.
pub fn details(failure: &api::Failure) -> String {
    let mut text = functions(failure);
    if let Some(log) = &failure.log_end {
        text += "  the end of its log:\n";
        for line in log.lines() {
            text += "    ";
            text += line;
            text.push('\n');
        }
    }
    text
}

/// The failure that ended a job: for scripts, and as the error of the command.
pub fn task_failure(label: &str, failure: &Failure, attempts: u32) -> (api::TaskFailure, Exit) {
    let summary = told::task_failure(label, failure, attempts);
    let tries = if attempts > 1 { format!(" after {attempts} attempts") } else { String::new() };
    let message = format!("{label} failed{tries}: {failure}\n{}", details(&summary.failure));
    let exit = Exit::new(Code::of(failure), message.trim_end()).hint(failure.hint());
    (summary, exit)
}

/// One word for how far a job is.
pub fn phase_word(phase: &JobPhase) -> &'static str {
    told::phase(phase).word()
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

/// A list of files as a few words: one by its path, more by their number.
pub struct FileList<'a> {
    /// The directory that they are in.
    pub directory: &'a Path,
    /// The files.
    pub files: &'a [api::OutputFile],
}

impl<'a> FileList<'a> {
    /// The files of an output.
    pub fn of(output: &'a api::Output) -> Self {
        Self { directory: Path::new(&output.directory), files: &output.files }
    }
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
