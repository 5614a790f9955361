//! A file's tensors, taken one by one by the names that GGUF files use, each checked against the form that is asked for.

use std::collections::HashSet;

use crate::file::{FileError, TensorInfo};
use crate::format::Format;
use crate::gguf::Gguf;
use crate::packing::{Matrix, read_float};
use crate::safetensors::Safetensors;
use crate::source::Source;

/// A file with tensors.
pub(crate) trait TensorFile {
    /// The tensor of that name, if it is there.
    fn info(&self, name: &str) -> Result<Option<&TensorInfo>, FileError>;
    /// A tensor's bytes.
    fn bytes(&self, name: &str) -> Result<Vec<u8>, FileError>;
    /// All tensors' names, in no order.
    fn names(&self) -> Vec<&str>;
}

/// A GGUF file's header with what it was read from.
pub(crate) struct GgufFile<'a> {
    pub gguf: &'a Gguf,
    pub source: &'a dyn Source,
}

impl TensorFile for GgufFile<'_> {
    fn info(&self, name: &str) -> Result<Option<&TensorInfo>, FileError> {
        Ok(self.gguf.tensor(name))
    }

    fn bytes(&self, name: &str) -> Result<Vec<u8>, FileError> {
        self.gguf.tensor_bytes(self.source, name)
    }

    fn names(&self) -> Vec<&str> {
        self.gguf.tensors().map(|(name, _)| name).collect()
    }
}

/// How a file calls the tensors that GGUF files call `blk.0.attn_q.weight` and so on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Naming {
    /// As GGUF files do.
    Gguf,
    /// As the library `transformers` does for decoders.
    Decoder,
    /// As it does for BERT, whose names have a prefix in models that were trained to fill in words.
    Encoder { prefix: &'static str },
}

const DECODER: [(&str, &str); 14] = [
    ("token_embd", "model.embed_tokens"),
    ("output", "lm_head"),
    ("output_norm", "model.norm"),
    ("attn_norm", "input_layernorm"),
    ("attn_q", "self_attn.q_proj"),
    ("attn_k", "self_attn.k_proj"),
    ("attn_v", "self_attn.v_proj"),
    ("attn_q_norm", "self_attn.q_norm"),
    ("attn_k_norm", "self_attn.k_norm"),
    ("attn_output", "self_attn.o_proj"),
    ("ffn_norm", "post_attention_layernorm"),
    ("ffn_gate", "mlp.gate_proj"),
    ("ffn_up", "mlp.up_proj"),
    ("ffn_down", "mlp.down_proj"),
];

const ENCODER: [(&str, &str); 12] = [
    ("token_embd", "embeddings.word_embeddings"),
    ("position_embd", "embeddings.position_embeddings"),
    ("token_types", "embeddings.token_type_embeddings"),
    ("token_embd_norm", "embeddings.LayerNorm"),
    ("attn_q", "attention.self.query"),
    ("attn_k", "attention.self.key"),
    ("attn_v", "attention.self.value"),
    ("attn_output", "attention.output.dense"),
    ("attn_output_norm", "attention.output.LayerNorm"),
    ("ffn_up", "intermediate.dense"),
    ("ffn_down", "output.dense"),
    ("layer_output_norm", "output.LayerNorm"),
];

/// Tensors that files of `transformers` have and no answer depends on: constants, heads that embeddings do not use.
const IDLE_OF_DECODERS: [&str; 1] = [".self_attn.rotary_emb.inv_freq"];
const IDLE_OF_ENCODERS: [&str; 2] = ["embeddings.position_ids", "pooler.dense."];

impl Naming {
    /// Encoders are published alone, or as a part of a larger model.
    pub fn of_encoder(weights: &Safetensors<'_>) -> Self {
        const PREFIX: &str = "bert.";
        let has_prefix = weights.names().any(|name| name.starts_with("bert.embeddings."));
        Self::Encoder { prefix: if has_prefix { PREFIX } else { "" } }
    }

    /// The file's name of a tensor. A name that the table does not have stays as it is, and is then in no file.
    pub fn in_file(self, name: &str) -> String {
        let (table, layers, prefix): (&[(&str, &str)], _, _) = match self {
            Self::Gguf => return name.to_owned(),
            Self::Decoder => (&DECODER, "model.layers", ""),
            Self::Encoder { prefix } => (&ENCODER, "encoder.layer", prefix),
        };
        let (layer, rest) = match name.strip_prefix("blk.").and_then(|rest| rest.split_once('.')) {
            Some((layer, rest)) => (Some(layer), rest),
            None => (None, name),
        };
        let Some((part, kind)) = rest.rsplit_once('.') else { return name.to_owned() };
        let Some((_, theirs)) = table.iter().find(|(ours, _)| *ours == part) else { return name.to_owned() };
        match layer {
            Some(layer) => format!("{prefix}{layers}.{layer}.{theirs}.{kind}"),
            None => format!("{prefix}{theirs}.{kind}"),
        }
    }

    fn is_idle(self, name: &str) -> bool {
        match self {
            Self::Gguf => false,
            Self::Decoder => IDLE_OF_DECODERS.iter().any(|end| name.ends_with(end)),
            Self::Encoder { prefix } => match name.strip_prefix(prefix) {
                Some(rest) => IDLE_OF_ENCODERS.iter().any(|start| rest.starts_with(start)),
                // What was trained beside the encoder, such as `cls.predictions`.
                None => true,
            },
        }
    }
}

