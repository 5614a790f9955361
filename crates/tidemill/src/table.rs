//! Tables for people: columns under their heads, no wider than the terminal.

use std::io;

use tidemill_types::{columns, fitting, one_line};

/// The least that the last column gets, however narrow the terminal is.
const LEAST: usize = 16;

/// A table that is gathered row by row.
pub struct Table {
    heads: Vec<&'static str>,
    rows: Vec<Vec<String>>,
    /// The columns that a line may have.
    width: usize,
}

impl Table {
    /// A table with these heads. Columns whose head ends in a space are words and begin at the left; others are
    /// numbers and end at the right. The last column gets what is left of the width.
    pub fn new(heads: &[&'static str]) -> Self {
        Self { heads: heads.to_vec(), rows: Vec::new(), width: width() }
    }

    /// Adds a row, with a cell for each head.
    pub fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells.iter().map(|cell| one_line(cell, 400)).collect());
    }

    /// Prints it, each line behind `indent`.
    pub fn print(&self, indent: &str) {
        let widths: Vec<usize> = (0..self.heads.len())
            .map(|at| {
                let cells = self.rows.iter().filter_map(|row| row.get(at)).map(|cell| columns(cell));
                cells.chain([columns(self.heads[at].trim_end())]).max().unwrap_or(0)
            })
            .collect();
        let heads: Vec<String> = self.heads.iter().map(|head| head.trim_end().to_owned()).collect();
        for row in std::iter::once(&heads).chain(&self.rows) {
            println!("{}", self.line(indent, row, &widths));
        }
    }

    fn line(&self, indent: &str, cells: &[String], widths: &[usize]) -> String {
        let mut line = indent.to_owned();
        let last = self.heads.len().saturating_sub(1);
        for (at, cell) in cells.iter().enumerate() {
            let gap = if at == 0 { "" } else { "  " };
            let words = self.heads[at].ends_with(' ');
            // Formatting pads by characters, of which some are as wide as two and some have no width.
            let padding = " ".repeat(widths[at].saturating_sub(columns(cell)));
            match (at == last, words) {
                (true, true) => {
                    let left = self.width.saturating_sub(columns(&line) + gap.len()).max(LEAST);
                    line += gap;
                    line += &shorten(cell, left);
                }
                (_, true) => line += &format!("{gap}{cell}{padding}"),
                (_, false) => line += &format!("{gap}{padding}{cell}"),
            }
        }
        line.trim_end().to_owned()
    }
}

/// The columns of the terminal that standard output is, without bound where it is none: a program reads it then.
fn width() -> usize {
    match rustix::termios::tcgetwinsize(io::stdout()) {
        Ok(size) if size.ws_col > 0 => size.ws_col.into(),
        _ => usize::MAX,
    }
}

/// A text of at most so many columns; one that is cut says so.
pub fn shorten(text: &str, most: usize) -> String {
    if columns(text) <= most {
        return text.to_owned();
    }
    format!("{}…", fitting(text, most.saturating_sub(1)).trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_under_their_heads() {
        let mut table = Table::new(&["who ", "tasks", "why "]);
        table.width = 80;
        table.row(vec!["a".to_owned(), "12".to_owned(), "x".repeat(200)]);
        let widths = [3, 5, 200];
        let line = table.line("  ", &table.rows[0], &widths);
        assert!(line.starts_with("  a       12  xxx") && line.ends_with('…'), "{line}");
        assert_eq!(line.chars().count(), 80);
        table.width = usize::MAX;
        assert!(table.line("  ", &table.rows[0], &widths).ends_with(&"x".repeat(200)), "whole in a pipe");
        assert_eq!(shorten("four", 4), "four");
        assert_eq!(shorten("日本語", 5), "日本…");
    }

    #[test]
    fn wide_characters_leave_columns_where_they_are() {
        let mut table = Table::new(&["name ", "tasks", "state "]);
        for name in ["plain", "日本語", "🦀 crab", "e\u{301}"] {
            table.row(vec![name.to_owned(), "1".to_owned(), "idle".to_owned()]);
        }
        let widths = [columns("🦀 crab"), 5, 4];
        for row in &table.rows {
            let line = table.line("", row, &widths);
            let (before, _) = line.split_once("idle").expect("the last cell");
            assert_eq!(columns(before), 7 + 2 + 5 + 2, "{line}");
        }
    }
}
