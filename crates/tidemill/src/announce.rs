//! What a long-running command tells: lines for people, or one JSON object a line for scripts.

use std::io::{self, Write};

use indicatif::ProgressBar;
use serde::Serialize;
use tidemill_types::lines;

use crate::{json, progress::spinner};

/// Where a command's events go: standard output, past a line of progress where there is one.
pub struct Announcer {
    json: bool,
    bar: ProgressBar,
}

impl Announcer {
    /// For scripts or for people.
    pub fn new(json: bool) -> Self {
        Self { json, bar: ProgressBar::hidden() }
    }

    /// With a line of progress on standard error, if that is a terminal and a person reads it.
    pub fn with_progress(json: bool) -> Self {
        let bar = if json { ProgressBar::hidden() } else { spinner() };
        Self { json, bar }
    }

    /// Tells an event. That nobody listens any more is no reason for a node to end.
    pub fn tell(&self, event: &impl Serialize, text: &str) {
        let line = if self.json { json::line(event) } else { lines(text) };
        if !line.is_empty() {
            self.bar.suspend(|| {
                let mut stdout = io::stdout().lock();
                let _ = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
            });
        }
    }

    /// Tells something that only scripts want to know.
    pub fn note(&self, event: &impl Serialize) {
        self.tell(event, "");
    }

    /// Changes the line of progress.
    pub fn progress(&self, text: String) {
        self.bar.set_message(text);
    }

    /// Takes the line of progress away.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
