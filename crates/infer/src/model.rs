//! A decoder's weights, loaded from a file and checked against its dimensions.

use std::collections::HashSet;

use crate::config::Config;
use crate::format::Format;
use crate::gguf::{Gguf, GgufError};
use crate::packing::{Matrix, read_float};
use crate::source::Source;

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

/// A matrix, with what is added to its outputs.
#[derive(Debug)]
pub(crate) struct Linear {
    pub matrix: Matrix,
    pub bias: Option<Vec<f32>>,
}

impl Model {
    /// Loads a file's weights, tensor by tensor.
    ///
    /// # Errors
    ///
    /// The model is not supported; or a tensor is missing, has another form than the dimensions ask for, holds numbers
    /// that are not finite, or is one that this architecture has no use for.
    pub fn load(source: &dyn Source, gguf: &Gguf) -> Result<Self, GgufError> {
        let config = Config::read(gguf)?;
        let mut tensors = Tensors { source, gguf, used: HashSet::new() };
        let (width, vocabulary) = (config.width, config.vocabulary);
        let embedding = tensors.matrix("token_embd.weight", vocabulary, width)?;
        let output = match gguf.tensor("output.weight") {
            Some(_) => Some(tensors.matrix("output.weight", vocabulary, width)?),
            None => None,
        };
        let output_norm = tensors.vector("output_norm.weight", width)?;
        let rope_factors = tensors.vector_if_there("rope_freqs.weight", config.rope_len / 2)?;
        if rope_factors.iter().flatten().any(|&factor| factor <= 0.0) {
            return Err(GgufError::tensor("rope_freqs.weight", "has a factor that is not positive"));
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
    fn load(tensors: &mut Tensors<'_>, config: &Config, layer: usize) -> Result<Self, GgufError> {
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

/// A file's tensors, as they are taken.
pub(crate) struct Tensors<'a> {
    pub source: &'a dyn Source,
    pub gguf: &'a Gguf,
    pub used: HashSet<String>,
}

impl Tensors<'_> {
    /// A matrix of this form.
    pub fn matrix(&mut self, name: &str, rows: usize, columns: usize) -> Result<Matrix, GgufError> {
        let (format, bytes) = self.take(name, rows, columns)?;
        Matrix::pack(name, format, rows, columns, &bytes)
    }

    /// `name.weight`, and `name.bias` if it is there.
    pub fn linear(&mut self, name: &str, rows: usize, columns: usize) -> Result<Linear, GgufError> {
        let matrix = self.matrix(&format!("{name}.weight"), rows, columns)?;
        let bias = self.vector_if_there(&format!("{name}.bias"), rows)?;
        Ok(Linear { matrix, bias })
    }

    /// Floats, of a dense format.
    pub fn vector(&mut self, name: &str, len: usize) -> Result<Vec<f32>, GgufError> {
        let (format, bytes) = self.take(name, 1, len)?;
        if !format.is_dense() {
            return Err(GgufError::tensor(name, format!("is {format}, not floats")));
        }
        let floats: Vec<f32> =
            bytes.chunks_exact(format.block_bytes()).map(|bytes| read_float(format, bytes)).collect();
        if floats.iter().any(|x| !x.is_finite()) {
            return Err(GgufError::tensor(name, "has a number that is not finite"));
        }
        Ok(floats)
    }

    /// The same, of a tensor that need not be there.
    pub fn vector_if_there(&mut self, name: &str, len: usize) -> Result<Option<Vec<f32>>, GgufError> {
        if self.gguf.tensor(name).is_none() { Ok(None) } else { self.vector(name, len).map(Some) }
    }

    /// A tensor that nobody took would make a difference that nobody sees.
    pub fn refuse_unused(&self, architecture: &str) -> Result<(), GgufError> {
        let mut unused: Vec<&str> = self.gguf.tensors().map(|(name, _)| name).collect();
        unused.retain(|name| !self.used.contains(*name));
        unused.sort_unstable();
        match unused.first() {
            None => Ok(()),
            Some(name) => {
                Err(GgufError::tensor(*name, format!("is not part of a {architecture} model as supported")))
            }
        }
    }

    fn take(&mut self, name: &str, rows: usize, columns: usize) -> Result<(Format, Vec<u8>), GgufError> {
        let info = self.gguf.tensor(name).ok_or_else(|| GgufError::tensor(name, "is missing"))?;
        if (info.rows, info.columns) != (rows, columns) {
            let (r, c) = (info.rows, info.columns);
            return Err(GgufError::tensor(
                name,
                format!("has {r} rows of {c} numbers, not {rows} of {columns}"),
            ));
        }
        self.used.insert(name.to_owned());
        Ok((info.format, self.gguf.tensor_bytes(self.source, name)?))
    }
}