/// A matrix, with what is added to its outputs.
#[derive(Debug)]
pub(crate) struct Linear {
    pub matrix: Matrix,
    pub bias: Option<Vec<f32>>,
}

/// A file's tensors, as they are taken.
pub(crate) struct Tensors<'a> {
    file: &'a dyn TensorFile,
    naming: Naming,
    used: HashSet<String>,
}

impl<'a> Tensors<'a> {
    /// None is taken yet.
    pub fn new(file: &'a dyn TensorFile, naming: Naming) -> Self {
        Self { file, naming, used: HashSet::new() }
    }

    /// True where the file has a tensor.
    pub fn has(&self, name: &str) -> Result<bool, FileError> {
        Ok(self.file.info(&self.naming.in_file(name))?.is_some())
    }

    /// Counts a tensor as taken, because the model does without it.
    pub fn skip(&mut self, name: &str) {
        self.used.insert(self.naming.in_file(name));
    }

    /// A matrix of this form.
    pub fn matrix(&mut self, name: &str, rows: usize, columns: usize) -> Result<Matrix, FileError> {
        let (name, format, bytes) = self.take(name, rows, columns)?;
        Matrix::pack(&name, format, rows, columns, &bytes)
    }

    /// `name.weight`, and `name.bias` if it is there.
    pub fn linear(&mut self, name: &str, rows: usize, columns: usize) -> Result<Linear, FileError> {
        let matrix = self.matrix(&format!("{name}.weight"), rows, columns)?;
        let bias = self.vector_if_there(&format!("{name}.bias"), rows)?;
        Ok(Linear { matrix, bias })
    }

    /// Floats, of a dense format.
    pub fn vector(&mut self, name: &str, len: usize) -> Result<Vec<f32>, FileError> {
        let (name, format, bytes) = self.take(name, 1, len)?;
        if !format.is_dense() {
            return Err(FileError::tensor(name, format!("is {format}, not floats")));
        }
        let floats: Vec<f32> =
            bytes.chunks_exact(format.block_bytes()).map(|bytes| read_float(format, bytes)).collect();
        if floats.iter().any(|x| !x.is_finite()) {
            return Err(FileError::tensor(name, "has a number that is not finite"));
        }
        Ok(floats)
    }

    /// The same, of a tensor that need not be there.
    pub fn vector_if_there(&mut self, name: &str, len: usize) -> Result<Option<Vec<f32>>, FileError> {
        if self.has(name)? { self.vector(name, len).map(Some) } else { Ok(None) }
    }

    /// Rows of a matrix that the file has, whatever their number.
    pub fn rows(&self, name: &str) -> Result<usize, FileError> {
        let name = self.naming.in_file(name);
        let info = self.file.info(&name)?;
        info.map(|info| info.rows).ok_or_else(|| FileError::tensor(name, "is missing"))
    }

    /// A tensor that nobody took would make a difference that nobody sees.
    pub fn refuse_unused(&self, architecture: &str) -> Result<(), FileError> {
        let mut unused = self.file.names();
        unused.retain(|name| !self.used.contains(*name) && !self.naming.is_idle(name));
        unused.sort_unstable();
        match unused.first() {
            None => Ok(()),
            Some(name) => {
                Err(FileError::tensor(*name, format!("is not part of a {architecture} model as supported")))
            }
        }
    }

    fn take(
        &mut self,
        name: &str,
        rows: usize,
        columns: usize,
    ) -> Result<(String, Format, Vec<u8>), FileError> {
        let name = self.naming.in_file(name);
        let Some(info) = self.file.info(&name)? else { return Err(FileError::tensor(name, "is missing")) };
        if (info.rows, info.columns) != (rows, columns) {
            let (r, c) = (info.rows, info.columns);
            return Err(FileError::tensor(
                name,
                format!("has {r} rows of {c} numbers, not {rows} of {columns}"),
            ));
        }
        let format = info.format;
        let bytes = self.file.bytes(&name)?;
        self.used.insert(name.clone());
        Ok((name, format, bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_transformers() {
        let encoder = |prefix| Naming::Encoder { prefix };
        let cases = [
            (Naming::Gguf, "blk.3.attn_q.weight", "blk.3.attn_q.weight"),
            (Naming::Decoder, "blk.3.attn_q.weight", "model.layers.3.self_attn.q_proj.weight"),
            (Naming::Decoder, "output_norm.weight", "model.norm.weight"),
            (encoder(""), "blk.0.attn_output_norm.bias", "encoder.layer.0.attention.output.LayerNorm.bias"),
            (encoder("bert."), "token_embd.weight", "bert.embeddings.word_embeddings.weight"),
            (Naming::Decoder, "rope_freqs.weight", "rope_freqs.weight"),
        ];
        for (naming, ours, theirs) in cases {
            assert_eq!(naming.in_file(ours), theirs);
        }
        assert!(encoder("bert.").is_idle("cls.predictions.bias"));
        assert!(!encoder("").is_idle("encoder.layer.0.output.dense.weight"));
    }
}
