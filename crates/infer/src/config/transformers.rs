//! The same from `config.json`, as the library `transformers` has it.

use super::{Config, Pairs};
use crate::file::FileError;
use crate::json::{Object, parse};
use crate::kernels::Gate;

const FILE: &str = "config.json";

/// What the file calls the dimensions that are checked by GGUF's names.
const NAMES: [(&str, &str); 7] = [
    ("embedding_length", "hidden_size"),
    ("feed_forward_length", "intermediate_size"),
    ("attention.key_length", "head_dim"),
    ("attention.head_count", "num_attention_heads"),
    ("rope.dimension_count", "head_dim"),
    ("attention.layer_norm_rms_epsilon", "rms_norm_eps"),
    ("rope.freq_base", "rope_theta"),
];

impl Config {
    /// Reads a decoder's `config.json`; says too whether the output matrix is the embedding itself.
    ///
    /// # Errors
    ///
    /// The architecture is not supported, or a key is missing or out of bounds.
    pub(crate) fn from_json(text: &str, vocabulary: usize) -> Result<(Self, bool), FileError> {
        let value = parse(FILE, text)?;
        let keys = Object::new(FILE, &value)?;
        let kind = keys.text("model_type")?.ok_or_else(|| keys.error("model_type", "is missing"))?;
        if !matches!(kind, "llama" | "mistral" | "qwen2" | "qwen3") {
            let known = "llama, mistral, qwen2 and qwen3 are";
            return Err(keys.error("model_type", format!("{kind:?} is not supported: {known}")));
        }
        if keys.text("hidden_act")?.is_some_and(|act| act != "silu") {
            return Err(keys.error("hidden_act", "is not supported: \"silu\" is"));
        }
        // Files of Qwen name a window and do not use it.
        let has_window = keys.size_if_there("sliding_window")?.is_some();
        if has_window && keys.bool("use_sliding_window")?.unwrap_or(kind == "mistral") {
            return Err(keys.error("sliding_window", "is not supported"));
        }
        let (width, heads) = (keys.size("hidden_size")?, keys.size("num_attention_heads")?);
        let head_len = keys.size_if_there("head_dim")?.unwrap_or(width / heads);
        let turning = Turning::read(&keys)?;
        let epsilon = keys.number("rms_norm_eps")?.ok_or_else(|| keys.error("rms_norm_eps", "is missing"))?;
        let config = Self {
            architecture: kind.to_owned(),
            layers: keys.size("num_hidden_layers")?,
            width,
            feed_forward: keys.size("intermediate_size")?,
            heads,
            kv_heads: keys.size_if_there("num_key_value_heads")?.unwrap_or(heads),
            head_len,
            vocabulary,
            context: keys.size("max_position_embeddings")?,
            epsilon: epsilon as f32,
            rope_base: turning.base,
            rope_scale: turning.scale,
            rope_len: head_len,
            // The files of Llama that GGUF has are stored in another order.
            pairs: Pairs::Halves,
            gate: Gate::Silu,
            embedding_scale: 1.0,
            query_scale: 1.0 / (head_len as f32).sqrt(),
            window: None,
        };
        let name = |key: &str| {
            NAMES.iter().find(|(ours, _)| *ours == key).map_or_else(|| key.to_owned(), |row| row.1.to_owned())
        };
        let config = config.check(&|key, problem| keys.error(&name(key), problem))?;
        Ok((config, keys.bool("tie_word_embeddings")?.unwrap_or(false)))
    }
}

/// How positions turn heads.
struct Turning {
    base: f64,
    scale: f64,
}

impl Turning {
    fn read(keys: &Object<'_>) -> Result<Self, FileError> {
        // Later versions of the library keep the base among the parameters of scaling.
        let parameters = match keys.object("rope_parameters")? {
            Some(parameters) => Some(parameters),
            None => keys.object("rope_scaling")?,
        };
        let mut base = keys.number("rope_theta")?;
        let mut scale = 1.0;
        if let Some(parameters) = parameters {
            base = parameters.number("rope_theta")?.or(base);
            let kind = match parameters.text("rope_type")? {
                Some(kind) => kind,
                None => parameters.text("type")?.unwrap_or("default"),
            };
            match kind {
                "default" => {}
                "linear" => {
                    let factor = parameters.number("factor")?.filter(|factor| (1.0..=1e6).contains(factor));
                    scale = factor.ok_or_else(|| parameters.error("factor", "must be between 1 and 10^6"))?;
                }
                other => {
                    let problem = format!("{other:?} is not supported: \"default\" and \"linear\" are");
                    return Err(parameters.error("rope_type", problem));
                }
            }
        }
        Ok(Self { base: base.unwrap_or(1e4), scale })
    }
}
