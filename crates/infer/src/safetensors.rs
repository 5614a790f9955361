//! Safetensors files, read in safe Rust.
//!
//! Like GGUF files they come from strangers: [`Safetensors::read`] checks the form and place of every tensor against the
//! file, and that no two tensors share bytes, before a kernel may see one. Large models are split over several files.

#[cfg(test)]
mod tests;
mod writer;

use std::collections::HashMap;
use std::fmt;

use serde::de::{Error as _, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::file::{FileError, TensorInfo};
use crate::format::Format;
use crate::source::Source;
use crate::tensors::TensorFile;
pub use writer::Writer;

/// How errors call the header.
const HEADER: &str = "the safetensors header";

/// Headers of the largest files have some hundred kilobytes.
const LONGEST_HEADER: u64 = 1 << 24;

/// The largest models have some thousand tensors.
const MOST_TENSORS: usize = 65_536;

/// The name under which a header keeps texts of its own.
const METADATA: &str = "__metadata__";

/// The tensors of a model's files.
pub struct Safetensors<'a> {
    sources: Vec<&'a dyn Source>,
    tensors: HashMap<String, Tensor>,
}

struct Tensor {
    source: usize,
    /// Its form, or why no kernel can use it.
    info: Result<TensorInfo, String>,
}

impl fmt::Debug for Safetensors<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Safetensors({} files, {} tensors)", self.sources.len(), self.tensors.len())
    }
}

impl<'a> Safetensors<'a> {
    /// Reads and checks the headers of all of a model's files.
    ///
    /// # Errors
    ///
    /// What is wrong, with the tensor's name.
    pub fn read(sources: &[&'a dyn Source]) -> Result<Self, FileError> {
        let mut tensors = HashMap::new();
        for (number, source) in sources.iter().enumerate() {
            for (name, info) in read_header(*source)? {
                if tensors.contains_key(&name) {
                    return Err(FileError::tensor(name, "is there twice"));
                }
                if tensors.len() == MOST_TENSORS {
                    let count = MOST_TENSORS as u64 + 1;
                    return Err(FileError::TooMany { what: "tensors", count, most: MOST_TENSORS as u64 });
                }
                tensors.insert(name, Tensor { source: number, info });
            }
        }
        Ok(Self { sources: sources.to_vec(), tensors })
    }

    /// The tensor of that name.
    ///
    /// # Errors
    ///
    /// It is there, and its numbers are of a kind that is not supported.
    pub fn tensor(&self, name: &str) -> Result<Option<&TensorInfo>, FileError> {
        let Some(tensor) = self.tensors.get(name) else { return Ok(None) };
        tensor.info.as_ref().map(Some).map_err(|problem| FileError::tensor(name, problem.clone()))
    }

    /// All tensors' names, in no order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// A tensor's bytes.
    ///
    /// # Errors
    ///
    /// There is no such tensor, or it cannot be read.
    pub fn tensor_bytes(&self, name: &str) -> Result<Vec<u8>, FileError> {
        let info = self.tensor(name)?.ok_or_else(|| FileError::tensor(name, "is missing"))?;
        let mut bytes = vec![0; info.bytes];
        let source = self.sources[self.tensors[name].source];
        source.read(info.at, &mut bytes).map_err(|source| FileError::Read { at: info.at, source })?;
        Ok(bytes)
    }

    /// Bytes that the weights will take in memory: to be asked before they are loaded.
    pub fn memory(&self) -> u64 {
        let infos = self.tensors.values().filter_map(|tensor| tensor.info.as_ref().ok());
        infos.map(|info| info.bytes as u64).sum()
    }
}

impl TensorFile for Safetensors<'_> {
    fn info(&self, name: &str) -> Result<Option<&TensorInfo>, FileError> {
        self.tensor(name)
    }

    fn bytes(&self, name: &str) -> Result<Vec<u8>, FileError> {
        self.tensor_bytes(name)
    }

    fn names(&self) -> Vec<&str> {
        self.names().collect()
    }
}

/// A tensor's name, and its form or why no kernel can use it.
type Named = (String, Result<TensorInfo, String>);

