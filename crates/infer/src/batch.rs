//! Many requests at once: each step reads a token of every answer, and pieces of prompts, in one forward.
//!
//! Requests join and leave between steps, and none changes a bit of another's answer. Pages of prompts and answers are
//! kept under the hash of their tokens, so that a request that begins as an earlier one did need not read them again.
//!
//! A request may come with a draft: tokens that somebody says its answer has. They are read many at once, as a prompt is,
//! and every token is drawn all the same; the first that differs ends the draft. So an answer that was given before is
//! computed again in a part of the time, and no draft changes a bit of it.

mod prefixes;

use std::collections::VecDeque;
use std::ops::Deref;
use std::sync::Arc;

use thiserror::Error;

use crate::chain::{Answer, Claim, Finish, PIECE, Request, Step};
use crate::forward::{Engine, Feed, ForwardError};
use crate::grammar::GrammarError;
use crate::kv::{PAGE, Sequence};
use crate::model::Model;
use crate::sample::Likelihood;
use crate::tokens::Tokenizer;
use prefixes::Prefixes;

/// A request within its batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(u64);

/// What a batch may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Tokens read in a step: more make prompts faster, and the steps of answers slower.
    pub tokens_per_step: usize,
    /// Pages of 16 positions in memory, of [`Sequence::page_bytes`] each; those kept for later are among them.
    pub pages: usize,
}

/// Why a request cannot join.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum JoinError {
    /// There is nothing to continue.
    #[error("the prompt is empty")]
    Empty,
    /// The prompt has a token that the model does not have.
    #[error("token {token} of the prompt is not in the vocabulary")]
    Token {
        /// The token.
        token: u32,
    },
    /// The prompt leaves no position for an answer.
    #[error("the prompt has {tokens} tokens, and the model's context {context}")]
    TooLong {
        /// Tokens of the prompt.
        tokens: usize,
        /// Positions that the model has.
        context: usize,
    },
    /// It needs more memory than the batch may ever use.
    #[error("the request needs {pages} pages of memory, more than there are")]
    TooLarge {
        /// Pages needed.
        pages: usize,
    },
    /// The answer's shape cannot be used.
    #[error("the answer's shape cannot be used")]
    Grammar(#[from] GrammarError),
    /// Others use the memory that it needs: it can join later.
    #[error("other requests use the memory that this one needs")]
    Full,
}

/// What a request used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Tokens of the prompt.
    pub prompt: usize,
    /// Those of them that were kept from earlier requests.
    pub cached: usize,
    /// Tokens of the answer, that which ended it too.
    pub answer: usize,
}

/// What a step did.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// An answer went on.
    Token {
        /// Whose.
        request: RequestId,
        /// The token.
        token: u32,
        /// What is now certain of the text; may be empty.
        text: String,
        /// How likely the token was, if the request asks for it.
        likelihood: Option<Likelihood>,
    },
    /// An answer ended.
    End {
        /// Whose.
        request: RequestId,
        /// All of the answer, as a checker wants it.
        claim: Claim,
        /// What it used.
        usage: Usage,
    },
}

impl Event {
    /// Whose it is.
    pub fn request(&self) -> RequestId {
        match self {
            Self::Token { request, .. } | Self::End { request, .. } => *request,
        }
    }
}

/// Requests that are answered together.
#[derive(Debug)]
pub struct Batch<'a> {
    model: Held<'a, Model>,
    tokenizer: Held<'a, Tokenizer>,
    engine: Engine,
    bounds: Bounds,
    running: Vec<Running>,
    prefixes: Prefixes,
    next: u64,
}

/// What somebody else keeps, or what is kept as long as it is needed.
#[derive(Debug)]
enum Held<'a, T> {
    Lent(&'a T),
    Shared(Arc<T>),
}

impl<T> Deref for Held<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        match self {
            Self::Lent(lent) => lent,
            Self::Shared(shared) => shared,
        }
    }
}

