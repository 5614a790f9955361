//! `/v1/completions`.

use serde_json::{Map, Value, json};

use super::answer::{Answers, Choice, Form};
use super::error::ApiError;
use super::fields::Fields;
use super::options::{MOST_CHOICES, Options};
use super::{Root, Served, short};
use crate::model::Model;
use crate::sample::Likelihood;
use crate::tokens::Tokenizer;

/// Tokens of an answer where a request does not say: the route's own default.
pub const MOST_TOKENS: usize = 16;

/// Other tokens whose likelihoods may be asked for.
const MOST_ALTERNATIVES: i64 = 5;

pub fn read(
    served: &Served<'_>,
    model: &Model,
    fields: &Fields<'_>,
    root: &Root,
) -> Result<Answers, ApiError> {
    let encode = |text: &str| served.tokenizer.encode(text);
    let Said { options, echoes, prompts } = said(fields, served.tokenizer.len(), root.seed(), encode)?;
    let (mut requests, mut texts) = (Vec::new(), Vec::new());
    for prompt in &prompts {
        // A default is cut to what there is room for; what was asked for never is.
        let room = model.config().context.saturating_sub(prompt.len());
        let most_tokens = options.most_tokens.or(Some(("max_tokens", MOST_TOKENS.min(room.max(1)))));
        let own = Options {
            most_tokens,
            request: options.request.clone(),
            seed: Value::Null,
            streams: None,
            ..options
        };
        requests.extend(own.requests(model, prompt, "prompt")?);
        let bytes: Vec<u8> =
            prompt.iter().flat_map(|&token| served.tokenizer.bytes(token)).copied().collect();
        let text = if echoes { String::from_utf8_lossy(&bytes).into_owned() } else { String::new() };
        texts.extend(std::iter::repeat_n(text, options.choices));
    }
    Ok(Answers {
        requests,
        form: Form::Completion { echoes: texts },
        id: root.id("cmpl"),
        seed: options.seed,
        streams: options.streams,
        prompt_tokens: prompts.iter().map(Vec::len).sum(),
    })
}

/// What a request says.
#[derive(Debug)]
pub struct Said {
    pub options: Options,
    /// Answers begin with their prompts.
    pub echoes: bool,
    /// The tokens of each prompt.
    pub prompts: Vec<Vec<u32>>,
}

/// Reads all fields. `vocabulary` and `seed` are as in [`Options::read`]; `encode` makes tokens of a text.
pub fn said(
    fields: &Fields<'_>,
    vocabulary: usize,
    seed: u64,
    encode: impl Fn(&str) -> Vec<u32>,
) -> Result<Said, ApiError> {
    let mut options = Options::read(fields, vocabulary, seed)?;
    if fields.text("suffix")?.is_some_and(|suffix| !suffix.is_empty()) {
        return Err(fields.wrong("suffix", "is not supported: models here continue texts"));
    }
    if fields
        .integer("best_of", 1..=MOST_CHOICES as i64)?
        .is_some_and(|best| best as usize != options.choices)
    {
        return Err(fields.wrong("best_of", "must be n"));
    }
    let likelihoods = fields.integer("logprobs", 0..=MOST_ALTERNATIVES)?;
    options.request.likelihoods = likelihoods.map(|count| count as usize);
    let echoes = fields.bool("echo")?.unwrap_or(false);
    if echoes && likelihoods.is_some() {
        return Err(fields.wrong("echo", "and logprobs exclude each other"));
    }
    let prompts = texts(fields, vocabulary, encode, "prompt")?;
    if prompts.len() * options.choices > MOST_CHOICES {
        return Err(fields.wrong("prompt", format_args!("and n make more than {MOST_CHOICES} answers")));
    }
    Ok(Said { options, echoes, prompts })
}

/// The tokens of a text, of several, or of what is given as tokens: as a prompt or an input may be.
pub fn texts(
    fields: &Fields<'_>,
    vocabulary: usize,
    encode: impl Fn(&str) -> Vec<u32>,
    key: &str,
) -> Result<Vec<Vec<u32>>, ApiError> {
    let wrong = || fields.wrong(key, "must be a text, tokens, or an array of either");
    let token = |value: &Value| {
        let token = value.as_u64().and_then(|token| u32::try_from(token).ok());
        token.filter(|&token| (token as usize) < vocabulary)
    };
    let tokens = |all: &[Value]| -> Result<Vec<u32>, ApiError> {
        let unknown = || fields.wrong(key, "has a token that the model does not have");
        all.iter().map(|value| token(value).ok_or_else(unknown)).collect()
    };
    match fields.get(key).ok_or_else(|| ApiError::missing(key))? {
        Value::String(text) => Ok(vec![encode(text)]),
        Value::Array(all) => match all.first() {
            None => Err(fields.wrong(key, "is empty")),
            Some(Value::Number(_)) => Ok(vec![tokens(all)?]),
            Some(_) => all
                .iter()
                .map(|one| match one {
                    Value::String(text) => Ok(encode(text)),
                    Value::Array(all) => tokens(all),
                    _ => Err(wrong()),
                })
                .collect(),
        },
        _ => Err(wrong()),
    }
}

/// A choice's JSON.
pub fn choice(served: &Served<'_>, index: usize, choice: &Choice, echo: &str) -> Value {
    let all = choice.likelihoods(served.tokenizer);
    let logprobs = all.map(|all| likelihoods(served.tokenizer, &all, &mut 0));
    let text = format!("{echo}{}", choice.text);
    json!({"index": index, "text": text, "logprobs": logprobs, "finish_reason": choice.finish_reason()})
}

/// How likely tokens were; the first begins at `offset`, in characters, which becomes the end of the last.
pub fn likelihoods(tokenizer: &Tokenizer, all: &[(u32, &Likelihood)], offset: &mut usize) -> Value {
    let (mut tokens, mut logprobs, mut tops, mut offsets) = (vec![], vec![], vec![], vec![]);
    for &(token, likelihood) in all {
        let text = tokenizer.text(token);
        offsets.push(*offset);
        *offset += text.chars().count();
        tokens.push(text);
        logprobs.push(short(likelihood.of_token));
        let top = likelihood.top.iter().map(|&(token, logprob)| (tokenizer.text(token), short(logprob)));
        tops.push(Value::Object(top.collect::<Map<_, _>>()));
    }
    json!({"tokens": tokens, "token_logprobs": logprobs, "top_logprobs": tops, "text_offset": offsets})
}
