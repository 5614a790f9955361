//! Fields of a request: unknown ones are ignored, and known ones of a wrong kind are named.

use std::ops::RangeInclusive;

use serde_json::{Map, Value};

use super::error::ApiError;

/// An object of a request; `path` is where it is.
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    map: &'a Map<String, Value>,
    path: String,
}

impl<'a> Fields<'a> {
    /// A request's body.
    pub fn of(body: &'a Value) -> Result<Self, ApiError> {
        let map = body.as_object().ok_or_else(ApiError::not_object)?;
        Ok(Self { map, path: String::new() })
    }

    /// An object within it.
    pub fn at(path: impl Into<String>, value: &'a Value) -> Result<Self, ApiError> {
        let path = path.into();
        let map =
            value.as_object().ok_or_else(|| ApiError::wrong(&path, format!("{path} must be an object")))?;
        Ok(Self { map, path })
    }

    /// Where a field is, as errors name it.
    pub fn param(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// A field's value; null counts as missing.
    pub fn get(&self, key: &str) -> Option<&'a Value> {
        self.map.get(key).filter(|value| !value.is_null())
    }

    /// An error about a field.
    pub fn wrong(&self, key: &str, problem: impl std::fmt::Display) -> ApiError {
        let param = self.param(key);
        let message = format!("{param} {problem}");
        ApiError::wrong(param, message)
    }

    fn take<T>(
        &self,
        key: &str,
        kind: &str,
        take: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, ApiError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        take(value).map(Some).ok_or_else(|| self.wrong(key, format_args!("must be {kind}")))
    }

    pub fn text(&self, key: &str) -> Result<Option<&'a str>, ApiError> {
        self.take(key, "a text", Value::as_str)
    }

    pub fn bool(&self, key: &str) -> Result<Option<bool>, ApiError> {
        self.take(key, "true or false", Value::as_bool)
    }

    pub fn array(&self, key: &str) -> Result<Option<&'a Vec<Value>>, ApiError> {
        self.take(key, "an array", Value::as_array)
    }

    pub fn object(&self, key: &str) -> Result<Option<Self>, ApiError> {
        self.get(key).map(|value| Self::at(self.param(key), value)).transpose()
    }

    pub fn number(&self, key: &str, range: RangeInclusive<f64>) -> Result<Option<f64>, ApiError> {
        let kind = format!("a number from {} to {}", range.start(), range.end());
        self.take(key, &kind, |value| value.as_f64().filter(|x| range.contains(x)))
    }

    pub fn integer(&self, key: &str, range: RangeInclusive<i64>) -> Result<Option<i64>, ApiError> {
        let kind = format!("an integer from {} to {}", range.start(), range.end());
        self.take(key, &kind, |value| value.as_i64().filter(|n| range.contains(n)))
    }
}
