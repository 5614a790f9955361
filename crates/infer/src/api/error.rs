//! Errors as OpenAI's API has them.

use serde_json::{Value, json};
use thiserror::Error;

use crate::batch::JoinError;
use crate::grammar::GrammarError;
use crate::template::TemplateError;

/// Why a request has no answer.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{message}")]
pub struct ApiError {
    /// The status of HTTP.
    pub status: u16,
    /// The API's `type`.
    pub kind: &'static str,
    /// What programs tell errors apart by.
    pub code: Option<&'static str>,
    /// The field that is wrong.
    pub param: Option<String>,
    /// What people read.
    pub message: String,
}

impl ApiError {
    /// The error's JSON.
    pub fn body(&self) -> Value {
        json!({"error": {
            "message": self.message,
            "type": self.kind,
            "param": self.param,
            "code": self.code,
        }})
    }

    pub(super) fn wrong(param: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            status: 400,
            kind: "invalid_request_error",
            code: None,
            param: Some(param.into()),
            message: message.into(),
        }
    }

    pub(super) fn missing(param: &str) -> Self {
        let code = Some("missing_required_parameter");
        Self { code, ..Self::wrong(param, format!("the parameter {param:?} is missing")) }
    }

    pub(super) fn not_object() -> Self {
        Self { param: None, ..Self::wrong("", "the body must be an object of JSON") }
    }

    pub(super) fn no_model(model: &str) -> Self {
        let model: String = model.chars().take(200).collect();
        let message = format!("the model {model:?} is not served here");
        Self { status: 404, code: Some("model_not_found"), ..Self::wrong("model", message) }
    }

    pub(super) fn no_route(url: &str) -> Self {
        let url: String = url.chars().take(200).collect();
        let known = "/v1/chat/completions, /v1/completions and /v1/embeddings are";
        let message = format!("the url {url:?} is not known: {known}");
        Self { status: 404, code: Some("unknown_url"), ..Self::wrong("url", message) }
    }

    /// The prompt, with what the answer may have, is longer than the model's context.
    pub(super) fn too_long(param: &str, context: usize, prompt: usize, answer: Option<usize>) -> Self {
        let asked = match answer {
            None => format!("the prompt has {prompt}"),
            Some(answer) => {
                format!("{} were asked for: {prompt} of the prompt, {answer} of the answer", prompt + answer)
            }
        };
        let message = format!("the model's context is {context} tokens at most, but {asked}");
        Self { code: Some("context_length_exceeded"), ..Self::wrong(param, message) }
    }

    pub(super) fn template(error: &TemplateError) -> Self {
        Self::wrong("messages", error.to_string())
    }

    fn grammar(error: &GrammarError) -> Self {
        let param = if matches!(error, GrammarError::Name(_)) { "tools" } else { "response_format" };
        Self::wrong(param, error.to_string())
    }

    /// A request that cannot join, ever.
    pub(super) fn join(error: &JoinError) -> Self {
        match error {
            JoinError::Grammar(error) => Self::grammar(error),
            JoinError::TooLong { tokens, context } => Self::too_long("prompt", *context, *tokens, None),
            JoinError::TooLarge { .. } => Self::wrong("max_tokens", error.to_string()),
            JoinError::Empty | JoinError::Token { .. } | JoinError::Full => {
                Self::wrong("prompt", error.to_string())
            }
        }
    }

    fn server(code: &'static str, message: &str) -> Self {
        let kind = "server_error";
        Self { status: 500, kind, code: Some(code), param: None, message: message.to_owned() }
    }

    pub(super) fn not_finite() -> Self {
        Self::server("numbers_not_finite", "the model computes numbers that are not finite")
    }

    pub(super) fn stuck() -> Self {
        let message = "no token of the model may follow, or the schema became too complex within the answer";
        Self::server("schema_stuck", message)
    }

    pub(super) fn engine(error: &dyn std::error::Error) -> Self {
        Self::server("engine_error", &error.to_string())
    }
}
