//! What a task writes while it runs, made ready to be shown: marked, and whole characters at a time.

use tidemill_net::wire::{Chunk, TaskNews};
use tidemill_types::{LeaseId, NodeId, lines};

/// What stands before each line.
const MARK: &str = "~ ";

/// What has been heard of a task so far.
pub struct Provisional {
    attempt: u32,
    /// How many bytes of the attempt's output come before the end of the last piece.
    end: u64,
    /// The beginning of a character whose end has not come.
    held: Vec<u8>,
    /// Whether the next character is the first of a line.
    at_line_start: bool,
}

impl Default for Provisional {
    fn default() -> Self {
        Self { attempt: 0, end: 0, held: Vec::new(), at_line_start: true }
    }
}

/// What there is to show.
#[derive(PartialEq, Eq, Debug)]
pub enum Heard {
    /// No attempt is under way.
    Waiting,
    /// An attempt begins to be followed.
    Attempt {
        /// Counts those that were shown here, from 1.
        attempt: u32,
        /// Who makes it.
        node: NodeId,
        /// Its lease.
        lease: LeaseId,
    },
    /// It has written this.
    Text {
        /// Which of the attempts.
        attempt: u32,
        /// The number of the piece.
        number: u64,
        /// How many bytes come before the piece.
        offset: u64,
        /// How many bytes were dropped before it.
        dropped: u64,
        /// Fit for a terminal.
        text: String,
    },
    /// Nothing that could be shown.
    Nothing,
}

impl Provisional {
    /// Takes in what the coordinator tells.
    pub fn hear(&mut self, news: TaskNews) -> Heard {
        match news {
            TaskNews::Waiting => Heard::Waiting,
            TaskNews::Attempt { lease, node } => {
                self.begin();
                self.attempt = self.attempt.saturating_add(1);
                Heard::Attempt { attempt: self.attempt, node, lease }
            }
            TaskNews::Chunk(chunk) => self.piece(&chunk),
            TaskNews::Over => Heard::Nothing,
        }
    }

    /// The connection was lost: what comes next begins anew.
    pub fn lost(&mut self) {
        self.begin();
    }

    fn begin(&mut self) {
        self.end = 0;
        self.held.clear();
    }

    fn piece(&mut self, chunk: &Chunk) -> Heard {
        // The first piece of an attempt may begin anywhere: what was before it was dropped too.
        let dropped = chunk.offset.saturating_sub(self.end);
        if dropped > 0 {
            self.held.clear();
        }
        self.end = chunk.end();
        self.held.extend_from_slice(&chunk.bytes);
        let whole = self.held.len() - begun(&self.held);
        let rest = self.held.split_off(whole);
        let text = lines(&String::from_utf8_lossy(&std::mem::replace(&mut self.held, rest)));
        Heard::Text { attempt: self.attempt, number: chunk.number, offset: chunk.offset, dropped, text }
    }

    /// A text with a mark before each of its lines.
    pub fn marked(&mut self, text: &str) -> String {
        let mut marked = String::with_capacity(text.len() + MARK.len());
        for c in text.chars() {
            if self.at_line_start {
                marked.push_str(MARK);
            }
            marked.push(c);
            self.at_line_start = c == '\n';
        }
        marked
    }

    /// What ends the line that was begun, if one was.
    pub fn end_line(&mut self) -> &'static str {
        if std::mem::replace(&mut self.at_line_start, true) { "" } else { "\n" }
    }
}

/// How many bytes at the end are the beginning of a character, so far as one can tell.
fn begun(bytes: &[u8]) -> usize {
    let Some(last) = bytes.utf8_chunks().last() else { return 0 };
    match std::str::from_utf8(last.invalid()) {
        Err(error) if error.error_len().is_none() => last.invalid().len(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(number: u64, offset: u64, bytes: &[u8]) -> TaskNews {
        TaskNews::Chunk(Chunk { number, offset, bytes: bytes.to_vec() })
    }

    fn attempt() -> TaskNews {
        TaskNews::Attempt { lease: LeaseId(7), node: NodeId([1; 32]) }
    }

    /// What is dropped before a piece, and its text.
    fn text(heard: Heard) -> (u64, String) {
        let Heard::Text { dropped, text, .. } = heard else { panic!("{heard:?} is no text") };
        (dropped, text)
    }

    #[test]
    fn characters_are_shown_whole_and_nothing_steers_a_terminal() {
        let mut provisional = Provisional::default();
        provisional.hear(attempt());
        let bytes = "größe → ok\n".as_bytes();
        let mut shown = String::new();
        for (offset, byte) in (0..).zip(bytes) {
            let (dropped, text) = text(provisional.hear(chunk(offset, offset, &[*byte])));
            assert_eq!(dropped, 0);
            shown += &text;
        }
        assert_eq!(shown, "größe → ok\n");
        let end = bytes.len() as u64;
        let steering = text(provisional.hear(chunk(99, end, b"\x1b[2J\xff end")));
        assert_eq!(steering, (0, "\u{fffd}[2J\u{fffd} end".to_owned()));
    }

    #[test]
    fn a_gap_is_told_and_each_attempt_begins_at_nothing() {
        let mut provisional = Provisional::default();
        let first = Heard::Attempt { attempt: 1, node: NodeId([1; 32]), lease: LeaseId(7) };
        assert_eq!(provisional.hear(attempt()), first);
        assert_eq!(text(provisional.hear(chunk(0, 0, b"one \xe2"))), (0, "one ".to_owned()));
        // The rest of the character was dropped.
        assert_eq!(text(provisional.hear(chunk(3, 25, b"two"))), (20, "two".to_owned()));
        assert_eq!(provisional.hear(TaskNews::Waiting), Heard::Waiting);
        assert!(matches!(provisional.hear(attempt()), Heard::Attempt { attempt: 2, .. }));
        assert_eq!(text(provisional.hear(chunk(0, 0, b"one"))), (0, "one".to_owned()));
        provisional.lost();
        provisional.hear(attempt());
        assert_eq!(text(provisional.hear(chunk(0, 10, b"late"))), (10, "late".to_owned()));
    }

    #[test]
    fn every_line_is_marked_and_a_line_that_was_begun_is_ended() {
        let mut provisional = Provisional::default();
        assert_eq!(provisional.end_line(), "");
        assert_eq!(provisional.marked("one\ntw"), "~ one\n~ tw");
        assert_eq!(provisional.marked("o\n\n"), "o\n~ \n");
        assert_eq!(provisional.end_line(), "");
        assert_eq!(provisional.marked("three"), "~ three");
        assert_eq!((provisional.end_line(), provisional.end_line()), ("\n", ""));
    }
}
