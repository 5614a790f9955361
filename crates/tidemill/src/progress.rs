//! Progress bars: a job's tasks, data and time left; bytes on their way.
//!
//! A bar is one line of the terminal, as wide as that is at the moment: a line that the terminal wraps could not be
//! drawn over. Where there is no room for all of it, what matters least is left out.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use indicatif::{HumanBytes, HumanDuration, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use tidemill_types::{ByteSize, columns, fitting, lines};

/// How long the bar itself may be, in columns, and how short before it is left out.
const BAR: std::ops::RangeInclusive<usize> = 8..=32;

/// The width of a terminal that does not tell its own.
const USUAL_WIDTH: usize = 80;

/// A bar on standard error; nothing where that is no terminal. Clones are the same bar.
#[derive(Clone)]
pub struct Progress {
    bar: ProgressBar,
    /// How it goes, in words.
    words: Arc<Mutex<String>>,
}

/// What a bar counts.
#[derive(Clone, Copy)]
enum Counted {
    Tasks,
    Bytes,
}

impl Progress {
    /// A bar for so many tasks.
    pub fn start(name: &str, tasks: u64) -> Self {
        Self::of(Counted::Tasks, name, tasks)
    }

    /// A bar for so many bytes.
    pub fn bytes(what: &str, total: u64) -> Self {
        Self::of(Counted::Bytes, what, total)
    }

    fn of(counted: Counted, name: &str, total: u64) -> Self {
        let words = Arc::<Mutex<String>>::default();
        let line = {
            let (name, words) = (name.to_owned(), words.clone());
            move |state: &ProgressState| {
                let words = words.lock().unwrap_or_else(PoisonError::into_inner).clone();
                Line::of(counted, &name, state, words).fit(terminal_width())
            }
        };
        let rest = line.clone();
        let style = ProgressStyle::with_template("{name:.bold}{rest}")
            .unwrap_or_else(|_| ProgressStyle::default_bar())
            .with_key("name", move |state: &ProgressState, out: &mut dyn fmt::Write| {
                let _ = out.write_str(&line(state).0);
            })
            .with_key("rest", move |state: &ProgressState, out: &mut dyn fmt::Write| {
                let _ = out.write_str(&rest(state).1);
            });
        let bar = ProgressBar::new(total);
        bar.set_style(style);
        // It is there before anything is done: what is waited for may take long to begin.
        bar.tick();
        bar.enable_steady_tick(Duration::from_millis(200));
        Self { bar, words }
    }

    /// Says how much there is in all.
    pub fn length(&self, total: u64) {
        self.bar.set_length(total);
    }

    /// Shows how many bytes are done.
    pub fn update_bytes(&self, done: u64) {
        // Files that all tasks share come on top of what was counted before.
        self.length_at_least(done);
        self.bar.set_position(done);
    }

    /// Says that there is at least so much in all.
    pub fn length_at_least(&self, total: u64) {
        self.bar.set_length(self.bar.length().unwrap_or(0).max(total));
    }

