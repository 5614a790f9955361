//! A model that people use, all-MiniLM-L6-v2, against vectors computed in double precision.
//!
//! The expected tokens are those of the library `tokenizers` 0.23, the vectors those of
//! a forward written with NumPy in doubles, with `math.erf` for GELU.

use std::fs::{self, File};

use serde::Deserialize;
use tidemill_infer::{Encoder, Engine, FileSource, InstructionSet, Safetensors, Tokenizer};

const EXPECTED: &str = include_str!("../data/minilm.json");

#[derive(Deserialize)]
struct Expected {
    text: String,
    tokens: Vec<u32>,
    vector: Vec<f64>,
}

#[test]
fn vectors_are_those_of_the_reference() {
    let Some(directory) = crate::fetched_model("minilm") else { return };
    let text = |name: &str| fs::read_to_string(directory.join(name)).unwrap();
    let source = FileSource::new(File::open(directory.join("model.safetensors")).unwrap()).unwrap();
    let weights = Safetensors::read(&[&source]).unwrap();
    let pooling = text("1_Pooling/config.json");
    let encoder = Encoder::load_safetensors(&weights, &text("config.json"), Some(&pooling)).unwrap();
    let tokenizer = Tokenizer::read_json(&text("tokenizer.json"), Some(&text("config.json"))).unwrap();

    let expected: Vec<Expected> = serde_json::from_str(EXPECTED).unwrap();
    let texts: Vec<&[u32]> = expected.iter().map(|expected| expected.tokens.as_slice()).collect();
    for expected in &expected {
        assert_eq!(tokenizer.encode(&expected.text), expected.tokens, "{}", expected.text);
    }
    let mut bits: Option<Vec<Vec<u32>>> = None;
    for isa in InstructionSet::available() {
        let vectors = Engine::new(isa, 2).encode(&encoder, &texts).unwrap();
        let mut all = Vec::new();
        for (number, expected) in expected.iter().enumerate() {
            let vector = vectors.vector(number).unwrap();
            let pairs = || vector.iter().map(|&x| f64::from(x)).zip(&expected.vector);
            let product: f64 = pairs().map(|(a, b)| a * b).sum();
            let (ours, theirs) =
                pairs().fold((0.0, 0.0), |(ours, theirs), (a, b)| (ours + a * a, theirs + b * b));
            let cosine = product / (ours * theirs).sqrt();
            assert!(cosine >= 0.99999, "{cosine} for {:?} by {isa}", expected.text);
            all.push(vector.iter().map(|x| x.to_bits()).collect::<Vec<_>>());
        }
        assert_eq!(bits.get_or_insert(all.clone()), &all, "by {isa}");
    }
}
