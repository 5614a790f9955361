//! An encoder's files as one GGUF file, which travels as one blob and needs nothing beside it.
//!
//! Weights keep their bits, and texts their tokens, so vectors are the same from either.

use crate::encoder::{EncoderConfig, Pooling};
use crate::file::FileError;
use crate::gguf::{Value, Writer};
use crate::kernels::Activation;
use crate::safetensors::Safetensors;
use crate::tensors::Naming;
use crate::tokens::Tokenizer;

/// The parts of an encoder that have a weight and a bias: those of the whole, and those of each layer.
const PARTS: [&str; 1] = ["token_embd_norm"];
const LAYER_PARTS: [&str; 8] = [
    "attn_q",
    "attn_k",
    "attn_v",
    "attn_output",
    "attn_output_norm",
    "ffn_up",
    "ffn_down",
    "layer_output_norm",
];

/// A GGUF file of an encoder that is published as safetensors. `config`, `pooling` and `tokenizer` are the texts of its
/// `config.json`, `1_Pooling/config.json` (if there is one) and `tokenizer.json`; `name` is what people call it.
///
/// # Errors
///
/// The encoder is not one that [`Encoder::load_safetensors`](crate::Encoder::load_safetensors) takes, or does something for
/// which GGUF has no word.
pub fn encoder_to_gguf(
    name: &str,
    weights: &Safetensors<'_>,
    (config, pooling, tokenizer): (&str, Option<&str>, &str),
) -> Result<Vec<u8>, FileError> {
    let naming = Naming::of_encoder(weights);
    let embedding = naming.in_file("token_embd.weight");
    let Some(info) = weights.tensor(&embedding)? else {
        return Err(FileError::tensor(embedding, "is missing"));
    };
    let config_of = EncoderConfig::from_json(config, pooling, info.rows)?;
    let tokenizer = Tokenizer::read_json(tokenizer, Some(config))?;
    let mut writer = Writer::new();
    put_config(&mut writer, name, &config_of)?;
    tokenizer.put_words(&mut writer)?;
    let mut names: Vec<String> =
        ["token_embd", "position_embd", "token_types"].map(|part| format!("{part}.weight")).into();
    let parts = PARTS.iter().map(|&part| part.to_owned());
    let layers =
        (0..config_of.layers).flat_map(|layer| LAYER_PARTS.map(|part| format!("blk.{layer}.{part}")));
    for part in parts.chain(layers) {
        names.extend([format!("{part}.weight"), format!("{part}.bias")]);
    }
    for name in names {
        let theirs = naming.in_file(&name);
        let Some(info) = weights.tensor(&theirs)? else {
            return Err(FileError::tensor(theirs, "is missing"));
        };
        let dims = if info.rows == 1 { vec![info.columns] } else { vec![info.columns, info.rows] };
        writer.tensor(name, &dims, info.format, weights.tensor_bytes(&theirs)?);
    }
    Ok(writer.finish())
}

fn put_config(writer: &mut Writer, name: &str, config: &EncoderConfig) -> Result<(), FileError> {
    if config.activation != Activation::Gelu {
        return Err(FileError::json("config.json", "GGUF has no word for its \"hidden_act\""));
    }
    writer.key("general.architecture", Value::Text("bert".into()));
    writer.key("general.name", Value::Text(name.into()));
    let pooling = match config.pooling {
        Pooling::Mean => 1,
        Pooling::First => 2,
    };
    let sizes = [
        ("block_count", config.layers),
        ("context_length", config.context),
        ("embedding_length", config.width),
        ("feed_forward_length", config.feed_forward),
        ("attention.head_count", config.heads),
        ("pooling_type", pooling),
    ];
    for (key, size) in sizes {
        writer.key(format!("bert.{key}"), Value::Integer(size as i64));
    }
    writer.key("bert.attention.layer_norm_epsilon", Value::Float(f64::from(config.epsilon)));
    writer.key("bert.attention.causal", Value::Bool(false));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Encoder, Engine, Gguf, InstructionSet, tiny};

    const TEXTS: [&str; 4] = ["The tide turned.", "mills, 1690 (海)", "", "[CLS] unknown ☃ words [MASK]"];

    fn bits(encoder: &Encoder, tokenizer: &Tokenizer) -> Vec<Vec<u32>> {
        let texts: Vec<Vec<u32>> = TEXTS.iter().map(|text| tokenizer.encode(text)).collect();
        let texts: Vec<&[u32]> = texts.iter().map(Vec::as_slice).collect();
        let vectors = Engine::new(InstructionSet::best(), 1).encode(encoder, &texts).unwrap();
        let bits = |text| vectors.vector(text).unwrap().iter().map(|x| x.to_bits()).collect();
        (0..vectors.len()).map(bits).collect()
    }

    #[test]
    fn vectors_are_the_same_from_either_file() {
        let files = tiny::encoder(5);
        let weights = Safetensors::read(&[&files.weights]).unwrap();
        for pooling in [None, Some(r#"{"pooling_mode_cls_token": true, "pooling_mode_mean_tokens": false}"#)]
        {
            let gguf = encoder_to_gguf("tiny", &weights, (&files.config, pooling, &files.tokenizer)).unwrap();
            let read = Gguf::read(&gguf).unwrap();
            assert_eq!(read.metadata().text("general.name").unwrap(), Some("tiny"));
            let (ours, theirs) =
                (Encoder::load(&gguf, &read).unwrap(), Tokenizer::read(read.metadata()).unwrap());
            let encoder = Encoder::load_safetensors(&weights, &files.config, pooling).unwrap();
            let tokenizer = Tokenizer::read_json(&files.tokenizer, Some(&files.config)).unwrap();
            for text in TEXTS {
                assert_eq!(theirs.encode(text), tokenizer.encode(text), "{text}");
            }
            assert_eq!(bits(&ours, &theirs), bits(&encoder, &tokenizer));
        }
    }

    #[test]
    fn what_has_no_word_in_gguf_is_refused() {
        let files = tiny::encoder(5);
        let weights = Safetensors::read(&[&files.weights]).unwrap();
        let refused = |config: &str, tokenizer: &str| {
            encoder_to_gguf("tiny", &weights, (config, None, tokenizer)).unwrap_err().to_string()
        };
        let config = files.config.replace("\"gelu\"", "\"gelu_new\"");
        assert!(refused(&config, &files.tokenizer).contains("hidden_act"));
        let cased = files.tokenizer.replace("\"lowercase\":true", "\"lowercase\":false");
        assert_ne!(cased, files.tokenizer);
        assert!(
            refused(&files.config, &cased).contains("GGUF has no word"),
            "{}",
            refused(&files.config, &cased)
        );
    }
}
