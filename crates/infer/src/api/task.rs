//! A task: lines that are answered in a batch which they share with those of other tasks.
//!
//! What a task comes to depends on nothing but its lines, the model, and what the task may use: not on what else is in the
//! batch, nor on the order in which answers end.

use std::collections::{HashMap, HashSet, VecDeque};

use serde_json::{Value, json};

use super::answer::Choice;
use super::drafts::Drafts;
use super::error::ApiError;
use super::lines::{Line, Open, Running};
use super::{Asked, Served, Setting};
use crate::batch::{Batch, Event, JoinError, RequestId};
use crate::chain::{Claim, Finish, Request};
use crate::forward::Engine;
use crate::kv::PAGE;

/// Requests of all tasks that are in a batch at once: more would make each step slow, and memory bounds them anyway.
const MOST_RUNNING: usize = 64;

/// What a task may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Pages of memory for its requests together. A request that needs more gets a shorter answer, or an error.
    pub pages: usize,
    /// Tokens of all prompts.
    pub input_tokens: u64,
    /// Tokens of all answers.
    pub output_tokens: u64,
}

/// Tokens of a task, the same wherever it runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tokens {
    /// Of all prompts.
    pub input: u64,
    /// Those of them that an earlier prompt of the task begins with as well, in whole pages. Whether the engine had them
    /// kept when it came to them does not matter.
    pub cached: u64,
    /// Of all answers.
    pub output: u64,
}

/// A task needs more than it may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Excess {
    /// Its prompts have too many tokens.
    Input,
    /// Its answers do.
    Output,
}

/// Why no more requests of a task are in a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filled {
    /// All are, or have been; or the task itself may not have more of them at once.
    Task,
    /// The batch has no room for its next one.
    Batch,
}

/// What was added to an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The line's number, from 0, without empty ones.
    pub line: usize,
    /// The choice.
    pub index: usize,
    /// The text; may be empty.
    pub delta: String,
    /// Why the choice ended, where it did.
    pub finish: Option<&'static str>,
}

/// What a task leaves behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    /// A line for each of the input, in OpenAI's Batch format.
    pub answers: String,
    /// A line for each of the input, with what a checker wants of it: `custom_id` and `claims`, of which each has
    /// `tokens`, `finish` and `chain`, hashes in hexadecimal digits.
    pub claims: String,
    /// What it used.
    pub tokens: Tokens,
}

/// Lines on their way to answers.
#[derive(Debug)]
pub struct Task {
    setting: Setting,
    room: Room,
    lines: Vec<Line>,
    open: Vec<Option<Open>>,
    bodies: Vec<Option<Result<Value, ApiError>>>,
    claims: Vec<Vec<Claim>>,
    /// The next line to read.
    next: usize,
    waiting: VecDeque<(usize, usize)>,
    running: HashMap<RequestId, (Running, usize)>,
    pages: usize,
    tokens: Tokens,
    drafts: Drafts,
    /// Hashes of what the prompts so far begin with, page by page.
    begun: HashSet<[u8; 32]>,
}

impl Task {
    /// The task of answering these lines. Somebody may have said which tokens the answers have: then it takes a part of the
    /// time where that is right, and has the same answers in any case.
    pub fn new(input: &str, setting: Setting, room: Room, drafts: Drafts) -> Self {
        let lines: Vec<Line> = input.lines().filter(|line| !line.trim().is_empty()).map(Line::read).collect();
        let count = lines.len();
        Self {
            setting,
            room,
            lines,
            open: std::iter::repeat_with(|| None).take(count).collect(),
            bodies: std::iter::repeat_with(|| None).take(count).collect(),
            claims: vec![Vec::new(); count],
            next: 0,
            waiting: VecDeque::new(),
            running: HashMap::new(),
            pages: 0,
            tokens: Tokens::default(),
            drafts,
            begun: HashSet::new(),
        }
    }

    /// True once every line has its answer.
    pub fn is_done(&self) -> bool {
        self.next == self.lines.len() && self.waiting.is_empty() && self.running.is_empty()
    }

    /// True where the batch has a request of it.
    pub fn is_running(&self) -> bool {
        !self.running.is_empty()
    }

    /// What it has used so far.
    pub fn tokens(&self) -> Tokens {
        self.tokens
    }

    /// What a task has used that ends for this reason: the same everywhere, whatever of it had been computed by then.
    pub fn tokens_of(&self, excess: Excess) -> Tokens {
        match excess {
            Excess::Input => Tokens { input: self.room.input_tokens, ..Tokens::default() },
            Excess::Output => Tokens { output: self.room.output_tokens, ..self.tokens },
        }
    }

