//! GGUF files, read in safe Rust.
//!
//! A model file comes from a stranger, so [`Gguf::read`] believes nothing that the file says of itself: it checks every
//! length against the bytes that are left before it allocates, and the place and size of every tensor before a kernel
//! may see it. The tensors themselves stay in the file until [`Gguf::tensor_bytes`] asks for one.

mod cursor;
mod metadata;
#[cfg(test)]
mod tests;
mod writer;

use std::collections::HashMap;

use crate::file::{FileError, MOST_DIMENSIONS, TensorInfo};
use crate::format::Format;
use crate::source::Source;
use cursor::Cursor;
pub use metadata::{Metadata, Value};
pub use writer::Writer;

/// "GGUF", at the beginning of every file.
const MAGIC: [u8; 4] = *b"GGUF";

/// Versions 2 and 3 have the same form on little-endian machines; version 1 had shorter lengths and is extinct.
const VERSIONS: std::ops::RangeInclusive<u32> = 2..=3;

/// Where tensors begin, unless the file says otherwise.
const ALIGNMENT: u64 = 32;

/// The largest models have some thousand tensors.
const MOST_TENSORS: u64 = 65_536;

/// A file's metadata, and where its tensors are.
#[derive(Debug)]
pub struct Gguf {
    metadata: Metadata,
    tensors: HashMap<String, TensorInfo>,
}

impl Gguf {
    /// Reads and checks the header.
    ///
    /// # Errors
    ///
    /// What is wrong, with the name of the key or tensor.
    pub fn read(source: &dyn Source) -> Result<Self, FileError> {
        let mut cursor = Cursor::new(source);
        let magic = cursor.array::<4>("the magic number")?;
        if magic != MAGIC {
            return Err(FileError::Magic(magic));
        }
        let version = cursor.u32("the version")?;
        if !VERSIONS.contains(&version) {
            return Err(FileError::Version(version));
        }
        let tensor_count = cursor.u64("the number of tensors")?;
        if tensor_count > MOST_TENSORS {
            return Err(FileError::TooMany { what: "tensors", count: tensor_count, most: MOST_TENSORS });
        }
        let metadata = Metadata::read(&mut cursor)?;
        let alignment = match metadata.get("general.alignment") {
            None => ALIGNMENT,
            Some(value) => match value.as_u64() {
                Some(n) if n.is_power_of_two() && n <= 1 << 20 => n,
                _ => {
                    return Err(FileError::key(
                        "general.alignment",
                        "must be a power of two up to 1,048,576",
                    ));
                }
            },
        };
        let mut raw = Vec::new();
        for number in 0..tensor_count {
            raw.push(RawTensor::read(&mut cursor, number)?);
        }
        let data = cursor.position().checked_next_multiple_of(alignment);
        let data = data.ok_or_else(|| FileError::Cut("its header".into()))?;
        let mut tensors = HashMap::with_capacity(raw.len());
        for tensor in raw {
            let name = tensor.name.clone();
            let info = tensor.check(data, alignment, source.len())?;
            if tensors.insert(name.clone(), info).is_some() {
                return Err(FileError::tensor(name, "is there twice"));
            }
        }
        Ok(Self { metadata, tensors })
    }

    /// What the file says of the model.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// The tensor of that name.
    pub fn tensor(&self, name: &str) -> Option<&TensorInfo> {
        self.tensors.get(name)
    }

    /// All tensors, in no order.
    pub fn tensors(&self) -> impl Iterator<Item = (&str, &TensorInfo)> {
        self.tensors.iter().map(|(name, info)| (name.as_str(), info))
    }

    /// A tensor's bytes, from the source that the header was read from.
    ///
    /// # Errors
    ///
    /// There is no such tensor, or it cannot be read.
    pub fn tensor_bytes(&self, source: &dyn Source, name: &str) -> Result<Vec<u8>, FileError> {
        let info = self.tensor(name).ok_or_else(|| FileError::tensor(name, "is missing"))?;
        let mut bytes = vec![0; info.bytes];
        source.read(info.at, &mut bytes).map_err(|source| FileError::Read { at: info.at, source })?;
        Ok(bytes)
    }
}

struct RawTensor {
    name: String,
    dimensions: Vec<u64>,
    format: u32,
    offset: u64,
}

impl RawTensor {
    fn read(cursor: &mut Cursor<'_>, number: u64) -> Result<Self, FileError> {
        let place = format!("tensor {number} of the list");
        let name = cursor.text(&place)?;
        let count = cursor.u32(&name)?;
        if !(1..=MOST_DIMENSIONS as u32).contains(&count) {
            return Err(FileError::tensor(
                name,
                format!("has {count} dimensions, not 1 to {MOST_DIMENSIONS}"),
            ));
        }
        let dimensions = (0..count).map(|_| cursor.u64(&name)).collect::<Result<_, _>>()?;
        let format = cursor.u32(&name)?;
        let offset = cursor.u64(&name)?;
        Ok(Self { name, dimensions, format, offset })
    }

    fn check(self, data: u64, alignment: u64, file: u64) -> Result<TensorInfo, FileError> {
        let problem = |problem: String| FileError::tensor(&self.name, problem);
        let format = Format::from_gguf(self.format)
            .ok_or_else(|| problem(format!("format {} is not supported", Format::name_of(self.format))))?;
        if !self.offset.is_multiple_of(alignment) {
            return Err(problem(format!("begins at {}, not at a multiple of {alignment}", self.offset)));
        }
        let at = data.saturating_add(self.offset);
        let info = TensorInfo::new(format, &self.dimensions, at).map_err(problem)?;
        let bytes = info.bytes;
        if at.checked_add(bytes as u64).is_none_or(|end| end > file) {
            let offset = self.offset;
            return Err(problem(format!(
                "needs {bytes} bytes at offset {offset}, but the file ends before that"
            )));
        }
        Ok(info)
    }
}
