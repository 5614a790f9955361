//! Decoders from safetensors files: the same answers as from a GGUF file of the same weights.

use tidemill_infer::gguf::{self, Value};
use tidemill_infer::{Engine, Feed, Format, Gguf, InstructionSet, Model, Safetensors, Sequence, safetensors};

const WIDTH: usize = 64;
const INNER: usize = 96;
const VOCABULARY: usize = 40;

/// Ours, theirs, rows, columns; norms have no rows.
fn tensors(kind: &str) -> Vec<(String, String, usize, usize)> {
    let mut all = vec![
        ("token_embd.weight".to_owned(), "model.embed_tokens.weight".to_owned(), VOCABULARY, WIDTH),
        ("output_norm.weight".into(), "model.norm.weight".into(), 0, WIDTH),
        ("output.weight".into(), "lm_head.weight".into(), VOCABULARY, WIDTH),
    ];
    for layer in 0..2 {
        let mut put = |ours: &str, theirs: &str, rows, columns| {
            let names = (format!("blk.{layer}.{ours}"), format!("model.layers.{layer}.{theirs}"));
            all.push((names.0, names.1, rows, columns));
        };
        put("attn_norm.weight", "input_layernorm.weight", 0, WIDTH);
        put("ffn_norm.weight", "post_attention_layernorm.weight", 0, WIDTH);
        for (part, rows) in [("q", 64), ("k", 32), ("v", 32)] {
            put(&format!("attn_{part}.weight"), &format!("self_attn.{part}_proj.weight"), rows, WIDTH);
            if kind == "qwen2" {
                put(&format!("attn_{part}.bias"), &format!("self_attn.{part}_proj.bias"), 0, rows);
            }
        }
        put("attn_output.weight", "self_attn.o_proj.weight", WIDTH, 64);
        if kind == "qwen3" {
            put("attn_q_norm.weight", "self_attn.q_norm.weight", 0, 16);
            put("attn_k_norm.weight", "self_attn.k_norm.weight", 0, 16);
        }
        put("ffn_gate.weight", "mlp.gate_proj.weight", INNER, WIDTH);
        put("ffn_up.weight", "mlp.up_proj.weight", INNER, WIDTH);
        put("ffn_down.weight", "mlp.down_proj.weight", WIDTH, INNER);
    }
    all
}

/// Numbers that look random, around 0.
fn numbers(seed: usize, count: usize) -> Vec<u8> {
    let number = |at: usize| ((at * 7_919 + seed * 104_729) % 2_003) as f32 / 8_000.0 - 0.12;
    (0..count).flat_map(|at| number(at).to_le_bytes()).collect()
}

fn gguf_model(kind: &str) -> Model {
    let mut writer = gguf::Writer::new();
    writer.key("general.architecture", Value::Text(kind.into()));
    let sizes = [
        ("block_count", 2),
        ("context_length", 64),
        ("embedding_length", WIDTH),
        ("feed_forward_length", INNER),
        ("attention.head_count", 4),
        ("attention.head_count_kv", 2),
        ("attention.key_length", 16),
    ];
    for (key, size) in sizes {
        writer.key(format!("{kind}.{key}"), Value::Integer(size as i64));
    }
    writer.key(format!("{kind}.attention.layer_norm_rms_epsilon"), Value::Float(1e-6));
    writer.key(format!("{kind}.rope.freq_base"), Value::Float(1e6));
    for (seed, (ours, _, rows, columns)) in tensors(kind).into_iter().enumerate() {
        let dims = [columns, rows];
        let bytes = numbers(seed, columns * rows.max(1));
        writer.tensor(ours, if rows == 0 { &dims[..1] } else { &dims }, Format::F32, bytes);
    }
    let bytes = writer.finish();
    Model::load(&bytes, &Gguf::read(&bytes).unwrap()).unwrap()
}

fn weights(kind: &str, drop: &str) -> Vec<u8> {
    let mut writer = safetensors::Writer::new();
    for (seed, (_, theirs, rows, columns)) in tensors(kind).into_iter().enumerate() {
        let shape = [rows, columns];
        let bytes = numbers(seed, columns * rows.max(1));
        if theirs != drop {
            writer.tensor(theirs, if rows == 0 { &shape[1..] } else { &shape }, "F32", &bytes);
        }
    }
    writer.finish()
}

