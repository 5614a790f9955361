//! Models and requests that are wrong get errors that say what is.

use tidemill_infer::gguf::{Value, Writer};
use tidemill_infer::{
    Engine, Feed, Format, ForwardError, Gguf, InstructionSet, Model, NotFinite, Sequence, tiny,
};

fn load(bytes: &[u8]) -> Result<Model, String> {
    let bytes = bytes.to_vec();
    let gguf = Gguf::read(&bytes).map_err(|error| error.to_string())?;
    Model::load(&bytes, &gguf).map_err(|error| error.to_string())
}

/// Dimensions, format and bytes.
type Tensor<'a> = (&'a [usize], Format, Vec<u8>);

/// A tiny model with some of its keys and tensors replaced, or left out.
fn changed(keys: &[(&str, Value)], tensors: &[(&str, Option<Tensor<'_>>)]) -> Vec<u8> {
    let bytes = tiny::model("llama", 20);
    let gguf = Gguf::read(&bytes).unwrap();
    let mut writer = Writer::new();
    for (key, value) in gguf.metadata().iter() {
        if keys.iter().all(|(other, _)| *other != key) {
            writer.key(key, value.clone());
        }
    }
    for (key, value) in keys {
        writer.key(*key, value.clone());
    }
    for (name, info) in gguf.tensors() {
        if tensors.iter().all(|(other, _)| *other != name) {
            let dims = [info.columns, info.rows];
            writer.tensor(name, &dims, info.format, gguf.tensor_bytes(&bytes, name).unwrap());
        }
    }
    for (name, tensor) in tensors {
        if let Some((dims, format, bytes)) = tensor {
            writer.tensor(*name, dims, *format, bytes.clone());
        }
    }
    writer.finish()
}

#[test]
fn an_unchanged_model_loads() {
    assert!(load(&changed(&[], &[])).is_ok());
}

#[test]
fn wrong_keys_are_named() {
    let cases = [
        ("general.architecture", Value::Text("mamba".into()), "\"mamba\" is not supported: llama, qwen2"),
        ("llama.block_count", Value::Integer(0), "0 is not between 1 and"),
        ("llama.block_count", Value::Integer(1 << 33), "must be an integer from 0"),
        ("llama.embedding_length", Value::Integer(250), "250 is not a multiple of 32"),
        ("llama.attention.head_count", Value::Integer(7), "7 heads of 32 do not share 2"),
        ("llama.attention.head_count_kv", Value::Text("x".into()), "must be an integer"),
        ("llama.rope.dimension_count", Value::Integer(33), "33 of 32 numbers cannot be turned"),
        ("llama.rope.scaling.type", Value::Text("yarn".into()), "\"yarn\" is not supported"),
        ("llama.rope.freq_base", Value::Float(f64::NAN), "must be a finite number"),
        ("llama.expert_count", Value::Integer(8), "mixtures of experts are not supported"),
    ];
    for (key, value, problem) in cases {
        let error = load(&changed(&[(key, value)], &[])).unwrap_err();
        assert!(error.contains(key) && error.contains(problem), "{key}: {error}");
    }
}

#[test]
fn wrong_tensors_are_named() {
    let name = "blk.1.ffn_up.weight";
    let floats =
        |count: usize, x: f32| std::iter::repeat_n(x.to_le_bytes(), count).flatten().collect::<Vec<u8>>();
    let narrow: Tensor<'_> = (&[256, 8], Format::F32, floats(2_048, 0.0));
    let mut wrong = floats(256 * 512, 0.5);
    wrong[4_000..4_004].copy_from_slice(&f32::NAN.to_le_bytes());
    let infinite: Tensor<'_> = (&[256, 512], Format::F32, wrong);
    let cases = [
        (None, "is missing"),
        (Some(narrow), "has 8 rows of 256 numbers, not 512 of 256"),
        (Some(infinite), "row 3 has a number that is not finite"),
    ];
    for (tensor, problem) in cases {
        let error = load(&changed(&[], &[(name, tensor)])).unwrap_err();
        assert!(error.contains(name) && error.contains(problem), "{error}");
    }
    let extra: Tensor<'_> = (&[32], Format::F32, floats(32, 1.0));
    let error = load(&changed(&[], &[("blk.0.ffn_gate_inp.weight", Some(extra))])).unwrap_err();
    assert_eq!(error, "tensor \"blk.0.ffn_gate_inp.weight\": is not part of a llama model as supported");
}

#[test]
fn numbers_that_overflow_are_an_error_for_their_sequence() {
    let huge: Vec<u8> = std::iter::repeat_n(1e38f32.to_le_bytes(), 256).flatten().collect();
    let tensor: Tensor<'_> = (&[256], Format::F32, huge);
    let model = load(&changed(&[], &[("blk.0.ffn_norm.weight", Some(tensor))])).unwrap();
    for isa in InstructionSet::available() {
        let mut sequence = Sequence::new(model.config());
        let feed = Feed { sequence: &mut sequence, tokens: &[1, 2], logits_from: 1 };
        let output = Engine::new(isa, 1).forward(&model, &mut [feed]).unwrap();
        assert_eq!(output.logits(0), Err(NotFinite));
    }
}

#[test]
fn requests_that_do_not_fit_read_nothing() {
    let model = load(&tiny::model("llama", 1)).unwrap();
    let mut engine = Engine::new(InstructionSet::best(), 1);
    let mut sequence = Sequence::new(model.config());
    let mut read = |sequence: &mut Sequence, tokens: &[u32]| {
        engine.forward(&model, &mut [Feed { sequence, tokens, logits_from: 0 }]).map(|output| output.len())
    };
    assert_eq!(read(&mut sequence, &[1, 512]), Err(ForwardError::Token { token: 512, vocabulary: 512 }));
    assert_eq!(read(&mut sequence, &[0; 513]), Err(ForwardError::Context { tokens: 513, context: 512 }));
    assert_eq!(sequence.len(), 0);
    assert_eq!(read(&mut sequence, &[]), Ok(0));
    assert_eq!(read(&mut sequence, &[0; 510]), Ok(510));
    assert_eq!(read(&mut sequence, &[0; 3]), Err(ForwardError::Context { tokens: 513, context: 512 }));
    assert_eq!(read(&mut sequence, &[0; 2]), Ok(2));
    let other = load(&tiny::model("gemma3", 1)).unwrap();
    let mut foreign = Sequence::new(other.config());
    assert_eq!(read(&mut foreign, &[1]), Err(ForwardError::Sequence));
}
