//! Lines of OpenAI's Batch format, answered together.

use std::collections::{HashMap, VecDeque};

use serde_json::{Value, json};

use super::answer::{Answers, Choice};
use super::drafts::Drafts;
use super::error::ApiError;
use super::fields::Fields;
use super::{Asked, Kind, Served, Setting};
use crate::batch::{Batch, Bounds, Event, JoinError, RequestId, Usage};
use crate::chain::Claim;
use crate::forward::Engine;
use crate::sample::Likelihood;

/// A line's answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Answered {
    /// The line of the output, without its end.
    pub line: String,
    /// What a checker wants of each choice: empty for vectors and errors, which are checked by their bytes.
    pub claims: Vec<Claim>,
    /// What it used, choices together. How much of it was cached depends on what is computed beside it.
    pub usage: Usage,
}

/// Answers each of the lines of an input, in their order. Lines that are wrong get an error, and change nothing for others.
///
/// `stop` is asked between steps; once it says true, there is no answer at all.
pub fn answer_lines(
    served: &Served<'_>,
    engine: Engine,
    bounds: Bounds,
    setting: Setting,
    input: &str,
    stop: &dyn Fn() -> bool,
) -> Option<Vec<Answered>> {
    answer_lines_again(served, engine, bounds, setting, input, &Drafts::default(), stop)
}

/// The same, where somebody has said what the answers are, which is to be checked. What is right of the drafts is read rather
/// than written token by token, and takes a part of the time; whatever they say, the answers have the same bits.
pub fn answer_lines_again(
    served: &Served<'_>,
    engine: Engine,
    bounds: Bounds,
    setting: Setting,
    input: &str,
    drafts: &Drafts,
    stop: &dyn Fn() -> bool,
) -> Option<Vec<Answered>> {
    let lines: Vec<Line> = input.lines().filter(|line| !line.trim().is_empty()).map(Line::read).collect();
    match served.kind {
        Kind::Decoder(..) => Answering::new(served, engine, bounds, setting)?.run(&lines, drafts, stop),
        Kind::Encoder(encoder) => {
            let mut engine = engine;
            let mut all = Vec::new();
            for line in &lines {
                if stop() {
                    return None;
                }
                let mut tokens = 0;
                let body = line.asked(served, setting).and_then(|asked| match asked {
                    Asked::Vectors(asked) => {
                        let vectors = engine.encode(encoder, &asked.texts());
                        tokens = asked.tokens();
                        asked.body(served, &vectors.map_err(|error| ApiError::engine(&error))?)
                    }
                    Asked::Answers(_) => Err(ApiError::no_route(&line.url)),
                });
                let usage = Usage { prompt: tokens, ..Usage::default() };
                all.push(Answered { line: line.written(body), claims: Vec::new(), usage });
            }
            Some(all)
        }
    }
}

/// A line of the input.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) custom_id: Value,
    pub(super) url: String,
    body: Value,
    /// Why it is none.
    problem: Option<ApiError>,
    hash: blake3::Hash,
}

impl Line {
    pub(super) fn read(line: &str) -> Self {
        let hash = blake3::hash(line.as_bytes());
        let mut read =
            Self { custom_id: Value::Null, url: String::new(), body: Value::Null, problem: None, hash };
        let value = match serde_json::from_str::<Value>(line) {
            Ok(value) => value,
            Err(error) => {
                let message = format!("the line is not JSON: {error}");
                let code = Some("invalid_json_line");
                read.problem = Some(ApiError { code, param: None, ..ApiError::wrong("", message) });
                return read;
            }
        };
        read.problem = read.fill(&value).err();
        read
    }

    fn fill(&mut self, value: &Value) -> Result<(), ApiError> {
        let fields = Fields::of(value)?;
        let id = fields.text("custom_id")?.ok_or_else(|| ApiError::missing("custom_id"))?;
        self.custom_id = id.into();
        if fields.text("method")?.ok_or_else(|| ApiError::missing("method"))? != "POST" {
            return Err(fields.wrong("method", "must be \"POST\""));
        }
        self.url = fields.text("url")?.ok_or_else(|| ApiError::missing("url"))?.to_owned();
        self.body = fields.get("body").ok_or_else(|| ApiError::missing("body"))?.clone();
        Ok(())
    }

    pub(super) fn asked(&self, served: &Served<'_>, setting: Setting) -> Result<Asked, ApiError> {
        match &self.problem {
            Some(problem) => Err(problem.clone()),
            None => {
                let salt = self.custom_id.as_str().unwrap_or("");
                match served.read(&self.url, &self.body, salt, setting)? {
                    Asked::Answers(asked) if asked.is_streamed() => {
                        Err(ApiError::wrong("stream", "stream must be false: a line is answered at once"))
                    }
                    asked => Ok(asked),
                }
            }
        }
    }

    /// The line of the output.
    pub(super) fn written(&self, body: Result<Value, ApiError>) -> String {
        let id = &self.hash.to_hex()[..24];
        let (status, body) = match body {
            Ok(body) => (200, body),
            // What is no request at all has no response.
            Err(error) if self.problem.is_some() => {
                let error = json!({"code": error.code.unwrap_or("invalid_line"), "message": error.message});
                let line = json!({"id": format!("batch_req_{id}"), "custom_id": self.custom_id, "response": null,
                    "error": error});
                return line.to_string();
            }
            Err(error) => (error.status, error.body()),
        };
        json!({
            "id": format!("batch_req_{id}"),
            "custom_id": self.custom_id,
            "response": {"status_code": status, "request_id": format!("req_{id}"), "body": body},
            "error": null,
        })
        .to_string()
    }
}

