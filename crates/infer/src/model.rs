//! A decoder's weights, loaded from a file and checked against its dimensions.

use crate::config::Config;
use crate::file::FileError;
use crate::gguf::Gguf;
use crate::packing::Matrix;
use crate::safetensors::Safetensors;
use crate::source::Source;
use crate::tensors::{GgufFile, Linear, Naming, Tensors};

/// A decoder: a model that continues a text, token by token.
#[derive(Debug)]
pub struct Model {
    pub(crate) config: Config,
    pub(crate) embedding: Matrix,
    /// Where it is not the embedding itself.
    pub(crate) output: Option<Matrix>,
    pub(crate) output_norm: Vec<f32>,
    /// Divisors of the turning frequencies.
    pub(crate) rope_factors: Option<Vec<f32>>,
    pub(crate) layers: Vec<Layer>,
}

/// One layer's weights.
#[derive(Debug)]
pub(crate) struct Layer {
    pub attention_norm: Vec<f32>,
    pub query: Linear,
    pub key: Linear,
    pub value: Linear,
    pub query_norm: Option<Vec<f32>>,
    pub key_norm: Option<Vec<f32>>,
    pub attention_output: Linear,
    pub attention_post_norm: Option<Vec<f32>>,
    pub feed_forward_norm: Vec<f32>,
    pub gate: Linear,
    pub up: Linear,
    pub down: Linear,
    pub feed_forward_post_norm: Option<Vec<f32>>,
}

impl Model {
    /// Loads a file's weights, tensor by tensor.
    ///
    /// # Errors
    ///
    /// The model is not supported; or a tensor is missing, has another form than the dimensions ask for, holds numbers
    /// that are not finite, or is one that this architecture has no use for.
    pub fn load(source: &dyn Source, gguf: &Gguf) -> Result<Self, FileError> {
        let config = Config::read(gguf)?;
        let has_output = gguf.tensor("output.weight").is_some();
        Self::take(config, Tensors::new(&GgufFile { gguf, source }, Naming::Gguf), has_output)
    }

    /// Loads the weights of safetensors files; `config` is the text of the `config.json` that lies beside them.
    ///
    /// # Errors
    ///
    /// As for [`Model::load`].
    pub fn load_safetensors(weights: &Safetensors<'_>, config: &str) -> Result<Self, FileError> {
        let mut tensors = Tensors::new(weights, Naming::Decoder);
        let (config, is_tied) = Config::from_json(config, tensors.rows("token_embd.weight")?)?;
        if is_tied {
            tensors.skip("output.weight");
        }
        Self::take(config, tensors, !is_tied)
    }

    fn take(config: Config, mut tensors: Tensors<'_>, has_output: bool) -> Result<Self, FileError> {
        let (width, vocabulary) = (config.width, config.vocabulary);
        let embedding = tensors.matrix("token_embd.weight", vocabulary, width)?;
        let output =
            if has_output { Some(tensors.matrix("output.weight", vocabulary, width)?) } else { None };
        let output_norm = tensors.vector("output_norm.weight", width)?;
        let rope_factors = tensors.vector_if_there("rope_freqs.weight", config.rope_len / 2)?;
        if rope_factors.iter().flatten().any(|&factor| factor <= 0.0) {
            return Err(FileError::tensor("rope_freqs.weight", "has a factor that is not positive"));
        }
        let layers = (0..config.layers)
            .map(|layer| Layer::load(&mut tensors, &config, layer))
            .collect::<Result<_, _>>()?;
        tensors.refuse_unused(&config.architecture)?;
        Ok(Self { config, embedding, output, output_norm, rope_factors, layers })
    }

    /// Its dimensions and switches.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Bytes that a file's weights will take in memory: to be asked before it is loaded.
    pub fn memory_of(gguf: &Gguf) -> u64 {
        gguf.tensors().map(|(_, info)| info.byte_len() as u64).sum()
    }
}

impl Layer {
    fn load(tensors: &mut Tensors<'_>, config: &Config, layer: usize) -> Result<Self, FileError> {
        let name = |part: &str| format!("blk.{layer}.{part}");
        let norm = |part: &str| name(&format!("{part}.weight"));
        let (width, inner) = (config.width, config.feed_forward);
        let (queries, keys) = (config.heads * config.head_len, config.kv_heads * config.head_len);
        Ok(Self {
            attention_norm: tensors.vector(&norm("attn_norm"), width)?,
            query: tensors.linear(&name("attn_q"), queries, width)?,
            key: tensors.linear(&name("attn_k"), keys, width)?,
            value: tensors.linear(&name("attn_v"), keys, width)?,
            query_norm: tensors.vector_if_there(&norm("attn_q_norm"), config.head_len)?,
            key_norm: tensors.vector_if_there(&norm("attn_k_norm"), config.head_len)?,
            attention_output: tensors.linear(&name("attn_output"), width, queries)?,
            attention_post_norm: tensors.vector_if_there(&norm("post_attention_norm"), width)?,
            feed_forward_norm: tensors.vector(&norm("ffn_norm"), width)?,
            gate: tensors.linear(&name("ffn_gate"), inner, width)?,
            up: tensors.linear(&name("ffn_up"), inner, width)?,
            down: tensors.linear(&name("ffn_down"), width, inner)?,
            feed_forward_post_norm: tensors.vector_if_there(&norm("post_ffw_norm"), width)?,
        })
    }
}