fn config(kind: &str) -> serde_json::Value {
    serde_json::json!({
        "model_type": kind, "hidden_size": WIDTH, "intermediate_size": INNER, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64, "rms_norm_eps": 1e-6,
        "rope_theta": 1e6, "rope_scaling": null, "hidden_act": "silu", "tie_word_embeddings": false,
        "sliding_window": 4096, "use_sliding_window": false,
    })
}

fn load(weights: &[u8], config: &serde_json::Value) -> Result<Model, String> {
    let weights = weights.to_vec();
    let weights = Safetensors::read(&[&weights]).unwrap();
    Model::load_safetensors(&weights, &config.to_string()).map_err(|error| error.to_string())
}

fn logits(model: &Model) -> Vec<u32> {
    let mut sequence = Sequence::new(model.config());
    let tokens: Vec<u32> = (0..20).map(|at| at * 7 % 40).collect();
    let feed = Feed { sequence: &mut sequence, tokens: &tokens, logits_from: 18 };
    let output = Engine::new(InstructionSet::best(), 1).forward(model, &mut [feed]).unwrap();
    (0..2).flat_map(|number| output.logits(number).unwrap().iter().map(|x| x.to_bits())).collect()
}

#[test]
fn both_kinds_of_files_give_the_same_bits() {
    for kind in ["qwen2", "qwen3"] {
        let model = load(&weights(kind, ""), &config(kind)).unwrap();
        assert_eq!(logits(&model), logits(&gguf_model(kind)), "{kind}");
    }
    // Llama's heads are turned by halves here, and its weights are stored for that.
    let (llama, qwen) = (weights("llama", ""), weights("qwen1", ""));
    assert_eq!(llama, qwen);
    assert_eq!(logits(&load(&llama, &config("llama")).unwrap()).len(), 2 * VOCABULARY);
}

#[test]
fn an_output_that_is_the_embedding_is_not_read_twice() {
    let tied = |drop: &str| {
        let mut config = config("llama");
        config["tie_word_embeddings"] = true.into();
        logits(&load(&weights("llama", drop), &config).unwrap())
    };
    assert_eq!(tied("lm_head.weight"), tied(""));
    assert_ne!(tied(""), logits(&load(&weights("llama", ""), &config("llama")).unwrap()));
    let error = load(&weights("llama", "lm_head.weight"), &config("llama")).unwrap_err();
    assert_eq!(error, "tensor \"lm_head.weight\": is missing");
}

#[test]
fn wrong_keys_are_named() {
    let cases = [
        ("model_type", serde_json::json!("mamba"), "\"mamba\" is not supported"),
        ("hidden_size", serde_json::json!(65), "65 is not a multiple of 32"),
        ("num_hidden_layers", serde_json::json!(0), "must be between 1 and"),
        ("num_attention_heads", serde_json::json!(1_000), "0 is not a multiple of 16"),
        ("rms_norm_eps", serde_json::json!(null), "is missing"),
        ("rope_scaling", serde_json::json!({"rope_type": "yarn"}), "\"yarn\" is not supported"),
        ("use_sliding_window", serde_json::json!(true), "\"sliding_window\" is not supported"),
        ("hidden_act", serde_json::json!("relu"), "\"silu\" is"),
    ];
    for (key, value, problem) in cases {
        let mut config = config("llama");
        config[key] = value;
        let error = load(&weights("llama", ""), &config).unwrap_err();
        assert!(error.starts_with("config.json: ") && error.contains(problem), "{key}: {error}");
    }
}

#[test]
fn turning_is_read_from_either_place() {
    let weights = weights("llama", "");
    let mut moved = config("llama");
    moved["rope_theta"] = serde_json::Value::Null;
    moved["rope_parameters"] = serde_json::json!({"rope_theta": 1e6, "rope_type": "linear", "factor": 2.0});
    let mut scaled = config("llama");
    scaled["rope_scaling"] = serde_json::json!({"type": "linear", "factor": 2.0});
    let of = |config: &serde_json::Value| logits(&load(&weights, config).unwrap());
    assert_eq!(of(&moved), of(&scaled));
    assert_ne!(of(&scaled), of(&config("llama")));
}
