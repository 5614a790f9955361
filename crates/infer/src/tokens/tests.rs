//! Vocabularies that are made by hand.

use super::*;
use crate::gguf::{Gguf, Value, Writer};
use crate::tiny;

fn tokenizer(bytes: Vec<u8>) -> Result<Tokenizer, String> {
    Tokenizer::read(Gguf::read(&bytes).unwrap().metadata()).map_err(|error| error.to_string())
}

fn text(tokenizer: &Tokenizer, tokens: &[u32]) -> String {
    String::from_utf8(tokens.iter().flat_map(|&token| tokenizer.bytes(token).to_vec()).collect()).unwrap()
}

/// A vocabulary with scores, as Llama 2 has it.
fn scored(pieces: &[(&str, f32, i64)]) -> Tokenizer {
    let mut writer = Writer::new();
    writer.key("tokenizer.ggml.model", Value::Text("llama".into()));
    writer.key("tokenizer.ggml.tokens", Value::Texts(pieces.iter().map(|piece| piece.0.into()).collect()));
    writer.key("tokenizer.ggml.scores", Value::Floats(pieces.iter().map(|piece| piece.1).collect()));
    writer.key("tokenizer.ggml.token_type", Value::Integers(pieces.iter().map(|piece| piece.2).collect()));
    writer.key("tokenizer.ggml.bos_token_id", Value::Integer(1));
    tokenizer(writer.finish()).unwrap()
}

#[test]
fn every_byte_has_a_letter() {
    for byte in 0..=255 {
        assert_eq!(letter_byte(byte_letter(byte)), Some(byte));
    }
    assert_eq!([b' ', b'\n', b'a', 0xad].map(byte_letter), ['Ġ', 'Ċ', 'a', '\u{143}']);
}

#[test]
fn words_of_bytes_are_merged_and_come_back() {
    let tokenizer = tokenizer(tiny::model("llama", 1)).unwrap();
    let letters =
        |text: &str| tokenizer.encode(text).iter().map(|&id| tokenizer.text(id)).collect::<Vec<_>>();
    assert_eq!(letters("the thing"), ["the", " ", "th", "ing"]);
    assert_eq!(letters("a and 12"), ["a", " and", " ", "1", "2"]);
    for whole in ["", "naïve 🦀\r\n\t  tabs", "\u{0}\u{7f}", "   "] {
        assert_eq!(text(&tokenizer, &tokenizer.encode(whole)), whole);
    }
}

#[test]
fn marks_are_tokens_and_have_no_text() {
    let tokenizer = tokenizer(tiny::model("llama", 1)).unwrap();
    let tokens = tokenizer.encode("<|im_start|>the<|im_end|>");
    assert_eq!(tokens, [1, tokenizer.id("the").unwrap(), 2]);
    assert_eq!(text(&tokenizer, &tokens), "the");
    assert_eq!(tokenizer.ends(), [2]);
}

#[test]
fn scores_decide_what_is_merged_first() {
    let pieces = [
        ("<unk>", 0.0, 2),
        ("<s>", 0.0, 3),
        ("<0xC3>", 0.0, 6),
        ("<0xA9>", 0.0, 6),
        ("\u{2581}", -1.0, 1),
        ("a", -2.0, 1),
        ("b", -3.0, 1),
        ("c", -3.0, 1),
        ("ab", -9.0, 1),
        ("bc", -5.0, 1),
        ("\u{2581}a", -6.0, 1),
    ];
    let tokenizer = scored(&pieces);
    let pieces = |text: &str| tokenizer.encode(text).iter().map(|&id| tokenizer.text(id)).collect::<Vec<_>>();
    assert_eq!(pieces("abc"), ["<s>", " a", "bc"]);
    assert_eq!(pieces("b ab"), ["<s>", " ", "b", " a", "b"]);
    let tokens = tokenizer.encode("é");
    assert_eq!(tokens, [1, 4, 2, 3]);
    assert_eq!(text(&tokenizer, &tokens), " é");
}

#[test]
fn patterns_cut_as_their_models_do() {
    let split = |name: &str, text: &'static str| Splitter::by_name(name).unwrap().split(text);
    assert_eq!(
        split("gpt-2", "I've 123  words,\n\n ok"),
        ["I", "'ve", " 123", " ", " words", ",", "\n\n", " ok"]
    );
    assert_eq!(split("smollm", "year 1690."), ["year", " ", "1", "6", "9", "0", "."]);
    assert_eq!(split("llama-bpe", "I'LL 12345!\n\nx"), ["I", "'LL", " ", "123", "45", "!\n\n", "x"]);
    assert_eq!(split("qwen2", "a 12"), ["a", " ", "1", "2"]);
    assert!(Splitter::by_name("other").is_none());
}

#[test]
fn a_long_word_takes_no_long_time() {
    let tokenizer = tokenizer(tiny::model("llama", 1)).unwrap();
    let tokens = tokenizer.encode(&"the".repeat(200_000));
    assert_eq!(tokens.len(), 200_000);
}

#[test]
fn wrong_vocabularies_are_refused_by_key() {
    let refuse = |change: &dyn Fn(&mut Writer)| {
        let mut writer = Writer::new();
        writer.key("tokenizer.ggml.tokens", Value::Texts(vec!["a".into(), "b".into()]));
        change(&mut writer);
        tokenizer(writer.finish()).unwrap_err()
    };
    let error = refuse(&|writer| {
        writer.key("tokenizer.ggml.model", Value::Text("rwkv".into()));
    });
    assert_eq!(
        error,
        "metadata key \"tokenizer.ggml.model\": \"rwkv\" is not supported: gpt2, llama and bert are"
    );
    let error = refuse(&|writer| {
        writer.key("tokenizer.ggml.model", Value::Text("gpt2".into()));
        writer.key("tokenizer.ggml.merges", Value::Texts(vec!["a b".into()]));
    });
    assert!(error.contains("\"a b\" does not merge two tokens to a third"), "{error}");
    let error = refuse(&|writer| {
        writer.key("tokenizer.ggml.model", Value::Text("llama".into()));
        writer.key("tokenizer.ggml.scores", Value::Floats(vec![0.0]));
    });
    assert!(error.contains("has another length"), "{error}");
}
