//! Answers that were asked for, and the JSON that is made of what an engine computed.

use serde_json::{Value, json};

use super::error::ApiError;
use super::options::Streams;
use super::{Served, Setting, chat, completion};
use crate::batch::Usage;
use crate::chain::{Claim, Finish, Request};
use crate::sample::Likelihood;
use crate::tokens::Tokenizer;

/// What an engine has to do for a request, and what its answer looks like.
#[derive(Debug)]
pub struct Answers {
    pub(super) requests: Vec<Request>,
    pub(super) form: Form,
    pub(super) id: String,
    pub(super) seed: Value,
    pub(super) streams: Option<Streams>,
    /// Tokens of all prompts, each counted once.
    pub(super) prompt_tokens: usize,
}

/// What an answer looks like.
#[derive(Debug)]
pub(super) enum Form {
    Chat {
        has_tools: bool,
    },
    /// Texts that come before the answers, for requests that want to have them repeated.
    Completion {
        echoes: Vec<String>,
    },
}

/// One choice, as an engine computed it.
#[derive(Clone, Debug)]
pub struct Choice {
    /// The text of all its tokens.
    pub text: String,
    /// Its tokens, with how likely they were where the request asks for it.
    pub tokens: Vec<(u32, Option<Likelihood>)>,
    /// All of the answer, as a checker wants it.
    pub claim: Claim,
    /// What it used.
    pub usage: Usage,
}

impl Answers {
    /// The engine's requests, one for each choice, in the order that [`Answers::body`] wants them in.
    pub fn requests(&self) -> &[Request] {
        &self.requests
    }

    /// True where the answer is to come in [`Chunks`](super::Chunks).
    pub fn is_streamed(&self) -> bool {
        self.streams.is_some()
    }

    /// The answer's JSON.
    ///
    /// # Errors
    ///
    /// A choice has no answer.
    ///
    /// # Panics
    ///
    /// There are more or fewer choices than requests.
    pub fn body(&self, served: &Served<'_>, setting: Setting, choices: &[Choice]) -> Result<Value, ApiError> {
        assert_eq!(choices.len(), self.requests.len(), "a choice for each request");
        for choice in choices {
            match choice.claim.finish {
                Finish::Stop | Finish::Length => {}
                Finish::NotFinite => return Err(ApiError::not_finite()),
                Finish::Stuck => return Err(ApiError::stuck()),
            }
        }
        let all = choices.iter().zip(&self.requests).enumerate();
        let (object, written): (_, Vec<Value>) = match &self.form {
            Form::Chat { has_tools } => {
                let choice =
                    all.map(|(index, (choice, _))| chat::choice(served, &self.id, index, choice, *has_tools));
                ("chat.completion", choice.collect())
            }
            Form::Completion { echoes } => {
                let choice = all
                    .zip(echoes)
                    .map(|((index, (choice, _)), echo)| completion::choice(served, index, choice, echo));
                ("text_completion", choice.collect())
            }
        };
        let answer_tokens: usize = choices.iter().map(|choice| choice.usage.answer).sum();
        Ok(json!({
            "id": self.id,
            "object": object,
            "created": setting.created_s,
            "model": served.name(),
            "system_fingerprint": served.fingerprint,
            "seed": self.seed,
            "choices": written,
            "usage": {
                "prompt_tokens": self.prompt_tokens,
                "completion_tokens": answer_tokens,
                "total_tokens": self.prompt_tokens + answer_tokens,
            },
        }))
    }
}

impl Choice {
    /// Tokens that are part of the text, with how likely they were; none where that was not asked for.
    pub(super) fn likelihoods(&self, tokenizer: &Tokenizer) -> Option<Vec<(u32, &Likelihood)>> {
        let all: Option<Vec<_>> =
            self.tokens.iter().map(|(token, likelihood)| Some((*token, likelihood.as_ref()?))).collect();
        let mut all = all?;
        all.retain(|(token, _)| !tokenizer.bytes(*token).is_empty());
        Some(all)
    }

    pub(super) fn finish_reason(&self) -> &'static str {
        if self.claim.finish == Finish::Length { "length" } else { "stop" }
    }
}
