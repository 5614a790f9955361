//! An encoder: a model that makes one vector of a text, such that texts of like meaning have like vectors.

use crate::file::FileError;
use crate::gguf::{Gguf, Metadata};
use crate::json::{MOST, Object, parse};
use crate::kernels::Activation;
use crate::packing::Matrix;
use crate::safetensors::Safetensors;
use crate::source::Source;
use crate::tensors::{GgufFile, Linear, Naming, Tensors};

/// What errors call `config.json`, and that of the pooling.
const CONFIG: &str = "config.json";
const POOLING: &str = "the pooling's config.json";

/// How the vectors of a text's tokens become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pooling {
    /// By their mean.
    Mean,
    /// By taking the first token's, `[CLS]`.
    First,
}

/// An encoder's dimensions and switches.
#[derive(Clone, Debug)]
pub struct EncoderConfig {
    /// Layers.
    pub layers: usize,
    /// Numbers of a token's state, and of a text's vector.
    pub width: usize,
    /// Numbers within a feed-forward layer.
    pub feed_forward: usize,
    /// Heads.
    pub heads: usize,
    /// Numbers of a head.
    pub head_len: usize,
    /// Tokens of the vocabulary.
    pub vocabulary: usize,
    /// Positions that the model was trained for: a longer text is refused.
    pub context: usize,
    /// Added to a norm's variance.
    pub epsilon: f32,
    /// The function within feed-forward layers.
    pub activation: Activation,
    /// How the vectors of tokens become one.
    pub pooling: Pooling,
}

/// An encoder of the form of BERT.
#[derive(Debug)]
pub struct Encoder {
    pub(crate) config: EncoderConfig,
    pub(crate) embedding: Matrix,
    pub(crate) positions: Matrix,
    /// Added to each token: the kind that a first sentence's tokens have.
    pub(crate) kind: Vec<f32>,
    pub(crate) norm: Norm,
    pub(crate) layers: Vec<EncoderLayer>,
}

/// Weights of a norm, and what is added after it.
#[derive(Debug)]
pub(crate) struct Norm {
    pub weights: Vec<f32>,
    pub bias: Vec<f32>,
}

/// One layer's weights.
#[derive(Debug)]
pub(crate) struct EncoderLayer {
    pub query: Linear,
    pub key: Linear,
    pub value: Linear,
    pub attention_output: Linear,
    pub attention_norm: Norm,
    pub up: Linear,
    pub down: Linear,
    pub norm: Norm,
}

impl Encoder {
    /// Loads a GGUF file's weights, tensor by tensor.
    ///
    /// # Errors
    ///
    /// The model is not supported; or a tensor is missing, has another form than the dimensions ask for, holds numbers
    /// that are not finite, or is one that this architecture has no use for.
    pub fn load(source: &dyn Source, gguf: &Gguf) -> Result<Self, FileError> {
        let file = GgufFile { gguf, source };
        let tensors = Tensors::new(&file, Naming::Gguf);
        let config = EncoderConfig::read(gguf.metadata(), tensors.rows("token_embd.weight")?)?;
        Self::take(config, tensors)
    }

    /// Loads the weights of safetensors files. `config` is the text of the `config.json` that lies beside them, `pooling`
    /// that of `1_Pooling/config.json`, without which the mean is taken.
    ///
    /// # Errors
    ///
    /// As for [`Encoder::load`].
    pub fn load_safetensors(
        weights: &Safetensors<'_>,
        config: &str,
        pooling: Option<&str>,
    ) -> Result<Self, FileError> {
        let tensors = Tensors::new(weights, Naming::of_encoder(weights));
        let config = EncoderConfig::from_json(config, pooling, tensors.rows("token_embd.weight")?)?;
        Self::take(config, tensors)
    }

    /// Its dimensions and switches.
    pub fn config(&self) -> &EncoderConfig {
        &self.config
    }

