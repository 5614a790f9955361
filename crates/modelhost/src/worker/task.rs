//! A task in the worker: its lines on their way to answers, and who follows it.

use std::{num::NonZeroU64, time::Instant};

use serde_json::json;
use tidemill_infer::api::{self, Drafts, Excess, Room, Setting, Written};
use tidemill_types::{BlobId, ByteSize, Failure, Limits, Tokens};

use crate::protocol::{PIECE_BYTES, Request};

/// A task.
pub(super) struct Task {
    pub(super) number: u64,
    pub(super) program: BlobId,
    pub(super) names: Vec<String>,
    pub(super) limits: Limits,
    /// Since when it waits, for its model or for memory.
    pub(super) waits_since: Instant,
    setting: Setting,
    /// The requests and their draft, until it begins.
    input: String,
    draft: String,
    pub(super) begun: Option<Begun>,
    followed: Option<Followed>,
    /// What its followers see: a line of JSON for each addition to an answer.
    written: Vec<u8>,
}

/// A task whose model is there.
pub(super) struct Begun {
    pub(super) lines: api::Task,
    /// Bytes that it may keep of its texts.
    pub(super) room: u64,
}

/// Who follows a task, and how far.
struct Followed {
    number: NonZeroU64,
    sent: usize,
}

impl Task {
    pub(super) fn new(request: Request) -> Self {
        let Request { task, program, names, created_s, seed, limits, input, draft } = request;
        Self {
            number: task,
            program,
            names,
            limits,
            waits_since: Instant::now(),
            setting: Setting { created_s, seed },
            input,
            draft,
            begun: None,
            followed: None,
            written: Vec::new(),
        }
    }

    /// Bytes that it may keep of its texts, beside weights of so many.
    ///
    /// # Errors
    /// Its limits do not allow for the weights.
    pub(super) fn room(&self, weights: u64) -> Result<u64, Failure> {
        let limit = self.limits.memory;
        limit.0.checked_sub(weights).ok_or(Failure::Memory { wanted: ByteSize(weights), limit })
    }

    /// Begins, with a model whose weights and pages have so many bytes; without pages where it keeps no texts.
    ///
    /// # Errors
    /// Its limits do not allow for a page.
    pub(super) fn begin(&mut self, weights: u64, page_bytes: Option<u64>) -> Result<(), Failure> {
        let room = self.room(weights)?;
        let pages = match page_bytes {
            Some(bytes) if room < bytes => {
                let wanted = ByteSize(weights.saturating_add(bytes));
                return Err(Failure::Memory { wanted, limit: self.limits.memory });
            }
            Some(bytes) => usize::try_from(room / bytes).unwrap_or(usize::MAX),
            None => 0,
        };
        let (input, draft) = (std::mem::take(&mut self.input), std::mem::take(&mut self.draft));
        let (input_tokens, output_tokens) = (self.limits.input_tokens, self.limits.output_tokens);
        let lines = api::Task::new(
            &input,
            self.setting,
            Room { pages, input_tokens, output_tokens },
            Drafts::read(&draft),
        );
        self.begun = Some(Begun { lines, room: if pages == 0 { 0 } else { room } });
        self.waits_since = Instant::now();
        Ok(())
    }

    /// What a task ends with that needs more tokens than it may have.
    pub(super) fn exceeded(&self, excess: Excess) -> (Failure, Tokens) {
        let (what, limit) = match excess {
            Excess::Input => ("prompts", self.limits.input_tokens),
            Excess::Output => ("answers", self.limits.output_tokens),
        };
        let tokens = self.begun.as_ref().map(|begun| tokens(begun.lines.tokens_of(excess)));
        (Failure::Tokens { what: what.to_owned(), limit }, tokens.unwrap_or_default())
    }

    /// From now on, whoever has this number sees what is written, from the beginning.
    pub(super) fn follow(&mut self, number: NonZeroU64) {
        self.followed = Some(Followed { number, sent: 0 });
    }

    /// Keeps what was added to an answer for those who follow. Beyond what the output may have, it is nobody's.
    pub(super) fn note(&mut self, written: &Written) {
        let Written { line, index, delta, finish } = written;
        let said = match finish {
            Some(finish) => json!({"line": line, "index": index, "delta": delta, "finish": finish}),
            None if delta.is_empty() => return,
            None => json!({"line": line, "index": index, "delta": delta}),
        };
        let said = said.to_string();
        if (self.written.len() + said.len()) as u64 <= self.limits.output.0 {
            self.written.extend_from_slice(said.as_bytes());
            self.written.push(b'\n');
        }
    }

    /// The next piece for whoever follows.
    pub(super) fn piece(&mut self) -> Option<(NonZeroU64, u64, Vec<u8>)> {
        let followed = self.followed.as_mut()?;
        let rest = self.written.get(followed.sent..).filter(|rest| !rest.is_empty())?;
        let bytes = rest[..rest.len().min(PIECE_BYTES)].to_vec();
        let offset = followed.sent as u64;
        followed.sent += bytes.len();
        Some((followed.number, offset, bytes))
    }
}

/// In the words of `tidemill-types`.
pub(super) fn tokens(of: api::Tokens) -> Tokens {
    Tokens { input: of.input, cached: of.cached, output: of.output }
}
