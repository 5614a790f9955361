//! Reading the JSON files that lie beside a model's weights: every number within its bounds, and errors that name file
//! and key.

use serde_json::{Map, Value};

use crate::file::FileError;

/// Bounds on dimensions, far beyond any model that fits into a machine.
pub(crate) const MOST: usize = 1 << 20;

/// An object of a file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Object<'a> {
    file: &'static str,
    map: &'a Map<String, Value>,
}

/// The value of a text that has to be JSON.
pub(crate) fn parse(file: &'static str, text: &str) -> Result<Value, FileError> {
    serde_json::from_str(text).map_err(|error| FileError::json(file, error.to_string()))
}

impl<'a> Object<'a> {
    pub fn new(file: &'static str, value: &'a Value) -> Result<Self, FileError> {
        let map = value.as_object().ok_or_else(|| FileError::json(file, "must be an object"))?;
        Ok(Self { file, map })
    }

    pub fn error(&self, key: &str, problem: impl std::fmt::Display) -> FileError {
        FileError::json(self.file, format!("{key:?} {problem}"))
    }

    /// A key's value; null counts as missing.
    pub fn get(&self, key: &str) -> Option<&'a Value> {
        self.map.get(key).filter(|value| !value.is_null())
    }

    pub fn keys(&self) -> impl Iterator<Item = (&'a str, &'a Value)> {
        self.map.iter().map(|(key, value)| (key.as_str(), value))
    }

    pub fn object(&self, key: &str) -> Result<Option<Self>, FileError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let map = value.as_object().ok_or_else(|| self.error(key, "must be an object"))?;
        Ok(Some(Self { file: self.file, map }))
    }

    pub fn size(&self, key: &str) -> Result<usize, FileError> {
        self.size_if_there(key)?.ok_or_else(|| self.error(key, "is missing"))
    }

    pub fn size_if_there(&self, key: &str) -> Result<Option<usize>, FileError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let size = value.as_u64().and_then(|size| usize::try_from(size).ok());
        match size {
            Some(size) if (1..=MOST).contains(&size) => Ok(Some(size)),
            _ => Err(self.error(key, format!("must be between 1 and {MOST}"))),
        }
    }

    pub fn number(&self, key: &str) -> Result<Option<f64>, FileError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let number = value.as_f64().filter(|x| x.is_finite());
        number.map(Some).ok_or_else(|| self.error(key, "must be a finite number"))
    }

    pub fn text(&self, key: &str) -> Result<Option<&'a str>, FileError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        value.as_str().map(Some).ok_or_else(|| self.error(key, "must be a text"))
    }

    pub fn bool(&self, key: &str) -> Result<Option<bool>, FileError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        value.as_bool().map(Some).ok_or_else(|| self.error(key, "must be true or false"))
    }

    /// A token's number.
    pub fn token(&self, key: &str) -> Result<Option<u32>, FileError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let token = value.as_u64().and_then(|id| u32::try_from(id).ok());
        token.map(Some).ok_or_else(|| self.error(key, "must be a token's number"))
    }
}