    fn take(config: EncoderConfig, mut tensors: Tensors<'_>) -> Result<Self, FileError> {
        let (width, inner) = (config.width, config.feed_forward);
        let kinds = tensors.rows("token_types.weight")?;
        let mut kind = vec![0.0; width];
        tensors.matrix("token_types.weight", kinds, width)?.row(0, &mut kind);
        let embedding = tensors.matrix("token_embd.weight", config.vocabulary, width)?;
        let positions = tensors.matrix("position_embd.weight", config.context, width)?;
        let norm = tensors.norm("token_embd_norm", width)?;
        let mut layers = Vec::new();
        for layer in 0..config.layers {
            let name = |part: &str| format!("blk.{layer}.{part}");
            layers.push(EncoderLayer {
                query: tensors.linear(&name("attn_q"), width, width)?,
                key: tensors.linear(&name("attn_k"), width, width)?,
                value: tensors.linear(&name("attn_v"), width, width)?,
                attention_output: tensors.linear(&name("attn_output"), width, width)?,
                attention_norm: tensors.norm(&name("attn_output_norm"), width)?,
                up: tensors.linear(&name("ffn_up"), inner, width)?,
                down: tensors.linear(&name("ffn_down"), width, inner)?,
                norm: tensors.norm(&name("layer_output_norm"), width)?,
            });
        }
        tensors.refuse_unused("bert")?;
        Ok(Self { config, embedding, positions, kind, norm, layers })
    }
}

impl Tensors<'_> {
    fn norm(&mut self, name: &str, len: usize) -> Result<Norm, FileError> {
        let weights = self.vector(&format!("{name}.weight"), len)?;
        Ok(Norm { weights, bias: self.vector(&format!("{name}.bias"), len)? })
    }
}

impl EncoderConfig {
    fn read(metadata: &Metadata, vocabulary: usize) -> Result<Self, FileError> {
        const ARCHITECTURE: &str = "general.architecture";
        match metadata.text(ARCHITECTURE)? {
            Some("bert") => {}
            other => {
                let problem = format!("{:?} is no encoder that is supported: bert is", other.unwrap_or(""));
                return Err(FileError::key(ARCHITECTURE, problem));
            }
        }
        let name = |key: &str| format!("bert.{key}");
        let size = |key: &str| match metadata.u32(&name(key))?.map(|size| size as usize) {
            Some(size) if (1..=MOST).contains(&size) => Ok(size),
            Some(size) => Err(FileError::key(name(key), format!("{size} is not between 1 and {MOST}"))),
            None => Err(FileError::key(name(key), "is missing")),
        };
        if metadata.bool(&name("attention.causal"))?.unwrap_or(false) {
            return Err(FileError::key(name("attention.causal"), "must be false"));
        }
        let pooling = match metadata.u32(&name("pooling_type"))? {
            None | Some(1) => Pooling::Mean,
            Some(2) => Pooling::First,
            Some(other) => {
                let problem = format!("{other} is not supported: 1, the mean, and 2, the first token, are");
                return Err(FileError::key(name("pooling_type"), problem));
            }
        };
        let (width, heads) = (size("embedding_length")?, size("attention.head_count")?);
        let config = Self {
            layers: size("block_count")?,
            width,
            feed_forward: size("feed_forward_length")?,
            heads,
            head_len: width / heads,
            vocabulary,
            context: size("context_length")?,
            epsilon: metadata.number(&name("attention.layer_norm_epsilon"))?.unwrap_or(1e-12) as f32,
            activation: Activation::Gelu,
            pooling,
        };
        config.check().map_err(|problem| FileError::key(ARCHITECTURE, problem))
    }

    pub(crate) fn from_json(
        config: &str,
        pooling: Option<&str>,
        vocabulary: usize,
    ) -> Result<Self, FileError> {
        let value = parse(CONFIG, config)?;
        let keys = Object::new(CONFIG, &value)?;
        let kind = keys.text("model_type")?.unwrap_or("");
        if kind != "bert" {
            return Err(
                keys.error("model_type", format!("{kind:?} is no encoder that is supported: bert is"))
            );
        }
        if keys.text("position_embedding_type")?.is_some_and(|kind| kind != "absolute") {
            return Err(keys.error("position_embedding_type", "must be \"absolute\""));
        }
        let activation = match keys.text("hidden_act")?.unwrap_or("gelu") {
            "gelu" => Activation::Gelu,
            "gelu_new" | "gelu_pytorch_tanh" => Activation::GeluByTanh,
            other => return Err(keys.error("hidden_act", format!("{other:?} is not supported: \"gelu\" is"))),
        };
        let (width, heads) = (keys.size("hidden_size")?, keys.size("num_attention_heads")?);
        let config = Self {
            layers: keys.size("num_hidden_layers")?,
            width,
            feed_forward: keys.size("intermediate_size")?,
            heads,
            head_len: width / heads,
            vocabulary,
            context: keys.size("max_position_embeddings")?,
            epsilon: keys.number("layer_norm_eps")?.unwrap_or(1e-12) as f32,
            activation,
            pooling: pooling.map_or(Ok(Pooling::Mean), Pooling::from_json)?,
        };
        config.check().map_err(|problem| FileError::json(CONFIG, problem))
    }

