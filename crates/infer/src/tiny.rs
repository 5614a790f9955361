//! Models of about one megabyte that are made from a seed: they say nothing sensible, and exercise all that real ones
//! do. Tests use them, and a machine can prove by one that its kernels have the right bits.

mod encoder;

use crate::encoder::Encoder;
use crate::format::Format;
use crate::forward::{Engine, Feed};
use crate::gguf::{Gguf, Value, Writer};
use crate::kernels::InstructionSet;
use crate::kv::Sequence;
use crate::math::float_to_half;
use crate::model::Model;
use crate::safetensors::Safetensors;
pub use encoder::{EncoderFiles, encoder, encoder_gguf};

/// Tokens of a tiny model.
const VOCABULARY: usize = 512;
const WIDTH: usize = 256;
const FEED_FORWARD: usize = 512;
const HEAD_LEN: usize = 32;
const HEADS: usize = 8;
const KV_HEADS: usize = 2;

/// Formats of the matrices, in turn, so that a model has all of them.
const FORMATS: [Format; 11] = [
    Format::Q4_0,
    Format::Q8_0,
    Format::Q4_1,
    Format::F16,
    Format::Q6K,
    Format::Q4K,
    Format::Q5_0,
    Format::BF16,
    Format::Q5K,
    Format::Q5_1,
    Format::F32,
];

/// A model file of an architecture (`llama`, `qwen2`, `qwen3` or `gemma3`).
pub fn model(architecture: &str, seed: u64) -> Vec<u8> {
    let layers = if architecture == "gemma3" { 3 } else { 2 };
    let mut writer = Writer::new();
    writer.key("general.architecture", Value::Text(architecture.into()));
    writer.key("general.name", Value::Text("tiny".into()));
    let sizes = [
        ("block_count", layers),
        ("context_length", 512),
        ("embedding_length", WIDTH),
        ("feed_forward_length", FEED_FORWARD),
        ("attention.head_count", HEADS),
        ("attention.head_count_kv", KV_HEADS),
        ("attention.key_length", HEAD_LEN),
        ("attention.value_length", HEAD_LEN),
    ];
    for (key, size) in sizes {
        writer.key(format!("{architecture}.{key}"), Value::Integer(size as i64));
    }
    writer.key(format!("{architecture}.attention.layer_norm_rms_epsilon"), Value::Float(1e-5));
    if architecture == "gemma3" {
        writer.key("gemma3.attention.sliding_window", Value::Integer(20));
        writer.key("gemma3.attention.sliding_window_pattern", Value::Integer(2));
    }
    put_tokenizer(&mut writer);
    let mut tensors = Tensors { writer, seed, formats: FORMATS.iter().cycle() };
    tensors.put("token_embd.weight", &[WIDTH, VOCABULARY], Format::Q8_0);
    tensors.norm("output_norm.weight", WIDTH);
    for layer in 0..layers {
        tensors.layer(architecture, layer);
    }
    tensors.writer.finish()
}

/// True where an instruction set has the bits of the definition, on the processor that this runs on: to be asked before a
/// machine offers to compute for others. It takes some milliseconds.
pub fn has_right_bits(isa: InstructionSet) -> bool {
    logits_hash(isa).is_some_and(|hash| hash == RIGHT)
        && vectors_hash(isa).is_some_and(|hash| hash == RIGHT_VECTORS)
}

/// The hashes of a tiny decoder's logits and of a tiny encoder's vectors, as plain Rust computes them.
const RIGHT: &str = "940c5288ff940584";
const RIGHT_VECTORS: &str = "b4f210cd22416e46";

fn logits_hash(isa: InstructionSet) -> Option<String> {
    let bytes = model("qwen3", 7);
    let model = Model::load(&bytes, &Gguf::read(&bytes).ok()?).ok()?;
    let mut sequence = Sequence::new(model.config());
    let tokens: Vec<u32> = (0..21).collect();
    let mut feeds = [Feed { sequence: &mut sequence, tokens: &tokens, logits_from: 0 }];
    let output = Engine::new(isa, 1).forward(&model, &mut feeds).ok()?;
    let rows = (0..output.len()).map(|number| output.logits(number).ok());
    hash(rows)
}

