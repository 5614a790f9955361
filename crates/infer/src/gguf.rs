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
use std::io;

use thiserror::Error;

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

/// The format's own bound on dimensions.
const MOST_DIMENSIONS: u32 = 4;

/// Why a file cannot be read.
#[derive(Debug, Error)]
pub enum GgufError {
    /// The file does not begin as a GGUF file does.
    #[error("not a GGUF file: it begins with {0:02x?}, not with \"GGUF\"")]
    Magic([u8; 4]),
    /// A version of the format that nobody writes, or one from the future.
    #[error("GGUF version {0} is not supported: versions 2 and 3 are, in little-endian order")]
    Version(u32),
    /// The file ends within its header.
    #[error("the file ends within {0}")]
    Cut(String),
    /// A count is larger than any model's.
    #[error("the file claims {count} {what}, more than {most}")]
    TooMany {
        /// What is counted.
        what: &'static str,
        /// The file's claim.
        count: u64,
        /// The bound.
        most: u64,
    },
    /// A key of the metadata is wrong.
    #[error("metadata key {key:?}: {problem}")]
    Key {
        /// The key.
        key: String,
        /// What is wrong.
        problem: String,
    },
    /// A tensor is wrong.
    #[error("tensor {name:?}: {problem}")]
    Tensor {
        /// The tensor's name.
        name: String,
        /// What is wrong.
        problem: String,
    },
    /// The system could not read the file.
    #[error("cannot read the file at byte {at}")]
    Read {
        /// The offset.
        at: u64,
        /// The system's reason.
        source: io::Error,
    },
}

impl GgufError {
    pub(crate) fn key(key: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Key { key: key.into(), problem: problem.into() }
    }

    pub(crate) fn tensor(name: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Tensor { name: name.into(), problem: problem.into() }
    }
}

/// One tensor's form and place, checked against the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorInfo {
    /// How its numbers are stored.
    pub format: Format,
    /// Numbers in a row: the first dimension, which is contiguous.
    pub columns: usize,
    /// Product of the other dimensions.
    pub rows: usize,
    /// Number of dimensions, 1 to 4.
    pub dimensions: u32,
    at: u64,
    bytes: usize,
}

impl TensorInfo {
    /// Bytes in the file.
    pub fn byte_len(&self) -> usize {
        self.bytes
    }
}

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
    pub fn read(source: &dyn Source) -> Result<Self, GgufError> {
        let mut cursor = Cursor::new(source);
        let magic = cursor.array::<4>("the magic number")?;
        if magic != MAGIC {
            return Err(GgufError::Magic(magic));
        }
        let version = cursor.u32("the version")?;
        if !VERSIONS.contains(&version) {
            return Err(GgufError::Version(version));
        }
        let tensor_count = cursor.u64("the number of tensors")?;
        if tensor_count > MOST_TENSORS {
            return Err(GgufError::TooMany { what: "tensors", count: tensor_count, most: MOST_TENSORS });
        }
        let metadata = Metadata::read(&mut cursor)?;
        let alignment = match metadata.get("general.alignment") {
            None => ALIGNMENT,
            Some(value) => match value.as_u64() {
                Some(n) if n.is_power_of_two() && n <= 1 << 20 => n,
                _ => {
                    return Err(GgufError::key(
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
        let data = data.ok_or_else(|| GgufError::Cut("its header".into()))?;
        let mut tensors = HashMap::with_capacity(raw.len());
        for tensor in raw {
            let name = tensor.name.clone();
            let info = tensor.check(data, alignment, source.len())?;
            if tensors.insert(name.clone(), info).is_some() {
                return Err(GgufError::tensor(name, "is there twice"));
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
    pub fn tensor_bytes(&self, source: &dyn Source, name: &str) -> Result<Vec<u8>, GgufError> {
        let info = self.tensor(name).ok_or_else(|| GgufError::tensor(name, "is missing"))?;
        let mut bytes = vec![0; info.bytes];
        source.read(info.at, &mut bytes).map_err(|source| GgufError::Read { at: info.at, source })?;
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
    fn read(cursor: &mut Cursor<'_>, number: u64) -> Result<Self, GgufError> {
        let place = format!("tensor {number} of the list");
        let name = cursor.text(&place)?;
        let count = cursor.u32(&name)?;
        if !(1..=MOST_DIMENSIONS).contains(&count) {
            return Err(GgufError::tensor(
                name,
                format!("has {count} dimensions, not 1 to {MOST_DIMENSIONS}"),
            ));
        }
        let dimensions = (0..count).map(|_| cursor.u64(&name)).collect::<Result<_, _>>()?;
        let format = cursor.u32(&name)?;
        let offset = cursor.u64(&name)?;
        Ok(Self { name, dimensions, format, offset })
    }

    fn check(self, data: u64, alignment: u64, file: u64) -> Result<TensorInfo, GgufError> {
        let problem = |problem: String| GgufError::tensor(&self.name, problem);
        let format = Format::from_gguf(self.format)
            .ok_or_else(|| problem(format!("format {} is not supported", Format::name_of(self.format))))?;
        if self.dimensions.contains(&0) {
            return Err(problem("has a dimension of 0".into()));
        }
        let columns = self.dimensions[0];
        let block = format.block_len() as u64;
        if !columns.is_multiple_of(block) {
            return Err(problem(format!(
                "has rows of {columns} numbers, not a multiple of {block} as {format} needs"
            )));
        }
        let rows = self.dimensions[1..].iter().try_fold(1u64, |all, &n| all.checked_mul(n));
        let bytes =
            rows.and_then(|rows| rows.checked_mul(columns / block)?.checked_mul(format.block_bytes() as u64));
        let (Some(rows), Some(bytes)) = (rows, bytes) else {
            return Err(problem(format!("has more numbers than fit in memory: {:?}", self.dimensions)));
        };
        if !self.offset.is_multiple_of(alignment) {
            return Err(problem(format!("begins at {}, not at a multiple of {alignment}", self.offset)));
        }
        let at = data.checked_add(self.offset);
        let end = at.and_then(|at| at.checked_add(bytes));
        match (at, end) {
            (Some(at), Some(end)) if end <= file => Ok(TensorInfo {
                format,
                columns: usize::try_from(columns)
                    .map_err(|_| problem("is too large for this machine".into()))?,
                rows: usize::try_from(rows).map_err(|_| problem("is too large for this machine".into()))?,
                dimensions: self.dimensions.len() as u32,
                at,
                bytes: usize::try_from(bytes).map_err(|_| problem("is too large for this machine".into()))?,
            }),
            _ => Err(problem(format!(
                "needs {bytes} bytes at offset {}, but the file ends before that",
                self.offset
            ))),
        }
    }
}
