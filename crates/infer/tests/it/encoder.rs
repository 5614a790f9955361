//! An encoder's vectors have the same bits on every instruction set, with any number of threads, beside any other texts,
//! and from either kind of file.

use tidemill_infer::gguf::{Value, Writer};
use tidemill_infer::{
    EncodeError, Encoder, Engine, FileError, Gguf, InstructionSet, NotFinite, Pooling, Safetensors,
    Tokenizer, tiny,
};

const TEXTS: [&str; 6] = [
    "The tide turned.",
    "a",
    "",
    "The mill's wheel turns as the water turns, 24 hours a day, and the sea ends it.",
    "tide tide tide",
    "海 mills 1690",
];

fn load(pooling: Option<&str>) -> (Encoder, Tokenizer) {
    let files = tiny::encoder(20);
    let weights = Safetensors::read(&[&files.weights]).unwrap();
    let encoder = Encoder::load_safetensors(&weights, &files.config, pooling).unwrap();
    (encoder, Tokenizer::read_json(&files.tokenizer, Some(&files.config)).unwrap())
}

fn load_gguf(all_formats: bool) -> Encoder {
    let bytes = tiny::encoder_gguf(20, all_formats);
    Encoder::load(&bytes, &Gguf::read(&bytes).unwrap()).unwrap()
}

fn texts(tokenizer: &Tokenizer) -> Vec<Vec<u32>> {
    TEXTS.iter().map(|text| tokenizer.encode(text)).collect()
}

/// The bits of each text's vector.
fn vectors(engine: &mut Engine, encoder: &Encoder, texts: &[Vec<u32>]) -> Vec<Vec<u32>> {
    let texts: Vec<&[u32]> = texts.iter().map(Vec::as_slice).collect();
    let vectors = engine.encode(encoder, &texts).unwrap();
    (0..vectors.len())
        .map(|text| vectors.vector(text).unwrap().iter().map(|x| x.to_bits()).collect())
        .collect()
}

fn hash(vectors: &[Vec<u32>]) -> String {
    let mut hasher = blake3::Hasher::new();
    for x in vectors.iter().flatten() {
        hasher.update(&x.to_le_bytes());
    }
    hasher.finalize().to_hex()[..16].to_owned()
}

fn check(encoder: &Encoder, texts: &[Vec<u32>], golden: &str) {
    let expected = vectors(&mut Engine::new(InstructionSet::PLAIN, 1), encoder, texts);
    assert_eq!(
        hash(&expected),
        golden,
        "the definition has changed, and so is another version of the engine"
    );
    for isa in InstructionSet::available() {
        // Plain Rust is slow, and shares its work out as the others do.
        let most_threads = if isa == InstructionSet::PLAIN { 1 } else { 3 };
        for threads in 1..=most_threads {
            let mut engine = Engine::new(isa, threads);
            assert_eq!(vectors(&mut engine, encoder, texts), expected, "{isa}, {threads} threads, together");
            for (text, expected) in texts.iter().zip(&expected) {
                let alone = vectors(&mut engine, encoder, std::slice::from_ref(text));
                assert_eq!(&alone[0], expected, "{isa}, {threads} threads, alone");
            }
            if isa == InstructionSet::PLAIN {
                continue;
            }
            // More than are computed at once, in another order.
            let many: Vec<Vec<u32>> = texts.iter().rev().cycle().take(60).cloned().collect();
            let computed = vectors(&mut engine, encoder, &many);
            for (vector, expected) in computed.iter().zip(expected.iter().rev().cycle()) {
                assert_eq!(vector, expected, "{isa}, {threads} threads, many");
            }
        }
    }
}

#[test]
fn means() {
    let (encoder, tokenizer) = load(None);
    check(&encoder, &texts(&tokenizer), "19cfbe775e339818");
}

