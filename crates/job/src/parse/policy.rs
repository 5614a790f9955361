//! `[policy]`: what a requester may ask of a network of strangers. What is not honoured yet is checked already, so that a
//! file which is right today is right then, and refused, so that nobody believes to have what is not there.

use tidemill_types::Amount;

use toml::de::DeValue;

use super::{
    section::{Section, Value},
    value::{list, number, sort_of, text, whole},
};
use crate::mistake::{Report, quoted};

const KEYS: &[&str] = &["max_price", "assurance", "replicate", "regions"];

/// The most that the job may cost. Reports what is wrong in `[policy]`, and for each other key that is right, that it
/// has no effect yet.
pub(super) fn read(root: &Section, report: &mut Report) -> Option<Amount> {
    let section = root.section("policy", KEYS, report)?;
    let max_price = section.get("max_price").and_then(|value| price(value, report));
    for key in KEYS.iter().filter(|key| **key != "max_price") {
        let Some(value) = section.get(key) else { continue };
        let right = match *key {
            "assurance" => assurance(value, report),
            "replicate" => number(&section, key, 1, 100, report).is_some(),
            _ => regions(value, report),
        };
        if right {
            let found = format!("`{key}` is not supported yet");
            report.wrong(section.key_span(key), found, "remove it to run the job");
        }
    }
    max_price
}

/// An amount of the token, and not nothing: a job that may cost nothing runs in networks that are free.
fn price(value: &Value, report: &mut Report) -> Option<Amount> {
    const EXPECTED: &str = "expected an amount like \"1.5 TIDE\"";
    let price = text("max_price", value, EXPECTED, report)?;
    let amount = price.parse::<Amount>().ok().filter(|amount| !amount.is_zero());
    if amount.is_none() {
        report.wrong(value.span(), format!("{} is not a price", quoted(price)), EXPECTED);
    }
    amount
}

fn assurance(value: &Value, report: &mut Report) -> bool {
    const EXPECTED: &str = "expected \"none\", \"trusted\", or a whole number n from 2 to 1000000000: wrong at most once in n results";
    let right = match value.get_ref() {
        DeValue::String(word) => matches!(word.as_ref(), "none" | "trusted"),
        _ => whole(value).is_some_and(|n| (2..=1_000_000_000).contains(&n)),
    };
    if !right {
        let found = match value.get_ref() {
            DeValue::String(word) => quoted(word),
            DeValue::Integer(n) => super::value::shown_integer(n),
            _ => sort_of(value).to_owned(),
        };
        report.wrong(value.span(), format!("`assurance` is {found}"), EXPECTED);
    }
    right
}

fn regions(value: &Value, report: &mut Report) -> bool {
    const EXPECTED: &str =
        "expected a list of names of lower-case letters, digits and hyphens, like [\"eu\"]";
    let Some(list) = list("regions", value, EXPECTED, 100, report) else { return false };
    let mut right = true;
    for (i, element) in list.iter().enumerate() {
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        match text(&format!("regions[{i}]"), element, EXPECTED, report) {
            Some(name) if (1..=32).contains(&name.len()) && name.chars().all(allowed) => {}
            Some(name) => {
                report.wrong(element.span(), format!("{} is not a region", quoted(name)), EXPECTED);
                right = false;
            }
            None => right = false,
        }
    }
    if list.is_empty() {
        report.wrong(value.span(), "`regions` is empty", EXPECTED);
    }
    right && !list.is_empty()
}
