//! From the text of a job file to a [`JobFile`], gathering every mistake on the way.
//!
//! Each part of the file has a reader that returns [`None`] after it reported what is wrong; the others
//! go on, so that one run shows all. A part that could not be read silences only what depends on it.

mod comparison;
mod inputs;
mod limits;
mod policy;
mod program;
mod section;
mod suggest;
mod tasks;
mod value;

use tidemill_types::{Limits, Millis, ProgramKind};
use toml::de::DeTable;

use crate::{
    Form, JobFile, JobName, Mistakes,
    bounds::{MAX_DEADLINE, MAX_RETRIES},
    mistake::{Report, quoted},
    template::Scope,
};
use section::Section;

/// The longest job file. Whoever needs more has data in it, which belongs into an input.
const MAX_TEXT_BYTES: usize = 1 << 20;

const KEYS: &[&str] = &[
    "name",
    "deadline",
    "retries",
    "seed",
    "program",
    "tasks",
    "inputs",
    "reduce",
    "limits",
    "resources",
    "policy",
];

const DEFAULT_RETRIES: u32 = 2;

impl JobFile {
    /// Reads the text of a job file.
    ///
    /// # Errors
    /// All that is wrong with it, in the order of the file.
    pub fn parse(text: &str) -> Result<Self, Mistakes> {
        let unreadable = unreadable(text);
        let mut report = Report::new(if unreadable.is_some() { "" } else { text });
        let file = if let Some((found, allowed)) = unreadable {
            report.wrong(0..0, found, allowed);
            None
        } else {
            let (root, errors) = DeTable::parse_recoverable(text);
            for error in errors {
                let (found, allowed) =
                    error.message().split_once(", expected ").unwrap_or((error.message(), ""));
                let allowed = if allowed.is_empty() { String::new() } else { format!("expected {allowed}") };
                report.syntax(error.span().unwrap_or(0..0), format!("not TOML: {found}"), allowed);
            }
            job(&Section::root(root.get_ref(), KEYS, &mut report), &mut report)
        };
        match report.into_mistakes() {
            Some(mistakes) => Err(mistakes),
            None => Ok(file.expect("a reader that gives nothing reported a mistake")),
        }
    }
}

/// What keeps a text from being read as TOML at all, and what would be right: said once, in the place of all the
/// mistakes that it would make.
fn unreadable(text: &str) -> Option<(String, &'static str)> {
    if text.len() > MAX_TEXT_BYTES {
        return Some((format!("the file has {} bytes", text.len()), "at most 1 MiB is allowed"));
    }
    // Text of wide characters may well be UTF-8, with a zero byte beside each letter.
    if let Form::Wide(encoding) = Form::of(text.as_bytes()) {
        return Some((format!("the file is {encoding} text"), "save it as UTF-8"));
    }
    let zeros = text.bytes().filter(|byte| *byte == 0).count();
    (zeros > 0).then(|| {
        let bytes = if zeros == 1 { "a zero byte".to_owned() } else { format!("{zeros} zero bytes") };
        (format!("the file holds {bytes}, so it is not text"), "a job file is UTF-8 text")
    })
}

fn job(root: &Section, report: &mut Report) -> Option<JobFile> {
    let name = name(root, report);
    let deadline = root.get("deadline").and_then(|value| deadline(value, report));
    let retries = value::number(root, "retries", 0, MAX_RETRIES, report);
    let seed = value::number(root, "seed", 0, u64::MAX, report);

    let tasks = tasks::read(root, report);
    let scope = tasks.as_ref().map(Scope::of);
    let program = program::read(root, scope.as_ref(), report);
    let inputs = inputs::read(root, report);
    let kind = program.as_ref().map_or(ProgramKind::Wasm, |program| program.kind);
    let limits = limits::read(root, kind, Limits::default(), report);
    let states_memory = limits::states_memory(root);
    let resources = limits::resources(root, &limits, report);

    let reduce = match root.section("reduce", program::REDUCE_KEYS, report) {
        Some(section) => {
            let shared = program::ForReduce {
                program: program.as_ref(),
                inputs: inputs.as_deref(),
                limits,
                resources,
            };
            program::reduce(&section, shared, &Scope::reduce(), report).map(Some)
        }
        None => Some(None),
    };
    let policy::Policy { max_price, reliance, trusted, compare, outside_gain } = policy::read(root, report);
    Some(JobFile {
        name: name?,
        deadline,
        retries: retries.unwrap_or(DEFAULT_RETRIES),
        seed: seed.unwrap_or(0),
        program: program?,
        tasks: tasks?,
        inputs: inputs?,
        limits,
        states_memory,
        reduce: reduce?,
        resources,
        max_price,
        reliance,
        trusted,
        compare,
        outside_gain,
    })
}

fn name(root: &Section, report: &mut Report) -> Option<JobName> {
    const EXPECTED: &str =
        "expected 1 to 64 lower-case letters, digits and hyphens, a letter first, like \"my-job\"";
    let value = root.need("name", EXPECTED, report)?;
    let text = value::text("name", value, EXPECTED, report)?;
    let name = JobName::new(text);
    if name.is_none() {
        report.wrong(value.span(), format!("{} cannot be a job's name", quoted(text)), EXPECTED);
    }
    name
}

fn deadline(value: &section::Value, report: &mut Report) -> Option<Millis> {
    let deadline: Millis = value::amount("deadline", value, report)?;
    if deadline.0 == 0 || deadline > MAX_DEADLINE {
        report.wrong(value.span(), format!("`deadline` is {deadline}"), "from 1ms to 365d is allowed");
        return None;
    }
    Some(deadline)
}
