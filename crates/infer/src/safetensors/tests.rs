//! Files that are right, cut, changed, and made to deceive.

use proptest::prelude::*;

use super::*;

fn read(bytes: &[u8]) -> Result<HashMap<String, Result<TensorInfo, String>>, String> {
    let bytes = bytes.to_vec();
    let files = Safetensors::read(&[&bytes]).map_err(|error| error.to_string())?;
    Ok(files.tensors.into_iter().map(|(name, tensor)| (name, tensor.info)).collect())
}

fn with_header(header: &str, data: usize) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.resize(bytes.len() + data, 7);
    bytes
}

fn two() -> Vec<u8> {
    let mut writer = Writer::new();
    writer.tensor("a", &[2, 3], "F32", &[1; 24]).tensor("ids", &[4], "I64", &[2; 32]);
    writer.tensor("b.weight", &[2, 2, 2], "BF16", &[3; 16]).finish()
}

#[test]
fn what_is_written_is_read() {
    let bytes = two();
    let files = Safetensors::read(&[&bytes]).unwrap();
    let info = files.tensor("a").unwrap().unwrap();
    assert_eq!((info.rows, info.columns, info.format, info.dimensions), (2, 3, Format::F32, 2));
    let info = files.tensor("b.weight").unwrap().unwrap();
    assert_eq!((info.rows, info.columns, info.format), (4, 2, Format::BF16));
    assert_eq!(files.tensor_bytes("b.weight").unwrap(), [3; 16]);
    assert_eq!(files.tensor("c").unwrap(), None);
    assert_eq!(files.memory(), 40);
    let error = files.tensor("ids").unwrap_err().to_string();
    assert_eq!(error, "tensor \"ids\": numbers of the kind \"I64\" are not supported");
}

#[test]
fn a_model_may_have_several_files() {
    let (first, mut second) = (two(), Writer::new());
    let second = second.tensor("c", &[1], "F16", &[9; 2]).finish();
    let files = Safetensors::read(&[&first, &second]).unwrap();
    assert_eq!(files.tensor_bytes("c").unwrap(), [9; 2]);
    assert_eq!(files.tensor_bytes("a").unwrap(), [1; 24]);
    let error = Safetensors::read(&[&first, &first]).unwrap_err().to_string();
    assert!(error.contains("is there twice"), "{error}");
}

#[test]
fn wrong_headers_are_refused() {
    let cases = [
        (vec![1, 2], "the file ends within the header's length"),
        (u64::MAX.to_le_bytes().to_vec(), "bytes of header, more than"),
        (with_header("{}", 0)[..9].to_vec(), "the file ends within the safetensors header"),
        (with_header("[]", 0), "the safetensors header: invalid type"),
        (with_header("{}", 1), "tensors end at 0, but the file at 1"),
        (
            with_header(r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"more":1}}"#, 4),
            "unknown field",
        ),
        (with_header(r#"{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}"#, 4), "invalid value"),
    ];
    for (bytes, problem) in cases {
        let error = read(&bytes).unwrap_err();
        assert!(error.contains(problem), "{error}");
    }
}

#[test]
fn wrong_tensors_are_named() {
    let entry = |shape: &str, offsets: &str| {
        format!(r#""w":{{"dtype":"F32","shape":{shape},"data_offsets":{offsets}}}"#)
    };
    let one = |shape: &str, offsets: &str| with_header(&format!("{{{}}}", entry(shape, offsets)), 8);
    let twice = format!("{{{},{}}}", entry("[1]", "[0,4]"), entry("[1]", "[4,8]"));
    let cases = [
        (one("[2]", "[0,9]"), "has the bytes 0 to 9, which the file does not have"),
        (one("[2]", "[8,0]"), "has the bytes 8 to 0"),
        (one("[2]", "[0,18446744073709551615]"), "which the file does not have"),
        (one("[3]", "[0,8]"), "has 8 bytes, which are not [3] of F32"),
        (one("[4294967296,4294967296]", "[0,8]"), "has more numbers than fit in memory"),
        (one("[1]", "[4,8]"), "begins at 4, but the tensor before it ends at 0"),
        (with_header(&twice, 8), "is there twice"),
    ];
    for (bytes, problem) in cases {
        let error = read(&bytes).unwrap_err();
        assert!(error.starts_with("tensor \"w\": ") && error.contains(problem), "{error}");
    }
    let empty = with_header(r#"{"w":{"dtype":"F32","shape":[0,3],"data_offsets":[0,0]}}"#, 0);
    assert_eq!(read(&empty).unwrap()["w"], Err("has a dimension of 0".into()));
    let scalar = with_header(r#"{"w":{"dtype":"F32","shape":[],"data_offsets":[0,4]}}"#, 4);
    assert_eq!(read(&scalar).unwrap()["w"], Err("has 0 dimensions, not 1 to 4".into()));
}

#[test]
fn a_file_cut_anywhere_is_refused() {
    let bytes = two();
    for len in 0..bytes.len() {
        assert!(read(&bytes[..len]).is_err(), "cut at {len}");
    }
}

/// All that a file that was accepted says of its tensors is true.
fn check_accepted(bytes: &[u8]) {
    let Ok(tensors) = read(bytes) else { return };
    let mut taken = vec![false; bytes.len()];
    for info in tensors.into_values().filter_map(Result::ok) {
        assert_eq!(info.bytes, info.rows * info.columns * info.format.block_bytes());
        for taken in &mut taken[info.at as usize..][..info.bytes] {
            assert!(!std::mem::replace(taken, true), "no byte belongs to two tensors");
        }
    }
}

proptest! {
    #[test]
    fn any_header_is_read_without_harm(header in "[\\[\\]{}:,\"a-fFINT0-9_ ]{0,80}", data in 0usize..40) {
        check_accepted(&with_header(&header, data));
    }

    #[test]
    fn changed_files_are_refused_or_true(changes in prop::collection::vec((0usize..400, any::<u8>()), 1..6)) {
        let mut bytes = two();
        for (at, byte) in changes {
            let len = bytes.len();
            bytes[at % len] = byte;
        }
        check_accepted(&bytes);
    }

    #[test]
    fn any_claims_are_checked(shape in prop::collection::vec(any::<u32>(), 0..6), from in any::<u64>(), len in 0u64..64, kind in 0usize..4) {
        let kind = ["F32", "F16", "I8", "Q9"][kind];
        let header = serde_json::json!({"w": {"dtype": kind, "shape": shape, "data_offsets": [from, from.saturating_add(len)]}});
        check_accepted(&with_header(&header.to_string(), 64));
    }
}