    fn check(self) -> Result<Self, String> {
        let Self { width, feed_forward, heads, head_len, vocabulary, epsilon, .. } = self;
        if !width.is_multiple_of(32) || !feed_forward.is_multiple_of(32) {
            return Err(format!("the widths {width} and {feed_forward} must be multiples of 32"));
        }
        if heads * head_len != width || !head_len.is_multiple_of(16) {
            return Err(format!("{heads} heads do not share {width} numbers in multiples of 16"));
        }
        if vocabulary > 1 << 22 {
            return Err(format!("there are {vocabulary} tokens, more than {}", 1 << 22));
        }
        if !(epsilon > 0.0 && epsilon < 1.0) {
            return Err(format!("{epsilon} is added to variances, which must be between 0 and 1"));
        }
        Ok(self)
    }
}

impl Pooling {
    /// As the library `sentence-transformers` has it: one switch for each way.
    fn from_json(text: &str) -> Result<Self, FileError> {
        let value = parse(POOLING, text)?;
        let keys = Object::new(POOLING, &value)?;
        let mut ways = Vec::new();
        for (key, value) in keys.keys() {
            if key.starts_with("pooling_mode_") && value.as_bool() != Some(false) {
                ways.push(key);
            }
        }
        match ways[..] {
            ["pooling_mode_mean_tokens"] => Ok(Self::Mean),
            ["pooling_mode_cls_token"] => Ok(Self::First),
            _ => {
                let problem = format!("{ways:?} is not supported: the mean or the first token alone are");
                Err(FileError::json(POOLING, problem))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn poolings_are_the_mean_or_the_first() {
        let pooling = |text: &str| Pooling::from_json(text).map_err(|error| error.to_string());
        let cls =
            r#"{"pooling_mode_cls_token": true, "pooling_mode_mean_tokens": false, "include_prompt": true}"#;
        assert_eq!(pooling(cls), Ok(Pooling::First));
        assert_eq!(pooling(r#"{"pooling_mode_mean_tokens": true}"#), Ok(Pooling::Mean));
        let both = pooling(r#"{"pooling_mode_mean_tokens": true, "pooling_mode_max_tokens": true}"#);
        assert!(both.unwrap_err().contains("is not supported"));
        assert!(pooling("{}").is_err());
    }

    #[test]
    fn wrong_dimensions_are_named() {
        let config = |change: &str| {
            let text = format!(
                r#"{{"model_type": "bert", "hidden_size": 64, "num_attention_heads": 4, "num_hidden_layers": 2,
                    "intermediate_size": 128, "max_position_embeddings": 32{change}}}"#
            );
            EncoderConfig::from_json(&text, None, 100).map_err(|error| error.to_string())
        };
        assert_eq!(config("").unwrap().head_len, 16);
        let cases = [
            (r#", "model_type": "roberta""#, "\"roberta\" is no encoder"),
            (r#", "hidden_size": 65"#, "must be multiples of 32"),
            (r#", "num_attention_heads": 3"#, "3 heads do not share 64 numbers"),
            (r#", "num_attention_heads": 128"#, "128 heads do not share 64 numbers"),
            (r#", "num_hidden_layers": -1"#, "\"num_hidden_layers\" must be between 1 and"),
            (r#", "layer_norm_eps": 2"#, "2 is added to variances"),
            (r#", "hidden_act": "relu""#, "\"relu\" is not supported"),
            (r#", "position_embedding_type": "relative_key""#, "must be \"absolute\""),
        ];
        for (change, problem) in cases {
            let error = config(change).unwrap_err();
            assert!(error.starts_with("config.json: ") && error.contains(problem), "{error}");
        }
    }
}
