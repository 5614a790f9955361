//! `[program]` and `[reduce]`: what is run, with which arguments and environment.

use std::path::PathBuf;

use tidemill_types::{FloatClass, Limits, MAX_MODEL_NAME_BYTES, ProgramKind};

use super::{
    inputs, limits,
    section::{Section, Value},
    value::{host_path, list, number, one_of, plain_text, text},
};
use crate::{
    MAX_FAN_IN, Program, ProgramSource, Reduce, Resources, SharedInput,
    bounds::{
        MAX_ARG0_BYTES, MAX_ARGS, MAX_ENV, MAX_PLACEHOLDERS, MAX_TEXT_BYTES, PROGRAM_NAME, is_arg0,
        is_variable_name,
    },
    mistake::{Report, key_name, quoted, shortened},
    template::{Scope, Template},
};

const KEYS: &[&str] = &["path", "kind", "arg0", "args", "floats", "env"];

/// The keys of a program that is a model.
const MODEL_KEYS: &[&str] = &["kind", "model", "name", "created"];

/// The variable by which a task knows `created`.
pub(crate) const CREATED: &str = "CREATED";

/// The keys of `[reduce]`.
pub(super) const REDUCE_KEYS: &[&str] =
    &["path", "arg0", "args", "floats", "env", "fan_in", "inputs", "limits"];

const FLOATS: &[(&str, FloatClass)] = &[("native", FloatClass::Native), ("canonical", FloatClass::Canonical)];

/// What a reduce takes from the rest of the file where it says nothing itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct ForReduce<'a> {
    pub(super) program: Option<&'a Program>,
    pub(super) inputs: Option<&'a [SharedInput]>,
    pub(super) limits: Limits,
    pub(super) resources: Resources,
}

/// `[program]`. Without a scope, which a mistake in `[tasks]` leaves unknown, templates go unchecked.
pub(super) fn read(root: &Section, scope: Option<&Scope>, report: &mut Report) -> Option<Program> {
    const EXPECTED: &str = "expected a section [program] with the `path` of a WebAssembly program";
    root.need("program", EXPECTED, report)?;
    // Which keys there are depends on the kind, which is read first.
    let is_model =
        root.get("program").and_then(|value| value.get_ref().as_table()?.get("kind")?.get_ref().as_str())
            == Some("infer");
    if is_model {
        return model(&root.section("program", MODEL_KEYS, report)?, report);
    }
    let section = root.section("program", KEYS, report)?;
    let path = section.need("path", "expected the path of a WebAssembly program", report);
    let path = path.and_then(|value| host_path("path", value, report));
    let kind = section.get("kind").map(|value| kind(value, report));
    let floats = section.get("floats").map(|value| one_of("floats", value, FLOATS, report));
    let arg0 = section.get("arg0").map(|value| arg0(value, report));
    let args = args(&section, scope, report);
    let env = section.get("env").map(|value| env(value, scope, report));
    let (args, env) = (args?, env.unwrap_or(Some(Vec::new()))?);
    bound_placeholders(&section, &args, &env, report)?;
    Some(Program {
        source: ProgramSource::File(PathBuf::from(path?)),
        kind: kind.unwrap_or(Some(ProgramKind::Wasm))?,
        arg0: arg0.unwrap_or_else(|| Some(PROGRAM_NAME.to_owned()))?,
        args,
        floats: floats.unwrap_or(Some(FloatClass::default()))?,
        env,
    })
}

/// A `[program]` of the kind `infer`.
fn model(section: &Section, report: &mut Report) -> Option<Program> {
    const EXPECTED: &str = "expected a GGUF file like \"model.gguf\", a hash of 64 hexadecimal digits, or the name of a model \
                            of this machine";
    const NAME: &str = "expected the name that the requests have as their `model`, of at most 100 bytes";
    let source = section.need("model", EXPECTED, report);
    let source = source.and_then(|value| model_source(value, EXPECTED, report));
    let name = section.get("name").map(|value| {
        let name = plain_text("name", value, NAME, MAX_MODEL_NAME_BYTES, report)?;
        if !is_arg0(name) {
            report.wrong(value.span(), "`name` is empty", NAME);
            return None;
        }
        Some(name.to_owned())
    });
    let created = number(section, "created", 0, MAX_CREATED, report);
    let source = source?;
    let name = name.unwrap_or_else(|| Some(name_of(&source)))?;
    let number = |created: u64| Template::parse(&created.to_string(), &Scope::one()).ok();
    let created = created.and_then(|created| Some((CREATED.to_owned(), number(created)?)));
    Some(Program {
        source,
        kind: ProgramKind::Infer,
        arg0: name,
        args: Vec::new(),
        floats: ProgramKind::Infer.default_floats(),
        env: created.into_iter().collect(),
    })
}