fn read_header(source: &dyn Source) -> Result<Vec<Named>, FileError> {
    let read =
        |at: u64, into: &mut [u8]| source.read(at, into).map_err(|source| FileError::Read { at, source });
    if source.len() < 8 {
        return Err(FileError::Cut("the header's length".into()));
    }
    let mut len = [0; 8];
    read(0, &mut len)?;
    let len = u64::from_le_bytes(len);
    if len > LONGEST_HEADER {
        return Err(FileError::TooMany { what: "bytes of header", count: len, most: LONGEST_HEADER });
    }
    let data = 8 + len;
    if data > source.len() {
        return Err(FileError::Cut(HEADER.into()));
    }
    let mut header = vec![0; len as usize];
    read(8, &mut header)?;
    let Header(entries) =
        serde_json::from_slice(&header).map_err(|error| FileError::json(HEADER, error.to_string()))?;
    drop(header);
    let mut tensors = Vec::with_capacity(entries.len());
    let mut places = Vec::with_capacity(entries.len());
    for (name, entry) in entries {
        let problem = |problem: String| FileError::tensor(&name, problem);
        let [from, to] = entry.data_offsets;
        let in_file = data.checked_add(to).is_some_and(|end| end <= source.len());
        if from > to || !in_file {
            return Err(problem(format!("has the bytes {from} to {to}, which the file does not have")));
        }
        let bytes = entry.bytes().map_err(problem)?;
        if bytes.is_some_and(|bytes| bytes != to - from) {
            let (kind, shape) = (&entry.dtype, &entry.shape);
            return Err(problem(format!("has {} bytes, which are not {shape:?} of {kind}", to - from)));
        }
        places.push((from, to, name.clone()));
        tensors.push((name, entry.info(data + from)));
    }
    check_places(places, source.len() - data)?;
    Ok(tensors)
}

/// The format wants all bytes to belong to one tensor each: none is hidden between tensors, none is there twice.
fn check_places(mut places: Vec<(u64, u64, String)>, len: u64) -> Result<(), FileError> {
    places.sort_unstable();
    let mut end = 0;
    for (from, to, name) in places {
        if from != end {
            let problem = format!("begins at {from}, but the tensor before it ends at {end}");
            return Err(FileError::tensor(name, problem));
        }
        end = to;
    }
    if end != len {
        return Err(FileError::json(HEADER, format!("tensors end at {end}, but the file at {len}")));
    }
    Ok(())
}

/// A tensor as a header has it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: [u64; 2],
}

/// Kinds of numbers, with their bits: those of the format's own list.
const KINDS: [(&str, u64); 17] = [
    ("F32", 32),
    ("F16", 16),
    ("BF16", 16),
    ("F64", 64),
    ("I64", 64),
    ("I32", 32),
    ("I16", 16),
    ("I8", 8),
    ("U64", 64),
    ("U32", 32),
    ("U16", 16),
    ("U8", 8),
    ("BOOL", 8),
    ("C64", 64),
    ("F8_E4M3", 8),
    ("F8_E5M2", 8),
    ("F8_E8M0", 8),
];

impl Entry {
    /// Bytes that it must have; none for a kind that is not known.
    fn bytes(&self) -> Result<Option<u64>, String> {
        let Some(&(_, bits)) = KINDS.iter().find(|(name, _)| *name == self.dtype) else { return Ok(None) };
        let count = self.shape.iter().try_fold(1u64, |all, &n| all.checked_mul(n));
        let bytes = count.and_then(|count| count.checked_mul(bits / 8));
        bytes.map(Some).ok_or_else(|| format!("has more numbers than fit in memory: {:?}", self.shape))
    }

    fn info(&self, at: u64) -> Result<TensorInfo, String> {
        let format = match self.dtype.as_str() {
            "F32" => Format::F32,
            "F16" => Format::F16,
            "BF16" => Format::BF16,
            other => return Err(format!("numbers of the kind {other:?} are not supported")),
        };
        let dimensions: Vec<u64> = self.shape.iter().rev().copied().collect();
        TensorInfo::new(format, &dimensions, at)
    }
}

/// A header's tensors. A map would keep the last of two that have one name.
struct Header(Vec<(String, Entry)>);

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(HeaderVisitor)
    }
}

struct HeaderVisitor;

impl<'de> Visitor<'de> for HeaderVisitor {
    type Value = Header;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of tensors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
        let mut entries = Vec::new();
        while let Some(name) = map.next_key::<String>()? {
            if name == METADATA {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            if entries.len() == MOST_TENSORS {
                return Err(A::Error::custom(format!("there are more than {MOST_TENSORS} tensors")));
            }
            entries.push((name, map.next_value()?));
        }
        Ok(Header(entries))
    }
}
