//! Single values: the right type, within the allowed range, or a mistake.

use std::{fmt, str::FromStr};

use toml::de::DeValue;

use super::section::{Section, Value};
use crate::mistake::{Report, quoted, shortened};

/// What a value is, in the words of a message.
pub(super) fn sort_of(value: &Value) -> &'static str {
    match value.get_ref() {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a point",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// A string.
pub(super) fn text<'a>(
    name: &str,
    value: &'a Value<'a>,
    expected: &str,
    report: &mut Report,
) -> Option<&'a str> {
    let DeValue::String(text) = value.get_ref() else {
        report.wrong(value.span(), format!("`{name}` is {}", sort_of(value)), expected);
        return None;
    };
    Some(text)
}

/// A string that a program can be given: NUL ends strings in the system interface.
pub(super) fn plain_text<'a>(
    name: &str,
    value: &'a Value<'a>,
    expected: &str,
    max_bytes: usize,
    report: &mut Report,
) -> Option<&'a str> {
    let text = text(name, value, expected, report)?;
    if text.contains('\0') {
        report.wrong(
            value.span(),
            format!("`{name}` holds a NUL character"),
            "any other character is allowed",
        );
        return None;
    }
    if text.len() > max_bytes {
        let found = format!("`{name}` has {} bytes", text.len());
        report.wrong(value.span(), found, format!("at most {max_bytes} are allowed"));
        return None;
    }
    Some(text)
}

/// The path of a file of this host.
pub(super) fn host_path<'a>(name: &str, value: &'a Value<'a>, report: &mut Report) -> Option<&'a str> {
    const EXPECTED: &str = "expected the path of a file, relative to the job file";
    let path = plain_text(name, value, EXPECTED, 4096, report)?;
    if path.is_empty() {
        report.wrong(value.span(), format!("`{name}` is empty"), EXPECTED);
        return None;
    }
    Some(path)
}

/// A whole number, whatever its size; [`None`] also where it is beyond all that is used.
pub(super) fn whole(value: &Value) -> Option<i128> {
    match value.get_ref() {
        DeValue::Integer(integer) => i128::from_str_radix(integer.as_str(), integer.radix()).ok(),
        _ => None,
    }
}

/// The whole number of `key`, when it is there, from `least` to `most`.
pub(super) fn number<T>(section: &Section, key: &str, least: T, most: T, report: &mut Report) -> Option<T>
where
    T: Copy + Into<i128> + TryFrom<i128> + fmt::Display,
{
    let value = section.get(key)?;
    let number = whole(value).filter(|n| (least.into()..=most.into()).contains(n));
    let number = number.and_then(|n| T::try_from(n).ok());
    if number.is_none() {
        let found = match value.get_ref() {
            DeValue::Integer(integer) => format!("`{key}` is {}", shown_integer(integer)),
            _ => format!("`{key}` is {}", sort_of(value)),
        };
        report.wrong(value.span(), found, format!("expected a whole number from {least} to {most}"));
    }
    number
}

/// A number's digits for a message. The TOML parser lets other characters between them pass, so they are
/// as little trusted as any text.
pub(super) fn shown_integer(integer: &toml::de::DeInteger) -> String {
    shortened(&integer.to_string())
}

/// An amount with its unit, as a string.
pub(super) fn amount<T>(name: &str, value: &Value, report: &mut Report) -> Option<T>
where
    T: FromStr<Err = tidemill_types::UnitError>,
{
    let (text, sort) = match value.get_ref() {
        DeValue::String(text) => (text.as_ref(), None),
        // What is no amount makes the unit's own parser say what one looks like.
        _ => ("", Some(sort_of(value))),
    };
    let error = match text.parse() {
        Ok(amount) => return Some(amount),
        Err(error) => error.to_string(),
    };
    let (found, allowed) = error.split_once("; write it like ").unwrap_or((&error, ""));
    let found = sort.map_or_else(|| found.to_owned(), |sort| format!("`{name}` is {sort}"));
    report.wrong(value.span(), found, format!("write it like {allowed}"));
    None
}

/// One of some words.
pub(super) fn one_of<T: Copy>(
    name: &str,
    value: &Value,
    choices: &[(&str, T)],
    report: &mut Report,
) -> Option<T> {
    let words: Vec<_> = choices.iter().map(|(word, _)| format!("\"{word}\"")).collect();
    let allowed = format!("allowed: {}", words.join(", "));
    let text = text(name, value, &allowed, report)?;
    let choice = choices.iter().find(|(word, _)| *word == text).map(|(_, choice)| *choice);
    if choice.is_none() {
        report.wrong(value.span(), format!("`{name}` is {}", quoted(text)), allowed);
    }
    choice
}

/// The elements of a list.
pub(super) fn list<'a>(
    name: &str,
    value: &'a Value<'a>,
    expected: &str,
    most: usize,
    report: &mut Report,
) -> Option<&'a [Value<'a>]> {
    let DeValue::Array(list) = value.get_ref() else {
        report.wrong(value.span(), format!("`{name}` is {}", sort_of(value)), expected);
        return None;
    };
    if list.len() > most {
        report.wrong(
            value.span(),
            format!("`{name}` has {} elements", list.len()),
            format!("at most {most} are allowed"),
        );
        return None;
    }
    Some(list)
}