/// The year 9999, in seconds since 1970.
const MAX_CREATED: u64 = 253_370_764_800;

fn model_source(value: &Value, expected: &str, report: &mut Report) -> Option<ProgramSource> {
    let text = plain_text("model", value, expected, MAX_TEXT_BYTES, report)?;
    let hash = text.strip_prefix("blake3:").unwrap_or(text);
    if let Ok(id) = hash.parse() {
        return Some(ProgramSource::Blob(id));
    }
    let is_file = text.contains(['/', '\\']) || text.ends_with(".gguf");
    if text.is_empty() || text.starts_with("blake3:") || (!is_file && text.len() > MAX_MODEL_NAME_BYTES) {
        report.wrong(value.span(), format!("{} is no model", quoted(text)), expected);
        return None;
    }
    Some(if is_file {
        ProgramSource::File(PathBuf::from(text))
    } else {
        ProgramSource::Named(text.to_owned())
    })
}

/// What requests call a model that has no other name: its own, without what files are called besides.
fn name_of(source: &ProgramSource) -> String {
    let name = match source {
        ProgramSource::File(path) => path.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
        other => other.to_string(),
    };
    let mut name: String = name.chars().filter(|c| !c.is_control()).collect();
    name.truncate(name.floor_char_boundary(MAX_MODEL_NAME_BYTES));
    if name.is_empty() { "model".to_owned() } else { name }
}

/// `[reduce]`.
pub(super) fn reduce(
    section: &Section,
    shared: ForReduce,
    scope: &Scope,
    report: &mut Report,
) -> Option<Reduce> {
    let path = section.get("path").map(|value| host_path("path", value, report).map(PathBuf::from));
    let floats = section.get("floats").map(|value| one_of("floats", value, FLOATS, report));
    let own_arg0 = section.get("arg0").map(|value| arg0(value, report));
    let args = args(section, Some(scope), report);
    let own_env = section.get("env").map(|value| env(value, Some(scope), report));
    let fan_in = number(section, "fan_in", 2, MAX_FAN_IN, report);
    let inputs = inputs::of_reduce(section, shared.inputs, report);
    // A reduce is a program of WebAssembly, whatever the map is.
    let base = match shared.program.map(|program| program.kind) {
        Some(ProgramKind::Infer) => Limits::default(),
        _ => shared.limits,
    };
    let limits = limits::read(section, ProgramKind::Wasm, base, report);

    if path.is_none() && shared.program.is_some_and(|program| program.kind == ProgramKind::Infer) {
        let expected = "expected the path of a WebAssembly program that takes the answers";
        section.need("path", expected, report)?;
    }

    let env = match own_env {
        Some(env) => env,
        None if shared.program.is_some_and(|program| program.kind == ProgramKind::Infer) => Some(Vec::new()),
        None => inherited_env(section, shared.program, scope, report),
    };
    let (args, env) = (args?, env?);
    bound_placeholders(section, &args, &env, report)?;
    // The name goes with the program: another program does not take that of the map's.
    let arg0 = match (own_arg0, &path) {
        (Some(own), _) => own?,
        (None, None) => shared.program?.arg0.clone(),
        (None, Some(_)) => PROGRAM_NAME.to_owned(),
    };
    Some(Reduce {
        program: Program {
            source: match path {
                Some(path) => ProgramSource::File(path?),
                None => shared.program?.source.clone(),
            },
            kind: ProgramKind::Wasm,
            arg0,
            args,
            floats: floats.unwrap_or_else(|| match shared.program?.kind {
                ProgramKind::Wasm => Some(shared.program?.floats),
                ProgramKind::Infer => Some(FloatClass::default()),
            })?,
            env,
        },
        fan_in,
        inputs: inputs?,
        limits,
        memory: match shared.program?.kind {
            ProgramKind::Wasm => shared.resources.memory.max(limits.memory),
            ProgramKind::Infer => limits.memory,
        },
    })
}

fn arg0(value: &Value, report: &mut Report) -> Option<String> {
    const EXPECTED: &str =
        "expected the name that the program is to find before its arguments, like \"gunzip\"";
    let text = plain_text("arg0", value, EXPECTED, MAX_ARG0_BYTES, report)?;
    if is_arg0(text) {
        return Some(text.to_owned());
    }
    report.wrong(value.span(), "`arg0` is empty", EXPECTED);
    None
}