    /// Puts requests into the batch, as far as there is room for them.
    ///
    /// # Errors
    ///
    /// The prompts have too many tokens. Nothing else is to be done for the task then but [`Task::leave`].
    pub fn fill(&mut self, served: &Served<'_>, batch: &mut Batch<'_>) -> Result<Filled, Excess> {
        loop {
            // Lines are read when there is room for them: all of them at once may be many.
            while self.waiting.is_empty() && self.next < self.lines.len() {
                self.read(served)?;
            }
            let Some(&(line, choice)) = self.waiting.front() else { return Ok(Filled::Task) };
            // A line one of whose choices cannot be computed has an error already.
            let open = self.open[line].as_ref().filter(|_| self.bodies[line].is_none());
            if let Some(open) = open {
                let request = &open.asked.requests()[choice];
                let pages = pages(served, request);
                // It waits for others of this task, which then end or have ended.
                if self.pages + pages > self.room.pages && self.pages > 0 {
                    return Ok(Filled::Task);
                }
                if batch.len() >= MOST_RUNNING {
                    return Ok(Filled::Batch);
                }
                match batch.join_with_draft(request.clone(), self.drafts.choice(line, choice)) {
                    Ok(id) => {
                        let running = Running { line, choice, text: String::new(), tokens: Vec::new() };
                        self.pages += pages;
                        self.running.insert(id, (running, pages));
                    }
                    // What the task has room for fits once others have ended: how much the batch may have right now says
                    // nothing of the answer.
                    Err(JoinError::Full | JoinError::TooLarge { .. }) => return Ok(Filled::Batch),
                    Err(error) => self.bodies[line] = Some(Err(ApiError::join(&error))),
                }
            }
            self.waiting.pop_front();
        }
    }

    /// Whether a request of the batch is one of this task.
    pub fn has(&self, request: RequestId) -> bool {
        self.running.contains_key(&request)
    }

    /// Takes what the batch has done for one of its requests.
    ///
    /// # Errors
    ///
    /// The task needs more tokens than it may use. Nothing else is to be done for it then but [`Task::leave`].
    pub fn take(&mut self, served: &Served<'_>, event: Event) -> Result<Option<Written>, Excess> {
        match event {
            Event::Token { request, token, text, likelihood } => {
                let Some((running, _)) = self.running.get_mut(&request) else { return Ok(None) };
                running.text.push_str(&text);
                running.tokens.push((token, likelihood));
                let written =
                    Written { line: running.line, index: running.choice, delta: text, finish: None };
                self.tokens.output += 1;
                if self.tokens.output > self.room.output_tokens {
                    return Err(self.excess(served));
                }
                Ok(Some(written))
            }
            Event::End { request, claim, usage } => {
                let Some((running, pages)) = self.running.remove(&request) else { return Ok(None) };
                self.pages -= pages;
                let Running { line, choice, text, tokens } = running;
                let finish = Some(finish_word(claim.finish));
                if let Some(open) = &mut self.open[line] {
                    open.choices[choice] = Some(Choice { text, tokens, claim, usage });
                }
                let is_whole = |open: &mut Open| open.choices.iter().all(Option::is_some);
                if let Some(open) = self.open[line].take_if(is_whole) {
                    let choices: Vec<Choice> = open.choices.into_iter().flatten().collect();
                    self.bodies[line] = Some(open.asked.body(served, self.setting, &choices));
                    self.claims[line] = choices.into_iter().map(|choice| choice.claim).collect();
                }
                Ok(Some(Written { line, index: choice, delta: String::new(), finish }))
            }
        }
    }

    /// Makes the vectors of the next line, where the model makes vectors.
    ///
    /// # Errors
    ///
    /// The texts have too many tokens.
    pub fn encode_next(&mut self, served: &Served<'_>, engine: &mut Engine) -> Result<(), Excess> {
        let super::Kind::Encoder(encoder) = served.kind else { return Ok(()) };
        let number = self.next;
        let Some(line) = self.lines.get(number) else { return Ok(()) };
        self.next += 1;
        let body = match line.asked(served, self.setting) {
            Ok(Asked::Vectors(asked)) => {
                self.tokens.input += asked.tokens() as u64;
                if self.tokens.input > self.room.input_tokens {
                    return Err(Excess::Input);
                }
                match engine.encode(encoder, &asked.texts()) {
                    Ok(vectors) => asked.body(served, &vectors),
                    Err(error) => Err(ApiError::engine(&error)),
                }
            }
            Ok(Asked::Answers(_)) => Err(ApiError::no_route(&line.url)),
            Err(error) => Err(error),
        };
        self.bodies[number] = Some(body);
        Ok(())
    }

    /// The engine failed, which no request can cause: all that runs gets an error.
    pub fn fail(&mut self, error: &dyn std::error::Error, batch: &mut Batch<'_>) {
        for (id, (running, _)) in std::mem::take(&mut self.running) {
            batch.leave(id);
            self.bodies[running.line] = Some(Err(ApiError::engine(error)));
        }
        self.pages = 0;
    }

    /// Takes its requests out of the batch: nobody waits for it any more.
    pub fn leave(&mut self, batch: &mut Batch<'_>) {
        for (id, _) in std::mem::take(&mut self.running) {
            batch.leave(id);
        }
        self.pages = 0;
    }

