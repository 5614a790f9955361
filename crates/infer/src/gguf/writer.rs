//! Writing a GGUF file: for models that are made, not trained.

use super::metadata::kind;
use super::{ALIGNMENT, MAGIC, Value};
use crate::format::Format;

/// Gathers keys and tensors, and writes them as a file.
#[derive(Debug, Default)]
pub struct Writer {
    keys: Vec<(String, Value)>,
    tensors: Vec<(String, Vec<usize>, Format, Vec<u8>)>,
}

impl Writer {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a key.
    pub fn key(&mut self, key: impl Into<String>, value: Value) -> &mut Self {
        self.keys.push((key.into(), value));
        self
    }

    /// Adds a tensor as it is to be stored; the first dimension is the contiguous one.
    pub fn tensor(
        &mut self,
        name: impl Into<String>,
        dims: &[usize],
        format: Format,
        bytes: Vec<u8>,
    ) -> &mut Self {
        self.tensors.push((name.into(), dims.to_vec(), format, bytes));
        self
    }

    /// The file.
    pub fn finish(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.extend(3u32.to_le_bytes());
        out.extend((self.tensors.len() as u64).to_le_bytes());
        out.extend((self.keys.len() as u64).to_le_bytes());
        for (key, value) in &self.keys {
            put_text(&mut out, key);
            put_value(&mut out, value);
        }
        let mut offset = 0u64;
        for (name, dims, format, bytes) in &self.tensors {
            put_text(&mut out, name);
            out.extend((dims.len() as u32).to_le_bytes());
            out.extend(dims.iter().flat_map(|&n| (n as u64).to_le_bytes()));
            out.extend(format.to_gguf().to_le_bytes());
            out.extend(offset.to_le_bytes());
            offset += (bytes.len() as u64).next_multiple_of(ALIGNMENT);
        }
        for (_, _, _, bytes) in &self.tensors {
            out.resize(out.len().next_multiple_of(ALIGNMENT as usize), 0);
            out.extend(bytes);
        }
        out.resize(out.len().next_multiple_of(ALIGNMENT as usize), 0);
        out
    }
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}

fn put_value(out: &mut Vec<u8>, value: &Value) {
    let mut array = |element: u32, count: usize| {
        out.extend(kind::ARRAY.to_le_bytes());
        out.extend(element.to_le_bytes());
        out.extend((count as u64).to_le_bytes());
    };
    match value {
        Value::Integers(all) => {
            array(kind::I64, all.len());
            out.extend(all.iter().flat_map(|n| n.to_le_bytes()));
        }
        Value::Floats(all) => {
            array(kind::F32, all.len());
            out.extend(all.iter().flat_map(|x| x.to_le_bytes()));
        }
        Value::Texts(all) => {
            array(kind::TEXT, all.len());
            all.iter().for_each(|text| put_text(out, text));
        }
        Value::Integer(n) => {
            out.extend(kind::I64.to_le_bytes());
            out.extend(n.to_le_bytes());
        }
        Value::Float(x) => {
            out.extend(kind::F64.to_le_bytes());
            out.extend(x.to_le_bytes());
        }
        Value::Bool(b) => {
            out.extend(kind::BOOL.to_le_bytes());
            out.push(u8::from(*b));
        }
        Value::Text(text) => {
            out.extend(kind::TEXT.to_le_bytes());
            put_text(out, text);
        }
    }
}
