//! What a run came to, for people and for scripts.

use std::{
    fmt,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Serialize;
use tidemill_types::{Failure, Usage, Weight};

use crate::outdir::OutFile;

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
    /// Where it is.
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

/// Seconds to the millisecond, as JSON and people have them.
pub fn seconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1000.0).round() / 1000.0
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
        let directory = self.directory.strip_prefix(&here).unwrap_or(self.directory);
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