fn vectors_hash(isa: InstructionSet) -> Option<String> {
    let files = encoder(7);
    let encoder =
        Encoder::load_safetensors(&Safetensors::read(&[&files.weights]).ok()?, &files.config, None).ok()?;
    let tokens: Vec<u32> = (0..60).collect();
    let vectors = Engine::new(isa, 1).encode(&encoder, &[&tokens[..21], &tokens[21..]]).ok()?;
    hash((0..vectors.len()).map(|text| vectors.vector(text).ok()))
}

fn hash<'a>(rows: impl Iterator<Item = Option<&'a [f32]>>) -> Option<String> {
    let mut hasher = blake3::Hasher::new();
    for row in rows {
        hasher.update(&row?.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>());
    }
    Some(hasher.finalize().to_hex()[..16].to_owned())
}

/// Bytes of a tensor of numbers between about -0.1 and 0.1.
pub(crate) fn random_tensor(seed: u64, format: Format, count: usize) -> Vec<u8> {
    let mut random = Random(seed);
    let mut bytes = Vec::new();
    let dense = |random: &mut Random| (random.unit() - 0.5) * 0.2;
    for _ in 0..count / format.block_len() {
        let at = bytes.len();
        match format {
            Format::F32 => bytes.extend(dense(&mut random).to_le_bytes()),
            Format::F16 => bytes.extend(float_to_half(dense(&mut random)).to_le_bytes()),
            Format::BF16 => bytes.extend(&dense(&mut random).to_le_bytes()[2..]),
            _ => bytes.extend((0..format.block_bytes()).map(|_| random.next() as u8)),
        }
        // The scale, then the minimum, at their places.
        let (scale, minimum): ((usize, f32), Option<(usize, f32)>) = match format {
            Format::Q4_0 => ((0, 0.012), None),
            Format::Q4_1 => ((0, 0.012), Some((2, -0.09))),
            Format::Q5_0 => ((0, 0.006), None),
            Format::Q5_1 => ((0, 0.006), Some((2, -0.09))),
            Format::Q8_0 => ((0, 0.0008), None),
            Format::Q4K => ((0, 0.0004), Some((2, 0.003))),
            Format::Q5K => ((0, 0.0002), Some((2, 0.003))),
            Format::Q6K => ((208, 0.00004), None),
            Format::F32 | Format::F16 | Format::BF16 => continue,
        };
        for (place, size) in std::iter::once(scale).chain(minimum) {
            let half = float_to_half(size * (0.5 + random.unit()));
            bytes[at + place..at + place + 2].copy_from_slice(&half.to_le_bytes());
        }
    }
    bytes
}

struct Tensors<'a> {
    writer: Writer,
    seed: u64,
    formats: std::iter::Cycle<std::slice::Iter<'a, Format>>,
}

