//! Progress bars: a job's tasks, data and time left; bytes on their way.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tidemill_types::{ByteSize, lines};

/// A bar on standard error; nothing where that is no terminal.
pub struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// A bar for so many tasks.
    pub fn start(name: &str, tasks: u64) -> Self {
        let bar = ProgressBar::new(tasks);
        let style = ProgressStyle::with_template(
            "{prefix:.bold} [{bar:32}] {pos}/{len} tasks  {msg}  {elapsed} gone, {eta} left",
        )
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ");
        bar.set_style(style);
        bar.set_prefix(name.to_owned());
        bar.enable_steady_tick(Duration::from_millis(200));
        Self { bar }
    }

    /// A bar for so many bytes.
    pub fn bytes(what: &str, total: u64) -> Self {
        let bar = ProgressBar::new(total);
        let style = ProgressStyle::with_template(
            "{prefix:.bold} [{bar:32}] {bytes}/{total_bytes}  {bytes_per_sec}, {eta} left",
        )
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ");
        bar.set_style(style);
        bar.set_prefix(what.to_owned());
        Self { bar }
    }

    /// Says how much there is in all.
    pub fn length(&self, total: u64) {
        self.bar.set_length(total);
    }

    /// Shows how many bytes are done.
    pub fn update_bytes(&self, done: u64) {
        // Files that all tasks share come on top of what was counted before.
        self.bar.set_length(self.bar.length().unwrap_or(0).max(done));
        self.bar.set_position(done);
    }

    /// Shows how many tasks of a job in a network are done, and in words how it goes.
    pub fn update_with(&self, done: u64, words: String) {
        self.bar.set_message(words);
        self.bar.set_position(done);
    }

    /// Takes the bar away, or puts it back: a question is not to be drawn over.
    pub fn hide(&self, hidden: bool) {
        if hidden {
            self.bar.set_draw_target(ProgressDrawTarget::hidden());
        } else {
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
        }
    }

    /// Shows how many tasks are done and how much they have read.
    pub fn update(&self, done: u64, read: ByteSize) {
        if read.0 > 0 {
            self.bar.set_message(format!("{read} read"));
        }
        self.bar.set_position(done);
    }

    /// Prints a line above the bar, or plainly where there is none.
    pub fn note(&self, line: &str) {
        let line = lines(line);
        if self.bar.is_hidden() {
            eprintln!("{line}");
        } else {
            self.bar.println(line);
        }
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
