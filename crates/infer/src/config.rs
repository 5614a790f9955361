//! What a model is: its dimensions and the switches of its architecture, read from its file and checked.

mod transformers;

use crate::file::FileError;
use crate::gguf::{Gguf, Metadata};
use crate::json::MOST;
use crate::kernels::Gate;

/// Which numbers of a head are turned together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pairs {
    /// Neighbours: files of Llama and Mistral are stored so.
    Neighbours,
    /// Number `i` and `i + half`: Qwen, Gemma.
    Halves,
}

/// Layers that attend only to the last positions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Window {
    /// Positions that such a layer attends to.
    pub len: usize,
    /// Every so many layers one attends to all positions.
    pub every: usize,
    /// Base of the turning frequencies of such layers.
    pub rope_base: f64,
}

/// A decoder's dimensions and switches.
#[derive(Clone, Debug)]
pub struct Config {
    /// The architecture, as files name it.
    pub architecture: String,
    /// Layers.
    pub layers: usize,
    /// Numbers of a token's state.
    pub width: usize,
    /// Numbers within a feed-forward layer.
    pub feed_forward: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads.
    pub kv_heads: usize,
    /// Numbers of a head.
    pub head_len: usize,
    /// Tokens of the vocabulary.
    pub vocabulary: usize,
    /// Positions that the model was trained for.
    pub context: usize,
    /// Added to a norm's mean square.
    pub epsilon: f32,
    /// Base of the turning frequencies.
    pub rope_base: f64,
    /// Positions are divided by this.
    pub rope_scale: f64,
    /// Numbers of a head that are turned.
    pub rope_len: usize,
    /// Which of them are turned together.
    pub pairs: Pairs,
    /// The gate of feed-forward layers.
    pub gate: Gate,
    /// Embeddings are multiplied by this.
    pub embedding_scale: f32,
    /// Queries are multiplied by this.
    pub query_scale: f32,
    /// Layers that attend only to the last positions.
    pub window: Option<Window>,
}

impl Config {
    /// Reads a file's keys.
    ///
    /// # Errors
    ///
    /// The architecture is not supported, or a key is missing or out of bounds.
    pub fn read(gguf: &Gguf) -> Result<Self, FileError> {
        let metadata = gguf.metadata();
        let architecture = metadata.text("general.architecture")?;
        let architecture =
            architecture.ok_or_else(|| FileError::key("general.architecture", "is missing"))?;
        if !matches!(architecture, "llama" | "qwen2" | "qwen3" | "gemma3") {
            let known = "llama, qwen2, qwen3 and gemma3 are";
            return Err(FileError::key(
                "general.architecture",
                format!("{architecture:?} is not supported: {known}"),
            ));
        }
        let keys = Keys { metadata, architecture };
        let (layers, width) = (keys.size("block_count")?, keys.size("embedding_length")?);
        let heads = keys.size("attention.head_count")?;
        let kv_heads = keys.size_or("attention.head_count_kv", heads)?;
        let head_len = keys.size_or("attention.key_length", width / heads.max(1))?;
        let gemma = architecture == "gemma3";
        let embedding = gguf.tensor("token_embd.weight");
        let embedding = embedding.ok_or_else(|| FileError::tensor("token_embd.weight", "is missing"))?;
        let config = Self {
            architecture: architecture.to_owned(),
            layers,
            width,
            feed_forward: keys.size("feed_forward_length")?,
            heads,
            kv_heads,
            head_len,
            vocabulary: embedding.rows,
            context: keys.size("context_length")?,
            epsilon: keys.number_or("attention.layer_norm_rms_epsilon", None)? as f32,
            rope_base: keys.number_or("rope.freq_base", Some(if gemma { 1e6 } else { 1e4 }))?,
            rope_scale: keys.rope_scale()?,
            rope_len: keys.size_or("rope.dimension_count", head_len)?,
            pairs: if architecture == "llama" { Pairs::Neighbours } else { Pairs::Halves },
            gate: if gemma { Gate::Gelu } else { Gate::Silu },
            embedding_scale: if gemma { (width as f32).sqrt() } else { 1.0 },
            query_scale: 1.0 / (head_len as f32).sqrt(),
            window: if gemma { keys.window()? } else { None },
        };
        let value_len = keys.size_or("attention.value_length", head_len)?;
        if value_len != head_len {
            return Err(keys.error("attention.value_length", "must be the key's"));
        }
        if metadata.u32(&keys.name("expert_count"))?.is_some_and(|count| count > 0) {
            return Err(keys.error("expert_count", "mixtures of experts are not supported"));
        }
        config.check(&|key, problem| keys.error(key, problem))
    }