impl Tensors<'_> {
    fn layer(&mut self, architecture: &str, layer: usize) {
        let name = |part: &str| format!("blk.{layer}.{part}.weight");
        self.norm(&name("attn_norm"), WIDTH);
        self.norm(&name("ffn_norm"), WIDTH);
        let (queries, keys) = (HEADS * HEAD_LEN, KV_HEADS * HEAD_LEN);
        let matrices = [
            ("attn_q", WIDTH, queries),
            ("attn_k", WIDTH, keys),
            ("attn_v", WIDTH, keys),
            ("attn_output", queries, WIDTH),
            ("ffn_gate", WIDTH, FEED_FORWARD),
            ("ffn_up", WIDTH, FEED_FORWARD),
            ("ffn_down", FEED_FORWARD, WIDTH),
        ];
        for (part, columns, rows) in matrices {
            let format = *self.formats.next().expect("a cycle does not end");
            self.put(&name(part), &[columns, rows], format);
        }
        if architecture == "qwen2" {
            for (part, len) in [("attn_q", queries), ("attn_k", keys), ("attn_v", keys)] {
                self.put(&format!("blk.{layer}.{part}.bias"), &[len], Format::F32);
            }
        }
        if matches!(architecture, "qwen3" | "gemma3") {
            self.norm(&name("attn_q_norm"), HEAD_LEN);
            self.norm(&name("attn_k_norm"), HEAD_LEN);
        }
        if architecture == "gemma3" {
            self.norm(&name("post_attention_norm"), WIDTH);
            self.norm(&name("post_ffw_norm"), WIDTH);
        }
    }

    fn put(&mut self, name: &str, dims: &[usize], format: Format) {
        self.seed += 1;
        let bytes = random_tensor(self.seed, format, dims.iter().product());
        self.writer.tensor(name, dims, format, bytes);
    }

    fn norm(&mut self, name: &str, len: usize) {
        self.seed += 1;
        let mut random = Random(self.seed);
        let bytes = (0..len).flat_map(|_| (0.5 + random.unit()).to_le_bytes()).collect();
        self.writer.tensor(name, &[len], Format::F32, bytes);
    }
}

/// Splitmix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let x = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ x >> 31
    }

    /// From 0 to 1.
    fn unit(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1 << 24) as f32
    }
}

/// A vocabulary of bytes, a few merges, and the marks of a chat.
fn put_tokenizer(writer: &mut Writer) {
    const MERGES: [&str; 12] =
        ["t h", "th e", "i n", "e r", "a n", "an d", "o u", "Ġ t", "Ġ a", "Ġ the", "in g", "Ġ and"];
    const MARKS: [&str; 3] = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"];
    let mut tokens: Vec<String> = MARKS.iter().map(|&mark| mark.to_owned()).collect();
    tokens.extend((0..=255).map(|byte| crate::tokens::byte_letter(byte).to_string()));
    tokens.extend(MERGES.iter().map(|merge| merge.replace(' ', "")));
    let mut kinds = vec![3; MARKS.len()];
    kinds.resize(tokens.len(), 1);
    while tokens.len() < VOCABULARY {
        tokens.push(format!("<unused{}>", tokens.len()));
        kinds.push(5);
    }
    writer.key("tokenizer.ggml.model", Value::Text("gpt2".into()));
    writer.key("tokenizer.ggml.pre", Value::Text("smollm".into()));
    writer.key("tokenizer.ggml.tokens", Value::Texts(tokens));
    writer.key("tokenizer.ggml.token_type", Value::Integers(kinds));
    writer.key("tokenizer.ggml.merges", Value::Texts(MERGES.iter().map(|&merge| merge.to_owned()).collect()));
    writer.key("tokenizer.ggml.bos_token_id", Value::Integer(0));
    writer.key("tokenizer.ggml.eos_token_id", Value::Integer(2));
    writer.key(
        "tokenizer.chat_template",
        Value::Text(
            "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + \
             '<|im_end|>' + '\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
                .into(),
        ),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_the_right_bits() {
        assert_eq!(logits_hash(InstructionSet::PLAIN).as_deref(), Some(RIGHT));
        assert_eq!(vectors_hash(InstructionSet::PLAIN).as_deref(), Some(RIGHT_VECTORS));
        for isa in InstructionSet::available() {
            assert!(has_right_bits(isa), "{isa}");
        }
    }

    #[test]
    fn tiny_models_are_tiny_and_the_same_each_time() {
        for architecture in ["llama", "qwen2", "qwen3", "gemma3"] {
            let bytes = model(architecture, 1);
            assert!((900_000..2_500_000).contains(&bytes.len()), "{} bytes", bytes.len());
            assert_eq!(bytes, model(architecture, 1));
            assert_ne!(bytes, model(architecture, 2));
        }
    }
}