#[derive(Debug)]
struct Running {
    id: RequestId,
    sequence: Sequence,
    /// The prompt, then the tokens of the answer: all that the sequence is to read.
    tokens: Vec<u32>,
    /// What may follow, in turn.
    draft: VecDeque<u32>,
    answer: Answer,
    /// Pages held back for it.
    pages: usize,
    usage: Usage,
}

impl Batch<'static> {
    /// An empty one, which keeps its model.
    pub fn shared(model: Arc<Model>, tokenizer: Arc<Tokenizer>, engine: Engine, bounds: Bounds) -> Self {
        Self::with(Held::Shared(model), Held::Shared(tokenizer), engine, bounds)
    }
}

impl<'a> Batch<'a> {
    /// An empty one.
    pub fn new(model: &'a Model, tokenizer: &'a Tokenizer, engine: Engine, bounds: Bounds) -> Self {
        Self::with(Held::Lent(model), Held::Lent(tokenizer), engine, bounds)
    }

    fn with(model: Held<'a, Model>, tokenizer: Held<'a, Tokenizer>, engine: Engine, bounds: Bounds) -> Self {
        Self { model, tokenizer, engine, bounds, running: Vec::new(), prefixes: Prefixes::default(), next: 0 }
    }

    /// Puts this engine in the place of the batch's own, which is given back by the same name: batches of several models can
    /// make their steps in turn on one engine.
    pub fn swap_engine(&mut self, engine: &mut Engine) {
        std::mem::swap(&mut self.engine, engine);
    }

    /// Requests that have no end yet.
    pub fn len(&self) -> usize {
        self.running.len()
    }

    /// True where there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    /// Takes a request in, if there is memory for all that it may come to.
    ///
    /// # Errors
    ///
    /// It does not fit the model, or the memory.
    pub fn join(&mut self, request: Request) -> Result<RequestId, JoinError> {
        self.join_with_draft(request, &[])
    }

    /// The same, with the first tokens that the answer may have. Any tokens will do: they only save time.
    ///
    /// # Errors
    ///
    /// As for [`Batch::join`].
    pub fn join_with_draft(&mut self, request: Request, draft: &[u32]) -> Result<RequestId, JoinError> {
        let config = self.model.config();
        let (tokens, context) = (request.prompt.len(), config.context);
        if tokens == 0 {
            return Err(JoinError::Empty);
        }
        if let Some(&token) = request.prompt.iter().find(|&&token| token as usize >= config.vocabulary) {
            return Err(JoinError::Token { token });
        }
        if tokens >= context {
            return Err(JoinError::TooLong { tokens, context });
        }
        let pages = tokens.saturating_add(request.most_tokens).min(context).div_ceil(PAGE);
        if pages > self.bounds.pages {
            return Err(JoinError::TooLarge { pages });
        }
        let held = self.held_pages();
        if held + pages > self.bounds.pages {
            return Err(JoinError::Full);
        }
        let prompt = request.prompt.clone();
        // An answer's last token is drawn and not read, and what the model does not have is not read at all.
        let most = request.most_tokens.min(context - tokens).saturating_sub(1);
        let draft =
            draft.iter().copied().take(most).take_while(|&token| (token as usize) < config.vocabulary);
        let draft = draft.collect();
        let answer = Answer::new(request, &self.tokenizer)?;
        // Of the last token the logits are needed, so it is always read.
        let known = self.prefixes.find(&prompt[..tokens - 1]);
        let mut sequence = Sequence::new(config);
        sequence.begin_with(&known);
        self.prefixes.shrink(self.bounds.pages.saturating_sub(held + pages));
        let id = RequestId(self.next);
        self.next += 1;
        let usage = Usage { prompt: tokens, cached: sequence.len(), answer: 0 };
        self.running.push(Running { id, sequence, tokens: prompt, draft, answer, pages, usage });
        Ok(id)
    }

    /// Ends a request that nobody waits for any more. Its pages are kept like those of others.
    pub fn leave(&mut self, request: RequestId) {
        if let Some(at) = self.running.iter().position(|running| running.id == request) {
            let running = self.running.remove(at);
            self.keep(&running);
        }
    }

