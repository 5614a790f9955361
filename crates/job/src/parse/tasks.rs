//! `[tasks]`: what there is one task for each of.

use toml::de::DeValue;

use super::{
    section::{Section, Value},
    value::{amount, list, number, one_of, plain_text, sort_of, text, whole},
};
use crate::{
    MAX_TASKS, Matrix, Parameter, RangeTasks, SplitBy, SplitRules, SplitTasks, Tasks,
    bounds::{MAX_PARAMETERS, MAX_VALUE_BYTES, is_parameter_name},
    mistake::{Report, key_name, quoted, shortened},
};
use tidemill_types::ByteSize;

const SOURCES: &[&str] = &["range", "files", "split", "matrix"];
const MAX_PATTERNS: usize = 1000;
const MAX_SEPARATOR_BYTES: usize = 1024;

/// What `[tasks]` says; one task when it is not there.
pub(super) fn read(root: &Section, report: &mut Report) -> Option<Tasks> {
    if root.get("tasks").is_none() {
        return Some(Tasks::One);
    }
    let section = root.section("tasks", SOURCES, report)?;
    let mut there: Vec<_> = SOURCES.iter().filter(|key| section.get(key).is_some()).collect();
    there.sort_by_key(|key| section.key_span(key).start);
    let Some(first) = there.first() else {
        let expected = "expected one of range, files, split, matrix; without [tasks] there is one task";
        report.missing(section.span.clone(), "[tasks] does not say what the tasks are", expected);
        return None;
    };
    for other in &there[1..] {
        let found = format!("`{other}` beside `{first}` in [tasks]");
        report.wrong(section.key_span(other), found, "exactly one of range, files, split, matrix is allowed");
    }
    let range = section.get("range").map(|value| range(value, report).map(Tasks::Range));
    let files = section.get("files").map(|value| patterns("files", value, report).map(Tasks::Files));
    let split = section.get("split").map(|value| split(value, report).map(Tasks::Split));
    let matrix = section.get("matrix").map(|value| matrix(value, report).map(Tasks::Matrix));
    if there.len() > 1 {
        return None;
    }
    range.or(files).or(split).or(matrix)?
}

fn range(value: &Value, report: &mut Report) -> Option<RangeTasks> {
    let section = Section::of("`range`", value, &["from", "to", "step"], report)?;
    let from = section.get("from").map(|_| number(&section, "from", i64::MIN, i64::MAX, report));
    let to = section.need("to", "expected where the range ends, like { from = 0, to = 10 }", report);
    let to = to.and_then(|_| number(&section, "to", i64::MIN, i64::MAX, report));
    let step = section.get("step").map(|_| number(&section, "step", i64::MIN, i64::MAX, report));
    let (from, to, step) = (from.unwrap_or(Some(0))?, to?, step.unwrap_or(Some(1))?);
    if step == 0 {
        let at = section.get("step").map_or(value.span(), |step| step.span());
        report.wrong(at, "`step` is 0", "expected any other whole number");
        return None;
    }
    let count = RangeTasks::len(from, to, step);
    if count == 0 {
        let found = format!("the range from {from} to {to} by {step} is empty");
        report.wrong(value.span(), found, "expected at least one number; `to` itself is not one of them");
        return None;
    }
    if count > u128::from(MAX_TASKS) {
        report.wrong(
            value.span(),
            format!("the range has {count} numbers"),
            format!("at most {MAX_TASKS} are allowed"),
        );
        return None;
    }
    Some(RangeTasks { from, to, step })
}

/// One pattern or a list of them.
fn patterns(name: &str, value: &Value, report: &mut Report) -> Option<Vec<String>> {
    const EXPECTED: &str = "expected a path or a pattern like \"data/*.fa\", or a list of them";
    let all: Vec<_> = match value.get_ref() {
        DeValue::Array(_) => {
            let list = list(name, value, EXPECTED, MAX_PATTERNS, report)?;
            let one = |(i, element)| pattern(&format!("{name}[{i}]"), element, EXPECTED, report);
            list.iter().enumerate().map(one).collect()
        }
        _ => vec![pattern(name, value, EXPECTED, report)],
    };
    if all.is_empty() {
        report.wrong(value.span(), format!("`{name}` is empty"), EXPECTED);
        return None;
    }
    all.into_iter().collect()
}