#[test]
fn first_tokens() {
    let (encoder, tokenizer) = load(Some(r#"{"pooling_mode_cls_token": true}"#));
    assert_eq!(encoder.config().pooling, Pooling::First);
    check(&encoder, &texts(&tokenizer), "3f088fdc36ea6d6a");
}

#[test]
fn quantised() {
    let (_, tokenizer) = load(None);
    check(&load_gguf(true), &texts(&tokenizer), "62647c9d8bb4d66c");
}

#[test]
fn both_kinds_of_files_give_the_same_bits() {
    let (encoder, tokenizer) = load(None);
    let mut engine = Engine::new(InstructionSet::best(), 1);
    let texts = texts(&tokenizer);
    assert_eq!(vectors(&mut engine, &encoder, &texts), vectors(&mut engine, &load_gguf(false), &texts));
}

#[test]
fn vectors_have_length_1_and_tell_texts_apart() {
    let (encoder, tokenizer) = load(None);
    let vectors = vectors(&mut Engine::new(InstructionSet::best(), 2), &encoder, &texts(&tokenizer));
    let product = |a: &[u32], b: &[u32]| -> f32 {
        a.iter().zip(b).map(|(&a, &b)| f32::from_bits(a) * f32::from_bits(b)).sum()
    };
    for (number, vector) in vectors.iter().enumerate() {
        assert!((product(vector, vector) - 1.0).abs() < 1e-5);
        for other in &vectors[..number] {
            assert!(product(vector, other) < 0.999);
        }
    }
}

#[test]
fn texts_that_do_not_fit_are_refused() {
    let (encoder, _) = load(None);
    let mut engine = Engine::new(InstructionSet::best(), 1);
    let mut encode = |texts: &[&[u32]]| engine.encode(&encoder, texts).map(|vectors| vectors.len());
    let vocabulary = encoder.config().vocabulary;
    assert_eq!(encode(&[]), Ok(0));
    assert_eq!(encode(&[&[1], &[]]), Err(EncodeError::Empty { text: 1 }));
    assert_eq!(encode(&[&[1, 5_000]]), Err(EncodeError::Token { text: 0, token: 5_000, vocabulary }));
    assert_eq!(encode(&[&[1; 65]]), Err(EncodeError::Context { text: 0, tokens: 65, context: 64 }));
    assert_eq!(encode(&[&[1; 64], &[2; 64]]), Ok(2));
}

/// A tensor's shape, kind and bytes.
type Tensor<'a> = (&'a [usize], &'a str, Vec<u8>);

/// A tiny encoder with one of its tensors replaced, or left out.
fn changed(name: &str, tensor: Option<Tensor<'_>>) -> Result<Encoder, String> {
    let files = tiny::encoder(20);
    let weights = Safetensors::read(&[&files.weights]).unwrap();
    let mut writer = tidemill_infer::safetensors::Writer::new();
    for other in weights.names().filter(|other| *other != name && !other.ends_with("position_ids")) {
        let info = weights.tensor(other).unwrap().unwrap();
        let shape = [info.rows, info.columns];
        writer.tensor(
            other,
            &shape[2 - info.dimensions as usize..],
            "F32",
            &weights.tensor_bytes(other).unwrap(),
        );
    }
    if let Some((shape, kind, bytes)) = tensor {
        writer.tensor(name, shape, kind, &bytes);
    }
    let bytes = writer.finish();
    let weights = Safetensors::read(&[&bytes]).unwrap();
    Encoder::load_safetensors(&weights, &files.config, None).map_err(|error: FileError| error.to_string())
}

#[test]
fn wrong_tensors_are_named() {
    let name = "encoder.layer.1.intermediate.dense.weight";
    let floats = |count: usize, x: f32| x.to_le_bytes().repeat(count);
    let mut infinite = floats(256 * 512, 0.5);
    infinite[4_000..4_004].copy_from_slice(&f32::INFINITY.to_le_bytes());
    let cases: [(Option<Tensor<'_>>, &str); 4] = [
        (None, "is missing"),
        (Some((&[8, 256], "F32", floats(2_048, 0.0))), "has 8 rows of 256 numbers, not 512 of 256"),
        (Some((&[512, 256], "F32", infinite)), "row 3 has a number that is not finite"),
        (Some((&[512, 256], "I32", floats(512 * 256, 0.0))), "numbers of the kind \"I32\" are not supported"),
    ];
    for (tensor, problem) in cases {
        let error = changed(name, tensor).unwrap_err();
        assert!(error.contains(name) && error.contains(problem), "{error}");
    }
    let error =
        changed("encoder.layer.2.output.dense.weight", Some((&[1], "F32", floats(1, 0.0)))).unwrap_err();
    assert!(error.contains("encoder.layer.2") && error.contains("is not part of a bert model"), "{error}");
    assert!(changed("pooler.dense.weight", Some((&[1], "F32", floats(1, 0.0)))).is_ok());
}

#[test]
fn numbers_that_overflow_are_an_error() {
    let huge = 1e38f32.to_le_bytes().repeat(256);
    let encoder = changed("embeddings.LayerNorm.weight", Some((&[256], "F32", huge))).unwrap();
    for isa in InstructionSet::available() {
        let vectors = Engine::new(isa, 1).encode(&encoder, &[&[1, 2]]).unwrap();
        assert_eq!(vectors.vector(0), Err(NotFinite));
    }
}

#[test]
fn wrong_keys_of_a_gguf_file_are_named() {
    let bytes = tiny::encoder_gguf(20, false);
    let gguf = Gguf::read(&bytes).unwrap();
    let cases = [
        ("general.architecture", Value::Text("llama".into()), "\"llama\" is no encoder"),
        ("bert.block_count", Value::Integer(0), "0 is not between 1 and"),
        ("bert.attention.causal", Value::Bool(true), "must be false"),
        ("bert.pooling_type", Value::Integer(4), "4 is not supported"),
        ("bert.attention.head_count", Value::Integer(7), "7 heads do not share 256"),
    ];
    for (key, value, problem) in cases {
        let mut writer = Writer::new();
        for (other, value) in gguf.metadata().iter().filter(|(other, _)| *other != key) {
            writer.key(other, value.clone());
        }
        writer.key(key, value);
        for (name, info) in gguf.tensors() {
            let dims = [info.columns, info.rows];
            writer.tensor(name, &dims, info.format, gguf.tensor_bytes(&bytes, name).unwrap());
        }
        let changed = writer.finish();
        let error = Encoder::load(&changed, &Gguf::read(&changed).unwrap()).unwrap_err().to_string();
        assert!(error.contains(problem), "{key}: {error}");
    }
}
