//! Requests and answers as OpenAI's API has them, from the lines of its Batch format to engine requests and back.
//!
//! An answer is a pure function of model, line and [`Setting`]: nothing here knows a clock, and ids are hashes. So what a
//! provider returns can be compared by its bytes. That is also why answers do not say how many tokens of a prompt were
//! cached: this depends on what else a provider computes, and is told beside the answer.

mod answer;
mod chat;
mod completion;
mod drafts;
mod embedding;
mod error;
mod fields;
mod lines;
mod options;
mod outline;
mod stream;
mod task;
#[cfg(test)]
mod tests;
mod tools;

pub use answer::{Answers, Choice};
pub use drafts::Drafts;
pub use embedding::Embedding;
pub use error::ApiError;
pub use lines::{Answered, answer_lines, answer_lines_again};
pub use outline::{Outline, OutlineForm};
pub use stream::Chunks;
pub use task::{Done, Excess, Filled, Room, Task, Tokens, Written};

use serde_json::Value;

use crate::encoder::Encoder;
use crate::model::Model;
use crate::template::{ChatTemplate, Date};
use crate::tokens::Tokenizer;
use fields::Fields;

/// What requests may be sent to.
const ROUTES: [&str; 3] = ["/v1/chat/completions", "/v1/completions", "/v1/embeddings"];

/// A model that answers.
#[derive(Clone, Copy, Debug)]
pub struct Served<'a> {
    /// Names that requests may call it by; the first is the one that answers give.
    pub names: &'a [String],
    /// What answers give as `system_fingerprint`: the engine's version and the model's hash.
    pub fingerprint: &'a str,
    /// Its vocabulary.
    pub tokenizer: &'a Tokenizer,
    /// What it is.
    pub kind: Kind<'a>,
}

/// What a model does.
#[derive(Clone, Copy, Debug)]
pub enum Kind<'a> {
    /// It continues texts, and has conversations if it has a template for them.
    Decoder(&'a Model, Option<&'a ChatTemplate>),
    /// It makes vectors of texts.
    Encoder(&'a Encoder),
}

/// What answers depend on beside model and request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Seconds since 1970: what answers give as `created`, and the day that chat templates see.
    pub created_s: u64,
    /// What the seeds of requests are derived from that have none.
    pub seed: u64,
}

impl Setting {
    fn date(self) -> Date {
        Date::of_day(self.created_s / 86_400)
    }
}

/// A request that was read.
#[derive(Debug)]
pub enum Asked {
    /// Texts are to be continued.
    Answers(Answers),
    /// Vectors are to be made.
    Vectors(Embedding),
}

impl Served<'_> {
    /// Reads a request. `url` is a route such as `/v1/chat/completions`; `salt`, such as a line's `custom_id`, makes ids
    /// and seeds differ between requests that are otherwise the same.
    ///
    /// # Errors
    ///
    /// What OpenAI's API answers: the field that is wrong, a prompt that is too long, another model.
    pub fn read(&self, url: &str, body: &Value, salt: &str, setting: Setting) -> Result<Asked, ApiError> {
        if !ROUTES.contains(&url) {
            return Err(ApiError::no_route(url));
        }
        let fields = Fields::of(body)?;
        let model = fields.text("model")?.ok_or_else(|| ApiError::missing("model"))?;
        if !self.names.iter().any(|name| name == model) {
            return Err(ApiError::no_model(model));
        }
        let root = Root::new(url, body, salt, setting);
        match (url, self.kind) {
            ("/v1/chat/completions", Kind::Decoder(model, template)) => {
                chat::read(self, model, template, &fields, &root).map(Asked::Answers)
            }
            ("/v1/completions", Kind::Decoder(model, _)) => {
                completion::read(self, model, &fields, &root).map(Asked::Answers)
            }
            ("/v1/embeddings", Kind::Encoder(encoder)) => {
                embedding::read(self, encoder, &fields).map(Asked::Vectors)
            }
            _ => Err(ApiError::wrong("model", format!("the model {model:?} does not serve {url}"))),
        }
    }

    fn name(&self) -> &str {
        self.names.first().map_or("", String::as_str)
    }
}

/// A number by the shortest decimals that are this float: half as long as those of the double that it is.
fn short(x: f32) -> Value {
    x.to_string().parse::<f64>().map_or(Value::Null, Value::from)
}

/// What ids and seeds of a request come from.
struct Root {
    hash: blake3::Hash,
    setting: Setting,
}

impl Root {
    fn new(url: &str, body: &Value, salt: &str, setting: Setting) -> Self {
        let mut hasher = blake3::Hasher::new();
        for part in [url, salt, &body.to_string()] {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part.as_bytes());
        }
        hasher.update(&setting.seed.to_le_bytes());
        hasher.update(&setting.created_s.to_le_bytes());
        Self { hash: hasher.finalize(), setting }
    }

    /// An id such as `chatcmpl-1f…`.
    fn id(&self, prefix: &str) -> String {
        format!("{prefix}-{}", &self.hash.to_hex()[..24])
    }

    /// A seed for a request that has none. It has 53 bits, so that JavaScript can say it again.
    fn seed(&self) -> u64 {
        let bytes = self.hash.as_bytes().last_chunk::<8>().copied().unwrap_or_default();
        u64::from_le_bytes(bytes) >> 11
    }
}
