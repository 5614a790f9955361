//! What requests of texts have in common: how tokens are drawn, how many, and where an answer stops.

use serde_json::Value;

use super::error::ApiError;
use super::fields::Fields;
use crate::chain::Request;
use crate::model::Model;
use crate::sample::Sampling;

/// Choices that one request may ask for, over all its prompts.
pub const MOST_CHOICES: usize = 128;

/// Stop strings that a request may have, and the bytes of one.
const MOST_STOPS: usize = 4;
const LONGEST_STOP: usize = 1_024;

/// Tokens that may have a bias.
const MOST_BIASES: usize = 1_024;

/// What is the same in all choices of a request.
#[derive(Debug)]
pub struct Options {
    /// A request without a prompt, for the first choice.
    pub request: Request,
    /// The seed, as answers give it.
    pub seed: Value,
    /// Choices of each prompt.
    pub choices: usize,
    /// The field that says how long an answer may be, and what it says.
    pub most_tokens: Option<(&'static str, usize)>,
    /// The answer is to come in chunks.
    pub streams: Option<Streams>,
}

/// How an answer comes in chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Streams {
    /// The last chunk has the usage.
    pub has_usage: bool,
}

impl Options {
    /// Reads them. `vocabulary`: how many tokens the model knows; `seed`: that of requests that have none.
    pub fn read(fields: &Fields<'_>, vocabulary: usize, seed_of_request: u64) -> Result<Self, ApiError> {
        let streaming = fields.object("stream_options")?;
        let has_usage = streaming.map_or(Ok(None), |options| options.bool("include_usage"))?.unwrap_or(false);
        let streams = fields.bool("stream")?.unwrap_or(false).then_some(Streams { has_usage });
        let choices = fields.integer("n", 1..=MOST_CHOICES as i64)?.unwrap_or(1) as usize;
        let seed = fields.integer("seed", i64::MIN..=i64::MAX)?;
        // A negative seed is one as well: its bits are taken as they are.
        let noise = seed.map_or(seed_of_request, |seed| seed as u64);
        let sampling = Sampling {
            temperature: fields.number("temperature", 0.0..=2.0)?.unwrap_or(1.0) as f32,
            top_k: fields.integer("top_k", -1..=1 << 22)?.unwrap_or(0).max(0) as usize,
            top_p: fields.number("top_p", 0.0..=1.0)?.unwrap_or(1.0) as f32,
            min_p: fields.number("min_p", 0.0..=1.0)?.unwrap_or(0.0) as f32,
            presence_penalty: fields.number("presence_penalty", -2.0..=2.0)?.unwrap_or(0.0) as f32,
            frequency_penalty: fields.number("frequency_penalty", -2.0..=2.0)?.unwrap_or(0.0) as f32,
            repetition_penalty: fields.number("repetition_penalty", 0.01..=100.0)?.unwrap_or(1.0) as f32,
            logit_bias: biases(fields, vocabulary)?,
            seed: noise,
        };
        let mut most_tokens = None;
        for field in ["max_completion_tokens", "max_tokens"] {
            let most = fields.integer(field, 1..=i64::from(u32::MAX))?;
            most_tokens = most_tokens.or(most.map(|most| (field, most as usize)));
        }
        let request = Request {
            sampling,
            stops: stops(fields)?,
            ignores_end: fields.bool("ignore_eos")?.unwrap_or(false),
            ..Request::default()
        };
        let seed = seed.map_or_else(|| Value::from(noise), Value::from);
        Ok(Self { request, seed, choices, most_tokens, streams })
    }

    /// The requests for all choices of a prompt; the field `param` is where errors say that it is.
    pub fn requests(&self, model: &Model, prompt: &[u32], param: &str) -> Result<Vec<Request>, ApiError> {
        let (context, tokens) = (model.config().context, prompt.len());
        if prompt.is_empty() {
            return Err(ApiError::wrong(param, format!("{param} has no tokens")));
        }
        let room = context.saturating_sub(tokens);
        if room == 0 {
            return Err(ApiError::too_long(param, context, tokens, None));
        }
        let most_tokens = match self.most_tokens {
            Some((_, most)) if most > room => {
                return Err(ApiError::too_long(param, context, tokens, Some(most)));
            }
            Some((_, most)) => most,
            None => room,
        };
        let request = |choice: usize| {
            let mut request = Request { prompt: prompt.to_vec(), most_tokens, ..self.request.clone() };
            // Far apart, so that no choice has the seed of another request's first.
            let step = (choice as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            request.sampling.seed = request.sampling.seed.wrapping_add(step);
            request
        };
        Ok((0..self.choices).map(request).collect())
    }
}

fn stops(fields: &Fields<'_>) -> Result<Vec<String>, ApiError> {
    let stops = match fields.get("stop") {
        None => Vec::new(),
        Some(Value::String(stop)) => vec![stop.clone()],
        Some(Value::Array(all)) => {
            let all = all.iter().map(|stop| stop.as_str().map(str::to_owned));
            all.collect::<Option<_>>()
                .ok_or_else(|| fields.wrong("stop", "must be a text or an array of texts"))?
        }
        Some(_) => return Err(fields.wrong("stop", "must be a text or an array of texts")),
    };
    if stops.len() > MOST_STOPS {
        return Err(fields.wrong("stop", format_args!("may have {MOST_STOPS} texts at most")));
    }
    if stops.iter().any(|stop| stop.is_empty() || stop.len() > LONGEST_STOP) {
        return Err(fields.wrong("stop", format_args!("must have texts of 1 to {LONGEST_STOP} bytes")));
    }
    Ok(stops)
}

fn biases(fields: &Fields<'_>, vocabulary: usize) -> Result<Vec<(u32, f32)>, ApiError> {
    const FIELD: &str = "logit_bias";
    let Some(value) = fields.get(FIELD) else { return Ok(Vec::new()) };
    let map = value.as_object().ok_or_else(|| fields.wrong(FIELD, "must be an object"))?;
    if map.len() > MOST_BIASES {
        return Err(fields.wrong(FIELD, format_args!("may have {MOST_BIASES} tokens at most")));
    }
    let mut biases = Vec::new();
    for (token, bias) in map {
        let token = token.parse::<u32>().ok().filter(|&token| (token as usize) < vocabulary);
        let token = token.ok_or_else(|| fields.wrong(FIELD, "has a key that is not a token's number"))?;
        let bias = bias.as_f64().filter(|bias| (-100.0..=100.0).contains(bias));
        let bias = bias.ok_or_else(|| fields.wrong(FIELD, "must have numbers from -100 to 100"))?;
        biases.push((token, bias as f32));
    }
    // The order of keys in a text says nothing, and must change nothing.
    biases.sort_unstable_by_key(|bias| bias.0);
    Ok(biases)
}
