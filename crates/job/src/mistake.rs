//! What is wrong with a job file, where, and what would be right.

use std::{fmt, ops::Range};

use tidemill_types::{columns, is_steering};

/// The most mistakes that are kept: nobody reads more before correcting some.
const MAX_MISTAKES: usize = 100;

/// The most that are held while the file is read, before they are put in order: a bound on memory.
const MAX_COLLECTED: usize = 20_000;

/// The longest excerpt of a source line that is shown, in characters.
const MAX_SOURCE_CHARS: usize = 100;

/// One thing that is wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mistake {
    /// The line, counted from 1.
    pub line: usize,
    /// The column, counted from 1, in characters.
    pub column: usize,
    /// What was found there.
    pub found: String,
    /// What is allowed there; empty where `found` says it all.
    pub allowed: String,
    source: String,
    /// In columns of a terminal.
    caret: Range<usize>,
}

/// All that is wrong with a job file, in the order of the file. There is always at least one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mistakes {
    list: Vec<Mistake>,
    omitted: usize,
}

/// Mistakes together with the name of the file, for people.
#[derive(Clone, Copy, Debug)]
struct InFile<'a> {
    mistakes: &'a Mistakes,
    name: &'a str,
}

impl Mistakes {
    /// The mistakes, in the order of the file.
    pub fn iter(&self) -> std::slice::Iter<'_, Mistake> {
        self.list.iter()
    }

    /// How many more there are than [`Self::iter`] gives.
    pub fn omitted(&self) -> usize {
        self.omitted
    }

    /// Shows every mistake as `name:line:column: …`, with its line and a caret beneath.
    pub fn in_file<'a>(&'a self, name: &'a str) -> impl fmt::Display + 'a {
        InFile { mistakes: self, name }
    }
}

impl<'a> IntoIterator for &'a Mistakes {
    type Item = &'a Mistake;
    type IntoIter = std::slice::Iter<'a, Mistake>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl std::error::Error for Mistakes {}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.in_file("job.toml").fmt(f)
    }
}

impl fmt::Display for InFile<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, mistake) in self.mistakes.list.iter().enumerate() {
            if i > 0 {
                f.write_str("\n\n")?;
            }
            let Mistake { line, column, found, allowed, source, caret } = mistake;
            write!(f, "{}:{line}:{column}: {found}", self.name)?;
            let (gap, carets) = (" ".repeat(caret.start), "^".repeat(caret.len()));
            write!(f, "\n    {source}\n    {gap}{carets}")?;
            if !allowed.is_empty() {
                write!(f, "\n    {allowed}")?;
            }
        }
        match self.mistakes.omitted {
            0 => Ok(()),
            omitted => write!(f, "\n\nand {omitted} more"),
        }
    }
}

/// Gathers mistakes by byte position while a file is read.
#[derive(Debug)]
pub(crate) struct Report<'a> {
    text: &'a str,
    line_starts: Vec<usize>,
    collected: Vec<(Range<usize>, String, String)>,
    omitted: usize,
    /// Lines that are no TOML. What else seems wrong on them is most likely a consequence.
    broken_lines: Vec<usize>,
}

impl<'a> Report<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        let line_starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { text, line_starts, collected: Vec::new(), omitted: 0, broken_lines: Vec::new() }
    }

    /// The file's text.
    pub(crate) fn text(&self) -> &'a str {
        self.text
    }

    /// The text is not TOML at `span`.
    pub(crate) fn syntax(&mut self, span: Range<usize>, found: String, allowed: String) {
        let line = self.line_of(span.start);
        if !self.broken_lines.contains(&line) && self.broken_lines.len() < MAX_MISTAKES {
            self.broken_lines.push(line);
        }
        self.push(span, found, allowed);
    }

    /// What is at `span` is not allowed there.
    pub(crate) fn wrong(&mut self, span: Range<usize>, found: impl Into<String>, allowed: impl Into<String>) {
        if self.broken_lines.is_empty() || !self.broken_lines.contains(&self.line_of(span.start)) {
            self.push(span, found.into(), allowed.into());
        }
    }

    /// Something that should be in the table at `span` is not there. Where the text is not TOML it may be
    /// there after all, and so nothing is said.
    pub(crate) fn missing(
        &mut self,
        span: Range<usize>,
        found: impl Into<String>,
        allowed: impl Into<String>,
    ) {
        if self.broken_lines.is_empty() {
            self.push(span, found.into(), allowed.into());
        }
    }

    /// The mistakes in the order of the file; [`None`] when there are none.
    pub(crate) fn into_mistakes(mut self) -> Option<Mistakes> {
        if self.collected.is_empty() {
            return None;
        }
        let mut collected = std::mem::take(&mut self.collected);
        collected.sort_by_key(|(span, ..)| span.start);
        let omitted = self.omitted + collected.len().saturating_sub(MAX_MISTAKES);
        collected.truncate(MAX_MISTAKES);
        let list = collected.into_iter().map(|(span, found, allowed)| self.locate(span, found, allowed));
        Some(Mistakes { list: list.collect(), omitted })
    }

    fn push(&mut self, span: Range<usize>, found: String, allowed: String) {
        if self.collected.len() < MAX_COLLECTED {
            self.collected.push((span, found, allowed));
        } else {
            self.omitted += 1;
        }
    }

    /// The line of a byte offset, counted from 0.
    fn line_of(&self, offset: usize) -> usize {
        self.line_starts.partition_point(|start| *start <= offset).saturating_sub(1)
    }

    fn locate(&self, span: Range<usize>, found: String, allowed: String) -> Mistake {
        let start = floor_char(self.text, span.start);
        let line = self.line_of(start);
        let line_start = self.line_starts[line];
        let rest = &self.text[line_start..];
        let source = rest.split(['\n']).next().unwrap_or_default();
        let source = source.strip_suffix('\r').unwrap_or(source);
        let column = self.text[line_start..start].chars().count();
        let end =
            floor_char(self.text, span.end.clamp(start, line_start + source.len().max(start - line_start)));
        let width = self.text[start..end].chars().count().max(1);

        let skipped = if column < MAX_SOURCE_CHARS * 3 / 4 { 0 } else { column - MAX_SOURCE_CHARS / 2 };
        let shown: String = source.chars().skip(skipped).take(MAX_SOURCE_CHARS).map(printable).collect();
        // Some characters are as wide as two, and some have no width.
        let place = |chars: usize| columns(&shown.chars().take(chars).collect::<String>());
        let caret_start = place(column - skipped);
        let caret_end = place(column - skipped + width).max(caret_start + 1);
        Mistake {
            line: line + 1,
            column: column + 1,
            found,
            allowed,
            source: shown,
            caret: caret_start..caret_end,
        }
    }
}

