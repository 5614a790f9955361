//! The progress bar of a job: tasks, data, time left.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
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