    /// Shows how many tasks of a job in a network are done, and in words how it goes.
    pub fn update_with(&self, done: u64, words: String) {
        *self.words.lock().unwrap_or_else(PoisonError::into_inner) = words;
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
        let words = if read.0 > 0 { format!("{read} read") } else { String::new() };
        self.update_with(done, words);
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

/// A line on standard error that moves while something is waited for, with as much of its message as fits.
pub fn spinner() -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    let style = ProgressStyle::with_template("{spinner} {wide_msg}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

/// How wide the terminal is now.
fn terminal_width() -> usize {
    match rustix::termios::tcgetwinsize(std::io::stderr()) {
        Ok(size) if size.ws_col > 0 => size.ws_col.into(),
        _ => USUAL_WIDTH,
    }
}

/// All that a bar has to say.
struct Line {
    name: String,
    done: u64,
    total: u64,
    count: String,
    /// The most important first.
    more: Vec<String>,
}

impl Line {
    fn of(counted: Counted, name: &str, state: &ProgressState, words: String) -> Self {
        let (done, total) = (state.pos(), state.len().unwrap_or_else(|| state.pos()));
        let left = format!("{:#} left", HumanDuration(state.eta()));
        let (count, mut more) = match counted {
            Counted::Tasks => {
                let gone = format!("{:#} gone", HumanDuration(state.elapsed()));
                (format!("{done}/{total} tasks"), vec![words, left, gone])
            }
            Counted::Bytes => {
                let pace = format!("{}/s", HumanBytes(state.per_sec() as u64));
                (format!("{}/{}", HumanBytes(done), HumanBytes(total)), vec![left, pace])
            }
        };
        more.retain(|words| !words.is_empty());
        Self { name: name.to_owned(), done, total, count, more }
    }

    /// The name and the rest of the line, in so many columns at most: the bar gets shorter, then words are left out
    /// from the last, then the bar, then the end of the name.
    fn fit(&self, width: usize) -> (String, String) {
        /// What stands around the bar.
        const FRAME: usize = " [] ".len();
        for kept in (0..=self.more.len()).rev() {
            let words = [std::slice::from_ref(&self.count), &self.more[..kept]].concat().join(", ");
            let room = width.saturating_sub(columns(&self.name) + FRAME + columns(&words));
            if room >= *BAR.start() {
                let bar = self.bar(room.min(*BAR.end()));
                return (self.name.clone(), format!(" [{bar}] {words}"));
            }
        }
        let name = fitting(&self.name, width.saturating_sub(1 + columns(&self.count)));
        if name.is_empty() {
            return (String::new(), fitting(&self.count, width).to_owned());
        }
        (name.to_owned(), format!(" {}", self.count))
    }

    fn bar(&self, len: usize) -> String {
        let filled = match u128::from(self.total) {
            // How much there is in all is not known yet.
            0 if self.done == 0 => 0,
            0 => len,
            total => usize::try_from(u128::from(self.done) * len as u128 / total).unwrap_or(len).min(len),
        };
        let head = usize::from(self.done > 0 && filled < len);
        format!("{}{}{}", "=".repeat(filled), ">".repeat(head), " ".repeat(len - filled - head))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(name: &str) -> Line {
        Line {
            name: name.to_owned(),
            done: 15,
            total: 60,
            count: "15/60 tasks".to_owned(),
            more: ["3 running, 4 MiB read", "12s left", "4s gone"].map(str::to_owned).into(),
        }
    }

    fn shown(name: &str, width: usize) -> String {
        let (name, rest) = line(name).fit(width);
        name + &rest
    }

    #[test]
    fn what_matters_least_is_left_out_first() {
        assert_eq!(
            shown("render", 100),
            "render [========>                       ] 15/60 tasks, 3 running, 4 MiB read, 12s left, 4s gone"
        );
        assert_eq!(shown("render", 60), "render [====>           ] 15/60 tasks, 3 running, 4 MiB read");
        assert_eq!(shown("render", 40), "render [====>              ] 15/60 tasks");
        assert_eq!(shown("render", 20), "render 15/60 tasks");
        assert_eq!(shown("render", 15), "ren 15/60 tasks");
        assert_eq!(shown("render", 4), "15/6");
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        for name in ["render", &"x".repeat(64), "日本語"] {
            for width in 0..200 {
                assert!(columns(&shown(name, width)) <= width, "{name} in {width}");
            }
        }
    }

    #[test]
    fn a_bar_is_as_full_as_its_work_is_done() {
        let bar = |done, total| Line { done, total, ..line("a") }.bar(4);
        assert_eq!([bar(0, 8), bar(1, 8), bar(4, 8), bar(8, 8)], ["    ", ">   ", "==> ", "===="]);
        assert_eq!([bar(0, 0), bar(9, 8), bar(u64::MAX, u64::MAX)], ["    ", "====", "===="]);
    }
}
