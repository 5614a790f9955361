//! `[policy.compare]`: when two outputs of a task count as the same.

use std::path::PathBuf;

use tidemill_types::{Numbers, Tolerance, ToleranceError};
use toml::de::DeValue;

use super::{
    section::{Section, Value},
    value::{host_path, one_of, shown_integer, sort_of},
};
use crate::{
    CompareBy,
    mistake::{Report, quoted, shortened},
};

const KEYS: &[&str] = &["numbers", "absolute", "relative", "program"];

const NUMBERS: &[(&str, Numbers)] =
    &[("u8", Numbers::U8), ("f32", Numbers::F32), ("f64", Numbers::F64), ("text", Numbers::Text)];

const EXPECTED: &str = "expected \"exact\", or a table with the `program` that compares, or with what `numbers` the outputs \
                        have and by how much they may differ (`absolute`, `relative`)";

/// What `compare` says.
pub(super) fn read(value: &Value, report: &mut Report) -> Option<CompareBy> {
    if let DeValue::String(word) = value.get_ref() {
        if word.as_ref() == "exact" {
            return Some(CompareBy::Exact);
        }
        report.wrong(value.span(), format!("`compare` is {}", quoted(word)), EXPECTED);
        return None;
    }
    if !matches!(value.get_ref(), DeValue::Table(_)) {
        report.wrong(value.span(), format!("`compare` is {}", sort_of(value)), EXPECTED);
        return None;
    }
    let section = Section::of("[policy.compare]", value, KEYS, report)?;
    let Some(program) = section.get("program") else {
        return numbers(&section, report).map(CompareBy::Numbers);
    };
    let path = host_path("program", program, report);
    for key in ["numbers", "absolute", "relative"] {
        if section.get(key).is_some() {
            let found = format!("`{key}` beside `program` in [policy.compare]");
            report.wrong(section.key_span(key), found, "say one of them: the program decides alone");
        }
    }
    Some(CompareBy::Program(PathBuf::from(path?)))
}

fn numbers(section: &Section, report: &mut Report) -> Option<Tolerance> {
    let numbers = section.need("numbers", "expected what numbers the outputs have, or a `program`", report);
    let numbers = numbers.and_then(|value| one_of("numbers", value, NUMBERS, report));
    let mut wrong = false;
    let mut share = |key: &'static str, report: &mut Report| {
        let Some(value) = section.get(key) else { return 0.0 };
        let found = decimal(value);
        let is_share =
            |share: &f64| share.is_finite() && *share >= 0.0 && (key == "absolute" || *share < 1.0);
        let share = found.filter(is_share);
        wrong |= share.is_none();
        if share.is_none() {
            let found = match value.get_ref() {
                DeValue::Float(float) => shortened(float.as_str()),
                DeValue::Integer(integer) => shown_integer(integer),
                _ => sort_of(value).to_owned(),
            };
            let expected = match key {
                "absolute" => "expected a number from 0 on, like 1e-6",
                _ => "expected a number from 0 on and below 1, like 1e-6",
            };
            report.wrong(value.span(), format!("`{key}` is {found}"), expected);
        }
        share.unwrap_or(0.0)
    };
    let (absolute, relative) = (share("absolute", report), share("relative", report));
    if wrong {
        return None;
    }
    let numbers = numbers?;
    // Another key may be meant for one of them.
    let is_said = ["absolute", "relative"].iter().any(|key| section.get(key).is_some());
    if !is_said && section.has_others(KEYS) {
        return None;
    }
    match Tolerance::new(numbers, absolute, relative) {
        Ok(tolerance) => return Some(tolerance),
        Err(ToleranceError::Everything) => report.wrong(
            section.span.clone(),
            format!("[policy.compare] lets {numbers} differ by more than they can"),
            "expected an `absolute` below that: every output would be the same as every other",
        ),
        Err(_) => report.wrong(
            section.span.clone(),
            format!("[policy.compare] lets {numbers} differ by nothing"),
            match numbers {
                Numbers::U8 => {
                    "expected `absolute` from 1 on, or `relative` from 0.004 on, or compare = \"exact\""
                }
                _ => "expected a larger `absolute` or `relative`, or compare = \"exact\"",
            },
        ),
    }
    None
}

/// A number, with a point or without. A zero has no sign.
fn decimal(value: &Value) -> Option<f64> {
    let text = match value.get_ref() {
        DeValue::Float(float) => float.as_str(),
        DeValue::Integer(integer) if integer.radix() == 10 => integer.as_str(),
        _ => return None,
    };
    let number: f64 = text.parse().ok()?;
    Some(if number == 0.0 { 0.0 } else { number })
}