    /// True for a layer that attends only to the last positions.
    pub fn is_local(&self, layer: usize) -> bool {
        self.window.is_some_and(|window| !(layer + 1).is_multiple_of(window.every))
    }

    /// Checks that the dimensions fit the kernels and each other. `error` makes an error of a GGUF key and a problem.
    fn check(self, error: &dyn Fn(&str, String) -> FileError) -> Result<Self, FileError> {
        let problem = |key: &str, problem: String| Err(error(key, problem));
        if !self.width.is_multiple_of(32) {
            return problem("embedding_length", format!("{} is not a multiple of 32", self.width));
        }
        if !self.feed_forward.is_multiple_of(32) {
            return problem("feed_forward_length", format!("{} is not a multiple of 32", self.feed_forward));
        }
        if self.head_len == 0 || !self.head_len.is_multiple_of(16) {
            return problem("attention.key_length", format!("{} is not a multiple of 16", self.head_len));
        }
        if !self.heads.is_multiple_of(self.kv_heads) || !(self.heads * self.head_len).is_multiple_of(32) {
            let heads = format!("{} heads of {} do not share {}", self.heads, self.head_len, self.kv_heads);
            return problem("attention.head_count", heads);
        }
        if self.rope_len > self.head_len || !self.rope_len.is_multiple_of(2) {
            let turned = format!("{} of {} numbers cannot be turned", self.rope_len, self.head_len);
            return problem("rope.dimension_count", turned);
        }
        if self.vocabulary > 1 << 22 {
            return Err(FileError::tensor("token_embd.weight", format!("has {} tokens", self.vocabulary)));
        }
        if !(self.epsilon > 0.0 && self.epsilon < 1.0) {
            return problem("attention.layer_norm_rms_epsilon", "must be between 0 and 1".into());
        }
        if !(self.rope_base >= 1.0 && self.rope_base < 1e12) {
            return problem("rope.freq_base", "must be between 1 and 10^12".into());
        }
        Ok(self)
    }
}

struct Keys<'a> {
    metadata: &'a Metadata,
    architecture: &'a str,
}

impl Keys<'_> {
    fn name(&self, key: &str) -> String {
        format!("{}.{key}", self.architecture)
    }

    fn error(&self, key: &str, problem: impl Into<String>) -> FileError {
        FileError::key(self.name(key), problem)
    }

    fn size(&self, key: &str) -> Result<usize, FileError> {
        self.size_or_missing(key)?.ok_or_else(|| self.error(key, "is missing"))
    }

    fn size_or(&self, key: &str, default: usize) -> Result<usize, FileError> {
        Ok(self.size_or_missing(key)?.unwrap_or(default))
    }

    fn size_or_missing(&self, key: &str) -> Result<Option<usize>, FileError> {
        let Some(size) = self.metadata.u32(&self.name(key))? else { return Ok(None) };
        let size = size as usize;
        if size == 0 || size > MOST {
            return Err(self.error(key, format!("{size} is not between 1 and {MOST}")));
        }
        Ok(Some(size))
    }

    fn number_or(&self, key: &str, default: Option<f64>) -> Result<f64, FileError> {
        let number = self.metadata.number(&self.name(key))?.or(default);
        number.ok_or_else(|| self.error(key, "is missing"))
    }

    fn rope_scale(&self) -> Result<f64, FileError> {
        let kind = self.metadata.text(&self.name("rope.scaling.type"))?.unwrap_or("none");
        match kind {
            "none" => Ok(1.0),
            "linear" => {
                let factor = self.number_or("rope.scaling.factor", None)?;
                let valid = (1.0..=1e6).contains(&factor);
                if valid {
                    Ok(factor)
                } else {
                    Err(self.error("rope.scaling.factor", "must be between 1 and 10^6"))
                }
            }
            other => {
                Err(self
                    .error("rope.scaling.type", format!("{other:?} is not supported: none and linear are")))
            }
        }
    }

    fn window(&self) -> Result<Option<Window>, FileError> {
        let Some(len) = self.size_or_missing("attention.sliding_window")? else { return Ok(None) };
        let every = self.size_or("attention.sliding_window_pattern", 6)?;
        Ok(Some(Window { len, every, rope_base: 1e4 }))
    }
}
