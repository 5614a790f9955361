//! Files that are right, cut, flipped, and made to deceive.

use super::*;
use crate::model::Model;
use crate::tiny;

fn read(bytes: &[u8]) -> Result<Gguf, FileError> {
    Gguf::read(&bytes.to_vec())
}

/// The error's words.
fn refusal(bytes: &[u8]) -> String {
    read(bytes).expect_err("a wrong file").to_string()
}

fn one_tensor(dims: &[usize], format: Format, len: usize) -> Vec<u8> {
    Writer::new().tensor("blk.0.attn_q.weight", dims, format, vec![0; len]).finish()
}

#[test]
fn what_is_written_is_read() {
    let mut writer = Writer::new();
    let values = [
        ("a", Value::Integer(-3)),
        ("b", Value::Float(0.5)),
        ("c", Value::Bool(true)),
        ("d", Value::Text("wörter".into())),
        ("e", Value::Texts(vec!["x".into(), String::new()])),
        ("f", Value::Integers(vec![1, 2])),
        ("g", Value::Floats(vec![0.25])),
    ];
    for (key, value) in values.clone() {
        writer.key(key, value);
    }
    let bytes = writer.tensor("t", &[32, 2], Format::Q8_0, (0..68).collect()).finish();
    let gguf = read(&bytes).unwrap();
    for (key, value) in &values {
        assert_eq!(gguf.metadata().get(key), Some(value));
    }
    let info = gguf.tensor("t").unwrap();
    assert_eq!((info.rows, info.columns, info.dimensions, info.byte_len()), (2, 32, 2, 68));
    assert_eq!(gguf.tensor_bytes(&bytes, "t").unwrap(), (0..68).collect::<Vec<u8>>());
}

#[test]
fn other_files_are_refused() {
    assert!(refusal(b"PK\x03\x04 a zip file").starts_with("not a GGUF file"));
    assert_eq!(refusal(b"GG"), "the file ends within the magic number");
    let mut bytes = Writer::new().finish();
    bytes[4] = 1;
    assert_eq!(
        refusal(&bytes),
        "GGUF version 1 is not supported: versions 2 and 3 are, in little-endian order"
    );
}

#[test]
fn sizes_are_checked_and_name_the_tensor() {
    let name = "tensor \"blk.0.attn_q.weight\"";
    let cases = [
        (one_tensor(&[33], Format::Q4_0, 64), "has rows of 33 numbers, not a multiple of 32 as Q4_0 needs"),
        (one_tensor(&[32, 0], Format::Q4_0, 64), "has a dimension of 0"),
        (one_tensor(&[32; 5], Format::Q4_0, 64), "has 5 dimensions, not 1 to 4"),
        (
            one_tensor(&[32, 100], Format::Q4_0, 64),
            "needs 1800 bytes at offset 0, but the file ends before that",
        ),
        (
            one_tensor(&[1 << 40, 1 << 40], Format::F32, 64),
            "has more numbers than fit in memory: [1099511627776, 1099511627776]",
        ),
    ];
    for (bytes, problem) in cases {
        assert_eq!(refusal(&bytes), format!("{name}: {problem}"));
    }
}

#[test]
fn unknown_formats_are_named() {
    let mut bytes = one_tensor(&[256], Format::Q4K, 144);
    // Magic, version, counts; the name with its length; the number of dimensions and one dimension.
    let at = 24 + 8 + 19 + 4 + 8;
    bytes[at] = 10;
    assert_eq!(refusal(&bytes), "tensor \"blk.0.attn_q.weight\": format Q2_K is not supported");
}

#[test]
fn offsets_must_be_aligned_and_within_the_file() {
    let bytes = one_tensor(&[256], Format::Q4K, 144);
    let at = 24 + 8 + 19 + 4 + 8 + 4;
    for (offset, problem) in
        [(1u64, "begins at 1, not"), (1 << 40, "the file ends"), (u64::MAX - 31, "the file ends")]
    {
        let mut bytes = bytes.clone();
        bytes[at..at + 8].copy_from_slice(&offset.to_le_bytes());
        let refusal = refusal(&bytes);
        assert!(refusal.contains("blk.0.attn_q.weight") && refusal.contains(problem), "{refusal}");
    }
}

#[test]
fn claims_are_not_believed_before_memory_is_taken() {
    let mut bytes = Writer::new().key("k", Value::Texts(vec!["x".into()])).finish();
    bytes[8..16].copy_from_slice(&u64::MAX.to_le_bytes());
    assert!(refusal(&bytes).contains("tensors, more than"));
    let mut bytes = Writer::new().key("k", Value::Texts(vec!["x".into()])).finish();
    let count = 24 + 8 + 1 + 4 + 4;
    bytes[count..count + 8].copy_from_slice(&(1u64 << 60).to_le_bytes());
    assert_eq!(refusal(&bytes), "the file ends within the array \"k\"");
}

#[test]
fn names_are_there_once() {
    let mut writer = Writer::new();
    writer.tensor("t", &[1], Format::F32, vec![0; 4]).tensor("t", &[1], Format::F32, vec![0; 4]);
    assert_eq!(refusal(&writer.finish()), "tensor \"t\": is there twice");
    let mut writer = Writer::new();
    writer.key("k", Value::Bool(true)).key("k", Value::Bool(true));
    assert_eq!(refusal(&writer.finish()), "metadata key \"k\": is there twice");
}

#[test]
fn a_model_cut_anywhere_is_refused() {
    let bytes = tiny::model("llama", 1);
    let whole = bytes.len();
    let header = 20_000.min(whole);
    let cuts = (0..header).step_by(7).chain((header..whole - 32).step_by(9_973));
    for cut in cuts {
        let cut = bytes[..cut].to_vec();
        assert!(Gguf::read(&cut).is_err(), "cut at {}", cut.len());
    }
}

/// Whatever a flipped bit makes of a header, reading and loading it ends with a model or an error.
#[test]
fn flipped_bits_in_the_header_do_no_harm() {
    let bytes = tiny::model("qwen3", 1);
    let gguf = read(&bytes).unwrap();
    let header = gguf.tensors().map(|(_, info)| info.at).min().unwrap() as usize;
    let (mut refused, mut loaded) = (0, 0);
    for at in 0..header {
        // The tokens are texts: flipping each of them says nothing new.
        if at % 5 != 0 && (1_200..header - 3_000).contains(&at) {
            continue;
        }
        let mut bytes = bytes.clone();
        bytes[at] ^= 1 << (at % 8);
        match Gguf::read(&bytes) {
            Err(_) => refused += 1,
            Ok(gguf) if at % 40 == 0 => match Model::load(&bytes, &gguf) {
                Err(_) => refused += 1,
                Ok(_) => loaded += 1,
            },
            Ok(_) => loaded += 1,
        }
    }
    assert!(refused > 100 && loaded > 100, "{refused} refused, {loaded} loaded");
}

proptest::proptest! {
    #[test]
    fn any_bytes_are_read_without_harm(tail in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..400)) {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(3u32.to_le_bytes());
        bytes.extend(&tail);
        let _ = Gguf::read(&bytes);
    }
}