/// A text from the file as it may stand in a message: in quotes, without control characters, not long.
pub(crate) fn quoted(text: &str) -> String {
    format!("\"{}\"", shortened(text))
}

/// The same for a key's name.
pub(crate) fn key_name(text: &str) -> String {
    format!("`{}`", shortened(text))
}

/// The same without quotes.
pub(crate) fn shortened(text: &str) -> String {
    const MAX_CHARS: usize = 60;
    let mut shown: String = text.chars().take(MAX_CHARS).flat_map(char::escape_debug).collect();
    if text.chars().nth(MAX_CHARS).is_some() {
        shown.push('…');
    }
    shown
}

/// A terminal must not act on what a file holds, and a caret must stand under its character.
fn printable(c: char) -> char {
    match c {
        '\t' => ' ',
        c if is_steering(c) => '\u{fffd}',
        c => c,
    }
}

fn floor_char(text: &str, offset: usize) -> usize {
    (0..=offset.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn only(text: &str, span: Range<usize>) -> String {
        let mut report = Report::new(text);
        report.wrong(span, "found", "allowed");
        report.into_mistakes().expect("a mistake was reported").to_string()
    }

    #[test]
    fn the_caret_stands_under_the_place() {
        assert_eq!(
            only("a = 1\r\nüb = 2\r\n", 7..10),
            "job.toml:2:1: found\n    üb = 2\n    ^^\n    allowed"
        );
        assert_eq!(only("a", 1..1), "job.toml:1:2: found\n    a\n     ^\n    allowed");
        assert_eq!(only("", 0..0), "job.toml:1:1: found\n    \n    ^\n    allowed");
        assert_eq!(
            only("a\u{1b}[31m = 1", 0..2),
            "job.toml:1:1: found\n    a\u{fffd}[31m = 1\n    ^^\n    allowed"
        );
        assert_eq!(
            only("a\u{202e} = 1", 0..4),
            "job.toml:1:1: found\n    a\u{fffd} = 1\n    ^^\n    allowed"
        );
    }

    #[test]
    fn wide_characters_and_marks_leave_the_caret_under_the_place() {
        let text = "a = [\"日本語\", \"{indx}\"]";
        let at = text.find("{indx}").expect("it is there");
        assert_eq!(
            only(text, at..at + 6),
            format!("job.toml:1:14: found\n    {text}\n    {}^^^^^^\n    allowed", " ".repeat(16))
        );
        assert_eq!(
            only("e\u{301} = 🦀", 6..10),
            "job.toml:1:6: found\n    e\u{301} = 🦀\n        ^^\n    allowed"
        );
    }

    #[test]
    fn any_span_of_any_text_is_shown() {
        for text in ["", "\n", "a\nb", "ü\r\nü", &"x".repeat(500)] {
            for start in 0..=text.len() + 2 {
                for end in start..=text.len() + 2 {
                    only(text, start..end);
                }
            }
        }
    }

    #[test]
    fn mistakes_come_in_the_order_of_the_file_and_are_bounded() {
        let mut report = Report::new("abc");
        for i in (0..150).rev() {
            report.wrong(i % 3..i % 3, format!("{i}"), "");
        }
        let mistakes = report.into_mistakes().expect("mistakes were reported");
        assert_eq!((mistakes.iter().len(), mistakes.omitted()), (100, 50));
        assert!(mistakes.iter().is_sorted_by_key(|m| m.column));
        assert!(mistakes.to_string().ends_with("\n\nand 50 more"));
    }
}
