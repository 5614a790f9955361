//! What files of models have in common, whatever their format: tensors of stated forms at stated places, and errors that
//! name what is wrong.

use std::io;

use thiserror::Error;

use crate::format::Format;

/// Why a model's file cannot be read.
#[derive(Debug, Error)]
pub enum FileError {
    /// The file does not begin as a GGUF file does.
    #[error("not a GGUF file: it begins with {0:02x?}, not with \"GGUF\"")]
    Magic([u8; 4]),
    /// A version of GGUF that nobody writes, or one from the future.
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
    /// A key of a GGUF file's metadata is wrong.
    #[error("metadata key {key:?}: {problem}")]
    Key {
        /// The key.
        key: String,
        /// What is wrong.
        problem: String,
    },
    /// A JSON file of the model, or the header of a safetensors file, is wrong.
    #[error("{file}: {problem}")]
    Json {
        /// The file, as models name it.
        file: &'static str,
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

impl FileError {
    pub(crate) fn key(key: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Key { key: key.into(), problem: problem.into() }
    }

    pub(crate) fn json(file: &'static str, problem: impl Into<String>) -> Self {
        Self::Json { file, problem: problem.into() }
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
    /// Numbers in a row: the contiguous dimension.
    pub columns: usize,
    /// Product of the other dimensions.
    pub rows: usize,
    /// Number of dimensions, 1 to 4.
    pub dimensions: u32,
    pub(crate) at: u64,
    pub(crate) bytes: usize,
}

/// The most dimensions of a tensor: GGUF's own bound.
pub(crate) const MOST_DIMENSIONS: usize = 4;

impl TensorInfo {
    /// Bytes in the file.
    pub fn byte_len(&self) -> usize {
        self.bytes
    }

    /// The form of a tensor of these dimensions, the contiguous one first, whose bytes begin at `at`; or what is wrong
    /// with it. Whether the file is that long is for the caller to check.
    pub(crate) fn new(format: Format, dimensions: &[u64], at: u64) -> Result<Self, String> {
        if dimensions.is_empty() || dimensions.len() > MOST_DIMENSIONS {
            return Err(format!("has {} dimensions, not 1 to {MOST_DIMENSIONS}", dimensions.len()));
        }
        if dimensions.contains(&0) {
            return Err("has a dimension of 0".into());
        }
        let columns = dimensions[0];
        let block = format.block_len() as u64;
        if !columns.is_multiple_of(block) {
            return Err(format!(
                "has rows of {columns} numbers, not a multiple of {block} as {format} needs"
            ));
        }
        let rows = dimensions[1..].iter().try_fold(1u64, |all, &n| all.checked_mul(n));
        let bytes =
            rows.and_then(|rows| rows.checked_mul(columns / block)?.checked_mul(format.block_bytes() as u64));
        let (Some(rows), Some(bytes)) = (rows, bytes) else {
            return Err(format!("has more numbers than fit in memory: {dimensions:?}"));
        };
        let size = |n: u64| usize::try_from(n).map_err(|_| "is too large for this machine".to_owned());
        Ok(Self {
            format,
            columns: size(columns)?,
            rows: size(rows)?,
            dimensions: dimensions.len() as u32,
            at,
            bytes: size(bytes)?,
        })
    }
}
