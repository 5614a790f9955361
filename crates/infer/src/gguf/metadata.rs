//! What a file says of its model: keys and values.

use std::collections::HashMap;

use super::cursor::Cursor;
use crate::file::FileError;

/// Files have some dozen keys.
const MOST_KEYS: u64 = 4_096;

/// The largest vocabularies have a quarter of a million tokens, and as many merges.
const MOST_ELEMENTS: u64 = 1 << 22;

/// One value. Integers and floats of all widths are one variant each.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Any integer: those of 64 bits without a sign that do not fit into `i64` are refused.
    Integer(i64),
    /// Any float.
    Float(f64),
    /// A truth value.
    Bool(bool),
    /// A text.
    Text(String),
    /// An array of integers or truth values.
    Integers(Vec<i64>),
    /// An array of floats.
    Floats(Vec<f32>),
    /// An array of texts.
    Texts(Vec<String>),
}

impl Value {
    /// An integer that is not negative.
    pub fn as_u64(&self) -> Option<u64> {
        match self {
            Self::Integer(n) => u64::try_from(*n).ok(),
            _ => None,
        }
    }
}

/// A file's keys.
#[derive(Debug, Default)]
pub struct Metadata(HashMap<String, Value>);

impl Metadata {
    pub(super) fn read(cursor: &mut Cursor<'_>) -> Result<Self, FileError> {
        let count = cursor.u64("the number of keys")?;
        if count > MOST_KEYS {
            return Err(FileError::TooMany { what: "metadata keys", count, most: MOST_KEYS });
        }
        let mut values = HashMap::new();
        for number in 0..count {
            let key = cursor.text(&format!("metadata key {number}"))?;
            let kind = cursor.u32(&key)?;
            let value = read_value(cursor, &key, kind)?;
            if values.insert(key.clone(), value).is_some() {
                return Err(FileError::key(key, "is there twice"));
            }
        }
        Ok(Self(values))
    }

    /// The value of a key, if it is there.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.0.get(key)
    }

    /// All keys and values, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// A text, if it is there.
    ///
    /// # Errors
    ///
    /// It is there and is no text.
    pub fn text(&self, key: &str) -> Result<Option<&str>, FileError> {
        self.as_kind(key, "a text", |value| match value {
            Value::Text(text) => Some(text.as_str()),
            _ => None,
        })
    }

    /// An integer that fits into 32 bits, if it is there.
    ///
    /// # Errors
    ///
    /// It is there and is something else.
    pub fn u32(&self, key: &str) -> Result<Option<u32>, FileError> {
        self.as_kind(key, "an integer from 0 to 4,294,967,295", |value| {
            value.as_u64().and_then(|n| u32::try_from(n).ok())
        })
    }

    /// A finite number, if it is there.
    ///
    /// # Errors
    ///
    /// It is there and is something else.
    pub fn number(&self, key: &str) -> Result<Option<f64>, FileError> {
        self.as_kind(key, "a finite number", |value| match value {
            Value::Float(x) if x.is_finite() => Some(*x),
            Value::Integer(n) => Some(*n as f64),
            _ => None,
        })
    }

    /// A truth value, if it is there.
    ///
    /// # Errors
    ///
    /// It is there and is something else.
    pub fn bool(&self, key: &str) -> Result<Option<bool>, FileError> {
        self.as_kind(key, "true or false", |value| match value {
            Value::Bool(b) => Some(*b),
            _ => None,
        })
    }

    /// An array of texts, if it is there.
    ///
    /// # Errors
    ///
    /// It is there and is something else.
    pub fn texts(&self, key: &str) -> Result<Option<&[String]>, FileError> {
        self.as_kind(key, "an array of texts", |value| match value {
            Value::Texts(texts) => Some(texts.as_slice()),
            _ => None,
        })
    }

    /// An array of floats, if it is there.
    ///
    /// # Errors
    ///
    /// It is there and is something else.
    pub fn floats(&self, key: &str) -> Result<Option<&[f32]>, FileError> {
        self.as_kind(key, "an array of floats", |value| match value {
            Value::Floats(floats) => Some(floats.as_slice()),
            _ => None,
        })
    }

    /// An array of integers, if it is there.
    ///
    /// # Errors
    ///
    /// It is there and is something else.
    pub fn integers(&self, key: &str) -> Result<Option<&[i64]>, FileError> {
        self.as_kind(key, "an array of integers", |value| match value {
            Value::Integers(integers) => Some(integers.as_slice()),
            _ => None,
        })
    }

    fn as_kind<'a, T>(
        &'a self,
        key: &str,
        kind: &str,
        take: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, FileError> {
        match self.get(key) {
            None => Ok(None),
            Some(value) => {
                take(value).map(Some).ok_or_else(|| FileError::key(key, format!("must be {kind}")))
            }
        }
    }
}

