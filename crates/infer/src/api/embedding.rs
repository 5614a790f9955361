//! `/v1/embeddings`.

use serde_json::{Value, json};

use super::completion::texts;
use super::error::ApiError;
use super::fields::Fields;
use super::{Served, short};
use crate::encoder::Encoder;
use crate::forward::Vectors;

/// Texts that one request may have: as many as OpenAI takes.
const MOST_TEXTS: usize = 2_048;

/// Vectors that were asked for.
#[derive(Debug)]
pub struct Embedding {
    texts: Vec<Vec<u32>>,
    in_base64: bool,
}

pub(super) fn read(
    served: &Served<'_>,
    encoder: &Encoder,
    fields: &Fields<'_>,
) -> Result<Embedding, ApiError> {
    let (width, context) = (encoder.config().width, encoder.config().context);
    let encode = |text: &str| served.tokenizer.encode(text);
    let Said { texts, in_base64, dimensions } = said(fields, served.tokenizer.len(), encode)?;
    if dimensions.is_some_and(|count| count != width) {
        return Err(
            fields.wrong("dimensions", format_args!("must be {width}: the model has no shorter vectors"))
        );
    }
    if let Some(text) = texts.iter().find(|text| text.len() > context) {
        return Err(ApiError::too_long("input", context, text.len(), None));
    }
    Ok(Embedding { texts, in_base64 })
}

/// What a request says.
#[derive(Debug)]
pub(super) struct Said {
    /// The tokens of each text.
    pub texts: Vec<Vec<u32>>,
    pub in_base64: bool,
    /// The numbers that a vector is to have.
    pub dimensions: Option<usize>,
}

/// Reads all fields. `vocabulary`: how many tokens the model knows; `encode` makes tokens of a text.
pub(super) fn said(
    fields: &Fields<'_>,
    vocabulary: usize,
    encode: impl Fn(&str) -> Vec<u32>,
) -> Result<Said, ApiError> {
    let in_base64 = match fields.text("encoding_format")?.unwrap_or("float") {
        "float" => false,
        "base64" => true,
        _ => return Err(fields.wrong("encoding_format", "must be \"float\" or \"base64\"")),
    };
    let dimensions = fields.integer("dimensions", 1..=i64::from(u32::MAX))?.map(|count| count as usize);
    let is_empty = |value: &Value| value.as_str() == Some("") || value.as_array().is_some_and(Vec::is_empty);
    let input = fields.get("input").ok_or_else(|| ApiError::missing("input"))?;
    if is_empty(input) || input.as_array().is_some_and(|all| all.iter().any(is_empty)) {
        return Err(fields.wrong("input", "has an empty text"));
    }
    let texts = texts(fields, vocabulary, encode, "input")?;
    if texts.len() > MOST_TEXTS {
        return Err(fields.wrong("input", format_args!("may have {MOST_TEXTS} texts at most")));
    }
    Ok(Said { texts, in_base64, dimensions })
}

impl Embedding {
    /// The tokens of each text.
    pub fn texts(&self) -> Vec<&[u32]> {
        self.texts.iter().map(Vec::as_slice).collect()
    }

    /// Tokens of all texts.
    pub fn tokens(&self) -> usize {
        self.texts.iter().map(Vec::len).sum()
    }

    /// The answer's JSON, of the vectors of all texts.
    ///
    /// # Errors
    ///
    /// A vector is not finite.
    pub fn body(&self, served: &Served<'_>, vectors: &Vectors) -> Result<Value, ApiError> {
        let mut data = Vec::new();
        for index in 0..vectors.len() {
            let vector = vectors.vector(index).map_err(|_| ApiError::not_finite())?;
            let embedding = if self.in_base64 {
                let bytes: Vec<u8> = vector.iter().flat_map(|x| x.to_le_bytes()).collect();
                Value::from(data_encoding::BASE64.encode(&bytes))
            } else {
                vector.iter().map(|&x| short(x)).collect()
            };
            data.push(json!({"object": "embedding", "index": index, "embedding": embedding}));
        }
        let tokens = self.tokens();
        Ok(json!({
            "object": "list",
            "data": data,
            "model": served.name(),
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        }))
    }
}