fn pattern(name: &str, value: &Value, expected: &str, report: &mut Report) -> Option<String> {
    let text = plain_text(name, value, expected, 4096, report)?;
    let found = match glob::Pattern::new(text) {
        Ok(_) if !text.is_empty() => return Some(text.to_owned()),
        Ok(_) => format!("`{name}` is empty"),
        Err(error) => format!("{} is not a pattern: {}", quoted(text), error.msg),
    };
    report.wrong(value.span(), found, expected);
    None
}

/// The ways of cutting, before their own keys are read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    Lines,
    Separator,
    Fasta,
    Fastq,
    Fastx,
}

fn split(value: &Value, report: &mut Report) -> Option<SplitTasks> {
    const KEYS: &[&str] = &["input", "by", "size", "separator", "overlap"];
    const BY: &[(&str, By)] = &[
        ("lines", By::Lines),
        ("separator", By::Separator),
        ("fasta", By::Fasta),
        ("fastq", By::Fastq),
        ("fastx", By::Fastx),
    ];
    let section = Section::of("`split`", value, KEYS, report)?;
    let input = section.need("input", "expected the file to cut, or a pattern of files", report);
    let input = input.and_then(|value| patterns("input", value, report));
    let by = section.need("by", "allowed: \"lines\", \"separator\", \"fasta\", \"fastq\", \"fastx\"", report);
    let by = by.and_then(|value| one_of("by", value, BY, report));
    let size = section.need("size", "expected the size of a piece, like \"64 MiB\"", report);
    let size = size.and_then(|value| size_of_piece(value, report));
    let separator = section.get("separator").map(|value| separator(value, report));
    let overlap = section.get("overlap").map(|_| number(&section, "overlap", 0, u64::MAX, report));

    let (by, size) = (by?, size?);
    let refuse = |key: &str, allowed: &str, report: &mut Report| {
        report.wrong(section.key_span(key), format!("`{key}` does not go with this `by`"), allowed);
    };
    if separator.is_some() && by != By::Separator {
        refuse("separator", "it goes with by = \"separator\"", report);
        return None;
    }
    if overlap.is_some() && !matches!(by, By::Fasta | By::Fastx) {
        refuse("overlap", "it goes with by = \"fasta\" and by = \"fastx\"", report);
        return None;
    }
    let overlap = overlap.map_or(Some(None), |overlap| overlap.map(Some))?;
    if let (Some(overlap), Some(value)) = (overlap, section.get("overlap"))
        && overlap >= size.0
    {
        let found = format!("`overlap` is {overlap}, and a piece has {} bytes", size.0);
        report.wrong(value.span(), found, "expected less than `size`");
        return None;
    }
    let by = match by {
        By::Lines => SplitBy::Lines,
        By::Separator => {
            if separator.is_none() {
                section.need("separator", "expected the text between two records, like \"\\n\\n\"", report);
            }
            SplitBy::Separator(separator??)
        }
        By::Fasta => SplitBy::Fasta { overlap },
        By::Fastq => SplitBy::Fastq,
        By::Fastx => SplitBy::Fastx { overlap },
    };
    Some(SplitTasks { input: input?, rules: SplitRules { by, size } })
}

fn size_of_piece(value: &Value, report: &mut Report) -> Option<ByteSize> {
    let size: ByteSize = amount("size", value, report)?;
    if size.0 == 0 {
        report.wrong(value.span(), "`size` is 0", "expected at least \"1 B\"");
        return None;
    }
    Some(size)
}

