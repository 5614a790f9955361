//! Writing a safetensors file: for models that are made, not trained.

use serde_json::{Map, Value, json};

/// Gathers tensors, and writes them as a file.
#[derive(Debug, Default)]
pub struct Writer {
    header: Map<String, Value>,
    data: Vec<u8>,
}

impl Writer {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a tensor as it is to be stored, of a kind such as `F32`; the last dimension is the contiguous one.
    pub fn tensor(
        &mut self,
        name: impl Into<String>,
        shape: &[usize],
        kind: &str,
        bytes: &[u8],
    ) -> &mut Self {
        let from = self.data.len();
        self.data.extend(bytes);
        let entry = json!({"dtype": kind, "shape": shape, "data_offsets": [from, self.data.len()]});
        self.header.insert(name.into(), entry);
        self
    }

    /// The file.
    pub fn finish(&self) -> Vec<u8> {
        let mut header = Value::Object(self.header.clone()).to_string();
        // Numbers begin at a multiple of 8.
        header.push_str(&" ".repeat(header.len().next_multiple_of(8) - header.len()));
        let mut out = (header.len() as u64).to_le_bytes().to_vec();
        out.extend(header.as_bytes());
        out.extend(&self.data);
        out
    }
}
