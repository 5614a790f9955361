//! `[limits]` and `[resources]`: what a task may use, and what a machine must have.

use tidemill_types::{ByteSize, Fuel, Limits, ProgramKind};

use super::{
    section::Section,
    value::{amount, number, whole},
};
use crate::{Resources, bounds::MAX_PARALLEL, mistake::Report};

const KEYS: &[&str] = &["fuel", "memory", "table_elements", "stack", "output", "files", "log", "wall_time"];

/// Those of a model. It makes one file, and has no stack, tables and log that a task could fill.
const MODEL_KEYS: &[&str] = &["input_tokens", "output_tokens", "memory", "output", "wall_time"];

/// The most that a limit which is a bare number may be; a test keeps it equal to [`Limits::check`]'s.
const MAX_COUNT: u32 = 1_000_000;

/// The same of tokens.
const MAX_TOKENS: u64 = 1 << 40;

/// The section `limits` of `parent`; what it does not say is as in `base`.
pub(super) fn read(parent: &Section, kind: ProgramKind, base: Limits, report: &mut Report) -> Limits {
    let keys = match kind {
        ProgramKind::Wasm => KEYS,
        ProgramKind::Infer => MODEL_KEYS,
    };
    let Some(section) = parent.section("limits", keys, report) else { return base };
    let size = |key: &str, base: ByteSize, report: &mut Report| {
        section.get(key).and_then(|value| amount(key, value, report)).unwrap_or(base)
    };
    let limits = Limits {
        fuel: fuel(&section, report).unwrap_or(base.fuel),
        input_tokens: number(&section, "input_tokens", 1, MAX_TOKENS, report).unwrap_or(base.input_tokens),
        output_tokens: number(&section, "output_tokens", 0, MAX_TOKENS, report).unwrap_or(base.output_tokens),
        memory: size("memory", base.memory, report),
        table_elements: number(&section, "table_elements", 0, MAX_COUNT, report)
            .unwrap_or(base.table_elements),
        stack: size("stack", base.stack, report),
        output: size("output", base.output, report),
        files: number(&section, "files", 0, MAX_COUNT, report).unwrap_or(base.files),
        log: size("log", base.log, report),
        wall_time: section
            .get("wall_time")
            .and_then(|value| amount("wall_time", value, report))
            .unwrap_or(base.wall_time),
    };
    for error in limits.check(kind) {
        // A limit that this table does not set was checked where it was set.
        if let Some(value) = section.get(error.field) {
            let text = error.to_string();
            let (found, allowed) = text.split_once("; ").unwrap_or((&text, ""));
            report.wrong(value.span(), found, allowed);
        }
    }
    limits
}

/// Whether the file says how much memory a map task may have.
pub(super) fn states_memory(root: &Section) -> bool {
    let limits = root.get("limits").and_then(|value| value.get_ref().as_table());
    limits.is_some_and(|limits| limits.get("memory").is_some())
}

/// `[resources]`.
pub(super) fn resources(root: &Section, limits: &Limits, report: &mut Report) -> Resources {
    let default = Resources { memory: limits.memory, parallel: None };
    let Some(section) = root.section("resources", &["memory", "parallel"], report) else { return default };
    let memory = section.get("memory").and_then(|value| {
        let memory: ByteSize = amount("memory", value, report)?;
        if memory < limits.memory {
            let found =
                format!("{memory} of memory are asked of a machine, and a task may use {}", limits.memory);
            report.wrong(value.span(), found, "expected at least `memory` of [limits]");
        }
        Some(memory)
    });
    let parallel = number(&section, "parallel", 1, MAX_PARALLEL, report);
    Resources { memory: memory.unwrap_or(limits.memory), parallel }
}

/// Fuel is a bare number or one with a suffix.
fn fuel(section: &Section, report: &mut Report) -> Option<Fuel> {
    let value = section.get("fuel")?;
    match whole(value).and_then(|n| u64::try_from(n).ok()) {
        Some(fuel) => Some(Fuel(fuel)),
        None => amount("fuel", value, report),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_of_a_count_is_that_of_the_limits() {
        let with = |count| Limits { table_elements: count, files: count, ..Limits::default() };
        assert_eq!(with(MAX_COUNT).check(ProgramKind::Wasm), []);
        assert_eq!(with(MAX_COUNT + 1).check(ProgramKind::Wasm).len(), 2);
        let with = |count| Limits { input_tokens: count, output_tokens: count, ..Limits::default() };
        assert_eq!(with(MAX_TOKENS).check(ProgramKind::Infer), []);
        assert_eq!(with(MAX_TOKENS + 1).check(ProgramKind::Infer).len(), 2);
    }
}