    /// Makes one forward.
    ///
    /// # Errors
    ///
    /// None that a request can cause: `join` has checked it.
    pub fn step(&mut self) -> Result<Vec<Event>, ForwardError> {
        let reads = self.reads();
        let mut feeds = Vec::new();
        let mut asked = Vec::new();
        for (number, (running, read)) in self.running.iter_mut().zip(&reads).enumerate() {
            asked.push((number, read.tokens.len() - read.logits_from));
            let (tokens, logits_from) = (&read.tokens[..], read.logits_from);
            feeds.push(Feed { sequence: &mut running.sequence, tokens, logits_from });
        }
        let output = self.engine.forward(&self.model, &mut feeds)?;
        let mut events = Vec::new();
        let mut ended = Vec::new();
        let mut at = 0;
        for (number, rows) in asked {
            let running = &mut self.running[number];
            for row in at..at + rows {
                let step = running.answer.next(&self.model, &self.tokenizer, &output, row);
                ended.extend(step.finish.map(|finish| (number, finish)));
                if !running.take(step, &mut events) {
                    break;
                }
            }
            at += rows;
        }
        for &(number, finish) in ended.iter().rev() {
            let running = self.running.remove(number);
            self.keep(&running);
            events.push(running.end(finish));
        }
        Ok(events)
    }

    /// What each request reads in the next step.
    fn reads(&self) -> Vec<Read> {
        // Answers first: a long prompt must not stop them.
        let mut left = self.bounds.tokens_per_step.max(1).saturating_sub(self.running.len());
        // Logits take much memory, whatever the bound on tokens is.
        let mut rows_left = PIECE;
        let read = |running: &Running| {
            let unread = &running.tokens[running.sequence.len()..];
            let len = unread.len().min(1 + left);
            left -= len.saturating_sub(1);
            let mut read = Read { tokens: unread[..len].to_vec(), logits_from: len };
            if len == unread.len() {
                read.logits_from -= 1;
                let drafted = running.draft.len().min(left).min(rows_left);
                (left, rows_left) = (left - drafted, rows_left - drafted);
                read.tokens.extend(running.draft.iter().take(drafted));
            }
            read
        };
        self.running.iter().map(read).collect()
    }

    /// Sets how many pages there are from now on. Those that requests hold are not taken from them.
    pub fn set_pages(&mut self, pages: usize) {
        self.bounds.pages = pages;
        self.prefixes.shrink(pages.saturating_sub(self.held_pages()));
    }

    /// Pages that requests hold.
    pub fn held_pages(&self) -> usize {
        self.running.iter().map(|running| running.pages).sum()
    }

    fn keep(&mut self, running: &Running) {
        self.prefixes.keep(&running.tokens, running.sequence.full_pages());
        self.prefixes.shrink(self.bounds.pages.saturating_sub(self.held_pages()));
    }
}

/// Tokens that a request reads in a step: of its prompt, of its answer, then of its draft.
struct Read {
    tokens: Vec<u32>,
    /// The first of them after which a token is drawn.
    logits_from: usize,
}

impl Running {
    /// Takes a drawn token in. True where the draft has it too and the answer goes on: then what was read after it is right.
    fn take(&mut self, step: Step, events: &mut Vec<Event>) -> bool {
        if let Some(token) = step.token {
            self.tokens.push(token);
            let (request, text, likelihood) = (self.id, step.text, step.likelihood);
            events.push(Event::Token { request, token, text, likelihood });
        }
        let is_drafted = step.token.is_some() && self.draft.pop_front() == step.token;
        if is_drafted && step.finish.is_none() {
            return true;
        }
        self.draft.clear();
        // Of what was read only the tokens before this one are the answer's.
        self.sequence.truncate(self.tokens.len() - usize::from(step.token.is_some()));
        false
    }

    fn end(self, finish: Finish) -> Event {
        let (tokens, chain) = self.answer.finish();
        let usage = Usage { answer: tokens.len(), ..self.usage };
        Event::End { request: self.id, claim: Claim { tokens, finish, chain }, usage }
    }
}
