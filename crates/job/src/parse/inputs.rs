//! `[inputs]`: the files that all tasks see, by where they see them.

use std::{collections::BTreeSet, path::PathBuf};

use tidemill_types::GuestPath;
use toml::de::DeValue;

use super::{
    section::{Section, Value},
    value::{host_path, sort_of},
};
use crate::{
    SharedInput,
    bounds::{PARTS, first_below},
    mistake::{Report, key_name, shortened},
};

/// The inputs of `[inputs]`, or none when it is not there.
pub(super) fn read(root: &Section, report: &mut Report) -> Option<Vec<SharedInput>> {
    match root.get("inputs") {
        Some(value) => table("[inputs]", value, report),
        None => Some(Vec::new()),
    }
}

/// The inputs that a reduce sees: those of `[reduce.inputs]`, or else those of the map.
pub(super) fn of_reduce(
    reduce: &Section,
    of_map: Option<&[SharedInput]>,
    report: &mut Report,
) -> Option<Vec<SharedInput>> {
    let own = reduce.get("inputs").map(|value| (table("[reduce.inputs]", value, report), value));
    let (inputs, span) = match &own {
        Some((inputs, value)) => (inputs.as_deref()?, value.span()),
        None => (of_map?, reduce.span.clone()),
    };
    let reserved = |input: &&SharedInput| input.path.components().next() == Some(PARTS);
    if let Some(input) = inputs.iter().find(reserved) {
        let found =
            format!("the input {} stands where a reduce finds its parts", key_name(input.path.as_str()));
        let allowed = match own {
            Some(_) => "give it a path outside of `parts`",
            None => {
                "the reduce takes its inputs from [inputs]; give it a path outside of `parts`, or set `inputs` in [reduce]"
            }
        };
        report.wrong(span, found, allowed);
        return None;
    }
    Some(inputs.to_vec())
}

fn table<'a>(title: &'static str, value: &'a Value<'a>, report: &mut Report) -> Option<Vec<SharedInput>> {
    let section = Section::open(title, value, report)?;
    let mut inputs = Vec::new();
    let mut complete = true;
    for (key, value) in section.table.iter() {
        match input(key.get_ref(), key.span(), value, report) {
            Some(input) => inputs.push(input),
            None => complete = false,
        }
    }
    // The table is sorted by key, and so are the inputs.
    let paths: BTreeSet<&str> = inputs.iter().map(|input: &SharedInput| input.path.as_str()).collect();
    for path in &paths {
        if let Some(below) = first_below(&paths, path) {
            let found = format!("{} is a file, and {} is inside of it", key_name(path), key_name(below));
            report.wrong(section.key_span(below), found, "a path is a file or a directory, not both");
            complete = false;
        }
    }
    complete.then_some(inputs)
}

fn input(key: &str, at: std::ops::Range<usize>, value: &Value, report: &mut Report) -> Option<SharedInput> {
    let path = match GuestPath::new(key) {
        Ok(path) => Some(path),
        Err(error) => {
            report.wrong(
                at,
                format!("not a path below `/in`: {error}"),
                "expected a path like \"data/scene.txt\"",
            );
            None
        }
    };
    if let DeValue::Table(_) = value.get_ref() {
        let allowed = "expected the path of a file; on the left, a path with a point needs quotes: \"scene.txt\" = \"scene.txt\"";
        report.wrong(value.span(), format!("{} is {}", key_name(key), sort_of(value)), allowed);
        return None;
    }
    let file = host_path(&shortened(key), value, report)?;
    Some(SharedInput { path: path?, file: PathBuf::from(file) })
}