    /// What it leaves behind.
    ///
    /// # Panics
    ///
    /// It is not done.
    pub fn finish(self) -> Done {
        let (mut answers, mut claims) = (String::new(), String::new());
        for ((line, body), claim) in self.lines.iter().zip(self.bodies).zip(&self.claims) {
            answers.push_str(&line.written(body.expect("every line of a task that is done has its answer")));
            answers.push('\n');
            claims.push_str(&claim_line(&line.custom_id, claim).to_string());
            claims.push('\n');
        }
        Done { answers, claims, tokens: self.tokens }
    }

    /// Reads the next line, and counts what it asks to be read.
    fn read(&mut self, served: &Served<'_>) -> Result<(), Excess> {
        let number = self.next;
        self.next += 1;
        let asked = match self.lines[number].asked(served, self.setting) {
            Ok(Asked::Answers(asked)) => asked,
            Ok(Asked::Vectors(_)) => {
                self.bodies[number] = Some(Err(ApiError::no_route(&self.lines[number].url)));
                return Ok(());
            }
            Err(error) => {
                self.bodies[number] = Some(Err(error));
                return Ok(());
            }
        };
        let mut asked = asked;
        for request in &mut asked.requests {
            if let Err(error) = self.fit(served, request) {
                self.bodies[number] = Some(Err(error));
                return Ok(());
            }
        }
        for request in &asked.requests {
            self.count(&request.prompt);
        }
        if self.tokens.input > self.room.input_tokens {
            return Err(Excess::Input);
        }
        let count = asked.requests().len();
        self.waiting.extend((0..count).map(|choice| (number, choice)));
        self.open[number] = Some(Open { asked, choices: vec![None; count] });
        Ok(())
    }

    /// Cuts the most that a request may answer to what the task has room for.
    fn fit(&self, served: &Served<'_>, request: &mut Request) -> Result<(), ApiError> {
        let positions = self.room.pages.saturating_mul(PAGE);
        let left = positions.saturating_sub(request.prompt.len());
        if left == 0 && request.prompt.len() < context(served) {
            let message = format!(
                "the prompt has {} tokens, and the task's memory holds {positions}: raise `memory` of its limits",
                request.prompt.len()
            );
            return Err(ApiError::wrong("prompt", message));
        }
        let most = usize::try_from(self.room.output_tokens).unwrap_or(usize::MAX);
        request.most_tokens = request.most_tokens.min(left).min(most.max(1));
        Ok(())
    }

    /// Counts a prompt, and what earlier ones begin with as well.
    fn count(&mut self, prompt: &[u32]) {
        self.tokens.input += prompt.len() as u64;
        let mut before = [0; 32];
        let mut is_known = true;
        // The last token is always read, for its logits.
        let most = prompt.len().saturating_sub(1) / PAGE;
        for (number, page) in prompt.chunks_exact(PAGE).enumerate() {
            let mut hasher = blake3::Hasher::new();
            hasher.update(&before);
            for token in page {
                hasher.update(&token.to_le_bytes());
            }
            before = *hasher.finalize().as_bytes();
            is_known = !self.begun.insert(before) && is_known;
            if is_known && number < most {
                self.tokens.cached += PAGE as u64;
            }
        }
    }

    /// Which of the excesses a task has that has too many tokens of answers: too many of prompts come first, wherever in
    /// time they are found.
    fn excess(&mut self, served: &Served<'_>) -> Excess {
        while self.next < self.lines.len() {
            if let Err(excess) = self.read(served) {
                return excess;
            }
        }
        self.tokens.output = self.room.output_tokens;
        Excess::Output
    }
}

/// Positions that the model has.
fn context(served: &Served<'_>) -> usize {
    match served.kind {
        super::Kind::Decoder(model, _) => model.config().context,
        super::Kind::Encoder(_) => 0,
    }
}

/// Pages that a request may come to take.
fn pages(served: &Served<'_>, request: &Request) -> usize {
    request.prompt.len().saturating_add(request.most_tokens).min(context(served)).div_ceil(PAGE)
}

fn finish_word(finish: Finish) -> &'static str {
    match finish {
        Finish::Stop => "stop",
        Finish::Length => "length",
        Finish::NotFinite => "not_finite",
        Finish::Stuck => "stuck",
    }
}

fn claim_line(custom_id: &Value, claims: &[Claim]) -> Value {
    let hex = |link: &[u8; 32]| blake3::Hash::from_bytes(*link).to_hex().to_string();
    let claim = |claim: &Claim| {
        let chain: Vec<String> = claim.chain.iter().map(hex).collect();
        json!({"tokens": claim.tokens, "finish": finish_word(claim.finish), "chain": chain})
    };
    let claims: Vec<Value> = claims.iter().map(claim).collect();
    json!({"custom_id": custom_id, "claims": claims})
}