/// Lines that are answered by a decoder.
struct Answering<'a> {
    served: &'a Served<'a>,
    setting: Setting,
    batch: Batch<'a>,
    /// Choices that are computed: line, choice, and what there is of it.
    running: HashMap<RequestId, Running>,
}

#[derive(Debug)]
pub(super) struct Running {
    pub(super) line: usize,
    pub(super) choice: usize,
    pub(super) text: String,
    pub(super) tokens: Vec<(u32, Option<Likelihood>)>,
}

/// A line whose choices are computed.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) asked: Answers,
    pub(super) choices: Vec<Option<Choice>>,
}

impl<'a> Answering<'a> {
    fn new(served: &'a Served<'a>, engine: Engine, bounds: Bounds, setting: Setting) -> Option<Self> {
        let Kind::Decoder(model, _) = served.kind else { return None };
        let batch = Batch::new(model, served.tokenizer, engine, bounds);
        Some(Self { served, setting, batch, running: HashMap::new() })
    }

    fn run(mut self, lines: &[Line], drafts: &Drafts, stop: &dyn Fn() -> bool) -> Option<Vec<Answered>> {
        let mut open: Vec<Option<Open>> = Vec::new();
        let mut bodies: Vec<Option<Result<Value, ApiError>>> = Vec::new();
        let mut all: Vec<Answered> = Vec::new();
        for _ in lines {
            open.push(None);
            bodies.push(None);
            all.push(Answered { line: String::new(), claims: Vec::new(), usage: Usage::default() });
        }
        let mut unread = 0..lines.len();
        let mut waiting: VecDeque<(usize, usize)> = VecDeque::new();
        loop {
            if stop() {
                return None;
            }
            // Lines are read when there is room for them: all of them at once may be many.
            while waiting.is_empty()
                && let Some(number) = unread.next()
            {
                match lines[number].asked(self.served, self.setting) {
                    Ok(Asked::Answers(asked)) => {
                        let count = asked.requests().len();
                        waiting.extend((0..count).map(|choice| (number, choice)));
                        open[number] = Some(Open { asked, choices: vec![None; count] });
                    }
                    Ok(Asked::Vectors(_)) => {
                        bodies[number] = Some(Err(ApiError::no_route(&lines[number].url)))
                    }
                    Err(error) => bodies[number] = Some(Err(error)),
                }
            }
            let mut is_full = false;
            while !is_full && let Some(&(line, choice)) = waiting.front() {
                // A line one of whose choices cannot be computed has an error already.
                if let Some(open) = open[line].as_ref().filter(|_| bodies[line].is_none()) {
                    let request = open.asked.requests()[choice].clone();
                    match self.batch.join_with_draft(request, drafts.choice(line, choice)) {
                        Ok(id) => {
                            let running = Running { line, choice, text: String::new(), tokens: Vec::new() };
                            self.running.insert(id, running);
                        }
                        Err(JoinError::Full) => {
                            is_full = true;
                            continue;
                        }
                        Err(error) => bodies[line] = Some(Err(ApiError::join(&error))),
                    }
                }
                waiting.pop_front();
            }
            if !is_full && !unread.is_empty() {
                continue;
            }
            if self.batch.is_empty() {
                break;
            }
            for (line, choice, done) in self.step(&mut bodies) {
                if let Some(open) = &mut open[line] {
                    open.choices[choice] = Some(done);
                }
                let is_whole = |open: &mut Open| open.choices.iter().all(Option::is_some);
                if let Some(open) = open[line].take_if(is_whole) {
                    bodies[line] = Some(self.close(open, &mut all[line]));
                }
            }
        }
        for ((line, body), answered) in lines.iter().zip(bodies).zip(&mut all) {
            answered.line = line.written(body.expect("every line is read, and what was read ends"));
        }
        Some(all)
    }

    /// One step of all that runs; gives the choices that ended.
    fn step(&mut self, bodies: &mut [Option<Result<Value, ApiError>>]) -> Vec<(usize, usize, Choice)> {
        let events = match self.batch.step() {
            Ok(events) => events,
            Err(error) => {
                // No request can cause this; should one, all that run beside it end too.
                for (id, running) in std::mem::take(&mut self.running) {
                    self.batch.leave(id);
                    bodies[running.line] = Some(Err(ApiError::engine(&error)));
                }
                return Vec::new();
            }
        };
        let mut ended = Vec::new();
        for event in events {
            match event {
                Event::Token { request, token, text, likelihood } => {
                    if let Some(running) = self.running.get_mut(&request) {
                        running.text.push_str(&text);
                        running.tokens.push((token, likelihood));
                    }
                }
                Event::End { request, claim, usage } => {
                    if let Some(Running { line, choice, text, tokens }) = self.running.remove(&request) {
                        ended.push((line, choice, Choice { text, tokens, claim, usage }));
                    }
                }
            }
        }
        ended
    }

    /// The answer of a line all of whose choices are there.
    fn close(&self, open: Open, answered: &mut Answered) -> Result<Value, ApiError> {
        let choices: Vec<Choice> = open.choices.into_iter().flatten().collect();
        let body = open.asked.body(self.served, self.setting, &choices);
        for choice in choices {
            answered.usage.prompt += choice.usage.prompt;
            answered.usage.cached += choice.usage.cached;
            answered.usage.answer += choice.usage.answer;
            answered.claims.push(choice.claim);
        }
        body
    }
}
