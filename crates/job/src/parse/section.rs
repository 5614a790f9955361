//! A table of the job file, with the keys that it may have.

use std::ops::Range;

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{KEYS, suggest::suggestion, value::sort_of};
use crate::mistake::{Report, key_name};

/// A value with its place in the file.
pub(super) type Value<'a> = Spanned<DeValue<'a>>;

/// A table of the file.
#[derive(Clone, Debug)]
pub(super) struct Section<'a> {
    /// How messages name it: `[tasks]`, or nothing for the file itself.
    pub(super) title: &'static str,
    /// Where it begins: its header or its value.
    pub(super) span: Range<usize>,
    pub(super) table: &'a DeTable<'a>,
}

impl<'a> Section<'a> {
    /// The file itself.
    pub(super) fn root(table: &'a DeTable<'a>, keys: &[&str], report: &mut Report) -> Self {
        let section = Self { title: "", span: 0..0, table };
        section.refuse_unknown_keys(keys, report);
        section
    }

    /// The table that `value` is, as `title`; unknown keys in it are reported.
    pub(super) fn of(
        title: &'static str,
        value: &'a Value<'a>,
        keys: &[&str],
        report: &mut Report,
    ) -> Option<Self> {
        let section = Self::open(title, value, report)?;
        section.refuse_unknown_keys(keys, report);
        Some(section)
    }

    /// The table that `value` is, with any keys.
    pub(super) fn open(title: &'static str, value: &'a Value<'a>, report: &mut Report) -> Option<Self> {
        let DeValue::Table(table) = value.get_ref() else {
            let found = format!("{title} is {}", sort_of(value));
            report.wrong(value.span(), found, "expected a table of keys and values");
            return None;
        };
        Some(Self { title, span: value.span(), table })
    }

    /// The section `[key]` below this one, when it is there.
    pub(super) fn section(&self, key: &'static str, keys: &[&str], report: &mut Report) -> Option<Self> {
        Self::of(title_of(self.title, key), self.get(key)?, keys, report)
    }

    /// The value of a key.
    pub(super) fn get(&self, key: &str) -> Option<&'a Value<'a>> {
        self.table.get(key)
    }

    /// The value of a key that must be there.
    pub(super) fn need(&self, key: &str, expected: &str, report: &mut Report) -> Option<&'a Value<'a>> {
        let value = self.get(key);
        if value.is_none() {
            report.missing(self.span.clone(), format!("`{key}` is missing{}", self.place()), expected);
        }
        value
    }

    /// Whether it has other keys than these.
    pub(super) fn has_others(&self, keys: &[&str]) -> bool {
        self.table.iter().any(|(key, _)| !keys.contains(&key.get_ref().as_ref()))
    }

    /// Where a key itself stands.
    pub(super) fn key_span(&self, key: &str) -> Range<usize> {
        self.table.get_key_value(key).map_or(self.span.clone(), |(key, _)| key.span())
    }

    fn refuse_unknown_keys(&self, keys: &[&str], report: &mut Report) {
        for (key, _) in self.table.iter() {
            let name: &str = key.get_ref();
            if keys.contains(&name) {
                continue;
            }
            let allowed = if let Some(known) = suggestion(name, keys) {
                format!("did you mean `{known}`?")
            } else if !self.title.is_empty() && KEYS.contains(&name) {
                format!("`{name}` belongs at the top of the file, before the first [section]")
            } else {
                format!("allowed here: {}", keys.join(", "))
            };
            report.wrong(key.span(), format!("unknown key {}{}", key_name(name), self.place()), allowed);
        }
    }

    fn place(&self) -> String {
        if self.title.is_empty() { String::new() } else { format!(" in {}", self.title) }
    }
}

/// How messages name the section `key` below `parent`.
fn title_of(parent: &str, key: &'static str) -> &'static str {
    match (parent, key) {
        ("[reduce]", "limits") => "[reduce.limits]",
        ("[reduce]", "inputs") => "[reduce.inputs]",
        (_, "program") => "[program]",
        (_, "tasks") => "[tasks]",
        (_, "inputs") => "[inputs]",
        (_, "reduce") => "[reduce]",
        (_, "limits") => "[limits]",
        (_, "resources") => "[resources]",
        (_, "policy") => "[policy]",
        (_, other) => other,
    }
}