/// The numbers that the format gives to kinds of values.
pub(super) mod kind {
    pub const U8: u32 = 0;
    pub const I8: u32 = 1;
    pub const U16: u32 = 2;
    pub const I16: u32 = 3;
    pub const U32: u32 = 4;
    pub const I32: u32 = 5;
    pub const F32: u32 = 6;
    pub const BOOL: u32 = 7;
    pub const TEXT: u32 = 8;
    pub const ARRAY: u32 = 9;
    pub const U64: u32 = 10;
    pub const I64: u32 = 11;
    pub const F64: u32 = 12;
}

fn read_value(cursor: &mut Cursor<'_>, key: &str, kind: u32) -> Result<Value, FileError> {
    Ok(match kind {
        kind::F32 => Value::Float(f32::from_le_bytes(cursor.array(key)?).into()),
        kind::F64 => Value::Float(f64::from_le_bytes(cursor.array(key)?)),
        kind::BOOL => Value::Bool(cursor.array::<1>(key)?[0] != 0),
        kind::TEXT => Value::Text(cursor.text(key)?),
        kind::ARRAY => read_array(cursor, key)?,
        _ => Value::Integer(read_integer(cursor, key, kind)?),
    })
}

fn read_integer(cursor: &mut Cursor<'_>, key: &str, kind: u32) -> Result<i64, FileError> {
    Ok(match kind {
        kind::U8 | kind::BOOL => cursor.array::<1>(key)?[0].into(),
        kind::I8 => i8::from_le_bytes(cursor.array(key)?).into(),
        kind::U16 => u16::from_le_bytes(cursor.array(key)?).into(),
        kind::I16 => i16::from_le_bytes(cursor.array(key)?).into(),
        kind::U32 => cursor.u32(key)?.into(),
        kind::I32 => i32::from_le_bytes(cursor.array(key)?).into(),
        kind::U64 => {
            i64::try_from(cursor.u64(key)?).map_err(|_| FileError::key(key, "is larger than 2^63"))?
        }
        kind::I64 => i64::from_le_bytes(cursor.array(key)?),
        other => return Err(FileError::key(key, format!("has a value of the unknown kind {other}"))),
    })
}

fn read_array(cursor: &mut Cursor<'_>, key: &str) -> Result<Value, FileError> {
    let kind = cursor.u32(key)?;
    let count = cursor.u64(key)?;
    let least = match kind {
        kind::U8 | kind::I8 | kind::BOOL => 1,
        kind::U16 | kind::I16 => 2,
        kind::U32 | kind::I32 | kind::F32 => 4,
        kind::TEXT | kind::U64 | kind::I64 | kind::F64 => 8,
        kind::ARRAY => return Err(FileError::key(key, "is an array of arrays")),
        other => return Err(FileError::key(key, format!("is an array of the unknown kind {other}"))),
    };
    if count > cursor.left() / least {
        return Err(FileError::Cut(format!("the array {key:?}")));
    }
    if count > MOST_ELEMENTS {
        return Err(FileError::TooMany { what: "elements of one array", count, most: MOST_ELEMENTS });
    }
    Ok(match kind {
        kind::TEXT => Value::Texts((0..count).map(|_| cursor.text(key)).collect::<Result<_, _>>()?),
        kind::F32 | kind::F64 => Value::Floats(
            (0..count)
                .map(|_| match kind {
                    kind::F32 => Ok(f32::from_le_bytes(cursor.array(key)?)),
                    _ => Ok(f64::from_le_bytes(cursor.array(key)?) as f32),
                })
                .collect::<Result<_, FileError>>()?,
        ),
        _ => Value::Integers((0..count).map(|_| read_integer(cursor, key, kind)).collect::<Result<_, _>>()?),
    })
}