fn inherited_env(
    section: &Section,
    program: Option<&Program>,
    scope: &Scope,
    report: &mut Report,
) -> Option<Vec<(String, Template)>> {
    let env = &program?.env;
    if let Some((name, _)) = env.iter().find(|(_, value)| !value.uses_only(scope)) {
        let found = format!(
            "the reduce takes `env` from [program], where {} uses a placeholder of the map",
            key_name(name)
        );
        report.wrong(section.span.clone(), found, "set `env` in [reduce]");
        return None;
    }
    Some(env.clone())
}

fn kind(value: &Value, report: &mut Report) -> Option<ProgramKind> {
    let name = text("kind", value, "allowed: \"wasm\", \"infer\"", report)?;
    let found = match name {
        "wasm" => return Some(ProgramKind::Wasm),
        "wgsl" | "native" => format!("programs of the kind {} are not supported yet", quoted(name)),
        _ => format!("`kind` is {}", quoted(name)),
    };
    report.wrong(value.span(), found, "allowed: \"wasm\", \"infer\"");
    None
}

fn args(section: &Section, scope: Option<&Scope>, report: &mut Report) -> Option<Vec<Template>> {
    const EXPECTED: &str = "expected a list of strings, like [\"--size\", \"10\"]";
    let Some(value) = section.get("args") else { return Some(Vec::new()) };
    let list = list("args", value, EXPECTED, MAX_ARGS, report)?;
    // All are read before any is missed, so that the mistakes of each are seen.
    let arg = |(i, value)| template(&format!("args[{i}]"), value, "expected a string", scope, report);
    let args: Vec<_> = list.iter().enumerate().map(arg).collect();
    args.into_iter().collect()
}

fn env(value: &Value, scope: Option<&Scope>, report: &mut Report) -> Option<Vec<(String, Template)>> {
    let section = Section::open("`env`", value, report)?;
    if section.table.len() > MAX_ENV {
        let found = format!("`env` has {} variables", section.table.len());
        report.wrong(value.span(), found, format!("at most {MAX_ENV} are allowed"));
        return None;
    }
    let variable = |(key, value): (&toml::Spanned<toml::de::DeString>, _)| {
        let name: &str = key.get_ref();
        let good = is_variable_name(name);
        if !good {
            let found = format!("{} cannot be a variable's name", key_name(name));
            report.wrong(key.span(), found, "expected a name without `=` and NUL");
        }
        let template = template(&shortened(name), value, "expected a string", scope, report);
        template.filter(|_| good).map(|template| (name.to_owned(), template))
    };
    let all: Vec<_> = section.table.iter().map(variable).collect();
    all.into_iter().collect()
}

fn template(
    name: &str,
    value: &Value,
    expected: &str,
    scope: Option<&Scope>,
    report: &mut Report,
) -> Option<Template> {
    let text = plain_text(name, value, expected, MAX_TEXT_BYTES, report)?;
    let Some(scope) = scope else { return Some(Template::default()) };
    let mistakes = match Template::parse(text, scope) {
        Ok(template) => return Some(template),
        Err(mistakes) => mistakes,
    };
    let span = value.span();
    // In a string without escapes, each byte of the text has its place in the file.
    let inner = (span.start + 1, span.end.saturating_sub(1));
    let exact = report.text().get(inner.0..inner.1) == Some(text);
    for mistake in mistakes {
        let at = if exact { inner.0 + mistake.span.start..inner.0 + mistake.span.end } else { span.clone() };
        report.wrong(at, mistake.found, mistake.allowed);
    }
    None
}

fn bound_placeholders(
    section: &Section,
    args: &[Template],
    env: &[(String, Template)],
    report: &mut Report,
) -> Option<()> {
    let count: usize =
        args.iter().chain(env.iter().map(|(_, value)| value)).map(Template::placeholders).sum();
    if count > MAX_PLACEHOLDERS {
        let found = format!("{} has {count} placeholders in `args` and `env`", section.title);
        report.wrong(section.span.clone(), found, format!("at most {MAX_PLACEHOLDERS} are allowed"));
        return None;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keys_of_a_reduce_are_those_of_a_program_and_its_own() {
        assert!(KEYS.iter().filter(|key| **key != "kind").all(|key| REDUCE_KEYS.contains(key)));
    }
}
