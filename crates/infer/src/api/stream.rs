//! An answer in chunks, as it comes.
//!
//! A choice's first chunk has the role, those after it what was added, the last one why it ended. Text that may begin a
//! call is held back, and a call comes whole.

use serde_json::{Value, json};

use super::answer::{Answers, Form};
use super::tools::Splitter;
use super::{Served, Setting, chat, completion};
use crate::chain::Finish;
use crate::sample::Likelihood;

/// Makes chunks of what an engine computes. Each is the JSON of one event; whoever sends them ends with `[DONE]`.
#[derive(Debug)]
pub struct Chunks<'a> {
    answers: &'a Answers,
    served: Served<'a>,
    setting: Setting,
    choices: Vec<Begun>,
    answer_tokens: usize,
}

/// A choice as far as it has come.
#[derive(Debug, Default)]
struct Begun {
    splitter: Splitter,
    calls: usize,
    characters: usize,
}

impl<'a> Chunks<'a> {
    /// For a request whose answer is to come in chunks.
    pub fn new(answers: &'a Answers, served: Served<'a>, setting: Setting) -> Self {
        let choices = answers.requests().iter().map(|_| Begun::default()).collect();
        Self { answers, served, setting, choices, answer_tokens: 0 }
    }

    /// What comes before the first token of any choice.
    pub fn begin(&self) -> Vec<Value> {
        let count = self.choices.len();
        let first = |index: usize| match &self.answers.form {
            Form::Chat { .. } => {
                let delta = json!({"role": "assistant", "content": ""});
                Some(
                    self.chunk(
                        json!({"index": index, "delta": delta, "logprobs": null, "finish_reason": null}),
                    ),
                )
            }
            Form::Completion { echoes } if echoes[index].is_empty() => None,
            Form::Completion { echoes } => Some(self.chunk(self.text(index, &echoes[index], Value::Null))),
        };
        let mut chunks: Vec<Value> = (0..count).filter_map(first).collect();
        if let Some(chunk) = chunks.first_mut() {
            chunk["seed"] = self.answers.seed.clone();
        }
        chunks
    }

    /// What a token adds to a choice; nothing where all of it is held back.
    pub fn token(
        &mut self,
        index: usize,
        token: u32,
        text: &str,
        likelihood: Option<&Likelihood>,
    ) -> Vec<Value> {
        self.answer_tokens += 1;
        let tokenizer = self.served.tokenizer;
        let likelihood = likelihood.filter(|_| !tokenizer.bytes(token).is_empty());
        match self.answers.form {
            Form::Chat { has_tools } => {
                let (content, calls) = if has_tools {
                    self.choices[index].splitter.push(text)
                } else {
                    (text.to_owned(), vec![])
                };
                let logprobs = likelihood.map(|likelihood| {
                    json!({"content": [chat::likelihood_of(tokenizer, token, likelihood)], "refusal": null})
                });
                self.deltas(index, &content, logprobs, calls)
            }
            Form::Completion { .. } => {
                let logprobs = likelihood.map(|likelihood| {
                    let begun = &mut self.choices[index];
                    completion::likelihoods(tokenizer, &[(token, likelihood)], &mut begun.characters)
                });
                if text.is_empty() && logprobs.is_none() {
                    return Vec::new();
                }
                vec![self.chunk(self.text(index, text, logprobs.into()))]
            }
        }
    }

    /// What ends a choice. One that has no answer ends a stream by an error, which is for whoever sends it.
    pub fn end(&mut self, index: usize, finish: Finish) -> Vec<Value> {
        let mut reason = if finish == Finish::Length { "length" } else { "stop" };
        let Form::Chat { .. } = self.answers.form else {
            let mut chunk = self.text(index, "", Value::Null);
            chunk["finish_reason"] = reason.into();
            return vec![self.chunk(chunk)];
        };
        let rest = self.choices[index].splitter.finish();
        let mut chunks = self.deltas(index, &rest, None, Vec::new());
        if self.choices[index].calls > 0 && finish == Finish::Stop {
            reason = "tool_calls";
        }
        let end = json!({"index": index, "delta": {}, "logprobs": null, "finish_reason": reason});
        chunks.push(self.chunk(end));
        chunks
    }

    /// What comes after the last choice, where usage is asked for. `cached` counts tokens of prompts.
    pub fn finish(&self, cached: usize) -> Option<Value> {
        if !self.answers.streams.as_ref()?.has_usage {
            return None;
        }
        let (prompt, answer) = (self.answers.prompt_tokens, self.answer_tokens);
        let mut chunk = self.chunk(Value::Null);
        chunk["choices"] = json!([]);
        chunk["usage"] = json!({
            "prompt_tokens": prompt,
            "completion_tokens": answer,
            "total_tokens": prompt + answer,
            "prompt_tokens_details": {"cached_tokens": cached},
        });
        Some(chunk)
    }

    fn deltas(
        &mut self,
        index: usize,
        content: &str,
        logprobs: Option<Value>,
        calls: Vec<(String, String)>,
    ) -> Vec<Value> {
        let mut chunks = Vec::new();
        let delta = |delta: Value, logprobs: Option<Value>| json!({"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": null});
        // Between calls there are ends of lines, which say nothing.
        let says_nothing = self.choices[index].calls > 0 && content.trim().is_empty();
        if logprobs.is_some() || !content.is_empty() && !says_nothing {
            let content = if says_nothing { "" } else { content };
            chunks.push(self.chunk(delta(json!({"content": content}), logprobs)));
        }
        for (name, arguments) in calls {
            let number = self.choices[index].calls;
            self.choices[index].calls += 1;
            let mut call = chat::call(&self.answers.id, index, number, &name, &arguments);
            call["index"] = number.into();
            chunks.push(self.chunk(delta(json!({"tool_calls": [call]}), None)));
        }
        chunks
    }

    fn text(&self, index: usize, text: &str, logprobs: Value) -> Value {
        json!({"index": index, "text": text, "logprobs": logprobs, "finish_reason": null})
    }

    fn chunk(&self, choice: Value) -> Value {
        let object = match self.answers.form {
            Form::Chat { .. } => "chat.completion.chunk",
            Form::Completion { .. } => "text_completion",
        };
        let mut chunk = json!({
            "id": self.answers.id,
            "object": object,
            "created": self.setting.created_s,
            "model": self.served.name(),
            "system_fingerprint": self.served.fingerprint,
            "choices": [choice],
        });
        if self.answers.streams.as_ref().is_some_and(|streams| streams.has_usage) {
            chunk["usage"] = Value::Null;
        }
        chunk
    }
}
