//! What can be said of a request without its model: whoever passes requests on refuses what no model would answer, and
//! knows what an answer looks like.

use serde_json::Value;

use super::error::ApiError;
use super::fields::Fields;
use super::{ROUTES, chat, completion, embedding};

/// A request that no model has read yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outline {
    /// The model that it asks for.
    pub model: String,
    /// What it is.
    pub form: OutlineForm,
    /// It wants its answer in chunks, and true where the last of them is to have the usage.
    pub streams: Option<bool>,
    /// Answers that it asks for, over all prompts; texts, where it asks for vectors.
    pub choices: usize,
    /// Bytes of all prompts, or tokens where they are given as such: a prompt has no more tokens, but for those of a chat
    /// template.
    pub prompt_bytes: usize,
    /// Tokens that each answer may have, where the request says so.
    pub most_tokens: Option<usize>,
}

/// What an answer looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutlineForm {
    /// A message. Its text comes as it was written, unless the answer may have calls or says how likely tokens were.
    Chat {
        /// The text of a chunk is that of the answer.
        is_plain: bool,
    },
    /// A text.
    Completion {
        /// The text of a chunk is that of the answer.
        is_plain: bool,
    },
    /// Vectors.
    Embedding,
}

impl Outline {
    /// Reads a request as far as that takes no model. What it refuses, [`Served::read`](super::Served::read) refuses as well.
    ///
    /// # Errors
    ///
    /// What OpenAI's API answers: the field that is wrong, or a route that is not known.
    pub fn read(url: &str, body: &Value) -> Result<Self, ApiError> {
        if !ROUTES.contains(&url) {
            return Err(ApiError::no_route(url));
        }
        let fields = Fields::of(body)?;
        let model = fields.text("model")?.ok_or_else(|| ApiError::missing("model"))?.to_owned();
        // Which tokens there are, the model knows.
        let vocabulary = u32::MAX as usize;
        let as_bytes = |text: &str| vec![0; text.len()];
        match url {
            "/v1/chat/completions" => {
                let chat::Said { options, tools, messages } = chat::said(&fields, vocabulary, 0)?;
                let tools_bytes = tools.as_ref().map_or(0, |tools| tools.given.to_string().len());
                let messages_bytes: usize = messages.iter().map(|message| message.to_string().len()).sum();
                let is_plain = tools.is_none() && options.request.likelihoods.is_none();
                Ok(Self {
                    model,
                    form: OutlineForm::Chat { is_plain },
                    streams: options.streams.map(|streams| streams.has_usage),
                    choices: options.choices,
                    prompt_bytes: messages_bytes + tools_bytes,
                    most_tokens: options.most_tokens.map(|(_, most)| most),
                })
            }
            "/v1/completions" => {
                let said = completion::said(&fields, vocabulary, 0, as_bytes)?;
                let completion::Said { options, echoes, prompts } = said;
                let is_plain = !echoes && options.request.likelihoods.is_none();
                let most_tokens = options.most_tokens.map_or(completion::MOST_TOKENS, |(_, most)| most);
                Ok(Self {
                    model,
                    form: OutlineForm::Completion { is_plain },
                    streams: options.streams.map(|streams| streams.has_usage),
                    choices: options.choices * prompts.len(),
                    prompt_bytes: prompts.iter().map(Vec::len).sum(),
                    most_tokens: Some(most_tokens),
                })
            }
            _ => {
                let embedding::Said { texts, .. } = embedding::said(&fields, vocabulary, as_bytes)?;
                Ok(Self {
                    model,
                    form: OutlineForm::Embedding,
                    streams: None,
                    choices: texts.len(),
                    prompt_bytes: texts.iter().map(Vec::len).sum(),
                    most_tokens: None,
                })
            }
        }
    }
}
