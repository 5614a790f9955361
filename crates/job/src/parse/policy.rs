//! `[policy]`: what a requester asks of a network of strangers. What is not honoured yet is checked already, so that a
//! file which is right today is right then, and refused, so that nobody believes to have what is not there.

use tidemill_types::{Address, Amount, Assurance, NameError};

use toml::de::DeValue;

use super::{
    comparison,
    section::{Section, Value},
    value::{list, number, shown_integer, sort_of, text, whole},
};
use crate::{
    CompareBy, Reliance,
    bounds::{MAX_REPLICAS, MAX_TRUSTED},
    mistake::{Report, quoted},
};

const KEYS: &[&str] =
    &["max_price", "assurance", "replicate", "quorum", "trusted", "compare", "outside_gain", "regions"];

/// What `[policy]` says.
#[derive(Debug, Default)]
pub(super) struct Policy {
    pub(super) max_price: Option<Amount>,
    pub(super) reliance: Reliance,
    /// Sorted, each once.
    pub(super) trusted: Vec<Address>,
    /// When two outputs count as the same.
    pub(super) compare: CompareBy,
    /// What one wrong result is worth to somebody outside of the network.
    pub(super) outside_gain: Amount,
}

/// Reads `[policy]` and reports what is wrong in it, and for each key that is right, but without effect yet, that it is.
pub(super) fn read(root: &Section, report: &mut Report) -> Policy {
    let Some(section) = root.section("policy", KEYS, report) else { return Policy::default() };
    let max_price = section.get("max_price").and_then(|value| price("max_price", value, report));
    let outside_gain = section.get("outside_gain").and_then(|value| price("outside_gain", value, report));
    let reliance = reliance(&section, report).unwrap_or_default();
    let trusted = section.get("trusted").and_then(|value| trusted(value, report)).unwrap_or_default();
    let compare =
        section.get("compare").and_then(|value| comparison::read(value, report)).unwrap_or_default();
    if let Some(value) = section.get("regions")
        && regions(value, report)
    {
        let found = "`regions` is not supported yet";
        report.wrong(section.key_span("regions"), found, "remove it to run the job");
    }
    Policy { max_price, reliance, trusted, compare, outside_gain: outside_gain.unwrap_or_default() }
}

/// An amount of the token, and not nothing: a job that may cost nothing runs in networks that are free, and what is worth
/// nothing is not said.
fn price(key: &str, value: &Value, report: &mut Report) -> Option<Amount> {
    const EXPECTED: &str = "expected an amount like \"1.5 TIDE\"";
    let price = text(key, value, EXPECTED, report)?;
    let found = match price.parse::<Amount>() {
        Ok(amount) if amount > Amount::CAP => format!("{} is more TIDE than there can be", quoted(price)),
        Ok(amount) if !amount.is_zero() => return Some(amount),
        Ok(_) => format!("{} is nothing", quoted(price)),
        Err(_) => format!("{} is not an amount of TIDE", quoted(price)),
    };
    report.wrong(value.span(), found, EXPECTED);
    None
}

/// What `assurance`, `replicate` and `quorum` come to; nothing where they say nothing.
fn reliance(section: &Section, report: &mut Report) -> Option<Reliance> {
    if section.get("assurance").is_some() && section.get("replicate").is_some() {
        let mut both = ["assurance", "replicate"];
        both.sort_by_key(|key| section.key_span(key).start);
        let [first, second] = both;
        let found = format!("`{second}` beside `{first}` in [policy]");
        report.wrong(section.key_span(second), found, "say one of them");
    }
    let assured = section.get("assurance").and_then(|value| assurance(value, report));
    let replicated = replicated(section, report);
    assured.or(replicated)
}

fn assurance(value: &Value, report: &mut Report) -> Option<Reliance> {
    let reliance = match value.get_ref() {
        DeValue::String(word) => match word.as_ref() {
            "trusted" => Some(Reliance::Trusted),
            "none" => Some(Reliance::Unverified),
            _ => None,
        },
        _ => whole(value)
            .and_then(|results| u32::try_from(results).ok())
            .and_then(|results| Assurance::one_in(results).ok())
            .map(Reliance::Assured),
    };
    if reliance.is_none() {
        let found = match value.get_ref() {
            DeValue::String(word) => quoted(word),
            DeValue::Integer(n) => shown_integer(n),
            _ => sort_of(value).to_owned(),
        };
        let expected = format!(
            "expected \"none\", \"trusted\", or a whole number n from {} to {}: wrong at most once in n results",
            Assurance::LEAST,
            Assurance::MOST
        );
        report.wrong(value.span(), format!("`assurance` is {found}"), expected);
    }
    reliance
}

/// `replicate`, with `quorum` or a majority.
fn replicated(section: &Section, report: &mut Report) -> Option<Reliance> {
    let most = number(section, "replicate", 2, MAX_REPLICAS, report);
    if section.get("quorum").is_some() && section.get("replicate").is_none() {
        let expected = "expected `replicate` beside it: how many results are asked for at most";
        report.wrong(section.key_span("quorum"), "`quorum` without `replicate`", expected);
    }
    let quorum = number(section, "quorum", 2, most.unwrap_or(MAX_REPLICAS), report);
    let most = most?;
    Some(Reliance::Replicated { quorum: quorum.unwrap_or(most / 2 + 1), most })
}

/// The accounts of operators, sorted.
fn trusted(value: &Value, report: &mut Report) -> Option<Vec<Address>> {
    const EXPECTED: &str =
        "expected a list of operators' accounts, each 0x and 40 hexadecimal digits in quotes";
    let list = list("trusted", value, EXPECTED, MAX_TRUSTED, report)?;
    if list.is_empty() {
        report.wrong(value.span(), "`trusted` is empty", EXPECTED);
    }
    let mut operators: Vec<Address> = Vec::with_capacity(list.len());
    for (i, element) in list.iter().enumerate() {
        let Some(account) = text(&format!("trusted[{i}]"), element, EXPECTED, report) else { continue };
        match account.parse() {
            Ok(operator) if operators.contains(&operator) => {
                let found = format!("{operator} is there twice");
                report.wrong(element.span(), found, "expected each account once");
            }
            Ok(operator) => operators.push(operator),
            Err(NameError::Checksum { .. }) => {
                let expected = "expected an account as it was told: its capital letters are a checksum";
                report.wrong(element.span(), format!("{} was mistyped", quoted(account)), expected);
            }
            Err(NameError::Digits { .. }) => {
                report.wrong(element.span(), format!("{} is not an account", quoted(account)), EXPECTED);
            }
        }
    }
    operators.sort_unstable();
    Some(operators)
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