fn separator(value: &Value, report: &mut Report) -> Option<Vec<u8>> {
    let separator = text("separator", value, "expected a string, like \"\\n\\n\"", report)?;
    if separator.is_empty() || separator.len() > MAX_SEPARATOR_BYTES {
        let found = format!("`separator` has {} bytes", separator.len());
        report.wrong(value.span(), found, format!("from 1 to {MAX_SEPARATOR_BYTES} are allowed"));
        return None;
    }
    Some(separator.as_bytes().to_vec())
}

fn matrix(value: &Value, report: &mut Report) -> Option<Matrix> {
    let section = Section::open("`matrix`", value, report)?;
    if section.table.is_empty() || section.table.len() > MAX_PARAMETERS {
        let found = format!("`matrix` has {} parameters", section.table.len());
        report.wrong(value.span(), found, format!("from 1 to {MAX_PARAMETERS} are allowed"));
        return None;
    }
    let all: Vec<_> = section.table.iter().map(|(key, value)| parameter(key, value, report)).collect();
    let parameters: Vec<Parameter> = all.into_iter().collect::<Option<_>>()?;
    let counts = parameters.iter().map(|parameter| parameter.values.len() as u64);
    let count = counts.fold(1u64, u64::saturating_mul);
    if count > MAX_TASKS {
        let found = match count {
            u64::MAX => "`matrix` has more combinations than can be counted".to_owned(),
            _ => format!("`matrix` has {count} combinations"),
        };
        report.wrong(value.span(), found, format!("at most {MAX_TASKS} are allowed"));
        return None;
    }
    Some(Matrix { parameters })
}

fn parameter(
    key: &toml::Spanned<toml::de::DeString>,
    value: &Value,
    report: &mut Report,
) -> Option<Parameter> {
    const NAME: &str =
        "expected a letter, then letters, digits, `_` or `-`, at most 64; not `index` or `count`";
    const VALUES: &str = "expected a list of values, like [1, 2, 3]";
    let name: &str = key.get_ref();
    let good = is_parameter_name(name);
    if !good {
        report.wrong(key.span(), format!("{} cannot be a parameter's name", key_name(name)), NAME);
    }
    let list = list(&shortened(name), value, VALUES, MAX_TASKS as usize, report)?;
    if list.is_empty() {
        report.wrong(value.span(), format!("{} has no values", key_name(name)), VALUES);
        return None;
    }
    let values: Vec<_> = list.iter().map(|value| scalar(name, value, report)).collect();
    let values: Vec<String> = values.into_iter().collect::<Option<_>>()?;
    good.then(|| Parameter { name: name.to_owned(), values })
}

/// A value of a matrix as text: a float exactly as the file writes it, so that no digit is lost.
fn scalar(name: &str, value: &Value, report: &mut Report) -> Option<String> {
    match value.get_ref() {
        DeValue::Integer(integer) => {
            let number = whole(value).and_then(|n| i64::try_from(n).ok());
            if number.is_none() {
                let found = format!("{} is not a number that fits", super::value::shown_integer(integer));
                report.wrong(
                    value.span(),
                    found,
                    "expected a whole number of 64 bits; a string of any digits is allowed, too",
                );
            }
            number.map(|n| n.to_string())
        }
        DeValue::Float(float) => {
            // Whatever passes as a float in TOML, a program is given a number.
            let text = float.as_str();
            let good = text.len() <= MAX_VALUE_BYTES && text.parse::<f64>().is_ok();
            if !good {
                let found = format!("{} is not a number", quoted(text));
                report.wrong(value.span(), found, "expected digits like 0.25 or 1e-3");
            }
            good.then(|| text.to_owned())
        }
        DeValue::Boolean(boolean) => Some(boolean.to_string()),
        DeValue::String(_) => {
            plain_text(&shortened(name), value, "", MAX_VALUE_BYTES, report).map(str::to_owned)
        }
        _ => {
            let found = format!("a value of {} is {}", key_name(name), sort_of(value));
            report.wrong(value.span(), found, "expected a number, a string, true or false");
            None
        }
    }
}
