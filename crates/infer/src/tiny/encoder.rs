//! An encoder that is made from a seed, as people publish them and as a GGUF file.

use serde_json::{Map, json};

use super::{FORMATS, Random, random_tensor};
use crate::format::Format;
use crate::gguf::{self, Value};
use crate::safetensors;
use crate::tensors::Naming;

const WIDTH: usize = 256;
const FEED_FORWARD: usize = 512;
const HEADS: usize = 8;
const LAYERS: usize = 2;
const CONTEXT: usize = 64;

/// Tokens by their numbers; what continues a word begins with `##`.
const MARKS: [&str; 5] = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];
const LETTERS: &str = "abcdefghijklmnopqrstuvwxyz0123456789.,!?'-";
const WORDS: [&str; 12] =
    ["the", "tide", "mill", "sea", "turn", "##s", "##ing", "##ed", "water", "wheel", "a", "海"];

/// The files of an encoder, as a directory has them.
#[derive(Clone, Debug)]
pub struct EncoderFiles {
    /// `model.safetensors`.
    pub weights: Vec<u8>,
    /// `config.json`.
    pub config: String,
    /// `tokenizer.json`.
    pub tokenizer: String,
}

/// An encoder's files.
pub fn encoder(seed: u64) -> EncoderFiles {
    let mut writer = safetensors::Writer::new();
    let naming = Naming::Encoder { prefix: "" };
    for tensor in tensors(seed) {
        let shape: Vec<usize> = tensor.dims.iter().rev().copied().collect();
        writer.tensor(naming.in_file(&tensor.name), &shape, "F32", &tensor.bytes(Format::F32));
    }
    writer.tensor("embeddings.position_ids", &[1, CONTEXT], "I64", &vec![0; 8 * CONTEXT]);
    let config = json!({
        "model_type": "bert",
        "hidden_size": WIDTH,
        "intermediate_size": FEED_FORWARD,
        "num_attention_heads": HEADS,
        "num_hidden_layers": LAYERS,
        "max_position_embeddings": CONTEXT,
        "hidden_act": "gelu",
        "layer_norm_eps": 1e-12,
    });
    EncoderFiles { weights: writer.finish(), config: config.to_string(), tokenizer: tokenizer() }
}

/// The same weights in a GGUF file: as they are, or in all formats in turn.
pub fn encoder_gguf(seed: u64, all_formats: bool) -> Vec<u8> {
    let mut writer = gguf::Writer::new();
    writer.key("general.architecture", Value::Text("bert".into()));
    let sizes = [
        ("block_count", LAYERS),
        ("context_length", CONTEXT),
        ("embedding_length", WIDTH),
        ("feed_forward_length", FEED_FORWARD),
        ("attention.head_count", HEADS),
        ("pooling_type", 1),
    ];
    for (key, size) in sizes {
        writer.key(format!("bert.{key}"), Value::Integer(size as i64));
    }
    writer.key("bert.attention.layer_norm_epsilon", Value::Float(1e-12));
    writer.key("bert.attention.causal", Value::Bool(false));
    writer.key("tokenizer.ggml.model", Value::Text("bert".into()));
    // Here what begins a word has a mark, and what continues one has none.
    let tokens = vocabulary().into_iter().map(|token| match token.strip_prefix("##") {
        Some(rest) => rest.to_owned(),
        None if MARKS.contains(&token.as_str()) => token,
        None => format!("\u{2581}{token}"),
    });
    let tokens: Vec<String> = tokens.collect();
    let kinds = (0..tokens.len()).map(|id| if id < MARKS.len() { 3 } else { 1 }).collect();
    writer.key("tokenizer.ggml.tokens", Value::Texts(tokens));
    writer.key("tokenizer.ggml.token_type", Value::Integers(kinds));
    for (key, id) in [("unknown", 1), ("cls", 2), ("seperator", 3)] {
        writer.key(format!("tokenizer.ggml.{key}_token_id"), Value::Integer(id));
    }
    let mut formats = FORMATS.iter().cycle();
    for tensor in tensors(seed) {
        let format = match formats.next() {
            Some(format) if all_formats && tensor.name.contains("blk") && tensor.dims.len() == 2 => *format,
            _ => Format::F32,
        };
        writer.tensor(&tensor.name, &tensor.dims, format, tensor.bytes(format));
    }
    writer.finish()
}

/// A tensor to be made: dimensions as GGUF has them, the contiguous one first.
struct Tensor {
    name: String,
    dims: Vec<usize>,
    is_norm: bool,
    seed: u64,
}

impl Tensor {
    fn bytes(&self, format: Format) -> Vec<u8> {
        let count = self.dims.iter().product();
        if !self.is_norm {
            return random_tensor(self.seed, format, count);
        }
        let mut random = Random(self.seed);
        (0..count).flat_map(|_| (0.5 + random.unit()).to_le_bytes()).collect()
    }
}

fn tensors(seed: u64) -> Vec<Tensor> {
    let mut all = Vec::new();
    let mut put = |name: String, dims: &[usize], is_norm: bool| {
        let seed = seed + 1_000 * (1 + all.len() as u64);
        all.push(Tensor { name, dims: dims.to_vec(), is_norm, seed });
    };
    put("token_embd.weight".into(), &[WIDTH, vocabulary().len()], false);
    put("position_embd.weight".into(), &[WIDTH, CONTEXT], false);
    put("token_types.weight".into(), &[WIDTH, 2], false);
    put("token_embd_norm.weight".into(), &[WIDTH], true);
    put("token_embd_norm.bias".into(), &[WIDTH], false);
    for layer in 0..LAYERS {
        let name = |part: &str| format!("blk.{layer}.{part}");
        let matrices = [
            ("attn_q", WIDTH, WIDTH),
            ("attn_k", WIDTH, WIDTH),
            ("attn_v", WIDTH, WIDTH),
            ("attn_output", WIDTH, WIDTH),
            ("ffn_up", WIDTH, FEED_FORWARD),
            ("ffn_down", FEED_FORWARD, WIDTH),
        ];
        for (part, columns, rows) in matrices {
            put(name(&format!("{part}.weight")), &[columns, rows], false);
            put(name(&format!("{part}.bias")), &[rows], false);
        }
        for part in ["attn_output_norm", "layer_output_norm"] {
            put(name(&format!("{part}.weight")), &[WIDTH], true);
            put(name(&format!("{part}.bias")), &[WIDTH], false);
        }
    }
    all
}

fn vocabulary() -> Vec<String> {
    let marks = MARKS.iter().map(|&mark| mark.to_owned());
    let letters = LETTERS.chars().flat_map(|letter| [letter.to_string(), format!("##{letter}")]);
    let mut all: Vec<String> = marks.chain(letters).collect();
    for word in WORDS {
        if !all.iter().any(|token| token == word) {
            all.push(word.to_owned());
        }
    }
    all
}

fn tokenizer() -> String {
    let vocab: Map<_, _> = (0..).zip(vocabulary()).map(|(id, token)| (token, json!(id))).collect();
    let added: Vec<_> =
        (0..).zip(MARKS).map(|(id, mark)| json!({"id": id, "content": mark, "special": true})).collect();
    json!({
        "version": "1.0",
        "added_tokens": added,
        "normalizer": {
            "type": "BertNormalizer",
            "clean_text": true,
            "handle_chinese_chars": true,
            "strip_accents": null,
            "lowercase": true,
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]},
        "model": {
            "type": "WordPiece",
            "unk_token": "[UNK]",
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
            "vocab": vocab,
        },
    })
    .to_string()
}
